/*
 * After a start the engine knows nothing. It reads three records of the same world: what the hypervisor runs, what the
 * kernel's rules say, what the ledger remembers. Each instance that any of them names becomes one sighting; the plan
 * decides what to make of it. Nothing is ordered before all three have answered.
 *
 * Nor is anything asked before the ledger's containments are in force again: after a reboot of the host the kernel has lost them,
 * and no guest shall serve, not for a moment, whoever is cut off. The world is read behind that, so that it is as it is then.
 */
#include "engine/start.h"

#include "lib/bytes.h"
#include "lib/log.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define ROWS_MAX (2 * WIRE_INSTANCES_MAX)
#define CONTAIN_US 2000000  /* so long a service waits for containments; each takes some milliseconds */
#define OBSERVE_US 10000000 /* it takes milliseconds; one that takes so long has met something that hangs */

struct engine_start {
	struct ledger_instance rows[ROWS_MAX];
	size_t n_rows;
	struct ledger_incident incidents[PLAN_INCIDENTS_MAX * CONF_SERVICES_MAX];
	size_t n_incidents;
	struct fall {
		uint32_t service;
		int64_t at_us;                             /* CLOCK_MONOTONIC of now, perhaps before its zero */
	} falls[CONF_SERVICES_MAX * PLAN_BRAKE_FALLS_MAX]; /* the last ones, newest first */
	size_t n_falls;
	struct wire_answer net, vm;
	int64_t waits_us; /* for containments, until then; 0: it could not be asked anyway */
	bool contained;   /* waits no longer */
	bool asked, have_net, have_vm;
	bool fresh_ledger;
};

/* --- the ledger, read before its thread starts */

static int take_row(void *arg, const struct ledger_instance *row)
{
	struct engine_start *start = arg;
	if (row->ended_us == 0 && start->n_rows < ROWS_MAX)
		start->rows[start->n_rows++] = *row;
	return 0;
}

static bool service_named(const struct engine *e, const char *name, uint32_t *ret_service)
{
	for (uint32_t s = 0; s < e->n_services; s++)
		if (strcmp(e->conf.services[s].name, name) == 0) {
			*ret_service = s;
			return true;
		}
	return false;
}

static int64_t at_least_0(int64_t us)
{
	return us > 0 ? us : 0;
}

static bool nobody_fell(const struct ledger_incident *row)
{
	return strcmp(row->verdict, ENGINE_PLANNED) == 0 || strcmp(row->verdict, ENGINE_DOUBTFUL) == 0;
}

static int take_incident(void *arg, const struct ledger_incident *row)
{
	struct engine *e = arg;
	struct engine_start *start = e->start;
	uint32_t service;
	if (row->closed_us == 0 && start->n_incidents < countof(start->incidents))
		start->incidents[start->n_incidents++] = *row;
	if (!nobody_fell(row) && service_named(e, row->service, &service) && start->n_falls < countof(start->falls))
		start->falls[start->n_falls++] = (struct fall){
		        service, clock_monotonic_us() - at_least_0(clock_real_us() - row->opened_us -
		                                                   at_least_0(row->verdict_us - row->first_evidence_us))};
	return 0;
}

static int take_suspicion(void *arg, const struct ledger_suspicion *row)
{
	struct engine *e = arg;
	int component = library_component(&e->library, row->component);
	uint32_t value = plan_suspicion_after((uint32_t)(row->value * 1000 + 0.5), clock_real_us() - row->since_us);
	for (size_t s = 0; component >= 0 && s < e->n_services; s++) {
		e->services[s].plan.suspicion[component] = value;
		plan_components_changed(&e->services[s].plan);
	}
	return 0; /* a component that no image has any more is history */
}

