#pragma once
/*
 * Keeping only the named capabilities, for actuators that stay root in name (they own /dev/net/tun, root's files) and
 * for the engine, which keeps none. Part of `sandbox_dep`, because it needs libcap-ng.
 */
#include "lib/err.h"

/* Afterwards permitted, effective and bounding set hold exactly `capabilities` (CAP_...), inheritable and ambient are
 * empty and no_new_privs is set; all of it is read back. Call before any thread is started.
 * A bounding set that cannot be reduced (no CAP_SETPCAP) is an error unless it is within `capabilities` already or none
 * is to be kept: with no capabilities and no_new_privs it can give nothing back. */
int privileges_keep(const int *capabilities, size_t n_capabilities, struct err *err) must_use;
