/*
 * Orders, checked again and answered with what was read back. The engine may have been taken over: an order that this
 * configuration does not know, or that would open a fenced guest by the back door of a switch, is refused.
 */
#include "act/net/contain.h"
#include "act/net/net.h"
#include "act/net/state.h"
#include "lib/bytes.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

static void say(struct wire_answer *answer, const char *format, ...) printf_like(2, 3);
static void say(struct wire_answer *answer, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vsnprintf(answer->text, sizeof(answer->text), format, args);
	va_end(args);
}

static int need_instance(const struct wire_order *order, struct err *err)
{
	return order->instance > 0 ? 0 : err_set(err, -EINVAL, "the order names no instance");
}

static int need_service(const struct net *net, const struct wire_order *order, struct err *err)
{
	return order->service < net->conf.n_services ? 0 : err_set(err, -EINVAL, "there is no service %u", order->service);
}

static int need_tap(const struct state *state, uint32_t number, struct err *err)
{
	return state_tap(state, number) ? 0 : err_set(err, -ENOENT, "kb%u has no tap", number);
}

static const char *gate_text(const struct state *state, uint32_t number)
{
	const struct state_tap *tap = state_tap(state, number);
	return wire_gate_name(tap ? tap->gate : WIRE_GATE_NONE);
}

static int do_observe(struct net *net, const struct wire_order *order unused_arg, struct wire_answer *answer, struct err *err)
{
	struct state state;
	int r = state_read(net, &state, err);
	if (r < 0)
		return r;
	size_t n_mixed = 0;
	for (size_t i = 0; i < net->conf.n_services; i++) {
		bool mixed;
		answer->target[i] = state_target(&state, &net->conf, i, &mixed);
		n_mixed += mixed;
	}
	for (size_t i = 0; i < state.n_taps && answer->n_observed < WIRE_INSTANCES_MAX; i++)
		answer->observed[answer->n_observed++] = (struct wire_observed_instance){.instance = state.taps[i].number,
		                                                                         .service = UINT32_MAX,
		                                                                         .variant = UINT32_MAX,
		                                                                         .gate = state.taps[i].gate};
	say(answer, "%zu taps%s%s", state.n_taps, state.n_taps > WIRE_INSTANCES_MAX ? ", more than can be told" : "",
	    n_mixed > 0 ? ", a service's ports point at different guests" : "");
	return 0;
}

static int need_no_clash(struct net *net, const struct state *state, uint32_t number, struct err *err)
{
	for (size_t i = 0; i < state->n_taps; i++)
		if (state->taps[i].number != number && conf_instances_clash(&net->conf, state->taps[i].number, number))
			return err_set(err, -EADDRINUSE, "kb%u would have the addresses of kb%u, which is still there", number,
			               state->taps[i].number);
	return 0;
}

static int do_tap_add(struct net *net, const struct wire_order *order, struct wire_answer *answer, struct err *err)
{
	struct conf_instance instance;
	struct state state;
	int r = need_instance(order, err);
	if (r == 0)
		r = need_service(net, order, err);
	if (r == 0)
		r = state_read(net, &state, err);
	if (r < 0)
		return r;
	bool there = state_tap(&state, order->instance);
	if (!there && state.n_taps >= WIRE_INSTANCES_MAX)
		return err_set(err, -ENOSPC, "there are %zu taps already, no more are allowed", state.n_taps);
	r = need_no_clash(net, &state, order->instance, err);
	if (r < 0)
		return r;
	conf_instance(&net->conf, order->instance, &instance);
	if (!there) /* a gate that an earlier tap of this name left */
		r = steer_gate(net, order->instance, WIRE_GATE_QUARANTINE, err);
	if (r == 0)
		r = tap_add(net, &instance, order->service, err);
	if (r == 0)
		r = state_read(net, &state, err);
	if (r == 0)
		r = need_tap(&state, order->instance, err);
	if (r == 0)
		say(answer, "tap %s is there, its gate is %s", instance.tap, gate_text(&state, order->instance));
	return r;
}

