#pragma once
/*
 * How long somebody who is asked says nothing at all, beside how long he has done so lately. Pure: time comes in with each call,
 * in microseconds of one clock, never backwards.
 *
 * A silence begins with the first thing that was asked since the last answer, and any answer ends it. It is told when several
 * things wait, each for several times the longest silence that ended by itself within the last half hour: whoever pauses now and
 * then has taught us so, whoever never did is missed soon. Nothing is told of whom we have not known for a while.
 */
#include <stdbool.h>
#include <stdint.h>

#define SILENCE_ASKED 3                     /* so many must wait: one alone may have been lost */
#define SILENCE_TIMES 4                     /* times the longest one lately */
#define SILENCE_LIMIT_MAX_US 1000000        /* beyond that nothing is told: who counts what is missed is as quick then */
#define SILENCE_KNOWN_ANSWERS 64            /* known: so many answers, if nobody says otherwise (struct silence) ... */
#define SILENCE_KNOWN_US 500000             /* ... in no less than that */
#define SILENCE_SPAN_US INT64_C(1800000000) /* what was longest is remembered for one to two of these: half an hour */
#define SILENCE_AGAIN_US 50000 /* told again after as long as it took to be told first, at least that from the second time on */

struct silence {
	int64_t asked_us[SILENCE_ASKED]; /* since the last answer: when the first ones were asked */
	uint32_t n_asked;
	uint32_t told; /* so often */
	int64_t again_us;
	uint32_t n_known;   /* so many answers are enough, 0: SILENCE_KNOWN_ANSWERS; for whoever zeroed it to set */
	uint32_t n_answers; /* ends at those */
	int64_t known_us;   /* the first answer; 0: none */
	int64_t span_us;    /* when this span began */
	int64_t longest_us, longest_before_us; /* in this span, in the one before it */
};

void silence_asked(struct silence *silence, int64_t now_us);
void silence_answered(struct silence *silence, int64_t now_us);

/* What waits may have been answered without us: nothing does any more. What was learnt stays. */
void silence_clear(struct silence *silence);

/* What silence would be told now, `least_us` at least; of whom we hardly know none is. */
struct silence_limits {
	bool known;
	int64_t longest_us; /* that ended by itself lately */
	int64_t limit_us;   /* INT64_MAX: none */
};
struct silence_limits silence_limits(const struct silence *silence, int64_t least_us);

/* Some of what is asked waits, but less than has to: when to ask more, if one can, so that it may be told as early. INT64_MAX:
 * not unless something is asked. */
int64_t silence_ask_due(const struct silence *silence, int64_t least_us);

/* When it is to be told next; INT64_MAX: not unless more is asked. */
int64_t silence_due(const struct silence *silence, int64_t least_us);

/* It was told: the next time is due after as long a silence again. */
void silence_tell(struct silence *silence, int64_t now_us, int64_t least_us);
