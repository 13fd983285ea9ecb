#pragma once
/*
 * Names in profiles (RFC 8520, `src-dnsname` and `dst-dnsname`). Each has two sets in our table, one of a family, which the
 * profiles' rules refer to. Rounds of questions (resolve.h) keep them as the resolvers say.
 *
 * An address stays for NAMES_KEEP_US after the last answer that had it, because guests too remember what they were told. While
 * no resolver answers the last addresses stay, however long it takes: a service must not fall with its resolver. Never taken is
 * what no profile may name: the guests' own range, loopback, link-local and multicast addresses.
 *
 * Whoever controls what the resolvers say decides whom guests reach under these names, and no more.
 */
#include "act/net/resolve.h"

#include <stdio.h>

#define NAMES_MAX 64            /* different ones, of all services */
#define NAMES_LEAST_US 10000000 /* from one question to the next, whatever the answer's time to live */
#define NAMES_MOST_US 3600000000
#define NAMES_RETRY_US 10000000 /* after one that was not answered */
#define NAMES_KEEP_US 3600000000
#define NAMES_SET_MAX 32

struct net;

struct name {
	char text[MUD_URI_MAX];
	struct name_address {
		struct resolved_address address;
		int64_t seen_us;
	} addresses[RESOLVE_ADDRESSES_MAX];
	size_t n;
	int64_t due_us;
	bool asked;       /* in the round that is under way */
	bool changed;     /* the kernel's set is not like this */
	char problem[96]; /* of the last answer; "": none */
};

struct names {
	struct name names[NAMES_MAX];
	size_t n;
	pid_t child; /* of the round that is under way; 0: none */
	int fd;      /* of that; -1 */
	int64_t end_us;
	bool news; /* a problem came or went, in this turn */
};

/* Its place, a new one if it has none; -1: there is no room. */
int names_add(struct names *names, const char *text);

void names_set(const char *text, bool v6, char ret_set[static NAMES_SET_MAX]);

/* Sets that are there from before: what is in them is taken over. */
int names_open(struct net *net, struct err *err) must_use;

/* In a transaction: sets that nobody refers to any more go (behind the profiles' chains; not while a profile from before is in
 * force, whose names are not known); the others and what is in them, for tables that are made anew. */
void names_clean(FILE *out, struct net *net);
void names_rules(FILE *out, const struct net *net);

/* The loop's part: call it when `names.fd` is readable and after `names_patience_ms` (-1: never) at the latest. True when a
 * problem came or went. */
bool names_turn(struct net *net, int64_t now_us);
int names_patience_ms(const struct names *names, int64_t now_us);

/* Of the names in `which` (bits): the first that has a problem, as a sentence; "" when none has. */
void names_problem(const struct names *names, uint64_t which, char *ret_text, size_t size);
