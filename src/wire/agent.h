#pragma once
/*
 * What koboshi-guest, inside a guest, and the engine say to each other over the guest's virtio-serial port
 * "org.koboshi.agent.0". A stream of frames, all of AGENT_FRAME bytes, numbers in little-endian order.
 *
 * Who speaks? Root in the guest can write to the port as well as the agent can. So the vm keeper makes a key for each
 * instance, which is in no seed and on no disk of the guest; the engine sends it once, in answer to the first HELLO of an
 * instance that is still booting, from a verified image, in quarantine. Every later frame of the guest bears a MAC under that
 * key and a number that rises. Whoever ends the agent and speaks in its place has no key; a second HELLO gets no answer
 * and is evidence. The same key signs the two orders that the host gives. An intruder who reads the agent's memory can still lie:
 * what a guest says may raise suspicion and never lowers it.
 *
 * A stream has no edges: an agent that died in the middle of a frame leaves a half one behind. A start is therefore
 * announced by AGENT_FRAME zero bytes, which no frame contains, and whoever reads begins anew behind them.
 */
#include "lib/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AGENT_PORT "org.koboshi.agent.0"
#define AGENT_FRAME 256
#define AGENT_TEXT 160     /* with NUL; cut where it is longer */
#define AGENT_KEY 32       /* bytes */
#define AGENT_HASH 32      /* SHA-256 */
#define AGENT_MAC 16       /* bytes of the HMAC-SHA256 over all that stands before it, at the end of a frame */
#define AGENT_VERSION 1    /* of the whole protocol: no other is understood */
#define AGENT_BEAT_MS 1000 /* from one BEAT to the next */

enum agent_type {
	AGENT_HELLO = 1, /* guest: a start; `list` = SHA-256 of the allowlist that it took, `abilities`; no MAC yet */
	AGENT_KEYED,     /* host: the key, once; no MAC */
	AGENT_BEAT,      /* guest: lives; counters, and whether the service answers inside */
	AGENT_TOLD,      /* guest: saw something: `what`, and the words */
	AGENT_RESTART, /* host: restart the service; bears a MAC under the key, and a number that is higher than the last one's */
	AGENT_STOP,    /* host: stop the service until it is to be restarted; likewise */
	AGENT_TYPE_MAX_
};

enum agent_what {
	AGENT_DENIED = 1, /* text: path of the program; `detail` = enum agent_denied */
	AGENT_CHANGED,    /* text: path of the file */
	AGENT_ACCOUNT,    /* text: which account or key file */
	AGENT_MODULE,     /* text: module's name */
	AGENT_LISTENING,  /* text: "tcp 4444"; detail: port */
	AGENT_TROUBLE,    /* text: what the agent cannot watch (any more) */
	AGENT_RESTARTED,  /* text: the program that was to do it; detail: its exit status, or 128 and more: it did not end by
	                     itself */
	AGENT_CARRIED,    /* text: path of a file that lives on, which was changed and is saved now */
	AGENT_STOPPED,    /* as AGENT_RESTARTED */
	AGENT_WHAT_MAX_
};

enum agent_denied { AGENT_UNLISTED = 1, AGENT_SCRIPT, AGENT_MEMORY, AGENT_DELETED, AGENT_LOADER, AGENT_DENIED_MAX_ };

/* What a kernel allows the agent to do; what is missing is told in `koboshi status`. */
enum agent_ability {
	AGENT_CAN_DENY = 1u << 0,    /* fanotify with permission events */
	AGENT_FAIL_OPEN = 1u << 1,   /* what is not decided in time runs; not set: it is refused */
	AGENT_LEARNING = 1u << 2,    /* no list was given: it learns first and locks then */
	AGENT_CAN_WATCH = 1u << 3,   /* watched files, accounts, keys */
	AGENT_CAN_LISTEN = 1u << 4,  /* listening sockets */
	AGENT_CAN_MODULES = 1u << 5, /* module loads */
	AGENT_CAN_READ = 1u << 6,    /* an interpreter that opens an unlisted file is refused, not only its start */
	AGENT_CAN_LOADER = 1u << 7,  /* the dynamic loader called by hand is refused */
	AGENT_TRUSTS_ROOT = 1u << 8, /* unchanged files of the image's read-only root are listed by being there: not hashed */
	AGENT_CAN_RESTART = 1u << 9, /* its image names a program that restarts the service */
	AGENT_CAN_STOP = 1u << 10,   /* and one that stops it */
	AGENT_ABILITIES_ = (1u << 11) - 1
};

enum agent_service { AGENT_SERVICE_UNKNOWN, AGENT_SERVICE_ANSWERS, AGENT_SERVICE_DEAD, AGENT_SERVICE_MAX_ };

struct agent_frame {
	uint32_t number;   /* 1 for HELLO, rising by one with each frame of the guest; from the host 0, but of an order */
	uint32_t type;     /* enum agent_type */
	int64_t uptime_us; /* of the guest (CLOCK_BOOTTIME), never less than in the frame before; 0 from the host */
	union {
		struct {
			uint8_t list[AGENT_HASH]; /* all zero: learning */
			uint32_t abilities;
			uint32_t programs; /* on the list */
		} hello;
		struct {
			uint8_t key[AGENT_KEY];
		} keyed;
		struct {
			uint64_t decided, denied,
			        late;     /* since the start; late: past the deadline, decided by `fail open` or not */
			uint32_t service; /* enum agent_service */
			uint32_t lost;    /* TOLDs that were dropped because too many came */
		} beat;
		struct {
			uint32_t what, detail; /* detail: 0 where enum agent_what says nothing of it */
			char text[AGENT_TEXT]; /* printable ASCII, NUL-terminated */
		} told;
	};
};

/* Takes one frame apart and checks it completely: magic, version, type, every enum's range, numbers that belong to the type,
 * text printable and terminated, zero behind what is used. HELLO and KEYED bear no MAC (zeros) and are taken with any `key`;
 * BEAT, TOLD, RESTART and STOP are taken only with a `key` that their MAC is right under: NULL (no key was given yet) refuses
 * them. Order and time of frames (number, uptime_us) are the reader's to check. Pure; the fuzzer's target. 0 or -EBADMSG with one
 * sentence; `ret_frame` is touched on success only. */
int agent_decode(const uint8_t bytes[static AGENT_FRAME], const uint8_t *key, struct agent_frame *ret_frame,
                 struct err *err) must_use;

/* The other way round; `key` is needed for BEAT, TOLD, RESTART and STOP and not looked at for HELLO and KEYED. Text that is not
 * printable is made so. What the decoder would refuse (a detail out of range) is the caller's fault and asserted. */
void agent_encode(const struct agent_frame *frame, const uint8_t *key, uint8_t ret_bytes[static AGENT_FRAME]);

/* For logs and sentences: "denied", "listening". NULL for a number that is none. */
const char *agent_what_name(uint32_t what);
const char *agent_denied_name(uint32_t denied);
