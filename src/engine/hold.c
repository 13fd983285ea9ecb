/* See hold.h. */
#include "engine/hold.h"

#include "engine/engine.h"
#include "lib/bytes.h"
#include "lib/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char *const hows[PLAN_HOLD_MAX_] = {
        [PLAN_HOLD_LOCK] = "lock",
        [PLAN_HOLD_FREEZE] = "freeze",
        [PLAN_HOLD_SERVICE] = "stop-service",
        [PLAN_HOLD_STOP] = "stop",
};

static enum plan_hold how_named(const char *text, size_t length)
{
	for (unsigned how = PLAN_HOLD_LOCK; how < PLAN_HOLD_MAX_; how++)
		if (strlen(hows[how]) == length && strncmp(hows[how], text, length) == 0)
			return (enum plan_hold)how;
	return PLAN_HOLD_NONE;
}

/* --- the ledger */

static bool subject_take(const char *subject, struct hold *ret)
{
	const char *space = strchr(subject, ' ');
	ret->how = space ? how_named(subject, (size_t)(space - subject)) : PLAN_HOLD_NONE;
	ret->instance = space ? conf_instance_named(space + 1) : 0;
	return ret->how != PLAN_HOLD_NONE && ret->instance;
}

bool hold_is(const char *subject)
{
	struct hold h;
	return subject_take(subject, &h);
}

/* The wall clock says how much of its time is left, and never more than all. */
static int take_row(void *arg, const struct ledger_containment *row)
{
	struct holds *all = arg;
	struct hold h = {.row = *row, .ends_us = INT64_MAX};
	int64_t left_us = row->until_us - clock_real_us(), length_us = row->until_us - row->begun_us;
	if (row->until_us)
		h.ends_us = clock_monotonic_us() + (left_us < length_us ? left_us : length_us);
	if (row->ended_us == 0 && subject_take(row->subject, &h) && all->n < HOLDS_MAX)
		all->list[all->n++] = h;
	return 0;
}

int hold_load(struct engine *e, struct ledger *l, struct err *err)
{
	return ledger_containment_each(l, 0, take_row, &e->holds, err);
}

static void finish(struct engine *e, struct hold *h, const char *state, const char *proof)
{
	text_copy(h->row.state, sizeof(h->row.state), state);
	text_copy(h->row.proof, sizeof(h->row.proof), proof);
	h->row.ended_us = clock_real_us();
	log_notice("engine.hold", "containment %llu (%s): %s: %s", (unsigned long long)h->row.number, h->row.subject, state,
	           proof);
	contain_row_write(e, &h->row);
	*h = e->holds.list[--e->holds.n];
}

/* --- what the plan makes of it */

static int ask(struct engine *e, uint32_t instance, enum plan_hold how, struct err *err)
{
	struct engine_service *s = service_of_instance(e, instance);
	if (!s)
		return err_set(err, -ENOENT, "there is no instance kb-%u", instance);
	switch (service_hold(s, instance, how)) {
	case PLAN_ACCEPTED:
		return 0;
	case PLAN_NO_STANDBY:
		return err_set(err, -EBUSY, "kb-%u serves %s and no standby is healthy: without it nobody would serve", instance,
		               s->conf->name);
	case PLAN_BLIND_NOW:
		return err_set(err, -EBUSY,
		               "this host's senses are not trusted at the moment (clock or load): try again in a few seconds");
	case PLAN_TOO_MANY:
		return err_set(err, -ENOSPC, "%u instances of %s are held already, and each costs a guest's memory: release one",
		               PLAN_HELD_MAX, s->conf->name);
	case PLAN_NO_INSTANCE:
		return err_set(err, -ENOENT, "kb-%u fell or is being taken away", instance);
	case PLAN_BUSY:
		break;
	}
	return err_set(err, -EBUSY, "kb-%u is on its way to another state: try again in a few seconds", instance);
}

void hold_world(struct engine *e)
{
	for (size_t k = 0; k < e->holds.n; k++) {
		struct err err = {0};
		const struct hold *h = &e->holds.list[k];
		if (ask(e, h->instance, h->how, &err) < 0)
			log_notice("engine.hold", "%s after a start: %s", h->row.subject, err.text);
	}
}

static struct hold *of_instance(struct engine *e, uint32_t instance)
{
	for (size_t k = 0; k < e->holds.n; k++)
		if (e->holds.list[k].instance == instance)
			return &e->holds.list[k];
	return NULL;
}

static bool could(struct engine *e, const struct hold *h)
{
	struct engine_service *s = h->how == PLAN_HOLD_SERVICE ? service_of_instance(e, h->instance) : NULL;
	const struct engine_instance *i = s ? service_instance(s, h->instance) : NULL;
	return !i || agents_can_stop(i);
}

