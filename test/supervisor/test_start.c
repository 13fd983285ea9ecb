/* Every bad start ends in one sentence that says what to do, the right exit status, and nothing half-made left behind. */
#include "stage.h"

#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "skip.h"
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

static void nothing_left(const struct stage *stage)
{
	assert_false(stage_has(stage, "koboshi.sock"));
	assert_false(stage_has(stage, "koboshid.lock"));
}

static void refused(struct stage *stage, stage_before *before, int status, const char *sentence)
{
	int got = stage_try(stage, before, NULL, NULL);
	if (got == 77) {
		print_message("not possible on this machine: %s\n", sentence);
		return;
	}
	if (!strstr(stage->output, sentence))
		fail_msg("wanted '%s', got '%s'", sentence, stage->output);
	assert_int_equal(got, status);
	assert_int_equal(stage->output[strlen(stage->output) - 1], '\n'); /* it is the last line, and one */
	assert_null(strchr(strstr(stage->output, sentence), '\n')[1] ? stage->output : NULL);
}

static bool own_mounts(void)
{
	return unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

static bool as_nobody(unused_arg const struct stage *stage)
{
	return setresgid(65534, 65534, 65534) == 0 && setresuid(65534, 65534, 65534) == 0;
}

static bool without_tun(unused_arg const struct stage *stage)
{
	return own_mounts() && mount("none", "/dev/net", "tmpfs", 0, "size=4k") == 0;
}

static bool with_full_disk(const struct stage *stage)
{
	char path[128];
	snprintf(path, sizeof(path), "%s/state", stage->dir);
	mkdir(path, 0755);
	return own_mounts() && mount("none", path, "tmpfs", 0, "size=16k") == 0;
}

static bool with_readonly_disk(const struct stage *stage)
{
	char path[128];
	snprintf(path, sizeof(path), "%s/state", stage->dir);
	mkdir(path, 0755);
	return own_mounts() && mount("none", path, "tmpfs", MS_RDONLY, "size=16k") == 0;
}

static void test_configuration_missing(void **state)
{
	struct stage *stage = *state;
	unlink(stage->config);
	refused(stage, NULL, 78, "cannot find");
}

/* Like a disk that stands still: reading it never ends. Not 78, which the unit takes for a mistake that stays one. */
static void test_configuration_that_cannot_be_read_just_now(void **state)
{
	struct stage *stage = *state;
	unlink(stage->config);
	assert_int_equal(mkfifo(stage->config, 0644), 0);
	refused(stage, NULL, 1, "the process that reads the configuration ended without a word");
	nothing_left(stage);
}

static void test_configuration_wrong(void **state)
{
	struct stage *stage = *state;
	stage_config(stage, "65534\nservicess: {}", "state");
	refused(stage, NULL, 78, "koboshi.yaml:2:1: ");
	nothing_left(stage);
}

static void test_not_root(void **state)
{
	refused(*state, as_nobody, 1, "must be started as root");
}

static void test_no_tun(void **state)
{
	refused(*state, without_tun, 1, "there is no /dev/net/tun");
}

static void test_program_missing(void **state)
{
	struct stage *stage = *state;
	char path[160];
	snprintf(path, sizeof(path), "%s/koboshi-vm", stage->libexec);
	unlink(path);
	refused(stage, NULL, 1, "koboshi-vm': No such file or directory; install koboshi again");
	nothing_left(stage);
}

static void test_user_missing(void **state)
{
	struct stage *stage = *state;
	stage_config(stage, "nobody-has-this-name", "state");
	refused(stage, NULL, 1, "there is no user 'nobody-has-this-name'");
	nothing_left(stage);
}

static void test_disk_full(void **state)
{
	refused(*state, with_full_disk, 1, "the disk under paths.state");
	nothing_left(*state);
}

static void test_disk_not_writable(void **state)
{
	refused(*state, with_readonly_disk, 1, "/state': Read-only file system");
	nothing_left(*state);
}

static void test_state_below_a_file(void **state)
{
	stage_config(*state, "65534", "/dev/null/state");
	refused(*state, NULL, 1, "cannot make the folder");
	nothing_left(*state);
}

static void test_socket_of_somebody_else(void **state)
{
	struct stage *stage = *state;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/koboshi.sock", stage->run);
	assert_int_equal(mkdir(stage->run, 0711), 0);
	auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 1), 0);
	refused(stage, NULL, 1, "another program listens on");
	assert_true(stage_has(stage, "koboshi.sock")); /* not ours to remove */
	assert_false(stage_has(stage, "koboshid.lock"));
}

