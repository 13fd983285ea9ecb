#pragma once
/*
 * What the processes say to each other: messages of a fixed form over SOCK_SEQPACKET, one per packet, native byte order
 * (both ends are the same build on the same host). A message that does not decode ends the link: the sender is
 * broken or taken over. No message carries a path or a command, nor an address by which something would be opened: only numbers
 * of things that every process knows from the configuration that it loaded itself, and the addresses of what is contained.
 *
 *   engine -> actuator   ORDER     carry this out; at most WIRE_PENDING_MAX unanswered
 *   actuator -> engine   ANSWER    what was read back from the world afterwards
 *   actuator -> engine   NOTICE    what happened by itself (ready, guest crashed); may bring descriptors
 *   supervisor -> child  LINK      here is your new end of a link to `role` (one descriptor)
 *   engine -> supervisor PROGRESS  the loop turns and decides; withheld = the supervisor acts
 *   engine -> supervisor REPLACE   this actuator missed its deadline: kill it and start a new one (at most one a second each)
 */
#include "lib/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WIRE_VERSION 1
#define WIRE_PENDING_MAX 128
#define WIRE_INSTANCES_MAX 64 /* of all services, the dying included: twice as many as may be wanted */
#define WIRE_SERVICES_MAX 16
#define WIRE_VARIANTS_MAX 16 /* of one service */
#define WIRE_TEXT_MAX 200
#define WIRE_FDS_MAX 4
#define WIRE_KEY_SIZE 32
#define WIRE_SHA256 32
#define WIRE_FILE_MAX 48 /* name of a file of evidence */

enum wire_role { WIRE_SUPERVISOR, WIRE_ENGINE, WIRE_NET, WIRE_VM, WIRE_HOST, WIRE_DECOY, WIRE_SCAN, WIRE_VAULT, WIRE_ROLE_MAX_ };

enum wire_kind { WIRE_ORDER = 1, WIRE_ANSWER, WIRE_NOTICE, WIRE_LINK, WIRE_PROGRESS, WIRE_REPLACE, WIRE_KIND_MAX_ };

enum order_type {
	/* net */
	ORDER_NET_OBSERVE = 1, /* -> answer.observed: taps and their gates, what each service points at */
	ORDER_NET_TAP_ADD,     /* instance: tap, addresses, permanent neighbours, anti-spoofing; gate = quarantine. Idempotent */
	ORDER_NET_TAP_DEL,     /* instance: tap and every rule about it. Idempotent */
	ORDER_NET_GATE,        /* instance, gate; fenced: its flows end as well, and are kept for ORDER_NET_FLOWS */
	ORDER_NET_STEER,       /* service, instance (0: nowhere), victim (0: none): map moved and victim's gate = fenced in ONE
	                          transaction, then the victim's flows cut. Without victim old flows go on (planned switch) */
	ORDER_NET_CUT,         /* instance: cut all its flows in conntrack (end of a drain) */
	ORDER_NET_FLOWS,       /* instance, incident: write its conntrack entries as evidence, bounded */
	/* vm */
	ORDER_VM_OBSERVE,  /* -> answer.observed: guests, state, variant, key */
	ORDER_VM_CREATE,   /* instance, service, variant (index in the service's list): verify image, seed, start (capped) ->
	                      answer.key */
	ORDER_VM_SUSPEND,  /* instance */
	ORDER_VM_RESUME,   /* instance */
	ORDER_VM_LINK,     /* instance, flag: carrier up (1) or down (0) */
	ORDER_VM_UNCAP,    /* instance: the boot's processor cap ends */
	ORDER_VM_EVIDENCE, /* instance, incident, closed_below: flows (which net left there), console and memory image, bounded in
	                      size and time, hashed -> NOTICE_EVIDENCE_TAKEN for each file, before the answer; of closed
	                      incidents the oldest evidence goes when there is no room -> NOTICE_EVIDENCE_DROPPED */
	ORDER_VM_DESTROY,  /* instance: revoked; guest, seed, keys gone. Idempotent; slow (1-2 s) */
	ORDER_VM_CHANNEL,  /* instance: connect to its agent's port -> NOTICE_GUEST_CHANNEL, before the answer */
	/* net again */
	ORDER_NET_CONTAIN, /* contain, flag: keep this from the services (1), or no more (0). Idempotent */
	/* vm again */
	ORDER_VM_RESET,  /* instance: it boots anew, from the same image and seed, capped as a new one; its agent's channel gets
	                    another key */
	ORDER_VM_CAP,    /* instance: as while it boots, until ORDER_VM_UNCAP */
	ORDER_VM_REVOKE, /* instance: nothing that it could read is valid any more. Idempotent; asks libvirt nothing */
	/* vault; all of them name a service that has one, and take as long as its data is large */
	ORDER_VAULT_BACKUP,   /* a snapshot now -> NOTICE_SNAPSHOT, before the answer */
	ORDER_VAULT_ROLLBACK, /* incident, before_us: the data as in the last good snapshot that ended before; snapshots since are
	                         suspect; what was changed is put aside -> NOTICE_CHANGE for each, before the answer. Once for an
	                         incident
	                       */
	ORDER_VAULT_RESTORE,  /* number: the same with this snapshot, for somebody who knows */
	ORDER_VAULT_RETURN,   /* number: this change is taken back: what was put aside is in the data again */
	ORDER_TYPE_MAX_
};

