#pragma once
/* Running restic, the backup engine. Blocking: only jobs call it. */
#include "lib/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct restic {
	const char *repository;  /* as restic names one */
	const char *credentials; /* file of NAME=VALUE; "": none */
	const char *password;    /* file */
	const char *cache;       /* folder */
	const char *staging;     /* folder that it restores to */
	int64_t until_us;        /* CLOCK_MONOTONIC: it is ended then */
};

/* A line of its output, without the end; false: that is enough, or too much. `err` is for the reason. */
typedef int restic_line(void *arg, const char *line, struct err *err);

#define RESTIC_ARGUMENTS_MAX 1024

/* `argv` begins behind the program's name and ends with NULL. `line` (NULL: nobody) gets what it prints. 0; 3: done, but some
 * files could not be read (they may have gone meanwhile); -ENXIO: there is no repository; -EBUSY: it is locked; -EIO with
 * restic's own words; -ETIMEDOUT; -ENOENT: there is no restic; or what `line` said. restic ends with us, however we end. */
int restic_run(const struct restic *restic, const char *folder, const char *const *argv, restic_line *line, void *arg,
               struct err *err) must_use;
