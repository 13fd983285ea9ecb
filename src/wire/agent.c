/*
 * Frames of the guest's agent in and out of bytes. Whoever holds the guest writes these bytes, so the decoder checks every
 * field, also those that no reader looks at today, and copies out only what passed. Pure: the fuzzer lives on it.
 *
 *   0 magic  4 version (16 bit)  6 type (16 bit)  8 number (32)  12 zero  16 uptime (64)  24 body  240 MAC
 *
 * nettle instead of OpenSSL: the agent is linked statically and stays small. The MAC is cut to 16 bytes, which leaves a
 * forger who may try ten frames a second nothing to hope for.
 */
#include "wire/agent.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <nettle/hmac.h>
#include <nettle/memops.h>
#include <string.h>

#define MAGIC "kbgt" /* no byte of it is zero: a run of AGENT_FRAME zeros is in no stream of frames */
#define BODY_AT 24
#define MAC_AT (AGENT_FRAME - AGENT_MAC)

static const size_t body_size[AGENT_TYPE_MAX_] = {
        [AGENT_HELLO] = AGENT_HASH + 8, [AGENT_KEYED] = AGENT_KEY, [AGENT_BEAT] = 32,
        [AGENT_TOLD] = 8 + AGENT_TEXT,  [AGENT_RESTART] = 0,       [AGENT_STOP] = 0,
};
static_assert(BODY_AT + 8 + AGENT_TEXT <= MAC_AT, "the longest body fits");

const char *agent_what_name(uint32_t what)
{
	static const char *const names[AGENT_WHAT_MAX_] = {
	        [AGENT_DENIED] = "denied",       [AGENT_CHANGED] = "changed",     [AGENT_ACCOUNT] = "account",
	        [AGENT_MODULE] = "module",       [AGENT_LISTENING] = "listening", [AGENT_TROUBLE] = "trouble",
	        [AGENT_RESTARTED] = "restarted", [AGENT_CARRIED] = "carried",     [AGENT_STOPPED] = "stopped",
	};
	return what < AGENT_WHAT_MAX_ ? names[what] : NULL;
}

const char *agent_denied_name(uint32_t denied)
{
	static const char *const names[AGENT_DENIED_MAX_] = {
	        [AGENT_UNLISTED] = "unlisted", [AGENT_SCRIPT] = "script", [AGENT_MEMORY] = "memory",
	        [AGENT_DELETED] = "deleted",   [AGENT_LOADER] = "loader",
	};
	return denied < AGENT_DENIED_MAX_ ? names[denied] : NULL;
}

static void put16(uint8_t *at, uint16_t value)
{
	value = htole16(value);
	memcpy(at, &value, sizeof(value));
}

static void put32(uint8_t *at, uint32_t value)
{
	value = htole32(value);
	memcpy(at, &value, sizeof(value));
}

static void put64(uint8_t *at, uint64_t value)
{
	value = htole64(value);
	memcpy(at, &value, sizeof(value));
}

static uint16_t get16(const uint8_t *at)
{
	uint16_t value;
	memcpy(&value, at, sizeof(value));
	return le16toh(value);
}

static uint32_t get32(const uint8_t *at)
{
	uint32_t value;
	memcpy(&value, at, sizeof(value));
	return le32toh(value);
}

static uint64_t get64(const uint8_t *at)
{
	uint64_t value;
	memcpy(&value, at, sizeof(value));
	return le64toh(value);
}

static bool all_zero(const uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (bytes[i])
			return false;
	return true;
}

static bool printable(char c)
{
	return c >= 0x20 && c <= 0x7e;
}

static bool is_order(uint32_t type)
{
	return type == AGENT_RESTART || type == AGENT_STOP;
}

static bool bears_mac(uint32_t type)
{
	return type == AGENT_BEAT || type == AGENT_TOLD || is_order(type);
}

static bool is_from_host(uint32_t type)
{
	return type == AGENT_KEYED || is_order(type);
}

