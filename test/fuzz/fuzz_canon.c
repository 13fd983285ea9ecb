/* Any bytes as JSON: what is taken means the same when it is read again, and again without the member that is left out. */
#include "sense/canon.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static bool meaning(const uint8_t *bytes, size_t size, size_t n_ignored, uint8_t ret_digest[static 32])
{
	static const char ignored[1][CANON_NAME_MAX] = {"time"};
	struct sha256_ctx hash;
	sha256_init(&hash);
	bool json = canon_json(bytes, size, ignored, n_ignored, &hash);
	sha256_digest(&hash, 32, ret_digest);
	return json;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	uint8_t all[32], again[32], without[32], nothing[32];
	struct sha256_ctx hash;
	sha256_init(&hash);
	sha256_digest(&hash, 32, nothing);
	bool json = meaning(bytes, size, 0, all);
	uint8_t *padded = malloc(size + 2); /* blanks mean nothing */
	if (!padded)
		abort();
	memcpy(padded + 1, bytes, size);
	padded[0] = ' ';
	padded[size + 1] = '\n';
	if (meaning(padded, size + 2, 0, again) != json || memcmp(all, again, 32) != 0)
		abort();
	free(padded);
	if (meaning(bytes, size, 1, without) != json || (memcmp(all, nothing, 32) == 0) == json)
		abort();
	return 0;
}
