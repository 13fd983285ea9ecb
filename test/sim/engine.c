/*
 * The engine around the plan, as src/engine has it: what is urgent leaves at once, rows before intents, an order that needs
 * an intent leaves when the intent is durable. The ledger takes one write after the other; a crash may come between any
 * two. After a start the world is read from hypervisor, kernel and ledger, each at its own moment.
 */
#include "sim.h"

#include <errno.h>
#include <string.h>

#define TICK_US 20 /* what a step costs */

/* --- the ledger */

static void put(struct sim *s, const struct sim_write *write)
{
	if (s->dying)
		return;
	if (s->n_writes == SIM_WRITES_MAX) {
		sim_fail(s, "more than %d rows wait for the ledger", SIM_WRITES_MAX);
		return;
	}
	if (s->n_writes == 0)
		sim_at(s, s->now_us + sim_spread(s, 500, 6000), SIM_EV_COMMIT, 0, s->engine_life);
	s->writes[s->n_writes] = *write;
	bool by_itself = write->kind == SIM_W_OUTCOME || write->kind == SIM_W_NUMBER || write->kind == SIM_W_TRY;
	s->writes[s->n_writes++].group = by_itself ? ++s->group : s->group;
}

static void fetch_number(struct sim *s)
{
	if (s->fresh_number || s->number_coming)
		return;
	s->number_coming = true;
	put(s, &(struct sim_write){.kind = SIM_W_NUMBER});
}

static uint32_t number_give(struct sim *s)
{
	uint32_t number = s->next_number++;
	if (number >= SIM_NUMBERS_MAX) {
		sim_fail(s, "%u instances were built: something goes in circles", number);
		return 0;
	}
	if (s->given[number])
		sim_fail(s, "number %u is given out a second time", number);
	s->given[number] = true;
	return number;
}

static uint32_t intent_begin(struct sim *s, const struct plan_order *order)
{
	if (s->n_intents + 1 >= sizeof(s->intents) / sizeof(s->intents[0])) {
		sim_fail(s, "too many intents: something goes in circles");
		return 0;
	}
	s->intents[++s->n_intents] = (struct sim_intent){*order, true};
	return s->n_intents;
}

/* The number of the intent, if it is one. */
static uint32_t store(struct sim *s, const struct sim_write *w)
{
	switch (w->kind) {
	case SIM_W_ROW:
		s->rows[w->number] = w->row;
		break;
	case SIM_W_INCIDENT:
		if (w->incident.number && s->incident_closed[w->number])
			sim_fail(s, "incident %u was closed and is open again", w->number);
		s->incident_closed[w->number] = w->incident.number == 0;
		s->compromised[w->number] = s->compromised[w->number] || w->incident.verdict == PLAN_COMPROMISED;
		s->incidents[w->number] = w->incident;
		if (w->incident.number && w->incident.verdict != PLAN_HEALTHY)
			s->falls_us[w->number] = w->incident.verdict_us;
		if (w->number > s->last_incident_durable)
			s->last_incident_durable = w->number;
		break;
	case SIM_W_INTENT:
		return intent_begin(s, &w->order);
	case SIM_W_OUTCOME:
		s->intents[w->number].open = false;
		break;
	case SIM_W_NUMBER:
		s->fresh_number = number_give(s);
		break;
	case SIM_W_TRY:
		break;
	case SIM_W_TRIES:
		memcpy(s->tries, w->tries, sizeof(s->tries));
		break;
	case SIM_W_SUSPICION:
		memcpy(s->suspicion, w->suspicion, sizeof(s->suspicion));
		break;
	}
	return 0;
}

static void durable(struct sim *s, const struct sim_write *writes, size_t n)
{
	uint32_t intents[SIM_STAGED_MAX];
	for (size_t k = 0; k < n; k++)
		intents[k] = store(s, &writes[k]);
	sim_point(s, SIM_POINT_WRITTEN);
	for (size_t k = 0; k < n; k++)
		if (intents[k] && plan_awaits(&s->plan, &writes[k].order))
			sim_send(s, &writes[k].order, intents[k]);
		else if (intents[k]) /* of no use by now */
			s->intents[intents[k]].open = false;
}

