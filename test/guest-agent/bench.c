/*
 * How long the kernel waits for the agent: "bench FILE N" asks N times whether FILE may be run, "bench FILE N COPY" copies FILE
 * anew to COPY before each question. execveat(AT_EXECVE_CHECK), of Linux 6.14, is execve() up to the answer: nothing is started.
 * Prints microseconds, one a line.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define CHECK_ONLY 0x10000

static int copy(const char *from, const char *to)
{
	struct stat st;
	int in = open(from, O_RDONLY), out = (unlink(to), open(to, O_WRONLY | O_CREAT | O_TRUNC, 0755));
	int r = in < 0 || out < 0 || fstat(in, &st) < 0 || sendfile(out, in, NULL, (size_t)st.st_size) != st.st_size;
	close(in);
	close(out);
	return r;
}

int main(int argc, char **argv)
{
	const char *path = argc == 4 ? argv[3] : argv[1];
	if (argc < 3)
		return 2;
	for (int left = atoi(argv[2]); left > 0; left--) {
		struct timespec began, ended;
		if (argc == 4 && copy(argv[1], path))
			return 3;
		clock_gettime(CLOCK_MONOTONIC, &began);
		long r = syscall(SYS_execveat, AT_FDCWD, path, argv, NULL, CHECK_ONLY);
		int error = errno;
		clock_gettime(CLOCK_MONOTONIC, &ended);
		if (r < 0) {
			fprintf(stderr, "%s\n", strerror(error));
			return error == EINVAL ? 77 : 1;
		}
		printf("%.1f\n", (double)(ended.tv_sec - began.tv_sec) * 1e6 + (double)(ended.tv_nsec - began.tv_nsec) / 1e3);
	}
	return 0;
}
