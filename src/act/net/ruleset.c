/*
 * Our rules as text. Two tables of ours and nothing else:
 *
 *   inet koboshi    steer4/steer6: (service address, protocol, port) -> guest; open, fenced: taps by gate; who may pass
 *   netdev koboshi  one chain per tap at the very entry: frames that are not the guest's own end there
 *
 * A tap in neither set is in quarantine, so what was forgotten is closed. Maps and gate sets are only ever added here,
 * never flushed: loading the base again (a restart) leaves traffic as it is.
 */
#include "act/net/contain.h"
#include "act/net/net.h"

#include "lib/bytes.h"

#include <arpa/inet.h>
#include <assert.h>
#include <string.h>

#define T "inet koboshi "
#define LOG7 RULESET_LOG
#define LOG7_SOON " group 7 snaplen 100\n" /* with the next one that is told at once, or when nflog.c says */
#define LOST_MARK "0x4b000000"
static_assert(NET_LOG_GROUP == 7 && NET_LOG_BYTES == 100, "LOG7 says the same");
static_assert(CONNTRACK_MARK_LOST == 0x4b000000, "LOST_MARK says the same");

void ruleset_text_init(struct ruleset_text *text)
{
	*text = (struct ruleset_text){0};
	text->out = open_memstream(&text->bytes, &text->size);
	assert(text->out);
}

const char *ruleset_text_end(struct ruleset_text *text)
{
	assert(!ferror(text->out) && fflush(text->out) == 0);
	return text->bytes;
}

void ruleset_text_done(struct ruleset_text *text)
{
	if (text->out)
		fclose(text->out);
	free(text->bytes);
	*text = (struct ruleset_text){0};
}

static const char base_sets[] = /* */
        "add table inet koboshi\n"
        "add table netdev koboshi\n"
        "add set netdev koboshi fenced { type ifname; }\n"
        "add set " T "open { type ifname; }\n"
        "add set " T "fenced { type ifname; }\n"
        "add set " T "service4 { type ipv4_addr . inet_proto . inet_service; }\n"
        "add set " T "service6 { type ipv6_addr . inet_proto . inet_service; }\n"
        "add map " T "steer4 { type ipv4_addr . inet_proto . inet_service : ipv4_addr; }\n"
        "add map " T "steer6 { type ipv6_addr . inet_proto . inet_service : ipv6_addr; }\n"
        "add map " T "marks { type ifname : mark; }\n"
        "add counter " T "nowhere\n"
        "add counter " T "fenced\n"
        "add counter " T "from_guest\n"
        "add counter " T "to_guest\n"
        "add counter " T "elsewhere\n"
        "flush set " T "service4\n"
        "flush set " T "service6\n"
        "add chain " T "steer_in { type nat hook prerouting priority dstnat; policy accept; }\n"
        "add chain " T "steer_out { type nat hook output priority -100; policy accept; }\n"
        "add chain " T "disguise { type nat hook postrouting priority srcnat; policy accept; }\n"
        "add chain " T "passing { type filter hook forward priority filter; policy accept; }\n"
        "add chain " T "arriving { type filter hook input priority filter; policy accept; }\n"
        "add chain " T "leaving { type filter hook postrouting priority filter; policy accept; }\n"
        "add chain " T "from_guest\n"
        "add chain " T "to_guest\n"
        "add chain " T "guest_to_host\n"
        "add chain " T "answers\n"
        "flush chain " T "steer_in\n"
        "flush chain " T "steer_out\n"
        "flush chain " T "disguise\n"
        "flush chain " T "passing\n"
        "flush chain " T "arriving\n"
        "flush chain " T "leaving\n"
        "flush chain " T "from_guest\n"
        "flush chain " T "to_guest\n"
        "flush chain " T "guest_to_host\n"
        "flush chain " T "answers\n";

