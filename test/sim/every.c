/*
 * Kills enumerated, not drawn. Each playbook is played once in peace; that run says to how many points it comes (kill.c) and
 * how it ends. Then it is played again for every point, every process and every thing that can become of the orders that were
 * on their way, and has to end alike: the same roles held by the same variants, the same hold, the same suspicion, as many
 * falls, nothing left over (check.c). Only instance numbers may differ; and the variants where the order of two events decides
 * between equals (`any_variant`). What a playbook orders is the plan's business: a new life, or a new order, is enumerated as
 * soon as a playbook comes to it.
 *
 * A kill can meet the moment before anything is known of what happened. Whoever did it (an attacker who goes on, an operator
 * whose request got no answer) then does it again: `again` looks whether it was seen.
 */
#include "sim.h"
#include "made.h"

#include <stdlib.h>
#include <string.h>

#define REST_S 240
#define ENDS_MAX 400

struct playbook {
	const char *name;
	void (*prepare)(struct sim *s); /* before the first start */
	bool first_start;               /* it is the first start */
	void (*begin)(struct sim *s);
	void (*again)(struct sim *s); /* after each start, and each second */
	bool held;                    /* somebody is held in the end, and released after that */
	bool any_variant;             /* holds each role in the end */
	void (*worse)(struct sim *s); /* begins as what is assumed where nothing but a fence is left to be read */
};

static uint32_t in_role(const struct sim *s, enum plan_role role)
{
	for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++)
		if (s->plan.instances[k].number && s->plan.instances[k].role == role)
			return s->plan.instances[k].number;
	return 0;
}

/* --- the playbooks. `s->subject` is whom it is about. */

static void hurt_role(struct sim *s, enum plan_role role, const char *how)
{
	s->subject = in_role(s, role);
	sim_hurt(s, s->subject, how);
}

static void active_fails(struct sim *s)
{
	hurt_role(s, PLAN_ACTIVE, "refuse");
}

static void active_hangs(struct sim *s)
{
	hurt_role(s, PLAN_ACTIVE, "hang");
}

static void active_stalls(struct sim *s)
{
	hurt_role(s, PLAN_ACTIVE, "stall");
}

static void active_vanishes(struct sim *s)
{
	hurt_role(s, PLAN_ACTIVE, "gone");
}

static void active_panics(struct sim *s)
{
	hurt_role(s, PLAN_ACTIVE, "panic");
}

static void active_lies(struct sim *s)
{
	hurt_role(s, PLAN_ACTIVE, "wrong");
}

static void active_touches(struct sim *s)
{
	hurt_role(s, PLAN_ACTIVE, "touch");
}

static void standby_fails(struct sim *s)
{
	hurt_role(s, PLAN_STANDBY, "refuse");
}

static void standby_touches(struct sim *s)
{
	hurt_role(s, PLAN_STANDBY, "touch");
}

static void spare_vanishes(struct sim *s)
{
	hurt_role(s, PLAN_SPARE, "gone");
}

static void two_fall(struct sim *s)
{
	hurt_role(s, PLAN_STANDBY, "refuse");
	hurt_role(s, PLAN_ACTIVE, "wrong");
}

/* An intruder goes on as he began, until somebody noticed. */
static void touch_again(struct sim *s)
{
	const struct plan_instance *i = plan_find(&s->plan, s->subject);
	if (i && i->life == PLAN_LIFE_READY)
		sim_hurt(s, s->subject, "touch");
}

static void ask_switch(struct sim *s)
{
	s->subject = s->target;
	(void)sim_switch(s);
}

/* The operator sees that nothing came of it. */
static void switch_again(struct sim *s)
{
	if (s->target == s->subject && plan_open_incidents(&s->plan) == 0)
		(void)sim_switch(s);
}

/* As src/engine/hold.c does it: what is wanted is a row, and is asked for until it is so. */
static void hold_role(struct sim *s, enum plan_role role, enum plan_hold hold)
{
	s->subject = in_role(s, role);
	s->hold = hold;
	(void)sim_hold(s, s->subject, hold);
}

