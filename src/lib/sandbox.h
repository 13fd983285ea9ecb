#pragma once
/*
 * Confining the engine to what it needs once it has opened what it was given: its user, no capabilities, no_new_privs,
 * Landlock (which files, which TCP ports), seccomp (which system calls). Part of `sandbox_dep`.
 *
 * Whatever the kernel is too old for is left out and told in the report, because a device with less confinement is
 * better than one without its supervisor; what should have worked and did not is an error.
 */
#include "lib/err.h"
#include "lib/user.h"

#include <stdbool.h>
#include <stdint.h>

#define SANDBOX_PATHS_MAX 16
#define SANDBOX_PORTS_MAX 16
#define SANDBOX_LINES_MAX 8

struct sandbox_path {
	const char *path; /* a folder (with all below it) or a file; does not exist: not allowed and not reported. Name the folder
	                     when the file may be replaced by renaming: the rule holds on to what it found */
	bool write;       /* also create, change, rename and remove below it; never execute */
};

/* What happens on a system call that is not in the list. The calls that only an attacker makes (execve, ptrace, mount,
 * bpf, namespaces, modules, other processes' memory) end the process in either case. */
enum sandbox_violation {
	SANDBOX_DENY, /* fails with EPERM, is logged by the kernel's audit: a library's rare call must not take down protection */
	SANDBOX_KILL, /* ends the process: for tests, so that a call missing in the list cannot hide behind a fallback */
};

struct sandbox {
	const struct user *user; /* NULL: stay what koboshid made us; being root then is reported */
	struct sandbox_path paths[SANDBOX_PATHS_MAX];
	size_t n_paths;
	bool limit_connect; /* TCP connect to `connect_ports` only (needs kernel 6.7), bind to port 0 only */
	uint16_t connect_ports[SANDBOX_PORTS_MAX]; /* host order */
	size_t n_connect_ports;
	bool offline; /* no call that has to do with sockets, those that are open included */
	enum sandbox_violation violation;
	const char *const *calls; /* ended by NULL: these system calls and no others; NULL: what an engine needs */
};

struct sandbox_report { /* what could not be had here, one sentence each; for the status' "unproven" list */
	char lines[SANDBOX_LINES_MAX][160];
	size_t n_lines;
};

/* For the whole process and for good. Call before the first thread is started (libuv's pool included) and after every
 * library is loaded: executable memory cannot be made afterwards. */
int sandbox_apply(const struct sandbox *wanted, struct sandbox_report *ret_report, struct err *err) must_use;
