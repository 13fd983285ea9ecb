/*
 * What clients' own packets say, seen at the taps through NFLOG: a refusal is known before the client knows it, and a
 * request that stays unanswered for several times the usual handshake is evidence without any probe. The guest cannot tell that
 * anybody looks. What a guest opens by itself is counted, see reach.h. Packets are only read, in batches; when the kernel had to
 * drop some, all pending requests are forgotten, because the missing ones may be their answers.
 */
#include "sense/dns.h"
#include "sense/touch.h"
#include "sense/wire_local.h"

#include "lib/bytes.h"

#include <assert.h>
#include <errno.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>

#define BATCHES 16         /* calls a wake-up: other sources get their turn */
#define GATHER_MS 2        /* so long, while many come: to be woken for many costs little more than for one */
#define MANY 512           /* packets ... */
#define MANY_US 100000     /* ... in so short a time */
#define STRAY_US 1000000   /* strays of one instance are told once in that time, with their number */
#define STRANGER_US 100000 /* an unknown interface is looked up again after that */

/* ---- who is it */

static struct living *living_numbered(struct sense_wire *w, uint32_t number)
{
	for (size_t i = 0; i < SYNS_GUESTS_MAX; i++)
		if (w->living[i].number == number)
			return &w->living[i];
	return NULL;
}

