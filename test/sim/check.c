/*
 * The rules of DESIGN.md section 4, as far as the plan can keep them, held against every order when it leaves, every change
 * when it is made, every moment and the end. None of this asks the plan's own opinion where the world's can be had.
 */
#include "sim.h"

#include <string.h>

#define SERVED_WITHIN_US 4000000
#define CUT_WITHIN_US 6000000
#define SOON_US 600000000 /* longer than any wait but for somebody to be worn */

static const struct plan_instance *instance(const struct sim *s, uint32_t number)
{
	return plan_find(&s->plan, number);
}

/* --- own arithmetic of shared layers, so that a mistake in choice.c does not hide itself */

static uint32_t suspect_holes(const struct plan *p, uint32_t variant)
{
	uint32_t layers = 0;
	for (uint32_t c = 0; c < p->n_components; c++)
		if ((p->variants[variant].components[c / 64] >> (c % 64) & 1) && p->suspicion[c] >= PLAN_SUSPECT)
			layers |= 1u << p->layer[c];
	return layers & PLAN_HOLES;
}

static void check_choice(struct sim *s, const struct plan_note *n)
{
	const struct plan *p = &s->plan;
	for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++)
		if (p->config.carry && plan_is_served(p) && p->instances[k].number && p->instances[k].rollback)
			sim_fail(s, "rule 12: kb-%u is built of what kb-%u wrote, which was taken over", n->instance,
			         p->instances[k].number);
	if (!suspect_holes(p, n->variant))
		return;
	for (uint32_t v = 0; v < p->n_variants; v++)
		if (p->variants[v].usable && p->variants[v].not_before_us <= s->now_us && !suspect_holes(p, v))
			sim_fail(s, "rule 5: kb-%u is built of the suspect variant %u, %u would be clean", n->instance,
			         n->variant, v);
}

/* --- orders as they leave */

static bool orders_cut(const struct sim *s, uint32_t number)
{
	for (size_t k = 0; k < s->update.n_orders; k++) {
		const struct plan_order *o = &s->update.orders[k];
		if ((o->type == PLAN_DO_STEER && o->victim == number) || (o->type == PLAN_DO_FENCE && o->instance == number))
			return true;
	}
	return false;
}

static bool fence_under_way(const struct sim *s, uint32_t number)
{
	for (size_t k = 0; k < SIM_FLIGHTS_MAX; k++)
		if (s->flights[k].used && !s->flights[k].executed && s->flights[k].order.type == PLAN_DO_FENCE &&
		    s->flights[k].order.instance == number)
			return true;
	return false;
}

static void check_revoked_before(struct sim *s, const struct plan_order *order)
{
	const struct plan_instance *victim = instance(s, order->victim);
	bool mended = victim && victim->rung != PLAN_RUNG_NONE;
	if (s->config.secrets && order->victim && !mended && !s->guests[order->victim].revoke_ordered)
		sim_fail(s, "rule 11: kb-%u takes the place of kb-%u, whose secrets are still good", order->instance,
		         order->victim);
}

static void check_steer(struct sim *s, const struct plan_order *order)
{
	const struct sim_guest *victim = &s->guests[order->victim];
	s->n_steers++;
	check_revoked_before(s, order);
	if (s->plan.blind)
		sim_fail(s, "rule 4: steers while blind");
	if (s->guests[order->instance].condemned)
		sim_fail(s, "rule 2: steers to kb-%u, which was taken over", order->instance);
	if (order->victim && !victim->wronged)
		sim_fail(s, "rule 4: steers away from kb-%u, to which nothing was done", order->victim);
	bool takes_effect = s->hand_up[SIM_NET]; /* else neither this order does, nor did the fence that was tried before it */
	if (takes_effect && s->guests[s->target].condemned && s->guests[s->target].gate == PLAN_GATE_OPEN &&
	    !orders_cut(s, s->target) && !fence_under_way(s, s->target))
		sim_fail(s, "rule 2: steers away from kb-%u without cutting it off", s->target);
}

/* No life waits for it. */
static bool is_beside(enum plan_order_type type)
{
	return type == PLAN_DO_CUT || type == PLAN_DO_CAP || type == PLAN_DO_REVOKE || type == PLAN_DO_RESTART ||
	       type == PLAN_DO_STOP_SERVICE; /* what its agent is at ends with whatever comes after */
}

