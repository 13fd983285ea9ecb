#pragma once
/*
 * A transaction of set elements, written as netlink by hand. Every decision in a hurry is nothing else: which guest a
 * service points at, and which tap is open or fenced. It costs 0.1 ms and no parser's heap.
 */
#include "act/net/net.h"
#include "act/net/state.h"

#define BATCH_BYTES 16384

struct batch {
	char bytes[BATCH_BYTES];
	size_t fill;
	struct nlmsghdr *last;
	uint32_t sequence;
};

void batch_begin(struct batch *batch);
void batch_steer(struct batch *batch, bool add, const struct state_steer *steer);
void batch_gate(struct batch *batch, const char *tap, enum wire_gate gate);
int batch_commit(struct batch *batch, struct net *net, struct err *err) must_use; /* an empty one is a success */
