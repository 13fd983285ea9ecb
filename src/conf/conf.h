#pragma once
/*
 * The device's configuration, as one plain struct: no pointers inside, so it can be compared, copied and swapped whole.
 * Every process loads the same file by itself and trusts nothing that another tells it about it.
 *
 * FILE is YAML (a subset: no aliases, no merge keys, no duplicate keys); FILE.d/x.yaml are laid over it in name order
 * (maps merge; scalars and lists replace). Durations carry a unit (100ms, 2s, 10min, 24h), sizes too (64KiB, 192MiB). An unknown
 * key is an error with the near key.
 */
#include "lib/err.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONF_SERVICES_MAX 16
#define CONF_PORTS_MAX 8
#define CONF_VARIANTS_MAX 16
#define CONF_RANGES_MAX 8
#define CONF_CONTENT_MAX 8
#define CONF_FOLDERS_MAX 8
#define CONF_RESOLVERS_MAX 3
#define CONF_INSTANCES_MAX 32 /* wanted, of one service or of all together */
#define CONF_KEYS_MAX 8
#define CONF_TRUST_MAX 8
#define CONF_SECRETS_MAX 8 /* of one service */
#define CONF_CARRY_MAX 8   /* likewise */
#define CONF_NAME_MAX 32   /* with NUL; [a-z][a-z0-9-]* */
#define CONF_PATH_MAX 192  /* with NUL */
#define CONF_BYTES_MAX 128

struct conf_range4 {
	struct in_addr address; /* first of the range, network order */
	uint8_t prefix;         /* 0..32 */
};

struct conf_range6 {
	struct in6_addr address;
	uint8_t prefix; /* 0..128 */
};

struct conf_address {
	int family; /* AF_INET or AF_INET6 */
	struct in_addr four;
	struct in6_addr six;
};

struct conf_port {
	uint16_t port;    /* 1..65535, host order; the same outside and in the guest */
	uint8_t protocol; /* IPPROTO_TCP or IPPROTO_UDP */
};

struct conf_bytes { /* of a protocol that is none of ours */
	size_t size;
	uint8_t bytes[CONF_BYTES_MAX];
};

struct conf_probe {
	enum conf_probe_protocol { CONF_PROBE_HTTP, CONF_PROBE_TCP, CONF_PROBE_UDP } protocol; /* default http */
	bool tls;                       /* inside of TLS; not with udp; default no */
	struct conf_bytes send, expect; /* tcp, udp: what is said, and what the answer must begin with; size 0: nothing (tcp) */
	uint32_t interval_ms;           /* 20..60000, default 100 */
	uint32_t timeout_ms;            /* 20..60000, default 250; a whole request must be through by then */
	uint32_t failures;              /* k: this many of the last `window` unanswered = failed; 1..window, default 3 */
	uint32_t window;                /* n: 1..32, default 5 */
	uint32_t silence_ms;            /* least silence of all clients that is suspicious; 0 (off)..1000, default 20 */
	uint32_t stall_ms;              /* least silence for which whoever serves gives way; 0 (never)..1000, default 10 */
	uint16_t port;                  /* port that is probed, default the first one of TCP, or UDP */
	uint32_t body_max;              /* bytes of an answer that are read at most; default 64 KiB, max 1 MiB */
	bool challenge;                 /* GET challenge_path?nonce=... belongs to the mix; default true */
	char challenge_path[CONF_PATH_MAX];            /* default /api/challenge */
	uint32_t challenge_ms;                         /* one in so many milliseconds, default 1000 */
	char content[CONF_CONTENT_MAX][CONF_PATH_MAX]; /* paths whose bytes the manifest knows; default: "/" */
	size_t n_content;
	/* What all instances are asked at the same moment; their answers must be alike. Default: "/" and one that nobody has. */
	char peer[CONF_CONTENT_MAX][CONF_PATH_MAX];
	size_t n_peer;                                  /* 0: not asked */
	uint32_t peer_ms;                               /* one such question in so many milliseconds, default 2000 */
	char peer_ignore[CONF_KEYS_MAX][CONF_NAME_MAX]; /* members of JSON objects that may differ, at any depth */
	size_t n_peer_ignore;
};

