/*
 * Reads an HTTP/1.x answer as a careful client does, without a library: what we read comes from a machine that may be taken
 * over, so the reader must be small enough to be looked through, fuzzed, and bounded in all it holds. Framing that leaves
 * two readings open (two lengths, a length beside chunks) is a breach of protocol here: a probe must never see another body
 * than a client would.
 *
 * SHA-256 is nettle's: 0.3 MB shared with what the API's HTTP library already brings, against libcrypto's 4.7 MB and its
 * allocations per digest. Signatures are checked in another process, so the sensing path stays free of OpenSSL.
 */
#include "sense/answer.h"

#include "lib/bytes.h"

#include <assert.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static void answer_break(struct sense_answer *a, enum finding finding, const char *format, ...) printf_like(3, 4);
static void answer_break(struct sense_answer *a, enum finding finding, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vsnprintf(a->detail, sizeof(a->detail), format, args);
	va_end(args);
	a->finding = finding;
	a->state = ANSWER_BROKEN;
}

static void answer_finish(struct sense_answer *a)
{
	sha256_digest(&a->hash, sizeof(a->digest), a->digest);
	a->state = ANSWER_FINISHED;
}

void answer_begin(struct sense_answer *a, uint32_t body_max)
{
	memset(a, 0, offsetof(struct sense_answer, line)); /* the buffers are as long as their sizes say */
	a->body_max = body_max;
	a->finding = FINDING_GOOD;
	a->detail[0] = '\0';
	sha256_init(&a->hash);
}

void answer_keep(struct sense_answer *a, uint8_t *buffer, uint32_t size)
{
	a->copy = buffer;
	a->copy_max = size;
}

/* ---- the head */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Looks at each byte of the first line as it comes, so that something else than HTTP is known without waiting for a line
 * end that may never come. */
static bool status_byte_fits(uint32_t at, char c)
{
	static const char pattern[] = "HTTP/1.v nnn";
	if (at > 12)
		return true;
	if (at == 12)
		return c == ' ';
	switch (pattern[at]) {
	case 'v':
		return c == '0' || c == '1';
	case 'n':
		return is_digit(c);
	default:
		return c == pattern[at];
	}
}

static void read_status(struct sense_answer *a)
{
	if (a->line_size < 12 || a->line[9] == '0') {
		answer_break(a, FINDING_GARBAGE, "first line is not that of an HTTP answer");
		return;
	}
	a->http11 = a->line[7] == '1';
	a->status = (uint16_t)((a->line[9] - '0') * 100 + (a->line[10] - '0') * 10 + (a->line[11] - '0'));
	a->state = ANSWER_FIELDS;
}

static void read_length(struct sense_answer *a, const char *value)
{
	uint64_t length = 0;
	size_t digits = strspn(value, "0123456789");
	if (digits == 0 || value[digits] != '\0' || digits > 18) {
		answer_break(a, FINDING_GARBAGE, "Content-Length is not a number");
		return;
	}
	for (size_t i = 0; i < digits; i++)
		length = length * 10 + (uint64_t)(value[i] - '0');
	if (a->has_length && a->left != length)
		answer_break(a, FINDING_GARBAGE, "two different Content-Lengths");
	a->has_length = true;
	a->left = length;
}

static void read_transfer(struct sense_answer *a, const char *value)
{
	if (a->chunked || strcasecmp(value, "chunked") != 0)
		answer_break(a, FINDING_GARBAGE, "a transfer encoding that nobody asked for");
	a->chunked = true;
}

static void read_content_encoding(struct sense_answer *a, const char *value)
{
	a->encoded = strcasecmp(value, "identity") != 0;
}

static void read_connection(struct sense_answer *a, const char *value)
{
	a->says_close |= strcasestr(value, "close") != NULL;
	a->says_keep |= strcasestr(value, "keep-alive") != NULL;
}

static const struct {
	const char *name;
	void (*read)(struct sense_answer *a, const char *value);
	bool framing;
} fields[] = {
        {"content-length", read_length, true},
        {"transfer-encoding", read_transfer, true},
        {"content-encoding", read_content_encoding, false},
        {"connection", read_connection, false},
};

