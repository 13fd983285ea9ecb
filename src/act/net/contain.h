#pragma once
/*
 * What is kept from the services: sources, single flows, ports, and what is more than a limit. What of it a client sends to a
 * service is dropped before anything else is done with it, a connection that is under way too, and so is what a guest sends
 * back. A flow is also taken out of conntrack, so that nothing of it is left to go on. A limit counts new connections of a
 * source, all its addresses together (one more address must not buy one more allowance), and lets as many through at once as
 * in its time; connections that are there go on.
 *
 * Each containment is a chain of its own, known by its number; which are in force the kernel knows, so a new koboshi-net changes
 * nothing. Koboshi's own probes do not come this way: whatever is contained is never taken for a fault of the guests.
 *
 * Here, and only here, is decided what is never cut, nor limited: the addresses of `never_cut`, the guests' own, the host's
 * loopback, networks so wide that everybody would be meant. A port is closed to all but `never_cut`.
 */
#include "wire/order.h"

#include <stdio.h>

struct net;

#define CONTAIN_MAX 128 /* each costs every packet of a client a comparison */
#define CONTAIN_WIDEST4 8
#define CONTAIN_WIDEST6 16

/* Begins (flag) or ends it; idempotent. -EPERM: never cut, or no service has that port; if it was in force until now, it is no
 * more. -ENOSPC: too many. */
int contain_do(struct net *net, const struct wire_order *order, struct wire_answer *answer, struct err *err) must_use;

/* The place of all of them; part of the base ruleset. What is in it stays. */
void contain_base(FILE *out);
