/* The table of lives, row by row: (life, event) -> (life, order). What is not listed leaves everything as it is. */
#include "made.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define NO_ORDER PLAN_ORDER_MAX_
#define L(x) PLAN_LIFE_##x
#define DO(x) PLAN_DO_##x

static const struct {
	enum plan_life life;
	enum life_event event;
	enum plan_life then;
	enum plan_order_type order;
} rows[] = {
        {L(TAP), LIFE_DONE, L(CREATE), DO(CREATE)},
        {L(TAP), LIFE_FALL, L(FENCING), DO(FENCE)},
        {L(TAP), LIFE_LATE, L(TAP), DO(TAP_ADD)},
        {L(CREATE), LIFE_DONE, L(BOOTING), NO_ORDER},
        {L(CREATE), LIFE_FAILED, L(FENCING), DO(FENCE)},
        {L(CREATE), LIFE_FALL, L(FENCING), DO(FENCE)},
        {L(CREATE), LIFE_LATE, L(CREATE), DO(CREATE)},
        {L(BOOTING), LIFE_PROOF, L(UNCAPPING), DO(UNCAP)},
        {L(BOOTING), LIFE_FALL, L(FENCING), DO(FENCE)},
        {L(BOOTING), LIFE_LATE, L(FENCING), DO(FENCE)},
        {L(UNCAPPING), LIFE_DONE, L(OPENING), DO(OPEN)},
        {L(UNCAPPING), LIFE_FALL, L(FENCING), DO(FENCE)},
        {L(UNCAPPING), LIFE_LATE, L(UNCAPPING), DO(UNCAP)},
        {L(OPENING), LIFE_DONE, L(READY), NO_ORDER},
        {L(OPENING), LIFE_FALL, L(FENCING), DO(FENCE)},
        {L(OPENING), LIFE_LATE, L(OPENING), DO(OPEN)},
        {L(READY), LIFE_FALL, L(FENCING), DO(FENCE)},
        {L(PAUSING), LIFE_DONE, L(PAUSED), NO_ORDER},
        {L(PAUSING), LIFE_FALL, L(FENCING), DO(FENCE)},
        {L(PAUSING), LIFE_LATE, L(PAUSING), DO(SUSPEND)},
        {L(PAUSED), LIFE_FALL, L(FENCING), DO(FENCE)},
        {L(RESUMING), LIFE_DONE, L(WAKING), NO_ORDER},
        {L(RESUMING), LIFE_FALL, L(FENCING), DO(FENCE)},
        {L(RESUMING), LIFE_LATE, L(RESUMING), DO(RESUME)},
        {L(WAKING), LIFE_PROOF, L(OPENING), DO(OPEN)},
        {L(WAKING), LIFE_FALL, L(FENCING), DO(FENCE)},
        {L(WAKING), LIFE_LATE, L(FENCING), DO(FENCE)},
        {L(DOOMED), LIFE_FALL, L(FENCING), DO(FENCE)},
        {L(ASIDE), LIFE_DONE, L(RESTARTING), DO(RESTART)},
        {L(ASIDE), LIFE_FALL, L(FENCING), DO(FENCE)},
        {L(ASIDE), LIFE_LATE, L(ASIDE), DO(LOCK)},
        {L(RESTARTING), LIFE_DONE, L(RESTARTED), NO_ORDER},
        {L(RESTARTING), LIFE_FAILED, L(RESETTING), DO(RESET)},
        {L(RESTARTING), LIFE_FALL, L(RESETTING), DO(RESET)},
        {L(RESTARTED), LIFE_PROOF, L(UNCAPPING), DO(UNCAP)},
        {L(RESTARTED), LIFE_FALL, L(RESETTING), DO(RESET)},
        {L(RESTARTED), LIFE_LATE, L(RESETTING), DO(RESET)},
        {L(RESETTING), LIFE_DONE, L(REBOOTING), NO_ORDER},
        {L(RESETTING), LIFE_FALL, L(FENCING), DO(FENCE)},
        {L(RESETTING), LIFE_LATE, L(RESETTING), DO(RESET)},
        {L(REBOOTING), LIFE_PROOF, L(UNCAPPING), DO(UNCAP)},
        {L(REBOOTING), LIFE_FALL, L(FENCING), DO(FENCE)},
        {L(REBOOTING), LIFE_LATE, L(FENCING), DO(FENCE)},
        {L(LOCKING), LIFE_DONE, L(LOCKED), DO(CUT)},
        {L(LOCKING), LIFE_FALL, L(FENCING), DO(FENCE)},
        {L(LOCKING), LIFE_LATE, L(LOCKING), DO(LOCK)},
        {L(LOCKED), LIFE_FALL, L(FENCING), DO(FENCE)},
        {L(STOPPING), LIFE_DONE, L(STOPPED), NO_ORDER},
        {L(STOPPING), LIFE_FALL, L(FENCING), DO(FENCE)},
        {L(STOPPING), LIFE_LATE, L(STOPPING), DO(STOP_SERVICE)},
        {L(STOPPED), LIFE_FALL, L(FENCING), DO(FENCE)},
        {L(STARTING), LIFE_DONE, L(WAKING), NO_ORDER},
        {L(STARTING), LIFE_FALL, L(FENCING), DO(FENCE)},
        {L(STARTING), LIFE_LATE, L(STARTING), DO(RESTART)},
        {L(HOLDING), LIFE_DONE, L(HELD), NO_ORDER},
        {L(HOLDING), LIFE_FALL, L(FENCING), DO(FENCE)},
        {L(HOLDING), LIFE_LATE, L(HOLDING), DO(SUSPEND)},
        {L(HELD), LIFE_FALL, L(FENCING), DO(FENCE)},
        {L(STEERING), LIFE_DONE, L(UNLINKING), DO(LINK_DOWN)},
        {L(STEERING), LIFE_FAILED, L(FENCING), DO(FENCE)},
        {L(STEERING), LIFE_LATE, L(FENCING), DO(FENCE)},
        {L(FENCING), LIFE_DONE, L(UNLINKING), DO(LINK_DOWN)},
        {L(FENCING), LIFE_LATE, L(FENCING), DO(FENCE)},
        {L(UNLINKING), LIFE_DONE, L(FREEZING), DO(SUSPEND)},
        {L(UNLINKING), LIFE_FAILED, L(FREEZING), DO(SUSPEND)},
        {L(UNLINKING), LIFE_LATE, L(UNLINKING), DO(LINK_DOWN)},
        {L(FREEZING), LIFE_DONE, L(ROLLING), DO(ROLLBACK)},
        {L(FREEZING), LIFE_FAILED, L(TRACING), DO(FLOWS)},
        {L(FREEZING), LIFE_LATE, L(FREEZING), DO(SUSPEND)},
        {L(ROLLING), LIFE_DONE, L(TRACING), DO(FLOWS)},
        {L(ROLLING), LIFE_LATE, L(ROLLING), DO(ROLLBACK)},
        {L(TRACING), LIFE_DONE, L(RECORDING), DO(RECORD)},
        {L(TRACING), LIFE_FAILED, L(RECORDING), DO(RECORD)},
        {L(TRACING), LIFE_LATE, L(TRACING), DO(FLOWS)},
        {L(RECORDING), LIFE_DONE, L(DESTROYING), DO(DESTROY)},
        {L(RECORDING), LIFE_FAILED, L(DESTROYING), DO(DESTROY)},
        {L(RECORDING), LIFE_LATE, L(RECORDING), DO(RECORD)},
        {L(DESTROYING), LIFE_DONE, L(REMOVING), DO(TAP_DEL)},
        {L(DESTROYING), LIFE_LATE, L(DESTROYING), DO(DESTROY)},
        {L(REMOVING), LIFE_DONE, L(NONE), NO_ORDER},
        {L(REMOVING), LIFE_LATE, L(REMOVING), DO(TAP_DEL)},
};

