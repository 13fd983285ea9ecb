/*
 * What is wanted: somebody healthy at the service's address, so many standbys, so many spares, and none of them of what fell
 * last when another can be had. Each function looks at what is and starts at most what is missing; none remembers.
 */
#include "plan/inside.h"

/* --- counting */

/* Whoever gave way in doubt is nobody to lead clients to, until it has answered what it was asked since; then, NULL. */
static const struct plan_instance *doubtful_yet(const struct plan *p, const struct plan_incident *x)
{
	const struct plan_instance *i = incident_is_doubt(x) ? plan_find(p, x->victim) : NULL;
	return i && !verdict_answered_since(i, x->evidence_us) ? i : NULL;
}

/* A bit for each of these, by its place. */
static uint64_t all_doubtful(const struct plan *p)
{
	static_assert(PLAN_INSTANCES_MAX <= 64, "a bit each");
	uint64_t all = 0;
	for (size_t k = 0; k < PLAN_INCIDENTS_MAX; k++) {
		const struct plan_instance *i = doubtful_yet(p, &p->incidents[k]);
		if (i)
			all |= 1ull << (i - p->instances);
	}
	return all;
}

static bool stands_by(const struct plan *p, const struct plan_instance *i)
{
	return i->number && i->number != p->target && i->role == PLAN_STANDBY && i->hold == PLAN_HOLD_NONE &&
	       !(p->steer.ticket && i->number == p->steer.to);
}

uint32_t plan_count_standby(const struct plan *p, bool ready_only)
{
	uint64_t doubtful = all_doubtful(p);
	uint32_t n = 0;
	for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++) {
		const struct plan_instance *i = &p->instances[k];
		bool coming = i->life == PLAN_LIFE_OPENING || i->life == PLAN_LIFE_RESUMING || i->life == PLAN_LIFE_WAKING;
		n += stands_by(p, i) && (i->life == PLAN_LIFE_READY || (coming && !ready_only)) && !(doubtful >> k & 1);
	}
	return n;
}

uint32_t plan_count_spare(const struct plan *p)
{
	uint32_t n = 0;
	for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++)
		n += p->instances[k].life == PLAN_LIFE_PAUSED;
	return n;
}

bool plan_wants_standby(const struct plan *p)
{
	return plan_count_standby(p, false) < p->config.standby;
}

/* Whoever is mended is on the way to be a spare, where one can be waited for. */
static uint32_t count_living(const struct plan *p)
{
	bool patient = plan_is_served(p) && plan_count_standby(p, false) >= p->config.standby;
	uint32_t n = 0;
	for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++)
		n += plan_counts(p->instances[k].life) || (patient && plan_is_mending(p->instances[k].life));
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

/* Whoever fell where the service may point, if anybody did: where the last steer that failed went, or from where one before it
 * was to lead away (whoever is still to be cut off). */
static const struct plan_instance *doubted_fallen(const struct plan *p)
{
	const struct plan_instance *there = plan_find(p, p->steer.doubt);
	if (there && plan_is_falling(there->life))
		return there;
	for (size_t k = 0; p->steer.doubt && k < PLAN_INSTANCES_MAX; k++) {
		const struct plan_instance *i = &p->instances[k];
		if (i->number && i->life == PLAN_LIFE_FENCING && !i->fenced && i->verdict == PLAN_COMPROMISED)
			return i;
	}
	return NULL;
}

