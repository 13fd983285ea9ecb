/*
 * NFLOG datagrams built by hand: what the reader makes of them, and what the wire sensor reports when it gets them through a
 * socket.
 */
#include "sense/nflog.h"
#include "sense/sense.h"
#include "sense/silence.h"

#include "lib/bytes.h"
#include "packets.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <cmocka.h>

/* ---- the reader */

static void read_one(const struct packets *packets, struct nflog_packet *ret_packet)
{
	struct nflog_reader reader = {packets->bytes, packets->size};
	assert_int_equal(nflog_next(&reader, ret_packet), 1);
	assert_int_equal(nflog_next(&reader, &(struct nflog_packet){0}), 0);
}

static void test_reads_tcp(void **state unused_arg)
{
	struct packets packets = {0};
	struct nflog_packet packet;
	struct nflog_tcp tcp;
	char text[INET6_ADDRSTRLEN];
	packets_tcp(&packets, "kb:syn", "203.0.113.9", 40000, "198.51.100.7", 80, NFLOG_SYN);
	read_one(&packets, &packet);
	assert_string_equal(packet.prefix, "kb:syn");
	assert_int_equal(packet.in_index, PACKETS_INDEX);
	assert_true(nflog_tcp(&packet, &tcp));
	assert_int_equal(tcp.source_port, 40000);
	assert_int_equal(tcp.destination_port, 80);
	assert_int_equal(tcp.flags, NFLOG_SYN);
	nflog_address_text(&tcp.destination, text);
	assert_string_equal(text, "198.51.100.7");
	packets.size = 0;
	packets_tcp(&packets, "kb:ack", "2001:db8::7", 80, "2001:db8::9", 40000, NFLOG_SYN | NFLOG_ACK);
	read_one(&packets, &packet);
	assert_true(nflog_tcp(&packet, &tcp));
	nflog_address_text(&tcp.source, text);
	assert_string_equal(text, "2001:db8::7");
}

/* Every cut is refused or read as less, never read behind: ASan looks at the exact copy. */
static void test_cuts(void **state unused_arg)
{
	struct packets packets = {0};
	packets_tcp(&packets, "kb:syn", "203.0.113.9", 40000, "198.51.100.7", 80, NFLOG_SYN);
	packets_tcp(&packets, "kb:syn", "2001:db8::9", 40000, "2001:db8::7", 80, NFLOG_SYN);
	for (size_t size = 0; size < packets.size; size++) {
		auto_free uint8_t *exact = malloc(size + 1);
		struct nflog_packet packet;
		struct nflog_tcp tcp;
		memcpy(exact, packets.bytes, size);
		struct nflog_reader reader = {exact, size};
		int r, n = 0;
		while ((r = nflog_next(&reader, &packet)) == 1)
			n += nflog_tcp(&packet, &tcp);
		assert_true(n < 2);
		assert_true(r == 0 || r == -EBADMSG);
	}
}

/* Lengths that reach out of what holds them. */
static void test_false_lengths(void **state unused_arg)
{
	struct packets packets = {0};
	struct nflog_packet packet;
	packets_tcp(&packets, "kb:syn", "203.0.113.9", 40000, "198.51.100.7", 80, NFLOG_SYN);
	size_t payload = packets.size - 44; /* the last attribute: head and 40 bytes */
	for (uint16_t size = 0; size < 200; size++) {
		struct nflog_reader reader = {packets.bytes, packets.size};
		memcpy(packets.bytes + payload, &size, sizeof(size));
		int r = nflog_next(&reader, &packet);
		if (size < 4 || size > 44)
			assert_int_equal(r, -EBADMSG);
		else if (size == 44)
			assert_int_equal(packet.payload_size, 40);
	}
	for (uint32_t size = 0; size < 300; size++) {
		struct nflog_reader reader = {packets.bytes, packets.size};
		memcpy(packets.bytes, &size, sizeof(size));
		if (size < 20 || size > packets.size)
			assert_int_equal(nflog_next(&reader, &packet), -EBADMSG);
	}
}

