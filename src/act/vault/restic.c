/* One run of restic: its own environment and nothing of ours, both outputs read to their end. See restic.h. */
#include "act/vault/restic.h"

#include "act/vault/reach.h"
#include "lib/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define LINE_MAX_BYTES 65536 /* a path of 4096 bytes, each written as \u00XX, and the rest of its line */
#define PARTLY 3
#define ENVIRONMENT_MAX 32
#define CREDENTIALS_MAX 16384
#define PASSWORD_MAX 1024

struct reader {
	int fd; /* -1: at its end */
	char text[LINE_MAX_BYTES];
	size_t n;
	bool skips; /* what is longer than there is room for is left out to its end */
};

/* NAME=VALUE lines; others and comments are passed over. */
static size_t credentials_add(char *text, const char **to, size_t n)
{
	char *rest = text;
	for (char *line; (line = strsep(&rest, "\n")) && n < ENVIRONMENT_MAX - 1;) {
		line += strspn(line, " \t");
		if (*line != '#' && strchr(line, '=') && strncmp(line, "LD_", 3) != 0)
			to[n++] = line;
	}
	return n;
}

/* By its environment, which root alone can read: a file that it may read could be brought into the data, see reach.h. */
static int password_take(const char *path, char *ret_text, size_t room, struct err *err)
{
	uint8_t *text;
	size_t size;
	int r = file_read(path, PASSWORD_MAX, &text, &size, err);
	if (r < 0)
		return r;
	snprintf(ret_text, room, "RESTIC_PASSWORD=%.*s", (int)strcspn((char *)text, "\r\n"), (char *)text);
	explicit_bzero(text, size);
	free(text);
	return 0;
}

