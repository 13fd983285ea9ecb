#pragma once
/*
 * Who asks a guest: the networks (an IPv4 address, an IPv6 /64) of its clients that were there lately, CALLERS_MAX of them.
 * Whoever was not seen for the longest time gives way, so a flood of addresses can hide others for as long as it lasts. Pure:
 * time comes in.
 */
#include "sense/nflog.h"

#define CALLERS_MAX 64

struct caller {
	struct nflog_address network;
	int64_t last_us; /* a flow of it began or ended then */
	uint32_t open;   /* flows of it that are, as far as they were told */
};

struct callers {
	struct caller list[CALLERS_MAX];
	size_t n;
};

void callers_began(struct callers *callers, const struct nflog_address *client, int64_t now_us);
void callers_ended(struct callers *callers, const struct nflog_address *client, int64_t now_us);
void callers_lost(struct callers *callers); /* which flows are open is no longer known */

/* Those that have a flow open, or had one since then. */
size_t callers_since(const struct callers *callers, int64_t since_us, struct nflog_address ret_networks[static CALLERS_MAX]);
