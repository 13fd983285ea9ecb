/*
 * koboshi-net as its neighbours see it: orders in, packets judged. A switch moves what is new, cuts what is old when a
 * victim is named and leaves it when not; a fenced guest is cut off; a guest cannot be what it is not; a kill disturbs
 * nobody.
 */
#include "frames.h"
#include "world.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cmocka.h>

/* ---- the tests */

static void test_nowhere_is_silent(void **state)
{
	struct world *w = *state;
	assert_target(w, 0);
	assert_int_equal(gate_of(w, 1), WIRE_GATE_QUARANTINE);
	int fd = lab_connect(&w->lab, LAB_CLIENT, SERVICE4, 80, NULL);
	assert_int_equal(lab_outcome(fd, QUIET), -ETIMEDOUT); /* dropped, not refused */
	close(fd);
}

static void test_steer_moves_all_kinds(void **state)
{
	struct world *w = *state;
	char peer[INET6_ADDRSTRLEN];
	for (uint32_t n = 1; n <= 2; n++) {
		steer(w, n, 0);
		assert_target(w, n);
		assert_int_equal(reached(w, SERVICE4, NULL, NULL, peer), n);
		assert_string_equal(peer, "198.51.100.7");
		assert_int_equal(reached(w, SERVICE6, NULL, NULL, peer), n);
		assert_string_equal(peer, "2001:db8:20::7");
		assert_int_equal(reached_udp(w, SERVICE4), n);
		assert_int_equal(reached_udp(w, SERVICE6), n);
	}
	int direct = lab_connect(&w->lab, LAB_CLIENT, w->address4[2], 80, NULL);
	assert_int_equal(lab_outcome(direct, QUIET), -ETIMEDOUT); /* a guest's own address is nobody's business */
	close(direct);
}

static void test_planned_switch_keeps_old_flows(void **state)
{
	struct world *w = *state;
	int client, server;
	steer(w, 1, 0);
	assert_int_equal(reached(w, SERVICE4, &client, &server, NULL), 1);
	steer(w, 2, 0);
	assert_int_equal(reached(w, SERVICE4, NULL, NULL, NULL), 2);
	assert_passes(client, server);
	assert_passes(server, client);
	lab_logged(&w->lab, QUIET);
	fine(w, (struct wire_order){.type = ORDER_NET_CUT, .instance = 1});
	assert_true(lab_readable(client, SOON));
	char byte;
	assert_int_equal(recv(client, &byte, 1, 0), -1);
	assert_int_equal(errno, ECONNRESET);                 /* the new instance does not know it */
	assert_int_equal(lab_logged(&w->lab, QUIET).rst, 0); /* and that refusal is no evidence */
	close(client);
	close(server);
}

static void test_victim_is_cut_and_fenced(void **state)
{
	struct world *w = *state;
	int client[2], server[2];
	steer(w, 1, 0);
	assert_int_equal(reached(w, SERVICE4, &client[0], &server[0], NULL), 1);
	assert_int_equal(reached(w, SERVICE6, &client[1], &server[1], NULL), 1);
	steer(w, 3, 1);
	assert_int_equal(gate_of(w, 1), WIRE_GATE_FENCED);
	assert_int_equal(reached(w, SERVICE4, NULL, NULL, NULL), 3);
	for (int i = 0; i < 2; i++) {
		char byte;
		assert_int_equal(send(server[i], "late", 4, MSG_NOSIGNAL), 4); /* goes nowhere */
		assert_true(lab_readable(client[i], SOON));                    /* told of its end, and nothing else */
		assert_int_equal(recv(client[i], &byte, 1, 0), -1);
		assert_int_equal(errno, ECONNRESET);
		assert_false(lab_readable(server[i], 0));
		close(client[i]);
		close(server[i]);
	}
}

/* Sends from the client's one and the same socket; the instance that got it, 0 nobody. */
static uint32_t datagram_reaches(struct world *w, int client)
{
	char bytes[16];
	assert_int_equal(send(client, "?", 1, 0), 1);
	for (int wait = 0; wait < QUIET; wait += 30)
		for (uint32_t n = 1; n <= 3; n++)
			if (lab_readable(w->name[n], 10))
				return recv(w->name[n], bytes, sizeof(bytes), 0) > 0 ? n : 0;
	return 0;
}

