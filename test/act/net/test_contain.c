/*
 * What is contained, with real packets: what a source sends comes nowhere, a connection that is under way included; a flow is
 * over; a port is closed to clients and not to probes; a limit lets so many through. All others notice nothing. A new koboshi-net
 * changes nothing, and some are never cut.
 */
#include "world.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define CLIENT4 "198.51.100.7"
#define CLIENT6 "2001:db8:20::7"

static struct wire_order containing(uint64_t number, const char *address, uint32_t prefix, bool begin)
{
	struct wire_order order = {.type = ORDER_NET_CONTAIN, .flag = begin};
	bool v6 = strchr(address, ':');
	order.contain = (struct wire_contain){.number = number, .prefix = prefix, .v6 = v6};
	assert_int_equal(inet_pton(v6 ? AF_INET6 : AF_INET, address, order.contain.address), 1);
	return order;
}

static struct wire_contain a_limit(uint64_t number, const char *address, uint32_t prefix, uint32_t rate, uint32_t per_s)
{
	struct wire_contain what = containing(number, address, prefix, true).contain;
	what.kind = WIRE_CONTAIN_LIMIT;
	what.rate = rate;
	what.per_s = per_s;
	return what;
}

static struct wire_contain a_port(uint64_t number, uint32_t protocol, uint32_t port)
{
	return (struct wire_contain){.number = number, .kind = WIRE_CONTAIN_PORT, .protocol = protocol, .to_port = port};
}

/* The flow of a client's socket, by its ends. */
static struct wire_contain a_flow(uint64_t number, int client, const char *from, const char *to)
{
	struct sockaddr_in6 own;
	socklen_t size = sizeof(own);
	bool v6 = strchr(to, ':');
	struct wire_contain what = containing(number, from, v6 ? 128 : 32, true).contain;
	what.kind = WIRE_CONTAIN_FLOW;
	what.protocol = IPPROTO_TCP;
	what.to_port = 80;
	assert_int_equal(inet_pton(v6 ? AF_INET6 : AF_INET, to, what.to), 1);
	assert_int_equal(getsockname(client, (struct sockaddr *)&own, &size), 0);
	what.port = ntohs(own.sin6_port); /* in IPv4's form at the same place */
	return what;
}

static struct wire_order about(struct wire_contain what, bool begin)
{
	return (struct wire_order){.type = ORDER_NET_CONTAIN, .flag = begin, .contain = what};
}

static void begin(struct world *w, uint64_t number, const char *address, uint32_t prefix)
{
	fine(w, containing(number, address, prefix, true));
}

static void end(struct world *w, uint64_t number, const char *address, uint32_t prefix)
{
	fine(w, containing(number, address, prefix, false));
}

static bool is_served_within(struct world *w, enum place place, const char *from, const char *to, int patience_ms)
{
	int fd = lab_connect(&w->lab, place, to, 80, from);
	int r = lab_outcome(fd, patience_ms);
	if (r == 0) /* or reached() would take it for its own */
		close(lab_accept(w->web[1], SOON, NULL));
	close(fd);
	return r == 0;
}

static bool is_served(struct world *w, const char *to)
{
	return is_served_within(w, LAB_CLIENT, NULL, to, QUIET);
}

static bool is_served_from(struct world *w, const char *from, const char *to)
{
	return is_served_within(w, LAB_CLIENT, from, to, QUIET);
}

/* Where an answer must come, on a busy machine too; the first time of an address, neighbours are found first. */
static void assert_served(struct world *w, const char *from, const char *to)
{
	assert_true(is_served_within(w, LAB_CLIENT, from, to, SOON));
}

static void assert_probed(struct world *w)
{
	assert_true(is_served_within(w, LAB_HOST, NULL, w->address4[1], SOON));
	assert_true(is_served_within(w, LAB_HOST, NULL, w->address6[1], SOON));
}

/* What comes no more is seen by waiting, so both ways at once. */
static void assert_silent(int client, int server)
{
	assert_int_equal(send(client, "x", 1, MSG_NOSIGNAL), 1);
	assert_int_equal(send(server, "x", 1, MSG_NOSIGNAL), 1);
	assert_false(lab_readable(server, QUIET));
	assert_false(lab_readable(client, 0));
}

