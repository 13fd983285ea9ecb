/* Names on a disk; see file.h. A damaged ledger is evidence: it is kept, however many there come to be. */
#include "ledger/file.h"
#include "lib/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define HEAD_SIZE 100 /* of every SQLite file */

static void folder_sync(const char *path)
{
	char folder[PATH_MAX];
	text_copy(folder, sizeof(folder), path);
	auto_close int fd = open(dirname(folder), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0)
		fsync(fd);
}

static int cannot(const char *path, const char *what, int error, struct err *err)
{
	int code = error == EACCES || error == EPERM || error == EROFS ? -EROFS : -error;
	return err_set(err, code, "%s: cannot %s it: %s; the ledger needs a folder that koboshi may write", path, what,
	               strerror(error));
}

int ledger_file_prepare(const char *path, bool *ret_cut, struct err *err)
{
	struct stat status;
	auto_close int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd >= 0) {
		folder_sync(path);
		*ret_cut = false;
		return 0;
	}
	if (errno != EEXIST)
		return cannot(path, "make", errno, err);
	if (lstat(path, &status) < 0)
		return cannot(path, "look at", errno, err);
	if (!S_ISREG(status.st_mode))
		return err_set(err, -EINVAL, "%s: is no regular file: the ledger cannot be kept there", path);
	*ret_cut = status.st_size < HEAD_SIZE;
	return 0;
}

static bool name_is_free(const char *aside)
{
	struct stat status;
	return lstat(aside, &status) < 0 && errno == ENOENT;
}

/* One second may see several damaged files (a test, a broken disk): a letter tells them apart. */
static int aside_name(const char *path, char aside[static PATH_MAX], struct err *err)
{
	long long now = (long long)(clock_real_us() / 1000000);
	for (unsigned i = 0; i < 100; i++) {
		int length = snprintf(aside, PATH_MAX, i ? "%s.damaged-%lld.%u" : "%s.damaged-%lld", path, now, i);
		if (length < 0 || length >= PATH_MAX - 16)
			return err_set(err, -ENAMETOOLONG, "%.200s...: the name is too long", path);
		if (name_is_free(aside))
			return 0;
	}
	return err_set(err, -EEXIST, "%s: a hundred damaged ledgers in one second: the disk is broken", path);
}

int ledger_file_move_aside(const char *path, struct err *err)
{
	/* What holds changes goes first: if we are killed between, the next try finds a ledger without them, not a fresh ledger
	 * with another's changes beside it. */
	static const char *const parts[] = {"-wal", "-journal", "-shm", ""};
	char aside[PATH_MAX];
	int r = aside_name(path, aside, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < countof(parts); i++) {
		char from[PATH_MAX + 16], to[PATH_MAX + 16];
		snprintf(from, sizeof(from), "%s%s", path, parts[i]);
		snprintf(to, sizeof(to), "%s%s", aside, parts[i]);
		if (rename(from, to) < 0 && (errno != ENOENT || !parts[i][0]))
			return cannot(from, "move aside", errno, err);
	}
	folder_sync(path);
	return 0;
}
