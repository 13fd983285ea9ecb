#pragma once
/*
 * What restic can read, beside its program. It walks the data by names, with all of root's rights, while a hostile guest
 * exchanges folders in it for links that lead out: what lies there would be in the backup, and with the next rollback in the
 * guest's hands. So by Landlock it reads the data, its own places and what any program on this host needs, and nothing else.
 */
#include "act/vault/restic.h"

/* For this process and what it becomes, for good. 0 too where the kernel has no such means (reach_is_limited()). */
int reach_limit(const struct restic *restic, const char *data, const char *const *environment) must_use;
bool reach_is_limited(void);
