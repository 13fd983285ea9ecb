#pragma once
/* The connection to libvirt: its loop, its opening in the background, its events as notices. */
#include "act/vm/vm.h"

/* Starts libvirt's event loop (once in a process, for ever) and a thread that opens `vm->uri`, again and again with pauses until
 * it works (a daemon; the embedded driver ends the process instead, which then begins anew), then sweeps what earlier lives left
 * behind and sets vm->conn. Wakes the outbox when it is open. */
int session_start(struct vm *vm, struct err *err) must_use;

/* The same on the calling thread, one try. For tests and the accelerator's proof. */
int session_open(struct vm *vm, struct err *err) must_use;

/* What qemu.conf of the embedded libvirt says. New text, caller frees. */
char *session_qemu_conf(void);
