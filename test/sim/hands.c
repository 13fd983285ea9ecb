/*
 * Orders on their way. koboshi-net carries out one order after the other; koboshi-vm one after the other for each
 * instance. A killed actuator may have carried out what it was at, or not; what waited is not carried out; the engine is
 * told at once that the link is broken. An engine that crashes leaves orders behind that may still be carried out.
 */
#include "sim.h"

#include <errno.h>

enum sim_hand sim_hand_of(enum plan_order_type type)
{
	return type == PLAN_DO_TAP_ADD || type == PLAN_DO_TAP_DEL || type == PLAN_DO_FENCE || type == PLAN_DO_OPEN ||
	                       type == PLAN_DO_LOCK || type == PLAN_DO_STEER || type == PLAN_DO_CUT || type == PLAN_DO_FLOWS
	               ? SIM_NET
	               : SIM_VM;
}

static int64_t takes_us(struct sim *s, enum plan_order_type type)
{
	if (type == PLAN_DO_CREATE)
		return sim_spread(s, 300000, 600000);
	if (type == PLAN_DO_DESTROY)
		return sim_spread(s, 1000000, 2000000);
	if (type == PLAN_DO_ROLLBACK)
		return sim_spread(s, 500000, 3000000);
	if (type == PLAN_DO_RECORD)
		return sim_spread(s, 200000, 800000);
	return sim_spread(s, 2000, 8000);
}

static enum sim_fate fate_of(struct sim *s, enum plan_order_type type)
{
	enum sim_fate fate = s->next_fate[type];
	s->next_fate[type] = SIM_DONE;
	if (fate != SIM_DONE)
		return fate;
	const uint32_t odds[SIM_FATE_MAX_] = {0,
	                                      s->odds.refused,
	                                      s->odds.false_refusal,
	                                      s->odds.lost,
	                                      s->odds.hung,
	                                      s->odds.slow,
	                                      s->odds.tardy,
	                                      s->odds.twice};
	if (type == PLAN_DO_RESTART ||
	    type == PLAN_DO_STOP_SERVICE) /* the engine's own: it says no by itself when nothing comes */
		return sim_chance(s, s->odds.refused + s->odds.lost) ? SIM_REFUSED : SIM_DONE;
	uint32_t roll = sim_random(s, 10000);
	for (int f = SIM_REFUSED; f < SIM_FATE_MAX_; f++) {
		if (roll < odds[f])
			return (enum sim_fate)f;
		roll -= odds[f];
	}
	return SIM_DONE;
}

static struct sim_flight *flight_new(struct sim *s)
{
	for (size_t k = 0; k < SIM_FLIGHTS_MAX; k++)
		if (!s->flights[k].used)
			return &s->flights[k];
	sim_fail(s, "more than %d orders are under way", SIM_FLIGHTS_MAX);
	return &s->flights[0];
}

void sim_send(struct sim *s, const struct plan_order *order, uint32_t intent)
{
	if (s->dying)
		return;
	struct sim_flight *f = flight_new(s);
	enum sim_hand hand = sim_hand_of(order->type);
	*f = (struct sim_flight){.used = true,
	                         .kept = true,
	                         .id = ++s->last_flight,
	                         .engine_life = s->engine_life,
	                         .intent = intent,
	                         .order = *order,
	                         .hand = hand};
	if (!s->hand_up[hand]) {
		sim_at(s, s->now_us, SIM_EV_BROKEN, hand, 0);
		return;
	}
	f->fate = fate_of(s, order->type);
	int64_t *busy_us = hand == SIM_NET ? &s->net_busy_us : &sim_guest(s, order->instance)->busy_until_us;
	int64_t start_us = *busy_us > s->now_us ? *busy_us : s->now_us;
	f->execute_us = start_us + takes_us(s, order->type);
	if (f->fate == SIM_SLOW)
		f->execute_us += s->config.quick_us + sim_spread(s, 0, s->config.quick_us);
	if (f->fate == SIM_TARDY)
		f->execute_us += s->config.quick_us / 4 + sim_spread(s, 0, s->config.quick_us / 2);
	*busy_us = f->execute_us;
	if (f->fate == SIM_HUNG)
		s->hand_hung[hand] = true;
	if (!s->hand_hung[hand])
		sim_at(s, f->execute_us, SIM_EV_EXECUTE, (uint32_t)(f - s->flights), f->id);
	sim_point(s, SIM_POINT_SENT);
}

