/*
 * Holding an instance: somebody wants to keep one as it is, cut off from clients, until he releases it. It counts for nothing
 * meanwhile, so another one is built in its place; released it proves itself and stands by again, if it is the better one.
 *
 *   ready - locking - locked                      reachable for this host only: it runs, is probed and judged
 *   ready - locking - locked - stopping - stopped the service inside is stopped, too, by its agent
 *   ready - locking - locked - holding - held     or its processors stand still
 *   paused - holding - held
 *
 * Whoever serves hands over first, and is not held while nobody can take over: an empty address would be the worse end.
 */
#include "plan/inside.h"

bool hold_holds(enum plan_life life)
{
	return life >= PLAN_LIFE_LOCKING && life <= PLAN_LIFE_HELD;
}

/* It goes on living meanwhile, beside those that are wanted. */
static bool stays(enum plan_hold hold)
{
	return hold == PLAN_HOLD_LOCK || hold == PLAN_HOLD_FREEZE || hold == PLAN_HOLD_SERVICE;
}

static uint32_t count_held(const struct plan *p, const struct plan_instance *but)
{
	uint32_t n = 0;
	for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++) {
		const struct plan_instance *i = &p->instances[k];
		n += i->number && i != but && stays(i->hold);
	}
	return n;
}

static enum plan_refusal refusal_of(struct plan *p, const struct plan_instance *i, enum plan_hold hold)
{
	if (p->blind)
		return PLAN_BLIND_NOW;
	if (!i || plan_is_falling(i->life))
		return PLAN_NO_INSTANCE;
	bool at_rest = i->life == PLAN_LIFE_READY || i->life == PLAN_LIFE_PAUSED || hold_holds(i->life);
	if (!at_rest || (hold == PLAN_HOLD_FREEZE && i->service_stopped)) /* it would be let go on and never start its service */
		return PLAN_BUSY;
	bool another_serves = plan_is_served(p) && p->target != i->number;
	if (hold != PLAN_HOLD_NONE && !another_serves && !choice_target(p, i->number))
		return PLAN_NO_STANDBY;
	return stays(hold) && count_held(p, i) >= PLAN_HELD_MAX ? PLAN_TOO_MANY : PLAN_ACCEPTED;
}

void hold_take(struct plan_turn *t, uint32_t number, enum plan_hold hold)
{
	struct plan_instance *i = plan_instance_at(t->p, number);
	t->update->refusal = refusal_of(t->p, i, hold);
	if (t->update->refusal == PLAN_ACCEPTED)
		i->hold = hold;
}

/* What stands in the way of cutting it off from clients: it serves, will in a moment, or may. */
static bool is_needed(const struct plan *p, const struct plan_instance *i)
{
	return i->number == p->target || (p->steer.ticket && i->number == p->steer.to) || i->number == p->steer.doubt;
}

static void begin(struct plan_turn *t, struct plan_instance *i)
{
	i->role = PLAN_ROLE_NONE;
	i->incident = 0;
	if (i->hold == PLAN_HOLD_STOP) {
		plan_note(t, PLAN_STEP_RETIRED, 0, i, (struct plan_note){.status = PLAN_RETIRED_STOP});
		life_event(t, i, LIFE_FALL, 0);
	} else {
		life_enter(t, i, i->life == PLAN_LIFE_PAUSED ? PLAN_LIFE_HOLDING : PLAN_LIFE_LOCKING);
	}
}

static void carry_on(struct plan_turn *t, struct plan_instance *i)
{
	if ((i->life == PLAN_LIFE_LOCKED || i->life == PLAN_LIFE_STOPPED) && i->hold == PLAN_HOLD_FREEZE)
		life_enter(t, i, PLAN_LIFE_HOLDING);
	else if (i->life == PLAN_LIFE_LOCKED && i->hold == PLAN_HOLD_SERVICE)
		life_enter(t, i, PLAN_LIFE_STOPPING);
	else if (i->hold == PLAN_HOLD_STOP)
		begin(t, i);
	else if (i->hold != PLAN_HOLD_NONE)
		return;
	else if (i->life == PLAN_LIFE_STOPPED || (i->life == PLAN_LIFE_LOCKED && i->service_stopped))
		life_enter(t, i, PLAN_LIFE_STARTING);
	else if (i->life == PLAN_LIFE_LOCKED && i->verdict == PLAN_HEALTHY)
		life_enter(t, i, PLAN_LIFE_OPENING);
	else if (i->life == PLAN_LIFE_HELD)
		life_enter(t, i, PLAN_LIFE_RESUMING);
}

void want_hold(struct plan_turn *t)
{
	struct plan *p = t->p;
	for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++) {
		struct plan_instance *i = &p->instances[k];
		if (i->life == PLAN_LIFE_LOCKED || i->life == PLAN_LIFE_STOPPED || i->life == PLAN_LIFE_HELD)
			carry_on(t, i);
		else if (i->hold == PLAN_HOLD_NONE || (i->life != PLAN_LIFE_READY && i->life != PLAN_LIFE_PAUSED))
			continue;
		else if (!is_needed(p, i))
			begin(t, i);
		else if (i->number == p->target && !p->steer.ticket && choice_target(p, i->number))
			plan_steer(t, choice_target(p, i->number), 0, 0);
	}
}

/* --- the cells of the lives in which its service is stopped */

void hold_stop_service(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	(void)status;
	i->service_stopped = true;
	life_order(t, i, PLAN_DO_STOP_SERVICE);
}

void hold_stopped(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	(void)status;
	verdict_clear(&i->window);
	i->verdict = PLAN_UNKNOWN;
	life_enter(t, i, PLAN_LIFE_STOPPED);
	plan_note(t, PLAN_STEP_SERVICE_STOPPED, 0, i, (struct plan_note){0});
}

/* What its agent does not do it is not held for; if it did it in part, that is undone. */
void hold_not_stopped(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	if (i->attempts < ATTEMPTS_MANY && status != NOT_ABLE) {
		life_again(t, i, status);
		return;
	}
	plan_note(t, PLAN_STEP_SERVICE_NOT_STOPPED, 0, i, (struct plan_note){.status = status});
	i->hold = PLAN_HOLD_NONE;
	i->service_stopped = status != NOT_ABLE;
	life_enter(t, i, PLAN_LIFE_LOCKED);
}

void hold_start_service(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	(void)status;
	life_order(t, i, PLAN_DO_RESTART);
}

/* It has as long to prove itself as one that was restarted to be mended. */
void hold_started(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	(void)status;
	i->service_stopped = false;
	life_enter(t, i, PLAN_LIFE_WAKING);
	if (!t->p->blind)
		i->deadline_us = t->now_us + t->p->config.restart_us;
}

void hold_not_started(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	if (i->attempts < ATTEMPTS_MANY && status != NOT_ABLE)
		life_again(t, i, status);
	else
		life_not_awake(t, i, status);
}
