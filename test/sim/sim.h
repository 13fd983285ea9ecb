#pragma once
/*
 * A world in virtual time in which the plan is tried: guests, the kernel's rules, two actuators that may be slow, refuse,
 * forget or be killed, a ledger that is written row by row, and the engine's way of using the plan (service.c, follow.c,
 * start.c), which may crash between any two of these. Random runs (main.c) and told stories (test/plan/test_trace.c) use
 * the same world; check.c holds the rules against every order, every change and the end.
 *
 *   clock.c   what happens when: a heap of moments, random numbers
 *   world.c   guests, taps, gates, the target: what orders do to them
 *   hands.c   the way of an order to an actuator and of its answer back
 *   engine.c  ledger, rows, intents, numbers; start and crash
 *   sense.c   probes and what hypervisor and wire see
 *   check.c   the rules
 *   kill.c    a kill at a point that is chosen beforehand
 *   every.c   each playbook, killed at every point (`sim --every-step`)
 */
#include "plan/plan.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define SIM_NUMBERS_MAX 192 /* instance and incident numbers of one run: more means that something goes in circles */
#define SIM_MOMENTS_MAX 1024
#define SIM_FLIGHTS_MAX 96
#define SIM_WRITES_MAX 512
#define SIM_STAGED_MAX 64
#define SIM_COMPONENTS 14

enum sim_fault { SIM_FINE, SIM_REFUSES, SIM_HANGS, SIM_WRONG, SIM_ERRORS, SIM_FAULT_MAX_ };

/* What becomes of an order. */
enum sim_fate {
	SIM_DONE,
	SIM_REFUSED,       /* not carried out, and said so */
	SIM_FALSE_REFUSAL, /* carried out, but the answer says no */
	SIM_LOST,          /* carried out, no answer */
	SIM_HUNG,          /* never carried out, and the actuator stands still */
	SIM_SLOW,          /* carried out later than the plan waits */
	SIM_TARDY,         /* late, but in time */
	SIM_TWICE,         /* answered, and later once more */
	SIM_FATE_MAX_
};

enum sim_hand { SIM_NET, SIM_VM, SIM_HAND_MAX_ };

enum sim_what {
	SIM_EV_EXECUTE, /* a: flight, b: its id */
	SIM_EV_ANSWER,  /* a: ticket, b: engine's life, status */
	SIM_EV_BROKEN,  /* a: hand: unanswerable orders are answered */
	SIM_EV_HAND_UP, /* a: hand */
	SIM_EV_PROBE,   /* a: instance, b: probe's life */
	SIM_EV_SEEN,    /* evidence; b: probe's life or 0 */
	SIM_EV_NOTICE,  /* evidence from the hypervisor or the wire */
	SIM_EV_COMMIT,  /* b: engine's life */
	SIM_EV_PULSE,   /* b: engine's life */
	SIM_EV_WORLD,   /* b: engine's life */
	SIM_EV_START,
	SIM_EV_SEES_AGAIN, /* b: engine's life */
	SIM_EV_CHAOS,      /* random runs: the next mishap */
	SIM_EV_HEAL,       /* a: instance */
	SIM_EV_WRITABLE,
	SIM_WHAT_MAX_
};

/* Where a process can be killed and something is different from before: the engine's way and an actuator's, order by order, row
 * by row. */
enum sim_point {
	SIM_POINT_SENT,    /* an order has left the engine; the next one has not */
	SIM_POINT_DONE,    /* it was carried out; nobody was told */
	SIM_POINT_WRITING, /* a row is to be written; it never is */
	SIM_POINT_WRITTEN, /* it is durable; what follows from that (an order, a number) has not begun */
	SIM_POINT_MAX_
};

/* What becomes of the orders that are on their way when somebody is killed. */
enum sim_effect {
	SIM_EFFECT_CHANCE, /* random runs */
	SIM_EFFECT_NONE,
	SIM_EFFECT_ALL,   /* carried out; nobody is told */
	SIM_EFFECT_LATER, /* by an actuator that lives on, while the next engine reads the world or later */
	SIM_EFFECT_MAX_
};

struct sim_kill {
	uint32_t at; /* the how manieth point; 0: never */
	bool engine, hand[SIM_HAND_MAX_];
	enum sim_effect effect[SIM_HAND_MAX_];
};

struct sim_moment {
	int64_t time_us;
	uint64_t order; /* of two at the same time the first one made comes first */
	enum sim_what what;
	uint32_t a, b;
	int32_t status;
	struct evidence evidence;
};

