#pragma once
/*
 * What incidents teach: a lesson is written when one closes, in the same transaction, signed by this device; those of other
 * devices are taken when a trusted key signed them. What they change is the plan's (plan/lesson.c); how they look is
 * docs/lessons.md.
 *
 * What convicted is known when an incident opens and told when it closes: it waits in the ledger (ledger_verdict), so that a
 * killed engine's successor learns the same.
 */
#include "ledger/ledger.h"
#include "lesson/lesson.h"
#include "plan/plan.h"

struct engine;
struct engine_service;

#define LESSONS_YOUNG_MAX 16

struct lessons {
	struct lesson_key key;
	bool can_sign;              /* there is a key */
	char problem[ERR_TEXT_MAX]; /* why there is none, or why one of others' cannot be used; "" */
	struct lesson_trust trust;
	struct lesson_name {
		char origin[LESSON_ORIGIN_MAX];
		uint64_t incident;
	} known[LEDGER_LESSONS_KEPT];            /* a ring of those in the ledger */
	size_t n_known;                          /* ever */
	struct lesson *young[LESSONS_YOUNG_MAX]; /* from before this start, for the plans; owned; none later */
	size_t n_young;
};

void lessons_open(struct engine *e); /* keys: before the process is confined. What fails is told and is no reason not to start */
int lessons_load(struct engine *e, struct ledger *l, struct err *err) must_use; /* before the ledger's thread starts */
void lessons_world(struct engine *e);                                           /* the plans know their instances now */

void lessons_verdict(struct engine_service *s, const struct plan_note *note); /* PLAN_STEP_DETECTED */
void lessons_mended(struct engine_service *s, const struct plan_note *note);  /* PLAN_STEP_MENDED */
/* Writes the row of an incident that is closed, and its lesson with it. */
void lessons_close(struct engine_service *s, const struct ledger_incident *row);

/* Takes one of another device (or one of ours that a lost ledger took along). -EALREADY: it is known; -EROFS: the ledger cannot
 * be written; or as lesson_parse() and lesson_check(). */
int lessons_take(struct engine *e, const char *text, size_t size, struct lesson *ret_lesson, struct err *err) must_use;
