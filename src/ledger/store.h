#pragma once
/* The few things that this room asks of SQLite: kept statements, bound texts, one mapping from its codes to ours. */
#include "ledger/ledger.h"

#include <limits.h>
#include <sqlite3.h>
#include <stddef.h>

enum store_sql {
	SQL_BEGIN,
	SQL_COMMIT,
	SQL_ROLLBACK,
	SQL_NUMBER_NEXT,
	SQL_NUMBER_FLOOR,
	SQL_INSTANCE_PUT,
	SQL_INSTANCE_LIVING,
	SQL_INSTANCE_ENDED,
	SQL_INSTANCE_PRUNE,
	SQL_INCIDENT_PUT,
	SQL_INCIDENT_LAST,
	SQL_INCIDENT_FLOOR,
	SQL_INCIDENT_EACH,
	SQL_INCIDENT_GET,
	SQL_INCIDENT_PRUNE,
	SQL_STEP_COUNT,
	SQL_STEP_ADD,
	SQL_STEP_EACH,
	SQL_INTENT_BEGIN,
	SQL_INTENT_END,
	SQL_INTENT_OPEN,
	SQL_INTENT_PRUNE,
	SQL_TRIES_PUT,
	SQL_TRIES_DELETE,
	SQL_TRIES_EACH,
	SQL_SUSPICION_PUT,
	SQL_SUSPICION_DELETE,
	SQL_SUSPICION_EACH,
	SQL_CONTAINMENT_PUT,
	SQL_CONTAINMENT_LAST,
	SQL_CONTAINMENT_LIVING,
	SQL_CONTAINMENT_ENDED,
	SQL_CONTAINMENT_PRUNE,
	SQL_EVIDENCE_PUT,
	SQL_EVIDENCE_DROPPED,
	SQL_EVIDENCE_EACH,
	SQL_EVIDENCE_PRUNE,
	SQL_SECRET_PUT,
	SQL_SECRET_REVOKED,
	SQL_SECRET_EACH,
	SQL_SECRET_PRUNE,
	SQL_LESSON_PUT,
	SQL_LESSON_EACH,
	SQL_LESSON_GET,
	SQL_LESSON_PRUNE,
	SQL_VERDICT_PUT,
	SQL_VERDICT_GET,
	SQL_VERDICT_RUNG,
	SQL_VERDICT_END,
	SQL_MAX_
};

struct ledger {
	sqlite3 *db;
	sqlite3_stmt *statements[SQL_MAX_];
	char path[PATH_MAX];
	bool in_transaction, broken; /* broken: a put failed since begin */
	bool walking;                /* a callback is running */
};

/* Prepares every statement, so that a file whose tables are not ours shows at once. */
int store_prepare(struct ledger *l, struct err *err) must_use;

/* A kept statement, reset, with nothing bound. */
sqlite3_stmt *store_statement(struct ledger *l, enum store_sql which);

/* Texts come from fixed fields: never read beyond `size`, bound by pointer (the row outlives the call). */
void store_bind_text(sqlite3_stmt *statement, int index, const char *text, size_t size);
#define STORE_BIND(statement, index, field) store_bind_text(statement, index, field, sizeof(field))

void store_column_text(sqlite3_stmt *statement, int index, char *ret_text, size_t size);
#define STORE_COLUMN(statement, index, field) store_column_text(statement, index, field, sizeof(field))

/* Runs to the end; `what` ("an incident") stands in the sentence: "PATH: cannot record WHAT: why". */
int store_run(struct ledger *l, sqlite3_stmt *statement, const char *what, struct err *err) must_use;

/* One row: 1, none: 0, or -errno. The statement stays at the row until the next store_statement or store_run. */
int store_row(struct ledger *l, sqlite3_stmt *statement, const char *what, struct err *err) must_use;

/* Calls `row` for each row until it returns nonzero. */
typedef int store_row_fn(void *arg, sqlite3_stmt *statement);
int store_walk(struct ledger *l, sqlite3_stmt *statement, const char *what, store_row_fn *row, void *arg,
               struct err *err) must_use;

/* Turns SQLite's answer into ours, with a sentence "PATH: cannot WHAT: ...". Out of memory aborts. */
int store_failed(const struct ledger *l, int code, const char *what, struct err *err) must_use;