struct sim_guest {
	uint32_t number, variant;
	enum plan_guest state;
	enum plan_gate gate;
	bool link_down, capped, created, outdated;
	bool stopped;            /* its service, by its agent */
	bool vanished;           /* it ended by itself */
	int64_t booted_us;       /* serves from then on; PLAN_NEVER */
	int64_t pauses_until_us; /* it answers nothing before, and all that it was asked then */
	enum sim_fault fault;
	bool wronged;         /* something was done to it, ever: a verdict on it is no mistake */
	bool condemned;       /* the plan said: compromised */
	int64_t condemned_us; /* when */
	bool fell, has_key;
	bool rolled_back;      /* the data is as it was before it fell */
	bool gave_up_rollback; /* and somebody was told */
	bool revoke_ordered, revoked;
	bool mended;         /* what befell it last cost it nothing */
	uint32_t probe_life; /* 0: not probed */
	bool proving;
	uint32_t n_probes, fell_flight; /* what was under way when it fell does not count */
	int64_t busy_until_us;          /* of its queue in the vm actuator */
};

struct sim_flight {
	bool used, executed, late, kept; /* kept: known to the engine that waits for it */
	uint32_t id, engine_life, intent;
	struct plan_order order;
	enum sim_hand hand;
	enum sim_fate fate;
	int64_t execute_us;
};

struct sim_row {
	bool there, ended;
	uint32_t variant;
	enum plan_role role;
	enum plan_life life;
	uint64_t incident;
	bool exposed;
	int64_t exposed_us;
};

enum sim_write_kind {
	SIM_W_ROW,
	SIM_W_INCIDENT,
	SIM_W_INTENT,
	SIM_W_OUTCOME,
	SIM_W_NUMBER,
	SIM_W_SUSPICION,
	SIM_W_TRIES,
	SIM_W_TRY
};

struct sim_write {
	enum sim_write_kind kind;
	uint32_t number, group; /* what one step writes is one transaction */
	struct sim_row row;
	struct plan_incident incident;
	struct plan_order order;
	uint32_t suspicion[SIM_COMPONENTS];
	struct plan_tries tries[FINDING_MAX_][PLAN_RUNGS_MENDING];
};

struct sim_intent {
	struct plan_order order;
	bool open;
};

struct sim_odds { /* in ten-thousandths of each order, probe, second */
	uint32_t refused, false_refusal, lost, hung, slow, tardy, twice, probe_lost;
	bool jitter;
};

#define SIM_LESSONS_MAX 256
#define SIM_LESSON_FIRST 1000000 /* the incident of the first; no other has such a number */

struct sim {
	int64_t now_us;
	uint64_t seed, random;
	FILE *log;
	char failure[512];
	struct sim_odds odds;

	struct sim_moment moments[SIM_MOMENTS_MAX];
	size_t n_moments;
	uint64_t last_moment;

	/* the world */
	struct sim_guest guests[SIM_NUMBERS_MAX];
	uint32_t n_numbers; /* highest number given out + 1 */
	uint32_t target;
	uint32_t n_bygone;      /* instances of lower numbers are of before the host was rebooted */
	uint32_t incurable;     /* faults that neither a restart nor a reboot ends: 1 */
	int64_t stall_until_us; /* the host stands still: nobody answers */
	int64_t crowd_until_us; /* clients are too many for whoever serves: it answers one probe in five */
	bool crowd_fell;        /* somebody fell for that: nobody else may */
	int64_t boot_us[PLAN_VARIANTS_MAX];
	uint32_t never_boots[PLAN_VARIANTS_MAX]; /* so many guests of it */
	bool given[SIM_NUMBERS_MAX];

	/* the actuators */
	struct sim_flight flights[SIM_FLIGHTS_MAX];
	uint32_t last_flight;
	bool hand_up[SIM_HAND_MAX_], hand_hung[SIM_HAND_MAX_];
	int64_t net_busy_us, hand_replaced_us[SIM_HAND_MAX_];
	enum sim_fate next_fate[PLAN_ORDER_MAX_]; /* of the next order of this type */

	/* the ledger */
	struct sim_row rows[SIM_NUMBERS_MAX];
	struct plan_incident incidents[SIM_NUMBERS_MAX]; /* number 0: none or closed */
	int64_t falls_us[SIM_NUMBERS_MAX];               /* by incident: when somebody fell in it; 0: nobody, or not durable */
	uint64_t last_incident_durable;
	struct sim_intent intents[4 * SIM_NUMBERS_MAX];
	uint32_t n_intents, next_number;
	uint32_t suspicion[SIM_COMPONENTS];
	struct plan_tries tries[FINDING_MAX_][PLAN_RUNGS_MENDING];
	bool unwritable, rows_lost;
	struct sim_write writes[SIM_WRITES_MAX]; /* waiting, in order */
	size_t n_writes;
	uint32_t group;
	bool whole; /* groups are kept whole, as the engine's journal keeps them; random runs tear them, which has to do as well
	             */
	struct sim_write staged[SIM_STAGED_MAX];
	size_t n_staged;

