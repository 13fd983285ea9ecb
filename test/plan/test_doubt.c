/* Giving way: clients are led away from whoever serves and is in doubt, before a verdict, and what comes of it. */
#include "made.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define ASKED_US 1230000 /* when what waits was asked */
#define TOLD_US 1260000

static struct plan p;
static struct plan_update update;

static void step(struct plan_event event)
{
	event.fresh_number = 9;
	event.fresh_incident = 3;
	plan_step(&p, &event, &update);
}

static void see(uint32_t instance, enum finding finding, int64_t began_us, int64_t time_us)
{
	step((struct plan_event){
	        .type = PLAN_EV_EVIDENCE, .now_us = time_us, .evidence = made_evidence(instance, finding, began_us, time_us)});
}

static void answer(enum plan_order_type type, int64_t now_us)
{
	struct plan_event event = {.type = PLAN_EV_ANSWER, .now_us = now_us};
	if (type == PLAN_DO_STEER)
		event.answer.ticket = p.steer.ticket;
	for (size_t k = 0; k < PLAN_INSTANCES_MAX && event.answer.ticket == 0; k++)
		if (p.instances[k].ticket && p.instances[k].order == type)
			event.answer.ticket = p.instances[k].ticket;
	assert_int_not_equal(event.answer.ticket, 0);
	step(event);
}

/* One serves, one stands by, one sleeps; both that run answered until now. */
static void fresh(void)
{
	made_plan(&p);
	made_instance(&p, 1, AMBER, PLAN_ACTIVE, PLAN_LIFE_READY)->exposed = true;
	made_instance(&p, 2, BIRCH, PLAN_STANDBY, PLAN_LIFE_READY);
	made_instance(&p, 3, CEDAR, PLAN_SPARE, PLAN_LIFE_PAUSED);
	for (int64_t at_us = 1000000; at_us < 1200000; at_us += 100000) {
		see(1, FINDING_GOOD, at_us, at_us + 3000);
		see(2, FINDING_GOOD, at_us + 30000, at_us + 33000);
	}
}

static void gives_way(enum finding finding)
{
	fresh();
	see(1, finding, ASKED_US, TOLD_US);
	see(2, FINDING_GOOD, TOLD_US, TOLD_US + 2000);
	assert_non_null(made_noted(&update, PLAN_STEP_GAVE_WAY));
}

static void whoever_is_in_doubt_gives_way(void **state)
{
	static const enum finding doubts[] = {FINDING_STALLED, FINDING_UNLINKED, FINDING_SILENT};
	static const struct {
		const char *why;
		bool off, busy, mine, other_held;
		int64_t began_us, seen_us; /* the other's answer */
		bool moves;
	} cases[] = {
	        {"another one answered since", false, false, false, false, TOLD_US, TOLD_US + 2000, true},
	        {"another one answered what was asked at the same time", false, false, false, false, ASKED_US, TOLD_US + 2000,
	         true},
	        {"switched off", true, false, false, false, TOLD_US, TOLD_US + 2000, false},
	        {"the host is overrun", false, true, false, false, TOLD_US, TOLD_US + 2000, false},
	        {"it answered meanwhile", false, false, true, false, TOLD_US, TOLD_US + 2000, false},
	        {"the other one is somebody's", false, false, false, true, TOLD_US, TOLD_US + 2000, false},
	        {"the other one was asked before", false, false, false, false, ASKED_US - 1, TOLD_US + 2000, false},
	        {"it was told long ago", false, false, false, false, TOLD_US, TOLD_US + PLAN_SILENCE_FRESH_US + 1, false},
	};
	(void)state;
	for (size_t n = 0; n < sizeof(cases) / sizeof(cases[0]); n++)
		for (size_t f = 0; f < sizeof(doubts) / sizeof(doubts[0]); f++) {
			fresh();
			p.config.gives_way = !cases[n].off;
			p.busy = cases[n].busy;
			p.instances[1].hold = cases[n].other_held ? PLAN_HOLD_LOCK : PLAN_HOLD_NONE;
			see(1, doubts[f], ASKED_US, TOLD_US);
			assert_null(made_noted(&update, PLAN_STEP_GAVE_WAY)); /* it may be the host */
			if (cases[n].mine)
				see(1, FINDING_GOOD, ASKED_US + 1000, TOLD_US + 1000);
			see(2, FINDING_GOOD, cases[n].began_us, cases[n].seen_us);
			const struct plan_order *steer = made_ordered(&update, PLAN_DO_STEER);
			if (cases[n].moves != (made_noted(&update, PLAN_STEP_GAVE_WAY) != NULL) ||
			    cases[n].moves != (steer != NULL))
				fail_msg("%s: gives way? %d", cases[n].why, steer != NULL);
			if (!steer)
				continue;
			assert_int_equal(steer->instance, 2);
			assert_int_equal(steer->victim, 0); /* nobody is cut off */
			assert_int_equal(p.incidents[0].evidence_us, ASKED_US);
			assert_int_equal(p.instances[0].verdict, PLAN_HEALTHY);
			assert_int_equal(p.crowd.before,
			                 doubts[f] == FINDING_UNLINKED ? 0 : 1); /* a link is not lost to clients */
		}
}