static void hold_again(struct sim *s)
{
	const struct plan_instance *i = plan_find(&s->plan, s->subject);
	if (i && i->hold != s->hold && sim_hold(s, s->subject, s->hold) != PLAN_ACCEPTED)
		sim_log(s, "kb-%u: not to be held now", s->subject);
}

static void lock_active(struct sim *s)
{
	hold_role(s, PLAN_ACTIVE, PLAN_HOLD_LOCK);
}

static void freeze_active(struct sim *s)
{
	hold_role(s, PLAN_ACTIVE, PLAN_HOLD_FREEZE);
}

static void lock_standby(struct sim *s)
{
	hold_role(s, PLAN_STANDBY, PLAN_HOLD_LOCK);
}

static void stop_service_of_active(struct sim *s)
{
	hold_role(s, PLAN_ACTIVE, PLAN_HOLD_SERVICE);
}

static void freeze_spare(struct sim *s)
{
	hold_role(s, PLAN_SPARE, PLAN_HOLD_FREEZE);
}

static void stop_active(struct sim *s)
{
	hold_role(s, PLAN_ACTIVE, PLAN_HOLD_STOP);
}

static void stop_standby(struct sim *s)
{
	hold_role(s, PLAN_STANDBY, PLAN_HOLD_STOP);
}

/* In the open for longer than it may, by what the ledger knows too. */
static void wear(struct sim *s, enum plan_role role)
{
	uint32_t number = in_role(s, role);
	for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++)
		if (s->plan.instances[k].number == number)
			s->plan.instances[k].exposed_us = s->rows[number].exposed_us = -7200000000;
	s->config.max_exposure_us = s->plan.config.max_exposure_us = 3600000000;
	sim_engine_timer(s);
}

static void active_worn(struct sim *s)
{
	wear(s, PLAN_ACTIVE);
}

static void standby_worn(struct sim *s)
{
	wear(s, PLAN_STANDBY);
}

/* Other images: seen when koboshi-vm starts with them, and koboshid starts all anew for that. */
static void all_outdated(struct sim *s)
{
	for (uint32_t number = 1; number < s->n_numbers; number++)
		s->guests[number].outdated = true;
	sim_crash(s, 50000);
}

static void braked(struct sim *s)
{
	s->config.brake_falls = 2;
}

static void alone(struct sim *s)
{
	s->config.standby = s->config.spare = 0;
}

static const struct playbook playbooks[] = {
        {"first start", NULL, true, NULL, NULL, false, false},
        {"planned switch", NULL, false, ask_switch, switch_again, false, false},
        {"active fails", NULL, false, active_fails, NULL, false, false, active_touches},
        {"active hangs", NULL, false, active_hangs, NULL, false, false, active_touches},
        {"active stalls", NULL, false, active_stalls, NULL, false, false, active_touches},
        {"active vanishes", NULL, false, active_vanishes, NULL, false, false, active_touches},
        {"active panics", NULL, false, active_panics, NULL, false, false, active_touches},
        {"active lies", NULL, false, active_lies, NULL, false, false},
        {"active touches", NULL, false, active_touches, touch_again, false, false},
        {"standby fails", NULL, false, standby_fails, NULL, false, false, standby_touches},
        {"standby touches", NULL, false, standby_touches, touch_again, false, false},
        {"spare vanishes", NULL, false, spare_vanishes, NULL, false, false},
        {"two fall", NULL, false, two_fall, NULL, false, true},
        {"two fall, braked", braked, false, two_fall, NULL, false, true},
        {"alone and fails", alone, false, active_fails, NULL, false, false},
        {"lock active", NULL, false, lock_active, hold_again, true, true},
        {"freeze active", NULL, false, freeze_active, hold_again, true, true},
        {"stop service of active", NULL, false, stop_service_of_active, hold_again, true, true},
        {"lock standby", NULL, false, lock_standby, hold_again, true, true},
        {"freeze spare", NULL, false, freeze_spare, hold_again, true, true},
        {"stop active", NULL, false, stop_active, hold_again, false, false},
        {"stop standby", NULL, false, stop_standby, hold_again, false, false},
        {"active worn", NULL, false, active_worn, NULL, false, false},
        {"standby worn", NULL, false, standby_worn, NULL, false, false},
        {"all outdated", NULL, false, all_outdated, NULL, false, false},
};

