/* Which rung comes first, and what is remembered of the others. */
#include "made.h"

#include "plan/inside.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define NOW_US 900000000ll

static struct plan p;
static struct plan_update update;
static struct plan_turn turn = {.p = &p, .now_us = NOW_US, .update = &update};

static struct plan_instance *victim_of(enum finding cause)
{
	memset(p.instances, 0, sizeof(p.instances));
	struct plan_instance *i = made_instance(&p, 1, AMBER, PLAN_ACTIVE, PLAN_LIFE_READY);
	i->verdict = PLAN_FAILED;
	i->incident = 1;
	i->window.worst = cause;
	return i;
}

static int setup(void **state)
{
	(void)state;
	made_plan(&p);
	p.config.ladder = PLAN_LADDER_ALL;
	memset(&update, 0, sizeof(update));
	return 0;
}

static enum plan_rung first_rung(enum finding cause)
{
	struct plan_instance *i = victim_of(cause);
	ladder_begin(&turn, i);
	return i->rung;
}

static void tried(enum finding cause, enum plan_rung rung, bool worked)
{
	struct plan_instance *i = victim_of(cause);
	i->cause = cause;
	i->rung = rung;
	ladder_tried(&turn, i, worked);
	assert_true(update.tries_changed);
}

static void each_finding_begins_where_it_may(void **state)
{
	(void)state;
	static const enum finding restarts[] = {FINDING_TIMEOUT, FINDING_SLOW,       FINDING_ERROR, FINDING_UNREACHABLE,
	                                        FINDING_REFUSED, FINDING_UNANSWERED, FINDING_SILENT};
	static const enum finding boots[] = {FINDING_PANICKED, FINDING_PAUSED, FINDING_RESET, FINDING_WATCHDOG,
	                                     FINDING_WRONG_CLOCK};
	for (unsigned f = 0; f < FINDING_MAX_; f++) {
		enum plan_rung wanted = PLAN_RUNG_NONE;
		for (size_t k = 0; k < sizeof(restarts) / sizeof(restarts[0]); k++)
			wanted = restarts[k] == f ? PLAN_RUNG_RESTART : wanted;
		for (size_t k = 0; k < sizeof(boots) / sizeof(boots[0]); k++)
			wanted = boots[k] == f ? PLAN_RUNG_REBOOT : wanted;
		if (first_rung((enum finding)f) != wanted)
			fail_msg("%s begins with %s", finding_name((enum finding)f), plan_rung_name(first_rung((enum finding)f)));
	}
}

static void only_what_looks_innocent_is_mended(void **state)
{
	(void)state;
	struct plan_instance *i = victim_of(FINDING_TIMEOUT);
	i->verdict = PLAN_COMPROMISED;
	ladder_begin(&turn, i);
	assert_int_equal(i->rung, PLAN_RUNG_NONE);
	for (unsigned f = FINDING_WEAK_FIRST; f < FINDING_MAX_; f++) {
		struct evidence weak = {.time_us = NOW_US, .finding = (enum finding)f, .vantage = VANTAGE_HYPERVISOR};
		i = victim_of(FINDING_TIMEOUT);
		verdict_add(&p, &i->window, &weak);
		i->window.worst = FINDING_TIMEOUT;
		ladder_begin(&turn, i);
		bool of_a_hung_service = f == FINDING_BUSY || f == FINDING_CONTRADICTED;
		assert_int_equal(i->rung, of_a_hung_service ? PLAN_RUNG_RESTART : PLAN_RUNG_NONE);
	}
	i = victim_of(FINDING_TIMEOUT);
	i->incident = 0;
	ladder_begin(&turn, i);
	assert_int_equal(i->rung, PLAN_RUNG_NONE);
	i = victim_of(FINDING_TIMEOUT);
	i->life = PLAN_LIFE_LOCKED;
	ladder_begin(&turn, i);
	assert_int_equal(i->rung, PLAN_RUNG_NONE);
}

static void what_is_not_configured_is_not_tried(void **state)
{
	(void)state;
	p.config.ladder = 1u << PLAN_RUNG_REBOOT;
	assert_int_equal(first_rung(FINDING_TIMEOUT), PLAN_RUNG_REBOOT);
	p.config.ladder = 0;
	assert_int_equal(first_rung(FINDING_TIMEOUT), PLAN_RUNG_NONE);
}

