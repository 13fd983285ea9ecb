#pragma once
/* What the files of plan share among themselves; nobody else includes this. */
#include "plan/plan.h"

#include <assert.h>
#include <string.h>

/* One step's working set: the plan, the event's time and numbers, what goes out. */
struct plan_turn {
	struct plan *p;
	int64_t now_us;
	uint32_t fresh_number;
	uint64_t fresh_incident;
	struct plan_update *update;
};

static inline void verdict_clear(struct plan_window *window)
{
	memset(window, 0, sizeof(*window));
}

/* verdict.c: pure arithmetic on windows */
void verdict_add(const struct plan *p, struct plan_window *window, const struct evidence *evidence);
enum plan_verdict verdict_of(const struct plan *p, const struct plan_instance *instance, int64_t now_us);
bool verdict_is_doubted(const struct plan *p, const struct plan_instance *instance, int64_t now_us);  /* no verdict yet */
bool verdict_is_withheld(const struct plan *p, const struct plan_instance *instance, int64_t now_us); /* it is crowded */
bool verdict_answered_since(const struct plan_instance *instance, int64_t since_us); /* asked since then, and rightly */

/* choice.c: ladders */
struct plan_instance *choice_target(struct plan *p, uint32_t not_number);
struct plan_instance *choice_spare(struct plan *p);
uint32_t choice_variant(const struct plan *p, int64_t now_us); /* UINT32_MAX: none */
struct plan_instance *choice_worst_idle(struct plan *p);
bool choice_better_beside_active(const struct plan *p, uint32_t variant, uint32_t than);
bool choice_as_clean(const struct plan *p, uint32_t variant, uint32_t as); /* holds no more suspect layers */
bool choice_cleaner(const struct plan *p, uint32_t variant, uint32_t than);
void choice_suspect(struct plan *p, uint32_t variant);
void choice_clear(struct plan *p, uint32_t variant);
void choice_fade(struct plan *p, int64_t now_us);
uint32_t choice_suspect_layers(const struct plan *p, uint32_t variant);

/* traits.c: what choices ask for; good until components or suspicion change */
const struct plan_traits *traits_of(const struct plan *p);
void traits_suspicion_changed(struct plan *p);

/* Answers that say more than no; the plan includes no errno. */
#define LINK_LOST (-32)  /* -EPIPE: the actuator ended in the middle; says nothing about the instance */
#define NOT_THERE (-2)   /* -ENOENT: no such tap, no such guest */
#define NOT_ABLE (-95)   /* -ENOTSUP: no agent, or none that can */
#define NOT_HEARD (-107) /* -ENOTCONN: its agent is not heard */

/* So often is an order tried again (life_again). */
#define ATTEMPTS_FEW 5   /* 0.6 s: an actuator that was killed is back by then */
#define ATTEMPTS_MANY 10 /* 20 s */

/* lesson.c */
void lesson_take(struct plan_turn *t, const struct plan_lesson *lesson);
uint64_t lesson_enough(const struct plan *p, const struct evidence *weak); /* the incident that makes it enough; 0: none does */
void lesson_spend(struct plan *p, uint64_t incident);

/* life.c: one instance */
enum life_event {
	LIFE_START,  /* entered: issue the order, set the deadline */
	LIFE_DONE,   /* the order was carried out */
	LIFE_FAILED, /* the order failed or was not answered */
	LIFE_PROOF,  /* enough right answers since the life began */
	LIFE_FALL,   /* verdict failed or compromised, or no longer wanted */
	LIFE_LATE,   /* the deadline passed without an order under way */
	LIFE_EVENT_MAX_
};
void life_enter(struct plan_turn *t, struct plan_instance *i, enum plan_life life);
void life_event(struct plan_turn *t, struct plan_instance *i, enum life_event event, int32_t status);
void life_blind(struct plan_turn *t, struct plan_instance *i); /* senses were lost, or are back */
void life_order(struct plan_turn *t, struct plan_instance *i, enum plan_order_type type);
void life_order_recorded(struct plan_turn *t, struct plan_instance *i, enum plan_order_type type); /* not while nothing can be */
void life_again(struct plan_turn *t, struct plan_instance *i, int32_t status); /* the same order, after a pause that doubles */
void life_not_awake(struct plan_turn *t, struct plan_instance *i, int32_t status); /* given up, and its variant is not to blame */
bool life_is_complete(void); /* for the test: every cell of the table is written on purpose */

/* plan.c: shared by the lives */
void plan_note(struct plan_turn *t, enum plan_step step, uint64_t incident, const struct plan_instance *i,
               struct plan_note extra);
uint32_t plan_issue(struct plan_turn *t, enum plan_order_type type, uint32_t instance, uint32_t victim, uint32_t variant,
                    uint64_t incident);
struct plan_instance *plan_instance_at(struct plan *p, uint32_t number);
struct plan_incident *plan_incident_at(struct plan *p, uint64_t number);
bool plan_wants_standby(const struct plan *p);
void plan_fall(struct plan_turn *t, struct plan_instance *i);
bool plan_steer(struct plan_turn *t, struct plan_instance *to, uint32_t victim, uint64_t incident);
struct plan_incident *plan_hand_over(struct plan_turn *t, struct plan_instance *active, struct plan_instance *to);

