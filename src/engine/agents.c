/*
 * The agents inside the guests: a connection to each one's port is asked for when there is none, and what it says goes to the
 * plan as any other finding. Whoever is killed, the rule is the same: an engine that has no connection asks; koboshi-vm makes one
 * and keeps nothing. An instance keeps one sense_channel for its whole life, so that a second hello is known as such.
 */
#include "engine/engine.h"

#include "lib/bytes.h"
#include "lib/log.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ASK_FIRST_US 1000000 /* after a failure; doubled with each */
#define ASK_MAX_US 32000000
#define ORDER_US 6000000 /* the agent gives the program 4 s; guests are slow */

static bool is_starting(enum plan_life life)
{
	return life == PLAN_LIFE_TAP || life == PLAN_LIFE_CREATE || life == PLAN_LIFE_BOOTING || life == PLAN_LIFE_UNCAPPING ||
	       life == PLAN_LIFE_REBOOTING;
}

/* There is a guest, and it is not being taken away, nor does it boot anew in a moment. */
static bool has_guest(enum plan_life life)
{
	return life != PLAN_LIFE_RESETTING && life >= PLAN_LIFE_BOOTING && life <= PLAN_LIFE_HELD;
}

static void on_report(void *arg, const struct evidence *evidence, const char *detail)
{
	struct engine_instance *i = arg;
	if (evidence->finding != FINDING_LISTENING && evidence->finding != FINDING_CONTRADICTED)
		log_warning("engine.agent", "%s: %s", i->address.name, detail);
	service_found(i->service, evidence, detail);
}

/* Of the image as it is signed now: koboshi-vm starts guests from that one, and an image that was built anew has another list.
 * Where it cannot be read any more, what was read at our start must do. */
static void list_of(const struct engine *e, const struct library_variant *v, uint8_t ret_list[static AGENT_HASH])
{
	char dir[2 * CONF_PATH_MAX];
	struct image *now = NULL;
	static_assert(sizeof(now->agent_list) == AGENT_HASH, "both are SHA-256");
	snprintf(dir, sizeof(dir), "%s/%s", e->conf.image_dir, v->name);
	bool fresh = image_open(dir, e->conf.image_key, &now, NULL) == 0 && now->has_agent;
	memcpy(ret_list, fresh ? now->agent_list : v->image->agent_list, AGENT_HASH);
	image_free(now);
}

void agents_came(struct engine_instance *i, bool starts)
{
	const struct engine_service *s = i->service;
	const struct library_variant *v =
	        i->variant < s->conf->n_variants ? library_find(&s->engine->library, s->conf->variants[i->variant]) : NULL;
	if (!v || !v->image || !v->image->has_agent)
		return;
	struct sense_channel_target target = {
	        .instance = i->number, .began_us = starts ? clock_monotonic_us() : 0, .failures = s->conf->probe.failures};
	list_of(s->engine, v, target.list);
	i->channel = sense_channel_new(s->engine->loop, &target, on_report, i);
}

void agents_gone(struct engine_instance *i)
{
	sense_channel_free(i->channel);
	i->channel = NULL;
	i->carried = 0; /* the next agent counts anew */
}

static void ask(struct engine_instance *i)
{
	struct engine *e = i->service->engine;
	int64_t now_us = clock_monotonic_us();
	if (i->channel_asked || now_us < i->channel_us || !has_guest(i->life) || sense_channel_connected(i->channel) ||
	    !hands_ready(e->hands, WIRE_VM))
		return;
	struct wire_order order = {.type = ORDER_VM_CHANNEL, .service = i->service->index, .instance = i->number};
	struct hands_cookie cookie = {.service = i->service->index};
	i->channel_asked = true;
	hands_send(e->hands, &order, &cookie);
}

/* A guest that is let boot anew has another agent, which gets another key: of the old one nothing more is heard, from before the
 * reset until behind it. */
static void follow_reset(struct engine_instance *i)
{
	if (i->life == PLAN_LIFE_RESETTING)
		agents_gone(i);
	if (i->life == PLAN_LIFE_REBOOTING && !i->channel)
		agents_came(i, true);
}

void agents_follow(struct engine_instance *i)
{
	follow_reset(i);
	if (!i->channel)
		return;
	sense_channel_starting(i->channel, is_starting(i->life));
	ask(i);
}

