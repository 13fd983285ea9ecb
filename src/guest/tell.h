#pragma once
/* What the guards saw, on its way to the channel: a ring that threads put into without waiting for anybody, and the counters that
 * every BEAT bears. Nothing is printed, written or allocated. */
#include "wire/agent.h"

#include <stdatomic.h>
#include <stdint.h>

struct tell_counters {
	_Atomic uint64_t decided, denied, late;
	_Atomic uint32_t lost;
};
extern struct tell_counters tell_counters;

/* A descriptor that becomes readable when something was told; made once, before any thread. */
int tell_init(struct err *err) must_use;

/* Any thread. The same thing again within TELL_AGAIN_S, or more than TELL_PER_S, is counted as lost. */
#define TELL_AGAIN_S 1
#define TELL_PER_S 10
void tell(enum agent_what what, uint32_t detail, const char *text);

/* The oldest one, of the main thread: false when there is none. */
struct tell_one {
	uint32_t what, detail;
	char text[AGENT_TEXT];
};
bool tell_take(struct tell_one *ret_one);