static void check_claim(const struct packets *packets, const char *claim)
{
	struct nflog_packet packet;
	char text[NFLOG_CLAIM_MAX];
	read_one(packets, &packet);
	nflog_claim(&packet, text);
	assert_string_equal(text, claim);
}

static void test_claims(void **state unused_arg)
{
	struct packets packets = {0};
	packets_arp(&packets, "kb:spoof", "203.0.113.80");
	check_claim(&packets, "claimed by ARP that 203.0.113.80 is at 02:00:00:00:00:09");
	packets.size = 0;
	packets_neighbour(&packets, "kb:spoof", "2001:db8::7", "2001:db8::80");
	check_claim(&packets, "claimed by ND to have 2001:db8::80, as 2001:db8::7 from 02:00:00:00:00:09");
	packets.size = 0;
	packets_vrrp(&packets, "kb:spoof", "198.51.100.7", 51, 255);
	check_claim(&packets, "claimed by VRRP to be router 51 with priority 255, as 198.51.100.7 from 02:00:00:00:00:09");
	packets.size = 0;
	packets_tcp(&packets, "kb:spoof", "203.0.113.1", 1, "198.51.100.7", 2, NFLOG_SYN);
	check_claim(&packets, "sent as 203.0.113.1 from 02:00:00:00:00:09");
}

static void test_refusal_by_icmp(void **state unused_arg)
{
	struct packets packets = {0};
	struct nflog_packet packet;
	struct nflog_tcp tcp;
	packets_unreachable(&packets, "kb:rst", "198.51.100.7", 80, "203.0.113.9", 40000, 3);
	read_one(&packets, &packet);
	assert_false(nflog_tcp(&packet, &tcp));
	assert_true(nflog_refusal(&packet, &tcp));
	assert_int_equal(tcp.source_port, 80);
	assert_int_equal(tcp.destination_port, 40000);
	packets.size = 0;
	packets_unreachable(&packets, "kb:rst", "198.51.100.7", 80, "203.0.113.9", 40000, 4); /* about packet sizes */
	read_one(&packets, &packet);
	assert_false(nflog_refusal(&packet, &tcp));
}

/* ---- the sensor */

struct stage {
	uv_loop_t loop;
	uv_timer_t patience;
	int fd;
	struct sense_wire *wire;
	unsigned n_found[FINDING_MAX_];
	struct evidence last;
	char detail[300];
};

static void on_report(void *arg, const struct evidence *evidence, const char *detail)
{
	struct stage *s = arg;
	assert_int_equal(evidence->vantage, evidence->finding == FINDING_TOUCHED ? VANTAGE_DECOY : VANTAGE_WIRE);
	s->n_found[evidence->finding]++;
	s->last = *evidence;
	text_copy(s->detail, sizeof(s->detail), detail);
}

static void on_patience(uv_timer_t *timer unused_arg)
{
	fail_msg("nothing happened any more");
}

static int set_up(void **state)
{
	struct stage *s = calloc(1, sizeof(*s));
	int pair[2];
	assert_non_null(s);
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	uv_loop_init(&s->loop);
	uv_timer_init(&s->loop, &s->patience);
	uv_timer_start(&s->patience, on_patience, 10000, 0);
	s->fd = pair[1];
	s->wire = sense_wire_new(&s->loop, pair[0], 30, on_report, s);
	struct conf_instance seven = {.number = 7, .tap = "lo"}; /* an interface that is always there */
	inet_pton(AF_INET, "198.51.100.7", &seven.address4);
	inet_pton(AF_INET6, "2001:db8::7", &seven.address6);
	sense_wire_add(s->wire, &seven, &(struct conf_probe){.silence_ms = 20, .stall_ms = 10});
	*state = s;
	return 0;
}

static int tear_down(void **state)
{
	struct stage *s = *state;
	sense_wire_free(s->wire);
	uv_close((uv_handle_t *)&s->patience, NULL);
	uv_run(&s->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&s->loop), 0);
	close(s->fd);
	free(s);
	return 0;
}

