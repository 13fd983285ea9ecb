/*
 * One service: its plan, and the translation between the plan's words and the orders on the wire. An order that must be
 * in the ledger before it starts goes through the journal; all others leave at once, so that steering never waits for a disk.
 */
#include "engine/engine.h"

#include "lib/bytes.h"
#include "lib/log.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct {
	enum order_type type;
	enum wire_gate gate;
} orders[PLAN_ORDER_MAX_] = {
        [PLAN_DO_TAP_ADD] = {ORDER_NET_TAP_ADD, WIRE_GATE_NONE},
        [PLAN_DO_TAP_DEL] = {ORDER_NET_TAP_DEL, WIRE_GATE_NONE},
        [PLAN_DO_FENCE] = {ORDER_NET_GATE, WIRE_GATE_FENCED},
        [PLAN_DO_OPEN] = {ORDER_NET_GATE, WIRE_GATE_OPEN},
        [PLAN_DO_LOCK] = {ORDER_NET_GATE, WIRE_GATE_QUARANTINE},
        [PLAN_DO_STEER] = {ORDER_NET_STEER, WIRE_GATE_NONE},
        [PLAN_DO_CUT] = {ORDER_NET_CUT, WIRE_GATE_NONE},
        [PLAN_DO_FLOWS] = {ORDER_NET_FLOWS, WIRE_GATE_NONE},
        [PLAN_DO_CREATE] = {ORDER_VM_CREATE, WIRE_GATE_NONE},
        [PLAN_DO_UNCAP] = {ORDER_VM_UNCAP, WIRE_GATE_NONE},
        [PLAN_DO_SUSPEND] = {ORDER_VM_SUSPEND, WIRE_GATE_NONE},
        [PLAN_DO_RESUME] = {ORDER_VM_RESUME, WIRE_GATE_NONE},
        [PLAN_DO_LINK_DOWN] = {ORDER_VM_LINK, WIRE_GATE_NONE},
        [PLAN_DO_RECORD] = {ORDER_VM_EVIDENCE, WIRE_GATE_NONE},
        [PLAN_DO_DESTROY] = {ORDER_VM_DESTROY, WIRE_GATE_NONE},
        [PLAN_DO_ROLLBACK] = {ORDER_VAULT_ROLLBACK, WIRE_GATE_NONE},
        [PLAN_DO_RESET] = {ORDER_VM_RESET, WIRE_GATE_NONE},
        [PLAN_DO_CAP] = {ORDER_VM_CAP, WIRE_GATE_NONE},
        /* PLAN_DO_RESTART and PLAN_DO_STOP_SERVICE go to the guest's agent: agents.c */
        [PLAN_DO_REVOKE] = {ORDER_VM_REVOKE, WIRE_GATE_NONE},
};

static int64_t us(uint32_t ms)
{
	return (int64_t)ms * 1000;
}

void service_init(struct engine_service *s, struct engine *e, uint32_t index)
{
	s->engine = e;
	s->index = index;
	s->conf = &e->conf.services[index];
	static_assert(CONF_LADDER_RESTART == 1u << PLAN_RUNG_RESTART && CONF_LADDER_REBOOT == 1u << PLAN_RUNG_REBOOT,
	              "the same bits");
	const struct conf_probe *probe = &s->conf->probe;
	plan_init(&s->plan,
	          &(struct plan_config){
	                  .standby = s->conf->standby,
	                  .spare = s->conf->spare,
	                  .interval_us = us(probe->interval_ms),
	                  .timeout_us = us(probe->timeout_ms),
	                  .failures = probe->failures,
	                  .window = probe->window,
	                  .boot_us = us(e->conf.boot_ms),
	                  .wake_us = 5000000,
	                  .drain_us = us(s->conf->drain_ms),
	                  .backoff_us = us(e->conf.rebuild_backoff_ms),
	                  .restart_us = 20000000,
	                  .ladder = s->conf->ladder,
	                  .quick_us = 3000000,
	                  .slow_us = 60000000,
	                  .back_us = 600000000,
	                  .rollback = s->conf->vault.path[0] && s->conf->vault.on_compromise == CONF_COMPROMISE_ROLLBACK,
	                  .evidence = e->conf.evidence_bytes > 0,
	                  .carry = s->conf->n_carry > 0,
	                  .secrets = s->conf->n_secrets > 0,
	                  .gives_way = probe->stall_ms > 0,
	                  .brake_falls = e->conf.brake_falls,
	                  .brake_within_us = us(e->conf.brake_within_ms),
	                  .brake_pause_us = us(e->conf.brake_pause_ms),
	                  .max_exposure_us = us(s->conf->max_exposure_ms),
	          });
	service_variants(s);
}

