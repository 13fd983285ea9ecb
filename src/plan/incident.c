/*
 * Incidents: from the first evidence to the last proof. An incident only watches what the lives do and puts times and
 * phases to it; it drives nothing, so that a lost incident row can never stop a repair.
 */
#include "plan/inside.h"

struct plan_incident *plan_incident_at(struct plan *p, uint64_t number)
{
	for (size_t k = 0; number && k < PLAN_INCIDENTS_MAX; k++)
		if (p->incidents[k].number == number)
			return &p->incidents[k];
	return NULL;
}

uint32_t plan_open_incidents(const struct plan *p)
{
	uint32_t n = 0;
	for (size_t k = 0; k < PLAN_INCIDENTS_MAX; k++)
		n += p->incidents[k].number > 0;
	return n;
}

uint64_t incident_current(const struct plan *p)
{
	uint64_t newest = 0;
	for (size_t k = 0; k < PLAN_INCIDENTS_MAX; k++)
		if (p->incidents[k].number > newest && p->incidents[k].verdict != PLAN_HEALTHY)
			newest = p->incidents[k].number;
	return newest;
}

/* The window remembers when the first of the misses, or the silence, began; what counts at once began when it was seen. */
static int64_t first_evidence_us(const struct plan *p, const struct plan_instance *victim, int64_t now_us)
{
	const struct plan_window *w = &victim->window;
	int64_t first_us = now_us;
	if (w->fell_at_once)
		return w->fell_us ? w->fell_us : now_us;
	if (w->worst == FINDING_SILENT)
		return w->silence.began_us;
	uint32_t n = p->config.window < w->filled ? p->config.window : w->filled;
	for (uint32_t age = 0; age < n; age++)
		if ((w->misses >> age & 1) && w->began_us[age] < first_us)
			first_us = w->began_us[age];
	return first_us;
}

/* Whoever gave way in doubt, and fell: the doubt was its beginning. */
static struct plan_incident *incident_confirm(struct plan_turn *t, const struct plan_instance *victim)
{
	for (size_t k = 0; k < PLAN_INCIDENTS_MAX; k++) {
		struct plan_incident *x = &t->p->incidents[k];
		if (!incident_is_doubt(x) || x->victim != victim->number || victim->verdict == PLAN_HEALTHY)
			continue;
		x->verdict = victim->verdict;
		x->verdict_us = t->now_us;
		x->drain_us = PLAN_NEVER;
		return x;
	}
	return NULL;
}

/* Takes a free row, or, when all are taken and none can end yet (make_room()), none: the repair goes on without a story. */
struct plan_incident *incident_open(struct plan_turn *t, struct plan_instance *victim)
{
	struct plan_incident *confirmed = incident_confirm(t, victim);
	if (confirmed)
		return confirmed;
	struct plan_incident *free_row = NULL;
	for (size_t k = 0; k < PLAN_INCIDENTS_MAX && !free_row; k++)
		if (t->p->incidents[k].number == 0)
			free_row = &t->p->incidents[k];
	if (!free_row || t->fresh_incident == 0 || t->update->incident_used)
		return NULL;
	t->update->incident_used = true;
	*free_row = (struct plan_incident){
	        .number = t->fresh_incident,
	        .victim = victim->number,
	        .victim_variant = victim->variant,
	        .verdict = victim->verdict,
	        .phase = PLAN_ABSORB,
	        .evidence_us = first_evidence_us(t->p, victim, t->now_us),
	        .verdict_us = t->now_us,
	        .active_before = t->p->target,
	        .drain_us = PLAN_NEVER,
	};
	return free_row;
}

/* Whoever was mended may fall once more before the first incident is closed. */
void incident_rid(struct plan *p, uint32_t victim)
{
	for (size_t k = 0; k < PLAN_INCIDENTS_MAX; k++)
		if (p->incidents[k].number && p->incidents[k].victim == victim)
			p->incidents[k].removed = p->incidents[k].revoked = true;
}

void incident_steered(struct plan_turn *t, uint64_t number, uint32_t to)
{
	struct plan_incident *x = plan_incident_at(t->p, number);
	if (!x)
		return;
	x->active_after = to;
	if (x->steered_us == 0)
		x->steered_us = t->now_us;
	if (x->verdict == PLAN_HEALTHY)
		x->drain_us = t->now_us + t->p->config.drain_us;
}

/* Of a fault nothing is to be learnt. Who took the place of one that was taken over and stands there still was tried by the same
 * attacker, as far as anybody can tell. */