/* A guest's own connections never meet the map: through it one guest would reach another. */
static const char base_steer[] =
        "add rule " T
        "steer_in iifname != \"kb*\" meta l4proto { tcp, udp } dnat ip to ip daddr . meta l4proto . th dport map @steer4\n"
        "add rule " T
        "steer_in iifname != \"kb*\" meta l4proto { tcp, udp } dnat ip6 to ip6 daddr . meta l4proto . th dport map @steer6\n"
        "add rule " T "steer_out meta l4proto { tcp, udp } dnat ip to ip daddr . meta l4proto . th dport map @steer4\n"
        "add rule " T "steer_out meta l4proto { tcp, udp } dnat ip6 to ip6 daddr . meta l4proto . th dport map @steer6\n";

/*
 * A refused connection is told from the refusal of a segment in the middle of an old one by its form: only a SYN is
 * answered with RST+ACK, and only as the first thing that comes back.
 *
 * The first request of a connection and the first words of the answer are told as well. A request is one if it is said at one go
 * (PSH): of one that takes longer we would not see the answer, which comes after more packets than are looked at. An answer
 * may begin without PSH, but is longer then than a bare acknowledgement with its 60 + 40 bytes of headers.
 *
 * A client in the middle of talking to a guest that was just fenced is told so by the host: in the same instant as the
 * transaction, and not only when the flow is out of conntrack some milliseconds later.
 */
static const char base_pass[] =
        "add rule " T "passing iifname @fenced counter name fenced drop\n"
        "add rule " T "passing oifname @fenced counter name fenced drop\n"
        "add rule " T "passing iifname != \"kb*\" oifname \"" NET_LOST "\" ct status dnat accept\n"
        "add rule " T "passing iifname \"kb*\" goto from_guest\n"
        "add rule " T "passing oifname \"kb*\" goto to_guest\n"
        "add rule " T "from_guest oifname \"kb*\" counter name from_guest drop\n"
        "add rule " T "from_guest iifname != @open counter name from_guest drop\n"
        "add rule " T "from_guest ct direction original jump profile_out\n"
        "add rule " T "from_guest ct direction original meta l4proto udp limit rate 100/second burst 50 packets log prefix "
        "\"kb:try\"" LOG7 "add rule " T "from_guest ct direction original counter name from_guest drop\n"
        "add rule " T "from_guest tcp flags & (fin|syn|rst|psh|ack|urg) == syn|ack limit rate 8000/second burst 1000 packets log "
        "prefix \"kb:ack\"" LOG7 "add rule " T
        "from_guest tcp flags & (fin|syn|rst|psh|ack|urg) == rst|ack ct original packets 1 limit rate 2000/second burst 500 "
        "packets log prefix \"kb:rst\"" LOG7 "add rule " T "from_guest icmp type destination-unreachable ct state related ct "
        "original packets 1 limit rate 200/second log prefix \"kb:rst\"" LOG7 "add rule " T
        "from_guest icmpv6 type destination-unreachable ct state related ct original packets 1 limit rate "
        "200/second log prefix \"kb:rst\"" LOG7 "add rule " T
        "from_guest tcp flags & (fin|syn|rst|psh|ack|urg) == rst|ack ct original packets 1 jump held_back\n"
        "add rule " T "from_guest icmp type destination-unreachable ct state related ct original packets 1 jump held_back\n"
        "add rule " T "from_guest icmpv6 type destination-unreachable ct state related ct original packets 1 jump held_back\n"
        "add rule " T "from_guest ct reply packets 2-4 meta l4proto tcp jump answers\n"
        "add rule " T "from_guest ct state established,related accept\n"
        "add rule " T "from_guest counter name from_guest drop\n"
        "add rule " T "to_guest oifname != @open counter name to_guest drop\n"
        "add rule " T "to_guest ct state new ct status & dnat == 0 counter name to_guest drop\n"
        "add rule " T "to_guest udp sport 53 ct state established ct direction reply limit rate 200/second burst 100 packets log "
        "prefix \"kb:dns\"" LOG7 "add rule " T "to_guest ct state established ct direction reply jump profile_back\n"
        "add rule " T "to_guest ct state new tcp flags & (fin|syn|rst|ack) == syn limit rate 2000/second burst 500 packets log "
        "prefix \"kb:syn\"" LOG7_SOON "add rule " T
        "to_guest ct direction original ct original packets 2-3 tcp flags & psh == psh "
        "limit rate 2000/second burst 500 packets log "
        "prefix \"kb:ask\"" LOG7_SOON "add rule " T "to_guest ct state new,established,related accept\n"
        "add rule " T "to_guest counter name to_guest drop\n"
        "add rule " T "answers tcp flags & psh == 0 meta length <= 100 return\n"
        "add rule " T "answers limit rate 8000/second burst 1000 packets log prefix \"kb:say\"" LOG7;

