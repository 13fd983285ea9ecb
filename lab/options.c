/*
 * The command line of koboshi-load and its limits. Whom it may speak to is decided here and nowhere else.
 */
#include "options.h"
#include "lib/attr.h"
#include "lib/bytes.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#define RATE_MAX 2000
#define SECONDS_MAX 86400
#define SLOTS_MAX 4096

static bool address4_allowed(uint32_t address)
{
	static const struct {
		uint32_t network, mask;
	} ranges[] = {{0x7f000000, 0xff000000}, {0xc0000200, 0xffffff00}, {0xc6336400, 0xffffff00}, {0xcb007100, 0xffffff00}};
	for (size_t i = 0; i < countof(ranges); i++)
		if ((address & ranges[i].mask) == ranges[i].network)
			return true;
	return false;
}

static bool address6_allowed(const struct in6_addr *address)
{
	static const uint8_t documentation[4] = {0x20, 0x01, 0x0d, 0xb8};
	return IN6_IS_ADDR_LOOPBACK(address) || memcmp(address->s6_addr, documentation, sizeof(documentation)) == 0;
}

static bool address_parse(const char *text, uint16_t port, struct sockaddr_storage *ret_address, socklen_t *ret_size)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	if (inet_pton(AF_INET, text, &v4.sin_addr) == 1 && address4_allowed(ntohl(v4.sin_addr.s_addr))) {
		memcpy(ret_address, &v4, sizeof(v4));
		*ret_size = sizeof(v4);
		return true;
	}
	if (inet_pton(AF_INET6, text, &v6.sin6_addr) == 1 && address6_allowed(&v6.sin6_addr)) {
		memcpy(ret_address, &v6, sizeof(v6));
		*ret_size = sizeof(v6);
		return true;
	}
	return false;
}

static int complain(const char *what)
{
	fprintf(stderr, "koboshi-load: %s\n", what);
	return 2;
}

static bool number_parse(const char *text, unsigned max, unsigned *ret_number)
{
	char *end;
	errno = 0;
	unsigned long number = strtoul(text, &end, 10);
	if (errno || end == text || *end || *text == '-' || number < 1 || number > max)
		return false;
	*ret_number = (unsigned)number;
	return true;
}

static bool word_allowed(const char *text, const char *alphabet)
{
	return *text && strlen(text) < 200 && strspn(text, alphabet) == strlen(text);
}

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-"

size_t options_slots(const struct options *options)
{
	return (size_t)((uint64_t)options->rate * (uint64_t)options->timeout_us / 1000000 + options->rate / 10 + 16);
}

int options_parse(int argc, char **argv, struct options *options)
{
	static const struct option known[] = {{"target", 1, 0, 't'},  {"port", 1, 0, 'p'}, {"source", 1, 0, 's'},
	                                      {"path", 1, 0, 'P'},    {"rate", 1, 0, 'r'}, {"seconds", 1, 0, 'S'},
	                                      {"timeout", 1, 0, 'T'}, {"late", 1, 0, 'l'}, {"keep-alive", 0, 0, 'k'},
	                                      {"good", 1, 0, 'g'},    {"name", 1, 0, 'n'}, {"json", 1, 0, 'j'},
	                                      {"csv", 1, 0, 'c'},     {0, 0, 0, 0}};
	const char *target = NULL, *source = NULL;
	unsigned port = 80, timeout_ms = 2000, late_ms = 250;
	*options = (struct options){.path = "/", .name = "client", .rate = 50, .seconds = 10};
	for (int c; (c = getopt_long(argc, argv, "", known, NULL)) != -1;) {
		bool fine = true;
		switch (c) {
		case 't':
			target = optarg;
			break;
		case 's':
			source = optarg;
			break;
		case 'P':
			options->path = optarg;
			fine = optarg[0] == '/' && word_allowed(optarg, LETTERS "/._?=&");
			break;
		case 'n':
			options->name = optarg;
			fine = word_allowed(optarg, LETTERS);
			break;
		case 'j':
			options->json = optarg;
			break;
		case 'c':
			options->csv = optarg;
			break;
		case 'k':
			options->keep_alive = true;
			break;
		case 'p':
			fine = number_parse(optarg, 65535, &port);
			break;
		case 'r':
			fine = number_parse(optarg, RATE_MAX, &options->rate);
			break;
		case 'S':
			fine = number_parse(optarg, SECONDS_MAX, &options->seconds);
			break;
		case 'T':
			fine = number_parse(optarg, 60000, &timeout_ms);
			break;
		case 'l':
			fine = number_parse(optarg, 60000, &late_ms);
			break;
		case 'g':
			fine = options->n_good < GOOD_MAX && strlen(optarg) == TALLY_HASH_TEXT - 1;
			if (fine)
				text_copy(options->good[options->n_good++], TALLY_HASH_TEXT, optarg);
			break;
		default:
			fine = false;
		}
		if (!fine)
			return complain(
			        "usage: koboshi-load --target ADDRESS [--port N] [--source ADDRESS] [--path /P] [--rate 1..2000] "
			        "[--seconds 1..86400] [--timeout MS] [--late MS] [--keep-alive] [--good SHA256]... [--name N] "
			        "[--json FILE] [--csv FILE]");
	}
	if (!target || !address_parse(target, (uint16_t)port, &options->target, &options->target_size))
		return complain("--target must be loopback or in 192.0.2.0/24, 198.51.100.0/24, 203.0.113.0/24 or 2001:db8::/32; "
		                "nothing else is ever asked");
	if (source && !address_parse(source, 0, &options->source, &options->source_size))
		return complain("--source must be an address of the lab, like --target");
	options->timeout_us = (int64_t)timeout_ms * 1000;
	options->late_us = (int64_t)late_ms * 1000;
	if ((uint64_t)options->rate * options->seconds > TALLY_REQUESTS_MAX)
		return complain("rate times seconds is more than two million requests: ask for less");
	if (options_slots(options) > SLOTS_MAX)
		return complain("rate times timeout is more than 4096 requests at once: ask for less of either");
	return 0;
}
