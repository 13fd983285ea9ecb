/* Guests and the kernel's rules, and what an order does to them: idempotent, as the actuators are. */
#include "sim.h"

#include <errno.h>
#include <string.h>

struct sim_guest *sim_guest(struct sim *s, uint32_t number)
{
	if (number >= SIM_NUMBERS_MAX) {
		sim_fail(s, "instance number %u: something goes in circles", number);
		number = 0;
	}
	if (number >= s->n_numbers)
		s->n_numbers = number + 1;
	s->guests[number].number = number;
	return &s->guests[number];
}

bool sim_serves(const struct sim *s, uint32_t number)
{
	const struct sim_guest *g = &s->guests[number];
	return number && g->state == PLAN_GUEST_RUNNING && g->gate == PLAN_GATE_OPEN && !g->link_down && g->fault == SIM_FINE &&
	       s->now_us >= g->booted_us;
}

static int32_t steer(struct sim *s, const struct plan_order *order)
{
	struct sim_guest *to = sim_guest(s, order->instance);
	if (to->gate == PLAN_GATE_NONE)
		return -ENOENT;
	if (to->gate == PLAN_GATE_FENCED)
		return -EPERM;
	if (order->victim && sim_guest(s, order->victim)->gate != PLAN_GATE_NONE)
		sim_guest(s, order->victim)->gate = PLAN_GATE_FENCED;
	s->target = order->instance;
	to->gate = PLAN_GATE_OPEN;
	return 0;
}

static int32_t gate(struct sim_guest *g, enum plan_gate wanted)
{
	if (g->gate == PLAN_GATE_NONE)
		return -ENOENT;
	g->gate = wanted;
	return 0;
}

static int32_t create(struct sim *s, struct sim_guest *g, uint32_t variant)
{
	if (g->gate == PLAN_GATE_NONE)
		return -ENODEV;
	if (g->state != PLAN_GUEST_ABSENT)
		return -EEXIST;
	g->variant = variant;
	g->state = PLAN_GUEST_RUNNING;
	g->capped = g->created = true;
	g->booted_us = s->now_us + sim_spread(s, s->boot_us[variant], s->boot_us[variant] + 2000000);
	if (s->never_boots[variant]) {
		s->never_boots[variant]--;
		g->booted_us = PLAN_NEVER;
	}
	return 0;
}

/* Mostly that is a cure. */
static void restarts(struct sim *s, struct sim_guest *g, int64_t takes_us)
{
	if (g->fault != SIM_WRONG && !s->incurable && !sim_chance(s, 3000 * (s->odds.jitter ? 1 : 0)))
		g->fault = SIM_FINE;
	g->stopped = false;
	if (g->booted_us < s->now_us + takes_us)
		g->booted_us = s->now_us + takes_us + sim_spread(s, 0, 1000000);
}

static int32_t on_guest(struct sim *s, struct sim_guest *g, enum plan_order_type type)
{
	if (g->state == PLAN_GUEST_ABSENT)
		return -ENOENT;
	if (type == PLAN_DO_UNCAP) {
		g->capped = false;
	} else if (type == PLAN_DO_STOP_SERVICE && g->state == PLAN_GUEST_RUNNING) {
		g->stopped = g->wronged = true; /* a kill may leave nobody who knows that it was wanted */
	} else if (type == PLAN_DO_RESTART && g->state == PLAN_GUEST_RUNNING) {
		restarts(s, g, 1000000);
	} else if (type == PLAN_DO_RESET) {
		restarts(s, g, s->boot_us[g->variant]);
		g->state = PLAN_GUEST_RUNNING;
		g->capped = true;
		sim_notice(s, g->number, VANTAGE_HYPERVISOR, FINDING_RESET, 1000);
	} else if (type == PLAN_DO_CAP) {
		g->capped = true;
	} else if (type == PLAN_DO_LINK_DOWN) {
		g->link_down = true;
	} else if (type == PLAN_DO_RESUME && g->state == PLAN_GUEST_CRASHED) {
		return -EBUSY;
	} else if (type == PLAN_DO_RESUME) {
		g->state = PLAN_GUEST_RUNNING;
	} else if (type == PLAN_DO_SUSPEND && g->state == PLAN_GUEST_RUNNING) {
		g->state = PLAN_GUEST_PAUSED;
		sim_notice(s, g->number, VANTAGE_HYPERVISOR, FINDING_PAUSED, 1000); /* libvirt tells our own acts too */
	}
	return 0;
}

