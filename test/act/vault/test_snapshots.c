/* The list of snapshots: which one data goes back to, which ones stay, and a file that may be damaged. */
#include "act/vault/nodes.h"
#include "act/vault/snapshots.h"

#include "lib/bytes.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define HOUR 3600000000ll

static struct snapshots list;

static void add(int64_t begun_us, int64_t ended_us, bool suspect)
{
	snapshots_add(&list,
	              &(struct snapshot){.id = "0123abcd", .begun_us = begun_us, .ended_us = ended_us, .suspect = suspect});
}

static int empty(unused_arg void **state)
{
	memset(&list, 0, sizeof(list));
	return 0;
}

static void test_before(unused_arg void **state)
{
	assert_null(snapshots_before(&list, INT64_MAX));
	add(100, 110, false);
	add(200, 230, false);
	add(300, 310, true);
	assert_null(snapshots_before(&list, 110)); /* ended in that very moment: may hold what was done then */
	assert_int_equal(snapshots_before(&list, 111)->number, 1);
	assert_int_equal(snapshots_before(&list, 225)->number, 1); /* begun before, ended later */
	assert_int_equal(snapshots_before(&list, 231)->number, 2);
	assert_int_equal(snapshots_before(&list, INT64_MAX)->number, 2); /* the third is suspect */
}

static void test_doubt(unused_arg void **state)
{
	add(100, 110, false);
	add(200, 230, false);
	add(300, 310, false);
	assert_int_equal(snapshots_doubt(&list, 225), 2);
	assert_int_equal(snapshots_doubt(&list, 225), 0);
	assert_int_equal(snapshots_before(&list, INT64_MAX)->number, 1);
}

static void test_forget(unused_arg void **state)
{
	static bool drop[SNAPSHOTS_MAX];
	const struct conf_vault conf = {.keep_last = 2, .keep_hourly = 3, .keep_daily = 2};
	for (int64_t k = 0; k < 100; k++) /* one in ten minutes */
		add(k * HOUR / 6, k * HOUR / 6 + 1, false);
	/* last: 100 and 99; hourly: the newest of the last three hours; daily: no other */
	assert_int_equal(snapshots_to_forget(&list, &conf, drop), 100 - 4);
	assert_false(drop[99] || drop[98] || drop[95] || drop[89]);
	snapshots_drop(&list, drop);
	assert_int_equal(list.n, 4);
	assert_int_equal(snapshots_to_forget(&list, &conf, drop), 0);
}

static void test_suspects_never_push_out_good_ones(unused_arg void **state)
{
	static bool drop[SNAPSHOTS_MAX];
	const struct conf_vault conf = {.keep_last = 1};
	add(1, 2, false);
	for (int64_t k = 10; k < 50; k++)
		add(k, k, true);
	assert_int_equal(snapshots_to_forget(&list, &conf, drop), 39);
	assert_false(drop[0]);
	for (int64_t k = 0; k < 2 * SNAPSHOTS_MAX; k++)
		add(100 + k, 100 + k, true);
	assert_int_equal(list.n, SNAPSHOTS_MAX);
	assert_int_equal(list.all[0].number, 1);
}

static char folder[] = "/tmp/kbvs.XXXXXX";
static char file[64];

static int folder_make(unused_arg void **state)
{
	if (!mkdtemp(folder))
		return -1;
	snprintf(file, sizeof(file), "%s/list", folder);
	return 0;
}

static int folder_remove(unused_arg void **state)
{
	unlink(file);
	return rmdir(folder);
}

static void test_file(unused_arg void **state)
{
	static struct snapshots read;
	struct err err = {0};
	add(100, 110, false);
	add(200, 230, true);
	list.all[0].bytes = UINT64_MAX;
	for (uint64_t k = 1; k < 40; k++)
		snapshots_rolled(&list, k, (int64_t)k * HOUR);
	assert_int_equal(snapshots_save(file, &list, &err), 0);
	assert_int_equal(snapshots_load(file, &read, &err), 0);
	assert_memory_equal(&read, &list, sizeof(list));
	assert_true(snapshots_is_rolled(&read, 39, 39 * HOUR + 100000));
	assert_false(snapshots_is_rolled(&read, 39, 38 * HOUR)); /* of another ledger */
	assert_false(snapshots_is_rolled(&read, 1, HOUR));       /* too long ago to be asked for again */
}