static void test_a_source_is_cut_and_let_in_again(void **state)
{
	struct world *w = *state;
	int client, server;
	steer(w, 1, 0);
	assert_int_equal(reached(w, SERVICE4, &client, &server, NULL), 1);
	begin(w, 1, CLIENT4, 32);
	assert_false(is_served(w, SERVICE4));
	assert_true(is_served(w, SERVICE6)); /* another address is another source */
	assert_int_equal(send(client, "x", 1, MSG_NOSIGNAL), 1);
	assert_false(lab_readable(server, QUIET)); /* a connection that is under way too */
	begin(w, 2, "2001:db8:20::", 64);
	assert_false(is_served(w, SERVICE6));
	end(w, 1, CLIENT4, 32);
	assert_true(is_served(w, SERVICE4));
	assert_false(is_served(w, SERVICE6));
	end(w, 2, "2001:db8:20::", 64);
	assert_true(is_served(w, SERVICE6));
	lab_enter(&w->lab, LAB_HOST);
	assert_int_equal(lab_command("nft list table inet koboshi | grep -q contain-"), 1);
	close(client);
	close(server);
}

static void test_again_is_no_more_than_once(void **state)
{
	struct world *w = *state;
	steer(w, 1, 0);
	for (int i = 0; i < 2; i++)
		begin(w, 7, "198.51.100.0", 24);
	begin(w, 8, CLIENT4, 32); /* in the other one */
	end(w, 7, "198.51.100.0", 24);
	assert_false(is_served(w, SERVICE4));
	for (int i = 0; i < 2; i++)
		end(w, 8, CLIENT4, 32);
	assert_true(is_served(w, SERVICE4));
}

static void test_a_new_program_changes_nothing(void **state)
{
	struct world *w = *state;
	steer(w, 1, 0);
	begin(w, 3, CLIENT4, 32);
	lab_kill(&w->lab);
	lab_start(&w->lab, world_program);
	assert_false(is_served(w, SERVICE4));
	begin(w, 4, "203.0.113.77", 32); /* what it did not order itself stays beside */
	assert_false(is_served(w, SERVICE4));
	end(w, 3, CLIENT4, 32);
	assert_true(is_served(w, SERVICE4));
}

/* Whom the whole of the clients' range is cut from: probes have addresses out of it. */
static void test_probes_are_not_cut_with_the_clients(void **state)
{
	struct world *w = *state;
	steer(w, 1, 0);
	begin(w, 1, "198.51.100.0", 24);
	begin(w, 2, "2001:db8:20::", 64);
	assert_false(is_served(w, SERVICE4));
	for (int i = 0; i < 5; i++)
		assert_probed(w);
}

static long flows_known(struct world *w)
{
	long n = -1;
	lab_enter(&w->lab, LAB_HOST);
	FILE *in = fopen("/proc/sys/net/netfilter/nf_conntrack_count", "r");
	assert_non_null(in);
	assert_int_equal(fscanf(in, "%ld", &n), 1);
	fclose(in);
	return n;
}

static void flow_is_cut_alone(struct world *w, const char *from, const char *to)
{
	int client, server, other_client, other_server;
	assert_int_equal(reached(w, to, &client, &server, NULL), 1);
	assert_int_equal(reached(w, to, &other_client, &other_server, NULL), 1);
	const struct wire_contain flow = a_flow(1, client, from, to);
	long known = flows_known(w);
	fine(w, about(flow, true));
	assert_int_equal(flows_known(w), known - 1);
	assert_silent(client, server);
	fine(w, about(flow, true)); /* again is no more than once */
	assert_passes(other_client, other_server);
	assert_passes(other_server, other_client);
	assert_served(w, NULL, to);
	fine(w, about(flow, false));
	close(client);
	close(server);
	close(other_client);
	close(other_server);
}

static void test_a_flow_is_cut_and_no_other(void **state)
{
	struct world *w = *state;
	steer(w, 1, 0);
	flow_is_cut_alone(w, CLIENT4, SERVICE4);
	flow_is_cut_alone(w, CLIENT6, SERVICE6);
}

static int connect_again(struct world *w, const struct wire_contain *flow)
{
	int one = 1;
	struct sockaddr_in from = {.sin_family = AF_INET, .sin_port = htons((uint16_t)flow->port)};
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)flow->to_port)};
	memcpy(&from.sin_addr, flow->address, 4);
	memcpy(&to.sin_addr, flow->to, 4);
	lab_enter(&w->lab, LAB_CLIENT);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&from, sizeof(from)), 0);
	(void)!connect(fd, (struct sockaddr *)&to, sizeof(to));
	return fd;
}