/* The last one of its group takes the others along. */
static void stage(struct sim *s, const struct sim_write *w)
{
	if (s->n_staged == SIM_STAGED_MAX) {
		sim_fail(s, "one step writes more than %d rows", SIM_STAGED_MAX);
		return;
	}
	s->staged[s->n_staged++] = *w;
	if (s->whole && s->n_writes && s->writes[0].group == w->group)
		return;
	sim_point(s, SIM_POINT_WRITING);
	if (!s->dying)
		durable(s, s->staged, s->n_staged);
	s->n_staged = 0;
}

static void tell_writable(struct sim *s, bool writable)
{
	if (writable != s->told_unwritable)
		return;
	s->told_unwritable = !writable;
	for (size_t k = 0; writable && k < PLAN_INSTANCES_MAX; k++)
		s->followed[k].life = PLAN_LIFE_NONE; /* what the ledger missed is written again */
	struct plan_event event = {.type = PLAN_EV_LEDGER, .flag = !writable};
	sim_step(s, &event);
}

static void commit(struct sim *s)
{
	struct sim_write w = s->writes[0];
	bool failed = s->unwritable;
	s->n_writes--;
	memmove(s->writes, s->writes + 1, s->n_writes * sizeof(s->writes[0]));
	if (s->n_writes)
		sim_at(s, s->now_us + sim_spread(s, 200, 6000), SIM_EV_COMMIT, 0, s->engine_life);
	if (w.kind == SIM_W_NUMBER)
		s->number_coming = false;
	if (failed && (w.kind == SIM_W_ROW || w.kind == SIM_W_INCIDENT || w.kind == SIM_W_OUTCOME))
		s->rows_lost = true; /* nobody writes them again before a restart */
	if (failed && w.kind == SIM_W_ROW && (w.row.ended || plan_life_falls(w.row.life)))
		sim_guest(s, w.number)->wronged = true; /* as far as the ledger knows it is still there, and will be missed */
	if (!failed)
		stage(s, &w);
	tell_writable(s, !failed);
	if (failed && w.kind == SIM_W_INTENT) {
		struct plan_event event = {.type = PLAN_EV_ANSWER, .answer = {w.order.ticket, -ENOSPC}};
		sim_step(s, &event);
	}
	if (!failed && s->crash_writes && --s->crash_writes == 0) {
		sim_crash(s, 200000);
		return;
	}
	if (!failed && w.kind == SIM_W_NUMBER) {
		struct plan_event event = {.type = PLAN_EV_TIME};
		sim_step(s, &event);
	}
}

/* --- follow.c */

static void follow_slot(struct sim *s, size_t k)
{
	const struct plan_instance *p = &s->plan.instances[k];
	if (s->followed[k].number && s->followed[k].number != p->number) {
		uint32_t gone = s->followed[k].number;
		struct sim_write w = {.kind = SIM_W_ROW, .number = gone, .row = {.there = true, .ended = true}};
		sim_guest(s, gone)->probe_life = 0;
		put(s, &w);
		memset(&s->followed[k], 0, sizeof(s->followed[k]));
	}
	if (p->number == 0 || (s->followed[k].number == p->number && s->followed[k].life == p->life &&
	                       s->followed[k].role == p->role && s->followed[k].incident == p->incident))
		return;
	if (s->crash_life != PLAN_LIFE_NONE && p->life == s->crash_life && s->followed[k].life != p->life)
		s->crash_writes = 1; /* as soon as that is durable */
	s->followed[k].number = p->number;
	s->followed[k].life = p->life;
	s->followed[k].role = p->role;
	s->followed[k].incident = p->incident;
	struct sim_write w = {.kind = SIM_W_ROW,
	                      .number = p->number,
	                      .row = {true, false, p->variant, p->role, p->life, p->incident, p->exposed, p->exposed_us}};
	put(s, &w);
	sim_probes_follow(s, p->number, p->life);
}