int32_t sim_execute(struct sim *s, const struct plan_order *order)
{
	struct sim_guest *g = sim_guest(s, order->instance);
	check_execute(s, order);
	switch (order->type) {
	case PLAN_DO_TAP_ADD:
		if (g->gate == PLAN_GATE_NONE)
			g->gate = PLAN_GATE_QUARANTINE;
		return 0;
	case PLAN_DO_TAP_DEL:
		g->gate = PLAN_GATE_NONE;
		if (s->target == order->instance)
			s->target = 0;
		return 0;
	case PLAN_DO_FENCE:
		return gate(g, PLAN_GATE_FENCED);
	case PLAN_DO_OPEN:
		return gate(g, PLAN_GATE_OPEN);
	case PLAN_DO_LOCK:
		return gate(g, PLAN_GATE_QUARANTINE);
	case PLAN_DO_STEER:
		return steer(s, order);
	case PLAN_DO_CUT:
	case PLAN_DO_FLOWS:
		return 0;
	case PLAN_DO_CREATE:
		return create(s, g, order->variant);
	case PLAN_DO_DESTROY:
		if (g->state != PLAN_GUEST_ABSENT)
			sim_notice(s, g->number, VANTAGE_HYPERVISOR, FINDING_GONE, 1000);
		g->state = PLAN_GUEST_ABSENT;
		g->capped = false;
		g->revoked = true;
		return 0;
	case PLAN_DO_REVOKE:
		g->revoked = true;
		return 0;
	case PLAN_DO_ROLLBACK:
		g->rolled_back = true;
		return 0;
	case PLAN_DO_UNCAP:
	case PLAN_DO_SUSPEND:
	case PLAN_DO_RESUME:
	case PLAN_DO_LINK_DOWN:
	case PLAN_DO_CAP:
	case PLAN_DO_RESTART:
	case PLAN_DO_STOP_SERVICE:
	case PLAN_DO_RESET:
	case PLAN_DO_RECORD:
		return on_guest(s, g, order->type);
	case PLAN_ORDER_MAX_:
		break;
	}
	return -EINVAL;
}

static const struct {
	const char *how;
	enum sim_fault fault;
	enum plan_guest state; /* ABSENT for those that leave it as it is */
	enum vantage vantage;
	enum finding finding; /* GOOD: nobody tells, probes find it */
} hurts[] = {
        {"refuse", SIM_REFUSES, PLAN_GUEST_RUNNING, VANTAGE_WIRE, FINDING_GOOD},
        {"hang", SIM_HANGS, PLAN_GUEST_RUNNING, VANTAGE_WIRE, FINDING_GOOD},
        {"drop", SIM_HANGS, PLAN_GUEST_RUNNING, VANTAGE_WIRE, FINDING_SILENT},
        {"stall", SIM_HANGS, PLAN_GUEST_RUNNING, VANTAGE_PATH, FINDING_STALLED},
        {"unheard", SIM_HANGS, PLAN_GUEST_RUNNING, VANTAGE_WIRE, FINDING_UNHEARD},
        {"wrong", SIM_WRONG, PLAN_GUEST_RUNNING, VANTAGE_WIRE, FINDING_GOOD},
        {"error", SIM_ERRORS, PLAN_GUEST_RUNNING, VANTAGE_WIRE, FINDING_GOOD},
        {"spoof", SIM_FINE, PLAN_GUEST_RUNNING, VANTAGE_WIRE, FINDING_SPOOFED},
        {"scan", SIM_FINE, PLAN_GUEST_RUNNING, VANTAGE_WIRE, FINDING_REACHING},
        {"touch", SIM_FINE, PLAN_GUEST_RUNNING, VANTAGE_DECOY, FINDING_TOUCHED},
        {"deny", SIM_FINE, PLAN_GUEST_RUNNING, VANTAGE_GUEST, FINDING_DENIED},
        {"odd", SIM_FINE, PLAN_GUEST_RUNNING, VANTAGE_HYPERVISOR, FINDING_BUSY}, /* no wrong: nobody may fall for these */
        {"flood", SIM_FINE, PLAN_GUEST_RUNNING, VANTAGE_HYPERVISOR, FINDING_FLOODING},
        {"panic", SIM_FINE, PLAN_GUEST_CRASHED, VANTAGE_HYPERVISOR, FINDING_PANICKED},
        {"gone", SIM_FINE, PLAN_GUEST_ABSENT, VANTAGE_HYPERVISOR, FINDING_GONE},
        {"pause", SIM_FINE, PLAN_GUEST_PAUSED, VANTAGE_HYPERVISOR, FINDING_PAUSED},
        {"reset", SIM_FINE, PLAN_GUEST_RUNNING, VANTAGE_HYPERVISOR, FINDING_RESET},
};

