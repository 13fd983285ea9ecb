#pragma once
/*
 * What is ours in the network against somebody else's hand: a firewall that loads its own rules over all others, an
 * administrator's `nft flush ruleset`, an intruder on the host. The kernel tells of every change and, of rules, whose it was;
 * what should be there is remembered from the orders, and is put back in one transaction.
 *
 * A `koboshi-net --down` by hand is no stranger: the rules that it takes away stay away.
 */
#include "wire/order.h"

#include <libmnl/libmnl.h>

struct net;

struct guard_tap {
	uint32_t number;
	enum wire_gate gate;
	uint32_t service; /* UINT32_MAX: unknown */
};

/* How it shall be: what the orders since the start made of what was there then. */
struct guard_wanted {
	uint32_t target[WIRE_SERVICES_MAX]; /* 0: nowhere */
	struct guard_tap taps[WIRE_INSTANCES_MAX];
	size_t n_taps;
};

struct guard {
	struct mnl_socket *rules, *host; /* the kernel's news of netfilter; of addresses, forwarding and links */
	struct guard_wanted wanted;
	bool ours_in_batch;    /* the transaction that is being told of changes a table of ours */
	bool rules_gone;       /* they were changed and are not back yet */
	char culprit[64];      /* by whom: "nft (process 4711)" */
	const char *host_gone; /* what else was changed and is not back yet, as a sentence; NULL: nothing */
	int64_t seen_us;       /* when the first of it was seen */
	int64_t not_before_us; /* the next repair: two programs that undo each other's work must not fill the processor */
};

/* Listens from now on: before our rules are loaded, so that nobody undoes them unheard. */
int guard_open(struct net *net, struct err *err) must_use;
/* Takes what is there for what shall be. Blocking reads of the kernel, some milliseconds. */
int guard_begin(struct net *net, struct err *err) must_use;
void guard_done(struct guard *guard);

/* An order was carried out: this is how it shall be now. */
void guard_ordered(struct guard *guard, const struct wire_order *order);

/* Reads the news and repairs. Returns 1 when it did, with a sentence in `ret_text`; 0: nothing to do, or not yet; -errno: it
 * cannot be repaired, which is tried again. */
int guard_look(struct net *net, char *ret_text, size_t size, struct err *err) must_use;

/* Milliseconds until guard_look should be called though no news came; -1: never. */
int guard_patience_ms(const struct guard *guard);
