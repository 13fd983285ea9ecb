#pragma once
/* A plan to try things on: three variants as different as the real ones, and instances put into it by hand. */
#include "plan/inside.h"

enum { AMBER, BIRCH, CEDAR, MADE_VARIANTS };

#define MADE_INTERVAL_US 100000
#define MADE_TIMEOUT_US 250000

struct plan_config made_config(void);

/* Probes 3 of 5 each 100 ms with 250 ms patience, one standby, one spare, the three variants usable. */
void made_plan(struct plan *p);
void made_variants(struct plan *p);

/* In the next free slot; READY ones are healthy. */
struct plan_instance *made_instance(struct plan *p, uint32_t number, uint32_t variant, enum plan_role role, enum plan_life life);

/* The first of its kind in an update; NULL: none. */
const struct plan_order *made_ordered(const struct plan_update *update, enum plan_order_type type);
const struct plan_note *made_noted(const struct plan_update *update, enum plan_step step);

struct evidence made_evidence(uint32_t instance, enum finding finding, int64_t began_us, int64_t time_us);