static void test_datagrams_of_one_flow(void **state)
{
	struct world *w = *state;
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(53), .sin_addr = {inet_addr(SERVICE4)}};
	lab_enter(&w->lab, LAB_CLIENT);
	int client = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(client, (struct sockaddr *)&to, sizeof(to)), 0);
	steer(w, 1, 0);
	assert_int_equal(datagram_reaches(w, client), 1);
	steer(w, 2, 0); /* planned: the old flow goes on until its end is ordered */
	assert_int_equal(datagram_reaches(w, client), 1);
	fine(w, (struct wire_order){.type = ORDER_NET_CUT, .instance = 1});
	assert_int_equal(datagram_reaches(w, client), 2);
	steer(w, 3, 2);
	assert_int_equal(datagram_reaches(w, client), 3);
	steer(w, 0, 3);
	assert_int_equal(datagram_reaches(w, client), 0);
	close(client);
}

static void test_services_that_share_an_address_are_apart(void **state)
{
	struct world *w = *state;
	configure(w, "services:\n  other:\n    addresses: [203.0.113.10]\n    ports: [443/tcp]\n    variants: [amber]\n");
	steer(w, 1, 0);
	for (uint32_t to = 2; to <= 3; to++) {
		fine(w, (struct wire_order){.type = ORDER_NET_STEER, .service = 1, .instance = to});
		struct wire_answer seen = fine(w, (struct wire_order){.type = ORDER_NET_OBSERVE});
		assert_int_equal(seen.target[0], 1);
		assert_int_equal(seen.target[1], to);
		assert_int_equal(reached(w, SERVICE4, NULL, NULL, NULL), 1);
	}
	steer(w, 0, 0);
	assert_int_equal(fine(w, (struct wire_order){.type = ORDER_NET_OBSERVE}).target[1], 3);
}

/* What reaches the guest; what it sends itself does not count. */
static unsigned frames_seen(int fd)
{
	unsigned seen = 0;
	uint8_t frame[2048];
	while (lab_readable(fd, QUIET)) {
		struct sockaddr_ll from;
		socklen_t size = sizeof(from);
		ssize_t got = recvfrom(fd, frame, sizeof(frame), 0, (struct sockaddr *)&from, &size);
		seen += got > 0 && from.sll_pkttype != PACKET_OUTGOING;
	}
	return seen;
}

static void test_fenced_passes_nothing(void **state)
{
	struct world *w = *state;
	struct wire_answer answer;
	uint8_t frame[FRAME_MAX];
	steer(w, 1, 0);
	gate(w, 1, WIRE_GATE_FENCED);
	int wire = lab_frames(&w->lab, LAB_GUEST1, "eth0");
	frames_seen(wire);
	int probe = lab_connect(&w->lab, LAB_HOST, w->address4[1], 80, w->gateway4);
	int probe6 = lab_connect(&w->lab, LAB_HOST, w->address6[1], 80, w->gateway6);
	int client = lab_connect(&w->lab, LAB_CLIENT, SERVICE4, 80, NULL);
	assert_int_equal(frames_seen(wire), 0);
	size_t size = frame_arp(frame, &w->i[1], w->i[1].mac, w->i[1].address4, w->i[1].gateway4);
	assert_int_equal(send(wire, frame, size, 0), size);
	assert_int_equal(frames_seen(wire), 0);
	close(probe);
	close(probe6);
	close(client);
	answer = lab_order(&w->lab, (struct wire_order){.type = ORDER_NET_STEER, .instance = 1});
	assert_int_equal(answer.status, -EPERM); /* no way back by a switch */
	gate(w, 1, WIRE_GATE_OPEN);
	assert_int_equal(reached(w, SERVICE4, NULL, NULL, NULL), 1);
	close(wire);
}

