#pragma once
/*
 * What the kernel holds of us, read fresh: taps by name, gates by set, targets by map. Nothing is remembered between
 * two reads, so an answer built from it is a proof and not a hope.
 */
#include "act/net/net.h"

#define STATE_TAPS_MAX (2 * WIRE_INSTANCES_MAX)
#define STATE_STEER_MAX (2 * CONF_SERVICES_MAX * CONF_PORTS_MAX) /* by IPv4 and IPv6 */

struct state_tap {
	uint32_t number;
	int index;
	bool up; /* the host's own end; what is behind it is another matter */
	char kind[16];
	enum wire_gate gate;
	uint32_t service; /* whose guest is behind it; UINT32_MAX: none of this configuration */
};

struct state_steer { /* one element of a map */
	uint8_t family, protocol;
	uint16_t port; /* host order */
	union {
		struct in_addr four;
		struct in6_addr six;
	} service, guest;
};

struct state {
	size_t n_taps, n_steer;
	struct state_tap taps[STATE_TAPS_MAX];
	struct state_steer steer[STATE_STEER_MAX];
};

int state_read(struct net *net, struct state *ret_state, struct err *err) must_use;

/* What only a start asks for: are our tables there, and do they hold back what is not ours? */
struct state_base {
	bool loaded, hold4, hold6;
};
struct state_base state_base(struct net *net);

const struct state_tap *state_tap(const struct state *state, uint32_t number);

/* The instance that every port of the service points at; 0: none. `ret_mixed`: ports disagree or point at no tap. */
uint32_t state_target(const struct state *state, const struct conf *conf, size_t service, bool *ret_mixed);

bool state_chain_there(struct net *net, const char *chain); /* of table inet koboshi */

/* What is in a set of addresses; a set that is not there is empty. And the names of all sets and chains. All of table inet
 * koboshi. */
typedef void state_address_seen(void *arg, const uint8_t *bytes, size_t size);
int state_addresses(struct net *net, const char *set, state_address_seen *seen, void *arg, struct err *err) must_use;
typedef void state_name_seen(void *arg, const char *name);
void state_sets(struct net *net, state_name_seen *seen, void *arg);
void state_chains(struct net *net, state_name_seen *seen, void *arg);

/* Number in "kb7"; 0 when it is no tap of ours. */
uint32_t state_tap_number(const char *name);
