/*
 * The tables of the ledger. Scripts are only ever added at the end: a ledger of any age is brought up to date when it is
 * opened, all scripts and the version in one transaction, so a kill in between leaves the old state.
 */
#include "ledger/schema.h"

#include <errno.h>
#include <stdio.h>

#define APPLICATION_ID 0x4b6f426f /* "KoBo" */

static const char *const scripts[] = {
        /* 1 */
        "CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL CHECK (value BETWEEN 0 AND 4294967295))"
        " STRICT, WITHOUT ROWID;"
        "INSERT INTO counter VALUES ('instance', 0);"
        "CREATE TABLE instance (number INTEGER PRIMARY KEY CHECK (number BETWEEN 1 AND 4294967295),"
        " service TEXT NOT NULL, variant TEXT NOT NULL, role TEXT NOT NULL, state TEXT NOT NULL, components TEXT NOT NULL,"
        " created_us INTEGER NOT NULL, ended_us INTEGER NOT NULL, incident INTEGER NOT NULL) STRICT;"
        "CREATE INDEX instance_ended ON instance (ended_us, number);"
        "CREATE TABLE incident (number INTEGER PRIMARY KEY AUTOINCREMENT CHECK (number > 0), service TEXT NOT NULL,"
        " victim INTEGER NOT NULL, active_before INTEGER NOT NULL, active_after INTEGER NOT NULL, victim_variant TEXT NOT NULL,"
        " active_variant TEXT NOT NULL, verdict TEXT NOT NULL, phase TEXT NOT NULL, cause TEXT NOT NULL, shared TEXT NOT NULL,"
        " opened_us INTEGER NOT NULL, closed_us INTEGER NOT NULL, first_evidence_us INTEGER NOT NULL,"
        " verdict_us INTEGER NOT NULL, steered_us INTEGER NOT NULL, standby_us INTEGER NOT NULL, spare_us INTEGER NOT NULL,"
        " boot_id TEXT NOT NULL, outcome TEXT NOT NULL) STRICT;"
        "CREATE TABLE step (number INTEGER PRIMARY KEY, incident INTEGER NOT NULL REFERENCES incident (number)"
        " ON DELETE CASCADE, time_us INTEGER NOT NULL, since_us INTEGER NOT NULL, phase TEXT NOT NULL, step TEXT NOT NULL,"
        " text TEXT NOT NULL) STRICT;"
        "CREATE INDEX step_incident ON step (incident, number);"
        "CREATE TABLE intent (number INTEGER PRIMARY KEY AUTOINCREMENT, word TEXT NOT NULL, service INTEGER NOT NULL,"
        " instance INTEGER NOT NULL, variant INTEGER NOT NULL, incident INTEGER NOT NULL, begun_us INTEGER NOT NULL,"
        " ended_us INTEGER NOT NULL, status INTEGER NOT NULL, text TEXT NOT NULL) STRICT;"
        "CREATE INDEX intent_open ON intent (number) WHERE ended_us = 0;"
        "CREATE TABLE suspicion (component TEXT PRIMARY KEY, value REAL NOT NULL CHECK (value >= 0),"
        " since_us INTEGER NOT NULL, incident INTEGER NOT NULL) STRICT, WITHOUT ROWID;",
        /* 2 */
        "CREATE TABLE containment (number INTEGER PRIMARY KEY AUTOINCREMENT CHECK (number > 0), subject TEXT NOT NULL,"
        " reason TEXT NOT NULL, who TEXT NOT NULL, incident INTEGER NOT NULL, begun_us INTEGER NOT NULL,"
        " until_us INTEGER NOT NULL, ended_us INTEGER NOT NULL, state TEXT NOT NULL, proof TEXT NOT NULL) STRICT;"
        "CREATE INDEX containment_ended ON containment (ended_us, number);",
        /* 3 */
        "CREATE TABLE evidence (number INTEGER PRIMARY KEY, incident INTEGER NOT NULL CHECK (incident > 0),"
        " instance INTEGER NOT NULL, file TEXT NOT NULL, bytes INTEGER NOT NULL CHECK (bytes >= 0), sha256 TEXT NOT NULL,"
        " taken_us INTEGER NOT NULL, dropped_us INTEGER NOT NULL, UNIQUE (incident, instance, file)) STRICT;"
        "CREATE INDEX evidence_dropped ON evidence (dropped_us, number);",
        /* 4 */
        ("ALTER TABLE instance ADD COLUMN exposed_us INTEGER NOT NULL DEFAULT 0;"
         "ALTER TABLE instance ADD COLUMN content TEXT NOT NULL DEFAULT '';"),
        /* 5 */
        "CREATE TABLE tries (service TEXT NOT NULL, finding TEXT NOT NULL, rung TEXT NOT NULL,"
        " tried INTEGER NOT NULL CHECK (tried >= 0), worked INTEGER NOT NULL CHECK (worked BETWEEN 0 AND tried),"
        " last INTEGER NOT NULL, passed INTEGER NOT NULL, changed_us INTEGER NOT NULL,"
        " PRIMARY KEY (service, finding, rung)) STRICT, WITHOUT ROWID;",
        /* 6 */
        ("CREATE TABLE secret (number INTEGER PRIMARY KEY, instance INTEGER NOT NULL CHECK (instance > 0), kind TEXT NOT NULL,"
         " name TEXT NOT NULL, place TEXT NOT NULL, made_us INTEGER NOT NULL, revoked_us INTEGER NOT NULL,"
         " UNIQUE (instance, kind, name)) STRICT;"
         "CREATE INDEX secret_revoked ON secret (revoked_us, number);"),
        /* 7 */
        ("CREATE TABLE lesson (number INTEGER PRIMARY KEY AUTOINCREMENT CHECK (number > 0), origin TEXT NOT NULL,"
         " incident INTEGER NOT NULL CHECK (incident > 0), own INTEGER NOT NULL, learnt_us INTEGER NOT NULL,"
         " expires_us INTEGER NOT NULL, text TEXT NOT NULL, UNIQUE (origin, incident)) STRICT;"
         "CREATE TABLE verdict (incident INTEGER PRIMARY KEY CHECK (incident > 0), finding TEXT NOT NULL, vantage TEXT NOT NULL,"
         " beside TEXT NOT NULL, beside_vantage TEXT NOT NULL, victim TEXT NOT NULL) STRICT;"),
        /* 8 */
        "ALTER TABLE verdict ADD COLUMN rung TEXT NOT NULL DEFAULT '';",
};
#define VERSION ((int)countof(scripts))

