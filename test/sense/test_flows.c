/*
 * Flows and what they say, by stories in virtual time: what a guest does by itself is compared with its own past, what clients do
 * is shown and held against nobody.
 */
#include "sense/flow_table.h"
#include "sense/flows.h"
#include "sense/rhythm.h"

#include "conf/conf.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define SECOND INT64_C(1000000)
#define DNS "192.0.2.53"

/* ---- a world: one guest, 7, and whatever happens to it */

struct story {
	struct flows *flows;
	int64_t now_us;
	uint32_t next_id;
	uint64_t chance;
	unsigned told;
	char text[FLOWS_TEXT_MAX]; /* the last */
	int64_t began_us;
};

static struct nflog_address at(const char *text)
{
	struct nflog_address address = {.ipv6 = strchr(text, ':')};
	assert_int_equal(inet_pton(address.ipv6 ? AF_INET6 : AF_INET, text, address.bytes), 1);
	return address;
}

static struct nflog_address at4(uint32_t number)
{
	struct nflog_address address = {0};
	uint32_t big = htonl(number);
	memcpy(address.bytes, &big, 4);
	return address;
}

static void on_tell(void *arg, uint32_t instance, int64_t began_us, int64_t time_us, const char *text)
{
	struct story *s = arg;
	assert_int_equal(instance, 7);
	assert_true(began_us <= time_us && time_us == s->now_us);
	assert_true(strlen(text) < FLOWS_TEXT_MAX - 1);
	s->told++;
	s->began_us = began_us;
	snprintf(s->text, sizeof(s->text), "%s", text);
}

static uint32_t chance(struct story *s, uint32_t below)
{
	s->chance = s->chance * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)((s->chance >> 33) % below);
}

static struct story begin(uint64_t seed)
{
	struct story s = {.now_us = 100 * SECOND, .chance = seed};
	return s;
}

static void follow(struct story *s)
{
	struct nflog_address four = at("198.51.100.7"), six = at("2001:db8::7");
	s->flows = flows_new(s->chance, on_tell, s);
	flows_add(s->flows, 7, &four, &six);
	flows_work(s->flows, 7, true, s->now_us);
}

static void pass(struct story *s, int64_t us)
{
	while (us > 0) {
		int64_t step = us < SECOND ? us : SECOND;
		s->now_us += step;
		us -= step;
		flows_tick(s->flows, s->now_us);
	}
}

static void flow(struct story *s, struct nflog_address from, struct nflog_address to, uint16_t port, uint64_t sent, uint64_t got)
{
	struct conntrack_flow f = {.id = ++s->next_id, .mark = CONF_MARK | 7};
	f.asks = (struct conntrack_tuple){from, to, (uint16_t)(1024 + s->next_id % 60000), port, 6};
	flows_flow(s->flows, 7, &f, s->now_us);
	f.ended = true;
	f.replied = got > 0;
	f.asked = (struct conntrack_sum){5, sent};
	f.answered = (struct conntrack_sum){got ? 5 : 0, got};
	flows_flow(s->flows, 7, &f, s->now_us);
}

static void client(struct story *s, uint32_t who, uint64_t sent, uint64_t got)
{
	flow(s, at4(0xcb007100u + who), at("203.0.113.10"), 80, sent, got);
}

static void opens(struct story *s, const char *to, uint16_t port, uint64_t sent, uint64_t got)
{
	flow(s, at("198.51.100.7"), at(to), port, sent, got);
}

static void tries(struct story *s, uint32_t to, uint16_t port)
{
	struct nflog_address whom = at4(to);
	flows_tried(s->flows, 7, &whom, port, 6, (uint16_t)(1024 + ++s->next_id % 60000), s->now_us);
}

static void live_quietly(struct story *s, unsigned seconds)
{
	for (unsigned n = 0; n < seconds; n++) {
		client(s, chance(s, 20), 500, 4000);
		if (n % 30 == 0)
			opens(s, DNS, 53, 60, 120);
		pass(s, SECOND);
	}
}

static void assert_told(const struct story *s, unsigned times, const char *text)
{
	if (s->told != times || (text && strcmp(text, s->text) != 0))
		fail_msg("told %u times, not %u; last: '%s', not '%s'", s->told, times, s->text, text ? text : "");
}

