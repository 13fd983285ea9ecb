/*
 * The plan's step: take in one event, then compare what is with what is wanted (want.c) and start what is missing. Steering
 * comes first in every turn, and the only thing that may delay it is the lack of a healthy instance.
 */
#include "plan/inside.h"

#define STEER_RETRY_US 20000
#define TIMED_OUT (-110) /* -ETIMEDOUT; the plan includes no errno */

const struct plan_instance *plan_find(const struct plan *p, uint32_t number)
{
	for (size_t k = 0; number && k < PLAN_INSTANCES_MAX; k++)
		if (p->instances[k].number == number)
			return &p->instances[k];
	return NULL;
}

bool plan_awaits(const struct plan *p, const struct plan_order *order)
{
	const struct plan_instance *i = plan_find(p, order->instance);
	return i && i->ticket == order->ticket;
}

bool plan_is_served(const struct plan *p)
{
	const struct plan_instance *active = plan_find(p, p->target);
	return active && active->life == PLAN_LIFE_READY;
}

struct plan_instance *plan_instance_at(struct plan *p, uint32_t number)
{
	return (struct plan_instance *)plan_find(p, number);
}

bool plan_life_falls(enum plan_life life)
{
	return plan_is_falling(life);
}

bool plan_life_mends(enum plan_life life)
{
	return plan_is_mending(life);
}

bool plan_order_needs_intent(enum plan_order_type type)
{
	return type == PLAN_DO_CREATE || type == PLAN_DO_DESTROY || type == PLAN_DO_ROLLBACK || type == PLAN_DO_RESET;
}

bool plan_order_waits(const struct plan_order *order)
{
	return order->unhurried || plan_order_needs_intent(order->type);
}

void plan_init(struct plan *p, const struct plan_config *config)
{
	memset(p, 0, sizeof(*p));
	p->config = *config;
	for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++)
		p->instances[k].deadline_us = PLAN_NEVER;
}

uint32_t plan_issue(struct plan_turn *t, enum plan_order_type type, uint32_t instance, uint32_t victim, uint32_t variant,
                    uint64_t incident)
{
	assert(t->update->n_orders < PLAN_ORDERS_MAX);
	if (++t->p->last_ticket == 0)
		t->p->last_ticket = 1;
	t->update->orders[t->update->n_orders++] = (struct plan_order){
	        .ticket = t->p->last_ticket,
	        .type = type,
	        .instance = instance,
	        .victim = victim,
	        .variant = variant,
	        .incident = incident,
	};
	return t->p->last_ticket;
}

void plan_note(struct plan_turn *t, enum plan_step step, uint64_t incident, const struct plan_instance *i, struct plan_note extra)
{
	assert(t->update->n_notes < PLAN_NOTES_MAX);
	const struct plan_incident *x = plan_incident_at(t->p, incident);
	extra.step = step;
	extra.incident = incident;
	extra.phase = x ? x->phase : PLAN_ABSORB;
	extra.time_us = t->now_us;
	extra.instance = i ? i->number : 0;
	extra.variant = i ? i->variant : UINT32_MAX;
	t->update->notes[t->update->n_notes++] = extra;
}

/* --- steering */

bool plan_steer(struct plan_turn *t, struct plan_instance *to, uint32_t victim, uint64_t incident)
{
	struct plan *p = t->p;
	if (p->steer.ticket || p->steer.retry_us > t->now_us)
		return false;
	revoke_begin(t, plan_instance_at(p, victim)); /* nobody takes its place while what it could read is good for anything */
	p->steer.ticket = plan_issue(t, PLAN_DO_STEER, to->number, victim, to->variant, incident);
	p->steer.to = to->number;
	p->steer.victim = victim;
	p->steer.incident = incident;
	p->steer.deadline_us = t->now_us + p->config.quick_us;
	return true;
}

