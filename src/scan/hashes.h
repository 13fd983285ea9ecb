#pragma once
/* A set of SHA-256 sums, read from a file as sha256sum(1) writes it. */
#include "scan/scan.h"

#define HASHES_FILE_MAX (256u << 20)

struct hashes {
	uint8_t (*sorted)[SCAN_SHA256];
	size_t n;
};

/* Empty lines and those that begin with # are skipped; any other that does not begin with a sum is named and left out.
 * `path` "": an empty set. A file that cannot be read is a problem too, and the set is empty. */
void hashes_load(const char *path, struct hashes *ret_hashes, struct scan_problems *problems);
bool hashes_have(const struct hashes *hashes, const uint8_t sha256[static SCAN_SHA256]);
void hashes_done(struct hashes *hashes);
