/*
 * The cells of the lives in which an instance is mended: which rung, says ladder.c; that it is fallen and kept from clients is
 * decided before. Each rung ends in a proof, in the next rung, or in the fall.
 */
#include "plan/inside.h"

void mend_restart(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	(void)status;
	life_order(t, i, PLAN_DO_RESTART);
}

void mend_reset(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	(void)status;
	life_order_recorded(t, i, PLAN_DO_RESET);
}

/* What the probes said before is over; what was strange still is. */
static void forget_probes(struct plan_instance *i)
{
	struct plan_weak weak[FINDING_WEAK];
	memcpy(weak, i->window.weak, sizeof(weak));
	verdict_clear(&i->window);
	memcpy(i->window.weak, weak, sizeof(weak));
	i->verdict = PLAN_UNKNOWN;
}

void mend_aside(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	(void)status;
	forget_probes(i);
	life_order(t, i, PLAN_DO_LOCK);
}

void mend_await(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	(void)status;
	i->ticket = 0;
	i->deadline_us = t->now_us + t->p->config.restart_us;
}

static void climb(struct plan_turn *t, struct plan_instance *i)
{
	plan_note(t, PLAN_STEP_MENDING, i->incident, i, (struct plan_note){.finding = i->cause, .rung = i->rung});
	forget_probes(i);
	life_enter(t, i, i->rung == PLAN_RUNG_RESTART ? PLAN_LIFE_RESTARTING : PLAN_LIFE_RESETTING);
}

/* What clients had open with it ends now; and a service that starts must not take the processors from those that serve. */
void mend_begin(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	(void)status;
	i->fenced = false;
	plan_issue(t, PLAN_DO_CUT, i->number, 0, i->variant, i->incident);
	if (i->rung == PLAN_RUNG_RESTART && i->number != t->p->target)
		plan_issue(t, PLAN_DO_CAP, i->number, 0, i->variant, i->incident);
	climb(t, i);
}

static void unmended(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	plan_note(t, PLAN_STEP_UNMENDED, i->incident, i,
	          (struct plan_note){.finding = i->window.worst, .rung = i->rung, .status = status});
	if (ladder_goes_on(t, i))
		climb(t, i);
	else
		life_enter(t, i, PLAN_LIFE_FENCING);
}

/* It was tried and did not help: not proven in time, or something else befell it. */
void mend_failed(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	ladder_tried(t, i, false);
	unmended(t, i, status);
}

/* Where there is no agent that is heard and can, it was not tried. */
void mend_refused(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	if (status != NOT_ABLE && status != NOT_HEARD && status != LINK_LOST)
		ladder_tried(t, i, false);
	unmended(t, i, status);
}

void mend_reset_again(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	if (i->attempts < ATTEMPTS_FEW && status != NOT_THERE)
		life_again(t, i, status);
	else
		unmended(t, i, status);
}

void mend_done(struct plan_turn *t, struct plan_instance *i, int32_t status)
{
	(void)status;
	plan_note(t, PLAN_STEP_MENDED, i->incident, i, (struct plan_note){.finding = i->cause, .rung = i->rung});
	ladder_tried(t, i, true);
	incident_rid(t->p, i->number);
	memmove(i->mended_us + 1, i->mended_us, sizeof(i->mended_us) - sizeof(i->mended_us[0]));
	i->mended_us[0] = t->now_us;
	i->rung = PLAN_RUNG_NONE;
	i->record = false;
	life_enter(t, i, PLAN_LIFE_UNCAPPING);
}
