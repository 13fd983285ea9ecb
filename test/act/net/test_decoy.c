/*
 * Where nobody is: what a guest asks there is told of, whatever way it asks, also while it is in quarantine; what it may do, or
 * does out of habit, is not. A request by TCP gets to the tarpit and nowhere else, and ends with the fence.
 */
#include "frames.h"
#include "world.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter_ipv4.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#define NOBODY4 "192.0.2.40"
#define NOBODY6 "2001:db8:1::99"
#define EXCEPT "decoys:\n  except: [123/udp]\n"

static int listen_at(struct lab *lab, const struct conf_instance *any, bool six)
{
	struct sockaddr_in four = {.sin_family = AF_INET, .sin_addr = any->gateway4};
	struct sockaddr_in6 sixes = {.sin6_family = AF_INET6, .sin6_addr = any->gateway6};
	int yes = 1;
	lab_enter(lab, LAB_HOST);
	int fd = socket(six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(setsockopt(fd, six ? IPPROTO_IPV6 : IPPROTO_IP, six ? IPV6_FREEBIND : IP_FREEBIND, &yes, sizeof(yes)),
	                 0);
	assert_int_equal(bind(fd, six ? (void *)&sixes : (void *)&four, six ? sizeof(sixes) : sizeof(four)), 0);
	assert_int_equal(listen(fd, 16), 0);
	return fd;
}

/* The second half of world_setup once more, with sockets to be handed down and a configuration that says more. */
static int setup_with(void **state, bool answered, const char *more)
{
	int r = world_setup(state);
	struct world *w = *state;
	lab_kill(&w->lab);
	FILE *out = fopen(w->lab.config, "a");
	assert_non_null(out);
	fputs(more, out);
	fclose(out);
	for (int i = 0; i < 2 && answered; i++)
		w->lab.tarpit[i] = listen_at(&w->lab, &w->i[1], i);
	lab_start(&w->lab, world_program);
	lab_logged(&w->lab, QUIET);
	return r;
}

static int setup_silent(void **state)
{
	return setup_with(state, false, EXCEPT);
}

static int setup_answered(void **state)
{
	return setup_with(state, true, EXCEPT);
}

static int setup_hidden(void **state)
{
	return world_setup_hidden(state);
}

/* Lets all that is not in it pass and counts it: as wide as a profile can be. */
static int setup_profiled(void **state)
{
	static const char profile[] =
	        "{\"ietf-mud:mud\":{\"mud-version\":1,\"mud-url\":\"https://pump.example.com/p.json\",\"last-update\":"
	        "\"2026-11-20\",\"is-supported\":true,\"from-device-policy\":{\"access-lists\":{\"access-list\":[{\"name\":\"f\"}"
	        "]}},"
	        "\"to-device-policy\":{\"access-lists\":{\"access-list\":[{\"name\":\"f\"}]}}},\"ietf-access-control-list:acls\":"
	        "{\"acl\":[{\"name\":\"f\",\"type\":\"ipv4-acl-type\",\"aces\":{\"ace\":[{\"name\":\"one\",\"matches\":{\"udp\":"
	        "{\"destination-port\":{\"operator\":\"eq\",\"port\":123}}},\"actions\":{\"forwarding\":\"accept\"}}]}}]}}";
	int r = setup_with(state, true, "    profile: /dev/null\n");
	struct world *w = *state;
	assert_int_equal(
	        lab_command("printf '%%s' '%s' > %s/mud.json && sed -i 's|/dev/null|%s/mud.json\\n    outside: count|' %s",
	                    profile, w->lab.folder, w->lab.folder, w->lab.config),
	        0);
	lab_kill(&w->lab);
	lab_start(&w->lab, world_program);
	struct wire_note note = lab_notice(&w->lab);
	if (note.type != NOTICE_PROFILE || note.text[0])
		fail_msg("%s", note.text);
	lab_logged(&w->lab, QUIET);
	return r;
}

static int setup_off(void **state)
{
	return setup_with(state, true, "decoys:\n  enabled: no\n");
}

static int teardown(void **state)
{
	struct world *w = *state;
	for (int i = 0; i < 2; i++)
		if (w->lab.tarpit[i] > 0)
			close(w->lab.tarpit[i]);
	return world_teardown(state);
}

static struct lab_logged asked_tcp(struct world *w, const char *to, uint16_t port)
{
	int fd = lab_connect(&w->lab, LAB_GUEST2, to, port, NULL);
	struct lab_logged logged = lab_logged(&w->lab, QUIET);
	close(fd);
	return logged;
}

static struct lab_logged asked_udp(struct world *w, const char *to, bool served, uint16_t port)
{
	bool six = strchr(to, ':');
	struct sockaddr_in6 target = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	char mapped[64];
	snprintf(mapped, sizeof(mapped), "%s%s", six ? "" : "::ffff:", to);
	assert_int_equal(inet_pton(AF_INET6, mapped, &target.sin6_addr), 1);
	lab_enter(&w->lab, LAB_GUEST2);
	int fd = served ? w->name[2] : socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0); /* the world's own has port 53 */
	assert_int_equal(sendto(fd, "?", 1, 0, (struct sockaddr *)&target, sizeof(target)), 1);
	struct lab_logged logged = lab_logged(&w->lab, QUIET);
	if (fd != w->name[2])
		close(fd);
	return logged;
}