static bool address_equals(const struct nflog_address *a, const struct nflog_address *b)
{
	return a->ipv6 == b->ipv6 && memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

struct living *wire_living_at(struct sense_wire *w, const struct nflog_address *address)
{
	for (size_t i = 0; i < SYNS_GUESTS_MAX; i++) {
		struct living *one = &w->living[i];
		if (one->number && address_equals(address->ipv6 ? &one->address6 : &one->address4, address))
			return one;
	}
	return NULL;
}

/* if_indextoname() would open a Unix socket first, which the engine's sandbox takes for an attack. */
static bool link_name(const struct sense_wire *w, uint32_t index, char ret_name[static IF_NAMESIZE])
{
	struct ifreq request = {.ifr_ifindex = (int)index};
	if (ioctl(w->names, SIOCGIFNAME, &request) < 0)
		return false;
	memcpy(ret_name, request.ifr_name, IF_NAMESIZE);
	ret_name[IF_NAMESIZE - 1] = '\0';
	return true;
}

/* An index is asked for once; a tap that was made again has a new one. */
static struct living *living_behind(struct sense_wire *w, uint32_t index)
{
	char name[IF_NAMESIZE];
	for (size_t i = 0; i < SYNS_GUESTS_MAX; i++)
		if (w->living[i].number && w->living[i].index == index)
			return &w->living[i];
	if (index == w->stranger && w->now_us - w->stranger_us < STRANGER_US)
		return NULL;
	if (link_name(w, index, name))
		for (size_t i = 0; i < SYNS_GUESTS_MAX; i++)
			if (w->living[i].number && strcmp(w->living[i].tap, name) == 0) {
				w->living[i].index = index;
				return &w->living[i];
			}
	w->stranger = index;
	w->stranger_us = w->now_us;
	return NULL;
}

/* ---- what is it */

void wire_report(struct sense_wire *w, uint32_t instance, enum finding finding, int64_t time_us, int64_t began_us,
                 const char *detail)
{
	struct evidence evidence = {
	        .time_us = time_us, .instance = instance, .vantage = VANTAGE_WIRE, .finding = finding, .began_us = began_us};
	w->report(w->arg, &evidence, detail);
}

bool wire_is_due(int64_t *last_us, int64_t now_us, int64_t repeat_us)
{
	if (*last_us && now_us - *last_us < repeat_us)
		return false;
	*last_us = now_us;
	return true;
}

static void on_spoof(struct sense_wire *w, const struct nflog_packet *packet, int64_t time_us)
{
	char claim[NFLOG_CLAIM_MAX];
	struct living *one = living_behind(w, packet->in_index);
	if (!one) {
		w->counts.strange++;
		return;
	}
	w->counts.spoofed++;
	if (!wire_is_due(&one->spoofed_us, w->now_us, REPEAT_US))
		return;
	nflog_claim(packet, claim);
	wire_report(w, one->number, FINDING_SPOOFED, time_us, time_us, claim);
}

static void on_touch(struct sense_wire *w, const struct nflog_packet *packet, int64_t time_us)
{
	char text[TOUCH_MAX];
	struct nflog_asked asked;
	struct living *one = living_behind(w, packet->in_index);
	if (!one) {
		w->counts.strange++;
		return;
	}
	if (!nflog_asked(packet, &asked)) {
		w->counts.malformed++;
		return;
	}
	w->counts.touched++;
	if (!wire_is_due(&one->touched_us, w->now_us, REPEAT_US))
		return;
	touch_text(&asked, text);
	struct evidence evidence = {.time_us = time_us,
	                            .instance = one->number,
	                            .vantage = VANTAGE_DECOY,
	                            .finding = FINDING_TOUCHED,
	                            .began_us = time_us};
	w->report(w->arg, &evidence, text);
}

static void reach_count(struct sense_wire *w, struct living *one, const struct nflog_tcp *tcp, int64_t time_us)
{
	char detail[160];
	int64_t began_us;
	uint32_t number = one->number; /* a report may end it */
	w->counts.reached++;
	if (reach_add(&one->reach, tcp, time_us, &began_us, detail, sizeof(detail)))
		wire_report(w, number, FINDING_REACHING, time_us, began_us, detail);
	if (!w->gone && w->flows)
		sense_flows_tried(w->flows, number, &tcp->destination, tcp->destination_port, IPPROTO_TCP, tcp->source_port);
}

static void on_reach(struct sense_wire *w, const struct nflog_packet *packet, int64_t time_us)
{
	struct nflog_tcp tcp;
	struct living *one = living_behind(w, packet->in_index);
	if (!one)
		w->counts.strange++;
	else if (!nflog_tcp(packet, &tcp))
		w->counts.malformed++;
	else
		reach_count(w, one, &tcp, time_us);
}

/* A packet outside of the profile. A program that was forgotten in it sends one now and then; whoever opens many connections of
 * that kind looks around, with a profile as without. */
static void on_stray(struct sense_wire *w, const struct nflog_packet *packet, int64_t time_us)
{
	char detail[160], place[NFLOG_PLACE_MAX], more[48] = "";
	const uint8_t mask = NFLOG_SYN | NFLOG_ACK | NFLOG_RST | NFLOG_FIN;
	struct nflog_flow flow;
	struct nflog_tcp tcp;
	struct living *one = living_behind(w, packet->in_index);
	bool right = nflog_flow(packet, &flow);
	w->counts.strange += !one;
	w->counts.malformed += one && !right;
	if (!one || !right)
		return;
	w->counts.strayed++;
	one->strays++;
	if (wire_is_due(&one->strayed_us, w->now_us, STRAY_US)) {
		nflog_place(&flow, place);
		if (one->strays > 1)
			snprintf(more, sizeof(more), " (the last of %u packets)", one->strays);
		snprintf(detail, sizeof(detail), "sent to %s%s, which is not in its profile", place, more);
		one->strays = 0;
		wire_report(w, one->number, FINDING_STRAYED, time_us, time_us, detail);
		one = living_behind(w, packet->in_index); /* a report may end it */
	}
	if (one && !w->gone && nflog_tcp(packet, &tcp) && (tcp.flags & mask) == NFLOG_SYN)
		reach_count(w, one, &tcp, time_us);
	else if (one && !w->gone && w->flows && flow.protocol != IPPROTO_TCP)
		sense_flows_tried(w->flows, one->number, &flow.destination, flow.destination_port, flow.protocol,
		                  flow.protocol == IPPROTO_UDP ? flow.source_port : 0);
}

/* Refused by the rules: TCP is told of as kb:out already. */
static void on_try(struct sense_wire *w, const struct nflog_packet *packet)
{
	struct nflog_udp udp;
	const struct living *one = living_behind(w, packet->in_index);
	if (!one)
		w->counts.strange++;
	else if (!nflog_udp(packet, &udp))
		w->counts.malformed++;
	else if (w->flows)
		sense_flows_tried(w->flows, one->number, &udp.destination, udp.destination_port, IPPROTO_UDP, udp.source_port);
}

static void on_name(struct sense_wire *w, const struct nflog_packet *packet)
{
	struct nflog_udp udp;
	struct dns_answer answer;
	if (!nflog_udp(packet, &udp) || !dns_read(udp.data, udp.size, &answer)) {
		w->counts.malformed++;
		return;
	}
	const struct living *one = wire_living_at(w, &udp.destination);
	if (!one)
		w->counts.strange++;
	else if (w->flows)
		sense_flows_named(w->flows, one->number, &answer);
}

#define SYN_ACK_RST (NFLOG_SYN | NFLOG_ACK | NFLOG_RST)

static const struct {
	const char *prefix;
	uint8_t mask, flags; /* of those in `mask`, exactly these */
	void (*seen)(struct sense_wire *w, const struct nflog_tcp *tcp, int64_t time_us);
} segments[] = {
        {"kb:syn", SYN_ACK_RST | NFLOG_FIN, NFLOG_SYN, wire_on_syn},
        {"kb:ack", SYN_ACK_RST | NFLOG_FIN, NFLOG_SYN | NFLOG_ACK, wire_on_ack},
        {"kb:rst", SYN_ACK_RST | NFLOG_FIN, NFLOG_RST | NFLOG_ACK, wire_on_reset},
        {"kb:ask", SYN_ACK_RST, NFLOG_ACK, wire_on_request}, /* it may end with these words */
        {"kb:say", SYN_ACK_RST, NFLOG_ACK, wire_on_answer},
};

/* The kernel's stamp is of the real clock: only its distance from now counts, and only if it makes sense. */
static int64_t packet_time(const struct sense_wire *w, const struct nflog_packet *packet)
{
	int64_t ago_us = w->real_us - packet->real_us;
	return packet->real_us && ago_us > 0 && ago_us < 1000000 ? w->now_us - ago_us : w->now_us;
}

static void on_segment(struct sense_wire *w, const struct nflog_packet *packet, size_t which)
{
	struct nflog_tcp tcp;
	bool right = nflog_tcp(packet, &tcp) || (segments[which].seen == wire_on_reset && nflog_refusal(packet, &tcp));
	if (right && (tcp.flags & segments[which].mask) == segments[which].flags)
		segments[which].seen(w, &tcp, packet_time(w, packet));
	else
		w->counts.malformed++;
}

static void on_packet(struct sense_wire *w, const struct nflog_packet *packet)
{
	w->counts.packets++;
	if (strncmp(packet->prefix, "kb:spoof", 8) == 0) {
		on_spoof(w, packet, packet_time(w, packet));
		return;
	}
	if (strncmp(packet->prefix, "kb:decoy", 8) == 0) {
		on_touch(w, packet, packet_time(w, packet));
		return;
	}
	if (strncmp(packet->prefix, "kb:out", 6) == 0) {
		on_reach(w, packet, packet_time(w, packet));
		return;
	}
	if (strncmp(packet->prefix, "kb:stray", 8) == 0) {
		on_stray(w, packet, packet_time(w, packet));
		return;
	}
	if (strncmp(packet->prefix, "kb:try", 6) == 0 || strncmp(packet->prefix, "kb:dns", 6) == 0) {
		(packet->prefix[3] == 't' ? on_try : on_name)(w, packet);
		return;
	}
	for (size_t i = 0; i < countof(segments); i++)
		if (strncmp(packet->prefix, segments[i].prefix, 6) == 0) {
			on_segment(w, packet, i);
			return;
		}
	w->counts.malformed++;
}

/* ---- receiving */

static void on_datagram(struct sense_wire *w, const struct mmsghdr *message, const uint8_t *bytes)
{
	const struct sockaddr_nl *from = message->msg_hdr.msg_name;
	struct nflog_reader reader = {bytes, message->msg_len};
	struct nflog_packet packet;
	int r = 0;
	bool from_kernel = message->msg_hdr.msg_namelen < sizeof(*from) || from->nl_pid == 0; /* a test's pair has no name */
	if (!from_kernel || (message->msg_hdr.msg_flags & MSG_TRUNC)) {
		w->counts.malformed++;
		return;
	}
	while (!w->gone && (r = nflog_next(&reader, &packet)) > 0)
		on_packet(w, &packet);
	if (r < 0)
		w->counts.malformed++;
}

/* -errno, or how many came. */
static int receive_batch(struct sense_wire *w)
{
	struct mmsghdr messages[BATCH] = {0};
	struct iovec parts[BATCH];
	struct sockaddr_nl names[BATCH];
	for (size_t i = 0; i < BATCH; i++) {
		parts[i] = (struct iovec){w->buffers[i], DATAGRAM_MAX};
		messages[i].msg_hdr = (struct msghdr){
		        .msg_name = &names[i], .msg_namelen = sizeof(names[i]), .msg_iov = &parts[i], .msg_iovlen = 1};
	}
	int n = recvmmsg(w->fd, messages, BATCH, MSG_DONTWAIT, NULL);
	if (n < 0)
		return -errno;
	w->now_us = clock_monotonic_us();
	w->real_us = clock_real_us();
	for (int i = 0; i < n && !w->gone; i++)
		on_datagram(w, &messages[i], w->buffers[i]);
	return n;
}

/* True when all that was there is read. */
static bool receive(struct sense_wire *w)
{
	for (int i = 0; i < BATCHES && !w->gone; i++) {
		int n = receive_batch(w);
		if (n == -ENOBUFS) {
			w->counts.lost++;
			wire_lost_some(w);
		} else if (n < BATCH && n != -EINTR) {
			return true;
		}
	}
	return false;
}

static void on_timer(uv_timer_t *timer);

static void schedule(struct sense_wire *w)
{
	int64_t due_us = wire_deadline(w);
	if (due_us >= w->armed_us)
		return; /* a timer that fires early for an answered request costs less than one set anew for each packet */
	int64_t wait_us = due_us - clock_monotonic_us();
	uv_timer_start(&w->timer, on_timer, wait_us > 0 ? (uint64_t)(wait_us + 999) / 1000 : 1, 0);
	w->armed_us = due_us;
}

static void on_timer(uv_timer_t *timer)
{
	struct sense_wire *w = timer->data;
	w->armed_us = INT64_MAX;
	bool all = receive(w); /* the loop runs timers first: the answer may be waiting in the socket */
	if (all && !w->gone)
		wire_overdue(w, clock_monotonic_us());
	if (!w->gone)
		schedule(w);
}

static bool many_come(struct sense_wire *w)
{
	int64_t now_us = clock_monotonic_us(), took_us = now_us - w->span_us;
	if (took_us >= MANY_US) {
		w->many = (w->counts.packets - w->span_packets) * MANY_US > MANY * (uint64_t)took_us;
		w->span_us = now_us;
		w->span_packets = w->counts.packets;
	}
	return w->many;
}

static void on_gather(uv_timer_t *timer);

static void on_readable(uv_poll_t *poll, int status unused_arg, int events unused_arg)
{
	struct sense_wire *w = poll->data;
	receive(w);
	if (w->gone)
		return;
	schedule(w);
	if (!many_come(w))
		return;
	uv_poll_stop(&w->poll);
	uv_timer_start(&w->gather, on_gather, GATHER_MS, 0);
}

static void on_gather(uv_timer_t *timer)
{
	struct sense_wire *w = timer->data;
	receive(w);
	if (w->gone)
		return;
	schedule(w);
	if (many_come(w))
		uv_timer_start(&w->gather, on_gather, GATHER_MS, 0);
	else
		uv_poll_start(&w->poll, UV_READABLE, on_readable);
}

/* ---- life */

struct sense_wire *sense_wire_new(uv_loop_t *loop, int fd, uint32_t handshake_ms, sense_report *report, void *arg)
{
	struct sense_wire *w = calloc(1, sizeof(*w));
	uint64_t seed;
	if (!w || getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed))
		abort();
	w->fd = fd;
	w->names = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	w->report = report;
	w->arg = arg;
	w->armed_us = INT64_MAX;
	w->syns = syn_table_new((int64_t)handshake_ms * 1000, seed);
	int r = uv_timer_init(loop, &w->timer);
	assert(r == 0);
	r = uv_timer_init(loop, &w->gather);
	assert(r == 0);
	r = uv_poll_init(loop, &w->poll, fd);
	assert(r == 0);
	r = uv_poll_start(&w->poll, UV_READABLE, on_readable);
	assert(r == 0);
	w->poll.data = w->timer.data = w->gather.data = w;
	return w;
}

