#pragma once
/*
 * The few rtnetlink requests that we need, each asked and confirmed at once. "Is there already" and "is gone already"
 * are no errors: all callers want the end state.
 */
#include <libmnl/libmnl.h>

#include "lib/err.h"

#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

struct rtnl_link {
	int index;
	unsigned flags;
	uint8_t mac[6];
	char name[IFNAMSIZ];
	char kind[16];  /* "tun", "veth", "" */
	char alias[16]; /* a word that whoever made it left there; "": none */
};

struct rtnl_address {
	int family; /* AF_INET or AF_INET6 */
	union {
		struct in_addr four;
		struct in6_addr six;
	};
};

struct rtnl_route { /* in the main table, over a link, to whoever is there */
	int index;
	struct rtnl_address to;
	unsigned prefix;
	uint32_t metric;                   /* 0: the kernel's default */
	const struct rtnl_address *source; /* the host's address on the way; NULL: none is said */
};

typedef void rtnl_link_seen(void *arg, const struct rtnl_link *link);
/* `ours`: the address bears our mark (IFA_PROTO), so we put it there. */
typedef void rtnl_address_seen(void *arg, int index, const struct rtnl_address *address, bool ours);

int rtnl_links(struct mnl_socket *socket, rtnl_link_seen *seen, void *arg, struct err *err) must_use;
/* `ret_link->index` is 0 if there is none of that name. */
int rtnl_link_find(struct mnl_socket *socket, const char *name, struct rtnl_link *ret_link, struct err *err) must_use;
int rtnl_addresses(struct mnl_socket *socket, rtnl_address_seen *seen, void *arg, struct err *err) must_use;
int rtnl_link_set(struct mnl_socket *socket, int index, const uint8_t mac[6], bool up, struct err *err) must_use;
int rtnl_link_alias(struct mnl_socket *socket, int index, const char *alias, struct err *err) must_use;
int rtnl_link_del(struct mnl_socket *socket, int index, struct err *err) must_use;
int rtnl_address_set(struct mnl_socket *socket, bool add, int index, const struct rtnl_address *address,
                     struct err *err) must_use; /* one address, no subnet, no detection of duplicates */
int rtnl_route_add(struct mnl_socket *socket, const struct rtnl_route *route, struct err *err) must_use;
int rtnl_neighbour_add(struct mnl_socket *socket, int index, const struct rtnl_address *address, const uint8_t mac[6],
                       struct err *err) must_use; /* permanent */

size_t rtnl_address_size(const struct rtnl_address *address);
