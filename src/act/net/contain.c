/*
 * See contain.h. Two chains jump to each containment in turn; they are written anew with every change, in the same transaction.
 *
 *   contained       (prerouting)  clients' packets, still to the service's address
 *   contained_back  (forward)     guests' packets, already to the client's address, whatever it was hidden behind
 *
 * Answers to the host's own probes are not forwarded. So they never come into the second one, though the probes borrow clients'
 * addresses, which may be contained.
 */
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
#define PRIORITY "-160" /* before `entering`, before the map and before `passing` */

void contain_base(FILE *out)
{
	fputs("add chain " T "contained { type filter hook prerouting priority " PRIORITY "; policy accept; }\n"
	      "add chain " T "contained_back { type filter hook forward priority " PRIORITY "; policy accept; }\n"
	      "add counter " T "contained\n",
	      out);
}

/* --- what may not be */

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
		return "it is so wide that everybody would be meant";
	if (v6 ? overlap6(&conf->guests6, source) : overlap4(&conf->guests4, source))
		return "guests' addresses are in it";
	if (v6 ? overlap6(&loopback6, source) : overlap4(&loopback4, source))
		return "it is this host itself";
	for (size_t i = 0; i < (v6 ? conf->n_never_cut6 : conf->n_never_cut4); i++)
		if (v6 ? overlap6(&conf->never_cut6[i], source) : overlap4(&conf->never_cut4[i], source))
			return "'never_cut' names it";
	return NULL;
}

static bool has_port(const struct conf_service *service, const struct wire_contain *what)
{
	for (size_t i = 0; i < service->n_ports; i++)
		if (service->ports[i].protocol == what->protocol && service->ports[i].port == what->to_port)
			return true;
	return false;
}

static bool has_address(const struct conf_service *service, const struct wire_contain *what)
{
	return what->v6 ? service->has_address6 && memcmp(&service->address6, what->to, 16) == 0
	                : service->has_address4 && memcmp(&service->address4, what->to, 4) == 0;
}

/* Whether a flow goes to this service, or a port of it is meant. */
static bool is_about(const struct conf *conf, size_t index, const struct wire_contain *what)
{
	const struct conf_service *service = &conf->services[index];
	bool named = what->kind == WIRE_CONTAIN_FLOW ? has_address(service, what) : !what->service || what->service == index + 1;
	return named && has_port(service, what);
}

static bool is_of_a_service(const struct conf *conf, const struct wire_contain *what)
{
	bool found = false;
	for (size_t i = 0; i < conf->n_services; i++)
		found = found || is_about(conf, i, what);
	return found;
}

static void source_print(const struct wire_contain *source, char ret_text[static INET6_ADDRSTRLEN + 4])
{
	char address[INET6_ADDRSTRLEN];
	inet_ntop(source->v6 ? AF_INET6 : AF_INET, source->address, address, sizeof(address));
	snprintf(ret_text, INET6_ADDRSTRLEN + 4, "%s/%u", address, source->prefix);
}

/* As the sentences name it: "203.0.113.9/32", else as wire_contain_text() does. */
static void subject_print(const struct conf *conf, const struct wire_contain *what, char ret_text[static WIRE_SUBJECT_MAX])
{
	bool named = what->service > 0 && what->service <= conf->n_services;
	wire_contain_text(what, named ? conf->services[what->service - 1].name : NULL, ret_text);
	if (what->kind == WIRE_CONTAIN_SOURCE)
		source_print(what, ret_text);
}

static int may_be(const struct conf *conf, const struct wire_contain *what, struct err *err)
{
	char source[INET6_ADDRSTRLEN + 4], subject[WIRE_SUBJECT_MAX];
	const char *never = what->kind == WIRE_CONTAIN_PORT ? NULL : never_cut(conf, what);
	bool served = what->kind == WIRE_CONTAIN_FLOW || what->kind == WIRE_CONTAIN_PORT;
	source_print(what, source);
	subject_print(conf, what, subject);
	if (never)
		return err_set(err, -EPERM, "%s is never %s: %s", source, what->kind == WIRE_CONTAIN_LIMIT ? "limited" : "cut",
		               never);
	if (served && !is_of_a_service(conf, what))
		return err_set(err, -EPERM, "%s: no service %s", subject,
		               what->kind == WIRE_CONTAIN_FLOW ? "is where it goes" : "has this port");
	return 0;
}

/* --- one containment */

