/*
 * One instance's life: a table of (life, event). Each life that acts has one order under way and a deadline; an order
 * that fails or is not answered is either tried again (after a pause that doubles) or ends the life.
 *
 *   (what somebody holds: hold.c)
 *
 *   tap - create - booting - uncapping -+- opening - ready ---- (doomed) -- steering -+
 *                                       +- pausing - paused - resuming - waking -> opening
 *   mending: (steering) - aside - restarting - restarted - resetting - rebooting -> as after booting; which of these: ladder.c
 *   falling: (steering | fencing) - unlinking - freezing - rolling - tracing - recording - destroying - removing - none
 *   (one that cannot be frozen writes on until it is destroyed: then the data goes back behind that)
 *
 * Falling never waits for a failed step but one: a victim is destroyed only when it has been read back as fenced, or
 * is gone. The pure part of the engine: see plan.h.
 */
#include "plan/inside.h"

#define PAUSE_US 500000 /* before the next try to build */
#define NO_DATA (-61)   /* -ENODATA: no snapshot to go back to */

typedef void life_handler(struct plan_turn *t, struct plan_instance *i, int32_t status);

static int64_t order_limit_us(const struct plan *p, enum plan_order_type type)
{
	switch (type) {
	case PLAN_DO_ROLLBACK:
		return p->config.back_us;
	case PLAN_DO_CREATE:
	case PLAN_DO_RECORD:
	case PLAN_DO_DESTROY:
	case PLAN_DO_RESET: /* of a guest that stands behind all others */
		return p->config.slow_us;
	case PLAN_DO_RESTART:
	case PLAN_DO_STOP_SERVICE:
		return p->config.restart_us;
	case PLAN_DO_TAP_ADD:
	case PLAN_DO_TAP_DEL:
	case PLAN_DO_FENCE:
	case PLAN_DO_OPEN:
	case PLAN_DO_LOCK:
	case PLAN_DO_STEER:
	case PLAN_DO_CUT:
	case PLAN_DO_FLOWS:
	case PLAN_DO_UNCAP:
	case PLAN_DO_SUSPEND:
	case PLAN_DO_RESUME:
	case PLAN_DO_LINK_DOWN:
	case PLAN_DO_CAP:
	case PLAN_DO_REVOKE:
	case PLAN_ORDER_MAX_:
		break;
	}
	return p->config.quick_us;
}

void life_order(struct plan_turn *t, struct plan_instance *i, enum plan_order_type type)
{
	i->order = type;
	i->waiting = false;
	i->ticket = plan_issue(t, type, i->number, 0, i->variant, i->incident);
	i->deadline_us = t->now_us + order_limit_us(t->p, type);
}

/* --- cells */

static void stay(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	(void)t, (void)i, (void)status;
}

static void go_tap(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	(void)status;
	life_order(t, i, PLAN_DO_TAP_ADD);
}

/* Nothing that has to be recorded begins while it cannot be. */
void life_order_recorded(struct plan_turn *t, struct plan_instance *i, enum plan_order_type type)
{
	if (!t->p->unwritable) {
		life_order(t, i, type);
		return;
	}
	i->ticket = 0;
	i->waiting = true;
	i->deadline_us = t->now_us + 1000000;
}

static void go_create(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	(void)status;
	life_order_recorded(t, i, PLAN_DO_CREATE);
}

static void await_proof(struct plan_turn *t, struct plan_instance *i, int64_t limit_us)
{
	verdict_clear(&i->window);
	i->verdict = PLAN_UNKNOWN;
	i->ticket = 0;
	i->deadline_us = t->now_us + limit_us;
}

static void go_boot(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	(void)status;
	await_proof(t, i, t->p->config.boot_us);
}

static void go_wake(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	(void)status;
	await_proof(t, i, t->p->config.wake_us);
}

static void go_uncap(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	(void)status;
	life_order(t, i, PLAN_DO_UNCAP);
}

static void go_open(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	(void)status;
	life_order(t, i, PLAN_DO_OPEN);
}

static void go_lock(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	(void)status;
	life_order(t, i, PLAN_DO_LOCK);
}

static void go_suspend(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	(void)status;
	life_order(t, i, PLAN_DO_SUSPEND);
}