static void mac_make(const uint8_t *bytes, const uint8_t key[static AGENT_KEY], uint8_t ret_mac[static AGENT_MAC])
{
	struct hmac_sha256_ctx hmac;
	hmac_sha256_set_key(&hmac, AGENT_KEY, key);
	hmac_sha256_update(&hmac, MAC_AT, bytes);
	hmac_sha256_digest(&hmac, AGENT_MAC, ret_mac);
}

static bool mac_right(const uint8_t *bytes, const uint8_t *key)
{
	uint8_t mac[AGENT_MAC];
	mac_make(bytes, key, mac);
	return memeql_sec(mac, bytes + MAC_AT, AGENT_MAC);
}

static bool detail_fits(uint32_t what, uint32_t detail)
{
	if (what == AGENT_DENIED)
		return detail > 0 && detail < AGENT_DENIED_MAX_;
	if (what == AGENT_LISTENING)
		return detail > 0 && detail <= UINT16_MAX;
	return what == AGENT_RESTARTED || what == AGENT_STOPPED ? detail <= UINT8_MAX : detail == 0;
}

/* Each check returns NULL, or what is wrong. */
static const char *text_wrong(const char *text)
{
	size_t length = strnlen(text, AGENT_TEXT);
	if (length == 0)
		return "says nothing";
	if (length == AGENT_TEXT)
		return "has a text without an end";
	for (size_t i = 0; i < length; i++)
		if (!printable(text[i]))
			return "has a text that is not printable";
	return all_zero((const uint8_t *)text + length, AGENT_TEXT - length) ? NULL : "hides something behind its text";
}

static const char *hello_read(const uint8_t *body, struct agent_frame *frame)
{
	memcpy(frame->hello.list, body, AGENT_HASH);
	frame->hello.abilities = get32(body + AGENT_HASH);
	frame->hello.programs = get32(body + AGENT_HASH + 4);
	return (frame->hello.abilities & ~(uint32_t)AGENT_ABILITIES_) ? "names abilities that there are not" : NULL;
}

static const char *beat_read(const uint8_t *body, struct agent_frame *frame)
{
	frame->beat.decided = get64(body);
	frame->beat.denied = get64(body + 8);
	frame->beat.late = get64(body + 16);
	frame->beat.service = get32(body + 24);
	frame->beat.lost = get32(body + 28);
	return frame->beat.service >= AGENT_SERVICE_MAX_ ? "has a state of the service that there is not" : NULL;
}

static const char *told_read(const uint8_t *body, struct agent_frame *frame)
{
	frame->told.what = get32(body);
	frame->told.detail = get32(body + 4);
	memcpy(frame->told.text, body + 8, AGENT_TEXT);
	if (frame->told.what == 0 || frame->told.what >= AGENT_WHAT_MAX_)
		return "tells of something that there is not";
	if (!detail_fits(frame->told.what, frame->told.detail))
		return "has a detail that does not belong to what it tells of";
	return text_wrong(frame->told.text);
}

static const char *body_read(const uint8_t *body, struct agent_frame *frame)
{
	switch (frame->type) {
	case AGENT_HELLO:
		return hello_read(body, frame);
	case AGENT_KEYED:
		memcpy(frame->keyed.key, body, AGENT_KEY);
		return all_zero(body, AGENT_KEY) ? "holds no key" : NULL;
	case AGENT_BEAT:
		return beat_read(body, frame);
	case AGENT_RESTART:
	case AGENT_STOP:
		return NULL;
	default:
		return told_read(body, frame);
	}
}