static struct plan p;
static struct plan_update update;

static struct plan_turn fresh_turn(void)
{
	made_plan(&p);
	memset(&update, 0, sizeof(update));
	return (struct plan_turn){.p = &p, .now_us = 5000000, .fresh_number = 9, .fresh_incident = 3, .update = &update};
}

static enum plan_order_type last_order(void)
{
	return update.n_orders ? update.orders[update.n_orders - 1].type : NO_ORDER;
}

/* An instance in the middle of `life`, its order under way where the life has one. */
static struct plan_instance *in_life(struct plan_turn *t, enum plan_life life)
{
	made_instance(&p, 1, AMBER, PLAN_ACTIVE, PLAN_LIFE_READY);
	struct plan_instance *i = made_instance(&p, 2, BIRCH, PLAN_STANDBY, PLAN_LIFE_NONE);
	i->record = true;
	i->incident = 1;
	i->rollback = life == PLAN_LIFE_FREEZING || life == PLAN_LIFE_ROLLING;
	i->cause = FINDING_TIMEOUT;
	p.config.ladder = PLAN_LADDER_ALL;
	bool boots = life == PLAN_LIFE_RESETTING || life == PLAN_LIFE_REBOOTING;
	i->rung = !plan_life_mends(life) ? PLAN_RUNG_NONE : boots ? PLAN_RUNG_REBOOT : PLAN_RUNG_RESTART;
	life_enter(t, i, life);
	i->record = i->exposed = true;
	update.n_orders = update.n_notes = 0;
	return i;
}

