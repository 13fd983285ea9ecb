/*
 * Where nobody is: whatever a guest asks of an address in the guests' ranges that no guest has, or of a port that nothing
 * serves (of the gateway, of another guest, of a service), nobody has a reason to ask. It is logged as kb:decoy, each tap by
 * itself, and a TCP request is handed to the tarpit of koboshi-decoy, so that whoever looks around finds a door that opens very
 * slowly. A guest knows one neighbour, its gateway: to ask by ARP or ND for any other address of the segment is a touch by
 * itself.
 *
 * It is judged at the very entry, so in quarantine too: a guest that looks around while it boots is no better. What touches
 * bears a mark from there to the rules that hand it over; behind the entry only frames of ours bear it, a guest cannot set it.
 */
#include "act/net/net.h"
#include "lib/bytes.h"
#include "wire/link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define D "netdev koboshi "
#define T "inet koboshi "
#define MARK "0x6b62dec0"

static struct {
	uint16_t port4, port6; /* where the tarpit listens; 0: nobody answers, touches are told all the same */
} tarpit;

static uint16_t port_of(int fd, int family)
{
	int listens = 0;
	socklen_t size = sizeof(listens);
	struct sockaddr_storage address = {0};
	socklen_t length = sizeof(address);
	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) < 0 || !listens ||
	    getsockname(fd, (struct sockaddr *)&address, &length) < 0 || address.ss_family != family)
		return 0;
	return ntohs(family == AF_INET ? ((struct sockaddr_in *)&address)->sin_port
	                               : ((struct sockaddr_in6 *)&address)->sin6_port);
}

void decoy_adopt(void)
{
	tarpit.port4 = port_of(WIRE_DECOY4_FD, AF_INET);
	tarpit.port6 = port_of(WIRE_DECOY6_FD, AF_INET6);
	if (tarpit.port4)
		close(WIRE_DECOY4_FD); /* others hold it open */
	if (tarpit.port6)
		close(WIRE_DECOY6_FD);
}

/* ---- for all taps */

struct segment {
	char four[INET_ADDRSTRLEN], six[INET6_ADDRSTRLEN], gate4[INET_ADDRSTRLEN], gate6[INET6_ADDRSTRLEN];
	char six_hex[33], gate6_hex[33];
	unsigned prefix4, prefix6;
};

static void segment_fill(struct segment *s, const struct conf *conf)
{
	struct conf_instance any;
	conf_instance(conf, 1, &any);
	inet_ntop(AF_INET, &conf->guests4.address, s->four, sizeof(s->four));
	inet_ntop(AF_INET6, &conf->guests6.address, s->six, sizeof(s->six));
	inet_ntop(AF_INET, &any.gateway4, s->gate4, sizeof(s->gate4));
	inet_ntop(AF_INET6, &any.gateway6, s->gate6, sizeof(s->gate6));
	s->prefix4 = conf->guests4.prefix;
	s->prefix6 = conf->guests6.prefix;
	bytes_to_hex(conf->guests6.address.s6_addr, sizeof(conf->guests6.address.s6_addr), s->six_hex);
	bytes_to_hex(any.gateway6.s6_addr, sizeof(any.gateway6.s6_addr), s->gate6_hex);
}

/* `decoy_asked` is jumped to with what has the guest's own source; it comes back with the mark or without. */
static const char sets[] = "add set " D "living4 { type ipv4_addr; }\n"
                           "add set " D "living6 { type ipv6_addr; }\n"
                           "add set " D "served { type inet_proto . inet_service; }\n"
                           "add set " D "excepted { type inet_proto . inet_service; }\n"
                           "add set " D "service4 { type ipv4_addr; }\n"
                           "add set " D "service6 { type ipv6_addr; }\n"
                           "flush set " D "living4\n"
                           "flush set " D "living6\n"
                           "flush set " D "served\n"
                           "flush set " D "excepted\n"
                           "flush set " D "service4\n"
                           "flush set " D "service6\n"
                           "add chain " D "decoy_asked\n"
                           "add chain " D "decoy_whom\n"
                           "add chain " D "decoy_gate\n"
                           "add chain " D "decoy_port\n"
                           "add chain " D "decoy_ping\n"
                           "add chain " T "answering { type filter hook output priority filter; policy accept; }\n"
                           "flush chain " D "decoy_asked\n"
                           "flush chain " D "decoy_whom\n"
                           "flush chain " D "decoy_gate\n"
                           "flush chain " D "decoy_port\n"
                           "flush chain " D "decoy_ping\n"
                           "flush chain " T "answering\n";