/* What a later koboshi calls otherwise is forgotten. */
static int take_tries(void *arg, const struct ledger_tries *row)
{
	struct engine *e = arg;
	enum plan_rung rung = plan_rung_named(row->rung);
	for (size_t s = 0; s < e->n_services; s++)
		for (unsigned f = 0; f < FINDING_MAX_; f++) {
			if (strcmp(e->services[s].conf->name, row->service) != 0 ||
			    strcmp(finding_name((enum finding)f), row->finding) != 0 || rung < PLAN_RUNG_RESTART ||
			    rung >= PLAN_RUNG_REBUILD)
				continue;
			struct plan_tries *tries = &e->services[s].plan.tries[f][rung - PLAN_RUNG_RESTART];
			*tries = (struct plan_tries){row->tried, row->worked, row->last, row->passed};
			e->services[s].tries_seen[f * PLAN_RUNGS_MENDING + (rung - PLAN_RUNG_RESTART)] = *tries;
		}
	return 0;
}

struct open_intents {
	uint64_t numbers[64];
	size_t n;
};

static int take_intent(void *arg, const struct ledger_intent *row)
{
	struct open_intents *open = arg;
	log_notice("engine.intent", "'%s' of instance %u was under way when the engine ended: the world is read again",
	           row->order, row->instance);
	if (open->n < countof(open->numbers))
		open->numbers[open->n++] = row->number;
	return 0;
}

static int close_intents(struct ledger *l, struct err *err)
{
	struct open_intents open = {0};
	int r = ledger_intent_each_open(l, take_intent, &open, err);
	for (size_t i = 0; i < open.n && r == 0; i++)
		r = ledger_intent_end(l, open.numbers[i], -EINTR, "interrupted; the world was read again", err);
	return r;
}

int start_begin(struct engine *e, struct ledger *l, bool fresh_ledger, struct err *err)
{
	struct engine_start *start = calloc(1, sizeof(*start));
	assert(start);
	e->start = start;
	start->fresh_ledger = fresh_ledger;
	int r = ledger_instance_each(l, 0, take_row, start, err);
	if (r == 0)
		r = ledger_incident_each(l, 1000, take_incident, e, err);
	if (r == 0)
		r = ledger_suspicion_each(l, take_suspicion, e, err);
	if (r == 0)
		r = ledger_tries_each(l, take_tries, e, err);
	if (r == 0)
		r = ledger_incident_last(l, &e->last_incident, err);
	if (r == 0)
		r = contain_load(e, l, err);
	if (r == 0)
		r = hold_load(e, l, err);
	if (r == 0)
		r = cut_load(e, l, err);
	if (r == 0)
		r = lessons_load(e, l, err);
	if (r < 0)
		return r;
	if (e->ledger_lost)
		return 0;
	struct err write_err = {0}; /* a ledger that cannot be written is no reason not to watch and steer */
	if (close_intents(l, &write_err) < 0 || ledger_instance_number(l, &e->fresh_number, &write_err) < 0)
		log_error("engine.ledger", "the ledger cannot be written: %s", write_err.text);
	return 0;
}

/* --- the world */

static void ask(struct engine *e, enum order_type type)
{
	struct wire_order order = {.type = type};
	struct hands_cookie cookie = {0};
	e->asked_us[order_role(type)] = clock_monotonic_us();
	hands_send(e->hands, &order, &cookie);
}

void start_judge(struct engine *e, int64_t now_us)
{
	for (int role = WIRE_NET; role <= WIRE_VM; role++) {
		if (!e->asked_us[role] || now_us - e->asked_us[role] < OBSERVE_US || !hands_ready(e->hands, (enum wire_role)role))
			continue;
		log_error("engine.world", "koboshi-%s did not say within %d s what is there: asking for another",
		          wire_role_name((enum wire_role)role), OBSERVE_US / 1000000);
		e->asked_us[role] = now_us; /* the next one's time, or patience for this one's end */
		hands_replace(e->hands, (enum wire_role)role);
	}
}

/* Both actuators are ready. */
static bool contained(struct engine *e)
{
	struct engine_start *start = e->start;
	int64_t now_us = clock_monotonic_us();
	if (start->contained)
		return true;
	if (!start->waits_us)
		start->waits_us = now_us + CONTAIN_US;
	bool settled = contain_settled(e), late = now_us >= start->waits_us;
	if (late && !settled)
		contain_give_up(e);
	start->contained = settled || late;
	return start->contained;
}

