/* What the watcher takes, and that a guest who makes much of everything gets the rest of his folder looked at all the same. */
#include "made.h"
#include "lib/bytes.h"
#include "scan/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define WAIT_US 10000000
#define SEEN_MAX 65536

static struct conf_files conf;
static struct watch *watch;
static char *seen[SEEN_MAX];
static size_t n_seen;

static int setup(unused_arg void **state)
{
	struct err err;
	made_open();
	mkdir(made_path("data"), 0755);
	made_text("data/old", "x");
	conf = (struct conf_files){.n_folders = 1};
	text_copy(conf.folders[0].path, sizeof(conf.folders[0].path), made_path("data"));
	watch = watch_new(&conf, &err);
	assert_non_null(watch);
	return 0;
}

static void forget(void)
{
	while (n_seen)
		free(seen[--n_seen]);
}

static int teardown(unused_arg void **state)
{
	watch_free(watch);
	forget();
	made_close();
	return 0;
}

static bool has_seen(const char *name)
{
	for (size_t i = 0; i < n_seen; i++)
		if (strcmp(seen[i], name) == 0)
			return true;
	return false;
}

static void take_all(int64_t now_us)
{
	char path[QUEUE_PATH_MAX];
	size_t folder;
	for (int fd; (fd = watch_next(watch, now_us, &folder, path)) != -ENODATA;) {
		if (fd < 0)
			continue;
		close(fd);
		assert_true(n_seen < SEEN_MAX);
		seen[n_seen++] = strdup(path);
	}
}

/* Until `name` was seen, or, NULL, until nothing more is to come. */
static void await(const char *name)
{
	int64_t end_us = clock_monotonic_us() + WAIT_US;
	while (name ? !has_seen(name) : watch_deadline_us(watch) < clock_monotonic_us() + 1000000) {
		int64_t now_us = clock_monotonic_us(), left_us = watch_deadline_us(watch) - now_us;
		if (now_us > end_us)
			fail_msg("'%s' was not seen", name ? name : "an end");
		struct pollfd watched = {.fd = watch_fd(watch), .events = POLLIN};
		if (poll(&watched, 1, left_us <= 0 ? 0 : left_us > 1000000 ? 1000 : (int)(left_us / 1000 + 1)) > 0)
			watch_read(watch, clock_monotonic_us());
		watch_turn(watch, clock_monotonic_us());
		take_all(clock_monotonic_us());
	}
}

static void test_old_and_new_files_are_taken_once(unused_arg void **state)
{
	await("old");
	forget();
	auto_close int fd = open(made_path("data/new"), O_WRONLY | O_CREAT, 0644);
	for (int i = 0; i < 100; i++)
		assert_int_equal(write(fd, "x", 1), 1);
	await("new"); /* though it is still open */
	await(NULL);
	assert_int_equal(n_seen, 1);
	made_text("rename-me", "x");
	assert_int_equal(rename(made_path("rename-me"), made_path("data/renamed")), 0);
	await("renamed");
	made_text("link-me", "x");
	assert_int_equal(link(made_path("link-me"), made_path("data/linked")), 0);
	await("linked");
}

static void test_folders_that_come_and_move_are_followed(unused_arg void **state)
{
	await("old");
	mkdir(made_path("made-elsewhere"), 0755);
	mkdir(made_path("made-elsewhere/deep"), 0755);
	made_text("made-elsewhere/deep/inside", "x");
	assert_int_equal(rename(made_path("made-elsewhere"), made_path("data/a")), 0);
	await("a/deep/inside");
	assert_int_equal(rename(made_path("data/a"), made_path("data/b")), 0);
	await("b/deep/inside");
	forget();
	made_text("data/b/deep/inside", "changed");
	await("b/deep/inside");
	assert_false(has_seen("a/deep/inside"));
}

static void test_links_pipes_and_what_is_gone_are_nothing(unused_arg void **state)
{
	await("old");
	forget();
	assert_int_equal(symlink("/etc/passwd", made_path("data/link")), 0);
	assert_int_equal(symlink("/etc", made_path("data/linked-folder")), 0);
	assert_int_equal(mkfifo(made_path("data/pipe"), 0644), 0);
	made_text("data/gone", "x");
	unlink(made_path("data/gone"));
	made_text("data/last", "x");
	await("last");
	await(NULL);
	assert_int_equal(n_seen, 1);
}

/* More than the queues hold, made while nobody reads: found by walking. */
static void test_a_flood_of_files_is_worked_off(unused_arg void **state)
{
	char name[32];
	await("old");
	forget();
	for (int i = 0; i < 9000; i++) {
		snprintf(name, sizeof(name), "data/%d", i);
		auto_close int fd = open(made_path(name), O_WRONLY | O_CREAT, 0644);
		assert_true(fd >= 0);
		if (i % 3000 == 0) {
			watch_read(watch, clock_monotonic_us());
			assert_true(watch_waiting(watch) <= QUEUE_MAX);
		}
	}
	await(NULL);
	for (int i = 0; i < 9000; i++) {
		snprintf(name, sizeof(name), "%d", i);
		if (!has_seen(name))
			fail_msg("%s was never looked at", name);
		if (i % 1000 == 0)
			assert_true(watch_waiting(watch) == 0);
	}
}

static void test_a_folder_that_goes_is_told_and_taken_up_again(unused_arg void **state)
{
	struct scan_problems problems = {0};
	await("old");
	assert_int_equal(rename(made_path("data"), made_path("elsewhere")), 0);
	unlink(made_path("elsewhere/old"));
	assert_int_equal(rmdir(made_path("elsewhere")), 0);
	watch_turn(watch, clock_monotonic_us() + 10000000); /* when it looks again */
	watch_problems(watch, &problems);
	assert_int_equal(problems.n, 1);
	assert_non_null(strstr(problems.lines[0], "cannot open the folder"));
	mkdir(made_path("data"), 0755);
	watch_turn(watch, clock_monotonic_us() + 20000000);
	made_text("data/again", "x");
	await("again");
	problems = (struct scan_problems){0};
	watch_problems(watch, &problems);
	assert_int_equal(problems.n, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup_teardown(test_old_and_new_files_are_taken_once, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_folders_that_come_and_move_are_followed, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_links_pipes_and_what_is_gone_are_nothing, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_a_flood_of_files_is_worked_off, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_a_folder_that_goes_is_told_and_taken_up_again, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
