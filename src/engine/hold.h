#pragma once
/*
 * Instances that somebody wants kept from clients, frozen or ended: rows among the containments (contain.h), carried out by the
 * plan, which refuses what would leave a service without anybody to serve it. They outlive the engine; a reboot of the host ends
 * them, as it ends their guests. `stop` is over as soon as its guest is gone.
 */
#include "ledger/ledger.h"
#include "plan/plan.h"

#define HOLDS_MAX 16

struct engine;

struct hold {
	struct ledger_containment row;
	int64_t ends_us; /* CLOCK_MONOTONIC; INT64_MAX: when it is released */
	uint32_t instance;
	enum plan_hold how;
};

struct holds {
	struct hold list[HOLDS_MAX];
	size_t n;
};

bool hold_is(const char *subject);                                           /* "lock kb-7": of these, and no other containment */
int hold_load(struct engine *e, struct ledger *l, struct err *err) must_use; /* before the ledger's thread starts */
void hold_world(struct engine *e);                                           /* the plans know their instances now */

/* `how`: "lock", "freeze", "stop-service", "stop"; `name`: "kb-7". `for_s` 0: until it is released. Its number among the
 * containments, or 0 and a sentence in `err`: -EINVAL, -ENOENT (no such instance), -EEXIST (is held already), -EBUSY (not now),
 * -ENOSPC (too many), -ENOTSUP (it has no agent that could). */
uint64_t hold_begin(struct engine *e, const char *how, const char *name, const char *reason, int64_t for_s, struct err *err);
int hold_release(struct engine *e, uint64_t number, struct err *err) must_use; /* -ENOENT, -EBUSY */
void hold_refused(struct engine *e, uint32_t instance, int status);            /* PLAN_STEP_SERVICE_NOT_STOPPED */
void hold_clock_set(struct engine *e); /* the wall clock was: what is left of a hold's time stays the same */
void hold_pulse(struct engine *e);     /* ten times a second: what became of them, and what is over */
