/* Ledger rows as JSON: times, what is not there yet, who had which role when, bytes that are no text. */
#include "engine/report.h"

#include "lib/bytes.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define DAY_US 1767323045678000LL /* 2026-01-02T03:04:05.678Z */

static struct ledger *l;
static struct err err;

static int setup(unused_arg void **state)
{
	char because[LEDGER_TEXT_MAX];
	return ledger_open(":memory:", &l, because, &err);
}

static int teardown(unused_arg void **state)
{
	ledger_close(l);
	return 0;
}

static struct ledger_incident incident(void)
{
	return (struct ledger_incident){.number = 3,
	                                .service = "sensor",
	                                .victim = 1,
	                                .active_before = 1,
	                                .active_after = 2,
	                                .victim_variant = "amber",
	                                .active_variant = "birch",
	                                .verdict = "failed",
	                                .phase = "closed",
	                                .cause = "it was so",
	                                .shared = "nothing",
	                                .opened_us = DAY_US,
	                                .closed_us = DAY_US + 2000000,
	                                .first_evidence_us = 5000000,
	                                .verdict_us = 5012500,
	                                .boot_id = "here"};
}

static void put_incident(const struct ledger_incident *row)
{
	assert_int_equal(ledger_incident_put(l, row, &err), 0);
}

static void put_instance(uint32_t number, const char *role, int64_t created_us, int64_t ended_us)
{
	struct ledger_instance row = {.number = number,
	                              .service = "sensor",
	                              .variant = "amber",
	                              .state = "ready",
	                              .components = "kernel linux 6.1; server nginx 1.22",
	                              .created_us = created_us,
	                              .ended_us = ended_us};
	text_copy(row.role, sizeof(row.role), role);
	assert_int_equal(ledger_instance_put(l, &row, &err), 0);
}

static void put_step(const char *step, const char *text)
{
	struct ledger_step row = {.incident = 3, .time_us = DAY_US, .since_us = 1500, .phase = "absorb"};
	text_copy(row.step, sizeof(row.step), step);
	text_copy(row.text, sizeof(row.text), text);
	assert_int_equal(ledger_step_add(l, &row, &err), 0);
}

static const char *text_at(const json_t *json, const char *key)
{
	return json_string_value(json_object_get(json, key));
}

static void test_one_incident(unused_arg void **state)
{
	struct ledger_incident row = incident();
	put_incident(&row);
	put_step("detected", "first");
	put_step("steered", "second");
	json_auto_t *json = report_incident(l, "/state", 3, &err);
	assert_non_null(json);
	assert_string_equal(text_at(json, "opened"), "2026-01-02T03:04:05.678Z");
	assert_string_equal(text_at(json_object_get(json, "victim"), "variant"), "amber");
	assert_int_equal(json_integer_value(json_object_get(json_object_get(json, "active"), "number")), 2);
	assert_true(json_real_value(json_object_get(json, "detected_ms")) == 12.5);
	assert_int_equal(json_integer_value(json_object_get(json, "verdict_us")), 5012500);
	assert_true(json_is_null(json_object_get(json, "steered_ms")) && json_is_null(json_object_get(json, "steered_us")));
	const json_t *steps = json_object_get(json, "steps");
	assert_int_equal(json_array_size(steps), 2);
	assert_string_equal(text_at(json_array_get(steps, 1), "text"), "second");
	assert_true(json_real_value(json_object_get(json_array_get(steps, 0), "ms")) == 1.5);
}

static void test_an_open_one_has_no_end(unused_arg void **state)
{
	struct ledger_incident row = incident();
	row.closed_us = row.first_evidence_us = 0;
	put_incident(&row);
	json_auto_t *json = report_incident(l, "/state", 3, &err);
	assert_true(json_is_null(json_object_get(json, "closed")));
	assert_true(json_is_null(json_object_get(json, "detected_ms")));
}

static void test_none_is_an_error_and_an_empty_list_is_not(unused_arg void **state)
{
	assert_null(report_incident(l, "/state", 3, &err));
	assert_int_equal(err.code, -ENOENT);
	json_auto_t *json = report_incidents(l, &err);
	assert_int_equal(json_array_size(json_object_get(json, "incidents")), 0);
	assert_non_null(json_object_get(json, "incidents"));
}

static void test_the_list_is_bounded_and_newest_first(unused_arg void **state)
{
	struct ledger_incident row = incident();
	for (row.number = 1; row.number <= 250; row.number++)
		put_incident(&row);
	json_auto_t *json = report_incidents(l, &err);
	const json_t *list = json_object_get(json, "incidents");
	assert_int_equal(json_array_size(list), 200);
	assert_int_equal(json_integer_value(json_object_get(json_array_get(list, 0), "number")), 250);
}

static const char *role_in(const json_t *parties, uint32_t number)
{
	size_t i;
	json_t *one;
	json_array_foreach(parties, i,
	                   one) if (json_integer_value(json_object_get(one, "number")) == number) return text_at(one, "role");
	return "not there";
}

/* The rows know how it is now, after another switch; the story tells how it was. */
static void test_roles_are_those_of_the_time(unused_arg void **state)
{
	struct ledger_incident row = incident();
	put_incident(&row);
	put_instance(1, "active", DAY_US - 9, DAY_US + 1000000); /* the victim */
	put_instance(2, "standby", DAY_US - 8, 0);               /* took over then, is standby now */
	put_instance(3, "active", DAY_US - 7, 0);                /* slept then */
	put_instance(4, "spare", DAY_US + 1500000, 0);           /* built meanwhile */
	put_instance(5, "spare", DAY_US + 9000000, 0);           /* long after */
	put_step("waking", "spare kb-3 (cedar) wakes up");
	put_step("standby", "kb-3 (cedar) is ready to take over");
	put_step("spare", "kb-4 (amber) sleeps as proven spare");
	put_step("spare", "no number here");
	json_auto_t *json = report_incident(l, "/state", 3, &err);
	const json_t *before = json_object_get(json, "before"), *after = json_object_get(json, "after");
	static const char *const wanted[][2] = {{"active", "not there"},
	                                        {"standby", "active"},
	                                        {"spare", "standby"},
	                                        {"not there", "spare"},
	                                        {"not there", "not there"}};
	for (uint32_t i = 0; i < countof(wanted); i++) {
		assert_string_equal(role_in(before, i + 1), wanted[i][0]);
		assert_string_equal(role_in(after, i + 1), wanted[i][1]);
	}
	assert_string_equal(text_at(json_object_get(json_array_get(before, 0), "components"), "server"), "nginx 1.22");
}

static void test_what_is_no_text_becomes_one(unused_arg void **state)
{
	struct ledger_incident row = incident();
	memcpy(row.cause, "caf\xc3", 5); /* cut in the middle of a letter */
	put_incident(&row);
	put_step("detected", "\xff\xfe");
	json_auto_t *json = report_incident(l, "/state", 3, &err);
	assert_string_equal(text_at(json, "cause"), "caf?");
	assert_string_equal(text_at(json_array_get(json_object_get(json, "steps"), 0), "text"), "??");
	json_auto_t *whole = report_text("caf\xc3\xa9");
	assert_string_equal(json_string_value(whole), "caf\xc3\xa9");
}

#define WITH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        WITH(test_one_incident),
	        WITH(test_an_open_one_has_no_end),
	        WITH(test_none_is_an_error_and_an_empty_list_is_not),
	        WITH(test_the_list_is_bounded_and_newest_first),
	        WITH(test_roles_are_those_of_the_time),
	        WITH(test_what_is_no_text_becomes_one),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
