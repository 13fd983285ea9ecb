/* Probes as prober.c makes them: each interval, overlapping, told when answered or when the patience ends. */
#include "sim.h"

void sim_notice(struct sim *s, uint32_t number, enum vantage vantage, enum finding finding, int64_t delay_us)
{
	if (vantage == VANTAGE_HYPERVISOR && !s->hand_up[SIM_VM])
		return; /* nobody was there to hear it */
	struct sim_moment *m = sim_at(s, s->now_us + delay_us, SIM_EV_NOTICE, number, 0);
	m->evidence = (struct evidence){
	        .time_us = s->now_us, .instance = number, .vantage = vantage, .finding = finding, .began_us = s->now_us};
}

void sim_probes_follow(struct sim *s, uint32_t number, enum plan_life life)
{
	struct sim_guest *g = sim_guest(s, number);
	bool proving = life == PLAN_LIFE_BOOTING || life == PLAN_LIFE_WAKING || life == PLAN_LIFE_RESTARTED ||
	               life == PLAN_LIFE_REBOOTING;
	bool serving = life == PLAN_LIFE_READY || life == PLAN_LIFE_DOOMED || life == PLAN_LIFE_OPENING ||
	               life == PLAN_LIFE_LOCKING || life == PLAN_LIFE_LOCKED;
	if (!g->has_key || (!proving && !serving)) {
		g->probe_life = 0;
	} else if (!g->probe_life || g->proving != proving) {
		g->probe_life = ++s->probe_lives;
		g->proving = proving;
		g->n_probes = 0;
		sim_at(s, s->now_us + 1000 + sim_spread(s, 0, 2000), SIM_EV_PROBE, number, g->probe_life);
	}
}

static bool reachable(const struct sim *s, const struct sim_guest *g)
{
	return g->state == PLAN_GUEST_RUNNING && !g->link_down &&
	       (g->gate == PLAN_GATE_QUARANTINE || g->gate == PLAN_GATE_OPEN) && s->now_us >= g->booted_us;
}

static enum finding looks(struct sim *s, const struct sim_guest *g, bool challenge)
{
	if (!reachable(s, g) || sim_chance(s, s->odds.probe_lost))
		return FINDING_TIMEOUT;
	if (s->now_us < s->crowd_until_us && g->number == s->target && g->n_probes % 5 != 0)
		return FINDING_TIMEOUT;
	if (g->stopped)
		return FINDING_REFUSED;
	switch (g->fault) {
	case SIM_REFUSES:
		return FINDING_REFUSED;
	case SIM_HANGS:
		return FINDING_TIMEOUT;
	case SIM_ERRORS:
		return FINDING_ERROR;
	case SIM_WRONG:
		if (challenge)
			return FINDING_WRONG_CHALLENGE;
		return g->n_probes % 3 == 0 ? FINDING_WRONG_CONTENT : FINDING_GOOD; /* other pages are as they were */
	case SIM_FINE:
	case SIM_FAULT_MAX_:
		break;
	}
	return challenge ? FINDING_PROVEN : FINDING_GOOD;
}

static void probe(struct sim *s, uint32_t number)
{
	struct sim_guest *g = sim_guest(s, number);
	bool challenge = g->n_probes++ % (g->proving ? 2 : 10) == 0;
	int64_t patience_us = g->proving ? 1000000 : s->config.timeout_us;
	int64_t answer_us = s->now_us + sim_spread(s, 3000, 20000);
	enum finding finding = looks(s, g, challenge);
	if (s->stall_until_us > s->now_us)
		answer_us = s->stall_until_us + sim_spread(s, 3000, 20000);
	if (g->pauses_until_us > s->now_us)
		answer_us += g->pauses_until_us - s->now_us;
	if (finding == FINDING_TIMEOUT || answer_us > s->now_us + patience_us) {
		finding = FINDING_TIMEOUT;
		answer_us = s->now_us + patience_us;
	}
	struct sim_moment *m = sim_at(s, answer_us, SIM_EV_SEEN, number, g->probe_life);
	m->evidence = (struct evidence){
	        .time_us = answer_us, .instance = number, .vantage = VANTAGE_PATH, .finding = finding, .began_us = s->now_us};
	int64_t interval_us = s->config.interval_us;
	int64_t next_us =
	        s->odds.jitter ? interval_us * 4 / 5 + (int64_t)sim_random(s, (uint32_t)interval_us * 2 / 5) : interval_us;
	sim_at(s, s->now_us + next_us, SIM_EV_PROBE, number, g->probe_life);
}

void sim_sense_event(struct sim *s, const struct sim_moment *m)
{
	struct sim_guest *g = sim_guest(s, m->a);
	if (!s->up)
		return;
	if (m->what == SIM_EV_PROBE) {
		if (g->probe_life == m->b)
			probe(s, m->a);
		return;
	}
	if (m->what == SIM_EV_SEEN && g->probe_life != m->b)
		return;
	struct plan_event event = {.type = PLAN_EV_EVIDENCE, .evidence = m->evidence};
	sim_step(s, &event);
}
