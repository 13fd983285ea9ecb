#pragma once
/*
 * What belongs to koboshi on this host, and how it is: programs, configuration, the key that images are checked with, units. A
 * file is its bytes, its mode and its owner; one that is not there is a state too.
 */
#include "conf/conf.h"

#include <limits.h>
#include <sys/types.h>

#define OWN_MAX 96
#define OWN_SHA256 32

enum own_kind {
	OWN_PROGRAM,
	OWN_CONFIG, /* and what it names: a reload takes a new one */
	OWN_UNIT,
	OWN_KIND_MAX_
};

struct own_file {
	char path[PATH_MAX / 8];
	enum own_kind kind;
	bool listed; /* found in a folder of ours, not by name: others may come */
	int error;   /* errno; ENOENT: not there; 0: what follows is known */
	mode_t mode; /* with the type */
	uid_t uid;
	gid_t gid;
	uint8_t sha256[OWN_SHA256];
};

struct own {
	struct own_file files[OWN_MAX];
	size_t n;
	bool crowded; /* there were more */
};

/* Where koboshi's own are; folders without a slash at the end. */
struct own_places {
	const char *koboshid, *libexec, *config; /* "": unknown */
	const struct conf *conf;
	const char *root; /* before the units' folders: for tests; else "" */
};

void own_look(const struct own_places *places, struct own *ret_own);
const struct own_file *own_find(const struct own *own, const char *path);

/* False and nothing said when both are the same; else what changed, in words: "has another content, belongs to 33:33 (it was
 * 0:0)". */
bool own_differ(const struct own_file *was, const struct own_file *is, char *ret_text, size_t size);
