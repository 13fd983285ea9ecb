/*
 * Probes must look like clients, or a guest that was taken over answers the one rightly and the other not. So what the
 * host itself sends to a guest leaves with a source out of the ranges that clients come from: 64 addresses, drawn
 * afresh each time the rules are loaded, one of them by chance for each connection. A service without such ranges
 * turns it round: its clients get the host's address, the same that probes have.
 */
#include "act/net/net.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>

#define DISGUISES 64

static void random_bytes(void *to, size_t size)
{
	for (;;) {
		ssize_t got = getrandom(to, size, 0);
		if (got == (ssize_t)size)
			return;
		assert(got < 0 && errno == EINTR);
	}
}

static uint32_t draw4(const struct conf_range4 *range)
{
	uint32_t chance, host = range->prefix == 0 ? UINT32_MAX : (uint32_t)((UINT64_C(1) << (32 - range->prefix)) - 1);
	random_bytes(&chance, sizeof(chance));
	if (host > 2) /* neither the network's own address nor broadcast */
		chance = 1 + chance % (host - 1);
	return (ntohl(range->address.s_addr) & ~host) | (chance & host);
}

static bool taken4(const struct conf *conf, uint32_t address)
{
	for (size_t i = 0; i < conf->n_services; i++)
		if (conf->services[i].has_address4 && ntohl(conf->services[i].address4.s_addr) == address)
			return true;
	return false;
}

static struct in_addr disguise4(const struct conf *conf, const struct conf_service *service, size_t index)
{
	const struct conf_range4 *range = &service->clients4[index % service->n_clients4];
	uint32_t address = draw4(range);
	for (int attempt = 0; taken4(conf, address) && attempt < 8; attempt++)
		address = draw4(range);
	return (struct in_addr){htonl(address)};
}

static struct in6_addr disguise6(const struct conf_service *service, size_t index)
{
	const struct conf_range6 *range = &service->clients6[index % service->n_clients6];
	struct in6_addr address = range->address, chance;
	random_bytes(&chance, sizeof(chance));
	for (unsigned bit = range->prefix; bit < 128; bit++) {
		uint8_t mask = (uint8_t)(0x80 >> bit % 8);
		address.s6_addr[bit / 8] = (uint8_t)((address.s6_addr[bit / 8] & ~mask) | (chance.s6_addr[bit / 8] & mask));
	}
	if (memcmp(&address, &range->address, sizeof(address)) == 0)
		address.s6_addr[15] |= 1; /* the bare prefix is the routers' anycast address */
	return address;
}

static void ports_set(FILE *out, const struct conf_service *service)
{
	fputs("meta l4proto . th dport { ", out);
	for (size_t i = 0; i < service->n_ports; i++)
		fprintf(out, "%s%s . %u", i ? ", " : "", service->ports[i].protocol == IPPROTO_TCP ? "tcp" : "udp",
		        service->ports[i].port);
	fputs(" }", out);
}

static void borrow(FILE *out, const struct conf *conf, const struct conf_service *service, bool six)
{
	char text[INET6_ADDRSTRLEN], guests[PROFILE_SET_MAX];
	profile_set(service, guests); /* another service may have the same port, and other clients */
	fprintf(out, "add rule inet koboshi disguise oifname @%s fib saddr type local ", guests);
	ports_set(out, service);
	fprintf(out, " snat %s to numgen random mod %d map { ", six ? "ip6" : "ip", DISGUISES);
	for (size_t i = 0; i < DISGUISES; i++) {
		struct in_addr four;
		struct in6_addr sixes;
		if (six)
			sixes = disguise6(service, i);
		else
			four = disguise4(conf, service, i);
		fprintf(out, "%s%zu : %s", i ? ", " : "", i,
		        inet_ntop(six ? AF_INET6 : AF_INET, six ? (void *)&sixes : (void *)&four, text, sizeof(text)));
	}
	fputs(" }\n", out);
}

static void hide_clients(FILE *out, const struct conf_service *service, bool six)
{
	char text[INET6_ADDRSTRLEN];
	inet_ntop(six ? AF_INET6 : AF_INET, six ? (void *)&service->address6 : (void *)&service->address4, text, sizeof(text));
	fprintf(out, "add rule inet koboshi disguise oifname \"kb*\" ct original %s daddr %s masquerade\n", six ? "ip6" : "ip",
	        text);
}

void disguise_rules(FILE *out, const struct conf *conf)
{
	for (size_t i = 0; i < conf->n_services; i++) {
		const struct conf_service *service = &conf->services[i];
		if (service->n_clients4 > 0)
			borrow(out, conf, service, false);
		else if (service->has_address4)
			hide_clients(out, service, false);
		if (service->n_clients6 > 0)
			borrow(out, conf, service, true);
		else if (service->has_address6)
			hide_clients(out, service, true);
	}
}