/* Field by field: what lies between the fields is up to the compiler, and a run is up to its seed alone. */
static bool incident_same(const struct plan_incident *a, const struct plan_incident *b)
{
	return a->number == b->number && a->victim == b->victim && a->verdict == b->verdict && a->phase == b->phase &&
	       a->steered_us == b->steered_us && a->standby_us == b->standby_us && a->spare_us == b->spare_us &&
	       a->active_after == b->active_after && a->removed == b->removed && a->drain_us == b->drain_us;
}

static void follow_incidents(struct sim *s)
{
	for (size_t k = 0; k < PLAN_INCIDENTS_MAX; k++) {
		const struct plan_incident *x = &s->plan.incidents[k];
		if (incident_same(x, &s->seen[k]))
			continue;
		if (s->seen[k].number && s->seen[k].number != x->number) {
			struct sim_write w = {.kind = SIM_W_INCIDENT, .number = (uint32_t)s->seen[k].number};
			put(s, &w);
		}
		s->seen[k] = *x;
		struct sim_write w = {.kind = SIM_W_INCIDENT, .number = (uint32_t)x->number, .incident = *x};
		if (x->number >= SIM_NUMBERS_MAX)
			sim_fail(s, "%llu incidents: something goes in circles", (unsigned long long)x->number);
		else if (x->number)
			put(s, &w);
	}
}

/* --- orders and steps */

static const char *note_detail(const struct plan_note *n, char *text, size_t size)
{
	text[0] = '\0';
	if (n->step == PLAN_STEP_DETECTED)
		snprintf(text, size, ", %s: %s, seen from %s", plan_verdict_name((enum plan_verdict)n->status),
		         finding_name(n->finding), vantage_name(n->vantage));
	else if (n->step == PLAN_STEP_STEERED && n->other)
		snprintf(text, size, ", away from kb-%u", n->other);
	else if (n->step == PLAN_STEP_REFUSED_ORDER)
		snprintf(text, size, ": %s, %d", plan_order_name(n->order), n->status);
	else if (n->step == PLAN_STEP_LATE)
		snprintf(text, size, ": %s", plan_order_name(n->order));
	else if (n->step == PLAN_STEP_MENDING || n->step == PLAN_STEP_MENDED || n->step == PLAN_STEP_UNMENDED)
		snprintf(text, size, ": %s", plan_rung_name(n->rung));
	else if (n->step == PLAN_STEP_CHOSEN)
		snprintf(text, size, ": variant %u", n->variant);
	return text;
}

static void tell(struct sim *s)
{
	for (size_t k = 0; k < s->update.n_notes; k++) {
		const struct plan_note *n = &s->update.notes[k];
		char about[32] = "", detail[96], incident[48] = "";
		if (n->instance)
			snprintf(about, sizeof(about), " kb-%u", n->instance);
		if (n->incident)
			snprintf(incident, sizeof(incident), " (incident %llu, %s)", (unsigned long long)n->incident,
			         plan_phase_name(n->phase));
		sim_log(s, "%s%s%s%s", plan_step_name(n->step), about, note_detail(n, detail, sizeof(detail)), incident);
		if (n->step == PLAN_STEP_LATE && n->order != PLAN_DO_RESTART && n->order != PLAN_DO_STOP_SERVICE &&
		    s->now_us - s->hand_replaced_us[sim_hand_of(n->order)] > 1000000)
			sim_kill_hand(s, sim_hand_of(n->order));
	}
}

static void tell_order(struct sim *s, const struct plan_order *o)
{
	if (o->victim)
		sim_log(s, "    -> %s kb-%u, victim kb-%u", plan_order_name(o->type), o->instance, o->victim);
	else
		sim_log(s, "    -> %s kb-%u", plan_order_name(o->type), o->instance);
}

