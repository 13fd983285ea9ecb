/* NFLOG's messages: netlink's wrapping (see netlink.h), a small header, attributes, and in one of them the packet's beginning. */
#include "sense/nflog.h"
#include "sense/netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_log.h>
#include <net/ethernet.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <string.h>

#define TYPE_PACKET (NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_PACKET)
#define EXTENSIONS_MAX 8 /* IPv6 headers before the TCP header */
#define PROTOCOL_VRRP 112

#define big16 netlink_big16
#define big32 netlink_big32
#define big64 netlink_big64

/* ---- netlink */

static void read_prefix(struct nflog_packet *packet, const uint8_t *value, size_t size)
{
	if (size >= sizeof(packet->prefix))
		size = sizeof(packet->prefix) - 1;
	memcpy(packet->prefix, value, size);
	packet->prefix[size] = '\0';
}

static void read_time(struct nflog_packet *packet, const uint8_t *value)
{
	uint64_t seconds = big64(value), micros = big64(value + 8);
	if (seconds < INT64_MAX / 2000000 && micros < 1000000)
		packet->real_us = (int64_t)(seconds * 1000000 + micros);
}

static void read_attribute(struct nflog_packet *packet, uint16_t type, const uint8_t *value, size_t size)
{
	if (type == NFULA_PACKET_HDR && size >= 2) {
		packet->protocol = big16(value);
	} else if (type == NFULA_TIMESTAMP && size >= 16) {
		read_time(packet, value);
	} else if (type == NFULA_IFINDEX_INDEV && size >= 4) {
		packet->in_index = big32(value);
	} else if (type == NFULA_PREFIX) {
		read_prefix(packet, value, size);
	} else if (type == NFULA_PAYLOAD) {
		packet->payload = value;
		packet->payload_size = size;
	} else if (type == NFULA_HWHEADER) {
		packet->link = value;
		packet->link_size = size;
	}
}

int nflog_next(struct nflog_reader *reader, struct nflog_packet *ret_packet)
{
	struct netlink_bytes datagram = {reader->at, reader->left};
	struct netlink_message message;
	struct netlink_attribute attribute;
	int r;
	do /* NLMSG_DONE ends each batch */
		r = netlink_next_message(&datagram, &message);
	while (r > 0 && message.type != TYPE_PACKET);
	reader->at = datagram.at;
	reader->left = datagram.left;
	if (r <= 0)
		return r;
	*ret_packet = (struct nflog_packet){0};
	if (message.body.left < sizeof(struct nfgenmsg))
		return -EBADMSG;
	struct netlink_bytes attributes = {message.body.at + sizeof(struct nfgenmsg),
	                                   message.body.left - sizeof(struct nfgenmsg)};
	while ((r = netlink_next_attribute(&attributes, &attribute)) > 0)
		read_attribute(ret_packet, attribute.type, attribute.value.at, attribute.value.left);
	return r < 0 ? r : 1;
}

/* ---- TCP */

static uint8_t ip_version(const struct nflog_packet *packet)
{
	return packet->payload_size > 0 ? packet->payload[0] >> 4 : 0;
}

/* Where the transport header of an IPv6 packet is: walks the extension headers, each of which must be there whole. 0: nowhere. */
static size_t find_transport6(const struct nflog_packet *packet, uint8_t *ret_protocol)
{
	const uint8_t *ip = packet->payload;
	size_t at = 40;
	if (packet->payload_size < at)
		return 0;
	uint8_t next = ip[6];
	for (int i = 0; i < EXTENSIONS_MAX; i++) {
		bool extension = next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING || next == IPPROTO_DSTOPTS;
		if (!extension) {
			*ret_protocol = next;
			return at;
		}
		if (packet->payload_size < at + 8)
			return 0;
		next = ip[at];
		at += 8 + (size_t)ip[at + 1] * 8;
	}
	return 0;
}

/* Who sends to whom, and where the header of `wanted` is: not in a later piece of a packet. */
static bool find_transport(const struct nflog_packet *packet, uint8_t wanted, struct nflog_address *source,
                           struct nflog_address *destination, size_t *ret_at)
{
	const uint8_t *ip = packet->payload;
	uint8_t protocol = 0;
	bool ipv6 = ip_version(packet) == 6;
	if (packet->payload_size < 20 || (!ipv6 && ip_version(packet) != 4))
		return false;
	if (!ipv6 && (big16(ip + 6) & 0x1fff) == 0)
		protocol = ip[9];
	*ret_at = ipv6 ? find_transport6(packet, &protocol) : (size_t)(ip[0] & 15) * 4;
	if (*ret_at < 20 || protocol != wanted)
		return false;
	source->ipv6 = destination->ipv6 = ipv6;
	memcpy(source->bytes, ip + (ipv6 ? 8 : 12), ipv6 ? 16 : 4);
	memcpy(destination->bytes, ip + (ipv6 ? 24 : 16), ipv6 ? 16 : 4);
	return true;
}

