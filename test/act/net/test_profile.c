/*
 * Profiles at the taps, with real packets: what a profile allows goes out and its answer comes back, what it does not is told and
 * dropped, in both families; a profile that cannot be taken changes nothing.
 */
#include "profile_world.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

static const struct lists report = {
        ACE("report", NET4("destination", PEER4 "/32") "," TCP_OUT,
            "accept") "," ACE("time", LOCAL "," PORT("udp", "destination", "123"),
                              "accept") "," ACE("all but", PORT("tcp", "destination", "81"), "reject"),
        ACE("report", NET6("destination", PEER6 "/128") "," TCP_OUT,
            "accept") "," ACE("time", CONTROLLER "," PORT("udp", "destination", "123"), "accept"),
        ACE("back", NET4("source", PEER4 "/32") "," TCP_BACK, "accept") "," ACE("time", LOCAL "," PORT("udp", "source", "123"),
                                                                                "accept"),
        ACE("back", NET6("source", PEER6 "/128") "," TCP_BACK,
            "accept") "," ACE("time", CONTROLLER "," PORT("udp", "source", "123"), "accept"),
};

static void test_allowed_goes_and_answers_come_back(void **state)
{
	struct world *w = *state;
	char peer[INET6_ADDRSTRLEN];
	int listener = lab_listen(&w->lab, LAB_CLIENT, 8883);
	const struct {
		const char *to, *seen_as;
	} rows[] = {{PEER4, HOST4}, {PEER6, HOST6}};
	begin(w, &report, "");
	for (size_t i = 0; i < countof(rows); i++) {
		int guest, server = opens(w, listener, rows[i].to, 8883, &guest, peer);
		assert_true(server >= 0);
		assert_string_equal(peer, rows[i].seen_as); /* guests' addresses mean nothing out there */
		assert_passes(guest, server);
		assert_passes(server, guest);
		close(guest);
		close(server);
	}
	struct lab_logged logged = lab_logged(&w->lab, QUIET);
	assert_int_equal(logged.stray + logged.out + logged.other, 0);
	close(listener);
}

