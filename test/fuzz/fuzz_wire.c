/* What passes the decoder must come out of the encoder unchanged and pass again: then nothing unchecked got through. */
#include "wire/order.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct wire_message message, again;
	struct err err;
	if (wire_decode(bytes, size, &message, &err) < 0) {
		assert(err.code < 0 && err.text[0]);
		return 0;
	}
	assert(wire_encode(&message) == size);
	assert(memcmp(&message, bytes, size) == 0);
	assert(wire_decode(&message, size, &again, &err) == 0);
	return 0;
}
