#pragma once
/*
 * Holds connections of whoever knocked where nobody is: a byte now and then, out of a text that never ends, for as long as the
 * other side has patience. Nothing that it sends is ever read. Bounded: `limit` connections, some 40 bytes for each here and, in
 * the kernel, the smallest buffers that it gives; when one more comes, the oldest goes. Never blocks; no memory is asked for
 * after the start. One thread; time comes in with each call.
 */
#include "lib/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TARPIT_LEAST_US 4000000 /* from one byte to the next: so long ... */
#define TARPIT_SPAN_US 12000000 /* ... and up to so much longer, by chance */

struct tarpit;

struct tarpit_counts {
	uint64_t held;      /* now */
	uint64_t taken;     /* since the start */
	uint64_t displaced; /* of these: the oldest, that made room */
	uint64_t bytes;     /* given away */
};

/* `watcher` is an epoll descriptor; each connection is watched there for its end alone, with tarpit_ended's `id` as data, which
 * has TARPIT_ID set. Never NULL. */
#define TARPIT_ID (1ull << 63)
struct tarpit *tarpit_new(size_t limit, int watcher);
void tarpit_free(struct tarpit *tarpit); /* ends all */

/* Makes a listening socket such that what it accepts has small buffers and ends without a trace. */
int tarpit_prepare(int listening, struct err *err) must_use;

/* Accepts what waits at `listening`, at most `most`. 0: there may be more, or nothing waits; -errno: cannot accept just now, try
 * again after a while. */
int tarpit_accept(struct tarpit *tarpit, int listening, size_t most, int64_t now_us);

/* The watcher told the end of `id`; one that is gone already is nothing. */
void tarpit_ended(struct tarpit *tarpit, uint64_t id);

/* Gives a byte to whom it is due. Returns when to come again; INT64_MAX: nobody is there. */
int64_t tarpit_dribble(struct tarpit *tarpit, int64_t now_us);

void tarpit_counts(const struct tarpit *tarpit, struct tarpit_counts *ret_counts);
