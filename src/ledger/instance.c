/* Instances and their numbers. A number is gone for good once it was given: names, addresses and keys hang on it. */
#include "ledger/store.h"

#include <errno.h>

int ledger_instance_number(struct ledger *l, uint32_t *ret_number, struct err *err)
{
	sqlite3_stmt *s = store_statement(l, SQL_NUMBER_NEXT);
	int r = store_row(l, s, "an instance's number", err);
	if (r == 0)
		return err_set(err, -EOVERFLOW, "%s: all instance numbers are used up; begin a new ledger", l->path);
	if (r < 0)
		return r;
	uint32_t number = (uint32_t)sqlite3_column_int64(s, 0);
	r = store_run(l, s, "an instance's number", err); /* the row comes before the commit: only the end is the fact */
	if (r == 0)
		*ret_number = number;
	return r;
}

int ledger_instance_floor(struct ledger *l, uint32_t at_least, struct err *err)
{
	sqlite3_stmt *s = store_statement(l, SQL_NUMBER_FLOOR);
	sqlite3_bind_int64(s, 1, at_least > 0 ? at_least - 1 : 0);
	return store_run(l, s, "an instance's number", err);
}

int ledger_instance_put(struct ledger *l, const struct ledger_instance *row, struct err *err)
{
	sqlite3_stmt *s = store_statement(l, SQL_INSTANCE_PUT);
	sqlite3_bind_int64(s, 1, row->number);
	STORE_BIND(s, 2, row->service);
	STORE_BIND(s, 3, row->variant);
	STORE_BIND(s, 4, row->role);
	STORE_BIND(s, 5, row->state);
	STORE_BIND(s, 6, row->components);
	sqlite3_bind_int64(s, 7, row->created_us);
	sqlite3_bind_int64(s, 8, row->ended_us);
	sqlite3_bind_int64(s, 9, (sqlite3_int64)row->incident);
	sqlite3_bind_int64(s, 10, row->exposed_us);
	STORE_BIND(s, 11, row->content);
	return store_run(l, s, "an instance", err);
}

struct walk {
	ledger_instance_fn *fn;
	void *arg;
	bool stopped;
};

static int instance_row(void *arg, sqlite3_stmt *s)
{
	struct walk *walk = arg;
	struct ledger_instance row = {
	        .number = (uint32_t)sqlite3_column_int64(s, 0),
	        .created_us = sqlite3_column_int64(s, 6),
	        .ended_us = sqlite3_column_int64(s, 7),
	        .incident = (uint64_t)sqlite3_column_int64(s, 8),
	        .exposed_us = sqlite3_column_int64(s, 9),
	};
	STORE_COLUMN(s, 1, row.service);
	STORE_COLUMN(s, 2, row.variant);
	STORE_COLUMN(s, 3, row.role);
	STORE_COLUMN(s, 4, row.state);
	STORE_COLUMN(s, 5, row.components);
	STORE_COLUMN(s, 10, row.content);
	walk->stopped = walk->fn(walk->arg, &row) != 0;
	return walk->stopped;
}

int ledger_instance_each(struct ledger *l, unsigned limit, ledger_instance_fn *fn, void *arg, struct err *err)
{
	struct walk walk = {.fn = fn, .arg = arg};
	int r = store_walk(l, store_statement(l, SQL_INSTANCE_LIVING), "instances", instance_row, &walk, err);
	if (r < 0 || walk.stopped)
		return r;
	sqlite3_stmt *s = store_statement(l, SQL_INSTANCE_ENDED);
	sqlite3_bind_int64(s, 1, limit);
	return store_walk(l, s, "instances", instance_row, &walk, err);
}
