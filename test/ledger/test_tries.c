/* What was tried, kept over a restart: one row for each finding and rung of each service. */
#include "folder.h"

#include "lib/bytes.h"
#include "ledger/ledger.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static int see(void *arg, const struct ledger_tries *row)
{
	char *text = arg;
	size_t used = strlen(text);
	snprintf(text + used, 512 - used, "%s %s %s %u/%u %x %u %lld;", row->service, row->finding, row->rung, row->worked,
	         row->tried, row->last, row->passed, (long long)row->changed_us);
	return 0;
}

static void rows_stay_until_they_are_forgotten(void **state)
{
	(void)state;
	struct folder folder;
	struct err err = {0};
	char text[512] = "";
	struct ledger_tries row = {
	        .service = "web", .finding = "timeout", .rung = "restart", .tried = 3, .worked = 1, .last = 4, .passed = 2};
	row.changed_us = 7;
	folder_new(&folder);
	struct ledger *l = folder_open(&folder, false);
	assert_int_equal(ledger_tries_put(l, &row, &err), 0);
	row.worked = row.tried = UINT32_MAX;
	assert_int_equal(ledger_tries_put(l, &row, &err), 0);
	snprintf(row.rung, sizeof(row.rung), "reboot");
	assert_int_equal(ledger_tries_put(l, &row, &err), 0);
	ledger_close(l);
	l = folder_open(&folder, false);
	assert_int_equal(ledger_tries_each(l, see, text, &err), 0);
	assert_string_equal(text,
	                    "web timeout reboot 4294967295/4294967295 4 2 7;web timeout restart 4294967295/4294967295 4 2 7;");
	row.tried = 0;
	assert_int_equal(ledger_tries_put(l, &row, &err), 0);
	text[0] = '\0';
	assert_int_equal(ledger_tries_each(l, see, text, &err), 0);
	assert_string_equal(text, "web timeout restart 4294967295/4294967295 4 2 7;");
	row.tried = 1;
	row.worked = 2;
	assert_int_equal(ledger_tries_put(l, &row, &err), -EINVAL);
	ledger_close(l);
	folder_remove(&folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(rows_stay_until_they_are_forgotten)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
