#pragma once
/*
 * How much a guest works for what it is asked, seen from outside: processor time, bytes sent, bytes read and written on its
 * disks, in proportion to the packets that it receives. Each guest is compared with itself: its usual is the median of the last
 * minute, its spread the median distance from that. A miner and a flood stand out; a busy hour does not, because what is asked
 * for grows with it.
 *
 * Robust statistics, because a few strange seconds must not move what is usual; what was alarming is not learnt. An intruder who
 * begins slowly enough can still teach it, and one in a guest that serves with more than half a processor already is hard to see:
 * this is a reason for suspicion and never a verdict by itself.
 *
 * Pure: counters and times in, a sentence out.
 */
#include "sense/usual.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define USAGE_LEARN 20         /* before there are so many nothing is known and nothing is said */
#define USAGE_ROW 3            /* so many alarming samples in a row are told */
#define USAGE_CPU_LEAST 0.5    /* of a processor: less is never alarming */
#define USAGE_SENT_LEAST 65536 /* bytes a second: less is never alarming */
#define USAGE_DISK_LEAST (2 << 20)
/* Alarming is more than so many times the usual, and more than eight spreads above it. Processor time has an upper bound that a
 * guest under load is near to already: there a small factor must do. */
#define USAGE_CPU_TIMES 2
#define USAGE_SENT_TIMES 5
#define USAGE_DISK_TIMES 5

struct usage_sample {
	int64_t time_us; /* CLOCK_MONOTONIC */
	uint64_t cpu_us; /* counters since the guest began; what it sent and received is seen at its tap */
	uint64_t sent_bytes, received_packets;
	uint64_t read_bytes, written_bytes; /* of its disks, about */
};

enum usage_feature { USAGE_CPU, USAGE_SENT, USAGE_DISK, USAGE_FEATURES };

struct usage { /* of one guest; all zero: nothing yet */
	struct usage_sample last;
	struct {
		struct usual usual; /* for each packet received, one a second */
		unsigned row;
	} features[USAGE_FEATURES];
};

struct usage_alarm {
	bool told[USAGE_FEATURES];
	char text[USAGE_FEATURES][80]; /* what it is, how much, and what would be usual */
};

/* One more, later than the last; what it has to say is in `ret_alarm`, again with each further sample that alarms. A gap of more
 * than five seconds is not judged. `usual_times`: what it does now may be learnt (not while the host has no processor to give).
 */
void usage_add(struct usage *usage, const struct usage_sample *sample, bool usual_times, struct usage_alarm *ret_alarm);

/* From how many samples is known what is usual? */
size_t usage_learnt(const struct usage *usage);