static void check_one_at_a_time(struct sim *s, const struct plan_order *order)
{
	const struct plan_instance *i = instance(s, order->instance);
	if (i && i->life >= PLAN_LIFE_STEERING && i->life <= PLAN_LIFE_UNLINKING)
		s->guests[order->instance].fell_flight = s->last_flight;
	if (is_beside(order->type) || (i && i->life >= PLAN_LIFE_STEERING && i->life <= PLAN_LIFE_UNLINKING))
		return; /* who falls is cut off whatever is under way */
	for (size_t k = 0; k < SIM_FLIGHTS_MAX; k++) {
		const struct sim_flight *f = &s->flights[k];
		bool steer = order->type == PLAN_DO_STEER, other = f->order.type == PLAN_DO_STEER;
		if (f->used && f->kept && !f->late && f->fate != SIM_LOST && !is_beside(f->order.type) && s->hand_up[f->hand] &&
		    !s->hand_hung[f->hand] && steer == other &&
		    (steer || (f->order.instance == order->instance && f->id > s->guests[order->instance].fell_flight)))
			sim_fail(s, "rule 8: %s kb-%u while %s is under way", plan_order_name(order->type), order->instance,
			         plan_order_name(f->order.type));
	}
}

void check_order(struct sim *s, const struct plan_order *order)
{
	check_one_at_a_time(s, order);
	if (order->type == PLAN_DO_REVOKE)
		sim_guest(s, order->instance)->revoke_ordered = true;
	if (order->type == PLAN_DO_STEER)
		check_steer(s, order);
	if (order->type == PLAN_DO_RESUME && s->guests[order->instance].condemned)
		sim_fail(s, "rule 2: kb-%u was taken over and is to wake up again", order->instance);
	if ((order->type == PLAN_DO_RESTART || order->type == PLAN_DO_RESET) && s->guests[order->instance].condemned)
		sim_fail(s, "rule 2: kb-%u was taken over and is to be mended", order->instance);
	if (s->plan.unwritable && plan_order_needs_intent(order->type) && s->told_unwritable)
		sim_fail(s, "rule 7: %s kb-%u although nothing can be recorded", plan_order_name(order->type), order->instance);
}

static bool orders_revoke(const struct sim *s, uint32_t number)
{
	for (size_t k = 0; k < s->update.n_orders; k++)
		if (s->update.orders[k].type == PLAN_DO_REVOKE && s->update.orders[k].instance == number)
			return true;
	return false;
}

static void check_verdict(struct sim *s, const struct plan_note *n)
{
	struct sim_guest *g = sim_guest(s, n->instance);
	if (n->instance < s->n_bygone && n->finding == FINDING_GONE)
		sim_fail(s, "kb-%u falls, which went with the host", n->instance);
	bool alone = true;
	for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++)
		alone = alone && (s->plan.instances[k].number == n->instance || s->plan.instances[k].life != PLAN_LIFE_READY);
	if (n->lesson >= SIM_LESSON_FIRST) { /* one weak finding was enough: once for each lesson */
		if (alone || s->spent[n->lesson - SIM_LESSON_FIRST])
			sim_fail(s, "rule 4: kb-%u falls by a lesson that was spent, or while nobody stands by", n->instance);
		s->spent[n->lesson - SIM_LESSON_FIRST] = g->wronged = true;
	}
	/* Of too many clients one may fall; and whoever has them while nobody knows where the service points. */
	bool crowd = !g->wronged && s->now_us < s->crowd_until_us + s->config.timeout_us && n->finding == FINDING_TIMEOUT &&
	             (!s->crowd_fell || s->plan.steer.doubt);
	s->crowd_fell = s->crowd_fell || crowd;
	if (!g->wronged && !crowd && g->gate != PLAN_GATE_FENCED && !g->revoked && !alone)
		sim_fail(s, "rule 4: kb-%u falls, to which nothing was done", n->instance);
	g->wronged = true;
	if (n->status != PLAN_COMPROMISED)
		return;
	g->condemned = true;
	g->condemned_us = s->now_us;
	bool cut = g->gate == PLAN_GATE_FENCED || g->gate == PLAN_GATE_NONE || orders_cut(s, n->instance);
	if (!cut)
		sim_fail(s, "rule 2: kb-%u is taken over and not cut off", n->instance);
	if (s->config.secrets && !g->revoke_ordered && !orders_revoke(s, n->instance))
		sim_fail(s, "rule 11: kb-%u is taken over and what it could read stays good", n->instance);
}

