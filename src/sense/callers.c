/* See callers.h. */
#include "sense/callers.h"

#include <string.h>

/* Whoever has an address of a /64 has all of them. */
static struct nflog_address network_of(const struct nflog_address *client)
{
	struct nflog_address network = {.ipv6 = client->ipv6};
	memcpy(network.bytes, client->bytes, client->ipv6 ? 8 : 4);
	return network;
}

static bool same(const struct nflog_address *a, const struct nflog_address *b)
{
	return a->ipv6 == b->ipv6 && memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

static struct caller *find(struct callers *callers, const struct nflog_address *network)
{
	for (size_t i = 0; i < callers->n; i++)
		if (same(&callers->list[i].network, network))
			return &callers->list[i];
	return NULL;
}

static struct caller *place(struct callers *callers, const struct nflog_address *network)
{
	struct caller *c = find(callers, network);
	if (c)
		return c;
	c = &callers->list[0];
	for (size_t i = 1; i < callers->n; i++)
		if (callers->list[i].last_us < c->last_us)
			c = &callers->list[i];
	if (callers->n < CALLERS_MAX)
		c = &callers->list[callers->n++];
	*c = (struct caller){.network = *network};
	return c;
}

void callers_began(struct callers *callers, const struct nflog_address *client, int64_t now_us)
{
	struct nflog_address network = network_of(client);
	struct caller *c = place(callers, &network);
	c->last_us = now_us;
	c->open++;
}

void callers_ended(struct callers *callers, const struct nflog_address *client, int64_t now_us)
{
	struct nflog_address network = network_of(client);
	struct caller *c = find(callers, &network);
	if (!c)
		return;
	c->last_us = now_us;
	c->open -= c->open > 0;
}

void callers_lost(struct callers *callers)
{
	for (size_t i = 0; i < callers->n; i++)
		callers->list[i].open = 0;
}

size_t callers_since(const struct callers *callers, int64_t since_us, struct nflog_address ret_networks[static CALLERS_MAX])
{
	size_t n = 0;
	for (size_t i = 0; i < callers->n; i++)
		if (callers->list[i].open || callers->list[i].last_us >= since_us)
			ret_networks[n++] = callers->list[i].network;
	return n;
}
