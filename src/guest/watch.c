/*
 * inotify on folders: one watch for each, so that new files are seen and nothing is opened. Overlay and tmpfs both tell. A writer
 * is told of when he writes and again when he closes; a shared mapping is told of when it is given up.
 */
#include "guest/watch.h"
#include "guest/carry.h"
#include "guest/mounts.h"
#include "guest/tell.h"
#include "lib/bytes.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#define DEPTH 6
#define MASK                                                                                                                     \
	(IN_MODIFY | IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE | IN_ATTRIB | IN_ONLYDIR |             \
	 IN_EXCL_UNLINK)

static struct {
	const struct conf *conf;
	int fd;
	struct folder {
		int watch;
		bool keys_only; /* a home: only what leads to authorized_keys counts */
		char path[CONF_TEXT];
	} folders[WATCH_FOLDERS];
	unsigned n_folders, n_mounts;
	bool full_told;
} watch = {.fd = -1};

static bool below(const char *path, const char *place)
{
	size_t length = strlen(place);
	while (length > 1 && place[length - 1] == '/')
		length--;
	return strncmp(path, place, length) == 0 && (path[length] == '\0' || path[length] == '/');
}

static bool spared(const char *path)
{
	if (carry_has(path))
		return true;
	for (unsigned i = 0; i < watch.conf->n_spared; i++)
		if (below(path, watch.conf->spared[i]))
			return true;
	return false;
}

/* Files that say who may come in. */
static bool is_account(const char *path)
{
	static const char *const names[] = {"passwd", "shadow", "group", "gshadow", "sudoers", "subuid", "subgid"};
	const char *name = strrchr(path, '/');
	name = name ? name + 1 : path;
	if (strncmp(name, "authorized_keys", 15) == 0 || below(path, "/etc/sudoers.d") || below(path, "/etc/pam.d"))
		return true;
	for (size_t i = 0; i < countof(names); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return false;
}

static struct folder *folder_of(int wd)
{
	for (unsigned i = 0; i < watch.n_folders; i++)
		if (watch.folders[i].watch == wd)
			return &watch.folders[i];
	return NULL;
}

static void folder_add(const char *path, bool keys_only)
{
	int wd = inotify_add_watch(watch.fd, path, MASK);
	struct folder *folder = wd < 0 ? NULL : folder_of(wd);
	if (wd < 0)
		return; /* not there, or gone again */
	if (folder) {
		folder->keys_only &= keys_only;
		return;
	}
	folder = folder_of(-1);
	if (!folder && watch.n_folders < WATCH_FOLDERS)
		folder = &watch.folders[watch.n_folders++];
	if (!folder) {
		inotify_rm_watch(watch.fd, wd);
		if (!watch.full_told)
			tell(AGENT_TROUBLE, 0, "there are more watched folders than there is room for");
		watch.full_told = true;
		return;
	}
	folder->watch = wd;
	folder->keys_only = keys_only;
	text_copy(folder->path, sizeof(folder->path), path);
}

/* A folder and those below it. `tells`: it appeared while we watched, so what it holds already is a change. */
static void tree_add(const char *path, int depth, bool tells)
{
	char child[PATH_MAX];
	folder_add(path, false);
	DIR *dir = depth > 0 ? opendir(path) : NULL;
	const struct dirent *entry;
	while (dir && (entry = readdir(dir))) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		snprintf(child, sizeof(child), "%s/%s", path, entry->d_name);
		if (spared(child))
			continue;
		if (entry->d_type == DT_DIR)
			tree_add(child, depth - 1, tells);
		else if (tells)
			tell(is_account(child) ? AGENT_ACCOUNT : AGENT_CHANGED, 0, child);
	}
	if (dir)
		closedir(dir);
}

static void homes_add(void)
{
	char keys[PATH_MAX], line[1024];
	FILE *file = fopen("/etc/passwd", "re");
	while (file && fgets(line, sizeof(line), file)) {
		char *rest = line, *home = NULL;
		for (int field = 0; field < 6; field++)
			home = strsep(&rest, ":");
		if (!home || home[0] != '/' || strcmp(home, "/") == 0)
			continue;
		snprintf(keys, sizeof(keys), "%s/.ssh", home);
		folder_add(home, true);
		folder_add(keys, true);
	}
	if (file)
		fclose(file);
}

int watch_start(const struct conf *conf, struct err *err)
{
	watch.conf = conf;
	watch.fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (watch.fd < 0)
		return err_set(err, -errno, "files cannot be watched: %s", strerror(errno));
	for (unsigned i = 0; i < conf->n_watches; i++)
		tree_add(conf->watches[i], DEPTH, false);
	homes_add();
	watch_mounts();
	return watch.fd;
}

static void change_take(struct folder *folder, const struct inotify_event *event)
{
	char path[PATH_MAX];
	bool keys_only = folder->keys_only;
	snprintf(path, sizeof(path), "%s%s%s", folder->path, event->len ? "/" : "", event->len ? event->name : "");
	if (event->mask & IN_IGNORED) {
		folder->watch = -1;
		return;
	}
	if (keys_only && (event->mask & IN_ISDIR) && event->len && strcmp(event->name, ".ssh") == 0) {
		folder_add(path, true);
		strncat(path, "/authorized_keys", sizeof(path) - strlen(path) - 1);
		if (access(path, F_OK) == 0)
			tell(AGENT_ACCOUNT, 0, path);
		return;
	}
	if (spared(path) || (keys_only && !is_account(path)))
		return;
	if ((event->mask & IN_ISDIR) && (event->mask & (IN_CREATE | IN_MOVED_TO)))
		tree_add(path, DEPTH, true);
	tell(is_account(path) ? AGENT_ACCOUNT : AGENT_CHANGED, 0, path);
}

void watch_take(void)
{
	_Alignas(struct inotify_event) char room[4096];
	ssize_t got;
	while ((got = read(watch.fd, room, sizeof(room))) > 0)
		for (const char *at = room; at < room + got;) {
			const struct inotify_event *event = (const struct inotify_event *)at;
			struct folder *folder = event->wd >= 0 ? folder_of(event->wd) : NULL;
			if (event->mask & IN_Q_OVERFLOW)
				tell(AGENT_TROUBLE, 0, "more files changed than could be followed");
			else if (folder)
				change_take(folder, event);
			at += sizeof(*event) + event->len;
		}
}

/* How many mounts hide something watched; a mount that came later than we is told. */
static unsigned hiding;

static void mount_look(const char *path)
{
	for (unsigned i = 0; i < watch.conf->n_watches; i++)
		if (below(path, watch.conf->watches[i])) {
			if (hiding++ >= watch.n_mounts)
				tell(AGENT_CHANGED, 0, path);
			return;
		}
}

void watch_mounts(void)
{
	static bool again;
	if (watch.fd < 0)
		return;
	if (!again)
		watch.n_mounts = UINT32_MAX; /* those that are there are the image's */
	again = true;
	hiding = 0;
	mounts_each(mount_look, false);
	watch.n_mounts = hiding;
}
