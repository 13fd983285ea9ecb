/* Frames of the guest's agent: what goes in comes out, and a table of frames with one thing wrong, each with its answer. */
#include "wire/agent.h"

#include <errno.h>
#include <nettle/hmac.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const uint8_t key[AGENT_KEY] = "the key of this guest, 32 bytes!";

static struct agent_frame good(enum agent_type type)
{
	struct agent_frame frame;
	memset(&frame, 0, sizeof(frame));
	frame.type = type;
	frame.number = type == AGENT_KEYED ? 0 : type == AGENT_HELLO ? 1 : 7;
	frame.uptime_us = type == AGENT_KEYED || type == AGENT_RESTART || type == AGENT_STOP ? 0 : 1234567;
	if (type == AGENT_HELLO) {
		memset(frame.hello.list, 0xab, AGENT_HASH);
		frame.hello.abilities = AGENT_ABILITIES_;
		frame.hello.programs = 123;
	} else if (type == AGENT_KEYED) {
		memcpy(frame.keyed.key, key, AGENT_KEY);
	} else if (type == AGENT_BEAT) {
		frame.beat.decided = UINT64_MAX;
		frame.beat.denied = 3;
		frame.beat.late = 1;
		frame.beat.service = AGENT_SERVICE_ANSWERS;
		frame.beat.lost = 9;
	} else if (type == AGENT_TOLD) {
		frame.told.what = AGENT_DENIED;
		frame.told.detail = AGENT_LOADER;
		snprintf(frame.told.text, AGENT_TEXT, "/lib64/ld-linux-x86-64.so.2");
	}
	return frame;
}

static void what_goes_in_comes_out(void **state)
{
	(void)state;
	for (unsigned type = 1; type < AGENT_TYPE_MAX_; type++) {
		struct agent_frame frame = good(type), back;
		uint8_t bytes[AGENT_FRAME], again[AGENT_FRAME];
		struct err err;
		agent_encode(&frame, key, bytes);
		assert_int_equal(agent_decode(bytes, key, &back, &err), 0);
		assert_memory_equal(&frame, &back, sizeof(frame));
		agent_encode(&back, key, again);
		assert_memory_equal(bytes, again, AGENT_FRAME);
		assert_int_equal(agent_decode(bytes, NULL, &back, &err),
		                 type == AGENT_HELLO || type == AGENT_KEYED ? 0 : -EBADMSG);
	}
}

