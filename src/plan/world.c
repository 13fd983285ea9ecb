/*
 * After a start: what the hypervisor, the kernel's rules and the ledger say of each instance is turned into the life in
 * which it goes on. The kernel's word counts most (a fence that is there was decided), the ledger's least.
 */
#include "plan/inside.h"

/* A fence whose reason was not written down in time (UNKNOWN): the worst is assumed, since what follows from that is never wrong.
 */
static void seen_fallen(struct plan_instance *i, enum finding finding)
{
	i->life = PLAN_LIFE_READY; /* plan_fall takes it from here, one at a time */
	i->window.fell_at_once = true;
	i->window.fell_compromised = finding == FINDING_UNKNOWN;
	i->window.worst = finding;
	i->window.vantage = finding == FINDING_UNKNOWN ? VANTAGE_HOST : VANTAGE_HYPERVISOR;
}

/* What was wanted of it is in its life; what came of that is asked for again. */
static bool enter_held(struct plan_turn *t, struct plan_instance *i, const struct plan_sighting *s)
{
	static const enum plan_hold holds[PLAN_LIFE_MAX_] = {
	        [PLAN_LIFE_LOCKING] = PLAN_HOLD_LOCK,     [PLAN_LIFE_LOCKED] = PLAN_HOLD_LOCK,
	        [PLAN_LIFE_STOPPING] = PLAN_HOLD_SERVICE, [PLAN_LIFE_STOPPED] = PLAN_HOLD_SERVICE,
	        [PLAN_LIFE_HOLDING] = PLAN_HOLD_FREEZE,   [PLAN_LIFE_HELD] = PLAN_HOLD_FREEZE,
	};
	if (!hold_holds(s->life))
		return false;
	i->role = PLAN_ROLE_NONE;
	i->hold = holds[s->life]; /* starting: it was released */
	i->service_stopped = s->life >= PLAN_LIFE_STOPPING && s->life <= PLAN_LIFE_STARTING;
	life_enter(t, i, s->guest == PLAN_GUEST_PAUSED ? PLAN_LIFE_HOLDING : PLAN_LIFE_LOCKING);
	return true;
}

static void enter_running(struct plan_turn *t, struct plan_instance *i, const struct plan_sighting *s, uint32_t target)
{
	if (s->number == target || s->life == PLAN_LIFE_READY || s->life == PLAN_LIFE_OPENING || s->life == PLAN_LIFE_DOOMED)
		life_enter(t, i,
		           s->gate == PLAN_GATE_OPEN ? PLAN_LIFE_READY : PLAN_LIFE_UNCAPPING); /* perhaps it was to be mended */
	else if (s->life == PLAN_LIFE_PAUSING || s->life == PLAN_LIFE_PAUSED)
		life_enter(t, i, PLAN_LIFE_PAUSING);
	else if (s->life == PLAN_LIFE_RESUMING || s->life == PLAN_LIFE_WAKING)
		life_enter(t, i, PLAN_LIFE_WAKING);
	else if (plan_is_rising(s->life))
		life_enter(t, i, PLAN_LIFE_BOOTING);
	else
		life_enter(t, i, PLAN_LIFE_FENCING);
}

static void enter_paused(struct plan_turn *t, struct plan_instance *i, const struct plan_sighting *s, uint32_t target)
{
	/* A standby that sleeps was put to sleep, most likely: the row comes after the order. */
	bool ours = s->life == PLAN_LIFE_READY || s->life == PLAN_LIFE_PAUSED || s->life == PLAN_LIFE_PAUSING ||
	            s->life == PLAN_LIFE_RESUMING || s->life == PLAN_LIFE_WAKING;
	if (s->number == target)
		seen_fallen(i, FINDING_PAUSED);
	else
		life_enter(t, i, ours ? PLAN_LIFE_PAUSING : PLAN_LIFE_FENCING); /* a late order may wake it up yet */
}

static bool once_useful(enum plan_life life)
{
	return life >= PLAN_LIFE_OPENING && life <= PLAN_LIFE_HELD;
}

/* The verdict on it stands, whatever its own row says: the open incident of which it is the victim; the last, if it was mended
 * and fell again. */
static const struct plan_incident *incident_of(const struct plan *p, uint32_t number)
{
	const struct plan_incident *last = NULL;
	for (size_t k = 0; k < PLAN_INCIDENTS_MAX; k++) {
		const struct plan_incident *x = &p->incidents[k];
		if (x->number && x->victim == number && x->verdict != PLAN_HEALTHY && (!last || x->number > last->number))
			last = x;
	}
	return last;
}

/* What was decided before the crash is not decided a second time. */
static void enter_fallen(struct plan_turn *t, struct plan_instance *i, const struct plan_sighting *s, enum plan_verdict verdict)
{
	bool kept = i->number == t->p->target && s->life < PLAN_LIFE_STEERING && !plan_is_mending(s->life) &&
	            s->guest == PLAN_GUEST_RUNNING && !i->fenced;
	i->role = PLAN_ROLE_NONE;
	i->verdict = verdict;
	life_enter(t, i, kept && verdict != PLAN_COMPROMISED ? PLAN_LIFE_DOOMED : PLAN_LIFE_FENCING);
}