/* What may pass a tap. */
enum wire_gate {
	WIRE_GATE_NONE,       /* no tap */
	WIRE_GATE_QUARANTINE, /* only the host's own probes and their answers */
	WIRE_GATE_OPEN,       /* probes, and clients' flows that the map or conntrack brings */
	WIRE_GATE_FENCED,     /* nothing, in both directions */
	WIRE_GATE_MAX_
};

enum wire_guest { /* a guest as the hypervisor sees it */
	          WIRE_GUEST_ABSENT,
	          WIRE_GUEST_RUNNING,
	          WIRE_GUEST_PAUSED,
	          WIRE_GUEST_CRASHED, /* panicked, still there */
	          WIRE_GUEST_OFF,     /* defined or dying, not running */
	          WIRE_GUEST_MAX_
};

enum wire_notice {
	NOTICE_READY = 1,     /* actuator has loaded its configuration and can take orders; net brings descriptors: NFLOG, and
	                         conntrack's events if it could open that */
	NOTICE_GUEST_STARTED, /* the vm notices name the instance */
	NOTICE_GUEST_PAUSED,
	NOTICE_GUEST_RESUMED,
	NOTICE_GUEST_PANICKED,
	NOTICE_GUEST_GONE, /* process ended, shut down, destroyed; text says which */
	NOTICE_GUEST_RESET,
	NOTICE_TROUBLE,     /* the actuator cannot take orders, `text` says why and what to do; it tries again or ends */
	NOTICE_GUEST_USAGE, /* once a second, of a guest that runs: `usage` */
	NOTICE_MEDDLED,     /* somebody else changed what is the actuator's; `text` says who, what, and what became of it */
	NOTICE_PROFILE, /* net, behind each READY for each service that has a profile: `text` says why it is not in force; "": it
	                   is */
	NOTICE_LINK_RESTARTED,   /* to the engine, from its own link code: the actuator was replaced */
	NOTICE_GUEST_IO_ERROR,   /* a read or write of its disk failed on the host; at most one in 50 ms of each */
	NOTICE_GUEST_WATCHDOG,   /* its watchdog device was armed and is no longer fed */
	NOTICE_TARPIT,           /* from decoy, at most once a second: `tarpit` */
	NOTICE_GUEST_CHANNEL,    /* brings a connection to the port of the instance's agent (wire/agent.h), and `key` */
	NOTICE_FILE_BAD,         /* scan: `text` is path and reason; instance 0: nobody's */
	NOTICE_FILE_UNKNOWN,     /* scan: `text` is "SHA256 PATH" */
	NOTICE_FILE_SKIPPED,     /* scan: could not be judged; `text` is path and reason */
	NOTICE_FILE_TROUBLE,     /* scan: a rule, list or folder that cannot be used, since its NOTICE_READY; `text` says why */
	NOTICE_FILE_COUNTS,      /* scan: `files`, at most once a second */
	NOTICE_EVIDENCE_TAKEN,   /* vm: a file of evidence about the instance is complete: `evidence`, its name in `text` */
	NOTICE_EVIDENCE_DROPPED, /* vm: there is no evidence of the incident `evidence.incident` any more, nor of any before it */
	NOTICE_GUEST_SECRET,     /* vm, before the answer to its create: a secret that the instance was given; `text` is
	                            "KIND NAME PLACE", never its value */
	NOTICE_VAULT,         /* vault: `text` says what is wrong with that of `service`; "": nothing. Behind each READY, and then
	                         all that it has follows; what was told of it before counts no more */
	NOTICE_SNAPSHOT,      /* vault: `snapshot` of `service`, new or changed */
	NOTICE_CHANGE,        /* vault: `change` in the data of `service`; `text` is its path, or the end of a long one */
	NOTICE_GUEST_CARRIED, /* vm, before the answer to a create, where the service carries files over: `text` says which ones
	                         were refused and why; "": none was */
	NOTICE_RESCUE,        /* net, behind each READY: `text` says why clients are not helped over a switch; "": they are */
	NOTICE_MAX_
};

