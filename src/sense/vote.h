#pragma once
/*
 * Who answers otherwise than the others? All were asked the same at the same moment; each answer is a digest of what is compared.
 * Who is outside of a strict majority is outvoted; where there is none, as between two, everybody differs, and nobody knows who
 * is right. No answer says nothing.
 *
 * One round is never enough: content may change between the moments at which two instances look at it. So what a round said is
 * followed into the next one, about the same question: it counts on only if whoever it is measured by has said the same twice.
 * Content that moves all the time convicts nobody; a liar who says something else each time does not make it move.
 *
 * Pure: answers in, results out.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VOTE_VOTERS_MAX 32
#define VOTE_DIGEST 32

enum vote_result {
	VOTE_ABSTAINS, /* no answer, or one that is not compared */
	VOTE_AGREES,   /* with all others, or with the majority */
	VOTE_OUTVOTED, /* at least three answered, and more than half of them said the same other thing */
	VOTE_DIFFERS   /* from somebody, and there is no majority */
};

struct vote_ballot {
	uint32_t instance;
	bool answered;
	bool doubtful; /* perhaps only a part of an answer: counts on only if it comes again */
	uint8_t digest[VOTE_DIGEST];
	enum vote_result result;
	unsigned row; /* in so many rounds, this one the last: the same result, outvoted or differs, and steady */
};

struct vote {
	size_t n;
	struct vote_ballot ballots[VOTE_VOTERS_MAX];
};

/* Fills each ballot's result; the row of what speaks against somebody is 1. */
void vote_count(struct vote *vote);

/* `vote` was counted and is about the same question as `before`, which was asked just before it: fills the rows. True: something
 * differs in both, and it was not because the content moves. */
bool vote_follow(const struct vote *before, struct vote *vote);

/* Of the majority, or of the first who says something else than `me`; NULL: nobody does. */
const struct vote_ballot *vote_other(const struct vote *vote, const struct vote_ballot *me, size_t *ret_n);