/* What the plan waits for no longer is not under way in its eyes. */
static void forget_late(struct sim *s)
{
	for (size_t k = 0; k < s->update.n_notes; k++)
		for (size_t f = 0; f < SIM_FLIGHTS_MAX && s->update.notes[k].step == PLAN_STEP_LATE; f++)
			if (s->flights[f].order.instance == s->update.notes[k].instance &&
			    s->flights[f].order.type == s->update.notes[k].order)
				s->flights[f].late = true;
}

static void one_step(struct sim *s, struct plan_event *event)
{
	s->now_us += TICK_US;
	s->n_steps++;
	s->group++;
	event->now_us = s->now_us;
	event->fresh_number = s->fresh_number;
	event->fresh_incident = s->last_incident + 1;
	plan_step(&s->plan, event, &s->update);
	check_update(s);
	forget_late(s);
	s->n_orders += (uint32_t)s->update.n_orders;
	for (size_t k = 0; k < s->update.n_orders; k++) {
		const struct plan_order *o = &s->update.orders[k];
		check_order(s, o);
		if (s->log)
			tell_order(s, o);
		if (!plan_order_waits(o))
			sim_send(s, o, 0);
	}
	if (s->update.incident_used)
		s->last_incident++;
	for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++)
		follow_slot(s, k);
	follow_incidents(s);
	if (s->update.suspicion_changed) {
		struct sim_write w = {.kind = SIM_W_SUSPICION};
		memcpy(w.suspicion, s->plan.suspicion, sizeof(w.suspicion));
		put(s, &w);
	}
	if (s->update.tries_changed) {
		struct sim_write w = {.kind = SIM_W_TRIES};
		memcpy(w.tries, s->plan.tries, sizeof(w.tries));
		put(s, &w);
	}
	for (size_t k = 0; k < s->update.n_orders; k++)
		if (plan_order_waits(&s->update.orders[k]))
			put(s, &(struct sim_write){.kind = SIM_W_INTENT, .order = s->update.orders[k]});
	if (s->update.number_used) {
		s->fresh_number = 0;
		fetch_number(s);
	}
	tell(s);
}

void sim_step(struct sim *s, struct plan_event *event)
{
	if (!s->up || s->dying)
		return;
	one_step(s, event);
	for (int n = 0; n < 8 && s->plan.again; n++)
		one_step(s, &(struct plan_event){.type = PLAN_EV_TIME});
}

enum plan_refusal sim_switch(struct sim *s)
{
	if (!s->up || s->dying)
		return PLAN_BUSY;
	struct plan_event event = {.type = PLAN_EV_SWITCH};
	one_step(s, &event);
	return s->update.refusal;
}

enum plan_refusal sim_hold(struct sim *s, uint32_t number, enum plan_hold hold)
{
	if (!s->up || s->dying)
		return PLAN_BUSY;
	struct plan_event event = {.type = PLAN_EV_HOLD, .hold = {number, hold}};
	one_step(s, &event);
	return s->update.refusal;
}

void sim_outdate(struct sim *s, uint32_t number)
{
	if (!s->up || s->dying)
		return;
	sim_log(s, "kb-%u is outdated", number);
	struct plan_event event = {.type = PLAN_EV_OUTDATED, .outdated = number};
	sim_step(s, &event);
}

void sim_teach(struct sim *s, const struct plan_lesson *lesson)
{
	if (!s->up)
		return;
	sim_log(s, "a lesson%s%s", lesson->raise ? " of somewhere else" : "", lesson->warns ? " of a takeover" : "");
	struct plan_event event = {.type = PLAN_EV_LESSON, .lesson = *lesson};
	sim_step(s, &event);
}

