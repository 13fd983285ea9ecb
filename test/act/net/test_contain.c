/*
 * Sources that are cut off, with real packets: what they send comes nowhere, a connection that is under way included; all others
 * notice nothing. A new koboshi-net changes nothing, and some are never cut.
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

static void begin(struct world *w, uint64_t number, const char *address, uint32_t prefix)
{
	fine(w, containing(number, address, prefix, true));
}

static void end(struct world *w, uint64_t number, const char *address, uint32_t prefix)
{
	fine(w, containing(number, address, prefix, false));
}

static bool is_served(struct world *w, const char *to)
{
	int fd = lab_connect(&w->lab, LAB_CLIENT, to, 80, NULL);
	int r = lab_outcome(fd, QUIET);
	close(fd);
	return r == 0;
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

static void test_some_are_never_cut(void **state)
{
	struct world *w = *state;
	char path[96];
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
	assert_int_equal(lab_command("mkdir -p %s.d", w->lab.config), 0);
	snprintf(path, sizeof(path), "%s.d/never.yaml", w->lab.config);
	FILE *out = fopen(path, "w");
	assert_non_null(out);
	fputs("never_cut: [198.51.100.8/30, \"2001:db8:20:0:1::/80\"]\n", out);
	fclose(out);
	lab_kill(&w->lab);
	lab_start(&w->lab, world_program);
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
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
