/*
 * Between SQLite and the rest of the room. All SQL that runs day by day stands in one table, so that what the ledger can
 * do to its file is seen at one look; statements are prepared once, because an intent stands between a verdict and an act.
 */
#include "ledger/store.h"
#include "lib/bytes.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define INSTANCE_COLUMNS "number, service, variant, role, state, components, created_us, ended_us, incident, exposed_us, content"
#define INCIDENT_COLUMNS                                                                                                         \
	"number, service, victim, active_before, active_after, victim_variant, active_variant, verdict, phase, cause, shared,"   \
	" opened_us, closed_us, first_evidence_us, verdict_us, steered_us, standby_us, spare_us, boot_id, outcome"
#define CONTAINMENT_COLUMNS "number, subject, reason, who, incident, begun_us, until_us, ended_us, state, proof"
#define EVIDENCE_COLUMNS "incident, instance, file, bytes, sha256, taken_us, dropped_us"
#define SECRET_COLUMNS "instance, kind, name, place, made_us, revoked_us"
#define LESSON_COLUMNS "number, origin, incident, own, learnt_us, expires_us, text"
#define VERDICT_COLUMNS "incident, finding, vantage, beside, beside_vantage, victim"
#define INTENT_COLUMNS "number, word, service, instance, variant, incident, begun_us, ended_us, status, text"

