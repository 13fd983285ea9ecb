/*
 * Opening, closing, transactions. A supervisor that cannot start because its notebook is damaged would be a poor doll:
 * damage costs the history and never the start. What is not ours is left alone, however.
 */
#include "ledger/ledger.h"
#include "ledger/file.h"
#include "ledger/schema.h"
#include "ledger/store.h"
#include "lib/bytes.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define CHECK_LIMIT_US 2000000 /* a check of the file that takes longer ends undecided: the service must not wait for it */

/* Small on purpose: the engine's memory is counted. Exclusive: no second engine, and no shared-memory file either.
 * 16384 pages are 64 MiB, more than pruning ever leaves; beyond that the disk counts as full. */
static const char *const settings = "PRAGMA locking_mode = EXCLUSIVE;"
                                    "PRAGMA trusted_schema = OFF;"
                                    "PRAGMA cell_size_check = ON;"
                                    "PRAGMA mmap_size = 0;"
                                    "PRAGMA cache_size = -256;"
                                    "PRAGMA temp_store = MEMORY;"
                                    "PRAGMA foreign_keys = ON;"
                                    "PRAGMA max_page_count = 16384";

/* Only for a file that is known to be ours: this writes. */
static const char *const settings_ours = "PRAGMA journal_mode = WAL;"
                                         "PRAGMA synchronous = FULL;"
                                         "PRAGMA wal_autocheckpoint = 200;"
                                         "PRAGMA journal_size_limit = 1048576";

static void sqlite_configure(void)
{
	static bool done;
	if (done)
		return;
	/* One thread at a time is the contract: no locks, no counters. Refused when somebody was faster, and fine then too. */
	sqlite3_config(SQLITE_CONFIG_SINGLETHREAD);
	sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
	sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 512, 32);
	done = true;
}

static int deadline_passed(void *deadline)
{
	return clock_monotonic_us() > *(const int64_t *)deadline;
}

static int first_finding(void *found, unused_arg int columns, char **values, unused_arg char **names)
{
	text_copy(found, 160, values[0] ? values[0] : "?");
	for (char *c = found; *c; c++) /* SQLite says it in lines; it is to be one sentence */
		if (*c == '\n')
			*c = ' ';
	return 1;
}

/* Looks through every page and index. What a bad disk leaves is mostly found here, before anything is built on it. */
static int file_check(struct ledger *l, struct err *err)
{
	char found[160] = "ok";
	int64_t deadline = clock_monotonic_us() + CHECK_LIMIT_US;
	sqlite3_progress_handler(l->db, 1000, deadline_passed, &deadline);
	int code = sqlite3_exec(l->db, "PRAGMA integrity_check(1)", first_finding, found, NULL);
	sqlite3_progress_handler(l->db, 0, NULL, NULL);
	if (code == SQLITE_INTERRUPT)
		return 0;
	if (code != SQLITE_OK && code != SQLITE_ABORT)
		return store_failed(l, code, "check it", err);
	if (strcmp(found, "ok") != 0)
		return err_set(err, -EBADMSG, "%s: the file is damaged (%s)", l->path, found);
	return 0;
}

static int execute(struct ledger *l, const char *script, struct err *err)
{
	int code = sqlite3_exec(l->db, script, NULL, NULL, NULL);
	return code == SQLITE_OK ? 0 : store_failed(l, code, "open it", err);
}