/* By the world, not by what the plan believes. */
static void check_close(struct sim *s, const struct plan_note *n)
{
	const struct plan_instance *victim = instance(s, n->other);
	bool mended =
	        s->guests[n->other].mended || (victim && victim->incident != n->incident); /* or since then, and fell anew */
	for (size_t k = 0; k < PLAN_INCIDENTS_MAX && s->config.secrets && !mended; k++)
		if (s->seen[k].number == n->incident && s->seen[k].verdict != PLAN_HEALTHY && !s->guests[n->other].revoked)
			sim_fail(s, "rule 11: incident %llu closes and the secrets of kb-%u are still good",
			         (unsigned long long)n->incident, n->other);
}

static void check_removed(struct sim *s, const struct plan_note *n)
{
	const struct sim_guest *victim = &s->guests[n->instance];
	bool taken_over = false;
	for (size_t k = 0; k < PLAN_INCIDENTS_MAX; k++)
		taken_over = taken_over || (s->plan.incidents[k].number && s->plan.incidents[k].victim == n->instance &&
		                            s->plan.incidents[k].verdict == PLAN_COMPROMISED);
	if (s->config.rollback && taken_over && !victim->rolled_back && !victim->gave_up_rollback)
		sim_fail(s, "kb-%u is gone, and the data is as it left it", n->instance);
}

void check_update(struct sim *s)
{
	for (size_t k = 0; k < s->update.n_notes; k++) {
		if (s->update.notes[k].step == PLAN_STEP_NOT_ROLLED_BACK)
			sim_guest(s, s->update.notes[k].instance)->gave_up_rollback = true;
		if (s->update.notes[k].step == PLAN_STEP_CHOSEN)
			check_choice(s, &s->update.notes[k]);
		if (s->update.notes[k].step == PLAN_STEP_CLOSED)
			check_close(s, &s->update.notes[k]);
		if (s->update.notes[k].step == PLAN_STEP_DETECTED || s->update.notes[k].step == PLAN_STEP_MENDED)
			sim_guest(s, s->update.notes[k].instance)->mended = s->update.notes[k].step == PLAN_STEP_MENDED;
		if (s->update.notes[k].step == PLAN_STEP_DETECTED)
			check_verdict(s, &s->update.notes[k]);
		if (s->update.notes[k].step == PLAN_STEP_REMOVED)
			check_removed(s, &s->update.notes[k]);
	}
}

/* --- changes as they are made */

static bool intent_is_open(const struct sim *s, const struct plan_order *order)
{
	for (uint32_t k = 1; k <= s->n_intents; k++)
		if (s->intents[k].order.instance == order->instance && s->intents[k].order.type == order->type)
			return true;
	return false;
}

void check_execute(struct sim *s, const struct plan_order *order)
{
	const struct sim_guest *g = &s->guests[order->instance];
	bool destroys = order->type == PLAN_DO_DESTROY || order->type == PLAN_DO_RESET;
	if ((order->type == PLAN_DO_CREATE || destroys) && !intent_is_open(s, order))
		sim_fail(s, "rule 7: %s kb-%u without an intent", plan_order_name(order->type), order->instance);
	bool twice = order->type == PLAN_DO_CREATE && g->created && g->state == PLAN_GUEST_ABSENT;
	if (twice && !g->vanished) /* one order that is carried out twice finds it there, unless it has ended by itself */
		sim_fail(s, "kb-%u is created a second time", order->instance);
	if (order->type == PLAN_DO_DESTROY && (g->gate == PLAN_GATE_OPEN || g->gate == PLAN_GATE_QUARANTINE))
		sim_fail(s, "rule 2: kb-%u is destroyed before it was cut off", order->instance);
	if (order->type == PLAN_DO_DESTROY && s->target == order->instance && g->state == PLAN_GUEST_RUNNING &&
	    g->gate != PLAN_GATE_FENCED)
		sim_fail(s, "rule 1: the serving kb-%u is destroyed", order->instance);
	if (order->type == PLAN_DO_OPEN && g->condemned && g->gate == PLAN_GATE_FENCED)
		sim_fail(s, "rule 2: kb-%u was taken over and is opened again", order->instance);
	if (order->type == PLAN_DO_ROLLBACK && g->state == PLAN_GUEST_RUNNING)
		sim_fail(s, "the data goes back while kb-%u can still write", order->instance);
	if (order->type == PLAN_DO_ROLLBACK && !g->condemned)
		sim_fail(s, "rule 4: the data goes back for kb-%u, which nobody took over", order->instance);
	bool mends = order->type == PLAN_DO_RESTART || order->type == PLAN_DO_RESET;
	if (mends && g->gate == PLAN_GATE_OPEN)
		sim_fail(s, "kb-%u is mended within clients' reach", order->instance);
	if (order->type == PLAN_DO_STOP_SERVICE && g->gate == PLAN_GATE_OPEN)
		sim_fail(s, "rule 1: the service of kb-%u is stopped within clients' reach", order->instance);
	if (order->type == PLAN_DO_TAP_DEL && g->state != PLAN_GUEST_ABSENT)
		sim_fail(s, "kb-%u loses its tap while it is there", order->instance);
}

