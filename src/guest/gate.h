#pragma once
/*
 * Who may run: the kernel asks before each execve(), and before each open() once gate_reads() was called, and waits.
 *
 * One thread decides what needs no hashing, so that a listed program never waits for another's hash; two threads hash; the
 * main thread's gate_watch() answers what took longer than the deadline as the image declared. While the decision is made
 * nothing is logged and no guarded file is opened: either would make the gate wait for itself.
 *
 * When the agent ends the kernel lets everything through. That is its way; the silence on the channel tells.
 */
#include "guest/conf.h"

/* Starts to guard. `conf` stays the caller's and unchanged. -errno when the kernel cannot ask. */
int gate_start(const struct conf *conf, bool learning, struct err *err) must_use;

/* Marks what is mounted now; to be called again when mounts change. Each new place is told of only if it cannot be marked. */
void gate_mounts(void);

/* From now on opens are asked about as well. -errno when the kernel cannot. */
int gate_reads(struct err *err) must_use;

/* Answers what is late. To be called each GATE_TICK_MS. */
#define GATE_TICK_MS 250
void gate_watch(void);

/* Learning is over. */
void gate_lock(void);
