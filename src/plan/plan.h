#pragma once
/*
 * The plan: evidence in, orders out. One plan decides for one service and its instances.
 *
 * Pure: time comes in with the event, deadlines and orders go out as data; no clock, no I/O, no heap. The same code runs
 * in koboshi-engine and, in virtual time with faults and crashes, in test/sim.
 *
 * How it works. Each instance walks through a table of lives (life.c): build, prove, serve, fall, be removed. Every life
 * that acts has exactly one order under way, and every wait has a deadline. After each event plan.c compares what is
 * with what is wanted (one active, so many standbys and spares) and starts what is missing: it does not remember how far
 * a playbook was, it looks. That is why a crash at any point converges: the world is read again (PLAN_EV_WORLD) and
 * compared again. Choices are ladders of comparisons (choice.c); what evidence adds up to is in verdict.c.
 *
 * Thread: one. Ownership: `struct plan` is plain data of the caller.
 */
#include "plan/evidence.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PLAN_INSTANCES_MAX 48 /* living ones of one service, the dying included */
#define PLAN_VARIANTS_MAX 16
#define PLAN_COMPONENTS_MAX 2048
#define PLAN_INCIDENTS_MAX 8
#define PLAN_ORDERS_MAX 192
#define PLAN_NOTES_MAX 256
#define PLAN_NEVER INT64_MAX

/* What findings weigh for takeover. One that can only mean that is enough; two weak ones are, from different vantages and about
 * different things (enum finding_about), while both last (finding_lasts_us). A weak finding that comes and goes, PLAN_FLAPS
 * times within PLAN_FLAP_US, is damped: it counts half from then on, until it was quiet for PLAN_FLAP_US. */
#define PLAN_POINTS_ENOUGH 4u
#define PLAN_POINTS_WEAK 2u
#define PLAN_POINTS_DAMPED 1u
#define PLAN_FLAPS 4u
#define PLAN_FLAP_US 600000000

/* After config.brake_falls verdicts within config.brake_within_us a spare is built only every config.brake_pause_us, until there
 * was none for brake_within_us. */
#define PLAN_BRAKE_FALLS_MAX 32u

/* Who takes the place of one that missed too much, or was in doubt, and then misses as well, does so for what both had: the
 * clients. Until so long after the last miss no other one's good answers convict it, since that one has none of them (crowd.c).
 */
#define PLAN_CROWD_US 5000000

/* On an overrun host, or before so many clients, an instance that answers, but never in time, is left after so long; on any
 * other, misses are enough. */
#define PLAN_SLOW_US 30000000

/* Layers in which a shared component counts as "the same hole"; the rest are packages. Same order as image_layer. */
enum plan_layer { PLAN_KERNEL, PLAN_LIBC, PLAN_SERVER, PLAN_RUNTIME, PLAN_PACKAGE, PLAN_LAYER_MAX_ };

/* Suspicion of a component, in thousandths. The fall of an instance adds PLAN_SUSPICION_FALL to each of its components
 * after all older suspicion was quartered: what fell last weighs most, and only that is suspect, so that the memory of older
 * falls does not leave one variant for all roles. At or above PLAN_SUSPECT a component is suspect. It halves within
 * PLAN_SUSPICION_HALF_US; and of whoever took a victim's place and still stands there when the incident ends, at least
 * PLAN_SURVIVED_US later, it is halved at once: the same attacker could reach it. A component of another version is another
 * component, of which nothing is known. */
#define PLAN_SUSPICION_FALL 1000u
#define PLAN_SUSPECT 750u
#define PLAN_SUSPICION_HALF_US (7 * 24 * 3600000000ll)
#define PLAN_SURVIVED_US 5000000

/* Lessons (lesson.c). For PLAN_LEARNT_US after a takeover that it took two weak findings to see, either of them is enough for the
 * same service, once: it spends what was learnt. Not a damped one, not while the brake holds, not without a standby. */
#define PLAN_LEARNT_US (3600 * 1000000ll)
#define PLAN_LEARNT_MAX 4u

