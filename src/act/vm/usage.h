#pragma once
/*
 * What a guest uses, as counters that it cannot touch: its process's processor time, the bytes that it moves and its tap's
 * packets, from the kernel and not by libvirt, which may be waiting for that very guest.
 */
#include "act/vm/vm.h"

/* Tells the engine of one guest. Called about once a second by one thread; without a process there is nothing to tell. */
void usage_tell(struct vm *vm, uint32_t number);
