/* What the API's client makes of an answer's bytes, and how it words times. */
#include "cli/api.h"
#include "cli/show.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static int parse(const char *text, struct api_answer *ret_answer, struct err *err)
{
	auto_free char *bytes = strdup(text); /* exactly as long: the sanitizer sees one byte too many */
	assert_non_null(bytes);
	return api_parse_answer(bytes, strlen(bytes), ret_answer, err);
}

static void answers_are_read(void **state unused_arg)
{
	static const char *const rows[] = {
	        "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{\"a\":1}",
	        "HTTP/1.1 200 OK\r\ncontent-length:7\r\n\r\n{\"a\":1}and more",
	        "HTTP/1.1 200 OK\r\n\r\n{\"a\":1}",
	        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{\"a\r\n4;x=y\r\n\":1}\r\n0\r\n\r\n",
	};
	for (size_t i = 0; i < countof(rows); i++) {
		struct api_answer answer;
		struct err err = {0};
		if (parse(rows[i], &answer, &err) < 0)
			fail_msg("%s: %s", rows[i], err.text);
		assert_int_equal(answer.status, 200);
		assert_string_equal(answer.body, "{\"a\":1}");
		assert_int_equal(json_integer_value(json_object_get(answer.json, "a")), 1);
		api_answer_done(&answer);
	}
}

static void bad_answers_are_refused(void **state unused_arg)
{
	static const struct {
		const char *bytes, *message;
	} rows[] = {
	        {"", "what answers is not koboshid: it does not speak HTTP"},
	        {"SSH-2.0-x\r\n\r\n", "what answers is not koboshid: it does not speak HTTP"},
	        {"HTTP/1.1 200 OK\r\n", "what answers is not koboshid: it does not speak HTTP"},
	        {"HTTP/1.1 abc\r\n\r\n{}", "koboshid's answer has no status"},
	        {"HTTP/1.1 99999999999999999999\r\n\r\n{}", "koboshid's answer has no status"},
	        {"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n{}", "koboshid's answer was cut short: 2 of 8 bytes"},
	        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n{}\r\n", "koboshid's answer was cut short"},
	        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", "koboshid's answer was cut short"},
	        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n{}\r\n0\r\n\r\n",
	         "koboshid's answer was cut short"},
	        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n{}\r\n",
	         "koboshid's answer was cut short"},
	        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n{}\r\n", "koboshid's answer was cut short"},
	        {"HTTP/1.1 200 OK\r\n\r\n[1]", "koboshid's answer (HTTP 200) is not what was asked for"},
	        {"HTTP/1.1 500 No\r\n\r\n<html>", "koboshid's answer (HTTP 500) is not JSON: '[' or '{' expected near '<'"},
	        {"HTTP/1.1 200 OK\r\n\r\n{\"a\":1,\"a\":2}",
	         "koboshid's answer (HTTP 200) is not JSON: duplicate object key near '\"a\"'"},
	        {"HTTP/1.1 200 OK\r\n\r\n{\"a\":[[[[[[[[[[[[[1]]]]]]]]]]]]]}",
	         "koboshid's answer (HTTP 200) is not what was asked for"},
	};
	for (size_t i = 0; i < countof(rows); i++) {
		struct api_answer answer;
		struct err err = {0};
		if (parse(rows[i].bytes, &answer, &err) == 0)
			fail_msg("taken: %s", rows[i].bytes);
		assert_string_equal(err.text, rows[i].message);
	}
}

static void control_characters_do_not_reach_the_terminal(void **state unused_arg)
{
	struct api_answer answer;
	struct err err = {0};
	assert_int_equal(parse("HTTP/1.1 200 OK\r\n\r\n{\"a\":[{\"b\":\"x\\u001b[2J\\u009by\\u007f\\té\"}]}", &answer, &err), 0);
	const json_t *inner = json_array_get(json_object_get(answer.json, "a"), 0);
	assert_string_equal(show_string(inner, "b"), "x?[2J??y??é");
	api_answer_done(&answer);
}

static void times_are_worded(void **state unused_arg)
{
	static const struct {
		double ms;
		const char *text;
	} rows[] = {
	        {0, "0.0 ms"},          {1.24, "1.2 ms"},  {78.4, "78 ms"},       {999.4, "999 ms"},   {999.6, "1.0 s"},
	        {12400, "12.4 s"},      {59940, "59.9 s"}, {125000, "2 min 5 s"}, {1800000, "30 min"}, {8100000, "2 h 15 min"},
	        {360000000, "4 d 4 h"}, {-5, "-5.0 ms"},   {1e300, "?"},
	};
	for (size_t i = 0; i < countof(rows); i++) {
		char text[SHOW_TEXT_MAX];
		assert_string_equal(show_ms(rows[i].ms, text), rows[i].text);
	}
}

static void sizes_are_worded(void **state unused_arg)
{
	static const struct {
		long long bytes;
		const char *text;
	} rows[] = {{0, "0 B"},        {1023, "1023 B"},     {1024, "1.0 KiB"},
	            {1536, "1.5 KiB"}, {1 << 20, "1.0 MiB"}, {192 << 20, "192.0 MiB"}};
	for (size_t i = 0; i < countof(rows); i++) {
		char text[SHOW_TEXT_MAX];
		assert_string_equal(show_bytes(rows[i].bytes, text), rows[i].text);
	}
}

static void moments_are_worded(void **state unused_arg)
{
	static const struct {
		int ago;
		const char *text;
	} rows[] = {{0, "just now"}, {180, "3 min ago"}, {7200, "2 h 0 min ago"}};
	char text[SHOW_TEXT_MAX], when[SHOW_TEXT_MAX];
	for (size_t i = 0; i < countof(rows); i++) {
		time_t then = time(NULL) - rows[i].ago;
		strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S.250Z", gmtime(&then));
		assert_string_equal(show_ago(when, text), rows[i].text);
		then += 3600;
		strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S+01:00", gmtime(&then));
		assert_string_equal(show_ago(when, text), rows[i].text);
	}
	assert_string_equal(show_ago("2024-05-01T10:00:00Z", text), "2024-05-01");
	assert_string_equal(show_ago("yesterday", text), "yesterday");
	assert_string_equal(show_ago("", text), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(answers_are_read),
	        cmocka_unit_test(bad_answers_are_refused),
	        cmocka_unit_test(control_characters_do_not_reach_the_terminal),
	        cmocka_unit_test(times_are_worded),
	        cmocka_unit_test(sizes_are_worded),
	        cmocka_unit_test(moments_are_worded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