enum plan_role { PLAN_ROLE_NONE, PLAN_ACTIVE, PLAN_STANDBY, PLAN_SPARE, PLAN_ROLE_MAX_ };
enum plan_verdict { PLAN_UNKNOWN, PLAN_HEALTHY, PLAN_FAILED, PLAN_COMPROMISED, PLAN_VERDICT_MAX_ };
enum plan_phase { PLAN_ABSORB, PLAN_RECOVER, PLAN_ADAPT, PLAN_CLOSED, PLAN_PHASE_MAX_ };

enum plan_order_type {
	PLAN_DO_TAP_ADD,
	PLAN_DO_TAP_DEL,
	PLAN_DO_FENCE, /* gate = fenced; its flows end */
	PLAN_DO_OPEN,  /* gate = open */
	PLAN_DO_LOCK,  /* gate = quarantine */
	PLAN_DO_STEER, /* service -> instance, victim fenced and cut in the same transaction */
	PLAN_DO_CUT,   /* old flows end, of one that is not fenced */
	PLAN_DO_FLOWS, /* flow evidence */
	PLAN_DO_CREATE,
	PLAN_DO_UNCAP,
	PLAN_DO_SUSPEND,
	PLAN_DO_RESUME,
	PLAN_DO_LINK_DOWN,
	PLAN_DO_RECORD,       /* memory and console evidence */
	PLAN_DO_DESTROY,      /* and revoked, if it was not */
	PLAN_DO_REVOKE,       /* nothing that it could read is valid any more */
	PLAN_DO_ROLLBACK,     /* the service's data: as it was before the incident's first evidence */
	PLAN_DO_CAP,          /* what it does stands behind all others, until PLAN_DO_UNCAP */
	PLAN_DO_RESTART,      /* its agent restarts the service inside */
	PLAN_DO_RESET,        /* the hypervisor lets it boot anew */
	PLAN_DO_STOP_SERVICE, /* its agent stops the service inside, until PLAN_DO_RESTART */
	PLAN_ORDER_MAX_
};

struct plan_order {
	uint32_t ticket; /* > 0; comes back with the answer */
	enum plan_order_type type;
	uint32_t instance;
	uint32_t victim; /* steer: 0 = planned, old flows go on */
	uint32_t variant;
	uint64_t incident;
	bool unhurried; /* nobody fell: see plan_order_waits() */
};

/* Which orders must be in the ledger before they start (rule 7). Steering and fencing never wait for the disk. */
bool plan_order_needs_intent(enum plan_order_type type);

/* Those, and the fence of one that is only to go: unrecorded, it would be taken for a fall after a kill. */
bool plan_order_waits(const struct plan_order *order);

enum plan_life {
	PLAN_LIFE_NONE,
	PLAN_LIFE_TAP,        /* order under way: tap add */
	PLAN_LIFE_CREATE,     /* order: create */
	PLAN_LIFE_BOOTING,    /* waits for its proof */
	PLAN_LIFE_UNCAPPING,  /* order: uncap */
	PLAN_LIFE_OPENING,    /* order: gate open */
	PLAN_LIFE_READY,      /* serves or could */
	PLAN_LIFE_PAUSING,    /* order: suspend */
	PLAN_LIFE_PAUSED,     /* proven spare */
	PLAN_LIFE_RESUMING,   /* order: resume */
	PLAN_LIFE_WAKING,     /* waits for its proof */
	PLAN_LIFE_DOOMED,     /* failed, but nothing better can serve yet: keeps the address */
	PLAN_LIFE_ASIDE,      /* fallen, but worth mending (ladder.c); order: gate quarantine */
	PLAN_LIFE_RESTARTING, /* order: restart the service inside */
	PLAN_LIFE_RESTARTED,  /* waits for its proof */
	PLAN_LIFE_RESETTING,  /* order: reset */
	PLAN_LIFE_REBOOTING,  /* waits for its proof */
	PLAN_LIFE_LOCKING,    /* order: gate quarantine; and this to held: see hold.c */
	PLAN_LIFE_LOCKED,     /* cut off from clients, runs and is probed */
	PLAN_LIFE_STOPPING,   /* order: stop the service inside */
	PLAN_LIFE_STOPPED,    /* it does not serve, by order, and nobody asks it */
	PLAN_LIFE_STARTING,   /* order: restart the service inside */
	PLAN_LIFE_HOLDING,    /* order: suspend */
	PLAN_LIFE_HELD,       /* its processors stand still */
	PLAN_LIFE_STEERING,   /* fallen; the steer under way fences it */
	PLAN_LIFE_FENCING,    /* order: gate fenced */
	PLAN_LIFE_UNLINKING,  /* order: link down */
	PLAN_LIFE_FREEZING,   /* order: suspend */
	PLAN_LIFE_ROLLING,    /* order: rollback, when it can write no more */
	PLAN_LIFE_TRACING,    /* order: flow evidence */
	PLAN_LIFE_RECORDING,  /* order: memory evidence */
	PLAN_LIFE_DESTROYING, /* order: destroy */
	PLAN_LIFE_REMOVING,   /* order: tap del */
	PLAN_LIFE_MAX_
};

