/* Any bytes on an agent's port, in pieces of any size, right frames among them: what is found is told in printable words, never
 * something good, and the reader keeps in its bounds. The first byte of a piece says what comes. */
#include "sense/agent.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static const uint8_t key[AGENT_KEY] = "any key will do as long as it is";

static void on_tell(void *arg, enum finding finding, const char *detail)
{
	(void)arg;
	enum finding_class class = finding_class(finding);
	assert(class == FINDING_CLASS_COMPROMISE || class == FINDING_CLASS_WEAK);
	size_t length = strlen(detail);
	assert(length > 0 && length < AGENT_DETAIL);
	for (size_t i = 0; i < length; i++)
		assert(detail[i] >= 0x20 && detail[i] <= 0x7e);
}

static void frame_make(const uint8_t *bytes, size_t size, struct agent_frame *frame)
{
	memset(frame, 0, sizeof(*frame));
	frame->type = bytes[0] % 3 == 0 ? AGENT_HELLO : bytes[0] % 3 == 1 ? AGENT_BEAT : AGENT_TOLD;
	frame->number = frame->type == AGENT_HELLO ? 1 : size > 1 ? bytes[1] + 1u : 1;
	frame->uptime_us = size > 2 ? (int64_t)bytes[2] * 1000000 : 0;
	if (frame->type == AGENT_BEAT) {
		frame->beat.decided = size > 3 ? bytes[3] : 0;
		frame->beat.service = size > 4 ? bytes[4] % AGENT_SERVICE_MAX_ : 0;
	} else if (frame->type == AGENT_TOLD) {
		frame->told.what = size > 3 ? bytes[3] % (AGENT_WHAT_MAX_ - 1) + 1 : AGENT_TROUBLE;
		frame->told.detail = frame->told.what == AGENT_DENIED      ? bytes[size - 1] % (AGENT_DENIED_MAX_ - 1) + 1
		                     : frame->told.what == AGENT_LISTENING ? 1
		                                                           : 0;
		size_t words = size > 4 ? size - 4 : 0;
		if (words)
			memcpy(frame->told.text, bytes + 4, words < AGENT_TEXT - 1 ? words : AGENT_TEXT - 1);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct agent_watch watch = {.began_us = 1, .failures = 3, .starting = size % 2};
	int64_t now_us = 5000000;
	memcpy(watch.key, key, sizeof(key));
	agent_connected(&watch, now_us);
	for (size_t at = 0; at < size;) {
		uint8_t what = bytes[at++];
		size_t part = size - at < what % 64u ? size - at : what % 64u;
		struct agent_moment moment = {.listening = what & 1, .busy = what & 2};
		uint8_t frame_bytes[AGENT_FRAME];
		struct agent_frame frame;
		now_us += (int64_t)what * 1000;
		if (what < 64) {
			agent_hear(&watch, bytes + at, part, now_us, on_tell, NULL);
		} else if (what < 128 && part > 0) {
			frame_make(bytes + at, part, &frame);
			agent_encode(&frame, key, frame_bytes);
			agent_hear(&watch, frame_bytes, sizeof(frame_bytes), now_us, on_tell, NULL);
		} else {
			agent_probed(&watch, what & 4, now_us);
			agent_look(&watch, &moment, now_us, on_tell, NULL);
		}
		at += part;
		assert(watch.filled < AGENT_FRAME && watch.number <= 256 && watch.allowed >= 0);
	}
	return 0;
}