/* want.c */
void want_all(struct plan_turn *t);

/* incident.c */
static inline bool incident_is_doubt(const struct plan_incident *x) /* its victim gave way, and has not fallen */
{
	return x->number && x->gave_way && x->verdict == PLAN_HEALTHY;
}
struct plan_incident *incident_open(struct plan_turn *t, struct plan_instance *victim);
uint64_t incident_current(const struct plan *p); /* the newest open one that still rebuilds, 0 none */
void incident_steered(struct plan_turn *t, uint64_t number, uint32_t to);
void incident_rid(struct plan *p, uint32_t victim); /* it is gone, or mended */
void incident_progress(struct plan_turn *t);

/* crowd.c: clients that are too many, perhaps: PLAN_CROWD_US */
void crowd_begin(struct plan_turn *t, const struct plan_instance *before);
void crowd_fell(struct plan_turn *t, const struct plan_instance *i);
void crowd_left(struct plan_turn *t, struct plan_instance *from, uint32_t to); /* NULL: nobody */
void crowd_missed(struct plan_turn *t, const struct plan_instance *i, enum finding finding);
void crowd_tell(struct plan_turn *t, const struct plan_instance *i);                 /* once, if a verdict is withheld */
bool crowd_has(const struct plan *p, const struct plan_instance *i, int64_t now_us); /* is crowded */

/* mend.c: cells of the table */
void mend_aside(struct plan_turn *t, struct plan_instance *i, int32_t status);
void mend_begin(struct plan_turn *t, struct plan_instance *i, int32_t status);
void mend_restart(struct plan_turn *t, struct plan_instance *i, int32_t status);
void mend_await(struct plan_turn *t, struct plan_instance *i, int32_t status);
void mend_refused(struct plan_turn *t, struct plan_instance *i, int32_t status);
void mend_reset(struct plan_turn *t, struct plan_instance *i, int32_t status);
void mend_reset_again(struct plan_turn *t, struct plan_instance *i, int32_t status);
void mend_failed(struct plan_turn *t, struct plan_instance *i, int32_t status);
void mend_done(struct plan_turn *t, struct plan_instance *i, int32_t status);

/* ladder.c */
void ladder_begin(struct plan_turn *t, struct plan_instance *i);   /* it falls: the first rung, or none */
bool ladder_goes_on(struct plan_turn *t, struct plan_instance *i); /* the rung did not help: the next one, or none */
void ladder_tried(struct plan_turn *t, const struct plan_instance *i, bool worked);
void ladder_heard(struct plan_turn *t, enum finding cause, enum plan_rung rung); /* that it helped somewhere else */
bool ladder_is_exhausted(const struct plan_instance *i, int64_t now_us);         /* mended too often lately */

/* hold.c */
void hold_take(struct plan_turn *t, uint32_t number, enum plan_hold hold);
void hold_stop_service(struct plan_turn *t, struct plan_instance *i, int32_t status); /* cells of the table, and these: */
void hold_stopped(struct plan_turn *t, struct plan_instance *i, int32_t status);
void hold_not_stopped(struct plan_turn *t, struct plan_instance *i, int32_t status);
void hold_start_service(struct plan_turn *t, struct plan_instance *i, int32_t status);
void hold_started(struct plan_turn *t, struct plan_instance *i, int32_t status);
void hold_not_started(struct plan_turn *t, struct plan_instance *i, int32_t status);
bool hold_holds(enum plan_life life);
void want_hold(struct plan_turn *t);

/* brake.c */
void brake_fell(struct plan_turn *t, const struct plan_instance *i);
void brake_remember(struct plan_turn *t, const int64_t *falls_us, size_t n);
bool brake_holds(const struct plan *p);
bool brake_waits(const struct plan *p); /* what may be built now is not needed at once */
void brake_built(struct plan_turn *t);  /* something is being built */
void brake_time(struct plan_turn *t);
int64_t brake_deadline(const struct plan *p);

/* revoke.c */
void revoke_begin(struct plan_turn *t, struct plan_instance *i); /* NULL, done or under way: nothing */
void revoke_done(struct plan_turn *t, struct plan_instance *i, enum plan_order_type by);
bool revoke_answer(struct plan_turn *t, uint32_t ticket, int32_t status); /* false: it is another order's */
void revoke_time(struct plan_turn *t);
int64_t revoke_deadline(const struct plan *p);

/* world.c */
void world_enter(struct plan_turn *t, const struct plan_event *event);

static inline bool plan_is_rising(enum plan_life life) /* on its way to usefulness */
{
	return life >= PLAN_LIFE_TAP && life <= PLAN_LIFE_UNCAPPING;
}

static inline bool plan_is_falling(enum plan_life life)
{
	return life >= PLAN_LIFE_STEERING && life <= PLAN_LIFE_REMOVING;
}

static inline bool plan_is_mending(enum plan_life life) /* fallen, but not on its way out */
{
	return life >= PLAN_LIFE_ASIDE && life <= PLAN_LIFE_REBOOTING;
}

static inline bool plan_counts(enum plan_life life) /* towards what is wanted */
{
	return life != PLAN_LIFE_NONE && life < PLAN_LIFE_DOOMED;
}