static void test_damaged(unused_arg void **state)
{
	static const struct {
		const char *text, *wrong;
	} rows[] = {
	        {"", "is empty"},
	        {"hello\n", "no list"},
	        {"koboshi-vault 1 2\n3 0123abcd 1 2 3 4 good\n", ":2: is damaged"},
	        {"koboshi-vault 1 2\n1 0123abcd 1 2 3 4 good\n1 0123abcd 1 2 3 4 good\n", ":3: is damaged"},
	        {"koboshi-vault 1 2\n1 0123abcd 2 1 3 4 good\n", ":2: is damaged"},
	        {"koboshi-vault 1 2\n1 ../../x 1 2 3 4 good\n", ":2: is damaged"},
	        {"koboshi-vault 1 2\n1 0123abcd 1 2 3 4 fine\n", ":2: is damaged"},
	        {"koboshi-vault 1 2\n1 0123abcd 1 2 3\n", ":2: is damaged"},
	};
	static struct snapshots read;
	for (size_t i = 0; i < countof(rows); i++) {
		struct err err = {0};
		assert_int_equal(file_write(file, rows[i].text, strlen(rows[i].text), 0600, &err), 0);
		memset(&read, 7, sizeof(read));
		assert_int_equal(snapshots_load(file, &read, &err), -EBADMSG);
		assert_non_null(strstr(err.text, rows[i].wrong));
		assert_int_equal(read.n, 0x0707070707070707); /* untouched */
	}
}

static void test_time(unused_arg void **state)
{
	static const struct {
		const char *text;
		int64_t us;
	} rows[] = {
	        {"1970-01-01T00:00:01Z", 1000000},
	        {"1970-01-01T00:00:01.5Z", 1500000},
	        {"1970-01-01T00:00:01.123456789Z", 1123456},
	        {"1970-01-01T02:00:01+02:00", 1000000},
	        {"1969-12-31T23:00:01.25-01:00", 1250000},
	        {"2026-11-26T19:45:08.59826308Z", 1795722308598263},
	        {"yesterday", -1},
	        {"1970-01-01T00:00:01", -1},
	};
	for (size_t i = 0; i < countof(rows); i++)
		assert_int_equal(nodes_time_us(rows[i].text), rows[i].us);
}

static void test_nodes(unused_arg void **state)
{
	struct nodes nodes = {0};
	struct err err = {0};
	static const char *const lines[] = {
	        "{\"struct_type\":\"snapshot\",\"paths\":[\"/x\"]}",
	        ("{\"struct_type\":\"node\",\"path\":\"/b\",\"type\":\"file\",\"mode\":420,\"uid\":1,\"gid\":2,\"size\":9,"
	         "\"mtime\":\"1970-01-01T00:00:01Z\"}"),
	        ("{\"struct_type\":\"node\",\"path\":\"/a\",\"type\":\"dir\",\"mode\":2148532717,"
	         "\"mtime\":\"1970-01-01T00:00:01Z\"}"),
	        "{\"struct_type\":\"node\",\"type\":\"file\"}",
	        "no JSON",
	};
	for (size_t i = 0; i < countof(lines); i++)
		assert_int_equal(nodes_line(&nodes, lines[i], &err), 0);
	nodes_sort(&nodes);
	assert_int_equal(nodes.n, 2);
	const struct node *b = nodes_find(&nodes, "b"), *a = nodes_find(&nodes, "a");
	assert_int_equal(b->mode, S_IFREG | 0644);
	assert_int_equal(b->size, 9);
	assert_int_equal(a->mode, S_IFDIR | S_ISVTX | 0755);
	assert_null(nodes_find(&nodes, "c"));
	nodes_free(&nodes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup(test_before, empty),
	        cmocka_unit_test_setup(test_doubt, empty),
	        cmocka_unit_test_setup(test_forget, empty),
	        cmocka_unit_test_setup(test_suspects_never_push_out_good_ones, empty),
	        cmocka_unit_test_setup(test_file, empty),
	        cmocka_unit_test(test_damaged),
	        cmocka_unit_test(test_time),
	        cmocka_unit_test(test_nodes),
	};
	return cmocka_run_group_tests_name("vault snapshots", tests, folder_make, folder_remove);
}
