#pragma once
/*
 * What the threads of koboshi-vm share. The configuration never changes while the process lives (the supervisor starts a new
 * one); `conn` appears once, when libvirt has been opened, and stays. libvirt locks its objects itself.
 */
#include "act/vm/outbox.h"
#include "act/vm/verify.h"
#include "conf/conf.h"
#include "wire/order.h"

#include <libvirt/libvirt.h>
#include <stdatomic.h>

#define VM_PATH_MAX 256

enum vm_accelerator { VM_ACCELERATOR_UNKNOWN, VM_ACCELERATOR_EMULATION, VM_ACCELERATOR_KVM }; /* as in wire_note */

struct vm {
	struct conf conf;
	char uri[VM_PATH_MAX + 32];
	char root[VM_PATH_MAX];     /* of the embedded libvirt: <run_dir>/vm */
	char guests[VM_PATH_MAX];   /* <run_dir>/guest */
	char evidence[VM_PATH_MAX]; /* <state_dir>/evidence */
	bool embed;                 /* we are the only user of this libvirt: its qemu.conf, pid files, processes are ours */
	bool test;                  /* libvirt's test driver: no folders' machines, no processes */
	_Atomic(virConnectPtr) conn;
	_Atomic int64_t opening_us; /* since when libvirt is being opened; 0: it is not */
	_Atomic int accelerator;    /* enum vm_accelerator */
	struct outbox *outbox;
	struct verify verify;
	pthread_mutex_t evidence_lock; /* one evidence at a time: the total bound is checked before writing */
	pthread_mutex_t valid_lock;    /* the lists of valid secrets are made by one at a time */
	pthread_mutex_t sweep_lock;    /* see session_swept */
};

/* Computes paths and checks their lengths. `vm` is zeroed first; `conf` is copied; `outbox` stays the caller's. */
int vm_init(struct vm *vm, const struct conf *conf, struct outbox *outbox, struct err *err) must_use;
void vm_done(struct vm *vm);

/* The domain of an instance: caller frees with virDomainFree. -ENOENT when there is none, -EAGAIN when libvirt is not open. */
int vm_domain(struct vm *vm, const struct conf_instance *instance, virDomainPtr *ret_domain, struct err *err) must_use;

/* How libvirt sees a domain. A domain that vanished under our hands is WIRE_GUEST_ABSENT. */
enum wire_guest vm_domain_state(virDomainPtr domain);

/* libvirt's last error of this thread as ours; `what` is what was being done. */
int vm_libvirt_error(struct err *err, const char *what);
