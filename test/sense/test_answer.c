/* Samples of answers and what they are worth; each is fed whole, byte by byte, and cut in two at every place. */
#include "sense/answer.h"

#include "lib/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define PAGE "<p>23.5 C</p>\n"
#define MAX 100

static struct answer_expected page(void)
{
	struct answer_expected expected = {.kind = ANSWER_CONTENT};
	struct sha256_ctx hash;
	sha256_init(&hash);
	sha256_update(&hash, strlen(PAGE), (const uint8_t *)PAGE);
	sha256_digest(&hash, 32, expected.sha256);
	return expected;
}

/* `size` bytes in pieces: the first of `first`, the others of `piece`. */
static enum finding judge(const char *text, size_t size, size_t first, size_t piece, const struct answer_expected *expected,
                          bool close, char ret_detail[static ANSWER_DETAIL_MAX], bool *ret_reusable)
{
	struct sense_answer answer;
	enum answer_progress progress = ANSWER_MORE;
	const char *detail;
	memset(&answer, 0xa5, sizeof(answer));
	answer_begin(&answer, MAX);
	for (size_t at = 0; at < size;) {
		size_t now = at == 0 && first ? first : piece;
		if (now > size - at)
			now = size - at;
		progress = answer_feed(&answer, text + at, now);
		at += now;
	}
	if (close && progress == ANSWER_MORE)
		progress = answer_end(&answer);
	if (progress == ANSWER_MORE)
		return FINDING_MAX_; /* waits for more */
	*ret_reusable = answer_reusable(&answer);
	enum finding finding = answer_judge(&answer, expected, &detail);
	text_copy(ret_detail, ANSWER_DETAIL_MAX, detail);
	assert_int_equal(*detail == '\0', finding == FINDING_GOOD);
	return finding;
}

