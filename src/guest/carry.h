#pragma once
/*
 * Files that live on in the guests that come after this one: when one of them is not what it was at the start it is copied to
 * where the host finds it, whole or not at all. Which ones, and where to, says a file that the seed brought; without it there are
 * none.
 */
#include "guest/conf.h"

/* Reads that list and looks how the files are now. What is wrong with it is told; nothing is carried then. */
void carry_start(const char *list);

/* Once a second: saves what was changed since, and tells (AGENT_CARRIED). */
void carry_look(void);

/* That it is changed is no evidence; nor are what editors and account tools lay beside it: its name and '-', '+', '~' or '.'. */
bool carry_has(const char *path);