/* What is done about an instance that fell, the gentlest first. Only what looks innocent begins below PLAN_RUNG_REBUILD. */
enum plan_rung {
	PLAN_RUNG_NONE,
	PLAN_RUNG_RESTART, /* its agent restarts the service inside */
	PLAN_RUNG_REBOOT,  /* the guest boots anew from its verified image */
	PLAN_RUNG_REBUILD, /* it is destroyed, and another one is built of what suits best: perhaps of the same variant */
	PLAN_RUNG_REPLACE, /* and what it was made of is suspect: of another variant, as long as one can be had */
	PLAN_RUNG_MAX_
};
#define PLAN_RUNGS_MENDING 2u                                              /* of which it is remembered whether they helped */
#define PLAN_LADDER_ALL (1u << PLAN_RUNG_RESTART | 1u << PLAN_RUNG_REBOOT) /* plan_config.ladder */

/* An instance that was mended so often within so long is not mended once more, but replaced: it is no matter of chance. */
#define PLAN_MENDED_MAX 2u
#define PLAN_MENDED_WITHIN_US 600000000

/* What came of a rung for one kind of finding. */
struct plan_tries {
	uint32_t tried, worked;
	uint32_t last;   /* the last 8 of them: bit 0 = newest; 1 = it worked */
	uint32_t passed; /* since then it was passed over so often */
};

#define PLAN_HELD_MAX 2u /* of one service: each costs a guest's memory beside those that are wanted */

/* What somebody wants of an instance. */
enum plan_hold {
	PLAN_HOLD_NONE,    /* nothing, or no more */
	PLAN_HOLD_LOCK,    /* keep it from clients */
	PLAN_HOLD_FREEZE,  /* and let its processors stand still */
	PLAN_HOLD_SERVICE, /* or only the service inside is stopped */
	PLAN_HOLD_STOP,    /* end it */
	PLAN_HOLD_MAX_
};

enum plan_why_retired {
	PLAN_RETIRED_BETTER /* one took its place */,
	PLAN_RETIRED_WORN,
	PLAN_RETIRED_OUTDATED,
	PLAN_RETIRED_STOP /* somebody wanted it */,
	PLAN_RETIRED_WARNED /* a lesson speaks against it */
};