/*
 * A flow that the map brought to a guest bears its mark, by which all of them can be cut at one stroke; our own probes are none
 * of them, and go on. Hops: a client's packet was forwarded once at least; a probe would stand out by not having been.
 */
static const char base_host[] =
        "add rule " T "arriving iifname @fenced counter name fenced drop\n"
        "add rule " T "arriving iifname \"kb*\" goto guest_to_host\n"
        "add rule " T "arriving ip daddr . meta l4proto . th dport @service4 counter name nowhere drop\n"
        "add rule " T "arriving ip6 daddr . meta l4proto . th dport @service6 counter name nowhere drop\n"
        "add rule " T "guest_to_host ct state established,related ct direction reply accept\n"
        "add rule " T "guest_to_host icmpv6 type nd-neighbor-solicit ip6 hoplimit 255 accept\n"
        "add rule " T "guest_to_host counter name from_guest drop\n"
        "add rule " T "leaving oifname @fenced counter name fenced drop\n"
        "add rule " T "leaving oifname \"kb*\" ct state new ct status dnat ct mark set oifname map @marks\n"
        "add rule " T "leaving oifname \"" NET_LOST "\" ct state new ct status dnat ct mark set " LOST_MARK " accept\n"
        "add rule " T "leaving oifname \"" NET_LOST "\" ct status dnat accept\n"
        "add rule " T "leaving oifname \"kb*\" fib saddr type local meta l4proto { tcp, udp } ip ttl set 63\n"
        "add rule " T "leaving oifname \"kb*\" fib saddr type local meta l4proto { tcp, udp } ip6 hoplimit set 63\n";

/* A probe leaves its flow in conntrack for two minutes after its end: thousands of them, among which a victim's would have to be
 * looked for (conntrack.c). Ours are those that go to a guest's own address. */
static const char base_brief[] =
        "add ct timeout " T "probes4 { protocol tcp; l3proto ip; policy = { syn_sent: 10, time_wait: 3, close: 3 }; }\n"
        "add ct timeout " T "probes6 { protocol tcp; l3proto ip6; policy = { syn_sent: 10, time_wait: 3, close: 3 }; }\n"
        "add rule " T "leaving oifname \"kb*\" ct state new ct status & dnat == 0 fib saddr type local meta nfproto ipv4 "
        "meta l4proto tcp ct timeout set \"probes4\"\n"
        "add rule " T "leaving oifname \"kb*\" ct state new ct status & dnat == 0 fib saddr type local meta nfproto ipv6 "
        "meta l4proto tcp ct timeout set \"probes6\"\n";

void ruleset_brief(FILE *out)
{
	fputs(base_brief, out);
}

static void services(FILE *out, const struct conf_service *service)
{
	char four[INET_ADDRSTRLEN], six[INET6_ADDRSTRLEN];
	inet_ntop(AF_INET, &service->address4, four, sizeof(four));
	inet_ntop(AF_INET6, &service->address6, six, sizeof(six));
	for (size_t i = 0; i < service->n_ports; i++) {
		const char *protocol = service->ports[i].protocol == IPPROTO_TCP ? "tcp" : "udp";
		if (service->has_address4)
			fprintf(out, "add element " T "service4 { %s . %s . %u }\n", four, protocol, service->ports[i].port);
		if (service->has_address6)
			fprintf(out, "add element " T "service6 { %s . %s . %u }\n", six, protocol, service->ports[i].port);
	}
}

