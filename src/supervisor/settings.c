/* The configuration is parsed by a process that ends at once; what comes back is of fixed size. See settings.h. */
#include "supervisor/settings.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#define LOAD_S 3 /* a file that cannot be read by then (a pipe, a dead server) is one that cannot be read */

struct outcome {
	struct settings settings;
	struct err err; /* code 0: it went well */
};

static void load_and_tell(const char *path, const struct user *as, int to)
{
	alarm(LOAD_S);
	static struct conf conf; /* written in this process only: costs the supervisor nothing */
	struct outcome outcome = {0};
	if ((!as || user_become(as, &outcome.err) == 0) && conf_load(path, &conf, &outcome.err) == 0) {
		outcome.err.code = 0;
		snprintf(outcome.settings.run_dir, sizeof(outcome.settings.run_dir), "%s", conf.run_dir);
		snprintf(outcome.settings.state_dir, sizeof(outcome.settings.state_dir), "%s", conf.state_dir);
		snprintf(outcome.settings.user, sizeof(outcome.settings.user), "%s", conf.user);
		struct conf_instance any;
		conf_instance(&conf, 1, &any);
		outcome.settings.gateway4 = any.gateway4;
		outcome.settings.gateway6 = any.gateway6;
		outcome.settings.files = conf.files.n_folders > 0;
		for (size_t i = 0; i < conf.n_services; i++)
			outcome.settings.vault = outcome.settings.vault || conf.services[i].vault.path[0];
	}
	/* Smaller than PIPE_BUF: all or nothing. */
	_exit(write(to, &outcome, sizeof(outcome)) == (ssize_t)sizeof(outcome) ? 0 : 1);
}

static_assert(sizeof(struct outcome) <= 4096, "fits into one write to a pipe");

static int outcome_read(int from, pid_t pid, struct outcome *ret_outcome, struct err *err)
{
	ssize_t got;
	int status;
	do
		got = read(from, ret_outcome, sizeof(*ret_outcome));
	while (got < 0 && errno == EINTR);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (got != (ssize_t)sizeof(*ret_outcome))
		return err_set(err, -EIO, "the process that reads the configuration ended without a word (wait status %d)",
		               status);
	return 0;
}

int settings_load(const char *path, const struct user *as, struct settings *ret_settings, struct err *err)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) != 0)
		return err_set(err, -errno, "cannot make a pipe: %s", strerror(errno));
	pid_t pid = fork();
	if (pid == 0)
		load_and_tell(path, as, ends[1]);
	close(ends[1]);
	struct outcome outcome;
	int r = pid < 0 ? err_set(err, -EAGAIN, "cannot start a process: %s", strerror(errno))
	                : outcome_read(ends[0], pid, &outcome, err);
	close(ends[0]);
	if (r < 0)
		return r;
	if (outcome.err.code < 0) {
		outcome.err.text[sizeof(outcome.err.text) - 1] = '\0';
		return err_set(err, outcome.err.code, "%s", outcome.err.text);
	}
	*ret_settings = outcome.settings;
	return 0;
}