#define RULE "add rule " T "%s "
#define DROP "counter name contained drop\n"
#define FROM_GUEST "iifname \"kb*\" " /* the second chain has no other packets: it is for those of the first */

static void source_rules(FILE *out, const char *chain, const struct wire_contain *what)
{
	char text[INET6_ADDRSTRLEN + 4];
	const char *ip = what->v6 ? "ip6" : "ip";
	source_print(what, text);
	fprintf(out, RULE "%s saddr %s %s daddr . meta l4proto . th dport @service%c " DROP, chain, ip, text, ip,
	        what->v6 ? '6' : '4');
	fprintf(out, RULE FROM_GUEST "%s daddr %s " DROP, chain, ip, text);
}

static void limit_rules(FILE *out, const char *chain, const struct wire_contain *what)
{
	char text[INET6_ADDRSTRLEN + 4];
	const char *ip = what->v6 ? "ip6" : "ip";
	source_print(what, text);
	fprintf(out,
	        RULE "ct state new %s saddr %s %s daddr . meta l4proto . th dport @service%c limit rate over %u/%s burst %u "
	             "packets " DROP,
	        chain, ip, text, ip, what->v6 ? '6' : '4', what->rate,
	        what->per_s == 1    ? "second"
	        : what->per_s == 60 ? "minute"
	                            : "hour",
	        what->rate);
}

/* It is out of conntrack then, without which guests send nothing. The second rule is for one that a packet under way brought
 * back. */
static void flow_rules(FILE *out, const char *chain, const struct wire_contain *what)
{
	char client[INET6_ADDRSTRLEN], service[INET6_ADDRSTRLEN];
	const char *ip = what->v6 ? "ip6" : "ip", *protocol = what->protocol == IPPROTO_TCP ? "tcp" : "udp";
	inet_ntop(what->v6 ? AF_INET6 : AF_INET, what->address, client, sizeof(client));
	inet_ntop(what->v6 ? AF_INET6 : AF_INET, what->to, service, sizeof(service));
	fprintf(out, RULE "%s saddr %s %s daddr %s %s sport %u %s dport %u " DROP, chain, ip, client, ip, service, protocol,
	        what->port, protocol, what->to_port);
	fprintf(out, RULE FROM_GUEST "ct direction reply ct original %s daddr %s %s daddr %s %s sport %u %s dport %u " DROP,
	        chain, ip, service, ip, client, protocol, what->to_port, protocol, what->port);
}

static void spare(FILE *out, const char *chain, const char *ip, const char *address, unsigned prefix)
{
	fprintf(out, RULE "%s saddr %s/%u return\n" RULE FROM_GUEST "%s daddr %s/%u return\n", chain, ip, address, prefix, chain,
	        ip, address, prefix);
}

static void spare_never_cut(FILE *out, const char *chain, const struct conf *conf)
{
	char text[INET6_ADDRSTRLEN];
	for (size_t i = 0; i < conf->n_never_cut4; i++)
		spare(out, chain, "ip", inet_ntop(AF_INET, &conf->never_cut4[i].address, text, sizeof(text)),
		      conf->never_cut4[i].prefix);
	for (size_t i = 0; i < conf->n_never_cut6; i++)
		spare(out, chain, "ip6", inet_ntop(AF_INET6, &conf->never_cut6[i].address, text, sizeof(text)),
		      conf->never_cut6[i].prefix);
}

static void closed(FILE *out, const char *chain, const struct wire_contain *what, const char *ip, const char *address)
{
	const char *protocol = what->protocol == IPPROTO_TCP ? "tcp" : "udp";
	fprintf(out, RULE "%s daddr %s %s dport %u " DROP, chain, ip, address, protocol, what->to_port);
	fprintf(out, RULE FROM_GUEST "ct direction reply ct original %s daddr %s %s sport %u " DROP, chain, ip, address, protocol,
	        what->to_port);
}

static void port_rules(FILE *out, const char *chain, const struct conf *conf, const struct wire_contain *what)
{
	char text[INET6_ADDRSTRLEN];
	spare_never_cut(out, chain, conf);
	for (size_t i = 0; i < conf->n_services; i++) {
		const struct conf_service *service = &conf->services[i];
		if (!is_about(conf, i, what))
			continue;
		if (service->has_address4)
			closed(out, chain, what, "ip", inet_ntop(AF_INET, &service->address4, text, sizeof(text)));
		if (service->has_address6)
			closed(out, chain, what, "ip6", inet_ntop(AF_INET6, &service->address6, text, sizeof(text)));
	}
}

