/*
 * Watching and telling. One poll; what takes long happens in a cell. While the engine is away or does not read, findings wait
 * here, and when many wait nothing new is looked at: nothing is lost but time.
 */
#include "lib/bytes.h"
#include "lib/log.h"
#include "lib/privileges.h"
#include "scan/cell.h"
#include "scan/run.h"
#include "scan/watch.h"
#include "wire/link.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <string.h>
#include <sys/resource.h>

#define OUTBOX_MAX 256
#define COUNTS_US 1000000
#define NICE 10 /* nothing that serves shall wait for it */

struct serve {
	const struct conf *conf;
	struct lore *lore;
	struct watch *watch;
	struct cell cell;
	size_t folders[CELL_FILES_MAX];
	char paths[CELL_FILES_MAX][QUEUE_PATH_MAX];
	int engine; /* -1: none */
	struct wire_note outbox[OUTBOX_MAX];
	size_t first, n;
	struct wire_files counts, told;
	size_t n_problems;                    /* told */
	int64_t now_us, counts_us, credit_us; /* `credit_us`: when the next file may be taken */
};

void path_print(char *to, size_t size, const char *folder, const char *path)
{
	size_t length = strlen(folder) + (*folder ? 1 : 0) + strlen(path), skip = length < size ? 0 : length - size + 4;
	size_t at = (size_t)snprintf(to, size, "%s", skip ? "..." : "");
	const char *parts[] = {folder, *folder ? "/" : "", path};
	for (size_t i = 0; i < countof(parts); i++)
		for (const char *c = parts[i]; *c && at < size - 1; c++) {
			if (skip) {
				skip--;
				continue;
			}
			to[at++] = (char)(*c >= ' ' && *c <= '~' ? *c : '?');
		}
	to[at] = '\0';
}

/* --- telling */

static void engine_drop(struct serve *s, const char *why)
{
	log_notice("scan.engine", "link to the engine ended: %s", why);
	close(s->engine);
	s->engine = -1;
}

static bool post(struct serve *s, const struct wire_note *note)
{
	struct err err = {0};
	struct wire_message message = {.kind = WIRE_NOTICE, .note = *note};
	int r = s->engine < 0 ? -EAGAIN : wire_send(s->engine, &message, NULL, 0, &err);
	if (r < 0 && r != -EAGAIN)
		engine_drop(s, err.text);
	return r == 0;
}

static void outbox_flush(struct serve *s)
{
	while (s->n && post(s, &s->outbox[s->first])) {
		s->first = (s->first + 1) % OUTBOX_MAX;
		s->n--;
	}
}

/* Always room: no batch is begun when it could fill it. */
static struct wire_note *note_add(struct serve *s, enum wire_notice type)
{
	if (s->n == OUTBOX_MAX) {
		s->first = (s->first + 1) % OUTBOX_MAX;
		s->n--;
	}
	struct wire_note *note = &s->outbox[(s->first + s->n++) % OUTBOX_MAX];
	*note = (struct wire_note){.type = type, .time_us = s->now_us};
	return note;
}

/* "kb-7/..." in a folder that is kept by instance. */
static uint32_t owner_of(const struct conf_folder *folder, const char *path)
{
	unsigned number = 0;
	int length = 0;
	if (!folder->instances || sscanf(path, "kb-%9u%n", &number, &length) != 1 || path[length] != '/')
		return 0;
	return number;
}

static void result_tell(struct serve *s, size_t index)
{
	const struct scan_result *result = &s->cell.results[index];
	const struct conf_folder *folder = &s->conf->files.folders[s->folders[index]];
	char path[WIRE_TEXT_MAX - SCAN_WHY_MAX + 40], sum[2 * SCAN_SHA256 + 1];
	path_print(path, sizeof(path), folder->path, s->paths[index]);
	s->counts.looked_at++;
	s->counts.bad += result->verdict == SCAN_BAD;
	s->counts.unknown += result->verdict == SCAN_UNKNOWN;
	s->counts.skipped += result->verdict == SCAN_SKIPPED;
	if (result->verdict == SCAN_GOOD)
		return;
	struct wire_note *note = note_add(s, result->verdict == SCAN_BAD       ? NOTICE_FILE_BAD
	                                     : result->verdict == SCAN_SKIPPED ? NOTICE_FILE_SKIPPED
	                                                                       : NOTICE_FILE_UNKNOWN);
	note->instance = owner_of(folder, s->paths[index]);
	bytes_to_hex(result->sha256, SCAN_SHA256, sum);
	if (result->verdict == SCAN_UNKNOWN)
		snprintf(note->text, sizeof(note->text), "%s %s", sum, path);
	else
		snprintf(note->text, sizeof(note->text), "%s: %s", path, result->why);
	if (result->verdict == SCAN_BAD)
		log_warning("scan.bad", "%s", note->text);
	else if (result->verdict == SCAN_SKIPPED)
		log_notice("scan.skipped", "%s", note->text);
}

static void problems_tell(struct serve *s, bool all)
{
	struct scan_problems problems = s->lore->problems;
	watch_problems(s->watch, &problems);
	size_t n = problems.n + problems.more;
	if (n == s->n_problems && !all)
		return;
	s->n_problems = n;
	note_add(s, NOTICE_READY); /* what was told before counts no more */
	for (size_t i = 0; i < problems.n; i++) {
		log_warning("scan.problem", "%s", problems.lines[i]);
		text_copy(note_add(s, NOTICE_FILE_TROUBLE)->text, WIRE_TEXT_MAX, problems.lines[i]);
	}
	if (problems.more)
		snprintf(note_add(s, NOTICE_FILE_TROUBLE)->text, WIRE_TEXT_MAX, "and %zu more of that kind, see the log",
		         problems.more);
}

