/* See pem.h. A key of this kind has one form only in DER: a head that never changes, and then its 32 bytes. */
#include "image/pem.h"
#include "lib/bytes.h"

#include <errno.h>
#include <nettle/base64.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>

#define KEY_FILE_MAX 16384
#define DER_MAX (16 + ED25519_KEY_SIZE)

struct kind {
	const char *name; /* "public": as sentences have it */
	const char *head, *tail;
	uint8_t der[16];
	size_t n_der;
};

static const struct kind public_kind = {"public",
                                        "-----BEGIN PUBLIC KEY-----",
                                        "-----END PUBLIC KEY-----",
                                        {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00},
                                        12};
static const struct kind private_kind = {
        "private",
        "-----BEGIN PRIVATE KEY-----",
        "-----END PRIVATE KEY-----",
        {0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20},
        16};

/* What stands between the two lines of a PEM file; -1 when it is none, or longer than `max`. */
static ssize_t decode(const struct kind *kind, const char *text, uint8_t *ret_bytes, size_t max)
{
	struct base64_decode_ctx context;
	const char *from = strstr(text, kind->head), *to = from ? strstr(from, kind->tail) : NULL;
	size_t size = max;
	if (!to || BASE64_DECODE_LENGTH((size_t)(to - from) - strlen(kind->head)) > max)
		return -1;
	from += strlen(kind->head);
	base64_decode_init(&context);
	if (!base64_decode_update(&context, &size, ret_bytes, (size_t)(to - from), from) || !base64_decode_final(&context))
		return -1;
	return (ssize_t)size;
}

static int read_key(const struct kind *kind, const char *path, uint8_t *ret_key, struct err *err)
{
	auto_free uint8_t *text = NULL;
	uint8_t der[KEY_FILE_MAX];
	size_t size;
	int r = file_read(path, KEY_FILE_MAX, &text, &size, err);
	if (r < 0)
		return r;
	ssize_t length = decode(kind, (char *)text, der, sizeof(der));
	if (length <= 0)
		r = err_set(err, -EINVAL, "%s: is no %s key in PEM", path, kind->name);
	else if ((size_t)length != kind->n_der + ED25519_KEY_SIZE || memcmp(der, kind->der, kind->n_der) != 0)
		r = err_set(err, -EINVAL, "%s: is a key of another kind: Ed25519 is needed", path);
	else
		memcpy(ret_key, der + kind->n_der, ED25519_KEY_SIZE);
	explicit_bzero(der, sizeof(der));
	explicit_bzero(text, size);
	return r;
}

static void print_key(const struct kind *kind, const uint8_t *key, char *ret_text)
{
	uint8_t der[DER_MAX];
	char base64[BASE64_ENCODE_RAW_LENGTH(DER_MAX) + 1] = "";
	memcpy(der, kind->der, kind->n_der);
	memcpy(der + kind->n_der, key, ED25519_KEY_SIZE);
	base64_encode_raw(base64, kind->n_der + ED25519_KEY_SIZE, der);
	snprintf(ret_text, PEM_KEY_MAX, "%s\n%s\n%s\n", kind->head, base64, kind->tail);
	explicit_bzero(der, sizeof(der));
	explicit_bzero(base64, sizeof(base64));
}

int pem_public_read(const char *path, uint8_t ret_key[static ED25519_KEY_SIZE], struct err *err)
{
	return read_key(&public_kind, path, ret_key, err);
}

int pem_private_read(const char *path, uint8_t ret_key[static ED25519_KEY_SIZE], struct err *err)
{
	return read_key(&private_kind, path, ret_key, err);
}

void pem_public_print(const uint8_t key[static ED25519_KEY_SIZE], char ret_text[static PEM_KEY_MAX])
{
	print_key(&public_kind, key, ret_text);
}

void pem_private_print(const uint8_t key[static ED25519_KEY_SIZE], char ret_text[static PEM_KEY_MAX])
{
	print_key(&private_kind, key, ret_text);
}
