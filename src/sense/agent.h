#pragma once
/*
 * What the agent inside a guest says over its port (wire/agent.h), and whether it says anything: who is root in the guest can
 * write there too, end the agent, or repeat its words. So each frame is checked for form, key, order and time, their number is
 * bounded, and silence is evidence while the service goes on answering. A guest's word raises suspicion and lowers none:
 * nothing here ever finds something good.
 *
 * Pure: bytes and times in, findings out, and whether the key is to be sent. One of these for each instance, for its whole
 * life: it outlasts a connection, or a second one could say hello again.
 */
#include "plan/evidence.h"
#include "wire/agent.h"

#define AGENT_RATE 32   /* frames a second in the long run; beats are two */
#define AGENT_BURST 256 /* at once: what a socket holds when we did not read for long */
#define AGENT_SILENCE_US 3000000
#define AGENT_SILENCE_GOODS 10 /* so many probes answered in time meanwhile, and not half as many missed */
#define AGENT_SILENCE_BUSY 8   /* so many times both, if the host had no processor to give */
#define AGENT_TOLD_MAX 4       /* findings of one kind told in a second; the others are counted */
#define AGENT_DETAIL 112

struct agent_watch {
	uint8_t key[AGENT_KEY];
	uint8_t list[AGENT_HASH]; /* SHA-256 of the image's own list; all zero: it has none, so the agent learns */
	int64_t began_us;         /* not after the guest's start; 0: not known */
	uint32_t failures;        /* so many probes missed in a row: the path is dead */
	bool starting;            /* a hello is expected */
	bool found;               /* it ran before we came: its agent has its key, or never gets one */

	uint8_t bytes[AGENT_FRAME]; /* of the frame that is coming */
	size_t filled, zeros;       /* zeros: the last so many bytes were */
	bool anew;                  /* behind an announced start: zeros go on until a frame begins */

	bool greeted; /* said hello, or has shown that it has the key */
	bool spoke;   /* the first valid BEAT came */
	uint32_t number, abilities, programs;
	int64_t uptime_us, beat_us /* the last one */;
	uint64_t decided, denied, late;
	uint32_t service, lost;
	uint32_t carried_out, order_status; /* so often it said that an order was carried out, and how that ended */
	uint32_t carried;                   /* so often it saved a file that lives on ... */
	char carried_path[AGENT_TEXT];      /* ... and the last one, in its words */
	char trouble[AGENT_TEXT];           /* what it cannot watch any more, in its words; "" */

	int64_t since_us; /* begin of the span in which silence is counted */
	uint32_t goods, misses, row;
	int64_t row_us; /* when the first of the misses in a row was seen */
	bool busy;      /* at some time in that span */
	int64_t contradicted_us;

	int64_t allowed, allowed_us;
	uint64_t dropped; /* frames beyond what is allowed */
	uint64_t nonsense, untold;
	int64_t second_us;
	uint8_t told[FINDING_MAX_]; /* in this second */
};

/* `detail`: printable ASCII, at most AGENT_DETAIL with NUL, valid during the call only. */
typedef void agent_tell(void *arg, enum finding finding, const char *detail);

/* Bytes came. True: an agent that starts said hello, and is to get the key (AGENT_KEYED). */
bool agent_hear(struct agent_watch *watch, const uint8_t *bytes, size_t size, int64_t now_us, agent_tell *tell, void *arg);

/* True: more frames came than are allowed; what comes before the next agent_look() may as well wait. */
bool agent_is_flood(const struct agent_watch *watch);

/* A connection is new: what was half said on the old one is forgotten. */
void agent_connected(struct agent_watch *watch, int64_t now_us);

/* The path's word on the same instance: a probe was answered in time, or was not. */
void agent_probed(struct agent_watch *watch, bool good, int64_t now_us);

struct agent_moment {
	bool listening; /* connected, our own senses are there, and the guest runs and serves: silence is its own */
	bool busy;      /* the host has no processor to give */
};
/* Called at a steady pace, several times a second: is it silent, does it contradict the path? */
void agent_look(struct agent_watch *watch, const struct agent_moment *moment, int64_t now_us, agent_tell *tell, void *arg);

/* Heard within the last seconds? */
bool agent_speaks(const struct agent_watch *watch, int64_t now_us);
