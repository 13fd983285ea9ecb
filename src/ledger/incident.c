/* Incidents and their steps: the story that `koboshi incidents N` tells. */
#include "ledger/store.h"

#include <errno.h>

/* Column by column in the order of INCIDENT_COLUMNS, so that put and read cannot drift apart. */
int ledger_incident_put(struct ledger *l, const struct ledger_incident *row, struct err *err)
{
	sqlite3_stmt *s = store_statement(l, SQL_INCIDENT_PUT);
	sqlite3_bind_int64(s, 1, (sqlite3_int64)row->number);
	STORE_BIND(s, 2, row->service);
	sqlite3_bind_int64(s, 3, row->victim);
	sqlite3_bind_int64(s, 4, row->active_before);
	sqlite3_bind_int64(s, 5, row->active_after);
	STORE_BIND(s, 6, row->victim_variant);
	STORE_BIND(s, 7, row->active_variant);
	STORE_BIND(s, 8, row->verdict);
	STORE_BIND(s, 9, row->phase);
	STORE_BIND(s, 10, row->cause);
	STORE_BIND(s, 11, row->shared);
	sqlite3_bind_int64(s, 12, row->opened_us);
	sqlite3_bind_int64(s, 13, row->closed_us);
	sqlite3_bind_int64(s, 14, row->first_evidence_us);
	sqlite3_bind_int64(s, 15, row->verdict_us);
	sqlite3_bind_int64(s, 16, row->steered_us);
	sqlite3_bind_int64(s, 17, row->standby_us);
	sqlite3_bind_int64(s, 18, row->spare_us);
	STORE_BIND(s, 19, row->boot_id);
	STORE_BIND(s, 20, row->outcome);
	return store_run(l, s, "an incident", err);
}

int ledger_incident_last(struct ledger *l, uint64_t *ret_number, struct err *err)
{
	sqlite3_stmt *s = store_statement(l, SQL_INCIDENT_LAST);
	int r = store_row(l, s, "the last incident", err);
	if (r < 0)
		return r;
	*ret_number = r > 0 ? (uint64_t)sqlite3_column_int64(s, 0) : 0;
	sqlite3_reset(s);
	return 0;
}

static void incident_read(sqlite3_stmt *s, struct ledger_incident *ret_row)
{
	*ret_row = (struct ledger_incident){
	        .number = (uint64_t)sqlite3_column_int64(s, 0),
	        .victim = (uint32_t)sqlite3_column_int64(s, 2),
	        .active_before = (uint32_t)sqlite3_column_int64(s, 3),
	        .active_after = (uint32_t)sqlite3_column_int64(s, 4),
	        .opened_us = sqlite3_column_int64(s, 11),
	        .closed_us = sqlite3_column_int64(s, 12),
	        .first_evidence_us = sqlite3_column_int64(s, 13),
	        .verdict_us = sqlite3_column_int64(s, 14),
	        .steered_us = sqlite3_column_int64(s, 15),
	        .standby_us = sqlite3_column_int64(s, 16),
	        .spare_us = sqlite3_column_int64(s, 17),
	};
	STORE_COLUMN(s, 1, ret_row->service);
	STORE_COLUMN(s, 5, ret_row->victim_variant);
	STORE_COLUMN(s, 6, ret_row->active_variant);
	STORE_COLUMN(s, 7, ret_row->verdict);
	STORE_COLUMN(s, 8, ret_row->phase);
	STORE_COLUMN(s, 9, ret_row->cause);
	STORE_COLUMN(s, 10, ret_row->shared);
	STORE_COLUMN(s, 18, ret_row->boot_id);
	STORE_COLUMN(s, 19, ret_row->outcome);
}

struct walk {
	ledger_incident_fn *incident;
	ledger_step_fn *step;
	void *arg;
};

static int incident_row(void *arg, sqlite3_stmt *s)
{
	const struct walk *walk = arg;
	struct ledger_incident row;
	incident_read(s, &row);
	return walk->incident(walk->arg, &row);
}

int ledger_incident_each(struct ledger *l, unsigned limit, ledger_incident_fn *fn, void *arg, struct err *err)
{
	struct walk walk = {.incident = fn, .arg = arg};
	sqlite3_stmt *s = store_statement(l, SQL_INCIDENT_EACH);
	sqlite3_bind_int64(s, 1, limit);
	return store_walk(l, s, "incidents", incident_row, &walk, err);
}