void service_variants(struct engine_service *s)
{
	const struct library *library = &s->engine->library;
	s->plan.n_variants = (uint32_t)s->conf->n_variants;
	s->plan.n_components = (uint32_t)library->n_components;
	for (size_t c = 0; c < library->n_components; c++)
		s->plan.layer[c] = (uint8_t)library->components[c].layer;
	for (size_t v = 0; v < s->conf->n_variants; v++) {
		const struct library_variant *have = library_find(library, s->conf->variants[v]);
		struct plan_variant *to = &s->plan.variants[v];
		bool usable = library_is_usable(have);
		if (usable && !to->usable) /* what went wrong before was another image, or none */
			to->failures = 0, to->not_before_us = 0;
		to->usable = usable;
		to->buildable = have && have->buildable;
		if (have)
			memcpy(to->components, have->components, sizeof(have->components));
	}
	plan_components_changed(&s->plan);
}

struct engine_service *service_of_instance(struct engine *e, uint32_t number)
{
	for (size_t i = 0; i < e->n_services; i++)
		if (plan_find(&e->services[i].plan, number))
			return &e->services[i];
	return NULL;
}

/* --- orders */

struct intent_job {
	struct ledger_intent row;
	struct engine_service *service;
	struct wire_order order;
	uint32_t ticket;
};

static int intent_work(struct ledger *l, void *arg, struct err *err)
{
	struct intent_job *job = arg;
	job->row.number = 0;
	return ledger_intent_begin(l, &job->row, err);
}

struct outcome_job {
	uint64_t intent;
	int32_t status;
	char text[WIRE_TEXT_MAX];
};

static int outcome_work(struct ledger *l, void *arg, struct err *err)
{
	struct outcome_job *job = arg;
	return ledger_intent_end(l, job->intent, job->status, job->text, err);
}

static void write_outcome(struct engine *e, uint64_t intent, const struct wire_answer *answer)
{
	struct outcome_job *job = calloc(1, sizeof(*job));
	assert(job);
	job->intent = intent;
	job->status = answer->status;
	text_copy(job->text, sizeof(job->text), answer->text);
	journal_put(e->journal, outcome_work, NULL, job);
}

static void intent_done(void *arg, int status, const struct err *err)
{
	auto_free struct intent_job *job = arg;
	struct engine_service *s = job->service;
	struct plan_order order = {.ticket = job->ticket, .instance = job->order.instance};
	if (status == 0 && !plan_awaits(&s->plan, &order)) { /* something befell it meanwhile that has to be met otherwise */
		write_outcome(s->engine, job->row.number,
		              &(struct wire_answer){.status = -ECANCELED, .text = "not carried out: it was of no use any more"});
		return;
	}
	if (status == 0) {
		struct hands_cookie cookie = {s->index, job->ticket, job->row.number};
		hands_send(s->engine->hands, &job->order, &cookie);
		return;
	}
	log_error("engine.intent", "%s of instance %u is not carried out, because the ledger cannot record it: %s",
	          job->row.order, job->order.instance, err->text);
	struct plan_event event = {.type = PLAN_EV_ANSWER, .answer = {job->ticket, status}};
	service_step(s, &event);
}

/* Over all services: evidence is kept by incident. */
static uint64_t oldest_open_incident(const struct engine *e)
{
	uint64_t oldest = e->last_incident + 1;
	for (size_t s = 0; s < e->n_services; s++)
		for (size_t k = 0; k < PLAN_INCIDENTS_MAX; k++) {
			uint64_t number = e->services[s].plan.incidents[k].number;
			oldest = number && number < oldest ? number : oldest;
		}
	return oldest;
}

/* Since 1970. */
static int64_t first_evidence_us(const struct engine_service *s, uint64_t incident)
{
	int64_t ago_us = 0;
	for (size_t k = 0; k < PLAN_INCIDENTS_MAX; k++)
		if (s->plan.incidents[k].number == incident)
			ago_us = clock_monotonic_us() - s->plan.incidents[k].evidence_us;
	return clock_real_us() - ago_us;
}

static bool is_for_agent(enum plan_order_type type)
{
	return type == PLAN_DO_RESTART || type == PLAN_DO_STOP_SERVICE;
}

