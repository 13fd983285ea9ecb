/*
 * "The same file" means same device, inode, size, and both change times. The inode's change time cannot be set back by
 * anyone but a root that also steps the clock.
 *
 * What this does not cover: QEMU opens the files by name after we have hashed them. Whoever can write the image folder between
 * the two can give a guest other bytes; that takes root on the host, which we rely on (DESIGN.md section 6). Guests get
 * the files read-only.
 */
#include "act/vm/verify.h"

#include "act/vm/cap.h"
#include "lib/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

void verify_init(struct verify *verify)
{
	memset(verify, 0, sizeof(*verify));
	pthread_mutex_init(&verify->lock, NULL);
}

void verify_done(struct verify *verify)
{
	pthread_mutex_destroy(&verify->lock);
}

static int entry_read(const struct image *image, const char *dir, struct verify_entry *ret_entry, struct err *err)
{
	memset(ret_entry, 0, sizeof(*ret_entry));
	memcpy(ret_entry->manifest, image->manifest_sha256, IMAGE_SHA256);
	ret_entry->n_files = image->n_files;
	for (size_t i = 0; i < image->n_files; i++) {
		char path[PATH_MAX];
		struct stat status;
		snprintf(path, sizeof(path), "%s/%s", dir, image->files[i].name);
		if (stat(path, &status) < 0)
			return err_set(err, -errno, "image %s: file '%s' cannot be looked at: %s", image->variant,
			               image->files[i].name, strerror(errno));
		ret_entry->files[i] =
		        (struct verify_file){status.st_dev, status.st_ino, status.st_size, status.st_ctim, status.st_mtim};
	}
	return 0;
}

static bool entry_known(const struct verify *verify, const struct verify_entry *entry)
{
	for (size_t i = 0; i < verify->n_entries; i++)
		if (memcmp(&verify->entries[i], entry, sizeof(*entry)) == 0)
			return true;
	return false;
}

static void entry_add(struct verify *verify, const struct verify_entry *entry)
{
	size_t at = verify->n_entries < VERIFY_IMAGES_MAX ? verify->n_entries++ : verify->oldest++ % VERIFY_IMAGES_MAX;
	verify->entries[at] = *entry;
}

int verify_image(struct verify *verify, const struct image *image, const char *dir, struct err *err)
{
	struct verify_entry before, after;
	pthread_mutex_lock(&verify->lock);
	int r = entry_read(image, dir, &before, err);
	if (r == 0 && !entry_known(verify, &before)) {
		cap_self(CAP_BEHIND); /* hashing stands behind the guests */
		r = image_verify(image, dir, NULL, NULL, err);
		cap_self(CAP_USUAL);
		if (r == 0)
			r = entry_read(image, dir, &after, err);
		if (r == 0 && memcmp(&before, &after, sizeof(before)) != 0)
			r = err_set(err, -ESTALE, "image %s: its files changed while they were verified; try again",
			            image->variant);
		if (r == 0)
			entry_add(verify, &after);
	}
	pthread_mutex_unlock(&verify->lock);
	return r;
}