/* Requests that take their time are no reason: it is asked itself, and has until it is told again to answer. */
static void whoever_is_unheard_may_answer_a_probe(void **state)
{
	(void)state;
	for (int answers = 0; answers < 2; answers++) {
		fresh();
		see(1, FINDING_UNHEARD, ASKED_US, TOLD_US);
		see(2, FINDING_GOOD, TOLD_US, TOLD_US + 2000);
		assert_null(made_noted(&update, PLAN_STEP_GAVE_WAY));
		if (answers)
			see(1, FINDING_GOOD, TOLD_US, TOLD_US + 2500);
		see(1, FINDING_UNHEARD, ASKED_US, TOLD_US + 3000);
		assert_int_equal(made_noted(&update, PLAN_STEP_GAVE_WAY) == NULL, answers);
	}
	fresh(); /* what weighs more goes on weighing */
	see(1, FINDING_STALLED, ASKED_US, TOLD_US);
	see(1, FINDING_UNHEARD, ASKED_US + 1000, TOLD_US + 1000);
	see(2, FINDING_GOOD, TOLD_US, TOLD_US + 2000);
	assert_non_null(made_noted(&update, PLAN_STEP_GAVE_WAY));
	fresh(); /* two silences are not one that lasts */
	see(1, FINDING_UNHEARD, ASKED_US, TOLD_US);
	see(2, FINDING_GOOD, TOLD_US, TOLD_US + 2000);
	see(1, FINDING_UNHEARD, ASKED_US + 1000, TOLD_US + 3000);
	assert_null(made_noted(&update, PLAN_STEP_GAVE_WAY));
}

/* It stands by then, is asked as ever, and the old connections go on until they are drained. */
static void whoever_goes_on_stands_by(void **state)
{
	(void)state;
	gives_way(FINDING_STALLED);
	answer(PLAN_DO_STEER, TOLD_US + 4000);
	assert_int_equal(p.target, 2);
	see(1, FINDING_GOOD, TOLD_US + 30000, TOLD_US + 33000);
	see(2, FINDING_GOOD, TOLD_US + 30000, TOLD_US + 33000);
	assert_int_equal(p.instances[0].role, PLAN_STANDBY);
	assert_int_equal(p.incidents[0].verdict, PLAN_HEALTHY);
	assert_null(made_ordered(&update, PLAN_DO_CUT));
	step((struct plan_event){.type = PLAN_EV_TIME, .now_us = TOLD_US + 4000 + p.config.drain_us});
	assert_int_equal(made_ordered(&update, PLAN_DO_CUT)->instance, 1);
	assert_non_null(made_noted(&update, PLAN_STEP_CLOSED));
}

/* Three of its probes, beginning at `from_us`, are missed; the other one answers all that while. Returns when it is over. */
static int64_t miss(uint32_t instance, uint32_t other, int64_t from_us)
{
	int64_t now_us = 0;
	for (int n = 0; n < 6; n++)
		see(other, FINDING_GOOD, from_us + n * MADE_INTERVAL_US + 10000, from_us + n * MADE_INTERVAL_US + 12000);
	for (int n = 0; n < 3; n++) {
		now_us = from_us + 600000 + n * MADE_INTERVAL_US;
		see(instance, FINDING_TIMEOUT, from_us + n * MADE_INTERVAL_US, now_us);
	}
	return now_us;
}

