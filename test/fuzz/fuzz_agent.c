/* What passes the decoder comes out of the encoder unchanged. Two ways in: the bytes as they are, and the same bytes with a
 * right MAC, as a guest that was taken over sends them: without that no fuzzer would get behind the MAC. */
#include "wire/agent.h"

#include <assert.h>
#include <nettle/hmac.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static const uint8_t key[AGENT_KEY] = "any key will do as long as it is";

static void check(const uint8_t *bytes)
{
	struct agent_frame frame;
	struct err err;
	uint8_t again[AGENT_FRAME];
	if (agent_decode(bytes, key, &frame, &err) < 0) {
		assert(err.code < 0 && err.text[0]);
		return;
	}
	agent_encode(&frame, key, again);
	assert(memcmp(again, bytes, AGENT_FRAME) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	uint8_t frame[AGENT_FRAME] = {0};
	memcpy(frame, bytes, size < AGENT_FRAME ? size : AGENT_FRAME);
	check(frame);
	struct hmac_sha256_ctx hmac;
	hmac_sha256_set_key(&hmac, AGENT_KEY, key);
	hmac_sha256_update(&hmac, AGENT_FRAME - AGENT_MAC, frame);
	hmac_sha256_digest(&hmac, AGENT_MAC, frame + AGENT_FRAME - AGENT_MAC);
	check(frame);
	return 0;
}