static void read_field(struct sense_answer *a)
{
	if (a->line[0] == ' ' || a->line[0] == '\t') { /* an old-style continuation */
		if (a->framing_field)
			answer_break(a, FINDING_GARBAGE, "a folded length");
		return;
	}
	char *colon = strchr(a->line, ':');
	if (!colon && a->line_cut) /* a name longer than all that we know */
		return;
	if (!colon || colon == a->line || colon[-1] == ' ' || colon[-1] == '\t') {
		answer_break(a, FINDING_GARBAGE, "a header line without a name");
		return;
	}
	*colon = '\0';
	char *value = colon + 1 + strspn(colon + 1, " \t");
	size_t size = strlen(value);
	while (size > 0 && (value[size - 1] == ' ' || value[size - 1] == '\t'))
		value[--size] = '\0';
	a->framing_field = false;
	for (size_t i = 0; i < countof(fields); i++)
		if (strcasecmp(a->line, fields[i].name) == 0) {
			a->framing_field = fields[i].framing;
			if (a->line_cut && fields[i].framing)
				answer_break(a, FINDING_GARBAGE, "an over-long length");
			else
				fields[i].read(a, value);
		}
}

static void end_interim(struct sense_answer *a)
{
	if (a->status == 101 || a->has_length || a->chunked) {
		answer_break(a, FINDING_GARBAGE, "an interim answer that nobody asked for");
		return;
	}
	a->says_close = a->says_keep = a->encoded = a->framing_field = false;
	a->state = ANSWER_STATUS;
}

/* The empty line: how the body ends. */
static void end_head(struct sense_answer *a)
{
	if (a->status < 200) {
		end_interim(a);
	} else if (a->chunked && a->has_length) {
		answer_break(a, FINDING_GARBAGE, "both a length and chunks");
	} else if (a->status >= 300 && !a->copy) {
		a->abandoned = true;
		answer_finish(a);
	} else if (a->has_length && a->left > a->body_max) {
		answer_break(a, FINDING_SLOW, "announces %llu bytes, more than the %u that are read", (unsigned long long)a->left,
		             a->body_max);
	} else if (a->status == 204 || a->status == 304 || (a->has_length && a->left == 0)) {
		answer_finish(a);
	} else if (a->chunked) {
		a->state = ANSWER_CHUNK_SIZE;
	} else {
		a->until_close = !a->has_length;
		a->state = a->has_length ? ANSWER_BODY : ANSWER_UNTIL_CLOSE;
	}
}

/* ---- the body */

