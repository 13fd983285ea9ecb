/* Lessons in the ledger, and what is kept of an open incident until it teaches one. */
#include "one.h"
#include "lib/bytes.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct ledger_lesson made(const char *origin, uint64_t incident, int64_t learnt_us)
{
	struct ledger_lesson row = {
	        .incident = incident, .own = incident % 2 == 1, .learnt_us = learnt_us, .expires_us = learnt_us + 1000};
	text_copy(row.origin, sizeof(row.origin), origin);
	snprintf(row.text, sizeof(row.text), "{\"incident\":%llu}", (unsigned long long)incident);
	return row;
}

struct seen {
	size_t n;
	uint64_t numbers[2 * LEDGER_LESSONS_KEPT];
	struct ledger_lesson last;
};

static int look(void *arg, const struct ledger_lesson *row)
{
	struct seen *seen = arg;
	seen->numbers[seen->n++] = row->number;
	seen->last = *row;
	return 0;
}

static void test_a_lesson_stays_as_it_came(unused_arg void **state)
{
	struct ledger_lesson first = made("aa", 7, 100), got, longest = made("aa", 8, 100);
	struct seen seen = {0};
	memset(longest.text, 'x', sizeof(longest.text) - 1);
	MUST(ledger_lesson_put(ledger, &first, 0, &err));
	MUST(ledger_lesson_put(ledger, &longest, 0, &err));
	ledger_close(ledger);
	ledger = folder_open(&folder, false);
	MUST(ledger_lesson_get(ledger, 1, &got, &err));
	first.number = 1;
	assert_memory_equal(&got, &first, sizeof(got));
	MUST(ledger_lesson_get(ledger, 2, &got, &err));
	assert_string_equal(got.text, longest.text);
	assert_int_equal(ledger_lesson_get(ledger, 3, &got, &err), -ENOENT);
	assert_string_equal(err.text, "there is no lesson 3");
	/* once more, and of another origin */
	struct ledger_lesson again = made("aa", 7, 900), other = made("bb", 7, 100);
	MUST(ledger_lesson_put(ledger, &again, 0, &err));
	MUST(ledger_lesson_put(ledger, &other, 0, &err));
	MUST(ledger_lesson_each(ledger, 10, look, &seen, &err));
	assert_int_equal(seen.n, 3);
	assert_int_equal(seen.last.learnt_us, 100);
	seen = (struct seen){0};
	MUST(ledger_lesson_each(ledger, 2, look, &seen, &err));
	assert_int_equal(seen.n, 2);
	assert_true(seen.numbers[0] > seen.numbers[1]);
}

static void test_what_expired_goes_first(unused_arg void **state)
{
	struct seen seen = {0};
	struct ledger_lesson got;
	MUST(ledger_begin(ledger, &err));
	for (uint64_t i = 1; i <= LEDGER_LESSONS_KEPT; i++) {
		struct ledger_lesson row = made("aa", i, i == 400 ? 10 : 100000);
		MUST(ledger_lesson_put(ledger, &row, 50000, &err));
	}
	MUST(ledger_commit(ledger, &err));
	MUST(ledger_lesson_get(ledger, 400, &got, &err)); /* room enough: it stays to be seen */
	for (uint64_t i = 1; i <= 3; i++) {
		struct ledger_lesson row = made("bb", i, 100000);
		MUST(ledger_lesson_put(ledger, &row, 50000, &err));
	}
	MUST(ledger_lesson_each(ledger, 2 * LEDGER_LESSONS_KEPT, look, &seen, &err));
	assert_int_equal(seen.n, LEDGER_LESSONS_KEPT);
	assert_int_equal(ledger_lesson_get(ledger, 400, &got, &err), -ENOENT);
	assert_int_equal(ledger_lesson_get(ledger, 2, &got, &err), -ENOENT);
	MUST(ledger_lesson_get(ledger, 3, &got, &err));
	assert_int_equal(seen.numbers[0], LEDGER_LESSONS_KEPT + 3);
}

static void test_a_verdict_waits_for_its_incident_to_close(unused_arg void **state)
{
	struct ledger_verdict row = {.incident = 3, .finding = "strayed", .vantage = "wire", .beside = "busy"}, got;
	text_copy(row.victim, sizeof(row.victim), "kernel linux 6.1\nserver nginx 1.22\n");
	MUST(ledger_verdict_put(ledger, &row, &err));
	text_copy(row.finding, sizeof(row.finding), "touched"); /* a graver reason came */
	MUST(ledger_verdict_put(ledger, &row, &err));
	ledger_close(ledger);
	ledger = folder_open(&folder, false);
	MUST(ledger_verdict_get(ledger, 3, &got, &err));
	assert_memory_equal(&got, &row, sizeof(got));
	MUST(ledger_verdict_mended(ledger, 3, "reboot", &err));
	MUST(ledger_verdict_get(ledger, 3, &got, &err));
	assert_string_equal(got.rung, "reboot");
	MUST(ledger_verdict_put(ledger, &row, &err)); /* it fell again before that was over */
	MUST(ledger_verdict_get(ledger, 3, &got, &err));
	assert_string_equal(got.rung, "");
	MUST(ledger_verdict_end(ledger, 3, &err));
	MUST(ledger_verdict_end(ledger, 3, &err));
	assert_int_equal(ledger_verdict_get(ledger, 3, &got, &err), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup_teardown(test_a_lesson_stays_as_it_came, one_open, one_close),
	        cmocka_unit_test_setup_teardown(test_what_expired_goes_first, one_open, one_close),
	        cmocka_unit_test_setup_teardown(test_a_verdict_waits_for_its_incident_to_close, one_open, one_close),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
