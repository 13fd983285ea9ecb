#pragma once
/*
 * Becoming another user for good. Names are looked up in /etc/passwd only (no name service is loaded: koboshid is linked
 * statically and must start when the network is down); a user from elsewhere is given by number.
 */
#include "lib/err.h"

#include <stdbool.h>
#include <sys/types.h>

struct user {
	uid_t uid;
	gid_t gid;
};

/* `name` is a name of /etc/passwd or a decimal number (its group: the one of passwd, else the same number). -ENOENT: no such
 * user. */
int user_find(const char *name, struct user *ret_user, struct err *err) must_use;

/* False when this user namespace has no such user or group, or refuses to drop groups: becoming it cannot work here. */
bool user_is_mapped(const struct user *user);

/* Drops supplementary groups, group and user, and checks that it happened and that there is no way back.
 * Does nothing but check when the process is that user already. */
int user_become(const struct user *user, struct err *err) must_use;