void agents_connected(struct engine *e, const struct wire_note *note, int fd)
{
	struct engine_service *s = service_of_instance(e, note->instance);
	struct engine_instance *i = s ? service_instance(s, note->instance) : NULL;
	static_assert(sizeof(note->key) == AGENT_KEY, "one key");
	if (i && i->channel)
		sense_channel_connect(i->channel, fd, note->key);
	else
		close(fd);
}

void agents_answered(struct engine *e, const struct wire_order *order, const struct wire_answer *answer)
{
	struct engine_service *s = service_of_instance(e, order->instance);
	struct engine_instance *i = s ? service_instance(s, order->instance) : NULL;
	if (!i)
		return;
	i->channel_asked = false;
	if (answer->status == 0) {
		i->channel_pause_us = 0;
		return;
	}
	if (i->channel_pause_us == 0)
		log_warning("engine.agent", "%s: its agent cannot be heard: %s", i->address.name, answer->text);
	i->channel_pause_us = i->channel_pause_us ? 2 * i->channel_pause_us : ASK_FIRST_US;
	i->channel_pause_us = i->channel_pause_us > ASK_MAX_US ? ASK_MAX_US : i->channel_pause_us;
	i->channel_us = clock_monotonic_us() + i->channel_pause_us;
}

void agents_probed(struct engine_instance *i, const struct evidence *evidence)
{
	enum finding_class class = finding_class(evidence->finding);
	if (i->channel && class != FINDING_CLASS_UNKNOWN && class != FINDING_CLASS_DOUBT)
		sense_channel_probed(i->channel, class == FINDING_CLASS_GOOD, evidence->time_us);
}

/* --- its service is restarted or stopped */

void agents_order(struct engine_instance *i, const struct plan_order *order)
{
	if (!i)
		return; /* the plan's deadline passes */
	bool stop = order->type == PLAN_DO_STOP_SERVICE;
	i->order.ticket = order->ticket;
	i->order.stops = stop;
	i->order.until_us = clock_monotonic_us() + ORDER_US;
	i->order.carried_out = i->channel ? sense_channel_watch(i->channel)->carried_out : 0;
	i->order.status = i->channel ? sense_channel_order(i->channel, stop ? AGENT_STOP : AGENT_RESTART) : -ENOTSUP;
}

bool agents_can_stop(const struct engine_instance *i)
{
	const struct agent_watch *w = i->channel ? sense_channel_watch(i->channel) : NULL;
	return w && (w->found || (w->abilities & AGENT_CAN_STOP)); /* of a found one nobody knows */
}

/* 1: nobody knows yet. */
static int order_status(const struct engine_instance *i)
{
	const struct agent_watch *w = i->channel ? sense_channel_watch(i->channel) : NULL;
	if (i->order.status < 0)
		return i->order.status;
	if (w && w->carried_out != i->order.carried_out)
		return w->order_status ? -EIO : 0;
	return clock_monotonic_us() < i->order.until_us ? 1 : -ETIMEDOUT;
}

static void order_look(struct engine_instance *i)
{
	int status = order_status(i);
	struct plan_event event = {.type = PLAN_EV_ANSWER, .answer = {i->order.ticket, status}};
	if (status > 0)
		return;
	if (status < 0)
		log_notice("engine.agent", "%s: its agent did not %s the service: %s", i->address.name,
		           i->order.stops ? "stop" : "restart", strerror(-status));
	i->order.ticket = 0;
	service_step(i->service, &event);
}

/* Its silence is its own: it runs, is asked, and we hear. */
static bool is_listened(const struct engine_instance *i)
{
	return !i->service->engine->blind && i->prober && !i->proving &&
	       (i->life == PLAN_LIFE_READY || i->life == PLAN_LIFE_DOOMED);
}

void agents_pulse(struct engine *e)
{
	for (size_t s = 0; s < e->n_services; s++)
		for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++) {
			struct engine_instance *i = &e->services[s].instances[k];
			if (i->channel)
				sense_channel_look(i->channel, is_listened(i), e->busy);
			if (i->channel) /* what was found may have ended it */
				ask(i);
			if (i->order.ticket)
				order_look(i);
		}
}