void sense_wire_add(struct sense_wire *w, const struct conf_instance *instance, const struct conf_probe *probe)
{
	struct living *one = living_numbered(w, instance->number);
	if (!one)
		one = living_numbered(w, 0);
	assert(instance->number != 0);
	if (!one)
		return; /* more than may have a tap: it is on its way out, or will be refused one */
	*one = (struct living){.number = instance->number,
	                       .address6.ipv6 = true,
	                       .silence_us = (int64_t)probe->silence_ms * 1000,
	                       .stall_us = (int64_t)probe->stall_ms * 1000};
	memcpy(one->address4.bytes, &instance->address4, sizeof(instance->address4));
	memcpy(one->address6.bytes, &instance->address6, sizeof(instance->address6));
	text_copy(one->tap, sizeof(one->tap), instance->tap);
	w->stranger = 0;
}

void sense_wire_tell(struct sense_wire *w, struct sense_flows *flows)
{
	w->flows = flows;
}

void sense_wire_remove(struct sense_wire *w, uint32_t number)
{
	struct living *one = number ? living_numbered(w, number) : NULL;
	if (!one)
		return;
	syn_table_forget(w->syns, number);
	*one = (struct living){0};
}

void sense_wire_counts(const struct sense_wire *w, struct sense_wire_counts *ret_counts)
{
	*ret_counts = w->counts;
	ret_counts->displaced = syn_table_displaced(w->syns);
}

static void on_closed(uv_handle_t *handle)
{
	struct sense_wire *w = handle->data;
	if (--w->n_closing > 0)
		return;
	syn_table_free(w->syns);
	free(w);
}

void sense_wire_free(struct sense_wire *w)
{
	if (!w)
		return;
	assert(!w->gone);
	w->gone = true;
	w->n_closing = 3;
	uv_close((uv_handle_t *)&w->gather, on_closed);
	uv_close((uv_handle_t *)&w->poll, on_closed);
	uv_close((uv_handle_t *)&w->timer, on_closed);
	close(w->fd);
	if (w->names >= 0)
		close(w->names);
}
