/*
 * A file of evidence once it is written: its sum, read back from what is on the disk, goes into SHA256SUMS beside it (for whoever
 * takes the folder along) and to the engine, whose ledger is out of reach of whoever can write here.
 */
#include "act/vm/evidence.h"

#include "act/vm/cap.h"
#include "lib/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#define READ_AT_ONCE (1u << 18)

static int hash_bytes(int fd, const char *path, int64_t end_us, EVP_MD_CTX *ctx, uint64_t *ret_bytes, struct err *err)
{
	auto_free uint8_t *buffer = malloc(READ_AT_ONCE);
	if (!buffer)
		abort();
	uint64_t bytes = 0;
	for (;;) {
		ssize_t got = read(fd, buffer, READ_AT_ONCE);
		if (got < 0)
			return err_set(err, -errno, "%s: cannot be read back: %s", path, strerror(errno));
		if (got == 0)
			break;
		if (clock_monotonic_us() > end_us)
			return err_set(err, -ETIMEDOUT, "%s: could not be hashed in time", path);
		if (EVP_DigestUpdate(ctx, buffer, (size_t)got) != 1)
			return err_set(err, -EIO, "%s: cannot be hashed", path);
		bytes += (uint64_t)got;
	}
	*ret_bytes = bytes;
	return 0;
}

static int hash_file(const char *path, int64_t end_us, struct wire_evidence *evidence, struct err *err)
{
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return err_set(err, -errno, "%s: cannot be read back: %s", path, strerror(errno));
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	if (!ctx)
		abort();
	unsigned size = 0;
	cap_self(CAP_BEHIND); /* hashing stands behind the guests */
	int r = EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1 ? hash_bytes(fd, path, end_us, ctx, &evidence->bytes, err)
	                                                        : err_set(err, -EIO, "%s: cannot be hashed", path);
	if (r == 0 && (EVP_DigestFinal_ex(ctx, evidence->sha256, &size) != 1 || size != WIRE_SHA256))
		r = err_set(err, -EIO, "%s: cannot be hashed", path);
	cap_self(CAP_USUAL);
	EVP_MD_CTX_free(ctx);
	return r;
}

/* SHA256SUMS with this file's line new and all others kept: another guest of the incident may have its files there. */
static int sums_add(const char *folder, const char *name, const uint8_t sha256[static WIRE_SHA256], struct err *err)
{
	char path[VM_PATH_MAX + 64], hex[2 * WIRE_SHA256 + 1], *text;
	auto_free uint8_t *old = NULL;
	size_t size, old_size;
	bytes_to_hex(sha256, WIRE_SHA256, hex);
	snprintf(path, sizeof(path), "%s/SHA256SUMS", folder);
	FILE *out = open_memstream(&text, &size);
	if (!out)
		abort();
	if (file_read(path, 64 << 10, &old, &old_size, NULL) == 0) {
		char *rest = (char *)old;
		for (char *line; (line = strsep(&rest, "\n"));)
			if (strlen(line) > 66 && strcmp(line + 66, name) != 0)
				fprintf(out, "%s\n", line);
	}
	fprintf(out, "%s  %s\n", hex, name);
	if (fclose(out) != 0)
		abort();
	int r = file_write(path, text, size, 0600, err);
	free(text);
	return r;
}

int evidence_keep(struct taking *t, const char *name, int64_t end_us, struct err *err)
{
	char path[VM_PATH_MAX + 24 + WIRE_FILE_MAX];
	struct wire_evidence evidence = {.incident = t->order->incident};
	snprintf(path, sizeof(path), "%s/%s", t->folder, name);
	int r = hash_file(path, end_us, &evidence, err);
	if (r == 0)
		r = sums_add(t->folder, name, evidence.sha256, err);
	if (r == 0)
		outbox_evidence_taken(t->vm->outbox, t->order->instance, &evidence, name);
	return r;
}