static void steer_done(struct plan_turn *t)
{
	struct plan *p = t->p;
	struct plan_instance *old = plan_instance_at(p, p->target);
	struct plan_instance *to = plan_instance_at(p, p->steer.to);
	struct plan_instance *victim = plan_instance_at(p, p->steer.victim), *doubted = plan_instance_at(p, p->steer.doubt);
	uint64_t incident = p->steer.incident;
	bool first = p->target == 0;
	uint32_t from = p->target;
	memset(&p->steer, 0, sizeof(p->steer));
	if (old && !plan_is_falling(old->life) && !plan_is_mending(old->life) && old != to)
		old->role = PLAN_STANDBY;
	if (!to) { /* it went while it was steered to: look again */
		p->again = true;
		return;
	}
	crowd_left(t, doubted, to->number);
	crowd_left(t, old, to->number);
	p->target = to->number;
	if (!plan_is_falling(to->life))
		to->role = PLAN_ACTIVE;
	incident_steered(t, incident, to->number);
	if (old != to)
		plan_note(
		        t, first ? PLAN_STEP_ACTIVE : PLAN_STEP_STEERED, incident, to,
		        (struct plan_note){.other = from, .layers = old ? plan_shared_layers(p, old->variant, to->variant) : 0});
	if (victim && victim->life == PLAN_LIFE_STEERING)
		life_event(t, victim, LIFE_DONE, 0);
}

static void steer_failed(struct plan_turn *t, int32_t status)
{
	struct plan *p = t->p;
	struct plan_instance *victim = plan_instance_at(p, p->steer.victim);
	uint32_t attempts = p->steer.attempts;
	uint32_t doubt = p->steer.to == p->target ? p->steer.doubt : p->steer.to;
	plan_note(t, PLAN_STEP_REFUSED_ORDER, p->steer.incident, plan_find(p, p->steer.to),
	          (struct plan_note){.order = PLAN_DO_STEER, .status = status});
	memset(&p->steer, 0, sizeof(p->steer));
	p->steer.attempts = attempts + 1;
	p->steer.doubt = doubt;
	p->steer.retry_us = t->now_us + ((int64_t)STEER_RETRY_US << (attempts < 6 ? attempts : 6));
	if (victim && victim->life == PLAN_LIFE_STEERING)
		life_event(t, victim, LIFE_FAILED, status); /* cut off at least */
}

/* --- evidence */

/* Told once, and no matter of how quick we were to look. */
static bool is_from_below(const struct evidence *e)
{
	return e->vantage == VANTAGE_HYPERVISOR || finding_is_fact(e->finding);
}

/* What the hypervisor tells of a guest that is reset by us, or panicked before; one that cannot boot is never proven. */
static bool is_own_reset(const struct plan_instance *i, const struct evidence *e)
{
	bool before = e->time_us <= i->life_us || i->life == PLAN_LIFE_RESETTING;
	return e->finding == FINDING_RESET || e->finding == FINDING_PAUSED || (e->finding == FINDING_PANICKED && before) ||
	       (e->finding == FINDING_WATCHDOG && before);
}

