#pragma once
/*
 * The seal: no program in memory for whatever runs after it. A filter (seccomp) that every child inherits and nobody can take off
 * answers memfd_create() as a kernel that does not have it, in all of a processor's system call tables. Meant for process 1: what
 * a kernel does not ask about before it runs, and before Linux 6.3 has no switch against, cannot be made in the first place.
 */
#include "lib/err.h"

/* 0, or why this kernel has no such filter. */
int seal_set(struct err *err) must_use;