static void go_resume(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	(void)status;
	life_order(t, i, PLAN_DO_RESUME);
}

static void go_fence(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	(void)status;
	bool fell = i->verdict == PLAN_FAILED || i->verdict == PLAN_COMPROMISED;
	if (i->fenced) {
		life_enter(t, i, PLAN_LIFE_UNLINKING);
		return;
	}
	life_order(t, i, PLAN_DO_FENCE);
	t->update->orders[t->update->n_orders - 1].unhurried = !fell && !t->p->unwritable;
}

static void go_unlink(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	(void)status;
	if (i->record || i->incident)
		life_order(t, i, PLAN_DO_LINK_DOWN);
	else
		life_enter(t, i, PLAN_LIFE_DESTROYING);
}

static void go_trace(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	(void)status;
	if (i->record)
		life_order(t, i, PLAN_DO_FLOWS);
	else
		life_enter(t, i, PLAN_LIFE_DESTROYING);
}

static void rolled_on(struct plan_turn *t, struct plan_instance *i)
{
	i->rollback = false;
	life_enter(t, i, i->destroyed ? PLAN_LIFE_REMOVING : PLAN_LIFE_TRACING);
}

static void go_roll(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	(void)status;
	if (i->rollback && i->incident)
		life_order_recorded(t, i, PLAN_DO_ROLLBACK);
	else
		rolled_on(t, i);
}

static void go_record(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	(void)status;
	life_order(t, i, PLAN_DO_RECORD);
}

static void go_destroy(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	(void)status;
	life_order_recorded(t, i, PLAN_DO_DESTROY);
}

static void go_remove(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	(void)status;
	life_order(t, i, PLAN_DO_TAP_DEL);
}

static void go_idle(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	(void)t, (void)status;
	i->ticket = 0;
	i->deadline_us = PLAN_NEVER;
}

/* Tries the same order again, after a pause that doubles from 20 ms to 5 s. */
void life_again(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	plan_note(t, PLAN_STEP_REFUSED_ORDER, i->incident, i, (struct plan_note){.order = i->order, .status = status});
	int64_t pause_us = 20000ll << (i->attempts < 8 ? i->attempts : 8);
	i->attempts++;
	i->ticket = 0;
	i->waiting = true;
	i->deadline_us = t->now_us + pause_us;
}

static void blame_variant(struct plan_turn *t, const struct plan_instance *i)
{
	if (i->variant >= t->p->n_variants)
		return;
	struct plan_variant *v = &t->p->variants[i->variant];
	uint32_t shift = v->failures < 6 ? v->failures : 6;
	v->failures++;
	v->not_before_us = t->now_us + (t->p->config.backoff_us << shift);
}

/* No variant is to blame for an actuator that keeps ending, but each try in vain uses up a number and leaves something to clear.
 */
static void pause_building(struct plan_turn *t)
{
	for (uint32_t v = 0; v < t->p->n_variants; v++)
		if (t->p->variants[v].not_before_us < t->now_us + PAUSE_US)
			t->p->variants[v].not_before_us = t->now_us + PAUSE_US;
}

/* Built in vain: the variant is left alone for a while, what is there goes. */
static void give_up(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	plan_note(t, PLAN_STEP_GIVEN_UP, i->incident, i, (struct plan_note){.order = i->order, .status = status});
	if (status == LINK_LOST)
		pause_building(t);
	else
		blame_variant(t, i);
	life_enter(t, i, PLAN_LIFE_FENCING);
}

static void fall(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	(void)status;
	life_enter(t, i, PLAN_LIFE_FENCING);
}

/* Its intent could not be written: it never began, and no variant is to blame. */
static void not_created(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	if (t->p->unwritable)
		go_create(t, i, status);
	else
		give_up(t, i, status);
}

static void tap_again(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	if (i->attempts < ATTEMPTS_FEW)
		life_again(t, i, status);
	else
		give_up(t, i, status);
}

/* A spare that was woken and does not answer is worth nothing; its variant is not to blame for having slept. */
void life_not_awake(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	plan_note(t, PLAN_STEP_GIVEN_UP, i->incident, i, (struct plan_note){.order = i->order, .status = status});
	life_enter(t, i, PLAN_LIFE_FENCING);
}