static void probe_seen(struct world *w, const char *to, const char *from, char *ret_peer)
{
	int probe = lab_connect(&w->lab, LAB_HOST, to, 80, from);
	assert_int_equal(lab_outcome(probe, SOON), 0);
	int server = lab_accept(w->web[2], SOON, ret_peer);
	assert_true(server >= 0);
	assert_passes(probe, server);
	assert_passes(server, probe);
	close(probe);
	close(server);
}

/* Hops of the next SYN on the guest's wire. */
static unsigned hops_seen(int wire)
{
	uint8_t frame[2048];
	while (lab_readable(wire, SOON)) {
		ssize_t got = recv(wire, frame, sizeof(frame), 0);
		if (got >= 54 && frame[12] == 8 && frame[13] == 0 && frame[23] == IPPROTO_TCP && frame[47] == 2)
			return frame[22];
	}
	return 0;
}

static void test_probe_looks_like_a_client(void **state)
{
	struct world *w = *state;
	char peer[INET6_ADDRSTRLEN], first[2][INET6_ADDRSTRLEN] = {"", ""};
	bool changed[2] = {false, false};
	gate(w, 2, WIRE_GATE_QUARANTINE);
	for (int i = 0; i < 24; i++) {
		bool six = i % 2;
		probe_seen(w, six ? w->address6[2] : w->address4[2], six ? w->gateway6 : w->gateway4, peer);
		assert_int_equal(strncmp(peer, six ? "2001:db8:20:" : "198.51.100.", 11), 0);
		changed[six] = changed[six] || (*first[six] && strcmp(first[six], peer) != 0);
		strcpy(first[six], peer);
	}
	assert_true(changed[0] && changed[1]);
	steer(w, 2, 0);
	int wire = lab_frames(&w->lab, LAB_GUEST2, "eth0");
	probe_seen(w, w->address4[2], w->gateway4, peer);
	unsigned probe = hops_seen(wire);
	frames_seen(wire);
	assert_int_equal(reached(w, SERVICE4, NULL, NULL, NULL), 2);
	assert_int_equal(probe, hops_seen(wire));
	close(wire);
	probe_seen(w, SERVICE4, NULL, peer); /* the host's own way through the service */
	assert_int_equal(strncmp(peer, "198.51.100.", 11), 0);
	probe_seen(w, SERVICE6, NULL, peer);
	assert_int_equal(strncmp(peer, "2001:db8:20:", 12), 0);
}

/* Clients' flows are cut, those of the host's own probes go on: one that is kept from clients is still to be judged. */
static void test_a_probe_outlives_a_cut(void **state)
{
	struct world *w = *state;
	int client, server;
	char byte;
	steer(w, 1, 0);
	for (int six = 0; six < 2; six++) {
		int probe = lab_connect(&w->lab, LAB_HOST, six ? w->address6[1] : w->address4[1], 80,
		                        six ? w->gateway6 : w->gateway4);
		assert_int_equal(lab_outcome(probe, SOON), 0);
		int probed = lab_accept(w->web[1], SOON, NULL);
		assert_int_equal(reached(w, six ? SERVICE6 : SERVICE4, &client, &server, NULL), 1);
		assert_passes(client, server);
		steer(w, 2, 0);
		fine(w, (struct wire_order){.type = ORDER_NET_CUT, .instance = 1});
		assert_true(lab_readable(client, SOON));
		assert_int_equal(recv(client, &byte, 1, 0), -1);
		assert_passes(probe, probed);
		assert_passes(probed, probe);
		steer(w, 1, 0);
		close(probe);
		close(probed);
		close(client);
		close(server);
	}
}

static void test_clients_are_hidden_without_ranges(void **state)
{
	struct world *w = *state;
	char peer[INET6_ADDRSTRLEN];
	steer(w, 2, 0);
	assert_int_equal(reached(w, SERVICE4, NULL, NULL, peer), 2);
	assert_string_equal(peer, w->gateway4);
	assert_int_equal(reached(w, SERVICE6, NULL, NULL, peer), 2);
	assert_string_equal(peer, w->gateway6);
	probe_seen(w, w->address4[2], w->gateway4, peer);
	assert_string_equal(peer, w->gateway4);
	probe_seen(w, SERVICE4, NULL, peer);
	assert_string_equal(peer, w->gateway4);
}