static size_t row_of(enum plan_life life, enum life_event event)
{
	size_t row = 0;
	while (row < sizeof(rows) / sizeof(rows[0]) && (rows[row].life != life || rows[row].event != event))
		row++;
	return row;
}

static void check_cell(enum plan_life life, enum life_event event)
{
	struct plan_turn t = fresh_turn();
	struct plan_instance *i = in_life(&t, life);
	size_t row = row_of(life, event);
	bool listed = row < sizeof(rows) / sizeof(rows[0]);
	enum plan_life then = listed ? rows[row].then : life;
	enum plan_order_type order = listed ? rows[row].order : NO_ORDER;
	life_event(&t, i, event, event == LIFE_FAILED ? -5 : 0);
	if (i->life != then || last_order() != order)
		fail_msg("%s, event %d: is %s, %s; not %s, %s", plan_life_name(life), event, plan_life_name(i->life),
		         plan_order_name(last_order()), plan_life_name(then), plan_order_name(order));
	bool cuts = event == LIFE_DONE && life == PLAN_LIFE_ASIDE;
	assert_true(update.n_orders <= (cuts ? 3 : 1)); /* its flows, its share */
	if (cuts)
		assert_int_equal(update.orders[0].type, PLAN_DO_CUT);
}

/* One that cannot be frozen writes on until it is gone. */
static void unfrozen_data_goes_back_at_the_end(void **state)
{
	(void)state;
	struct plan_turn t = fresh_turn();
	struct plan_instance *i = in_life(&t, PLAN_LIFE_FREEZING);
	life_event(&t, i, LIFE_FAILED, -5);
	assert_int_equal(i->life, PLAN_LIFE_TRACING);
	life_event(&t, i, LIFE_DONE, 0);
	life_event(&t, i, LIFE_DONE, 0);
	assert_int_equal(i->life, PLAN_LIFE_DESTROYING);
	life_event(&t, i, LIFE_DONE, 0);
	assert_int_equal(i->life, PLAN_LIFE_ROLLING);
	assert_int_equal(last_order(), PLAN_DO_ROLLBACK);
	life_event(&t, i, LIFE_DONE, 0);
	assert_int_equal(i->life, PLAN_LIFE_REMOVING);
}