bool nflog_tcp(const struct nflog_packet *packet, struct nflog_tcp *ret_tcp)
{
	struct nflog_tcp tcp = {0};
	size_t at = 0;
	if (!find_transport(packet, IPPROTO_TCP, &tcp.source, &tcp.destination, &at) || packet->payload_size < at + 20)
		return false;
	const uint8_t *header = packet->payload + at;
	tcp.source_port = big16(header);
	tcp.destination_port = big16(header + 2);
	tcp.sequence = big32(header + 4);
	tcp.flags = header[13];
	size_t size = (size_t)(header[12] >> 4) * 4;
	if (size >= 20 && packet->payload_size >= at + size) {
		tcp.header = header;
		tcp.header_size = size;
	}
	*ret_tcp = tcp;
	return true;
}

bool nflog_flow(const struct nflog_packet *packet, struct nflog_flow *ret_flow)
{
	struct nflog_flow flow = {0};
	const uint8_t *ip = packet->payload;
	bool ipv6 = ip_version(packet) == 6;
	if (packet->payload_size < 20 || (!ipv6 && ip_version(packet) != 4))
		return false;
	size_t at = ipv6 ? find_transport6(packet, &flow.protocol) : (size_t)(ip[0] & 15) * 4;
	if (at < 20)
		return false;
	if (!ipv6)
		flow.protocol = ip[9];
	flow.source.ipv6 = flow.destination.ipv6 = ipv6;
	memcpy(flow.source.bytes, ip + (ipv6 ? 8 : 12), ipv6 ? 16 : 4);
	memcpy(flow.destination.bytes, ip + (ipv6 ? 24 : 16), ipv6 ? 16 : 4);
	bool later_fragment = !ipv6 && (big16(ip + 6) & 0x1fff) != 0;
	bool icmp = flow.protocol == IPPROTO_ICMP || flow.protocol == IPPROTO_ICMPV6;
	if (!later_fragment && packet->payload_size >= at + 4 &&
	    (icmp || flow.protocol == IPPROTO_TCP || flow.protocol == IPPROTO_UDP)) {
		flow.source_port = icmp ? ip[at] : big16(ip + at);
		flow.destination_port = icmp ? ip[at + 1] : big16(ip + at + 2);
	}
	*ret_flow = flow;
	return true;
}

void nflog_place(const struct nflog_flow *flow, char ret_text[static NFLOG_PLACE_MAX])
{
	char address[INET6_ADDRSTRLEN];
	nflog_address_text(&flow->destination, address);
	if (flow->protocol == IPPROTO_TCP || flow->protocol == IPPROTO_UDP)
		snprintf(ret_text, NFLOG_PLACE_MAX, "%s port %u/%s", address, flow->destination_port,
		         flow->protocol == IPPROTO_TCP ? "tcp" : "udp");
	else if (flow->protocol == IPPROTO_ICMP || flow->protocol == IPPROTO_ICMPV6)
		snprintf(ret_text, NFLOG_PLACE_MAX, "%s by ICMP%s type %u", address, flow->protocol == IPPROTO_ICMP ? "" : "v6",
		         flow->source_port);
	else
		snprintf(ret_text, NFLOG_PLACE_MAX, "%s by IP protocol %u", address, flow->protocol);
}

bool nflog_udp(const struct nflog_packet *packet, struct nflog_udp *ret_udp)
{
	struct nflog_udp udp = {0};
	size_t at = 0;
	if (!find_transport(packet, IPPROTO_UDP, &udp.source, &udp.destination, &at) || packet->payload_size < at + 8)
		return false;
	udp.source_port = big16(packet->payload + at);
	udp.destination_port = big16(packet->payload + at + 2);
	udp.data = packet->payload + at + 8;
	udp.size = packet->payload_size - at - 8;
	*ret_udp = udp;
	return true;
}

/* Ports of the quoted packet, which went from the client to the guest, so they are the other way round. */
static void read_quoted(struct nflog_tcp *tcp, const uint8_t *quoted, size_t size, bool ipv6)
{
	size_t header = ipv6 ? 40 : size > 0 ? (size_t)(quoted[0] & 15) * 4 : 0;
	if (header < 20 || size < header + 4)
		return;
	tcp->destination_port = big16(quoted + header);
	tcp->source_port = big16(quoted + header + 2);
}