static bool listens(const struct plan_instance *i, const struct evidence *e)
{
	bool from_below = is_from_below(e);
	enum finding_class class = finding_class(e->finding);
	if (class == FINDING_CLASS_WEAK && i->life != PLAN_LIFE_READY && i->life != PLAN_LIFE_DOOMED &&
	    i->life != PLAN_LIFE_LOCKED)
		return false; /* a start or an end is not like any other time */
	switch (i->life) {
	case PLAN_LIFE_READY:
	case PLAN_LIFE_LOCKED:
		return e->finding != FINDING_PAUSED || e->time_us > i->life_us; /* a late echo of our own suspend is none */
	case PLAN_LIFE_DOOMED:
		return true;
	case PLAN_LIFE_BOOTING:
	case PLAN_LIFE_WAKING:
	case PLAN_LIFE_RESTARTED:
	case PLAN_LIFE_REBOOTING:
		if (i->life == PLAN_LIFE_REBOOTING && is_own_reset(i, e))
			return false;
		if (e->began_us < i->life_us && class == FINDING_CLASS_GOOD)
			return false;
		return class == FINDING_CLASS_GOOD || (from_below && e->finding != FINDING_PAUSED);
	case PLAN_LIFE_TAP:
	case PLAN_LIFE_CREATE:
	case PLAN_LIFE_UNCAPPING:
	case PLAN_LIFE_OPENING:
	case PLAN_LIFE_PAUSING:
	case PLAN_LIFE_PAUSED:
	case PLAN_LIFE_RESUMING:
	case PLAN_LIFE_RESTARTING:
	case PLAN_LIFE_LOCKING:
	case PLAN_LIFE_STOPPING:
	case PLAN_LIFE_STOPPED:
	case PLAN_LIFE_STARTING:
	case PLAN_LIFE_HOLDING:
	case PLAN_LIFE_HELD:
		return from_below && e->finding != FINDING_PAUSED;
	case PLAN_LIFE_ASIDE:
		if (e->finding == FINDING_PANICKED && i->cause == FINDING_PAUSED)
			return false; /* the same thing, in other words */
		return from_below && e->finding != FINDING_PAUSED;
	case PLAN_LIFE_RESETTING:
		return from_below && !is_own_reset(i, e);
	case PLAN_LIFE_NONE:
	case PLAN_LIFE_STEERING:
	case PLAN_LIFE_FENCING:
	case PLAN_LIFE_UNLINKING:
	case PLAN_LIFE_FREEZING:
	case PLAN_LIFE_ROLLING:
	case PLAN_LIFE_TRACING:
	case PLAN_LIFE_RECORDING:
	case PLAN_LIFE_DESTROYING:
	case PLAN_LIFE_REMOVING:
	case PLAN_LIFE_MAX_:
		break;
	}
	return false;
}

static void take_evidence(struct plan_turn *t, const struct evidence *e)
{
	struct plan *p = t->p;
	struct plan_instance *i = plan_instance_at(p, e->instance);
	if (!i || !listens(i, e))
		return;
	enum finding_class class = finding_class(e->finding);
	bool doubtful = class != FINDING_CLASS_GOOD && (class == FINDING_CLASS_WEAK || !is_from_below(e));
	if (p->blind && doubtful)
		return;
	bool damped = class == FINDING_CLASS_WEAK && plan_is_damped(&i->window, e->finding, t->now_us);
	verdict_add(p, &i->window, e);
	crowd_missed(t, i, e->finding);
	if (class == FINDING_CLASS_WEAK && !damped && plan_is_damped(&i->window, e->finding, t->now_us))
		plan_note(t, PLAN_STEP_DAMPED, 0, i, (struct plan_note){.finding = e->finding, .vantage = e->vantage});
	bool awaited = i->life == PLAN_LIFE_BOOTING || i->life == PLAN_LIFE_WAKING || i->life == PLAN_LIFE_RESTARTED ||
	               i->life == PLAN_LIFE_REBOOTING;
	if (awaited && i->window.proven && i->window.goods >= 2)
		life_event(t, i, LIFE_PROOF, 0);
}

/* What may be chance says nothing about what it befell; a takeover does, and so does what comes back again and again. */
static void suspect(struct plan_turn *t, const struct plan_instance *i)
{
	if (i->verdict != PLAN_COMPROMISED && !ladder_is_exhausted(i, t->now_us))
		return;
	choice_suspect(t->p, i->variant);
	t->update->suspicion_changed = true;
	plan_note(t, PLAN_STEP_SUSPECTED, i->incident, i, (struct plan_note){.layers = choice_suspect_layers(t->p, i->variant)});
}

/* Clients have nothing of it, and a restart may help sooner than another guest: better mended at once than kept. Where the host
 * has no processors to give, it may answer somebody yet. */
static bool is_mended_in_place(const struct plan *p, const struct plan_instance *i)
{
	return !p->busy && i->rung != PLAN_RUNG_NONE && i->cause != FINDING_SLOW && i->cause != FINDING_ERROR &&
	       i->cause != FINDING_WRONG_CLOCK;
}

