/*
 * Looked at once a second, not watched: whoever edits a file replaces it, and writes it in pieces; a second later it is whole
 * more often than not, and if not, it is looked at again. A copy is made beside its place and renamed, with the owner and mode of
 * the original, in folders that only root can enter: a list of passwords may be among them.
 */
#include "guest/carry.h"

#include "guest/tell.h"
#include "lib/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES 8
#define FILE_MAX (32u << 10) /* CONF_CARRY_FILE_MAX: more the host does not take */

struct carried {
	char path[CONF_TEXT];
	struct stat seen; /* all zero: there was none */
	bool complained;  /* why it cannot be saved was told */
};

static struct {
	char folder[CONF_TEXT];
	struct carried all[FILES];
	unsigned n;
} carry;

static void look(const char *path, struct stat *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (lstat(path, ret) < 0)
		memset(ret, 0, sizeof(*ret));
}

static bool is_same(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size && a->st_mode == b->st_mode &&
	       a->st_uid == b->st_uid && a->st_gid == b->st_gid && a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
	       a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

void carry_start(const char *list)
{
	char line[CONF_TEXT + 1];
	FILE *file = fopen(list, "re");
	while (file && fgets(line, sizeof(line), file)) {
		char *end = strchr(line, '\n');
		if (!end || line[0] != '/' || carry.n == FILES) {
			tell(AGENT_TROUBLE, 0, "the list of files that live on is not as it should be");
			carry.n = 0;
			break;
		}
		*end = '\0';
		if (carry.folder[0])
			text_copy(carry.all[carry.n++].path, CONF_TEXT, line);
		else
			text_copy(carry.folder, sizeof(carry.folder), line);
	}
	if (file)
		fclose(file);
	for (unsigned i = 0; i < carry.n; i++)
		look(carry.all[i].path, &carry.all[i].seen);
}

bool carry_has(const char *path)
{
	for (unsigned i = 0; i < carry.n; i++) {
		size_t length = strlen(carry.all[i].path);
		if (strncmp(carry.all[i].path, path, length) == 0 && strchr("-+.~", path[length]))
			return true; /* the terminating NUL is found too */
	}
	return false;
}

/* The bytes of a plain file; -1: none, too many, or it changed meanwhile (then it is looked at again). */
static ssize_t bytes_read(struct carried *one, const struct stat *now, uint8_t bytes[static FILE_MAX + 1])
{
	struct stat after;
	int fd = open(one->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	ssize_t got = fd < 0 ? -1 : pread(fd, bytes, FILE_MAX + 1, 0);
	bool whole = fd >= 0 && fstat(fd, &after) == 0 && is_same(&after, now) && got == after.st_size;
	if (fd >= 0)
		close(fd);
	return whole && got <= (ssize_t)FILE_MAX ? got : -1;
}

/* The service may write beside this folder: what it could have put in its place, a link above all, is not gone into. Within, only
 * root writes. A descriptor, or -1. */
static int folder_open(void)
{
	struct stat status;
	if (mkdir(carry.folder, 0700) < 0 && errno != EEXIST)
		return -1;
	int fd = open(carry.folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd >= 0 && fstat(fd, &status) == 0 && status.st_uid == geteuid() && (status.st_mode & 077) == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

/* Of `path`, a file below `folder`: all folders that it lies in. */
static bool folders_make(int folder, char *path)
{
	for (char *slash = path; (slash = strchr(slash, '/')); slash++) {
		*slash = '\0';
		int r = mkdirat(folder, path, 0700);
		*slash = '/';
		if (r < 0 && errno != EEXIST)
			return false;
	}
	return true;
}

static bool save_below(int folder, const struct carried *one, const struct stat *now, const uint8_t *bytes, size_t size)
{
	char path[CONF_TEXT], fresh[CONF_TEXT + 8];
	text_copy(path, sizeof(path), one->path + strspn(one->path, "/"));
	snprintf(fresh, sizeof(fresh), "%s.saved~", path);
	if (!folders_make(folder, path))
		return false;
	unlinkat(folder, fresh, 0);
	int fd = openat(folder, fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	bool done = fd >= 0 && write(fd, bytes, size) == (ssize_t)size && fchown(fd, now->st_uid, now->st_gid) == 0 &&
	            fchmod(fd, now->st_mode & 0777) == 0 && fsync(fd) == 0;
	if (fd >= 0)
		close(fd);
	done = done && renameat(folder, fresh, folder, path) == 0;
	if (!done)
		unlinkat(folder, fresh, 0);
	return done;
}

static bool save(const struct carried *one, const struct stat *now, const uint8_t *bytes, size_t size)
{
	int folder = folder_open();
	bool done = folder >= 0 && save_below(folder, one, now, bytes, size);
	if (folder >= 0)
		close(folder);
	return done;
}

static void trouble(struct carried *one, const char *why)
{
	char text[CONF_TEXT + 64];
	snprintf(text, sizeof(text), "%s does not live on: %s", one->path, why);
	if (!one->complained)
		tell(AGENT_TROUBLE, 0, text);
	one->complained = true;
}

static void look_at(struct carried *one)
{
	static uint8_t bytes[FILE_MAX + 1];
	struct stat now;
	look(one->path, &now);
	if (is_same(&now, &one->seen))
		return;
	if (now.st_mode == 0) {
		one->seen = now; /* it was removed: what was saved of it stays */
		return;
	}
	if (!S_ISREG(now.st_mode) || now.st_size > (off_t)FILE_MAX) {
		one->seen = now;
		trouble(one, S_ISREG(now.st_mode) ? "it has more than 32 KiB" : "it is no plain file");
		return;
	}
	ssize_t size = bytes_read(one, &now, bytes);
	if (size < 0)
		return;
	if (!save(one, &now, bytes, (size_t)size)) {
		trouble(one, "it cannot be saved");
		return; /* tried again each second: the data may be full */
	}
	one->seen = now;
	one->complained = false;
	tell(AGENT_CARRIED, 0, one->path);
}

void carry_look(void)
{
	for (unsigned i = 0; i < carry.n; i++)
		look_at(&carry.all[i]);
}