/* --- every moment */

static bool excused(const struct sim *s)
{
	if (!s->up || s->blind || !s->plan.world_known || s->stall_until_us + 500000 > s->now_us)
		return true;
	if (!s->hand_up[SIM_NET] || s->hand_hung[SIM_NET] || s->plan.steer.ticket)
		return true;
	return s->net_busy_us > s->now_us + 100000;
}

static bool somebody_could(const struct sim *s)
{
	for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++) {
		const struct plan_instance *i = &s->plan.instances[k];
		if (i->number && i->number != s->target && i->life == PLAN_LIFE_READY && sim_serves(s, i->number))
			return true;
	}
	return false;
}

static void check_served(struct sim *s)
{
	if (excused(s) || sim_serves(s, s->target) || !somebody_could(s))
		s->bad_since_us = s->now_us;
	if (s->now_us - s->bad_since_us > SERVED_WITHIN_US)
		sim_fail(s, "rule 1: for %lld ms the service points at kb-%u, which does not serve, though another could",
		         (long long)(s->now_us - s->bad_since_us) / 1000, s->target);
}

static void check_condemned(struct sim *s)
{
	if (excused(s))
		s->excuse_us = s->now_us;
	for (uint32_t n = 1; n < s->n_numbers; n++) {
		const struct sim_guest *g = &s->guests[n];
		if (!g->condemned || g->gate == PLAN_GATE_FENCED || g->gate == PLAN_GATE_NONE || g->state == PLAN_GUEST_ABSENT)
			continue;
		if (s->now_us - g->condemned_us > CUT_WITHIN_US && s->now_us - s->excuse_us > CUT_WITHIN_US)
			sim_fail(s, "rule 2: kb-%u was taken over and is still not cut off", n);
	}
}

void check_now(struct sim *s)
{
	check_served(s);
	check_condemned(s);
}

/* --- the end */

/* An actuator that keeps an answer for itself keeps its intent open, until its link or the engine ends. */
static bool unanswered(const struct sim *s, uint32_t intent)
{
	for (size_t k = 0; k < SIM_FLIGHTS_MAX; k++)
		if (s->flights[k].used && s->flights[k].intent == intent)
			return true;
	return false;
}

static const char *unsettled_instance(const struct sim *s, uint32_t n)
{
	const struct plan_instance *i = instance(s, n);
	const struct sim_guest *g = &s->guests[n];
	const struct sim_row *row = &s->rows[n];
	if (!i)
		return g->state != PLAN_GUEST_ABSENT                ? "a guest is left over"
		       : g->gate != PLAN_GATE_NONE                  ? "a tap is left over"
		       : g->created && !g->revoked                  ? "secrets of one that is gone are still good"
		       : row->there && !row->ended && !s->rows_lost ? "a row is left open"
		                                                    : NULL;
	if (i->life != PLAN_LIFE_READY && i->life != PLAN_LIFE_PAUSED)
		return "an instance is neither ready nor asleep";
	if (!s->rows_lost && (!row->there || row->ended || row->life != i->life || row->role != i->role))
		return "a row says something else";
	/* One that panicked unseen while it was put to sleep is found when it is to wake up. */
	bool unseen = i->life == PLAN_LIFE_PAUSED && g->state == PLAN_GUEST_CRASHED;
	if (!unseen && g->state != (i->life == PLAN_LIFE_READY ? PLAN_GUEST_RUNNING : PLAN_GUEST_PAUSED))
		return "a guest is not as its life";
	if (i->life == PLAN_LIFE_READY && !sim_serves(s, n))
		return "a ready one does not serve";
	if (s->config.secrets && g->revoked)
		return "an instance stands whose secrets are refused";
	if (i->ticket || g->capped || g->gate == PLAN_GATE_FENCED || i->incident)
		return "an instance is throttled, fenced or still in an incident";
	return NULL;
}

