#pragma once
/*
 * The engine's hands: links to the actuators, and the orders that wait for their answers. Every order gets one answer. One
 * whose actuator ended or was replaced meanwhile is answered with -EPIPE from here, so nobody waits for the dead; one that comes
 * while it is away waits until it is back, unless a newer one on the same matter takes its place (-ECANCELED). What finds
 * WIRE_PENDING_MAX others unanswered gets -ENOBUFS, and the actuator is replaced.
 */
#include "wire/link.h"

#include <uv.h>

struct hands;

/* What the caller wants to know again when the answer comes. */
struct hands_cookie {
	uint32_t service; /* index */
	uint32_t ticket;  /* of the plan; 0: none */
	uint64_t intent;  /* row in the ledger; 0: none */
};

struct hands_events {
	/* `order` as it was sent. Never called from within hands_send(). */
	void (*answer)(void *arg, const struct hands_cookie *cookie, const struct wire_order *order,
	               const struct wire_answer *answer);
	/* Descriptors are the callee's. READY comes once for each (re)start of an actuator. */
	void (*notice)(void *arg, enum wire_role role, const struct wire_note *note, int *fds, size_t n_fds);
	void (*lost)(void *arg, enum wire_role role); /* link broken; a READY follows when it is back */
};

/* Watches the supervisor's link `fd`, on which new links arrive. `events` is kept by pointer. The supervisor's end of file
 * stops the loop. */
struct hands *hands_new(uv_loop_t *loop, int fd, const struct hands_events *events, void *arg);

/* Sends `order` to the actuator that it is for, as soon as that is ready (there is no limit in time here: the plan has
 * deadlines). What was sent before a link broke is answered from the loop. */
void hands_send(struct hands *h, const struct wire_order *order, const struct hands_cookie *cookie);

bool hands_ready(const struct hands *h, enum wire_role role);
void hands_progress(struct hands *h, uint64_t beats);     /* to the supervisor */
void hands_replace(struct hands *h, enum wire_role role); /* ask for a new one: this does not answer */

/* Closes the links, forgets the orders without an answer. The memory goes when the loop has turned once more. */
void hands_free(struct hands *h);
