#pragma once
/*
 * TCP segments that the host sends in the name of somebody else: of a client whose opening is repeated, of a service that is to
 * tell its clients something. The kernel routes them and passes them through our rules like any other of its own.
 */
#include "lib/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SEGMENT_HEADER_MAX 60

#define SEGMENT_FIN 0x01
#define SEGMENT_SYN 0x02
#define SEGMENT_RST 0x04
#define SEGMENT_ACK 0x10

struct segment_end {
	uint8_t address[16]; /* of IPv4 the first four, the rest zero */
	uint16_t port;       /* host order */
};

struct tcp_segment {
	bool ipv6;
	struct segment_end from, to;
	uint32_t sequence, acknowledged;
	uint8_t flags;
	uint8_t options[SEGMENT_HEADER_MAX - 20]; /* of TCP */
	size_t options_size;                      /* a multiple of 4 */
	uint16_t window;
};

/* Takes CAP_NET_RAW; sending does not. */
struct segment_sockets {
	int four, six;
};
int segment_open(struct segment_sockets *ret_sockets, struct err *err) must_use;
/* Returns false when the kernel did not take it (no route, no room): nobody is told, it is as if it had been lost on its way. */
bool segment_send(const struct segment_sockets *sockets, const struct tcp_segment *segment);

/* The header of a segment that was seen, whole; false: it is none. */
bool segment_read(const uint8_t *header, size_t size, struct tcp_segment *ret_segment);

/* segment_write() is the pure part: the packet, IP's header included. Returns its size. */
#define SEGMENT_PACKET_MAX (40 + SEGMENT_HEADER_MAX)
size_t segment_write(const struct tcp_segment *segment, uint8_t ret_packet[static SEGMENT_PACKET_MAX]);
