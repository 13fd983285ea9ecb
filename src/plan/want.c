/*
 * What is wanted: somebody healthy at the service's address, so many standbys, so many spares, and none of them of what fell
 * last when another can be had. Each function looks at what is and starts at most what is missing; none remembers.
 */
#include "plan/inside.h"

static uint32_t count_living(const struct plan *p)
{
	uint32_t n = 0;
	for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++)
		n += plan_counts(p->instances[k].life);
	return n;
}

static bool any_rising(const struct plan *p)
{
	for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++)
		if (plan_is_rising(p->instances[k].life))
			return true;
	return false;
}

/* A new guest's start takes processors from whoever is needed now: it begins when nobody is on the way to a place in service. */
static bool any_coming(const struct plan *p)
{
	for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++) {
		enum plan_life life = p->instances[k].life;
		if (life == PLAN_LIFE_RESUMING || life == PLAN_LIFE_WAKING || life == PLAN_LIFE_OPENING)
			return true;
	}
	return false;
}

/* Who was given up and serves no longer goes. */
static void want_no_doomed(struct plan_turn *t)
{
	struct plan *p = t->p;
	for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++)
		if (p->instances[k].life == PLAN_LIFE_DOOMED && p->instances[k].number != p->target)
			life_event(t, &p->instances[k], LIFE_FALL, 0);
}

/* Where it should point it is made to point, whatever became of the order that failed; and away from whoever fell there. */
static void dispel_doubt(struct plan_turn *t, struct plan_instance *target)
{
	const struct plan_instance *there = plan_find(t->p, t->p->steer.doubt);
	bool fell = there && there != target && plan_is_falling(there->life);
	plan_steer(t, target, fell ? there->number : 0, fell ? there->incident : 0);
}

/* Whoever fell where the service may point is cut off before it is taken elsewhere, its pause between two tries or not. */
static void fence_doubted(struct plan_turn *t)
{
	struct plan_instance *there = plan_instance_at(t->p, t->p->steer.doubt);
	if (there && there->life == PLAN_LIFE_FENCING && there->waiting && t->p->steer.retry_us <= t->now_us)
		life_event(t, there, LIFE_LATE, 0);
}

static void want_target(struct plan_turn *t)
{
	struct plan *p = t->p;
	struct plan_instance *now = plan_instance_at(p, p->target);
	if (p->steer.ticket)
		return;
	if (now && now->life != PLAN_LIFE_DOOMED && !plan_is_falling(now->life)) {
		if (p->steer.doubt)
			dispel_doubt(t, now);
		return;
	}
	struct plan_instance *to = choice_target(p, p->target);
	if (!to)
		return;
	bool doomed = now && now->life == PLAN_LIFE_DOOMED;
	fence_doubted(t);
	if (plan_steer(t, to, now ? now->number : 0, now ? now->incident : incident_current(p)) && doomed) {
		life_enter(t, now, PLAN_LIFE_STEERING);
		now->deadline_us = t->now_us + 2 * p->config.quick_us;
	}
}

static void want_standby(struct plan_turn *t)
{
	struct plan *p = t->p;
	const struct plan_instance *active = plan_find(p, p->target);
	bool served = active && active->life == PLAN_LIFE_READY;
	uint32_t needed = p->config.standby + (served || p->steer.ticket ? 0 : 1);
	bool swaps = served && p->steer.ticket && p->steer.to != p->target && p->steer.victim == 0; /* and will stand by itself */
	if (plan_count_standby(p, false) + swaps >= needed)
		return;
	struct plan_instance *spare = choice_spare(p);
	if (!spare)
		return;
	spare->role = PLAN_STANDBY;
	spare->incident = incident_current(p);
	plan_note(t, PLAN_STEP_WAKING, spare->incident, spare,
	          (struct plan_note){.layers = choice_suspect_layers(p, spare->variant)});
	life_enter(t, spare, PLAN_LIFE_RESUMING);
}