/* --- how it ends */

static int compare_words(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* Of the layers that decide what is built: whoever stood where another fell clears what it shares with it in the others, if it
 * stood there for long enough, and a kill can make that longer. */
static unsigned suspect_holes(const struct sim *s)
{
	unsigned suspect = 0;
	for (uint32_t c = 0; c < s->plan.n_components; c++)
		suspect |= (unsigned)(s->suspicion[c] >= PLAN_SUSPECT && (PLAN_HOLES >> s->plan.layer[c] & 1)) << c;
	return suspect;
}

/* All that has to be alike, as text: who holds which role and is in which state, what is suspect, how many fell. */
static void tell_end(const struct sim *s, bool any_variant, char ret_text[static ENDS_MAX])
{
	char words[PLAN_INSTANCES_MAX][64];
	size_t n = 0, length = 0;
	unsigned falls = 0;
	for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++) {
		const struct plan_instance *i = &s->plan.instances[k];
		if (i->number)
			snprintf(words[n++], sizeof(words[0]), "%s %s of %u", plan_role_name(i->role), plan_life_name(i->life),
			         any_variant ? 0 : i->variant);
	}
	qsort(words, n, sizeof(words[0]), compare_words);
	for (uint32_t k = 0; k < SIM_NUMBERS_MAX; k++)
		falls += s->falls_us[k] != 0;
	for (size_t k = 0; k < n; k++)
		length += (size_t)snprintf(ret_text + length, ENDS_MAX - length, "%s; ", words[k]);
	snprintf(ret_text + length, ENDS_MAX - length, "suspect %#x; falls %u%s", any_variant ? 0 : suspect_holes(s), falls,
	         s->plan.brake.until_us ? "; the brake is on" : "");
}

static bool held_is_as_wanted(const struct sim *s)
{
	static const enum plan_life lives[PLAN_HOLD_MAX_] = {[PLAN_HOLD_LOCK] = PLAN_LIFE_LOCKED,
	                                                     [PLAN_HOLD_FREEZE] = PLAN_LIFE_HELD,
	                                                     [PLAN_HOLD_SERVICE] = PLAN_LIFE_STOPPED};
	const struct plan_instance *i = plan_find(&s->plan, s->subject);
	return i && i->life == lives[s->hold] && s->guests[s->subject].gate == PLAN_GATE_QUARANTINE;
}

/* Nothing is due, nothing under way, everybody wanted is there. */
static bool held_at_rest(const struct sim *s, const char **ret_why)
{
	const struct plan *p = &s->plan;
	*ret_why = !s->up || !p->world_known || s->n_writes ? "the engine is not in order"
	           : !held_is_as_wanted(s)                  ? "nobody is held as it was wanted"
	           : plan_count_standby(p, true) != p->config.standby || plan_count_spare(p) != p->config.spare
	                   ? "standbys or spares are missing"
	           : plan_deadline(p) != PLAN_NEVER ? "something is due yet"
	           : !sim_serves(s, s->target)      ? "nobody serves"
	                                            : NULL;
	return !*ret_why;
}

/* Until it is at rest, and still is so 1.5 s later. */
static void rest(struct sim *s, bool held)
{
	const char *why = "";
	int64_t since_us = PLAN_NEVER, end_us = s->now_us + REST_S * 1000000ll;
	while (!s->failure[0] && s->now_us < end_us && (since_us == PLAN_NEVER || s->now_us < since_us + 1500000)) {
		sim_run(s, s->now_us + 500000);
		bool rests = held ? held_at_rest(s, &why) : check_settled(s, &why);
		since_us = !rests ? PLAN_NEVER : since_us == PLAN_NEVER ? s->now_us : since_us;
	}
	if (!s->failure[0] && since_us == PLAN_NEVER)
		sim_fail(s, "it does not come to rest: %s", why);
}

