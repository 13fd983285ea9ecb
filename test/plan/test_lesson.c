/* What lessons do to a plan: suspicion, a hand-over without a fall, and one weak finding that is enough, once. */
#include "made.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define NOW 100000000
#define HOUR_US 3600000000ll

static struct plan p;
static struct plan_update update;
static int64_t now_us;

static int setup(void **state)
{
	(void)state;
	now_us = NOW;
	made_plan(&p);
	return 0;
}

static void step(struct plan_event event)
{
	event.now_us = ++now_us;
	event.fresh_number = 50;
	event.fresh_incident = 9;
	plan_step(&p, &event, &update);
}

static void teach(struct plan_lesson lesson)
{
	step((struct plan_event){.type = PLAN_EV_LESSON, .lesson = lesson});
}

static const uint64_t *made_of(uint32_t variant)
{
	return p.variants[variant].components;
}

/* --- suspicion */

static void somebody_elses_fall_makes_suspect(void **state)
{
	(void)state;
	choice_suspect(&p, BIRCH); /* seen here */
	teach((struct plan_lesson){.victim = made_of(CEDAR), .survivor = made_of(BIRCH), .raise = true});
	assert_true(update.suspicion_changed && p.again);
	assert_int_equal(p.suspicion[2], PLAN_SUSPICION_FALL); /* linux 7 */
	assert_int_equal(p.suspicion[1], PLAN_SUSPICION_FALL); /* of birch: not older for what fell elsewhere */
	assert_int_equal(choice_suspect_layers(&p, CEDAR) & PLAN_HOLES, PLAN_HOLES);
	p.suspicion[4] = 0; /* the libc of both: the survivor stood there with it */
	teach((struct plan_lesson){.victim = made_of(CEDAR), .survivor = made_of(BIRCH), .raise = true});
	assert_int_equal(p.suspicion[4], PLAN_SUSPICION_FALL / 2);
	/* the same once more, and an older one: nothing is more than it was */
	p.again = false;
	teach((struct plan_lesson){.victim = made_of(CEDAR), .survivor = made_of(BIRCH), .raise = true});
	teach((struct plan_lesson){
	        .victim = made_of(CEDAR), .survivor = made_of(BIRCH), .age_us = PLAN_SUSPICION_HALF_US, .raise = true});
	assert_false(update.suspicion_changed);
	assert_int_equal(p.suspicion[2], PLAN_SUSPICION_FALL);
}

static void it_weighs_less_the_older_it_is(void **state)
{
	(void)state;
	teach((struct plan_lesson){.victim = made_of(AMBER), .age_us = PLAN_SUSPICION_HALF_US, .raise = true});
	assert_int_equal(p.suspicion[0], plan_suspicion_after(PLAN_SUSPICION_FALL, PLAN_SUSPICION_HALF_US));
	assert_int_equal(choice_suspect_layers(&p, AMBER), 0);
	assert_int_not_equal(choice_variant(&p, now_us), AMBER); /* a tie-breaker all the same */
	teach((struct plan_lesson){.victim = made_of(BIRCH), .raise = false});
	assert_int_equal(p.suspicion[1], 0);
}

/* --- a hand-over without a fall */

static void stand(uint32_t active, uint32_t standby, uint32_t spare)
{
	made_instance(&p, 1, active, PLAN_ACTIVE, PLAN_LIFE_READY);
	made_instance(&p, 2, standby, PLAN_STANDBY, PLAN_LIFE_READY);
	made_instance(&p, 3, spare, PLAN_SPARE, PLAN_LIFE_PAUSED);
	for (size_t k = 0; k < 2; k++) {
		struct evidence good = made_evidence((uint32_t)k + 1, FINDING_GOOD, NOW - 10000, NOW - 5000);
		verdict_add(&p, &p.instances[k].window, &good);
	}
}

static void whoever_serves_hands_over_to_a_cleaner_one(void **state)
{
	(void)state;
	stand(AMBER, BIRCH, CEDAR);
	teach((struct plan_lesson){.victim = made_of(AMBER), .raise = true, .warns = true});
	assert_non_null(made_noted(&update, PLAN_STEP_TAUGHT));
	const struct plan_order *steer = made_ordered(&update, PLAN_DO_STEER);
	assert_non_null(steer);
	assert_int_equal(steer->instance, 2);
	assert_int_equal(steer->victim, 0); /* planned: nobody is cut off */
	assert_int_equal(made_noted(&update, PLAN_STEP_ROTATING)->status, PLAN_RETIRED_WARNED);
	assert_false(p.warned);
}

static void it_waits_for_a_cleaner_one(void **state)
{
	(void)state;
	stand(AMBER, AMBER, AMBER);
	p.variants[AMBER].usable = p.variants[BIRCH].usable = p.variants[CEDAR].usable = false;
	teach((struct plan_lesson){.victim = made_of(AMBER), .raise = true, .warns = true});
	assert_null(made_ordered(&update, PLAN_DO_STEER));
	assert_true(p.warned);
	p.instances[1].variant = CEDAR;
	step((struct plan_event){.type = PLAN_EV_TIME});
	assert_non_null(made_ordered(&update, PLAN_DO_STEER));
}

static void no_other_lesson_moves_anybody(void **state)
{
	(void)state;
	stand(AMBER, BIRCH, CEDAR);
	teach((struct plan_lesson){.victim = made_of(AMBER), .raise = true}); /* no takeover */
	assert_false(p.warned);
	teach((struct plan_lesson){.victim = made_of(CEDAR), .raise = true, .warns = true}); /* of something else */
	assert_false(p.warned);
	memset(p.suspicion, 0, sizeof(p.suspicion));
	teach((struct plan_lesson){.victim = made_of(AMBER), .age_us = PLAN_SUSPICION_HALF_US, .raise = true, .warns = true});
	assert_false(p.warned); /* too old to make anything suspect */
	assert_null(made_ordered(&update, PLAN_DO_STEER));
	p.warned = true;
	struct evidence touched = made_evidence(1, FINDING_TOUCHED, now_us, now_us);
	step((struct plan_event){.type = PLAN_EV_EVIDENCE, .evidence = touched});
	assert_false(p.warned); /* what is seen here says more */
}