static void deliver(struct stage *s, const struct packets *packets)
{
	struct sense_wire_counts before, now;
	sense_wire_counts(s->wire, &before);
	assert_int_equal(send(s->fd, packets->bytes, packets->size, 0), packets->size);
	do {
		uv_run(&s->loop, UV_RUN_ONCE);
		sense_wire_counts(s->wire, &now);
	} while (now.packets == before.packets && now.malformed == before.malformed);
}

static void await_finding(struct stage *s, enum finding finding, unsigned n)
{
	while (s->n_found[finding] < n)
		uv_run(&s->loop, UV_RUN_ONCE);
	assert_int_equal(s->n_found[finding], n);
}

static void test_reset(void **state)
{
	struct stage *s = *state;
	struct packets packets = {0};
	packets_tcp(&packets, "kb:syn", "203.0.113.9", 40000, "198.51.100.7", 80, NFLOG_SYN);
	deliver(s, &packets);
	packets.size = 0;
	packets_tcp(&packets, "kb:rst", "198.51.100.7", 80, "203.0.113.9", 40000, NFLOG_RST | NFLOG_ACK);
	deliver(s, &packets);
	assert_int_equal(s->n_found[FINDING_REFUSED], 1);
	assert_int_equal(s->last.instance, 7);
	assert_true(s->last.began_us <= s->last.time_us);
	assert_string_equal(s->detail, "port 80 refused 203.0.113.9 port 40000");
	for (int i = 0; i < 50; i++)
		deliver(s, &packets);
	assert_in_range(s->n_found[FINDING_REFUSED], 1, 5); /* one says it for all */
	struct sense_wire_counts counts;
	sense_wire_counts(s->wire, &counts);
	assert_int_equal(counts.resets, 51);
}

static void test_unanswered(void **state)
{
	struct stage *s = *state;
	struct packets packets = {0};
	packets_tcp(&packets, "kb:syn", "203.0.113.9", 40000, "198.51.100.7", 80, NFLOG_SYN);
	packets_tcp(&packets, "kb:syn", "2001:db8::9", 40001, "2001:db8::7", 80, NFLOG_SYN);
	packets_tcp(&packets, "kb:ack", "2001:db8::7", 80, "2001:db8::9", 40001, NFLOG_SYN | NFLOG_ACK);
	deliver(s, &packets);
	await_finding(s, FINDING_UNANSWERED, 1);
	assert_true(s->last.time_us - s->last.began_us >= 30000);
	assert_string_equal(s->detail, "203.0.113.9 port 40000 asked for port 80 and got no answer");
	packets.size = 0;
	packets_tcp(&packets, "kb:syn", "203.0.113.9", 40000, "198.51.100.7", 80, NFLOG_SYN);
	packets_tcp(&packets, "kb:syn", "203.0.113.9", 40000, "198.51.100.7", 80, NFLOG_SYN);
	deliver(s, &packets);
	assert_int_equal(s->n_found[FINDING_UNANSWERED], 1); /* whoever asks twice at once convicts nobody */
	sense_wire_remove(s->wire, 7);
	packets_tcp(&packets, "kb:rst", "198.51.100.7", 80, "203.0.113.9", 40000, NFLOG_RST | NFLOG_ACK);
	packets_tcp(&packets, "kb:ask", "203.0.113.9", 40000, "198.51.100.7", 80, NFLOG_ACK);
	packets_tcp(&packets, "kb:say", "198.51.100.7", 80, "203.0.113.9", 40000, NFLOG_ACK);
	deliver(s, &packets);
	struct sense_wire_counts counts;
	sense_wire_counts(s->wire, &counts);
	assert_int_equal(counts.strange, 5);
	assert_int_equal(s->n_found[FINDING_REFUSED], 0);
}

