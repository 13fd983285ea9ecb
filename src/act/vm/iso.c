/*
 * ISO 9660 (ECMA-119), the part that a seed needs: one volume, one folder that fits a sector, no extensions. Ours and not a
 * program's, because a seed is written each time a guest is built: no child process, no other program's options. Names stand
 * in lower case and without a version number, which the standard does not allow and every reader accepts (seed
 * builders for cloud images do the same).
 */
#include "act/vm/iso.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { SECTOR = 2048, SECTOR_VOLUME = 16, SECTOR_END, SECTOR_TABLE_L, SECTOR_TABLE_M, SECTOR_FOLDER, SECTOR_FILES };
/* Some readers of labels look at a disk's first and last 64 KiB for other kinds first and give up on one that has not so much. */
enum { SECTORS_MIN = 192 };
enum { RECORD_FIXED = 33, FLAG_FOLDER = 2 };

static void put16(uint8_t *to, uint16_t value)
{
	to[0] = to[3] = (uint8_t)value;
	to[1] = to[2] = (uint8_t)(value >> 8);
}

static void put32(uint8_t *to, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		to[i] = to[7 - i] = (uint8_t)(value >> (8 * i));
}

static void put_text(uint8_t *to, size_t size, const char *text)
{
	size_t length = strlen(text);
	assert(length <= size);
	memset(to, ' ', size);
	memcpy(to, text, length);
}

static uint32_t sectors(size_t size)
{
	return (uint32_t)((size + SECTOR - 1) / SECTOR);
}

/* One record of a folder; returns its length. */
static size_t put_record(uint8_t *to, const void *name, size_t length, uint32_t sector, uint32_t size, uint8_t flags)
{
	size_t total = RECORD_FIXED + length + (length % 2 == 0);
	to[0] = (uint8_t)total;
	put32(to + 2, sector);
	put32(to + 10, size);
	to[18] = 70; /* 1970-01-01: a seed has no time worth telling */
	to[19] = to[20] = 1;
	to[25] = flags;
	put16(to + 28, 1);
	to[32] = (uint8_t)length;
	memcpy(to + RECORD_FIXED, name, length);
	return total;
}

static void put_volume(uint8_t *to, const char *label, uint32_t total)
{
	to[0] = 1;
	memcpy(to + 1, "CD001\1", 6);
	put_text(to + 8, 32, "");
	put_text(to + 40, 32, label);
	put32(to + 80, total);
	put16(to + 120, 1);
	put16(to + 124, 1);
	put16(to + 128, SECTOR);
	put32(to + 132, 10); /* path table: one folder, ten bytes */
	to[140] = SECTOR_TABLE_L;
	to[151] = SECTOR_TABLE_M;
	put_record(to + 156, "", 1, SECTOR_FOLDER, SECTOR, FLAG_FOLDER);
	put_text(to + 190, 813 - 190, "");
	for (int i = 0; i < 4; i++) /* four times: not given */
		memset(to + 813 + 17 * i, '0', 16);
	to[881] = 1;
}

uint8_t *iso_build(const char *label, const struct iso_file *files, size_t n_files, size_t *ret_size)
{
	assert(n_files <= ISO_FILES_MAX);
	uint32_t total = SECTOR_FILES;
	for (size_t i = 0; i < n_files; i++) {
		assert(files[i].size < 1u << 20 && strlen(files[i].name) <= 30);
		total += sectors(files[i].size);
	}
	if (total < SECTORS_MIN)
		total = SECTORS_MIN;
	uint8_t *image = calloc(total, SECTOR);
	if (!image)
		abort();
	put_volume(image + SECTOR_VOLUME * SECTOR, label, total);
	memcpy(image + SECTOR_END * SECTOR, "\377CD001\1", 7);
	memcpy(image + SECTOR_TABLE_L * SECTOR, (uint8_t[]){1, 0, SECTOR_FOLDER, 0, 0, 0, 1, 0}, 8);
	memcpy(image + SECTOR_TABLE_M * SECTOR, (uint8_t[]){1, 0, 0, 0, 0, SECTOR_FOLDER, 0, 1}, 8);
	uint8_t *at = image + SECTOR_FOLDER * SECTOR;
	at += put_record(at, "\0", 1, SECTOR_FOLDER, SECTOR, FLAG_FOLDER);
	at += put_record(at, "\1", 1, SECTOR_FOLDER, SECTOR, FLAG_FOLDER);
	uint32_t sector = SECTOR_FILES;
	for (size_t i = 0; i < n_files; i++) { /* callers name them in rising order, as the standard asks */
		assert(i == 0 || strcmp(files[i - 1].name, files[i].name) < 0);
		at += put_record(at, files[i].name, strlen(files[i].name), sector, (uint32_t)files[i].size, 0);
		if (files[i].size > 0)
			memcpy(image + (size_t)sector * SECTOR, files[i].bytes, files[i].size);
		sector += sectors(files[i].size);
	}
	*ret_size = (size_t)total * SECTOR;
	return image;
}