static void abort_connection(int fd)
{
	const struct linger at_once = {.l_onoff = 1};
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)), 0);
	close(fd);
}

/* Nor is it begun anew from the same port. */
static void test_a_flow_passes_again_when_it_is_released(void **state)
{
	struct world *w = *state;
	int client, server;
	steer(w, 1, 0);
	assert_int_equal(reached(w, SERVICE4, &client, &server, NULL), 1);
	const struct wire_contain flow = a_flow(1, client, CLIENT4, SERVICE4);
	fine(w, about(flow, true));
	abort_connection(client);
	abort_connection(server);
	client = connect_again(w, &flow);
	assert_int_equal(lab_outcome(client, QUIET), -ETIMEDOUT);
	close(client);
	fine(w, about(flow, false));
	client = connect_again(w, &flow);
	assert_int_equal(lab_outcome(client, SOON), 0);
	close(client);
}

static void test_a_port_is_closed_to_clients_alone(void **state)
{
	struct world *w = *state;
	int client, server;
	steer(w, 1, 0);
	for (uint32_t service = 0; service <= 1; service++) {
		struct wire_contain port = a_port(1, IPPROTO_TCP, 80);
		port.service = service; /* of all, or of the only one */
		assert_int_equal(reached(w, SERVICE4, &client, &server, NULL), 1);
		fine(w, about(port, true));
		assert_false(is_served(w, SERVICE4));
		assert_false(is_served(w, SERVICE6));
		assert_silent(client, server);
		assert_probed(w);
		assert_int_equal(reached_udp(w, SERVICE4), 1);
		fine(w, about(port, false));
		assert_served(w, NULL, SERVICE4);
		assert_served(w, NULL, SERVICE6);
		close(client);
		close(server);
	}
	fine(w, about(a_port(2, IPPROTO_UDP, 53), true));
	assert_int_equal(reached_udp(w, SERVICE6), 0);
	assert_served(w, NULL, SERVICE6);
}

static void test_a_limit_lets_so_many_through(void **state)
{
	struct world *w = *state;
	int client, server;
	const struct wire_contain limit4 = a_limit(1, "198.51.100.0", 24, 3, 3600), limit6 = a_limit(2, CLIENT6, 128, 2, 60);
	steer(w, 1, 0);
	lab_enter(&w->lab, LAB_CLIENT);
	assert_int_equal(lab_command("ip addr add 198.51.100.5/24 dev eth0"), 0);
	assert_int_equal(reached(w, SERVICE4, &client, &server, NULL), 1);
	fine(w, about(limit4, true));
	fine(w, about(limit6, true));
	assert_served(w, "198.51.100.5", SERVICE4);
	for (int i = 0; i < 2; i++)
		assert_served(w, NULL, SERVICE4);
	for (int i = 0; i < 2; i++)
		assert_served(w, NULL, SERVICE6);
	assert_false(is_served(w, SERVICE4));
	assert_false(is_served(w, SERVICE6));
	assert_false(is_served_from(w, "198.51.100.5", SERVICE4)); /* all of the network together */
	assert_passes(client, server);                             /* what is there goes on */
	assert_passes(server, client);
	assert_probed(w);
	fine(w, about(limit4, false));
	assert_served(w, NULL, SERVICE4);
	assert_false(is_served(w, SERVICE6));
	fine(w, about(limit6, false));
	assert_served(w, NULL, SERVICE6);
	close(client);
	close(server);
}

static void test_a_limit_fills_up_again(void **state)
{
	struct world *w = *state;
	steer(w, 1, 0);
	fine(w, about(a_limit(1, CLIENT4, 32, 1, 1), true));
	assert_served(w, NULL, SERVICE4);
	assert_false(is_served(w, SERVICE4));
	usleep(1100000); /* its second */
	assert_served(w, NULL, SERVICE4);
	assert_false(is_served(w, SERVICE4));
}

/* One of each kind, and whether it holds. */
struct several {
	struct wire_contain source6, flow4, port_udp, limit4;
	int client, server;
};

static void several_begin(struct world *w, struct several *all)
{
	fine(w, about(all->source6, true));
	fine(w, about(all->flow4, true));
	fine(w, about(all->port_udp, true));
	fine(w, about(all->limit4, true));
}

