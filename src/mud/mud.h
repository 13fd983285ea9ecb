#pragma once
/*
 * Manufacturer Usage Descriptions (RFC 8520, access lists of RFC 8519): what a device is meant to talk to, read from JSON and
 * turned into nftables rules for the link that the device is on. Pure: text in, text out. Names are not resolved here: each
 * becomes a set of its own, which somebody else fills and refreshes; the same holds for controllers and local networks.
 *
 * Refused by name instead of being guessed: manufacturer, same-manufacturer and model (they need to know who else is there),
 * lists of Ethernet frames, and header fields that only a packet filter of a router would look at.
 *
 * Thread: any. Every sentence names file and path in the JSON: "mud.json: /ietf-mud:mud/mud-version: must be 1".
 */
#include "lib/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define MUD_FILE_MAX (1u << 20) /* bytes of a file */
#define MUD_ACES_MAX 512        /* of both directions */
#define MUD_NAMES_MAX 64        /* different DNS names */
#define MUD_CONTROLLERS_MAX 16  /* different controller classes, "my-controller" among them */
#define MUD_WORD_MAX 64         /* names of lists and entries, NUL included (RFC 8519: 1..64 characters; ours 63) */
#define MUD_URI_MAX 256
#define MUD_MY_CONTROLLER "my-controller"

enum mud_action { MUD_ACCEPT, MUD_DROP, MUD_REJECT };
enum mud_initiated { MUD_BY_EITHER, MUD_BY_DEVICE, MUD_BY_PEER }; /* who opens the TCP connection */
enum mud_peer { MUD_ANYBODY, MUD_NETWORK, MUD_NAME, MUD_LOCAL, MUD_CONTROLLER };

struct mud_network {
	uint8_t address[16]; /* of IPv4: the first four */
	uint8_t prefix;
	bool given;
};

struct mud_ports { /* all but these if negated */
	uint16_t low, high;
	bool given, negated;
};

/* One entry of an access list, seen from the device: `own` is its side, `remote` the other's, in both directions. */
struct mud_ace {
	char name[MUD_WORD_MAX];
	uint16_t list, entry; /* where it stands in the file: acl/LIST/aces/ace/ENTRY */
	bool v6;
	int16_t protocol;             /* IP's number; -1: any */
	int16_t icmp_type, icmp_code; /* -1: any */
	enum mud_peer peer;           /* who the other is, beside `remote` (MUD_NETWORK: that alone) */
	uint8_t which;                /* of mud.names or mud.controllers */
	struct mud_network own, remote;
	struct mud_ports own_port, remote_port;
	enum mud_initiated initiated;
	enum mud_action action;
	bool logged;
};

struct mud {
	char url[MUD_URI_MAX];
	char last_update[40];
	char systeminfo[61];
	unsigned cache_hours; /* 1..168: how long this may be believed without asking again */
	bool supported;       /* by its maker, still */
	struct mud_ace aces[MUD_ACES_MAX];
	size_t n_from, n_aces; /* aces[0..n_from) are about what the device sends, the others about what it is sent */
	char names[MUD_NAMES_MAX][MUD_URI_MAX];
	size_t n_names;
	char controllers[MUD_CONTROLLERS_MAX][MUD_URI_MAX];
	size_t n_controllers;
};

/* Reads and checks the whole; `name` stands in the sentences. Returns a new object, which the caller frees (free), or NULL. */
struct mud *mud_read(const char *name, const char *text, size_t size, struct err *err);

/* The same from a file. */
struct mud *mud_load(const char *path, struct err *err);

enum mud_outside { MUD_COUNT, MUD_LIMIT, MUD_CUT }; /* what becomes of packets that the profile does not allow */

struct mud_target {
	const char *link;          /* the interface that the device is on; 1..15 of [A-Za-z0-9_.-], see mud_link_is_fine */
	enum mud_outside outside;  /* they are counted in any case */
	unsigned limit_per_second; /* for MUD_LIMIT: so many pass; > 0 */
};

bool mud_link_is_fine(const char *link);

/* What an entry is about, in nft's words, without a verdict. Whom it names by kind (MUD_NAME,
 * MUD_CONTROLLER, MUD_LOCAL) is a set, which `peers` writes: "@name_0_v4", "{ 192.0.2.0/24 }". */
typedef void mud_peers_put(void *arg, const struct mud_ace *ace, FILE *out);
void mud_match_put(const struct mud_ace *ace, bool from_device, mud_peers_put *peers, void *arg, FILE *out);

/* A whole table `inet mud_LINK`, replacing one that is there, in nft's language: `nft -f` takes it as it is. Sets name_N_v4,
 * name_N_v6, controller_N_v4, ..., local_v4, local_v6 are there for each that is used and are empty; counters outside_from and
 * outside_to count what the profile does not allow. */
void mud_compile(const struct mud *mud, const struct mud_target *target, FILE *out);