/* Where it should point it is made to point, whatever became of the order that failed; and away from whoever fell there. */
static void dispel_doubt(struct plan_turn *t, struct plan_instance *target)
{
	const struct plan_instance *fell = doubted_fallen(t->p);
	plan_steer(t, target, fell ? fell->number : 0, fell ? fell->incident : 0);
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
	bool mends = now && plan_is_mending(now->life); /* it is kept from clients already, and is to be probed on */
	if (now && now->life != PLAN_LIFE_DOOMED && !mends && !plan_is_falling(now->life)) {
		if (p->steer.doubt)
			dispel_doubt(t, now);
		return;
	}
	struct plan_instance *to = choice_target(p, p->target);
	if (!to)
		return;
	bool doomed = now && now->life == PLAN_LIFE_DOOMED;
	const struct plan_instance *from = mends ? NULL : now ? now : doubted_fallen(p);
	fence_doubted(t);
	uint64_t incident = now ? now->incident : from ? from->incident : incident_current(p);
	if (plan_steer(t, to, from ? from->number : 0, incident) && doomed) {
		life_enter(t, now, PLAN_LIFE_STEERING);
		now->deadline_us = t->now_us + 2 * p->config.quick_us;
	}
}

/* Nobody knows yet what is wrong with whoever serves. To lead clients elsewhere meanwhile costs them nothing, where to wait for a
 * verdict would; whoever is with it already stays, until it has answered or fallen. None is led to somebody who was not asked
 * since (what is slow may be the host), and none back when it is the clients who are too many. */
static void want_no_doubt(struct plan_turn *t)
{
	struct plan *p = t->p;
	struct plan_instance *active = plan_instance_at(p, p->target);
	if (!p->config.gives_way || !plan_is_served(p) || p->steer.ticket || p->steer.retry_us || p->steer.doubt ||
	    crowd_has(p, active, t->now_us) || !verdict_is_doubted(p, active, t->now_us))
		return;
	const struct plan_doubt doubt = active->window.doubt;
	struct plan_instance *to = choice_target(p, active->number);
	if (!to || !verdict_answered_since(to, doubt.began_us))
		return;
	struct plan_incident *x = plan_hand_over(t, active, to);
	if (!x)
		return;
	x->gave_way = true;
	if (doubt.finding != FINDING_UNLINKED) /* that is not for its clients */
		crowd_begin(t, active);
	x->evidence_us = doubt.began_us;
	plan_note(t, PLAN_STEP_GAVE_WAY, x->number, active,
	          (struct plan_note){.other = to->number, .finding = doubt.finding, .vantage = doubt.vantage});
}

/* --- not only after attacks: who was in the open for as long as it may hands over to one that was not. This can wait, and
 * waits while anything is being repaired. */

static bool active_is_worn(const struct plan *p)
{
	return plan_is_served(p) && plan_find(p, p->target)->worn && plan_open_incidents(p) == 0;
}

/* Somebody to whom a worn active one may hand over, or soon. */
static bool any_relief(const struct plan *p)
{
	const struct plan_instance *active = plan_find(p, p->target);
	for (size_t k = 0; active && k < PLAN_INSTANCES_MAX; k++) {
		const struct plan_instance *i = &p->instances[k];
		bool could = i->life >= PLAN_LIFE_OPENING && i->life <= PLAN_LIFE_WAKING && i->life != PLAN_LIFE_PAUSING &&
		             i != active && !i->worn;
		if (could && choice_as_clean(p, i->variant, active->variant))
			return true;
	}
	return false;
}

/* Where none stands by, one has to while the active one hands over. */
static uint32_t standbys_wanted(const struct plan *p)
{
	return p->config.standby + (p->config.standby == 0 && active_is_worn(p) && any_relief(p));
}

/* Where there is no spare for that either, one more is built. */
static uint32_t living_wanted(const struct plan *p)
{
	bool one_more = p->config.standby == 0 && p->config.spare == 0 && active_is_worn(p);
	return 1 + p->config.standby + p->config.spare + one_more;
}

/* Standbys whose place a spare takes that was never in the open for so long. */
static uint32_t count_worn_standbys(struct plan *p)
{
	const struct plan_instance *spare = choice_spare(p);
	uint32_t n = 0;
	if (!spare || spare->worn || plan_open_incidents(p))
		return 0;
	for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++) {
		const struct plan_instance *i = &p->instances[k];
		n += i->number && i->number != p->target && i->role == PLAN_STANDBY && i->life == PLAN_LIFE_READY && i->worn &&
		     choice_as_clean(p, spare->variant, i->variant);
	}
	return n;
}

