/* Any bytes as an answer: whole, split at every place that the first byte chooses, ended or not; all must judge the same. */
#include "sense/answer.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static enum finding judge_in_pieces(const uint8_t *bytes, size_t size, size_t piece, enum answer_kind kind, bool *ret_through)
{
	struct sense_answer *answer = malloc(sizeof(*answer));
	struct answer_expected expected = {.kind = kind, .check_clock = true, .clock_to_us = INT64_MAX / 2};
	const char *detail;
	enum answer_progress progress = ANSWER_MORE;
	if (!answer)
		abort();
	answer_begin(answer, 2000);
	uint8_t *copy = bytes[0] & 8 ? malloc(300) : NULL; /* bodies of errors are read too then */
	if (copy)
		answer_keep(answer, copy, 300);
	for (size_t at = 0; at < size; at += piece) {
		size_t now = piece < size - at ? piece : size - at;
		uint8_t *exact = malloc(now); /* so that a read behind the piece is caught */
		if (!exact)
			abort();
		memcpy(exact, bytes + at, now);
		progress = answer_feed(answer, exact, now);
		free(exact);
	}
	*ret_through = progress != ANSWER_MORE;
	if (progress == ANSWER_MORE && answer_end(answer) == ANSWER_MORE)
		abort();
	enum finding finding = answer_judge(answer, &expected, &detail);
	if (strnlen(detail, ANSWER_DETAIL_MAX) >= ANSWER_DETAIL_MAX || (finding == FINDING_GOOD) != (*detail == '\0'))
		abort();
	if (answer->kept_size > ANSWER_KEPT_MAX || answer->body_size > 2000 || answer->head_size > ANSWER_HEAD_MAX + 1)
		abort();
	free(copy);
	free(answer);
	return finding;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	bool through, through_in_pieces;
	if (size == 0)
		return 0;
	enum answer_kind kind = bytes[size - 1] & 3;
	size_t piece = 1 + bytes[0] % 7;
	enum finding whole = judge_in_pieces(bytes, size, size, kind, &through);
	if (judge_in_pieces(bytes, size, piece, kind, &through_in_pieces) != whole || through != through_in_pieces)
		abort();
	return 0;
}