enum plan_step {
	PLAN_STEP_DETECTED,    /* verdict fell: instance, finding, vantage */
	PLAN_STEP_DAMPED,      /* a weak finding about instance comes and goes: finding, vantage */
	PLAN_STEP_STEERED,     /* service -> instance, away from other */
	PLAN_STEP_UNSTEERABLE, /* nothing healthy to steer to: instance keeps the address (or, compromised, is cut off) */
	PLAN_STEP_FENCED,
	PLAN_STEP_REVOKED, /* what instance could read is refused from now on */
	PLAN_STEP_LINK_DOWN,
	PLAN_STEP_FROZEN,
	PLAN_STEP_ROLLED_BACK,
	PLAN_STEP_NOT_ROLLED_BACK, /* status says why: the data is as whoever was in the victim left it */
	PLAN_STEP_RECORDED,
	PLAN_STEP_SUSPECTED, /* variant's components are suspect now */
	PLAN_STEP_WAKING,    /* spare instance wakes up */
	PLAN_STEP_PROVEN,
	PLAN_STEP_STANDBY, /* instance is standby now */
	PLAN_STEP_CHOSEN,  /* variant for the next instance; layers = shared with the fallen, shared = with the active one */
	PLAN_STEP_BUILDING,
	PLAN_STEP_SPARE,  /* instance is spare now */
	PLAN_STEP_ACTIVE, /* instance is active now (first start) */
	PLAN_STEP_REMOVED,
	PLAN_STEP_RETIRED,  /* no longer wanted; status: enum plan_why_retired */
	PLAN_STEP_WORN,     /* it was in the open for as long as it may */
	PLAN_STEP_OUTDATED, /* a new one would be another */
	PLAN_STEP_ROTATING, /* therefore the active one hands over, to other; status: PLAN_RETIRED_WORN, _OUTDATED or _WARNED */
	PLAN_STEP_GAVE_WAY, /* the active one is in doubt, and lets other serve until more is known: finding, vantage */
	PLAN_STEP_CROWDED,  /* the active one misses as other, whose place it took, did: no reason for a verdict */
	PLAN_STEP_LOCKED,   /* somebody wants it kept from clients */
	PLAN_STEP_HELD,     /* and its processors stand still */
	PLAN_STEP_SERVICE_STOPPED,     /* or its service is stopped */
	PLAN_STEP_SERVICE_NOT_STOPPED, /* status says why: it is held no more */
	PLAN_STEP_BRAKED,              /* too many fell lately: status, so many */
	PLAN_STEP_UNBRAKED,            /* it was quiet for long enough */
	PLAN_STEP_TAUGHT,              /* what variant is made of is suspect by a lesson: layers */
	PLAN_STEP_CLEARED,             /* it stood where another fell, and did not: what it is made of is less suspect */
	PLAN_STEP_DRAINED,
	PLAN_STEP_REFUSED_ORDER, /* an order failed: order, status */
	PLAN_STEP_LATE,          /* an order was not answered in time: order */
	PLAN_STEP_GIVEN_UP,      /* never got proven */
	PLAN_STEP_RESUMED,       /* incident taken up again after a restart */
	PLAN_STEP_CLOSED,
	PLAN_STEP_MENDING,  /* an innocent fault is mended: rung; finding: of what it fell */
	PLAN_STEP_MENDED,   /* that helped: it proved itself */
	PLAN_STEP_UNMENDED, /* it did not help, or (status) could not be done */
	PLAN_STEP_MAX_
};

struct plan_note {
	uint64_t incident; /* 0: outside of any */
	enum plan_step step;
	enum plan_phase phase;
	int64_t time_us;
	uint32_t instance, other;
	uint32_t variant;
	uint32_t layers;              /* bit per plan_layer */
	uint32_t shared;              /* bit per plan_layer */
	enum finding finding, beside; /* beside: FINDING_GOOD = none */
	enum vantage vantage, beside_vantage;
	enum plan_order_type order;
	enum plan_rung rung;
	int32_t status;
	uint64_t lesson; /* detected: one finding was enough because of this incident; 0: none */
};

struct plan_weak {                  /* one kind of weak finding about one instance */
	int64_t since_us, until_us; /* came, and counts until then; 0: never seen */
	enum vantage vantage;
	int64_t counted_us; /* since when its coming and going is counted */
	uint32_t comings;
	int64_t damped_until_us; /* 0: never damped */
};

#define PLAN_SILENCE_FRESH_US 100000 /* what was told longer ago may be over */

/* What told of a doubt last (FINDING_CLASS_DOUBT, or FINDING_SILENT). */
struct plan_doubt {
	int64_t began_us;          /* of what waits, the first */
	int64_t first_us, told_us; /* when it was told, first and last; 0: never */
	enum finding finding;
	enum vantage vantage;
};