bool start_waits(const struct engine *e)
{
	return e->start && e->start->waits_us && !e->start->contained;
}

void start_actuator_ready(struct engine *e, enum wire_role role)
{
	if (!e->start && (role == WIRE_VM || role == WIRE_NET))
		ask(e, role == WIRE_VM ? ORDER_VM_OBSERVE : ORDER_NET_OBSERVE);
	if (!e->start || e->start->asked || !hands_ready(e->hands, WIRE_NET) || !hands_ready(e->hands, WIRE_VM) || !contained(e))
		return;
	e->start->asked = true;
	e->start->have_net = e->start->have_vm = false;
	ask(e, ORDER_NET_OBSERVE);
	ask(e, ORDER_VM_OBSERVE);
}

static const struct wire_observed_instance *observed_in(const struct wire_answer *answer, uint32_t number)
{
	for (uint32_t i = 0; i < answer->n_observed; i++)
		if (answer->observed[i].instance == number)
			return &answer->observed[i];
	return NULL;
}

static const struct ledger_instance *row_of(const struct engine_start *start, uint32_t number)
{
	for (size_t i = 0; i < start->n_rows; i++)
		if (start->rows[i].number == number)
			return &start->rows[i];
	return NULL;
}

/* Of one that the configuration does not name any more: the first service's, who does not know it (variant_of()) and has it
 * removed. */
static uint32_t service_of(const struct engine *e, uint32_t number)
{
	const struct wire_observed_instance *vm = observed_in(&e->start->vm, number);
	const struct ledger_instance *row = row_of(e->start, number);
	uint32_t service = 0;
	if (vm && vm->service < e->n_services)
		return vm->service;
	if (row)
		(void)service_named(e, row->service, &service);
	return service;
}

static uint32_t variant_of(const struct conf_service *conf, const struct ledger_instance *row,
                           const struct wire_observed_instance *vm)
{
	if (vm && vm->variant < conf->n_variants)
		return vm->variant;
	if (!row || strcmp(row->service, conf->name) != 0)
		return UINT32_MAX; /* the same software, but with another service's data and secrets */
	for (uint32_t v = 0; v < conf->n_variants; v++)
		if (strcmp(conf->variants[v], row->variant) == 0)
			return v;
	return UINT32_MAX;
}

static enum plan_guest guest_of(const struct wire_observed_instance *vm)
{
	if (!vm)
		return PLAN_GUEST_ABSENT;
	switch ((enum wire_guest)vm->guest) {
	case WIRE_GUEST_RUNNING:
		return PLAN_GUEST_RUNNING;
	case WIRE_GUEST_PAUSED:
		return PLAN_GUEST_PAUSED;
	case WIRE_GUEST_CRASHED:
		return PLAN_GUEST_CRASHED;
	case WIRE_GUEST_ABSENT:
	case WIRE_GUEST_OFF:
	case WIRE_GUEST_MAX_:
		break;
	}
	return PLAN_GUEST_ABSENT;
}

static enum plan_gate gate_of(const struct wire_observed_instance *net)
{
	static const enum plan_gate gates[WIRE_GATE_MAX_] = {
	        [WIRE_GATE_NONE] = PLAN_GATE_NONE,
	        [WIRE_GATE_QUARANTINE] = PLAN_GATE_QUARANTINE,
	        [WIRE_GATE_OPEN] = PLAN_GATE_OPEN,
	        [WIRE_GATE_FENCED] = PLAN_GATE_FENCED,
	};
	return net && net->gate < WIRE_GATE_MAX_ ? gates[net->gate] : PLAN_GATE_NONE;
}

/* By the wall clock, which may have been set since: a wrong answer costs an incident, or spares one about what is not there. */
static bool is_bygone(const struct ledger_instance *row)
{
	struct timespec up;
	clock_gettime(CLOCK_BOOTTIME, &up);
	return row->created_us < clock_real_us() - (int64_t)up.tv_sec * 1000000;
}

/* Without a ledger's row, because the ledger is new or cannot be read: what the world shows by itself. What is cut off or
 * unknown stays nobody's; the others would be torn down for the sake of a lost notebook. */
