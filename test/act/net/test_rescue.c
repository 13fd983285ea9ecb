/*
 * Clients over a switch, with a look at the packets: who was refused is served by the next guest and sees no reset, who was not
 * answered is served without having asked again, who waited for the dead is told; and whoever is not helped gets what it would
 * have got.
 */
#include "frames.h"
#include "world.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/ethernet.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define MANY 200
#define VERY_MANY 2000
#define CROWD 120000 /* flows; nobody lists more than 65536 */

static const char *const services[] = {SERVICE4, SERVICE6};

/* --- what a packet socket saw of TCP port 80 */

struct seen {
	unsigned opened, accepted, reset, other; /* by their flags: SYN; SYN and ACK; RST; none of them */
	uint32_t sequence;                       /* of the last SYN */
	uint8_t options[40];                     /* its */
	size_t options_size;
	uint32_t told_acknowledged, reset_sequence; /* of the last bare ACK to port 80, of the last RST from there */
};

static uint32_t big32(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void saw_segment(struct seen *seen, const uint8_t *tcp, bool to_service, bool wanted)
{
	uint8_t flags = tcp[13] & 0x17;
	if (to_service && flags == 0x10)
		seen->told_acknowledged = big32(tcp + 8);
	if (!wanted)
		return;
	seen->opened += flags == 0x02;
	seen->accepted += flags == 0x12;
	seen->reset += (flags & 0x04) != 0;
	seen->other += flags == 0x10 || flags == 0x11;
	if (flags & 0x04)
		seen->reset_sequence = big32(tcp + 4);
	if (flags == 0x02) {
		seen->sequence = big32(tcp + 4);
		seen->options_size = (size_t)(tcp[12] >> 4) * 4 - 20;
		memcpy(seen->options, tcp + 20, seen->options_size);
	}
}

/* `to_service`: those to it, else those from it. Until nothing more is there. */
static struct seen segments_seen(int fd, bool to_service)
{
	struct seen seen = {0};
	uint8_t frame[2048];
	ssize_t got;
	while ((got = recv(fd, frame, sizeof(frame), MSG_DONTWAIT)) > 0) {
		bool six = frame[12] == 0x86;
		size_t at = ETH_HLEN + (six ? 40 : 20);
		if ((size_t)got < at + 20 || frame[ETH_HLEN + (six ? 6 : 9)] != IPPROTO_TCP)
			continue;
		bool is_to = frame[at + 2] == 0 && frame[at + 3] == 80;
		saw_segment(&seen, frame + at, is_to, is_to == to_service);
	}
	return seen;
}

/* --- what the tests do */

static void await_logged(struct world *w, bool refused)
{
	for (int wait = 0; wait < SOON; wait += 50) {
		struct lab_logged logged = lab_logged(&w->lab, 50);
		if (refused ? logged.rst : logged.syn)
			return;
	}
	fail_msg("%s was not logged", refused ? "a refusal" : "an opening");
}

static void assert_serves(struct world *w, int client, uint32_t guest)
{
	assert_int_equal(lab_outcome(client, SOON), 0);
	int server = lab_accept(w->web[guest], SOON, NULL);
	assert_true(server >= 0);
	assert_passes(client, server);
	assert_passes(server, client);
	close(server);
	close(client);
}

/* Its connection was ended, before its own patience was. */
static void assert_told(int client)
{
	char byte;
	assert_true(lab_readable(client, SOON));
	assert_int_equal(recv(client, &byte, 1, 0), -1);
	assert_int_equal(errno, ECONNRESET);
}

static void strict_routing(struct world *w)
{
	lab_enter(&w->lab, LAB_HOST);
	assert_int_equal(lab_command("for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 1 > $f || exit 1; done"), 0);
}

/* Of nothing that listens on port 80. */
static void close_port(struct world *w, uint32_t guest)
{
	close(w->web[guest]);
	w->web[guest] = -1;
}

/* What the guest's own firewall does with what comes to port 80. */
static void filter_port(struct world *w, uint32_t guest, const char *verdict)
{
	lab_enter(&w->lab, LAB_GUEST1 + guest - 1);
	assert_int_equal(lab_command("nft 'add table inet shut; add chain inet shut in { type filter hook input priority 0; }; "
	                             "add rule inet shut in tcp dport 80 %s'",
	                             verdict),
	                 0);
}

/* --- refused */

static void refused_then_served(struct world *w, const char *to, uint32_t victim)
{
	int wire = lab_frames(&w->lab, LAB_CLIENT, "eth0");
	int client = lab_connect(&w->lab, LAB_CLIENT, to, 80, NULL);
	await_logged(w, true);
	assert_false(lab_readable(client, 0));
	struct seen asked = segments_seen(wire, true);
	assert_int_equal(asked.opened, 1);
	int guest = lab_frames(&w->lab, LAB_GUEST2, "eth0");
	steer(w, 2, victim);
	assert_serves(w, client, 2);
	struct seen arrived = segments_seen(guest, true), answered = segments_seen(wire, false);
	assert_int_equal(answered.reset, 0);
	assert_int_equal(arrived.opened, 1);
	assert_int_equal(arrived.sequence, asked.sequence); /* the very opening, whatever it has agreed to */
	assert_int_equal(arrived.options_size, asked.options_size);
	assert_memory_equal(arrived.options, asked.options, asked.options_size);
	close(wire);
	close(guest);
}

static void test_who_was_refused_is_served(void **state)
{
	struct world *w = *state;
	assert_string_equal(w->lab.not_rescued, "");
	strict_routing(w);
	steer(w, 1, 0);
	close_port(w, 1);
	refused_then_served(w, SERVICE4, 1);
	steer(w, 3, 0);
	close_port(w, 3);
	refused_then_served(w, SERVICE6, 3);
}

static void test_also_when_nobody_fell(void **state)
{
	struct world *w = *state;
	steer(w, 1, 0);
	close_port(w, 1);
	refused_then_served(w, SERVICE4, 0);
}

static void test_also_who_is_hidden(void **state)
{
	struct world *w = *state;
	steer(w, 1, 0);
	close_port(w, 1);
	for (size_t i = 0; i < countof(services); i++) {
		int client = lab_connect(&w->lab, LAB_CLIENT, services[i], 80, NULL);
		await_logged(w, true);
		steer(w, 2, 1);
		assert_serves(w, client, 2);
		gate(w, 1, WIRE_GATE_OPEN);
		steer(w, 1, 0);
	}
}

static void test_many_at_once(void **state)
{
	struct world *w = *state;
	int clients[MANY];
	char again[64];
	steer(w, 1, 0);
	close_port(w, 1);
	for (size_t i = 0; i < MANY; i++)
		clients[i] = lab_connect(&w->lab, LAB_CLIENT, services[i % 2], 80, NULL);
	unsigned refused = 0;
	for (int wait = 0; wait < SOON && refused < MANY; wait += 50)
		refused += lab_logged(&w->lab, 50).rst;
	struct wire_answer answer = fine(w, (struct wire_order){.type = ORDER_NET_STEER, .instance = 2, .victim = 1});
	snprintf(again, sizeof(again), "; openings sent again: %d,", MANY);
	if (!strstr(answer.text, again))
		fail_msg("%s", answer.text);
	for (size_t i = 0; i < MANY; i++)
		assert_serves(w, clients[i], 2);
}

/* An opening so long that the log has no room for it (IP's options and TCP's): what its refusal says of it must do. */
static void test_an_opening_that_was_not_kept(void **state)
{
	struct world *w = *state;
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(80), .sin_addr.s_addr = inet_addr(SERVICE4)};
	uint8_t nothing[40];
	int one = 1;
	memset(nothing, IPOPT_NOP, sizeof(nothing));
	steer(w, 1, 0);
	close_port(w, 1);
	int guest = lab_frames(&w->lab, LAB_GUEST2, "eth0");
	lab_enter(&w->lab, LAB_CLIENT);
	int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(setsockopt(client, IPPROTO_IP, IP_OPTIONS, nothing, sizeof(nothing)), 0);
	assert_int_equal(setsockopt(client, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &one, sizeof(one)), 0);
	assert_int_equal(connect(client, (struct sockaddr *)&to, sizeof(to)), -1);
	await_logged(w, true);
	steer(w, 2, 1);
	assert_serves(w, client, 2);
	assert_int_equal(segments_seen(guest, true).options_size, 4);
	close(guest);
}

