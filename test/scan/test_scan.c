/* What is said of files, by lists and by rules, and that one file cannot spoil it for the others. All content is harmless text.
 */
#include "made.h"
#include "lib/bytes.h"
#include "scan/cell.h"
#include "lib/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "skip.h"
#include <nettle/sha2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define MARKER "rule marker { strings: $a = \"KOBOSHI-HARMLESS-MARKER\" condition: $a }\n"
/* Runs for hours where it is let. */
#define SLOW "rule slow { strings: $a = \"BE-SLOW\" condition: $a and for all i in (1..2000000000) : (i + filesize != 7) }\n"

static struct conf_files conf;
static struct lore *lore;

static int setup(unused_arg void **state)
{
	made_open();
	conf = (struct conf_files){.file_bytes = 1u << 20, .file_ms = 300, .memory_mib = 64, .per_second = 50};
	return 0;
}

static int teardown(unused_arg void **state)
{
	lore_free(lore);
	lore = NULL;
	made_close();
	return 0;
}

static void sum_line(char *to, size_t size, const char *text)
{
	uint8_t digest[SCAN_SHA256];
	char hex[2 * SCAN_SHA256 + 1];
	struct sha256_ctx hash;
	sha256_init(&hash);
	sha256_update(&hash, strlen(text), (const uint8_t *)text);
	sha256_digest(&hash, sizeof(digest), digest);
	bytes_to_hex(digest, sizeof(digest), hex);
	snprintf(to, size, "%s  some name\n", hex);
}

static void rules(const char *name, const char *text)
{
	char path[64];
	mkdir(made_path("rules"), 0755);
	snprintf(path, sizeof(path), "rules/%s", name);
	made_text(path, text);
	text_copy(conf.rules, sizeof(conf.rules), made_path("rules"));
}

/* Judges the files of these names; what became of it is in `cell->results`. */
static void judge(struct cell *cell, const char *const *names, size_t n, void (*meanwhile)(struct cell *cell))
{
	int files[CELL_FILES_MAX];
	auto_close int tree = tree_open(made_dir, NULL);
	lore = lore ? lore : lore_new(&conf);
	for (size_t i = 0; i < n; i++)
		files[i] = tree_file(tree, names[i], NULL);
	cell_start(cell, lore, &conf, files, n);
	while (!cell_turn(cell, clock_monotonic_us())) {
		struct pollfd watched = {.fd = cell->fd, .events = POLLIN};
		int64_t left_us = cell->deadline_us - clock_monotonic_us();
		if (meanwhile)
			meanwhile(cell);
		poll(&watched, 1, left_us > 0 ? (int)(left_us / 1000 + 1) : 0);
	}
}

static void is(const struct scan_result *result, enum scan_verdict verdict, const char *why)
{
	if (result->verdict != verdict || !strstr(result->why, why))
		fail_msg("wanted %s because of '%s', got %s because of '%s'", scan_verdict_name(verdict), why,
		         scan_verdict_name(result->verdict), result->why);
}

static void test_lists_and_rules_judge(unused_arg void **state)
{
	static const char *const names[] = {"listed-bad", "listed-good", "marked", "plain", "empty"};
	char bad[128], good[256];
	struct cell cell;
	sum_line(bad, sizeof(bad), "bad one");
	sum_line(good, sizeof(good), "good KOBOSHI-HARMLESS-MARKER");
	made_text("bad", bad);
	made_text("good", good);
	text_copy(conf.bad, sizeof(conf.bad), made_path("bad"));
	text_copy(conf.good, sizeof(conf.good), made_path("good"));
	rules("marker.yar", MARKER);
	made_text(names[0], "bad one");
	made_text(names[1], "good KOBOSHI-HARMLESS-MARKER");
	made_text(names[2], "and a KOBOSHI-HARMLESS-MARKER in it");
	made_text(names[3], "nothing");
	made_text(names[4], "");
	judge(&cell, names, countof(names), NULL);
	assert_int_equal(lore->problems.n, 0);
	is(&cell.results[0], SCAN_BAD, "listed as bad");
	is(&cell.results[1], SCAN_GOOD, "listed as good");
	is(&cell.results[2], SCAN_BAD, "rule marker of marker.yar");
	is(&cell.results[3], SCAN_UNKNOWN, "");
	is(&cell.results[4], SCAN_UNKNOWN, "");
	assert_true(cell.results[3].hashed);
}

