/*
 * Is this manifest what was signed? The signature is over its exact bytes, so it is checked before anything is parsed.
 *
 * By nettle, not OpenSSL: the engine opens manifests once in its life and must stay small, and nettle is there anyway for the
 * probes. Nothing here is secret, so all that is needed of a crypto library is one function.
 */
#include "image/image.h"
#include "image/pem.h"
#include "lib/bytes.h"

#include <errno.h>
#include <limits.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <string.h>

static int path_join(char path[static PATH_MAX], const char *dir, const char *file, struct err *err)
{
	if (snprintf(path, PATH_MAX, "%s/%s", dir, file) >= PATH_MAX)
		return err_set(err, -ENAMETOOLONG, "%.100s...: the name is too long", dir);
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
	if (r < 0)
		return r;
	if (pem_public_read(key_path, key, err) < 0)
		return err_prefix(err, "the image key");
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
