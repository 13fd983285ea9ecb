#pragma once
/*
 * Clients' connection requests that a guest has not answered yet. Pure: time comes in with each call, in microseconds of one
 * clock. Bounded: SYNS_MAX pending in all, SYNS_GUEST_MAX of one guest, SYNS_GUESTS_MAX guests; the oldest of the guest gives
 * way.
 */
#include "sense/nflog.h"

#define SYNS_MAX 1024
#define SYNS_GUEST_MAX 256
#define SYNS_GUESTS_MAX 64
#define SYNS_USUAL_TIMES 4        /* a handshake that takes so many times the usual one is overdue */
#define SYNS_LIMIT_MAX_US 1000000 /* a guest that is slow on purpose cannot raise its limit beyond this */

struct syn_key {
	struct nflog_address client;
	uint16_t client_port, port;
	uint32_t instance;
};

struct syn_overdue {
	struct syn_key key;
	int64_t began_us;
};

struct syn_table;

/* `least_us`: no request is overdue before that. `seed`: random, so that no client can choose collisions. Never NULL. */
struct syn_table *syn_table_new(int64_t least_us, uint64_t seed);
void syn_table_free(struct syn_table *table);

/* A SYN on its way to the guest. Another of the same kind while one is pending says nothing: a network may double it, and a
 * client may ask as often as it likes. True: it is a new one. */
bool syn_table_add(struct syn_table *table, const struct syn_key *key, int64_t now_us);

/* The guest's answer, of whatever kind. `usable`: an acceptance, whose time says what is usual. True if it was pending. */
bool syn_table_answer(struct syn_table *table, const struct syn_key *key, int64_t now_us, bool usable, int64_t *ret_began_us);

/* Takes one overdue request out; false when none is. */
bool syn_table_overdue(struct syn_table *table, int64_t now_us, struct syn_overdue *ret_overdue);

int64_t syn_table_deadline(const struct syn_table *table); /* when the next becomes overdue; INT64_MAX: none pending */
int64_t syn_table_limit(const struct syn_table *table, uint32_t instance);
void syn_table_forget(struct syn_table *table, uint32_t instance); /* its pending ones and what was usual */
void syn_table_clear(struct syn_table *table);                     /* all pending ones: answers may have been lost */
size_t syn_table_count(const struct syn_table *table);
uint64_t syn_table_displaced(const struct syn_table *table);
