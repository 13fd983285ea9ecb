#pragma once
/*
 * The engine's parts in one place: what main.c puts together and the files of this room share. One loop, one thread
 * (the journal's aside).
 */
#include "conf/conf.h"
#include "engine/carry.h"
#include "engine/contain.h"
#include "engine/cut.h"
#include "engine/files.h"
#include "engine/hands.h"
#include "engine/hold.h"
#include "engine/journal.h"
#include "engine/lessons.h"
#include "engine/library.h"
#include "engine/pressure.h"
#include "engine/vault.h"
#include "engine/wanted.h"
#include "plan/plan.h"
#include "sense/carrier.h"
#include "sense/peer.h"
#include "sense/sense.h"
#include "sense/usage.h"

/* Verdicts of incidents in which nobody fell, in the ledger and for people: somebody asked for it, or a doubt did. */
#define ENGINE_PLANNED "planned"
#define ENGINE_DOUBTFUL "doubtful"
#define ENGINE_ALL_LAYERS ((1u << PLAN_LAYER_MAX_) - 1)

/* What the engine follows of one instance, beside what the plan knows of it. Same slot as in the plan. */
/* What was found out about an instance, by kind, since it was built. */
struct engine_found {
	uint32_t count;
	int64_t first_us, last_us; /* CLOCK_MONOTONIC */
	enum vantage vantage;      /* of the last one */
	char detail[112];          /* in the detector's words; "" */
};

struct engine_instance {
	struct engine_service *service;
	uint32_t number; /* 0: free */
	uint32_t variant;
	enum plan_life life;
	enum plan_role role;
	uint64_t incident;
	int64_t created_us; /* real */
	int64_t exposed_us; /* CLOCK_MONOTONIC, perhaps of before this boot; 0: no client could reach it yet */
	uint8_t key[WIRE_KEY_SIZE];
	bool has_key;
	char *content; /* as in its row: an image that is built anew is not what this one was made of; NULL: from an older ledger
	                */
	struct conf_instance address;
	bool votes;                  /* is compared with the others */
	struct sense_prober *prober; /* NULL: not probed */
	bool proving;                /* probes as for an instance that is to be proven */
	uint64_t good, bad;          /* probes */
	bool stale;                  /* the row was perhaps not written */
	int64_t last_took_us;        /* of the last good probe */
	char detail[160];            /* of the last finding that was not good */
	struct engine_found found[FINDING_MAX_];
	struct usage usage;            /* what is usual for it */
	struct sense_channel *channel; /* its agent's; NULL: its image has none */
	bool channel_asked;            /* a connection is on its way */
	struct {
		uint32_t ticket;      /* of the plan's order to its agent; 0: none under way */
		bool stops;           /* stop the service, or else restart it */
		uint32_t carried_out; /* orders that its agent had told of before */
		int status;           /* it could not be sent */
		int64_t until_us;
	} order;
	uint32_t carried;                     /* so often its agent had saved a file when we looked last */
	int64_t carried_us;                   /* CLOCK_MONOTONIC: it has the files as they were then; 0: not known */
	int64_t channel_us, channel_pause_us; /* not asked for one before; how long after the last failure */
};

#define ENGINE_WORDS_MAX 8

struct engine_words {   /* what happened to the host, in sentences: of no instance, so that it convicts nobody */
	uint32_t count; /* ever; the ring keeps the last */
	struct {
		int64_t time_us;
		char text[WIRE_TEXT_MAX];
	} last[ENGINE_WORDS_MAX];
};

#define ENGINE_MISSED_MAX 32

struct engine_missed { /* evidence whose row could not be written yet */
	struct ledger_evidence rows[ENGINE_MISSED_MAX];
	size_t n;
};

struct engine_service {
	struct engine *engine;
	uint32_t index;
	const struct conf_service *conf;
	char profile_problem[WIRE_TEXT_MAX]; /* why the profile that is configured is not in force; "": it is */
	struct plan plan;
	struct plan_update update;
	struct engine_instance instances[PLAN_INSTANCES_MAX];
	struct engine_vault *vault;                                      /* NULL: nothing was told of one yet */
	struct sense_peer *peer;                                         /* NULL: nobody was compared yet, or nothing is to be */
	struct plan_tries tries_seen[FINDING_MAX_ * PLAN_RUNGS_MENDING]; /* as last written to the ledger */
	struct plan_incident seen[PLAN_INCIDENTS_MAX];                   /* as last written to the ledger */
	struct ledger_incident *stories[PLAN_INCIDENTS_MAX];             /* their rows; same slot */
	bool stale[PLAN_INCIDENTS_MAX];                                  /* the row says more than when it was written */
	struct cut_watch cut;
	struct carry_watch carry;
};

struct engine {
	uv_loop_t *loop;
	const char *conf_path;
	struct conf conf;
	struct library library;
	struct hands *hands;
	struct journal *journal;
	struct sense_wire *wire;
	struct sense_carrier *carrier;
	struct sense_flows *flows;
	int flows_fd; /* came with koboshi-net and waits for the instances to be known; -1: none */
	struct engine_service services[CONF_SERVICES_MAX];
	size_t n_services;

	uint32_t fresh_number; /* reserved in the ledger; 0: none */
	bool number_coming;
	uint64_t last_incident;
	char boot_id[40];

