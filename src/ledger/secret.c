/*
 * What each instance could read: which secrets, where, since when and until when they were good. Never a value: this file belongs
 * to the engine, which has no use for one.
 */
#include "ledger/store.h"

int ledger_secret_put(struct ledger *l, const struct ledger_secret *row, struct err *err)
{
	sqlite3_stmt *s = store_statement(l, SQL_SECRET_PUT);
	sqlite3_bind_int64(s, 1, row->instance);
	STORE_BIND(s, 2, row->kind);
	STORE_BIND(s, 3, row->name);
	STORE_BIND(s, 4, row->place);
	sqlite3_bind_int64(s, 5, row->made_us);
	sqlite3_bind_int64(s, 6, row->revoked_us);
	return store_run(l, s, "a secret's name", err);
}

int ledger_secret_revoked(struct ledger *l, uint32_t instance, int64_t revoked_us, struct err *err)
{
	sqlite3_stmt *s = store_statement(l, SQL_SECRET_REVOKED);
	sqlite3_bind_int64(s, 1, instance);
	sqlite3_bind_int64(s, 2, revoked_us);
	int r = store_run(l, s, "that secrets are revoked", err);
	if (r < 0)
		return r;
	s = store_statement(l, SQL_SECRET_PRUNE);
	sqlite3_bind_int64(s, 1, LEDGER_SECRETS_KEPT);
	return store_run(l, s, "which secrets are old", err);
}

struct walk {
	ledger_secret_fn *fn;
	void *arg;
};

static int secret_row(void *arg, sqlite3_stmt *s)
{
	const struct walk *walk = arg;
	struct ledger_secret row = {
	        .instance = (uint32_t)sqlite3_column_int64(s, 0),
	        .made_us = sqlite3_column_int64(s, 4),
	        .revoked_us = sqlite3_column_int64(s, 5),
	};
	STORE_COLUMN(s, 1, row.kind);
	STORE_COLUMN(s, 2, row.name);
	STORE_COLUMN(s, 3, row.place);
	return walk->fn(walk->arg, &row);
}

int ledger_secret_each(struct ledger *l, uint32_t instance, unsigned limit, ledger_secret_fn *fn, void *arg, struct err *err)
{
	struct walk walk = {.fn = fn, .arg = arg};
	sqlite3_stmt *s = store_statement(l, SQL_SECRET_EACH);
	sqlite3_bind_int64(s, 1, instance);
	sqlite3_bind_int64(s, 2, limit);
	return store_walk(l, s, "secrets", secret_row, &walk, err);
}
