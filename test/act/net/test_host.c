/*
 * koboshi-net and its host: the evidence that it leaves, real taps (the other tests' are veths), a service's address that a
 * program on the host has taken already.
 */
#include "lib/bytes.h"
#include "world.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cmocka.h>

static const char *program_real;

static void assert_flow_in_evidence(struct world *w, unsigned incident, unsigned guest)
{
	char path[160], line[512] = "";
	struct stat look;
	snprintf(path, sizeof(path), "%s/kept/evidence/%u/kb-%u.flows", w->lab.folder, incident, guest);
	assert_int_equal(stat(path, &look), 0);
	assert_int_equal(look.st_mode & 0777, 0600);
	FILE *file = fopen(path, "r");
	assert_non_null(file);
	assert_non_null(fgets(line, sizeof(line), file));
	fclose(file);
	assert_non_null(strstr(line, "src=198.51.100.7"));
	assert_non_null(strstr(line, "dport=80"));
}

static void test_flows_are_written(void **state)
{
	struct world *w = *state;
	int client, server;
	steer(w, 1, 0);
	assert_int_equal(reached(w, SERVICE4, &client, &server, NULL), 1);
	fine(w, (struct wire_order){.type = ORDER_NET_FLOWS, .instance = 1, .incident = 42});
	assert_flow_in_evidence(w, 42, 1);
	close(client);
	close(server);
}

/* The evidence is asked for when the flows are long cut: with the switch, or later when one fell that had given way. */
static void test_flows_that_were_cut_are_written(void **state)
{
	struct world *w = *state;
	int client, server;
	for (unsigned gave_way = 0; gave_way < 2; gave_way++) {
		unsigned incident = 43 + gave_way;
		gate(w, 1, WIRE_GATE_OPEN);
		steer(w, 1, 0);
		assert_int_equal(reached(w, SERVICE4, &client, &server, NULL), 1);
		steer(w, 2, gave_way ? 0 : 1);
		if (gave_way)
			gate(w, 1, WIRE_GATE_FENCED);
		fine(w, (struct wire_order){.type = ORDER_NET_FLOWS, .instance = 1, .incident = incident});
		assert_flow_in_evidence(w, incident, 1);
		close(client);
		close(server);
	}
}

static void test_real_tap(void **state)
{
	struct world *w = *state;
	lab_kill(&w->lab);
	lab_start(&w->lab, program_real);
	struct wire_answer answer = lab_order(&w->lab, (struct wire_order){.type = ORDER_NET_TAP_ADD, .instance = 1});
	assert_int_equal(answer.status, -EBUSY); /* a veth of that name is not ours to touch */
	fine(w, (struct wire_order){.type = ORDER_NET_TAP_ADD, .instance = 7});
	assert_int_equal(gate_of(w, 7), WIRE_GATE_QUARANTINE);
	lab_enter(&w->lab, LAB_HOST);
	assert_int_equal(lab_command("ip -d link show kb7 | grep -q 'tun type tap pi off vnet_hdr on persist on user root'"), 0);
	assert_int_equal(
	        lab_command("ip -d link show koboshi0 | grep -q 'tun type tun pi off vnet_hdr off persist on user root'"), 0);
	assert_int_equal(lab_command("ip addr show dev kb7 | grep -q fe80"), 1);
	fine(w, (struct wire_order){.type = ORDER_NET_TAP_DEL, .instance = 7});
	assert_int_equal(gate_of(w, 7), WIRE_GATE_NONE);
	assert_int_equal(lab_command("nft list ruleset | grep -q kb7"), 1);
	assert_int_equal(lab_run(&w->lab, program_real, "--check"), 0);
}

/* A socket on the host, on the service's own address though that is not there yet; `type` decides about the protocol. */
static int take_port(struct world *w, int type, const char *address)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(80)};
	int on = 1;
	lab_enter(&w->lab, LAB_HOST);
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
	inet_pton(AF_INET, address, &at.sin_addr);
	setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &on, sizeof(on));
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	if (type == SOCK_STREAM)
		assert_int_equal(listen(fd, 1), 0);
	return fd;
}

static void test_taken_port_is_refused_at_first_only(void **state)
{
	struct world *w = *state;
	int fd = take_port(w, SOCK_STREAM, SERVICE4);
	lab_kill(&w->lab);
	lab_start(&w->lab, program_real); /* our rules are there: a service in work is not given up for it */
	lab_kill(&w->lab);
	assert_int_equal(lab_run(&w->lab, program_real, "--check"), 1);
	assert_int_equal(lab_run(&w->lab, program_real, "--down"), 0);
	assert_int_equal(lab_run(&w->lab, program_real, NULL), 1);
	assert_int_equal(lab_command("nft list tables | grep -q koboshi"), 1);
	close(fd);
	assert_int_equal(lab_run(&w->lab, program_real, "--check"), 0);
}