/* ---- what a guest does by itself */

static void a_scan_is_told_of_in_the_middle_of_its_window(void **state)
{
	(void)state;
	struct story s = begin(1);
	follow(&s);
	live_quietly(&s, 70);
	assert_told(&s, 0, NULL);
	for (unsigned n = 0; n < 9; n++) { /* one a quarter of a second: too slow for whoever counts in two seconds */
		tries(&s, 0xc0000200u + n, 22);
		pass(&s, SECOND / 4);
	}
	assert_told(&s, 1, "fan-out 9 places in 2.0 s, usual 0 (most 0)");
	assert_true(s.now_us - s.began_us < 3 * SECOND);
	for (unsigned n = 9; n < 34; n++) {
		tries(&s, 0xc0000200u + n, 22);
		pass(&s, SECOND / 4);
	}
	pass(&s, 10 * SECOND);
	assert_true(s.told >= 3); /* whole windows, and the failures */
	flows_free(s.flows);
}

static void nothing_is_told_before_it_is_known(void **state)
{
	(void)state;
	struct story s = begin(1);
	follow(&s);
	live_quietly(&s, 30);
	for (unsigned n = 0; n < 40; n++)
		tries(&s, 0xc0000200u + n, 22);
	pass(&s, 10 * SECOND);
	assert_told(&s, 0, NULL);
	flows_free(s.flows);
}

/* A service that asks twenty others is not strange when it does. */
static void what_is_usual_is_not_alarming(void **state)
{
	(void)state;
	struct story s = begin(1);
	follow(&s);
	for (unsigned n = 0; n < 600; n++) {
		char to[32];
		for (unsigned k = 0; k < 5; k++) {
			snprintf(to, sizeof(to), "192.0.2.%u", 1 + chance(&s, 20));
			opens(&s, to, 443, 800, 3000);
		}
		client(&s, chance(&s, 20), 500, 4000);
		pass(&s, SECOND);
	}
	assert_told(&s, 0, NULL);
	flows_free(s.flows);
}

/* Tries without an answer: what the rules refuse, and what a peer leaves alone. An absent peer is one place. */
static void failures_are_places(void **state)
{
	(void)state;
	struct story s = begin(1);
	follow(&s);
	live_quietly(&s, 70);
	for (unsigned n = 0; n < 40; n++)
		opens(&s, "192.0.2.9", 5432, 60, 0);
	pass(&s, 10 * SECOND);
	assert_told(&s, 0, NULL);
	for (unsigned n = 0; n < 12; n++) {
		char to[32];
		snprintf(to, sizeof(to), "192.0.2.%u", 100 + n);
		opens(&s, to, 445, 60, 0);
	}
	pass(&s, 10 * SECOND);
	assert_non_null(strstr(s.text, "failed 12 places without an answer"));
	flows_free(s.flows);
}

static void a_repeated_request_is_one(void **state)
{
	(void)state;
	struct story s = begin(1);
	struct flows_look looks[FLOWS_FEATURES];
	size_t windows, open;
	struct nflog_address whom = at("192.0.2.9");
	follow(&s);
	for (unsigned n = 0; n < 5; n++)
		flows_tried(s.flows, 7, &whom, 22, 6, 40000, s.now_us);
	pass(&s, 10 * SECOND);
	assert_true(flows_look(s.flows, 7, looks, &windows, &open));
	assert_int_equal((int)looks[FLOWS_OPENED].last, 1);
	assert_int_equal((int)looks[FLOWS_FANOUT].last, 1);
	assert_int_equal((int)looks[FLOWS_FAILED].last, 1);
	assert_int_equal(windows, 1);
	flows_free(s.flows);
}

static void much_sent_to_an_own_place_is_told(void **state)
{
	(void)state;
	struct story s = begin(1);
	follow(&s);
	live_quietly(&s, 70);
	opens(&s, "192.0.2.66", 443, 80 << 20, 5000);
	assert_non_null(strstr(s.text, "sent 819"));
	assert_non_null(strstr(s.text, "KiB in 0.0 s, usual 0 (most 0)"));
	flows_free(s.flows);
}

