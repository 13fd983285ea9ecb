/* See segment.h. RFC 791, 8200 and 9293. The kernel fills in IPv4's checksum and length; TCP's covers the addresses, which the
 * rules change later: they mend it then. */
#include "act/net/segment.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>

#define HOPS 63 /* as if it had come by way of this host */

static void put16(uint8_t *at, uint16_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static void put32(uint8_t *at, uint32_t value)
{
	put16(at, (uint16_t)(value >> 16));
	put16(at + 2, (uint16_t)value);
}

static uint16_t get16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static uint32_t get32(const uint8_t *at)
{
	return (uint32_t)get16(at) << 16 | get16(at + 2);
}

static uint32_t sum_add(uint32_t sum, const uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < size; i += 2)
		sum += get16(bytes + i);
	return sum;
}

static uint16_t sum_end(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static size_t ip_write(const struct tcp_segment *segment, size_t payload, uint8_t *to)
{
	if (segment->ipv6) {
		memset(to, 0, 40);
		to[0] = 0x60;
		put16(to + 4, (uint16_t)payload);
		to[6] = IPPROTO_TCP;
		to[7] = HOPS;
		memcpy(to + 8, segment->from.address, 16);
		memcpy(to + 24, segment->to.address, 16);
		return 40;
	}
	memset(to, 0, 20);
	to[0] = 0x45;
	put16(to + 2, (uint16_t)(20 + payload));
	to[6] = 0x40; /* not to be cut into pieces */
	to[8] = HOPS;
	to[9] = IPPROTO_TCP;
	memcpy(to + 12, segment->from.address, 4);
	memcpy(to + 16, segment->to.address, 4);
	put16(to + 10, sum_end(sum_add(0, to, 20)));
	return 20;
}

size_t segment_write(const struct tcp_segment *segment, uint8_t ret_packet[static SEGMENT_PACKET_MAX])
{
	size_t size = 20 + segment->options_size, address = segment->ipv6 ? 16 : 4;
	uint8_t *tcp = ret_packet + ip_write(segment, size, ret_packet);
	memset(tcp, 0, 20);
	put16(tcp, segment->from.port);
	put16(tcp + 2, segment->to.port);
	put32(tcp + 4, segment->sequence);
	put32(tcp + 8, segment->acknowledged);
	tcp[12] = (uint8_t)(size / 4 << 4);
	tcp[13] = segment->flags;
	put16(tcp + 14, segment->window);
	memcpy(tcp + 20, segment->options, segment->options_size);
	uint32_t sum = IPPROTO_TCP + (uint32_t)size;
	sum = sum_add(sum, segment->from.address, address);
	sum = sum_add(sum, segment->to.address, address);
	put16(tcp + 16, sum_end(sum_add(sum, tcp, size)));
	return (size_t)(tcp - ret_packet) + size;
}

bool segment_read(const uint8_t *header, size_t size, struct tcp_segment *ret_segment)
{
	size_t whole = size >= 20 ? (size_t)(header[12] >> 4) * 4 : 0;
	if (whole < 20 || whole > size)
		return false;
	*ret_segment = (struct tcp_segment){.from.port = get16(header),
	                                    .to.port = get16(header + 2),
	                                    .sequence = get32(header + 4),
	                                    .acknowledged = get32(header + 8),
	                                    .flags = header[13],
	                                    .window = get16(header + 14),
	                                    .options_size = whole - 20};
	memcpy(ret_segment->options, header + 20, ret_segment->options_size);
	return true;
}

int segment_open(struct segment_sockets *ret_sockets, struct err *err)
{
	ret_sockets->four = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_RAW);
	ret_sockets->six = socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_RAW);
	if (ret_sockets->four < 0 || ret_sockets->six < 0)
		return err_set(err, -errno, "cannot open a raw socket: %s%s", strerror(errno),
		               errno == EPERM ? "; that takes CAP_NET_RAW" : "");
	return 0;
}

bool segment_send(const struct segment_sockets *sockets, const struct tcp_segment *segment)
{
	uint8_t packet[SEGMENT_PACKET_MAX];
	size_t size = segment_write(segment, packet);
	struct sockaddr_in four = {.sin_family = AF_INET};
	struct sockaddr_in6 six = {.sin6_family = AF_INET6};
	memcpy(&four.sin_addr, segment->to.address, sizeof(four.sin_addr));
	memcpy(&six.sin6_addr, segment->to.address, sizeof(six.sin6_addr));
	ssize_t sent = segment->ipv6 ? sendto(sockets->six, packet, size, MSG_NOSIGNAL, (struct sockaddr *)&six, sizeof(six))
	                             : sendto(sockets->four, packet, size, MSG_NOSIGNAL, (struct sockaddr *)&four, sizeof(four));
	return sent == (ssize_t)size;
}
