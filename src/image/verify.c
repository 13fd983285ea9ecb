/*
 * Are the files those that the manifest names? (Whether the manifest is what was signed: open.c.) Files are opened without
 * following links, their size is compared before anything is hashed, and each way to fail has its own sentence. What is changed
 * between this check and the guest's start is not seen: the folder must belong to root.
 */
#include "image/image.h"
#include "image/key.h"
#include "lib/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define CHUNK_SIZE (1u << 20)

struct check {
	const struct image *image;
	const char *dir;
	uint8_t *chunk;
	void (*progress)(void *, uint64_t, uint64_t);
	void *arg;
	uint64_t done, total;
	struct err *err;
};

static int refuse(const struct check *check, const struct image_file *file, const char *why)
{
	return err_set(check->err, -EBADMSG,
	               "%s/%s: %s: the image was changed or damaged; rebuild it with koboshi-image build %s", check->dir,
	               file->name, why, check->image->variant);
}

static int unreadable(const struct check *check, const struct image_file *file, int error)
{
	if (error == ENOENT)
		return refuse(check, file, "is not there, though the signed manifest names it");
	if (error == ELOOP)
		return refuse(check, file, "is a symbolic link, not the file itself");
	return err_set(check->err, -error, "%s/%s: cannot read it: %s", check->dir, file->name, strerror(error));
}

static int size_check(const struct check *check, const struct image_file *file, int fd)
{
	struct stat status;
	if (fstat(fd, &status) < 0)
		return unreadable(check, file, errno);
	if (!S_ISREG(status.st_mode))
		return refuse(check, file, "is no regular file");
	if ((uint64_t)status.st_size > file->size)
		return refuse(check, file, "is longer than the signed manifest says");
	if ((uint64_t)status.st_size < file->size)
		return refuse(check, file, "is shorter than the signed manifest says");
	return 0;
}

/* Reads to the end, but never more than one chunk beyond the size: a file that grows under our hands ends the loop. */
static int file_hash(struct check *check, const struct image_file *file, int fd, uint8_t ret_digest[static IMAGE_SHA256])
{
	auto_digest EVP_MD_CTX *context = EVP_MD_CTX_new();
	if (!context || EVP_DigestInit_ex(context, EVP_sha256(), NULL) != 1)
		abort();
	for (uint64_t seen = 0; seen <= file->size;) {
		ssize_t got = read(fd, check->chunk, CHUNK_SIZE);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return unreadable(check, file, errno);
		if (got == 0)
			break;
		if (EVP_DigestUpdate(context, check->chunk, (size_t)got) != 1)
			abort();
		seen += (uint64_t)got;
		check->done += (uint64_t)got;
		if (check->progress)
			check->progress(check->arg, check->done, check->total);
	}
	if (EVP_DigestFinal_ex(context, ret_digest, NULL) != 1)
		abort();
	return 0;
}

static int file_check(struct check *check, int dir, const struct image_file *file)
{
	uint8_t digest[IMAGE_SHA256];
	/* Non-blocking: a FIFO that somebody put here must not hold us. */
	auto_close int fd = openat(dir, file->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return unreadable(check, file, errno);
	int r = size_check(check, file, fd);
	if (r == 0)
		r = file_hash(check, file, fd, digest);
	if (r == 0 && memcmp(digest, file->sha256, sizeof(digest)) != 0)
		return refuse(check, file, "its SHA-256 differs from the signed manifest");
	return r;
}

int image_verify(const struct image *image, const char *dir, void (*progress)(void *, uint64_t, uint64_t), void *arg,
                 struct err *err)
{
	auto_close int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_set(err, -errno, "%s: cannot open the folder: %s", dir, strerror(errno));
	auto_free uint8_t *chunk = malloc(CHUNK_SIZE);
	if (!chunk)
		abort();
	struct check check = {.image = image, .dir = dir, .chunk = chunk, .progress = progress, .arg = arg, .err = err};
	for (size_t i = 0; i < image->n_files; i++)
		check.total += image->files[i].size;
	for (size_t i = 0; i < image->n_files; i++) {
		int r = file_check(&check, fd, &image->files[i]);
		if (r < 0)
			return r;
	}
	return 0;
}
