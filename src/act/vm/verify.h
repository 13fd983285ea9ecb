#pragma once
/*
 * Which images were hashed already, so that the second guest of an unchanged image does not read hundreds of megabytes again.
 * Kept in this process's memory only: a new process trusts nothing that an old one wrote down.
 */
#include "image/image.h"

#include <pthread.h>
#include <sys/types.h>
#include <time.h>

#define VERIFY_IMAGES_MAX 256

struct verify_file {
	dev_t device;
	ino_t inode;
	off_t size;
	struct timespec changed, modified;
};

struct verify_entry {
	uint8_t manifest[IMAGE_SHA256];
	size_t n_files;
	struct verify_file files[IMAGE_FILES_MAX];
};

struct verify {
	pthread_mutex_t lock; /* held while hashing: one image at a time is enough load */
	struct verify_entry entries[VERIFY_IMAGES_MAX];
	size_t n_entries, oldest;
};

void verify_init(struct verify *verify);
void verify_done(struct verify *verify);

/* image_verify(), unless these very files were verified before and have not been touched since. Blocking. */
int verify_image(struct verify *verify, const struct image *image, const char *dir, struct err *err) must_use;