static void send_order(struct engine_service *s, const struct plan_order *order)
{
	if (is_for_agent(order->type)) {
		agents_order(service_instance(s, order->instance), order);
		return;
	}
	struct wire_order wire = {
	        .incident = order->incident,
	        .type = orders[order->type].type,
	        .service = s->index,
	        .instance = order->instance,
	        .victim = order->victim,
	        .variant = order->variant,
	        .gate = orders[order->type].gate,
	};
	if (wire.type == ORDER_VAULT_ROLLBACK)
		wire.before_us = first_evidence_us(s, order->incident);
	if (wire.type != ORDER_VM_CREATE)
		wire.variant = 0;
	if (wire.type == ORDER_VM_EVIDENCE)
		wire.closed_below = oldest_open_incident(s->engine);
	if (!plan_order_waits(order)) {
		struct hands_cookie cookie = {s->index, order->ticket, 0};
		hands_send(s->engine->hands, &wire, &cookie);
		return;
	}
	struct intent_job *job = calloc(1, sizeof(*job));
	assert(job);
	job->service = s;
	job->order = wire;
	job->ticket = order->ticket;
	job->row = (struct ledger_intent){
	        .service = s->index, .instance = order->instance, .variant = order->variant, .incident = order->incident};
	text_copy(job->row.order, sizeof(job->row.order), plan_order_name(order->type));
	journal_put(s->engine->journal, intent_work, intent_done, job);
}

struct engine_instance *service_instance(struct engine_service *s, uint32_t number)
{
	for (size_t k = 0; number && k < PLAN_INSTANCES_MAX; k++)
		if (s->instances[k].number == number)
			return &s->instances[k];
	return NULL;
}

void service_answer(struct engine_service *s, const struct hands_cookie *cookie, const struct wire_order *order,
                    const struct wire_answer *answer)
{
	if (cookie->intent)
		write_outcome(s->engine, cookie->intent, answer);
	struct engine_instance *i = service_instance(s, order->instance);
	if (answer->status < 0)
		log_warning("engine.order", "%s of instance %u: %s", order_type_name((enum order_type)order->type),
		            order->instance, answer->text);
	else if (order->type == ORDER_VM_CREATE && i) {
		memcpy(i->key, answer->key, sizeof(i->key));
		i->has_key = true;
		secrets_made(s->engine, order->instance);
	}
	if (answer->status == 0 && (order->type == ORDER_VM_REVOKE || order->type == ORDER_VM_DESTROY))
		secrets_revoked(s->engine, order->instance);
	if ((answer->status < 0 || order->type == ORDER_VM_EVIDENCE || order->type == ORDER_VM_REVOKE ||
	     order->type == ORDER_VAULT_ROLLBACK) &&
	    i)
		text_copy(i->detail, sizeof(i->detail), answer->text);
	if (answer->status == 0 && order->type == ORDER_VAULT_ROLLBACK)
		carry_changed(s, clock_monotonic_us());
	struct plan_event event = {.type = PLAN_EV_ANSWER, .answer = {cookie->ticket, answer->status}};
	service_step(s, &event);
}

/* --- the step */

struct number_job {
	struct engine *engine;
	uint32_t number;
};

static int number_work(struct ledger *l, void *arg, struct err *err)
{
	struct number_job *job = arg;
	return ledger_instance_number(l, &job->number, err);
}

/* A range of addresses is small: a number whose address a living instance still has is passed over. */
static bool number_clashes(const struct engine *e, uint32_t number)
{
	for (size_t s = 0; s < e->n_services; s++)
		for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++)
			if (e->services[s].plan.instances[k].number &&
			    conf_instances_clash(&e->conf, number, e->services[s].plan.instances[k].number))
				return true;
	return false;
}

static void number_done(void *arg, int status, const struct err *err)
{
	auto_free struct number_job *job = arg;
	struct engine *e = job->engine;
	e->number_coming = false;
	if (status == -EBADMSG) {
		log_error("engine.ledger", "%s: starting anew, which begins a fresh one", err->text);
		uv_stop(e->loop);
		return;
	}
	if (status < 0) {
		if (e->ledger_writable) /* else it was said, and is tried every second */
			log_error("engine.number", "no new instance can be numbered: %s", err->text);
		return; /* the pulse asks again */
	}
	if (e->fresh_number) /* this one only tried whether the ledger can be written again */
		return;
	if (number_clashes(e, job->number)) {
		engine_fetch_number(e);
		return;
	}
	e->fresh_number = job->number;
	for (size_t i = 0; i < e->n_services; i++) {
		struct plan_event event = {.type = PLAN_EV_TIME};
		service_step(&e->services[i], &event);
	}
}

void engine_fetch_number(struct engine *e)
{
	if ((e->fresh_number && e->ledger_writable) || e->number_coming || e->ledger_lost)
		return;
	e->number_coming = true;
	struct number_job *job = calloc(1, sizeof(*job));
	assert(job);
	job->engine = e;
	journal_put(e->journal, number_work, number_done, job);
}

/* One that is still starting has not been told of the order yet. */
static void late(struct engine *e, enum wire_role role)
{
	if (hands_ready(e->hands, role))
		hands_replace(e->hands, role);
}