/* Only what opens something counts: a late answer to a client is none. Clients without ranges of their own have the gateway's
 * address for the guest, so what leaves a served UDP port for there may be such an answer. */
static const char judgement[] = "add rule " D "decoy_asked tcp flags & (fin|syn|rst|ack) == syn goto decoy_whom\n"
                                "add rule " D "decoy_asked meta l4proto udp goto decoy_whom\n"
                                "add rule " D "decoy_asked icmp type echo-request goto decoy_ping\n"
                                "add rule " D "decoy_asked icmpv6 type echo-request goto decoy_ping\n"
                                "add rule " D "decoy_gate meta l4proto udp meta l4proto . th sport @served return\n"
                                "add rule " D "decoy_gate meta l4proto . th dport @excepted return\n"
                                "add rule " D "decoy_gate meta mark set " MARK "\n"
                                "add rule " D "decoy_port meta l4proto . th dport @served return\n"
                                "add rule " D "decoy_port meta mark set " MARK "\n"
                                "add rule " D "decoy_whom ip daddr @living4 goto decoy_port\n"
                                "add rule " D "decoy_whom ip daddr @service4 goto decoy_port\n"
                                "add rule " D "decoy_whom ip6 daddr @living6 goto decoy_port\n"
                                "add rule " D "decoy_whom ip6 daddr @service6 goto decoy_port\n"
                                "add rule " D "decoy_ping ip daddr @living4 return\n"
                                "add rule " D "decoy_ping ip6 daddr @living6 return\n";

static void places(FILE *out, const struct segment *s)
{
	fprintf(out, "add rule " D "decoy_whom ip daddr %s goto decoy_gate\n", s->gate4);
	fprintf(out, "add rule " D "decoy_whom ip6 daddr %s goto decoy_gate\n", s->gate6);
	fprintf(out, "add rule " D "decoy_whom ip daddr %s/%u meta mark set " MARK "\n", s->four, s->prefix4);
	fprintf(out, "add rule " D "decoy_whom ip6 daddr %s/%u meta mark set " MARK "\n", s->six, s->prefix6);
	fprintf(out, "add rule " D "decoy_ping ip daddr != %s ip daddr %s/%u meta mark set " MARK "\n", s->gate4, s->four,
	        s->prefix4);
	fprintf(out, "add rule " D "decoy_ping ip6 daddr != %s ip6 daddr %s/%u meta mark set " MARK "\n", s->gate6, s->six,
	        s->prefix6);
	fprintf(out, "add rule " D "decoy_asked ether type arp arp daddr ip != %s arp daddr ip %s/%u meta mark set " MARK "\n",
	        s->gate4, s->four, s->prefix4);
	/* the first eight bytes: a range's prefix has at least as many, and raw bytes are compared whole */
	fprintf(out,
	        "add rule " D
	        "decoy_asked icmpv6 type nd-neighbor-solicit @th,64,64 0x%.16s @th,64,128 != 0x%s meta mark set " MARK "\n",
	        s->six_hex, s->gate6_hex);
}

static void service_known(FILE *out, const struct conf_service *service)
{
	char text[INET6_ADDRSTRLEN];
	if (service->has_address4)
		fprintf(out, "add element " D "service4 { %s }\n", inet_ntop(AF_INET, &service->address4, text, sizeof(text)));
	if (service->has_address6)
		fprintf(out, "add element " D "service6 { %s }\n", inet_ntop(AF_INET6, &service->address6, text, sizeof(text)));
	for (size_t i = 0; i < service->n_ports; i++)
		fprintf(out, "add element " D "served { %s . %u }\n", service->ports[i].protocol == IPPROTO_TCP ? "tcp" : "udp",
		        service->ports[i].port);
}

/* The flow bears its guest's mark, by which it is cut with the others when the guest is. The tarpit's port is for taps alone;
 * when it next speaks to a guest that was fenced, it is told that nobody is there any more. */