static void several_make(struct world *w, struct several *all)
{
	steer(w, 1, 0);
	assert_int_equal(reached(w, SERVICE4, &all->client, &all->server, NULL), 1);
	all->source6 = containing(1, CLIENT6, 128, true).contain;
	all->flow4 = a_flow(2, all->client, CLIENT4, SERVICE4);
	all->port_udp = a_port(3, IPPROTO_UDP, 53);
	all->limit4 = a_limit(4, CLIENT4, 32, 1, 3600);
	several_begin(w, all);
	assert_served(w, NULL, SERVICE4); /* the only one in this hour */
}

static void several_hold(struct world *w, struct several *all)
{
	assert_false(is_served(w, SERVICE6));
	assert_false(is_served(w, SERVICE4));
	assert_silent(all->client, all->server);
	assert_int_equal(reached_udp(w, SERVICE4), 0);
	assert_probed(w);
}

static void test_a_new_program_changes_nothing_of_any_kind(void **state)
{
	struct world *w = *state;
	struct several all;
	several_make(w, &all);
	lab_kill(&w->lab);
	lab_start(&w->lab, world_program);
	several_hold(w, &all);
	close(all.client);
	close(all.server);
}

/* Somebody else flushes all: the engine, told of it, orders them again. */
static void test_what_others_flush_is_ordered_again(void **state)
{
	struct world *w = *state;
	struct several all;
	several_make(w, &all);
	lab_enter(&w->lab, LAB_HOST);
	assert_int_equal(lab_command("nft flush ruleset"), 0);
	struct wire_note note = lab_notice(&w->lab);
	assert_int_equal(note.type, NOTICE_MEDDLED);
	several_begin(w, &all);
	assert_served(w, NULL, SERVICE4); /* its hour begins anew */
	several_hold(w, &all);
	close(all.client);
	close(all.server);
}

/* Where a guest sees the host's address instead of its clients'. */
static void test_hidden_clients_are_known_all_the_same(void **state)
{
	struct world *w = *state;
	int client, server;
	steer(w, 1, 0);
	flow_is_cut_alone(w, CLIENT4, SERVICE4);
	assert_int_equal(reached(w, SERVICE4, &client, &server, NULL), 1);
	begin(w, 7, CLIENT4, 32);
	assert_silent(client, server);
	assert_probed(w);
	end(w, 7, CLIENT4, 32);
	close(client);
	close(server);
	assert_int_equal(reached(w, SERVICE6, &client, &server, NULL), 1);
	fine(w, about(a_port(8, IPPROTO_TCP, 80), true));
	assert_silent(client, server);
	assert_probed(w);
	close(client);
	close(server);
}

static void test_what_no_service_has_is_refused(void **state)
{
	struct world *w = *state;
	struct wire_contain port = a_port(1, IPPROTO_TCP, 81), far = a_port(2, IPPROTO_TCP, 80);
	struct wire_contain flow = containing(3, CLIENT4, 32, true).contain;
	far.service = 2;
	flow.kind = WIRE_CONTAIN_FLOW;
	flow.protocol = IPPROTO_TCP;
	flow.port = flow.to_port = 80;
	assert_int_equal(inet_pton(AF_INET, "203.0.113.11", flow.to), 1);
	const struct {
		const struct wire_contain *what;
		const char *why;
	} rows[] = {
	        {&port, "port 81/tcp: no service has this port"},
	        {&far, "port 80/tcp: no service has this port"},
	        {&flow, "flow tcp 198.51.100.7:80 203.0.113.11:80: no service is where it goes"},
	};
	for (size_t i = 0; i < countof(rows); i++) {
		struct wire_answer answer = lab_order(&w->lab, about(*rows[i].what, true));
		assert_int_equal(answer.status, -EPERM);
		assert_string_equal(answer.text, rows[i].why);
	}
}

static const char never_cut_more[] = "never_cut: [198.51.100.8/30, \"2001:db8:20:0:1::/80\"]\n";

