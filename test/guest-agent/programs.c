/* Small programs that the tests start; each prints what it is. WHAT is a macro, so that two of them differ in one word. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const char what[32] = WHAT;

/* "memory FILE": runs FILE out of an anonymous memory file. */
static int memory(const char *path)
{
	static char bytes[1 << 21];
	int from = open(path, O_RDONLY), to = memfd_create("x", 0);
	ssize_t size = read(from, bytes, sizeof(bytes));
	char *argv[] = {(char *)(size_t) "x", NULL};
	if (from < 0 || to < 0 || write(to, bytes, (size_t)size) != size)
		return 3;
	return fexecve(to, argv, argv + 1), 126;
}

/* "swap FILE NEW": has FILE hashed while a shared mapping of it exists that was only read through, then changes it by that. */
static int swap(const char *path, const char *new)
{
	static char bytes[1 << 21];
	int from = open(new, O_RDONLY), to = open(path, O_RDWR);
	ssize_t size = read(from, bytes, sizeof(bytes));
	volatile char *map = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, to, 0);
	if (from < 0 || to < 0 || map == MAP_FAILED)
		return 3;
	for (ssize_t i = 0; i < size; i += 4096)
		(void)map[i];
	printf("mapped\n");
	fflush(stdout);
	getchar();
	memcpy((char *)(size_t)map, bytes, (size_t)size);
	munmap((char *)(size_t)map, (size_t)size);
	close(to);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "memory") == 0)
		return memory(argv[2]);
	if (argc == 4 && strcmp(argv[1], "swap") == 0)
		return swap(argv[2], argv[3]);
	if (argc == 2 && strcmp(argv[1], "hold") == 0)
		return pause(), 0;
	printf("%s\n", what);
	return 0;
}
