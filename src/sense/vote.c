/* See vote.h. */
#include "sense/vote.h"

#include <string.h>

static bool same(const struct vote_ballot *a, const struct vote_ballot *b)
{
	return memcmp(a->digest, b->digest, VOTE_DIGEST) == 0;
}

/* How many say what this one says, itself among them? */
static size_t count_like(const struct vote *vote, const struct vote_ballot *one)
{
	size_t n = 0;
	for (size_t i = 0; i < vote->n; i++)
		n += vote->ballots[i].answered && same(&vote->ballots[i], one);
	return n;
}

static size_t count_answered(const struct vote *vote)
{
	size_t n = 0;
	for (size_t i = 0; i < vote->n; i++)
		n += vote->ballots[i].answered;
	return n;
}

/* What more than half of those who answered say; NULL: there is no such thing. */
static const struct vote_ballot *majority(const struct vote *vote)
{
	size_t answered = count_answered(vote);
	for (size_t i = 0; i < vote->n; i++)
		if (vote->ballots[i].answered && 2 * count_like(vote, &vote->ballots[i]) > answered)
			return &vote->ballots[i];
	return NULL;
}

void vote_count(struct vote *vote)
{
	const struct vote_ballot *most = majority(vote);
	for (size_t i = 0; i < vote->n; i++) {
		struct vote_ballot *b = &vote->ballots[i];
		if (!b->answered)
			b->result = VOTE_ABSTAINS;
		else if (!most)
			b->result = VOTE_DIFFERS;
		else
			b->result = same(b, most) ? VOTE_AGREES : VOTE_OUTVOTED; /* of two nobody is a majority */
		b->row = b->result >= VOTE_OUTVOTED;
	}
}

static const struct vote_ballot *ballot_of(const struct vote *vote, uint32_t instance)
{
	for (size_t i = 0; i < vote->n; i++)
		if (vote->ballots[i].instance == instance && vote->ballots[i].answered)
			return &vote->ballots[i];
	return NULL;
}

/* Where nobody is the measure: somebody stayed with his answer, and nobody's may be a piece of one. */
static bool differs_steadily(const struct vote *before, const struct vote *vote)
{
	bool steady = false;
	for (size_t i = 0; i < vote->n; i++) {
		const struct vote_ballot *b = &vote->ballots[i], *old = ballot_of(before, b->instance);
		bool stayed = b->answered && old && same(b, old);
		if (b->answered && b->doubtful && !stayed)
			return false;
		steady |= stayed;
	}
	return steady;
}

bool vote_follow(const struct vote *before, struct vote *vote)
{
	const struct vote_ballot *most = majority(vote), *most_before = majority(before);
	bool steady = most ? most_before && same(most, most_before) : differs_steadily(before, vote);
	bool any = false;
	for (size_t i = 0; i < vote->n && steady; i++) {
		struct vote_ballot *b = &vote->ballots[i];
		const struct vote_ballot *old = ballot_of(before, b->instance);
		if (b->result < VOTE_OUTVOTED || !old || old->result != b->result || (b->doubtful && !same(b, old)))
			continue;
		b->row = old->row + 1;
		any = true;
	}
	return any;
}

const struct vote_ballot *vote_other(const struct vote *vote, const struct vote_ballot *me, size_t *ret_n)
{
	const struct vote_ballot *other = majority(vote);
	for (size_t i = 0; i < vote->n && !other; i++)
		if (vote->ballots[i].answered && !same(&vote->ballots[i], me))
			other = &vote->ballots[i];
	if (!other || same(other, me))
		return NULL;
	*ret_n = count_like(vote, other);
	return other;
}
