#pragma once
/*
 * What the bytes of an HTTP/1.x answer are worth. Pure: no clock, no socket, no heap; feed bytes as they come. Holds the same
 * few KiB however much a guest sends: one line of the head, the hash of the body and its first KiB (for JSON).
 */
#include "plan/evidence.h"

#include <nettle/sha2.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ANSWER_HEAD_MAX 8192 /* all header lines, interim answers and trailers together */
#define ANSWER_LINE_MAX 256  /* of a line that matters to us; others may be longer */
#define ANSWER_KEPT_MAX 1024
#define ANSWER_DETAIL_MAX 96

enum answer_progress {
	ANSWER_MORE, /* not through yet */
	ANSWER_DONE, /* judge it */
	ANSWER_BAD   /* judge it: broken, over-long or cut */
};

enum answer_state {
	ANSWER_STATUS,
	ANSWER_FIELDS,
	ANSWER_BODY,        /* `left` more bytes */
	ANSWER_UNTIL_CLOSE, /* HTTP/1.0 style */
	ANSWER_CHUNK_SIZE,
	ANSWER_CHUNK,
	ANSWER_CHUNK_END,
	ANSWER_TRAILER,
	ANSWER_FINISHED,
	ANSWER_BROKEN
};

struct sense_answer {
	enum answer_state state;
	uint32_t body_max;
	uint16_t status;
	bool http11, chunked, has_length, says_close, says_keep, encoded, framing_field;
	bool until_close; /* a body whose end cannot be told from a cut */
	bool abandoned;   /* the body was not read because nothing depends on it */
	bool extra;       /* bytes behind the end */
	bool line_cut;
	uint8_t *copy; /* see answer_keep() */
	uint32_t copy_max;
	uint64_t left;
	uint32_t head_size, overhead, body_size;
	uint32_t line_size, kept_size;
	char line[ANSWER_LINE_MAX];
	char kept[ANSWER_KEPT_MAX];
	struct sha256_ctx hash;
	uint8_t digest[32]; /* of the body, once finished */
	enum finding finding;
	char detail[ANSWER_DETAIL_MAX];
};

struct answer_expected {
	enum answer_kind {
		ANSWER_PLAIN,    /* any good status */
		ANSWER_CONTENT,  /* these bytes: sha256 */
		ANSWER_JSON,     /* a JSON object or list */
		ANSWER_CHALLENGE /* {"digest": sha256 in hex, "clock": seconds} */
	} kind;
	uint8_t sha256[32];
	bool check_clock;
	int64_t clock_from_us, clock_to_us; /* real time between which the answer's clock must lie */
};

/* `body_max`: a longer body is FINDING_SLOW. */
void answer_begin(struct sense_answer *answer, uint32_t body_max);

/* Right after the beginning: the body is read whatever the status is, and what of it has room is copied to `buffer` too, the
 * caller's, which lives as long as the answer. */
void answer_keep(struct sense_answer *answer, uint8_t *buffer, uint32_t size);

/* Any split of the same bytes ends the same way. After DONE or BAD more bytes change nothing but `extra`. */
enum answer_progress answer_feed(struct sense_answer *answer, const void *bytes, size_t size);

/* The peer closed. DONE or BAD. */
enum answer_progress answer_end(struct sense_answer *answer);

/* What a DONE or BAD answer is worth; `ret_detail` points into `answer`, printable ASCII, "" for good. */
enum finding answer_judge(struct sense_answer *answer, const struct answer_expected *expected, const char **ret_detail);

/* Whether the connection can carry another request. */
bool answer_reusable(const struct sense_answer *answer);
