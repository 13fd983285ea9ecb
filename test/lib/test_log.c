/* Logging to whoever does not read: nothing waits, and what was dropped is told. A write that waits ends this by SIGALRM. */
#include "lib/attr.h"
#include "lib/log.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "skip.h"
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define BLOCKED_S 10
#define MANY 3000 /* more lines than any of these streams holds */

enum how { SHARED, OWN }; /* is log_init() let to open the stream anew? */

static void write_many(int to, enum how how)
{
	if (dup2(to, STDERR_FILENO) < 0)
		_exit(9);
	alarm(BLOCKED_S);
	if (how == OWN)
		log_init("test", LOG_LEVEL_INFO);
	for (int i = 0; i < MANY; i++)
		log_info("test.line", "%04d %0100d", i, 0);
}

/* Reads what is there and no more. */
static size_t drain(int from, char *ret_text, size_t size)
{
	size_t used = 0;
	fcntl(from, F_SETFL, O_NONBLOCK);
	for (ssize_t got; used < size - 1 && (got = read(from, ret_text + used, size - 1 - used)) > 0;)
		used += (size_t)got;
	ret_text[used] = '\0';
	return used;
}

/* In a process of its own: standard error is replaced, and it may block. `ends`: where it writes, where that is read. */
static void stuck_reader(const int ends[2], enum how how)
{
	pid_t pid = fork();
	if (pid == 0) {
		static char text[MANY * 200];
		write_many(ends[1], how);
		drain(ends[0], text, sizeof(text));
		int kept = 0;
		unsigned dropped = 0;
		for (char *at = text; (at = strstr(at, "test.line")); at++)
			kept++;
		log_info("test.again", "hello");
		drain(ends[0], text, sizeof(text));
		const char *said = strstr(text, "log.dropped: ");
		if (!said || sscanf(said, "log.dropped: %u lines were dropped", &dropped) != 1)
			_exit(2);
		if (!strstr(said, "\n") || !strstr(said, "test.again: hello\n"))
			_exit(3);
		/* a terminal may hold a line that it took in part: counted as dropped */
		_exit(kept == 0 || dropped < MANY / 10 || (unsigned)kept + dropped < MANY || (unsigned)kept + dropped > MANY + 1
		              ? 4
		              : 0);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	close(ends[0]);
	close(ends[1]);
	assert_false(WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM); /* it blocked */
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_pipe(void **state unused_arg)
{
	for (enum how how = SHARED; how <= OWN; how++) {
		int ends[2];
		assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
		stuck_reader(ends, how);
	}
}

static void test_socket(void **state unused_arg)
{
	static const int types[] = {SOCK_STREAM, SOCK_DGRAM};
	for (size_t i = 0; i < countof(types); i++) {
		int ends[2];
		assert_int_equal(socketpair(AF_UNIX, types[i] | SOCK_CLOEXEC, 0, ends), 0);
		stuck_reader(ends, OWN);
	}
}

static void test_terminal(void **state unused_arg)
{
	int ends[2] = {posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), -1};
	if (ends[0] < 0 || grantpt(ends[0]) < 0 || unlockpt(ends[0]) < 0)
		skip_for("there are no terminals here");
	ends[1] = open(ptsname(ends[0]), O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(ends[1] >= 0);
	pid_t pid = fork();
	if (pid == 0) {
		write_many(ends[1], OWN);
		_exit(0);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	close(ends[0]);
	close(ends[1]);
}

/* Whoever gave us the pipe goes on with it as it was. */
static void test_what_is_shared_stays_as_it_is(void **state unused_arg)
{
	int ends[2], status;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	pid_t pid = fork();
	if (pid == 0) {
		dup2(ends[1], STDERR_FILENO);
		log_init("test", LOG_LEVEL_INFO);
		_exit(fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(fcntl(ends[1], F_GETFL) & O_NONBLOCK, 0);
	close(ends[0]);
	close(ends[1]);
}

static void test_file(void **state unused_arg)
{
	int status;
	FILE *file = tmpfile();
	assert_non_null(file);
	pid_t pid = fork();
	if (pid == 0) {
		write_many(fileno(file), OWN);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	char line[256];
	int lines = 0;
	rewind(file);
	while (fgets(line, sizeof(line), file))
		lines++;
	fclose(file);
	assert_int_equal(lines, MANY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_pipe),     cmocka_unit_test(test_socket),
	        cmocka_unit_test(test_terminal), cmocka_unit_test(test_what_is_shared_stays_as_it_is),
	        cmocka_unit_test(test_file),
	};
	return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