/* FINDING_SILENT: whoever says it says it again while it lasts. */
struct plan_silence {
	int64_t began_us;          /* which silence; 0: none */
	int64_t first_us, last_us; /* when it was told first and last */
};

struct plan_window {
	uint32_t misses;      /* bit 0 = newest probe; 1 = missed */
	uint32_t filled;      /* how many bits mean something, at most 32 */
	int64_t began_us[32]; /* beside the bits: when each probe began; index = age */
	int64_t last_good_us; /* when the last right answer was seen; 0: never */
	int64_t late_us;      /* when a right answer last came after its timeout; 0: never */
	int64_t since_us;     /* what began before does not count as missed: it had clients then */
	uint32_t goods;       /* since the life began */
	bool proven;          /* challenge answered rightly since the life began */
	enum finding worst;   /* what made the verdict fall */
	enum vantage vantage;
	bool fell_at_once, fell_compromised;
	int64_t fell_us;     /* when that was seen */
	enum finding beside; /* weak: the other one that it took, FINDING_GOOD: none */
	enum vantage beside_vantage;
	struct plan_silence silence;
	struct plan_doubt doubt;
	uint64_t learnt;                     /* incident by which one weak finding was enough; 0: none */
	struct plan_weak weak[FINDING_WEAK]; /* by finding, from FINDING_WEAK_FIRST on */
};

/* Of an instance that falls, beside its life: see revoke.c. */
struct plan_revoke {
	uint32_t ticket, attempts; /* ticket 0: none under way */
	int64_t deadline_us;       /* of the order, or of the next try; 0: none */
	bool done;
};

struct plan_instance {
	uint32_t number; /* 0: free slot */
	uint32_t variant;
	enum plan_role role;
	enum plan_life life;
	enum plan_verdict verdict;
	struct plan_window window;
	uint32_t ticket; /* order under way, 0: none */
	enum plan_order_type order;
	uint32_t attempts;   /* of the order in this life */
	int64_t deadline_us; /* of the order, the proof or the retry; PLAN_NEVER: none */
	int64_t life_us;     /* since when in this life */
	uint64_t incident;   /* it fell in, or was woken or built for */
	bool fenced;         /* read back as fenced */
	bool record;         /* evidence is wanted before it goes */
	bool rollback;       /* the service's data is to go back as soon as it can write no more */
	bool destroyed;      /* its guest is gone */
	bool exposed;        /* clients could reach it, since exposed_us; that it sleeps now does not undo it */
	bool worn;           /* for longer than config.max_exposure_us; or it is outdated, which is as good a reason */
	bool outdated;
	bool service_stopped; /* or perhaps: it was ordered, and nobody ordered it to be started since */
	int64_t exposed_us;
	enum plan_hold hold;                /* wanted, or in force */
	enum plan_rung rung;                /* that is to come or under way; NONE: it is not mended */
	enum finding cause;                 /* of what it fell, then */
	int64_t mended_us[PLAN_MENDED_MAX]; /* when it last was; 0: not */
	bool waiting;                       /* retry: the deadline starts the order again */
	struct plan_revoke revoke;
};

struct plan_incident {
	uint64_t number; /* 0: free */
	uint32_t victim;
	uint32_t victim_variant;
	enum plan_verdict verdict; /* PLAN_HEALTHY: planned switch */
	enum plan_phase phase;
	int64_t evidence_us;                                  /* first evidence */
	int64_t verdict_us, steered_us, standby_us, spare_us; /* 0: not yet */
	uint32_t active_before, active_after;
	bool removed;     /* victim is gone, or mended */
	bool revoked;     /* and what it could read is refused */
	bool gave_way;    /* the victim was in doubt: should it fall, this is the same story */
	int64_t drain_us; /* planned: when the old flows are cut; PLAN_NEVER none */
};

struct plan_variant {
	uint64_t components[PLAN_COMPONENTS_MAX / 64];
	bool usable;           /* image there and right, as far as known */
	bool buildable;        /* no image is there and one could be made: `components` are what it would have */
	uint32_t failures;     /* in a row: never proven, create refused; of one that is not there: not built */
	int64_t not_before_us; /* backoff */
};