/* `ago_us`: so long before we read it. */
static void exchange(struct stage *s, uint16_t port, bool answered, int64_t ago_us)
{
	struct packets packets = {.real_us = clock_real_us() - ago_us};
	packets_tcp(&packets, "kb:syn", "203.0.113.9", port, "198.51.100.7", 80, NFLOG_SYN);
	if (answered)
		packets_tcp(&packets, "kb:ack", "198.51.100.7", 80, "203.0.113.9", port, NFLOG_SYN | NFLOG_ACK);
	deliver(s, &packets);
}

static void known(struct stage *s, uint16_t *port)
{
	exchange(s, (*port)++, true, SILENCE_KNOWN_US + 100000);
	for (int n = 1; n < SILENCE_KNOWN_ANSWERS; n++)
		exchange(s, (*port)++, true, 0);
}

/* What a kernel drops without a word says nothing about its guest, or any client could make it look silent. */
static void test_signed_openings_say_nothing(void **state)
{
	struct stage *s = *state;
	uint16_t port = 40000;
	known(s, &port);
	for (int n = 0; n < SILENCE_ASKED; n++) {
		struct packets packets = {.real_us = clock_real_us() - 5000};
		packets_signed(&packets, "kb:syn", n % 2 ? "203.0.113.9" : "203.0.113.10", port++, "198.51.100.7", 80);
		deliver(s, &packets);
	}
	int64_t before_us = clock_monotonic_us();
	for (int n = 0; n < SILENCE_ASKED; n++)
		exchange(s, port++, false, 0);
	await_finding(s, FINDING_STALLED, 1);
	assert_true(s->last.began_us > before_us - 2500);
}

/* A guest that always answered falls silent: said twice, then less often, long before its openings are overdue one by one. */
static void test_silent(void **state)
{
	struct stage *s = *state;
	uint16_t port = 40000;
	known(s, &port);
	for (int n = 0; n < SILENCE_ASKED; n++)
		exchange(s, port++, false, 0);
	await_finding(s, FINDING_STALLED, 1); /* nobody falls for it, so it is told sooner */
	int64_t began_us = s->last.began_us;
	assert_true(s->last.time_us - began_us >= 10000);
	await_finding(s, FINDING_SILENT, 1);
	assert_int_equal(s->last.began_us, began_us);
	assert_int_equal(s->last.instance, 7);
	assert_true(s->last.time_us - began_us >= 20000);
	assert_non_null(strstr(s->detail, "no new connection was answered for "));
	await_finding(s, FINDING_SILENT, 2);
	assert_int_equal(s->last.began_us, began_us);
	assert_int_equal(s->n_found[FINDING_STALLED], 1);
	exchange(s, port++, true, 0);
	struct sense_wire_counts counts;
	sense_wire_counts(s->wire, &counts);
	assert_int_equal(counts.silent, 2);
}

/* `port`'s connection is taken, and asks. */
static void request(struct stage *s, uint16_t port, bool answered, int64_t ago_us)
{
	struct packets packets = {.real_us = clock_real_us() - ago_us};
	exchange(s, port, true, ago_us);
	packets_tcp(&packets, "kb:ask", "203.0.113.9", port, "198.51.100.7", 80, NFLOG_ACK);
	if (answered)
		packets_tcp(&packets, "kb:say", "198.51.100.7", 80, "203.0.113.9", port, NFLOG_ACK | NFLOG_FIN);
	deliver(s, &packets);
}

