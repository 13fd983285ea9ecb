/*
 * See journal.h. Two lists under one lock: waiting (for the thread) and finished (for the loop). A batch is one
 * transaction; when it fails it is rolled back and each job is tried alone, so that one bad row does not take others along.
 */
#include "engine/journal.h"

#include "lib/bytes.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

struct entry {
	struct entry *next;
	journal_work *work;
	journal_done *done;
	void *job;
	bool reads;
	int status;
	struct err err;
};

struct list {
	struct entry *first, **end;
};

struct journal {
	struct ledger *ledger;
	uv_thread_t thread;
	uv_mutex_t lock;
	uv_cond_t wake;
	uv_async_t async;
	struct list waiting, finished;
	size_t n_waiting;
	int64_t since_us; /* when the thread took the batch that it works on; 0: none */
	bool held, stop;
	bool writable;
	journal_state *state;
	void *arg;
};

static void list_clear(struct list *list)
{
	list->first = NULL;
	list->end = &list->first;
}

static void list_append(struct list *list, struct entry *entry)
{
	entry->next = NULL;
	*list->end = entry;
	list->end = &entry->next;
}

static void run_alone(struct ledger *l, struct entry *entry)
{
	entry->err = (struct err){0};
	entry->status = ledger_begin(l, &entry->err);
	if (entry->status == 0)
		entry->status = entry->work(l, entry->job, &entry->err);
	if (entry->status == 0)
		entry->status = ledger_commit(l, &entry->err);
	if (entry->status < 0)
		ledger_rollback(l);
}

static int run_together(struct ledger *l, struct entry *first)
{
	struct err err = {0};
	int r = ledger_begin(l, &err);
	for (struct entry *e = first; e && r == 0; e = e->next)
		if (!e->reads)
			r = e->status = e->work(l, e->job, &err);
	return r == 0 ? ledger_commit(l, &err) : r;
}

static void run_batch(struct ledger *l, struct entry *first)
{
	bool writes = false, alone = false;
	for (struct entry *e = first; e; e = e->next)
		writes = writes || !e->reads;
	if (writes && run_together(l, first) < 0) {
		ledger_rollback(l);
		alone = true;
	}
	for (struct entry *e = first; e; e = e->next)
		if (e->reads)
			e->status = e->work(l, e->job, &e->err);
		else if (alone)
			run_alone(l, e);
}

static void thread_main(void *arg)
{
	struct journal *j = arg;
	uv_mutex_lock(&j->lock);
	for (;;) {
		while ((!j->waiting.first || j->held) && !j->stop)
			uv_cond_wait(&j->wake, &j->lock);
		if (!j->waiting.first || j->held)
			break;
		struct entry *batch = j->waiting.first;
		list_clear(&j->waiting);
		j->n_waiting = 0;
		j->since_us = clock_monotonic_us();
		uv_mutex_unlock(&j->lock);
		run_batch(j->ledger, batch);
		uv_mutex_lock(&j->lock);
		j->since_us = 0;
		for (struct entry *e = batch, *next; e; e = next) {
			next = e->next;
			list_append(&j->finished, e);
		}
		uv_async_send(&j->async);
	}
	uv_mutex_unlock(&j->lock);
}

/* Only faults of the medium count, not a job's own "no such row". */
static bool is_medium_fault(int status)
{
	return status == -ENOSPC || status == -EROFS || status == -EIO || status == -EACCES || status == -EPERM ||
	       status == -ENODEV || status == -EBUSY || status == -EBADMSG;
}

static void state_set(struct journal *j, bool writable, const char *why)
{
	if (writable == j->writable)
		return;
	j->writable = writable;
	if (j->state)
		j->state(j->arg, writable, why);
}

static void finish(struct journal *j, struct entry *entry)
{
	if (!entry->reads && is_medium_fault(entry->status))
		state_set(j, false, entry->err.text);
	else if (!entry->reads && entry->status == 0)
		state_set(j, true, "");
	if (entry->done)
		entry->done(entry->job, entry->status, &entry->err);
	else
		free(entry->job);
	free(entry);
}

