/* Turning the world: moments in their order, the plan's deadline among them; and random runs: mishaps, then peace. */
#include "sim.h"
#include "made.h"

#include <string.h>

#define SPINS_MAX 300 /* steps within SPIN_US that nothing but the plan's own deadline asked for */
#define SPIN_US 50000

void sim_variants(struct plan *p)
{
	made_variants(p);
}

void sim_init(struct sim *s, uint64_t seed, const struct plan_config *config)
{
	memset(s, 0, sizeof(*s));
	s->seed = s->random = seed;
	s->config = *config;
	s->now_us = 1000000;
	s->hand_up[SIM_NET] = s->hand_up[SIM_VM] = true;
	s->next_number = 1;
	s->n_numbers = 1;
	for (size_t v = 0; v < PLAN_VARIANTS_MAX; v++)
		s->boot_us[v] = 2000000;
	s->bad_since_us = s->excuse_us = s->now_us;
}

void sim_start(struct sim *s)
{
	sim_at(s, s->now_us, SIM_EV_START, 0, 0);
}

/* --- mishaps */

static uint32_t some_guest(struct sim *s)
{
	if (s->target && sim_chance(s, 6000))
		return s->target;
	for (int tries = 0; tries < 8; tries++) {
		uint32_t n = 1 + sim_random(s, s->n_numbers);
		if (n < s->n_numbers && s->guests[n].state != PLAN_GUEST_ABSENT)
			return n;
	}
	return s->target;
}

static void hurt_some(struct sim *s)
{
	static const char *const hows[] = {"refuse", "hang",    "stall", "unheard", "hiccup", "crowd", "drop",
	                                   "wrong",  "error",   "spoof", "scan",    "touch",  "deny",  "odd",
	                                   "flood",  "twofold", "panic", "gone",    "pause",  "reset"};
	uint32_t number = some_guest(s);
	const char *how = hows[sim_random(s, sizeof(hows) / sizeof(hows[0]))];
	if (number == 0)
		return;
	if (s->guests[number].state == PLAN_GUEST_PAUSED && !s->hand_up[SIM_VM])
		return; /* a spare that went unseen is missed only when it is to wake up: a story of its own */
	sim_log(s, "kb-%u: %s", number, how);
	s->n_faults++;
	sim_hurt(s, number, how);
	if (sim_chance(s, 2000))
		sim_at(s, s->now_us + sim_spread(s, 100000, 4000000), SIM_EV_HEAL, number, 0);
}

static void lose_senses(struct sim *s)
{
	sim_set_blind(s, true);
	sim_at(s, s->now_us + sim_spread(s, 1000000, 3000000), SIM_EV_SEES_AGAIN, 0, s->engine_life);
}

static void lose_ledger(struct sim *s)
{
	sim_log(s, "the ledger cannot be written");
	s->unwritable = true;
	sim_at(s, s->now_us + sim_spread(s, 500000, 5000000), SIM_EV_WRITABLE, 0, 0);
}

static void stall(struct sim *s)
{
	for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++) /* a lost packet and then this are enough to be convicted */
		if (s->plan.instances[k].number && (s->plan.instances[k].window.misses & 0x1f))
			s->guests[s->plan.instances[k].number].wronged = true;
	if (s->stall_until_us + 500000 > s->now_us)
		return; /* two in a row are one that is too long to be told from a fault */
	s->stall_until_us = s->now_us + sim_spread(s, 50000, 500000);
	sim_log(s, "the host stands still for %lld ms", (long long)(s->stall_until_us - s->now_us) / 1000);
}

static void hold_some(struct sim *s)
{
	uint32_t number = some_guest(s);
	enum plan_hold hold = (enum plan_hold)sim_random(s, PLAN_HOLD_MAX_);
	sim_log(s, "kb-%u: hold %d", number, hold);
	(void)sim_hold(s, number, hold);
}

/* Nobody wants anything of anybody any more. */
void sim_release_all(struct sim *s)
{
	for (size_t k = 0; s->up && s->plan.world_known && k < PLAN_INSTANCES_MAX; k++)
		if (s->plan.instances[k].hold != PLAN_HOLD_NONE && s->plan.instances[k].hold != PLAN_HOLD_STOP)
			(void)sim_hold(s, s->plan.instances[k].number, PLAN_HOLD_NONE);
}