/* Two weak findings of two vantages, about two things: takeover. */
static void hurt_twofold(struct sim *s, struct sim_guest *g)
{
	g->wronged = true;
	sim_notice(s, g->number, VANTAGE_GUEST, FINDING_LISTENING, sim_spread(s, 2000, 20000));
	sim_notice(s, g->number, VANTAGE_WIRE, FINDING_UNUSUAL, sim_spread(s, 2000, 2000000));
}

/* Said again while it lasts. */
static void told_for(struct sim *s, uint32_t number, enum vantage vantage, enum finding finding, int64_t lasts_us)
{
	for (int64_t after_us = 24000; after_us < lasts_us; after_us += 50000) {
		struct sim_moment *m = sim_at(s, s->now_us + after_us, SIM_EV_NOTICE, number, 0);
		m->evidence = (struct evidence){.time_us = s->now_us + after_us,
		                                .instance = number,
		                                .vantage = vantage,
		                                .finding = finding,
		                                .began_us = s->now_us};
	}
}

/* A pause that is too short for a miss: nobody may fall for it. */
static void hurt_hiccup(struct sim *s, struct sim_guest *g)
{
	int64_t lasts_us = sim_spread(s, 50000, 200000);
	g->pauses_until_us = s->now_us + lasts_us;
	told_for(s, g->number, VANTAGE_PATH, FINDING_STALLED, lasts_us);
}

void sim_hurt(struct sim *s, uint32_t number, const char *how)
{
	struct sim_guest *g = sim_guest(s, number);
	if (g->state == PLAN_GUEST_ABSENT)
		return;
	if (g->state == PLAN_GUEST_PAUSED && strcmp(how, "gone") != 0)
		return; /* asleep, it does nothing */
	if (strcmp(how, "heal") == 0) {
		g->fault = SIM_FINE;
		return;
	}
	if (strcmp(how, "hiccup") == 0) {
		hurt_hiccup(s, g);
		return;
	}
	if (strcmp(how, "crowd") == 0) { /* and of clients that are too many nobody is to blame */
		s->crowd_until_us = s->now_us + sim_spread(s, 2000000, 9000000);
		s->crowd_fell = false;
		told_for(s, number, VANTAGE_PATH, FINDING_STALLED, 400000);
		return;
	}
	if (strcmp(how, "twofold") == 0) {
		hurt_twofold(s, g);
		return;
	}
	for (size_t k = 0; k < sizeof(hurts) / sizeof(hurts[0]); k++) {
		if (strcmp(hurts[k].how, how) != 0)
			continue;
		g->wronged = g->wronged || finding_class(hurts[k].finding) != FINDING_CLASS_WEAK;
		if (hurts[k].fault != SIM_FINE)
			g->fault = hurts[k].fault;
		if (hurts[k].state != PLAN_GUEST_RUNNING)
			g->state = hurts[k].state;
		g->vanished = g->vanished || hurts[k].state == PLAN_GUEST_ABSENT;
		if (hurts[k].finding == FINDING_RESET)
			g->booted_us = s->now_us + s->boot_us[g->variant];
		enum finding_class class = finding_class(hurts[k].finding);
		if (class == FINDING_CLASS_DOUBT || class == FINDING_CLASS_LASTING)
			told_for(s, number, hurts[k].vantage, hurts[k].finding, 400000);
		else if (hurts[k].finding != FINDING_GOOD)
			sim_notice(s, number, hurts[k].vantage, hurts[k].finding, sim_spread(s, 2000, 20000));
		return;
	}
	sim_fail(s, "nobody knows how to %s", how);
}
