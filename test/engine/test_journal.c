/* The ledger's thread: order, batches, faults, bounds. The ledger is one in memory; what it answers is up to the jobs. */
#include "engine/journal.h"

#include "lib/bytes.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uv_loop_t loop;
static struct journal *journal;
static struct err err;

static struct {
	size_t n_done, n_states, n_refused;
	bool writable;
	char why[ERR_TEXT_MAX];
	int last; /* number of the job that was done last */
	bool in_order;
} seen;

static uv_sem_t gate; /* holds the thread in `wait_work` */
static uv_sem_t held; /* it is there */

struct job {
	int number;
	int status; /* that its work returns */
	int *ret_runs, *ret_status;
	uint64_t row; /* 0: writes nothing */
};

static void on_state(unused_arg void *arg, bool writable, const char *why)
{
	seen.n_states++;
	seen.writable = writable;
	text_copy(seen.why, sizeof(seen.why), why);
}

static int setup(unused_arg void **state)
{
	struct ledger *l;
	char because[LEDGER_TEXT_MAX];
	memset(&seen, 0, sizeof(seen));
	seen.in_order = true;
	assert_int_equal(uv_sem_init(&gate, 0), 0);
	assert_int_equal(uv_sem_init(&held, 0), 0);
	assert_int_equal(uv_loop_init(&loop), 0);
	assert_int_equal(ledger_open(":memory:", &l, because, &err), 0);
	journal = journal_new(&loop, l, on_state, NULL);
	return 0;
}

static int teardown(unused_arg void **state)
{
	if (journal)
		journal_free(journal);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
	uv_sem_destroy(&gate);
	uv_sem_destroy(&held);
	return 0;
}

static void await_done(size_t n)
{
	while (seen.n_done < n)
		uv_run(&loop, UV_RUN_ONCE);
}

static int work(struct ledger *l, void *arg, struct err *ret_err)
{
	const struct job *job = arg;
	if (job->ret_runs)
		++*job->ret_runs;
	if (job->row) {
		struct ledger_incident row = {.number = job->row, .service = "web", .verdict = "failed", .phase = "absorb"};
		int r = ledger_incident_put(l, &row, ret_err);
		if (r < 0)
			return r;
	}
	return job->status < 0 ? err_set(ret_err, job->status, "job %d does not want to", job->number) : 0;
}

static int wait_work(unused_arg struct ledger *l, unused_arg void *arg, unused_arg struct err *ret_err)
{
	uv_sem_post(&held);
	uv_sem_wait(&gate);
	return 0;
}

static void done(void *arg, int status, const struct err *why)
{
	struct job *job = arg;
	seen.n_done++;
	seen.n_refused += status == -ENOBUFS;
	seen.in_order = seen.in_order && (job->number == 0 || job->number > seen.last);
	seen.last = job->number;
	if (job->ret_status)
		*job->ret_status = status;
	if (status < 0)
		assert_true(why->text[0] != '\0');
	free(job);
}

static void put(struct job what)
{
	struct job *job = malloc(sizeof(*job));
	*job = what;
	journal_put(journal, work, done, job);
}

/* The thread stands still from here until gate_open(), so that what is put meanwhile is one batch. */
static void gate_close(void)
{
	struct job *job = calloc(1, sizeof(*job));
	journal_ask(journal, wait_work, done, job);
	uv_sem_wait(&held);
}

static void gate_open(void)
{
	uv_sem_post(&gate);
}

static int look_work(struct ledger *l, void *arg, struct err *ret_err)
{
	struct job *job = arg;
	struct ledger_incident row;
	return ledger_incident_get(l, job->row, &row, ret_err);
}

/* Whether the ledger has this row. */
static bool has_row(uint64_t number)
{
	int status = 1;
	struct job *job = calloc(1, sizeof(*job));
	job->row = number;
	job->ret_status = &status;
	journal_ask(journal, look_work, done, job);
	await_done(seen.n_done + 1);
	return status == 0;
}

static void test_jobs_run_and_are_answered_in_order(unused_arg void **state)
{
	for (int i = 1; i <= 500; i++)
		put((struct job){.number = i});
	await_done(500);
	assert_true(seen.in_order);
	assert_int_equal(seen.last, 500);
	assert_int_equal(seen.n_states, 0);
}

static void test_a_batch_is_one_transaction(unused_arg void **state)
{
	int runs = 0;
	gate_close();
	for (int i = 1; i <= 20; i++)
		put((struct job){.number = i, .row = (uint64_t)i, .ret_runs = &runs});
	gate_open();
	await_done(21);
	assert_int_equal(runs, 20); /* none was tried a second time */
	assert_true(has_row(1) && has_row(20));
}

static void test_a_job_that_fails_does_not_take_others_along(unused_arg void **state)
{
	int runs[3] = {0}, status[3] = {1, 1, 1};
	gate_close();
	put((struct job){.number = 1, .row = 1, .ret_runs = &runs[0], .ret_status = &status[0]});
	put((struct job){.number = 2, .row = 2, .status = -ENOENT, .ret_runs = &runs[1], .ret_status = &status[1]});
	put((struct job){.number = 3, .row = 3, .ret_runs = &runs[2], .ret_status = &status[2]});
	gate_open();
	await_done(4);
	assert_true(seen.in_order);
	assert_int_equal(status[0], 0);
	assert_int_equal(status[1], -ENOENT);
	assert_int_equal(status[2], 0);
	assert_int_equal(runs[0], 2); /* once rolled back with the batch, once alone */
	assert_true(has_row(1) && !has_row(2) && has_row(3));
	assert_int_equal(seen.n_states, 0); /* "no such row" says nothing of the disk */
}

