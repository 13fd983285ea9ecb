/* Bytes, text and whole files, each with a bound. See bytes.h. */
#include "lib/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

void bytes_to_hex(const uint8_t *bytes, size_t size, char *ret_text)
{
	static const char digits[] = "0123456789abcdef";
	for (size_t i = 0; i < size; i++) {
		ret_text[2 * i] = digits[bytes[i] >> 4];
		ret_text[2 * i + 1] = digits[bytes[i] & 15];
	}
	ret_text[2 * size] = '\0';
}

#define HEX_NONE 16u

static unsigned hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return (unsigned)(c - '0');
	if (c >= 'a' && c <= 'f')
		return (unsigned)(c - 'a' + 10);
	if (c >= 'A' && c <= 'F')
		return (unsigned)(c - 'A' + 10);
	return HEX_NONE;
}

bool bytes_from_hex(const char *text, uint8_t *ret_bytes, size_t size)
{
	if (strnlen(text, 2 * size + 1) != 2 * size)
		return false;
	for (size_t i = 0; i < 2 * size; i++)
		if (hex_digit(text[i]) == HEX_NONE)
			return false;
	for (size_t i = 0; i < size; i++)
		ret_bytes[i] = (uint8_t)(hex_digit(text[2 * i]) << 4 | hex_digit(text[2 * i + 1]));
	return true;
}

bool text_copy(char *to, size_t size, const char *from)
{
	size_t length = strnlen(from, size);
	bool fits = length < size;
	if (!fits)
		length = size - 1;
	memcpy(to, from, length);
	to[length] = '\0';
	return fits;
}

int file_read(const char *path, size_t max, uint8_t **ret_bytes, size_t *ret_size, struct err *err)
{
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return err_set(err, -errno, "%s: cannot open it: %s", path, strerror(errno));
	struct stat status;
	if (fstat(fd, &status) < 0)
		return err_set(err, -errno, "%s: cannot look at it: %s", path, strerror(errno));
	if (S_ISDIR(status.st_mode))
		return err_set(err, -EISDIR, "%s: is a folder, not a file", path);
	if (status.st_size > 0 && (uint64_t)status.st_size > max)
		return err_set(err, -EFBIG, "%s: %lld bytes, more than the %zu that are allowed here", path,
		               (long long)status.st_size, max);
	size_t room = status.st_size > 0 ? (size_t)status.st_size : 0, size = 0;
	if (room < 4096)
		room = max < 4096 ? max : 4096;
	auto_free uint8_t *bytes = malloc(room + 1);
	if (!bytes)
		abort();
	for (;;) {
		if (size == room) {
			if (room >= max) {
				uint8_t extra;
				if (read(fd, &extra, 1) > 0)
					return err_set(err, -EFBIG, "%s: more than the %zu bytes that are allowed here", path,
					               max);
				break;
			}
			room = room > max / 2 ? max : room * 2;
			uint8_t *grown = realloc(bytes, room + 1);
			if (!grown)
				abort();
			bytes = grown;
		}
		ssize_t got = read(fd, bytes + size, room - size);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_set(err, -errno, "%s: cannot read it: %s", path, strerror(errno));
		if (got == 0)
			break;
		size += (size_t)got;
	}
	bytes[size] = '\0';
	*ret_bytes = take(&bytes);
	*ret_size = size;
	return 0;
}

static int write_all(int fd, const void *bytes, size_t size)
{
	const uint8_t *at = bytes;
	while (size > 0) {
		ssize_t put = write(fd, at, size);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -errno;
		at += put;
		size -= (size_t)put;
	}
	return fsync(fd) < 0 ? -errno : 0;
}

int file_write(const char *path, const void *bytes, size_t size, unsigned mode, struct err *err)
{
	char fresh[PATH_MAX], folder[PATH_MAX];
	if (snprintf(fresh, sizeof(fresh), "%s.new", path) >= (int)sizeof(fresh) || !text_copy(folder, sizeof(folder), path))
		return err_set(err, -ENAMETOOLONG, "%s: the name is too long", path);
	auto_close int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
	if (fd < 0)
		return err_set(err, -errno, "%s: cannot write it: %s", fresh, strerror(errno));
	int r = write_all(fd, bytes, size);
	if (r == 0 && rename(fresh, path) < 0)
		r = -errno;
	if (r < 0) {
		unlink(fresh);
		return err_set(err, r, "%s: cannot write it: %s", path, strerror(-r));
	}
	auto_close int dir = open(dirname(folder), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir >= 0)
		fsync(dir);
	return 0;
}

static int64_t clock_us(clockid_t which)
{
	struct timespec now;
	clock_gettime(which, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int folder_private(const char *path, struct err *err)
{
	struct stat status;
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return err_set(err, -errno, "%s: cannot make this folder: %s", path, strerror(errno));
	auto_close int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &status) < 0)
		return err_set(err, -ENOTDIR, "%s: is no folder that can be opened: %s", path, strerror(errno));
	if (status.st_uid != geteuid())
		return err_set(err, -EPERM,
		               "%s: belongs to user %u, who could read and change what is in it: name a folder of root's", path,
		               status.st_uid);
	if ((status.st_mode & 077) != 0 && fchmod(fd, status.st_mode & 0700) < 0)
		return err_set(err, -errno, "%s: others can enter it, and it cannot be closed to them: %s", path,
		               strerror(errno));
	return 0;
}

int folder_of_owner(int folder, struct err *err)
{
	struct stat status;
	if (fstat(folder, &status) < 0 ||
	    ((status.st_mode & 0700) != 0700 && fchmod(folder, (status.st_mode & 07777) | 0700) < 0))
		return err_set(err, -errno, "a folder cannot be opened to its owner: %s", strerror(errno));
	return 0;
}

int64_t clock_monotonic_us(void)
{
	return clock_us(CLOCK_MONOTONIC);
}

int64_t clock_real_us(void)
{
	return clock_us(CLOCK_REALTIME);
}