struct conf_vault {                      /* where a service's data lies, outside of its guests */
	char path[CONF_PATH_MAX];        /* folder of this host; "": each guest keeps its own data */
	char repository[CONF_PATH_MAX];  /* as restic names one; default: PATH/repository */
	char credentials[CONF_PATH_MAX]; /* file of NAME=VALUE lines for restic's environment; "": none */
	uint32_t every_ms;               /* between backups; 0 (never) or 1 s .. 30 days, default 60 s */
	enum conf_compromise { CONF_COMPROMISE_KEEP, CONF_COMPROMISE_ROLLBACK } on_compromise; /* default keep */
	uint32_t keep_last, keep_hourly, keep_daily; /* snapshots; defaults 60, 24, 30 */
};

/* Files that live on: where in the service's data a guest's agent lays those that were changed, and how much of one is taken. */
#define CONF_CARRY_FOLDER ".koboshi-carry"
#define CONF_CARRY_PATH_MAX 96           /* with NUL */
#define CONF_CARRY_FILE_MAX (32u << 10)  /* bytes of one */
#define CONF_CARRY_TOTAL_MAX (64u << 10) /* of all of one service */

#define CONF_LADDER_RESTART 2u
#define CONF_LADDER_REBOOT 4u

enum conf_secret_kind {
	CONF_SECRET_TOKEN,
	CONF_SECRET_PASSWORD,
	CONF_SECRET_SSH_HOST_KEY,
	CONF_SECRET_SSH_USER_KEY,
	CONF_SECRET_KIND_MAX_
};

struct conf_secret { /* of which each instance gets one of its own, freshly made */
	char name[CONF_NAME_MAX];
	enum conf_secret_kind kind;
	char user[CONF_NAME_MAX];      /* password, user key: account in the guest */
	char path[CONF_PATH_MAX];      /* token: file in the guest */
	char owner[2 * CONF_NAME_MAX]; /* token: "root", "root:www-data" */
	uint32_t mode;                 /* token: default 0400 */
	char group[CONF_NAME_MAX];     /* of this host: who may read which are valid, beside root; "": nobody */
};

const char *conf_secret_kind_name(enum conf_secret_kind kind);

struct conf_service {
	char name[CONF_NAME_MAX];
	bool has_address4, has_address6; /* at least one */
	struct in_addr address4;
	struct in6_addr address6;
	struct conf_port ports[CONF_PORTS_MAX];
	size_t n_ports; /* >= 1 */
	char variants[CONF_VARIANTS_MAX][CONF_NAME_MAX];
	size_t n_variants;       /* >= 1 */
	uint32_t standby, spare; /* wanted beside the one active; 0..3 each, default 1 and 1 */
	/* Where clients come from: probes borrow sources from these ranges, so that a guest cannot tell them from clients.
	 * None given: clients' sources are hidden from the guest instead (masquerade). */
	struct conf_range4 clients4[CONF_RANGES_MAX];
	size_t n_clients4;
	struct conf_range6 clients6[CONF_RANGES_MAX];
	size_t n_clients6;
	struct conf_probe probe;
	/* What its guests may open: a MUD file (RFC 8520). "": nothing at all. See src/mud/profile.h. */
	char profile[CONF_PATH_MAX];
	struct conf_vault vault;
	enum conf_outside {
		CONF_OUTSIDE_COUNT, /* passes all the same */
		CONF_OUTSIDE_LIMIT, /* `outside_rate` packets a second pass, of each guest */
		CONF_OUTSIDE_CUT
	} outside;             /* what becomes of packets outside of the profile; counted and told in any case; default cut */
	uint32_t outside_rate; /* 1..10000, default 10 */
	/* Who is meant by the profile's `my-controller` and `local-networks`; none of it in the guests' ranges. */
	struct conf_range4 controllers4[CONF_RANGES_MAX], local4[CONF_RANGES_MAX];
	struct conf_range6 controllers6[CONF_RANGES_MAX], local6[CONF_RANGES_MAX];
	size_t n_controllers4, n_controllers6, n_local4, n_local6;
	uint32_t memory_mib; /* of one guest; 0 = what the manifest asks for */
	uint32_t ladder;     /* CONF_LADDER_*: what is tried with whoever failed; default both */
	struct conf_secret secrets[CONF_SECRETS_MAX];
	size_t n_secrets;
	char carry[CONF_CARRY_MAX][CONF_CARRY_PATH_MAX]; /* files of the guests whose changes live on; only with a vault */
	size_t n_carry;
	bool rescue;              /* clients are helped over a switch (act/net/rescue.h); default yes */
	uint32_t drain_ms;        /* planned switch: how long old connections may go on; default 5000 */
	uint32_t max_exposure_ms; /* so long may clients reach one instance; 0 (for ever) or 10 s .. 30 days, default 24 h */
};

