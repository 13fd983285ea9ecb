/* Answers of DNS, whole, cut and false. */
#include "sense/dns.h"

#include "lib/attr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* Flags of an answer to a standard query, `code`; one question for qx7f.example, type A. */
#define ANSWER(code) "\x12\x34\x81" code "\0\1\0\0\0\0\0\0\4qx7f\7example\0\0\1\0\1"

struct row {
	const char *bytes;
	size_t size;
	bool is_answer, found;
	const char *name;
};
#define ROW(text, ...)                                                                                                           \
	{                                                                                                                        \
		text, sizeof(text) - 1, __VA_ARGS__                                                                              \
	}

static const struct row rows[] = {
        ROW(ANSWER("\x80"), true, true, "qx7f.example"),
        ROW(ANSWER("\x83"), true, false, "qx7f.example"),                          /* no such name */
        ROW(ANSWER("\x82"), true, false, "qx7f.example"),                          /* the server failed */
        ROW(ANSWER("\x85"), true, false, "qx7f.example"),                          /* or refused */
        ROW(ANSWER("\x81"), true, true, "qx7f.example"),                           /* or did not understand */
        ROW("\x12\x34\x01\0\0\1\0\0\0\0\0\0\4qx7f\0\0\1\0\1", false, false, ""),   /* a question */
        ROW("\x12\x34\xa9\x83\0\1\0\0\0\0\0\0\4qx7f\0\0\1\0\1", false, false, ""), /* no query: an update */
        ROW("\x12\x34\x81\x83\0\2\0\0\0\0\0\0\4qx7f\0\0\1\0\1", false, false, ""), /* two questions */
        ROW("\x12\x34\x81\x83\0\1\0\0\0\0\0\0", true, false, "..."),               /* its name is cut off */
        ROW("\x12\x34\x81\x83\0\1\0\0\0\0\0\0\0\0\1\0\1", true, false, ""),        /* the root */
        ROW("\x12\x34\x81\x83\0\1\0\0\0\0\0\0\x3f"
            "abc",
            true, false, "..."),
        ROW("\x12\x34\x81\x83\0\1\0\0\0\0\0\0\1a\xc0\x0c\0\1\0\1", true, false, "a...."), /* a pointer, to itself */
        ROW("\x12\x34\x81\x83\0\1\0\0\0\0\0\0\6\x1b[31m\n\0\0\1\0\1", true, false, "?[31m?"),
        ROW("\x12\x34\x81\x83\0\1\0\0\0\0\0\0\x1e"
            "abcdefghijklmnopqrstuvwxyzabcd\x10"
            "0123456789abcdef\0\0\1\0\1",
            true, false, "abcdefghijklmnopqrstuvwxyzabcd...."),
};

static void reads_what_is_there(void **state)
{
	(void)state;
	for (size_t i = 0; i < countof(rows); i++) {
		struct dns_answer answer = {0};
		if (dns_read((const uint8_t *)rows[i].bytes, rows[i].size, &answer) != rows[i].is_answer)
			fail_msg("row %zu: is it an answer?", i);
		if (rows[i].is_answer && (answer.found != rows[i].found || strcmp(answer.name, rows[i].name) != 0))
			fail_msg("row %zu: found %d, name '%s'", i, answer.found, answer.name);
	}
}

static void what_is_cut_is_never_read_behind(void **state)
{
	(void)state;
	for (size_t size = 0; size < rows[0].size; size++) {
		auto_free uint8_t *exact = malloc(size + 1);
		struct dns_answer answer;
		memcpy(exact, rows[0].bytes, size);
		assert_int_equal(dns_read(exact, size, &answer), size >= 12);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(reads_what_is_there),
	        cmocka_unit_test(what_is_cut_is_never_read_behind),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
