/* Any bytes as an answer of DNS: the reader reads nothing behind them, and the name can be printed. */
#include "sense/dns.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	uint8_t *exact = malloc(size ? size : 1);
	struct dns_answer answer;
	if (!exact)
		abort();
	memcpy(exact, bytes, size);
	if (dns_read(exact, size, &answer)) {
		if (strnlen(answer.name, DNS_NAME_MAX) == DNS_NAME_MAX)
			abort();
		for (const char *c = answer.name; *c; c++)
			if (*c <= 0x20 || *c > 0x7e)
				abort();
	}
	free(exact);
	return 0;
}