static void test_refused_by_icmp(void **state)
{
	struct world *w = *state;
	steer(w, 1, 0);
	filter_port(w, 1, "reject with icmpx port-unreachable");
	int clients[] = {lab_connect(&w->lab, LAB_CLIENT, SERVICE4, 80, NULL),
	                 lab_connect(&w->lab, LAB_CLIENT, SERVICE6, 80, NULL)};
	for (unsigned refused = 0; refused < 2;) {
		unsigned more = lab_logged(&w->lab, QUIET).rst;
		assert_true(more > 0);
		refused += more;
	}
	steer(w, 2, 1);
	for (size_t i = 0; i < countof(clients); i++) {
		assert_int_equal(lab_outcome(clients[i], SOON), 0);
		close(lab_accept(w->web[2], SOON, NULL));
		close(clients[i]);
	}
}

/* --- not answered */

static void test_who_was_not_answered_is_served(void **state)
{
	struct world *w = *state;
	strict_routing(w);
	steer(w, 1, 0);
	filter_port(w, 1, "drop");
	for (size_t i = 0; i < countof(services); i++) {
		int wire = lab_frames(&w->lab, LAB_CLIENT, "eth0");
		int client = lab_connect(&w->lab, LAB_CLIENT, services[i], 80, NULL);
		await_logged(w, false);
		steer(w, 2, 1);
		assert_int_equal(lab_outcome(client, SOON), 0);
		assert_int_equal(segments_seen(wire, true).opened, 1); /* it did not ask again itself */
		assert_serves(w, client, 2);
		close(wire);
		gate(w, 1, WIRE_GATE_OPEN);
		steer(w, 1, 0);
	}
}

