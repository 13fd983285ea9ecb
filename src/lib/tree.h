#pragma once
/* Opening what a hostile guest has laid out: below a folder only, no links, nothing but plain files and folders. */
#include "lib/err.h"

#include <sys/types.h>

/* The folder that the configuration names; links in its own path are the owner's business. A descriptor, or -errno. */
int tree_open(const char *path, struct err *err) must_use;

/* A plain file for reading, and never one that blocks (pipe) or does something when it is opened (device). A descriptor, or
 * -errno: -ELOOP, -EXDEV and -EINVAL for what is no plain file below `tree`. */
int tree_file(int tree, const char *relative, struct err *err) must_use;

/* A folder below `tree` ("": itself) for reading and watching. A descriptor, or -errno. */
int tree_folder(int tree, const char *relative, struct err *err) must_use;
