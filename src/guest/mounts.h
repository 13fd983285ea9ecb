#pragma once
/* What is mounted: /proc/self/mountinfo, and whether it changed. */
#include "lib/err.h"

#include <stdbool.h>

/* A descriptor that polls as EPOLLPRI when mounts change. */
int mounts_open(struct err *err) must_use;

/* Calls `with` for each mount that programs can be started from. `opens`: leaves out devices' file system, whose files must
 * not be opened on the way to an answer. */
void mounts_each(void (*with)(const char *path), bool opens);