void sim_set_blind(struct sim *s, bool blind)
{
	if (!s->up || s->blind == blind)
		return;
	s->blind = blind;
	sim_log(s, blind ? "senses are lost" : "senses are back");
	struct plan_event event = {.type = PLAN_EV_SENSES, .flag = blind};
	sim_step(s, &event);
}

/* --- crash and start */

void sim_crash(struct sim *s, int64_t down_us)
{
	if (!s->up)
		return;
	sim_log(s, "the engine is killed");
	s->up = s->blind = s->told_unwritable = s->number_coming = s->dying = false;
	s->crash_writes = 0;
	s->crash_life = PLAN_LIFE_NONE;
	s->engine_life++;
	s->n_crashes++;
	s->n_writes = s->n_staged = 0;
	memset(s->followed, 0, sizeof(s->followed));
	memset(s->seen, 0, sizeof(s->seen));
	for (uint32_t n = 0; n < s->n_numbers; n++)
		s->guests[n].probe_life = 0;
	sim_hands_engine_gone(s);
	for (uint32_t n = 0; n < s->n_numbers; n++) { /* what was decided and is nowhere to be read has to be found out again */
		bool known = s->rows[n].there && s->rows[n].life >= PLAN_LIFE_STEERING;
		if (s->guests[n].gate != PLAN_GATE_FENCED && !known)
			s->guests[n].condemned = false;
	}
	sim_at(s, s->now_us + down_us, SIM_EV_START, 0, 0);
}

static void start(struct sim *s)
{
	s->up = true;
	s->crowd_fell = false; /* nobody wrote that down */
	plan_init(&s->plan, &s->config);
	sim_variants(&s->plan);
	memcpy(s->plan.suspicion, s->suspicion, sizeof(s->suspicion));
	memcpy(s->plan.tries, s->tries, sizeof(s->tries));
	s->last_incident = s->last_incident_durable;
	s->fresh_number = 0;
	s->rows_lost = s->rows_lost || s->unwritable; /* old intents stay open */
	if (!s->unwritable) {
		for (uint32_t k = 1; k <= s->n_intents; k++)
			s->intents[k].open = false;
		s->fresh_number = number_give(s);
	}
	sim_log(s, "the engine starts");
	sim_at(s, s->now_us + 1000000, SIM_EV_PULSE, 0, s->engine_life);
	sim_at(s, s->now_us + sim_spread(s, 2000, 5000), SIM_EV_WORLD, 0, s->engine_life);
}

static size_t sight(struct sim *s, struct plan_sighting *sightings)
{
	size_t n = 0;
	for (uint32_t k = 1; k < s->n_numbers; k++) {
		struct sim_guest *g = &s->guests[k];
		const struct sim_row *row = &s->rows[k];
		bool has_row = row->there && !row->ended;
		if (g->state == PLAN_GUEST_ABSENT && g->gate == PLAN_GATE_NONE && !has_row)
			continue;
		if (n == PLAN_INSTANCES_MAX) {
			sim_fail(s, "more than %d instances are there", PLAN_INSTANCES_MAX);
			break;
		}
		g->has_key = g->state != PLAN_GUEST_ABSENT;
		sightings[n++] = (struct plan_sighting){
		        .number = k,
		        .variant = g->state != PLAN_GUEST_ABSENT ? g->variant
		                   : has_row                     ? row->variant
		                                                 : UINT32_MAX,
		        .guest = g->state,
		        .gate = g->gate,
		        .role = has_row ? row->role : PLAN_ROLE_NONE,
		        .life = has_row ? row->life : PLAN_LIFE_NONE,
		        .incident = has_row ? row->incident : 0,
		        .revoked = g->revoked && g->state != PLAN_GUEST_ABSENT,
		        .exposed = has_row && row->exposed,
		        .exposed_us = has_row ? row->exposed_us : 0,
		        .outdated = g->outdated,
		        .bygone = has_row && k < s->n_bygone,
		};
	}
	return n;
}

