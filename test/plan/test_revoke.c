/* Of a fallen instance what it could read is revoked: when the order leaves, what becomes of its answer, what a restart makes of
 * it. */
#include "made.h"
#include "plan/inside.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define NOW_US 50000000

static struct plan plan;
static struct plan_update update;

static void step(struct plan_event event)
{
	event.fresh_number = 90;
	event.fresh_incident = 5;
	plan_step(&plan, &event, &update);
}

static void plan_make(bool secrets)
{
	made_plan(&plan);
	plan.config.secrets = secrets;
	plan.config.spare = 0;
	made_instance(&plan, 1, 0, PLAN_ACTIVE, PLAN_LIFE_READY);
	made_instance(&plan, 2, 1, PLAN_STANDBY, PLAN_LIFE_READY);
	for (int k = 0; k < 2; k++)
		plan.instances[k].window.last_good_us = NOW_US - 1000;
}

static void take_over(uint32_t number)
{
	struct plan_event event = {.now_us = NOW_US, .type = PLAN_EV_EVIDENCE};
	event.evidence = made_evidence(number, FINDING_TOUCHED, NOW_US, NOW_US);
	event.evidence.vantage = VANTAGE_DECOY;
	step(event);
}

/* Its place among the orders, -1: it is not there. */
static int order_index(enum plan_order_type type, uint32_t instance)
{
	for (size_t k = 0; k < update.n_orders; k++)
		if (update.orders[k].type == type && update.orders[k].instance == instance)
			return (int)k;
	return -1;
}

static void answer(uint32_t ticket, int32_t status, int64_t now_us)
{
	struct plan_event event = {.now_us = now_us, .type = PLAN_EV_ANSWER, .answer = {ticket, status}};
	step(event);
}

/* Of incidents without end the oldest ends before there is no row for the next. */
static void the_next_one_finds_a_row(void **state)
{
	(void)state;
	plan_make(true);
	plan.config.spare = 1; /* there is none, so none of them is over */
	plan.target = 1;
	for (uint64_t k = 0; k < PLAN_INCIDENTS_MAX; k++)
		plan.incidents[k] = (struct plan_incident){.number = 11 + k,
		                                           .victim = 50 + (uint32_t)k,
		                                           .verdict = PLAN_COMPROMISED,
		                                           .phase = PLAN_RECOVER,
		                                           .evidence_us = NOW_US - 3000000,
		                                           .verdict_us = NOW_US - 3000000,
		                                           .steered_us = NOW_US - 3000000,
		                                           .active_after = 1,
		                                           .removed = true,
		                                           .revoked = k > 0};
	step((struct plan_event){.now_us = NOW_US, .type = PLAN_EV_TIME});
	assert_int_equal(plan.incidents[0].number, 11); /* somebody could still use what its victim could read */
	assert_int_equal(plan.incidents[1].number, 0);
	assert_int_equal(made_noted(&update, PLAN_STEP_CLOSED)->incident, 12);
	for (size_t k = 2; k < PLAN_INCIDENTS_MAX; k++)
		assert_int_equal(plan.incidents[k].number, 11 + k);
	take_over(1);
	assert_int_equal(plan.incidents[1].victim, 1);
}

static void before_the_steer(void **state)
{
	(void)state;
	plan_make(true);
	take_over(1);
	assert_int_equal(order_index(PLAN_DO_REVOKE, 1), 0);
	assert_true(order_index(PLAN_DO_STEER, 2) > 0);
	assert_int_equal(update.orders[0].incident, 5);
	assert_false(plan_order_needs_intent(PLAN_DO_REVOKE)); /* it waits for no disk */
}

static void nobody_has_any(void **state)
{
	(void)state;
	plan_make(false);
	take_over(1);
	assert_int_equal(order_index(PLAN_DO_REVOKE, 1), -1);
	assert_int_equal(order_index(PLAN_DO_STEER, 2), 0);
}

static void of_a_standby_before_its_fence(void **state)
{
	(void)state;
	plan_make(true);
	take_over(2);
	assert_int_equal(order_index(PLAN_DO_REVOKE, 2), 0);
	assert_int_equal(order_index(PLAN_DO_FENCE, 2), 1);
	assert_int_equal(order_index(PLAN_DO_REVOKE, 1), -1);
}

/* Nobody can take over, so it keeps the address: what it serves with must go on being good. */
static void not_of_who_keeps_the_address(void **state)
{
	(void)state;
	plan_make(true);
	plan.instances[1].life = PLAN_LIFE_BOOTING;
	struct plan_event event = {.now_us = NOW_US, .type = PLAN_EV_EVIDENCE};
	event.evidence = made_evidence(1, FINDING_REFUSED, NOW_US, NOW_US);
	step(event);
	assert_int_equal(plan.instances[0].life, PLAN_LIFE_DOOMED);
	assert_int_equal(order_index(PLAN_DO_REVOKE, 1), -1);
}