static struct lab_logged framed(struct world *w, const uint8_t *frame, size_t size)
{
	int wire = lab_frames(&w->lab, LAB_GUEST2, "eth0");
	assert_int_equal(send(wire, frame, size, 0), size);
	close(wire);
	return lab_logged(&w->lab, QUIET);
}

static struct lab_logged pinged(struct world *w, const char *to)
{
	uint8_t frame[FRAME_MAX];
	struct in_addr four;
	struct in6_addr six;
	if (inet_pton(AF_INET, to, &four) == 1)
		return framed(w, frame,
		              frame_ip4(frame, w->i[2].mac, w->i[2].address4, four, IPPROTO_ICMP, 8 << 8 /* the type */, 0));
	assert_int_equal(inet_pton(AF_INET6, to, &six), 1);
	return framed(w, frame, frame_icmp6(frame, w->i[2].mac, &w->i[2].address6, &six, 128, NULL));
}

static void test_asking_where_nobody_is(void **state)
{
	struct world *w = *state;
	steer(w, 1, 0);
	for (int open = 0; open < 2; open++) { /* in quarantine first */
		const struct {
			const char *to;
			uint16_t port;
		} tries[] = {{NOBODY4, 22},  {NOBODY6, 80},        {w->gateway4, 22},    {w->gateway6, 80},
		             {SERVICE4, 22}, {w->address4[1], 22}, {w->address6[3], 22}, {SERVICE6, 443}};
		for (size_t i = 0; i < countof(tries); i++) {
			struct lab_logged tcp = asked_tcp(w, tries[i].to, tries[i].port);
			struct lab_logged udp = asked_udp(w, tries[i].to, false, tries[i].port);
			if (tcp.decoy == 0 || tcp.out == 0 || udp.decoy == 0 || tcp.spoof + udp.spoof + tcp.other + udp.other)
				fail_msg("%s port %u: %u %u", tries[i].to, tries[i].port, tcp.decoy, udp.decoy);
		}
		assert_int_not_equal(pinged(w, NOBODY4).decoy, 0);
		assert_int_not_equal(pinged(w, NOBODY6).decoy, 0);
		gate(w, 2, WIRE_GATE_OPEN);
	}
}

static struct lab_logged asked_neighbour(struct world *w, const char *for_whom)
{
	uint8_t frame[FRAME_MAX];
	struct in_addr four;
	struct in6_addr six, all;
	if (inet_pton(AF_INET, for_whom, &four) == 1)
		return framed(w, frame, frame_arp(frame, &w->i[2], w->i[2].mac, w->i[2].address4, four));
	assert_int_equal(inet_pton(AF_INET6, for_whom, &six) + inet_pton(AF_INET6, "ff02::1:ff00:99", &all), 2);
	return framed(w, frame, frame_icmp6(frame, w->i[2].mac, &w->i[2].address6, &all, 135, &six));
}

