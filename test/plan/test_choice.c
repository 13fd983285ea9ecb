/* The ladders: who takes over, who wakes up, what is built next, who goes. */
#include "made.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define NOW 1000000

static struct plan p;

static int fresh(void **state)
{
	(void)state;
	made_plan(&p);
	return 0;
}

static void shared_layers_are_told_honestly(void **state)
{
	(void)state;
	assert_int_equal(plan_shared_layers(&p, AMBER, BIRCH), 1u << PLAN_PACKAGE);
	assert_int_equal(plan_shared_layers(&p, BIRCH, CEDAR), 1u << PLAN_PACKAGE | 1u << PLAN_LIBC);
	assert_int_equal(plan_shared_layers(&p, AMBER, AMBER), (1u << PLAN_LAYER_MAX_) - 1);
	assert_int_equal(plan_shared_layers(&p, AMBER, UINT32_MAX), 0);
}

static void suspicion_fades(void **state)
{
	(void)state;
	choice_suspect(&p, AMBER);
	assert_int_equal(p.suspicion[0], PLAN_SUSPICION_FALL);
	assert_int_equal(choice_suspect_layers(&p, AMBER) & PLAN_HOLES, PLAN_HOLES);
	assert_int_equal(choice_suspect_layers(&p, BIRCH) & PLAN_HOLES, 0);
	choice_suspect(&p, BIRCH);
	assert_int_equal(p.suspicion[0], PLAN_SUSPICION_FALL / 4);
	assert_int_equal(choice_suspect_layers(&p, AMBER) & PLAN_HOLES, 0);
	assert_int_equal(choice_suspect_layers(&p, CEDAR), 1u << PLAN_LIBC | 1u << PLAN_PACKAGE);
}

/* A survivor's components are half as suspect, the others' as they were. */
static void a_survivor_clears_what_it_shares(void **state)
{
	(void)state;
	choice_suspect(&p, BIRCH);
	assert_int_equal(choice_suspect_layers(&p, CEDAR), 1u << PLAN_LIBC | 1u << PLAN_PACKAGE);
	choice_clear(&p, CEDAR);
	assert_int_equal(choice_suspect_layers(&p, CEDAR), 0);
	assert_int_equal(choice_suspect_layers(&p, BIRCH) & PLAN_HOLES, PLAN_HOLES);
	choice_clear(&p, UINT32_MAX);
}

static void suspicion_halves_within_a_week(void **state)
{
	const int64_t hour_us = 3600000000ll;
	(void)state;
	assert_in_range(plan_suspicion_after(1000, PLAN_SUSPICION_HALF_US), 480, 520);
	assert_int_equal(plan_suspicion_after(1000, hour_us - 1), 1000);
	assert_int_equal(plan_suspicion_after(1000, -hour_us), 1000); /* a clock that was set back tells nothing */
	assert_int_equal(plan_suspicion_after(1000, INT64_MAX), 0);
	choice_suspect(&p, AMBER);
	choice_fade(&p, NOW);
	choice_fade(&p, NOW + hour_us - 1);
	assert_int_equal(p.suspicion[0], PLAN_SUSPICION_FALL);
	choice_fade(&p, NOW + PLAN_SUSPICION_HALF_US);
	assert_int_equal(p.suspicion[0], plan_suspicion_after(PLAN_SUSPICION_FALL, PLAN_SUSPICION_HALF_US));
	assert_int_equal(choice_suspect_layers(&p, AMBER), 0);
}

static void variant_first_in_order(void **state)
{
	(void)state;
	assert_int_equal(choice_variant(&p, NOW), AMBER);
	p.variants[AMBER].usable = false;
	assert_int_equal(choice_variant(&p, NOW), BIRCH);
	p.variants[BIRCH].not_before_us = NOW + 1;
	assert_int_equal(choice_variant(&p, NOW), CEDAR);
	assert_int_equal(choice_variant(&p, NOW + 1), BIRCH);
	p.variants[CEDAR].usable = p.variants[BIRCH].usable = false;
	assert_int_equal(choice_variant(&p, NOW), UINT32_MAX);
}

static void variant_unlike_the_active_one(void **state)
{
	(void)state;
	made_instance(&p, 1, AMBER, PLAN_ACTIVE, PLAN_LIFE_READY);
	assert_int_equal(choice_variant(&p, NOW), BIRCH);
	made_instance(&p, 2, BIRCH, PLAN_STANDBY, PLAN_LIFE_READY);
	assert_int_equal(choice_variant(&p, NOW), CEDAR);
}

