#pragma once
/*
 * Orders wait here for a worker. Rules: orders of one instance are carried out one after the other, in the order of their
 * coming; slow ones (create, destroy, evidence: seconds) never hold more than QUEUE_SLOW_MAX of the workers, so that a
 * suspend or a wake-up always finds one free; and what asks libvirt nothing has a worker left, whatever hangs there, and passes
 * what its instance waits for.
 */
#include "wire/order.h"

#define QUEUE_WORKERS 7
#define QUEUE_SLOW_MAX 4

struct queue;
typedef void queue_carry(void *arg, const struct wire_order *order, uint64_t link);

/* Starts the workers. `carry` is called on them, without any lock held. */
struct queue *queue_new(queue_carry *carry, void *arg);

/* Stops taking orders, waits for those under way. For tests; the program just exits. */
void queue_free(struct queue *queue);

/* 0, or -EBUSY when WIRE_PENDING_MAX orders wait or run already. Never blocks. */
int queue_push(struct queue *queue, const struct wire_order *order, uint64_t link, struct err *err) must_use;

/* Forgets what has not been started: the engine that ordered it is gone. Returns how many. */
size_t queue_forget(struct queue *queue);
