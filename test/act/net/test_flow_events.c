/*
 * What koboshi-net has the kernel tell the engine of flows, through the real rules: those of our guests alone, from their
 * beginning to their end; and a list of what is there for each new engine.
 */
#include "sense/conntrack.h"

#include "world.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

/* The next flow that the kernel tells of; a list's end is nothing. */
static bool flow_told(struct world *w, struct conntrack_flow *ret_flow)
{
	static uint8_t bytes[8192];
	while (lab_readable(w->lab.flows, QUIET)) {
		ssize_t got = recv(w->lab.flows, bytes, sizeof(bytes), 0);
		struct netlink_bytes datagram = {bytes, got > 0 ? (size_t)got : 0};
		if (conntrack_next(&datagram, ret_flow) == 1)
			return true;
	}
	return false;
}

static void assert_flow(const struct conntrack_flow *flow, const struct conf_instance *guest, bool ended, bool listed)
{
	assert_int_equal(flow->mark, CONF_MARK | guest->number);
	assert_int_equal(flow->ended, ended);
	assert_int_equal(flow->listed, listed);
	assert_int_equal(flow->asks.protocol, IPPROTO_TCP);
	assert_int_equal(flow->asks.destination_port, 80);
	assert_memory_equal(flow->answers.source.bytes, &guest->address4, 4);
}

static void test_flows_are_told(void **state)
{
	struct world *w = *state;
	struct conntrack_flow flow = {0};
	int client, server, other = lab_listen(&w->lab, LAB_HOST, 8081);
	steer(w, 1, 0);
	close(lab_connect(&w->lab, LAB_CLIENT, "198.51.100.1", 8081, NULL)); /* no guest's */
	assert_false(flow_told(w, &flow));
	assert_int_equal(reached(w, SERVICE4, &client, &server, NULL), 1);
	assert_true(flow_told(w, &flow));
	assert_flow(&flow, &w->i[1], false, false);
	uint32_t id = flow.id;
	lab_relink(&w->lab); /* a new engine is told what is there */
	assert_true(flow_told(w, &flow));
	assert_flow(&flow, &w->i[1], false, true);
	assert_int_equal(flow.id, id);
	assert_passes(client, server);
	fine(w, (struct wire_order){.type = ORDER_NET_CUT, .instance = 1});
	assert_true(flow_told(w, &flow));
	assert_flow(&flow, &w->i[1], true, false);
	assert_int_equal(flow.id, id);
	assert_true(flow.replied && !flow.reset && flow.asked.packets >= 3 && flow.answered.bytes > 0);
	close(client);
	close(server);
	close(other);
}

/* What a guest sends to open something is told of when the rules refuse it. */
static void test_refused_datagrams_are_told(void **state)
{
	struct world *w = *state;
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(123)};
	gate(w, 1, WIRE_GATE_OPEN);
	lab_enter(&w->lab, LAB_GUEST1);
	int guest = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	lab_logged(&w->lab, QUIET);
	for (uint32_t n = 1; n <= 3; n++) {
		to.sin_addr.s_addr = htonl(0xc6336432u + n);
		assert_int_equal(sendto(guest, "?", 1, 0, (struct sockaddr *)&to, sizeof(to)), 1);
	}
	assert_int_equal(lab_logged(&w->lab, QUIET).tried, 3);
	close(guest);
}

int main(int argc, char **argv)
{
	if (getuid() != 0) {
		puts("needs root for network namespaces: skipped");
		return 77;
	}
	world_program = argc > 1 ? argv[1] : NULL;
	if (!world_program)
		return 2;
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup_teardown(test_refused_datagrams_are_told, world_setup, world_teardown),
	        cmocka_unit_test_setup_teardown(test_flows_are_told, world_setup, world_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
