/*
 * Runs a fuzz target over every file of the folders or files given: the corpus as a plain test, with any compiler.
 * Each input is also tried cut short at every eighth and with single bytes flipped, so that a small corpus goes a long way.
 */
#include "lib/bytes.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static unsigned tried;

static void replay_bytes(uint8_t *bytes, size_t size)
{
	LLVMFuzzerTestOneInput(bytes, size);
	for (size_t cut = 1; cut < 8; cut++)
		LLVMFuzzerTestOneInput(bytes, size * cut / 8);
	size_t stride = size / 512 + 1;
	for (size_t i = 0; i < size; i += stride) {
		uint8_t old = bytes[i];
		bytes[i] ^= (uint8_t)(1u << (i % 8));
		LLVMFuzzerTestOneInput(bytes, size);
		bytes[i] = old;
	}
	tried++;
}

static int replay_file(const char *path)
{
	uint8_t *bytes;
	size_t size;
	struct err err;
	if (file_read(path, 1u << 20, &bytes, &size, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	replay_bytes(bytes, size);
	free(bytes);
	return 0;
}

static int replay_folder(const char *path)
{
	DIR *dir = opendir(path);
	if (!dir)
		return replay_file(path);
	int failed = 0;
	for (struct dirent *entry; (entry = readdir(dir));) {
		char name[PATH_MAX];
		struct stat status;
		snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
		if (stat(name, &status) == 0 && S_ISREG(status.st_mode))
			failed |= replay_file(name);
	}
	closedir(dir);
	return failed;
}

int main(int argc, char **argv)
{
	int failed = 0;
	for (int i = 1; i < argc; i++)
		failed |= replay_folder(argv[i]);
	printf("%u inputs\n", tried);
	return failed || tried == 0;
}