/* What cannot be put where it is needed, however often it is tried, is not there or out of reach. */
static void place_again(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	if (i->attempts < ATTEMPTS_MANY && status != NOT_THERE)
		life_again(t, i, status);
	else
		life_not_awake(t, i, status);
}

/* A lost answer is no reason to throw a spare away. */
static void awake_again(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	if (i->attempts < ATTEMPTS_FEW && status != NOT_THERE)
		life_again(t, i, status);
	else
		life_not_awake(t, i, status);
}

static void boot_proven(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	(void)status;
	if (i->variant < t->p->n_variants)
		t->p->variants[i->variant].failures = 0;
	plan_note(t, PLAN_STEP_PROVEN, i->incident, i, (struct plan_note){0});
	life_enter(t, i, PLAN_LIFE_UNCAPPING);
}

static void wake_proven(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	(void)status;
	plan_note(t, PLAN_STEP_PROVEN, i->incident, i, (struct plan_note){0});
	life_enter(t, i, PLAN_LIFE_OPENING);
}

/* Proven and running: where is it needed most? A new one may take an older one's place as standby (plan.c pauses that). */
static void settle(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	(void)status;
	bool serves = t->p->target == 0 || i->number == t->p->target || plan_wants_standby(t->p) || t->p->config.spare == 0;
	for (size_t k = 0; k < PLAN_INSTANCES_MAX && !serves; k++) {
		const struct plan_instance *o = &t->p->instances[k];
		serves = o->number && o->role == PLAN_STANDBY && o->life == PLAN_LIFE_READY &&
		         choice_better_beside_active(t->p, i->variant, o->variant);
	}
	i->role = serves ? PLAN_STANDBY : PLAN_SPARE;
	life_enter(t, i, serves ? PLAN_LIFE_OPENING : PLAN_LIFE_PAUSING);
}

/* One that stays throttled is better than none, in the end; one that is gone is neither. */
static void uncap_again(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	if (status == NOT_THERE)
		life_not_awake(t, i, status);
	else if (i->attempts < ATTEMPTS_MANY)
		life_again(t, i, status);
	else
		settle(t, i, status);
}

static void opened(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	(void)status;
	i->role = i->number == t->p->target ? PLAN_ACTIVE : PLAN_STANDBY;
	life_enter(t, i, PLAN_LIFE_READY);
	plan_note(t, PLAN_STEP_STANDBY, i->incident, i, (struct plan_note){0});
}

static void paused(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	(void)status;
	i->role = PLAN_SPARE;
	verdict_clear(&i->window);
	i->verdict = PLAN_UNKNOWN;
	life_enter(t, i, PLAN_LIFE_PAUSED);
	plan_note(t, PLAN_STEP_SPARE, i->incident, i, (struct plan_note){0});
}

/* What clients had open with it ends now, not when they lose their patience. */
static void locked(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	(void)status;
	plan_issue(t, PLAN_DO_CUT, i->number, 0, i->variant, 0);
	life_enter(t, i, PLAN_LIFE_LOCKED);
	plan_note(t, PLAN_STEP_LOCKED, 0, i, (struct plan_note){0});
}

static void held(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	(void)status;
	verdict_clear(&i->window);
	i->verdict = PLAN_UNKNOWN;
	life_enter(t, i, PLAN_LIFE_HELD);
	plan_note(t, PLAN_STEP_HELD, 0, i, (struct plan_note){0});
}

static void fenced(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	(void)status;
	i->fenced = true;
	plan_note(t, PLAN_STEP_FENCED, i->incident, i, (struct plan_note){0});
	life_enter(t, i, PLAN_LIFE_UNLINKING);
}

/* Without a tap nothing can pass: as good as fenced, and all that there will ever be. */
static void not_fenced(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	if (status == NOT_THERE)
		fenced(t, i, 0);
	else
		life_again(t, i, status);
}

static void unlinked(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	if (status == 0)
		plan_note(t, PLAN_STEP_LINK_DOWN, i->incident, i, (struct plan_note){0});
	life_enter(t, i, PLAN_LIFE_FREEZING);
}

static void frozen(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	if (status == 0)
		plan_note(t, PLAN_STEP_FROZEN, i->incident, i, (struct plan_note){0});
	life_enter(t, i, status == 0 || status == NOT_THERE ? PLAN_LIFE_ROLLING : PLAN_LIFE_TRACING);
}