static const char *const sql[SQL_MAX_] = {
        [SQL_BEGIN] = "BEGIN IMMEDIATE",
        [SQL_COMMIT] = "COMMIT",
        [SQL_ROLLBACK] = "ROLLBACK",
        [SQL_NUMBER_NEXT] = "UPDATE counter SET value = value + 1 WHERE name = 'instance' AND value < 4294967295 RETURNING value",
        [SQL_NUMBER_FLOOR] = "UPDATE counter SET value = max(value, ?1) WHERE name = 'instance'",
        [SQL_INSTANCE_PUT] =
                "INSERT OR REPLACE INTO instance (" INSTANCE_COLUMNS ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10,"
                " ?11)",
        [SQL_INSTANCE_LIVING] = "SELECT " INSTANCE_COLUMNS " FROM instance WHERE ended_us = 0 ORDER BY number",
        [SQL_INSTANCE_ENDED] =
                "SELECT " INSTANCE_COLUMNS " FROM instance WHERE ended_us > 0 ORDER BY ended_us DESC, number DESC LIMIT ?1",
        [SQL_INSTANCE_PRUNE] = "DELETE FROM instance WHERE ended_us > 0 AND number IN (SELECT number FROM instance"
                               " WHERE ended_us > 0 ORDER BY ended_us DESC, number DESC LIMIT -1 OFFSET ?1)",
        /* not REPLACE: that would delete the row, and its steps with it */
        [SQL_INCIDENT_PUT] = "INSERT INTO incident (" INCIDENT_COLUMNS ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11,"
                             " ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20) ON CONFLICT (number) DO UPDATE SET service = ?2,"
                             " victim = ?3, active_before = ?4, active_after = ?5, victim_variant = ?6, active_variant = ?7,"
                             " verdict = ?8, phase = ?9, cause = ?10, shared = ?11, opened_us = ?12, closed_us = ?13,"
                             " first_evidence_us = ?14, verdict_us = ?15, steered_us = ?16, standby_us = ?17, spare_us = ?18,"
                             " boot_id = ?19, outcome = ?20",
        [SQL_INCIDENT_LAST] = "SELECT seq FROM sqlite_sequence WHERE name = 'incident'",
        [SQL_INCIDENT_FLOOR] = "INSERT INTO sqlite_sequence (name, seq) VALUES ('incident', ?1)", /* of a fresh ledger */
        [SQL_INCIDENT_EACH] = "SELECT " INCIDENT_COLUMNS " FROM incident ORDER BY number DESC LIMIT ?1",
        [SQL_INCIDENT_GET] = "SELECT " INCIDENT_COLUMNS " FROM incident WHERE number = ?1",
        [SQL_INCIDENT_PRUNE] = "DELETE FROM incident WHERE number IN (SELECT number FROM incident"
                               " WHERE closed_us > 0 ORDER BY number DESC LIMIT -1 OFFSET ?1)",
        [SQL_STEP_COUNT] = "SELECT count(*) FROM step WHERE incident = ?1",
        [SQL_STEP_ADD] = "INSERT INTO step (incident, time_us, since_us, phase, step, text) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        [SQL_STEP_EACH] = "SELECT incident, time_us, since_us, phase, step, text FROM step WHERE incident = ?1 ORDER BY number",
        [SQL_INTENT_BEGIN] = "INSERT INTO intent (" INTENT_COLUMNS ") VALUES (NULL, ?1, ?2, ?3, ?4, ?5, ?6, 0, 0, ?7)",
        [SQL_INTENT_END] = "UPDATE intent SET ended_us = ?2, status = ?3, text = ?4 WHERE number = ?1 AND ended_us = 0",
        [SQL_INTENT_OPEN] = "SELECT " INTENT_COLUMNS " FROM intent WHERE ended_us = 0 ORDER BY number",
        [SQL_INTENT_PRUNE] = "DELETE FROM intent WHERE number IN (SELECT number FROM intent"
                             " WHERE ended_us > 0 ORDER BY number DESC LIMIT -1 OFFSET ?1)",
        [SQL_TRIES_PUT] = "INSERT OR REPLACE INTO tries (service, finding, rung, tried, worked, last, passed, changed_us)"
                          " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        [SQL_TRIES_DELETE] = "DELETE FROM tries WHERE service = ?1 AND finding = ?2 AND rung = ?3",
        [SQL_TRIES_EACH] = "SELECT service, finding, rung, tried, worked, last, passed, changed_us FROM tries"
                           " ORDER BY service, finding, rung",
        [SQL_SUSPICION_PUT] = "INSERT OR REPLACE INTO suspicion (component, value, since_us, incident) VALUES (?1, ?2, ?3, ?4)",
        [SQL_SUSPICION_DELETE] = "DELETE FROM suspicion WHERE component = ?1",
        [SQL_SUSPICION_EACH] = "SELECT component, value, since_us, incident FROM suspicion ORDER BY component",
        [SQL_CONTAINMENT_PUT] =
                "INSERT OR REPLACE INTO containment (" CONTAINMENT_COLUMNS ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        [SQL_CONTAINMENT_LAST] = "SELECT seq FROM sqlite_sequence WHERE name = 'containment'",
        [SQL_CONTAINMENT_LIVING] = "SELECT " CONTAINMENT_COLUMNS " FROM containment WHERE ended_us = 0 ORDER BY number",
        [SQL_CONTAINMENT_ENDED] =
                "SELECT " CONTAINMENT_COLUMNS " FROM containment WHERE ended_us > 0 ORDER BY number DESC LIMIT ?1",
        [SQL_CONTAINMENT_PRUNE] = "DELETE FROM containment WHERE number IN (SELECT number FROM containment"
                                  " WHERE ended_us > 0 ORDER BY number DESC LIMIT -1 OFFSET ?1)",
        [SQL_EVIDENCE_PUT] = "INSERT OR REPLACE INTO evidence (" EVIDENCE_COLUMNS ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        [SQL_EVIDENCE_DROPPED] = "UPDATE evidence SET dropped_us = ?2 WHERE incident <= ?1 AND dropped_us = 0",
        [SQL_EVIDENCE_EACH] = "SELECT " EVIDENCE_COLUMNS ", EXISTS (SELECT 1 FROM incident WHERE incident.number ="
                              " evidence.incident AND closed_us = 0) FROM evidence WHERE ?1 = 0 OR incident = ?1"
                              " ORDER BY number DESC LIMIT ?2",
        [SQL_EVIDENCE_PRUNE] = "DELETE FROM evidence WHERE number IN (SELECT number FROM evidence"
                               " WHERE dropped_us > 0 ORDER BY number DESC LIMIT -1 OFFSET ?1)",
        [SQL_SECRET_PUT] = "INSERT OR REPLACE INTO secret (" SECRET_COLUMNS ") VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        [SQL_SECRET_REVOKED] = "UPDATE secret SET revoked_us = ?2 WHERE instance = ?1 AND revoked_us = 0",
        [SQL_SECRET_EACH] = "SELECT " SECRET_COLUMNS " FROM secret WHERE ?1 = 0 OR instance = ?1"
                            " ORDER BY instance DESC, number LIMIT ?2",
        [SQL_SECRET_PRUNE] = "DELETE FROM secret WHERE number IN (SELECT number FROM secret"
                             " WHERE revoked_us > 0 ORDER BY number DESC LIMIT -1 OFFSET ?1)",
        [SQL_LESSON_PUT] = "INSERT INTO lesson (" LESSON_COLUMNS ") VALUES (NULL, ?1, ?2, ?3, ?4, ?5, ?6)"
                           " ON CONFLICT (origin, incident) DO NOTHING",
        [SQL_LESSON_EACH] = "SELECT " LESSON_COLUMNS " FROM lesson ORDER BY number DESC LIMIT ?1",
        [SQL_LESSON_GET] = "SELECT " LESSON_COLUMNS " FROM lesson WHERE number = ?1",
        [SQL_LESSON_PRUNE] = "DELETE FROM lesson WHERE number IN (SELECT number FROM lesson"
                             " ORDER BY expires_us > ?1 DESC, number DESC LIMIT -1 OFFSET ?2)",
        [SQL_VERDICT_PUT] = "INSERT OR REPLACE INTO verdict (" VERDICT_COLUMNS ") VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        [SQL_VERDICT_GET] = "SELECT " VERDICT_COLUMNS ", rung FROM verdict WHERE incident = ?1",
        [SQL_VERDICT_RUNG] = "UPDATE verdict SET rung = ?2 WHERE incident = ?1",
        [SQL_VERDICT_END] = "DELETE FROM verdict WHERE incident = ?1",
};

static int unwritable(const struct ledger *l, const char *what, const char *why, struct err *err)
{
	return err_set(err, -EROFS, "%s: cannot %s: %s; make the file and its folder writable for koboshi", l->path, what, why);
}