/* Another address of the host, or the same port of the other protocol, is nobody's loss. */
static void test_other_ports_are_no_matter(void **state)
{
	struct world *w = *state;
	int others[] = {take_port(w, SOCK_STREAM, "0.0.0.0"), take_port(w, SOCK_DGRAM, SERVICE4)};
	lab_kill(&w->lab);
	assert_int_equal(lab_run(&w->lab, program_real, "--check"), 0);
	close(others[0]);
	close(others[1]);
}

/* What somebody else does on the host is undone, and who it was is told. */
static void meddle(struct world *w, const char *command, const char *wanted)
{
	lab_enter(&w->lab, LAB_HOST);
	assert_int_equal(lab_command("%s", command), 0);
	struct wire_note note = lab_notice(&w->lab);
	assert_int_equal(note.type, NOTICE_MEDDLED);
	if (!strstr(note.text, wanted) || !strstr(note.text, "put back after"))
		fail_msg("'%s' does not say '%s'", note.text, wanted);
}

/* Instance 1 serves, 2 is fenced, 3 is in quarantine: by what is read back, and by what passes. */
static void assert_as_ordered(struct world *w)
{
	assert_target(w, 1);
	assert_int_equal(gate_of(w, 1), WIRE_GATE_OPEN);
	assert_int_equal(gate_of(w, 2), WIRE_GATE_FENCED);
	assert_int_equal(gate_of(w, 3), WIRE_GATE_QUARANTINE);
	assert_int_equal(reached(w, SERVICE4, NULL, NULL, NULL), 1);
	assert_int_equal(reached(w, SERVICE6, NULL, NULL, NULL), 1);
	lab_enter(&w->lab, LAB_HOST);
	assert_int_equal(lab_command("nft list table netdev koboshi | grep -q 'goto kb1_spoof'"), 0);
}

static void order_three(struct world *w)
{
	steer(w, 1, 0);
	gate(w, 2, WIRE_GATE_FENCED);
	assert_as_ordered(w);
}

static void test_rules_that_others_change_come_back(void **state)
{
	struct world *w = *state;
	order_three(w);
	meddle(w, "nft flush ruleset", "nft (process ");
	assert_as_ordered(w);
	meddle(w, "nft delete table inet koboshi", "changed our rules");
	assert_as_ordered(w);
	meddle(w, "nft delete element inet koboshi fenced '{ \"kb2\" }'", "changed our rules");
	assert_as_ordered(w);
	meddle(w, "nft insert rule inet koboshi passing accept", "changed our rules");
	assert_as_ordered(w);
	assert_int_equal(lab_command("nft list chain inet koboshi passing | grep -qx '[[:space:]]*accept'"), 1);
}

/* The orders that come afterwards find everything in its place, and are part of what is put back the next time. */
static void test_what_is_put_back_follows_the_orders(void **state)
{
	struct world *w = *state;
	order_three(w);
	meddle(w, "nft flush ruleset", "changed our rules");
	steer(w, 3, 1);
	fine(w, (struct wire_order){.type = ORDER_NET_TAP_DEL, .instance = 2});
	meddle(w, "nft flush ruleset", "changed our rules");
	assert_target(w, 3);
	assert_int_equal(gate_of(w, 1), WIRE_GATE_FENCED);
	assert_int_equal(gate_of(w, 2), WIRE_GATE_NONE);
	assert_int_equal(reached(w, SERVICE4, NULL, NULL, NULL), 3);
	lab_enter(&w->lab, LAB_HOST);
	assert_int_equal(lab_command("nft list ruleset | grep -q kb2"), 1);
}

#define STANDING "nft list table inet koboshi > /dev/null 2>&1 && nft list table netdev koboshi > /dev/null 2>&1"

static bool comes_back(struct world *w)
{
	int64_t until_us = clock_monotonic_us() + 5000000;
	bool stands = false;
	while (!stands && clock_monotonic_us() < until_us) {
		while (!lab_says_nothing(&w->lab, 0)) /* each has a word; nobody waits for one */
			assert_int_equal(lab_notice(&w->lab).type, NOTICE_MEDDLED);
		stands = lab_command(STANDING) == 0;
	}
	return stands;
}

/* As `systemctl restart nftables` does it: of two things one may come when a repair has just been made, or is under way. */
static void test_a_flush_right_behind_another_is_undone_too(void **state)
{
	static const char *const firsts[] = {"nft flush ruleset", "ip link del koboshi0"};
	struct world *w = *state;
	order_three(w);
	lab_enter(&w->lab, LAB_HOST);
	for (int n = 0; n < 80; n++) {
		if (n % 2 && lab_command("ip link show koboshi0 > /dev/null 2>&1") != 0)
			continue; /* is being made */
		assert_int_equal(lab_command("%s; sleep 0.%03d; nft flush ruleset", firsts[n % 2], n / 2), 0);
		if (!comes_back(w))
			fail_msg("a flush %d ms behind '%s' is not undone", n / 2, firsts[n % 2]);
	}
	while (!lab_says_nothing(&w->lab, 2 * QUIET))
		assert_int_equal(lab_notice(&w->lab).type, NOTICE_MEDDLED);
	assert_as_ordered(w);
}