static void one_step(struct engine_service *s, struct plan_event *event)
{
	struct engine *e = s->engine;
	event->now_us = clock_monotonic_us();
	event->fresh_number = e->fresh_number;
	event->fresh_incident = e->last_incident + 1;
	plan_step(&s->plan, event, &s->update);
	for (size_t k = 0; k < s->update.n_orders; k++) /* first of all: what is urgent leaves at once */
		if (!plan_order_waits(&s->update.orders[k]))
			send_order(s, &s->update.orders[k]);
	if (s->update.incident_used)
		e->last_incident++;
	journal_hold(e->journal); /* a victim's row without its incident's would be a fall that no story tells */
	follow_instances(s);      /* rows before intents: the journal keeps the order */
	follow_incidents(s, false);
	for (size_t k = 0; k < s->update.n_notes; k++)
		story_note(s, &s->update.notes[k]);
	follow_incidents(s, true);
	if (s->update.suspicion_changed)
		follow_suspicion(s);
	if (s->update.tries_changed)
		follow_tries(s);
	for (size_t k = 0; k < s->update.n_orders; k++)
		if (plan_order_waits(&s->update.orders[k]))
			send_order(s, &s->update.orders[k]);
	journal_release(e->journal);
	if (s->update.number_used) {
		e->fresh_number = 0;
		engine_fetch_number(e);
	}
	for (size_t k = 0; k < s->update.n_notes; k++) {
		const struct plan_note *note = &s->update.notes[k];
		if (note->step == PLAN_STEP_LATE && !is_for_agent(note->order))
			late(e, order_role(orders[note->order].type));
		if (note->step == PLAN_STEP_SERVICE_NOT_STOPPED)
			hold_refused(e, note->instance, note->status);
	}
}

void service_step(struct engine_service *s, struct plan_event *event)
{
	one_step(s, event);
	for (int n = 0; n < 8 && s->plan.again; n++)
		one_step(s, &(struct plan_event){.type = PLAN_EV_TIME});
	engine_arm(s->engine);
}

/* The hypervisor's word is the finding itself; the others' says more. */
void service_found(struct engine_service *s, const struct evidence *evidence, const char *detail)
{
	struct engine_instance *i = service_instance(s, evidence->instance);
	enum finding_class class = finding_class(evidence->finding);
	if (i) {
		struct engine_found *found = &i->found[evidence->finding];
		if (found->count++ == 0)
			found->first_us = evidence->time_us;
		found->last_us = evidence->time_us;
		found->vantage = evidence->vantage;
		text_copy(found->detail, sizeof(found->detail), detail);
		if (class == FINDING_CLASS_WEAK ||
		    (class != FINDING_CLASS_GOOD && class != FINDING_CLASS_UNKNOWN && evidence->vantage != VANTAGE_HYPERVISOR))
			text_copy(i->detail, sizeof(i->detail), detail);
	}
	if (class == FINDING_CLASS_DOUBT || class == FINDING_CLASS_LASTING)
		follow_ask_all(s); /* what it is, the answers of the others tell */
	struct plan_event event = {.type = PLAN_EV_EVIDENCE, .evidence = *evidence};
	service_step(s, &event);
}

void service_switch(struct engine_service *s, enum plan_refusal *ret_refusal, uint64_t *ret_incident)
{
	one_step(s, &(struct plan_event){.type = PLAN_EV_SWITCH});
	*ret_refusal = s->update.refusal;
	*ret_incident = s->update.switch_incident;
	engine_arm(s->engine);
}

enum plan_refusal service_hold(struct engine_service *s, uint32_t number, enum plan_hold hold)
{
	one_step(s, &(struct plan_event){.type = PLAN_EV_HOLD, .hold = {number, hold}});
	enum plan_refusal refusal = s->update.refusal;
	engine_arm(s->engine);
	return refusal;
}

/* --- all plans */

static void on_timer(uv_timer_t *timer)
{
	struct engine *e = timer->data;
	for (size_t i = 0; i < e->n_services; i++) {
		struct plan_event event = {.type = PLAN_EV_TIME};
		service_step(&e->services[i], &event);
	}
}

void engine_arm(struct engine *e)
{
	int64_t deadline_us = PLAN_NEVER, now_us = clock_monotonic_us();
	for (size_t i = 0; i < e->n_services; i++) {
		int64_t one_us = plan_deadline(&e->services[i].plan);
		deadline_us = one_us < deadline_us ? one_us : deadline_us;
	}
	uv_timer_stop(&e->timer);
	if (deadline_us == PLAN_NEVER)
		return;
	int64_t wait_ms = deadline_us <= now_us ? 0 : (deadline_us - now_us + 999) / 1000;
	uv_timer_start(&e->timer, on_timer, (uint64_t)wait_ms, 0);
}

void engine_tell_all(struct engine *e, enum plan_event_type type, bool flag)
{
	for (size_t i = 0; i < e->n_services; i++) {
		struct plan_event event = {.type = type, .flag = flag};
		service_step(&e->services[i], &event);
	}
}
