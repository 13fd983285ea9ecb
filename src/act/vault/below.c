/* See below.h. Everything goes by descriptors of folders that were opened without following links. */
#include "act/vault/below.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEPTH_MAX 256
#define FOLDER (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

int below_parent(int root, const char *path, bool make, const char **ret_name)
{
	char step[NAME_MAX + 1];
	int at = fcntl(root, F_DUPFD_CLOEXEC, 0);
	for (const char *slash; at >= 0 && (slash = strchr(path, '/')); path = slash + 1) {
		size_t length = (size_t)(slash - path);
		if (length == 0 || length > NAME_MAX) {
			close(at);
			return -EINVAL;
		}
		memcpy(step, path, length);
		step[length] = '\0';
		if (strcmp(step, ".") == 0 || strcmp(step, "..") == 0) {
			close(at);
			return -EINVAL;
		}
		if (make)
			(void)!mkdirat(at, step, 0755);
		int next = openat(at, step, FOLDER), error = errno;
		close(at);
		if (next < 0)
			return -error;
		at = next;
	}
	if (at < 0)
		return -errno;
	if (!*path || strlen(path) > NAME_MAX || strcmp(path, ".") == 0 || strcmp(path, "..") == 0) {
		close(at);
		return -EINVAL;
	}
	*ret_name = path;
	return at;
}

static int rename_with(int from_root, const char *from, int to_root, const char *to, unsigned flags)
{
	const char *from_name, *to_name;
	auto_close int a = below_parent(from_root, from, false, &from_name);
	if (a < 0)
		return a;
	auto_close int b = below_parent(to_root, to, true, &to_name);
	if (b < 0)
		return b;
	return renameat2(a, from_name, b, to_name, flags) == 0 ? 0 : -errno;
}

int below_exchange(int from_root, const char *from, int to_root, const char *to)
{
	return rename_with(from_root, from, to_root, to, RENAME_EXCHANGE);
}

int below_move(int from_root, const char *from, int to_root, const char *to)
{
	return rename_with(from_root, from, to_root, to, RENAME_NOREPLACE);
}

static int remove_at(int folder, const char *name, unsigned depth)
{
	if (unlinkat(folder, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -errno;
	if (depth == DEPTH_MAX)
		return -ELOOP;
	int fd = openat(folder, name, FOLDER);
	if (fd < 0)
		return -errno;
	DIR *dir = fdopendir(fd);
	if (!dir) {
		close(fd);
		return -ENOMEM;
	}
	int r = 0;
	for (const struct dirent *entry; r == 0 && (entry = readdir(dir));)
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			r = remove_at(fd, entry->d_name, depth + 1);
	closedir(dir);
	if (r < 0)
		return r;
	return unlinkat(folder, name, AT_REMOVEDIR) == 0 || errno == ENOENT ? 0 : -errno;
}

int below_remove(int root, const char *path)
{
	const char *name;
	auto_close int parent = below_parent(root, path, false, &name);
	if (parent < 0)
		return parent == -ENOENT ? 0 : parent;
	return remove_at(parent, name, 0);
}

static int plain_open(int root, const char *path, struct stat *ret_status)
{
	const char *name = path;
	auto_close int parent = below_parent(root, path, false, &name);
	if (parent < 0)
		return parent;
	int fd = openat(parent, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd >= 0 && fstat(fd, ret_status) == 0 && S_ISREG(ret_status->st_mode))
		return fd;
	if (fd >= 0)
		close(fd);
	return -EINVAL;
}

bool below_same(int a_root, const char *a, int b_root, const char *b)
{
	static char one[65536], other[sizeof(one)];
	struct stat of_one, of_other;
	auto_close int x = plain_open(a_root, a, &of_one);
	auto_close int y = x < 0 ? -1 : plain_open(b_root, b, &of_other);
	if (x < 0 || y < 0 || of_one.st_size != of_other.st_size || of_one.st_mode != of_other.st_mode ||
	    of_one.st_uid != of_other.st_uid || of_one.st_gid != of_other.st_gid)
		return false;
	for (off_t at = 0; at < of_one.st_size;) {
		ssize_t n = pread(x, one, sizeof(one), at), m = pread(y, other, sizeof(other), at);
		if (n <= 0 || n != m || memcmp(one, other, (size_t)n) != 0)
			return false;
		at += n;
	}
	return true;
}
