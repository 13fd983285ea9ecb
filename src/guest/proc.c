/* Reading /proc about somebody who waits for us. */
#include "guest/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static size_t read_small(const char *path, char *ret_text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	ssize_t got = read(fd, ret_text, size);
	close(fd);
	return got > 0 ? (size_t)got : 0;
}

bool proc_program(int tid, struct stat *ret_st)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/exe", tid);
	return stat(path, ret_st) == 0;
}

size_t proc_arguments(int tid, char *ret_line, size_t size)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/cmdline", tid);
	return read_small(path, ret_line, size);
}

/* Follows `path` from a folder without magic links; from `root` it cannot be left. */
static bool stat_below(const char *folder, const char *path, uint64_t resolve, struct stat *ret_st)
{
	int at = open(folder, O_PATH | O_CLOEXEC);
	if (at < 0)
		return false;
	struct open_how how;
	memset(&how, 0, sizeof(how));
	how.flags = O_PATH | O_CLOEXEC;
	how.resolve = resolve | RESOLVE_NO_MAGICLINKS;
	int fd = (int)syscall(SYS_openat2, at, path, &how, sizeof(how));
	close(at);
	if (fd < 0)
		return false;
	bool known = fstat(fd, ret_st) == 0;
	close(fd);
	return known;
}

bool proc_stat(int tid, const char *path, struct stat *ret_st)
{
	char folder[64];
	snprintf(folder, sizeof(folder), "/proc/%d/%s", tid, path[0] == '/' ? "root" : "cwd");
	return stat_below(folder, path, path[0] == '/' ? RESOLVE_IN_ROOT : 0, ret_st);
}

/* A text out of another process, which may end at the edge of what is mapped. */
static bool read_text(int tid, uintptr_t from, char *ret_text, size_t size)
{
	size_t at = 0;
	while (at < size) {
		size_t piece = 4096 - (from + at) % 4096; /* not across a page that may not be there */
		if (piece > size - at)
			piece = size - at;
		struct iovec here = {ret_text + at, piece},
		             there = {(void *)(from + at), piece}; /* NOLINT(performance-no-int-to-ptr) */
		ssize_t got = process_vm_readv(tid, &here, 1, &there, 1, 0);
		if (got <= 0)
			return false;
		if (memchr(ret_text + at, '\0', (size_t)got))
			return true;
		at += (size_t)got;
	}
	return false;
}

static bool descriptor_stat(int tid, unsigned long fd, struct stat *ret_st)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", tid, (int)fd);
	return stat(path, ret_st) == 0;
}

/* A kernel thread that is about to become a helper (modprobe) runs no program yet. */
static bool is_kernel(int tid)
{
	char path[64], none[8];
	snprintf(path, sizeof(path), "/proc/%d/exe", tid);
	return readlink(path, none, sizeof(none)) < 0 && errno == ENOENT;
}

/* What the first two arguments of an execve() or execveat() name. */
static bool named_stat(int tid, unsigned long number, unsigned long a, unsigned long b, struct stat *ret_st)
{
	char folder[64], name[PATH_MAX];
	if (number == SYS_execve)
		return read_text(tid, a, name, sizeof(name)) && name[0] && proc_stat(tid, name, ret_st);
	if (number != SYS_execveat || !read_text(tid, b, name, sizeof(name)))
		return false;
	if (name[0] == '\0')
		return descriptor_stat(tid, a, ret_st);
	if (name[0] == '/' || (int)a == AT_FDCWD)
		return proc_stat(tid, name, ret_st);
	snprintf(folder, sizeof(folder), "/proc/%d/fd/%d", tid, (int)a);
	return stat_below(folder, name, 0, ret_st);
}

enum proc_named proc_exec_named(int tid, struct stat *ret_st)
{
	char path[64], said[256];
	unsigned long number, a, b;
	if (is_kernel(tid))
		return PROC_KERNEL;
	snprintf(path, sizeof(path), "/proc/%d/syscall", tid);
	size_t length = read_small(path, said, sizeof(said) - 1);
	said[length] = '\0';
	if (strncmp(said, "running", 7) == 0)
		return PROC_AWAKE;
	if (sscanf(said, "%lu 0x%lx 0x%lx", &number, &a, &b) != 3)
		return PROC_NONE;
	return named_stat(tid, number, a, b, ret_st) ? PROC_NAMED : PROC_NONE;
}

void proc_fd_path(int fd, char *ret_text, size_t size)
{
	char entry[64];
	snprintf(entry, sizeof(entry), "/proc/self/fd/%d", fd);
	ssize_t length = readlink(entry, ret_text, size - 1);
	if (length <= 0) {
		snprintf(ret_text, size, "?");
		return;
	}
	ret_text[length] = '\0';
}
