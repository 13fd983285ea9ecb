#pragma once
/*
 * What guests may open themselves: each service's profile (src/mud/profile.h) as chains of our table, kept at every tap of the
 * service. Texts of transactions only, like ruleset.c; they go into the same transactions as the tap's other rules.
 *
 * A profile that cannot be taken is refused as a whole. Then the one before goes on, as the kernel still has it; when there is
 * none nothing may be opened, as without a profile.
 */
#include "conf/conf.h"
#include "wire/order.h"

#include <stdio.h>

struct net;

enum profile_state {
	PROFILE_NONE,   /* the service names none: nothing may be opened */
	PROFILE_TAKEN,  /* in force */
	PROFILE_BEFORE, /* refused; the one that the kernel has from before goes on */
	PROFILE_CLOSED, /* refused, and there is none from before: nothing may be opened */
};

struct profile { /* of one service */
	enum profile_state state;
	char *rules;                 /* text of its chains; PROFILE_TAKEN only */
	char problem[WIRE_TEXT_MAX]; /* why it was refused and what holds instead; "" */
	uint64_t names;              /* those of `net->names` that it names, as bits */
};

/* Reads and tries every service's profile; never fails, `problem` says what was refused. Needs the kernel. */
void profile_load(struct net *net);
void profile_done(struct net *net);
/* Our tables are made anew: what only the kernel had is gone. */
void profile_lost(struct net *net);

/* What there is to be said of it: why it is not in force, or which of its names is not known; "": nothing. */
void profile_problem(const struct net *net, uint32_t service, char ret_text[static WIRE_TEXT_MAX]);

bool profile_holds(const struct net *net, uint32_t service); /* out of range: false */

/* What every tap's rules refer to; part of the base ruleset. */
void profile_base(FILE *out, const struct conf *conf);
/* The services' own chains; after the base ruleset, in the same transaction. */
void profile_rules(FILE *out, const struct net *net);
/* One tap: which service's it is, where its strays are counted and told. UINT32_MAX: nobody's. */
void profile_tap(FILE *out, const struct net *net, const struct conf_instance *instance, uint32_t service);
void profile_tap_gone(FILE *out, const struct conf *conf, const struct conf_instance *instance);

#define PROFILE_SET_MAX (CONF_NAME_MAX + 4)
/* The set that holds the taps of a service's guests. */
void profile_set(const struct conf_service *service, char ret_name[static PROFILE_SET_MAX]);
