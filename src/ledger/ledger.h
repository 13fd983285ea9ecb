#pragma once
/*
 * The ledger: the crash-safe local record. SQLite in WAL mode, synchronous=FULL: when a call has returned 0 the fact
 * survives a power cut. One process, one thread at a time. Times: microseconds, real clock, unless named monotonic.
 * Intent before a destructive act, outcome after it; after a crash the open intents say where to go on.
 *
 * Errors of every call: -ENOSPC disk full, -EROFS cannot be written (nothing that was recorded is lost by either, and calls
 * work again when there is room), -EBUSY another process has it, -EBADMSG damaged (open it again: the file is then moved
 * aside), -EIO. Texts longer than their field are the caller's to cut. A walk ends early when its callback returns nonzero,
 * and still returns 0; callbacks may not call the ledger. Damage that keeps the file's form, such as a flipped letter inside
 * a text, is not noticed: SQLite has no checksums over its pages.
 */
#include "lib/err.h"

#include <stdbool.h>
#include <stdint.h>

#define LEDGER_TEXT_MAX 512
#define LEDGER_LESSON_MAX 4096

struct ledger;

/* Opens or creates; applies migrations (user_version); refuses a file of another application (-EMEDIUMTYPE) or of a newer
 * version (-EPROTO) with a sentence and leaves it alone. A damaged file is moved aside to PATH.damaged-<time> (kept, never
 * deleted) and a fresh one begun: `ret_fresh_because` then holds why, else "". A file that became empty counts as damaged, with
 * nothing to keep. Instance numbers then start beyond all that were given before, as far as the clock can tell; see
 * ledger_instance_floor too. PATH ":memory:" for tests. */
int ledger_open(const char *path, struct ledger **ret_ledger, char ret_fresh_because[static LEDGER_TEXT_MAX],
                struct err *err) must_use;
void ledger_close(struct ledger *ledger);

struct ledger_instance {
	uint32_t number;
	char service[32], variant[32];
	char role[16];                /* active standby spare none */
	char state[16];               /* building ready paused condemned ended ... (plan's words) */
	char content[2100];           /* "/ SHA256\n": what it should answer, by path; "": as its image says now */
	char components[512];         /* "kernel linux 6.1; server nginx 1.22": for people, also when the image is gone */
	int64_t created_us, ended_us; /* ended 0: living */
	int64_t exposed_us;           /* since when clients could reach it; 0: they never could */
	uint64_t incident;            /* the one it fell in, 0 none */
};

/* Reserves the next instance number for good (never given twice, even after a crash). Between begin and commit it is the
 * caller's only once the commit has returned 0. */
int ledger_instance_number(struct ledger *l, uint32_t *ret_number, struct err *err) must_use;
/* The next number will be `at_least` or more. For an engine that finds living instances which the ledger does not know. */
int ledger_instance_floor(struct ledger *l, uint32_t at_least, struct err *err) must_use;
int ledger_instance_put(struct ledger *l, const struct ledger_instance *row, struct err *err) must_use; /* insert or update */
/* Living ones first, by number, then the newest `limit` ended. */
typedef int ledger_instance_fn(void *arg, const struct ledger_instance *row);
int ledger_instance_each(struct ledger *l, unsigned limit, ledger_instance_fn *fn, void *arg, struct err *err) must_use;

struct ledger_incident {
	uint64_t number;
	char service[32];
	uint32_t victim, active_before, active_after; /* instance numbers, 0: none */
	char victim_variant[32], active_variant[32];  /* active: the one that took over */
	char verdict[16];                             /* failed compromised planned */
	char phase[16];                               /* absorb recover adapt closed */
	char cause[LEDGER_TEXT_MAX];                  /* first evidence in one sentence */
	char shared[LEDGER_TEXT_MAX]; /* layers that victim and successor have in common: "libc, packages"; "" nothing */
	int64_t opened_us, closed_us; /* closed 0: open */
	/* CLOCK_MONOTONIC of the boot that `boot_id` names; 0: not (yet) */
	int64_t first_evidence_us, verdict_us, steered_us, standby_us, spare_us;
	char boot_id[40];
	char outcome[LEDGER_TEXT_MAX];
};

/* Inserts or updates the row with this number (> 0, chosen by the caller: ledger_incident_last() + 1, ...). */
int ledger_incident_put(struct ledger *l, const struct ledger_incident *row, struct err *err) must_use;
/* The highest incident number ever given; 0: none. Pruning never lowers it. */
int ledger_incident_last(struct ledger *l, uint64_t *ret_number, struct err *err) must_use;
typedef int ledger_incident_fn(void *arg, const struct ledger_incident *row);
int ledger_incident_each(struct ledger *l, unsigned limit, ledger_incident_fn *fn, void *arg,
                         struct err *err) must_use; /* newest first */