static void test_stale_socket_is_no_obstacle(void **state)
{
	struct stage *stage = *state;
	pid_t net, vm, engine;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/koboshi.sock", stage->run);
	assert_int_equal(mkdir(stage->run, 0711), 0);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	close(fd);
	stage_start(stage, NULL, NULL, NULL);
	stage_await_all(stage, &net, &vm, &engine);
}

static void test_run_dir_too_long(void **state)
{
	struct stage *stage = *state;
	memset(stage->run + strlen(stage->run), 'x', sizeof(stage->run) - strlen(stage->run) - 1);
	stage->run[sizeof(stage->run) - 1] = '\0';
	stage_config(stage, "65534", "state");
	refused(stage, NULL, 78, "must be at most 60 bytes long");
	nothing_left(stage);
}

static void test_watchdog_missing(void **state)
{
	struct stage *stage = *state;
	assert_int_equal(stage_try(stage, NULL, "--watchdog", "/dev/does-not-exist"), 1);
	assert_non_null(strstr(stage->output, "cannot open the watchdog"));
	nothing_left(stage);
}

static void test_check_reads_the_configuration_only(void **state)
{
	struct stage *stage = *state;
	assert_int_equal(stage_try(stage, as_nobody, "--check", NULL), 0);
	assert_false(stage_has(stage, "."));
}

static bool file_say(const char *path, const char *text)
{
	auto_close int fd = open(path, O_WRONLY | O_CLOEXEC);
	return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
}

static bool root_is_the_only_user(unused_arg const struct stage *stage)
{
	return unshare(CLONE_NEWUSER) == 0 && file_say("/proc/self/setgroups", "deny") &&
	       file_say("/proc/self/uid_map", "0 0 1") && file_say("/proc/self/gid_map", "0 0 1");
}

static void test_a_user_namespace_without_the_user_is_told(void **state)
{
	struct stage *stage = *state;
	char rest[512];
	if (stage_try(stage, root_is_the_only_user, "--check", NULL) == 77)
		skip_for("no user namespace may be made here");
	stage_start(stage, root_is_the_only_user, NULL, NULL);
	stage_await(stage, "engine", "start uid 0 ", rest, sizeof(rest));
	assert_non_null(strstr(rest, "nnp 1"));
	assert_non_null(strstr(rest, "does not exist in this user namespace"));
}

static int setup(void **state)
{
	static struct stage stage;
	stage_open(&stage);
	*state = &stage;
	return 0;
}

static int teardown(void **state)
{
	stage_close(*state);
	return 0;
}

#define ON_STAGE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	if (geteuid() != 0) {
		puts("skipped: koboshid needs root");
		return 77;
	}
	const struct CMUnitTest tests[] = {
	        ON_STAGE(test_configuration_missing),
	        ON_STAGE(test_configuration_that_cannot_be_read_just_now),
	        ON_STAGE(test_configuration_wrong),
	        ON_STAGE(test_not_root),
	        ON_STAGE(test_no_tun),
	        ON_STAGE(test_program_missing),
	        ON_STAGE(test_user_missing),
	        ON_STAGE(test_disk_full),
	        ON_STAGE(test_disk_not_writable),
	        ON_STAGE(test_state_below_a_file),
	        ON_STAGE(test_socket_of_somebody_else),
	        ON_STAGE(test_stale_socket_is_no_obstacle),
	        ON_STAGE(test_run_dir_too_long),
	        ON_STAGE(test_watchdog_missing),
	        ON_STAGE(test_check_reads_the_configuration_only),
	        ON_STAGE(test_a_user_namespace_without_the_user_is_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
