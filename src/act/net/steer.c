/*
 * Decisions about the map and the gates. Each reads the kernel first and writes the difference as one transaction, so
 * that the victim is cut off in the very step in which the next instance takes over. A transaction that finds the
 * kernel otherwise than just read (somebody else's hand) is made once more from a fresh read.
 */
#include "act/net/batch.h"
#include "act/net/state.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#define T "inet koboshi "

static void element_write(FILE *out, const char *verb, const struct state_steer *steer, bool with_guest)
{
	char service[INET6_ADDRSTRLEN], guest[INET6_ADDRSTRLEN];
	inet_ntop(steer->family, &steer->service, service, sizeof(service));
	inet_ntop(steer->family, &steer->guest, guest, sizeof(guest));
	fprintf(out, "%s element " T "steer%c { %s . %s . %u%s%s }\n", verb, steer->family == AF_INET ? '4' : '6', service,
	        steer->protocol == IPPROTO_TCP ? "tcp" : "udp", steer->port, with_guest ? " : " : "", with_guest ? guest : "");
}

/* Services may share an address, but no port of it. */
static bool of_service(const struct conf_service *service, const struct state_steer *steer)
{
	bool its_port = false;
	for (size_t i = 0; i < service->n_ports && !its_port; i++)
		its_port = service->ports[i].port == steer->port && service->ports[i].protocol == steer->protocol;
	if (!its_port)
		return false;
	if (steer->family == AF_INET)
		return service->has_address4 && memcmp(&steer->service.four, &service->address4, 4) == 0;
	return service->has_address6 && memcmp(&steer->service.six, &service->address6, 16) == 0;
}

typedef void steer_seen(void *arg, const struct state_steer *steer);

/* Every element that the service has while it points at `to`. */
static void elements_of(const struct conf_service *service, const struct conf_instance *to, steer_seen *seen, void *arg)
{
	for (size_t i = 0; i < service->n_ports; i++) {
		struct state_steer steer = {
		        .family = AF_INET, .protocol = service->ports[i].protocol, .port = service->ports[i].port};
		if (service->has_address4) {
			steer.service.four = service->address4;
			steer.guest.four = to->address4;
			seen(arg, &steer);
		}
		steer.family = AF_INET6;
		if (service->has_address6) {
			steer.service.six = service->address6;
			steer.guest.six = to->address6;
			seen(arg, &steer);
		}
	}
}

static void write_one(void *arg, const struct state_steer *steer)
{
	element_write(arg, "add", steer, true);
}

static void put_one(void *arg, const struct state_steer *steer)
{
	batch_steer(arg, true, steer);
}

static int again(struct net *net, int (*once)(struct net *, const void *, struct err *), const void *arg, struct err *err)
{
	int r = once(net, arg, err);
	if (r == -ENOENT || r == -EEXIST)
		r = once(net, arg, err);
	return r;
}

static int move_from(struct net *net, const struct steer *steer, const struct state *state, struct err *err)
{
	const struct conf_service *service = &net->conf.services[steer->service];
	struct batch batch;
	struct conf_instance instance;
	batch_begin(&batch);
	for (size_t i = 0; i < state->n_steer; i++)
		if (of_service(service, &state->steer[i]))
			batch_steer(&batch, false, &state->steer[i]);
	if (steer->victim > 0) {
		conf_instance(&net->conf, steer->victim, &instance);
		batch_gate(&batch, instance.tap, WIRE_GATE_FENCED);
	}
	if (steer->instance > 0) {
		conf_instance(&net->conf, steer->instance, &instance);
		elements_of(service, &instance, put_one, &batch);
		batch_gate(&batch, instance.tap, WIRE_GATE_OPEN);
	}
	return batch_commit(&batch, net, err);
}

int steer_move(struct net *net, const struct steer *steer, struct err *err)
{
	int r = move_from(net, steer, steer->state, err);
	if (r != -ENOENT && r != -EEXIST)
		return r;
	struct state state;
	r = state_read(net, &state, err);
	return r == 0 ? move_from(net, steer, &state, err) : r;
}

int steer_gate(struct net *net, uint32_t number, enum wire_gate gate, struct err *err)
{
	struct batch batch;
	struct conf_instance instance;
	conf_instance(&net->conf, number, &instance);
	batch_begin(&batch);
	batch_gate(&batch, instance.tap, gate);
	return batch_commit(&batch, net, err);
}