static void drain(struct journal *j)
{
	uv_mutex_lock(&j->lock);
	struct entry *first = j->finished.first;
	list_clear(&j->finished);
	uv_mutex_unlock(&j->lock);
	for (struct entry *e = first, *next; e; e = next) {
		next = e->next;
		finish(j, e);
	}
}

static void on_async(uv_async_t *async)
{
	drain(async->data);
}

struct journal *journal_new(uv_loop_t *loop, struct ledger *l, journal_state *state, void *arg)
{
	struct journal *j = calloc(1, sizeof(*j));
	assert(j);
	j->ledger = l;
	j->state = state;
	j->arg = arg;
	j->writable = true;
	list_clear(&j->waiting);
	list_clear(&j->finished);
	uv_mutex_init(&j->lock);
	uv_cond_init(&j->wake);
	uv_async_init(loop, &j->async, on_async);
	j->async.data = j;
	uv_thread_options_t options = {.flags = UV_THREAD_HAS_STACK_SIZE, .stack_size = 256 * 1024};
	int r = uv_thread_create_ex(&j->thread, &options, thread_main, j);
	assert(r == 0);
	return j;
}

static void put(struct journal *j, bool reads, journal_work *work, journal_done *done, void *job)
{
	struct entry *entry = calloc(1, sizeof(*entry));
	assert(entry && job);
	entry->reads = reads;
	entry->work = work;
	entry->done = done;
	entry->job = job;
	uv_mutex_lock(&j->lock);
	if (j->n_waiting >= JOURNAL_JOBS_MAX) {
		entry->status =
		        err_set(&entry->err, -ENOBUFS, "the ledger does not keep up: more than %d facts wait", JOURNAL_JOBS_MAX);
		list_append(&j->finished, entry);
		uv_async_send(&j->async);
	} else {
		list_append(&j->waiting, entry);
		j->n_waiting++;
		uv_cond_signal(&j->wake);
	}
	uv_mutex_unlock(&j->lock);
}

void journal_put(struct journal *j, journal_work *work, journal_done *done, void *job)
{
	put(j, false, work, done, job);
}

void journal_ask(struct journal *j, journal_work *work, journal_done *done, void *job)
{
	put(j, true, work, done, job);
}

void journal_hold(struct journal *j)
{
	uv_mutex_lock(&j->lock);
	j->held = true;
	uv_mutex_unlock(&j->lock);
}

void journal_release(struct journal *j)
{
	uv_mutex_lock(&j->lock);
	j->held = false;
	if (j->waiting.first) /* most steps write nothing */
		uv_cond_signal(&j->wake);
	uv_mutex_unlock(&j->lock);
}

void journal_check(struct journal *j, int64_t now_us)
{
	char why[80];
	uv_mutex_lock(&j->lock);
	int64_t since_us = j->since_us;
	uv_mutex_unlock(&j->lock);
	if (since_us == 0 || now_us - since_us < JOURNAL_STUCK_US)
		return;
	snprintf(why, sizeof(why), "the disk has not answered for %d s", JOURNAL_STUCK_US / 1000000);
	state_set(j, false, why);
}

static void on_closed(uv_handle_t *handle)
{
	struct journal *j = handle->data;
	uv_mutex_destroy(&j->lock);
	uv_cond_destroy(&j->wake);
	free(j);
}

void journal_free(struct journal *j)
{
	uv_mutex_lock(&j->lock);
	j->stop = true;
	uv_cond_signal(&j->wake);
	uv_mutex_unlock(&j->lock);
	uv_thread_join(&j->thread);
	j->state = NULL;
	drain(j);
	ledger_close(j->ledger);
	uv_close((uv_handle_t *)&j->async, on_closed);
}