struct plan_config {
	uint32_t standby, spare;
	int64_t interval_us, timeout_us; /* of probes */
	uint32_t failures, window;       /* k of n */
	int64_t boot_us, wake_us, drain_us, backoff_us;
	int64_t restart_us;   /* so long has a service that was restarted to prove itself */
	uint32_t ladder;      /* bit per plan_rung: these may be tried; 0: whoever fell is built anew */
	int64_t quick_us;     /* deadline of orders that take milliseconds */
	int64_t slow_us;      /* of create, destroy, evidence */
	int64_t back_us;      /* of a rollback */
	bool evidence;        /* take memory and flow evidence of what fell */
	bool rollback;        /* a takeover costs what was written since, not what was written before */
	bool carry;           /* whoever is built is given files from the data: while that goes back it waits, if it can */
	bool secrets;         /* instances have some that others accept: of who falls they are revoked */
	bool gives_way;       /* whoever serves and is in doubt lets another one serve, before a verdict */
	uint32_t brake_falls; /* at most PLAN_BRAKE_FALLS_MAX; 0: no brake */
	int64_t brake_within_us, brake_pause_us;
	int64_t max_exposure_us; /* so long may one instance be in the open before another takes its place; 0: for ever */
};

struct plan_learnt {       /* two weak findings that convicted together */
	uint64_t incident; /* 0: free */
	int64_t until_us;
	enum finding finding[2];
	enum vantage vantage[2];
};

/* What an incident taught, here or elsewhere. */
struct plan_lesson {
	const uint64_t *victim,
	        *survivor; /* components, as in plan_variant: of what fell; of what stood in its place. NULL: not known */
	int64_t age_us;
	bool raise;            /* heard of for the first time: what the victim was made of is suspect as after a fall here */
	bool warns;            /* it was a takeover: whoever serves and is made of that hands over to one that is not */
	enum finding cause;    /* what it fell for, when `helped` says by which rung somebody else mended it; NONE: not at all */
	enum plan_rung helped; /* no rung that is not for such a cause counts */
	struct plan_learnt learnt; /* of our own takeover; until_us is not looked at. incident 0: nothing */
};

/* Counted out of the components and their suspicion by whoever asks first: traits.c. */
struct plan_traits {
	bool made_known, suspicion_known;
	uint16_t has[PLAN_COMPONENTS_MAX];                      /* variants (bits) that have the component */
	uint16_t sorted[PLAN_COMPONENTS_MAX];                   /* components: by layer, then by `has` */
	uint8_t shared[PLAN_VARIANTS_MAX][PLAN_VARIANTS_MAX];   /* layers (bits) in which two have one in common */
	uint8_t suspect[PLAN_VARIANTS_MAX];                     /* layers (bits) in which one is suspect */
	uint32_t suspicion[PLAN_LAYER_MAX_][PLAN_VARIANTS_MAX]; /* added up */
};

struct plan {
	struct plan_config config;
	struct plan_variant variants[PLAN_VARIANTS_MAX];
	uint32_t n_variants;
	uint8_t layer[PLAN_COMPONENTS_MAX]; /* enum plan_layer of each component */
	uint32_t n_components;
	uint32_t suspicion[PLAN_COMPONENTS_MAX];
	struct plan_traits traits;
	struct plan_tries tries[FINDING_MAX_][PLAN_RUNGS_MENDING]; /* [.][rung - PLAN_RUNG_RESTART] */

