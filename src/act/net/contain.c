/* See contain.h. `contained` jumps to each chain in turn; it is written anew with every change, in the same transaction. */
#include "act/net/contain.h"

#include "act/net/net.h"
#include "act/net/state.h"
#include "lib/bytes.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define T "inet koboshi "
#define CHAIN "contain-"
#define PRIORITY "-160" /* before `entering` and before the map */

void contain_base(FILE *out)
{
	fputs("add chain " T "contained { type filter hook prerouting priority " PRIORITY "; policy accept; }\n"
	      "add counter " T "contained\n",
	      out);
}

/* --- what is never cut */

static bool overlap4(const struct conf_range4 *range, const struct wire_contain *source)
{
	struct conf_range4 other = {.prefix = (uint8_t)source->prefix};
	memcpy(&other.address, source->address, sizeof(other.address));
	return conf_in_range4(range, other.address) || conf_in_range4(&other, range->address);
}

static bool overlap6(const struct conf_range6 *range, const struct wire_contain *source)
{
	struct conf_range6 other = {.prefix = (uint8_t)source->prefix};
	memcpy(&other.address, source->address, sizeof(other.address));
	return conf_in_range6(range, &other.address) || conf_in_range6(&other, &range->address);
}

static const char *never_cut(const struct conf *conf, const struct wire_contain *source)
{
	const struct conf_range4 loopback4 = {{htonl(0x7f000000)}, 8};
	const struct conf_range6 loopback6 = {IN6ADDR_LOOPBACK_INIT, 128};
	bool v6 = source->v6;
	if (source->prefix < (v6 ? CONTAIN_WIDEST6 : CONTAIN_WIDEST4))
		return "it is so wide that everybody would be cut";
	if (v6 ? overlap6(&conf->guests6, source) : overlap4(&conf->guests4, source))
		return "guests' addresses are in it";
	if (v6 ? overlap6(&loopback6, source) : overlap4(&loopback4, source))
		return "it is this host itself";
	for (size_t i = 0; i < (v6 ? conf->n_never_cut6 : conf->n_never_cut4); i++)
		if (v6 ? overlap6(&conf->never_cut6[i], source) : overlap4(&conf->never_cut4[i], source))
			return "'never_cut' names it";
	return NULL;
}

/* --- one containment */

static void source_print(const struct wire_contain *source, char ret_text[static INET6_ADDRSTRLEN + 4])
{
	char address[INET6_ADDRSTRLEN];
	inet_ntop(source->v6 ? AF_INET6 : AF_INET, source->address, address, sizeof(address));
	snprintf(ret_text, INET6_ADDRSTRLEN + 4, "%s/%u", address, source->prefix);
}

static void chain_put(FILE *out, const char *chain, const struct wire_contain *source)
{
	char text[INET6_ADDRSTRLEN + 4];
	const char *ip = source->v6 ? "ip6" : "ip";
	source_print(source, text);
	fprintf(out,
	        "add chain " T "%s\nflush chain " T "%s\n"
	        "add rule " T "%s %s saddr %s %s daddr . meta l4proto . th dport @service%c counter name contained drop\n"
	        "add rule " T "%s iifname \"kb*\" %s daddr %s counter name contained drop\n",
	        chain, chain, chain, ip, text, ip, source->v6 ? '6' : '4', chain, ip, text);
}

struct others {
	FILE *out;
	const char *but; /* this one */
	size_t n;
	bool there; /* it is among them */
};

static void chain_seen(void *arg, const char *chain)
{
	struct others *others = arg;
	if (strncmp(chain, CHAIN, strlen(CHAIN)) != 0)
		return;
	if (strcmp(chain, others->but) == 0) {
		others->there = true;
		return;
	}
	fprintf(others->out, "add rule " T "contained jump %s\n", chain);
	others->n++;
}

int contain_do(struct net *net, const struct wire_order *order, struct wire_answer *answer, struct err *err)
{
	const struct wire_contain *source = &order->contain;
	char chain[32], text[INET6_ADDRSTRLEN + 4];
	const char *never = never_cut(&net->conf, source);
	source_print(source, text);
	if (order->flag && never)
		return err_set(err, -EPERM, "%s is never cut: %s", text, never);
	snprintf(chain, sizeof(chain), CHAIN "%" PRIu64, source->number);
	struct ruleset_text rules;
	ruleset_text_init(&rules);
	if (order->flag)
		chain_put(rules.out, chain, source);
	fputs("flush chain " T "contained\n", rules.out);
	struct others others = {.out = rules.out, .but = chain};
	state_chains(net, chain_seen, &others);
	if (order->flag)
		fprintf(rules.out, "add rule " T "contained jump %s\n", chain);
	else if (others.there)
		fprintf(rules.out, "flush chain " T "%s\ndelete chain " T "%s\n", chain, chain);
	const char *whole = ruleset_text_end(&rules);
	int r = others.n >= CONTAIN_MAX && order->flag
	                ? err_set(err, -ENOSPC, "%zu sources are cut already, no more can be", others.n)
	                : transact(whole, err);
	ruleset_text_done(&rules);
	if (r == 0 && state_chain_there(net, chain) != (order->flag == 1))
		r = err_set(err, -EIO, "%s reads back as %s", text, order->flag ? "not cut" : "still cut");
	if (r == 0)
		snprintf(answer->text, sizeof(answer->text), "%s is %s", text,
		         order->flag ? "cut from the services" : "cut no more");
	return r;
}