/* The host has no way to the guest any more, and says nothing of that to the client. */
static void test_who_was_lost_on_the_way_is_served(void **state)
{
	struct world *w = *state;
	strict_routing(w);
	steer(w, 1, 0);
	lab_enter(&w->lab, LAB_HOST);
	assert_int_equal(lab_command("ip link set kb1 down"), 0);
	int wire = lab_frames(&w->lab, LAB_CLIENT, "eth0"), clients[countof(services)];
	for (size_t i = 0; i < countof(services); i++) {
		clients[i] = lab_connect(&w->lab, LAB_CLIENT, services[i], 80, NULL);
		assert_int_equal(lab_outcome(clients[i], QUIET), -ETIMEDOUT);
	}
	/* one that may have fallen gives way; that its wire is down is enough */
	struct wire_answer answer = fine(w, (struct wire_order){.type = ORDER_NET_STEER, .instance = 2});
	if (!strstr(answer.text, "openings sent again: 2"))
		fail_msg("%s", answer.text);
	for (size_t i = 0; i < countof(services); i++) {
		assert_int_equal(lab_outcome(clients[i], SOON), 0);
		close(lab_accept(w->web[2], SOON, NULL));
		close(clients[i]);
	}
	assert_int_equal(segments_seen(wire, true).opened, countof(services)); /* nobody asked again himself */
	close(wire);
}

/* More flows than anybody lists: each opening is asked for by itself then. */
static void test_who_was_not_answered_on_a_crowded_host(void **state)
{
	struct world *w = *state;
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = inet_addr("198.51.100.1")};
	steer(w, 1, 0);
	filter_port(w, 1, "drop");
	lab_enter(&w->lab, LAB_CLIENT);
	for (int socket_number = 0; socket_number < 2; socket_number++) {
		int flood = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		for (uint32_t port = 1; port <= CROWD / 2; port++) {
			to.sin_port = htons((uint16_t)port);
			(void)!sendto(flood, "", 1, 0, (struct sockaddr *)&to,
			              sizeof(to)); /* an ICMP error of one before it is no matter */
		}
		close(flood);
	}
	int wire = lab_frames(&w->lab, LAB_CLIENT, "eth0");
	int client = lab_connect(&w->lab, LAB_CLIENT, SERVICE4, 80, NULL);
	await_logged(w, false);
	struct wire_answer answer = fine(w, (struct wire_order){.type = ORDER_NET_STEER, .instance = 2, .victim = 1});
	if (!strstr(answer.text, "openings sent again: 1, clients told: 0"))
		fail_msg("%s", answer.text);
	assert_int_equal(lab_outcome(client, SOON), 0);
	assert_int_equal(segments_seen(wire, true).opened, 1);
	assert_serves(w, client, 2);
	close(wire);
}