	struct plan_instance instances[PLAN_INSTANCES_MAX];
	struct plan_incident incidents[PLAN_INCIDENTS_MAX];
	uint32_t target; /* instance the service points at, as read back; 0 none */
	struct {
		uint32_t ticket; /* 0: none under way */
		uint32_t to, victim;
		uint64_t incident;
		int64_t deadline_us;
		int64_t retry_us; /* not before; 0 at once */
		uint32_t attempts;
		uint32_t doubt; /* a steer to this one failed, or nobody knows: the service may point at it; 0: none */
	} steer;
	struct {
		int64_t falls_us[PLAN_BRAKE_FALLS_MAX]; /* a ring of config.brake_falls */
		uint32_t n;                             /* falls ever */
		int64_t until_us;                       /* it is on until then; 0: off */
		int64_t pause_us;                       /* no spare is built before; 0: at once */
	} brake;
	struct {
		uint32_t before;  /* whose place was taken; 0: nobody's */
		int64_t until_us; /* whoever has it then is crowded until then */
		bool told;
	} crowd;
	struct plan_learnt learnt[PLAN_LEARNT_MAX];
	bool warned; /* the active one is to hand over when a cleaner one stands by */
	uint32_t last_ticket;
	bool world_known; /* nothing is ordered before */
	bool blind;       /* senses lost: observe, do not act */
	bool unwritable;  /* ledger: no destructive orders */
	bool busy;        /* the host's processors are overrun: misses mean little */
	bool again;       /* more to do at once: call with PLAN_EV_TIME */
	int64_t faded_us; /* suspicion has faded up to then; 0: never looked at */
};

enum plan_event_type {
	PLAN_EV_TIME,
	PLAN_EV_EVIDENCE,
	PLAN_EV_ANSWER,
	PLAN_EV_WORLD,
	PLAN_EV_SWITCH,   /* somebody asks for a planned switch */
	PLAN_EV_HOLD,     /* somebody wants an instance held, or released */
	PLAN_EV_LESSON,   /* something was taught */
	PLAN_EV_OUTDATED, /* a new one would have what this one has not */
	PLAN_EV_SENSES,   /* flag: lost (true) or back */
	PLAN_EV_LEDGER,   /* flag: unwritable (true) or writable again */
	PLAN_EV_BUSY,     /* flag: the host's processors are overrun (true) or not */
	PLAN_EVENT_MAX_
};

enum plan_guest { PLAN_GUEST_ABSENT, PLAN_GUEST_RUNNING, PLAN_GUEST_PAUSED, PLAN_GUEST_CRASHED };
enum plan_gate { PLAN_GATE_NONE, PLAN_GATE_QUARANTINE, PLAN_GATE_OPEN, PLAN_GATE_FENCED };

/* One instance as the world and the ledger know it after a start. */
struct plan_sighting {
	uint32_t number;
	uint32_t variant; /* UINT32_MAX: nobody knows: not ours to keep */
	enum plan_guest guest;
	enum plan_gate gate;
	/* from the ledger; role NONE and life NONE: no row */
	enum plan_role role;
	enum plan_life life;
	uint64_t incident;
	bool exposed;
	int64_t exposed_us; /* CLOCK_MONOTONIC of now, perhaps before its zero */
	bool outdated;      /* a new one would be made of another image, or with other settings */
	bool bygone;        /* its row is of before the host was rebooted */
	bool revoked;       /* its secrets are: somebody decided that it falls */
};

struct plan_event {
	int64_t now_us;          /* CLOCK_MONOTONIC, never backwards */
	uint32_t fresh_number;   /* an instance number that was never given out, reserved for good; 0: none, do not build */
	uint64_t fresh_incident; /* likewise */
	enum plan_event_type type;
	union {
		struct evidence evidence;
		struct {
			uint32_t ticket;
			int32_t status;
		} answer;
		struct {
			const struct plan_sighting *sightings;
			size_t n_sightings;
			const struct plan_incident *incidents; /* open ones */
			size_t n_incidents;
			const int64_t *falls_us; /* verdicts of before, oldest first */
			size_t n_falls;
			uint32_t target;
		} world;
		struct {
			uint32_t instance;
			enum plan_hold hold;
		} hold;
		struct plan_lesson lesson;
		uint32_t outdated; /* instance */
		bool flag;
	};
};

enum plan_refusal { PLAN_ACCEPTED, PLAN_NO_STANDBY, PLAN_BUSY, PLAN_BLIND_NOW, PLAN_NO_INSTANCE, PLAN_TOO_MANY };