static void answer(struct sim *s, const struct sim_flight *f, int32_t status, int64_t delay_us)
{
	struct sim_moment *m = sim_at(s, s->now_us + delay_us, SIM_EV_ANSWER, f->order.ticket, f->engine_life);
	m->status = status;
	m->evidence.instance = f->order.instance;
	m->evidence.began_us = f->intent;
	m->evidence.finding = (enum finding)f->order.type; /* which order it was, for the engine's book-keeping */
}

static void carry_out(struct sim *s, struct sim_flight *f)
{
	int32_t status = f->fate == SIM_REFUSED ? -EIO : sim_execute(s, &f->order);
	f->executed = true;
	sim_point(s, SIM_POINT_DONE);
	if (!s->hand_up[f->hand])
		return; /* its link is broken: that is the answer */
	if (f->fate == SIM_FALSE_REFUSAL)
		status = -EIO;
	if (f->fate == SIM_LOST && f->kept)
		return; /* the engine waits on; the link's end answers it at last */
	if (f->kept)
		answer(s, f, status, sim_spread(s, 100, 2000));
	if (f->kept && f->fate == SIM_TWICE)
		answer(s, f, status, sim_spread(s, 3000, 5000000));
	f->used = false;
}

static void broken(struct sim *s, enum sim_hand hand)
{
	for (size_t k = 0; k < SIM_FLIGHTS_MAX; k++) {
		struct sim_flight *f = &s->flights[k];
		if (!f->used || f->hand != hand || s->hand_up[hand])
			continue;
		if (f->kept)
			answer(s, f, -EPIPE, 0);
		f->used = false;
	}
}

/* Nothing older stands before it: what an actuator is at, while the rest waits in its socket. */
static bool is_first(const struct sim *s, const struct sim_flight *f)
{
	if (!f->used || f->executed)
		return false;
	for (size_t k = 0; k < SIM_FLIGHTS_MAX; k++) {
		const struct sim_flight *o = &s->flights[k];
		bool same_queue = o->hand == f->hand && (f->hand == SIM_NET || o->order.instance == f->order.instance);
		if (o->used && !o->executed && same_queue && o->id < f->id)
			return false;
	}
	return true;
}

static bool begun(const struct sim *s, const struct sim_flight *f)
{
	return is_first(s, f) && f->fate != SIM_REFUSED && (f->hand == SIM_VM || f->execute_us < s->now_us + 10000);
}

void sim_kill_hand(struct sim *s, enum sim_hand hand)
{
	if (!s->hand_up[hand])
		return;
	sim_log(s, "koboshi-%s is killed", hand == SIM_NET ? "net" : "vm");
	bool at_work[SIM_FLIGHTS_MAX] = {false};
	for (size_t k = 0; k < SIM_FLIGHTS_MAX; k++)
		at_work[k] = s->flights[k].hand == hand && begun(s, &s->flights[k]);
	for (size_t k = 0; k < SIM_FLIGHTS_MAX; k++)
		if (at_work[k] && sim_takes_effect(s, hand)) {
			(void)sim_execute(s, &s->flights[k].order);
			s->flights[k].executed = true;
		}
	for (uint32_t n = 0; n < s->n_numbers && hand == SIM_VM; n++)
		s->guests[n].busy_until_us = 0;
	if (hand == SIM_NET)
		s->net_busy_us = 0;
	s->hand_up[hand] = s->hand_hung[hand] = false;
	s->hand_replaced_us[hand] = s->now_us;
	sim_at(s, s->now_us, SIM_EV_BROKEN, hand, 0);
	sim_at(s, s->now_us + sim_spread(s, 50000, 300000), SIM_EV_HAND_UP, hand, 0);
}