static void sight_without_row(struct plan_sighting *seen)
{
	if (seen->gate != PLAN_GATE_OPEN && seen->gate != PLAN_GATE_QUARANTINE)
		return;
	if (seen->guest == PLAN_GUEST_PAUSED) {
		seen->role = PLAN_SPARE;
		seen->life = PLAN_LIFE_PAUSED;
	} else if (seen->guest == PLAN_GUEST_RUNNING) {
		seen->role = PLAN_STANDBY;
		seen->life = seen->gate == PLAN_GATE_OPEN ? PLAN_LIFE_READY : PLAN_LIFE_BOOTING;
	}
}

static void sight(struct engine *e, struct engine_service *s, uint32_t number, struct plan_sighting *sightings, size_t *n)
{
	if (service_of(e, number) != s->index || *n == PLAN_INSTANCES_MAX)
		return;
	for (size_t k = 0; k < *n; k++)
		if (sightings[k].number == number)
			return;
	const struct wire_observed_instance *vm = observed_in(&e->start->vm, number);
	const struct ledger_instance *row = row_of(e->start, number);
	struct engine_instance *i = &s->instances[*n];
	i->created_us = row ? row->created_us : 0;
	i->has_key = vm && vm->guest != WIRE_GUEST_ABSENT;
	i->content = row && row->content[0] ? strdup(row->content) : NULL;
	if (i->has_key)
		memcpy(i->key, vm->key, sizeof(i->key));
	uint32_t variant = variant_of(s->conf, row, vm);
	struct plan_sighting *seen = &sightings[(*n)++];
	*seen = (struct plan_sighting){
	        .number = number,
	        .variant = variant,
	        .guest = guest_of(vm),
	        .gate = gate_of(observed_in(&e->start->net, number)),
	        .role = row ? plan_role_named(row->role) : PLAN_ROLE_NONE,
	        .life = row ? plan_life_named(row->state) : PLAN_LIFE_NONE,
	        .incident = row ? row->incident : 0,
	        .exposed = row && row->exposed_us,
	        .outdated = vm && (vm->outdated || variant == UINT32_MAX), /* it may serve, until another one can */
	        .bygone = row && is_bygone(row),
	        .revoked = vm && vm->revoked,
	};
	if (seen->exposed) /* a clock that was set back since makes nobody younger than new */
		seen->exposed_us = clock_monotonic_us() - at_least_0(clock_real_us() - row->exposed_us);
	/* not one row beside living guests: it was begun afresh, by us or by an earlier life of ours */
	if (!row && (e->start->fresh_ledger || e->ledger_lost || e->start->n_rows == 0))
		sight_without_row(seen);
}

static void incident_from_row(struct engine_service *s, const struct ledger_incident *row, struct plan_incident *ret)
{
	bool same_boot = strcmp(row->boot_id, s->engine->boot_id) == 0;
	int64_t now_us = clock_monotonic_us();
	bool planned = nobody_fell(row), gave_way = strcmp(row->verdict, ENGINE_DOUBTFUL) == 0;
	*ret = (struct plan_incident){
	        .number = row->number,
	        .victim = row->victim,
	        .victim_variant = UINT32_MAX,
	        .verdict = planned                                    ? PLAN_HEALTHY
	                   : strcmp(row->verdict, "compromised") == 0 ? PLAN_COMPROMISED
	                                                              : PLAN_FAILED,
	        .phase = PLAN_ABSORB,
	        .evidence_us = same_boot ? row->first_evidence_us : now_us - (clock_real_us() - row->opened_us),
	        .verdict_us = same_boot ? row->verdict_us : now_us,
	        .steered_us = same_boot ? row->steered_us : 0,
	        .standby_us = same_boot ? row->standby_us : 0,
	        .spare_us = same_boot ? row->spare_us : 0,
	        .active_before = row->active_before,
	        .active_after = row->active_after,
	        .gave_way = gave_way,
	        .drain_us = !planned   ? PLAN_NEVER
	                    : gave_way ? now_us + s->plan.config.drain_us /* what it is, is still to be found out */
	                               : now_us,
	};
	for (uint32_t v = 0; v < s->conf->n_variants; v++)
		if (strcmp(s->conf->variants[v], row->victim_variant) == 0)
			ret->victim_variant = v;
}

