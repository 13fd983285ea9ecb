#pragma once
/*
 * What became of the requests, added up. The tally judges nothing by itself: it is told one finished request at a time and
 * keeps what a report needs: counts by outcome, latencies of good answers, the longest time without one.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum outcome {
	OUTCOME_GOOD,
	OUTCOME_REFUSED, /* a reset instead of a connection */
	OUTCOME_RESET,   /* cut while the answer was awaited */
	OUTCOME_TIMEOUT,
	OUTCOME_CLOSED, /* ended in order, but too early */
	OUTCOME_STATUS, /* an HTTP answer that is not 200 */
	OUTCOME_WRONG,  /* 200, but not the content that was expected */
	OUTCOME_OTHER,  /* no route, no port left, an answer that is no HTTP */
	OUTCOME_MAX_
};

#define TALLY_REQUESTS_MAX 2000000
#define TALLY_BODIES_MAX 16
#define TALLY_HASH_TEXT 65 /* SHA-256 in hex, with NUL */

/* One request. Times are CLOCK_MONOTONIC in microseconds, 0 when it did not get that far. */
struct sample {
	uint64_t number;
	int64_t due_us; /* when it should have left: a stall of ours or of the network is charged to every request that it delayed
	                 */
	int64_t start_us, connected_us, first_us, end_us;
	int status;
	enum outcome outcome;
	uint16_t source_port;
	char hash[TALLY_HASH_TEXT]; /* of the body; empty without one */
};

struct tally {
	uint64_t requests, late;
	uint64_t outcomes[OUTCOME_MAX_];
	int64_t begin_us, last_good_us, gap_us, gap_at_us;
	int64_t late_after_us;
	uint32_t *latencies; /* of good answers, from due to end */
	size_t n_latencies;
	struct {
		char hash[TALLY_HASH_TEXT];
		uint64_t count;
	} bodies[TALLY_BODIES_MAX]; /* kinds seen; what does not fit is only counted as requests */
	size_t n_bodies;
};

const char *outcome_name(enum outcome outcome);

/* Room for `requests` latencies, at most TALLY_REQUESTS_MAX. */
void tally_init(struct tally *tally, size_t requests, int64_t begin_us, int64_t late_after_us);
void tally_done(struct tally *tally);

void tally_add(struct tally *tally, const struct sample *sample);

/* Ends the last gap at `end_us`, sorts, writes one JSON object. `name` holds letters, digits and hyphens only; `realtime` says
 * whether who asked ran ahead of all others on its machine. */
void tally_report(struct tally *tally, const char *name, bool realtime, int64_t end_us, FILE *to);

void sample_csv_head(FILE *to);
void sample_csv(const struct sample *sample, FILE *to);
