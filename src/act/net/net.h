#pragma once
/*
 * The net actuator's inside. One struct holds what the program needs for its whole life; nothing in it says how the
 * network is: that is read from the kernel (state.h) each time it matters.
 */
#include "act/net/guard.h"
#include "act/net/names.h"
#include "act/net/nflog.h"
#include "act/net/profile.h"
#include "act/net/rescue.h"
#include "conf/conf.h"
#include "wire/order.h"

#include <libmnl/libmnl.h>
#include <stdio.h>

#define NET_LOG_GROUP 7     /* the engine's */
#define NET_RESCUE_GROUP 8  /* our own */
#define NET_LOG_BYTES 100   /* of a packet: IPv6's header and TCP's largest */
#define NET_LOST "koboshi0" /* lost.c's link; no "kb*", which are taps */
#define RULESET_LOG " group 7 snaplen 100 queue-threshold 1\n"

/* The flows of a victim, as conntrack told them when they were cut: the evidence is asked for later, when they are gone. */
#define NET_FLOWS_KEPT CONF_SERVICES_MAX
#define NET_FLOWS_BYTES (256u << 10)
struct net_flows {
	uint32_t instance;
	bool more; /* there were more than fit */
	size_t size;
	_Alignas(4) uint8_t bytes[NET_FLOWS_BYTES]; /* netlink messages, one behind the other; touched only as far as `size` */
};

struct net {
	struct conf conf;
	struct mnl_socket *route;  /* rtnetlink */
	struct mnl_socket *filter; /* netfilter: sets, maps, conntrack */
	struct nflog log;          /* the engine gets a copy of its descriptor */
	struct rescue rescue;
	bool hold4, hold6; /* forwarding was off before us: nothing but our own traffic is forwarded */
	bool brief;        /* the kernel can forget flows of probes sooner than others */
	int evidence;      /* <state_dir>/evidence, opened before the right to walk there is given up; -1: none */
	struct guard guard;
	struct profile profiles[CONF_SERVICES_MAX];
	struct names names; /* of all profiles */
	struct mnl_socket *ended;
	int flow_events;                         /* our copy of the engine's socket; -1: none */
	struct net_flows *flows[NET_FLOWS_KEPT]; /* of the victims cut last, oldest first; NULL behind them */
};

int net_open(struct net *net, struct err *err) must_use;
void net_done(struct net *net);

/* transact.c: one transaction in nft's language, all or nothing. The sentence of a failure is nft's own. */
int transact(const char *text, struct err *err) must_use;
/* Asks the kernel without changing anything. */
int transact_try(const char *text, struct err *err) must_use;

/* ruleset.c: texts of transactions; they only write, so they can be read in a test. */
struct ruleset_text {
	char *bytes;
	size_t size;
	FILE *out;
};
void ruleset_text_init(struct ruleset_text *text);
const char *ruleset_text_end(struct ruleset_text *text); /* valid until _done */
void ruleset_text_done(struct ruleset_text *text);
struct ruleset_base {
	const struct conf *conf;
	bool hold4, hold6; /* nothing but our own traffic is forwarded */
	bool rescue, brief;
};
struct ruleset_base ruleset_base_of(const struct net *net);
void ruleset_base(FILE *out, const struct ruleset_base *base);
void ruleset_brief(FILE *out); /* its part that not every kernel takes */
/* Of a tap whose service has a profile, strays are told (profile.c) and not all that it opens. */
void ruleset_tap(FILE *out, const struct net *net, const struct conf_instance *instance, uint32_t service);
void ruleset_tap_gone(FILE *out, const struct conf *conf, const struct conf_instance *instance);
void ruleset_gate(FILE *out, const char *tap, enum wire_gate gate);

/* disguise.c: whose address probes borrow. Part of the base ruleset. */
void disguise_rules(FILE *out, const struct conf *conf);

/* decoy.c: what is a touch, and where it goes. `_adopt` before any descriptor is opened: it takes over the tarpit's sockets (or
 * rather their ports) if the supervisor handed them down. The other texts are parts of the base and of a tap's rules. */
void decoy_adopt(void);
void decoy_base(FILE *out, const struct conf *conf);
void decoy_tap_objects(FILE *out, const char *tap, const char *four, const char *six);
void decoy_tap(FILE *out, const char *tap, const char *mac, const char *four, const char *six, const char *local);
void decoy_tap_gone(FILE *out, const char *tap, const char *four, const char *six);

