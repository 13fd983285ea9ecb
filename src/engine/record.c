/*
 * What koboshi-vm kept of fallen guests becomes rows in the ledger. The engine may not look into the folders, which are root's:
 * a row is what koboshi-vm read back and hashed. It is told before the order is answered, so the row is in the journal before
 * the one that says that the guest is being destroyed; a guest whose evidence was not written down is recorded again.
 */
#include "engine/engine.h"

#include "lib/bytes.h"
#include "lib/log.h"

#include <assert.h>

static_assert(sizeof(((struct ledger_evidence *)0)->file) == WIRE_FILE_MAX, "a name fits");

struct taken_job {
	struct ledger_evidence row;
	struct engine *engine;
};

static int taken_work(struct ledger *l, void *arg, struct err *err)
{
	struct taken_job *job = arg;
	return ledger_evidence_put(l, &job->row, err);
}

/* A ledger that cannot be written now gets it later. */
static void taken_done(void *arg, int status, const struct err *err)
{
	auto_free struct taken_job *job = arg;
	struct engine_missed *missed = &job->engine->missed;
	if (status == 0)
		return;
	log_error("engine.evidence", "%s of incident %llu is not in the ledger%s: %s", job->row.file,
	          (unsigned long long)job->row.incident, missed->n < ENGINE_MISSED_MAX ? " yet" : "", err->text);
	if (missed->n < ENGINE_MISSED_MAX)
		missed->rows[missed->n++] = job->row;
}

static void taken_write(struct engine *e, const struct ledger_evidence *row)
{
	struct taken_job *job = malloc(sizeof(*job));
	assert(job);
	*job = (struct taken_job){.row = *row, .engine = e};
	journal_put(e->journal, taken_work, taken_done, job);
}

struct dropped_job {
	uint64_t incident;
	int64_t time_us;
};

static int dropped_work(struct ledger *l, void *arg, struct err *err)
{
	const struct dropped_job *job = arg;
	return ledger_evidence_dropped(l, job->incident, job->time_us, err);
}

void record_notice(struct engine *e, const struct wire_note *note)
{
	if (note->type == NOTICE_EVIDENCE_DROPPED) {
		struct dropped_job *job = malloc(sizeof(*job));
		assert(job);
		*job = (struct dropped_job){note->evidence.incident, clock_real_us()};
		journal_put(e->journal, dropped_work, NULL, job);
		return;
	}
	struct ledger_evidence row = {.incident = note->evidence.incident,
	                              .instance = note->instance,
	                              .bytes = note->evidence.bytes,
	                              .taken_us = clock_real_us()};
	text_copy(row.file, sizeof(row.file), note->text);
	bytes_to_hex(note->evidence.sha256, WIRE_SHA256, row.sha256);
	taken_write(e, &row);
}

void record_again(struct engine *e)
{
	struct engine_missed missed = e->missed;
	e->missed.n = 0; /* whatever fails once more comes back */
	for (size_t i = 0; i < missed.n; i++)
		taken_write(e, &missed.rows[i]);
}
