/* Clients' openings that wait, in virtual time: when one is overdue, what adapts, what is bounded. */
#include "sense/syns.h"

#include "lib/attr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static struct syn_key key_of(uint32_t instance, uint32_t client)
{
	struct syn_key key = {.client_port = (uint16_t)client, .port = 80, .instance = instance};
	memcpy(key.client.bytes, &client, sizeof(client));
	return key;
}

static void test_pending(void **state unused_arg)
{
	struct syn_table *table = syn_table_new(30000, 1);
	struct syn_key a = key_of(1, 1), b = key_of(2, 2);
	struct syn_overdue overdue;
	int64_t began_us = 0;
	assert_int_equal(syn_table_deadline(table), INT64_MAX);
	syn_table_add(table, &a, 1000);
	syn_table_add(table, &b, 2000);
	assert_int_equal(syn_table_deadline(table), 31000);
	assert_true(syn_table_answer(table, &a, 3000, true, &began_us));
	assert_int_equal(began_us, 1000);
	assert_false(syn_table_answer(table, &a, 3000, true, &began_us));
	assert_false(syn_table_overdue(table, 31999, &overdue));
	assert_true(syn_table_overdue(table, 32000, &overdue));
	assert_int_equal(overdue.key.instance, 2);
	assert_int_equal(overdue.began_us, 2000);
	assert_false(syn_table_overdue(table, INT64_MAX / 2, &overdue));
	syn_table_add(table, &a, 40000);
	syn_table_add(table, &a, 69000); /* a double, and no reason to wait longer */
	assert_int_equal(syn_table_count(table), 1);
	assert_int_equal(syn_table_deadline(table), 70000);
	syn_table_forget(table, 1);
	assert_int_equal(syn_table_count(table), 0);
	assert_int_equal(syn_table_deadline(table), INT64_MAX);
	syn_table_free(table);
}

static void test_adapts(void **state unused_arg)
{
	struct syn_table *table = syn_table_new(30000, 2);
	int64_t now_us = 0, began_us;
	for (uint32_t i = 0; i < 200; i++, now_us += 50000) { /* a guest under load: 20 ms a handshake */
		struct syn_key key = key_of(1, i);
		syn_table_add(table, &key, now_us);
		syn_table_answer(table, &key, now_us + 20000, true, &began_us);
	}
	assert_in_range(syn_table_limit(table, 1), 75000, 85000);
	assert_int_equal(syn_table_limit(table, 2), 30000);
	for (uint32_t i = 0; i < 200; i++, now_us += 50000) {
		struct syn_key key = key_of(1, i);
		syn_table_add(table, &key, now_us);
		syn_table_answer(table, &key, now_us + 10000000, true, &began_us);
	}
	assert_int_equal(syn_table_limit(table, 1), SYNS_LIMIT_MAX_US);
	syn_table_free(table);
}

static void test_bounds(void **state unused_arg)
{
	struct syn_table *table = syn_table_new(30000, 3);
	struct syn_overdue overdue;
	for (uint32_t i = 0; i < 10000; i++) {
		struct syn_key key = key_of(1, i);
		syn_table_add(table, &key, i);
	}
	assert_int_equal(syn_table_count(table), SYNS_GUEST_MAX);
	assert_int_equal(syn_table_displaced(table), 10000 - SYNS_GUEST_MAX);
	for (uint32_t i = 0; i < 10000; i++) {
		struct syn_key key = key_of(2 + i % 10, i);
		syn_table_add(table, &key, 10000 + i);
	}
	assert_int_equal(syn_table_count(table), SYNS_MAX);
	unsigned n = 0;
	while (syn_table_overdue(table, 1000000, &overdue))
		n++;
	assert_int_equal(n, SYNS_MAX);
	syn_table_clear(table);
	syn_table_free(table);
}

/* Random use against a plain list: the same ones are pending at every step. */
static void test_against_model(void **state unused_arg)
{
	enum { KEYS = 60 };
	struct syn_table *table = syn_table_new(1000, 4);
	int64_t began_us, pending[KEYS];
	struct syn_overdue overdue;
	uint32_t random = 12345;
	memset(pending, 0xff, sizeof(pending));
	for (int64_t now_us = 0; now_us < 200000; now_us += 7) {
		random = random * 1664525u + 1013904223u;
		uint32_t which = (random >> 8) % KEYS;
		struct syn_key key = key_of(1 + which % 3, which);
		bool was = pending[which] >= 0;
		if (random >> 31) {
			syn_table_add(table, &key, now_us);
			pending[which] = was ? pending[which] : now_us;
		} else {
			assert_int_equal(syn_table_answer(table, &key, now_us, false, &began_us), was);
			pending[which] = -1;
		}
		while (syn_table_overdue(table, now_us, &overdue)) {
			assert_int_equal(pending[overdue.key.client_port], overdue.began_us);
			assert_true(overdue.began_us + 1000 <= now_us);
			pending[overdue.key.client_port] = -1;
		}
		for (size_t i = 0; i < KEYS; i++)
			assert_true(pending[i] < 0 || pending[i] + 1000 > now_us);
	}
	syn_table_free(table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_pending),
	        cmocka_unit_test(test_adapts),
	        cmocka_unit_test(test_bounds),
	        cmocka_unit_test(test_against_model),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