int ledger_incident_get(struct ledger *l, uint64_t number, struct ledger_incident *ret_row, struct err *err)
{
	sqlite3_stmt *s = store_statement(l, SQL_INCIDENT_GET);
	sqlite3_bind_int64(s, 1, (sqlite3_int64)number);
	int r = store_row(l, s, "an incident", err);
	if (r == 0)
		return err_set(err, -ENOENT, "there is no incident %llu", (unsigned long long)number);
	if (r < 0)
		return r;
	incident_read(s, ret_row);
	sqlite3_reset(s);
	return 0;
}

/* One transaction, unless the caller has begun one. */
int ledger_incident_prune(struct ledger *l, unsigned keep, struct err *err)
{
	static const enum store_sql prunes[] = {SQL_INCIDENT_PRUNE, SQL_INSTANCE_PRUNE, SQL_INTENT_PRUNE};
	bool own = !l->in_transaction;
	int r = own ? ledger_begin(l, err) : 0;
	for (size_t i = 0; r == 0 && i < countof(prunes); i++) {
		sqlite3_stmt *s = store_statement(l, prunes[i]);
		sqlite3_bind_int64(s, 1, prunes[i] == SQL_INCIDENT_PRUNE ? keep : LEDGER_ENDED_KEPT);
		r = store_run(l, s, "that old rows are gone", err);
	}
	if (own && r == 0)
		return ledger_commit(l, err);
	if (own)
		ledger_rollback(l);
	return r;
}

/* An incident that an attacker keeps alive must not fill the disk. */
static int step_room(struct ledger *l, uint64_t incident, struct err *err)
{
	sqlite3_stmt *s = store_statement(l, SQL_STEP_COUNT);
	sqlite3_bind_int64(s, 1, (sqlite3_int64)incident);
	int r = store_row(l, s, "steps", err);
	if (r < 0)
		return r;
	int64_t count = sqlite3_column_int64(s, 0);
	sqlite3_reset(s);
	if (count >= LEDGER_STEPS_MAX)
		return err_set(err, -E2BIG, "%s: incident %llu has %d steps already; later ones are not recorded", l->path,
		               (unsigned long long)incident, LEDGER_STEPS_MAX);
	return 0;
}

int ledger_step_add(struct ledger *l, const struct ledger_step *row, struct err *err)
{
	int r = step_room(l, row->incident, err);
	if (r < 0)
		return r;
	sqlite3_stmt *s = store_statement(l, SQL_STEP_ADD);
	sqlite3_bind_int64(s, 1, (sqlite3_int64)row->incident);
	sqlite3_bind_int64(s, 2, row->time_us);
	sqlite3_bind_int64(s, 3, row->since_us);
	STORE_BIND(s, 4, row->phase);
	STORE_BIND(s, 5, row->step);
	STORE_BIND(s, 6, row->text);
	r = store_run(l, s, "a step", err);
	if (r == -EINVAL && sqlite3_extended_errcode(l->db) == SQLITE_CONSTRAINT_FOREIGNKEY)
		return err_set(err, -ENOENT, "%s: holds no incident %llu", l->path, (unsigned long long)row->incident);
	return r;
}

static int step_row(void *arg, sqlite3_stmt *s)
{
	const struct walk *walk = arg;
	struct ledger_step row = {
	        .incident = (uint64_t)sqlite3_column_int64(s, 0),
	        .time_us = sqlite3_column_int64(s, 1),
	        .since_us = sqlite3_column_int64(s, 2),
	};
	STORE_COLUMN(s, 3, row.phase);
	STORE_COLUMN(s, 4, row.step);
	STORE_COLUMN(s, 5, row.text);
	return walk->step(walk->arg, &row);
}

int ledger_step_each(struct ledger *l, uint64_t incident, ledger_step_fn *fn, void *arg, struct err *err)
{
	struct walk walk = {.step = fn, .arg = arg};
	sqlite3_stmt *s = store_statement(l, SQL_STEP_EACH);
	sqlite3_bind_int64(s, 1, (sqlite3_int64)incident);
	return store_walk(l, s, "steps", step_row, &walk, err);
}