static void test_guest_reaches_nobody(void **state)
{
	struct world *w = *state;
	int outside = lab_listen(&w->lab, LAB_CLIENT, 80), host = lab_listen(&w->lab, LAB_HOST, 8080);
	steer(w, 1, 0);
	gate(w, 2, WIRE_GATE_OPEN);
	const struct {
		const char *to;
		uint16_t port;
	} tries[] = {{w->address4[1], 80}, {w->address6[1], 80}, {"198.51.100.7", 80},   {"2001:db8:20::7", 80},
	             {w->gateway4, 8080},  {w->gateway6, 8080},  {"198.51.100.1", 8080}, {SERVICE4, 80},
	             {SERVICE6, 80},       {SERVICE4, 8080}};
	int fds[countof(tries)];
	lab_logged(&w->lab, QUIET);
	for (size_t i = 0; i < countof(tries); i++)
		fds[i] = lab_connect(&w->lab, LAB_GUEST2, tries[i].to, tries[i].port, NULL);
	for (size_t i = 0; i < countof(tries); i++) {
		assert_int_equal(lab_outcome(fds[i], QUIET), -ETIMEDOUT);
		close(fds[i]);
	}
	assert_in_range(lab_logged(&w->lab, QUIET).out, countof(tries), 3 * countof(tries)); /* told of, with their repetitions */
	close(outside);
	close(host);
}

struct trick {
	const char *what;
	bool noise; /* dropped without a word */
	uint8_t frame[FRAME_MAX];
	size_t size;
};

static struct in_addr four(const char *text)
{
	return (struct in_addr){inet_addr(text)};
}

static struct in6_addr six(const char *text)
{
	struct in6_addr address;
	assert_int_equal(inet_pton(AF_INET6, text, &address), 1);
	return address;
}

static size_t tricks_fill(const struct world *w, struct trick *t)
{
	const struct conf_instance *me = &w->i[2], *other = &w->i[1];
	struct in6_addr all = six("ff02::1"), service = six(SERVICE6), local = six("fe80::1");
	size_t n = 0;
#define TRICK(words, is_noise, fill) (t[n].what = words, t[n].noise = is_noise, t[n].size = fill, n++)
	TRICK("ARP: the service address is mine", false, frame_arp(t[n].frame, me, me->mac, four(SERVICE4), four(SERVICE4)));
	TRICK("ARP: the gateway is me", false, frame_arp(t[n].frame, me, me->mac, me->gateway4, me->address4));
	TRICK("ARP: another's MAC inside", false, frame_arp(t[n].frame, me, other->mac, me->address4, me->gateway4));
	TRICK("another's MAC", false, frame_ip4(t[n].frame, other->mac, me->address4, me->gateway4, 17, 9, 9));
	TRICK("another's IPv4", false, frame_ip4(t[n].frame, me->mac, other->address4, me->gateway4, 17, 9, 9));
	TRICK("VRRP", false, frame_ip4(t[n].frame, me->mac, me->address4, four("224.0.0.18"), 112, 0, 0));
	TRICK("DHCP server", false, frame_ip4(t[n].frame, me->mac, me->address4, four("255.255.255.255"), 17, 67, 68));
	TRICK("ND: the service address is mine", false, frame_icmp6(t[n].frame, me->mac, &me->address6, &all, 136, &service));
	TRICK("ND: the gateway is me", false, frame_icmp6(t[n].frame, me->mac, &local, &all, 136, &me->gateway6));
	TRICK("router advertisement", false, frame_icmp6(t[n].frame, me->mac, &local, &all, 134, NULL));
	TRICK("redirect", false, frame_icmp6(t[n].frame, me->mac, &local, &me->gateway6, 137, &service));
	TRICK("another's IPv6", false, frame_icmp6(t[n].frame, me->mac, &other->address6, &me->gateway6, 128, NULL));
	TRICK("another protocol", false, (memcpy(t[n].frame, t[0].frame, 60), t[n].frame[12] = 0x88, t[n].frame[13] = 0xcc, 60));
	TRICK("ARP: announcement of oneself", true, frame_arp(t[n].frame, me, me->mac, me->address4, me->address4));
	TRICK("ARP: who has the service address", true, frame_arp(t[n].frame, me, me->mac, me->address4, four(SERVICE4)));
	TRICK("DHCP client", true, frame_ip4(t[n].frame, me->mac, four("0.0.0.0"), four("255.255.255.255"), 17, 68, 67));
	TRICK("router solicitation", true, frame_icmp6(t[n].frame, me->mac, &local, &all, 133, NULL));
	TRICK("multicast report", true, frame_icmp6(t[n].frame, me->mac, &local, &all, 143, NULL));
	TRICK("ND: announcement of oneself", true, frame_icmp6(t[n].frame, me->mac, &me->address6, &all, 136, &me->address6));
#undef TRICK
	return n;
}