enum wire_contained {
	WIRE_CONTAIN_SOURCE, /* an address or a network: nothing of it comes to a service */
	WIRE_CONTAIN_FLOW,   /* one connection, by its ends as the client sees them */
	WIRE_CONTAIN_PORT,   /* no client reaches this port of the services, or of one of them */
	WIRE_CONTAIN_LIMIT,  /* an address or a network: so many new connections in a time, all its addresses together */
	WIRE_CONTAIN_MAX_
};

#define WIRE_RATE_MAX 10000
#define WIRE_SUBJECT_MAX 128 /* in text, with NUL */

struct wire_contain {        /* ORDER_NET_CONTAIN only; else zero. What its kind has not is zero too */
	uint64_t number;     /* of the containment, > 0 */
	uint8_t address[16]; /* source, limit; flow: the client's. Of IPv4 the first four; bits behind the prefix are zero */
	uint8_t to[16];      /* flow: the service's */
	uint32_t prefix;     /* 0..32 or 0..128; flow: all bits */
	uint32_t v6;         /* 0 or 1 */
	uint32_t kind;       /* enum wire_contained */
	uint32_t protocol;   /* flow, port: IPPROTO_TCP or IPPROTO_UDP */
	uint32_t port;       /* flow: the client's */
	uint32_t to_port;    /* flow, port: the service's */
	uint32_t service;    /* port: 1 + index in conf.services; 0: all services that have it */
	uint32_t rate;       /* limit: 1..WIRE_RATE_MAX connections ... */
	uint32_t per_s;      /* ... in 1, 60 or 3600 seconds */
	uint32_t zero;
};

/* What is contained has one form. One network does: bits behind its prefix are refused. */
bool wire_contain_bits_behind(const struct wire_contain *contain);
/* NULL, or what is wrong with it. Part of wire_decode(). */
const char *wire_contain_wrong(const struct wire_contain *contain);

/* Its form in text, by which the ledger knows it:
 *   source 203.0.113.9/32
 *   flow tcp 198.51.100.7:40312 203.0.113.10:80    (IPv6: [2001:db8:20::7]:40312)
 *   port 80/tcp, port web 80/tcp
 *   limit 198.51.100.0/24 20/s                     (or /min, /h)
 * `service`: name of a port's service; NULL: all. */
void wire_contain_text(const struct wire_contain *contain, const char *service, char ret_text[static WIRE_SUBJECT_MAX]);

struct wire_order {
	uint64_t id;           /* chosen by the engine, > 0, rising */
	uint64_t number;       /* ORDER_VAULT_RESTORE, ORDER_VAULT_RETURN: of the snapshot or change, > 0; else 0 */
	int64_t before_us;     /* ORDER_VAULT_ROLLBACK: since 1970, > 0; else 0 */
	uint64_t incident;     /* 0: none */
	uint64_t closed_below; /* ORDER_VM_EVIDENCE: all incidents of lower numbers are closed, so their evidence may make room */
	uint32_t type;         /* enum order_type */
	uint32_t service;      /* index in conf.services */
	uint32_t instance;     /* instance number; 0: none */
	uint32_t victim;       /* instance number; 0: none */
	uint32_t variant;      /* index in conf.services[service].variants */
	uint32_t gate;         /* enum wire_gate */
	uint32_t flag;         /* 0 or 1 */
	uint32_t zero;
	struct wire_contain contain;
};

struct wire_observed_instance {
	uint32_t instance;
	uint32_t service, variant;  /* vm only; UINT32_MAX: not known */
	uint32_t guest;             /* enum wire_guest; vm only */
	uint32_t gate;              /* enum wire_gate; net only */
	uint32_t outdated;          /* vm only: 1: made of another image, or with other settings, than a new one would be */
	uint32_t revoked;           /* vm only: 1: its secrets are not valid any more */
	uint8_t key[WIRE_KEY_SIZE]; /* challenge key; vm only */
};

struct wire_answer {
	uint64_t id;    /* the order's */
	int32_t status; /* 0 or -errno */
	uint32_t took_us;
	char text[WIRE_TEXT_MAX];           /* sentence when status != 0, else what was done; NUL-terminated */
	uint8_t key[WIRE_KEY_SIZE];         /* ORDER_VM_CREATE */
	uint32_t target[WIRE_SERVICES_MAX]; /* ORDER_NET_OBSERVE: instance that each service points at, 0 none */
	uint32_t n_observed;                /* *_OBSERVE */
	uint32_t zero;
	struct wire_observed_instance observed[WIRE_INSTANCES_MAX]; /* sent as far as `n_observed` */
};

struct wire_usage { /* counters since the guest's start; NOTICE_GUEST_USAGE only */
	uint64_t cpu_us, sent_bytes, received_packets;
	uint64_t read_bytes, written_bytes; /* of its disks, about */
};