static bool is_whole(const struct plan *p)
{
	uint32_t standby = plan_count_standby(p, true);
	return !brake_holds(p) && !p->steer.ticket && !p->steer.retry_us && !p->steer.doubt && standby >= standbys_wanted(p) &&
	       standby + plan_count_spare(p) >= p->config.standby + p->config.spare && !any_rising(p) && !any_coming(p);
}

static int32_t why_retired(const struct plan_instance *i)
{
	return i->outdated ? PLAN_RETIRED_OUTDATED : i->worn ? PLAN_RETIRED_WORN : PLAN_RETIRED_BETTER;
}

static void want_rotation(struct plan_turn *t)
{
	struct plan_instance *active = plan_instance_at(t->p, t->p->target);
	struct plan_instance *to = active_is_worn(t->p) && is_whole(t->p) ? choice_target(t->p, active->number) : NULL;
	if (!to || to->worn || !choice_as_clean(t->p, to->variant, active->variant))
		return;
	const struct plan_incident *x = plan_hand_over(t, active, to);
	if (x)
		plan_note(t, PLAN_STEP_ROTATING, x->number, active,
		          (struct plan_note){.other = to->number, .status = why_retired(active)});
}

/* A lesson told of a takeover of what serves here, too: not a moment longer than until somebody who is not made of that stands
 * by. */
static void want_warned(struct plan_turn *t)
{
	struct plan *p = t->p;
	struct plan_instance *active = plan_instance_at(p, p->target);
	if (!p->warned || !plan_is_served(p) || plan_open_incidents(p) || !is_whole(p))
		return;
	struct plan_instance *to = choice_target(p, active->number);
	if (!to || !choice_cleaner(p, to->variant, active->variant))
		return;
	const struct plan_incident *x = plan_hand_over(t, active, to);
	if (!x)
		return;
	p->warned = false;
	plan_note(t, PLAN_STEP_ROTATING, x->number, active,
	          (struct plan_note){.other = to->number,
	                             .status = PLAN_RETIRED_WARNED,
	                             .layers = choice_suspect_layers(p, active->variant)});
}

/* Whom the next one to stand by is for: the last that fell, or whoever gave way. */
static uint64_t incident_for_standby(const struct plan *p)
{
	uint64_t incident = incident_current(p);
	for (size_t k = 0; k < PLAN_INCIDENTS_MAX && incident == 0; k++)
		incident = doubtful_yet(p, &p->incidents[k]) ? p->incidents[k].number : 0;
	return incident;
}

static void want_standby(struct plan_turn *t)
{
	struct plan *p = t->p;
	bool served = plan_is_served(p);
	uint32_t needed = p->config.standby + (served || p->steer.ticket ? 0 : 1);
	uint32_t renewal = standbys_wanted(p) - p->config.standby + count_worn_standbys(p);
	bool swaps = served && p->steer.ticket && p->steer.to != p->target && p->steer.victim == 0 &&
	             !(all_doubtful(p) >> (plan_find(p, p->target) - p->instances) & 1); /* and will stand by itself */
	uint32_t standby = plan_count_standby(p, false) + swaps;
	struct plan_instance *spare = standby < needed + renewal ? choice_spare(p) : NULL;
	if (!spare || (standby >= needed && spare->worn))
		return;
	spare->role = PLAN_STANDBY;
	spare->incident = incident_for_standby(p);
	plan_note(t, PLAN_STEP_WAKING, spare->incident, spare,
	          (struct plan_note){.layers = choice_suspect_layers(p, spare->variant)});
	life_enter(t, spare, PLAN_LIFE_RESUMING);
}

/* Nobody would see what is wrong with a sleeper: who sleeps has answered shortly before, and is in no doubt. */
static bool is_sound(const struct plan_turn *t, const struct plan_instance *i)
{
	return stands_by(t->p, i) && i->life == PLAN_LIFE_READY && verdict_of(t->p, i, t->now_us) == PLAN_HEALTHY &&
	       !verdict_is_doubted(t->p, i, t->now_us);
}

