#pragma once
/*
 * Containments: who is cut off from the services, by an operator's word or (later) by a ladder's. Each is a row in the ledger
 * before it is an order, so that it outlives every process and a reboot: it is ordered again whenever koboshi-net starts or
 * somebody changed its rules, ends on time, and shows what was read back. One order at a time is under way.
 */
#include "ledger/ledger.h"
#include "wire/order.h"

#define CONTAIN_LIVING_MAX 128 /* as many as koboshi-net takes */
#define CONTAIN_FOR_MAX_S (365 * 86400)

struct engine;

struct containment {
	struct ledger_containment row;
	struct wire_contain source;
	bool due;    /* koboshi-net is to be told */
	bool ending; /* that it is over */
};

struct containments {
	struct containment list[CONTAIN_LIVING_MAX];
	size_t n;
	uint64_t last;      /* number ever given */
	uint64_t under_way; /* 0: no order is */
	int64_t again_us;   /* what did not work is tried again then; CLOCK_MONOTONIC */
};

/* From the ledger, before its thread starts. */
int contain_load(struct engine *e, struct ledger *l, struct err *err) must_use;

/* `source`: an address or a network. `for_s` 0: until it is released. Returns its number, or 0 and a sentence in `err`: -EINVAL
 * (no network), -EEXIST (cut already), -ENOSPC. */
uint64_t contain_begin(struct engine *e, const char *source, const char *reason, int64_t for_s, struct err *err);
int contain_release(struct engine *e, uint64_t number, struct err *err) must_use; /* -ENOENT */

void contain_again(struct engine *e); /* koboshi-net is new, or its rules were changed: it is told everything */
void contain_answer(struct engine *e, const struct wire_order *order, const struct wire_answer *answer);
void contain_pulse(struct engine *e); /* ten times a second: ends what is over */

/* Reads a source in text; an address is a network of its own. */
int contain_parse(const char *text, struct wire_contain *ret_source, struct err *err) must_use;