static void test_a_rule_or_line_that_is_wrong_is_named_and_the_others_are_used(unused_arg void **state)
{
	static const char *const names[] = {"marked", "listed-bad"};
	char list[512] = "# of today\n\nno sum at all\n", line[128];
	struct cell cell;
	sum_line(line, sizeof(line), "bad one");
	strcat(list, line);
	made_text("bad", list);
	text_copy(conf.bad, sizeof(conf.bad), made_path("bad"));
	text_copy(conf.good, sizeof(conf.good), made_path("absent"));
	rules("a.yar", "rule a {\n\n condition: nonsense }\n");
	rules("b.yar", MARKER);
	rules("c.yar", "include \"/etc/passwd\"\n");
	rules("d.yar", MARKER); /* the same name in another file */
	rules("readme.txt", "rule { }");
	made_text(names[0], "KOBOSHI-HARMLESS-MARKER");
	made_text(names[1], "bad one");
	judge(&cell, names, countof(names), NULL);
	is(&cell.results[0], SCAN_BAD, "rule marker of b.yar");
	is(&cell.results[1], SCAN_BAD, "listed as bad");
	assert_int_equal(lore->n_rule_files, 2);
	assert_int_equal(lore->problems.n, 4);
	assert_non_null(strstr(lore->problems.lines[0], "absent"));
	assert_non_null(strstr(lore->problems.lines[1], "/bad:3: does not begin with a SHA-256 sum"));
	assert_non_null(strstr(lore->problems.lines[2], "/rules/a.yar:3: undefined identifier \"nonsense\""));
	assert_non_null(strstr(lore->problems.lines[3], "/rules/c.yar:1:"));
}

static const char *const slow_one[] = {"one", "slow", "marked"};

static void made_slow_one(void)
{
	rules("slow.yar", SLOW MARKER);
	made_text(slow_one[0], "nothing");
	made_text(slow_one[1], "BE-SLOW");
	made_text(slow_one[2], "KOBOSHI-HARMLESS-MARKER");
}

static void test_a_slow_file_is_given_up_once_and_the_others_go_on(unused_arg void **state)
{
	struct cell cell;
	made_slow_one();
	judge(&cell, slow_one, countof(slow_one), NULL);
	is(&cell.results[0], SCAN_UNKNOWN, "");
	is(&cell.results[1], SCAN_SKIPPED, "longer than 300 ms");
	is(&cell.results[2], SCAN_BAD, "rule marker");
	judge(&cell, slow_one, countof(slow_one), NULL);
	is(&cell.results[1], SCAN_SKIPPED, "given up before: looking at it took longer"); /* said by who does not try it */
	is(&cell.results[2], SCAN_BAD, "rule marker");
}

static void kill_at_second(struct cell *cell)
{
	if (cell->pid > 0 && cell->at == 1 && cell->results[1].hashed)
		kill(cell->pid, SIGKILL);
}

static void test_a_file_that_ends_the_cell_is_given_up_and_the_others_go_on(unused_arg void **state)
{
	struct cell cell;
	conf.file_ms = 20000;
	made_slow_one();
	judge(&cell, slow_one, countof(slow_one), kill_at_second);
	is(&cell.results[0], SCAN_UNKNOWN, "");
	is(&cell.results[1], SCAN_SKIPPED, "it ended the process that looked at it");
	is(&cell.results[2], SCAN_BAD, "rule marker");
	assert_string_equal(lore_given_up(lore, cell.results[1].sha256), cell.results[1].why);
}