struct conf_folder { /* on the host, with what guests write */
	char name[CONF_NAME_MAX];
	char path[CONF_PATH_MAX];
	char service[CONF_NAME_MAX]; /* whose data it is; "": not said */
	bool instances;              /* a folder kb-N directly in it is what instance N writes */
};

struct conf_files { /* what guests write is looked at; nobody does without a folder */
	struct conf_folder folders[CONF_FOLDERS_MAX];
	size_t n_folders;
	char rules[CONF_PATH_MAX];                    /* folder of YARA rules, *.yar and *.yara; "": none */
	char good[CONF_PATH_MAX], bad[CONF_PATH_MAX]; /* files as sha256sum writes them; "": none */
	uint64_t file_bytes;                          /* so much of a file is looked at; default 16 MiB */
	uint32_t file_ms;                             /* so long may one file take; default 2000 */
	uint32_t memory_mib;                          /* so much may looking at it take; default 256, at least twice file_bytes */
	uint32_t per_second;                          /* files; default 50 */
};

struct conf {
	char device[CONF_NAME_MAX];    /* default: host name */
	char state_dir[CONF_PATH_MAX]; /* root's: evidence and the like; the ledger in it: conf_ledger_dir(); default
	                                  /var/lib/koboshi */
	char run_dir[CONF_PATH_MAX]; /* sockets, guests' seeds and logs; default /run/koboshi; short: libvirt's sockets are below
	                              */
	char image_dir[CONF_PATH_MAX]; /* DIR/<variant>/manifest.json; default /var/lib/koboshi/images */
	char image_key[CONF_PATH_MAX]; /* PEM public key that manifests must be signed with; default /etc/koboshi/image.pub */
	char user[CONF_NAME_MAX];      /* the engine runs as this user; name or number; default koboshi */
	char libvirt[CONF_PATH_MAX];   /* "embed" (default) or a URI such as qemu:///system */
	enum conf_accel {
		CONF_ACCEL_AUTO,
		CONF_ACCEL_TCG,
		CONF_ACCEL_KVM
	} accel;                    /* auto: KVM only if a guest really boots with it */
	bool lab;                   /* guests get a command channel for staged attacks; never on a real device; default false */
	struct conf_range4 guests4; /* each guest gets one address of it; prefix 16..28 */
	struct conf_range6 guests6; /* prefix 64..112 */
	struct conf_address resolvers[CONF_RESOLVERS_MAX]; /* who is asked for the names of profiles */
	size_t n_resolvers;                                /* 0: whom the host asks */
	struct conf_service services[CONF_SERVICES_MAX];
	size_t n_services; /* >= 1 */
	/* Who is never cut, whatever happens: management, monitoring. */
	struct conf_range4 never_cut4[CONF_RANGES_MAX];
	struct conf_range6 never_cut6[CONF_RANGES_MAX];
	size_t n_never_cut4, n_never_cut6;
	bool decoys;                                   /* asking where nobody is counts as a touch; default true */
	uint32_t decoy_connections;                    /* so many are held in the tarpit; 16..16384, default 1024 */
	struct conf_port decoy_except[CONF_PORTS_MAX]; /* ports of the gateway that guests have a reason to ask */
	size_t n_decoy_except;
	struct conf_files files;
	/* timings, all in ms */
	uint32_t boot_ms;     /* a guest that is not proven by then is given up; default 60000 */
	uint32_t boot_share;  /* percent of a processor a booting guest may use beside running ones; 5..100, default 50 */
	uint32_t freeze_ms;   /* senses count as lost when the own loop was late by this; default 1000 */
	uint32_t brake_falls; /* so many guests that fell ... 0..32, default 5; 0: no brake */
	uint32_t brake_within_ms, brake_pause_ms; /* ... within, default 10 min, let spares be built only every, default 1 min */
	bool brake_cut;                           /* whoever was there whenever one fell is cut off meanwhile; default true */
	uint32_t rebuild_backoff_ms; /* first pause after a guest that never got proven, doubled each time; default 5000 */
	uint32_t lessons_keep_ms;    /* so long a lesson of this device is good; default 30 days */
	char lessons_trust[CONF_TRUST_MAX][CONF_PATH_MAX]; /* public keys (PEM) of devices whose lessons are taken */
	size_t n_lessons_trust;
	/* limits */
	uint64_t evidence_bytes; /* memory/flow evidence of one incident at most; default 256 MiB; 0 = none */
	uint64_t evidence_total; /* all evidence together; default 1 GiB */
	uint32_t incidents_kept; /* closed incidents that stay in the ledger; default 1000 */
};

