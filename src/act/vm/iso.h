#pragma once
/* A small ISO 9660 image in memory: one folder, a few files, a label. What a NoCloud seed needs and no more. */
#include <stddef.h>
#include <stdint.h>

#define ISO_FILES_MAX 8

struct iso_file {
	const char *name; /* at most 30 letters; stands in the image as it is */
	const void *bytes;
	size_t size; /* < 1 MiB */
};

/* New bytes, caller frees. `label` at most 32 letters. */
uint8_t *iso_build(const char *label, const struct iso_file *files, size_t n_files, size_t *ret_size);
