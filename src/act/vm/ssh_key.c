/*
 * The form of OpenSSH's own private keys is not one that OpenSSL writes, and nothing else is read everywhere. It is short:
 * lengths and bytes, unencrypted. Ours and not ssh-keygen's, because a key is made each time a guest is built: no child process,
 * and no package that the host needs for it. The test asks ssh-keygen.
 */
#include "act/vm/ssh_key.h"

#include "lib/bytes.h"

#include <assert.h>
#include <errno.h>
#include <openssl/evp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define KIND "ssh-ed25519"
#define HALF 32 /* bytes of the seed, and of the public key */
#define LINE 70
#define BLOCK 8 /* the private part is filled up to a multiple of it */

struct buffer {
	uint8_t bytes[448];
	size_t size;
};

static void put_raw(struct buffer *to, const void *bytes, size_t size)
{
	assert(to->size + size <= sizeof(to->bytes));
	memcpy(to->bytes + to->size, bytes, size);
	to->size += size;
}

static void put_number(struct buffer *to, uint32_t number)
{
	const uint8_t bytes[] = {(uint8_t)(number >> 24), (uint8_t)(number >> 16), (uint8_t)(number >> 8), (uint8_t)number};
	put_raw(to, bytes, sizeof(bytes));
}

static void put_bytes(struct buffer *to, const void *bytes, size_t size)
{
	put_number(to, (uint32_t)size);
	put_raw(to, bytes, size);
}

static void put_text(struct buffer *to, const char *text)
{
	put_bytes(to, text, strlen(text));
}

static void put_public(struct buffer *to, const uint8_t public_half[static HALF])
{
	put_text(to, KIND);
	put_bytes(to, public_half, HALF);
}

/* The check number stands there twice: a reader with the wrong passphrase would see two. */
static void put_private(struct buffer *to, const uint8_t seed[static HALF], const uint8_t public_half[static HALF],
                        uint32_t check, const char *comment)
{
	uint8_t both[2 * HALF];
	memcpy(both, seed, HALF);
	memcpy(both + HALF, public_half, HALF);
	put_number(to, check);
	put_number(to, check);
	put_public(to, public_half);
	put_bytes(to, both, sizeof(both));
	put_text(to, comment);
	for (uint8_t fill = 1; to->size % BLOCK; fill++)
		put_raw(to, &fill, 1);
	explicit_bzero(both, sizeof(both));
}

static void write_private(const struct buffer *whole, char ret_text[static SSH_PRIVATE_MAX])
{
	char base64[SSH_PRIVATE_MAX];
	int length = EVP_EncodeBlock((unsigned char *)base64, whole->bytes, (int)whole->size), n = 0;
	n += snprintf(ret_text, SSH_PRIVATE_MAX, "-----BEGIN OPENSSH PRIVATE KEY-----\n");
	for (int at = 0; at < length; at += LINE)
		n += snprintf(ret_text + n, SSH_PRIVATE_MAX - (size_t)n, "%.*s\n", LINE, base64 + at);
	n += snprintf(ret_text + n, SSH_PRIVATE_MAX - (size_t)n, "-----END OPENSSH PRIVATE KEY-----\n");
	assert(n < SSH_PRIVATE_MAX);
	explicit_bzero(base64, sizeof(base64));
}

static int halves_make(uint8_t ret_seed[static HALF], uint8_t ret_public[static HALF])
{
	size_t seed_size = HALF, public_size = HALF;
	EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	bool made = key && EVP_PKEY_get_raw_private_key(key, ret_seed, &seed_size) == 1 &&
	            EVP_PKEY_get_raw_public_key(key, ret_public, &public_size) == 1;
	EVP_PKEY_free(key);
	return made && seed_size == HALF && public_size == HALF ? 0 : -EIO;
}

int ssh_key_make(const char *comment, struct ssh_key *ret_key, struct err *err)
{
	uint8_t seed[HALF], public_half[HALF];
	uint32_t check;
	struct buffer blob = {.size = 0}, inner = {.size = 0}, whole = {.size = 0};
	char base64[SSH_PUBLIC_MAX];
	assert(strlen(comment) < SSH_COMMENT_MAX);
	if (getrandom(&check, sizeof(check), 0) != sizeof(check) || halves_make(seed, public_half) < 0)
		return err_set(err, -EIO,
		               "no key could be made for SSH: libcrypto has no Ed25519, or the kernel no random bytes");
	put_public(&blob, public_half);
	put_private(&inner, seed, public_half, check, comment);
	put_raw(&whole, "openssh-key-v1", sizeof("openssh-key-v1"));
	put_text(&whole, "none"); /* cipher */
	put_text(&whole, "none"); /* what makes a key of a passphrase, and its settings */
	put_text(&whole, "");
	put_number(&whole, 1);
	put_bytes(&whole, blob.bytes, blob.size);
	put_bytes(&whole, inner.bytes, inner.size);
	write_private(&whole, ret_key->private_half);
	EVP_EncodeBlock((unsigned char *)base64, blob.bytes, (int)blob.size);
	snprintf(ret_key->public_half, sizeof(ret_key->public_half), "%s %s %s", KIND, base64, comment);
	explicit_bzero(seed, sizeof(seed));
	explicit_bzero(&inner, sizeof(inner));
	explicit_bzero(&whole, sizeof(whole));
	return 0;
}
