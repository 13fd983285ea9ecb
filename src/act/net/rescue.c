/*
 * See rescue.h. Our own NFLOG group brings two kinds of packets: resets that a rule has dropped, and openings that went to a
 * guest. Nobody is woken for an opening: the log is read a few times a second, and once more when the map has changed, for by
 * then it is complete. An opening that goes out again is the client's own, option for option; where the log had no room for
 * it, one is made of the reset, with the least that every path takes.
 *
 * The kernel remembers for a while whom it held back: the second refusal of the same connection passes. So a client that
 * nobody helps is refused after it has asked once more, also while this program is dead.
 */
#include "act/net/rescue.h"

#include "act/net/net.h"
#include "lib/bytes.h"
#include "lib/log.h"
#include "sense/conntrack.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <string.h>
#include <sys/socket.h>

#define T "inet koboshi "
#define READ_EVERY_US 20000
#define TELL_AT_ONCE 64 /* in one turn of the loop, so that orders do not wait */
#define LEAST_WINDOW 64240
#define LEAST_SEGMENT 1220 /* fits into IPv6's least packet (RFC 8200, section 5) */
#define LOOSE "/proc/sys/net/netfilter/nf_conntrack_tcp_loose"

/* --- rules */

static const char sets_and_chains[] = /* */
        "add set " T "rescued4 { type ipv4_addr . inet_service; }\n"
        "add set " T "rescued6 { type ipv6_addr . inet_service; }\n"
        "add set " T "held4 { type ipv4_addr . inet_service; size 1024; flags dynamic,timeout; timeout 5s; }\n"
        "add set " T "held6 { type ipv6_addr . inet_service; size 1024; flags dynamic,timeout; timeout 5s; }\n"
        "add chain " T "told { type filter hook output priority raw; policy accept; }\n"
        "add chain " T "asked { type filter hook prerouting priority -110; policy accept; }\n" /* before the map */
        "add chain " T "held_back\n"
        "add chain " T "held\n"
        "flush set " T "rescued4\n"
        "flush set " T "rescued6\n"
        "flush chain " T "told\n"
        "flush chain " T "held_back\n"
        "flush chain " T "held\n"
        "flush chain " T "asked\n";

#define LOG8 "group 8 snaplen 100 queue-threshold 1 "
static_assert(NET_RESCUE_GROUP == 8 && NET_LOG_BYTES == 100, "LOG8 says the same");

static void rules(FILE *out, const char *ip, char number)
{
	fprintf(out,
	        "add rule " T
	        "asked %s daddr . tcp dport @rescued%c limit rate 2000/second burst 500 packets log prefix \"kb:asked\" " LOG8
	        "\n",
	        ip, number);
	fprintf(out,
	        "add rule " T
	        "held %s daddr . tcp dport != @held%c add @held%c { %s daddr . tcp dport } log prefix \"kb:held\" " LOG8 "drop\n",
	        ip, number, number, ip);
	fprintf(out, "add rule " T "told %s saddr . tcp sport @rescued%c notrack\n", ip, number);
}

/* A refusal is a reset, or what a firewall in the guest says (ICMP); then the port is the flow's. */
static void rescued(FILE *out, const struct conf_service *service, bool ipv6)
{
	const char *ip = ipv6 ? "ip6" : "ip", *icmp = ipv6 ? "icmpv6" : "icmp";
	char address[INET6_ADDRSTRLEN];
	inet_ntop(ipv6 ? AF_INET6 : AF_INET, ipv6 ? (const void *)&service->address6 : (const void *)&service->address4, address,
	          sizeof(address));
	for (size_t i = 0; i < service->n_ports; i++) {
		if (service->ports[i].protocol != IPPROTO_TCP)
			continue;
		unsigned port = service->ports[i].port;
		fprintf(out, "add element " T "rescued%c { %s . %u }\n", ipv6 ? '6' : '4', address, port);
		fprintf(out, "add rule " T "held_back ct original %s daddr %s tcp sport %u goto held\n", ip, address, port);
		fprintf(out,
		        "add rule " T "held_back meta l4proto %s ct original %s daddr %s ct original protocol 6 ct original "
		        "proto-dst %u goto held\n",
		        icmp, ip, address, port);
	}
}