static void test_asking_for_a_neighbour(void **state)
{
	struct world *w = *state;
	assert_int_equal(asked_neighbour(w, NOBODY4).decoy, 1);
	assert_int_equal(asked_neighbour(w, NOBODY6).decoy, 1);
	assert_int_equal(asked_neighbour(w, w->address4[1]).decoy, 1); /* nobody has a reason to know who else is there */
	assert_int_equal(asked_neighbour(w, w->address6[1]).decoy, 1);
	assert_int_equal(asked_neighbour(w, w->gateway4).decoy, 0);
	assert_int_equal(asked_neighbour(w, w->gateway6).decoy, 0);
	assert_int_equal(asked_neighbour(w, w->address4[2]).decoy, 0); /* is my own address taken? */
	uint8_t frame[FRAME_MAX];
	struct in6_addr all, none = IN6ADDR_ANY_INIT;
	assert_int_equal(inet_pton(AF_INET6, "ff02::1:ff00:99", &all), 1);
	size_t size = frame_icmp6(frame, w->i[2].mac, &none, &all, 135, &w->i[2].address6);
	assert_int_equal(framed(w, frame, size).decoy, 0);
	size = frame_icmp6(frame, w->i[2].mac, &none, &all, 135, &w->i[1].address6); /* the same question about another's */
	assert_int_equal(framed(w, frame, size).decoy, 1);
	assert_int_equal(asked_neighbour(w, SERVICE4).decoy, 0);
	/* and a guest whose kernel believes in a shared segment asks so by itself */
	lab_enter(&w->lab, LAB_GUEST2);
	assert_int_equal(lab_command("ip route add 192.0.2.0/26 dev eth0"), 0);
	assert_int_not_equal(asked_tcp(w, NOBODY4, 80).decoy, 0);
}

static void test_what_is_no_touch(void **state)
{
	struct world *w = *state;
	steer(w, 2, 0);
	assert_int_equal(asked_tcp(w, w->address4[1], 80).decoy, 0); /* stays what it was: a connection of its own */
	assert_int_equal(asked_tcp(w, SERVICE6, 80).decoy, 0);
	assert_int_not_equal(asked_tcp(w, "198.51.100.7", 22).out, 0);
	assert_int_equal(asked_tcp(w, "198.51.100.7", 22).decoy, 0);
	assert_int_equal(asked_udp(w, w->gateway4, false, 123).decoy, 0);
	assert_int_not_equal(asked_tcp(w, w->gateway4, 123).decoy, 0);
	assert_int_equal(pinged(w, w->gateway4).decoy, 0);
	assert_int_equal(reached(w, SERVICE4, NULL, NULL, NULL), 2);
	assert_int_equal(reached_udp(w, SERVICE6), 2);
	assert_int_equal(lab_logged(&w->lab, QUIET).decoy, 0);
}

/* Clients have the gateway's address here: an answer that comes when its flow is long forgotten must convict nobody. */
static void test_a_late_answer_is_no_touch(void **state)
{
	struct world *w = *state;
	steer(w, 2, 0);
	assert_int_equal(reached_udp(w, SERVICE4), 2);
	assert_int_equal(asked_udp(w, w->gateway4, true, 40000).decoy, 0);
	assert_int_equal(asked_udp(w, w->gateway6, true, 40000).decoy, 0);
	assert_int_not_equal(asked_udp(w, w->gateway4, false, 40000).decoy, 0);
}

