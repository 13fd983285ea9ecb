/* Signing, for the builder. A manifest that would be refused later is not signed at all. */
#include "image/image.h"
#include "image/key.h"
#include "lib/bytes.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>

static int manifest_load(const char *dir, uint8_t **ret_bytes, size_t *ret_size, struct err *err)
{
	char path[PATH_MAX];
	struct image *image;
	if (snprintf(path, sizeof(path), "%s/manifest.json", dir) >= (int)sizeof(path))
		return err_set(err, -ENAMETOOLONG, "%.100s...: the name is too long", dir);
	auto_free uint8_t *bytes = NULL;
	int r = file_read(path, IMAGE_MANIFEST_MAX, &bytes, ret_size, err);
	if (r == 0)
		r = image_parse(path, bytes, *ret_size, &image, err);
	if (r != 0)
		return r;
	image_free(image);
	*ret_bytes = take(&bytes);
	return 0;
}

int image_sign(const char *dir, const char *key_path, struct err *err)
{
	auto_free uint8_t *bytes = NULL;
	auto_key EVP_PKEY *key = NULL;
	uint8_t signature[IMAGE_SIGNATURE_SIZE];
	char path[PATH_MAX];
	size_t size, length = sizeof(signature);
	int r = manifest_load(dir, &bytes, &size, err);
	if (r == 0)
		r = image_key_private(key_path, &key, err);
	if (r < 0)
		return r;
	auto_digest EVP_MD_CTX *context = EVP_MD_CTX_new();
	if (!context)
		abort();
	if (EVP_DigestSignInit(context, NULL, NULL, NULL, key) != 1 ||
	    EVP_DigestSign(context, signature, &length, bytes, size) != 1 || length != sizeof(signature))
		return err_set(err, -EINVAL, "%s: cannot sign with this key", key_path);
	if (snprintf(path, sizeof(path), "%s/manifest.sig", dir) >= (int)sizeof(path))
		return err_set(err, -ENAMETOOLONG, "%.100s...: the name is too long", dir);
	return file_write(path, signature, sizeof(signature), 0644, err);
}