static void hand_over(FILE *out, const char *family, const char *gate, uint16_t port)
{
	const char *ip = strcmp(family, "ipv4") == 0 ? "ip" : "ip6";
	if (port == 0)
		return;
	fprintf(out,
	        "add rule " T "steer_in iifname \"kb*\" meta nfproto %s meta mark " MARK
	        " meta l4proto tcp ct mark set iifname map @marks redirect to :%u\n",
	        family, port);
	/* no profile's business: of what guests open, nothing else is translated */
	fprintf(out, "insert rule " T "entering iifname \"kb*\" meta nfproto %s meta mark " MARK " accept\n", family);
	fprintf(out, "insert rule " T "entering iifname \"kb*\" meta nfproto %s ct direction original ct status dnat accept\n",
	        family);
	fprintf(out, "insert rule " T "guest_to_host meta nfproto %s tcp dport %u ct direction original ct mark != 0 accept\n",
	        family, port);
	fprintf(out, "insert rule " T "arriving iifname != \"kb*\" iifname != \"lo\" %s daddr %s tcp dport %u drop\n", ip, gate,
	        port);
	fprintf(out, "add rule " T "answering oifname @fenced meta nfproto %s tcp sport %u reject with tcp reset\n", family,
	        port);
}

void decoy_base(FILE *out, const struct conf *conf)
{
	struct segment s;
	segment_fill(&s, conf);
	fputs(sets, out);
	if (!conf->decoys)
		return;
	for (size_t i = 0; i < conf->n_services; i++)
		service_known(out, &conf->services[i]);
	for (size_t i = 0; i < conf->n_decoy_except; i++)
		fprintf(out, "add element " D "excepted { %s . %u }\n",
		        conf->decoy_except[i].protocol == IPPROTO_TCP ? "tcp" : "udp", conf->decoy_except[i].port);
	fputs(judgement, out);
	places(out, &s);
	fputs("insert rule " T "passing meta mark " MARK " drop\n",
	      out); /* a touch leads nowhere else, whatever a profile says */
	hand_over(out, "ipv4", s.gate4, tarpit.port4);
	hand_over(out, "ipv6", s.gate6, tarpit.port6);
}

/* ---- for one tap */

#define RULE "add rule " D "%s "

void decoy_tap_objects(FILE *out, const char *tap, const char *four, const char *six)
{
	fprintf(out, "add chain " D "%s_decoy\nflush chain " D "%s_decoy\nadd counter " D "%s_touched\n", tap, tap, tap);
	fprintf(out, "add element " D "living4 { %s }\nadd element " D "living6 { %s }\n", four, six);
	fprintf(out, "add rule " D "%s_decoy counter name %s_touched\n", tap, tap);
	fprintf(out,
	        "add rule " D "%s_decoy limit rate 10/second burst 10 packets log prefix \"kb:decoy\" group %d snaplen %d "
	        "queue-threshold 1\n",
	        tap, NET_LOG_GROUP, NET_LOG_BYTES);
	/* each leaves a flow in conntrack, whose table all share */
	fprintf(out, "add rule " D "%s_decoy meta l4proto tcp limit rate 50/second burst 100 packets counter name %s_in accept\n",
	        tap, tap);
	fprintf(out, "add rule " D "%s_decoy counter name %s_noise drop\n", tap, tap);
}

void decoy_tap(FILE *out, const char *tap, const char *mac, const char *four, const char *six, const char *local)
{
	char own[33];
	struct in6_addr address = {0};
	(void)!inet_pton(AF_INET6, six, &address);
	bytes_to_hex(address.s6_addr, sizeof(address.s6_addr), own);
	fprintf(out,
	        RULE "ether type arp arp htype 1 arp ptype 0x0800 arp operation request arp saddr ether %s arp saddr ip { %s, "
	             "0.0.0.0 } arp daddr ip != %s jump decoy_asked\n",
	        tap, mac, four, four);
	fprintf(out,
	        RULE "icmpv6 type nd-neighbor-solicit ip6 hoplimit 255 ip6 saddr { %s, %s, :: } @th,64,128 != 0x%s jump "
	             "decoy_asked\n",
	        tap, six, local, own);
	fprintf(out, RULE "meta protocol ip ip saddr %s jump decoy_asked\n", tap, four);
	fprintf(out, RULE "meta protocol ip6 ip6 saddr %s jump decoy_asked\n", tap, six);
	fprintf(out, RULE "meta mark " MARK " goto %s_decoy\n", tap, tap);
}

void decoy_tap_gone(FILE *out, const char *tap, const char *four, const char *six)
{
	fprintf(out, "add chain " D "%s_decoy\nflush chain " D "%s_decoy\ndelete chain " D "%s_decoy\n", tap, tap, tap);
	fprintf(out, "add counter " D "%s_touched\ndelete counter " D "%s_touched\n", tap, tap);
	fprintf(out, "add element " D "living4 { %s }\ndelete element " D "living4 { %s }\n", four, four);
	fprintf(out, "add element " D "living6 { %s }\ndelete element " D "living6 { %s }\n", six, six);
}
