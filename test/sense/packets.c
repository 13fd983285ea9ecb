/* See packets.h. */
#include "packets.h"

#include <arpa/inet.h>
#include <assert.h>
#include <endian.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_log.h>
#include <linux/netlink.h>
#include <string.h>

static const uint8_t link_header[14] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 8, 0};

static void put(struct packets *packets, const void *bytes, size_t size)
{
	assert(packets->size + size + 4 <= sizeof(packets->bytes));
	memcpy(packets->bytes + packets->size, bytes, size);
	packets->size += size;
	while (packets->size % 4)
		packets->bytes[packets->size++] = 0;
}

static void put_attribute(struct packets *packets, uint16_t type, const void *bytes, size_t size)
{
	struct nlattr attribute = {.nla_len = (uint16_t)(sizeof(attribute) + size), .nla_type = type};
	put(packets, &attribute, sizeof(attribute));
	put(packets, bytes, size);
}

static void put_message(struct packets *packets, const char *prefix, uint16_t protocol, const uint8_t *payload, size_t size)
{
	size_t start = packets->size;
	struct nlmsghdr header = {.nlmsg_type = NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_PACKET};
	struct nfgenmsg general = {.version = NFNETLINK_V0, .res_id = htons(7)};
	struct nfulnl_msg_packet_hdr packet = {.hw_protocol = htons(protocol)};
	uint32_t index = htonl(PACKETS_INDEX);
	put(packets, &header, sizeof(header));
	put(packets, &general, sizeof(general));
	put_attribute(packets, NFULA_PACKET_HDR, &packet, sizeof(packet));
	struct nfulnl_msg_packet_timestamp stamp = {.sec = htobe64((uint64_t)packets->real_us / 1000000),
	                                            .usec = htobe64((uint64_t)packets->real_us % 1000000)};
	if (packets->real_us)
		put_attribute(packets, NFULA_TIMESTAMP, &stamp, sizeof(stamp));
	put_attribute(packets, NFULA_PREFIX, prefix, strlen(prefix) + 1);
	put_attribute(packets, NFULA_IFINDEX_INDEV, &index, sizeof(index));
	put_attribute(packets, NFULA_HWHEADER, link_header, sizeof(link_header));
	put_attribute(packets, NFULA_PAYLOAD, payload, size);
	header.nlmsg_len = (uint32_t)(packets->size - start);
	memcpy(packets->bytes + start, &header, sizeof(header));
}