static void chain_put(FILE *out, const char *chain, const struct conf *conf, const struct wire_contain *what)
{
	fprintf(out, "add chain " T "%s\nflush chain " T "%s\n", chain, chain);
	switch ((enum wire_contained)what->kind) {
	case WIRE_CONTAIN_SOURCE:
		source_rules(out, chain, what);
		break;
	case WIRE_CONTAIN_FLOW:
		flow_rules(out, chain, what);
		break;
	case WIRE_CONTAIN_PORT:
		port_rules(out, chain, conf, what);
		break;
	case WIRE_CONTAIN_LIMIT:
		limit_rules(out, chain, what);
		break;
	case WIRE_CONTAIN_MAX_:
		break;
	}
}

/* --- all of them */

struct jumps {
	FILE *out;
	const char *own; /* this one */
	size_t n;
	bool own_there; /* it is among them */
};

static void jump(struct jumps *jumps, const char *chain)
{
	if (jumps->n++ == 0)
		fputs("add rule " T "contained iifname \"kb*\" return\nadd rule " T "contained_back iifname != \"kb*\" return\n",
		      jumps->out);
	fprintf(jumps->out, "add rule " T "contained jump %s\nadd rule " T "contained_back jump %s\n", chain, chain);
}

static void chain_seen(void *arg, const char *chain)
{
	struct jumps *jumps = arg;
	if (strncmp(chain, CHAIN, strlen(CHAIN)) != 0)
		return;
	if (strcmp(chain, jumps->own) == 0)
		jumps->own_there = true;
	else
		jump(jumps, chain);
}

static int change(struct net *net, const struct wire_contain *what, const char *chain, bool begin, struct err *err)
{
	struct ruleset_text rules;
	ruleset_text_init(&rules);
	struct jumps jumps = {.out = rules.out, .own = chain};
	if (begin)
		chain_put(rules.out, chain, &net->conf, what);
	fputs("flush chain " T "contained\nflush chain " T "contained_back\n", rules.out);
	state_chains(net, chain_seen, &jumps);
	if (begin)
		jump(&jumps, chain);
	else if (jumps.own_there)
		fprintf(rules.out, "flush chain " T "%s\ndelete chain " T "%s\n", chain, chain);
	const char *whole = ruleset_text_end(&rules);
	int r = begin && jumps.n > CONTAIN_MAX
	                ? err_set(err, -ENOSPC, "%d containments are in force already, no more can be", CONTAIN_MAX)
	                : transact(whole, err);
	ruleset_text_done(&rules);
	if (r == 0 && begin && what->kind == WIRE_CONTAIN_FLOW)
		r = conntrack_cut_flow(net, what, err);
	return r;
}

static const char *now_is(enum wire_contained kind, bool begin)
{
	switch (kind) {
	case WIRE_CONTAIN_SOURCE:
		return begin ? "cut from the services" : "cut no more";
	case WIRE_CONTAIN_FLOW:
		return begin ? "cut" : "cut no more";
	case WIRE_CONTAIN_PORT:
		return begin ? "closed to clients" : "open to clients again";
	case WIRE_CONTAIN_LIMIT:
		return begin ? "in force" : "over";
	case WIRE_CONTAIN_MAX_:
		break;
	}
	return "?";
}

int contain_do(struct net *net, const struct wire_order *order, struct wire_answer *answer, struct err *err)
{
	const struct wire_contain *what = &order->contain;
	char chain[32], subject[WIRE_SUBJECT_MAX];
	struct err refusal = {0};
	bool wanted = order->flag == 1, begin = wanted && may_be(&net->conf, what, &refusal) == 0;
	snprintf(chain, sizeof(chain), CHAIN "%" PRIu64, what->number);
	subject_print(&net->conf, what, subject);
	bool refused = wanted && !begin;
	if (refused && !state_chain_there(net, chain))
		return err_set(err, refusal.code, "%s", refusal.text);
	int r = change(net, what, chain, begin, err);
	if (r == 0 && state_chain_there(net, chain) != begin)
		r = err_set(err, -EIO, "%s: its rules are %s", subject, begin ? "not there" : "still there");
	if (r == 0 && refused)
		r = err_set(err, refusal.code, "%s", refusal.text);
	if (r == 0)
		snprintf(answer->text, sizeof(answer->text), "%s is %s", subject, now_is((enum wire_contained)what->kind, begin));
	return r;
}