static int do_tap_del(struct net *net, const struct wire_order *order, struct wire_answer *answer, struct err *err)
{
	struct conf_instance instance;
	struct state state;
	int r = need_instance(order, err);
	if (r < 0)
		return r;
	conf_instance(&net->conf, order->instance, &instance);
	r = tap_del(net, &instance, err);
	if (r == 0)
		r = conntrack_cut(net, &instance, err);
	if (r == 0)
		r = state_read(net, &state, err);
	if (r == 0 && state_tap(&state, order->instance))
		r = err_set(err, -EBUSY, "tap %s is still there", instance.tap);
	if (r == 0)
		say(answer, "tap %s is gone, its flows are cut", instance.tap);
	return r;
}

/* Who was there learns of it at once; `helped`: there is somebody else to go to. */
static int flows_end(struct net *net, uint32_t instance, bool kept, bool helped, struct rescue_counts *counts, struct err *err)
{
	struct rescue_cut cut;
	rescue_cut_begin(net, instance, &cut);
	cut.helped = cut.helped && helped;
	int r = conntrack_seize(net, &cut.guest, kept, &(struct conntrack_seen){rescue_cut_saw, &cut}, err);
	if (r < 0)
		return r;
	counts->again += rescue_cut_end(&cut);
	counts->told += cut.told;
	return 0;
}

static const char *counts_text(const struct rescue_counts *counts, char ret_text[static 80])
{
	ret_text[0] = '\0';
	if (counts->again + counts->told > 0)
		snprintf(ret_text, 80, "; openings sent again: %u, clients told: %u", counts->again, counts->told);
	return ret_text;
}

static int do_gate(struct net *net, const struct wire_order *order, struct wire_answer *answer, struct err *err)
{
	struct state state;
	int r = need_instance(order, err);
	if (r == 0 && (order->gate == WIRE_GATE_NONE || order->gate >= WIRE_GATE_MAX_))
		r = err_set(err, -EINVAL, "gate %u is none that can be set", order->gate);
	if (r == 0)
		r = state_read(net, &state, err);
	if (r == 0)
		r = need_tap(&state, order->instance, err);
	if (r == 0)
		r = steer_gate(net, order->instance, (enum wire_gate)order->gate, err);
	struct rescue_counts counts = {0};
	bool fell = order->gate == WIRE_GATE_FENCED;
	if (r == 0 && fell)
		r = flows_end(net, order->instance, true, true, &counts, err);
	if (r == 0)
		r = state_read(net, &state, err);
	if (r < 0)
		return r;
	const struct state_tap *tap = state_tap(&state, order->instance);
	if (!tap || tap->gate != (enum wire_gate)order->gate)
		return err_set(err, -EIO, "kb%u's gate reads back as %s", order->instance, gate_text(&state, order->instance));
	char helped[80];
	say(answer, "kb%u's gate is %s%s%s", order->instance, gate_text(&state, order->instance),
	    fell ? ", its flows are cut" : "", counts_text(&counts, helped));
	return 0;
}

static int steer_check(struct net *net, const struct wire_order *order, struct state *ret_state, struct err *err)
{
	if (need_service(net, order, err) < 0)
		return -EINVAL;
	if (order->instance > 0 && order->instance == order->victim)
		return err_set(err, -EINVAL, "kb%u cannot be victim and successor at once", order->victim);
	int r = state_read(net, ret_state, err);
	if (r == 0 && order->instance > 0)
		r = need_tap(ret_state, order->instance, err);
	if (r == 0 && order->instance > 0 && state_tap(ret_state, order->instance)->gate == WIRE_GATE_FENCED)
		r = err_set(err, -EPERM, "kb%u is fenced: set its gate before a service points at it", order->instance);
	return r;
}

static int steer_proven(struct net *net, const struct wire_order *order, struct err *err)
{
	struct state state;
	bool mixed;
	int r = state_read(net, &state, err);
	if (r < 0)
		return r;
	uint32_t target = state_target(&state, &net->conf, order->service, &mixed);
	const struct state_tap *victim = order->victim > 0 ? state_tap(&state, order->victim) : NULL;
	if (target != order->instance || mixed)
		return err_set(err, -EIO, "service %s reads back as pointing at kb%u%s", net->conf.services[order->service].name,
		               target, mixed ? " in part" : "");
	if (victim && victim->gate != WIRE_GATE_FENCED)
		return err_set(err, -EIO, "kb%u's gate reads back as %s", order->victim, wire_gate_name(victim->gate));
	return 0;
}