/* Connections are taken as ever and their requests wait: a doubt, told twice; nobody falls for it. */
static void test_taken_and_not_answered(void **state)
{
	struct stage *s = *state;
	uint16_t port = 40000;
	request(s, port++, true, SILENCE_KNOWN_US + 100000);
	for (int n = 1; n < SILENCE_KNOWN_ANSWERS; n++)
		request(s, port++, true, 0);
	for (int n = 0; n < SILENCE_ASKED; n++)
		request(s, port++, false, 0);
	await_finding(s, FINDING_UNHEARD, 1);
	int64_t began_us = s->last.began_us, first_us = s->last.time_us;
	assert_int_equal(s->last.instance, 7);
	assert_true(first_us - began_us >= 10000);
	assert_non_null(strstr(s->detail, "no request of a new connection was answered for "));
	request(s, port++, false, 0);
	await_finding(s, FINDING_UNHEARD, 2);
	assert_int_equal(s->last.began_us, began_us);
	assert_true(s->last.time_us - first_us >= 2500);
	assert_int_equal(s->n_found[FINDING_STALLED] + s->n_found[FINDING_SILENT] + s->n_found[FINDING_UNANSWERED], 0);
	for (int n = 0; n < SILENCE_ASKED; n++)
		exchange(s, port++, false, 0);
	await_finding(s, FINDING_SILENT, 3); /* long enough for another time; but a client that only begins to ask is no reason */
	assert_int_equal(s->n_found[FINDING_UNHEARD], 2);
	request(s, port++, true, 0);
	struct sense_wire_counts counts;
	sense_wire_counts(s->wire, &counts);
	assert_int_equal(counts.malformed + counts.strange, 0);
}

/* The loop was away while the answer came: it is read before anything is called overdue. */
static void test_answer_in_time_read_late(void **state)
{
	struct stage *s = *state;
	struct packets packets = {0};
	packets_tcp(&packets, "kb:syn", "203.0.113.9", 40000, "198.51.100.7", 80, NFLOG_SYN);
	deliver(s, &packets);
	packets.size = 0;
	packets_tcp(&packets, "kb:ack", "198.51.100.7", 80, "203.0.113.9", 40000, NFLOG_SYN | NFLOG_ACK);
	assert_int_equal(send(s->fd, packets.bytes, packets.size, 0), packets.size);
	usleep(60000); /* the fault itself */
	uv_run(&s->loop, UV_RUN_NOWAIT);
	uv_run(&s->loop, UV_RUN_NOWAIT);
	assert_int_equal(s->n_found[FINDING_UNANSWERED], 0);
}

static void test_spoof(void **state)
{
	struct stage *s = *state;
	struct packets packets = {0};
	packets_arp(&packets, "kb:spoof", "203.0.113.80");
	deliver(s, &packets);
	assert_int_equal(s->n_found[FINDING_SPOOFED], 1);
	assert_int_equal(s->last.instance, 7);
	assert_string_equal(s->detail, "claimed by ARP that 203.0.113.80 is at 02:00:00:00:00:09");
}

static void test_reach(void **state)
{
	struct stage *s = *state;
	for (uint16_t n = 1; n <= 12; n++) {
		struct packets packets = {0};
		packets_tcp(&packets, "kb:out", "198.51.100.7", (uint16_t)(40000 + n), "198.51.100.9", n, NFLOG_SYN);
		deliver(s, &packets);
		assert_int_equal(s->n_found[FINDING_REACHING], n >= 10); /* and not again at once */
	}
	assert_int_equal(s->last.instance, 7);
	assert_int_equal(s->last.vantage, VANTAGE_WIRE);
	assert_non_null(strstr(s->detail, "to 10 places, last 198.51.100.9 port 10; usual is none"));
	struct sense_wire_counts counts;
	sense_wire_counts(s->wire, &counts);
	assert_int_equal(counts.reached, 12);
}