static void counts_tell(struct serve *s)
{
	s->counts.waiting = (uint32_t)watch_waiting(s->watch);
	s->counts.folders = (uint32_t)watch_folders(s->watch);
	if (s->now_us - s->counts_us < COUNTS_US || memcmp(&s->counts, &s->told, sizeof(s->counts)) == 0)
		return;
	s->counts_us = s->now_us;
	s->told = s->counts;
	note_add(s, NOTICE_FILE_COUNTS)->files = s->counts;
}

/* --- looking */

static void batch_begin(struct serve *s)
{
	int files[CELL_FILES_MAX];
	size_t n = 0;
	int64_t each_us = 1000000 / s->conf->files.per_second;
	if (s->credit_us < s->now_us - 1000000) /* a second's worth can be saved up */
		s->credit_us = s->now_us - 1000000;
	while (n < CELL_FILES_MAX && s->credit_us <= s->now_us) {
		int fd = watch_next(s->watch, s->now_us, &s->folders[n], s->paths[n]);
		if (fd == -ENODATA)
			break;
		s->credit_us += each_us;
		if (fd >= 0)
			files[n++] = fd; /* else it is no plain file, or gone again: nothing that could be read */
	}
	if (n)
		cell_start(&s->cell, s->lore, &s->conf->files, files, n);
}

static void look(struct serve *s)
{
	if (s->cell.running && cell_turn(&s->cell, s->now_us))
		for (size_t i = 0; i < s->cell.n; i++)
			result_tell(s, i);
	if (!s->cell.running && s->n < OUTBOX_MAX / 2)
		batch_begin(s);
}

/* --- the loop */

/* False at the end of the supervisor. */
static bool from_supervisor(struct serve *s)
{
	int r = wire_engine_relink(&s->engine);
	if (r <= 0)
		return r == 0;
	s->told = (struct wire_files){0};
	post(s, &(struct wire_note){.type = NOTICE_READY, .time_us = s->now_us});
	problems_tell(s, true);
	return true;
}

/* The engine has nothing to order here: what comes is its end, or nonsense. */
static void from_engine(struct serve *s)
{
	struct wire_message message;
	struct err err = {.text = "it sent what nobody asked for"};
	int fds[WIRE_FDS_MAX];
	size_t n_fds = 0;
	int r = wire_receive(s->engine, &message, fds, &n_fds, &err);
	for (size_t i = 0; r == 1 && i < n_fds; i++)
		close(fds[i]);
	if (r != 0)
		engine_drop(s, err.text);
}

static int patience_ms(const struct serve *s)
{
	int64_t until_us = s->cell.running ? s->cell.deadline_us : watch_deadline_us(s->watch);
	if (!s->cell.running && until_us < s->credit_us)
		until_us = s->credit_us;
	if (!s->cell.running && s->n >= OUTBOX_MAX / 2)
		until_us = INT64_MAX; /* the engine's reading wakes us */
	if (memcmp(&s->counts, &s->told, sizeof(s->counts)) != 0 && s->counts_us + COUNTS_US < until_us)
		until_us = s->counts_us + COUNTS_US;
	if (until_us == INT64_MAX)
		return -1;
	int64_t left_us = until_us - clock_monotonic_us();
	return left_us <= 0 ? 0 : left_us > 60000000 ? 60000 : (int)(left_us / 1000 + 1);
}

static int turn(struct serve *s, struct err *err)
{
	struct pollfd watched[] = {{.fd = WIRE_SUPERVISOR_FD, .events = POLLIN},
	                           {.fd = s->engine, .events = (short)(POLLIN | (s->n ? POLLOUT : 0))},
	                           {.fd = watch_fd(s->watch), .events = POLLIN},
	                           {.fd = s->cell.running ? s->cell.fd : -1, .events = POLLIN}};
	int n = poll(watched, countof(watched), patience_ms(s));
	if (n < 0 && errno != EINTR)
		return err_set(err, -errno, "cannot wait: %s", strerror(errno));
	s->now_us = clock_monotonic_us();
	if (n > 0 && watched[2].revents)
		watch_read(s->watch, s->now_us);
	watch_turn(s->watch, s->now_us);
	look(s);
	problems_tell(s, false);
	counts_tell(s);
	if (n > 0 && (watched[1].revents & ~POLLOUT))
		from_engine(s);
	if (n > 0 && watched[0].revents && !from_supervisor(s))
		return 1;
	outbox_flush(s);
	return 0;
}

int serve(const struct conf *conf, struct err *err)
{
	static const int kept[] = {CAP_DAC_READ_SEARCH, CAP_SETUID, CAP_SETGID, CAP_KILL}; /* to read; to confine and end cells */
	static struct serve s;
	(void)!setpriority(PRIO_PROCESS, 0, NICE);
	int r = privileges_keep(kept, countof(kept), err);
	if (r < 0)
		return r;
	s = (struct serve){.conf = conf, .engine = -1, .now_us = clock_monotonic_us(), .lore = lore_new(&conf->files)};
	s.watch = watch_new(&conf->files, err);
	if (!s.watch)
		return err->code;
	log_info("scan.ready", "%zu folders, %zu files of rules, %zu sums known as bad, %zu as good", conf->files.n_folders,
	         s.lore->n_rule_files, s.lore->bad.n, s.lore->good.n);
	while (r == 0)
		r = turn(&s, err);
	if (s.cell.running)
		cell_end(&s.cell);
	watch_free(s.watch);
	lore_free(s.lore);
	return r < 0 ? r : 0;
}
