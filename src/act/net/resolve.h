#pragma once
/*
 * One round of DNS questions, in a child that ends with it: without capabilities, without files but the hosts' list, with
 * sockets of IPv4 and IPv6 only. What it reads from strangers it reads with c-ares; whoever takes it over can lie about names
 * and do nothing else.
 */
#include "conf/conf.h"
#include "mud/mud.h"

#include <sys/types.h>

#define RESOLVE_ADDRESSES_MAX 32 /* of one name, both families; further ones are passed over */

enum resolved_how {
	RESOLVED_FOUND,
	RESOLVED_NONE,   /* there is no such name, or it has no address */
	RESOLVED_SILENT, /* no resolver answered in time */
	RESOLVED_FAILED, /* a resolver could not say */
	RESOLVED_BROKEN, /* no question could be asked at all */
	RESOLVED_MAX_
};

struct resolved_address {
	uint8_t v6; /* 0 or 1 */
	uint8_t bytes[16];
};

struct resolved { /* of one question; comes through the pipe whole or not at all */
	uint32_t index;
	uint32_t how; /* enum resolved_how */
	uint32_t ttl_s;
	uint32_t n;
	struct resolved_address addresses[RESOLVE_ADDRESSES_MAX];
};

struct question {
	uint32_t index; /* comes back with the answer */
	const char *name;
};

/* Starts the round: `ret_fd` brings a `struct resolved` for each question, in any order, then its end. The caller closes it and
 * reaps the child, which ends by itself within RESOLVE_ROUND_S. Servers: the configuration's, else the host's. */
#define RESOLVE_ROUND_S 15
int resolve_start(const struct conf *conf, const struct question *questions, size_t n, pid_t *ret_child, int *ret_fd,
                  struct err *err) must_use;
