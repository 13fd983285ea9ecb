#include "sense/silence.h"

void silence_asked(struct silence *s, int64_t now_us)
{
	if (s->n_asked < SILENCE_ASKED)
		s->asked_us[s->n_asked++] = now_us;
}

static uint32_t enough(const struct silence *s)
{
	return s->n_known ? s->n_known : SILENCE_KNOWN_ANSWERS;
}

static void remember(struct silence *s, int64_t lasted_us, int64_t now_us)
{
	if (now_us - s->span_us >= SILENCE_SPAN_US) {
		s->longest_before_us = now_us - s->span_us < 2 * SILENCE_SPAN_US ? s->longest_us : 0;
		s->longest_us = 0;
		s->span_us = now_us;
	}
	if (lasted_us > s->longest_us)
		s->longest_us = lasted_us;
}

void silence_answered(struct silence *s, int64_t now_us)
{
	if (s->known_us == 0) {
		s->known_us = now_us;
		s->span_us = now_us;
	}
	if (s->n_answers < enough(s))
		s->n_answers++;
	if (s->n_asked > 0)
		remember(s, now_us - s->asked_us[0], now_us);
	silence_clear(s);
}

void silence_clear(struct silence *s)
{
	s->n_asked = 0;
	s->told = 0;
}

static int64_t longest(const struct silence *s)
{
	return s->longest_us > s->longest_before_us ? s->longest_us : s->longest_before_us;
}

static int64_t limit(const struct silence *s, int64_t least_us)
{
	int64_t limit_us = longest(s) * SILENCE_TIMES > least_us ? longest(s) * SILENCE_TIMES : least_us;
	return limit_us > SILENCE_LIMIT_MAX_US ? INT64_MAX : limit_us;
}

struct silence_limits silence_limits(const struct silence *s, int64_t least_us)
{
	return (struct silence_limits){
	        .known = s->n_answers >= enough(s), .longest_us = longest(s), .limit_us = limit(s, least_us)};
}

static bool is_known(const struct silence *s)
{
	return s->n_answers >= enough(s) && s->asked_us[0] - s->known_us >= SILENCE_KNOWN_US;
}

int64_t silence_ask_due(const struct silence *s, int64_t least_us)
{
	int64_t limit_us = limit(s, least_us);
	if (s->n_asked == 0 || s->n_asked == SILENCE_ASKED || !is_known(s) || limit_us == INT64_MAX)
		return INT64_MAX;
	return s->asked_us[0] + limit_us / 2;
}

int64_t silence_due(const struct silence *s, int64_t least_us)
{
	int64_t limit_us = limit(s, least_us);
	if (s->n_asked < SILENCE_ASKED || !is_known(s) || limit_us == INT64_MAX)
		return INT64_MAX;
	return s->told ? s->again_us : s->asked_us[SILENCE_ASKED - 1] + limit_us;
}

void silence_tell(struct silence *s, int64_t now_us, int64_t least_us)
{
	int64_t wait_us = limit(s, least_us);
	if (s->told > 0 && wait_us < SILENCE_AGAIN_US)
		wait_us = SILENCE_AGAIN_US;
	s->told++;
	s->again_us = now_us + wait_us;
}