struct wire_tarpit {        /* connections of whoever knocked where nobody is; NOTICE_TARPIT only */
	uint64_t held;      /* now */
	uint64_t taken;     /* since its start */
	uint64_t displaced; /* of these, to make room */
};

struct wire_files { /* since the start of koboshi-scan; NOTICE_FILE_COUNTS only */
	uint32_t looked_at, bad, unknown, skipped, waiting, folders;
};

struct wire_evidence { /* NOTICE_EVIDENCE_* only */
	uint64_t incident;
	uint64_t bytes; /* this and the sum: of a file that was taken */
	uint8_t sha256[WIRE_SHA256];
};

enum wire_snapshot_state {
	WIRE_SNAPSHOT_GOOD,    /* as far as anybody knows */
	WIRE_SNAPSHOT_SUSPECT, /* of after the first evidence in an incident that was rolled back */
	WIRE_SNAPSHOT_GONE,    /* forgotten */
	WIRE_SNAPSHOT_MAX_
};

struct wire_snapshot {              /* NOTICE_SNAPSHOT only */
	uint64_t number;            /* > 0, rising */
	int64_t begun_us, ended_us; /* since 1970: it holds nothing of after `ended_us` */
	uint64_t bytes;
	uint32_t files;
	uint32_t state; /* enum wire_snapshot_state */
};

enum wire_change_kind {
	WIRE_CHANGE_CHANGED,  /* what it was changed to is put aside */
	WIRE_CHANGE_ADDED,    /* likewise, it was not in the snapshot */
	WIRE_CHANGE_REMOVED,  /* it was missing and is back; nothing is put aside */
	WIRE_CHANGE_RETURNED, /* somebody took it back from there */
	WIRE_CHANGE_MAX_
};

struct wire_change {       /* NOTICE_CHANGE only */
	uint64_t number;   /* > 0, rising; of all that were ever put aside in this vault */
	uint64_t incident; /* 0: a snapshot was restored by hand */
	uint64_t bytes;    /* of what is put aside */
	uint32_t kind;     /* enum wire_change_kind */
	uint32_t zero;
};

struct wire_note {       /* a NOTICE */
	int64_t time_us; /* CLOCK_MONOTONIC */
	uint32_t type;   /* enum wire_notice */
	uint32_t instance;
	uint32_t accelerator; /* NOTICE_READY from vm: 0 unknown yet, 1 software emulation, 2 KVM */
	uint32_t service;     /* NOTICE_PROFILE, NOTICE_VAULT, NOTICE_SNAPSHOT, NOTICE_CHANGE: index in conf.services */
	union {
		struct wire_evidence evidence; /* the largest one is the first: all of it is zero unless it is said */
		struct wire_usage usage;
		struct wire_tarpit tarpit;
		struct wire_files files;
		struct wire_snapshot snapshot;
		struct wire_change change;
	};
	uint8_t key[WIRE_KEY_SIZE]; /* NOTICE_GUEST_CHANNEL: of the agent's channel; the guest gets it from the engine alone */
	char text[WIRE_TEXT_MAX];
};

struct wire_link {
	uint32_t role; /* enum wire_role of the peer */
	uint32_t zero;
};

struct wire_progress {
	uint64_t beats; /* rises while the engine really decides */
};

struct wire_replace {
	uint32_t role; /* any but supervisor and engine */
	uint32_t zero;
};

struct wire_message {
	uint16_t version; /* WIRE_VERSION */
	uint16_t kind;    /* enum wire_kind */
	uint32_t size;    /* of the whole packet, header included */
	union {
		struct wire_order order;
		struct wire_answer answer;
		struct wire_note note;
		struct wire_link link;
		struct wire_progress progress;
		struct wire_replace replace;
	};
};

/* Checks a received packet of `size` bytes completely (version, kind, exact size, every enum's range, NUL in texts,
 * booleans, counts, what each order type needs) and copies it out. Pure; the fuzzer's target. An order that takes no
 * service, variant, gate or flag may carry one (in range); a victim belongs to ORDER_NET_STEER alone. What is behind a
 * text's NUL must be zero, and an answer ends behind `n_observed`. NOTICE_LINK_RESTARTED is never on the wire. 0 or -EBADMSG. */
int wire_decode(const void *packet, size_t size, struct wire_message *ret_message, struct err *err) must_use;

/* Fills version and size for `message->kind`, clears what is behind texts' ends (so that nothing of the sender's memory
 * leaks); returns the bytes to send. */
size_t wire_encode(struct wire_message *message);

const char *order_type_name(enum order_type type);
const char *wire_gate_name(enum wire_gate gate);
const char *wire_guest_name(enum wire_guest guest);
const char *wire_notice_name(enum wire_notice notice);
const char *wire_role_name(enum wire_role role);
enum wire_role order_role(enum order_type type); /* which actuator carries it out */