/* Told once a second with their number, whatever they are; connections among them count as reaching out. */
static void test_stray(void **state)
{
	struct stage *s = *state;
	struct sense_wire_counts counts;
	struct packets packets = {0};
	packets_other(&packets, "kb:stray", IPPROTO_UDP, "198.51.100.7", 40000, "198.51.100.9", 123);
	deliver(s, &packets);
	assert_int_equal(s->n_found[FINDING_STRAYED], 1);
	assert_int_equal(s->last.instance, 7);
	assert_int_equal(s->last.vantage, VANTAGE_WIRE);
	assert_string_equal(s->detail, "sent to 198.51.100.9 port 123/udp, which is not in its profile");
	for (uint16_t n = 1; n <= 12; n++) {
		packets = (struct packets){0};
		packets_tcp(&packets, "kb:stray", "198.51.100.7", (uint16_t)(40000 + n), "198.51.100.9", n, NFLOG_SYN);
		packets_tcp(&packets, "kb:stray", "198.51.100.7", 40000, "198.51.100.9", 81, NFLOG_ACK);
		packets_other(&packets, "kb:stray", IPPROTO_ICMPV6, "2001:db8::7", 0x8000, "2001:db8::9", 0);
		deliver(s, &packets);
		assert_int_equal(s->n_found[FINDING_REACHING], n >= 10);
	}
	assert_int_equal(s->n_found[FINDING_STRAYED], 1);
	sense_wire_counts(s->wire, &counts);
	assert_int_equal(counts.strayed, 37);
	assert_int_equal(counts.reached, 12);
	assert_int_equal(counts.malformed, 0);
}

static void test_places_in_words(void **state unused_arg)
{
	static const struct {
		uint8_t protocol;
		const char *source, *destination, *words;
	} rows[] = {
	        {IPPROTO_TCP, "198.51.100.7", "198.51.100.9", "198.51.100.9 port 4660/tcp"},
	        {IPPROTO_UDP, "2001:db8::7", "2001:db8::9", "2001:db8::9 port 4660/udp"},
	        {IPPROTO_ICMP, "198.51.100.7", "198.51.100.9", "198.51.100.9 by ICMP type 8"},
	        {IPPROTO_ICMPV6, "2001:db8::7", "2001:db8::9", "2001:db8::9 by ICMPv6 type 8"},
	        {47, "198.51.100.7", "198.51.100.9", "198.51.100.9 by IP protocol 47"},
	};
	for (size_t i = 0; i < countof(rows); i++) {
		char text[NFLOG_PLACE_MAX];
		struct packets packets = {0};
		struct nflog_packet packet;
		struct nflog_flow flow;
		packets_other(&packets, "kb:stray", rows[i].protocol, rows[i].source, 0x0800, rows[i].destination, 4660);
		struct nflog_reader reader = {packets.bytes, packets.size};
		assert_int_equal(nflog_next(&reader, &packet), 1);
		assert_true(nflog_flow(&packet, &flow));
		nflog_place(&flow, text);
		assert_string_equal(text, rows[i].words);
		packet.payload_size = 19; /* less than a header is about nothing */
		assert_false(nflog_flow(&packet, &flow));
	}
}

/* Until it is said: the same finding is said again only after a while. */
static void touched(struct stage *s, const struct packets *packets, const char *detail)
{
	unsigned before = s->n_found[FINDING_TOUCHED];
	while (s->n_found[FINDING_TOUCHED] == before)
		deliver(s, packets);
	assert_int_equal(s->last.instance, 7);
	assert_string_equal(s->detail, detail);
}

static void test_touch(void **state)
{
	struct stage *s = *state;
	struct packets p[6] = {0};
	packets_tcp(&p[0], "kb:decoy", "198.51.100.7", 40000, "198.51.100.77", 22, NFLOG_SYN);
	packets_tcp(&p[1], "kb:decoy", "2001:db8::7", 40000, "2001:db8::77", 443, NFLOG_SYN);
	packets_who_has(&p[2], "kb:decoy", "198.51.100.77");
	packets_who_has(&p[3], "kb:decoy", "2001:db8::77");
	packets_ping(&p[4], "kb:decoy", "198.51.100.7", "198.51.100.77");
	packets_ping(&p[5], "kb:decoy", "2001:db8::7", "2001:db8::77");
	deliver(s, &p[0]);
	assert_int_equal(s->n_found[FINDING_TOUCHED], 1); /* the first at once */
	touched(s, &p[0], "spoke to 198.51.100.77 port 22 (TCP), where nobody is");
	touched(s, &p[1], "spoke to 2001:db8::77 port 443 (TCP), where nobody is");
	touched(s, &p[2], "asked by ARP for 198.51.100.77, where nobody is");
	touched(s, &p[3], "asked by ND for 2001:db8::77, where nobody is");
	touched(s, &p[4], "pinged 198.51.100.77, where nobody is");
	touched(s, &p[5], "pinged 2001:db8::77, where nobody is");
	struct sense_wire_counts counts;
	sense_wire_counts(s->wire, &counts);
	assert_true(counts.touched >= 7);
	assert_int_equal(counts.malformed, 0);
}

