#pragma once
/* Ed25519 keys, for this room only. */
#include "lib/err.h"

#include <openssl/evp.h>
#include <stddef.h>
#include <stdint.h>

#define IMAGE_SIGNATURE_SIZE 64

/* Reads a PEM file; refuses what is not Ed25519. The caller frees with EVP_PKEY_free. */
int image_key_private(const char *path, EVP_PKEY **ret_key, struct err *err) must_use;

static inline void image_key_cleanup(EVP_PKEY **key)
{
	EVP_PKEY_free(*key);
}

static inline void image_digest_cleanup(EVP_MD_CTX **context)
{
	EVP_MD_CTX_free(*context);
}

#define auto_key __attribute__((cleanup(image_key_cleanup)))
#define auto_digest __attribute__((cleanup(image_digest_cleanup)))