/* --- one weak finding that is enough */

static const struct plan_learnt pair = {
        .incident = 7, .finding = {FINDING_STRAYED, FINDING_BUSY}, .vantage = {VANTAGE_WIRE, VANTAGE_HYPERVISOR}};

static enum plan_verdict see(uint32_t number, enum finding finding, enum vantage vantage)
{
	struct evidence weak = made_evidence(number, finding, now_us, now_us);
	weak.vantage = vantage;
	step((struct plan_event){.type = PLAN_EV_EVIDENCE, .evidence = weak});
	return plan_find(&p, number)->verdict;
}

static void one_of_a_pair_that_convicted_is_enough_once(void **state)
{
	(void)state;
	stand(AMBER, BIRCH, CEDAR);
	assert_int_equal(see(1, FINDING_STRAYED, VANTAGE_WIRE), PLAN_HEALTHY);
	setup(NULL);
	stand(AMBER, BIRCH, CEDAR);
	teach((struct plan_lesson){.learnt = pair});
	assert_int_equal(see(1, FINDING_UNUSUAL, VANTAGE_WIRE), PLAN_HEALTHY); /* not of the pair */
	assert_int_equal(see(1, FINDING_BUSY, VANTAGE_HYPERVISOR), PLAN_COMPROMISED);
	assert_int_equal(made_noted(&update, PLAN_STEP_DETECTED)->lesson, 0); /* two of two vantages need no lesson */
	setup(NULL);
	stand(AMBER, BIRCH, CEDAR);
	teach((struct plan_lesson){.learnt = pair});
	assert_int_equal(see(1, FINDING_STRAYED, VANTAGE_WIRE), PLAN_COMPROMISED);
	assert_int_equal(made_noted(&update, PLAN_STEP_DETECTED)->lesson, 7);
	assert_int_equal(made_noted(&update, PLAN_STEP_DETECTED)->beside, FINDING_GOOD); /* so that it teaches no pair */
	assert_int_equal(p.learnt[0].incident, 0);
	assert_int_equal(see(2, FINDING_STRAYED, VANTAGE_WIRE), PLAN_HEALTHY); /* spent */
}

static void within_its_bounds(void **state)
{
	(void)state;
	static const struct {
		const char *what;
		int64_t age_us;
		bool braked, alone, damped, other_vantage;
	} rows[] = {
	        {"an hour old", HOUR_US, false, false, false, false},  {"under the brake", 0, true, false, false, false},
	        {"nobody stands by", 0, false, true, false, false},    {"it comes and goes", 0, false, false, true, false},
	        {"seen from elsewhere", 0, false, false, false, true},
	};
	for (size_t k = 0; k < sizeof(rows) / sizeof(rows[0]); k++) {
		setup(NULL);
		stand(AMBER, BIRCH, CEDAR);
		teach((struct plan_lesson){.age_us = rows[k].age_us, .learnt = pair});
		p.brake.until_us = rows[k].braked ? NOW + HOUR_US : 0;
		if (rows[k].alone)
			p.instances[1].life = PLAN_LIFE_FENCING;
		if (rows[k].damped)
			p.instances[0].window.weak[FINDING_STRAYED - FINDING_WEAK_FIRST].damped_until_us = NOW + HOUR_US;
		if (see(1, FINDING_STRAYED, rows[k].other_vantage ? VANTAGE_GUEST : VANTAGE_WIRE) == PLAN_COMPROMISED)
			fail_msg("%s", rows[k].what);
	}
	setup(NULL);
	stand(AMBER, BIRCH, CEDAR);
	teach((struct plan_lesson){.age_us = HOUR_US - 1000000, .learnt = pair});
	now_us += 999000;
	struct evidence good = made_evidence(1, FINDING_GOOD, now_us, now_us);
	step((struct plan_event){.type = PLAN_EV_EVIDENCE, .evidence = good});
	now_us += 2000;
	assert_int_equal(see(1, FINDING_STRAYED, VANTAGE_WIRE), PLAN_HEALTHY); /* its hour is over */
}

static void only_the_newest_are_remembered(void **state)
{
	(void)state;
	for (uint64_t n = 1; n <= PLAN_LEARNT_MAX + 2; n++) {
		struct plan_learnt learnt = pair;
		learnt.incident = n;
		teach((struct plan_lesson){.learnt = learnt});
		teach((struct plan_lesson){.learnt = learnt});
	}
	for (size_t k = 0; k < PLAN_LEARNT_MAX; k++)
		assert_in_range(p.learnt[k].incident, 3, PLAN_LEARNT_MAX + 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup(somebody_elses_fall_makes_suspect, setup),
	        cmocka_unit_test_setup(it_weighs_less_the_older_it_is, setup),
	        cmocka_unit_test_setup(whoever_serves_hands_over_to_a_cleaner_one, setup),
	        cmocka_unit_test_setup(it_waits_for_a_cleaner_one, setup),
	        cmocka_unit_test_setup(no_other_lesson_moves_anybody, setup),
	        cmocka_unit_test_setup(one_of_a_pair_that_convicted_is_enough_once, setup),
	        cmocka_unit_test_setup(within_its_bounds, setup),
	        cmocka_unit_test_setup(only_the_newest_are_remembered, setup),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