static void answered_once_and_told(void **state)
{
	(void)state;
	plan_make(true);
	take_over(1);
	uint32_t ticket = update.orders[0].ticket;
	assert_false(plan_incident_at(&plan, 5)->revoked);
	answer(ticket, 0, NOW_US + 1000);
	assert_true(made_noted(&update, PLAN_STEP_REVOKED));
	assert_true(plan_incident_at(&plan, 5)->revoked);
	answer(ticket, 0, NOW_US + 2000);
	assert_false(made_noted(&update, PLAN_STEP_REVOKED));
	assert_int_equal(order_index(PLAN_DO_REVOKE, 1), -1);
}

static void refused_and_tried_again(void **state)
{
	(void)state;
	plan_make(true);
	take_over(1);
	int64_t now_us = NOW_US;
	uint32_t ticket = update.orders[0].ticket;
	answer(update.orders[1].ticket, 0, now_us); /* the steer; the victim goes on being taken apart */
	for (int tries = 0; tries < 4; tries++) {
		answer(ticket, -28, now_us);
		assert_true(made_noted(&update, PLAN_STEP_REFUSED_ORDER));
		assert_false(plan_incident_at(&plan, 5)->revoked);
		now_us = plan.instances[0].revoke.deadline_us;
		assert_true(plan_deadline(&plan) <= now_us);
		step((struct plan_event){.now_us = now_us, .type = PLAN_EV_TIME});
		assert_int_not_equal(order_index(PLAN_DO_REVOKE, 1), -1);
		ticket = update.orders[order_index(PLAN_DO_REVOKE, 1)].ticket;
	}
	answer(ticket, 0, now_us + 1);
	assert_true(plan_incident_at(&plan, 5)->revoked);
}

static void world(const struct plan_sighting *sightings, size_t n, const struct plan_incident *incidents, size_t n_incidents)
{
	struct plan_event event = {.now_us = NOW_US, .type = PLAN_EV_WORLD};
	made_plan(&plan);
	plan.config.secrets = true;
	plan.world_known = false;
	event.world.sightings = sightings;
	event.world.n_sightings = n;
	event.world.incidents = incidents;
	event.world.n_incidents = n_incidents;
	event.world.target = 1;
	step(event);
}

/* The engine that decided it is dead and wrote nothing down. */
static void whose_secrets_are_refused_does_not_serve(void **state)
{
	(void)state;
	struct plan_sighting seen[] = {
	        {.number = 1, .guest = PLAN_GUEST_RUNNING, .gate = PLAN_GATE_OPEN, .role = PLAN_ACTIVE, .life = PLAN_LIFE_READY},
	        {.number = 2,
	         .variant = 1,
	         .guest = PLAN_GUEST_RUNNING,
	         .gate = PLAN_GATE_OPEN,
	         .role = PLAN_STANDBY,
	         .life = PLAN_LIFE_READY},
	        {.number = 3,
	         .variant = 2,
	         .guest = PLAN_GUEST_RUNNING,
	         .gate = PLAN_GATE_QUARANTINE,
	         .role = PLAN_STANDBY,
	         .life = PLAN_LIFE_BOOTING},
	};
	world(seen, 3, NULL, 0);
	assert_int_equal(plan.instances[0].life, PLAN_LIFE_READY);
	assert_int_equal(plan.instances[2].life, PLAN_LIFE_BOOTING);
	seen[0].revoked = seen[2].revoked = true;
	world(seen, 3, NULL, 0);
	assert_true(plan_life_falls(plan.instances[0].life) || plan.instances[0].life == PLAN_LIFE_DOOMED);
	assert_true(plan_life_falls(plan.instances[2].life));
}

static void of_a_victim_that_nobody_sees_any_more(void **state)
{
	(void)state;
	struct plan_sighting seen = {
	        .number = 1, .guest = PLAN_GUEST_RUNNING, .gate = PLAN_GATE_OPEN, .role = PLAN_ACTIVE, .life = PLAN_LIFE_READY};
	struct plan_incident open = {.number = 4, .victim = 7, .verdict = PLAN_COMPROMISED, .drain_us = PLAN_NEVER};
	world(&seen, 1, &open, 1);
	assert_int_not_equal(order_index(PLAN_DO_REVOKE, 7), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(the_next_one_finds_a_row),
	        cmocka_unit_test(before_the_steer),
	        cmocka_unit_test(nobody_has_any),
	        cmocka_unit_test(of_a_standby_before_its_fence),
	        cmocka_unit_test(not_of_who_keeps_the_address),
	        cmocka_unit_test(answered_once_and_told),
	        cmocka_unit_test(refused_and_tried_again),
	        cmocka_unit_test(whose_secrets_are_refused_does_not_serve),
	        cmocka_unit_test(of_a_victim_that_nobody_sees_any_more),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