static const struct {
	const char *name, *text;
	bool close; /* the peer closes behind it */
	enum finding finding;
	bool reusable;
} samples[] = {
        {"good", "HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n" PAGE, false, FINDING_GOOD, true},
        {"without a reason", "HTTP/1.1 200\r\nContent-Length: 14\r\n\r\n" PAGE, false, FINDING_GOOD, true},
        {"bare line ends", "HTTP/1.1 200 OK\ncontent-length:14\n\n" PAGE, false, FINDING_GOOD, true},
        {"says close", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 14\r\n\r\n" PAGE, false, FINDING_GOOD, false},
        {"1.0", "HTTP/1.0 200 OK\r\nContent-Length: 14\r\n\r\n" PAGE, false, FINDING_GOOD, false},
        {"1.0 keeps", "HTTP/1.0 200 OK\r\nContent-Length: 14\r\nConnection: Keep-Alive\r\n\r\n" PAGE, false, FINDING_GOOD, true},
        {"until close", "HTTP/1.1 200 OK\r\nServer: x\r\n\r\n" PAGE, true, FINDING_GOOD, false},
        {"until close, not closed", "HTTP/1.1 200 OK\r\n\r\n" PAGE, false, FINDING_MAX_, false},
        {"until close, other bytes", "HTTP/1.1 200 OK\r\n\r\n<p>23", true, FINDING_ERROR, false},
        {"chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n<p>\r\nB;x=y\r\n23.5 C</p>\n\r\n0\r\n\r\n", false,
         FINDING_GOOD, true},
        {"chunked with trailer", "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n00e\r\n" PAGE "\r\n0\r\nX-Sum: 1\r\n\r\n",
         false, FINDING_GOOD, true},
        {"interim answer first", "HTTP/1.1 103 Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n" PAGE, false,
         FINDING_GOOD, true},
        {"folded line", "HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: 14\r\n\r\n" PAGE, false, FINDING_GOOD, true},
        {"same length twice", "HTTP/1.1 200 OK\r\nContent-Length: 14\r\nContent-Length: 14\r\n\r\n" PAGE, false, FINDING_GOOD,
         true},
        {"other bytes", "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nhacked\n", false, FINDING_WRONG_CONTENT, true},
        {"empty", "HTTP/1.1 204 No Content\r\n\r\n", false, FINDING_WRONG_CONTENT, true},
        {"length too short", "HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n" PAGE, false, FINDING_WRONG_CONTENT, false},
        {"length too long", "HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n" PAGE, true, FINDING_ERROR, false},
        {"bytes behind", "HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n" PAGE "HTTP/1.1", false, FINDING_GARBAGE, false},
        {"500", "HTTP/1.1 500 Oops\r\nContent-Length: 14\r\n\r\n" PAGE, false, FINDING_ERROR, false},
        {"404", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", false, FINDING_ERROR, false},
        {"302", "HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n", false, FINDING_ERROR, false},
        {"compressed", "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b", false, FINDING_ERROR,
         true},
        {"closed at once", "", true, FINDING_ERROR, false},
        {"closed in the head", "HTTP/1.1 200 OK\r\nContent-Le", true, FINDING_ERROR, false},
        {"closed in a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\ne\r\n<p>", true, FINDING_ERROR, false},
        {"not HTTP", "SSH-2.0-OpenSSH_9.2\r\n", false, FINDING_GARBAGE, false},
        {"not HTTP, no line end", "HTTQ", false, FINDING_GARBAGE, false},
        {"HTTP/2", "HTTP/2 200\r\n\r\n", false, FINDING_GARBAGE, false},
        {"status of two digits", "HTTP/1.1 20 OK\r\n\r\n", false, FINDING_GARBAGE, false},
        {"short status line", "HTTP/1.1\r\n", false, FINDING_GARBAGE, false},
        {"status 0xx", "HTTP/1.1 000 x\r\n\r\n", false, FINDING_GARBAGE, false},
        {"protocol switch", "HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n", false, FINDING_GARBAGE, false},
        {"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 14\r\nContent-Length: 15\r\n\r\n", false, FINDING_GARBAGE, false},
        {"length and chunks", "HTTP/1.1 200 OK\r\nContent-Length: 14\r\nTransfer-Encoding: chunked\r\n\r\n", false,
         FINDING_GARBAGE, false},
        {"length in words", "HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n", false, FINDING_GARBAGE, false},
        {"length below zero", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", false, FINDING_GARBAGE, false},
        {"length list", "HTTP/1.1 200 OK\r\nContent-Length: 14, 14\r\n\r\n", false, FINDING_GARBAGE, false},
        {"folded length", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n 4\r\n\r\n", false, FINDING_GARBAGE, false},
        {"strange transfer", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", false, FINDING_GARBAGE, false},
        {"header without colon", "HTTP/1.1 200 OK\r\nhello\r\n\r\n", false, FINDING_GARBAGE, false},
        {"space before colon", "HTTP/1.1 200 OK\r\nContent-Length : 14\r\n\r\n", false, FINDING_GARBAGE, false},
        {"control character", "HTTP/1.1 200 OK\r\nX: \x01\r\n\r\n", false, FINDING_GARBAGE, false},
        {"return in a line", "HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n", false, FINDING_GARBAGE, false},
        {"chunk without size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n", false, FINDING_GARBAGE, false},
        {"huge chunk size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n123456789\r\n", false, FINDING_GARBAGE, false},
        {"chunk longer than said", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n<p>23\r\n", false, FINDING_GARBAGE,
         false},
        {"announced too long", "HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n", false, FINDING_SLOW, false},
        {"one chunk too long",
         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n"
         "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789!",
         false, FINDING_SLOW, false},
        {"stream too long",
         "HTTP/1.1 200 OK\r\n\r\n"
         "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789!",
         false, FINDING_SLOW, false},
};

static void test_samples(void **state unused_arg)
{
	struct answer_expected expected = page();
	char detail[ANSWER_DETAIL_MAX];
	for (size_t i = 0; i < countof(samples); i++) {
		size_t size = strlen(samples[i].text);
		for (size_t first = 0; first <= size; first++) {
			bool reusable = false;
			enum finding found = judge(samples[i].text, size, first, first == 0 ? 1 : size, &expected,
			                           samples[i].close, detail, &reusable);
			if (found != samples[i].finding || reusable != samples[i].reusable)
				fail_msg("%s, first %zu: %s (%s)%s", samples[i].name, first, finding_name(found), detail,
				         reusable ? ", reusable" : "");
		}
	}
}

/* However much comes, it ends, and the reader stays as large as it is. */
static void feed_without_end(const char *start, const char *again, enum finding finding, size_t at_most)
{
	struct sense_answer answer;
	struct answer_expected expected = page();
	const char *detail;
	size_t fed = 0;
	answer_begin(&answer, MAX);
	answer_feed(&answer, start, strlen(start));
	while (answer_feed(&answer, again, strlen(again)) == ANSWER_MORE)
		assert_true((fed += strlen(again)) < at_most);
	assert_int_equal(answer_judge(&answer, &expected, &detail), finding);
}

static void test_endless(void **state unused_arg)
{
	feed_without_end("HTTP/1.1 200 OK\r\n", "X-Pad: abcdefghijklmnopqrstuvwxyz\r\n", FINDING_SLOW, ANSWER_HEAD_MAX + 100);
	feed_without_end("HTTP/1.1 200 OK\r\nX-Long: ", "abcdefghijklmnopqrstuvwxyz", FINDING_SLOW, ANSWER_HEAD_MAX + 100);
	feed_without_end("HTTP/1.1 200 ", "K", FINDING_SLOW, ANSWER_HEAD_MAX + 100);
	feed_without_end("", "HTTP/1.1 100 Continue\r\n\r\n", FINDING_SLOW, ANSWER_HEAD_MAX + 100);
	feed_without_end("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n", FINDING_SLOW, 2000);
	feed_without_end("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", "extension", FINDING_SLOW, 10000);
	feed_without_end("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", "X: y\r\n", FINDING_SLOW, 10000);
	feed_without_end("HTTP/1.1 200 OK\r\n\r\n", "0123456789", FINDING_SLOW, 2000);
}

static enum finding judge_body(const char *body, const struct answer_expected *expected)
{
	char text[4096];
	struct sense_answer answer;
	const char *detail;
	int size = snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s", strlen(body), body);
	answer_begin(&answer, 4096);
	assert_int_equal(answer_feed(&answer, text, (size_t)size), ANSWER_DONE);
	return answer_judge(&answer, expected, &detail);
}

static void test_challenge(void **state unused_arg)
{
	char digest[65], body[256];
	struct answer_expected expected = {
	        .kind = ANSWER_CHALLENGE, .check_clock = true, .clock_from_us = 99 * 1000000, .clock_to_us = 101 * 1000000};
	memset(expected.sha256, 0x5a, 32);
	bytes_to_hex(expected.sha256, 32, digest);
	const struct {
		const char *before, *behind;
		enum finding finding;
	} rows[] = {
	        {"{\"digest\":\"", "\",\"clock\":100.25}", FINDING_GOOD},
	        {"{\"clock\":100,\"digest\":\"", "\"}\n", FINDING_GOOD},
	        {"{\"digest\":\"", "\",\"clock\":12}", FINDING_WRONG_CLOCK},
	        {"{\"digest\":\"", "\",\"clock\":1e300}", FINDING_WRONG_CLOCK},
	        {"{\"digest\":\"", "\",\"clock\":\"x\"}", FINDING_WRONG_CLOCK},
	        {"{\"digest\":\"", "\"}", FINDING_WRONG_CLOCK},
	        {"{\"digest\":\"", "00\",\"clock\":100}", FINDING_WRONG_CHALLENGE},
	        {"{\"digest\":\"\",\"was\":\"", "\"}", FINDING_WRONG_CHALLENGE},
	        {"{\"digest\":1,\"w\":\"", "\"}", FINDING_WRONG_CHALLENGE},
	        {"[\"", "\"]", FINDING_WRONG_CHALLENGE},
	        {"<html>", "", FINDING_WRONG_CHALLENGE},
	        {"{\"digest\":\"", "\",\"digest\":1}", FINDING_WRONG_CHALLENGE},
	};
	for (size_t i = 0; i < countof(rows); i++) {
		snprintf(body, sizeof(body), "%s%s%s", rows[i].before, digest, rows[i].behind);
		enum finding found = judge_body(body, &expected);
		if (found != rows[i].finding)
			fail_msg("%s: %s", body, finding_name(found));
	}
	expected.sha256[3] ^= 1;
	snprintf(body, sizeof(body), "%s%s%s", rows[0].before, digest, rows[0].behind);
	assert_int_equal(judge_body(body, &expected), FINDING_WRONG_CHALLENGE);
}

static void test_json(void **state unused_arg)
{
	char deep[3001];
	struct answer_expected expected = {.kind = ANSWER_JSON};
	assert_int_equal(judge_body("{\"value\":null}\n", &expected), FINDING_GOOD);
	assert_int_equal(judge_body("{\"value\":", &expected), FINDING_ERROR);
	assert_int_equal(judge_body("<html>", &expected), FINDING_ERROR);
	memset(deep, '[', 3000);
	deep[3000] = '\0';
	assert_int_equal(judge_body(deep, &expected), FINDING_GOOD); /* by its opening; nothing is built of it */
	memset(deep, ' ', 3000);
	assert_int_equal(judge_body(deep, &expected), FINDING_ERROR);
}

static void test_plain(void **state unused_arg)
{
	struct answer_expected expected = {.kind = ANSWER_PLAIN};
	char detail[ANSWER_DETAIL_MAX];
	bool reusable;
	const char moved[] = "HTTP/1.1 301 Moved\r\n\r\n";
	assert_int_equal(judge_body("anything", &expected), FINDING_GOOD);
	assert_int_equal(judge(moved, strlen(moved), 0, 1, &expected, false, detail, &reusable), FINDING_GOOD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_samples), cmocka_unit_test(test_endless), cmocka_unit_test(test_challenge),
	        cmocka_unit_test(test_json),    cmocka_unit_test(test_plain),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