/* The verdict on `i` fell. Steering, then everything else; see rule 2 for what happens when nobody can take over. */
void plan_fall(struct plan_turn *t, struct plan_instance *i)
{
	struct plan *p = t->p;
	struct plan_incident *x = incident_open(t, i);
	bool dead = i->window.worst == FINDING_GONE || i->window.worst == FINDING_PANICKED;
	i->incident = x ? x->number : 0;
	i->record = x && p->config.evidence && i->window.worst != FINDING_GONE; /* evidence is filed by incident */
	i->rollback = x && p->config.rollback && i->verdict == PLAN_COMPROMISED;
	i->role = PLAN_ROLE_NONE;
	plan_note(t, PLAN_STEP_DETECTED, i->incident, i,
	          (struct plan_note){.finding = i->window.worst,
	                             .vantage = i->window.vantage,
	                             .beside = i->window.beside,
	                             .beside_vantage = i->window.beside_vantage,
	                             .status = (int32_t)i->verdict,
	                             .lesson = i->window.learnt});
	lesson_spend(p, i->window.learnt);
	p->warned = false; /* what is seen here says more */
	ladder_begin(t, i);
	bool was_target = i->number == p->target;
	crowd_fell(t, i);
	struct plan_instance *to = was_target ? choice_target(p, i->number) : NULL;
	if (to && plan_steer(t, to, i->number, i->incident)) {
		life_enter(t, i, PLAN_LIFE_STEERING);
		i->deadline_us = t->now_us + 2 * p->config.quick_us;
	} else {
		if (was_target && !to)
			plan_note(t, PLAN_STEP_UNSTEERABLE, i->incident, i, (struct plan_note){.status = (int32_t)i->verdict});
		if (was_target && i->verdict != PLAN_COMPROMISED && !dead && (to || !is_mended_in_place(p, i)))
			life_enter(t, i, PLAN_LIFE_DOOMED);
		else
			life_event(t, i, LIFE_FALL, 0);
	}
	brake_fell(t, i);
	suspect(t, i);
}

/* What was to keep the address until somebody better comes, or to be mended, must not when it turns out to be taken over. */
static void worsened(struct plan_turn *t, struct plan_instance *i)
{
	struct plan_incident *x = plan_incident_at(t->p, i->incident);
	if (x)
		x->verdict = PLAN_COMPROMISED;
	i->rollback = x && t->p->config.rollback;
	plan_note(t, PLAN_STEP_DETECTED, i->incident, i,
	          (struct plan_note){.finding = i->window.worst,
	                             .vantage = i->window.vantage,
	                             .beside = i->window.beside,
	                             .beside_vantage = i->window.beside_vantage,
	                             .status = PLAN_COMPROMISED,
	                             .lesson = i->window.learnt});
	lesson_spend(t->p, i->window.learnt);
	i->rung = PLAN_RUNG_NONE;
	suspect(t, i);
	life_enter(t, i, PLAN_LIFE_FENCING);
}

static bool is_judged(const struct plan_instance *i)
{
	return i->number && !plan_is_falling(i->life) && (i->life != PLAN_LIFE_DOOMED || i->window.fell_compromised);
}

/* Verdicts of all, since one instance's good answer is the contrast that convicts another. One fall a turn. */
static void judge(struct plan_turn *t)
{
	bool fell = false;
	for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++) {
		struct plan_instance *i = &t->p->instances[k];
		if (is_judged(i))
			i->verdict = verdict_of(t->p, i, t->now_us);
		if (i->number && i->number == t->p->target)
			crowd_tell(t, i);
	}
	for (size_t k = 0; k < PLAN_INSTANCES_MAX && !t->p->blind; k++) {
		struct plan_instance *i = &t->p->instances[k];
		if (!is_judged(i) || i->verdict < PLAN_FAILED)
			continue;
		if (fell) {
			t->p->again = true;
			return;
		}
		fell = true;
		if (i->life == PLAN_LIFE_DOOMED || (plan_is_mending(i->life) && i->verdict == PLAN_COMPROMISED))
			worsened(t, i);
		else if (plan_is_rising(i->life) || plan_is_mending(i->life))
			life_event(t, i, LIFE_FALL, 0);
		else
			plan_fall(t, i);
	}
}

