#pragma once
/*
 * What /proc says about the process that asks, while it waits for our answer inside the kernel. Nothing here opens a file that
 * is guarded, so the thread that decides cannot wait for itself.
 */
#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

/* The file that `tid` named in the execve() that it is in just now. False when it is in none, or the path cannot be followed
 * without magic links (/proc/self/fd/3 means something else to us). A program that the kernel itself starts has none either:
 * `ret_kernel`. */
bool proc_exec_named(int tid, struct stat *ret_st, bool *ret_kernel);

/* The program that `tid` runs. */
bool proc_program(int tid, struct stat *ret_st);

/* /proc/TID/cmdline, at most `size`; 0 when there is none. */
size_t proc_arguments(int tid, char *ret_line, size_t size);

/* What `path` means to `tid`. */
bool proc_stat(int tid, const char *path, struct stat *ret_st);

/* The name of an open file, printable or not; "?" when it has none. */
void proc_fd_path(int fd, char *ret_text, size_t size);