static void test_a_flood_is_told_of_and_not_passed_on(void **state)
{
	struct world *w = *state;
	uint8_t frame[FRAME_MAX];
	struct in_addr nobody = {inet_addr(NOBODY4)};
	size_t size = frame_ip4(frame, w->i[2].mac, w->i[2].address4, nobody, IPPROTO_UDP, 9, 9);
	memcpy(frame, w->i[2].host_mac, 6);
	int wire = lab_frames(&w->lab, LAB_GUEST2, "eth0");
	for (int i = 0; i < 500; i++)
		assert_int_equal(send(wire, frame, size, 0), size);
	size = frame_ip4(frame, w->i[2].mac, w->i[2].address4, nobody, IPPROTO_TCP, 9, 9);
	memcpy(frame, w->i[2].host_mac, 6);
	frame[14 + 20 + 12] = 0x50;
	frame[14 + 20 + 13] = 2; /* SYN */
	for (int i = 0; i < 2000; i++)
		assert_int_equal(send(wire, frame, size, 0), size);
	close(wire);
	assert_in_range(lab_logged(&w->lab, QUIET).decoy, 1, 20);
	lab_enter(&w->lab, LAB_HOST); /* and what is handed over is less than what comes: each costs the host a flow */
	assert_int_equal(lab_command("test $(nft list counter netdev koboshi kb2_in | awk '/packets/ { print $2 }') -lt 400"), 0);
	assert_int_equal(lab_command("test $(nft list counter netdev koboshi kb2_in | awk '/packets/ { print $2 }') -ge 100"), 0);
	lab_enter(&w->lab, LAB_GUEST3); /* another's word is not lost in it */
	int fd = lab_connect(&w->lab, LAB_GUEST3, NOBODY6, 22, NULL);
	assert_int_not_equal(lab_logged(&w->lab, QUIET).decoy, 0);
	close(fd);
}

static uint16_t port_at(int listening)
{
	struct sockaddr_in6 at;
	socklen_t size = sizeof(at);
	assert_int_equal(getsockname(listening, (struct sockaddr *)&at, &size), 0);
	return ntohs(at.sin6_port); /* IPv4's is at the same place */
}

static void trapped(struct world *w, int listening, const char *to, int *ret_guest, int *ret_tarpit)
{
	struct sockaddr_storage was;
	socklen_t size = sizeof(was);
	char text[INET6_ADDRSTRLEN];
	bool six = strchr(to, ':');
	*ret_guest = lab_connect(&w->lab, LAB_GUEST2, to, 22, NULL);
	assert_int_equal(lab_outcome(*ret_guest, SOON), 0);
	*ret_tarpit = lab_accept(listening, SOON, NULL);
	assert_true(*ret_tarpit >= 0);
	assert_int_equal(getsockopt(*ret_tarpit, six ? IPPROTO_IPV6 : IPPROTO_IP, SO_ORIGINAL_DST, &was, &size), 0);
	struct sockaddr_in *four = (void *)&was;
	struct sockaddr_in6 *sixes = (void *)&was;
	inet_ntop(was.ss_family, six ? (void *)&sixes->sin6_addr : (void *)&four->sin_addr, text, sizeof(text));
	assert_string_equal(text, to);
	assert_int_equal(ntohs(six ? sixes->sin6_port : four->sin_port), 22);
	assert_passes(*ret_tarpit, *ret_guest);
}

static void test_tarpit_has_whom_it_gets(void **state)
{
	struct world *w = *state;
	int guest[2], tarpit[2];
	const char *const nobody[] = {NOBODY4, NOBODY6};
	for (int i = 0; i < 2; i++)
		trapped(w, w->lab.tarpit[i], nobody[i], &guest[i], &tarpit[i]);
	lab_logged(&w->lab, QUIET);
	gate(w, 2, WIRE_GATE_FENCED);
	for (int i = 0; i < 2; i++) {
		char byte;
		(void)!send(tarpit[i], "x", 1,
		            MSG_NOSIGNAL); /* the first word after the fence tells that nobody is there any more */
		assert_true(lab_readable(tarpit[i], SOON));
		assert_int_equal(recv(tarpit[i], &byte, 1, 0), -1);
		assert_int_equal(errno, ECONNRESET);
		assert_false(lab_readable(guest[i], QUIET));
		close(guest[i]);
		close(tarpit[i]);
	}
}