static unsigned counted(struct world *w, const char *counter)
{
	char command[160];
	unsigned packets = 0;
	lab_enter(&w->lab, LAB_HOST);
	snprintf(command, sizeof(command), "nft list counter netdev koboshi %s", counter);
	FILE *out = popen(command, "r");
	assert_non_null(out);
	char line[160];
	while (fgets(line, sizeof(line), out))
		sscanf(line, " packets %u", &packets);
	pclose(out);
	return packets;
}

static void test_guest_cannot_be_another(void **state)
{
	static struct trick tricks[32];
	struct world *w = *state;
	steer(w, 2, 0); /* open: only the guard at the entry is in the way */
	size_t n = tricks_fill(w, tricks);
	int wire = lab_frames(&w->lab, LAB_GUEST2, "eth0");
	lab_logged(&w->lab, QUIET);
	for (size_t i = 0; i < n; i++) {
		unsigned spoof = counted(w, "kb2_spoof"), noise = counted(w, "kb2_noise"), in = counted(w, "kb2_in");
		assert_int_equal(send(wire, tricks[i].frame, tricks[i].size, 0), tricks[i].size);
		struct lab_logged logged = lab_logged(&w->lab, 40);
		spoof = counted(w, "kb2_spoof") - spoof;
		noise = counted(w, "kb2_noise") - noise; /* the guest's own kernel murmurs too */
		in = counted(w, "kb2_in") - in;
		if (logged.spoof != !tricks[i].noise || spoof != !tricks[i].noise || noise < tricks[i].noise || in != 0)
			fail_msg("%s: logged %u, spoof %u, noise %u, in %u", tricks[i].what, logged.spoof, spoof, noise, in);
	}
	for (int i = 0; i < 200; i++)
		assert_int_equal(send(wire, tricks[0].frame, tricks[0].size, 0), tricks[0].size);
	unsigned spoof = lab_logged(&w->lab, QUIET).spoof;
	assert_in_range(spoof, 1, 20); /* a flood is told of, not passed on */
	close(wire);
	assert_int_equal(reached(w, SERVICE4, NULL, NULL, NULL), 2);
	lab_enter(&w->lab, LAB_HOST);
	assert_int_equal(lab_command("test -z \"$(ip neigh show dev kb2 | grep -v PERMANENT)\""), 0); /* nothing learnt */
}

/* An ARP reply or a neighbour advertisement comes in; the host's multicast reports may come before it. */
static bool answered(int wire)
{
	uint8_t frame[2048];
	while (lab_readable(wire, SOON)) {
		struct sockaddr_ll from;
		socklen_t size = sizeof(from);
		ssize_t got = recvfrom(wire, frame, sizeof(frame), 0, (struct sockaddr *)&from, &size);
		if (got < 42 || from.sll_pkttype == PACKET_OUTGOING)
			continue;
		if ((frame[12] == 0x08 && frame[13] == 0x06 && frame[21] == 2) ||
		    (got > 54 && frame[12] == 0x86 && frame[54] == 136))
			return true;
	}
	return false;
}

