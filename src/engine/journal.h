#pragma once
/*
 * The ledger's own thread, so that no fsync ever holds up the loop. Jobs run in the order given; all that is waiting is
 * committed together. Whoever must not act before a fact is on disk acts in `done`.
 */
#include "ledger/ledger.h"

#include <uv.h>

struct journal;

/* Runs on the ledger's thread; touches the job only. May run twice (once in a batch that was rolled back). */
typedef int journal_work(struct ledger *l, void *job, struct err *err);

/* Runs on the loop; owns the job from here (a NULL `done` frees it). `status` 0 means durable. */
typedef void journal_done(void *job, int status, const struct err *err);

/* Called on the loop when the ledger stops or starts being writable. */
typedef void journal_state(void *arg, bool writable, const char *why);

struct journal *journal_new(uv_loop_t *loop, struct ledger *l, journal_state *state, void *arg);

/* Takes `job` (malloc'ed). At most JOURNAL_JOBS_MAX wait; beyond that `done` gets -ENOBUFS on the next turn of the loop. */
#define JOURNAL_JOBS_MAX 2048
void journal_put(struct journal *j, journal_work *work, journal_done *done, void *job);

/* What is put between these two is one transaction, as far as it can be written at all: after a crash all of it is there or
 * nothing. Short, and never around a wait: the thread takes nothing meanwhile. Not nested. */
void journal_hold(struct journal *j);
void journal_release(struct journal *j);

/* The same for a job that only reads: outside of any transaction, so it works when nothing can be written, and says nothing
 * about whether something can. It sees all that was put before it. */
void journal_ask(struct journal *j, journal_work *work, journal_done *done, void *job);

/* From time to time: a disk that has not answered for JOURNAL_STUCK_US counts as not writable until it does. */
#define JOURNAL_STUCK_US 3000000
void journal_check(struct journal *j, int64_t now_us);

/* Finishes what waits, ends the thread, closes the ledger. */
void journal_free(struct journal *j);
