/*
 * The order matters: user first (needs capabilities), then capabilities, then Landlock, then seccomp (which forbids the
 * calls of all the others). Landlock is spoken to directly: no library of Debian 12 does it, and the kernel's headers
 * there are older than the kernels that devices run.
 */
#include "lib/sandbox.h"
#include "lib/privileges.h"
#include "lib/syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* The kernel's interface, as of its version 7. */
struct landlock_ruleset {
	uint64_t fs, net, scoped;
};
struct landlock_path {
	uint64_t access;
	int32_t fd;
} __attribute__((packed));
struct landlock_port {
	uint64_t access, port;
};
enum { RULE_PATH = 1, RULE_PORT = 2, CREATE_VERSION = 1 };

#define FS_EXECUTE (1ULL << 0)
#define FS_WRITE_FILE (1ULL << 1)
#define FS_READ_FILE (1ULL << 2)
#define FS_READ_DIR (1ULL << 3)
#define FS_REMOVE_DIR (1ULL << 4)
#define FS_REMOVE_FILE (1ULL << 5)
#define FS_MAKE_DIR (1ULL << 7)
#define FS_MAKE_REG (1ULL << 8)
#define FS_REFER (1ULL << 13)
#define FS_TRUNCATE (1ULL << 14)
#define FS_IOCTL_DEV (1ULL << 15)
#define NET_BIND (1ULL << 0)
#define NET_CONNECT (1ULL << 1)
#define SCOPE_ABSTRACT_UNIX (1ULL << 0)
#define SCOPE_SIGNAL (1ULL << 1)

#define FS_OF_FILE (FS_EXECUTE | FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE | FS_IOCTL_DEV)
#define FS_READ (FS_READ_FILE | FS_READ_DIR)
#define FS_CHANGE (FS_WRITE_FILE | FS_REMOVE_DIR | FS_REMOVE_FILE | FS_MAKE_DIR | FS_MAKE_REG | FS_TRUNCATE)

static void report(struct sandbox_report *report, const char *line)
{
	if (report->n_lines < SANDBOX_LINES_MAX)
		snprintf(report->lines[report->n_lines++], sizeof(report->lines[0]), "%s", line);
}

/* All rights on files that this kernel knows: what is not handled is not forbidden. */
static uint64_t handled_fs(long version)
{
	uint64_t handled = (1ULL << 13) - 1;
	if (version >= 2)
		handled |= FS_REFER;
	if (version >= 3)
		handled |= FS_TRUNCATE;
	if (version >= 5)
		handled |= FS_IOCTL_DEV;
	return handled;
}

static int path_allow(int ruleset, const struct sandbox_path *path, uint64_t handled, struct err *err)
{
	auto_close int fd = open(path->path, O_PATH | O_CLOEXEC);
	struct stat status;
	if (fd < 0)
		return errno == ENOENT ? 0
		                       : err_set(err, -errno, "cannot open '%s' to allow it: %s", path->path, strerror(errno));
	if (fstat(fd, &status) != 0)
		return err_set(err, -errno, "cannot look at '%s': %s", path->path, strerror(errno));
	uint64_t access = FS_READ | (path->write ? FS_CHANGE : 0);
	if (!S_ISDIR(status.st_mode))
		access &= FS_OF_FILE;
	struct landlock_path rule = {.access = access & handled, .fd = fd};
	if (syscall(SYS_landlock_add_rule, ruleset, RULE_PATH, &rule, 0) != 0)
		return err_set(err, -errno, "cannot allow '%s': %s", path->path, strerror(errno));
	return 0;
}

static int rules_add(int ruleset, const struct sandbox *wanted, const struct landlock_ruleset *handled, struct err *err)
{
	/* SQLite takes its random numbers from there. */
	static const struct sandbox_path always = {.path = "/dev/urandom"};
	int r = path_allow(ruleset, &always, handled->fs, err);
	for (size_t i = 0; i < wanted->n_paths && r == 0; i++)
		r = path_allow(ruleset, &wanted->paths[i], handled->fs, err);
	for (size_t i = 0; i <= wanted->n_connect_ports && handled->net && r == 0; i++) {
		bool last = i == wanted->n_connect_ports; /* an own address, any port: probes borrow sources */
		struct landlock_port rule = {.access = last ? NET_BIND : NET_CONNECT,
		                             .port = last ? 0 : wanted->connect_ports[i]};
		if (syscall(SYS_landlock_add_rule, ruleset, RULE_PORT, &rule, 0) != 0)
			r = err_set(err, -errno, "cannot allow TCP port %u: %s", (unsigned)rule.port, strerror(errno));
	}
	return r;
}

static void version_report(const struct sandbox *wanted, long version, struct sandbox_report *ret_report)
{
	if (version < 3)
		report(ret_report, "Landlock of this kernel cannot forbid truncating files (needs Linux 6.2)");
	if (version < 4 && wanted->limit_connect)
		report(ret_report, "Landlock of this kernel cannot limit TCP ports (needs Linux 6.7)");
	if (version < 6)
		report(ret_report, "Landlock of this kernel cannot forbid signals to other processes (needs Linux 6.12)");
}

static int landlock_apply(const struct sandbox *wanted, struct sandbox_report *ret_report, struct err *err)
{
	long version = syscall(SYS_landlock_create_ruleset, NULL, 0, CREATE_VERSION);
	if (version < 1) {
		report(ret_report, "Landlock is missing or off in this kernel: the engine's files are limited by its user alone");
		return 0;
	}
	version_report(wanted, version, ret_report);
	struct landlock_ruleset handled = {.fs = handled_fs(version)};
	if (version >= 4 && wanted->limit_connect)
		handled.net = NET_BIND | NET_CONNECT;
	if (version >= 6)
		handled.scoped = SCOPE_ABSTRACT_UNIX | SCOPE_SIGNAL;
	size_t size = version >= 6 ? sizeof(handled) : version >= 4 ? 2 * sizeof(uint64_t) : sizeof(uint64_t);
	auto_close int ruleset = (int)syscall(SYS_landlock_create_ruleset, &handled, size, 0);
	if (ruleset < 0)
		return err_set(err, -errno, "cannot make Landlock rules: %s", strerror(errno));
	int r = rules_add(ruleset, wanted, &handled, err);
	if (r < 0)
		return r;
	if (syscall(SYS_landlock_restrict_self, ruleset, 0) != 0)
		return err_set(err, -errno, "cannot apply Landlock rules: %s", strerror(errno));
	return 0;
}

int sandbox_apply(const struct sandbox *wanted, struct sandbox_report *ret_report, struct err *err)
{
	*ret_report = (struct sandbox_report){0};
	int r = wanted->user ? user_become(wanted->user, err) : 0;
	if (r == 0 && geteuid() == 0)
		report(ret_report,
		       "the engine has no user of its own: files of its user are not protected from it but by Landlock");
	r = r == 0 ? privileges_keep(NULL, 0, err) : r;
	r = r == 0 ? landlock_apply(wanted, ret_report, err) : r;
	if (r < 0)
		return r;
	r = syscalls_restrict(wanted->violation, wanted->offline, wanted->calls, err);
	if (r == -ENOSYS) {
		report(ret_report, "seccomp filters are missing in this kernel: system calls are not limited");
		return 0;
	}
	return r;
}
