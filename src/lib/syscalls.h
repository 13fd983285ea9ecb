#pragma once
/* The system calls of a confined process: private to sandbox.c. */
#include "lib/sandbox.h"

/* Loads the filter for all threads to come. -ENOSYS: this kernel has no seccomp filters. */
int syscalls_restrict(enum sandbox_violation violation, bool offline, const char *const *calls, struct err *err) must_use;