/* Flushed while nobody was there: that forwarding is ours alone is known all the same. */
static void test_that_nobody_else_forwards_is_remembered(void **state)
{
	struct world *w = *state;
	lab_enter(&w->lab, LAB_HOST);
	assert_int_equal(
	        lab_command("nft list chain inet koboshi hold4 > /dev/null && nft list chain inet koboshi hold6 > /dev/null"), 0);
	lab_kill(&w->lab);
	assert_int_equal(lab_command("nft flush ruleset"), 0);
	lab_start(&w->lab, world_program);
	assert_int_equal(
	        lab_command("nft list chain inet koboshi hold4 > /dev/null && nft list chain inet koboshi hold6 > /dev/null"), 0);
	lab_kill(&w->lab);
	assert_int_equal(lab_command("nft flush ruleset"), 0);
	assert_int_equal(lab_run(&w->lab, world_program, "--down"), 0);
	assert_int_equal(lab_command("test $(cat /proc/sys/net/ipv4/ip_forward) = 0"), 0);
	lab_start(&w->lab, world_program);
}

/* A guest sees who asks: what is borrowed is of the clients of its own service, whoever else has that port. */
static void test_each_service_has_its_own_disguise(void **state)
{
	struct world *w = *state;
	lab_enter(&w->lab, LAB_HOST);
	assert_int_equal(lab_command("nft list chain inet koboshi disguise | grep 'snat ip' | grep -vq 'oifname @of-'"), 1);
	assert_int_equal(lab_command("nft list chain inet koboshi disguise | grep 'snat ip ' | grep -q 'oifname @of-%s '",
	                             w->lab.conf.services[0].name),
	                 0);
}

static void test_the_rules_of_others_are_theirs(void **state)
{
	struct world *w = *state;
	order_three(w);
	lab_enter(&w->lab, LAB_HOST);
	assert_int_equal(lab_command("nft add table ip other && nft add table ip koboshi"), 0);
	assert_true(lab_says_nothing(&w->lab, QUIET));
	meddle(w, "nft delete table netdev koboshi", "changed our rules");
	assert_int_equal(lab_command("nft list table ip other && nft list table ip koboshi"), 0);
}

static void test_addresses_forwarding_and_the_last_link_come_back(void **state)
{
	struct world *w = *state;
	order_three(w);
	meddle(w, "ip addr del " SERVICE4 "/32 dev lo", "a service's address");
	meddle(w, "ip addr del " SERVICE6 "/128 dev lo", "a service's address");
	assert_int_equal(lab_command("ip addr show dev lo | grep -q " SERVICE4), 0);
	assert_int_equal(lab_command("ip addr show dev lo | grep -q " SERVICE6), 0);
	meddle(w, "echo 0 > /proc/sys/net/ipv4/ip_forward", "forwarding");
	meddle(w, "echo 0 > /proc/sys/net/ipv6/conf/all/forwarding", "forwarding");
	meddle(w, "ip link del koboshi0", "koboshi0");
	meddle(w, "ip link set koboshi0 down", "koboshi0");
	assert_int_equal(lab_command("ip route show dev koboshi0 | grep -q 'metric 1000000'"), 0);
	assert_int_equal(lab_command("ip -6 route show dev koboshi0 | grep -q 'metric 1000000'"), 0);
	assert_true(lab_says_nothing(&w->lab, QUIET)); /* of what it did itself */
	assert_as_ordered(w);
}

int main(int argc, char **argv)
{
	int r = world_begin(argc, argv);
	if (r == 0 && argc < 3)
		r = 2;
	if (r != 0)
		return r;
	program_real = argv[2];
	const struct CMUnitTest tests[] = {
	        LAB_TEST(test_flows_are_written),
	        LAB_TEST(test_flows_that_were_cut_are_written),
	        LAB_TEST(test_real_tap),
	        LAB_TEST(test_taken_port_is_refused_at_first_only),
	        LAB_TEST(test_other_ports_are_no_matter),
	        LAB_TEST(test_rules_that_others_change_come_back),
	        LAB_TEST(test_what_is_put_back_follows_the_orders),
	        LAB_TEST(test_a_flush_right_behind_another_is_undone_too),
	        LAB_TEST(test_that_nobody_else_forwards_is_remembered),
	        LAB_TEST(test_each_service_has_its_own_disguise),
	        LAB_TEST(test_the_rules_of_others_are_theirs),
	        LAB_TEST(test_addresses_forwarding_and_the_last_link_come_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
