/* Makes the tiny image; see made.h. Any failure here is the test's own, so it aborts. */
#include "made.h"
#include "lib/bytes.h"

#include <assert.h>
#include <ftw.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static const char *const file_names[] = {"vmlinuz", "initrd", "root.erofs"};
#define FILE_SIZE 5000

static void file_bytes(size_t index, uint8_t bytes[static FILE_SIZE])
{
	for (size_t i = 0; i < FILE_SIZE; i++)
		bytes[i] = (uint8_t)(i * 7 + index);
}

void made_path(const struct made *made, const char *file, char ret_path[static PATH_MAX])
{
	assert(snprintf(ret_path, PATH_MAX, "%s/%s", made->dir, file) < PATH_MAX);
}

void made_write(const char *path, const void *bytes, size_t size)
{
	struct err err;
	if (file_write(path, bytes, size, 0644, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		abort();
	}
}

void made_flip(const char *path, long offset)
{
	FILE *file = fopen(path, "r+b");
	assert(file);
	assert(fseek(file, offset, offset < 0 ? SEEK_END : SEEK_SET) == 0);
	int byte = fgetc(file);
	assert(byte != EOF);
	assert(fseek(file, -1, SEEK_CUR) == 0);
	assert(fputc(byte ^ 1, file) != EOF);
	assert(fclose(file) == 0);
}

static void key_make(const char *private, const char *public)
{
	EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	FILE *to = fopen(private, "w");
	assert(key && to && PEM_write_PrivateKey(to, key, NULL, NULL, 0, NULL, NULL) == 1);
	fclose(to);
	to = fopen(public, "w");
	assert(to && PEM_write_PUBKEY(to, key) == 1);
	fclose(to);
	EVP_PKEY_free(key);
}

static json_t *files_json(void)
{
	json_t *files = json_array();
	for (size_t i = 0; i < countof(file_names); i++) {
		uint8_t bytes[FILE_SIZE], digest[IMAGE_SHA256];
		char hex[2 * IMAGE_SHA256 + 1];
		file_bytes(i, bytes);
		assert(EVP_Digest(bytes, sizeof(bytes), digest, NULL, EVP_sha256(), NULL) == 1);
		bytes_to_hex(digest, sizeof(digest), hex);
		json_array_append_new(files, json_pack("{ss, si, ss}", "name", file_names[i], "size", FILE_SIZE, "sha256", hex));
	}
	return files;
}

json_t *made_manifest(void)
{
	static const char zeros[] = "0000000000000000000000000000000000000000000000000000000000000000";
	json_t *manifest =
	        json_pack("{si, ss, ss, ss, ss, ss, s[s], s[{ssssss}{ssssss}{ssssss}{ssssss}], s[{ssss}{ssss}{ssss}], so}",
	                  "format", 1, "variant", "birch", "summary", "a tiny image", "built", "2026-01-02T03:04:05Z", "suite",
	                  "trixie", "recipe_sha256", zeros, "fallbacks", "kernel 6.12 instead of 6.13", //
	                  "components", "layer", "kernel", "name", "linux", "version", "6.12.1",        //
	                  "layer", "libc", "name", "glibc", "version", "2.41",                          //
	                  "layer", "server", "name", "lighttpd", "version", "1.4.79",                   //
	                  "layer", "runtime", "name", "php", "version", "8.4.28",                       //
	                  "packages", "name", "zlib1g", "version", "1:1.3", "name", "libc6", "version", "2.41", "name",
	                  "lighttpd", "version", "1.4.79", "files", files_json());
	assert(manifest);
	json_object_set_new(manifest, "content", json_pack("[{ssssss}]", "path", "/", "type", "text/html", "sha256", zeros));
	json_object_set_new(manifest, "boot", json_pack("{sssisi}", "cmdline", "console=ttyS0", "memory_mib", 192, "cpus", 1));
	json_object_set_new(manifest, "service", json_pack("{s[s]}", "ports", "80/tcp"));
	return manifest;
}

void made_put(const struct made *made, const json_t *manifest)
{
	char path[PATH_MAX];
	struct err err;
	char *text = json_dumps(manifest, JSON_INDENT(1));
	assert(text);
	made_path(made, "manifest.json", path);
	made_write(path, text, strlen(text));
	free(text);
	if (image_sign(made->dir, made->key, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		abort();
	}
}

void made_new(struct made *made)
{
	memset(made, 0, sizeof(*made));
	strcpy(made->base, "/tmp/koboshi-image-XXXXXX");
	assert(mkdtemp(made->base));
	snprintf(made->dir, sizeof(made->dir), "%s/birch", made->base);
	snprintf(made->key, sizeof(made->key), "%s/key", made->base);
	snprintf(made->pub, sizeof(made->pub), "%s/pub", made->base);
	snprintf(made->other_key, sizeof(made->other_key), "%s/other-key", made->base);
	snprintf(made->other_pub, sizeof(made->other_pub), "%s/other-pub", made->base);
	assert(mkdir(made->dir, 0755) == 0);
	key_make(made->key, made->pub);
	key_make(made->other_key, made->other_pub);
	for (size_t i = 0; i < countof(file_names); i++) {
		uint8_t bytes[FILE_SIZE];
		char path[PATH_MAX];
		file_bytes(i, bytes);
		made_path(made, file_names[i], path);
		made_write(path, bytes, sizeof(bytes));
	}
	json_auto_t *manifest = made_manifest();
	made_put(made, manifest);
}

static int remove_one(const char *path, unused_arg const struct stat *status, unused_arg int type, unused_arg struct FTW *walk)
{
	return remove(path);
}

void made_remove(const struct made *made)
{
	nftw(made->base, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}