/* The service still points at whoever fell: what counts is who will serve. */
static void variant_unlike_the_one_that_will_serve(void **state)
{
	(void)state;
	made_instance(&p, 1, AMBER, PLAN_ROLE_NONE, PLAN_LIFE_DOOMED);
	made_instance(&p, 2, BIRCH, PLAN_STANDBY, PLAN_LIFE_READY);
	made_instance(&p, 3, CEDAR, PLAN_SPARE, PLAN_LIFE_PAUSED);
	made_instance(&p, 4, CEDAR, PLAN_SPARE, PLAN_LIFE_PAUSED); /* else that there are fewer of it would decide */
	p.target = 1;
	choice_suspect(&p, AMBER);
	assert_int_equal(choice_variant(&p, NOW), CEDAR);
}

static void variant_without_suspect_layer(void **state)
{
	(void)state;
	made_instance(&p, 1, BIRCH, PLAN_ACTIVE, PLAN_LIFE_READY);
	choice_suspect(&p, AMBER);
	assert_int_equal(choice_variant(&p, NOW), CEDAR);
	/* rule 5 outweighs unlikeness: rather a second birch than a suspect amber */
	p.variants[CEDAR].usable = false;
	assert_int_equal(choice_variant(&p, NOW), BIRCH);
	/* and a suspect one is better than none */
	p.variants[BIRCH].usable = false;
	assert_int_equal(choice_variant(&p, NOW), AMBER);
}

static void variant_with_fewer_failed_builds_last(void **state)
{
	(void)state;
	p.variants[AMBER].failures = 1;
	assert_int_equal(choice_variant(&p, NOW), BIRCH);
}

/* As if the images of the three were combinations of one recipe: what is not there may be wanted. */
static void nothing_is_wanted_that_is_no_better(void **state)
{
	(void)state;
	assert_int_equal(plan_wanted_variant(&p, NOW), UINT32_MAX);
	made_instance(&p, 1, AMBER, PLAN_ACTIVE, PLAN_LIFE_READY);
	p.variants[CEDAR].usable = false;
	assert_int_equal(plan_wanted_variant(&p, NOW), UINT32_MAX); /* it cannot be built */
	p.variants[CEDAR].buildable = true;
	assert_int_equal(plan_wanted_variant(&p, NOW), UINT32_MAX); /* birch shares nothing with amber either */
}

static void what_shares_less_with_the_active_one_is_wanted(void **state)
{
	(void)state;
	made_instance(&p, 1, AMBER, PLAN_ACTIVE, PLAN_LIFE_READY);
	p.variants[BIRCH].usable = p.variants[CEDAR].usable = false;
	p.variants[BIRCH].buildable = p.variants[CEDAR].buildable = true;
	assert_int_equal(plan_wanted_variant(&p, NOW), BIRCH);
	p.variants[BIRCH].not_before_us = NOW + 1; /* it could not be built: the next best */
	assert_int_equal(plan_wanted_variant(&p, NOW), CEDAR);
	p.variants[CEDAR].not_before_us = NOW + 2;
	assert_int_equal(plan_wanted_variant(&p, NOW), UINT32_MAX);
	assert_int_equal(plan_wanted_variant(&p, NOW + 1), BIRCH);
	p.variants[BIRCH].usable = true; /* it is there now */
	assert_int_equal(plan_wanted_variant(&p, NOW + 2), UINT32_MAX);
}

static void what_avoids_a_suspect_layer_is_wanted(void **state)
{
	(void)state;
	p.variants[BIRCH].usable = p.variants[CEDAR].usable = false;
	p.variants[BIRCH].buildable = p.variants[CEDAR].buildable = true;
	assert_int_equal(plan_wanted_variant(&p, NOW), UINT32_MAX); /* nobody serves and nobody fell */
	choice_suspect(&p, AMBER);
	p.suspicion[1] = PLAN_SUSPECT; /* birch's kernel */
	plan_components_changed(&p);
	assert_int_equal(plan_wanted_variant(&p, NOW), CEDAR);
	p.suspicion[2] = p.suspicion[7] = p.suspicion[10] = PLAN_SUSPECT; /* all of cedar: no better than amber */
	plan_components_changed(&p);
	assert_int_equal(plan_wanted_variant(&p, NOW), BIRCH);
	p.suspicion[6] = p.suspicion[9] = PLAN_SUSPECT;
	plan_components_changed(&p);
	assert_int_equal(plan_wanted_variant(&p, NOW), UINT32_MAX);
}

static void without_anything_that_starts_the_best_is_wanted(void **state)
{
	(void)state;
	p.variants[BIRCH].usable = p.variants[CEDAR].usable = false;
	p.variants[BIRCH].buildable = p.variants[CEDAR].buildable = true;
	p.variants[AMBER].failures = 2;
	assert_int_equal(plan_wanted_variant(&p, NOW), UINT32_MAX);
	p.variants[AMBER].failures = 3; /* never proven, again and again */
	assert_int_equal(plan_wanted_variant(&p, NOW), BIRCH);
	p.variants[AMBER].usable = false;
	assert_int_equal(plan_wanted_variant(&p, NOW), BIRCH);
	assert_int_equal(choice_variant(&p, NOW), UINT32_MAX); /* what is not there is nothing to build a guest from */
}

