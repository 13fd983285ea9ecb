/*
 * What was kept of fallen guests: which files, how large, with which sum. The files are root's and may be lost with their disk;
 * these rows are not beside them, so they also say what was there and that it is the same still. A file that is taken once more
 * (the first try was interrupted) has one row, the later one.
 */
#include "ledger/store.h"

int ledger_evidence_put(struct ledger *l, const struct ledger_evidence *row, struct err *err)
{
	sqlite3_stmt *s = store_statement(l, SQL_EVIDENCE_PUT);
	sqlite3_bind_int64(s, 1, (sqlite3_int64)row->incident);
	sqlite3_bind_int64(s, 2, row->instance);
	STORE_BIND(s, 3, row->file);
	sqlite3_bind_int64(s, 4, (sqlite3_int64)row->bytes);
	STORE_BIND(s, 5, row->sha256);
	sqlite3_bind_int64(s, 6, row->taken_us);
	sqlite3_bind_int64(s, 7, row->dropped_us);
	return store_run(l, s, "evidence", err);
}

int ledger_evidence_dropped(struct ledger *l, uint64_t incident, int64_t dropped_us, struct err *err)
{
	sqlite3_stmt *s = store_statement(l, SQL_EVIDENCE_DROPPED);
	sqlite3_bind_int64(s, 1, (sqlite3_int64)incident);
	sqlite3_bind_int64(s, 2, dropped_us);
	int r = store_run(l, s, "that evidence is gone", err);
	if (r < 0)
		return r;
	s = store_statement(l, SQL_EVIDENCE_PRUNE);
	sqlite3_bind_int64(s, 1, LEDGER_EVIDENCE_KEPT);
	return store_run(l, s, "which evidence is old", err);
}

struct walk {
	ledger_evidence_fn *fn;
	void *arg;
};

static int evidence_row(void *arg, sqlite3_stmt *s)
{
	const struct walk *walk = arg;
	struct ledger_evidence row = {
	        .incident = (uint64_t)sqlite3_column_int64(s, 0),
	        .instance = (uint32_t)sqlite3_column_int64(s, 1),
	        .bytes = (uint64_t)sqlite3_column_int64(s, 3),
	        .taken_us = sqlite3_column_int64(s, 5),
	        .dropped_us = sqlite3_column_int64(s, 6),
	        .open = sqlite3_column_int64(s, 7) != 0,
	};
	STORE_COLUMN(s, 2, row.file);
	STORE_COLUMN(s, 4, row.sha256);
	return walk->fn(walk->arg, &row);
}

int ledger_evidence_each(struct ledger *l, uint64_t incident, unsigned limit, ledger_evidence_fn *fn, void *arg, struct err *err)
{
	struct walk walk = {.fn = fn, .arg = arg};
	sqlite3_stmt *s = store_statement(l, SQL_EVIDENCE_EACH);
	sqlite3_bind_int64(s, 1, (sqlite3_int64)incident);
	sqlite3_bind_int64(s, 2, limit);
	return store_walk(l, s, "evidence", evidence_row, &walk, err);
}
