#pragma once
/* A group that rules log packets to, and the socket that gets them. */
#include "lib/err.h"

#include <libmnl/libmnl.h>
#include <stdbool.h>
#include <stdint.h>

struct nflog {
	struct mnl_socket *socket; /* does not block */
	uint16_t group;
	bool bound;
};

int nflog_open(struct nflog *log, uint16_t group, struct err *err) must_use;
/* 1 when bound, 0 when another reader still holds the group (try again soon), -errno. */
int nflog_bind(struct nflog *log, struct err *err) must_use;