int ledger_incident_get(struct ledger *l, uint64_t number, struct ledger_incident *ret_row,
                        struct err *err) must_use; /* -ENOENT */
/* Deletes the oldest closed ones beyond `keep` with their steps; also ended instances and intents beyond LEDGER_ENDED_KEPT. */
#define LEDGER_ENDED_KEPT 4096
int ledger_incident_prune(struct ledger *l, unsigned keep, struct err *err) must_use;

struct ledger_step {
	uint64_t incident;
	int64_t time_us;            /* real */
	int64_t since_us;           /* since the incident's first evidence, from the monotonic clock */
	char phase[16];             /* absorb recover adapt */
	char step[32];              /* detected steered fenced frozen woken proven evidence built closed ... */
	char text[LEDGER_TEXT_MAX]; /* the reason or result, one sentence */
};
#define LEDGER_STEPS_MAX 1000 /* of one incident; -E2BIG beyond */
/* -ENOENT: no such incident. */
int ledger_step_add(struct ledger *l, const struct ledger_step *row, struct err *err) must_use;
typedef int ledger_step_fn(void *arg, const struct ledger_step *row);
int ledger_step_each(struct ledger *l, uint64_t incident, ledger_step_fn *fn, void *arg, struct err *err) must_use; /* in order */

struct ledger_intent {
	uint64_t number;
	char order[32]; /* order_type_name */
	uint32_t service, instance, variant;
	uint64_t incident;
	int64_t begun_us, ended_us; /* ended 0: open */
	int32_t status;             /* of the outcome */
	char text[LEDGER_TEXT_MAX];
};
int ledger_intent_begin(struct ledger *l, struct ledger_intent *intent, struct err *err) must_use; /* fills number, begun_us */
/* -ENOENT: no open intent has this number. */
int ledger_intent_end(struct ledger *l, uint64_t number, int32_t status, const char *text, struct err *err) must_use;
typedef int ledger_intent_fn(void *arg, const struct ledger_intent *row);
int ledger_intent_each_open(struct ledger *l, ledger_intent_fn *fn, void *arg, struct err *err) must_use;

struct ledger_suspicion {
	char component[192]; /* "layer name version", e.g. "server nginx 1.22.1-9+deb12u3" */
	double value;        /* >= 0; at `since_us` */
	int64_t since_us;    /* real */
	uint64_t incident;   /* the last that raised it */
};
/* A value of 0 takes the row away. */
int ledger_suspicion_put(struct ledger *l, const struct ledger_suspicion *row, struct err *err) must_use;
typedef int ledger_suspicion_fn(void *arg, const struct ledger_suspicion *row);
int ledger_suspicion_each(struct ledger *l, ledger_suspicion_fn *fn, void *arg, struct err *err) must_use;

/* What came of a rung of the ladder for one kind of finding, of one service. */
struct ledger_tries {
	char service[32], finding[32], rung[16];
	uint32_t tried, worked;
	uint32_t last;      /* the last ones, as bits: the newest is bit 0; 1 = it worked */
	uint32_t passed;    /* passed over since the last one */
	int64_t changed_us; /* real */
};
/* A row that was never tried is taken away. */
int ledger_tries_put(struct ledger *l, const struct ledger_tries *row, struct err *err) must_use;
typedef int ledger_tries_fn(void *arg, const struct ledger_tries *row);
int ledger_tries_each(struct ledger *l, ledger_tries_fn *fn, void *arg, struct err *err) must_use;

struct ledger_containment {
	uint64_t number;
	char subject[128]; /* what is contained: all that is known of it, such as "source 203.0.113.9/32" */
	char reason[160];  /* why, in one sentence */
	char who[32];      /* who wanted it: "operator", "koboshi" */
	uint64_t incident; /* 0: none */
	int64_t begun_us;  /* real, like the others */
	int64_t until_us;  /* 0: until it is released */
	int64_t ended_us;  /* 0: in force, or to be */
	char state[16];    /* wanted in-force refused ended */
	char proof[200];   /* what the actuator read back, or why it refused */
};
/* Inserts or updates the row with this number (> 0, chosen by the caller: ledger_containment_last() + 1, ...). Of those that
 * ended the newest LEDGER_CONTAINMENTS_KEPT stay. */
#define LEDGER_CONTAINMENTS_KEPT 1000
int ledger_containment_put(struct ledger *l, const struct ledger_containment *row, struct err *err) must_use;
int ledger_containment_last(struct ledger *l, uint64_t *ret_number, struct err *err) must_use; /* ever given; 0: none */
/* Those that have not ended, by number, then the newest `limit` that have. */
typedef int ledger_containment_fn(void *arg, const struct ledger_containment *row);
int ledger_containment_each(struct ledger *l, unsigned limit, ledger_containment_fn *fn, void *arg, struct err *err) must_use;

