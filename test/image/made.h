#pragma once
/* A tiny signed image in a folder of its own, with its keys beside it, made fresh for each test. */
#include "image/image.h"

#include <jansson.h>
#include <limits.h>

struct made {
	char base[64]; /* removed with everything in it */
	char dir[PATH_MAX], key[PATH_MAX], pub[PATH_MAX], other_key[PATH_MAX], other_pub[PATH_MAX];
};

void made_new(struct made *made);
void made_remove(const struct made *made);

/* A good manifest for files vmlinuz, initrd and root.erofs with the bytes that made_new wrote. The caller owns it. */
json_t *made_manifest(void);

/* Writes and signs with made->key. */
void made_put(const struct made *made, const json_t *manifest);

void made_path(const struct made *made, const char *file, char ret_path[static PATH_MAX]);
void made_write(const char *path, const void *bytes, size_t size);

/* Flips one bit of the byte at `offset` (from the end when negative). */
void made_flip(const char *path, long offset);
