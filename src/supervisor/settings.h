#pragma once
/* What the supervisor needs of the configuration: three words, two addresses and two times yes or no. */
#include "conf/conf.h"
#include "lib/user.h"

struct settings {
	char run_dir[CONF_PATH_MAX];
	char state_dir[CONF_PATH_MAX];
	char user[CONF_NAME_MAX];
	struct in_addr gateway4; /* the host, as guests see it */
	struct in6_addr gateway6;
	bool files; /* there are folders to watch */
	bool vault; /* a service has one */
};

/* Loads FILE in a short-lived process, so that neither the parser's memory nor its faults stay in the one process that
 * must never fall. Takes milliseconds, and a few seconds at most. That process becomes `as` before it looks (NULL: stays what we
 * are): what comes back then is for judging the file by, not for building on. */
int settings_load(const char *path, const struct user *as, struct settings *ret_settings, struct err *err) must_use;
