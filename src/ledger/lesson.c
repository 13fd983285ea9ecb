/* What incidents taught. A lesson's document is kept byte by byte as it was signed; what is beside it only finds it. */
#include "ledger/store.h"

#include <errno.h>

int ledger_lesson_put(struct ledger *l, const struct ledger_lesson *row, int64_t now_us, struct err *err)
{
	sqlite3_stmt *s = store_statement(l, SQL_LESSON_PUT);
	STORE_BIND(s, 1, row->origin);
	sqlite3_bind_int64(s, 2, (sqlite3_int64)row->incident);
	sqlite3_bind_int64(s, 3, row->own);
	sqlite3_bind_int64(s, 4, row->learnt_us);
	sqlite3_bind_int64(s, 5, row->expires_us);
	STORE_BIND(s, 6, row->text);
	int r = store_run(l, s, "a lesson", err);
	if (r < 0)
		return r;
	s = store_statement(l, SQL_LESSON_PRUNE);
	sqlite3_bind_int64(s, 1, now_us);
	sqlite3_bind_int64(s, 2, LEDGER_LESSONS_KEPT);
	return store_run(l, s, "which lessons are old", err);
}

static void row_take(sqlite3_stmt *s, struct ledger_lesson *ret_row)
{
	*ret_row = (struct ledger_lesson){
	        .number = (uint64_t)sqlite3_column_int64(s, 0),
	        .incident = (uint64_t)sqlite3_column_int64(s, 2),
	        .own = sqlite3_column_int64(s, 3) != 0,
	        .learnt_us = sqlite3_column_int64(s, 4),
	        .expires_us = sqlite3_column_int64(s, 5),
	};
	STORE_COLUMN(s, 1, ret_row->origin);
	STORE_COLUMN(s, 6, ret_row->text);
}

struct walk {
	ledger_lesson_fn *fn;
	void *arg;
};

static int lesson_row(void *arg, sqlite3_stmt *s)
{
	const struct walk *walk = arg;
	struct ledger_lesson row;
	row_take(s, &row);
	return walk->fn(walk->arg, &row);
}

int ledger_lesson_each(struct ledger *l, unsigned limit, ledger_lesson_fn *fn, void *arg, struct err *err)
{
	struct walk walk = {.fn = fn, .arg = arg};
	sqlite3_stmt *s = store_statement(l, SQL_LESSON_EACH);
	sqlite3_bind_int64(s, 1, limit);
	return store_walk(l, s, "lessons", lesson_row, &walk, err);
}

int ledger_lesson_get(struct ledger *l, uint64_t number, struct ledger_lesson *ret_row, struct err *err)
{
	sqlite3_stmt *s = store_statement(l, SQL_LESSON_GET);
	sqlite3_bind_int64(s, 1, (sqlite3_int64)number);
	int r = store_row(l, s, "a lesson", err);
	if (r == 0)
		return err_set(err, -ENOENT, "there is no lesson %llu", (unsigned long long)number);
	if (r < 0)
		return r;
	row_take(s, ret_row);
	return 0;
}

/* --- what the incident that is open will teach */

int ledger_verdict_put(struct ledger *l, const struct ledger_verdict *row, struct err *err)
{
	sqlite3_stmt *s = store_statement(l, SQL_VERDICT_PUT);
	sqlite3_bind_int64(s, 1, (sqlite3_int64)row->incident);
	STORE_BIND(s, 2, row->finding);
	STORE_BIND(s, 3, row->vantage);
	STORE_BIND(s, 4, row->beside);
	STORE_BIND(s, 5, row->beside_vantage);
	STORE_BIND(s, 6, row->victim);
	return store_run(l, s, "a verdict", err);
}

int ledger_verdict_get(struct ledger *l, uint64_t incident, struct ledger_verdict *ret_row, struct err *err)
{
	sqlite3_stmt *s = store_statement(l, SQL_VERDICT_GET);
	sqlite3_bind_int64(s, 1, (sqlite3_int64)incident);
	int r = store_row(l, s, "a verdict", err);
	if (r == 0)
		return err_set(err, -ENOENT, "there is no verdict of incident %llu", (unsigned long long)incident);
	if (r < 0)
		return r;
	*ret_row = (struct ledger_verdict){.incident = incident};
	STORE_COLUMN(s, 1, ret_row->finding);
	STORE_COLUMN(s, 2, ret_row->vantage);
	STORE_COLUMN(s, 3, ret_row->beside);
	STORE_COLUMN(s, 4, ret_row->beside_vantage);
	STORE_COLUMN(s, 5, ret_row->victim);
	STORE_COLUMN(s, 6, ret_row->rung);
	return 0;
}

int ledger_verdict_mended(struct ledger *l, uint64_t incident, const char *rung, struct err *err)
{
	sqlite3_stmt *s = store_statement(l, SQL_VERDICT_RUNG);
	sqlite3_bind_int64(s, 1, (sqlite3_int64)incident);
	STORE_BIND(s, 2, rung);
	return store_run(l, s, "what mended", err);
}

int ledger_verdict_end(struct ledger *l, uint64_t incident, struct err *err)
{
	sqlite3_stmt *s = store_statement(l, SQL_VERDICT_END);
	sqlite3_bind_int64(s, 1, (sqlite3_int64)incident);
	return store_run(l, s, "the end of a verdict", err);
}
