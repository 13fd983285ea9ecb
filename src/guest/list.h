#pragma once
/*
 * The programs that may run: a text file, one `HASH FLAGS SIZE PATH` a line, SHA-256 in hex. What counts is the hash;
 * the size spares us hashing what cannot be on it; the path tells people, names the language of an interpreter and finds the
 * inode of what is marked. FLAGS: `-`; `i`, an interpreter, which may read only listed scripts; `l`, a dynamic loader, which
 * nobody may call by hand.
 *
 * Any thread may ask; a list that is being learned grows under a lock.
 */
#include "lib/err.h"
#include "wire/agent.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#define LIST_PROGRAMS 4096
#define LIST_MARKED 64

enum list_flag { LIST_LISTED = 1, LIST_INTERPRETER = 2, LIST_LOADER = 4 };

/* What is known about a program's content. `language` only of interpreters: an index of guest/script.h. */
struct list_found {
	uint8_t flags; /* 0: not listed */
	uint8_t language;
};

/* Reads the list; at most LIST_PROGRAMS. `ret_hash` is that of the whole file. -ENOENT when there is none. */
int list_read(const char *path, uint8_t ret_hash[static AGENT_HASH], struct err *err) must_use;

/* How many there are. */
unsigned list_count(void);

/* Whether a program of this size may be on the list. False is certain: it need not be hashed to know that it is not. */
bool list_size(int64_t size);

struct list_found list_find(const uint8_t hash[static AGENT_HASH]);

/* The marks of the file itself, for those that are not hashed because the root is trusted. LIST_LISTED is always set. */
struct list_found list_inode(dev_t device, ino_t inode);

/* Learning: adds one program; false when there is no room. Then writes all to `path`, or says why not. */
bool list_learn(const uint8_t hash[static AGENT_HASH], int64_t size, const char *path);
int list_write(const char *path, struct err *err) must_use;
