#pragma once
/*
 * Reaching what lies below a folder into which a hostile guest writes while we look: step by step, never through a link, never
 * out of it. Paths are relative, without '..'.
 */
#include "lib/err.h"

#include <limits.h>
#include <stdbool.h>

/* The folder that holds `path`, and its last name in `ret_name` (points into `path`). A descriptor; -ENOENT, -ENOTDIR, -ELOOP or
 * -EINVAL. `make`: folders that are missing are made (0755). */
int below_parent(int root, const char *path, bool make, const char **ret_name);

/* Moves `from` in one root to `to` in the other, both on one file system. Folders of `to` are made. 0, -ENOENT when there is no
 * `from`, or -errno. What stood at `to` is at `from` afterwards: whoever reads sees the one or the other. */
int below_exchange(int from_root, const char *from, int to_root, const char *to);

/* The same, and nothing may stand at `to`: -EEXIST. */
int below_move(int from_root, const char *from, int to_root, const char *to);

/* Removes `path` with all that is in it. 0 also when there is none. */
int below_remove(int root, const char *path);

/* Two plain files of the same bytes, mode and owner. */
bool below_same(int a_root, const char *a, int b_root, const char *b);