static size_t incidents_of(struct engine_service *s, struct plan_incident *incidents)
{
	size_t n = 0;
	const struct engine_start *start = s->engine->start;
	for (size_t k = 0; k < start->n_incidents && n < PLAN_INCIDENTS_MAX; k++) {
		if (strcmp(start->incidents[k].service, s->conf->name) != 0)
			continue;
		incident_from_row(s, &start->incidents[k], &incidents[n]);
		s->seen[n] = incidents[n];
		s->stories[n] = malloc(sizeof(*s->stories[n]));
		assert(s->stories[n]);
		*s->stories[n] = start->incidents[k];
		text_copy(s->stories[n]->boot_id, sizeof(s->stories[n]->boot_id), s->engine->boot_id);
		n++;
	}
	return n;
}

/* When guests of this service fell, oldest first. */
static size_t falls_of(const struct engine_service *s, int64_t falls_us[static PLAN_BRAKE_FALLS_MAX])
{
	const struct engine_start *start = s->engine->start;
	size_t n = 0, mine = 0;
	for (size_t k = 0; k < start->n_falls; k++)
		mine += start->falls[k].service == s->index;
	for (size_t k = start->n_falls; k-- > 0;) {
		if (start->falls[k].service != s->index)
			continue;
		if (mine-- <= PLAN_BRAKE_FALLS_MAX)
			falls_us[n++] = start->falls[k].at_us;
	}
	return n;
}

static void tell_plan(struct engine *e, struct engine_service *s)
{
	struct plan_sighting sightings[PLAN_INSTANCES_MAX];
	struct plan_incident incidents[PLAN_INCIDENTS_MAX];
	int64_t falls_us[PLAN_BRAKE_FALLS_MAX];
	size_t n = 0;
	for (uint32_t k = 0; k < e->start->vm.n_observed; k++)
		sight(e, s, e->start->vm.observed[k].instance, sightings, &n);
	for (uint32_t k = 0; k < e->start->net.n_observed; k++)
		sight(e, s, e->start->net.observed[k].instance, sightings, &n);
	for (size_t k = 0; k < e->start->n_rows; k++)
		sight(e, s, e->start->rows[k].number, sightings, &n);
	uint32_t target = e->start->net.target[s->index];
	log_notice("engine.world", "%s: %zu instances are there, it points at kb-%u", s->conf->name, n, target);
	struct plan_event event = {.type = PLAN_EV_WORLD};
	event.world.sightings = sightings;
	event.world.n_sightings = n;
	event.world.incidents = incidents;
	event.world.n_incidents = incidents_of(s, incidents);
	event.world.falls_us = falls_us;
	event.world.n_falls = falls_of(s, falls_us);
	event.world.target = target;
	service_step(s, &event);
}

struct floor_job {
	uint32_t at_least;
};

static int floor_work(struct ledger *l, void *arg, struct err *err)
{
	return ledger_instance_floor(l, ((struct floor_job *)arg)->at_least, err);
}

static void look_at_number(const struct engine *e, const struct wire_answer *seen, uint32_t *highest, bool *clashes)
{
	for (uint32_t k = 0; k < seen->n_observed; k++) {
		uint32_t number = seen->observed[k].instance;
		*highest = number > *highest ? number : *highest;
		*clashes = *clashes || (e->fresh_number && conf_instances_clash(&e->conf, e->fresh_number, number));
	}
}

/* A ledger that was begun afresh beside living guests must not give their numbers a second time, nor one whose address one of
 * them has: the number was reserved before anybody knew who lives. */
