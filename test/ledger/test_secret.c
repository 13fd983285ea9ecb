/* What instances could read, as the ledger keeps it: names and times, never a value. */
#include "one.h"
#include "lib/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void put(uint32_t instance, const char *kind, const char *name, int64_t made_us)
{
	struct ledger_secret row = {.instance = instance, .place = "/etc/app/token", .made_us = made_us};
	text_copy(row.kind, sizeof(row.kind), kind);
	text_copy(row.name, sizeof(row.name), name);
	MUST(ledger_secret_put(ledger, &row, &err));
}

struct seen {
	struct ledger_secret rows[8];
	size_t n, kept;
};

static int take_row(void *arg, const struct ledger_secret *row)
{
	struct seen *seen = arg;
	seen->n++;
	if (seen->kept < countof(seen->rows))
		seen->rows[seen->kept++] = *row;
	return 0;
}

static struct seen each(uint32_t instance, unsigned limit)
{
	struct seen seen = {0};
	MUST(ledger_secret_each(ledger, instance, limit, take_row, &seen, &err));
	return seen;
}

static void test_kept_until_they_are_refused(unused_arg void **state)
{
	put(3, "token", "backend", 100);
	put(3, "password", "backend", 101); /* another kind of the same name is another one */
	put(4, "token", "backend", 200);
	put(3, "token", "backend", 102); /* once more: the same row */
	MUST(ledger_secret_revoked(ledger, 3, 500, &err));
	ledger_close(ledger);
	ledger = folder_open(&folder, false);
	struct seen seen = each(0, 10);
	assert_int_equal(seen.n, 3);
	assert_int_equal(seen.rows[0].instance, 4);
	assert_int_equal(seen.rows[0].revoked_us, 0);
	seen = each(3, 10);
	assert_int_equal(seen.n, 2);
	assert_string_equal(seen.rows[0].kind, "password");
	assert_string_equal(seen.rows[1].name, "backend");
	assert_string_equal(seen.rows[1].place, "/etc/app/token");
	assert_int_equal(seen.rows[1].made_us, 102);
	assert_int_equal(seen.rows[0].revoked_us, 500);
	MUST(ledger_secret_revoked(ledger, 3, 900, &err)); /* what is refused already keeps its time */
	assert_int_equal(each(3, 10).rows[1].revoked_us, 500);
	assert_int_equal(each(0, 1).n, 1);
	assert_int_equal(each(9, 10).n, 0);
}

static void test_bounded(unused_arg void **state)
{
	char name[32];
	put(1, "token", "stands", 1);
	MUST(ledger_begin(ledger, &err));
	for (int i = 0; i < LEDGER_SECRETS_KEPT + 50; i++) {
		snprintf(name, sizeof(name), "s%d", i);
		put(7, "token", name, i);
	}
	MUST(ledger_secret_revoked(ledger, 7, 9, &err));
	MUST(ledger_commit(ledger, &err));
	assert_int_equal(each(7, LEDGER_SECRETS_KEPT + 100).n, LEDGER_SECRETS_KEPT);
	assert_string_equal(each(7, 1).rows[0].name, "s50"); /* the oldest went */
	assert_int_equal(each(1, 10).n, 1);                  /* what is valid never does */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup_teardown(test_kept_until_they_are_refused, one_open, one_close),
	        cmocka_unit_test_setup_teardown(test_bounded, one_open, one_close),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