static void test_flows_and_limits_spare_the_same(void **state)
{
	struct world *w = *state;
	int client, server;
	steer(w, 1, 0);
	lab_enter(&w->lab, LAB_CLIENT);
	assert_int_equal(lab_command("ip addr add 198.51.100.9/24 dev eth0 && ip addr add 2001:db8:20:0:1::1/64 dev eth0 nodad"),
	                 0);
	begin(w, 1, "198.51.100.9", 32);
	assert_int_equal(reached(w, SERVICE4, &client, &server, NULL), 1);
	configure(w, never_cut_more);
	const struct wire_contain limit = a_limit(2, "2001:db8:20::", 48, 5, 1),
	                          flow = a_flow(3, client, "198.51.100.9", SERVICE4);
	struct wire_answer answer = lab_order(&w->lab, about(limit, true));
	assert_int_equal(answer.status, -EPERM);
	assert_string_equal(answer.text, "2001:db8:20::/48 is never limited: 'never_cut' names it");
	answer = lab_order(&w->lab, about(flow, true));
	assert_int_equal(answer.status, -EPERM);
	assert_string_equal(answer.text, "198.51.100.9/32 is never cut: 'never_cut' names it");
	/* cut before it was named: told again, as after each start, it is let in */
	assert_false(is_served_from(w, "198.51.100.9", SERVICE4));
	answer = lab_order(&w->lab, containing(1, "198.51.100.9", 32, true));
	assert_int_equal(answer.status, -EPERM);
	assert_served(w, "198.51.100.9", SERVICE4);
	/* a port is closed to all but them */
	fine(w, about(a_port(4, IPPROTO_TCP, 80), true));
	assert_false(is_served(w, SERVICE4));
	assert_false(is_served_from(w, CLIENT6, SERVICE6));
	assert_served(w, "198.51.100.9", SERVICE4);
	assert_served(w, "2001:db8:20:0:1::1", SERVICE6);
	close(client);
	close(server);
}

static void test_some_are_never_cut(void **state)
{
	struct world *w = *state;
	const struct {
		const char *address;
		uint32_t prefix;
		const char *why;
	} rows[] = {
	        {"198.51.100.9", 32, "198.51.100.9/32 is never cut: 'never_cut' names it"},
	        {"198.51.100.0", 24, "'never_cut' names it"}, /* a part of it is enough */
	        {"2001:db8:20::", 48, "'never_cut' names it"},
	        {w->address4[2], 32, "guests' addresses"},
	        {w->address6[2], 128, "guests' addresses"},
	        {"127.0.0.1", 32, "this host itself"},
	        {"::1", 128, "this host itself"},
	        {"0.0.0.0", 7, "so wide"},
	        {"::", 15, "so wide"},
	};
	configure(w, never_cut_more);
	for (size_t i = 0; i < countof(rows); i++) {
		struct wire_answer answer = lab_order(&w->lab, containing(10 + i, rows[i].address, rows[i].prefix, true));
		assert_int_equal(answer.status, -EPERM);
		if (!strstr(answer.text, rows[i].why))
			fail_msg("row %zu: %s", i, answer.text);
	}
	begin(w, 50, CLIENT4, 32);
	lab_enter(&w->lab, LAB_HOST);
	assert_int_equal(lab_command("nft list table inet koboshi | grep -c 'chain contain-' | grep -qx 1"), 0);
}

int main(int argc, char **argv)
{
	int r = world_begin(argc, argv);
	if (r != 0)
		return r;
	const struct CMUnitTest tests[] = {
	        LAB_TEST(test_a_source_is_cut_and_let_in_again),
	        LAB_TEST(test_again_is_no_more_than_once),
	        LAB_TEST(test_a_new_program_changes_nothing),
	        LAB_TEST(test_some_are_never_cut),
	        LAB_TEST(test_probes_are_not_cut_with_the_clients),
	        LAB_TEST(test_a_flow_is_cut_and_no_other),
	        LAB_TEST(test_a_flow_passes_again_when_it_is_released),
	        LAB_TEST(test_a_port_is_closed_to_clients_alone),
	        LAB_TEST(test_a_limit_lets_so_many_through),
	        LAB_TEST(test_a_limit_fills_up_again),
	        LAB_TEST(test_a_new_program_changes_nothing_of_any_kind),
	        LAB_TEST(test_what_others_flush_is_ordered_again),
	        cmocka_unit_test_setup_teardown(test_hidden_clients_are_known_all_the_same, world_setup_hidden, world_teardown),
	        LAB_TEST(test_what_no_service_has_is_refused),
	        LAB_TEST(test_flows_and_limits_spare_the_same),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