static int full(const struct ledger *l, const char *what, struct err *err)
{
	return err_set(err, -ENOSPC, "%s: cannot %s: the disk is full; free some space, nothing recorded before is lost", l->path,
	               what);
}

/* SQLite says only that opening or I/O failed; the system's own code says why. */
static int system_failed(const struct ledger *l, int code, const char *what, struct err *err)
{
	int error = l->db ? sqlite3_system_errno(l->db) : 0;
	if (error == ENOSPC || error == EDQUOT)
		return full(l, what, err);
	if (error == EROFS || error == EACCES || error == EPERM)
		return unwritable(l, what, strerror(error), err);
	return err_set(err, -EIO, "%s: cannot %s: %s (%s)", l->path, what, sqlite3_errstr(code),
	               error ? strerror(error) : "the system gives no reason");
}

int store_failed(const struct ledger *l, int code, const char *what, struct err *err)
{
	switch (code & 0xff) {
	case SQLITE_NOMEM:
		abort();
	case SQLITE_FULL:
		return full(l, what, err);
	case SQLITE_READONLY:
	case SQLITE_PERM:
		return unwritable(l, what, "it is read-only", err);
	case SQLITE_CANTOPEN:
	case SQLITE_IOERR:
		return system_failed(l, code, what, err);
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return err_set(err, -EBUSY, "%s: cannot %s: another process has it open", l->path, what);
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
	case SQLITE_ERROR: /* our SQL is constant and was tried: what it names is gone, or the format is one nobody wrote */
		return err_set(err, -EBADMSG, "%s: cannot %s: the file is damaged (%s)", l->path, what, sqlite3_errmsg(l->db));
	case SQLITE_CONSTRAINT:
		return err_set(err, -EINVAL, "%s: cannot %s: %s", l->path, what, sqlite3_errmsg(l->db));
	default:
		return err_set(err, -EIO, "%s: cannot %s: %s", l->path, what, sqlite3_errmsg(l->db));
	}
}

int store_prepare(struct ledger *l, struct err *err)
{
	for (size_t i = 0; i < SQL_MAX_; i++) {
		int code = sqlite3_prepare_v3(l->db, sql[i], -1, SQLITE_PREPARE_PERSISTENT, &l->statements[i], NULL);
		if (code != SQLITE_OK)
			return store_failed(l, code, "read it", err);
	}
	return 0;
}

sqlite3_stmt *store_statement(struct ledger *l, enum store_sql which)
{
	assert(!l->walking);
	sqlite3_stmt *statement = l->statements[which];
	sqlite3_reset(statement);
	sqlite3_clear_bindings(statement);
	return statement;
}

void store_bind_text(sqlite3_stmt *statement, int index, const char *text, size_t size)
{
	size_t length = strnlen(text, size);
	assert(length < size);
	sqlite3_bind_text(statement, index, text, (int)length, SQLITE_STATIC);
}

void store_column_text(sqlite3_stmt *statement, int index, char *ret_text, size_t size)
{
	const char *text = (const char *)sqlite3_column_text(statement, index);
	text_copy(ret_text, size, text ? text : "");
}

/* A full disk makes SQLite end the whole transaction by itself; what came later would then be committed one by one. */
static int check_transaction(struct ledger *l, const char *what, struct err *err)
{
	if (l->in_transaction && sqlite3_get_autocommit(l->db)) {
		l->broken = true;
		return err_set(err, -ECANCELED, "%s: cannot record %s: the changes it belongs to were rolled back", l->path,
		               what);
	}
	return 0;
}

static int failed(struct ledger *l, sqlite3_stmt *statement, int code, const char *what, struct err *err)
{
	char doing[80] = "read ";
	if (!sqlite3_stmt_readonly(statement)) {
		l->broken = l->in_transaction;
		strcpy(doing, "record ");
	}
	strncat(doing, what, sizeof(doing) - strlen(doing) - 1);
	int r = store_failed(l, code, doing, err);
	sqlite3_reset(statement);
	return r;
}

int store_row(struct ledger *l, sqlite3_stmt *statement, const char *what, struct err *err)
{
	int r = check_transaction(l, what, err);
	if (r < 0)
		return r;
	int code = sqlite3_step(statement);
	if (code == SQLITE_ROW)
		return 1;
	if (code != SQLITE_DONE)
		return failed(l, statement, code, what, err);
	sqlite3_reset(statement);
	return 0;
}

int store_run(struct ledger *l, sqlite3_stmt *statement, const char *what, struct err *err)
{
	int r = store_row(l, statement, what, err);
	assert(r <= 0);
	return r;
}

int store_walk(struct ledger *l, sqlite3_stmt *statement, const char *what, store_row_fn *row, void *arg, struct err *err)
{
	int r;
	while ((r = store_row(l, statement, what, err)) == 1) {
		l->walking = true;
		int stop = row(arg, statement);
		l->walking = false;
		if (stop)
			break;
	}
	sqlite3_reset(statement);
	return r < 0 ? r : 0;
}