static void converge(struct plan_turn *t)
{
	if (!t->p->world_known)
		return;
	judge(t);
	if (t->p->blind)
		return;
	want_all(t);
	incident_progress(t);
}

/* --- events */

static void take_answer(struct plan_turn *t, uint32_t ticket, int32_t status)
{
	struct plan *p = t->p;
	if (ticket == 0)
		return;
	if (ticket == p->steer.ticket) {
		if (status == 0)
			steer_done(t);
		else
			steer_failed(t, status);
		return;
	}
	if (revoke_answer(t, ticket, status))
		return;
	for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++) {
		struct plan_instance *i = &p->instances[k];
		if (i->number && i->ticket == ticket) {
			i->ticket = 0;
			life_event(t, i, status == 0 ? LIFE_DONE : LIFE_FAILED, status);
			return;
		}
	}
}

/* Until when it may be in the open; PLAN_NEVER: nothing ends. */
static int64_t worn_us(const struct plan *p, const struct plan_instance *i)
{
	bool counts = p->config.max_exposure_us && i->number && i->exposed && !i->worn && !plan_is_falling(i->life);
	return counts ? i->exposed_us + p->config.max_exposure_us : PLAN_NEVER;
}

static void take_wear(struct plan_turn *t)
{
	for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++) {
		struct plan_instance *i = &t->p->instances[k];
		if (worn_us(t->p, i) > t->now_us)
			continue;
		i->worn = true;
		plan_note(t, PLAN_STEP_WORN, 0, i, (struct plan_note){0});
	}
}

static void take_time(struct plan_turn *t)
{
	struct plan *p = t->p;
	choice_fade(p, t->now_us);
	take_wear(t);
	brake_time(t);
	revoke_time(t);
	if (p->steer.ticket && p->steer.deadline_us <= t->now_us) {
		plan_note(t, PLAN_STEP_LATE, p->steer.incident, plan_find(p, p->steer.to),
		          (struct plan_note){.order = PLAN_DO_STEER});
		steer_failed(t, TIMED_OUT);
	}
	if (p->steer.retry_us <= t->now_us)
		p->steer.retry_us = 0;
	for (uint32_t v = 0; v < p->n_variants; v++)
		if (p->variants[v].not_before_us <= t->now_us)
			p->variants[v].not_before_us = 0;
	for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++) {
		struct plan_instance *i = &p->instances[k];
		if (i->number == 0 || i->deadline_us > t->now_us)
			continue;
		if (i->ticket) {
			plan_note(t, PLAN_STEP_LATE, i->incident, i, (struct plan_note){.order = i->order});
			i->ticket = 0;
			life_event(t, i, LIFE_FAILED, TIMED_OUT);
		} else {
			life_event(t, i, LIFE_LATE, TIMED_OUT);
		}
	}
}

/* A planned switch: an incident in which nobody fell. NULL: it cannot be now. */
struct plan_incident *plan_hand_over(struct plan_turn *t, struct plan_instance *active, struct plan_instance *to)
{
	enum plan_verdict verdict = active->verdict;
	active->verdict = PLAN_HEALTHY;
	struct plan_incident *x = incident_open(t, active);
	active->verdict = verdict;
	if (x)
		plan_steer(t, to, 0, x->number);
	return x;
}

static void take_switch(struct plan_turn *t)
{
	struct plan *p = t->p;
	struct plan_instance *active = plan_instance_at(p, p->target);
	t->update->refusal = PLAN_BUSY;
	if (p->blind)
		t->update->refusal = PLAN_BLIND_NOW;
	if (p->blind || !active || active->life != PLAN_LIFE_READY || p->steer.ticket || p->steer.doubt)
		return;
	struct plan_instance *to = choice_target(p, active->number);
	t->update->refusal = PLAN_NO_STANDBY;
	if (!to)
		return;
	struct plan_incident *x = plan_hand_over(t, active, to);
	t->update->refusal = x ? PLAN_ACCEPTED : PLAN_BUSY;
	if (!x)
		return;
	t->update->switch_incident = x->number;
}

