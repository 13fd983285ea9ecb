/* See reach.h: a ring of the last tries; the newest overwrites the oldest, which tells how long so many took. */
#include "sense/reach.h"

#include <stdio.h>
#include <string.h>

static bool is_same(const struct reach *reach, size_t a, size_t b)
{
	return reach->tries[a].port == reach->tries[b].port && reach->tries[a].to.ipv6 == reach->tries[b].to.ipv6 &&
	       memcmp(reach->tries[a].to.bytes, reach->tries[b].to.bytes, sizeof(reach->tries[a].to.bytes)) == 0;
}

/* Different addresses and ports among the tries. */
static size_t places(const struct reach *reach)
{
	size_t n = 0;
	for (size_t i = 0; i < reach->n; i++) {
		bool seen = false;
		for (size_t k = 0; k < i && !seen; k++)
			seen = is_same(reach, i, k);
		n += !seen;
	}
	return n;
}

bool reach_add(struct reach *reach, const struct nflog_tcp *tcp, int64_t time_us, int64_t *ret_began_us, char *ret_text,
               size_t size)
{
	char last[INET6_ADDRSTRLEN];
	size_t at = reach->next;
	reach->tries[at].time_us = time_us;
	reach->tries[at].to = tcp->destination;
	reach->tries[at].port = tcp->destination_port;
	reach->next = (at + 1) % REACH_MANY;
	reach->n += reach->n < REACH_MANY;
	int64_t first_us = reach->tries[reach->n < REACH_MANY ? 0 : reach->next].time_us;
	bool many = reach->n == REACH_MANY && time_us - first_us <= REACH_WINDOW_US;
	if (!many || (reach->told_us && time_us - reach->told_us < REACH_REPEAT_US))
		return false;
	reach->told_us = time_us;
	*ret_began_us = first_us;
	nflog_address_text(&tcp->destination, last);
	snprintf(ret_text, size, "%d connections in %lld ms to %zu places, last %s port %u; usual is none", REACH_MANY,
	         (long long)(time_us - first_us) / 1000, places(reach), last, tcp->destination_port);
	return true;
}
