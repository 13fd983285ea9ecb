#pragma once
/*
 * Sources that are kept from the services: what they send to a service is dropped before anything else is done with it, a
 * connection that is under way too, and so is what a guest sends to them. Each containment is a chain of its own, known by its
 * number; which are in force the kernel knows, so a new koboshi-net changes nothing.
 *
 * Here, and only here, is decided what is never cut: the addresses of `never_cut`, the guests' own, the host's loopback,
 * networks so wide that everybody would be cut.
 */
#include "wire/order.h"

#include <stdio.h>

struct net;

#define CONTAIN_MAX 128 /* each costs every packet of a client a comparison */
#define CONTAIN_WIDEST4 8
#define CONTAIN_WIDEST6 16

/* Begins (flag) or ends it; idempotent. -EPERM: never cut. -ENOSPC: too many. */
int contain_do(struct net *net, const struct wire_order *order, struct wire_answer *answer, struct err *err) must_use;

/* The place of all of them; part of the base ruleset. What is in it stays. */
void contain_base(FILE *out);
