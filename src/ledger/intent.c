/* Intents: written before a destructive act, ended after it. Those still open after a crash say where to go on. */
#include "ledger/store.h"
#include "lib/bytes.h"

#include <errno.h>

/* 0 means open, so a clock that stands at the epoch must not say 0. */
static int64_t now_us(void)
{
	int64_t now = clock_real_us();
	return now > 0 ? now : 1;
}

int ledger_intent_begin(struct ledger *l, struct ledger_intent *intent, struct err *err)
{
	int64_t begun_us = now_us();
	sqlite3_stmt *s = store_statement(l, SQL_INTENT_BEGIN);
	STORE_BIND(s, 1, intent->order);
	sqlite3_bind_int64(s, 2, intent->service);
	sqlite3_bind_int64(s, 3, intent->instance);
	sqlite3_bind_int64(s, 4, intent->variant);
	sqlite3_bind_int64(s, 5, (sqlite3_int64)intent->incident);
	sqlite3_bind_int64(s, 6, begun_us);
	STORE_BIND(s, 7, intent->text);
	int r = store_run(l, s, "an intent", err);
	if (r < 0)
		return r;
	intent->number = (uint64_t)sqlite3_last_insert_rowid(l->db);
	intent->begun_us = begun_us;
	intent->ended_us = 0;
	return 0;
}

int ledger_intent_end(struct ledger *l, uint64_t number, int32_t status, const char *text, struct err *err)
{
	char bounded[LEDGER_TEXT_MAX];
	text_copy(bounded, sizeof(bounded), text);
	sqlite3_stmt *s = store_statement(l, SQL_INTENT_END);
	sqlite3_bind_int64(s, 1, (sqlite3_int64)number);
	sqlite3_bind_int64(s, 2, now_us());
	sqlite3_bind_int64(s, 3, status);
	STORE_BIND(s, 4, bounded);
	int r = store_run(l, s, "an intent's end", err);
	sqlite3_clear_bindings(s); /* `bounded` ends here */
	if (r == 0 && sqlite3_changes(l->db) == 0)
		return err_set(err, -ENOENT, "%s: holds no open intent %llu", l->path, (unsigned long long)number);
	return r;
}

struct walk {
	ledger_intent_fn *fn;
	void *arg;
};

static int intent_row(void *arg, sqlite3_stmt *s)
{
	const struct walk *walk = arg;
	struct ledger_intent row = {
	        .number = (uint64_t)sqlite3_column_int64(s, 0),
	        .service = (uint32_t)sqlite3_column_int64(s, 2),
	        .instance = (uint32_t)sqlite3_column_int64(s, 3),
	        .variant = (uint32_t)sqlite3_column_int64(s, 4),
	        .incident = (uint64_t)sqlite3_column_int64(s, 5),
	        .begun_us = sqlite3_column_int64(s, 6),
	        .ended_us = sqlite3_column_int64(s, 7),
	        .status = sqlite3_column_int(s, 8),
	};
	STORE_COLUMN(s, 1, row.order);
	STORE_COLUMN(s, 9, row.text);
	return walk->fn(walk->arg, &row);
}

int ledger_intent_each_open(struct ledger *l, ledger_intent_fn *fn, void *arg, struct err *err)
{
	struct walk walk = {.fn = fn, .arg = arg};
	return store_walk(l, store_statement(l, SQL_INTENT_OPEN), "intents", intent_row, &walk, err);
}
