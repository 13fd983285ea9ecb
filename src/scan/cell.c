/*
 * The parent's side trusts nothing that it reads: words of one size, in the order of the batch, with a verdict that exists and
 * a text that can be printed.
 */
#include "scan/cell.h"
#include "lib/bytes.h"
#include "lib/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <nettle/sha2.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define START_US 2000000   /* to be confined and to read its first file */
#define PATIENCE_US 250000 /* libyara's own limit comes first, where it can */
#define NOBODY 65534
#define FD_FIRST 3

enum step { STEP_BEGINS = 1, STEP_HASHED, STEP_DONE, STEP_BROKEN }; /* of one file, in this order; BROKEN: no cell at all */

struct word { /* smaller than PIPE_BUF: all or nothing */
	uint32_t index, step;
	struct scan_result result;
};

/* --- in the cell */

static void say(uint32_t index, enum step step, const struct scan_result *result)
{
	struct word word = {.index = index, .step = step, .result = *result};
	if (write(FD_FIRST, &word, sizeof(word)) != (ssize_t)sizeof(word))
		_exit(1);
}

/* Afterwards there are our log, the pipe and the files: nothing else of the parent's. */
static void descriptors_set(const struct cell *cell, int pipe)
{
	int moved[CELL_FILES_MAX + 1], null = open("/dev/null", O_RDWR | O_CLOEXEC);
	moved[0] = fcntl(pipe, F_DUPFD, 100);
	for (size_t i = 0; i < cell->n; i++)
		moved[i + 1] = fcntl(cell->files[i] >= 0 ? cell->files[i] : null, F_DUPFD, 100);
	bool ok = dup2(null, STDIN_FILENO) >= 0 && dup2(null, STDOUT_FILENO) >= 0;
	for (size_t i = 0; i <= cell->n; i++)
		ok = ok && moved[i] >= 0 && dup2(moved[i], FD_FIRST + (int)i) >= 0;
	if (!ok || syscall(SYS_close_range, FD_FIRST + cell->n + 1, ~0U, 0) != 0)
		_exit(1);
}

static void limit(int what, rlim_t most)
{
	(void)!setrlimit(what, &(struct rlimit){most, most});
}

static void limits_set(const struct cell *cell)
{
	limit(RLIMIT_CORE, 0);
	limit(RLIMIT_FSIZE, 0);
	limit(RLIMIT_NPROC, 0);
	limit(RLIMIT_CPU, 3 + (cell->n - cell->at) * (cell->conf->file_ms / 1000 + 1));
#ifndef UNDER_ASAN
	unsigned long pages = 0;
	FILE *statm = fopen("/proc/self/statm", "re");
	if (!statm || fscanf(statm, "%lu", &pages) != 1)
		_exit(1);
	fclose(statm);
	limit(RLIMIT_AS, (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) + ((rlim_t)cell->conf->memory_mib << 20));
#endif
}

