/*
 * A disk that a test can break, for the program that loads this: the file that FAILING_DISK names holds two numbers, how many
 * writes to files may go well yet and the errno of all that come after; 0: all go well.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static volatile struct disk {
	int32_t writes_left, error;
} * disk;

/* Before the program closes the way to files. */
__attribute__((constructor)) static void open_file(void)
{
	const char *path = getenv("FAILING_DISK");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *page = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(*disk), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (page == MAP_FAILED)
		abort();
	disk = page;
	close(fd);
}

static int fails(void)
{
	if (disk->error == 0 || disk->writes_left-- > 0)
		return 0;
	disk->writes_left = 0;
	errno = disk->error;
	return 1;
}

ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t at)
{
	return fails() ? -1 : syscall(SYS_pwrite64, fd, bytes, size, at);
}

int fdatasync(int fd)
{
	return fails() ? -1 : (int)syscall(SYS_fdatasync, fd);
}

int fsync(int fd)
{
	return fails() ? -1 : (int)syscall(SYS_fsync, fd);
}