bool nflog_refusal(const struct nflog_packet *packet, struct nflog_tcp *ret_tcp)
{
	struct nflog_tcp tcp = {.flags = NFLOG_RST | NFLOG_ACK};
	const uint8_t *ip = packet->payload;
	bool ipv6 = ip_version(packet) == 6;
	uint8_t protocol = 0;
	if (packet->payload_size < 20 || (!ipv6 && ip_version(packet) != 4))
		return false;
	size_t at = ipv6 ? find_transport6(packet, &protocol) : (size_t)(ip[0] & 15) * 4;
	if (at < 20 || packet->payload_size < at + 8)
		return false;
	const uint8_t *icmp = ip + at;
	bool refusal = ipv6 ? protocol == IPPROTO_ICMPV6 && icmp[0] == 1
	                    : ip[9] == IPPROTO_ICMP && (big16(ip + 6) & 0x1fff) == 0 && icmp[0] == 3 && icmp[1] != 4;
	if (!refusal)
		return false;
	tcp.source.ipv6 = tcp.destination.ipv6 = ipv6;
	memcpy(tcp.source.bytes, ip + (ipv6 ? 8 : 12), ipv6 ? 16 : 4);
	memcpy(tcp.destination.bytes, ip + (ipv6 ? 24 : 16), ipv6 ? 16 : 4);
	read_quoted(&tcp, icmp + 8, packet->payload_size - at - 8, ipv6);
	*ret_tcp = tcp;
	return true;
}

/* ---- whom */

static bool asked_by_arp(const struct nflog_packet *packet, struct nflog_asked *ret_asked)
{
	if (packet->payload_size < 28)
		return false;
	ret_asked->way = NFLOG_ARP;
	memcpy(ret_asked->whom.bytes, packet->payload + 24, 4);
	return true;
}

/* `at`: the transport header of `protocol`; beyond the payload's end: not there. */
static void asked_how(const struct nflog_packet *packet, uint8_t protocol, size_t at, struct nflog_asked *asked)
{
	const uint8_t *header = packet->payload + at;
	size_t left = packet->payload_size > at ? packet->payload_size - at : 0;
	bool ports = (protocol == IPPROTO_TCP || protocol == IPPROTO_UDP) && left >= 4;
	if (ports)
		asked->port = big16(header + 2);
	if (protocol == IPPROTO_TCP || protocol == IPPROTO_UDP)
		asked->way = protocol == IPPROTO_TCP ? NFLOG_TCP : NFLOG_UDP;
	else if (left >= 1 && ((protocol == IPPROTO_ICMP && header[0] == 8) || (protocol == IPPROTO_ICMPV6 && header[0] == 128)))
		asked->way = NFLOG_PING;
	if (protocol == IPPROTO_ICMPV6 && left >= 24 && header[0] == 135) {
		asked->way = NFLOG_ND;
		memcpy(asked->whom.bytes, header + 8, 16);
	}
}

bool nflog_asked(const struct nflog_packet *packet, struct nflog_asked *ret_asked)
{
	struct nflog_asked asked = {.way = NFLOG_OTHER};
	const uint8_t *ip = packet->payload;
	uint8_t version = ip_version(packet), protocol = 0;
	if (packet->protocol == ETHERTYPE_ARP && !asked_by_arp(packet, &asked))
		return false;
	if (packet->protocol != ETHERTYPE_ARP && version == 4 && packet->payload_size >= 20) {
		memcpy(asked.whom.bytes, ip + 16, 4);
		size_t at = (size_t)(ip[0] & 15) * 4;
		if (at >= 20 && (big16(ip + 6) & 0x1fff) == 0)
			asked_how(packet, ip[9], at, &asked);
	} else if (packet->protocol != ETHERTYPE_ARP && version == 6 && packet->payload_size >= 40) {
		asked.whom.ipv6 = true;
		memcpy(asked.whom.bytes, ip + 24, 16);
		size_t at = find_transport6(packet, &protocol);
		if (at > 0)
			asked_how(packet, protocol, at, &asked);
	} else if (packet->protocol != ETHERTYPE_ARP) {
		return false;
	}
	*ret_asked = asked;
	return true;
}

void nflog_address_text(const struct nflog_address *address, char ret_text[static INET6_ADDRSTRLEN])
{
	inet_ntop(address->ipv6 ? AF_INET6 : AF_INET, address->bytes, ret_text, INET6_ADDRSTRLEN);
}

/* ---- claims */