/* --- in the middle */

static void test_who_waits_is_told(void **state)
{
	struct world *w = *state;
	int clients[MANY], servers[MANY];
	char told[64];
	strict_routing(w);
	steer(w, 1, 0);
	for (size_t i = 0; i < MANY; i++)
		assert_int_equal(reached(w, services[i % 2], &clients[i], &servers[i], NULL), 1);
	struct wire_answer answer = fine(w, (struct wire_order){.type = ORDER_NET_STEER, .instance = 2, .victim = 1});
	snprintf(told, sizeof(told), "clients told: %d", MANY);
	if (!strstr(answer.text, told))
		fail_msg("%s", answer.text);
	for (size_t i = 0; i < MANY; i++) {
		assert_told(clients[i]);
		assert_false(lab_readable(servers[i], 0)); /* the guest that fell hears nothing of it */
		close(clients[i]);
		close(servers[i]);
	}
}

/* On a host with so many flows they are listed, not heard of; most have ended already. Nobody is overlooked among them. */
static void test_among_very_many_flows(void **state)
{
	struct world *w = *state;
	int client, server, asking[8];
	steer(w, 1, 0);
	for (int i = 0; i < VERY_MANY; i++)
		assert_int_equal(reached(w, services[i % 2], NULL, NULL, NULL), 1);
	assert_int_equal(reached(w, SERVICE4, &client, &server, NULL), 1);
	filter_port(w, 1, "drop");
	for (size_t i = 0; i < countof(asking); i++)
		asking[i] = lab_connect(&w->lab, LAB_CLIENT, services[i % 2], 80, NULL);
	await_logged(w, false);
	struct wire_answer answer = fine(w, (struct wire_order){.type = ORDER_NET_STEER, .instance = 2, .victim = 1});
	if (!strstr(answer.text, "openings sent again: 8, clients told: 1"))
		fail_msg("%s", answer.text);
	assert_told(client);
	close(client);
	close(server);
	for (size_t i = 0; i < countof(asking); i++) {
		assert_int_equal(lab_outcome(asking[i], SOON), 0);
		close(lab_accept(w->web[2], SOON, NULL));
		close(asking[i]);
	}
}

/* The number that the client's kernel takes is its own: it said what it expects next, and the new guest's refusal bears that. */
static void test_how_it_is_told(void **state)
{
	struct world *w = *state;
	for (size_t i = 0; i < countof(services); i++) {
		int client, server;
		steer(w, 1, 0);
		assert_int_equal(reached(w, services[i], &client, &server, NULL), 1);
		assert_passes(server, client);
		assert_passes(client, server);
		int wire = lab_frames(&w->lab, LAB_CLIENT, "eth0");
		steer(w, 2, 1);
		assert_true(lab_readable(client, SOON));
		struct seen seen = segments_seen(wire, false);
		assert_int_equal(seen.opened, 1);
		assert_int_equal(seen.reset, 1);
		assert_int_equal(seen.other + seen.accepted, 0);
		assert_true(seen.told_acknowledged != 0);
		assert_int_equal(seen.reset_sequence, seen.told_acknowledged);
		close(wire);
		close(client);
		close(server);
		gate(w, 1, WIRE_GATE_OPEN);
	}
}

/* Of one that clients were led away from before: at the end of its drain, and when it fell after all. */
static void test_the_end_of_a_drain_is_told(void **state)
{
	static const struct wire_order ends[] = {{.type = ORDER_NET_CUT, .instance = 1},
	                                         {.type = ORDER_NET_GATE, .instance = 1, .gate = WIRE_GATE_FENCED}};
	struct world *w = *state;
	int client, server;
	for (size_t i = 0; i < countof(ends); i++) {
		steer(w, 1, 0);
		assert_int_equal(reached(w, SERVICE4, &client, &server, NULL), 1);
		steer(w, 2, 0);
		assert_passes(client, server);
		struct wire_answer answer = fine(w, ends[i]);
		if (!strstr(answer.text, "clients told: 1"))
			fail_msg("%s", answer.text);
		assert_told(client);
		close(client);
		close(server);
	}
}