void rescue_base(FILE *out, const struct conf *conf, bool in_force)
{
	fputs(sets_and_chains, out);
	if (!in_force)
		return;
	fputs("add rule " T "asked iifname \"kb*\" return\n"
	      "add rule " T "asked ct state != new return\n"
	      "add rule " T "asked tcp flags & (fin|syn|rst|ack) != syn return\n",
	      out);
	rules(out, "ip", '4');
	rules(out, "ip6", '6');
	fputs("add rule " T "held meta l4proto { icmp, icmpv6 } drop\n", out);
	for (size_t i = 0; i < conf->n_services; i++) {
		const struct conf_service *service = &conf->services[i];
		if (service->rescue && service->has_address4)
			rescued(out, service, false);
		if (service->rescue && service->has_address6)
			rescued(out, service, true);
	}
}

/* --- can it be done here? */

static int rules_try(const struct conf *conf, struct err *err)
{
	struct ruleset_text text;
	ruleset_text_init(&text);
	fputs("add table inet koboshi\n", text.out);
	rescue_base(text.out, conf, true);
	int r = transact_try(ruleset_text_end(&text), err);
	ruleset_text_done(&text);
	return r < 0 ? err_prefix(err, "this kernel does not take the rules for it (CONFIG_NFT_LOG, sets that packets add to)")
	             : 0;
}

static int loose_check(struct err *err)
{
	return host_sysctl_read(LOOSE) == 0
	               ? err_set(err, -ENOTSUP, "%s is 0: who waits for a guest that fell could not be told", LOOSE)
	               : 0;
}

void rescue_open(struct net *net)
{
	struct rescue *rescue = &net->rescue;
	struct err err = {0};
	rescue->sockets = (struct segment_sockets){-1, -1};
	int r = segment_open(&rescue->sockets, &err);
	if (r == 0)
		r = loose_check(&err);
	if (r == 0)
		r = rules_try(&net->conf, &err);
	if (r == 0)
		r = nflog_open(&rescue->log, NET_RESCUE_GROUP, &err);
	if (r == 0 && nflog_bind(&rescue->log, &err) == 0)
		r = err_set(&err, -EBUSY, "NFLOG group %d has another reader", NET_RESCUE_GROUP);
	if (r < 0 || !rescue->log.bound)
		text_copy(rescue->problem, sizeof(rescue->problem), err.text);
	if (rescue->problem[0])
		log_warning("net.rescue", "connections are not rescued when a guest falls: %s", rescue->problem);
}

void rescue_done(struct rescue *rescue)
{
	if (rescue->log.socket)
		mnl_socket_close(rescue->log.socket);
	rescue->log.socket = NULL;
	if (rescue->sockets.four >= 0)
		close(rescue->sockets.four);
	if (rescue->sockets.six >= 0)
		close(rescue->sockets.six);
	rescue->sockets = (struct segment_sockets){-1, -1};
}

/* --- who is who */

static size_t address_size(bool ipv6)
{
	return ipv6 ? 16 : 4;
}

static bool end_is(const struct segment_end *end, bool ipv6, const uint8_t *address)
{
	return memcmp(end->address, address, address_size(ipv6)) == 0;
}

static bool is_guest(const struct segment_end *end, bool ipv6, const struct conf_instance *guest)
{
	return end_is(end, ipv6, ipv6 ? (const uint8_t *)&guest->address6 : (const uint8_t *)&guest->address4);
}

/* As its clients know it. */
static void end_at_service(struct segment_end *end, bool ipv6, const struct conf_service *service)
{
	memset(end->address, 0, sizeof(end->address));
	memcpy(end->address, ipv6 ? (const void *)&service->address6 : (const void *)&service->address4, address_size(ipv6));
}

static const struct conf_service *service_at(const struct net *net, const struct guard_tap *tap)
{
	return tap->service < net->conf.n_services ? &net->conf.services[tap->service] : NULL;
}

static const struct conf_service *service_of(const struct net *net, const struct segment_end *end, bool ipv6)
{
	struct conf_instance guest;
	for (size_t i = 0; i < net->guard.wanted.n_taps; i++) {
		conf_instance(&net->conf, net->guard.wanted.taps[i].number, &guest);
		if (is_guest(end, ipv6, &guest))
			return service_at(net, &net->guard.wanted.taps[i]);
	}
	return NULL;
}

static const struct conf_service *service_of_instance(const struct net *net, uint32_t instance)
{
	for (size_t i = 0; i < net->guard.wanted.n_taps; i++)
		if (net->guard.wanted.taps[i].number == instance)
			return service_at(net, &net->guard.wanted.taps[i]);
	return NULL;
}

/* --- reading */

static void reset_release(struct net *net, const struct tcp_segment *reset)
{
	const struct conf_service *service = service_of(net, &reset->from, reset->ipv6);
	struct tcp_segment to_client = *reset;
	if (!service)
		return;
	end_at_service(&to_client.from, reset->ipv6, service);
	(void)segment_send(&net->rescue.sockets, &to_client);
}