/* The third is proven, and let in. */
static void wakes(int64_t from_us)
{
	see(3, FINDING_PROVEN, from_us, from_us + 100);
	see(3, FINDING_GOOD, from_us + 200, from_us + 300);
	answer(PLAN_DO_OPEN, from_us + 400);
}

/* Clients are with the last that is awake then: the spare is woken at once, and stands by whatever becomes of whoever gave way.
 */
static void a_spare_is_woken_for_whoever_gave_way(void **state)
{
	(void)state;
	gives_way(FINDING_STALLED);
	assert_int_equal(made_ordered(&update, PLAN_DO_RESUME)->instance, 3);
	assert_int_equal(made_noted(&update, PLAN_STEP_WAKING)->incident, 3);
	answer(PLAN_DO_STEER, TOLD_US + 4000);
	answer(PLAN_DO_RESUME, TOLD_US + 5000);
	assert_int_equal(plan_count_standby(&p, false), 1); /* that one alone */
	assert_int_equal(p.incidents[0].standby_us, 0);
	wakes(TOLD_US + 6000);
	assert_int_equal(p.incidents[0].standby_us, TOLD_US + 6400);
	assert_int_equal(plan_count_standby(&p, true), 1);
	assert_null(made_ordered(&update, PLAN_DO_SUSPEND));
	int64_t now_us = miss(1, 2, ASKED_US + 100000);
	assert_int_equal(p.instances[0].verdict, PLAN_FAILED);
	assert_int_equal(p.incidents[0].standby_us, TOLD_US + 6400);
	answer(PLAN_DO_FENCE, now_us + 1000);
	assert_int_equal(plan_count_standby(&p, true), 1);
}

/* And sleeps again when whoever gave way stands by. */
static void it_sleeps_again_when_that_was_nothing(void **state)
{
	(void)state;
	for (int in_time = 0; in_time < 2; in_time++) {
		gives_way(FINDING_STALLED);
		answer(PLAN_DO_STEER, TOLD_US + 4000);
		answer(PLAN_DO_RESUME, TOLD_US + 5000);
		int64_t answered_us = TOLD_US + 34000;
		if (!in_time)
			wakes(TOLD_US + 6000);
		see(1, FINDING_GOOD, TOLD_US + 30000, answered_us);
		if (in_time)
			wakes(TOLD_US + 35000);
		assert_int_equal(p.incidents[0].standby_us, in_time ? answered_us : TOLD_US + 6400);
		see(3, FINDING_GOOD, TOLD_US + 36000, TOLD_US + 37000);
		assert_int_equal(p.instances[2].life, PLAN_LIFE_PAUSING);
		assert_int_equal(p.instances[2].role, PLAN_SPARE);
		assert_int_equal(plan_count_standby(&p, true), 1); /* the first */
	}
}

/* Whoever takes the place of one that missed, and misses as well, has its clients: nobody falls for that, until it was well for a
 * while. */
static void clients_that_are_too_many_fell_one_at_the_most(void **state)
{
	(void)state;
	fresh();
	p.config.gives_way = false;
	p.config.ladder = PLAN_LADDER_ALL;
	int64_t now_us = miss(1, 2, ASKED_US);
	assert_int_equal(p.instances[0].verdict, PLAN_FAILED);
	answer(PLAN_DO_STEER, now_us + 1000);
	assert_int_equal(p.target, 2);
	p.config.standby = 2; /* or it would be one too many */
	made_instance(&p, 4, CEDAR, PLAN_STANDBY, PLAN_LIFE_READY);
	int64_t from_us = now_us + 100000;
	see(2, FINDING_GOOD, from_us - 50000, from_us - 48000);
	now_us = miss(2, 4, from_us);
	assert_true(p.instances[1].verdict < PLAN_FAILED);
	assert_non_null(made_noted(&update, PLAN_STEP_CROWDED));
	assert_int_equal(made_noted(&update, PLAN_STEP_CROWDED)->other, 1);
	from_us = now_us + PLAN_CROWD_US + 1; /* a while without a miss */
	see(2, FINDING_GOOD, from_us - 50000, from_us - 48000);
	now_us = miss(2, 4, from_us);
	assert_int_equal(p.instances[1].verdict, PLAN_FAILED);
}