static void mac_text(const uint8_t *mac, char ret_text[static 18])
{
	snprintf(ret_text, 18, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
}

/* " from MAC" when the link header is there. */
static void sender_text(const struct nflog_packet *packet, char ret_text[static 32])
{
	char mac[18];
	ret_text[0] = '\0';
	if (packet->link_size < ETH_HLEN)
		return;
	mac_text(packet->link + ETH_ALEN, mac);
	snprintf(ret_text, 32, " from %s", mac);
}

static void claim_arp(const struct nflog_packet *packet, char ret_text[static NFLOG_CLAIM_MAX])
{
	const uint8_t *arp = packet->payload;
	char mac[18], ip[INET_ADDRSTRLEN];
	if (packet->payload_size < 28 || big16(arp) != ARPHRD_ETHER || big16(arp + 2) != ETHERTYPE_IP || arp[4] != 6 ||
	    arp[5] != 4) {
		snprintf(ret_text, NFLOG_CLAIM_MAX, "sent ARP that is not ARP");
		return;
	}
	mac_text(arp + 8, mac);
	inet_ntop(AF_INET, arp + 14, ip, sizeof(ip));
	snprintf(ret_text, NFLOG_CLAIM_MAX, "claimed by ARP that %s is at %s", ip, mac);
}

static void claim_ip4(const struct nflog_packet *packet, const char *sender, char ret_text[static NFLOG_CLAIM_MAX])
{
	const uint8_t *ip = packet->payload;
	char source[INET_ADDRSTRLEN];
	if (packet->payload_size < 20) {
		snprintf(ret_text, NFLOG_CLAIM_MAX, "sent a piece of an IPv4 packet%s", sender);
		return;
	}
	inet_ntop(AF_INET, ip + 12, source, sizeof(source));
	size_t header = (size_t)(ip[0] & 15) * 4;
	if (ip[9] == PROTOCOL_VRRP && header >= 20 && packet->payload_size >= header + 3)
		snprintf(ret_text, NFLOG_CLAIM_MAX, "claimed by VRRP to be router %u with priority %u, as %s%s", ip[header + 1],
		         ip[header + 2], source, sender);
	else
		snprintf(ret_text, NFLOG_CLAIM_MAX, "sent as %s%s", source, sender);
}

static void claim_ip6(const struct nflog_packet *packet, const char *sender, char ret_text[static NFLOG_CLAIM_MAX])
{
	const uint8_t *ip = packet->payload;
	char source[INET6_ADDRSTRLEN], about[INET6_ADDRSTRLEN];
	uint8_t protocol = 0;
	size_t at = find_transport6(packet, &protocol);
	if (packet->payload_size < 40) {
		snprintf(ret_text, NFLOG_CLAIM_MAX, "sent a piece of an IPv6 packet%s", sender);
		return;
	}
	inet_ntop(AF_INET6, ip + 8, source, sizeof(source));
	const uint8_t *message = ip + at;
	size_t left = packet->payload_size > at ? packet->payload_size - at : 0;
	if (at > 0 && protocol == IPPROTO_ICMPV6 && left >= 24 && (message[0] == 135 || message[0] == 136)) {
		inet_ntop(AF_INET6, message + 8, about, sizeof(about));
		snprintf(ret_text, NFLOG_CLAIM_MAX,
		         message[0] == 136 ? "claimed by ND to have %s, as %s%s" : "asked by ND for %s, as %s%s", about, source,
		         sender);
	} else if (at > 0 && protocol == IPPROTO_ICMPV6 && left >= 4 && message[0] == 134) {
		snprintf(ret_text, NFLOG_CLAIM_MAX, "claimed by ND to be a router, as %s%s", source, sender);
	} else if (at > 0 && protocol == PROTOCOL_VRRP && left >= 3) {
		snprintf(ret_text, NFLOG_CLAIM_MAX, "claimed by VRRP to be router %u with priority %u, as %s%s", message[1],
		         message[2], source, sender);
	} else {
		snprintf(ret_text, NFLOG_CLAIM_MAX, "sent as %s%s", source, sender);
	}
}

void nflog_claim(const struct nflog_packet *packet, char ret_text[static NFLOG_CLAIM_MAX])
{
	char sender[32];
	sender_text(packet, sender);
	uint16_t protocol = packet->protocol;
	if (protocol == 0) /* some hooks do not say */
		protocol = ip_version(packet) == 4 ? ETHERTYPE_IP : ip_version(packet) == 6 ? ETHERTYPE_IPV6 : 0;
	if (protocol == ETHERTYPE_ARP)
		claim_arp(packet, ret_text);
	else if (protocol == ETHERTYPE_IP)
		claim_ip4(packet, sender, ret_text);
	else if (protocol == ETHERTYPE_IPV6)
		claim_ip6(packet, sender, ret_text);
	else
		snprintf(ret_text, NFLOG_CLAIM_MAX, "sent a frame of type 0x%04x%s", protocol, sender);
}
