/* Suspicion of components. Rows live as long as there is some: a value of 0 takes one away, so the table stays small. */
#include "ledger/store.h"

static int suspicion_delete(struct ledger *l, const struct ledger_suspicion *row, struct err *err)
{
	sqlite3_stmt *s = store_statement(l, SQL_SUSPICION_DELETE);
	STORE_BIND(s, 1, row->component);
	return store_run(l, s, "a suspicion", err);
}

int ledger_suspicion_put(struct ledger *l, const struct ledger_suspicion *row, struct err *err)
{
	if (row->value == 0)
		return suspicion_delete(l, row, err);
	sqlite3_stmt *s = store_statement(l, SQL_SUSPICION_PUT);
	STORE_BIND(s, 1, row->component);
	sqlite3_bind_double(s, 2, row->value);
	sqlite3_bind_int64(s, 3, row->since_us);
	sqlite3_bind_int64(s, 4, (sqlite3_int64)row->incident);
	return store_run(l, s, "a suspicion", err);
}

struct walk {
	ledger_suspicion_fn *fn;
	void *arg;
};

static int suspicion_row(void *arg, sqlite3_stmt *s)
{
	const struct walk *walk = arg;
	struct ledger_suspicion row = {
	        .value = sqlite3_column_double(s, 1),
	        .since_us = sqlite3_column_int64(s, 2),
	        .incident = (uint64_t)sqlite3_column_int64(s, 3),
	};
	STORE_COLUMN(s, 0, row.component);
	return walk->fn(walk->arg, &row);
}

int ledger_suspicion_each(struct ledger *l, ledger_suspicion_fn *fn, void *arg, struct err *err)
{
	struct walk walk = {.fn = fn, .arg = arg};
	return store_walk(l, store_statement(l, SQL_SUSPICION_EACH), "suspicions", suspicion_row, &walk, err);
}