/* What says nothing at all does fall, crowd or not: later. */
static void whoever_says_nothing_falls_in_any_crowd(void **state)
{
	(void)state;
	gives_way(FINDING_STALLED);
	answer(PLAN_DO_STEER, TOLD_US + 4000);
	int64_t now_us = TOLD_US + 100000;
	see(1, FINDING_GOOD, now_us, now_us + 2000);
	see(2, FINDING_GOOD, now_us, now_us + 2000);
	for (int n = 0; n < 24; n++) {
		assert_true(p.instances[1].verdict < PLAN_FAILED);
		now_us += MADE_INTERVAL_US;
		see(1, FINDING_GOOD, now_us, now_us + 2000);
		see(2, FINDING_TIMEOUT, now_us, now_us + 3000);
	}
	assert_int_equal(p.instances[1].verdict, PLAN_FAILED);
}

/* What it missed before clients is no measure of what it is without them. */
static void who_hands_over_begins_anew(void **state)
{
	(void)state;
	fresh();
	p.config.gives_way = false;
	see(1, FINDING_TIMEOUT, ASKED_US, TOLD_US + 250000);
	see(1, FINDING_TIMEOUT, ASKED_US + 100000, TOLD_US + 350000);
	step((struct plan_event){.type = PLAN_EV_SWITCH, .now_us = TOLD_US + 351000});
	answer(PLAN_DO_STEER, TOLD_US + 352000);
	assert_int_equal(p.instances[0].window.misses, 0);
	assert_int_equal(p.instances[0].window.filled, 0);
}

/* The other one may be next, or the clients are too many: they are not led to and fro. */
static void nobody_is_led_to_and_fro(void **state)
{
	(void)state;
	gives_way(FINDING_STALLED);
	answer(PLAN_DO_STEER, TOLD_US + 4000);
	see(1, FINDING_GOOD, TOLD_US + 30000, TOLD_US + 33000);
	see(2, FINDING_STALLED, TOLD_US + 40000, TOLD_US + 60000);
	see(1, FINDING_GOOD, TOLD_US + 60000, TOLD_US + 62000);
	assert_null(made_ordered(&update, PLAN_DO_STEER));
}

/* It is the same story, from the doubt on; and clients that are with it learn of it when it is kept from them. */
static void whoever_falls_then_fell_from_the_doubt_on(void **state)
{
	(void)state;
	gives_way(FINDING_STALLED);
	answer(PLAN_DO_STEER, TOLD_US + 4000);
	see(1, FINDING_TIMEOUT, ASKED_US, TOLD_US + 5000); /* what waited when it gave way is a miss like any other */
	assert_int_equal(p.instances[0].window.misses, 1);
	int64_t now_us = miss(1, 2, TOLD_US + 10000);
	assert_int_equal(p.incidents[0].number, 3);
	assert_int_equal(p.incidents[1].number, 0);
	assert_int_equal(p.incidents[0].verdict, PLAN_FAILED);
	assert_int_equal(p.incidents[0].evidence_us, ASKED_US);
	assert_int_equal(p.incidents[0].steered_us, TOLD_US + 4000);
	assert_int_equal(p.incidents[0].active_after, 2);
	assert_int_equal(p.instances[0].life, PLAN_LIFE_FENCING);
	assert_int_equal(made_ordered(&update, PLAN_DO_FENCE)->instance, 1); /* which ends its flows */
	answer(PLAN_DO_FENCE, now_us + 1000);
	assert_int_equal(p.instances[0].life, PLAN_LIFE_UNLINKING);
}

/* The verdict may come before the answer to the order. */
static void whoever_falls_meanwhile_is_cut_off(void **state)
{
	(void)state;
	gives_way(FINDING_SILENT);
	see(1, FINDING_SILENT, ASKED_US, TOLD_US + 3000);
	assert_int_equal(p.incidents[0].verdict, PLAN_FAILED);
	assert_int_equal(p.instances[0].life, PLAN_LIFE_DOOMED);
	answer(PLAN_DO_STEER, TOLD_US + 4000);
	assert_int_equal(p.target, 2);
	assert_int_equal(p.incidents[0].steered_us, TOLD_US + 4000);
	assert_int_equal(made_ordered(&update, PLAN_DO_FENCE)->instance, 1);
	assert_int_equal(p.incidents[1].number, 0);
}

