#pragma once
/*
 * What a file is that somebody wants to run: its identity, whether it is the image's own, its hash, and a cache of hashes that
 * cannot be kept stale. All by descriptor: a path may mean another file a moment later.
 *
 * Why the cache can be trusted. An entry is made while nobody has the file open for writing (we hold a read lease while hashing
 * and putting in), and goes when the kernel tells that a writer closed it or that it was changed (an inode mark in the group
 * that asks us about programs: the notice stands in the same queue before the next question). Times and sizes are
 * compared as well, but alone they would not do: a shared mapping changes a tmpfs file without touching them.
 */
#include "guest/list.h"

#include <stdbool.h>
#include <stdint.h>

#define FILE_CACHED 512

struct file_id {
	dev_t device;
	ino_t inode;
	int64_t size;
	struct timespec changed, modified;
};

enum file_kind { FILE_PLAIN, FILE_OTHER /* no regular file */, FILE_DELETED, FILE_MEMORY };

/* Fills the identity of an open file. */
enum file_kind file_identify(int fd, struct file_id *ret_id);

/* Learns where `/` is and whether it can be trusted: an overlay whose lower layer is on another, read-only file system.
 * False: it cannot, and everything is hashed. */
bool file_trust_root(void);

/* An unchanged file of the read-only layer below `/`, which the image's signature covers. False is never wrong. */
bool file_trusted(int fd);

/* The cache. `fan` is the group that is marked. Find is quick; any thread may call. */
bool file_cache_find(const struct file_id *id, struct list_found *ret_found);
void file_cache_forget(int fd); /* this file was changed */
void file_cache_clear(void);

/* Hashes the file, looks it up and caches what was found if that is safe. `learn`: an unlisted one is put on the list.
 * Slow: for worker threads only. False: it cannot be read. */
bool file_judge(int fan, int fd, bool learn, const char *path, struct list_found *ret_found);