/* --- who is not helped */

static void test_without_another_guest_it_is_refused(void **state)
{
	struct world *w = *state;
	steer(w, 1, 0);
	close_port(w, 1);
	for (size_t i = 0; i < countof(services); i++) {
		int client = lab_connect(&w->lab, LAB_CLIENT, services[i], 80, NULL);
		assert_int_equal(lab_outcome(client, SOON), -ECONNREFUSED);
		close(client);
	}
	int client = lab_connect(&w->lab, LAB_CLIENT, SERVICE4, 80, NULL);
	await_logged(w, true);
	steer(w, 0, 1);
	assert_int_equal(lab_outcome(client, SOON), -ECONNREFUSED);
	close(client);
}

static void test_a_kill_delays_a_refusal_no_more(void **state)
{
	struct world *w = *state;
	steer(w, 1, 0);
	close_port(w, 1);
	int client = lab_connect(&w->lab, LAB_CLIENT, SERVICE4, 80, NULL);
	await_logged(w, true);
	lab_kill(&w->lab);
	assert_int_equal(lab_outcome(client, 2 * SOON), -ECONNREFUSED); /* its second opening's */
	close(client);
	lab_start(&w->lab, world_program);
	client = lab_connect(&w->lab, LAB_CLIENT, SERVICE4, 80, NULL);
	await_logged(w, true);
	steer(w, 2, 1);
	assert_serves(w, client, 2);
}

static void test_a_service_may_be_left_alone(void **state)
{
	struct world *w = *state;
	int client, server;
	configure(w, "services:\n  web:\n    rescue: no\n");
	steer(w, 1, 0);
	assert_int_equal(reached(w, SERVICE4, &client, &server, NULL), 1);
	close_port(w, 1);
	int wire = lab_frames(&w->lab, LAB_CLIENT, "eth0");
	int refused = lab_connect(&w->lab, LAB_CLIENT, SERVICE6, 80, NULL);
	assert_int_equal(lab_outcome(refused, SOON), -ECONNREFUSED);
	assert_int_equal(segments_seen(wire, false).reset, 1);
	steer(w, 2, 1);
	assert_false(lab_readable(client, QUIET));
	close(wire);
	close(refused);
	close(client);
	close(server);
}

static void test_it_says_why_it_cannot(void **state)
{
	struct world *w = *state;
	lab_enter(&w->lab, LAB_HOST);
	assert_int_equal(lab_command("echo 0 > /proc/sys/net/netfilter/nf_conntrack_tcp_loose"), 0);
	configure(w, "");
	if (!strstr(w->lab.not_rescued, "nf_conntrack_tcp_loose is 0"))
		fail_msg("%s", w->lab.not_rescued);
	steer(w, 1, 0);
	close_port(w, 1);
	int client = lab_connect(&w->lab, LAB_CLIENT, SERVICE4, 80, NULL);
	assert_int_equal(lab_outcome(client, SOON), -ECONNREFUSED);
	close(client);
}

int main(int argc, char **argv)
{
	int r = world_begin(argc, argv);
	if (r != 0)
		return r;
	const struct CMUnitTest tests[] = {
	        LAB_TEST(test_who_was_refused_is_served),
	        LAB_TEST(test_also_when_nobody_fell),
	        cmocka_unit_test_setup_teardown(test_also_who_is_hidden, world_setup_hidden, world_teardown),
	        LAB_TEST(test_many_at_once),
	        LAB_TEST(test_an_opening_that_was_not_kept),
	        LAB_TEST(test_refused_by_icmp),
	        LAB_TEST(test_who_was_not_answered_is_served),
	        LAB_TEST(test_who_was_lost_on_the_way_is_served),
	        LAB_TEST(test_who_was_not_answered_on_a_crowded_host),
	        LAB_TEST(test_who_waits_is_told),
	        LAB_TEST(test_among_very_many_flows),
	        LAB_TEST(test_how_it_is_told),
	        LAB_TEST(test_the_end_of_a_drain_is_told),
	        LAB_TEST(test_without_another_guest_it_is_refused),
	        LAB_TEST(test_a_kill_delays_a_refusal_no_more),
	        LAB_TEST(test_a_service_may_be_left_alone),
	        LAB_TEST(test_it_says_why_it_cannot),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
