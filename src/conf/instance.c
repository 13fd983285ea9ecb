/*
 * An instance's number is all that processes tell each other about it; names and addresses follow from it here. The
 * first addresses of a range are taken (network, host), the last is IPv4's broadcast; the others are used in turn.
 */
#include "conf/conf.h"

#include <assert.h>
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOST_OFFSET 1
#define GUEST_OFFSET 2
#define RESERVED 3 /* network, host, broadcast */

static struct in_addr offset4(const struct conf_range4 *range, uint32_t offset)
{
	return (struct in_addr){htonl(ntohl(range->address.s_addr) + offset)};
}

static struct in6_addr offset6(const struct conf_range6 *range, uint64_t offset)
{
	struct in6_addr address = range->address;
	for (int i = 15; i >= 8; i--) { /* host bits are zero in the range, so there is no carry */
		address.s6_addr[i] |= (uint8_t)offset;
		offset >>= 8;
	}
	return address;
}

static uint64_t guest_offset(unsigned host_bits, uint32_t number)
{
	if (host_bits > 32)
		return GUEST_OFFSET + (uint64_t)number;
	return GUEST_OFFSET + number % ((UINT64_C(1) << host_bits) - RESERVED);
}

void conf_instance(const struct conf *conf, uint32_t number, struct conf_instance *ret_instance)
{
	static const uint8_t host_mac[6] = {0x02, 0x6b, 0x62, 0, 0, 1};
	const uint8_t mac[6] = {0x02, 0x6b, 0x6f, (uint8_t)(number >> 16), (uint8_t)(number >> 8), (uint8_t)number};
	assert(number >= 1);
	memset(ret_instance, 0, sizeof(*ret_instance));
	ret_instance->number = number;
	snprintf(ret_instance->name, sizeof(ret_instance->name), "kb-%u", number);
	snprintf(ret_instance->tap, sizeof(ret_instance->tap), "kb%u", number);
	memcpy(ret_instance->mac, mac, sizeof(mac));
	memcpy(ret_instance->host_mac, host_mac, sizeof(host_mac));
	ret_instance->gateway4 = offset4(&conf->guests4, HOST_OFFSET);
	ret_instance->gateway6 = offset6(&conf->guests6, HOST_OFFSET);
	ret_instance->address4 = offset4(&conf->guests4, (uint32_t)guest_offset(32u - conf->guests4.prefix, number));
	ret_instance->address6 = offset6(&conf->guests6, guest_offset(128u - conf->guests6.prefix, number));
}

uint32_t conf_instance_named(const char *name)
{
	if (strncmp(name, "kb-", 3) != 0 || name[3] < '1' || name[3] > '9')
		return 0;
	char *end;
	unsigned long number = strtoul(name + 3, &end, 10);
	return *end == '\0' && number <= UINT32_MAX ? (uint32_t)number : 0;
}

bool conf_instances_clash(const struct conf *conf, uint32_t a, uint32_t b)
{
	struct conf_instance one, other;
	conf_instance(conf, a, &one);
	conf_instance(conf, b, &other);
	return one.address4.s_addr == other.address4.s_addr || IN6_ARE_ADDR_EQUAL(&one.address6, &other.address6) ||
	       memcmp(one.mac, other.mac, sizeof(one.mac)) == 0;
}