/* Below the state folder, and all that the engine's user owns there: what root's processes write and read lies beside it, where a
 * taken-over engine cannot put links or other files in its place. */
void conf_ledger_dir(const char *state_dir, char ret_path[static CONF_PATH_MAX + 16]);

/* Parts of a vault: what the guests share, and beside it what only koboshi-vault touches. */
#define CONF_VAULT_PATH_MAX (CONF_PATH_MAX + 64)
void conf_vault_data(const struct conf_vault *vault, char ret_path[static CONF_VAULT_PATH_MAX]);

/* Reads `path` and its drop-ins, checks everything, fills defaults. On failure nothing is touched and `err` names
 * file:line:column and what to do ("koboshi.yaml:12:5: unknown key 'intervall', did you mean 'interval'?"). */
int conf_load(const char *path, struct conf *ret_conf, struct err *err) must_use;

/* The same from memory, for tests and the fuzzer; `name` stands in the messages. No drop-ins. */
int conf_parse(const char *name, const char *text, size_t size, struct conf *ret_conf, struct err *err) must_use;

/* What an instance's number says about it. Every process computes it by itself; no order carries an address.
 * Numbers start at 1 and are never used twice by one ledger. */
struct conf_instance {
	uint32_t number;
	char name[CONF_NAME_MAX]; /* "kb-7": domain and host name */
	char tap[16];             /* "kb7" */
	uint8_t mac[6];           /* guest's side; locally administered */
	uint8_t host_mac[6];      /* tap's side: the same for all */
	struct in_addr address4;  /* guest; network order */
	struct in6_addr address6;
	struct in_addr gateway4; /* host's address on every tap (first of the range) */
	struct in6_addr gateway6;
};

/* Never fails for number >= 1. Two living instances never share an address as long as fewer than the range's size
 * numbers lie between them (which has room for twice as many as are wanted). */
void conf_instance(const struct conf *conf, uint32_t number, struct conf_instance *ret_instance);

/* "kb-7" -> 7; 0 when it is no instance's name. */
uint32_t conf_instance_named(const char *name);

/* Whether two numbers share an address: whoever numbers a new instance goes on to the next number while it clashes with
 * a living one (an instance may live while a whole range of numbers passes by). */
bool conf_instances_clash(const struct conf *conf, uint32_t a, uint32_t b);

bool conf_in_range4(const struct conf_range4 *range, struct in_addr address);
bool conf_in_range6(const struct conf_range6 *range, const struct in6_addr *address);

/* A flow bears its instance's mark in conntrack: this, and the number in the lower three bytes. */
#define CONF_MARK 0x4b000000u
#define CONF_MARK_NUMBER 0x00ffffffu

/* NULL when there is none. */
const struct conf_service *conf_service_named(const struct conf *conf, const char *name);
