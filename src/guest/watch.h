#pragma once
/* Changes to files in the places that the image names, and to what says who may log in. All of it is told, none prevented. */
#include "guest/conf.h"

#define WATCH_FOLDERS 256

/* Begins to watch. Returns a descriptor that becomes readable when something changed. `conf` stays the caller's. */
int watch_start(const struct conf *conf, struct err *err) must_use;

/* Reads and tells what changed. */
void watch_take(void);

/* Something was mounted: if it hides a watched place, that is a change too. */
void watch_mounts(void);