static int number_of(struct ledger *l, const char *question, int64_t *ret_number, struct err *err)
{
	sqlite3_stmt *statement;
	int code = sqlite3_prepare_v2(l->db, question, -1, &statement, NULL);
	if (code == SQLITE_OK)
		code = sqlite3_step(statement);
	if (code == SQLITE_ROW)
		*ret_number = sqlite3_column_int64(statement, 0);
	int r = code == SQLITE_ROW ? 0 : store_failed(l, code, "read it", err);
	sqlite3_finalize(statement);
	return r;
}

int schema_check(struct ledger *l, bool *ret_empty, struct err *err)
{
	int64_t application = 0, version = 0, tables = 0;
	int r = number_of(l, "PRAGMA application_id", &application, err);
	if (r == 0)
		r = number_of(l, "PRAGMA user_version", &version, err);
	if (r == 0)
		r = number_of(l, "SELECT count(*) FROM sqlite_schema", &tables, err);
	if (r < 0)
		return r;
	*ret_empty = application == 0 && version == 0 && tables == 0;
	if (*ret_empty)
		return 0;
	if (application != APPLICATION_ID)
		return err_set(err, -EMEDIUMTYPE, "%s: is a database of another program; give state_dir a folder of its own",
		               l->path);
	if (version > VERSION)
		return err_set(err, -EPROTO,
		               "%s: is of version %lld, this koboshi knows up to %d; install the newer koboshi again", l->path,
		               (long long)version, VERSION);
	return 0;
}

int schema_migrate(struct ledger *l, struct err *err)
{
	char head[96];
	int64_t version = 0;
	int r = number_of(l, "PRAGMA user_version", &version, err);
	if (r < 0 || version >= VERSION)
		return r;
	snprintf(head, sizeof(head), "PRAGMA application_id = %d; PRAGMA user_version = %d", APPLICATION_ID, VERSION);
	int code = sqlite3_exec(l->db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
	for (int64_t i = version < 0 ? 0 : version; code == SQLITE_OK && i < VERSION; i++)
		code = sqlite3_exec(l->db, scripts[i], NULL, NULL, NULL);
	if (code == SQLITE_OK)
		code = sqlite3_exec(l->db, head, NULL, NULL, NULL);
	if (code == SQLITE_OK)
		code = sqlite3_exec(l->db, "COMMIT", NULL, NULL, NULL);
	if (code == SQLITE_OK)
		return 0;
	r = store_failed(l, code, "bring it up to date", err);
	sqlite3_exec(l->db, "ROLLBACK", NULL, NULL, NULL);
	return r;
}