static void target_by_the_ladder(void **state)
{
	(void)state;
	made_instance(&p, 1, AMBER, PLAN_ACTIVE, PLAN_LIFE_READY);
	assert_null(choice_target(&p, 1));
	struct plan_instance *same = made_instance(&p, 2, AMBER, PLAN_STANDBY, PLAN_LIFE_READY);
	assert_ptr_equal(choice_target(&p, 1), same);
	struct plan_instance *other = made_instance(&p, 3, BIRCH, PLAN_STANDBY, PLAN_LIFE_READY);
	assert_ptr_equal(choice_target(&p, 1), other);
	struct plan_instance *younger = made_instance(&p, 4, CEDAR, PLAN_STANDBY, PLAN_LIFE_READY);
	assert_ptr_equal(choice_target(&p, 1), younger);
	younger->window.misses = 1;
	assert_ptr_equal(choice_target(&p, 1), other);
	other->verdict = PLAN_UNKNOWN; /* not proven now: no target */
	assert_ptr_equal(choice_target(&p, 1), younger);
	younger->life = PLAN_LIFE_OPENING;
	assert_ptr_equal(choice_target(&p, 1), same);
	choice_suspect(&p, AMBER);
	younger->life = PLAN_LIFE_READY;
	assert_ptr_equal(choice_target(&p, 0), younger);
	younger->worn = true; /* rather one that shares something than one that was in the open for too long */
	other->verdict = PLAN_HEALTHY;
	younger->window.misses = 0;
	assert_ptr_equal(choice_target(&p, 1), other);
}

static void spare_that_wakes(void **state)
{
	(void)state;
	assert_null(choice_spare(&p));
	made_instance(&p, 1, AMBER, PLAN_ACTIVE, PLAN_LIFE_READY);
	made_instance(&p, 2, BIRCH, PLAN_SPARE, PLAN_LIFE_PAUSING);
	assert_null(choice_spare(&p));
	struct plan_instance *like = made_instance(&p, 3, AMBER, PLAN_SPARE, PLAN_LIFE_PAUSED);
	assert_ptr_equal(choice_spare(&p), like);
	struct plan_instance *unlike = made_instance(&p, 4, CEDAR, PLAN_SPARE, PLAN_LIFE_PAUSED);
	assert_ptr_equal(choice_spare(&p), unlike);
	choice_suspect(&p, CEDAR);
	assert_ptr_equal(choice_spare(&p), like);
}

static void worst_idle_is_missed_least(void **state)
{
	(void)state;
	made_instance(&p, 1, AMBER, PLAN_ACTIVE, PLAN_LIFE_READY);
	assert_null(choice_worst_idle(&p)); /* never the active one */
	struct plan_instance *standby = made_instance(&p, 2, AMBER, PLAN_STANDBY, PLAN_LIFE_READY);
	assert_ptr_equal(choice_worst_idle(&p), standby);
	struct plan_instance *spare = made_instance(&p, 3, BIRCH, PLAN_SPARE, PLAN_LIFE_PAUSED);
	assert_ptr_equal(choice_worst_idle(&p), spare); /* a spare rather than a standby */
	made_instance(&p, 4, CEDAR, PLAN_SPARE, PLAN_LIFE_PAUSED);
	assert_ptr_equal(choice_worst_idle(&p), spare); /* the older of two that are equally good */
	struct plan_instance *twin = made_instance(&p, 5, AMBER, PLAN_SPARE, PLAN_LIFE_PAUSED);
	assert_ptr_equal(choice_worst_idle(&p), twin);
	choice_suspect(&p, CEDAR);
	assert_int_equal(choice_worst_idle(&p)->number, 4);
}

/* Its variant is no longer in the configuration: nobody knows what is in it, so it is the last to be kept. */
static void unknown_variant_is_suspect(void **state)
{
	(void)state;
	made_instance(&p, 1, BIRCH, PLAN_ACTIVE, PLAN_LIFE_READY);
	struct plan_instance *known = made_instance(&p, 2, BIRCH, PLAN_STANDBY, PLAN_LIFE_READY);
	struct plan_instance *unknown = made_instance(&p, 3, UINT32_MAX, PLAN_STANDBY, PLAN_LIFE_READY);
	assert_ptr_equal(choice_target(&p, 1), known);
	assert_ptr_equal(choice_worst_idle(&p), unknown);
	assert_true(choice_better_beside_active(&p, BIRCH, UINT32_MAX));
	assert_false(choice_better_beside_active(&p, UINT32_MAX, BIRCH));
}