/* Of any variant, here or elsewhere; also that of an attack that hurt_some() makes. */
static void teach_some(struct sim *s)
{
	uint32_t fell = sim_random(s, s->plan.n_variants), stood = sim_random(s, s->plan.n_variants);
	sim_teach(s, &(struct plan_lesson){
	                     .victim = s->plan.variants[fell].components,
	                     .survivor = sim_chance(s, 5000) ? s->plan.variants[stood].components : NULL,
	                     .raise = sim_chance(s, 7000),
	                     .warns = sim_chance(s, 7000),
	                     .cause = (enum finding)sim_random(s, FINDING_MAX_),
	                     .helped = (enum plan_rung)sim_random(s, PLAN_RUNG_MAX_),
	                     .learnt = {.incident = SIM_LESSON_FIRST + s->n_taught++ % SIM_LESSONS_MAX,
	                                .finding = {FINDING_BUSY, FINDING_UNUSUAL},
	                                .vantage = {VANTAGE_HYPERVISOR, VANTAGE_WIRE}},
	             });
}

static void mishap(struct sim *s)
{
	uint32_t roll = sim_random(s, 100);
	if (roll < 45)
		hurt_some(s);
	else if (roll < 55)
		sim_crash(s, sim_spread(s, 100000, 1500000));
	else if (roll < 65)
		s->crash_writes = 1 + sim_random(s, 12); /* between two rows */
	else if (roll < 73)
		sim_kill_hand(s, SIM_NET);
	else if (roll < 81)
		sim_kill_hand(s, SIM_VM);
	else if (roll < 86)
		stall(s);
	else if (roll < 90)
		lose_senses(s);
	else if (roll < 94)
		lose_ledger(s);
	else if (roll < 97)
		hold_some(s);
	else if (roll < 98)
		(void)sim_switch(s);
	else if (roll < 99)
		sim_reboot_host(s);
	else if (sim_chance(s, 5000))
		sim_outdate(s, some_guest(s));
	else
		teach_some(s);
}

static void chaos(struct sim *s)
{
	if (s->now_us >= s->chaos_until_us) {
		sim_log(s, "peace");
		s->odds = (struct sim_odds){.jitter = true};
		s->crash_writes = 0;
		s->crowd_until_us = s->now_us < s->crowd_until_us ? s->now_us : s->crowd_until_us;
		s->config.max_exposure_us = s->plan.config.max_exposure_us = 0; /* it never comes to rest else */
		memset(s->never_boots, 0, sizeof(s->never_boots));
		return;
	}
	mishap(s);
	/* one mishap rarely comes alone */
	int64_t next_us = sim_chance(s, 3000) ? sim_spread(s, 1000, 400000) : sim_spread(s, 200000, 6000000);
	sim_at(s, s->now_us + next_us, SIM_EV_CHAOS, 0, 0);
}

/* --- the turning */

static void happen(struct sim *s, const struct sim_moment *m)
{
	switch (m->what) {
	case SIM_EV_EXECUTE:
	case SIM_EV_BROKEN:
	case SIM_EV_HAND_UP:
		sim_hand_event(s, m);
		break;
	case SIM_EV_PROBE:
	case SIM_EV_SEEN:
	case SIM_EV_NOTICE:
		sim_sense_event(s, m);
		break;
	case SIM_EV_ANSWER:
	case SIM_EV_COMMIT:
	case SIM_EV_PULSE:
	case SIM_EV_WORLD:
	case SIM_EV_START:
	case SIM_EV_SEES_AGAIN:
		sim_engine_event(s, m);
		break;
	case SIM_EV_CHAOS:
		chaos(s);
		break;
	case SIM_EV_HEAL:
		sim_hurt(s, m->a, "heal");
		break;
	case SIM_EV_WRITABLE:
		s->unwritable = false;
		break;
	case SIM_WHAT_MAX_:
		break;
	}
}

static void spin(struct sim *s)
{
	if (s->now_us - s->spin_us > SPIN_US) {
		s->spin_us = s->now_us;
		s->n_spins = 0;
	}
	if (++s->n_spins > SPINS_MAX)
		sim_fail(s, "rule 9: the plan asks for the time again and again and does nothing");
}