/* --- playing */

static void begin(struct sim *s, const struct playbook *b)
{
	struct plan_config config = made_config();
	sim_init(s, 1, &config);
	if (b->prepare)
		b->prepare(s);
	s->whole = true;
	if (b->first_start)
		return;
	sim_start(s);
	rest(s, false);
	sim_run(s, s->now_us + 2000000);
	s->again = b->again;
	s->n_points = 0;
}

static void play(struct sim *s, const struct playbook *b, bool worse, char ret_end[static 2 * ENDS_MAX])
{
	char held[ENDS_MAX] = "", end[ENDS_MAX] = "";
	if (b->first_start)
		sim_start(s);
	else if (worse)
		b->worse(s);
	else
		b->begin(s);
	rest(s, b->held);
	if (b->held) {
		tell_end(s, false, held);
		s->hold = PLAN_HOLD_NONE;
		sim_release_all(s);
		rest(s, false);
	}
	tell_end(s, b->any_variant, end);
	snprintf(ret_end, 2 * ENDS_MAX, "%s%s%s", held, b->held ? " -> " : "", end);
}

struct tally {
	const struct playbook *playbook;
	struct sim *ready; /* as it is before the playbook */
	char end[2 * ENDS_MAX], worse[2 * ENDS_MAX];
	uint32_t n_points, n_orders, n_compromised, kills, broken;
};

static const char *const effect_names[SIM_EFFECT_MAX_] = {"chance", "none", "all", "later"};

static void kill_text(const struct sim_kill *k, char ret_text[static 64])
{
	const char *who = k->engine ? k->hand[SIM_NET] ? "all" : "engine" : k->hand[SIM_NET] ? "net" : "vm";
	snprintf(ret_text, 64, "%u:%s:%s:%s", k->at, who, effect_names[k->effect[SIM_NET]], effect_names[k->effect[SIM_VM]]);
}

static int effect_named(const char *name)
{
	for (int e = SIM_EFFECT_NONE; e < SIM_EFFECT_MAX_; e++)
		if (strcmp(name, effect_names[e]) == 0)
			return e;
	return -1;
}

/* What kill_text() wrote. */
static bool kill_parse(const char *text, struct sim_kill *ret_kill)
{
	char who[16], net[16], vm[16];
	struct sim_kill k = {0};
	if (sscanf(text, "%u:%15[a-z]:%15[a-z]:%15[a-z]", &k.at, who, net, vm) != 4 || effect_named(net) < 0 ||
	    effect_named(vm) < 0)
		return false;
	bool all = strcmp(who, "all") == 0;
	k.engine = all || strcmp(who, "engine") == 0;
	k.hand[SIM_NET] = all || strcmp(who, "net") == 0;
	k.hand[SIM_VM] = all || strcmp(who, "vm") == 0;
	k.effect[SIM_NET] = (enum sim_effect)effect_named(net);
	k.effect[SIM_VM] = (enum sim_effect)effect_named(vm);
	*ret_kill = k;
	return true;
}

static uint32_t compromised(const struct sim *s)
{
	uint32_t n = 0;
	for (uint32_t k = 0; k < SIM_NUMBERS_MAX; k++)
		n += s->compromised[k];
	return n;
}

static void killed_run(struct tally *t, const struct sim_kill *kill, uint32_t ret_under_way[static SIM_HAND_MAX_], FILE *log)
{
	static struct sim s;
	char end[2 * ENDS_MAX], text[64];
	s = *t->ready;
	s.kill = *kill;
	s.log = log;
	play(&s, t->playbook, false, end);
	memcpy(ret_under_way, s.under_way, sizeof(s.under_way));
	t->kills++;
	if (compromised(&s) < t->n_compromised) /* never less; more where nothing is known but the fence */
		sim_fail(&s, "a takeover is written down as a failure");
	bool assumed = compromised(&s) > t->n_compromised && strcmp(end, t->worse) == 0;
	if (!s.failure[0] && (assumed || strcmp(end, t->end) == 0))
		return;
	kill_text(kill, text);
	if (t->broken++ >= 5 && !log)
		return;
	printf("BROKEN: %s --kill %s (%s): %s\n", t->playbook->name, text, sim_point_name(s.killed_at),
	       s.failure[0] ? s.failure : "it ends otherwise");
	if (!s.failure[0])
		printf("    in peace: %s\n    killed:   %s\n", t->end, end);
}