static void confine(const struct cell *cell, int pipe)
{
	static const struct user nobody = {.uid = NOBODY, .gid = NOBODY};
	struct sandbox_report report;
	struct scan_result broken = {.verdict = SCAN_SKIPPED};
	struct err err;
	struct sandbox wanted = {.user = geteuid() == 0 && user_is_mapped(&nobody) ? &nobody : NULL,
	                         .limit_connect = true,
	                         .offline = true,
	                         .violation = SANDBOX_DENY};
	signal(SIGPIPE, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
	descriptors_set(cell, pipe);
	limits_set(cell);
	if (sandbox_apply(&wanted, &report, &err) == 0)
		return;
	text_copy(broken.why, sizeof(broken.why), err.text);
	say((uint32_t)cell->at, STEP_BROKEN, &broken);
	_exit(1);
}

/* The bytes are read once: what is hashed is what the rules see, whatever is written meanwhile. */
static size_t bytes_read(int fd, uint8_t *bytes, size_t most)
{
	size_t used = 0;
	while (used < most) {
		ssize_t got = pread(fd, bytes + used, most - used, (off_t)used);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		used += (size_t)got;
	}
	return used;
}

static void judge(const struct lore *lore, const struct conf_files *conf, const uint8_t *bytes, size_t size,
                  struct scan_result *result)
{
	const char *given_up = lore_given_up(lore, result->sha256);
	if (result->hashed && hashes_have(&lore->bad, result->sha256)) {
		result->verdict = SCAN_BAD;
		text_copy(result->why, sizeof(result->why), "listed as bad");
	} else if (result->hashed && hashes_have(&lore->good, result->sha256)) {
		result->verdict = SCAN_GOOD;
		text_copy(result->why, sizeof(result->why), "listed as good");
	} else if (given_up) {
		result->verdict = SCAN_SKIPPED;
		snprintf(result->why, sizeof(result->why), "given up before: %.80s", given_up);
	} else {
		lore_match(lore, bytes, size, conf->file_ms, result);
	}
}

static void look(const struct cell *cell, uint32_t index, int fd)
{
	struct scan_result result = {.verdict = SCAN_UNKNOWN};
	struct stat status = {0};
	size_t most = (size_t)cell->conf->file_bytes, size = 0;
	say(index, STEP_BEGINS, &result);
	bool there = fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
	size_t room = there && (uint64_t)status.st_size < most ? (size_t)status.st_size + 4096 : most; /* it may have grown */
	room = room > most ? most : room;
	uint8_t *bytes = malloc(room + 1);
	if (there && bytes)
		size = bytes_read(fd, bytes, room);
	bool whole = there && fstat(fd, &status) == 0 && (uint64_t)status.st_size == size;
	if (!there || !bytes) {
		result.verdict = SCAN_SKIPPED;
		text_copy(result.why, sizeof(result.why), there ? "looking at it took too much memory" : "is no plain file");
	} else {
		struct sha256_ctx hash;
		sha256_init(&hash);
		sha256_update(&hash, size, bytes);
		sha256_digest(&hash, SCAN_SHA256, result.sha256);
		result.hashed = whole;
		say(index, STEP_HASHED, &result);
		judge(cell->lore, cell->conf, bytes, size, &result);
		if (!whole && result.verdict == SCAN_UNKNOWN) {
			result.verdict = SCAN_SKIPPED;
			snprintf(result.why, sizeof(result.why), "only its first %zu bytes were looked at", size);
		}
	}
	free(bytes);
	say(index, STEP_DONE, &result);
}

static void cell_main(const struct cell *cell, int pipe)
{
	confine(cell, pipe);
	for (size_t i = cell->at; i < cell->n; i++)
		look(cell, (uint32_t)i, FD_FIRST + 1 + (int)i);
	_exit(0);
}

/* --- outside */

static void give_up(struct cell *cell, const char *why)
{
	struct scan_result *result = &cell->results[cell->at];
	uint8_t nothing[SCAN_SHA256] = {0};
	if (memcmp(result->sha256, nothing, sizeof(nothing)) != 0)
		lore_give_up(cell->lore, result->sha256, why);
	result->verdict = SCAN_SKIPPED;
	text_copy(result->why, sizeof(result->why), why);
	cell->at++;
}

static void give_up_all(struct cell *cell, const char *why)
{
	for (; cell->at < cell->n; cell->at++) {
		cell->results[cell->at].verdict = SCAN_SKIPPED;
		text_copy(cell->results[cell->at].why, SCAN_WHY_MAX, why);
	}
}

static void begin(struct cell *cell)
{
	int ends[2];
	while (cell->at < cell->n && cell->files[cell->at] < 0)
		cell->at++;
	if (cell->at == cell->n)
		return;
	if (pipe2(ends, O_CLOEXEC) != 0) {
		give_up_all(cell, "no process could be started to look at it");
		return;
	}
	cell->pid = fork();
	if (cell->pid == 0)
		cell_main(cell, ends[1]);
	close(ends[1]);
	if (cell->pid < 0) {
		close(ends[0]);
		cell->pid = 0;
		give_up_all(cell, "no process could be started to look at it");
		return;
	}
	cell->fd = ends[0];
	fcntl(cell->fd, F_SETFL, O_NONBLOCK);
	cell->deadline_us = clock_monotonic_us() + START_US + (int64_t)cell->conf->file_ms * 1000;
}

void cell_start(struct cell *cell, struct lore *lore, const struct conf_files *conf, const int *files, size_t n)
{
	*cell = (struct cell){.lore = lore, .conf = conf, .running = true, .fd = -1, .n = n};
	memcpy(cell->files, files, n * sizeof(*files));
	begin(cell);
}

/* Reaps it; how it ended. */
static int child_end(struct cell *cell, bool kill_it)
{
	int status = 0;
	if (cell->fd >= 0)
		close(cell->fd);
	cell->fd = -1;
	if (cell->pid > 0) {
		if (kill_it)
			kill(cell->pid, SIGKILL);
		while (waitpid(cell->pid, &status, 0) < 0 && errno == EINTR)
			;
	}
	cell->pid = 0;
	return status;
}

static bool word_is_sane(const struct cell *cell, const struct word *word)
{
	const struct scan_result *result = &word->result;
	uint8_t hashed; /* a byte that is neither 0 nor 1 is no bool */
	memcpy(&hashed, &result->hashed, 1);
	if (word->index != cell->at || word->step < STEP_BEGINS || word->step > STEP_BROKEN || hashed > 1 ||
	    (unsigned)result->verdict >= SCAN_VERDICT_MAX_ || strnlen(result->why, SCAN_WHY_MAX) == SCAN_WHY_MAX)
		return false;
	for (const char *c = result->why; *c; c++)
		if (*c < ' ' || *c > '~')
			return false;
	return true;
}

/* 1: a word was taken; 0: none is there; -1: the cell is done with. */
static int word_take(struct cell *cell, int64_t now_us)
{
	struct word word;
	ssize_t got = read(cell->fd, &word, sizeof(word));
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (got != (ssize_t)sizeof(word) || !word_is_sane(cell, &word))
		return -1;
	cell->results[cell->at] = word.result;
	cell->deadline_us = now_us + PATIENCE_US + (int64_t)cell->conf->file_ms * 1000;
	if (word.step == STEP_BROKEN) /* it is not the file's fault, and will not be better with the next */
		give_up_all(cell, word.result.why);
	else if (word.step == STEP_DONE) {
		if (word.result.verdict == SCAN_SKIPPED && word.result.hashed && !lore_given_up(cell->lore, word.result.sha256))
			lore_give_up(cell->lore, word.result.sha256, word.result.why);
		cell->at++;
	}
	return cell->at < cell->n ? 1 : -1;
}

static void ended(struct cell *cell)
{
	bool through = cell->at == cell->n;
	char why[SCAN_WHY_MAX];
	int status = child_end(cell, true);
	if (through)
		return;
	const char *name = WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL ? sigabbrev_np(WTERMSIG(status)) : NULL;
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU)
		snprintf(why, sizeof(why), "looking at it took too much processor time");
	else
		snprintf(why, sizeof(why), "it ended the process that looked at it%s%s", name ? ": signal " : "",
		         name ? name : "");
	give_up(cell, why);
}

bool cell_turn(struct cell *cell, int64_t now_us)
{
	int r = 1;
	while (cell->pid > 0 && r == 1)
		r = word_take(cell, now_us);
	if (cell->pid > 0 && r == 0 && now_us >= cell->deadline_us) {
		char why[SCAN_WHY_MAX];
		snprintf(why, sizeof(why), "looking at it took longer than %u ms", cell->conf->file_ms);
		child_end(cell, true);
		give_up(cell, why);
	} else if (cell->pid > 0 && r < 0) {
		ended(cell);
	}
	if (cell->pid == 0 && cell->at < cell->n)
		begin(cell);
	if (cell->pid > 0)
		return false;
	cell_end(cell);
	return true;
}

void cell_end(struct cell *cell)
{
	child_end(cell, true);
	for (size_t i = 0; i < cell->n; i++)
		if (cell->files[i] >= 0) {
			close(cell->files[i]);
			cell->files[i] = -1;
		}
	cell->running = false;
}
