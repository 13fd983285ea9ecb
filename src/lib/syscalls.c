/*
 * Which system calls a confined process may make: what an engine built of libuv, SQLite, libmicrohttpd and jansson was seen
 * to need, plus what other C libraries and processors need for the same. One table with a reason for each group, so
 * that the question "why is this one allowed?" has an answer here.
 *
 * Not in it on purpose: new sockets of any family but IPv4 and IPv6 (links, API and NFLOG arrive as descriptors), new
 * processes, executable memory, links between files, clocks, other processes.
 */
#include "lib/syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <termios.h>

/* Names, not numbers: a call that this processor or this libseccomp does not have is skipped. */
static const struct {
	const char *why;
	const char *calls[32];
	bool network; /* not for those who are offline */
} allowed[] = {
        {"memory; mmap and mprotect are below", {"munmap", "mremap", "madvise", "brk", "msync"}},
        {"time and timers",
         {"clock_gettime", "clock_getres", "gettimeofday", "time", "nanosleep", "clock_nanosleep", "timerfd_create",
          "timerfd_settime", "timerfd_gettime", "clock_gettime64", "clock_nanosleep_time64", "timerfd_settime64"}},
        {"threads of libuv's pool and locks; clone is below",
         {"futex", "futex_time64", "set_robust_list", "get_robust_list", "rseq", "set_tid_address", "gettid", "sched_yield",
          "sched_getaffinity", "membarrier", "exit", "exit_group", "restart_syscall"}},
        {"signals to ourselves; tgkill is below",
         {"rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigpending", "rt_sigtimedwait", "sigaltstack", "sigreturn"}},
        {"the loop: libuv's epoll, libmicrohttpd's poll",
         {"epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll", "select", "pselect6",
          "eventfd2", "pipe2", "ppoll_time64", "pselect6_time64"}},
        {"descriptors; ioctl is below",
         {"read", "readv", "write", "writev", "close", "close_range", "dup", "dup2", "dup3", "fcntl", "fcntl64", "lseek",
          "_llseek"}},
        {"files, limited by Landlock to a few folders: the ledger's, and reading configuration, manifests, evidence",
         {"open",       "openat",     "stat",   "stat64",   "lstat",     "lstat64",    "fstat",    "fstat64",
          "newfstatat", "fstatat64",  "statx",  "access",   "faccessat", "faccessat2", "readlink", "readlinkat",
          "getcwd",     "getdents64", "statfs", "statfs64", "fstatfs",   "fstatfs64"}},
        {"the ledger: SQLite's journal, WAL and shared index",
         {"pread64",   "preadv", "pwrite64", "pwritev",  "fsync",     "fdatasync", "ftruncate", "ftruncate64",
          "fallocate", "flock",  "rename",   "renameat", "renameat2", "unlink",    "unlinkat",  "mkdir",
          "mkdirat",   "rmdir",  "umask",    "chmod",    "fchmod",    "fchmodat",  "fchown"}},
        {"probes, the API and links; socket is below",
         {"connect",    "bind",       "listen",   "accept",   "accept4",         "getsockname", "getpeername",
          "getsockopt", "setsockopt", "shutdown", "send",     "sendto",          "sendmsg",     "sendmmsg",
          "recv",       "recvfrom",   "recvmsg",  "recvmmsg", "recvmmsg_time64", "sendfile",    "sendfile64"},
         .network = true},
        {"who and where we are; random numbers",
         {"getpid",    "getppid",   "getuid",   "geteuid",   "getgid",    "getegid",   "getresuid",  "getresgid",
          "getgroups", "getrandom", "uname",    "sysinfo",   "getrusage", "getrlimit", "ugetrlimit", "times",
          "capget",    "getpgrp",   "getuid32", "geteuid32", "getgid32",  "getegid32"}},
};

/* Calls that no part of the engine could make by itself: whoever makes one has taken it over. */
static const char *const deadly[] = {
        "execve",          "execveat",    "ptrace",       "process_vm_readv", "process_vm_writev", "mount",
        "umount2",         "pivot_root",  "chroot",       "move_mount",       "open_tree",         "fsopen",
        "unshare",         "setns",       "bpf",          "perf_event_open",  "userfaultfd",       "kexec_load",
        "kexec_file_load", "init_module", "finit_module", "delete_module",    "io_uring_setup",    "keyctl",
        "add_key",         "request_key", "reboot",       "swapon",           "swapoff",           "settimeofday",
        "clock_settime",   "adjtimex",    "iopl",         "ioperm",           "open_by_handle_at", "vfork",
        "pidfd_getfd",     "fork",
};

static int rule(scmp_filter_ctx filter, uint32_t action, const char *name, unsigned n, const struct scmp_arg_cmp *compare)
{
	int number = seccomp_syscall_resolve_name(name);
	if (number == __NR_SCMP_ERROR)
		return 0;
	int r = seccomp_rule_add_array(filter, action, number, n, compare);
	return r == -EACCES || r == -EEXIST ? 0 : r; /* EACCES: the same as the default action */
}

static int rules_deadly(scmp_filter_ctx filter)
{
	int r = 0;
	for (size_t i = 0; i < countof(deadly) && r == 0; i++)
		r = rule(filter, SCMP_ACT_KILL_PROCESS, deadly[i], 0, NULL);
	return r;
}

static int rules_plain(scmp_filter_ctx filter, bool offline)
{
	int r = 0;
	for (size_t i = 0; i < countof(allowed) && r == 0; i++)
		for (size_t j = 0;
		     j < countof(allowed[i].calls) && allowed[i].calls[j] && !(allowed[i].network && offline) && r == 0; j++)
			r = rule(filter, SCMP_ACT_ALLOW, allowed[i].calls[j], 0, NULL);
	return r;
}