/* Nothing outlives it but the ledger. */
void sim_reboot_host(struct sim *s)
{
	sim_log(s, "the host is rebooted");
	sim_crash(s, 1000000);
	sim_kill_hand(s, SIM_NET);
	sim_kill_hand(s, SIM_VM);
	for (size_t k = 0; k < SIM_FLIGHTS_MAX; k++)
		s->flights[k].used = false;
	for (uint32_t n = 0; n < s->n_numbers; n++) {
		s->guests[n].state = PLAN_GUEST_ABSENT;
		s->guests[n].gate = PLAN_GATE_NONE;
		s->guests[n].capped = false;
	}
	s->target = 0;
	s->n_bygone = s->n_numbers;
}

/* koboshi-net reads on until the socket's end: the first so many orders are carried out, in their order, the rest not. So does
 * koboshi-vm, where that is wanted at once. */
static void reads_on(struct sim *s, enum sim_hand hand)
{
	for (bool reads = true;;) {
		struct sim_flight *f = NULL;
		for (size_t k = 0; k < SIM_FLIGHTS_MAX && !f; k++)
			if (s->flights[k].hand == hand && is_first(s, &s->flights[k]) && s->flights[k].fate != SIM_HUNG)
				f = &s->flights[k];
		if (!f)
			return; /* none left, or one hangs and the others wait behind it */
		reads = reads && s->hand_up[hand] && sim_takes_effect(s, hand);
		if (reads)
			(void)sim_execute(s, &f->order);
		f->used = false;
	}
}

/* Of an engine before this one, and nothing that takes long: a new one is told how things stand behind it. */
bool sim_vm_is_at_something(const struct sim *s)
{
	for (size_t k = 0; k < SIM_FLIGHTS_MAX; k++) {
		const struct sim_flight *f = &s->flights[k];
		bool slow = f->order.type == PLAN_DO_CREATE || f->order.type == PLAN_DO_DESTROY ||
		            f->order.type == PLAN_DO_RECORD || f->order.type == PLAN_DO_ROLLBACK;
		if (f->used && !f->executed && !slow && f->hand == SIM_VM && f->engine_life != s->engine_life)
			return true;
	}
	return false;
}

static bool vm_goes_on(struct sim *s)
{
	if (s->kill.effect[SIM_VM] == SIM_EFFECT_CHANCE)
		return !sim_chance(s, 3333);
	if (s->kill.effect[SIM_VM] == SIM_EFFECT_ALL)
		reads_on(s, SIM_VM);
	return s->hand_up[SIM_VM] && s->kill.effect[SIM_VM] == SIM_EFFECT_LATER;
}

/* What the engine had asked for is carried out, or not, or (a guest's slow order that runs already) only later. */
void sim_hands_engine_gone(struct sim *s)
{
	for (size_t k = 0; k < SIM_FLIGHTS_MAX; k++) {
		struct sim_flight *f = &s->flights[k];
		f->kept = false;
		if (f->executed || (f->hand == SIM_VM && !vm_goes_on(s)))
			f->used = false;
	}
	reads_on(s, SIM_NET);
	s->net_busy_us = 0;
}

void sim_hand_event(struct sim *s, const struct sim_moment *m)
{
	if (m->what == SIM_EV_BROKEN) {
		broken(s, (enum sim_hand)m->a);
	} else if (m->what == SIM_EV_HAND_UP) {
		broken(s, (enum sim_hand)m->a);
		s->hand_up[m->a] = true;
	} else {
		struct sim_flight *f = &s->flights[m->a];
		if (f->used && f->id == m->b && !f->executed && !s->hand_hung[f->hand])
			carry_out(s, f);
	}
}
