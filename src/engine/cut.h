#pragma once
/*
 * Sources that are cut off without an operator: while guests fall again and again (the plan's brake holds), whoever was there
 * whenever one fell and is not there at most other times (sense/suspects.h). It is a containment as any other, for a while;
 * koboshi-net refuses it for whom `never_cut` names.
 *
 * Every fall counts, not takeovers alone: who wants the service gone makes guests fall any way it can. What keeps a client from
 * being cut by mistake is the contrast, and that nothing is cut before the alarm. Whoever can send with somebody else's address
 * can have that one cut: those who must not be belong into `never_cut`.
 */
#include "plan/plan.h"
#include "sense/suspects.h"
#include "wire/order.h"

struct engine;
struct engine_service;
struct ledger;

#define CUT_REMEMBERED_MAX 64
#define CUT_LIVING_MAX 64 /* half of all that can be contained is left to operators */

struct cuts { /* who was cut off how often within a week */
	struct {
		char subject[WIRE_SUBJECT_MAX];
		uint32_t times;
	} list[CUT_REMEMBERED_MAX];
	size_t n; /* ever: a ring */
};

struct cut_watch { /* of one service */
	struct suspects suspects;
	int64_t calm_us;      /* when the next calm moment is looked at */
	uint32_t last_fallen; /* its fall is noted */
};

int cut_load(struct engine *e, struct ledger *l, struct err *err) must_use; /* before the ledger's thread starts */
void cut_fell(struct engine_service *s, const struct plan_note *note);      /* PLAN_STEP_DETECTED */
size_t cut_living(const struct engine *e);                                  /* so many are in force */
void cut_pulse(struct engine *e, int64_t now_us);                           /* ten times a second */