struct ledger_evidence {
	uint64_t incident;
	uint32_t instance;
	char file[48];      /* its name in the incident's folder */
	uint64_t bytes;     /* when it was taken, as the sum */
	char sha256[65];    /* 64 hexadecimal digits */
	int64_t taken_us;   /* real, like the other */
	int64_t dropped_us; /* when it made room for younger; 0: it is there */
	bool open;          /* its incident is; found by each, not looked at by put */
};
/* Inserts; replaces the row of the same incident, instance and file. */
int ledger_evidence_put(struct ledger *l, const struct ledger_evidence *row, struct err *err) must_use;
/* All of this incident and of those before it is gone: what is marked already keeps its time. Of what is gone the newest
 * LEDGER_EVIDENCE_KEPT rows stay. */
#define LEDGER_EVIDENCE_KEPT 1000
int ledger_evidence_dropped(struct ledger *l, uint64_t incident, int64_t dropped_us, struct err *err) must_use;
/* The newest `limit` of this incident, or of all (0), newest first. */
typedef int ledger_evidence_fn(void *arg, const struct ledger_evidence *row);
int ledger_evidence_each(struct ledger *l, uint64_t incident, unsigned limit, ledger_evidence_fn *fn, void *arg,
                         struct err *err) must_use;

struct ledger_secret { /* of an instance; no value, only what and where it was */
	uint32_t instance;
	char kind[16], name[32];
	char place[192];    /* file or account in the guest */
	int64_t made_us;    /* real, like the other */
	int64_t revoked_us; /* since when it is refused; 0: it is valid */
};
/* Inserts; replaces the row of the same instance, kind and name. */
int ledger_secret_put(struct ledger *l, const struct ledger_secret *row, struct err *err) must_use;
/* All of this instance are refused: what is marked already keeps its time. Of such the newest LEDGER_SECRETS_KEPT rows stay. */
#define LEDGER_SECRETS_KEPT 2000
int ledger_secret_revoked(struct ledger *l, uint32_t instance, int64_t revoked_us, struct err *err) must_use;
/* At most `limit` of this instance, or of all (0), the newest instance first. */
typedef int ledger_secret_fn(void *arg, const struct ledger_secret *row);
int ledger_secret_each(struct ledger *l, uint32_t instance, unsigned limit, ledger_secret_fn *fn, void *arg,
                       struct err *err) must_use;

/* What an incident taught: the signed document itself, and by what it is found. */
struct ledger_lesson {
	uint64_t number;               /* given by the ledger, once */
	char origin[40];               /* of the key that signed it; with the incident it names the lesson */
	uint64_t incident;             /* there */
	bool own;                      /* learnt here */
	int64_t learnt_us, expires_us; /* real */
	char text[LEDGER_LESSON_MAX];
};
/* Inserts; one that is there already stays as it is. Beyond LEDGER_LESSONS_KEPT those that expired before `now_us` go first, then
 * the oldest. */
#define LEDGER_LESSONS_KEPT 500
int ledger_lesson_put(struct ledger *l, const struct ledger_lesson *row, int64_t now_us, struct err *err) must_use;
typedef int ledger_lesson_fn(void *arg, const struct ledger_lesson *row);
int ledger_lesson_each(struct ledger *l, unsigned limit, ledger_lesson_fn *fn, void *arg,
                       struct err *err) must_use; /* newest first */
int ledger_lesson_get(struct ledger *l, uint64_t number, struct ledger_lesson *ret_row, struct err *err) must_use; /* -ENOENT */

/* What a lesson needs and is known only when its incident opens: kept until it closes, so that a crash between loses none. */
struct ledger_verdict {
	uint64_t incident;
	char finding[32], vantage[16], beside[32], beside_vantage[16];
	char victim[800]; /* its components, a line each */
	char rung[16];    /* by which it was mended; "": it was not. Not put with the rest: a new verdict begins anew */
};
int ledger_verdict_put(struct ledger *l, const struct ledger_verdict *row, struct err *err) must_use;
int ledger_verdict_get(struct ledger *l, uint64_t incident, struct ledger_verdict *ret_row,
                       struct err *err) must_use; /* -ENOENT */
int ledger_verdict_mended(struct ledger *l, uint64_t incident, const char *rung, struct err *err) must_use;
int ledger_verdict_end(struct ledger *l, uint64_t incident, struct err *err) must_use;

/* Several puts as one commit: all or nothing, one fsync. begin/commit do not nest; rollback on any failure between (a commit
 * after a failed put rolls back and returns -ECANCELED). Rollback without begin does nothing. */
int ledger_begin(struct ledger *l, struct err *err) must_use;
int ledger_commit(struct ledger *l, struct err *err) must_use;
void ledger_rollback(struct ledger *l);