/* The host did not forward before us and shall not begin to forward for others. The chain is also the memory of that. */
static void hold(FILE *out, const char *chain, const char *family)
{
	fprintf(out,
	        "add chain " T "%s\nflush chain " T "%s\n"
	        "add rule " T "%s iifname != \"kb*\" oifname != \"kb*\" counter name elsewhere drop\n"
	        "add rule " T "passing meta nfproto %s jump %s\n",
	        chain, chain, chain, family, chain);
}

/* A guest whose wire is gone must not be looked for on an uplink. */
static void no_leak(FILE *out, const struct conf *conf)
{
	char text[INET6_ADDRSTRLEN];
	inet_ntop(AF_INET, &conf->guests4.address, text, sizeof(text));
	fprintf(out, "add rule " T "leaving oifname != \"kb*\" oifname != \"lo\" ip daddr %s/%u drop\n", text,
	        conf->guests4.prefix);
	inet_ntop(AF_INET6, &conf->guests6.address, text, sizeof(text));
	fprintf(out, "add rule " T "leaving oifname != \"kb*\" oifname != \"lo\" ip6 daddr %s/%u drop\n", text,
	        conf->guests6.prefix);
}

struct ruleset_base ruleset_base_of(const struct net *net)
{
	return (struct ruleset_base){&net->conf, net->hold4, net->hold6, !net->rescue.problem[0], net->brief};
}

void ruleset_base(FILE *out, const struct ruleset_base *base)
{
	const struct conf *conf = base->conf;
	fputs(base_sets, out);
	profile_base(out, conf);
	contain_base(out);
	rescue_base(out, conf, base->rescue);
	fputs(base_steer, out);
	fputs(base_pass, out);
	fputs(base_host, out);
	no_leak(out, conf);
	if (base->brief)
		ruleset_brief(out);
	if (base->hold4)
		hold(out, "hold4", "ipv4");
	if (base->hold6)
		hold(out, "hold6", "ipv6");
	for (size_t i = 0; i < conf->n_services; i++)
		services(out, &conf->services[i]);
	disguise_rules(out, conf);
	decoy_base(out, conf);
}

/* ---- one tap */

struct tap_text {
	const char *tap;
	char mac[18], four[INET_ADDRSTRLEN], gate4[INET_ADDRSTRLEN];
	char six[INET6_ADDRSTRLEN], local[INET6_ADDRSTRLEN];
	char six_hex[33], gate6_hex[33], local_hex[33];
};

/* Link-local address that a guest derives from its MAC. */
static struct in6_addr local_of(const uint8_t mac[6])
{
	return (struct in6_addr){.s6_addr = {0xfe, 0x80, [8] = mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]}};
}

static void tap_text_fill(struct tap_text *t, const struct conf_instance *i)
{
	struct in6_addr local = local_of(i->mac);
	t->tap = i->tap;
	sprintf(t->mac, "%02x:%02x:%02x:%02x:%02x:%02x", i->mac[0], i->mac[1], i->mac[2], i->mac[3], i->mac[4], i->mac[5]);
	inet_ntop(AF_INET, &i->address4, t->four, sizeof(t->four));
	inet_ntop(AF_INET, &i->gateway4, t->gate4, sizeof(t->gate4));
	inet_ntop(AF_INET6, &i->address6, t->six, sizeof(t->six));
	inet_ntop(AF_INET6, &local, t->local, sizeof(t->local));
	bytes_to_hex(i->address6.s6_addr, sizeof(i->address6.s6_addr), t->six_hex);
	bytes_to_hex(i->gateway6.s6_addr, sizeof(i->gateway6.s6_addr), t->gate6_hex);
	bytes_to_hex(local.s6_addr, sizeof(local.s6_addr), t->local_hex);
}