/* What the configuration no longer knows leaves the map; a port that it newly knows gets its service's target. */
static void map_align(FILE *out, const struct conf *conf, const struct state *state)
{
	for (size_t i = 0; i < state->n_steer; i++)
		element_write(out, "delete", &state->steer[i], false);
	for (size_t i = 0; i < conf->n_services; i++) {
		bool mixed;
		uint32_t target = state_target(state, conf, i, &mixed);
		struct conf_instance instance;
		if (target == 0)
			continue;
		conf_instance(conf, target, &instance);
		elements_of(&conf->services[i], &instance, write_one, out);
	}
}

static bool map_differs(const struct conf *conf, const struct state *state)
{
	size_t wanted = 0;
	for (size_t i = 0; i < conf->n_services; i++) {
		const struct conf_service *service = &conf->services[i];
		bool mixed;
		if (state_target(state, conf, i, &mixed) > 0)
			wanted += service->n_ports * (service->has_address4 + service->has_address6);
		if (mixed)
			return true;
	}
	return wanted != state->n_steer;
}

static int load_once(struct net *net, const void *arg unused_arg, struct err *err)
{
	struct state state;
	int r = state_read(net, &state, err);
	if (r < 0)
		return r;
	struct ruleset_text text;
	ruleset_text_init(&text);
	const struct ruleset_base base = ruleset_base_of(net);
	ruleset_base(text.out, &base);
	profile_rules(text.out, net);
	names_clean(text.out, net);
	names_rules(text.out, net);
	if (map_differs(&net->conf, &state))
		map_align(text.out, &net->conf, &state);
	for (size_t i = 0; i < state.n_taps; i++) {
		struct conf_instance instance;
		conf_instance(&net->conf, state.taps[i].number, &instance);
		ruleset_tap(text.out, net, &instance, state.taps[i].service);
	}
	r = transact(ruleset_text_end(&text), err);
	ruleset_text_done(&text);
	return r;
}

int steer_load(struct net *net, struct err *err)
{
	return again(net, load_once, NULL, err);
}

int steer_restore(struct net *net, const struct guard_wanted *wanted, struct err *err)
{
	struct state state; /* a tap that went meanwhile has no place for a chain */
	struct conf_instance instance;
	int r = state_read(net, &state, err);
	if (r < 0)
		return r;
	struct ruleset_text text;
	ruleset_text_init(&text);
	fputs("add table inet koboshi\ndelete table inet koboshi\nadd table netdev koboshi\ndelete table netdev koboshi\n",
	      text.out);
	const struct ruleset_base base = ruleset_base_of(net);
	ruleset_base(text.out, &base);
	profile_lost(net);
	profile_rules(text.out, net);
	names_rules(text.out, net);
	for (size_t i = 0; i < wanted->n_taps; i++) {
		conf_instance(&net->conf, wanted->taps[i].number, &instance);
		if (state_tap(&state, wanted->taps[i].number))
			ruleset_tap(text.out, net, &instance, wanted->taps[i].service);
		ruleset_gate(text.out, instance.tap, wanted->taps[i].gate);
	}
	for (size_t i = 0; i < net->conf.n_services; i++) {
		if (wanted->target[i] == 0)
			continue;
		conf_instance(&net->conf, wanted->target[i], &instance);
		elements_of(&net->conf.services[i], &instance, write_one, text.out);
	}
	r = transact(ruleset_text_end(&text), err);
	ruleset_text_done(&text);
	return r;
}

static int forget_once(struct net *net, const void *arg, struct err *err)
{
	const struct conf_instance *instance = arg;
	struct state state;
	int r = state_read(net, &state, err);
	if (r < 0)
		return r;
	struct batch batch;
	batch_begin(&batch);
	for (size_t i = 0; i < state.n_steer; i++) {
		bool six = state.steer[i].family == AF_INET6;
		const void *address = six ? (const void *)&instance->address6 : (const void *)&instance->address4;
		if (memcmp(&state.steer[i].guest, address, six ? 16 : 4) == 0)
			batch_steer(&batch, false, &state.steer[i]);
	}
	batch_gate(&batch, instance->tap, WIRE_GATE_FENCED);
	return batch_commit(&batch, net, err);
}

int steer_forget(struct net *net, const struct conf_instance *instance, struct err *err)
{
	return again(net, forget_once, instance, err);
}