static void world(struct sim *s)
{
	struct plan_sighting sightings[PLAN_INSTANCES_MAX];
	struct plan_incident incidents[PLAN_INCIDENTS_MAX];
	struct plan_event event = {.type = PLAN_EV_WORLD};
	if (!s->hand_up[SIM_NET] || !s->hand_up[SIM_VM] || s->hand_hung[SIM_NET] || s->hand_hung[SIM_VM]) {
		if (s->hand_hung[SIM_NET]) /* the supervisor replaces what does not answer */
			sim_kill_hand(s, SIM_NET);
		if (s->hand_hung[SIM_VM])
			sim_kill_hand(s, SIM_VM);
		sim_at(s, s->now_us + 1000000, SIM_EV_WORLD, 0, s->engine_life);
		return;
	}
	if (sim_vm_is_at_something(s)) {
		sim_at(s, s->now_us + 10000, SIM_EV_WORLD, 0, s->engine_life);
		return;
	}
	memset(s->seen, 0, sizeof(s->seen));
	for (uint32_t k = 1; k < SIM_NUMBERS_MAX && event.world.n_incidents < PLAN_INCIDENTS_MAX; k++) {
		if (s->incidents[k].number == 0)
			continue;
		struct plan_incident x = s->incidents[k];
		x.phase = PLAN_ABSORB;
		x.removed = false;
		x.drain_us = x.verdict != PLAN_HEALTHY ? PLAN_NEVER : s->now_us + (x.gave_way ? s->config.drain_us : 0);
		s->seen[event.world.n_incidents] = x;
		incidents[event.world.n_incidents++] = x;
	}
	int64_t falls_us[SIM_NUMBERS_MAX];
	for (uint32_t k = 1; k < SIM_NUMBERS_MAX; k++)
		if (s->falls_us[k])
			falls_us[event.world.n_falls++] = s->falls_us[k];
	event.world.falls_us = falls_us;
	event.world.sightings = sightings;
	event.world.n_sightings = sight(s, sightings);
	event.world.incidents = incidents;
	event.world.target = s->target;
	sim_log(s, "the world is read: %zu instances, the service points at kb-%u", event.world.n_sightings, s->target);
	sim_step(s, &event);
	if (s->again)
		s->again(s);
}

static void take_answer(struct sim *s, const struct sim_moment *m)
{
	if (m->b != s->engine_life)
		return;
	if (m->evidence.began_us) {
		struct sim_write w = {.kind = SIM_W_OUTCOME, .number = (uint32_t)m->evidence.began_us};
		if (s->intents[w.number].open)
			put(s, &w);
	}
	if (m->status == 0 && m->evidence.finding == (enum finding)PLAN_DO_CREATE)
		sim_guest(s, m->evidence.instance)->has_key = true;
	struct plan_event event = {.type = PLAN_EV_ANSWER, .answer = {m->a, m->status}};
	sim_step(s, &event);
}

void sim_engine_event(struct sim *s, const struct sim_moment *m)
{
	if (m->what == SIM_EV_START) {
		start(s);
		return;
	}
	if (!s->up || m->b != s->engine_life)
		return;
	if (m->what == SIM_EV_ANSWER) {
		take_answer(s, m);
	} else if (m->what == SIM_EV_COMMIT) {
		commit(s);
	} else if (m->what == SIM_EV_WORLD) {
		world(s);
	} else if (m->what == SIM_EV_SEES_AGAIN) {
		sim_set_blind(s, false);
	} else if (m->what == SIM_EV_PULSE) {
		fetch_number(s);
		if (s->told_unwritable)
			put(s, &(struct sim_write){.kind = SIM_W_TRY});
		if (s->again && s->plan.world_known)
			s->again(s);
		sim_at(s, s->now_us + 1000000, SIM_EV_PULSE, 0, s->engine_life);
	}
}

void sim_engine_timer(struct sim *s)
{
	struct plan_event event = {.type = PLAN_EV_TIME};
	sim_step(s, &event);
}
