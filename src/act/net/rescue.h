#pragma once
/*
 * Clients do not pay for a switch, without a proxy in the path. Three kinds of them are helped, at the moment in which the map
 * changes (docs/rescue.md has the packets):
 *
 * - held: a guest refused a new connection. The reset is held back at its tap for at most RESCUE_HOLD_US. If the service points
 *   at another guest by then, the opening is sent once more, to that one, and the client never sees a refusal; else the client
 *   gets its reset, that much late.
 *
 * - asked: a guest left an opening unanswered. When its flows are cut it is sent once more, long before its client would do so.
 *
 * - told: a guest fell in the middle of a connection, and the client waits for an answer that will not come. Its kernel is made
 *   to ask (a bare SYN is answered with where it is, RFC 5961 section 4), the new guest does not know the connection and says so.
 *
 * What a client has said in a connection is not kept and never handed to another guest: it may be what felled this one.
 *
 * Nothing here decides anything, and nothing depends on it: what is lost or beyond the limits is as it would be without.
 */
#include "act/net/nflog.h"
#include "act/net/segment.h"
#include "conf/conf.h"
#include "wire/order.h"

#include <stdio.h>

struct net;

#define RESCUE_HOLD_US 500000 /* below the second after which a client repeats its opening by itself: RFC 6298, section 2.1 */
#define RESCUE_HELD_MAX 1024
#define RESCUE_ASKED_MAX 1024
#define RESCUE_TOLD_MAX 1024
#define RESCUE_ASKED_US 3000000 /* an older opening was repeated, or given up */

struct rescue_held {
	int64_t until_us;
	struct tcp_segment reset; /* from the guest, to the client */
};

struct rescue_asked {
	int64_t time_us;            /* 0: none */
	struct tcp_segment opening; /* from the client, to the service */
};

struct rescue {
	struct nflog log;
	struct segment_sockets sockets;
	char problem[WIRE_TEXT_MAX];                      /* why nobody is helped; "": is done */
	int64_t read_us;                                  /* when the log was read last */
	size_t n_held, next_asked, n_again, n_told, told; /* `told`: of n_told, so many are done */
	struct rescue_held held[RESCUE_HELD_MAX];
	struct rescue_asked asked[RESCUE_ASKED_MAX]; /* a ring */
	struct tcp_segment again[RESCUE_ASKED_MAX];  /* unanswered ones, while flows are cut */
	struct tcp_segment to_tell[RESCUE_TOLD_MAX]; /* from the service, to the client */
};

struct rescue_counts {
	unsigned again; /* openings that were sent again */
	unsigned told;  /* clients that are told */
};

/* Texts of the base ruleset. A service is helped when it is in the sets, that is if `problem` is empty and it is not switched
 * off. */
void rescue_base(FILE *out, const struct conf *conf, bool in_force);

/* Before privileges are given up. Never fails: `net->rescue.problem` says what is missing. */
void rescue_open(struct net *net);
void rescue_done(struct rescue *rescue);

/* The service points at `to` (0: nobody) and not at `from` any more (0: at nobody before). Before the flows of `from` are cut. */
struct rescue_move {
	uint32_t service, from, to;
};
void rescue_moved(struct net *net, const struct rescue_move *move, struct rescue_counts *counts);
/* After it, when the wire of `from` is down: who was lost on the way to it is asked for again at once. */
void rescue_lost(struct net *net, const struct rescue_move *move, struct rescue_counts *counts);
/* A guest's flows are cut: who sees them passes them on. Whoever got no answer from it is asked for again at the end (how many:
 * the answer), when the map leads elsewhere; whoever waits for one is told in the next turns. One at a time. */
struct rescue_cut {
	struct net *net;
	int64_t now_us;
	struct conf_instance guest;
	bool helped;
	unsigned told;
};
void rescue_cut_begin(struct net *net, uint32_t instance, struct rescue_cut *ret_cut);
void rescue_cut_saw(void *cut, const struct nlmsghdr *message);
unsigned rescue_cut_end(struct rescue_cut *cut);

/* The program's loop: what to wait for, at most how long (ms, -1: nothing is due), and a turn. */
int rescue_fd(const struct rescue *rescue);
int rescue_patience_ms(const struct rescue *rescue);
void rescue_turn(struct net *net);
