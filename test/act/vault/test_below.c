/* Moving things below a folder in which somebody else lays out links. */
#include "act/vault/below.h"
#include "act/vault/changes.h"

#include "lib/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char top[] = "/tmp/kbvb.XXXXXX";
static int here, there, out;

static void put(int root, const char *path, const char *text)
{
	int fd = openat(root, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static bool is(int root, const char *path, const char *text)
{
	char got[64] = "";
	int fd = openat(root, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	ssize_t n = read(fd, got, sizeof(got) - 1);
	close(fd);
	return n >= 0 && strcmp(got, text) == 0;
}

static int make(unused_arg void **state)
{
	if (!mkdtemp(top))
		return -1;
	out = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	mkdirat(out, "here", 0755);
	mkdirat(out, "there", 0755);
	here = openat(out, "here", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	there = openat(out, "there", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return here < 0 || there < 0;
}

static int removed(unused_arg void **state)
{
	int r = below_remove(out, "here") | below_remove(out, "there");
	unlinkat(out, "secret", 0);
	unlinkat(out, "changes", 0);
	close(here);
	close(there);
	close(out);
	return r | rmdir(top);
}

static void test_move_and_exchange(unused_arg void **state)
{
	put(here, "a", "one");
	assert_int_equal(below_move(here, "a", there, "deep/er/b"), 0);
	assert_true(is(there, "deep/er/b", "one"));
	put(here, "a", "two");
	assert_int_equal(below_move(here, "a", there, "deep/er/b"), -EEXIST);
	assert_int_equal(below_exchange(here, "a", there, "deep/er/b"), 0);
	assert_true(is(there, "deep/er/b", "two"));
	assert_true(is(here, "a", "one"));
	assert_int_equal(below_move(here, "none", there, "x"), -ENOENT);
}

static void test_links_lead_nowhere(unused_arg void **state)
{
	put(out, "secret", "mine");
	assert_int_equal(symlinkat("..", here, "up"), 0);
	assert_int_equal(below_move(here, "up/secret", there, "stolen"), -ENOTDIR);
	put(there, "b", "evil");
	assert_int_equal(below_move(there, "b", here, "up/planted"), -ENOTDIR);
	assert_int_equal(below_exchange(there, "b", here, "up/secret"), -ENOTDIR);
	assert_int_equal(below_move(there, "../here/up", there, "x"), -EINVAL);
	assert_int_equal(below_move(there, "b", there, ".."), -EINVAL);
	assert_int_equal(below_move(there, "b", there, "c//d"), -EINVAL);
	assert_int_equal(symlinkat("../../secret", here, "direct"), 0);
	assert_int_equal(below_remove(here, "direct"), 0);
	assert_int_equal(below_remove(here, "up"), 0);
	assert_int_equal(below_remove(here, "up"), 0);
	assert_true(is(out, "secret", "mine"));
}

static void test_same(unused_arg void **state)
{
	put(here, "s", "bytes");
	put(there, "s", "bytes");
	assert_true(below_same(here, "s", there, "s"));
	put(there, "s", "bytez");
	assert_false(below_same(here, "s", there, "s"));
	put(there, "s", "bytes");
	assert_int_equal(fchmodat(there, "s", 0600, 0), 0);
	assert_false(below_same(here, "s", there, "s"));
	unlinkat(there, "s", 0);
	assert_int_equal(symlinkat("../here/s", there, "s"), 0);
	assert_false(below_same(here, "s", there, "s"));
}

static void test_changes(unused_arg void **state)
{
	struct changes changes;
	struct err err = {0};
	char file[64], text[16];
	uint64_t number;
	snprintf(file, sizeof(file), "%s/changes", top);
	assert_int_equal(changes_load(file, &changes, &err), 0);
	const char *paths[] = {"plain", "with space\nand %41 \xc3\xbc", "third"};
	for (size_t i = 0; i < countof(paths); i++) {
		struct change one = {.incident = 7, .bytes = i, .kind = WIRE_CHANGE_ADDED, .path = (char *)paths[i]};
		assert_int_equal(changes_add(&changes, &one, &number, &err), 0);
		assert_int_equal(number, i + 1);
	}
	changes_free(&changes);
	int fd = openat(out, "changes", O_WRONLY | O_APPEND | O_CLOEXEC);
	assert_true(write(fd, "4 7 added 1 torn%4", 18) == 18); /* cut off by a crash */
	close(fd);
	assert_int_equal(changes_load(file, &changes, &err), 0);
	assert_int_equal(changes.n, 3);
	for (size_t i = 0; i < countof(paths); i++)
		assert_string_equal(changes.all[i].path, paths[i]);
	assert_null(changes_find(&changes, 4));
	changes_find(&changes, 2)->kind = WIRE_CHANGE_RETURNED;
	free(changes.all[0].path); /* the oldest goes */
	memmove(&changes.all[0], &changes.all[1], 2 * sizeof(changes.all[0]));
	changes.n--;
	assert_int_equal(changes_save(&changes, &err), 0);
	changes_free(&changes);
	assert_int_equal(changes_load(file, &changes, &err), 0);
	assert_int_equal(changes.n, 2);
	assert_int_equal(changes.last, 3);
	assert_int_equal(changes_find(&changes, 2)->kind, WIRE_CHANGE_RETURNED);
	changes_free(&changes);
	changes_path_text("a/rather/long/path", text, sizeof(text));
	assert_int_equal(strlen(text), sizeof(text) - 1);
	assert_string_equal(text + strlen(text) - 9, "long/path");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_move_and_exchange),
	        cmocka_unit_test(test_links_lead_nowhere),
	        cmocka_unit_test(test_same),
	        cmocka_unit_test(test_changes),
	};
	return cmocka_run_group_tests_name("vault below", tests, make, removed);
}