static void clear_survivor(struct plan_turn *t, const struct plan_incident *x)
{
	const struct plan_instance *after = plan_find(t->p, x->active_after);
	if (x->verdict != PLAN_COMPROMISED || x->active_before != x->victim || !after || after->number != t->p->target ||
	    after->number == x->victim || t->now_us - x->steered_us < PLAN_SURVIVED_US)
		return;
	choice_clear(t->p, after->variant);
	t->update->suspicion_changed = true;
	t->p->again = true; /* what is wanted may be another now */
	plan_note(t, PLAN_STEP_CLEARED, x->number, after, (struct plan_note){.other = x->victim});
}

/* `early`: redundancy is not whole again. */
static void incident_close(struct plan_turn *t, struct plan_incident *x, bool early)
{
	x->phase = PLAN_CLOSED;
	plan_note(t, PLAN_STEP_CLOSED, x->number, plan_find(t->p, x->active_after),
	          (struct plan_note){.other = x->victim, .status = early});
	uint64_t number = x->number;
	memset(x, 0, sizeof(*x));
	for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++)
		if (t->p->instances[k].incident == number)
			t->p->instances[k].incident = 0;
}

static void watch_standby(const struct plan_turn *t, struct plan_incident *x)
{
	if (x->standby_us == 0 && plan_count_standby(t->p, true) >= t->p->config.standby)
		x->standby_us = t->now_us;
}

static void planned_progress(struct plan_turn *t, struct plan_incident *x)
{
	const struct plan_instance *old = plan_find(t->p, x->victim);
	if (x->steered_us == 0) {
		if (t->p->steer.incident != x->number) /* it never came to it: given up */
			incident_close(t, x, false);
		return;
	}
	if (x->gave_way)
		watch_standby(t, x);
	if (x->drain_us > t->now_us && old)
		return;
	if (old && x->victim != t->p->target && !plan_is_falling(old->life)) {
		plan_issue(t, PLAN_DO_CUT, x->victim, 0, 0, x->number);
		plan_note(t, PLAN_STEP_DRAINED, x->number, old, (struct plan_note){0});
	}
	incident_close(t, x, false);
}

static void repair_progress(struct plan_turn *t, struct plan_incident *x)
{
	if (!plan_is_served(t->p))
		return;
	if (x->steered_us == 0) { /* a standby or spare fell: the service never left */
		x->steered_us = x->verdict_us;
		x->active_after = t->p->target;
	}
	if (x->phase == PLAN_ABSORB)
		x->phase = PLAN_RECOVER;
	watch_standby(t, x);
	if (x->standby_us && x->phase == PLAN_RECOVER)
		x->phase = PLAN_ADAPT;
	if (x->standby_us && x->spare_us == 0 && plan_count_spare(t->p) >= t->p->config.spare)
		x->spare_us = t->now_us;
	bool idle = true;
	for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++)
		idle = idle && !plan_is_rising(t->p->instances[k].life) && t->p->instances[k].life != PLAN_LIFE_PAUSING;
	bool revoked = x->revoked || !t->p->config.secrets;
	if (!x->spare_us || !x->removed || !revoked || !idle || plan_count_standby(t->p, true) < t->p->config.standby)
		return;
	if (x->spare_us == t->now_us) { /* closed a turn later, so that whoever follows us sees when it was whole */
		t->p->again = true;
		return;
	}
	clear_survivor(t, x);
	incident_close(t, x, false);
}

/* Whoever is felled more often than can be mended keeps many open. The next one needs a row, or of it nothing would be rolled
 * back, kept or learnt: so the oldest that only waits for redundancy ends here. */
static void make_room(struct plan_turn *t)
{
	struct plan_incident *oldest = NULL;
	for (size_t k = 0; k < PLAN_INCIDENTS_MAX; k++) {
		struct plan_incident *x = &t->p->incidents[k];
		if (x->number == 0)
			return;
		bool waits = x->verdict != PLAN_HEALTHY && x->steered_us && x->removed && (x->revoked || !t->p->config.secrets);
		if (waits && (!oldest || x->number < oldest->number))
			oldest = x;
	}
	if (oldest)
		incident_close(t, oldest, true);
}

void incident_progress(struct plan_turn *t)
{
	for (size_t k = 0; k < PLAN_INCIDENTS_MAX; k++) {
		struct plan_incident *x = &t->p->incidents[k];
		if (x->number == 0)
			continue;
		if (x->verdict == PLAN_HEALTHY)
			planned_progress(t, x);
		else
			repair_progress(t, x);
	}
	make_room(t);
}