/* The map has moved and nobody comes to the old one any more: now who was there, if it fell, and who was lost on the way. */
static int left_behind(struct net *net, const struct rescue_move *move, bool fell, const struct state *before,
                       struct rescue_counts *counts, struct err *err)
{
	const struct state_tap *tap = state_tap(before, move->from);
	bool lost = move->from > 0 && (!tap || !tap->up);
	if (lost)
		rescue_lost(net, move, counts);
	int r = fell ? flows_end(net, move->from, true, move->to > 0, counts, err) : 0;
	return r == 0 && lost ? conntrack_cut_lost(net, err) : r;
}

static int do_steer(struct net *net, const struct wire_order *order, struct wire_answer *answer, struct err *err)
{
	struct state before;
	bool mixed;
	struct steer steer = {.service = order->service, .instance = order->instance, .victim = order->victim, .state = &before};
	struct rescue_counts counts = {0};
	int r = steer_check(net, order, &before, err);
	if (r == 0)
		r = steer_move(net, &steer, err);
	if (r < 0)
		return r;
	struct rescue_move move = {.service = order->service, .from = order->victim, .to = order->instance};
	if (order->victim == 0)
		move.from = state_target(&before, &net->conf, order->service, &mixed);
	rescue_moved(net, &move, &counts);
	r = left_behind(net, &move, order->victim > 0, &before, &counts, err);
	if (r == 0)
		r = steer_proven(net, order, err);
	if (r < 0)
		return r;
	char to[24] = "nowhere", fenced[64] = "", helped[80];
	if (order->instance > 0)
		snprintf(to, sizeof(to), "at kb%u", order->instance);
	if (order->victim > 0)
		snprintf(fenced, sizeof(fenced), ", kb%u is fenced and its flows are cut", order->victim);
	say(answer, "%s points %s%s%s", net->conf.services[order->service].name, to, fenced, counts_text(&counts, helped));
	return 0;
}

static int do_cut(struct net *net, const struct wire_order *order, struct wire_answer *answer, struct err *err)
{
	struct rescue_counts counts = {0};
	char helped[80];
	int r = need_instance(order, err);
	if (r == 0)
		r = flows_end(net, order->instance, false, true, &counts, err);
	if (r == 0)
		say(answer, "the flows of kb%u are cut%s", order->instance, counts_text(&counts, helped));
	return r;
}

static int do_flows(struct net *net, const struct wire_order *order, struct wire_answer *answer, struct err *err)
{
	struct conf_instance instance;
	size_t flows = 0;
	int r = need_instance(order, err);
	if (r == 0 && order->incident == 0)
		r = err_set(err, -EINVAL, "the order names no incident");
	if (r < 0)
		return r;
	conf_instance(&net->conf, order->instance, &instance);
	r = evidence_flows(net, order->incident, &instance, &flows, err);
	if (r == 0)
		say(answer, "%zu flows of kb%u written", flows, order->instance);
	return r;
}

typedef int order_hand(struct net *net, const struct wire_order *order, struct wire_answer *answer, struct err *err);

static order_hand *const hands[ORDER_TYPE_MAX_] = {
        [ORDER_NET_OBSERVE] = do_observe, [ORDER_NET_TAP_ADD] = do_tap_add, [ORDER_NET_TAP_DEL] = do_tap_del,
        [ORDER_NET_GATE] = do_gate,       [ORDER_NET_STEER] = do_steer,     [ORDER_NET_CUT] = do_cut,
        [ORDER_NET_FLOWS] = do_flows,     [ORDER_NET_CONTAIN] = contain_do,
};

void order_do(struct net *net, const struct wire_order *order, struct wire_answer *ret_answer)
{
	int64_t start_us = clock_monotonic_us();
	struct err err = {0};
	*ret_answer = (struct wire_answer){.id = order->id};
	order_hand *hand = order->type < ORDER_TYPE_MAX_ ? hands[order->type] : NULL;
	int r = hand ? hand(net, order, ret_answer, &err) : err_set(&err, -EOPNOTSUPP, "the net actuator knows no such order");
	if (r < 0) {
		ret_answer->status = r;
		memset(ret_answer->text, 0, sizeof(ret_answer->text)); /* nothing may stand behind its end */
		text_copy(ret_answer->text, sizeof(ret_answer->text), err.text);
	}
	ret_answer->took_us = (uint32_t)(clock_monotonic_us() - start_us);
}
