#pragma once
/* The connection to libvirt: its loop, its opening in the background, its events as notices. */
#include "act/vm/vm.h"

/* Starts libvirt's event loop (once in a process, for ever) and a thread that opens `vm->uri`, again and again with pauses until
 * it works (a daemon; the embedded driver ends the process instead, which then begins anew), then sets vm->conn, wakes the outbox
 * and sweeps what earlier lives left behind. */
int session_start(struct vm *vm, struct err *err) must_use;

/* libvirt has no deadline for being opened: a daemon may take a connection and never say a word. When that has gone on for too
 * long, tells the engine and ends the process, since nothing else takes a thread out of libvirt. Called about once a second. */
void session_judge(struct vm *vm, int64_t now_us);

/* Waits until the sweep is over: for orders that make or remove a guest's folder, of which the sweep would think otherwise. */
void session_swept(struct vm *vm);

/* The same on the calling thread, one try. For tests and the accelerator's proof. */
int session_open(struct vm *vm, struct err *err) must_use;

/* What qemu.conf of the embedded libvirt says. New text, caller frees. */
char *session_qemu_conf(void);