/* Nor does a profile let a touch go anywhere else: not out, and not past the tarpit. */
static void test_no_profile_stands_between(void **state)
{
	struct world *w = *state;
	int guest[2], tarpit[2];
	const char *const nobody[] = {NOBODY4, NOBODY6};
	gate(w, 2, WIRE_GATE_OPEN);
	for (int i = 0; i < 2; i++) {
		trapped(w, w->lab.tarpit[i], nobody[i], &guest[i], &tarpit[i]);
		assert_passes(tarpit[i], guest[i]);
		assert_int_equal(send(guest[i], "x", 1, MSG_NOSIGNAL), 1);
		assert_true(lab_readable(tarpit[i], SOON));
		close(guest[i]);
		close(tarpit[i]);
	}
	struct lab_logged logged = lab_logged(&w->lab, QUIET);
	assert_int_equal(logged.decoy, 2);
	assert_int_equal(logged.stray, 0); /* it is one thing and not the other as well */
}

/* Its door is the touch itself: nobody from outside, and no other door of the host. */
static void test_tarpit_is_no_way_in(void **state)
{
	struct world *w = *state;
	const char *const gates[] = {w->gateway4, w->gateway6};
	int host = lab_listen(&w->lab, LAB_HOST, 8080);
	for (int i = 0; i < 2; i++) {
		int fd = lab_connect(&w->lab, LAB_CLIENT, gates[i], port_at(w->lab.tarpit[i]), NULL);
		assert_int_equal(lab_outcome(fd, QUIET), -ETIMEDOUT);
		close(fd);
		fd = lab_connect(&w->lab, LAB_GUEST2, gates[i], 8080, NULL);
		assert_int_equal(lab_outcome(fd, SOON), 0);
		assert_false(lab_readable(host, 0));
		int got = lab_accept(w->lab.tarpit[i], SOON, NULL);
		assert_true(got >= 0);
		close(got);
		close(fd);
		fd = lab_connect(&w->lab, LAB_GUEST2, gates[i], port_at(w->lab.tarpit[i]), NULL); /* as a touch like any other */
		assert_int_equal(lab_outcome(fd, SOON), 0);
		close(fd);
	}
	close(host);
}

static void test_off_is_off(void **state)
{
	struct world *w = *state;
	struct lab_logged logged = asked_tcp(w, NOBODY4, 22);
	assert_int_equal(logged.decoy, 0);
	assert_int_not_equal(logged.out, 0);
	assert_int_equal(asked_neighbour(w, NOBODY6).decoy, 0);
	assert_int_equal(lab_accept(w->lab.tarpit[0], 0, NULL), -1);
}

static void test_a_guest_that_comes_and_goes(void **state)
{
	struct world *w = *state;
	assert_int_equal(asked_udp(w, w->address4[1], false, 53).decoy, 0);
	fine(w, (struct wire_order){.type = ORDER_NET_TAP_DEL, .instance = 1});
	assert_int_not_equal(asked_udp(w, w->address4[1], false, 53).decoy, 0);
	assert_int_equal(lab_run(&w->lab, world_program, "--down"), 0);
}

int main(int argc, char **argv)
{
	int r = world_begin(argc, argv);
	if (r != 0)
		return r;
#define WITH(test, setup) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
	        WITH(test_asking_where_nobody_is, setup_silent),
	        WITH(test_asking_for_a_neighbour, setup_silent),
	        WITH(test_what_is_no_touch, setup_silent),
	        WITH(test_a_late_answer_is_no_touch, setup_hidden),
	        WITH(test_a_flood_is_told_of_and_not_passed_on, setup_silent),
	        WITH(test_tarpit_has_whom_it_gets, setup_answered),
	        WITH(test_no_profile_stands_between, setup_profiled),
	        WITH(test_tarpit_is_no_way_in, setup_answered),
	        WITH(test_off_is_off, setup_off),
	        WITH(test_a_guest_that_comes_and_goes, setup_silent),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