/* A planned switch that somebody asked for is another matter than what befalls the old one afterwards. */
static void a_switch_that_was_asked_for_is_another_story(void **state)
{
	(void)state;
	fresh();
	step((struct plan_event){.type = PLAN_EV_SWITCH, .now_us = TOLD_US});
	answer(PLAN_DO_STEER, TOLD_US + 4000);
	plan_step(&p,
	          &(struct plan_event){.type = PLAN_EV_EVIDENCE,
	                               .now_us = TOLD_US + 5000,
	                               .fresh_incident = 4,
	                               .evidence = made_evidence(1, FINDING_REFUSED, TOLD_US + 5000, TOLD_US + 5000)},
	          &update);
	assert_int_equal(p.incidents[0].verdict, PLAN_HEALTHY);
	assert_int_equal(p.incidents[1].number, 4);
	assert_int_equal(p.incidents[1].verdict, PLAN_FAILED);
}

/* One stands by too many. What is wrong with a sleeper nobody sees: so who sleeps has answered, and nobody does who may have
 * fallen. */
static void nobody_sleeps_who_was_not_asked(void **state)
{
	(void)state;
	for (int doubted = 0; doubted < 2; doubted++) {
		fresh();
		p.instances[2].role = PLAN_STANDBY;
		p.instances[2].life = PLAN_LIFE_READY;
		see(2, FINDING_GOOD, TOLD_US - 2000, TOLD_US - 1000);
		assert_null(made_ordered(&update, PLAN_DO_SUSPEND)); /* of the third nothing is known yet */
		if (doubted)
			see(2, FINDING_STALLED, TOLD_US, TOLD_US);
		see(3, FINDING_GOOD, TOLD_US, TOLD_US + 2000);
		assert_int_equal(made_ordered(&update, PLAN_DO_SUSPEND) == NULL, doubted);
		see(2, FINDING_GOOD, TOLD_US + 3000, TOLD_US + 4000);
		assert_int_equal(made_ordered(&update, PLAN_DO_SUSPEND) != NULL, doubted); /* now it is over, too */
	}
}

/* Of two standbys that are as good it is the one that came later, wherever the plan has it. */
static void of_equals_the_later_one_sleeps(void **state)
{
	(void)state;
	for (int later = 1; later <= 2; later++) {
		fresh();
		p.instances[2] = (struct plan_instance){0};
		made_instance(&p, 3, BIRCH, PLAN_STANDBY, PLAN_LIFE_READY);
		p.instances[later].life_us = 1;
		see(2, FINDING_GOOD, TOLD_US, TOLD_US + 2000);
		see(3, FINDING_GOOD, TOLD_US, TOLD_US + 2000);
		for (int k = 1; k <= 2; k++)
			assert_int_equal(p.instances[k].life == PLAN_LIFE_PAUSING, k == later);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(whoever_is_in_doubt_gives_way),
	        cmocka_unit_test(whoever_is_unheard_may_answer_a_probe),
	        cmocka_unit_test(whoever_goes_on_stands_by),
	        cmocka_unit_test(a_spare_is_woken_for_whoever_gave_way),
	        cmocka_unit_test(it_sleeps_again_when_that_was_nothing),
	        cmocka_unit_test(clients_that_are_too_many_fell_one_at_the_most),
	        cmocka_unit_test(whoever_says_nothing_falls_in_any_crowd),
	        cmocka_unit_test(who_hands_over_begins_anew),
	        cmocka_unit_test(nobody_is_led_to_and_fro),
	        cmocka_unit_test(whoever_falls_then_fell_from_the_doubt_on),
	        cmocka_unit_test(whoever_falls_meanwhile_is_cut_off),
	        cmocka_unit_test(a_switch_that_was_asked_for_is_another_story),
	        cmocka_unit_test(nobody_sleeps_who_was_not_asked),
	        cmocka_unit_test(of_equals_the_later_one_sleeps),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
