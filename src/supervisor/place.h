#pragma once
/* What must be there before anything is started: rights, programs, folders, the lock, the API's socket. */
#include "lib/user.h"
#include "supervisor/lock.h"
#include "supervisor/settings.h"

#include <sys/un.h>

#define PLACE_UNPROVEN_MAX 512

struct place {
	struct lock lock;
	int api;       /* listening; stays open over all restarts of the engine */
	int tarpit[2]; /* listening, IPv4 and IPv6, where koboshi-net sends what guests ask where nobody is; -1: could not be had
	                */
	char run_dir[CONF_PATH_MAX];
	char socket[sizeof(((struct sockaddr_un *)0)->sun_path)];
	struct user engine;
	bool engine_is_us;                 /* the engine's user does not exist in this user namespace */
	char unproven[PLACE_UNPROVEN_MAX]; /* sentences, one a line: protections that this machine does not give.
	                                      The engine finds them in its environment as KOBOSHI_UNPROVEN */
};

/* Checks and makes everything. On failure what was made of lock and socket is removed again; the sentence says what to do. */
int place_take(struct place *place, const struct settings *settings, const char *libexec, struct err *err) must_use;

/* Adds a sentence to `unproven`. */
void place_unproven(struct place *place, const char *sentence);

/* Removes socket and lock. Guests, folders and what is in them stay. */
void place_leave(struct place *place);
