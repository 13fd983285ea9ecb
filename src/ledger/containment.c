/* The containment ledger: who is cut off, why, by whom, until when, and what showed that it is so. */
#include "ledger/store.h"

static int prune(struct ledger *l, struct err *err)
{
	sqlite3_stmt *s = store_statement(l, SQL_CONTAINMENT_PRUNE);
	sqlite3_bind_int64(s, 1, LEDGER_CONTAINMENTS_KEPT);
	return store_run(l, s, "which containments are old", err);
}

int ledger_containment_put(struct ledger *l, const struct ledger_containment *row, struct err *err)
{
	sqlite3_stmt *s = store_statement(l, SQL_CONTAINMENT_PUT);
	sqlite3_bind_int64(s, 1, (sqlite3_int64)row->number);
	STORE_BIND(s, 2, row->subject);
	STORE_BIND(s, 3, row->reason);
	STORE_BIND(s, 4, row->who);
	sqlite3_bind_int64(s, 5, (sqlite3_int64)row->incident);
	sqlite3_bind_int64(s, 6, row->begun_us);
	sqlite3_bind_int64(s, 7, row->until_us);
	sqlite3_bind_int64(s, 8, row->ended_us);
	STORE_BIND(s, 9, row->state);
	STORE_BIND(s, 10, row->proof);
	int r = store_run(l, s, "a containment", err);
	return r == 0 && row->ended_us ? prune(l, err) : r;
}

int ledger_containment_last(struct ledger *l, uint64_t *ret_number, struct err *err)
{
	sqlite3_stmt *s = store_statement(l, SQL_CONTAINMENT_LAST);
	int r = store_row(l, s, "the last containment", err);
	*ret_number = r == 1 ? (uint64_t)sqlite3_column_int64(s, 0) : 0;
	return r < 0 ? r : 0;
}

struct walk {
	ledger_containment_fn *fn;
	void *arg;
	int stop;
};

static int containment_row(void *arg, sqlite3_stmt *s)
{
	struct walk *walk = arg;
	struct ledger_containment row = {
	        .number = (uint64_t)sqlite3_column_int64(s, 0),
	        .incident = (uint64_t)sqlite3_column_int64(s, 4),
	        .begun_us = sqlite3_column_int64(s, 5),
	        .until_us = sqlite3_column_int64(s, 6),
	        .ended_us = sqlite3_column_int64(s, 7),
	};
	STORE_COLUMN(s, 1, row.subject);
	STORE_COLUMN(s, 2, row.reason);
	STORE_COLUMN(s, 3, row.who);
	STORE_COLUMN(s, 8, row.state);
	STORE_COLUMN(s, 9, row.proof);
	walk->stop = walk->fn(walk->arg, &row);
	return walk->stop;
}

int ledger_containment_each(struct ledger *l, unsigned limit, ledger_containment_fn *fn, void *arg, struct err *err)
{
	struct walk walk = {.fn = fn, .arg = arg};
	int r = store_walk(l, store_statement(l, SQL_CONTAINMENT_LIVING), "containments", containment_row, &walk, err);
	if (r < 0 || walk.stop)
		return r;
	sqlite3_stmt *s = store_statement(l, SQL_CONTAINMENT_ENDED);
	sqlite3_bind_int64(s, 1, limit);
	return store_walk(l, s, "containments", containment_row, &walk, err);
}