static struct scmp_arg_cmp masked(unsigned arg, uint64_t mask, uint64_t value)
{
	return (struct scmp_arg_cmp){.arg = arg, .op = SCMP_CMP_MASKED_EQ, .datum_a = mask, .datum_b = value};
}

static struct scmp_arg_cmp equal(unsigned arg, uint64_t value)
{
	return (struct scmp_arg_cmp){.arg = arg, .op = SCMP_CMP_EQ, .datum_a = value};
}

/* Memory that is written is never executed: code stays what was loaded. */
static int rules_memory(scmp_filter_ctx filter)
{
	const struct scmp_arg_cmp no_exec = masked(2, PROT_EXEC, 0);
	static const char *const calls[] = {"mmap", "mmap2", "mprotect"};
	int r = 0;
	for (size_t i = 0; i < countof(calls) && r == 0; i++)
		r = rule(filter, SCMP_ACT_ALLOW, calls[i], 1, &no_exec);
	return r;
}

/* Threads yes, processes no. clone3 keeps its flags where a filter cannot look: the C library falls back to clone. */
static int rules_thread(scmp_filter_ctx filter)
{
	const struct scmp_arg_cmp thread = masked(0, CLONE_THREAD | CLONE_VM | CLONE_NEWUSER, CLONE_THREAD | CLONE_VM);
	int r = rule(filter, SCMP_ACT_ALLOW, "clone", 1, &thread);
	if (r == 0)
		r = rule(filter, SCMP_ACT_ERRNO(ENOSYS), "clone3", 0, NULL);
	/* abort() and assert() end us, and nobody else. */
	const struct scmp_arg_cmp self = equal(0, (uint64_t)getpid());
	if (r == 0)
		r = rule(filter, SCMP_ACT_ALLOW, "tgkill", 1, &self);
	static const int options[] = {PR_SET_NAME, PR_GET_NAME, PR_GET_DUMPABLE, PR_SET_DUMPABLE};
	for (size_t i = 0; i < countof(options) && r == 0; i++) {
		const struct scmp_arg_cmp option = equal(0, (uint64_t)options[i]);
		r = rule(filter, SCMP_ACT_ALLOW, "prctl", 1, &option);
	}
	return r;
}

static int rules_socket(scmp_filter_ctx filter)
{
	static const uint64_t families[] = {AF_INET, AF_INET6}, types[] = {SOCK_STREAM, SOCK_DGRAM};
	int r = 0;
	for (size_t i = 0; i < countof(families); i++)
		for (size_t j = 0; j < countof(types) && r == 0; j++) {
			const struct scmp_arg_cmp compare[] = {equal(0, families[i]), masked(1, 0xff, types[j])};
			r = rule(filter, SCMP_ACT_ALLOW, "socket", 2, compare);
		}
	return r;
}

static int rules_ioctl(scmp_filter_ctx filter)
{
	/* libuv's non-blocking and close-on-exec, bytes waiting, isatty() of a C library's stream, the name of a link. */
	static const uint64_t requests[] = {FIONBIO, FIOCLEX, FIONCLEX, FIONREAD, TCGETS, SIOCGIFNAME};
	int r = 0;
	for (size_t i = 0; i < countof(requests) && r == 0; i++) {
		const struct scmp_arg_cmp request = masked(1, UINT32_MAX, requests[i]);
		r = rule(filter, SCMP_ACT_ALLOW, "ioctl", 1, &request);
	}
	/* Own limits are read, never set. */
	const struct scmp_arg_cmp only_read[] = {equal(0, 0), equal(2, 0)};
	return r == 0 ? rule(filter, SCMP_ACT_ALLOW, "prlimit64", 2, only_read) : r;
}

static int rules_engine(scmp_filter_ctx filter, bool offline)
{
	int r = rules_plain(filter, offline);
	r = r == 0 ? rules_memory(filter) : r;
	r = r == 0 ? rules_thread(filter) : r;
	r = r == 0 && !offline ? rules_socket(filter) : r;
	return r == 0 ? rules_ioctl(filter) : r;
}

static int rules_named(scmp_filter_ctx filter, const char *const *calls)
{
	int r = 0;
	for (size_t i = 0; calls[i] && r == 0; i++)
		r = rule(filter, SCMP_ACT_ALLOW, calls[i], 0, NULL);
	return r;
}

int syscalls_restrict(enum sandbox_violation violation, bool offline, const char *const *calls, struct err *err)
{
	uint32_t otherwise = violation == SANDBOX_KILL ? SCMP_ACT_KILL_PROCESS : SCMP_ACT_ERRNO(EPERM);
	scmp_filter_ctx filter = seccomp_init(otherwise);
	if (!filter)
		return err_set(err, -ENOMEM, "cannot make a system call filter");
	/* The filter is checked on each call: a tree costs a tenth of a list. Logging needs kernel 4.14, go on without. */
	(void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	(void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_LOG, 1);
	int r = rules_deadly(filter);
	if (r == 0)
		r = calls ? rules_named(filter, calls) : rules_engine(filter, offline);
	if (r < 0)
		err_set(err, r, "cannot fill the system call filter: %s", strerror(-r));
	else if ((r = seccomp_load(filter)) < 0)
		err_set(err, r == -EINVAL ? -ENOSYS : r, "cannot load the system call filter: %s", strerror(-r));
	seccomp_release(filter);
	return r < 0 ? (r == -EINVAL ? -ENOSYS : r) : 0;
}