static void become_restic(const struct restic *r, const char *folder, const char *const *argv, int out, int errors)
{
	static char repository[1024], password[PASSWORD_MAX + 32], cache[1024], temporary[1024];
	static const char *environment[ENVIRONMENT_MAX] = {"PATH=/usr/local/bin:/usr/bin:/bin",
	                                                   "HOME=/nonexistent",
	                                                   "LC_ALL=C.UTF-8",
	                                                   repository,
	                                                   password,
	                                                   cache,
	                                                   temporary};
	static const char *arguments[RESTIC_ARGUMENTS_MAX + 2] = {"restic"};
	uint8_t *text = NULL;
	size_t size, n = 7, a = 1;
	struct err err = {0};
	snprintf(repository, sizeof(repository), "RESTIC_REPOSITORY=%s", r->repository);
	if (password_take(r->password, password, sizeof(password), &err) < 0) {
		dprintf(errors, "password: %s\n", err.text);
		_exit(1);
	}
	snprintf(cache, sizeof(cache), "RESTIC_CACHE_DIR=%s", r->cache);
	snprintf(temporary, sizeof(temporary), "TMPDIR=%s", r->cache); /* packs on their way, which are large */
	if (r->credentials[0]) {
		if (file_read(r->credentials, CREDENTIALS_MAX, &text, &size, &err) < 0) {
			dprintf(errors, "credentials: %s\n", err.text);
			_exit(1);
		}
		credentials_add((char *)text, environment, n);
	}
	for (; *argv && a < countof(arguments) - 1; argv++)
		arguments[a++] = *argv;
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int limited = reach_limit(r, folder, environment + 7);
	if (limited < 0) {
		dprintf(errors, "what it may read cannot be limited: %s\n", strerror(-limited));
		_exit(1);
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (null < 0 || chdir(folder) < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 ||
	    dup2(errors, STDERR_FILENO) < 0)
		_exit(1);
	signal(SIGPIPE, SIG_DFL);
	execvpe("restic", (char *const *)arguments, (char *const *)environment);
	_exit(127);
}

/* Gives out all whole lines; at the end of the output what is left too. */
static int lines_take(struct reader *in, bool end, restic_line *line, void *arg, struct err *err)
{
	int r = 0;
	size_t from = 0;
	for (size_t i = 0; i < in->n && r == 0; i++) {
		if (in->text[i] != '\n')
			continue;
		in->text[i] = '\0';
		if (!in->skips && line && i > from)
			r = line(arg, in->text + from, err);
		in->skips = false;
		from = i + 1;
	}
	memmove(in->text, in->text + from, in->n - from);
	in->n -= from;
	if (in->n == sizeof(in->text) - 1) {
		in->skips = true;
		in->n = 0;
	}
	if (end && in->n && !in->skips && line && r == 0) {
		in->text[in->n] = '\0';
		r = line(arg, in->text, err);
	}
	return r;
}

static int reader_turn(struct reader *in, restic_line *line, void *arg, struct err *err)
{
	ssize_t got = read(in->fd, in->text + in->n, sizeof(in->text) - 1 - in->n);
	if (got < 0)
		return errno == EINTR ? 0 : err_set(err, -errno, "restic cannot be heard: %s", strerror(errno));
	in->n += (size_t)got;
	int r = lines_take(in, got == 0, line, arg, err);
	if (got == 0) {
		close(in->fd);
		in->fd = -1;
	}
	return r;
}

/* What it says went wrong: its word "Fatal", else its last one. */
struct words {
	char text[160];
	bool fatal, no_repository, locked;
};

static int words_take(void *arg, const char *line, struct err *err unused_arg)
{
	struct words *words = arg;
	bool fatal = strncmp(line, "Fatal: ", 7) == 0;
	words->no_repository = words->no_repository || strstr(line, "Is there a repository");
	words->locked = words->locked || strstr(line, "already locked");
	if (strspn(line, " \t") == strlen(line) || (words->fatal && !fatal))
		return 0;
	words->fatal = fatal;
	text_copy(words->text, sizeof(words->text), fatal ? line + 7 : line);
	for (char *c = words->text; *c; c++)
		*c = (char)(*c >= ' ' && *c <= '~' ? *c : '?');
	return 0;
}

static int hear(const struct restic *restic, struct reader *out, struct reader *errors, restic_line *line, void *arg,
                struct words *words, struct err *err)
{
	int r = 0;
	while (r == 0 && (out->fd >= 0 || errors->fd >= 0)) {
		struct pollfd watched[] = {{.fd = out->fd, .events = POLLIN}, {.fd = errors->fd, .events = POLLIN}};
		int64_t left_us = restic->until_us - clock_monotonic_us();
		if (left_us <= 0)
			return err_set(err, -ETIMEDOUT, "restic took too long and was ended");
		if (poll(watched, countof(watched), (int)(left_us / 1000 > 60000 ? 60000 : left_us / 1000 + 1)) < 0 &&
		    errno != EINTR)
			return err_set(err, -errno, "cannot wait for restic: %s", strerror(errno));
		if (watched[1].revents)
			r = reader_turn(errors, words_take, words, err);
		if (r == 0 && watched[0].revents)
			r = reader_turn(out, line, arg, err);
	}
	return r;
}

int restic_run(const struct restic *restic, const char *folder, const char *const *argv, restic_line *line, void *arg,
               struct err *err)
{
	static struct reader out, errors; /* jobs are processes: one run at a time */
	struct words words = {.text = "it gave no reason"};
	int out_ends[2], error_ends[2], status = 0;
	if (pipe2(out_ends, O_CLOEXEC) < 0)
		return err_set(err, -errno, "cannot make a pipe: %s", strerror(errno));
	if (pipe2(error_ends, O_CLOEXEC) < 0) {
		close(out_ends[0]);
		close(out_ends[1]);
		return err_set(err, -errno, "cannot make a pipe: %s", strerror(errno));
	}
	pid_t pid = fork();
	if (pid == 0)
		become_restic(restic, folder, argv, out_ends[1], error_ends[1]);
	close(out_ends[1]);
	close(error_ends[1]);
	out.fd = out_ends[0];
	errors.fd = error_ends[0];
	out.n = errors.n = 0;
	out.skips = errors.skips = false;
	int r = pid < 0 ? err_set(err, -EAGAIN, "cannot start restic: %s", strerror(errno))
	                : hear(restic, &out, &errors, line, arg, &words, err);
	if (r < 0 && pid > 0)
		kill(pid, SIGKILL);
	if (out.fd >= 0)
		close(out.fd);
	if (errors.fd >= 0)
		close(errors.fd);
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (r < 0)
		return r;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		return err_set(err, -ENOENT, "there is no restic: install it");
	if (WIFEXITED(status) && WEXITSTATUS(status) == PARTLY)
		return PARTLY;
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return err_set(err,
		               words.no_repository ? -ENXIO
		               : words.locked      ? -EBUSY
		                                   : -EIO,
		               "restic %s: %s", argv[0], words.text);
	return 0;
}