static void took_reset(struct net *net, const struct tcp_segment *reset, int64_t now_us)
{
	struct rescue *rescue = &net->rescue;
	if (rescue->n_held == RESCUE_HELD_MAX)
		reset_release(net, reset);
	else
		rescue->held[rescue->n_held++] = (struct rescue_held){now_us + RESCUE_HOLD_US, *reset};
}

static void took_opening(struct rescue *rescue, const struct tcp_segment *opening, int64_t now_us)
{
	rescue->asked[rescue->next_asked] = (struct rescue_asked){now_us, *opening};
	rescue->next_asked = (rescue->next_asked + 1) % RESCUE_ASKED_MAX;
}

static void took_packet(struct net *net, const struct nflog_packet *packet, int64_t now_us)
{
	struct nflog_tcp tcp;
	struct tcp_segment segment;
	if (!nflog_tcp(packet, &tcp) || !segment_read(tcp.header, tcp.header_size, &segment))
		return;
	segment.ipv6 = tcp.source.ipv6;
	memcpy(segment.from.address, tcp.source.bytes, sizeof(segment.from.address));
	memcpy(segment.to.address, tcp.destination.bytes, sizeof(segment.to.address));
	if (strcmp(packet->prefix, "kb:held") == 0)
		took_reset(net, &segment, now_us);
	else if (strcmp(packet->prefix, "kb:asked") == 0)
		took_opening(&net->rescue, &segment, now_us);
}

static void log_read(struct net *net, int64_t now_us)
{
	uint8_t datagram[8192];
	struct nflog_packet packet;
	for (;;) {
		ssize_t got = recv(mnl_socket_get_fd(net->rescue.log.socket), datagram, sizeof(datagram), 0);
		if (got < 0 && (errno == EINTR || errno == ENOBUFS))
			continue; /* what was lost is not helped */
		if (got <= 0)
			return;
		net->rescue.read_us = now_us;
		struct nflog_reader reader = {datagram, (size_t)got};
		while (nflog_next(&reader, &packet) == 1)
			took_packet(net, &packet, now_us);
	}
}

/* --- after the map has changed */

static const struct tcp_segment *opening_of(const struct rescue *rescue, const struct tcp_segment *reset)
{
	for (size_t i = 1; i <= RESCUE_ASKED_MAX; i++) {
		const struct rescue_asked *asked = &rescue->asked[(rescue->next_asked + RESCUE_ASKED_MAX - i) % RESCUE_ASKED_MAX];
		const struct tcp_segment *opening = &asked->opening;
		if (asked->time_us == 0)
			return NULL;
		if (opening->ipv6 == reset->ipv6 && opening->sequence == reset->acknowledged - 1 &&
		    opening->from.port == reset->to.port && opening->to.port == reset->from.port &&
		    end_is(&opening->from, reset->ipv6, reset->to.address))
			return opening;
	}
	return NULL;
}

/* What is known of it from its refusal alone. */
static struct tcp_segment opening_made(const struct tcp_segment *reset, const struct conf_service *service)
{
	struct tcp_segment opening = {.ipv6 = reset->ipv6,
	                              .from = reset->to,
	                              .to = reset->from,
	                              .sequence = reset->acknowledged - 1,
	                              .flags = SEGMENT_SYN,
	                              .window = LEAST_WINDOW,
	                              .options = {2, 4, LEAST_SEGMENT >> 8, LEAST_SEGMENT & 0xff},
	                              .options_size = 4};
	end_at_service(&opening.to, opening.ipv6, service);
	return opening;
}

static void held_answer(struct net *net, const struct rescue_move *move, const struct conf_instance *from,
                        struct rescue_counts *counts)
{
	struct rescue *rescue = &net->rescue;
	const struct conf_service *service = &net->conf.services[move->service];
	size_t kept = 0;
	for (size_t i = 0; i < rescue->n_held; i++) {
		const struct tcp_segment *reset = &rescue->held[i].reset;
		if (!is_guest(&reset->from, reset->ipv6, from)) {
			rescue->held[kept++] = rescue->held[i];
			continue;
		}
		const struct tcp_segment *opening = opening_of(rescue, reset);
		const struct tcp_segment made = opening_made(reset, service);
		if (move->to == 0)
			reset_release(net, reset);
		else
			counts->again += segment_send(&rescue->sockets, opening ? opening : &made);
	}
	rescue->n_held = kept;
}

static bool is_helped(const struct net *net, const struct conf_service *service)
{
	return !net->rescue.problem[0] && service && service->rescue;
}