static void test_nonsense(void **state)
{
	struct stage *s = *state;
	struct packets packets = {0};
	struct sense_wire_counts counts;
	packets_tcp(&packets, "kb:what", "203.0.113.9", 40000, "198.51.100.7", 80, NFLOG_SYN);
	packets_tcp(&packets, "kb:rst", "198.51.100.7", 80, "203.0.113.9", 40000, NFLOG_ACK); /* not what the prefix says */
	packets_arp(&packets, "kb:syn", "203.0.113.80");
	deliver(s, &packets);
	packets = (struct packets){.size = 33};
	memset(packets.bytes, 0xff, sizeof(packets.bytes));
	deliver(s, &packets);
	sense_wire_counts(s->wire, &counts);
	assert_int_equal(counts.malformed, 4);
	for (size_t i = 0; i < FINDING_MAX_; i++)
		assert_int_equal(s->n_found[i], 0);
}

/* Prints what a packet costs; asserts nothing about it. */
static void test_many(void **state)
{
	struct stage *s = *state;
	struct packets packets = {0};
	struct rusage before, after;
	struct sense_wire_counts counts = {0};
	getrusage(RUSAGE_SELF, &before);
	for (uint16_t i = 0; i < 2000; i++) {
		packets.size = 0;
		packets_tcp(&packets, "kb:syn", "203.0.113.9", (uint16_t)(1024 + i), "198.51.100.7", 80, NFLOG_SYN);
		assert_true(send(s->fd, packets.bytes, packets.size, 0) > 0);
		packets.size = 0;
		packets_tcp(&packets, "kb:ack", "198.51.100.7", 80, "203.0.113.9", (uint16_t)(1024 + i), NFLOG_SYN | NFLOG_ACK);
		assert_true(send(s->fd, packets.bytes, packets.size, 0) > 0);
		while (i % 4 == 3 && counts.packets < 2 * (i + 1u)) { /* after a while they are gathered, and none is forgotten */
			uv_run(&s->loop, UV_RUN_ONCE);
			sense_wire_counts(s->wire, &counts);
		}
	}
	getrusage(RUSAGE_SELF, &after);
	assert_int_equal(counts.packets, 4000);
	assert_int_equal(s->n_found[FINDING_UNANSWERED], 0);
	int64_t us = (after.ru_utime.tv_sec - before.ru_utime.tv_sec + after.ru_stime.tv_sec - before.ru_stime.tv_sec) * 1000000 +
	             after.ru_utime.tv_usec - before.ru_utime.tv_usec + after.ru_stime.tv_usec - before.ru_stime.tv_usec;
	print_message("4000 packets, sending them included: %ld us CPU\n", (long)us);
}

int main(void)
{
#define STAGED(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_reads_tcp),
	        cmocka_unit_test(test_cuts),
	        cmocka_unit_test(test_false_lengths),
	        cmocka_unit_test(test_claims),
	        cmocka_unit_test(test_refusal_by_icmp),
	        STAGED(test_reset),
	        STAGED(test_unanswered),
	        STAGED(test_signed_openings_say_nothing),
	        STAGED(test_silent),
	        STAGED(test_taken_and_not_answered),
	        STAGED(test_answer_in_time_read_late),
	        STAGED(test_spoof),
	        STAGED(test_reach),
	        STAGED(test_stray),
	        STAGED(test_places_in_words),
	        STAGED(test_touch),
	        STAGED(test_nonsense),
	        STAGED(test_many),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