static void rolled(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	(void)status;
	plan_note(t, PLAN_STEP_ROLLED_BACK, i->incident, i, (struct plan_note){0});
	rolled_on(t, i);
}

/* The service goes on with what there is; somebody has to know. */
static void not_rolled(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	if (i->attempts < ATTEMPTS_MANY && status != NO_DATA) {
		life_again(t, i, status);
		return;
	}
	plan_note(t, PLAN_STEP_NOT_ROLLED_BACK, i->incident, i, (struct plan_note){.status = status});
	rolled_on(t, i);
}

static void traced(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	(void)status;
	life_enter(t, i, PLAN_LIFE_RECORDING);
}

static void recorded(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	plan_note(t, status == 0 ? PLAN_STEP_RECORDED : PLAN_STEP_REFUSED_ORDER, i->incident, i,
	          (struct plan_note){.order = PLAN_DO_RECORD, .status = status});
	life_enter(t, i, PLAN_LIFE_DESTROYING);
}

static void destroyed(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	(void)status;
	revoke_done(t, i, PLAN_DO_DESTROY);
	i->destroyed = true;
	life_enter(t, i, i->rollback ? PLAN_LIFE_ROLLING : PLAN_LIFE_REMOVING);
}

static void removed(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	(void)status;
	plan_note(t, PLAN_STEP_REMOVED, i->incident, i, (struct plan_note){0});
	incident_rid(t->p, i->number);
	memset(i, 0, sizeof(*i));
	i->deadline_us = PLAN_NEVER;
}

/* Whoever fell: aside, if there is a rung for it, or out. */
static void fall_or_mend(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	if (i->rung != PLAN_RUNG_NONE)
		life_enter(t, i, PLAN_LIFE_ASIDE);
	else
		fall(t, i, status);
}

static void steered_away(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	if (i->rung != PLAN_RUNG_NONE)
		life_enter(t, i, PLAN_LIFE_ASIDE);
	else
		fenced(t, i, status);
}

#define FALLS(start, done, failed)                                                                                               \
	{                                                                                                                        \
		start, done, failed, stay, stay, start                                                                           \
	}

static life_handler *const table[PLAN_LIFE_MAX_][LIFE_EVENT_MAX_] = {
        /*                         START       DONE      FAILED    PROOF        FALL  LATE */
        [PLAN_LIFE_NONE] = {stay, stay, stay, stay, stay, stay},
        [PLAN_LIFE_TAP] = {go_tap, stay, tap_again, stay, fall, go_tap},
        [PLAN_LIFE_CREATE] = {go_create, stay, not_created, stay, fall, go_create},
        [PLAN_LIFE_BOOTING] = {go_boot, stay, stay, boot_proven, give_up, give_up},
        [PLAN_LIFE_UNCAPPING] = {go_uncap, settle, uncap_again, stay, fall, go_uncap},
        [PLAN_LIFE_OPENING] = {go_open, opened, place_again, stay, fall, go_open},
        [PLAN_LIFE_READY] = {go_idle, stay, stay, stay, fall_or_mend, stay},
        [PLAN_LIFE_PAUSING] = {go_suspend, paused, place_again, stay, fall, go_suspend},
        [PLAN_LIFE_PAUSED] = {go_idle, stay, stay, stay, fall, stay},
        [PLAN_LIFE_RESUMING] = {go_resume, stay, awake_again, stay, fall, go_resume},
        [PLAN_LIFE_WAKING] = {go_wake, stay, stay, wake_proven, fall, life_not_awake},
        [PLAN_LIFE_DOOMED] = {go_idle, stay, stay, stay, fall_or_mend, stay},
        [PLAN_LIFE_ASIDE] = {mend_aside, mend_begin, place_again, stay, fall, mend_aside},
        [PLAN_LIFE_RESTARTING] = {mend_restart, stay, mend_refused, stay, mend_failed, stay},
        [PLAN_LIFE_RESTARTED] = {mend_await, stay, stay, mend_done, mend_failed, mend_failed},
        [PLAN_LIFE_RESETTING] = {mend_reset, stay, mend_reset_again, stay, mend_failed, mend_reset},
        [PLAN_LIFE_REBOOTING] = {go_boot, stay, stay, mend_done, mend_failed, mend_failed},
        [PLAN_LIFE_LOCKING] = {go_lock, locked, place_again, stay, fall, go_lock},
        [PLAN_LIFE_LOCKED] = {go_idle, stay, stay, stay, fall, stay},
        [PLAN_LIFE_STOPPING] = {hold_stop_service, hold_stopped, hold_not_stopped, stay, fall, hold_stop_service},
        [PLAN_LIFE_STOPPED] = {go_idle, stay, stay, stay, fall, stay},
        [PLAN_LIFE_STARTING] = {hold_start_service, hold_started, hold_not_started, stay, fall, hold_start_service},
        [PLAN_LIFE_HOLDING] = {go_suspend, held, place_again, stay, fall, go_suspend},
        [PLAN_LIFE_HELD] = {go_idle, stay, stay, stay, fall, stay},
        [PLAN_LIFE_STEERING] = {go_idle, steered_away, fall, stay, stay, fall},
        [PLAN_LIFE_FENCING] = FALLS(go_fence, fenced, not_fenced),
        [PLAN_LIFE_UNLINKING] = FALLS(go_unlink, unlinked, unlinked),
        [PLAN_LIFE_FREEZING] = FALLS(go_suspend, frozen, frozen),
        [PLAN_LIFE_ROLLING] = FALLS(go_roll, rolled, not_rolled),
        [PLAN_LIFE_TRACING] = FALLS(go_trace, traced, traced),
        [PLAN_LIFE_RECORDING] = FALLS(go_record, recorded, recorded),
        [PLAN_LIFE_DESTROYING] = FALLS(go_destroy, destroyed, life_again),
        [PLAN_LIFE_REMOVING] = FALLS(go_remove, removed, life_again),
};