static void tap_objects(FILE *out, const char *tap)
{
	fprintf(out, "add chain netdev koboshi %s { type filter hook ingress device \"%s\" priority filter; policy drop; }\n",
	        tap, tap);
	fprintf(out, "add chain netdev koboshi %s_spoof\n", tap);
	fprintf(out, "flush chain netdev koboshi %s\nflush chain netdev koboshi %s_spoof\n", tap, tap);
	fprintf(out, "add counter netdev koboshi %s_spoof\nadd counter netdev koboshi %s_noise\n", tap, tap);
	fprintf(out, "add counter netdev koboshi %s_fenced\nadd counter netdev koboshi %s_in\n", tap, tap);
	fprintf(out, "add rule netdev koboshi %s_spoof counter name %s_spoof\n", tap, tap);
	fprintf(out, "add rule netdev koboshi %s_spoof limit rate 10/second burst 10 packets log prefix \"kb:spoof\"" LOG7, tap);
	fprintf(out, "add rule netdev koboshi %s_spoof drop\n", tap);
}

#define RULE "add rule netdev koboshi %s "
#define NOISE "counter name %s_noise drop\n"
#define SPOOF "goto %s_spoof\n"
#define PASS "counter name %s_in accept\n"

/* The guest may ask for its gateway and say where it is itself; its announcements are not needed and not heard. */
static void tap_arp(FILE *out, const struct tap_text *t)
{
	fprintf(out,
	        RULE "ether type arp arp htype 1 arp ptype 0x0800 arp operation { request, reply } arp saddr ether %s "
	             "arp saddr ip %s arp daddr ip %s " PASS,
	        t->tap, t->mac, t->four, t->gate4, t->tap);
	fprintf(out, RULE "ether type arp arp saddr ether %s arp saddr ip { %s, 0.0.0.0 } " NOISE, t->tap, t->mac, t->four,
	        t->tap);
	fprintf(out, RULE "ether type arp " SPOOF, t->tap, t->tap);
}

static void tap_ip4(FILE *out, const struct tap_text *t)
{
	fprintf(out, RULE "ether type ip ip saddr 0.0.0.0 udp sport 68 udp dport 67 " NOISE, t->tap, t->tap);
	fprintf(out, RULE "ether type ip ip saddr != %s " SPOOF, t->tap, t->four, t->tap);
	fprintf(out, RULE "ether type ip ip daddr { 224.0.0.0/4, 255.255.255.255 } " NOISE, t->tap, t->tap);
	fprintf(out, RULE "ether type ip " PASS, t->tap, t->tap);
}

static void tap_ip6(FILE *out, const struct tap_text *t)
{
	const char *tap = t->tap;
	fprintf(out, RULE "icmpv6 type { nd-router-advert, nd-redirect } " SPOOF, tap, tap);
	fprintf(out, RULE "icmpv6 type nd-neighbor-solicit ip6 hoplimit 255 ip6 saddr { %s, %s } @th,64,128 0x%s " PASS, tap,
	        t->six, t->local, t->gate6_hex, tap);
	fprintf(out, RULE "icmpv6 type nd-neighbor-advert @th,64,128 { 0x%s, 0x%s } " NOISE, tap, t->six_hex, t->local_hex, tap);
	fprintf(out, RULE "icmpv6 type nd-neighbor-advert @th,64,16 != 0xfe80 " SPOOF, tap, tap);
	fprintf(out, RULE "ether type ip6 ip6 saddr { ::, fe80::/10 } " NOISE, tap, tap);
	fprintf(out, RULE "ether type ip6 ip6 saddr != %s " SPOOF, tap, t->six, tap);
	fprintf(out, RULE "ether type ip6 ip6 daddr ff00::/8 " NOISE, tap, tap);
	fprintf(out, RULE "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit } " NOISE, tap, tap);
	fprintf(out, RULE "ether type ip6 " PASS, tap, tap);
}