static void big16(uint8_t *at, uint16_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

/* Returns the size of the header, whose family is that of `source`. */
static size_t ip_header(uint8_t *ip, uint8_t protocol, const char *source, const char *destination)
{
	bool six = strchr(source, ':');
	ip[0] = six ? 0x60 : 0x45;
	ip[six ? 6 : 9] = protocol;
	int good = inet_pton(six ? AF_INET6 : AF_INET, source, ip + (six ? 8 : 12));
	good += inet_pton(six ? AF_INET6 : AF_INET, destination, ip + (six ? 24 : 16));
	assert(good == 2);
	return six ? 40 : 20;
}

void packets_tcp(struct packets *packets, const char *prefix, const char *source, uint16_t source_port, const char *destination,
                 uint16_t destination_port, uint8_t flags)
{
	uint8_t ip[60] = {0};
	size_t at = ip_header(ip, IPPROTO_TCP, source, destination);
	big16(ip + at, source_port);
	big16(ip + at + 2, destination_port);
	ip[at + 12] = 0x50;
	ip[at + 13] = flags;
	put_message(packets, prefix, at == 40 ? 0x86dd : 0x0800, ip, at + 20);
}

void packets_signed(struct packets *packets, const char *prefix, const char *source, uint16_t source_port,
                    const char *destination, uint16_t destination_port)
{
	uint8_t ip[80] = {0};
	size_t at = ip_header(ip, IPPROTO_TCP, source, destination);
	big16(ip + at, source_port);
	big16(ip + at + 2, destination_port);
	ip[at + 12] = 0xa0;
	ip[at + 13] = 0x02;
	ip[at + 20] = 1;
	ip[at + 21] = 19;
	ip[at + 22] = 18;
	put_message(packets, prefix, at == 40 ? 0x86dd : 0x0800, ip, at + 40);
}

void packets_other(struct packets *packets, const char *prefix, uint8_t protocol, const char *source, uint16_t source_port,
                   const char *destination, uint16_t destination_port)
{
	uint8_t ip[48] = {0};
	size_t at = ip_header(ip, protocol, source, destination);
	big16(ip + at, source_port);
	big16(ip + at + 2, destination_port);
	put_message(packets, prefix, at == 40 ? 0x86dd : 0x0800, ip, at + 8);
}

void packets_udp(struct packets *packets, const char *prefix, const char *source, uint16_t source_port, const char *destination,
                 uint16_t destination_port, const void *data, size_t size)
{
	uint8_t ip[160] = {0};
	size_t at = ip_header(ip, IPPROTO_UDP, source, destination);
	assert(at + 8 + size <= sizeof(ip));
	big16(ip + at, source_port);
	big16(ip + at + 2, destination_port);
	memcpy(ip + at + 8, data, size);
	put_message(packets, prefix, at == 40 ? 0x86dd : 0x0800, ip, at + 8 + size);
}

void packets_arp(struct packets *packets, const char *prefix, const char *claimed)
{
	uint8_t arp[28] = {0, 1, 8, 0, 6, 4, 0, 2, 2, 0, 0, 0, 0, 9};
	int good = inet_pton(AF_INET, claimed, arp + 14);
	assert(good == 1);
	put_message(packets, prefix, 0x0806, arp, sizeof(arp));
}

void packets_neighbour(struct packets *packets, const char *prefix, const char *source, const char *claimed)
{
	uint8_t ip[72] = {0};
	size_t at = ip_header(ip, IPPROTO_ICMPV6, source, "ff02::1");
	ip[at] = 136;
	int good = inet_pton(AF_INET6, claimed, ip + at + 8);
	assert(good == 1);
	put_message(packets, prefix, 0x86dd, ip, sizeof(ip));
}

void packets_vrrp(struct packets *packets, const char *prefix, const char *source, uint8_t router, uint8_t priority)
{
	uint8_t ip[40] = {0};
	size_t at = ip_header(ip, 112, source, "224.0.0.18");
	ip[at] = 0x31;
	ip[at + 1] = router;
	ip[at + 2] = priority;
	put_message(packets, prefix, 0x0800, ip, sizeof(ip));
}

void packets_unreachable(struct packets *packets, const char *prefix, const char *guest, uint16_t guest_port, const char *client,
                         uint16_t client_port, uint8_t code)
{
	uint8_t ip[56] = {0};
	size_t at = ip_header(ip, IPPROTO_ICMP, guest, client);
	ip[at] = 3;
	ip[at + 1] = code;
	size_t quoted = at + 8;
	quoted += ip_header(ip + quoted, IPPROTO_TCP, client, guest);
	big16(ip + quoted, client_port);
	big16(ip + quoted + 2, guest_port);
	put_message(packets, prefix, 0x0800, ip, quoted + 8);
}

void packets_who_has(struct packets *packets, const char *prefix, const char *whom)
{
	uint8_t arp[28] = {0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 9}, ip[72] = {0};
	bool six = strchr(whom, ':');
	size_t at = six ? ip_header(ip, IPPROTO_ICMPV6, "2001:db8::7", "ff02::1") : 0;
	ip[at] = 135;
	int good = inet_pton(six ? AF_INET6 : AF_INET, whom, six ? ip + at + 8 : arp + 24);
	assert(good == 1);
	put_message(packets, prefix, six ? 0x86dd : 0x0806, six ? ip : arp, six ? sizeof(ip) : sizeof(arp));
}

void packets_ping(struct packets *packets, const char *prefix, const char *source, const char *destination)
{
	uint8_t ip[48] = {0};
	bool six = strchr(source, ':');
	size_t at = ip_header(ip, six ? IPPROTO_ICMPV6 : IPPROTO_ICMP, source, destination);
	ip[at] = six ? 128 : 8;
	put_message(packets, prefix, six ? 0x86dd : 0x0800, ip, at + 8);
}