void sim_run(struct sim *s, int64_t until_us)
{
	struct sim_moment m;
	while (!s->failure[0]) {
		if (s->dying)
			sim_crash(s, 200000);
		int64_t deadline_us = s->up ? plan_deadline(&s->plan) : PLAN_NEVER;
		int64_t next_us = s->n_moments ? s->moments[0].time_us : PLAN_NEVER;
		if (deadline_us < next_us && deadline_us <= until_us) {
			s->now_us = deadline_us > s->now_us ? deadline_us : s->now_us;
			sim_engine_timer(s);
			spin(s);
		} else if (sim_next(s, &m, until_us)) {
			s->now_us = m.time_us > s->now_us ? m.time_us : s->now_us;
			happen(s, &m);
		} else {
			break;
		}
		check_now(s);
	}
	if (s->now_us < until_us)
		s->now_us = until_us;
}

static struct plan_config some_config(struct sim *s)
{
	struct plan_config c = made_config();
	c.boot_us = 10000000;
	c.backoff_us = 1000000;
	c.slow_us = c.back_us = 10000000;
	c.quick_us = 1000000;
	c.evidence = !sim_chance(s, 2000);
	c.rollback = sim_chance(s, 5000);
	c.secrets = sim_chance(s, 5000);
	c.carry = sim_chance(s, 3000);
	c.gives_way = !sim_chance(s, 2000);
	if (sim_chance(s, 3000)) {
		c.brake_falls = 2 + sim_random(s, 3);
		c.brake_within_us = sim_spread(s, 5000000, 30000000);
		c.brake_pause_us = sim_spread(s, 1000000, 5000000);
	}
	if (sim_chance(s, 3000))
		c.max_exposure_us = sim_spread(s, 2000000, 20000000);
	c.ladder = sim_random(s, 4) << PLAN_RUNG_RESTART;
	c.restart_us = 4000000;
	s->incurable = sim_chance(s, 2000);
	if (sim_chance(s, 3000)) {
		c.standby = sim_random(s, 3);
		c.spare = sim_random(s, 3);
	}
	return c;
}

static void settle(struct sim *s)
{
	const char *why = "";
	sim_run(s, s->now_us + 500000);
	for (int64_t end_us = s->now_us + 240000000; !s->failure[0] && s->now_us < end_us && !check_settled(s, &why);) {
		sim_release_all(s);
		sim_run(s, s->now_us + 500000);
	}
	if (!s->failure[0] && check_settled(s, &why)) /* and it stays so */
		sim_run(s, s->now_us + 1500000);
	if (!s->failure[0] && !check_settled(s, &why))
		sim_fail(s, "rule 8: it does not come to rest: %s", why);
}

void sim_random_run(struct sim *s, uint64_t seed, FILE *log)
{
	struct plan_config config = made_config();
	sim_init(s, seed, &config);
	s->log = log;
	s->config = some_config(s);
	s->odds = (struct sim_odds){.jitter = true, .probe_lost = 20};
	if (sim_chance(s, 7000))
		s->odds = (struct sim_odds){.refused = 200,
		                            .false_refusal = 200,
		                            .lost = 100,
		                            .hung = 100,
		                            .slow = 100,
		                            .tardy = 200,
		                            .twice = 200,
		                            .probe_lost = 20,
		                            .jitter = true};
	if (sim_chance(s, 2000))
		s->never_boots[sim_random(s, MADE_VARIANTS)] = 1 + sim_random(s, 3);
	sim_start(s);
	int64_t quiet_us = s->now_us + sim_spread(s, 0, 8000000);
	s->chaos_until_us = quiet_us + sim_spread(s, 2000000, 15000000);
	sim_at(s, quiet_us, SIM_EV_CHAOS, 0, 0);
	sim_run(s, s->chaos_until_us + 7000000);
	settle(s);
	if (s->failure[0] || (!s->rows_lost && sim_chance(s, 5000)))
		return;
	s->rows_lost = false; /* what a restart makes of all this is the same, and it mends what the ledger lacks */
	sim_crash(s, 200000);
	settle(s);
}
