#pragma once
/* Takes netlink datagrams of NFLOG apart. Pure: bytes in, facts out, nothing is believed that the size does not cover. */
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NFLOG_PREFIX_MAX 16 /* with NUL; ours are shorter, longer ones are cut */
#define NFLOG_CLAIM_MAX 160

struct nflog_reader {
	const uint8_t *at;
	size_t left;
};

struct nflog_packet {
	char prefix[NFLOG_PREFIX_MAX];
	uint32_t in_index;      /* input interface, 0: none */
	uint16_t protocol;      /* EtherType, host order; 0: not said */
	int64_t real_us;        /* the kernel's time stamp, CLOCK_REALTIME; 0: none */
	const uint8_t *payload; /* from the network header on; points into the datagram */
	size_t payload_size;
	const uint8_t *link; /* link header */
	size_t link_size;
};

struct nflog_address {
	bool ipv6;
	uint8_t bytes[16]; /* IPv4: the first four, the rest zero */
};

struct nflog_tcp {
	struct nflog_address source, destination;
	uint16_t source_port, destination_port; /* host order */
	uint32_t sequence;
	uint8_t flags;
	const uint8_t *header; /* all of it, options included, if it is there whole; points into the datagram */
	size_t header_size;    /* 20..60; 0: a part is missing */
};

struct nflog_udp {
	struct nflog_address source, destination;
	uint16_t source_port, destination_port; /* host order */
	const uint8_t *data;                    /* as much of it as there is; points into the datagram */
	size_t size;
};

#define NFLOG_FIN 0x01
#define NFLOG_SYN 0x02
#define NFLOG_RST 0x04
#define NFLOG_ACK 0x10

/* 1: the next packet; 0: no more; -EBADMSG: the rest makes no sense. Messages that are not packets are passed over. */
int nflog_next(struct nflog_reader *reader, struct nflog_packet *ret_packet);

/* True when the payload is the beginning of an unfragmented TCP segment (20 bytes of its header are needed). */
bool nflog_tcp(const struct nflog_packet *packet, struct nflog_tcp *ret_tcp);

struct nflog_flow {
	struct nflog_address source, destination;
	uint8_t protocol;                       /* IP's number */
	uint16_t source_port, destination_port; /* of TCP and UDP, 0 when not there (a later fragment); ICMP: type and code */
};

/* Whatever the IP packet is about. False: no whole IP header, or IPv6 extension headers that do not fit. */
bool nflog_flow(const struct nflog_packet *packet, struct nflog_flow *ret_flow);

/* "198.51.100.9 port 25/tcp", "2001:db8::9 by ICMPv6 type 128", "198.51.100.9 by IP protocol 47": where a packet goes to. */
#define NFLOG_PLACE_MAX (INET6_ADDRSTRLEN + 32)
void nflog_place(const struct nflog_flow *flow, char ret_text[static NFLOG_PLACE_MAX]);

/* True when the payload is the beginning of an unfragmented UDP datagram. */
bool nflog_udp(const struct nflog_packet *packet, struct nflog_udp *ret_udp);

/* True for an ICMP "unreachable" that refuses a connection or datagram (not for one about packet sizes): told as the segment
 * by which TCP would refuse, from the host that sent it. Ports 0 when too little of the refused packet is quoted. */
bool nflog_refusal(const struct nflog_packet *packet, struct nflog_tcp *ret_tcp);

/* Whom a guest asked, and how. */
enum nflog_way { NFLOG_TCP, NFLOG_UDP, NFLOG_PING, NFLOG_ARP, NFLOG_ND, NFLOG_OTHER };
struct nflog_asked {
	enum nflog_way way;
	struct nflog_address whom; /* ARP, ND: the address that was asked for */
	uint16_t port;             /* host order; 0: none, or not there */
};

/* False when there is not even a destination. */
bool nflog_asked(const struct nflog_packet *packet, struct nflog_asked *ret_asked);

/* What a dropped frame claimed to be, in one sentence of printable ASCII: "ARP said that 203.0.113.5 is at 02:...". */
void nflog_claim(const struct nflog_packet *packet, char ret_text[static NFLOG_CLAIM_MAX]);

/* Address as text, at least INET6_ADDRSTRLEN bytes. */
void nflog_address_text(const struct nflog_address *address, char ret_text[static INET6_ADDRSTRLEN]);