	/* the engine */
	bool up, blind, told_unwritable, number_coming;
	uint32_t engine_life, fresh_number;
	uint64_t last_incident;
	struct plan_config config;
	struct plan plan;
	struct plan_update update;
	struct plan_incident seen[PLAN_INCIDENTS_MAX];
	struct {
		uint32_t number;
		enum plan_life life;
		enum plan_role role;
		uint64_t incident;
	} followed[PLAN_INSTANCES_MAX];
	uint32_t probe_lives;
	uint32_t crash_writes;     /* crash when so many more rows are durable; 0: not planned */
	enum plan_life crash_life; /* crash as soon as an instance enters this life; NONE: not planned */

	/* kill.c */
	struct sim_kill kill;
	uint32_t n_points;
	enum sim_point killed_at;
	uint32_t under_way[SIM_HAND_MAX_]; /* orders, when the kill came */
	bool dying;                        /* the engine: nothing leaves it any more, and it ends with this moment */
	void (*again)(struct sim *s);      /* after each start, and each second */
	uint32_t subject;                  /* every.c: whom it is about, and how it is to be held */
	enum plan_hold hold;
	bool incident_closed[SIM_NUMBERS_MAX]; /* ... and a closed one is opened by nobody */
	bool compromised[SIM_NUMBERS_MAX];     /* by incident, durable */

	/* random runs */
	int64_t chaos_until_us;
	uint32_t n_faults, n_crashes, n_steps, n_orders;
	uint32_t n_taught; /* lessons; each is spent once */
	bool spent[SIM_LESSONS_MAX];

	/* check.c */
	int64_t bad_since_us, excuse_us, spin_us;
	uint32_t n_spins, n_steers;
	bool steering_allowed; /* planned switch, first start, or after a lost answer */
	bool doubt;            /* a steer's answer was lost: where the service points is not known to the engine */
};

/* clock.c */
uint32_t sim_random(struct sim *s, uint32_t below);
bool sim_chance(struct sim *s, uint32_t ten_thousandths);
int64_t sim_spread(struct sim *s, int64_t from_us, int64_t to_us); /* the lower end where nothing is left to chance */
struct sim_moment *sim_at(struct sim *s, int64_t time_us, enum sim_what what, uint32_t a, uint32_t b);
bool sim_next(struct sim *s, struct sim_moment *ret_moment, int64_t until_us);
void sim_fail(struct sim *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
void sim_log(struct sim *s, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* world.c */
bool sim_serves(const struct sim *s, uint32_t number); /* a client would get the right answer from it */
int32_t sim_execute(struct sim *s, const struct plan_order *order);
void sim_hurt(struct sim *s, uint32_t number, const char *how);
struct sim_guest *sim_guest(struct sim *s, uint32_t number);

/* hands.c */
void sim_send(struct sim *s, const struct plan_order *order, uint32_t intent);
void sim_reboot_host(struct sim *s);
bool sim_vm_is_at_something(const struct sim *s);
void sim_kill_hand(struct sim *s, enum sim_hand hand);
void sim_hands_engine_gone(struct sim *s);
void sim_hand_event(struct sim *s, const struct sim_moment *m);
enum sim_hand sim_hand_of(enum plan_order_type type);

/* engine.c */
void sim_step(struct sim *s, struct plan_event *event);
void sim_crash(struct sim *s, int64_t down_us);
void sim_engine_event(struct sim *s, const struct sim_moment *m);
void sim_engine_timer(struct sim *s);
void sim_set_blind(struct sim *s, bool blind);
enum plan_refusal sim_switch(struct sim *s);
void sim_teach(struct sim *s, const struct plan_lesson *lesson);
void sim_outdate(struct sim *s, uint32_t number); /* a new one would have what it has not */
enum plan_refusal sim_hold(struct sim *s, uint32_t number, enum plan_hold hold);

/* kill.c */
void sim_point(struct sim *s, enum sim_point point);
const char *sim_point_name(enum sim_point point);
bool sim_takes_effect(struct sim *s, enum sim_hand hand);

/* sense.c */
void sim_probes_follow(struct sim *s, uint32_t number, enum plan_life life);
void sim_sense_event(struct sim *s, const struct sim_moment *m);
void sim_notice(struct sim *s, uint32_t number, enum vantage vantage, enum finding finding, int64_t delay_us);

/* check.c */
void check_order(struct sim *s, const struct plan_order *order);
void check_update(struct sim *s);
void check_execute(struct sim *s, const struct plan_order *order);
void check_now(struct sim *s);
bool check_settled(const struct sim *s, const char **ret_why);

/* every.c */
int every_step(const char *only, const char *kill); /* NULL: all playbooks, all kills; the exit status */

/* run.c */
void sim_init(struct sim *s, uint64_t seed, const struct plan_config *config);
void sim_start(struct sim *s);
void sim_variants(struct plan *p);
void sim_release_all(struct sim *s);
void sim_run(struct sim *s, int64_t until_us);
void sim_random_run(struct sim *s, uint64_t seed, FILE *log); /* s->failure says how it went */
