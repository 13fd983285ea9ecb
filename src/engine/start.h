#pragma once
/* Reading world and ledger after a start, until each plan has its view. */
#include "engine/engine.h"

/* Reads what the ledger remembers. Before the journal's thread starts. */
int start_begin(struct engine *e, struct ledger *ledger, bool fresh_ledger, struct err *err) must_use;

/* `role` became ready, or (WIRE_SUPERVISOR) nothing did: asks the actuators what is there once both are ready and the
 * containments are in force (or have had their time); later asks a new vm actuator what became of the guests meanwhile. */
void start_actuator_ready(struct engine *e, enum wire_role role);
bool start_waits(const struct engine *e); /* for containments: call the above again soon */
void start_answer(struct engine *e, const struct wire_order *order, const struct wire_answer *answer);

/* Has an actuator that does not say what is there replaced: no plan has a deadline for that. About once a second. */
void start_judge(struct engine *e, int64_t now_us);