/* Where a done order leads when nothing else is to be said. */
static const enum plan_life next_life[PLAN_LIFE_MAX_] = {
        [PLAN_LIFE_TAP] = PLAN_LIFE_CREATE,          [PLAN_LIFE_CREATE] = PLAN_LIFE_BOOTING,
        [PLAN_LIFE_RESUMING] = PLAN_LIFE_WAKING,     [PLAN_LIFE_RESTARTING] = PLAN_LIFE_RESTARTED,
        [PLAN_LIFE_RESETTING] = PLAN_LIFE_REBOOTING,
};

void life_enter(struct plan_turn *t, struct plan_instance *i, enum plan_life life)
{
	i->life = life;
	i->life_us = t->now_us;
	i->ticket = 0;
	i->attempts = 0;
	i->waiting = false;
	i->deadline_us = PLAN_NEVER;
	if (life == PLAN_LIFE_READY && !i->exposed) {
		i->exposed = true;
		i->exposed_us = t->now_us;
	}
	if (plan_is_falling(life) && life < PLAN_LIFE_DESTROYING)
		revoke_begin(t, i);
	table[life][LIFE_START](t, i, 0);
}

void life_event(struct plan_turn *t, struct plan_instance *i, enum life_event event, int32_t status)
{
	if (event == LIFE_DONE && next_life[i->life] != PLAN_LIFE_NONE)
		life_enter(t, i, next_life[i->life]);
	else
		table[i->life][event](t, i, status);
}

/* Nobody can prove anything to the blind: the time for it begins anew when they see again. */
void life_blind(struct plan_turn *t, struct plan_instance *i)
{
	const struct plan_config *c = &t->p->config;
	int64_t limit_us = i->life == PLAN_LIFE_BOOTING || i->life == PLAN_LIFE_REBOOTING ? c->boot_us
	                   : i->life == PLAN_LIFE_WAKING                                  ? c->wake_us
	                   : i->life == PLAN_LIFE_RESTARTED                               ? c->restart_us
	                                                                                  : 0;
	if (limit_us)
		i->deadline_us = t->p->blind ? PLAN_NEVER : t->now_us + limit_us;
}

bool life_is_complete(void)
{
	for (size_t life = 0; life < PLAN_LIFE_MAX_; life++)
		for (size_t event = 0; event < LIFE_EVENT_MAX_; event++)
			if (!table[life][event])
				return false;
	return true;
}
