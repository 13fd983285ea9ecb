#pragma once
/*
 * Flows of each guest as features of ten seconds, each compared with what is usual for this guest. A cost per flow, none per
 * packet: the kernel tells of flows that began and ended, with what went through them; what a guest wants to open and the rules
 * refuse is told by them.
 *
 * Two kinds of features. What the guest does by itself speaks against it when it is unusual: to how many places it goes, how
 * often, how many of those do not answer, how much it sends to them, how many names it asks for in vain, and in what rhythm. What
 * clients do (how many come, how many new ones, how much they ask for and get) is shown and never judged: a busy hour, a new
 * customer and a flood say nothing about the guest. Nor does load make the guest's own doings alarming: a guest that asks another
 * for each client asks more often when more clients come. So under load it is compared with itself under
 * load, in proportion to the flows that clients opened, and else with itself without load; what alarms is more than either
 * allows.
 *
 * Usual is the median of the last ten minutes, and a median distance from it; nothing is said of a guest before a minute of its
 * work is known, and what alarmed is not learnt (usual.h). An intruder who stays below the least that can alarm, or who was there
 * from the beginning, is not found here.
 *
 * Pure: facts and times of one clock in, sentences out through one callback. Bounded: FLOWS_GUESTS_MAX guests, FLOW_TABLE_MAX
 * open flows, FLOW_SET_MAX places and tries a window, FLOWS_PEERS_MAX clients that are remembered, CALLERS_MAX of them by their
 * address; some 3 MB when all of that is there.
 */
#include "sense/callers.h"
#include "sense/conntrack.h"
#include "sense/dns.h"
#include "sense/usual.h"

#define FLOWS_GUESTS_MAX 64
#define FLOWS_WINDOW_US 10000000
#define FLOWS_LEARN 6 /* windows before anything is judged */
#define FLOWS_LOAD 10 /* so many flows of clients in a window are a load */
#define FLOWS_PEERS_MAX 1024
#define FLOWS_TEXT_MAX 112

enum flows_feature {
	/* what the guest does: judged */
	FLOWS_FANOUT, /* different places (address and port) that it went to or wanted to */
	FLOWS_OPENED, /* times that it did */
	FLOWS_FAILED, /* of the places, those that did not answer, or refused, or that the rules refused */
	FLOWS_SENT,   /* bytes that it sent in flows that it opened and that ended */
	FLOWS_NAMES,  /* names that it asked for in vain */
	FLOWS_JUDGED,
	/* what clients do: shown */
	FLOWS_ASKED = FLOWS_JUDGED, /* flows that they opened */
	FLOWS_PEERS,                /* clients that were not seen in the last hour */
	FLOWS_SILENT,               /* flows of theirs that ended without an answer */
	FLOWS_IN,                   /* bytes that they sent in flows that ended */
	FLOWS_OUT,                  /* bytes that they got in these */
	FLOWS_FEATURES
};

struct flows;

/* `text` holds until the call ends: the feature, its value, what is usual. */
typedef void flows_tell(void *arg, uint32_t instance, int64_t began_us, int64_t time_us, const char *text);

/* `seed`: random, so that nobody can choose collisions. Never NULL. */
struct flows *flows_new(uint64_t seed, flows_tell *tell, void *arg);
void flows_free(struct flows *flows);

/* Adding again updates; more than FLOWS_GUESTS_MAX are not followed. */
void flows_add(struct flows *flows, uint32_t instance, const struct nflog_address *address4,
               const struct nflog_address *address6);
void flows_remove(struct flows *flows, uint32_t instance);
void flows_cut(struct flows *flows, uint32_t instance); /* none of its flows is open any more */

/* Is it at work? Only then it is judged, and what it does learnt: to boot, to wake and to fall are not like any other time. */
void flows_work(struct flows *flows, uint32_t instance, bool at_work, int64_t now_us);

/* Facts. Times do not go backwards. `instance`: whose mark the flow bears; 0 or unknown is passed over. */
void flows_flow(struct flows *flows, uint32_t instance, const struct conntrack_flow *flow, int64_t now_us);
/* It sent a packet that opens something; whether anything came of it, a flow says. `from_port` 0: nothing tells a try from its
 * repetition. */
void flows_tried(struct flows *flows, uint32_t instance, const struct nflog_address *to, uint16_t port, uint8_t protocol,
                 uint16_t from_port, int64_t now_us);
/* An answer to a name that it asked for. */
void flows_named(struct flows *flows, uint32_t instance, const struct dns_answer *answer, int64_t now_us);

void flows_begin(struct flows *flows);                /* a new source: a list of what is open follows */
void flows_lost(struct flows *flows);                 /* some were not told: which flows are open is no longer known */
void flows_tick(struct flows *flows, int64_t now_us); /* closes windows that are over; call it once a second */

struct flows_look {  /* at one feature of one guest, in flows_feature_unit() */
	double last; /* in the last whole window; 0 before */
	double usual, most;
	double alarming; /* more than this is; 0: it is not judged, or not yet */
};

struct flows_counts {
	uint64_t began, ended, evicted, lost;
	size_t open; /* of all guests */
};

/* False: it is not followed. `ret_windows`: so many are learnt; `ret_open`: flows that are open now. */
bool flows_look(const struct flows *flows, uint32_t instance, struct flows_look ret_looks[static FLOWS_FEATURES],
                size_t *ret_windows, size_t *ret_open);
/* Whose flows it had open, or since then. 0 when it is not followed. */
size_t flows_callers(const struct flows *flows, uint32_t instance, int64_t since_us,
                     struct nflog_address ret_networks[static CALLERS_MAX]);
void flows_counts(const struct flows *flows, struct flows_counts *ret_counts);
const char *flows_feature_name(enum flows_feature feature); /* "fan-out" */
const char *flows_feature_unit(enum flows_feature feature); /* "places" */