static void any_bit_matters(void **state)
{
	(void)state;
	struct agent_frame frame = good(AGENT_TOLD), back;
	uint8_t bytes[AGENT_FRAME];
	struct err err;
	agent_encode(&frame, key, bytes);
	for (size_t bit = 0; bit < 8 * (size_t)AGENT_FRAME; bit++) {
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_int_equal(agent_decode(bytes, key, &back, &err), -EBADMSG);
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
}

static void a_key_of_another_guest_is_refused(void **state)
{
	(void)state;
	struct agent_frame frame = good(AGENT_BEAT), back;
	uint8_t bytes[AGENT_FRAME], other[AGENT_KEY];
	struct err err;
	memcpy(other, key, AGENT_KEY);
	other[AGENT_KEY - 1] ^= 1;
	agent_encode(&frame, other, bytes);
	assert_int_equal(agent_decode(bytes, key, &back, &err), -EBADMSG);
	assert_non_null(strstr(err.text, "not signed with this guest's key"));
}

static void text_is_made_printable_and_cut(void **state)
{
	(void)state;
	struct agent_frame frame = good(AGENT_TOLD), back;
	uint8_t bytes[AGENT_FRAME];
	struct err err;
	memset(frame.told.text, 'a', AGENT_TEXT);
	memcpy(frame.told.text, "/x\n\x1b[2J\xff", 8);
	agent_encode(&frame, key, bytes);
	assert_int_equal(agent_decode(bytes, key, &back, &err), 0);
	assert_memory_equal(back.told.text, "/x??[2J?aaa", 11);
	assert_int_equal(strlen(back.told.text), AGENT_TEXT - 1);
	frame.told.text[0] = '\0';
	agent_encode(&frame, key, bytes);
	assert_int_equal(agent_decode(bytes, key, &back, &err), 0);
	assert_string_equal(back.told.text, "?");
}

struct row {
	enum agent_type type;
	size_t at;         /* byte that is changed ... */
	uint8_t value;     /* ... to this */
	const char *wrong; /* NULL: nothing, it fits all the same */
};

/* As a guest that has the key can do after a change. */
static void sign(uint8_t bytes[static AGENT_FRAME])
{
	struct hmac_sha256_ctx hmac;
	hmac_sha256_set_key(&hmac, AGENT_KEY, key);
	hmac_sha256_update(&hmac, AGENT_FRAME - AGENT_MAC, bytes);
	hmac_sha256_digest(&hmac, AGENT_MAC, bytes + AGENT_FRAME - AGENT_MAC);
}

static void one_thing_wrong(void **state)
{
	(void)state;
	static const struct row rows[] = {
	        {AGENT_HELLO, 0, 'K', "does not begin like one"},
	        {AGENT_HELLO, 4, 2, "of another version"},
	        {AGENT_HELLO, 6, 0, "of no known type"},
	        {AGENT_HELLO, 6, AGENT_TYPE_MAX_, "of no known type"},
	        {AGENT_HELLO, 7, 1, "of no known type"},
	        {AGENT_HELLO, 6, AGENT_BEAT, "before the key"},
	        {AGENT_HELLO, 8, 2, "hello in the middle"},
	        {AGENT_HELLO, 8, 0, "number"},
	        {AGENT_HELLO, 12, 1, "where nothing belongs"},
	        {AGENT_HELLO, 23, 0x80, "before the start"},
	        {AGENT_HELLO, 24 + AGENT_HASH + 3, 1, "abilities"},
	        {AGENT_HELLO, 24 + AGENT_HASH + 8, 1, "where nothing belongs"},
	        {AGENT_HELLO, AGENT_FRAME - 1, 1, "signed and must not"},
	        {AGENT_KEYED, 8, 1, "number"},
	        {AGENT_KEYED, 16, 1, "time"},
	        {AGENT_RESTART, 8, 0, "number"},
	        {AGENT_RESTART, 16, 1, "time"},
	        {AGENT_RESTART, 24, 1, "where nothing belongs"},
	        {AGENT_STOP, 8, 0, "number"},
	        {AGENT_STOP, 24, 1, "where nothing belongs"},
	        {AGENT_KEYED, 24 + AGENT_KEY, 1, "where nothing belongs"},
	        {AGENT_BEAT, 24 + 24, AGENT_SERVICE_MAX_, "state of the service"},
	        {AGENT_BEAT, 8, 0, "number"},
	        {AGENT_BEAT, 24 + 32, 1, "where nothing belongs"},
	        {AGENT_TOLD, 24, 0, "something that there is not"},
	        {AGENT_TOLD, 24, AGENT_WHAT_MAX_, "something that there is not"},
	        {AGENT_TOLD, 24, AGENT_MODULE, "detail"},
	        {AGENT_TOLD, 24 + 4, 0, "detail"},
	        {AGENT_TOLD, 24 + 4, AGENT_DENIED_MAX_, "detail"},
	        {AGENT_TOLD, 24, AGENT_RESTARTED, NULL},
	        {AGENT_TOLD, 24, AGENT_STOPPED, NULL},
	        {AGENT_TOLD, 24, AGENT_CARRIED, "detail"},
	        {AGENT_TOLD, 24 + 8, 0, "says nothing"},
	        {AGENT_TOLD, 24 + 8, '\n', "not printable"},
	        {AGENT_TOLD, 24 + 8 + AGENT_TEXT - 1, 'x', "hides something"},
	        {AGENT_TOLD, 24 + 8 + AGENT_TEXT, 1, "where nothing belongs"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct agent_frame frame = good(rows[i].type), back;
		uint8_t bytes[AGENT_FRAME];
		struct err err = {0};
		agent_encode(&frame, key, bytes);
		bytes[rows[i].at] = rows[i].value;
		bool signs = rows[i].type != AGENT_HELLO && rows[i].type != AGENT_KEYED;
		if (signs)
			sign(bytes);
		int r = agent_decode(bytes, signs ? key : NULL, &back, &err);
		if (!rows[i].wrong && r == 0)
			continue;
		if (r != -EBADMSG || !rows[i].wrong || !strstr(err.text, rows[i].wrong))
			fail_msg("row %zu: wanted \"%s\", got \"%s\"", i, rows[i].wrong, err.text);
	}
}

static void odd_ends(void **state)
{
	(void)state;
	uint8_t bytes[AGENT_FRAME];
	struct agent_frame frame = good(AGENT_TOLD), back;
	struct err err;
	agent_encode(&frame, key, bytes);
	memset(bytes + 24 + 8, 'x', AGENT_TEXT);
	sign(bytes);
	assert_int_equal(agent_decode(bytes, key, &back, &err), -EBADMSG);
	assert_non_null(strstr(err.text, "without an end"));
	frame = good(AGENT_TOLD);
	frame.told.what = AGENT_RESTARTED;
	frame.told.detail = UINT8_MAX;
	agent_encode(&frame, key, bytes);
	assert_int_equal(agent_decode(bytes, key, &back, &err), 0);
	bytes[24 + 5] = 1;
	sign(bytes);
	assert_int_equal(agent_decode(bytes, key, &back, &err), -EBADMSG);
	assert_non_null(strstr(err.text, "detail"));
	frame = good(AGENT_KEYED);
	memset(frame.keyed.key, 0, AGENT_KEY);
	agent_encode(&frame, NULL, bytes);
	assert_int_equal(agent_decode(bytes, NULL, &back, &err), -EBADMSG);
	assert_non_null(strstr(err.text, "holds no key"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(what_goes_in_comes_out),
	        cmocka_unit_test(any_bit_matters),
	        cmocka_unit_test(a_key_of_another_guest_is_refused),
	        cmocka_unit_test(text_is_made_printable_and_cut),
	        cmocka_unit_test(one_thing_wrong),
	        cmocka_unit_test(odd_ends),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