static int hex_value(char c)
{
	if (is_digit(c))
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void read_chunk_size(struct sense_answer *a)
{
	uint64_t size = 0;
	size_t i = 0;
	for (; i < 9 && hex_value(a->line[i]) >= 0; i++)
		size = size * 16 + (uint64_t)hex_value(a->line[i]);
	if (i == 0 || i > 8 || (a->line[i] != '\0' && a->line[i] != ';' && a->line[i] != ' ' && a->line[i] != '\t')) {
		answer_break(a, FINDING_GARBAGE, "a chunk without a size");
		return;
	}
	a->left = size;
	a->state = size == 0 ? ANSWER_TRAILER : ANSWER_CHUNK;
}

static void read_chunk_end(struct sense_answer *a)
{
	if (a->line_size > 0)
		answer_break(a, FINDING_GARBAGE, "a chunk longer than its size");
	else
		a->state = ANSWER_CHUNK_SIZE;
}

static void read_line(struct sense_answer *a)
{
	a->line[a->line_size] = '\0';
	if (a->state == ANSWER_STATUS)
		read_status(a);
	else if (a->state == ANSWER_FIELDS && a->line_size == 0)
		end_head(a);
	else if (a->state == ANSWER_FIELDS)
		read_field(a);
	else if (a->state == ANSWER_CHUNK_SIZE)
		read_chunk_size(a);
	else if (a->state == ANSWER_CHUNK_END)
		read_chunk_end(a);
	else if (a->state == ANSWER_TRAILER && a->line_size == 0)
		answer_finish(a);
	a->line_size = 0;
	a->line_cut = false;
}

static bool line_in_bounds(struct sense_answer *a)
{
	bool in_head = a->state == ANSWER_STATUS || a->state == ANSWER_FIELDS || a->state == ANSWER_TRAILER;
	if (in_head && ++a->head_size > ANSWER_HEAD_MAX)
		answer_break(a, FINDING_SLOW, "a head of more than %d bytes", ANSWER_HEAD_MAX);
	else if (!in_head && ++a->overhead > ANSWER_HEAD_MAX + 2 * a->body_max)
		answer_break(a, FINDING_SLOW, "more wrapping around the chunks than is read");
	return a->state != ANSWER_BROKEN;
}

static void feed_line_byte(struct sense_answer *a, char c)
{
	bool had_return = a->line_size > 0 && a->line[a->line_size - 1] == '\r';
	if (!line_in_bounds(a))
		return;
	if (c == '\n') {
		if (had_return)
			a->line_size--;
		read_line(a);
	} else if (had_return || ((unsigned char)c < 0x20 && c != '\t' && c != '\r') || c == 0x7f) {
		answer_break(a, FINDING_GARBAGE, "a control character where HTTP has a line");
	} else if (a->state == ANSWER_STATUS && !(c == '\r' && a->line_size == 12) && !status_byte_fits(a->line_size, c)) {
		answer_break(a, FINDING_GARBAGE, "first bytes are not those of an HTTP answer");
	} else if (a->line_size < sizeof(a->line) - 2 || (c == '\r' && a->line_size == sizeof(a->line) - 2)) {
		a->line[a->line_size++] = c; /* the last place is for the CR, so that its LF is recognised */
	} else {
		a->line_cut = true;
	}
}

static size_t feed_body(struct sense_answer *a, const uint8_t *bytes, size_t size)
{
	if (!a->until_close && size > a->left)
		size = (size_t)a->left;
	if (size > a->body_max - a->body_size) {
		answer_break(a, FINDING_SLOW, "a body of more than the %u bytes that are read", a->body_max);
		return size;
	}
	size_t keep = sizeof(a->kept) - a->kept_size;
	memcpy(a->kept + a->kept_size, bytes, size < keep ? size : keep);
	a->kept_size += (uint32_t)(size < keep ? size : keep);
	if (a->copy && a->body_size + size <= a->copy_max)
		memcpy(a->copy + a->body_size, bytes, size);
	a->body_size += (uint32_t)size;
	sha256_update(&a->hash, size, bytes);
	if (a->until_close)
		return size;
	a->left -= size;
	if (a->left == 0 && a->state == ANSWER_CHUNK)
		a->state = ANSWER_CHUNK_END;
	else if (a->left == 0)
		answer_finish(a);
	return size;
}

static enum answer_progress answer_progress(const struct sense_answer *a)
{
	if (a->state == ANSWER_BROKEN)
		return ANSWER_BAD;
	return a->state == ANSWER_FINISHED ? ANSWER_DONE : ANSWER_MORE;
}

enum answer_progress answer_feed(struct sense_answer *a, const void *bytes, size_t size)
{
	const uint8_t *at = bytes, *end = at + size;
	while (at < end && a->state < ANSWER_FINISHED) {
		if (a->state == ANSWER_BODY || a->state == ANSWER_UNTIL_CLOSE || a->state == ANSWER_CHUNK)
			at += feed_body(a, at, (size_t)(end - at));
		else
			feed_line_byte(a, (char)*at++);
	}
	if (at < end && a->state == ANSWER_FINISHED && !a->abandoned)
		a->extra = true;
	return answer_progress(a);
}

enum answer_progress answer_end(struct sense_answer *a)
{
	if (a->state == ANSWER_UNTIL_CLOSE)
		answer_finish(a);
	else if (a->state < ANSWER_FINISHED && a->head_size == 0)
		answer_break(a, FINDING_ERROR, "connection closed without an answer");
	else if (a->state < ANSWER_FINISHED)
		answer_break(a, FINDING_ERROR, "connection closed in the middle of the answer");
	return answer_progress(a);
}

bool answer_reusable(const struct sense_answer *a)
{
	if (a->state != ANSWER_FINISHED || a->until_close || a->abandoned || a->extra || a->says_close)
		return false;
	return a->http11 || a->says_keep;
}

/* ---- the judgement */

static enum finding judged(struct sense_answer *a, enum finding finding, const char *detail)
{
	text_copy(a->detail, sizeof(a->detail), detail);
	return finding;
}

/*
 * A body that ends with the connection cannot be told from one that was cut by a dying server, so other bytes are an error
 * then; the caller, who remembers, makes it wrong content when the same bytes come again.
 */
static enum finding judge_content(struct sense_answer *a, const struct answer_expected *expected)
{
	if (memcmp(a->digest, expected->sha256, sizeof(a->digest)) == 0)
		return FINDING_GOOD;
	if (a->until_close)
		return judged(a, FINDING_ERROR, "other content or a part of it, which cannot be told");
	snprintf(a->detail, sizeof(a->detail), "%u bytes with other content than the manifest's", a->body_size);
	return FINDING_WRONG_CONTENT;
}

static enum finding judge_json(struct sense_answer *a)
{
	size_t blank = 0;
	while (blank < a->kept_size && a->kept[blank] != '\0' && strchr(" \t\r\n", a->kept[blank]))
		blank++;
	if (blank < a->kept_size && a->body_size > a->kept_size && (a->kept[blank] == '{' || a->kept[blank] == '['))
		return FINDING_GOOD; /* longer than what is kept: its opening must do */
	json_t *json = json_loadb(a->kept, a->kept_size, JSON_REJECT_DUPLICATES, NULL);
	bool good = json != NULL && a->body_size == a->kept_size;
	json_decref(json);
	return good ? FINDING_GOOD : judged(a, FINDING_ERROR, "not the JSON that was asked for");
}

static enum finding judge_clock(struct sense_answer *a, const struct answer_expected *expected, double clock)
{
	double early = (double)expected->clock_from_us / 1e6 - clock, late = clock - (double)expected->clock_to_us / 1e6;
	if (early <= 0 && late <= 0)
		return FINDING_GOOD;
	double off = early > 0 ? early : late;
	snprintf(a->detail, sizeof(a->detail), "the answer's clock is %.3g s more %s than allowed", off > 1e12 ? 1e12 : off,
	         early > 0 ? "behind" : "ahead");
	return FINDING_WRONG_CLOCK;
}

static enum finding judge_challenge(struct sense_answer *a, const struct answer_expected *expected)
{
	uint8_t digest[32];
	/* at most ANSWER_KEPT_MAX bytes go in, which bounds depth and heap too */
	json_t *json = a->body_size == a->kept_size ? json_loadb(a->kept, a->kept_size, JSON_REJECT_DUPLICATES, NULL) : NULL;
	const char *said = json_string_value(json_object_get(json, "digest"));
	json_t *clock_said = json_object_get(json, "clock");
	enum finding finding = FINDING_GOOD;
	if (!said || !bytes_from_hex(said, digest, sizeof(digest)))
		finding = judged(a, FINDING_WRONG_CHALLENGE, "the challenge's answer holds no digest");
	else if (memcmp(digest, expected->sha256, sizeof(digest)) != 0)
		finding = judged(a, FINDING_WRONG_CHALLENGE, "the digest does not fit nonce, key and page");
	else if (expected->check_clock && !json_is_number(clock_said))
		finding = judged(a, FINDING_WRONG_CLOCK, "the challenge's answer holds no clock");
	else if (expected->check_clock)
		finding = judge_clock(a, expected, json_number_value(clock_said));
	json_decref(json);
	return finding;
}

/*
 * A status that is not 2xx is an error, also on a path that the manifest holds: a missing page may be an attacker's work or
 * an application that fell over, and only other bytes under a good status prove that somebody put them there.
 */
enum finding answer_judge(struct sense_answer *a, const struct answer_expected *expected, const char **ret_detail)
{
	assert(a->state >= ANSWER_FINISHED);
	*ret_detail = a->detail;
	if (a->state == ANSWER_BROKEN)
		return a->finding;
	if (a->status >= 300) {
		snprintf(a->detail, sizeof(a->detail), "status %u", a->status);
		return expected->kind == ANSWER_PLAIN && a->status < 400 ? judged(a, FINDING_GOOD, "") : FINDING_ERROR;
	}
	if (a->encoded)
		return judged(a, FINDING_ERROR, "a content encoding that nobody asked for");
	enum finding finding = FINDING_GOOD;
	if (expected->kind == ANSWER_CONTENT)
		finding = judge_content(a, expected);
	else if (expected->kind == ANSWER_JSON)
		finding = judge_json(a);
	else if (expected->kind == ANSWER_CHALLENGE)
		finding = judge_challenge(a, expected);
	if (finding == FINDING_GOOD && a->extra)
		return judged(a, FINDING_GARBAGE, "bytes behind the end of the answer");
	return finding;
}
