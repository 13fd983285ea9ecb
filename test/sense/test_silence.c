/* Silence in virtual time: when it is told, what ends it, and what a guest's own pauses teach. */
#include "sense/silence.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define LEAST_US 20000

/* Asked every 2 ms and answered after 1 ms, until `until_us`. */
static int64_t chat(struct silence *s, int64_t from_us, int64_t until_us)
{
	int64_t now_us = from_us;
	for (; now_us < until_us; now_us += 2000) {
		silence_asked(s, now_us);
		silence_answered(s, now_us + 1000);
	}
	return now_us;
}

static void ask(struct silence *s, int64_t now_us, int n)
{
	for (int i = 0; i < n; i++)
		silence_asked(s, now_us + i * 2000);
}

static void told_when_several_wait(void **state)
{
	(void)state;
	struct silence s = {0};
	int64_t now_us = chat(&s, 1000000, 2000000);
	ask(&s, now_us, SILENCE_ASKED - 1);
	assert_int_equal(silence_due(&s, LEAST_US), INT64_MAX);
	ask(&s, now_us + 4000, 5);
	assert_int_equal(silence_due(&s, LEAST_US), now_us + 4000 + LEAST_US); /* the third has waited so long */
}

/* Half as long as would be told: what is asked then has waited long enough when that is over. */
static void more_is_asked_when_one_waits(void **state)
{
	(void)state;
	struct silence s = {0};
	ask(&s, 1000000, 1);
	assert_int_equal(silence_ask_due(&s, LEAST_US), INT64_MAX); /* hardly known */
	silence_answered(&s, 1001000);
	int64_t now_us = chat(&s, 1002000, 2000000);
	assert_int_equal(silence_ask_due(&s, LEAST_US), INT64_MAX); /* nothing waits */
	ask(&s, now_us, 1);
	assert_int_equal(silence_ask_due(&s, LEAST_US), now_us + LEAST_US / 2);
	ask(&s, now_us + 2000, 1);
	assert_int_equal(silence_ask_due(&s, LEAST_US), now_us + LEAST_US / 2);
	ask(&s, now_us + 4000, 1);
	assert_int_equal(silence_ask_due(&s, LEAST_US), INT64_MAX); /* enough of them */
	silence_answered(&s, now_us + 600000);
	ask(&s, now_us + 700000, 1);
	assert_int_equal(silence_ask_due(&s, LEAST_US), INT64_MAX); /* whoever pauses for so long is not asked for milliseconds */
}

static void told_again_while_it_lasts(void **state)
{
	(void)state;
	struct silence s = {0};
	ask(&s, chat(&s, 1000000, 2000000), 3);
	silence_tell(&s, 3000000, LEAST_US);
	assert_int_equal(silence_due(&s, LEAST_US), 3000000 + LEAST_US);
	silence_tell(&s, 3020000, LEAST_US);
	assert_int_equal(silence_due(&s, LEAST_US), 3020000 + SILENCE_AGAIN_US);
	silence_answered(&s, 3030000);
	assert_int_equal(silence_due(&s, LEAST_US), INT64_MAX);
	ask(&s, 3040000, 3);
	assert_true(silence_due(&s, LEAST_US) > 3040000 + 1000000 || silence_due(&s, LEAST_US) == INT64_MAX); /* it taught us */
}

static void any_answer_ends_it(void **state)
{
	(void)state;
	struct silence s = {0};
	int64_t now_us = chat(&s, 1000000, 2000000);
	ask(&s, now_us, 3);
	silence_answered(&s, now_us + 6000);
	assert_int_equal(silence_due(&s, LEAST_US), INT64_MAX);
}

static void whoever_pauses_teaches_it(void **state)
{
	(void)state;
	struct silence s = {0};
	int64_t now_us = chat(&s, 1000000, 2000000);
	ask(&s, now_us, 3);
	silence_answered(&s, now_us + 30000);
	assert_int_equal(silence_limits(&s, LEAST_US).limit_us, SILENCE_TIMES * 30000);
	now_us = chat(&s, now_us + 40000, now_us + SILENCE_SPAN_US / 2);
	assert_int_equal(silence_limits(&s, LEAST_US).limit_us, SILENCE_TIMES * 30000);
	now_us = chat(&s, now_us, now_us + SILENCE_SPAN_US);
	assert_int_equal(silence_limits(&s, LEAST_US).limit_us, SILENCE_TIMES * 30000); /* the span before still counts */
	chat(&s, now_us, now_us + SILENCE_SPAN_US);
	assert_int_equal(silence_limits(&s, LEAST_US).limit_us, LEAST_US);
}

static void whoever_is_slow_is_left_to_the_probes(void **state)
{
	(void)state;
	struct silence s = {0};
	int64_t now_us = chat(&s, 1000000, 2000000);
	ask(&s, now_us, 3);
	silence_answered(&s, now_us + SILENCE_LIMIT_MAX_US);
	ask(&s, now_us + 2000000, 3);
	assert_int_equal(silence_due(&s, LEAST_US), INT64_MAX);
}

static void strangers_are_given_time(void **state)
{
	(void)state;
	struct silence few = {0}, fresh = {0};
	for (int i = 0; i < SILENCE_KNOWN_ANSWERS - 1; i++) { /* for long, and too few */
		silence_asked(&few, 1000000 + i * 1000000);
		silence_answered(&few, 1001000 + i * 1000000);
	}
	ask(&few, 100000000, 3);
	assert_int_equal(silence_due(&few, LEAST_US), INT64_MAX);
	ask(&fresh, chat(&fresh, 1000000, 1000000 + SILENCE_KNOWN_US - 10000), 3); /* many, and not for long */
	assert_int_equal(silence_due(&fresh, LEAST_US), INT64_MAX);
}

static void what_was_lost_is_not_held_against_it(void **state)
{
	(void)state;
	struct silence s = {0};
	ask(&s, chat(&s, 1000000, 2000000), 3);
	silence_clear(&s);
	assert_int_equal(silence_due(&s, LEAST_US), INT64_MAX);
	assert_int_equal(silence_limits(&s, LEAST_US).limit_us, LEAST_US);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(told_when_several_wait),    cmocka_unit_test(more_is_asked_when_one_waits),
	        cmocka_unit_test(told_again_while_it_lasts), cmocka_unit_test(any_answer_ends_it),
	        cmocka_unit_test(whoever_pauses_teaches_it), cmocka_unit_test(whoever_is_slow_is_left_to_the_probes),
	        cmocka_unit_test(strangers_are_given_time),  cmocka_unit_test(what_was_lost_is_not_held_against_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