static void test_gateway_answers_for_itself_only(void **state)
{
	struct world *w = *state;
	uint8_t frame[FRAME_MAX];
	int wire = lab_frames(&w->lab, LAB_GUEST2, "eth0");
	frames_seen(wire);
	size_t size = frame_arp(frame, &w->i[2], w->i[2].mac, w->i[2].address4, w->i[2].gateway4);
	assert_int_equal(send(wire, frame, size, 0), size);
	assert_true(answered(wire));
	struct in6_addr all = six("ff02::1:ff00:1");
	size = frame_icmp6(frame, w->i[2].mac, &w->i[2].address6, &all, 135, &w->i[2].gateway6);
	memcpy(frame, "\x33\x33\xff\x00\x00\x01", 6);
	assert_int_equal(send(wire, frame, size, 0), size);
	assert_true(answered(wire));
	close(wire);
}

static void test_kill_and_restart(void **state)
{
	struct world *w = *state;
	int client, server;
	steer(w, 1, 0);
	gate(w, 3, WIRE_GATE_FENCED);
	assert_int_equal(reached(w, SERVICE4, &client, &server, NULL), 1);
	lab_kill(&w->lab);
	assert_passes(client, server);
	assert_int_equal(reached(w, SERVICE6, NULL, NULL, NULL), 1);
	lab_start(&w->lab, world_program);
	assert_passes(server, client);
	assert_target(w, 1);
	assert_int_equal(gate_of(w, 1), WIRE_GATE_OPEN);
	assert_int_equal(gate_of(w, 2), WIRE_GATE_QUARANTINE);
	assert_int_equal(gate_of(w, 3), WIRE_GATE_FENCED);
	lab_logged(&w->lab, QUIET); /* also long enough for the group to be bound again */
	assert_int_equal(reached(w, SERVICE4, NULL, NULL, NULL), 1);
	assert_int_equal(lab_logged(&w->lab, QUIET).syn, 1);
	lab_relink(&w->lab); /* a new engine gets the same log */
	assert_int_equal(reached(w, SERVICE4, NULL, NULL, NULL), 1);
	assert_int_equal(lab_logged(&w->lab, QUIET).syn, 1);
	close(client);
	close(server);
}

static void test_orders_are_checked(void **state)
{
	struct world *w = *state;
	static const struct {
		struct wire_order order;
		int status;
	} rows[] = {
	        {{.type = ORDER_NET_STEER, .service = 1, .instance = 1}, -EINVAL},
	        {{.type = ORDER_NET_STEER, .instance = 9}, -ENOENT},
	        {{.type = ORDER_NET_GATE, .instance = 9, .gate = WIRE_GATE_OPEN}, -ENOENT},
	        {{.type = ORDER_NET_TAP_ADD, .instance = 1 + 61}, -EADDRINUSE}, /* the range's 61 addresses come round */
	        {{.type = ORDER_NET_TAP_DEL, .instance = 9}, 0},
	};
	for (size_t i = 0; i < countof(rows); i++) {
		struct wire_answer answer = lab_order(&w->lab, rows[i].order);
		if (answer.status != rows[i].status)
			fail_msg("row %zu: %d %s", i, answer.status, answer.text);
	}
	struct wire_message message = {.kind = WIRE_ORDER, .order = {.id = 99, .type = ORDER_VM_DESTROY, .instance = 1}};
	assert_int_equal(wire_send(w->lab.engine, &message, NULL, 0, NULL), 0);
	assert_false(lab_linked(&w->lab));
	lab_relink(&w->lab);
	assert_int_equal(gate_of(w, 1), WIRE_GATE_QUARANTINE);
}

