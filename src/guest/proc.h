#pragma once
/*
 * What /proc says about the process that asks, while it waits for our answer inside the kernel. Nothing here opens a file that
 * is guarded, so the thread that decides cannot wait for itself.
 */
#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

/* The file that `tid` named in the execve() that it is in just now. */
enum proc_named {
	PROC_NAMED,
	PROC_NONE, /* it is in no execve(), or the path cannot be followed without magic links (/proc/self/fd/3 means another file
	              to us) */
	PROC_KERNEL, /* a program that the kernel itself starts: nobody named it */
	PROC_AWAKE   /* it has asked us and not yet gone to sleep over it, so the kernel does not say: ask again in a moment */
};
enum proc_named proc_exec_named(int tid, struct stat *ret_st);

/* The program that `tid` runs. */
bool proc_program(int tid, struct stat *ret_st);

/* /proc/TID/cmdline, at most `size`; 0 when there is none. */
size_t proc_arguments(int tid, char *ret_line, size_t size);

/* What `path` means to `tid`. */
bool proc_stat(int tid, const char *path, struct stat *ret_st);

/* The name of an open file, printable or not; "?" when it has none. */
void proc_fd_path(int fd, char *ret_text, size_t size);
