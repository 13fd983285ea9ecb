#pragma once
/* What the API says, as JSON objects. The caller owns what is returned. */
#include "engine/engine.h"

#include <jansson.h>

/* A JSON string of whatever bytes a message, a ledger or an actuator brought: what is no UTF-8 becomes '?'. Never NULL. */
json_t *report_text(const char *text);

/* "2026-01-02T03:04:05.678Z"; 0: null. */
json_t *report_when(int64_t real_us);

/* On the loop. */
json_t *report_status(struct engine *e);
json_t *report_variants(struct engine *e);

/* Why it is judged as it is and what would change that; `subject` is an instance ("kb-3") or a variant. NULL: no such. */
json_t *report_why(struct engine *e, const char *subject);
json_t *report_subjects(struct engine *e); /* all that can be asked about */

/* Flows as features, of all instances; of the one of this name (NULL: no such). */
json_t *report_flows(struct engine *e);
json_t *report_flows_of(struct engine *e, const char *name);

/* POST /v1/contain and /v1/release: an HTTP status, and the answer's object. */
unsigned report_contain(struct engine *e, const json_t *body, json_t **ret_answer);
unsigned report_hold(struct engine *e, const json_t *body, json_t **ret_answer);
unsigned report_release(struct engine *e, const json_t *body, json_t **ret_answer);

/* POST /v1/lessons: the same, of a lesson's bytes. */
unsigned report_lesson_take(struct engine *e, const char *text, size_t size, json_t **ret_answer);

/* Containments that are not in force though they should be, as a reason not to say "ok". */
void report_missing(const struct engine *e, json_t *reasons);

/* The image that is wanted, and the one that could not be built, which is a reason not to say "ok". */
json_t *report_wanted(const struct engine *e, json_t *reasons);

/* Appends a sentence to a list. */
void report_say(json_t *list, const char *format, ...) printf_like(2, 3);

/* On the ledger's thread: the ledger only. NULL with `err` filled when there is nothing to say. */
json_t *report_incidents(struct ledger *l, struct err *err);
json_t *report_incident(struct ledger *l, const char *state_dir, uint64_t number, struct err *err);
json_t *report_containments(struct ledger *l, struct err *err);
json_t *report_lessons(struct ledger *l, const struct lessons *lessons, struct err *err); /* of `lessons` what never changes */

/* What instances could read: of all (0), or of one. */
json_t *report_secrets(struct ledger *l, uint32_t instance, struct err *err);

/* The same of evidence, of all incidents (0) or of one, with paths below the state folder: the object, and its list alone. */
json_t *report_evidence(struct ledger *l, const char *state_dir, uint64_t incident, struct err *err);
json_t *report_evidence_list(struct ledger *l, const char *state_dir, uint64_t incident, struct err *err);