static void names_that_do_not_exist_are_told(void **state)
{
	(void)state;
	struct story s = begin(1);
	follow(&s);
	const struct dns_answer good = {.found = true, .name = "time.example"}, bad = {.code = 3, .name = "qx7f2.example"};
	for (unsigned n = 0; n < 70; n++) {
		flows_named(s.flows, 7, n % 20 ? &good : &bad, s.now_us);
		pass(&s, SECOND);
	}
	for (unsigned n = 0; n < 11; n++)
		flows_named(s.flows, 7, &bad, s.now_us);
	assert_told(&s, 1, "names 11 not found in 0.0 s, usual 1 (most 1), last qx7f2.example");
	flows_free(s.flows);
}

static void a_rhythm_is_told_unless_it_was_always_there(void **state)
{
	(void)state;
	struct story s = begin(1);
	follow(&s);
	for (unsigned n = 0; n < 1200; n++) {
		if (n % 20 == 0)
			opens(&s, "192.0.2.123", 123, 76, 76); /* what time is it: from the beginning */
		if (n > 100 && n % 30 == 0)
			tries(&s, 0xc0000242u, 443);
		pass(&s, SECOND);
	}
	assert_in_range(s.told, 5, 20);
	assert_string_equal(s.text,
	                    "regularity: 192.0.2.66 port 443 called every 30.0 s (within 0.0 s), 13 times; usual is none");
	flows_free(s.flows);
}

static void chance_is_no_rhythm(void **state)
{
	(void)state;
	struct story s = begin(3);
	follow(&s);
	live_quietly(&s, 70);
	for (unsigned n = 0; n < 5000; n++) {
		pass(&s, SECOND * (1 + chance(&s, 60)));
		opens(&s, "192.0.2.66", 443, 800, 3000);
	}
	assert_told(&s, 0, NULL);
	flows_free(s.flows);
}

/* ---- what clients do */

/* Day and night, a busy hour, a flood of new clients, switches: 24 hours of a guest that asks another one for every third client.
 */
static void a_day(uint64_t seed)
{
	struct story s = begin(seed);
	bool works = true;
	follow(&s);
	for (unsigned second = 0; second < 24 * 3600; second++) {
		unsigned hour = second / 3600, load = hour < 6 ? 1 : hour == 12 ? 60 : 8;
		unsigned clients = chance(&s, 2 * load + 1), crowd = hour == 15 ? 60000 : 30;
		if (works)
			for (unsigned n = 0; n < clients; n++) {
				client(&s, chance(&s, crowd), 300 + chance(&s, 3000),
				       chance(&s, 50) ? 1000 + chance(&s, 200000) : 0);
				if (chance(&s, 3) == 0)
					opens(&s, "192.0.2.20", 5432, 200 + chance(&s, 2000), 4000);
			}
		if (chance(&s, 64) == 0)
			opens(&s, "192.0.2.123", 123, 76, 76);
		if (chance(&s, 40) == 0)
			opens(&s, DNS, 53, 60, chance(&s, 10) ? 120 : 0);
		if (second % 1800 == 7) /* looks for news of its programs */
			for (unsigned n = 0; n < 5; n++) {
				char to[32];
				snprintf(to, sizeof(to), "192.0.2.%u", 200 + n);
				opens(&s, to, 443, 4000, 80000);
			}
		if (second % 600 == 599) { /* a planned switch away or back: all flows end, and come again */
			works = !works;
			flows_cut(s.flows, 7);
		}
		pass(&s, SECOND);
	}
	if (s.told)
		fail_msg("seed %llu: told %u times: %s", (unsigned long long)seed, s.told, s.text);
	flows_free(s.flows);
}

static void days_of_clients_alarm_nobody(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 3; seed++)
		a_day(seed);
}