static void test_memory_is_bounded(unused_arg void **state)
{
#ifndef UNDER_ASAN
	static const char *const names[] = {"large", "marked"};
	struct cell cell;
	conf.file_bytes = 64u << 20;
	conf.memory_mib = 16;
	rules("marker.yar", MARKER);
	made_text(names[0], "x");
	assert_int_equal(truncate(made_path(names[0]), 60 << 20), 0);
	made_text(names[1], "KOBOSHI-HARMLESS-MARKER");
	judge(&cell, names, countof(names), NULL);
	is(&cell.results[0], SCAN_SKIPPED, "too much memory");
	is(&cell.results[1], SCAN_BAD, "rule marker");
#else
	skip_for("a sanitizer takes memory of its own");
#endif
}

static void test_of_a_giant_only_the_beginning_is_looked_at(unused_arg void **state)
{
	static const char *const names[] = {"giant", "marked-giant"};
	struct cell cell;
	rules("marker.yar", MARKER);
	made_text(names[0], "nothing");
	made_text(names[1], "KOBOSHI-HARMLESS-MARKER");
	for (size_t i = 0; i < countof(names); i++)
		assert_int_equal(truncate(made_path(names[i]), 1ll << 40), 0); /* holes: takes no room */
	judge(&cell, names, countof(names), NULL);
	is(&cell.results[0], SCAN_SKIPPED, "only its first 1048576 bytes");
	assert_false(cell.results[0].hashed);
	is(&cell.results[1], SCAN_BAD, "rule marker");
}

static void test_nothing_but_plain_files_below_the_folder_is_opened(unused_arg void **state)
{
	auto_close int tree = tree_open(made_dir, NULL);
	struct err err;
	mkdir(made_path("sub"), 0755);
	made_text("sub/file", "x");
	assert_int_equal(mkfifo(made_path("pipe"), 0644), 0);
	assert_int_equal(symlink("/etc/passwd", made_path("link")), 0);
	assert_int_equal(symlink("sub", made_path("linked-folder")), 0);
	assert_int_equal(symlink("/proc/self/fd/0", made_path("magic")), 0);
	auto_close int good = tree_file(tree, "sub/file", &err);
	assert_true(good >= 0);
	static const char *const refused[] = {"pipe",           "link", "linked-folder/file", "magic",      "sub",
	                                      "../etc/passwd",  "..",   "/etc/passwd",        "sub/../../", "absent",
	                                      "sub/file/below", ""};
	for (size_t i = 0; i < countof(refused); i++)
		if (tree_file(tree, refused[i], &err) >= 0)
			fail_msg("'%s' was opened", refused[i]);
	assert_true(tree_folder(tree, "linked-folder", &err) < 0);
	assert_true(tree_folder(tree, "..", &err) < 0);
	if (geteuid() == 0 && mknod(made_path("device"), S_IFCHR | 0666, makedev(1, 3)) == 0) {
		assert_true(tree_file(tree, "device", &err) < 0);
		assert_string_equal(err.text, "is no plain file");
	}
}

static void test_the_example_rules_compile(unused_arg void **state)
{
	static const char *const names[] = {"script", "table"};
	struct cell cell;
	snprintf(conf.rules, sizeof(conf.rules), "%s/rules", getenv("KOBOSHI_EXAMPLES"));
	made_text(names[0], "#!/bin/sh\necho harmless\n");
	made_text(names[1], "time,value\n1,2\n");
	judge(&cell, names, countof(names), NULL);
	assert_int_equal(lore->problems.n, 0);
	is(&cell.results[0], SCAN_BAD, "rule script_in_data of example.yar");
	is(&cell.results[1], SCAN_UNKNOWN, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup_teardown(test_lists_and_rules_judge, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_a_rule_or_line_that_is_wrong_is_named_and_the_others_are_used, setup,
	                                        teardown),
	        cmocka_unit_test_setup_teardown(test_a_slow_file_is_given_up_once_and_the_others_go_on, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_a_file_that_ends_the_cell_is_given_up_and_the_others_go_on, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_memory_is_bounded, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_of_a_giant_only_the_beginning_is_looked_at, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_nothing_but_plain_files_below_the_folder_is_opened, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_the_example_rules_compile, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