void rescue_moved(struct net *net, const struct rescue_move *move, struct rescue_counts *counts)
{
	struct conf_instance from;
	if (!is_helped(net, &net->conf.services[move->service]) || move->from == 0)
		return;
	log_read(net, clock_monotonic_us());
	conf_instance(&net->conf, move->from, &from);
	held_answer(net, move, &from, counts);
}

/* --- who asked the dead, and who waits for them */

static bool is_to(const struct conntrack_flow *flow, const struct conf_instance *guest)
{
	bool ipv6 = flow->answers.source.ipv6;
	const void *address = ipv6 ? (const void *)&guest->address6 : (const void *)&guest->address4;
	return flow->asks.protocol == IPPROTO_TCP && memcmp(flow->answers.source.bytes, address, address_size(ipv6)) == 0;
}

static bool waits(const struct conntrack_flow *flow)
{
	return flow->assured && (flow->tcp == TCP_CONNTRACK_NONE || flow->tcp == TCP_CONNTRACK_ESTABLISHED ||
	                         flow->tcp == TCP_CONNTRACK_FIN_WAIT || flow->tcp == TCP_CONNTRACK_CLOSE_WAIT);
}

/* The `back`-th before the next one, from 1; NULL: none, or it is too old. */
static const struct tcp_segment *opening_before(const struct rescue *rescue, size_t back, int64_t now_us)
{
	const struct rescue_asked *asked = &rescue->asked[(rescue->next_asked + RESCUE_ASKED_MAX - back) % RESCUE_ASKED_MAX];
	return asked->time_us == 0 || asked->time_us + RESCUE_ASKED_US < now_us ? NULL : &asked->opening;
}

/* Not older than RESCUE_ASKED_US; NULL: it was not kept, and its client asks again by itself. */
static const struct tcp_segment *opening_to_repeat(const struct rescue *rescue, const struct conntrack_flow *flow, int64_t now_us)
{
	const struct tcp_segment *opening;
	for (size_t i = 1; i <= RESCUE_ASKED_MAX && (opening = opening_before(rescue, i, now_us)); i++) {
		if (opening->ipv6 == flow->asks.source.ipv6 && opening->from.port == flow->asks.source_port &&
		    opening->to.port == flow->asks.destination_port &&
		    end_is(&opening->from, opening->ipv6, flow->asks.source.bytes) &&
		    end_is(&opening->to, opening->ipv6, flow->asks.destination.bytes))
			return opening;
	}
	return NULL;
}

static void to_ask_add(struct rescue *rescue, const struct conntrack_flow *flow, int64_t now_us)
{
	const struct tcp_segment *opening = opening_to_repeat(rescue, flow, now_us);
	if (opening && rescue->n_again < RESCUE_ASKED_MAX)
		rescue->again[rescue->n_again++] = *opening;
}

static bool to_tell_add(struct rescue *rescue, const struct conntrack_flow *flow)
{
	if (rescue->n_told == RESCUE_TOLD_MAX)
		return false;
	struct tcp_segment *segment = &rescue->to_tell[rescue->n_told++];
	*segment = (struct tcp_segment){.ipv6 = flow->asks.source.ipv6,
	                                .from.port = flow->asks.destination_port,
	                                .to.port = flow->asks.source_port,
	                                .flags = SEGMENT_SYN};
	memcpy(segment->from.address, flow->asks.destination.bytes, sizeof(segment->from.address));
	memcpy(segment->to.address, flow->asks.source.bytes, sizeof(segment->to.address));
	return true;
}

static struct wire_contain ends_of(const struct tcp_segment *opening)
{
	struct wire_contain ends = {
	        .v6 = opening->ipv6, .protocol = IPPROTO_TCP, .port = opening->from.port, .to_port = opening->to.port};
	memcpy(ends.address, opening->from.address, sizeof(ends.address));
	memcpy(ends.to, opening->to.address, sizeof(ends.to));
	return ends;
}

/* Where nobody lists flows each opening is asked for by itself, while their entries stand. */
static void asked_each(struct rescue_cut *cut)
{
	struct rescue *rescue = &cut->net->rescue;
	const struct tcp_segment *opening;
	struct conntrack_flow flow;
	for (size_t i = 1; i <= RESCUE_ASKED_MAX && (opening = opening_before(rescue, i, cut->now_us)); i++) {
		struct wire_contain ends = ends_of(opening);
		if (conntrack_find(cut->net, &ends, &flow) && !flow.replied && is_to(&flow, &cut->guest))
			rescue->again[rescue->n_again++] = *opening;
	}
}

