#pragma once
/*
 * Containments: who and what is kept from the services, by an operator's word or by our own (cut.h). Each is a row in the
 * ledger before it is an order, so that it outlives every process and a reboot: it is ordered again whenever koboshi-net starts
 * or somebody changed its rules, ends on time, and shows what was read back. One order at a time is under way.
 *
 * After a reboot the kernel knows none of them, so nothing is done about guests before koboshi-net has said of each that it is in
 * force, or why it cannot be (start.h); but not for long: a service does not stay down for one that does not say.
 *
 * Its time runs by the monotonic clock. When the wall clock is set meanwhile (a device without a battery clock begins in 1970),
 * it goes on for what was left, and its row moves with the clock. After a start only the wall clock knows how much is left; never
 * more than its whole length. If the clock is then behind its beginning, it cannot be right: its row is asked again when it is
 * set.
 */
#include "conf/conf.h"
#include "ledger/ledger.h"
#include "wire/order.h"

#define CONTAIN_LIVING_MAX 128 /* as many as koboshi-net takes */
#define CONTAIN_FOR_MAX_S (365 * 86400)

struct engine;

struct containment {
	struct ledger_containment row;
	struct wire_contain what;
	int64_t ends_us;       /* CLOCK_MONOTONIC; INT64_MAX: when it is released */
	int64_t not_before_us; /* it did not work: is tried again then; CLOCK_MONOTONIC */
	bool guessed;          /* the wall clock was behind its beginning when `ends_us` was taken from the row */
	bool due;              /* koboshi-net is to be told */
	bool ending;           /* that it is over */
	bool refused;          /* its row says why it cannot be; it only ends */
	bool settled;          /* koboshi-net said, since this engine's start, that it is in force */
	bool missing;          /* it is not, and the status says so */
};

struct containments {
	struct containment list[CONTAIN_LIVING_MAX];
	size_t n;
	uint64_t last;      /* number ever given */
	uint64_t under_way; /* 0: no order is */
};

/* From the ledger, before its thread starts. What is not understood any more (a service that is gone) only ends. */
int contain_load(struct engine *e, struct ledger *l, struct err *err) must_use;

/* `subject`: see contain_parse(). `for_s` 0: until it is released. Returns its number, or 0 and a sentence in `err`: -EINVAL
 * (not understood), -EEXIST (is in force already), -ENOSPC. */
uint64_t contain_begin(struct engine *e, const char *subject, const char *reason, int64_t for_s, struct err *err);
uint64_t contain_begin_by(struct engine *e, const char *subject, const char *reason, const char *who, uint64_t incident,
                          int64_t for_s, struct err *err);
int contain_release(struct engine *e, uint64_t number, struct err *err) must_use; /* -ENOENT */

void contain_again(struct engine *e); /* koboshi-net is new, or its rules were changed: it is told everything */
void contain_answer(struct engine *e, const struct wire_order *order, const struct wire_answer *answer);
void contain_pulse(struct engine *e);     /* ten times a second: ends what is over */
void contain_clock_set(struct engine *e); /* the wall clock jumped */

/* Each was answered since the start: it is in force, or was refused for good. `_give_up`: those that were not are told of. */
bool contain_settled(const struct engine *e);
void contain_give_up(struct engine *e);

/* contain_text.c: reads what wire_contain_text() prints, and less strict forms of it (an address is a network of its own). A
 * port's service is looked up in `conf`. */
int contain_parse(const struct conf *conf, const char *text, struct wire_contain *ret_what, struct err *err) must_use;

/* Also of those in hold.h. */
void contain_row_write(struct engine *e, const struct ledger_containment *row);