/* Guests serve; whoever opens a connection is told of, each tap by itself so that one cannot hide another. Where it ends is the
 * business of the rules behind. */
static void tap_reach(FILE *out, const struct tap_text *t)
{
	static const char *const families[] = {"ip", "ip6"};
	for (size_t i = 0; i < countof(families); i++)
		fprintf(out,
		        RULE "meta protocol %s %s saddr %s tcp flags & (fin|syn|rst|ack) == syn limit rate 50/second burst 50 "
		             "packets log "
		             "prefix \"kb:out\"" LOG7,
		        t->tap, families[i], families[i], i ? t->six : t->four);
}

/* A name's mark never changes, so to add it again is no error. */
static void tap_mark(FILE *out, const struct conf_instance *instance)
{
	fprintf(out, "add element " T "marks { \"%s\" : 0x%08x }\n", instance->tap, conntrack_mark(instance));
}

void ruleset_tap(FILE *out, const struct net *net, const struct conf_instance *instance, uint32_t service)
{
	struct tap_text t;
	tap_text_fill(&t, instance);
	tap_objects(out, t.tap);
	decoy_tap_objects(out, t.tap, t.four, t.six);
	tap_mark(out, instance);
	profile_tap(out, net, instance, service);
	fprintf(out, RULE "iifname @fenced counter name %s_fenced drop\n", t.tap, t.tap);
	fprintf(out, RULE "ether saddr != %s " SPOOF, t.tap, t.mac, t.tap);
	fprintf(out, RULE "meta l4proto 112 " SPOOF, t.tap, t.tap); /* VRRP */
	fprintf(out, RULE "udp sport { 67, 547 } " SPOOF, t.tap, t.tap);
	if (!profile_holds(net, service))
		tap_reach(out, &t);
	decoy_tap(out, t.tap, t.mac, t.four, t.six, t.local);
	tap_arp(out, &t);
	tap_ip4(out, &t);
	tap_ip6(out, &t);
	fprintf(out, RULE SPOOF, t.tap, t.tap);
}

/* Adding before deleting makes a removal that finds nothing a success; both are in one transaction. */
void ruleset_tap_gone(FILE *out, const struct conf *conf, const struct conf_instance *instance)
{
	static const char *const counters[] = {"spoof", "noise", "fenced", "in"};
	const char *tap = instance->tap;
	struct tap_text t;
	tap_text_fill(&t, instance);
	fprintf(out, "add chain netdev koboshi %s\nadd chain netdev koboshi %s_spoof\n", tap, tap);
	fprintf(out, "flush chain netdev koboshi %s\nflush chain netdev koboshi %s_spoof\n", tap, tap);
	fprintf(out, "delete chain netdev koboshi %s\ndelete chain netdev koboshi %s_spoof\n", tap, tap);
	decoy_tap_gone(out, tap, t.four, t.six);
	for (size_t i = 0; i < countof(counters); i++)
		fprintf(out, "add counter netdev koboshi %s_%s\ndelete counter netdev koboshi %s_%s\n", tap, counters[i], tap,
		        counters[i]);
	profile_tap_gone(out, conf, instance);
	tap_mark(out, instance);
	fprintf(out, "delete element " T "marks { \"%s\" }\n", tap);
	ruleset_gate(out, tap, WIRE_GATE_QUARANTINE);
}

static void member(FILE *out, const char *set, const char *tap, bool in)
{
	fprintf(out, "add element %s { \"%s\" }\n", set, tap);
	if (!in)
		fprintf(out, "delete element %s { \"%s\" }\n", set, tap);
}

void ruleset_gate(FILE *out, const char *tap, enum wire_gate gate)
{
	member(out, T "open", tap, gate == WIRE_GATE_OPEN);
	member(out, T "fenced", tap, gate == WIRE_GATE_FENCED);
	member(out, "netdev koboshi fenced", tap, gate == WIRE_GATE_FENCED);
}
