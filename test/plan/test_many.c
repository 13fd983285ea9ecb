/*
 * As many instances as one service may have: they are built one after the other, all fall at once, a restarted engine finds more
 * than it can keep. What a step may order and note is bounded, and must be enough for that.
 */
#include "made.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define WANTED 32

static struct plan p;
static struct plan_update update;
static struct plan_order orders[4096]; /* sent and not answered yet */
static size_t n_orders, most_living;
static int64_t now_us;
static uint32_t fresh_number;
static uint64_t fresh_incident;

static size_t living(void)
{
	size_t n = 0;
	for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++)
		n += p.instances[k].number > 0;
	return n;
}

static void step(struct plan_event event)
{
	do {
		event.now_us = ++now_us;
		event.fresh_number = fresh_number;
		event.fresh_incident = fresh_incident;
		plan_step(&p, &event, &update);
		fresh_number += update.number_used;
		fresh_incident += update.incident_used;
		for (size_t k = 0; k < update.n_orders; k++) {
			assert_true(n_orders < sizeof(orders) / sizeof(orders[0]));
			orders[n_orders++] = update.orders[k];
		}
		most_living = living() > most_living ? living() : most_living;
		event = (struct plan_event){.type = PLAN_EV_TIME};
	} while (plan_deadline(&p) <= now_us);
}

/* All that was ordered is done, and whoever is probed answers rightly. */
static void pass(void)
{
	size_t n = n_orders;
	struct plan_order done[sizeof(orders) / sizeof(orders[0])];
	memcpy(done, orders, n * sizeof(done[0]));
	n_orders = 0;
	now_us += MADE_INTERVAL_US;
	for (size_t k = 0; k < n; k++)
		step((struct plan_event){.type = PLAN_EV_ANSWER, .answer = {done[k].ticket, 0}});
	for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++)
		if (p.instances[k].number)
			step((struct plan_event){.type = PLAN_EV_EVIDENCE,
			                         .evidence =
			                                 made_evidence(p.instances[k].number, FINDING_PROVEN, now_us, now_us)});
}

static bool whole(void)
{
	return plan_is_served(&p) && plan_count_standby(&p, true) == WANTED - 2 && plan_count_spare(&p) == 1 &&
	       plan_open_incidents(&p) == 0 && living() == WANTED && n_orders == 0;
}

static void until_whole(void)
{
	int64_t end_us = now_us + 3600000000;
	while (!whole() && now_us < end_us)
		pass();
	assert_true(whole());
}

static int begin(void **state)
{
	(void)state;
	struct plan_config config = made_config();
	config.standby = WANTED - 2;
	plan_init(&p, &config);
	made_variants(&p);
	now_us = 1000000;
	n_orders = most_living = 0;
	fresh_number = 1;
	fresh_incident = 1;
	return 0;
}

static void all_are_built(void **state)
{
	(void)state;
	step((struct plan_event){.type = PLAN_EV_WORLD});
	until_whole();
	assert_true(most_living <= WANTED + 1);
}

/* Nobody is left to take over, and the last falls as the first does. */
static void all_fall_at_once(void **state)
{
	(void)state;
	all_are_built(state);
	uint32_t last = fresh_number - 1;
	now_us += MADE_INTERVAL_US;
	for (uint32_t number = 1; number <= last; number++)
		step((struct plan_event){.type = PLAN_EV_EVIDENCE,
		                         .evidence = made_evidence(number, FINDING_TOUCHED, now_us, now_us)});
	for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++)
		assert_true(p.instances[k].number == 0 || p.instances[k].number > last || plan_life_falls(p.instances[k].life));
	until_whole();
	for (uint32_t number = 1; number <= last; number++)
		assert_null(plan_find(&p, number));
}

static void more_than_it_can_keep_are_found(void **state)
{
	(void)state;
	struct plan_sighting seen[PLAN_INSTANCES_MAX];
	for (uint32_t k = 0; k < PLAN_INSTANCES_MAX; k++)
		seen[k] = (struct plan_sighting){.number = k + 1,
		                                 .variant = k % 4 ? k % MADE_VARIANTS : UINT32_MAX, /* nobody's */
		                                 .guest = PLAN_GUEST_RUNNING,
		                                 .gate = PLAN_GATE_OPEN,
		                                 .role = k == 1 ? PLAN_ACTIVE : PLAN_STANDBY,
		                                 .life = PLAN_LIFE_READY,
		                                 .exposed = true,
		                                 .outdated = k % 2};
	fresh_number = PLAN_INSTANCES_MAX + 1;
	step((struct plan_event){.type = PLAN_EV_WORLD,
	                         .world = {.sightings = seen, .n_sightings = PLAN_INSTANCES_MAX, .target = 2}});
	until_whole();
	for (uint32_t k = 0; k < PLAN_INSTANCES_MAX; k += 4)
		assert_null(plan_find(&p, k + 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup(all_are_built, begin),
	        cmocka_unit_test_setup(all_fall_at_once, begin),
	        cmocka_unit_test_setup(more_than_it_can_keep_are_found, begin),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