static bool datagram_answered(struct world *w, const char *to, uint16_t port, int server)
{
	char byte;
	struct sockaddr_in6 from;
	socklen_t size = sizeof(from);
	bool six = strchr(to, ':');
	lab_enter(&w->lab, LAB_GUEST2);
	int guest = socket(six ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct sockaddr_in6 sixes = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	inet_pton(six ? AF_INET6 : AF_INET, to, six ? (void *)&sixes.sin6_addr : (void *)&four.sin_addr);
	bool sent = sendto(guest, "?", 1, 0, six ? (void *)&sixes : (void *)&four, six ? sizeof(sixes) : sizeof(four)) == 1;
	bool there = sent && lab_readable(server, QUIET) && recvfrom(server, &byte, 1, 0, (void *)&from, &size) == 1;
	bool back = there && sendto(server, "!", 1, 0, (void *)&from, size) == 1 && lab_readable(guest, QUIET);
	close(guest);
	return back;
}

static void test_classes_are_what_the_configuration_says(void **state)
{
	struct world *w = *state;
	int time = lab_datagrams(&w->lab, LAB_CLIENT, 123), other = lab_datagrams(&w->lab, LAB_CLIENT, 124);
	begin(w, &report, "");
	assert_true(datagram_answered(w, PEER4, 123, time));
	assert_true(datagram_answered(w, PEER6, 123, time));
	assert_false(datagram_answered(w, PEER4, 124, other));
	assert_false(datagram_answered(w, PEER6, 124, other));
	assert_int_equal(lab_logged(&w->lab, QUIET).stray, 2);
	close(time);
	close(other);
}

static void test_strays_are_told_and_cut(void **state)
{
	struct world *w = *state;
	int web = lab_listen(&w->lab, LAB_CLIENT, 80), host = lab_listen(&w->lab, LAB_HOST, 8883);
	begin(w, &report, "");
	const struct {
		const char *to;
		uint16_t port;
	} tries[] = {{PEER4, 80},         {PEER6, 80},   {w->address4[1], 80}, {w->address6[1], 80},   {w->gateway4, 8883},
	             {w->gateway6, 8883}, {HOST4, 8883}, {SERVICE4, 80},       {"203.0.113.99", 8883}, {"100.64.0.1", 80}};
	for (size_t i = 0; i < countof(tries); i++)
		assert_silent(w, LAB_GUEST2, tries[i].to, tries[i].port);
	struct lab_logged logged = lab_logged(&w->lab, QUIET);
	assert_in_range(logged.stray, countof(tries), 3 * countof(tries));
	assert_int_equal(logged.out, 0);
	lab_enter(&w->lab, LAB_HOST);
	assert_int_equal(lab_command("nft list counter inet koboshi kb2_outside | grep -q 'packets 1[0-9]'"), 0);
	assert_int_equal(lab_command("nft list counter inet koboshi kb1_outside | grep -q 'packets 0'"), 0);
	assert_int_equal(reached(w, SERVICE4, NULL, NULL, NULL), 1); /* what clients ask for stands in no profile */
	assert_int_equal(reached(w, SERVICE6, NULL, NULL, NULL), 1);
	close(web);
	close(host);
}

/* A planned switch cuts the old one's connections; what it still says to its clients is dropped and speaks against nobody. */
static void test_late_answers_are_no_strays(void **state)
{
	struct world *w = *state;
	static const char *const services[] = {SERVICE4, SERVICE6};
	char byte;
	begin(w, &report, "");
	for (size_t i = 0; i < countof(services); i++) {
		int client, server;
		steer(w, 1, 0);
		assert_int_equal(reached(w, services[i], &client, &server, NULL), 1);
		steer(w, 2, 0);
		fine(w, (struct wire_order){.type = ORDER_NET_CUT, .instance = 1});
		assert_int_equal(send(server, "late", 4, MSG_NOSIGNAL), 4);
		assert_true(lab_readable(client, SOON)); /* told of its end, and nothing else */
		assert_int_equal(recv(client, &byte, 1, 0), -1);
		assert_int_equal(errno, ECONNRESET);
		close(client);
		close(server);
	}
	assert_int_equal(lab_logged(&w->lab, QUIET).stray, 0);
	lab_enter(&w->lab, LAB_HOST);
	assert_int_equal(lab_command("nft list counter inet koboshi kb1_outside | grep -q 'packets [1-9]'"), 0);
}

static void test_answers_need_their_own_entry(void **state)
{
	struct world *w = *state;
	struct lists silent = report;
	int listener = lab_listen(&w->lab, LAB_CLIENT, 8883), time = lab_datagrams(&w->lab, LAB_CLIENT, 123);
	silent.to4 = "";
	begin(w, &silent, "");
	assert_silent(w, LAB_GUEST2, PEER4, 8883);
	assert_false(datagram_answered(w, PEER4, 123, time)); /* it came, the answer did not */
	assert_true(reaches(w, listener, PEER6, 8883));
	assert_int_equal(lab_logged(&w->lab, QUIET).stray, 0); /* the others' packets are not the guest's fault */
	lab_enter(&w->lab, LAB_HOST);
	assert_int_equal(lab_command("nft list counter inet koboshi outside_to | grep -q 'packets 0'"), 1);
	close(listener);
	close(time);
}

static void test_reject_is_told_to_the_guest(void **state)
{
	struct world *w = *state;
	begin(w, &report, "");
	int fd = lab_connect(&w->lab, LAB_GUEST2, PEER4, 81, NULL);
	assert_int_equal(lab_outcome(fd, SOON), -ECONNREFUSED);
	close(fd);
	assert_int_equal(lab_logged(&w->lab, QUIET).stray, 1);
}

static void test_gates_come_first(void **state)
{
	struct world *w = *state;
	int listener = lab_listen(&w->lab, LAB_CLIENT, 8883);
	begin(w, &report, "");
	assert_silent(w, LAB_GUEST3, PEER4, 8883); /* quarantine */
	int guest, server = opens(w, listener, PEER4, 8883, &guest, NULL);
	assert_passes(guest, server);
	gate(w, 2, WIRE_GATE_FENCED);
	assert_int_equal(send(guest, "x", 1, MSG_NOSIGNAL), 1);
	assert_false(lab_readable(server, QUIET));
	assert_silent(w, LAB_GUEST2, PEER4, 8883);
	gate(w, 2, WIRE_GATE_OPEN);
	close(guest);
	close(server);
	server = opens(w, listener, PEER4, 8883, &guest, NULL);
	steer(w, 3, 2); /* a victim's own connections are cut with the others */
	fine(w, (struct wire_order){.type = ORDER_NET_FLOWS, .instance = 2, .incident = 44});
	assert_int_equal(lab_command("grep -q 'dst=" PEER4 ".*dport=8883' %s/kept/evidence/44/kb-2.flows", w->lab.folder), 0);
	close(guest);
	close(server);
	close(listener);
}

static void test_count_lets_pass_and_limit_some(void **state)
{
	struct world *w = *state;
	int web = lab_listen(&w->lab, LAB_CLIENT, 80), many = lab_datagrams(&w->lab, LAB_CLIENT, 9);
	begin(w, &report, "    outside: count\n");
	assert_true(reaches(w, web, PEER4, 80));
	assert_true(reaches(w, web, PEER6, 80));
	assert_silent(w, LAB_GUEST2, w->address4[1], 80);
	assert_silent(w, LAB_GUEST2, w->gateway4, 8883);
	assert_true(lab_logged(&w->lab, QUIET).stray >= 4);
	start_with(w, "    outside: limit\n    outside_rate: 5\n");
	lab_enter(&w->lab, LAB_GUEST2);
	int guest = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)};
	inet_pton(AF_INET, PEER4, &to.sin_addr);
	for (int i = 0; i < 40; i++)
		assert_int_equal(sendto(guest, "?", 1, 0, (struct sockaddr *)&to, sizeof(to)), 1);
	unsigned came = 0;
	char byte;
	while (lab_readable(many, QUIET) && recv(many, &byte, 1, 0) == 1)
		came++;
	assert_in_range(came, 5, 10); /* the burst and what the time brought */
	close(guest);
	close(many);
	close(web);
}

