#pragma once
/*
 * One supervisor per run_dir: a file held by flock, with our pid and those of our children inside. Whoever comes after a
 * killed supervisor waits for the children named there, so that there are never two sets of them.
 */
#include "conf/conf.h"

#include <sys/types.h>

struct lock {
	int fd; /* -1: not held */
	char path[CONF_PATH_MAX + 32];
};

struct lock_process {
	pid_t pid;
	uint64_t born; /* start time as the kernel counts it: tells a process from a later one of the same number */
};

/* Takes the lock. -EBUSY with the holder's pid in the sentence when another one has it for longer than half a second. */
int lock_take(struct lock *lock, const char *run_dir, struct err *err) must_use;

/* Waits until the children of an earlier supervisor have ended by themselves, kills those that do not. Before lock_note. */
int lock_await_leftovers(const struct lock *lock, struct err *err) must_use;

/* Writes our pid and `children` into the file. */
void lock_note(const struct lock *lock, const struct lock_process *children, size_t n_children);

/* Lets go and leaves the file: those who are named in it live on, and the next one must find them. */
void lock_abandon(struct lock *lock);

/* Removes the file and lets go. Accepts one that is not held. */
void lock_release(struct lock *lock);

/* The kernel's start time of a process; 0 when there is none. */
uint64_t process_born(pid_t pid);