static void test_tap_goes_and_down_leaves_nothing(void **state)
{
	struct world *w = *state;
	steer(w, 1, 0);
	fine(w, (struct wire_order){.type = ORDER_NET_TAP_ADD, .instance = 1}); /* again: nothing changes */
	assert_int_equal(gate_of(w, 1), WIRE_GATE_OPEN);
	assert_int_equal(reached(w, SERVICE4, NULL, NULL, NULL), 1);
	fine(w, (struct wire_order){.type = ORDER_NET_TAP_DEL, .instance = 1});
	fine(w, (struct wire_order){.type = ORDER_NET_TAP_DEL, .instance = 1});
	assert_target(w, 0);
	lab_enter(&w->lab, LAB_HOST);
	assert_int_equal(lab_command("nft list ruleset | grep -q kb1"), 1);
	assert_int_equal(lab_command("nft add table inet mine"), 0);
	lab_kill(&w->lab);
	assert_int_equal(lab_run(&w->lab, world_program, "--down"), 0);
	assert_int_equal(lab_run(&w->lab, world_program, "--down"), 0);
	assert_int_equal(lab_command("test \"$(nft list tables)\" = 'table inet mine'"), 0);
	assert_int_equal(lab_command("ip -o link | grep -Eq 'kb|koboshi'"), 1);
	assert_int_equal(lab_command("ip -o addr show dev lo | grep -Eq '203.0.113|2001:db8'"), 1);
	assert_int_equal(lab_command("test $(cat /proc/sys/net/ipv4/ip_forward) = 0"), 0);
}

/* No limit is asserted: the figures are for people. */
static void test_measure(void **state)
{
	struct world *w = *state;
	enum { FLOWS = 1000 };
	static int clients[FLOWS];
	steer(w, 1, 0);
	for (int i = 0; i < FLOWS; i++)
		clients[i] = lab_connect(&w->lab, LAB_CLIENT, SERVICE4, 80, NULL);
	for (int i = 0; i < FLOWS; i++)
		lab_outcome(clients[i], SOON);
	struct wire_answer answer = fine(w, (struct wire_order){.type = ORDER_NET_STEER, .instance = 2, .victim = 1});
	print_message("with %d flows: %u us: %s\n", FLOWS, answer.took_us, answer.text);
	for (int i = 0; i < FLOWS; i++)
		close(clients[i]);
	uint32_t slowest = 0, sum = 0;
	for (uint32_t i = 0; i < 30; i++) {
		uint32_t to = i % 2 + 1, from = 3 - to;
		gate(w, to, WIRE_GATE_QUARANTINE);
		answer = fine(w, (struct wire_order){.type = ORDER_NET_STEER, .instance = to, .victim = from});
		sum += answer.took_us;
		slowest = answer.took_us > slowest ? answer.took_us : slowest;
	}
	print_message("30 switches: mean %u us, slowest %u us\n", sum / 30, slowest);
	lab_command("grep -E 'VmHWM|VmRSS|RssAnon' /proc/%d/status; grep -E '^Pss:' /proc/%d/smaps_rollup", w->lab.program,
	            w->lab.program);
}

int main(int argc, char **argv)
{
	int r = world_begin(argc, argv);
	if (r != 0)
		return r;
	if (argc > 2)
		cmocka_set_test_filter(argv[2]);
	const struct CMUnitTest tests[] = {
	        LAB_TEST(test_nowhere_is_silent),
	        LAB_TEST(test_steer_moves_all_kinds),
	        LAB_TEST(test_planned_switch_keeps_old_flows),
	        LAB_TEST(test_victim_is_cut_and_fenced),
	        LAB_TEST(test_datagrams_of_one_flow),
	        LAB_TEST(test_services_that_share_an_address_are_apart),
	        LAB_TEST(test_fenced_passes_nothing),
	        LAB_TEST(test_probe_looks_like_a_client),
	        LAB_TEST(test_a_probe_outlives_a_cut),
	        cmocka_unit_test_setup_teardown(test_clients_are_hidden_without_ranges, world_setup_hidden, world_teardown),
	        LAB_TEST(test_guest_reaches_nobody),
	        LAB_TEST(test_guest_cannot_be_another),
	        LAB_TEST(test_gateway_answers_for_itself_only),
	        LAB_TEST(test_kill_and_restart),
	        LAB_TEST(test_orders_are_checked),
	        LAB_TEST(test_tap_goes_and_down_leaves_nothing),
	        LAB_TEST(test_measure),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