static int shared_holes(const struct plan *p, uint32_t a, uint32_t b)
{
	uint32_t layers = 0;
	for (uint32_t c = 0; c < p->n_components; c++)
		if ((p->variants[a].components[c / 64] & p->variants[b].components[c / 64]) >> (c % 64) & 1)
			layers |= 1u << p->layer[c];
	return __builtin_popcount(layers & PLAN_HOLES);
}

/* Suspect layers first, then what is shared with the one that serves: at rest no variant to be had would be better for an idle
 * instance than its own. */
static bool better_to_be_had(const struct plan *p, const struct plan_instance *active, const struct plan_instance *idle)
{
	int suspect = __builtin_popcount(suspect_holes(p, idle->variant)),
	    shared = shared_holes(p, idle->variant, active->variant);
	for (uint32_t v = 0; v < p->n_variants; v++) {
		int other = __builtin_popcount(suspect_holes(p, v));
		if (p->variants[v].usable && p->variants[v].not_before_us == 0 &&
		    (other < suspect || (other == suspect && shared_holes(p, v, active->variant) < shared)))
			return true;
	}
	return false;
}

static bool all_as_good_as_can_be(const struct plan *p)
{
	const struct plan_instance *active = plan_find(p, p->target);
	for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++) {
		const struct plan_instance *i = &p->instances[k];
		if (i->number && i != active && better_to_be_had(p, active, i))
			return false;
	}
	return true;
}

/* Was in the open for longer than it may, although there is somebody, or a variant to be had, with no more that is suspect. */
static bool renewable(const struct plan *p, const struct plan_instance *i)
{
	int suspect = __builtin_popcount(suspect_holes(p, i->variant));
	if (!i->worn)
		return false;
	for (uint32_t v = 0; v < p->n_variants; v++)
		if (p->variants[v].usable && p->variants[v].not_before_us == 0 &&
		    __builtin_popcount(suspect_holes(p, v)) <= suspect)
			return true;
	return false;
}

static bool any_renewable(const struct plan *p)
{
	for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++)
		if (p->instances[k].number && renewable(p, &p->instances[k]))
			return true;
	return false;
}

bool check_settled(const struct sim *s, const char **ret_why)
{
	const struct plan *p = &s->plan;
	uint32_t living = 0;
	const char *why = NULL;
	for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++)
		living += p->instances[k].number > 0;
	if (!s->up || !p->world_known || s->blind || s->unwritable)
		why = "the engine is not in order";
	else if (s->target != p->target || !sim_serves(s, s->target))
		why = "the service does not point where the plan thinks, or at nobody who serves";
	else if (plan_open_incidents(p))
		why = "an incident is open";
	else if (plan_count_standby(p, true) != p->config.standby || plan_count_spare(p) != p->config.spare)
		why = "standbys or spares are missing";
	else if (living != 1 + p->config.standby + p->config.spare)
		why = "there are more instances than wanted";
	else if (plan_deadline(p) < s->now_us + SOON_US && plan_deadline(p) != p->brake.until_us)
		why = "something is due yet";
	else if (!all_as_good_as_can_be(p))
		why = "an idle instance is of a worse make than could be had";
	else if (any_renewable(p))
		why = "an instance was in the open for longer than it may";
	else if (s->n_writes)
		why = "rows wait";
	for (uint32_t n = 1; n < s->n_numbers && !why; n++)
		why = unsettled_instance(s, n);
	for (uint32_t k = 1; k <= s->n_intents && !why && !s->rows_lost; k++)
		if (s->intents[k].open && !unanswered(s, k))
			why = "an intent is open";
	for (uint32_t k = 1; k < SIM_NUMBERS_MAX && !why && !s->rows_lost; k++)
		if (s->incidents[k].number)
			why = "an incident's row is open";
	*ret_why = why;
	return !why;
}
