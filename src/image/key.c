/* Keys come as PEM files, so that `openssl genpkey -algorithm ed25519` is all that an operator needs to make one. */
#include "image/key.h"
#include "lib/bytes.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/pem.h>
#include <stdlib.h>

#define KEY_FILE_MAX 16384

/* A daemon must not ask the terminal for a pass phrase. */
static int no_password(unused_arg char *buffer, unused_arg int size, unused_arg int writing, unused_arg void *arg)
{
	return -1;
}

int image_key_private(const char *path, EVP_PKEY **ret_key, struct err *err)
{
	auto_free uint8_t *bytes = NULL;
	size_t size;
	int r = file_read(path, KEY_FILE_MAX, &bytes, &size, err);
	if (r < 0)
		return err_prefix(err, "the image key");
	BIO *bio = BIO_new_mem_buf(bytes, (int)size);
	if (!bio)
		abort();
	EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
	BIO_free(bio);
	OPENSSL_cleanse(bytes, size);
	if (!key)
		return err_set(err, -EINVAL, "%s: is no private key in PEM without pass phrase", path);
	if (EVP_PKEY_get_id(key) != EVP_PKEY_ED25519) {
		EVP_PKEY_free(key);
		return err_set(err, -EINVAL, "%s: is a key of another kind: Ed25519 is needed", path);
	}
	*ret_key = key;
	return 0;
}
