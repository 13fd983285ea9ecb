#pragma once
/*
 * The processor share of a guest that boots: running guests must not feel it (a booting guest beside them raised the
 * others' slowest answers to 50-490 ms on two cores).
 */
#include "act/vm/vm.h"

/* Caps a guest that has not run yet, QEMU's later threads included. `others_run`: guests in service are there, so conf.boot_share
 * holds too. Never fails: an uncapped guest is better than none; `ret_how` says what was done. */
void cap_set(const struct vm *vm, uint32_t number, pid_t pid, bool others_run, char *ret_how, size_t size);

/* Back to a normal share. False when the process is gone or refused. */
bool cap_end(const struct vm *vm, uint32_t number, pid_t pid);

/* Removes what is left in the kernel of a guest that is gone. */
void cap_forget(const struct vm *vm, uint32_t number);

/* The same for all guests that are gone, after an earlier life of ours was killed. */
void cap_sweep(const struct vm *vm);

/* A capped guest must still get up on a machine that is busy otherwise: when it stood ready without a processor for most of
 * several looks in a row, it is lifted a step, from the idle class to a low priority and then to a less low one. Called about
 * once a second by one thread. */
void cap_rescue(const struct vm *vm, uint32_t number);

/* A guest that fell and is frozen: what its process still has to do (writing its memory) stands behind all others. There is no
 * way back. */
void cap_fallen(pid_t pid);

/* Where this thread stands, and whatever process it starts until it says CAP_USUAL again. Threads that were started in our
 * process meanwhile (by libvirt) are brought to the usual place then. */
enum cap_place {
	CAP_USUAL, /* where the process was started */
	CAP_LOW,   /* a new guest's process before its own cap: gets a tenth beside a busy thread, so that it ends in time */
	CAP_BEHIND /* hashing and the like */
};
void cap_self(enum cap_place place);