/* conntrack.c: a guest's flows, known by their mark. */
#define CONNTRACK_MARK_LOST CONF_MARK /* of flows to NET_LOST: to no instance */
uint32_t conntrack_mark(const struct conf_instance *instance);
int conntrack_open(struct net *net, struct err *err) must_use;
int conntrack_cut(struct net *net, const struct conf_instance *instance, struct err *err) must_use;
int conntrack_cut_flow(struct net *net, const struct wire_contain *flow, struct err *err) must_use; /* 0 too if it is not there */
/* Who is shown the flows: conntrack's messages of those that are there, or that end (then of others too). */
struct conntrack_seen {
	void (*see)(void *arg, const struct nlmsghdr *message);
	void *arg;
};
struct conntrack_flow;
bool conntrack_find(struct net *net, const struct wire_contain *ends, struct conntrack_flow *ret_flow);
/* The host has so many flows that nobody lists them: _seize shows none. */
bool conntrack_is_crowded(void);
/* `kept`: for _write. */
int conntrack_seize(struct net *net, const struct conf_instance *instance, bool kept, const struct conntrack_seen *seen,
                    struct err *err) must_use;
int conntrack_cut_lost(struct net *net, struct err *err) must_use; /* whomever they were meant for */
int conntrack_write(struct net *net, const struct conf_instance *instance, FILE *out, size_t max, size_t *ret_flows,
                    struct err *err) must_use;

/* flow_events.c: a socket for the engine, on which the kernel tells of our guests' flows: those that are there, then each that
 * begins and ends. `_open` makes a fresh one (`net->flow_events`) in the place of the last. `_hear_ends`: to be told of many ends
 * costs time when there is none. */
int flow_events_open(struct net *net, struct err *err) must_use;
void flow_events_hear_ends(struct net *net, bool hear);

/* evidence.c: STATE_DIR/evidence/INCIDENT/kb-INSTANCE.flows */
void evidence_open(struct net *net);
int evidence_flows(struct net *net, uint64_t incident, const struct conf_instance *instance, size_t *ret_flows,
                   struct err *err) must_use;

/* host.c: what belongs to the host and not to one tap: forwarding, accounting, service addresses. */
int host_up(struct net *net, struct err *err) must_use;
/* Forwarding, service addresses and lost.c's link, as they shall be. Idempotent. */
int host_hold(struct net *net, struct err *err) must_use;
int host_down(struct net *net, struct err *err) must_use;
int host_sysctl(const char *value, struct err *err, const char *path, ...) must_use printf_like(3, 4);
long host_sysctl_read(const char *path);

/* tap.c. Both idempotent. */
int tap_add(struct net *net, const struct conf_instance *instance, uint32_t service, struct err *err) must_use;
int tap_del(struct net *net, const struct conf_instance *instance, struct err *err) must_use;
/* Kinds of link that may be a tap; ends with NULL. The program's list has "tun" alone; a test's has veth too. */
extern const char *const tap_kinds[];
/* Makes one of that name. The program's makes a tap, the laboratory's a wire whose other end is named like it with a p before. */
int tap_make(struct net *net, const char *name, struct err *err) must_use;

/* tun.c: a persistent link of the tun driver, root's. `kind`: IFF_TUN or IFF_TAP, and what else <linux/if_tun.h> has for it. */
int tun_make(const char *name, short kind, struct err *err) must_use;

/* lost.c: the link for packets to guests that are not there. `_up` makes it anew, `_hold` only if it does not stand. */
int lost_up(struct net *net, struct err *err) must_use;
int lost_hold(struct net *net, struct err *err) must_use;
bool lost_stands(struct net *net); /* false also if the kernel cannot be asked */
int lost_down(struct net *net, struct err *err) must_use;

/* steer.c: orders about the map and the gates; each is one transaction. */
struct state;
struct steer {
	uint32_t service, instance, victim;
	const struct state *state; /* just read */
};
int steer_move(struct net *net, const struct steer *steer, struct err *err) must_use;
int steer_gate(struct net *net, uint32_t instance, enum wire_gate gate, struct err *err) must_use;
/* The instance is fenced, and a service that still pointed at it points nowhere. */
int steer_forget(struct net *net, const struct conf_instance *instance, struct err *err) must_use;
int steer_load(struct net *net, struct err *err) must_use; /* at start: static part anew, map and gates kept */
/* Both tables from nothing, in one transaction: whatever became of them, then they are as wanted. */
int steer_restore(struct net *net, const struct guard_wanted *wanted, struct err *err) must_use;

/* order.c: carries one order out; fills everything of the answer. */
void order_do(struct net *net, const struct wire_order *order, struct wire_answer *ret_answer);

/* check.c: 0, or one sentence about the first thing that is missing; about a program that has a service's port already. */
int check_host(const struct conf *conf, struct err *err) must_use;
int check_ports(const struct conf *conf, struct err *err) must_use;
bool check_brief(void); /* does the kernel take ruleset_brief()? */

/* privilege.c: keeps CAP_NET_ADMIN, and writing to the few places that are ours. */
int privilege_drop(const struct conf *conf, struct err *err) must_use;
