/* What restic can still read when its walk was led out of the data. Each look is a child's, since there is no way back. */
#include "act/vault/reach.h"

#include "lib/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "skip.h"

static char top[] = "/tmp/kbreachXXXXXX";

static int setup(unused_arg void **state)
{
	if (!mkdtemp(top) || chdir(top) < 0)
		return -1;
	bool made = system("mkdir data data/sub cache staging staging/a repository elsewhere && touch data/file elsewhere/secret "
	                   "password cert && "
	                   "ln -s ../elsewhere data/out") == 0;
	return made ? 0 : -1;
}

static int teardown(unused_arg void **state)
{
	char command[64];
	snprintf(command, sizeof(command), "rm -r %s", top);
	return chdir("/") == 0 && system(command) == 0 ? 0 : -1;
}

static int opens(const char *path)
{
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? errno : 0;
}

/* The child's own words: which of its looks was not as it should be; 0: none. */
static int looks(const struct restic *restic, const char *data)
{
	char cacert[96];
	const char *const named[] = {cacert, NULL};
	snprintf(cacert, sizeof(cacert), "RESTIC_CACERT=%s/cert", top);
	if (reach_limit(restic, data, named) != 0)
		return 1;
	const struct {
		const char *path;
		int error;
	} rows[] = {{"data/file", 0},
	            {"data/sub", 0},
	            {"elsewhere/secret", EACCES},
	            {"data/out/secret", EACCES},
	            {"data/out", EACCES},
	            {"password", EACCES},
	            {"cert", 0},
	            {"repository", 0},
	            {"cache", 0},
	            {"/etc/shadow", EACCES},
	            {"/etc/passwd", 0},
	            {"/proc/self/environ", EACCES},
	            {"/usr/bin/env", 0}};
	for (size_t i = 0; i < countof(rows); i++)
		if (opens(rows[i].path) != rows[i].error && opens(rows[i].path) != ENOENT)
			return 10 + (int)i;
	auto_close int fresh = open("staging/a/new", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fresh < 0 || link("staging/a/new", "staging/linked") < 0 || rename("staging/a/new", "staging/moved") < 0)
		return 2;
	return 0;
}

static void test_what_it_reads(unused_arg void **state)
{
	char data[64], cache[64], staging[64], repository[64];
	int status;
	if (!reach_is_limited())
		skip_for("this kernel has no Landlock that could do it");
	snprintf(data, sizeof(data), "%s/data", top);
	snprintf(cache, sizeof(cache), "%s/cache", top);
	snprintf(staging, sizeof(staging), "%s/staging", top);
	snprintf(repository, sizeof(repository), "%s/repository", top);
	const struct restic restic = {
	        .repository = repository, .credentials = "", .password = "", .cache = cache, .staging = staging};
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(looks(&restic, data));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_what_it_reads)};
	return cmocka_run_group_tests(tests, setup, teardown);
}