/* As many entries as a file may have, the one that counts last. */
static void test_a_long_profile_is_taken(void **state)
{
	struct world *w = *state;
	int listener = lab_listen(&w->lab, LAB_CLIENT, 8883);
	size_t size;
	char *text;
	FILE *out = open_memstream(&text, &size);
	assert_non_null(out);
	for (unsigned i = 0; i < 509; i++)
		fprintf(out,
		        ACE("e%u", NET4("destination", "198.18.%u.%u/32") "," PORT("udp", "destination", "%u"), "accept") ",", i,
		        i / 256, i % 256, 1000 + i);
	fputs(ACE("report", NET4("destination", PEER4 "/32") "," TCP_OUT, "accept"), out);
	fclose(out);
	mud_write(w, &(struct lists){text, ACE("x", TCP_OUT, "drop"), report.to4, ""});
	struct wire_note note = start_with(w, "");
	assert_non_null(strstr(note.text, "more than 512 entries")); /* 513 */
	const char *fewer = strstr(text, ",{");
	assert_non_null(fewer);
	mud_write(w, &(struct lists){fewer + 1, "", report.to4, ""});
	assert_string_equal(start_with(w, "").text, "");
	gate(w, 2, WIRE_GATE_OPEN);
	assert_true(reaches(w, listener, PEER4, 8883));
	assert_silent(w, LAB_GUEST2, PEER4, 80);
	free(text);
	close(listener);
}

/* Every packet is judged: what a new profile no longer allows ends in the middle. */
static void test_a_changed_profile_holds_at_once(void **state)
{
	struct world *w = *state;
	int listener = lab_listen(&w->lab, LAB_CLIENT, 8883);
	struct lists less = report;
	begin(w, &report, "");
	int guest, server = opens(w, listener, PEER4, 8883, &guest, NULL);
	assert_passes(guest, server);
	start_with(w, "");
	assert_passes(guest, server); /* the same profile: nobody notices */
	less.from4 = ACE("other", NET4("destination", "192.0.2.200/32"), "accept");
	mud_write(w, &less);
	assert_string_equal(start_with(w, "").text, "");
	assert_int_equal(send(guest, "x", 1, MSG_NOSIGNAL), 1);
	assert_false(lab_readable(server, QUIET));
	start_with(w, NULL); /* none at all: as if there had never been one */
	assert_silent(w, LAB_GUEST2, PEER6, 8883);
	assert_true(lab_logged(&w->lab, QUIET).out > 0);
	lab_enter(&w->lab, LAB_HOST);
	assert_int_equal(lab_command("nft list ruleset | grep -q -e from-web -e to-web -e masquerade"), 1);
	close(guest);
	close(server);
	close(listener);
}