/* They are the last ones; the first that the guest answered came before its wire went down. */
void rescue_lost(struct net *net, const struct rescue_move *move, struct rescue_counts *counts)
{
	struct rescue *rescue = &net->rescue;
	const struct tcp_segment *opening;
	struct conntrack_flow flow;
	struct conf_instance from;
	int64_t now_us = clock_monotonic_us();
	if (!is_helped(net, &net->conf.services[move->service]) || move->to == 0)
		return;
	conf_instance(&net->conf, move->from, &from);
	for (size_t i = 1; i <= RESCUE_ASKED_MAX && (opening = opening_before(rescue, i, now_us)); i++) {
		struct wire_contain ends = ends_of(opening);
		if (!conntrack_find(net, &ends, &flow) || !is_to(&flow, &from))
			continue;
		if (flow.replied)
			return;
		if (conntrack_cut_flow(net, &ends, NULL) == 0)
			counts->again += segment_send(&rescue->sockets, opening);
	}
}

void rescue_cut_begin(struct net *net, uint32_t instance, struct rescue_cut *ret_cut)
{
	*ret_cut = (struct rescue_cut){
	        .net = net, .now_us = clock_monotonic_us(), .helped = is_helped(net, service_of_instance(net, instance))};
	conf_instance(&net->conf, instance, &ret_cut->guest);
	net->rescue.n_again = 0;
	if (!ret_cut->helped)
		return;
	log_read(net, ret_cut->now_us);
	if (conntrack_is_crowded())
		asked_each(ret_cut);
}

void rescue_cut_saw(void *arg, const struct nlmsghdr *message)
{
	struct rescue_cut *cut = arg;
	struct netlink_bytes bytes = {(const uint8_t *)message, message->nlmsg_len};
	struct conntrack_flow flow;
	if (!cut->helped || conntrack_next(&bytes, &flow) != 1 || !is_to(&flow, &cut->guest))
		return;
	if (!flow.replied)
		to_ask_add(&cut->net->rescue, &flow, cut->now_us);
	else if (waits(&flow))
		cut->told += to_tell_add(&cut->net->rescue, &flow);
}

/* While the kernel's entry stood, a repeated opening would have followed it to the guest that fell. */
unsigned rescue_cut_end(struct rescue_cut *cut)
{
	struct rescue *rescue = &cut->net->rescue;
	unsigned sent = 0;
	for (size_t i = 0; i < rescue->n_again; i++)
		sent += segment_send(&rescue->sockets, &rescue->again[i]);
	rescue->n_again = 0;
	return sent;
}

static void tell_some(struct rescue *rescue)
{
	size_t end = rescue->told + TELL_AT_ONCE < rescue->n_told ? rescue->told + TELL_AT_ONCE : rescue->n_told;
	for (; rescue->told < end; rescue->told++)
		(void)segment_send(&rescue->sockets, &rescue->to_tell[rescue->told]);
	if (rescue->told == rescue->n_told)
		rescue->told = rescue->n_told = 0;
}

/* --- the loop */

static bool may_read(const struct rescue *rescue, int64_t now_us)
{
	return rescue->log.bound && now_us - rescue->read_us >= READ_EVERY_US;
}

int rescue_fd(const struct rescue *rescue)
{
	return may_read(rescue, clock_monotonic_us()) ? mnl_socket_get_fd(rescue->log.socket) : -1;
}

int rescue_patience_ms(const struct rescue *rescue)
{
	int64_t now_us = clock_monotonic_us(), due_us = INT64_MAX;
	if (!rescue->log.bound)
		return -1;
	if (rescue->n_told > 0)
		return 0;
	if (!may_read(rescue, now_us))
		due_us = rescue->read_us + READ_EVERY_US;
	for (size_t i = 0; i < rescue->n_held; i++)
		if (rescue->held[i].until_us < due_us)
			due_us = rescue->held[i].until_us;
	if (due_us == INT64_MAX)
		return -1;
	return due_us <= now_us ? 0 : (int)((due_us - now_us + 999) / 1000);
}

void rescue_turn(struct net *net)
{
	struct rescue *rescue = &net->rescue;
	int64_t now_us = clock_monotonic_us();
	size_t kept = 0;
	if (!rescue->log.bound)
		return;
	if (may_read(rescue, now_us))
		log_read(net, now_us);
	for (size_t i = 0; i < rescue->n_held; i++)
		if (rescue->held[i].until_us > now_us)
			rescue->held[kept++] = rescue->held[i];
		else
			reset_release(net, &rescue->held[i].reset);
	rescue->n_held = kept;
	tell_some(rescue);
}
