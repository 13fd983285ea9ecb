/*
 * What koboshi-net has the kernel tell the engine of flows, through the real rules: those of our guests alone, from their
 * beginning to their end; and a list of what is there for each new engine.
 */
#include "sense/conntrack.h"

#include "world.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
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

struct remembered {
	uint8_t guest[4];
	unsigned flows;
	uint32_t seconds; /* until the last of them is forgotten */
};

static int remembered_one(const struct nlmsghdr *message, void *arg)
{
	struct remembered *remembered = arg;
	struct netlink_bytes datagram = {(const uint8_t *)message, message->nlmsg_len};
	struct conntrack_flow flow;
	const struct nlattr *part;
	if (conntrack_next(&datagram, &flow) != 1 || flow.asks.protocol != IPPROTO_TCP || flow.asks.destination_port != 80 ||
	    memcmp(flow.answers.source.bytes, remembered->guest, 4) != 0)
		return MNL_CB_OK;
	remembered->flows++;
	mnl_attr_for_each(part, message, sizeof(struct nfgenmsg)) if (mnl_attr_get_type(part) == CTA_TIMEOUT &&
	                                                              ntohl(mnl_attr_get_u32(part)) > remembered->seconds)
	        remembered->seconds = ntohl(mnl_attr_get_u32(part));
	return MNL_CB_OK;
}

/* What the host's conntrack holds of a guest. */
static struct remembered remembered(struct world *w, const struct conf_instance *guest)
{
	static char bytes[16384];
	struct remembered found = {0};
	memcpy(found.guest, &guest->address4, 4);
	lab_enter(&w->lab, LAB_HOST);
	struct mnl_socket *socket = mnl_socket_open(NETLINK_NETFILTER);
	assert_true(socket && mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) == 0);
	struct nlmsghdr *request = mnl_nlmsg_put_header(bytes);
	request->nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET;
	request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	struct nfgenmsg *head = mnl_nlmsg_put_extra_header(request, sizeof(*head));
	head->nfgen_family = AF_INET;
	assert_true(mnl_socket_sendto(socket, request, request->nlmsg_len) > 0);
	for (int r = 1; r > 0;) {
		ssize_t got = mnl_socket_recvfrom(socket, bytes, sizeof(bytes));
		r = mnl_cb_run(bytes, (size_t)got, 0, 0, remembered_one, &found);
		assert_true(got > 0 && r >= 0);
	}
	mnl_socket_close(socket);
	return found;
}

/* Probes are many; each is forgotten soon after its end, where a client's flow is kept as ever. */
static void test_probes_are_forgotten_soon(void **state)
{
	struct world *w = *state;
	int client, server;
	gate(w, 2, WIRE_GATE_OPEN);
	int probe = lab_connect(&w->lab, LAB_HOST, w->address4[2], 80, w->gateway4);
	assert_int_equal(lab_outcome(probe, SOON), 0);
	int asked = lab_accept(w->web[2], SOON, NULL);
	assert_true(asked >= 0);
	close(probe);
	close(asked);
	struct remembered of_probe = remembered(w, &w->i[2]);
	for (int n = 0; n < 100 && of_probe.seconds > 3; n++) /* its end is on the way */
		of_probe = remembered(w, &w->i[2]);
	assert_int_equal(of_probe.flows, 1);
	assert_in_range(of_probe.seconds, 0, 3);
	steer(w, 1, 0);
	assert_int_equal(reached(w, SERVICE4, &client, &server, NULL), 1);
	close(client);
	close(server);
	struct remembered of_client = remembered(w, &w->i[1]);
	assert_int_equal(of_client.flows, 1);
	assert_true(of_client.seconds > 60);
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
	        cmocka_unit_test_setup_teardown(test_probes_are_forgotten_soon, world_setup, world_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
