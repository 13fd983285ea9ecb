/*
 * Names in profiles, with real rules and real packets; the resolver is this test, so that each answer comes when it shall. A
 * guest reaches who the name stands for, in both families, before and after restarts; never what no profile may name.
 */
#include "profile_world.h"

#include <arpa/inet.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define NAME "collector.example"
#define NAMED(side) "\"ipv4\":{\"ietf-acldns:" side "-dnsname\":\"" NAME "\"}"
#define NAMED6(side) "\"ipv6\":{\"ietf-acldns:" side "-dnsname\":\"" NAME "\"}"
#define RESOLVERS "guests:\n  resolvers: [198.51.100.7]\n"
#define TTL_PATIENCE 15000 /* a question comes again after 10 s at the earliest */

static const struct lists by_name = {
        ACE("report", NAMED("dst") "," TCP_OUT, "accept"), ACE("report", NAMED6("dst") "," TCP_OUT, "accept"),
        ACE("back", NAMED("src") "," TCP_BACK, "accept"), ACE("back", NAMED6("src") "," TCP_BACK, "accept")};

/* --- the resolver: RFC 1035, as much as is needed */

#define HEADER 12
#define TYPE_A 1
#define TYPE_AAAA 28

struct query {
	uint8_t bytes[512];
	size_t size; /* up to the end of the question */
	char name[256];
	int type;
	struct sockaddr_in6 from;
	socklen_t from_size;
};

static bool query_receive(int fd, int patience_ms, struct query *ret)
{
	size_t at = HEADER, used = 0;
	*ret = (struct query){.from_size = sizeof(ret->from)};
	if (!lab_readable(fd, patience_ms))
		return false;
	ssize_t got = recvfrom(fd, ret->bytes, sizeof(ret->bytes), 0, (void *)&ret->from, &ret->from_size);
	assert_true(got > HEADER + 5);
	while (ret->bytes[at]) {
		used += (size_t)snprintf(ret->name + used, sizeof(ret->name) - used, "%s%.*s", used ? "." : "", ret->bytes[at],
		                         (const char *)&ret->bytes[at + 1]);
		at += 1u + ret->bytes[at];
		assert_true(at < (size_t)got);
	}
	ret->type = ret->bytes[at + 1] << 8 | ret->bytes[at + 2];
	ret->size = at + 5;
	return true;
}

/* `addresses`: ended by NULL; those of the question's family are told. `code` 3: no such name. */
static void query_answer(int fd, struct query *q, const char *const *addresses, uint32_t ttl, uint8_t code)
{
	uint8_t *bytes = q->bytes;
	size_t at = q->size, n = 0;
	for (; *addresses; addresses++) {
		bool v6 = strchr(*addresses, ':');
		if (v6 != (q->type == TYPE_AAAA))
			continue;
		const uint8_t record[] = {0xc0,
		                          HEADER,
		                          0,
		                          (uint8_t)q->type,
		                          0,
		                          1,
		                          (uint8_t)(ttl >> 24),
		                          (uint8_t)(ttl >> 16),
		                          (uint8_t)(ttl >> 8),
		                          (uint8_t)ttl,
		                          0,
		                          v6 ? 16 : 4};
		memcpy(bytes + at, record, sizeof(record));
		assert_int_equal(inet_pton(v6 ? AF_INET6 : AF_INET, *addresses, bytes + at + sizeof(record)), 1);
		at += sizeof(record) + (v6 ? 16 : 4);
		n++;
	}
	bytes[2] = 0x81;
	bytes[3] = (uint8_t)(0x80 | code);
	memset(bytes + 6, 0, 6); /* no more sections than the answers */
	bytes[7] = (uint8_t)n;
	assert_int_equal(sendto(fd, bytes, at, 0, (void *)&q->from, q->from_size), at);
}

/* Answers for both families; false when nobody asks. */
static bool answers(int fd, int patience_ms, const char *name, const char *const *addresses, uint32_t ttl)
{
	struct query q;
	for (int i = 0; i < 2; i++) {
		if (!query_receive(fd, patience_ms, &q))
			return false;
		assert_string_equal(q.name, name);
		query_answer(fd, &q, addresses, ttl, *addresses ? 0 : 3);
	}
	return true;
}

#define ANSWERS(fd, ttl, ...) assert_true(answers(fd, SOON, NAME, (const char *const[]){__VA_ARGS__, NULL}, ttl))

static void assert_profile_says(struct world *w, const char *text)
{
	struct wire_note note = lab_notice(&w->lab);
	assert_int_equal(note.type, NOTICE_PROFILE);
	assert_string_equal(note.text, text);
}

/* Starts with the profile by name, which is known after the resolver's first answer. */
static int begin_named(struct world *w, uint32_t ttl)
{
	int resolver = lab_datagrams(&w->lab, LAB_CLIENT, 53);
	mud_write(w, &by_name);
	assert_string_equal(start_with(w, RESOLVERS).text, "in force, but " NAME " is being asked for");
	gate(w, 2, WIRE_GATE_OPEN);
	assert_silent(w, LAB_GUEST2, PEER4, 8883);
	ANSWERS(resolver, ttl, PEER4, PEER6);
	assert_profile_says(w, "");
	return resolver;
}

static void test_a_name_is_who_it_stands_for(void **state)
{
	struct world *w = *state;
	int listener = lab_listen(&w->lab, LAB_CLIENT, 8883), resolver = begin_named(w, 300);
	assert_true(reaches(w, listener, PEER4, 8883));
	assert_true(reaches(w, listener, PEER6, 8883));
	assert_silent(w, LAB_GUEST2, PEER4, 80);
	assert_silent(w, LAB_GUEST2, "198.51.100.8", 8883);
	close(listener);
	close(resolver);
}