static void take_senses(struct plan_turn *t, bool lost)
{
	t->p->blind = lost;
	for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++) {
		struct plan_window *w = &t->p->instances[k].window;
		life_blind(t, &t->p->instances[k]);
		if (!w->fell_at_once)
			verdict_clear(w); /* what was seen around then proves nothing, either way */
	}
}

static void take_outdated(struct plan_turn *t, uint32_t number)
{
	struct plan_instance *i = plan_instance_at(t->p, number);
	if (!i || i->outdated || plan_is_falling(i->life))
		return;
	i->worn = i->outdated = true;
	plan_note(t, PLAN_STEP_OUTDATED, 0, i, (struct plan_note){0});
}

/* Orders and notes are counted; what is behind them is nobody's, and much. */
static void update_clear(struct plan_update *update)
{
	update->n_orders = update->n_notes = 0;
	update->number_used = update->incident_used = update->suspicion_changed = update->tries_changed = false;
	update->refusal = PLAN_ACCEPTED;
	update->switch_incident = 0;
}

void plan_step(struct plan *p, const struct plan_event *event, struct plan_update *update)
{
	struct plan_turn turn = {p, event->now_us, event->fresh_number, event->fresh_incident, update};
	update_clear(update);
	p->again = false;
	switch (event->type) {
	case PLAN_EV_TIME:
		break;
	case PLAN_EV_EVIDENCE:
		take_evidence(&turn, &event->evidence);
		break;
	case PLAN_EV_ANSWER:
		take_answer(&turn, event->answer.ticket, event->answer.status);
		break;
	case PLAN_EV_WORLD:
		world_enter(&turn, event);
		break;
	case PLAN_EV_SWITCH:
		take_switch(&turn);
		break;
	case PLAN_EV_HOLD:
		hold_take(&turn, event->hold.instance, event->hold.hold);
		break;
	case PLAN_EV_LESSON:
		lesson_take(&turn, &event->lesson);
		break;
	case PLAN_EV_OUTDATED:
		take_outdated(&turn, event->outdated);
		break;
	case PLAN_EV_SENSES:
		take_senses(&turn, event->flag);
		break;
	case PLAN_EV_LEDGER:
		p->unwritable = event->flag;
		break;
	case PLAN_EV_BUSY:
		p->busy = event->flag;
		break;
	case PLAN_EVENT_MAX_:
		assert(!"no such event");
	}
	take_time(&turn);
	converge(&turn);
}

int64_t plan_deadline(const struct plan *p)
{
	if (p->again)
		return 0;
	int64_t deadline_us = brake_deadline(p), steer_us = p->steer.ticket     ? p->steer.deadline_us
	                                                    : p->steer.retry_us ? p->steer.retry_us
	                                                                        : PLAN_NEVER;
	deadline_us = steer_us < deadline_us ? steer_us : deadline_us;
	deadline_us = revoke_deadline(p) < deadline_us ? revoke_deadline(p) : deadline_us;
	for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++) {
		if (p->instances[k].number && p->instances[k].deadline_us < deadline_us)
			deadline_us = p->instances[k].deadline_us;
		if (worn_us(p, &p->instances[k]) < deadline_us)
			deadline_us = worn_us(p, &p->instances[k]);
	}
	for (size_t k = 0; k < PLAN_INCIDENTS_MAX && !p->blind; k++)
		if (p->incidents[k].number && p->incidents[k].drain_us < deadline_us)
			deadline_us = p->incidents[k].drain_us;
	for (size_t k = 0; k < p->n_variants; k++)
		if (p->variants[k].not_before_us && p->variants[k].not_before_us < deadline_us)
			deadline_us = p->variants[k].not_before_us;
	return deadline_us;
}