/* Without a snapshot there is nothing to wait for; anything else is tried again before somebody is told. */
static void a_rollback_that_fails_is_told(void **state)
{
	(void)state;
	struct plan_turn t = fresh_turn();
	struct plan_instance *i = in_life(&t, PLAN_LIFE_ROLLING);
	life_event(&t, i, LIFE_FAILED, -5);
	assert_int_equal(i->life, PLAN_LIFE_ROLLING);
	life_event(&t, i, LIFE_FAILED, -61);
	assert_int_equal(i->life, PLAN_LIFE_TRACING);
	assert_int_equal(update.notes[update.n_notes - 1].step, PLAN_STEP_NOT_ROLLED_BACK);
	assert_int_equal(update.notes[update.n_notes - 1].status, -61);
}

static void table_holds(void **state)
{
	(void)state;
	assert_true(life_is_complete());
	for (unsigned life = PLAN_LIFE_TAP; life < PLAN_LIFE_MAX_; life++)
		for (unsigned event = LIFE_DONE; event < LIFE_EVENT_MAX_; event++)
			check_cell((enum plan_life)life, (enum life_event)event);
}

/* An order that failed is tried again after a pause that doubles up to 5 s; never at once, never never. */
static void retries_slow_down(void **state)
{
	static const enum plan_life lives[] = {L(FENCING), L(DESTROYING), L(REMOVING)};
	(void)state;
	for (size_t n = 0; n < sizeof(lives) / sizeof(lives[0]); n++) {
		struct plan_turn t = fresh_turn();
		struct plan_instance *i = in_life(&t, lives[n]);
		int64_t pause_us = 20000;
		for (int attempt = 0; attempt < 12; attempt++) {
			i->ticket = 0;
			life_event(&t, i, LIFE_FAILED, -5);
			assert_int_equal(i->life, lives[n]);
			assert_int_equal(i->ticket, 0);
			assert_int_equal(i->deadline_us - t.now_us, pause_us);
			pause_us = pause_us < 5120000 ? 2 * pause_us : pause_us;
			t.now_us = i->deadline_us;
			life_event(&t, i, LIFE_LATE, 0);
			assert_int_not_equal(i->ticket, 0);
			update.n_orders = update.n_notes = 0;
		}
	}
}

/* A few tries, then on: a lost answer is no reason to throw a spare away or to leave a guest throttled. */
static void some_retries_end(void **state)
{
	static const struct {
		enum plan_life life, then;
	} ends[] = {{L(UNCAPPING), L(OPENING)},
	            {L(RESUMING), L(FENCING)},
	            {L(TAP), L(FENCING)},
	            {L(OPENING), L(FENCING)},
	            {L(PAUSING), L(FENCING)}};
	(void)state;
	for (size_t n = 0; n < sizeof(ends) / sizeof(ends[0]); n++) {
		struct plan_turn t = fresh_turn();
		struct plan_instance *i = in_life(&t, ends[n].life);
		int tries = 0;
		for (; i->life == ends[n].life && tries < 20; tries++) {
			i->ticket = 0;
			life_event(&t, i, LIFE_FAILED, -5);
			t.now_us = i->deadline_us;
			if (i->life == ends[n].life)
				life_event(&t, i, LIFE_LATE, 0);
		}
		assert_int_equal(i->life, ends[n].then);
		assert_in_range(tries, 2, 11);
	}
}

/* Whoever has no tap reaches nobody, and one who is not there is not waited for. */
static void what_is_not_there_is_done_with(void **state)
{
	static const struct {
		enum plan_life life, then;
	} cases[] = {{L(FENCING), L(UNLINKING)}, {L(OPENING), L(FENCING)}, {L(PAUSING), L(FENCING)}, {L(RESUMING), L(FENCING)}};
	(void)state;
	for (size_t n = 0; n < sizeof(cases) / sizeof(cases[0]); n++) {
		struct plan_turn t = fresh_turn();
		struct plan_instance *i = in_life(&t, cases[n].life);
		life_event(&t, i, LIFE_FAILED, -2);
		assert_int_equal(i->life, cases[n].then);
	}
}