/* What stands before the body, and whether the rest may be believed. */
static const char *head_wrong(const uint8_t *bytes, const uint8_t *key, const struct agent_frame *frame)
{
	if (memcmp(bytes, MAGIC, 4) != 0)
		return "does not begin like one";
	if (get16(bytes + 4) != AGENT_VERSION)
		return "is of another version";
	if (frame->type == 0 || frame->type >= AGENT_TYPE_MAX_)
		return "is of no known type";
	if (bears_mac(frame->type) && !key)
		return "came before the key was given";
	if (bears_mac(frame->type) && !mac_right(bytes, key))
		return "is not signed with this guest's key";
	if (!bears_mac(frame->type) && !all_zero(bytes + MAC_AT, AGENT_MAC))
		return "is signed and must not be";
	if (frame->uptime_us < 0)
		return "is from before the start";
	if (is_from_host(frame->type) && frame->uptime_us != 0)
		return "has a time that does not belong to its sender";
	if ((frame->type == AGENT_KEYED) != (frame->number == 0))
		return "has a number that does not belong to its sender";
	if (frame->type == AGENT_HELLO && frame->number != 1)
		return "is a hello in the middle";
	size_t end = BODY_AT + body_size[frame->type];
	return all_zero(bytes + 12, 4) && all_zero(bytes + end, MAC_AT - end) ? NULL : "has something where nothing belongs";
}

int agent_decode(const uint8_t bytes[static AGENT_FRAME], const uint8_t *key, struct agent_frame *ret_frame, struct err *err)
{
	struct agent_frame frame;
	memset(&frame, 0, sizeof(frame));
	frame.type = get16(bytes + 6);
	frame.number = get32(bytes + 8);
	frame.uptime_us = (int64_t)get64(bytes + 16);
	const char *wrong = head_wrong(bytes, key, &frame);
	if (!wrong)
		wrong = body_read(bytes + BODY_AT, &frame);
	if (wrong)
		return err_set(err, -EBADMSG, "a frame of the guest's agent %s", wrong);
	*ret_frame = frame;
	return 0;
}

static void told_write(const struct agent_frame *frame, uint8_t *body)
{
	assert(frame->told.what > 0 && frame->told.what < AGENT_WHAT_MAX_);
	assert(detail_fits(frame->told.what, frame->told.detail));
	put32(body, frame->told.what);
	put32(body + 4, frame->told.detail);
	size_t length = strnlen(frame->told.text, AGENT_TEXT - 1);
	for (size_t i = 0; i < length; i++)
		body[8 + i] = (uint8_t)(printable(frame->told.text[i]) ? frame->told.text[i] : '?');
	if (length == 0)
		body[8] = '?';
}

static void body_write(const struct agent_frame *frame, uint8_t *body)
{
	switch (frame->type) {
	case AGENT_HELLO:
		memcpy(body, frame->hello.list, AGENT_HASH);
		put32(body + AGENT_HASH, frame->hello.abilities);
		put32(body + AGENT_HASH + 4, frame->hello.programs);
		break;
	case AGENT_KEYED:
		memcpy(body, frame->keyed.key, AGENT_KEY);
		break;
	case AGENT_BEAT:
		put64(body, frame->beat.decided);
		put64(body + 8, frame->beat.denied);
		put64(body + 16, frame->beat.late);
		put32(body + 24, frame->beat.service);
		put32(body + 28, frame->beat.lost);
		break;
	case AGENT_RESTART:
	case AGENT_STOP:
		break;
	default:
		told_write(frame, body);
	}
}

void agent_encode(const struct agent_frame *frame, const uint8_t *key, uint8_t ret_bytes[static AGENT_FRAME])
{
	assert(frame->type > 0 && frame->type < AGENT_TYPE_MAX_);
	memset(ret_bytes, 0, AGENT_FRAME);
	memcpy(ret_bytes, MAGIC, 4);
	put16(ret_bytes + 4, AGENT_VERSION);
	put16(ret_bytes + 6, (uint16_t)frame->type);
	put32(ret_bytes + 8, frame->number);
	put64(ret_bytes + 16, (uint64_t)frame->uptime_us);
	body_write(frame, ret_bytes + BODY_AT);
	if (!bears_mac(frame->type))
		return;
	assert(key);
	mac_make(ret_bytes, key, ret_bytes + MAC_AT);
}