/* A surplus standby (a better one came) sleeps as spare; a surplus instance goes. Never while its flows drain. */
static bool draining(const struct plan *p, uint32_t number)
{
	for (size_t k = 0; k < PLAN_INCIDENTS_MAX; k++)
		if (p->incidents[k].number && p->incidents[k].verdict == PLAN_HEALTHY && p->incidents[k].victim == number)
			return true;
	return false;
}

static bool reserved(const struct plan *p, uint32_t number)
{
	return number == p->steer.to || number == p->steer.doubt || draining(p, number);
}

static void want_less(struct plan_turn *t)
{
	struct plan *p = t->p;
	if (plan_count_standby(p, true) > p->config.standby) {
		struct plan_instance *worst = NULL;
		for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++) {
			struct plan_instance *i = &p->instances[k];
			if (i->number == 0 || i->number == p->target || i->life != PLAN_LIFE_READY || i->role != PLAN_STANDBY ||
			    reserved(p, i->number))
				continue;
			if (!worst || choice_better_beside_active(p, worst->variant, i->variant))
				worst = i;
		}
		if (worst) {
			worst->role = PLAN_SPARE;
			life_enter(t, worst, PLAN_LIFE_PAUSING);
		}
	}
	uint32_t wanted = 1 + p->config.standby + p->config.spare;
	if (count_living(p) <= wanted || any_rising(p))
		return;
	struct plan_instance *extra = choice_worst_idle(p);
	if (!extra || reserved(p, extra->number))
		return;
	extra->role = PLAN_ROLE_NONE;
	extra->incident = 0;
	plan_note(t, PLAN_STEP_RETIRED, incident_current(p), extra,
	          (struct plan_note){.layers = choice_suspect_layers(p, extra->variant)});
	life_event(t, extra, LIFE_FALL, 0);
}

/* An idle instance that holds more suspect layers, or has more in common with what serves, than one of the candidate variant
 * would is replaced (make before break). Each such step is a gain, so there is an end to them. */
static bool wants_better(const struct plan *p, uint32_t candidate)
{
	const struct plan_instance *active = plan_find(p, p->target);
	if (!active || active->life != PLAN_LIFE_READY)
		return false;
	for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++) {
		const struct plan_instance *i = &p->instances[k];
		bool idle = i->life == PLAN_LIFE_PAUSED || (i->life == PLAN_LIFE_READY && i != active && !reserved(p, i->number));
		if (idle && choice_better_beside_active(p, candidate, i->variant))
			return true;
	}
	return false;
}

static struct plan_instance *free_slot(struct plan *p)
{
	for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++)
		if (p->instances[k].number == 0)
			return &p->instances[k];
	return NULL;
}

static void want_more(struct plan_turn *t)
{
	struct plan *p = t->p;
	uint32_t wanted = 1 + p->config.standby + p->config.spare, living = count_living(p);
	if (living > wanted || any_rising(p) || any_coming(p) || p->steer.ticket || p->unwritable || t->fresh_number == 0 ||
	    t->update->number_used)
		return;
	uint32_t variant = choice_variant(p, t->now_us);
	struct plan_instance *slot = free_slot(p);
	if (variant == UINT32_MAX || !slot || (living == wanted && !wants_better(p, variant)))
		return;
	t->update->number_used = true;
	*slot = (struct plan_instance){.number = t->fresh_number, .variant = variant, .incident = incident_current(p)};
	const struct plan_instance *active = plan_find(p, p->target);
	struct plan_incident *x = plan_incident_at(p, slot->incident);
	plan_note(t, PLAN_STEP_CHOSEN, slot->incident, slot,
	          (struct plan_note){
	                  .other = x ? x->victim : 0,
	                  .layers = x ? plan_shared_layers(p, variant, x->victim_variant) : 0,
	                  .shared = active ? plan_shared_layers(p, variant, active->variant) : 0,
	          });
	life_enter(t, slot, PLAN_LIFE_TAP);
}

void want_all(struct plan_turn *t)
{
	want_no_doomed(t);
	want_target(t);
	want_standby(t);
	want_less(t);
	want_more(t);
}