/* Who was told the last address may go on using it; the new one is as good. */
static void test_it_is_asked_again_when_its_time_is_over(void **state)
{
	struct world *w = *state;
	int listener = lab_listen(&w->lab, LAB_CLIENT, 8883), resolver = begin_named(w, 1);
	lab_enter(&w->lab, LAB_CLIENT);
	assert_int_equal(lab_command("ip addr add 198.51.100.8/24 dev eth0"), 0);
	assert_silent(w, LAB_GUEST2, "198.51.100.8", 8883);
	assert_true(answers(resolver, TTL_PATIENCE, NAME, (const char *const[]){"198.51.100.8", PEER6, NULL}, 300));
	lab_enter(&w->lab, LAB_HOST);
	assert_int_equal(
	        lab_command("for i in $(seq 100); do nft list table inet koboshi | grep -q 198.51.100.8 && exit 0; sleep "
	                    "0.02; done; exit 1"),
	        0);
	assert_true(reaches(w, listener, "198.51.100.8", 8883));
	assert_true(reaches(w, listener, PEER4, 8883));
	close(listener);
	close(resolver);
}

static void test_a_restart_and_a_dead_resolver_change_nothing(void **state)
{
	struct world *w = *state;
	struct query q;
	int listener = lab_listen(&w->lab, LAB_CLIENT, 8883), resolver = begin_named(w, 300);
	assert_string_equal(start_with(w, RESOLVERS).text, ""); /* what the kernel has is taken over */
	assert_true(reaches(w, listener, PEER4, 8883));
	for (int i = 0; i < 2; i++) {
		assert_true(query_receive(resolver, SOON, &q));
		query_answer(resolver, &q, (const char *const[]){NULL}, 0, 3);
	}
	assert_profile_says(w, "in force, but " NAME " does not exist or has no address; its last addresses stay");
	assert_true(reaches(w, listener, PEER6, 8883));
	lab_enter(&w->lab, LAB_HOST); /* tables that are made anew have them too */
	assert_int_equal(lab_command("nft flush ruleset"), 0);
	assert_int_equal(lab_notice(&w->lab).type, NOTICE_MEDDLED);
	assert_int_equal(lab_notice(&w->lab).type, NOTICE_PROFILE);
	assert_true(reaches(w, listener, PEER4, 8883));
	close(listener);
	close(resolver);
}

static void test_some_addresses_are_never_taken(void **state)
{
	struct world *w = *state;
	int listener = lab_listen(&w->lab, LAB_CLIENT, 8883), resolver = lab_datagrams(&w->lab, LAB_CLIENT, 53);
	mud_write(w, &by_name);
	start_with(w, RESOLVERS);
	gate(w, 2, WIRE_GATE_OPEN);
	ANSWERS(resolver, 300, PEER4, "127.0.0.1", w->address4[1], "ff02::1", "fe80::1");
	struct wire_note note = lab_notice(&w->lab);
	assert_non_null(strstr(note.text, "in force, but " NAME " has the address "));
	assert_true(reaches(w, listener, PEER4, 8883));
	assert_silent(w, LAB_GUEST2, w->address4[1], 8883);
	lab_enter(&w->lab, LAB_HOST);
	assert_int_equal(
	        lab_command("nft list table inet koboshi | grep -A4 'set name[46]-' | grep -q -e 127.0.0.1 -e ff02: -e fe80:"),
	        1);
	close(listener);
	close(resolver);
}

/* Answers that are none end nothing and add nothing. */
static void test_nonsense_is_no_answer(void **state)
{
	struct world *w = *state;
	struct query q;
	int resolver = lab_datagrams(&w->lab, LAB_CLIENT, 53);
	mud_write(w, &by_name);
	start_with(w, RESOLVERS);
	assert_true(query_receive(resolver, SOON, &q));
	for (size_t size = 0; size < q.size; size++) {
		q.bytes[2] = 0x81; /* an answer that ends in the middle, of a count that is not there */
		q.bytes[7] = 0xff;
		assert_int_equal(sendto(resolver, q.bytes, size, 0, (void *)&q.from, q.from_size), size);
	}
	fine(w, (struct wire_order){.type = ORDER_NET_GATE, .instance = 2, .gate = WIRE_GATE_OPEN});
	struct query again; /* the other family's question, or the same once more */
	assert_true(query_receive(resolver, 2 * SOON, &again));
	close(resolver);
}

static void test_a_name_that_nobody_names_any_more_goes(void **state)
{
	struct world *w = *state;
	int resolver = begin_named(w, 300);
	const struct lists other = {ACE("x", NET4("destination", PEER4 "/32"), "accept"), "", "", ""};
	lab_enter(&w->lab, LAB_HOST);
	assert_int_equal(lab_command("nft list sets inet | grep -q 'set name4-'"), 0);
	mud_write(w, &other);
	assert_string_equal(start_with(w, RESOLVERS).text, "");
	lab_enter(&w->lab, LAB_HOST);
	assert_int_equal(lab_command("nft list sets inet | grep -q 'set name[46]-'"), 1);
	close(resolver);
}

int main(int argc, char **argv)
{
	int r = world_begin(argc, argv);
	if (r != 0)
		return r;
	const struct CMUnitTest tests[] = {
	        LAB_TEST(test_a_name_is_who_it_stands_for),
	        LAB_TEST(test_it_is_asked_again_when_its_time_is_over),
	        LAB_TEST(test_a_restart_and_a_dead_resolver_change_nothing),
	        LAB_TEST(test_some_addresses_are_never_taken),
	        LAB_TEST(test_nonsense_is_no_answer),
	        LAB_TEST(test_a_name_that_nobody_names_any_more_goes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
