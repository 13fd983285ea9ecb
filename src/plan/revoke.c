/*
 * What a fallen instance could read is worth nothing from then on: its secrets are revoked. This goes on beside whatever its life
 * is at, as it must wait for nothing and hold up nothing. (Not of whoever is mended: nobody was in there, as far as anybody
 * knows.) The order leaves in front of the one that gives its place to another, in the same step; it is tried again until it is
 * done; and destroying implies it. An incident is not over before.
 */
#include "plan/inside.h"

#define TIMED_OUT (-110) /* -ETIMEDOUT; the plan includes no errno */
#define PAUSE_US 20000ll /* before the next try; doubles up to 256 times that */

void revoke_begin(struct plan_turn *t, struct plan_instance *i)
{
	if (!t->p->config.secrets || !i || i->revoke.done || i->revoke.ticket)
		return;
	if (i->rung != PLAN_RUNG_NONE && i->life < PLAN_LIFE_FENCING)
		return; /* an innocent one that may come back needs them; if it does not it falls, and they go then */
	i->revoke.ticket = plan_issue(t, PLAN_DO_REVOKE, i->number, 0, i->variant, i->incident);
	i->revoke.deadline_us = t->now_us + t->p->config.quick_us;
}

void revoke_done(struct plan_turn *t, struct plan_instance *i, enum plan_order_type by)
{
	struct plan_incident *x = plan_incident_at(t->p, i->incident);
	if (!t->p->config.secrets)
		return;
	if (x && x->victim == i->number)
		x->revoked = true;
	if (!i->revoke.done)
		plan_note(t, PLAN_STEP_REVOKED, i->incident, i, (struct plan_note){.order = by});
	i->revoke = (struct plan_revoke){.done = true};
}

static void failed(struct plan_turn *t, struct plan_instance *i, enum plan_step step, int32_t status)
{
	uint32_t tries = i->revoke.attempts < 8 ? i->revoke.attempts : 8;
	plan_note(t, step, i->incident, i, (struct plan_note){.order = PLAN_DO_REVOKE, .status = status});
	i->revoke.ticket = 0;
	i->revoke.attempts++;
	i->revoke.deadline_us = t->now_us + (PAUSE_US << tries);
}

bool revoke_answer(struct plan_turn *t, uint32_t ticket, int32_t status)
{
	for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++) {
		struct plan_instance *i = &t->p->instances[k];
		if (i->number == 0 || i->revoke.ticket != ticket)
			continue;
		if (status == 0)
			revoke_done(t, i, PLAN_DO_REVOKE);
		else
			failed(t, i, PLAN_STEP_REFUSED_ORDER, status);
		return true;
	}
	return false;
}

void revoke_time(struct plan_turn *t)
{
	for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++) {
		struct plan_instance *i = &t->p->instances[k];
		if (i->number == 0 || !i->revoke.deadline_us || i->revoke.deadline_us > t->now_us)
			continue;
		i->revoke.deadline_us = 0;
		if (i->revoke.ticket)
			failed(t, i, PLAN_STEP_LATE, TIMED_OUT);
		else
			revoke_begin(t, i);
	}
}

int64_t revoke_deadline(const struct plan *p)
{
	int64_t deadline_us = PLAN_NEVER;
	for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++) {
		const struct plan_instance *i = &p->instances[k];
		if (i->number && i->revoke.deadline_us && i->revoke.deadline_us < deadline_us)
			deadline_us = i->revoke.deadline_us;
	}
	return deadline_us;
}
