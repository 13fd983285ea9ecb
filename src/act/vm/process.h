#pragma once
/* A guest's QEMU process, found without libvirt: for its processor share and for ending it when libvirt cannot. */
#include "act/vm/vm.h"

/* The process of an instance, 0 when there is none. Only under embed; looks at command lines, believes no pid file. What was
 * found is remembered as long as that very process lives, so asking again is cheap. Any thread may call. */
pid_t process_find(const struct vm *vm, uint32_t number);

/* The QEMU whose command line names `file`, 0 when there is none. */
pid_t process_with(const char *file);

struct process_sight {
	uint64_t born; /* the kernel's time of its birth: the number alone may be a stranger's by now */
	uint64_t cpu_us;
};

/* False when it has ended, be it waited for or not. */
bool process_look(pid_t pid, struct process_sight *ret_sight);

/* A descriptor that becomes readable when the process has ended, -1 when it is gone already. */
int process_open(pid_t pid);

/* Waits until the process has ended, at most `wait_ms`. True: ended. */
bool process_wait(int pidfd, int wait_ms);

/* SIGKILL; a descriptor cannot hit a stranger that got the same number. */
void process_kill(int pidfd);
