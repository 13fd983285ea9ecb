#pragma once
/* The beginning of a DNS answer (RFC 1035): is it one, did it find the name, which name was asked for. Pure: bytes in, facts out;
 * what is not there is not needed, so the first hundred bytes will do. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DNS_NAME_MAX 40

struct dns_answer {
	bool found; /* else there is no such name, or the server could not say */
	uint8_t code;
	char name[DNS_NAME_MAX]; /* that was asked for, its end "..." when it is longer or not all there; printable ASCII */
};

/* False: no answer to one question. */
bool dns_read(const uint8_t *bytes, size_t size, struct dns_answer *ret_answer);