static void nothing_is_created_unrecorded(void **state)
{
	(void)state;
	struct plan_turn t = fresh_turn();
	struct plan_instance *i = in_life(&t, L(CREATE));
	p.unwritable = true;
	life_event(&t, i, LIFE_FAILED, -28); /* the intent could not be written */
	assert_int_equal(i->life, L(CREATE));
	assert_int_equal(p.variants[BIRCH].failures, 0);
	life_event(&t, i, LIFE_LATE, 0);
	assert_int_equal(last_order(), NO_ORDER);
	p.unwritable = false;
	life_event(&t, i, LIFE_LATE, 0);
	assert_int_equal(last_order(), DO(CREATE));
}

static void nothing_is_destroyed_unrecorded(void **state)
{
	(void)state;
	struct plan_turn t = fresh_turn();
	p.unwritable = true;
	struct plan_instance *i = in_life(&t, L(DESTROYING));
	assert_int_equal(i->ticket, 0);
	assert_true(i->waiting);
	life_event(&t, i, LIFE_LATE, 0);
	assert_int_equal(last_order(), NO_ORDER);
	p.unwritable = false;
	life_event(&t, i, LIFE_LATE, 0);
	assert_int_equal(last_order(), DO(DESTROY));
}

static void only_who_fell_is_fenced_in_a_hurry(void **state)
{
	static const struct {
		enum plan_verdict verdict;
		bool unwritable, unhurried;
	} cases[] = {{PLAN_FAILED, false, false},
	             {PLAN_COMPROMISED, false, false},
	             {PLAN_HEALTHY, false, true},
	             {PLAN_UNKNOWN, false, true},
	             {PLAN_HEALTHY, true, false}};
	(void)state;
	for (size_t n = 0; n < sizeof(cases) / sizeof(cases[0]); n++) {
		struct plan_turn t = fresh_turn();
		struct plan_instance *i = in_life(&t, L(READY));
		i->verdict = cases[n].verdict;
		p.unwritable = cases[n].unwritable;
		life_event(&t, i, LIFE_FALL, 0);
		assert_int_equal(last_order(), DO(FENCE));
		assert_int_equal(update.orders[update.n_orders - 1].unhurried, cases[n].unhurried);
		assert_int_equal(plan_order_waits(&update.orders[update.n_orders - 1]), cases[n].unhurried);
	}
}

static void words_lead_back(void **state)
{
	(void)state;
	for (unsigned life = 0; life < PLAN_LIFE_MAX_; life++)
		assert_int_equal(plan_life_named(plan_life_name((enum plan_life)life)), life);
	for (unsigned role = 0; role < PLAN_ROLE_MAX_; role++)
		assert_int_equal(plan_role_named(plan_role_name((enum plan_role)role)), role);
	for (unsigned step = 0; step < PLAN_STEP_MAX_; step++)
		assert_string_not_equal(plan_step_name((enum plan_step)step), "?");
	for (unsigned order = 0; order < PLAN_ORDER_MAX_; order++)
		assert_string_not_equal(plan_order_name((enum plan_order_type)order), "?");
	assert_int_equal(plan_life_named("immortal"), PLAN_LIFE_NONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(unfrozen_data_goes_back_at_the_end),
	        cmocka_unit_test(a_rollback_that_fails_is_told),
	        cmocka_unit_test(table_holds),
	        cmocka_unit_test(retries_slow_down),
	        cmocka_unit_test(some_retries_end),
	        cmocka_unit_test(what_is_not_there_is_done_with),
	        cmocka_unit_test(nothing_is_created_unrecorded),
	        cmocka_unit_test(nothing_is_destroyed_unrecorded),
	        cmocka_unit_test(only_who_fell_is_fenced_in_a_hurry),
	        cmocka_unit_test(words_lead_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