static uint64_t all_sound(const struct plan_turn *t)
{
	uint64_t all = 0;
	for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++)
		all |= (uint64_t)is_sound(t, &t->p->instances[k]) << k;
	return all & ~all_doubtful(t->p);
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

/* Of two that are as good whoever came later: the other has stood by for longer. */
static bool is_worse(const struct plan *p, const struct plan_instance *i, const struct plan_instance *than)
{
	if (i->worn != than->worn)
		return i->worn;
	if (choice_better_beside_active(p, than->variant, i->variant))
		return true;
	return i->life_us > than->life_us && !choice_better_beside_active(p, i->variant, than->variant);
}

static void want_less(struct plan_turn *t)
{
	struct plan *p = t->p;
	uint64_t sound = all_sound(t);
	if ((uint32_t)__builtin_popcountll(sound) > standbys_wanted(p)) {
		struct plan_instance *worst = NULL;
		for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++) {
			struct plan_instance *i = &p->instances[k];
			if (sound >> k & 1 && !reserved(p, i->number) && (!worst || is_worse(p, i, worst)))
				worst = i;
		}
		if (worst) {
			worst->role = PLAN_SPARE;
			life_enter(t, worst, PLAN_LIFE_PAUSING);
		}
	}
	if (count_living(p) <= living_wanted(p) || any_rising(p))
		return;
	struct plan_instance *extra = choice_worst_idle(p);
	if (!extra || reserved(p, extra->number))
		return;
	extra->role = PLAN_ROLE_NONE;
	extra->incident = 0;
	plan_note(t, PLAN_STEP_RETIRED, incident_current(p), extra,
	          (struct plan_note){.layers = choice_suspect_layers(p, extra->variant), .status = why_retired(extra)});
	life_event(t, extra, LIFE_FALL, 0);
}

/* An idle instance that holds more suspect layers, or has more in common with what serves, than one of the candidate variant
 * would is replaced (make before break), and one that was in the open for long enough. Each such step is a gain, so there is an
 * end to them. */
static bool wants_better(const struct plan *p, uint32_t candidate)
{
	const struct plan_instance *active = plan_find(p, p->target);
	if (!active || active->life != PLAN_LIFE_READY)
		return false;
	for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++)
		if (plan_is_mending(p->instances[k].life))
			return false; /* it may be the better one */
	for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++) {
		const struct plan_instance *i = &p->instances[k];
		bool idle = i->life == PLAN_LIFE_PAUSED || (i->life == PLAN_LIFE_READY && i != active && !reserved(p, i->number));
		bool renews = i->worn && plan_open_incidents(p) == 0 && choice_as_clean(p, candidate, i->variant);
		if (idle && (renews || choice_better_beside_active(p, candidate, i->variant)))
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

/* What was carried over then would be what whoever took over has written. Where nobody serves there is nothing to wait for. */
static bool carry_waits(const struct plan *p)
{
	bool rolls = false;
	for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++)
		rolls = rolls || (p->instances[k].number && p->instances[k].rollback);
	return p->config.carry && rolls && plan_is_served(p);
}

static void want_more(struct plan_turn *t)
{
	struct plan *p = t->p;
	uint32_t wanted = living_wanted(p), living = count_living(p);
	if (living > wanted || any_rising(p) || any_coming(p) || brake_waits(p) || carry_waits(p) || p->steer.ticket ||
	    p->unwritable || t->fresh_number == 0 || t->update->number_used)
		return;
	uint32_t variant = choice_variant(p, t->now_us);
	struct plan_instance *slot = free_slot(p);
	if (variant == UINT32_MAX || !slot || (living == wanted && !wants_better(p, variant)))
		return;
	t->update->number_used = true;
	brake_built(t);
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
	want_no_doubt(t);
	want_hold(t);
	want_rotation(t);
	want_warned(t);
	want_standby(t);
	want_less(t);
	want_more(t);
}
