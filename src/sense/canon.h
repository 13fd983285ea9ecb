#pragma once
/*
 * JSON by its meaning: two programs that say the same in another order, with other blanks, or 21.0 where the other says 21, end
 * with the same hash. Pure; what comes in was written by a guest.
 */
#include <nettle/sha2.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CANON_NAME_MAX 32 /* CONF_NAME_MAX */

/* Adds the meaning of an object or a list to `hash`, members named in `ignored` left out at any depth. False, and nothing added:
 * it is no JSON, or can be read in two ways (a name that is there twice). */
bool canon_json(const uint8_t *bytes, size_t size, const char (*ignored)[CANON_NAME_MAX], size_t n_ignored,
                struct sha256_ctx *hash);
