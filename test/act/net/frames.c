/* See frames.h. Checksums of the IPv4 header and of ICMPv6 are right, so that nothing but our rules drops a frame. */
#include "frames.h"

#include <arpa/inet.h>
#include <net/ethernet.h>
#include <string.h>

static uint16_t sum(const uint8_t *bytes, size_t size, uint32_t start)
{
	for (size_t i = 0; i + 1 < size; i += 2)
		start += (uint32_t)(bytes[i] << 8 | bytes[i + 1]);
	while (start >> 16)
		start = (start & 0xffff) + (start >> 16);
	return (uint16_t)~start;
}

static uint8_t *head(uint8_t *frame, const uint8_t *mac, uint16_t type)
{
	memset(frame, 0, FRAME_MAX);
	memset(frame, 0xff, 6);
	memcpy(frame + 6, mac, 6);
	frame[12] = (uint8_t)(type >> 8);
	frame[13] = (uint8_t)type;
	return frame + 14;
}

size_t frame_arp(uint8_t *frame, const struct conf_instance *me, const uint8_t *mac, struct in_addr sender, struct in_addr target)
{
	static const uint8_t start[] = {0, 1, 8, 0, 6, 4, 0, 1};
	uint8_t *p = head(frame, me->mac, ETHERTYPE_ARP);
	memcpy(p, start, sizeof(start));
	memcpy(p + 8, mac, 6);
	memcpy(p + 14, &sender, 4);
	memcpy(p + 24, &target, 4);
	return 60;
}

size_t frame_ip4(uint8_t *frame, const uint8_t *mac, struct in_addr source, struct in_addr destination, uint8_t protocol,
                 uint16_t source_port, uint16_t destination_port)
{
	uint8_t *p = head(frame, mac, ETHERTYPE_IP);
	p[0] = 0x45;
	p[3] = 40;
	p[8] = protocol == 112 ? 255 : 64;
	p[9] = protocol;
	memcpy(p + 12, &source, 4);
	memcpy(p + 16, &destination, 4);
	uint16_t check = sum(p, 20, 0);
	p[10] = (uint8_t)(check >> 8);
	p[11] = (uint8_t)check;
	p[20] = (uint8_t)(source_port >> 8);
	p[21] = (uint8_t)source_port;
	p[22] = (uint8_t)(destination_port >> 8);
	p[23] = (uint8_t)destination_port;
	p[25] = 20;
	return 60;
}

size_t frame_icmp6(uint8_t *frame, const uint8_t *mac, const struct in6_addr *source, const struct in6_addr *destination,
                   uint8_t type, const struct in6_addr *target)
{
	uint8_t *p = head(frame, mac, ETHERTYPE_IPV6);
	uint8_t size = target ? 32 : 16;
	p[0] = 0x60;
	p[5] = size;
	p[6] = IPPROTO_ICMPV6;
	p[7] = 255;
	memcpy(p + 8, source, 16);
	memcpy(p + 24, destination, 16);
	p[40] = type;
	if (target) {
		memcpy(p + 48, target, 16);
		p[64] = type == 135 ? 1 : 2; /* link-layer address option */
		p[65] = 1;
		memcpy(p + 66, mac, 6);
	}
	uint16_t check = sum(p + 8, 32u + size, IPPROTO_ICMPV6 + size);
	p[42] = (uint8_t)(check >> 8);
	p[43] = (uint8_t)check;
	return 14u + 40u + size;
}