struct plan_update {
	struct plan_order orders[PLAN_ORDERS_MAX];
	size_t n_orders;
	struct plan_note notes[PLAN_NOTES_MAX];
	size_t n_notes;
	bool number_used, incident_used; /* fetch fresh ones before the next step */
	bool suspicion_changed, tries_changed;
	enum plan_refusal refusal; /* answer to PLAN_EV_SWITCH and PLAN_EV_HOLD */
	uint64_t switch_incident;
};

/* Zero-fills and takes the configuration. Variants, components and suspicion are filled in by the caller afterwards. */
void plan_init(struct plan *p, const struct plan_config *config);

/* Whoever changes components, layers or suspicion beside the steps says so afterwards. */
void plan_components_changed(struct plan *p);

/* One event. Overwrites `update`, as far as it is counted. Orders are carried out in order; answers come in any, or never. */
void plan_step(struct plan *p, const struct plan_event *event, struct plan_update *update);

/* When to call with PLAN_EV_TIME at the latest; PLAN_NEVER. */
int64_t plan_deadline(const struct plan *p);

/* Whether anybody waits for the answer to it: an order that had to be recorded first may be of no use by then. */
bool plan_awaits(const struct plan *p, const struct plan_order *order);

const struct plan_instance *plan_find(const struct plan *p, uint32_t number);
bool plan_is_served(const struct plan *p); /* whoever the service points at stands */

/* Instances that could take over at once (`ready_only`) or soon; proven spares that sleep; incidents that are open. */
uint32_t plan_count_standby(const struct plan *p, bool ready_only);
uint32_t plan_count_spare(const struct plan *p);
uint32_t plan_open_incidents(const struct plan *p);

/* Which image should be made: the best of those that are not there, if it had fewer suspect layers than any that is there, or
 * shared less with what serves; UINT32_MAX: none. Decides nothing that plan_step does. */
uint32_t plan_wanted_variant(const struct plan *p, int64_t now_us);

/* Layers (bits) in which two variants have a component in common. */
uint32_t plan_shared_layers(const struct plan *p, uint32_t a, uint32_t b);

/* What is left of a suspicion after so long. */
uint32_t plan_suspicion_after(uint32_t value, int64_t elapsed_us);

/* What the verdict on an instance rests on and how far it is from the next one: for people, decides nothing. */
struct plan_why {
	enum plan_verdict verdict;
	uint32_t probes, misses;     /* of the last `config.window`; at most `config.failures` misses are counted */
	uint32_t in_row, row_enough; /* misses in a row, and how many convict without contrast */
	uint32_t contrast;           /* instance that answers where this one does not (or would be compared with); 0: nobody */
	bool silent;                 /* nothing came from it since the first of these misses, not even a late answer */
	bool crowded;                /* it misses, perhaps, for its clients: contrast does not count */
	int64_t fresh_us;            /* so old may the last right answer be, then nothing is known */
	uint32_t points;             /* for takeover, of PLAN_POINTS_ENOUGH */
};
/* What a weak finding weighs for takeover now, alone: 0 when it no longer lasts. */
uint32_t plan_weak_points(const struct plan_window *window, enum finding finding, int64_t now_us);
bool plan_is_damped(const struct plan_window *window, enum finding finding, int64_t now_us);
void plan_why(const struct plan *p, const struct plan_instance *i, int64_t now_us, struct plan_why *ret_why);

bool plan_life_falls(enum plan_life life); /* fallen or unwanted, on its way out */
bool plan_life_mends(enum plan_life life); /* fallen, kept from clients, to come back */

const char *plan_role_name(enum plan_role role);
const char *plan_life_name(enum plan_life life);
const char *plan_verdict_name(enum plan_verdict verdict);
const char *plan_phase_name(enum plan_phase phase);
const char *plan_rung_name(enum plan_rung rung);
enum plan_rung plan_rung_named(const char *name); /* NONE when unknown */
const char *plan_order_name(enum plan_order_type type);
const char *plan_step_name(enum plan_step step);
enum plan_life plan_life_named(const char *name); /* NONE when unknown */
enum plan_role plan_role_named(const char *name);

/* Bits of the layers that make "the same hole". */
#define PLAN_HOLES (1u << PLAN_KERNEL | 1u << PLAN_SERVER | 1u << PLAN_RUNTIME)
