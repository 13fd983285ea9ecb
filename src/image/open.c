/*
 * Is this manifest what was signed? The signature is over its exact bytes, so it is checked before anything is parsed.
 *
 * By nettle, not OpenSSL: the engine opens manifests once in its life and must stay small, and nettle is there anyway for the
 * probes. Nothing here is secret, so all that is needed of a crypto library is one function.
 */
#include "image/image.h"
#include "lib/bytes.h"

#include <errno.h>
#include <limits.h>
#include <nettle/base64.h>
#include <nettle/eddsa.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>

#define KEY_FILE_MAX 16384

static int path_join(char path[static PATH_MAX], const char *dir, const char *file, struct err *err)
{
	if (snprintf(path, PATH_MAX, "%s/%s", dir, file) >= PATH_MAX)
		return err_set(err, -ENAMETOOLONG, "%.100s...: the name is too long", dir);
	return 0;
}

/* A public Ed25519 key has one form only in DER: this, and then the key (RFC 8410). */
static const uint8_t der_head[] = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00};

/* What stands between the two lines of a PEM file; -1 when it is none, or longer than `max`. */
static ssize_t pem_decode(const char *text, uint8_t *ret_bytes, size_t max)
{
	static const char head[] = "-----BEGIN PUBLIC KEY-----", tail[] = "-----END PUBLIC KEY-----";
	struct base64_decode_ctx context;
	const char *from = strstr(text, head), *to = from ? strstr(from, tail) : NULL;
	size_t size = max;
	if (!to || BASE64_DECODE_LENGTH((size_t)(to - from) - strlen(head)) > max)
		return -1;
	from += strlen(head);
	base64_decode_init(&context);
	if (!base64_decode_update(&context, &size, ret_bytes, (size_t)(to - from), from) || !base64_decode_final(&context))
		return -1;
	return (ssize_t)size;
}

static int key_read(const char *path, uint8_t ret_key[static ED25519_KEY_SIZE], struct err *err)
{
	auto_free uint8_t *text = NULL;
	uint8_t der[KEY_FILE_MAX];
	size_t size;
	int r = file_read(path, KEY_FILE_MAX, &text, &size, err);
	if (r < 0)
		return err_prefix(err, "the image key");
	ssize_t length = pem_decode((char *)text, der, sizeof(der));
	if (length <= 0)
		return err_set(err, -EINVAL, "%s: is no public key in PEM", path);
	if (length != sizeof(der_head) + ED25519_KEY_SIZE || memcmp(der, der_head, sizeof(der_head)) != 0)
		return err_set(err, -EINVAL, "%s: is a key of another kind: Ed25519 is needed", path);
	memcpy(ret_key, der + sizeof(der_head), ED25519_KEY_SIZE);
	return 0;
}

static int signature_read(const char *path, uint8_t ret_signature[static ED25519_SIGNATURE_SIZE], struct err *err)
{
	auto_free uint8_t *bytes = NULL;
	size_t size;
	int r = file_read(path, 4096, &bytes, &size, err);
	if (r == -ENOENT)
		return err_set(err, -EKEYREJECTED,
		               "%s: is not there: the image is not signed; sign it with koboshi-image sign %.*s", path,
		               (int)(strrchr(path, '/') - path), path);
	if (r < 0)
		return r;
	if (size != ED25519_SIGNATURE_SIZE)
		return err_set(err, -EKEYREJECTED, "%s: has %zu bytes, an Ed25519 signature has %d: rebuild the image", path,
		               size, ED25519_SIGNATURE_SIZE);
	memcpy(ret_signature, bytes, size);
	return 0;
}

static int signature_check(const char *path, const char *signature_path, const char *key_path, const uint8_t *bytes, size_t size,
                           struct err *err)
{
	uint8_t signature[ED25519_SIGNATURE_SIZE];
	uint8_t key[ED25519_KEY_SIZE];
	int r = signature_read(signature_path, signature, err);
	if (r == 0)
		r = key_read(key_path, key, err);
	if (r < 0)
		return r;
	if (!ed25519_sha512_verify(key, size, bytes, signature))
		return err_set(err, -EKEYREJECTED,
		               "%s: its signature does not fit the key %s: manifest or signature was changed, or another "
		               "key signed it; rebuild the image",
		               path, key_path);
	return 0;
}

int image_open(const char *dir, const char *key_path, struct image **ret_image, struct err *err)
{
	char path[PATH_MAX], signature[PATH_MAX];
	auto_free uint8_t *bytes = NULL;
	size_t size;
	int r = path_join(path, dir, "manifest.json", err);
	if (r == 0)
		r = path_join(signature, dir, "manifest.sig", err);
	if (r == 0)
		r = file_read(path, IMAGE_MANIFEST_MAX, &bytes, &size, err);
	if (r == -ENOENT)
		return err_set(err, r, "%s: is not there: no image in this folder; make it with koboshi-image build", path);
	if (r == 0)
		r = signature_check(path, signature, key_path, bytes, size, err);
	if (r == 0)
		r = image_parse(path, bytes, size, ret_image, err);
	if (r < 0)
		return r;
	struct sha256_ctx hash;
	sha256_init(&hash);
	sha256_update(&hash, size, bytes);
	sha256_digest(&hash, sizeof((*ret_image)->manifest_sha256), (*ret_image)->manifest_sha256);
	return 0;
}

int image_combinations_open(const char *dir, const char *recipe, const char *key_path, struct image_combinations **ret_list,
                            struct err *err)
{
	char path[PATH_MAX], signature[PATH_MAX], file[96];
	auto_free uint8_t *bytes = NULL;
	size_t size;
	snprintf(file, sizeof(file), "%.60s.combinations.json", recipe);
	int r = path_join(path, dir, file, err);
	snprintf(file, sizeof(file), "%.60s.combinations.sig", recipe);
	if (r == 0)
		r = path_join(signature, dir, file, err);
	if (r == 0)
		r = file_read(path, IMAGE_MANIFEST_MAX, &bytes, &size, err);
	if (r == 0)
		r = signature_check(path, signature, key_path, bytes, size, err);
	if (r == 0)
		r = image_combinations_parse(path, bytes, size, ret_list, err);
	return r;
}