static int connect_file(struct ledger *l, struct err *err)
{
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_EXRESCODE;
	int code = sqlite3_open_v2(l->path, &l->db, flags, NULL);
	if (!l->db)
		abort();
	if (code != SQLITE_OK)
		return store_failed(l, code, "open it", err);
	sqlite3_busy_timeout(l->db, 1500); /* the engine that was killed just now may still be going */
	sqlite3_db_config(l->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	if (sqlite3_db_readonly(l->db, "main") == 1)
		return store_failed(l, SQLITE_READONLY, "open it", err);
	return execute(l, settings, err);
}

static int open_once(struct ledger *l, struct err *err)
{
	bool empty = false;
	int r = connect_file(l, err);
	if (r == 0)
		r = schema_check(l, &empty, err);
	if (r == 0)
		r = execute(l, settings_ours, err);
	if (r == 0 && !empty)
		r = file_check(l, err);
	if (r == 0)
		r = schema_migrate(l, err);
	if (r == 0)
		r = store_prepare(l, err);
	return r;
}

/* What was damaged is kept as it was found: `settle` says whether changes that wait in the -wal file move into it. */
static void disconnect(struct ledger *l, bool settle)
{
	if (!l->db)
		return;
	sqlite3_db_config(l->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, !settle, NULL);
	for (size_t i = 0; i < SQL_MAX_; i++) {
		sqlite3_finalize(l->statements[i]);
		l->statements[i] = NULL;
	}
	int code = sqlite3_close(l->db);
	assert(code == SQLITE_OK);
	l->db = NULL;
}

/* Numbers of a ledger that is lost must not come again, neither of instances nor of incidents (evidence is filed by them):
 * start from the minutes since 2020, which run faster than anybody builds instances. With a clock that is not set yet (before
 * 2020) this says nothing, and the engine's floor is all. */
static int numbers_skip(struct ledger *l, struct err *err)
{
	int64_t minutes = (clock_real_us() / 1000000 - 1577836800) / 60;
	if (minutes <= 0 || minutes >= UINT32_MAX)
		return 0;
	int r = ledger_instance_floor(l, (uint32_t)minutes, err);
	if (r < 0)
		return r;
	sqlite3_stmt *s = store_statement(l, SQL_INCIDENT_FLOOR);
	sqlite3_bind_int64(s, 1, minutes);
	return store_run(l, s, "an incident's number", err);
}

static int begin_afresh(struct ledger *l, struct err *err)
{
	bool cut;
	disconnect(l, false);
	int r = ledger_file_move_aside(l->path, err);
	if (r == 0)
		r = ledger_file_prepare(l->path, &cut, err);
	if (r == 0)
		r = open_once(l, err);
	return r < 0 ? r : numbers_skip(l, err);
}

static int open_file(struct ledger *l, char ret_fresh_because[static LEDGER_TEXT_MAX], struct err *err)
{
	bool cut;
	struct err why;
	int r = ledger_file_prepare(l->path, &cut, err);
	if (r < 0)
		return r;
	r = cut ? err_set(&why, -EBADMSG, "%s: the file is damaged (nothing, or next to nothing, is in it)", l->path)
	        : open_once(l, &why);
	if (r == -EBADMSG) {
		text_copy(ret_fresh_because, LEDGER_TEXT_MAX, why.text);
		return begin_afresh(l, err);
	}
	return r < 0 ? err_set(err, r, "%s", why.text) : 0;
}

int ledger_open(const char *path, struct ledger **ret_ledger, char ret_fresh_because[static LEDGER_TEXT_MAX], struct err *err)
{
	char because[LEDGER_TEXT_MAX] = "";
	sqlite_configure();
	struct ledger *l = calloc(1, sizeof(*l));
	if (!l)
		abort();
	int r = text_copy(l->path, sizeof(l->path), path) ? 0
	                                                  : err_set(err, -ENAMETOOLONG, "%.200s...: the name is too long", path);
	if (r == 0)
		r = strcmp(path, ":memory:") == 0 ? open_once(l, err) : open_file(l, because, err);
	if (r < 0) {
		ledger_close(l);
		return r;
	}
	text_copy(ret_fresh_because, LEDGER_TEXT_MAX, because);
	*ret_ledger = l;
	return 0;
}

void ledger_close(struct ledger *l)
{
	if (!l)
		return;
	ledger_rollback(l);
	disconnect(l, true);
	free(l);
}

int ledger_begin(struct ledger *l, struct err *err)
{
	assert(!l->in_transaction);
	int r = store_run(l, store_statement(l, SQL_BEGIN), "changes", err);
	l->in_transaction = r == 0;
	l->broken = false;
	return r;
}

int ledger_commit(struct ledger *l, struct err *err)
{
	assert(l->in_transaction);
	int r = l->broken ? err_set(err, -ECANCELED, "%s: nothing of these changes is recorded, because one of them failed",
	                            l->path)
	                  : store_run(l, store_statement(l, SQL_COMMIT), "changes", err);
	if (r < 0)
		ledger_rollback(l);
	l->in_transaction = false;
	return r;
}

void ledger_rollback(struct ledger *l)
{
	if (!l->in_transaction)
		return;
	l->in_transaction = false;
	if (!sqlite3_get_autocommit(l->db)) { /* else SQLite did it by itself, when the disk was full */
		int code = sqlite3_step(store_statement(l, SQL_ROLLBACK));
		sqlite3_reset(l->statements[SQL_ROLLBACK]);
		assert(code == SQLITE_DONE || sqlite3_get_autocommit(l->db));
	}
}
