/* Rows of tries: so many, so far apart, to so many places; whether that is told, when, and in which words. */
#include "lib/attr.h"
#include "sense/reach.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

static const struct {
	const char *why;
	unsigned tries;
	int64_t apart_us;
	unsigned places;
	unsigned told; /* how often */
	const char *words;
} rows[] = {
        {"one too few", 9, 1000, 9, 0, NULL},
        {"just enough, and in time", 10, 222000, 10, 1, "10 connections in 1998 ms to 10 places"},
        {"just enough, and too slow", 10, 223000, 10, 0, NULL},
        {"for ever, and too slow", 100, 223000, 100, 0, NULL},
        {"one door, again and again", 10, 1000, 1, 1, "10 connections in 9 ms to 1 places"},
        {"fifty a second: told once a second", 150, 20000, 150, 3, "10 connections in 180 ms to 10 places"},
        {"all at the same time", 10, 0, 5, 1, "10 connections in 0 ms to 5 places"},
};

static struct nflog_tcp try_of(unsigned n, unsigned places)
{
	struct nflog_tcp tcp = {.destination_port = 23};
	tcp.destination.bytes[3] = (uint8_t)(n % places);
	return tcp;
}

static void rows_hold(void **state unused_arg)
{
	for (size_t row = 0; row < countof(rows); row++) {
		struct reach reach = {0};
		char text[160], first[160] = "";
		unsigned told = 0;
		int64_t began_us = 0;
		for (unsigned n = 0; n < rows[row].tries; n++) {
			struct nflog_tcp tcp = try_of(n, rows[row].places);
			int64_t now_us = 5000000 + (int64_t)n * rows[row].apart_us;
			if (!reach_add(&reach, &tcp, now_us, &began_us, text, sizeof(text)))
				continue;
			assert_int_equal(began_us, now_us - 9 * rows[row].apart_us);
			if (told++ == 0)
				memcpy(first, text, sizeof(first));
		}
		if (told != rows[row].told || (rows[row].words && !strstr(first, rows[row].words)))
			fail_msg("%s: told %u times: %s", rows[row].why, told, first);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(rows_hold)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