static void test_the_mediums_faults_are_told_once_and_their_end_too(unused_arg void **state)
{
	static const int faults[] = {-ENOSPC, -EROFS, -EIO, -EBADMSG, -EBUSY};
	for (size_t i = 0; i < countof(faults); i++) {
		size_t before = seen.n_states;
		put((struct job){.status = faults[i], .number = (int)i});
		put((struct job){.status = faults[i]});
		await_done(seen.n_done + 2);
		assert_int_equal(seen.n_states, before + 1);
		assert_false(seen.writable);
		assert_non_null(strstr(seen.why, "does not want to"));
		put((struct job){.status = -ENOENT}); /* neither nor */
		await_done(seen.n_done + 1);
		assert_int_equal(seen.n_states, before + 1);
		put((struct job){0});
		await_done(seen.n_done + 1);
		assert_int_equal(seen.n_states, before + 2);
		assert_true(seen.writable);
	}
}

/* That the second fails rolls the first back, which is then tried alone: they were in one transaction. */
static void test_what_is_put_while_it_is_held_is_one_transaction(unused_arg void **state)
{
	int runs = 0;
	journal_hold(journal);
	put((struct job){.row = 1, .ret_runs = &runs});
	for (int i = 0; i < 20; i++) { /* an idle thread would take it at once */
		uv_sleep(1);
		uv_run(&loop, UV_RUN_NOWAIT);
	}
	assert_int_equal(seen.n_done, 0);
	put((struct job){.status = -ENOENT});
	journal_release(journal);
	await_done(2);
	assert_int_equal(runs, 2);
	assert_true(has_row(1));
}

/* A full disk can be read: that is no sign that it can be written again. */
static void test_questions_work_while_nothing_can_be_written_and_do_not_say_otherwise(unused_arg void **state)
{
	put((struct job){.row = 5});
	put((struct job){.status = -ENOSPC});
	await_done(2);
	assert_false(seen.writable);
	assert_true(has_row(5));
	assert_false(has_row(6));
	assert_int_equal(seen.n_states, 1);
}

static void test_a_question_sees_what_was_put_before_it(unused_arg void **state)
{
	int status = 1;
	gate_close();
	put((struct job){.row = 8});
	struct job *job = calloc(1, sizeof(*job));
	*job = (struct job){.row = 8, .ret_status = &status};
	journal_ask(journal, look_work, done, job);
	gate_open();
	await_done(3);
	assert_int_equal(status, 0);
}

static void test_more_than_the_bound_is_refused_later_and_not_lost(unused_arg void **state)
{
	gate_close();
	for (int i = 0; i < JOURNAL_JOBS_MAX + 10; i++)
		put((struct job){0});
	assert_int_equal(seen.n_done, 0); /* never from within the call */
	gate_open();
	await_done(1 + JOURNAL_JOBS_MAX + 10);
	assert_int_equal(seen.n_refused, 10);
	assert_int_equal(seen.n_states, 0);
}

static void test_a_disk_that_does_not_answer_counts_as_not_writable_until_it_does(unused_arg void **state)
{
	int64_t now_us = clock_monotonic_us();
	gate_close();
	put((struct job){0});
	journal_check(journal, now_us + JOURNAL_STUCK_US / 2);
	assert_int_equal(seen.n_states, 0);
	journal_check(journal, now_us + JOURNAL_STUCK_US * 2);
	journal_check(journal, now_us + JOURNAL_STUCK_US * 3);
	assert_int_equal(seen.n_states, 1);
	assert_false(seen.writable);
	gate_open();
	await_done(2);
	assert_int_equal(seen.n_states, 2);
	assert_true(seen.writable);
	journal_check(journal, now_us + JOURNAL_STUCK_US * 100); /* idle is not stuck */
	assert_int_equal(seen.n_states, 2);
}

static void test_free_finishes_what_waits(unused_arg void **state)
{
	int runs = 0;
	for (int i = 1; i <= 300; i++)
		put((struct job){.number = i, .ret_runs = &runs});
	journal_free(journal);
	journal = NULL;
	assert_int_equal(runs, 300);
	assert_int_equal(seen.n_done, 300);
}

#define WITH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        WITH(test_jobs_run_and_are_answered_in_order),
	        WITH(test_a_batch_is_one_transaction),
	        WITH(test_what_is_put_while_it_is_held_is_one_transaction),
	        WITH(test_a_job_that_fails_does_not_take_others_along),
	        WITH(test_the_mediums_faults_are_told_once_and_their_end_too),
	        WITH(test_questions_work_while_nothing_can_be_written_and_do_not_say_otherwise),
	        WITH(test_a_question_sees_what_was_put_before_it),
	        WITH(test_more_than_the_bound_is_refused_later_and_not_lost),
	        WITH(test_a_disk_that_does_not_answer_counts_as_not_writable_until_it_does),
	        WITH(test_free_finishes_what_waits),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