static void clients_are_shown(void **state)
{
	(void)state;
	struct story s = begin(1);
	struct flows_look looks[FLOWS_FEATURES];
	size_t windows, open;
	follow(&s);
	for (uint32_t n = 0; n < 30; n++)
		client(&s, n % 10, 500, n == 0 ? 0 : 4096);
	flow(&s, at("198.51.100.1"), at("198.51.100.7"), 80, 100, 100); /* a probe of this host's */
	pass(&s, 10 * SECOND);
	assert_true(flows_look(s.flows, 7, looks, &windows, &open));
	assert_int_equal((int)looks[FLOWS_ASKED].last, 30);
	assert_int_equal((int)looks[FLOWS_PEERS].last, 10);
	assert_int_equal((int)looks[FLOWS_SILENT].last, 1);
	assert_int_equal((int)looks[FLOWS_IN].last, 14);
	assert_int_equal((int)looks[FLOWS_OUT].last, 29 * 4);
	assert_true(looks[FLOWS_ASKED].alarming == 0);
	assert_int_equal(open, 0);
	client(&s, 3, 1, 1);
	pass(&s, 10 * SECOND);
	assert_true(flows_look(s.flows, 7, looks, &windows, &open));
	assert_int_equal((int)looks[FLOWS_PEERS].last, 0); /* known */
	flows_free(s.flows);
}

/* ---- not at work, not looking */

static void only_at_work_it_is_judged_and_learnt(void **state)
{
	(void)state;
	struct story s = begin(1);
	struct flows_look looks[FLOWS_FEATURES];
	size_t windows, open;
	follow(&s);
	live_quietly(&s, 100);
	flows_work(s.flows, 7, false, s.now_us);
	for (unsigned n = 0; n < 60; n++)
		tries(&s, 0xc0000200u + n, 22);
	pass(&s, 100 * SECOND);
	assert_told(&s, 0, NULL);
	assert_true(flows_look(s.flows, 7, looks, &windows, &open));
	assert_int_equal(windows, 10);
	flows_work(s.flows, 7, true, s.now_us);
	for (unsigned n = 0; n < 9; n++)
		tries(&s, 0xc0000200u + n, 22);
	assert_told(&s, 1, NULL);
	flows_free(s.flows);
}

/* The host slept, or the clock of the loop did: what came in one lump is not of ten seconds. */
static void a_lump_is_not_judged_nor_learnt(void **state)
{
	(void)state;
	struct story s = begin(1);
	struct flows_look looks[FLOWS_FEATURES];
	size_t windows, open;
	follow(&s);
	live_quietly(&s, 100);
	for (unsigned n = 0; n < 8; n++)
		tries(&s, 0xc0000200u + n, 22);
	s.now_us += 3600 * SECOND;
	flows_tick(s.flows, s.now_us);
	assert_told(&s, 0, NULL);
	assert_true(flows_look(s.flows, 7, looks, &windows, &open));
	assert_int_equal(windows, 10);
	flows_free(s.flows);
}

static void an_alarm_is_not_learnt(void **state)
{
	(void)state;
	struct story s = begin(1);
	follow(&s);
	live_quietly(&s, 100);
	for (unsigned n = 0; n < 100; n++) {
		unsigned before = s.told;
		for (unsigned k = 0; k < 20; k++)
			tries(&s, 0xc0000200u + k, 22);
		pass(&s, 10 * SECOND);
		assert_true(s.told > before); /* the hundredth time as the first */
	}
	flows_free(s.flows);
}

/* ---- the table */

static void the_table_is_bounded_and_counts_who_gives_way(void **state)
{
	(void)state;
	struct story s = begin(1);
	struct flows_counts counts;
	struct flows_look looks[FLOWS_FEATURES];
	size_t windows, open;
	follow(&s);
	for (uint32_t n = 1; n <= FLOW_TABLE_MAX + 100; n++) {
		struct conntrack_flow f = {.id = n * 2654435761u, .listed = true};
		f.asks = (struct conntrack_tuple){at4(n), at("203.0.113.10"), (uint16_t)n, 80, 6};
		flows_flow(s.flows, 7, &f, s.now_us);
		flows_flow(s.flows, 7, &f, s.now_us); /* told twice: one */
	}
	flows_counts(s.flows, &counts);
	assert_int_equal(counts.open, FLOW_TABLE_MAX);
	assert_int_equal(counts.evicted, 100);
	assert_true(flows_look(s.flows, 7, looks, &windows, &open));
	assert_int_equal(open, FLOW_TABLE_MAX);
	for (uint32_t n = 1; n <= FLOW_TABLE_MAX + 100; n++) { /* the forgotten end, too */
		struct conntrack_flow f = {.id = n * 2654435761u, .ended = true};
		f.asks = (struct conntrack_tuple){at4(n), at("203.0.113.10"), (uint16_t)n, 80, 6};
		flows_flow(s.flows, 7, &f, s.now_us);
	}
	assert_true(flows_look(s.flows, 7, looks, &windows, &open));
	assert_int_equal(open, 0);
	flows_counts(s.flows, &counts);
	assert_int_equal(counts.open, 0);
	assert_told(&s, 0, NULL);
	flows_free(s.flows);
}