/* --- five incidents in a row, the active one falling each time */

static struct plan_instance *with_role(enum plan_role role)
{
	for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++)
		if (p.instances[k].number && p.instances[k].role == role)
			return &p.instances[k];
	fail_msg("nobody is %s", plan_role_name(role));
	return NULL;
}

/* What plan.c does in an incident, without time. Returns what is built in the end. */
static uint32_t incident(uint32_t number)
{
	struct plan_instance *victim = with_role(PLAN_ACTIVE), *to = choice_target(&p, victim->number);
	assert_non_null(to);
	assert_int_equal(plan_shared_layers(&p, victim->variant, to->variant) & PLAN_HOLES, 0);
	to->role = PLAN_ACTIVE;
	p.target = to->number;
	choice_suspect(&p, victim->variant);
	memset(victim, 0, sizeof(*victim));
	struct plan_instance *spare = choice_spare(&p);
	assert_non_null(spare);
	spare->role = PLAN_STANDBY;
	spare->life = PLAN_LIFE_READY;
	spare->verdict = PLAN_HEALTHY;
	uint32_t variant = choice_variant(&p, NOW);
	struct plan_instance *built = made_instance(&p, number, variant, PLAN_SPARE, PLAN_LIFE_PAUSED);
	/* settle: the better of the two beside the active one stands by, the other sleeps */
	if (choice_better_beside_active(&p, variant, spare->variant)) {
		built->role = PLAN_STANDBY, built->life = PLAN_LIFE_READY, built->verdict = PLAN_HEALTHY;
		spare->role = PLAN_SPARE, spare->life = PLAN_LIFE_PAUSED;
	}
	return variant;
}

static void five_incidents_in_a_row(void **state)
{
	(void)state;
	uint32_t victims[6], built[6];
	made_instance(&p, 1, AMBER, PLAN_ACTIVE, PLAN_LIFE_READY);
	made_instance(&p, 2, BIRCH, PLAN_STANDBY, PLAN_LIFE_READY);
	made_instance(&p, 3, CEDAR, PLAN_SPARE, PLAN_LIFE_PAUSED);
	for (uint32_t n = 0; n < 5; n++) {
		uint32_t victim = with_role(PLAN_ACTIVE)->variant;
		victims[n] = victim;
		built[n] = incident(4 + n);
		assert_int_not_equal(built[n], victim);
		assert_int_equal(plan_shared_layers(&p, victim, built[n]) & PLAN_HOLES, 0);
		/* what serves and what stands by never share a hole */
		assert_int_equal(plan_shared_layers(&p, with_role(PLAN_ACTIVE)->variant, with_role(PLAN_STANDBY)->variant) &
		                         PLAN_HOLES,
		                 0);
		if (n > 0)
			assert_int_not_equal(victim, victims[n - 1]);
	}
	/* Amber fell; of the other two, cedar is the one that shares nothing with what serves now (birch). */
	assert_int_equal(built[0], CEDAR);
	assert_int_not_equal(built[1], built[0]); /* a second incident differs from the first */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup(shared_layers_are_told_honestly, fresh),
	        cmocka_unit_test_setup(suspicion_fades, fresh),
	        cmocka_unit_test_setup(a_survivor_clears_what_it_shares, fresh),
	        cmocka_unit_test_setup(suspicion_halves_within_a_week, fresh),
	        cmocka_unit_test_setup(variant_first_in_order, fresh),
	        cmocka_unit_test_setup(variant_unlike_the_active_one, fresh),
	        cmocka_unit_test_setup(variant_unlike_the_one_that_will_serve, fresh),
	        cmocka_unit_test_setup(variant_without_suspect_layer, fresh),
	        cmocka_unit_test_setup(variant_with_fewer_failed_builds_last, fresh),
	        cmocka_unit_test_setup(nothing_is_wanted_that_is_no_better, fresh),
	        cmocka_unit_test_setup(what_shares_less_with_the_active_one_is_wanted, fresh),
	        cmocka_unit_test_setup(what_avoids_a_suspect_layer_is_wanted, fresh),
	        cmocka_unit_test_setup(without_anything_that_starts_the_best_is_wanted, fresh),
	        cmocka_unit_test_setup(target_by_the_ladder, fresh),
	        cmocka_unit_test_setup(spare_that_wakes, fresh),
	        cmocka_unit_test_setup(worst_idle_is_missed_least, fresh),
	        cmocka_unit_test_setup(unknown_variant_is_suspect, fresh),
	        cmocka_unit_test_setup(five_incidents_in_a_row, fresh),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