static void enter_standing(struct plan_turn *t, struct plan_instance *i, const struct plan_sighting *s, uint32_t target)
{
	/* It did not fall, the host was rebooted: no guest outlives that, nor does a tap. */
	bool bygone = s->bygone && s->guest == PLAN_GUEST_ABSENT && s->gate == PLAN_GATE_NONE && s->number != target;
	bool useful = !bygone && (once_useful(s->life) || s->number == target), stands = !i->fenced && !s->revoked;
	bool slept = s->life == PLAN_LIFE_PAUSED && s->guest == PLAN_GUEST_ABSENT; /* asleep it was taken over by nobody */
	if (useful && ((s->gate == PLAN_GATE_FENCED && !slept) || s->revoked))
		seen_fallen(i, FINDING_UNKNOWN);
	else if (useful && s->guest == PLAN_GUEST_CRASHED)
		seen_fallen(i, FINDING_PANICKED);
	else if (useful && (s->guest == PLAN_GUEST_ABSENT || s->gate == PLAN_GATE_NONE))
		seen_fallen(i, FINDING_GONE);
	else if (stands && s->number != target && enter_held(t, i, s))
		return;
	else if (stands && s->guest == PLAN_GUEST_RUNNING)
		enter_running(t, i, s, target);
	else if (stands && s->guest == PLAN_GUEST_PAUSED)
		enter_paused(t, i, s, target);
	else
		life_enter(t, i, PLAN_LIFE_FENCING);
}

static void enter_one(struct plan_turn *t, struct plan_instance *i, const struct plan_sighting *s, uint32_t target)
{
	const struct plan_incident *x = incident_of(t->p, s->number);
	bool strange = s->variant >= t->p->n_variants || s->life == PLAN_LIFE_NONE;
	*i = (struct plan_instance){.number = s->number,
	                            .variant = s->variant,
	                            .incident = x                                     ? x->number
	                                        : plan_incident_at(t->p, s->incident) ? s->incident
	                                                                              : 0,
	                            .exposed = s->exposed,
	                            .exposed_us = s->exposed_us,
	                            .worn = s->outdated,
	                            .outdated = s->outdated,
	                            .deadline_us = PLAN_NEVER};
	i->fenced = s->gate == PLAN_GATE_FENCED || s->gate == PLAN_GATE_NONE;
	i->record = x && t->p->config.evidence && s->life < PLAN_LIFE_DESTROYING; /* not of who was built for it */
	i->rollback = x && x->verdict == PLAN_COMPROMISED && t->p->config.rollback && s->life != PLAN_LIFE_REMOVING;
	i->role = s->number == target ? PLAN_ACTIVE : s->role == PLAN_SPARE ? PLAN_SPARE : PLAN_STANDBY;
	i->life_us = t->now_us;
	if (s->outdated)
		plan_note(t, PLAN_STEP_OUTDATED, 0, i, (struct plan_note){0});
	if (x || plan_is_falling(s->life) || plan_is_mending(s->life) || s->life == PLAN_LIFE_DOOMED)
		enter_fallen(t, i, s, x ? x->verdict : PLAN_FAILED);
	else if (strange && s->number != target)
		enter_fallen(t, i, s, PLAN_UNKNOWN);
	else
		enter_standing(t, i, s, target);
}

/* It is gone, and with it what koboshi-vm kept of it, unless somebody else took it away: that is asked for once more. */
static void victim_missed(struct plan_turn *t, struct plan_incident *x)
{
	x->removed = x->revoked = true;
	if (t->p->config.secrets && x->victim && x->verdict != PLAN_HEALTHY)
		plan_issue(t, PLAN_DO_REVOKE, x->victim, 0, 0, x->number);
}

void world_enter(struct plan_turn *t, const struct plan_event *event)
{
	struct plan *p = t->p;
	p->target = event->world.target;
	p->world_known = true;
	size_t n = 0;
	for (size_t k = 0; k < event->world.n_incidents && n < PLAN_INCIDENTS_MAX; k++) {
		p->incidents[n] = event->world.incidents[k];
		plan_note(t, PLAN_STEP_RESUMED, p->incidents[n].number, NULL,
		          (struct plan_note){.other = p->incidents[n].victim});
		n++;
	}
	brake_remember(t, event->world.falls_us, event->world.n_falls);
	for (size_t k = 0; k < event->world.n_sightings && k < PLAN_INSTANCES_MAX; k++)
		enter_one(t, &p->instances[k], &event->world.sightings[k], p->target);
	for (size_t k = 0; k < n; k++)
		if (!plan_find(p, p->incidents[k].victim))
			victim_missed(t, &p->incidents[k]);
}