/* Against a plain list, by chance. */
static void the_table_does_what_a_list_does(void **state)
{
	(void)state;
	enum { IDS = 50 };
	struct story s = begin(9);
	struct flow_table *table = flow_table_new();
	bool there[IDS] = {0};
	size_t n = 0;
	for (unsigned step = 0; step < 200000; step++) {
		uint32_t id = chance(&s, IDS), whose = 1 + id % 3;
		struct flow_open one = {.id = id * 32768, .instance = whose, .port = 9}, gone; /* all in one bucket */
		unsigned what = chance(&s, 100);
		if (what < 50) {
			assert_int_equal(flow_table_add(table, &one, &gone), !there[id]);
			assert_int_equal(gone.instance, 0);
			there[id] = true;
		} else if (what < 99) {
			assert_int_equal(flow_table_take(table, one.id, 9, &gone), there[id]);
			there[id] = false;
		} else {
			flow_table_forget(table, whose);
			for (uint32_t k = 0; k < IDS; k++)
				there[k] = there[k] && 1 + k % 3 != whose;
		}
		n = 0;
		for (uint32_t k = 0; k < IDS; k++)
			n += there[k];
		assert_int_equal(flow_table_count(table), n);
	}
	flow_table_free(table);
}

static void guests_beyond_the_limit_and_strangers_are_passed_over(void **state)
{
	(void)state;
	struct story s = begin(1);
	struct nflog_address address = at("198.51.100.9");
	struct flows_look looks[FLOWS_FEATURES];
	struct conntrack_flow f = {.id = 1};
	size_t windows, open;
	follow(&s);
	for (uint32_t n = 100; n < 100 + 2 * FLOWS_GUESTS_MAX; n++)
		flows_add(s.flows, n, &address, &address);
	assert_false(flows_look(s.flows, 100 + 2 * FLOWS_GUESTS_MAX - 1, looks, &windows, &open));
	flows_flow(s.flows, 0, &f, s.now_us);
	flows_flow(s.flows, 9999, &f, s.now_us);
	flows_work(s.flows, 9999, true, s.now_us);
	flows_named(s.flows, 0, &(struct dns_answer){0}, s.now_us);
	flows_remove(s.flows, 0);
	flows_remove(s.flows, 7);
	assert_false(flows_look(s.flows, 7, looks, &windows, &open));
	flows_free(s.flows);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_scan_is_told_of_in_the_middle_of_its_window),
	        cmocka_unit_test(nothing_is_told_before_it_is_known),
	        cmocka_unit_test(what_is_usual_is_not_alarming),
	        cmocka_unit_test(failures_are_places),
	        cmocka_unit_test(a_repeated_request_is_one),
	        cmocka_unit_test(much_sent_to_an_own_place_is_told),
	        cmocka_unit_test(names_that_do_not_exist_are_told),
	        cmocka_unit_test(a_rhythm_is_told_unless_it_was_always_there),
	        cmocka_unit_test(chance_is_no_rhythm),
	        cmocka_unit_test(days_of_clients_alarm_nobody),
	        cmocka_unit_test(clients_are_shown),
	        cmocka_unit_test(only_at_work_it_is_judged_and_learnt),
	        cmocka_unit_test(a_lump_is_not_judged_nor_learnt),
	        cmocka_unit_test(an_alarm_is_not_learnt),
	        cmocka_unit_test(the_table_is_bounded_and_counts_who_gives_way),
	        cmocka_unit_test(the_table_does_what_a_list_does),
	        cmocka_unit_test(guests_beyond_the_limit_and_strangers_are_passed_over),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
