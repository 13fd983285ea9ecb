/*
 * A wall clock that a test can set, for the program that loads this: the file that CLOCK_SHIFT names holds eight bytes, the
 * seconds by which it is to be wrong. The machine's own clock is everybody's, and stays as it is.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *shift_s;

/* Before the program closes the way to files. */
__attribute__((constructor)) static void open_file(void)
{
	const char *path = getenv("CLOCK_SHIFT");
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	void *page = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(*shift_s), PROT_READ, MAP_SHARED, fd, 0);
	if (page == MAP_FAILED)
		abort();
	shift_s = page;
	close(fd);
}

int clock_gettime(clockid_t which, struct timespec *ret_time)
{
	long r = syscall(SYS_clock_gettime, which, ret_time);
	if (r == 0 && which == CLOCK_REALTIME)
		ret_time->tv_sec += *shift_s;
	return (int)r;
}
