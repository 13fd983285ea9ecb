/* What helped against which kind of finding. At most one row for each finding and rung of each service. */
#include "ledger/store.h"

static void key_bind(sqlite3_stmt *s, const struct ledger_tries *row)
{
	STORE_BIND(s, 1, row->service);
	STORE_BIND(s, 2, row->finding);
	STORE_BIND(s, 3, row->rung);
}

int ledger_tries_put(struct ledger *l, const struct ledger_tries *row, struct err *err)
{
	sqlite3_stmt *s = store_statement(l, row->tried ? SQL_TRIES_PUT : SQL_TRIES_DELETE);
	key_bind(s, row);
	if (row->tried == 0)
		return store_run(l, s, "what was tried", err);
	sqlite3_bind_int64(s, 4, row->tried);
	sqlite3_bind_int64(s, 5, row->worked);
	sqlite3_bind_int64(s, 6, row->last);
	sqlite3_bind_int64(s, 7, row->passed);
	sqlite3_bind_int64(s, 8, row->changed_us);
	return store_run(l, s, "what was tried", err);
}

struct walk {
	ledger_tries_fn *fn;
	void *arg;
};

static int tries_row(void *arg, sqlite3_stmt *s)
{
	const struct walk *walk = arg;
	struct ledger_tries row = {
	        .tried = (uint32_t)sqlite3_column_int64(s, 3),
	        .worked = (uint32_t)sqlite3_column_int64(s, 4),
	        .last = (uint32_t)sqlite3_column_int64(s, 5),
	        .passed = (uint32_t)sqlite3_column_int64(s, 6),
	        .changed_us = sqlite3_column_int64(s, 7),
	};
	STORE_COLUMN(s, 0, row.service);
	STORE_COLUMN(s, 1, row.finding);
	STORE_COLUMN(s, 2, row.rung);
	return walk->fn(walk->arg, &row);
}

int ledger_tries_each(struct ledger *l, ledger_tries_fn *fn, void *arg, struct err *err)
{
	struct walk walk = {.fn = fn, .arg = arg};
	return store_walk(l, store_statement(l, SQL_TRIES_EACH), "what was tried", tries_row, &walk, err);
}
