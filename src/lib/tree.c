/*
 * The kernel resolves each path below the folder and refuses links on the way (openat2), so nothing that is swapped meanwhile
 * leads outside. What is there is looked at through a descriptor that cannot read (O_PATH) before that very thing, and no
 * other of the same name, is opened.
 */
#include "lib/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

int tree_open(const char *path, struct err *err)
{
	int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd >= 0 ? fd : err_set(err, -errno, "cannot open the folder '%s': %s", path, strerror(errno));
}

static int below(int tree, const char *relative, int flags)
{
	const struct open_how how = {.flags = (uint64_t)(flags | O_CLOEXEC | O_NOFOLLOW),
	                             .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
	for (int i = 0; i < 8; i++) { /* EAGAIN: something was renamed on the way */
		int fd = (int)syscall(SYS_openat2, tree, *relative ? relative : ".", &how, sizeof(how));
		if (fd >= 0 || errno != EAGAIN)
			return fd;
	}
	return -1;
}

int tree_file(int tree, const char *relative, struct err *err)
{
	struct stat status;
	char self[40];
	auto_close int path = below(tree, relative, O_PATH);
	if (path < 0)
		return err_set(err, -errno, "cannot be opened: %s",
		               errno == ELOOP ? "it is a link, or behind one" : strerror(errno));
	if (fstat(path, &status) != 0)
		return err_set(err, -errno, "cannot be looked at: %s", strerror(errno));
	if (!S_ISREG(status.st_mode))
		return err_set(err, -EINVAL, "is no plain file");
	snprintf(self, sizeof(self), "/proc/self/fd/%d", path);
	int fd = open(self, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	return fd >= 0 ? fd : err_set(err, -errno, "cannot be read: %s", strerror(errno));
}

int tree_folder(int tree, const char *relative, struct err *err)
{
	int fd = below(tree, relative, O_RDONLY | O_DIRECTORY | O_NONBLOCK);
	return fd >= 0 ? fd : err_set(err, -errno, "cannot open the folder: %s", strerror(errno));
}