static void what_helped_when_the_lower_one_did_not_comes_first(void **state)
{
	(void)state;
	tried(FINDING_TIMEOUT, PLAN_RUNG_RESTART, false);
	assert_int_equal(first_rung(FINDING_TIMEOUT), PLAN_RUNG_RESTART);
	tried(FINDING_TIMEOUT, PLAN_RUNG_REBOOT, true);
	assert_int_equal(first_rung(FINDING_TIMEOUT), PLAN_RUNG_REBOOT);
	assert_int_equal(first_rung(FINDING_REFUSED), PLAN_RUNG_RESTART);
	tried(FINDING_TIMEOUT, PLAN_RUNG_RESTART, true);
	assert_int_equal(first_rung(FINDING_TIMEOUT), PLAN_RUNG_RESTART);
}

static void what_mostly_fails_is_passed_over_and_tried_again_after_long(void **state)
{
	(void)state;
	tried(FINDING_REFUSED, PLAN_RUNG_RESTART, true);
	tried(FINDING_REFUSED, PLAN_RUNG_RESTART, false);
	assert_int_equal(first_rung(FINDING_REFUSED), PLAN_RUNG_RESTART);
	tried(FINDING_REFUSED, PLAN_RUNG_RESTART, false);
	for (int n = 0; n < 8; n++)
		assert_int_equal(first_rung(FINDING_REFUSED), PLAN_RUNG_REBOOT);
	assert_int_equal(first_rung(FINDING_REFUSED), PLAN_RUNG_RESTART);
	assert_int_equal(p.tries[FINDING_REFUSED][0].tried, 0);
	for (int n = 0; n < 3; n++) {
		tried(FINDING_REFUSED, PLAN_RUNG_RESTART, false);
		tried(FINDING_REFUSED, PLAN_RUNG_REBOOT, false);
	}
	assert_int_equal(first_rung(FINDING_REFUSED), PLAN_RUNG_NONE);
}

static void only_the_last_eight_count(void **state)
{
	(void)state;
	for (int n = 0; n < 20; n++)
		tried(FINDING_ERROR, PLAN_RUNG_RESTART, false);
	for (int n = 0; n < 3; n++)
		tried(FINDING_ERROR, PLAN_RUNG_RESTART, true);
	assert_int_equal(first_rung(FINDING_ERROR), PLAN_RUNG_REBOOT);
	tried(FINDING_ERROR, PLAN_RUNG_RESTART, true);
	assert_int_equal(first_rung(FINDING_ERROR), PLAN_RUNG_RESTART);
	assert_int_equal(p.tries[FINDING_ERROR][0].tried, 24);
	assert_int_equal(p.tries[FINDING_ERROR][0].worked, 4);
}

static void after_a_rung_the_next_one_that_suits(void **state)
{
	(void)state;
	struct plan_instance *i = victim_of(FINDING_TIMEOUT);
	ladder_begin(&turn, i);
	assert_true(ladder_goes_on(&turn, i));
	assert_int_equal(i->rung, PLAN_RUNG_REBOOT);
	assert_false(ladder_goes_on(&turn, i));
	i = victim_of(FINDING_TIMEOUT);
	ladder_begin(&turn, i);
	i->window.fell_at_once = true;
	i->window.worst = FINDING_GONE;
	assert_false(ladder_goes_on(&turn, i));
}

static void who_was_mended_twice_lately_is_not_mended_again(void **state)
{
	(void)state;
	struct plan_instance *i = victim_of(FINDING_TIMEOUT);
	i->mended_us[0] = NOW_US - 1;
	ladder_begin(&turn, i);
	assert_int_equal(i->rung, PLAN_RUNG_RESTART);
	i->mended_us[1] = NOW_US - PLAN_MENDED_WITHIN_US;
	ladder_begin(&turn, i);
	assert_int_equal(i->rung, PLAN_RUNG_NONE);
	assert_true(ladder_is_exhausted(i, NOW_US));
	assert_false(ladder_is_exhausted(i, NOW_US + 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup(each_finding_begins_where_it_may, setup),
	        cmocka_unit_test_setup(only_what_looks_innocent_is_mended, setup),
	        cmocka_unit_test_setup(what_is_not_configured_is_not_tried, setup),
	        cmocka_unit_test_setup(what_helped_when_the_lower_one_did_not_comes_first, setup),
	        cmocka_unit_test_setup(what_mostly_fails_is_passed_over_and_tried_again_after_long, setup),
	        cmocka_unit_test_setup(only_the_last_eight_count, setup),
	        cmocka_unit_test_setup(after_a_rung_the_next_one_that_suits, setup),
	        cmocka_unit_test_setup(who_was_mended_twice_lately_is_not_mended_again, setup),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