/* All that can become of what was on its way: each hand's part of it only if there was any. */
static void kill_at(struct tally *t, struct sim_kill kill)
{
	uint32_t under_way[SIM_HAND_MAX_], ignored[SIM_HAND_MAX_];
	kill.effect[SIM_NET] = kill.effect[SIM_VM] = SIM_EFFECT_NONE;
	killed_run(t, &kill, under_way, NULL);
	for (unsigned net = SIM_EFFECT_NONE; net <= SIM_EFFECT_ALL; net++)
		for (unsigned vm = SIM_EFFECT_NONE; vm < SIM_EFFECT_MAX_; vm++) {
			bool net_is = net == SIM_EFFECT_NONE || (under_way[SIM_NET] && (kill.hand[SIM_NET] || kill.engine));
			bool vm_is = vm == SIM_EFFECT_NONE || (under_way[SIM_VM] && (kill.hand[SIM_VM] || kill.engine));
			bool lives_on = vm != SIM_EFFECT_LATER || !kill.hand[SIM_VM];
			if (!net_is || !vm_is || !lives_on || (net == SIM_EFFECT_NONE && vm == SIM_EFFECT_NONE))
				continue;
			kill.effect[SIM_NET] = (enum sim_effect)net;
			kill.effect[SIM_VM] = (enum sim_effect)vm;
			killed_run(t, &kill, ignored, NULL);
		}
}

static void peace(struct tally *t)
{
	static struct sim s;
	if (t->playbook->worse) {
		s = *t->ready;
		play(&s, t->playbook, true, t->worse);
	}
	s = *t->ready;
	play(&s, t->playbook, false, t->end);
	t->n_points = s.n_points;
	t->n_compromised = compromised(&s);
	t->n_orders = s.n_orders - t->ready->n_orders;
	if (s.failure[0]) {
		t->broken++;
		printf("BROKEN: %s, in peace: %s\n", t->playbook->name, s.failure);
	}
}

static void enumerate(struct tally *t)
{
	for (uint32_t at = 1; at <= t->n_points; at++) {
		kill_at(t, (struct sim_kill){.at = at, .engine = true});
		kill_at(t, (struct sim_kill){.at = at, .hand[SIM_NET] = true});
		kill_at(t, (struct sim_kill){.at = at, .hand[SIM_VM] = true});
		kill_at(t, (struct sim_kill){.at = at, .engine = true, .hand = {true, true}});
	}
}

int every_step(const char *only, const char *kill)
{
	static struct sim ready;
	uint32_t kills = 0, broken = 0, ignored[SIM_HAND_MAX_];
	struct sim_kill one;
	if (kill && !kill_parse(kill, &one))
		return 2;
	printf("%-20s %8s %8s %8s %8s\n", "playbook", "orders", "points", "kills", "broken");
	for (size_t k = 0; k < sizeof(playbooks) / sizeof(playbooks[0]); k++) {
		struct tally t = {.playbook = &playbooks[k], .ready = &ready};
		if (only && strcmp(only, t.playbook->name) != 0)
			continue;
		begin(&ready, t.playbook);
		peace(&t);
		if (kill)
			killed_run(&t, &one, ignored, stdout);
		else if (t.broken == 0)
			enumerate(&t);
		printf("%-20s %8u %8u %8u %8u\n", t.playbook->name, t.n_orders, t.n_points, t.kills, t.broken);
		kills += t.kills;
		broken += t.broken;
	}
	printf("%u kills, %u broken\n", kills, broken);
	return broken || !kills ? 1 : 0;
}