static void raise_floor(struct engine *e)
{
	uint32_t highest = 0;
	bool clashes = false;
	look_at_number(e, &e->start->vm, &highest, &clashes);
	look_at_number(e, &e->start->net, &highest, &clashes);
	if (highest < e->fresh_number) {
		if (clashes)
			e->fresh_number = 0; /* the pulse fetches another */
		return;
	}
	struct floor_job *job = malloc(sizeof(*job));
	assert(job);
	job->at_least = highest + 1;
	journal_put(e->journal, floor_work, NULL, job);
	e->fresh_number = 0; /* the pulse fetches another */
}

/* What a replaced vm actuator sees of an instance that ought to run or sleep; GOOD: as it ought to be. */
static enum finding missed_meanwhile(const struct plan_instance *i, const struct wire_answer *seen)
{
	bool runs = i->life == PLAN_LIFE_READY || i->life == PLAN_LIFE_DOOMED || i->life == PLAN_LIFE_LOCKED ||
	            i->life == PLAN_LIFE_STOPPED;
	if (!runs && i->life != PLAN_LIFE_PAUSED && i->life != PLAN_LIFE_HELD)
		return FINDING_GOOD; /* on its way: its order is answered, or its deadline passes */
	enum plan_guest guest = guest_of(observed_in(seen, i->number));
	if (guest == PLAN_GUEST_ABSENT)
		return FINDING_GONE;
	if (guest == PLAN_GUEST_CRASHED)
		return FINDING_PANICKED;
	return runs && guest == PLAN_GUEST_PAUSED ? FINDING_PAUSED : FINDING_GOOD;
}

/* While the vm actuator was away nobody heard what became of the guests. */
static void look_again(struct engine *e, const struct wire_answer *seen)
{
	for (size_t s = 0; s < e->n_services; s++)
		for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++) {
			const struct plan_instance *i = &e->services[s].plan.instances[k];
			enum finding finding = i->number ? missed_meanwhile(i, seen) : FINDING_GOOD;
			if (finding == FINDING_GOOD)
				continue;
			int64_t now_us = clock_monotonic_us();
			struct plan_event event = {.type = PLAN_EV_EVIDENCE};
			event.evidence = (struct evidence){.time_us = now_us,
			                                   .instance = i->number,
			                                   .vantage = VANTAGE_HYPERVISOR,
			                                   .finding = finding,
			                                   .began_us = now_us};
			service_step(&e->services[s], &event);
		}
}

/* A new koboshi-net takes the rules that it finds for what shall be. If somebody flushed them while none was there, what a
 * service points at is lost, and the probes, which go past the map, would never tell. */
static void compare_rules(struct engine *e, const struct wire_answer *answer)
{
	for (size_t i = 0; i < e->n_services; i++) {
		const struct plan *plan = &e->services[i].plan;
		if (plan->steer.ticket || plan->steer.doubt || plan->target == answer->target[i])
			continue;
		log_error("engine.world", "%s points at instance %u and not at %u: somebody changed the rules; starting anew",
		          e->services[i].conf->name, answer->target[i], plan->target);
		uv_stop(e->loop);
		return;
	}
}

void start_answer(struct engine *e, const struct wire_order *order, const struct wire_answer *answer)
{
	struct engine_start *start = e->start;
	e->asked_us[order->type == ORDER_NET_OBSERVE ? WIRE_NET : WIRE_VM] = 0;
	if (!start && answer->status == 0 && order->type == ORDER_VM_OBSERVE)
		look_again(e, answer);
	if (!start && answer->status == 0 && order->type == ORDER_NET_OBSERVE)
		compare_rules(e, answer);
	if (!start)
		return;
	if (answer->status < 0) {
		log_warning("engine.world", "%s: %s; asking again", order_type_name((enum order_type)order->type), answer->text);
		start->asked = false; /* the pulse asks again */
		return;
	}
	if (order->type == ORDER_NET_OBSERVE) {
		start->net = *answer;
		start->have_net = true;
	} else {
		start->vm = *answer;
		start->have_vm = true;
	}
	if (!start->have_net || !start->have_vm)
		return;
	raise_floor(e);
	e->world_known = true;
	for (size_t s = 0; s < e->n_services; s++)
		tell_plan(e, &e->services[s]);
	free(start);
	e->start = NULL;
	hold_world(e);
	lessons_world(e);
}
