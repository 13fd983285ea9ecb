#pragma once
/* Software emulation or KVM: decided by whether a guest has really booted, never by the presence of /dev/kvm. */
#include "act/vm/vm.h"

/* True: use KVM. With accel=auto only when a proof on this machine with this kernel is recorded. Reads one small file. */
bool accel_choose(const struct conf *conf);

/* Boots the first image that can be opened under KVM and waits until its console says that it is ready, 20 s at most; records
 * what came of it in <state_dir>/accel. 0 when it booted. A proof that is interrupted (SIGTERM, SIGINT: -EINTR) or that did not
 * come to a guest proves nothing and records nothing; what a killed one left running is ended by the next. Blocking; in a process
 * of its own (`koboshi-vm --prove-kvm`) with a libvirt folder of its own, so that a hang hurts nobody. */
int accel_prove(const struct conf *conf, struct err *err) must_use;