	struct engine_start *start; /* while the world is being read; NULL afterwards */
	bool world_known;
	bool blind;
	bool busy;
	struct pressure pressure;
	bool ledger_writable;
	bool ledger_lost; /* it could not be opened: one in memory stands in until it can */
	char ledger_problem[ERR_TEXT_MAX];
	char trouble[WIRE_ROLE_MAX_][WIRE_TEXT_MAX]; /* why an actuator cannot take orders, in its own words; "" */
	char rescue_problem[WIRE_TEXT_MAX];          /* why koboshi-net helps no client over a switch; "": it does */
	struct engine_words meddled;                 /* somebody else changed what is ours on the host */
	struct engine_words lapses;                  /* when our own senses were lost, and why */
	struct {
		uint64_t touches;
		int64_t time_us;           /* of the last one */
		char text[WIRE_TEXT_MAX];  /* who, and what it did */
		struct wire_tarpit tarpit; /* as told last */
	} decoys;
	int64_t asked_us[WIRE_ROLE_MAX_]; /* since when an actuator owes an answer to OBSERVE; 0: it owes none */
	struct engine_files files;
	struct containments containments;
	struct engine_missed missed;
	struct holds holds;
	struct wanted wanted;
	struct cuts cuts;
	struct lessons lessons;
	uint32_t accelerator; /* as in wire_note */
	char unproven[8][160];
	size_t n_unproven;
	uint64_t beats;
	int64_t started_us, last_turn_us, clock_offset_us, blind_until_us;
	char reload_problem[ERR_TEXT_MAX];
	struct api *api;
	uv_timer_t timer; /* the plans' deadlines */
	uv_timer_t pulse; /* own lag, progress, ledger's state */
};

/* service.c: one plan and its world. */
void service_init(struct engine_service *s, struct engine *e, uint32_t index);
void service_variants(struct engine_service *s);                       /* fills the plan's variants from the library */
void service_step(struct engine_service *s, struct plan_event *event); /* fills time and fresh numbers */
struct engine_instance *service_instance(struct engine_service *s, uint32_t number); /* NULL: none of this number */
/* Evidence from a detector, with its words: kept for `why`, then the plan's step. */
void service_found(struct engine_service *s, const struct evidence *evidence, const char *detail);
enum plan_refusal service_hold(struct engine_service *s, uint32_t number, enum plan_hold hold);
void service_switch(struct engine_service *s, enum plan_refusal *ret_refusal, uint64_t *ret_incident);
void service_answer(struct engine_service *s, const struct hands_cookie *cookie, const struct wire_order *order,
                    const struct wire_answer *answer);
struct engine_service *service_of_instance(struct engine *e, uint32_t number);
void engine_arm(struct engine *e);                                            /* timer to the next deadline of all plans */
void engine_tell_all(struct engine *e, enum plan_event_type type, bool flag); /* every plan */
/* Reserves the next instance number, unless one is there or coming; with a ledger that cannot be written: tries it. */
void engine_fetch_number(struct engine *e);

/* senses.c: what all services share. `links`: of sense_carrier_open(), or negative. */
void senses_open(struct engine *e, int links);
void senses_wire(struct engine *e, int packets, int flows); /* descriptors of koboshi-net's; flows -1: none */
void senses_pulse(struct engine *e);

/* follow.c: what changes in a plan is followed: probes started and stopped, rows written. */
void follow_instances(struct engine_service *s);
void follow_incidents(struct engine_service *s, bool closed_too); /* first false, then the notes, then true */
void follow_suspicion(struct engine_service *s);
void follow_tries(struct engine_service *s);
void follow_again(struct engine_service *s);   /* the ledger may have missed rows: all are written at the next step */
void follow_ask_all(struct engine_service *s); /* whoever is asked at all, once more and at once */
void follow_prune(struct engine *e);           /* what is older than the configuration keeps leaves the ledger */

/* agents.c: the agents inside the guests. */
void agents_came(struct engine_instance *i, bool starts); /* `starts`: its guest will be started by us, not found */
void agents_gone(struct engine_instance *i);
void agents_follow(struct engine_instance *i);                                 /* its life has changed */
void agents_connected(struct engine *e, const struct wire_note *note, int fd); /* NOTICE_GUEST_CHANNEL; takes `fd` */
void agents_answered(struct engine *e, const struct wire_order *order, const struct wire_answer *answer);
void agents_probed(struct engine_instance *i, const struct evidence *evidence); /* by the path's probes */
/* PLAN_DO_RESTART, PLAN_DO_STOP_SERVICE; NULL: it is gone. It is answered from the loop, in some seconds at most. */
void agents_order(struct engine_instance *i, const struct plan_order *order);
bool agents_can_stop(const struct engine_instance *i); /* perhaps: it has an agent, and that is not known to be unable to */
void agents_pulse(struct engine *e);                   /* ten times a second */

/* record.c: what koboshi-vm kept of fallen guests. */
void record_notice(struct engine *e, const struct wire_note *note); /* NOTICE_EVIDENCE_* */
void secrets_told(struct engine *e, const struct wire_note *note);  /* NOTICE_GUEST_SECRET */
void secrets_made(struct engine *e, uint32_t instance);             /* it was created: what every guest has */
void secrets_revoked(struct engine *e, uint32_t instance);          /* all of it is refused from now on */
void record_again(struct engine *e);                                /* the ledger can be written: what it missed */

/* story.c: notes become sentences, in the log and in the ledger. */
void story_note(struct engine_service *s, const struct plan_note *note);
/* One more step of an incident that is open; and in the log, as "plan.STEP". */
void story_tell(struct engine_service *s, uint64_t incident, const char *step, const char *text);