uint64_t hold_begin(struct engine *e, const char *how, const char *name, const char *reason, int64_t for_s, struct err *err)
{
	struct hold h = {.how = how_named(how, strlen(how)), .instance = conf_instance_named(name)};
	const struct hold *same = of_instance(e, h.instance);
	int r = h.how == PLAN_HOLD_NONE   ? err_set(err, -EINVAL, "'%.20s' is none of lock, freeze, stop-service, stop", how)
	        : h.instance == 0         ? err_set(err, -EINVAL, "'%.40s' is no instance's name, such as kb-7", name)
	        : !e->world_known         ? err_set(err, -EBUSY, "what is there is still being read: try again in a few seconds")
	        : same                    ? err_set(err, -EEXIST, "kb-%u is held already, by containment %llu", h.instance,
	                                            (unsigned long long)same->row.number)
	        : e->holds.n == HOLDS_MAX ? err_set(err, -ENOSPC, "there are %d of these already: release some", HOLDS_MAX)
	        : !could(e, &h) ? err_set(err, -ENOTSUP, "kb-%u has no agent that could stop its service: freeze it", h.instance)
	                        : ask(e, h.instance, h.how, err);
	if (r < 0)
		return 0;
	h.row = (struct ledger_containment){.number = ++e->containments.last, .begun_us = clock_real_us()};
	h.row.until_us = for_s ? h.row.begun_us + for_s * 1000000 : 0;
	h.ends_us = for_s ? clock_monotonic_us() + for_s * 1000000 : INT64_MAX;
	snprintf(h.row.subject, sizeof(h.row.subject), "%s kb-%u", hows[h.how], h.instance);
	text_copy(h.row.reason, sizeof(h.row.reason), reason);
	text_copy(h.row.who, sizeof(h.row.who), "operator");
	text_copy(h.row.state, sizeof(h.row.state), "wanted");
	contain_row_write(e, &h.row);
	e->holds.list[e->holds.n++] = h;
	return h.row.number;
}

static int release(struct engine *e, struct hold *h, struct err *err)
{
	char proof[80];
	if (h->how == PLAN_HOLD_STOP)
		return err_set(err, -EBUSY, "kb-%u is being ended: that cannot be undone", h->instance);
	int r = ask(e, h->instance, PLAN_HOLD_NONE, err);
	if (r < 0)
		return r;
	snprintf(proof, sizeof(proof), "kb-%u is no longer held", h->instance);
	finish(e, h, "ended", proof);
	return 0;
}

int hold_release(struct engine *e, uint64_t number, struct err *err)
{
	for (size_t k = 0; k < e->holds.n; k++)
		if (e->holds.list[k].row.number == number)
			return release(e, &e->holds.list[k], err);
	return err_set(err, -ENOENT, "containment %llu is not in force", (unsigned long long)number);
}

/* --- what became of it */

static bool is_done(const struct hold *h, const struct plan_instance *i)
{
	return i->life == PLAN_LIFE_HELD || (h->how == PLAN_HOLD_LOCK && i->life == PLAN_LIFE_LOCKED) ||
	       (h->how == PLAN_HOLD_SERVICE && i->life == PLAN_LIFE_STOPPED);
}

void hold_refused(struct engine *e, uint32_t instance, int status)
{
	char proof[120];
	struct hold *h = of_instance(e, instance);
	if (!h || h->how != PLAN_HOLD_SERVICE)
		return;
	snprintf(proof, sizeof(proof), "the agent of kb-%u did not stop its service (%s): it is held no more", instance,
	         strerror(-status));
	finish(e, h, "refused", proof);
}

/* True when it is over. */
static bool follow(struct engine *e, struct hold *h)
{
	char proof[120];
	struct err err = {0};
	const struct engine_service *s = service_of_instance(e, h->instance);
	const struct plan_instance *i = s ? plan_find(&s->plan, h->instance) : NULL;
	bool falls = i && plan_life_falls(i->life), stops = h->how == PLAN_HOLD_STOP;
	if (!i || (falls && !stops)) {
		snprintf(proof, sizeof(proof), "kb-%u %s", h->instance, i ? "fell and is being taken away" : "is gone");
		finish(e, h, "ended", proof);
		return true;
	}
	if (!falls && i->hold != h->how && ask(e, h->instance, h->how, &err) < 0) /* after a start it was too early for it */
		log_debug("engine.hold", "%s: %s", h->row.subject, err.text);
	if (!is_done(h, i) || strcmp(h->row.state, "in-force") == 0)
		return false;
	snprintf(proof, sizeof(proof), "kb-%u is kept from clients%s", h->instance,
	         i->life == PLAN_LIFE_HELD      ? ", its processors stand still"
	         : i->life == PLAN_LIFE_STOPPED ? ", its agent stopped its service"
	                                        : "; only this host reaches it");
	text_copy(h->row.state, sizeof(h->row.state), "in-force");
	text_copy(h->row.proof, sizeof(h->row.proof), proof);
	contain_row_write(e, &h->row);
	return false;
}

void hold_clock_set(struct engine *e)
{
	for (size_t k = 0; k < e->holds.n; k++) {
		struct ledger_containment *row = &e->holds.list[k].row;
		int64_t length_us = row->until_us - row->begun_us;
		if (row->until_us == 0)
			continue;
		row->until_us = clock_real_us() + e->holds.list[k].ends_us - clock_monotonic_us();
		row->begun_us = row->until_us - length_us;
		contain_row_write(e, row);
	}
}

void hold_pulse(struct engine *e)
{
	int64_t now_us = clock_monotonic_us();
	for (size_t k = e->holds.n; e->world_known && k-- > 0;) {
		struct hold *h = &e->holds.list[k];
		struct err err = {0};
		if (!follow(e, h) && h->ends_us <= now_us && release(e, h, &err) < 0)
			log_debug("engine.hold", "%s: %s", h->row.subject, err.text); /* at the next look again */
	}
}