static void test_a_bad_profile_changes_nothing(void **state)
{
	struct world *w = *state;
	int listener = lab_listen(&w->lab, LAB_CLIENT, 8883);
	static const struct {
		struct lists lists;
		const char *sentence;
	} rows[] = {
	        {{.from4 = ACE("x", NET4("destination", "192.0.2.7/32"), "accept")},
	         "/acl/0/aces/ace/0/matches/ipv4/destination-ipv4-network: is in the guests' range"},
	        {{.to6 = ACE("x", NET6("source", "ff02::1/128"), "accept")},
	         "/acl/3/aces/ace/0/matches/ipv6/source-ipv6-network"},
	        {{.from4 = ACE("x", "\"ietf-mud:mud\":{\"controller\":\"https://a.example.com/c\"}", "accept")}, "my-controller"},
	        {{.from4 = ACE("x", "\"ietf-mud:mud\":{\"model\":\"https://a.example.com/c\"}", "accept")}, "not supported"},
	        {{.from4 = ACE("x", PORT("tcp", "destination", "1"), "accept") "," ACE("y", PORT("tcp", "destination", "1"),
	                                                                               "drop")},
	         "contradicts 'x'"},
	};
	mud_write_text(w, "{");
	assert_non_null(strstr(start_with(w, "").text, "not taken, nothing may be opened: 1:1: no JSON"));
	assert_silent(w, LAB_GUEST2, PEER4, 8883);
	begin(w, &report, "");
	for (size_t i = 0; i < countof(rows); i++) {
		struct lists lists = rows[i].lists;
		const char **all[] = {&lists.from4, &lists.from6, &lists.to4, &lists.to6};
		for (size_t k = 0; k < countof(all); k++)
			*all[k] = *all[k] ? *all[k] : "";
		mud_write(w, &lists);
		struct wire_note note = start_with(w, "");
		if (!strstr(note.text, "not taken, the one before stays: ") || !strstr(note.text, rows[i].sentence))
			fail_msg("row %zu: %s", i, note.text);
		assert_true(reaches(w, listener, PEER4, 8883));
	}
	lab_enter(&w->lab, LAB_HOST); /* the one before goes with the rules, and that is said */
	assert_int_equal(lab_command("nft flush ruleset"), 0);
	assert_int_equal(lab_notice(&w->lab).type, NOTICE_MEDDLED);
	assert_non_null(strstr(lab_notice(&w->lab).text, "nothing may be opened"));
	assert_silent(w, LAB_GUEST2, PEER4, 8883);
	close(listener);
}

static void test_rules_that_others_change_come_back(void **state)
{
	struct world *w = *state;
	int listener = lab_listen(&w->lab, LAB_CLIENT, 8883);
	begin(w, &report, "");
	lab_enter(&w->lab, LAB_HOST);
	assert_int_equal(lab_command("nft flush ruleset"), 0);
	assert_int_equal(lab_notice(&w->lab).type, NOTICE_MEDDLED);
	assert_string_equal(lab_notice(&w->lab).text, "");
	assert_true(reaches(w, listener, PEER4, 8883));
	assert_true(reaches(w, listener, PEER6, 8883));
	assert_silent(w, LAB_GUEST2, PEER4, 80);
	fine(w, (struct wire_order){.type = ORDER_NET_TAP_DEL, .instance = 2});
	lab_enter(&w->lab, LAB_HOST);
	assert_int_equal(lab_command("nft list ruleset | grep -q kb2"), 1);
	close(listener);
}

int main(int argc, char **argv)
{
	int r = world_begin(argc, argv);
	if (r != 0)
		return r;
	const struct CMUnitTest tests[] = {
	        LAB_TEST(test_allowed_goes_and_answers_come_back),
	        LAB_TEST(test_classes_are_what_the_configuration_says),
	        LAB_TEST(test_strays_are_told_and_cut),
	        LAB_TEST(test_late_answers_are_no_strays),
	        LAB_TEST(test_answers_need_their_own_entry),
	        LAB_TEST(test_reject_is_told_to_the_guest),
	        LAB_TEST(test_gates_come_first),
	        LAB_TEST(test_count_lets_pass_and_limit_some),
	        LAB_TEST(test_a_long_profile_is_taken),
	        LAB_TEST(test_a_changed_profile_holds_at_once),
	        LAB_TEST(test_a_bad_profile_changes_nothing),
	        LAB_TEST(test_rules_that_others_change_come_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
