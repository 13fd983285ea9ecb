#pragma once
/*
 * The same question to all instances at the same moment, and what their answers say about one another: sees what the manifest
 * does not know. VANTAGE_PEER: FINDING_OUTVOTED against whoever is outside of a majority of at least three, twice in a row, one
 * probe interval apart; FINDING_DIFFERS against both of two (or all of many without a majority), three times in a row, the third
 * in its turn: whoever can be convicted by others has fallen by then and takes the suspicion against its neighbour along.
 *
 * Who does not answer abstains, and nothing is said about it: that is for the other probes. What is compared is told in the help
 * of `probe.peer` (conf/schema.c).
 */
#include "sense/sense.h"

struct sense_peer;

struct sense_peer_counts {
	uint64_t rounds;            /* questions that two or more answered */
	uint64_t differed;          /* of these, answered in more than one way */
	uint64_t moved;             /* of these, dropped because the content itself had moved when it was asked again */
	char moving[CONF_PATH_MAX]; /* the path of the last of these; "" */
};

/* Copies `probe`. Nobody is asked before two were added. Never NULL. The report function may add, remove and free. */
struct sense_peer *sense_peer_new(uv_loop_t *loop, const struct conf_probe *probe, sense_report *report, void *arg);

/* `target` is asked as http.c asks it: its own address, sources, hosts. Its vantage is not looked at. One of the same number is
 * replaced; more than VOTE_VOTERS_MAX are not asked. */
void sense_peer_add(struct sense_peer *peer, const struct sense_target *target);
void sense_peer_remove(struct sense_peer *peer, uint32_t instance);

void sense_peer_counts(const struct sense_peer *peer, struct sense_peer_counts *ret_counts);
void sense_peer_free(struct sense_peer *peer); /* no report afterwards; NULL is fine */
