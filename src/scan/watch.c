/*
 * A watch is on a folder and not on its name: when one is renamed, walking it at its new place finds the same watch and sets
 * its path right. Whatever a path leads to when it is opened (tree.h) is a plain file below the folder, so a path that is wrong
 * because somebody renames in a hurry costs a look at another of his files, no more; the rename itself brings a new walk.
 */
#include "scan/watch.h"
#include "lib/bytes.h"
#include "lib/tree.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#define SETTLE_US 200000 /* writes within it are one */
#define RETRY_US 5000000
#define MARGIN_S 3    /* a walk for what was missed goes back that far */
#define WALK_STEP 256 /* entries in one go */
#define EVENTS (IN_CREATE | IN_CLOSE_WRITE | IN_MODIFY | IN_MOVED_TO | IN_ONLYDIR | IN_EXCL_UNLINK)

struct place {  /* a watched folder */
	int wd; /* 0: free */
	size_t folder;
	char *path; /* below the configured one; "": itself */
};

struct tree {
	int fd; /* -1: not there */
	struct queue *queue;
	int64_t since_s; /* walk: only files whose inode changed then or later; INT64_MIN: all */
	bool again;      /* walk once more when this one is through */
	int64_t again_s;
	char **pending; /* folders below that are still to be walked through */
	size_t n_pending;
	DIR *walking;
	char *walking_path;
	bool crowded; /* more folders than places */
	bool deep;    /* a path longer than we take */
	char problem[160];
};

struct watch {
	const struct conf_files *conf;
	int fd;
	struct tree trees[CONF_FOLDERS_MAX];
	struct place places[WATCH_FOLDERS_MAX];
	size_t n_places, turn;
	int64_t retry_us;
};

/* --- places */

static struct place *place_find(struct watch *w, int wd)
{
	for (size_t i = 0; i < w->n_places; i++)
		if (w->places[i].wd == wd)
			return &w->places[i];
	return NULL;
}

static void place_forget(struct watch *w, struct place *place)
{
	free(place->path);
	*place = w->places[--w->n_places];
}

/* False: no room, or the kernel's is used up. */
static bool place_take(struct watch *w, size_t folder, int fd, const char *path)
{
	char self[40];
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	int wd = inotify_add_watch(w->fd, self, EVENTS);
	if (wd < 0)
		return false;
	struct place *place = place_find(w, wd);
	if (!place && w->n_places == WATCH_FOLDERS_MAX) {
		inotify_rm_watch(w->fd, wd);
		return false;
	}
	if (!place)
		place = &w->places[w->n_places++];
	else
		free(place->path);
	*place = (struct place){.wd = wd, .folder = folder, .path = strdup(path)};
	assert(place->path);
	return true;
}

/* --- walking */

static void walk_push(struct tree *tree, const char *path)
{
	if (tree->n_pending == WATCH_FOLDERS_MAX) {
		tree->crowded = true;
		return;
	}
	tree->pending = realloc(tree->pending, (tree->n_pending + 1) * sizeof(*tree->pending));
	assert(tree->pending);
	tree->pending[tree->n_pending] = strdup(path);
	assert(tree->pending[tree->n_pending]);
	tree->n_pending++;
}

static bool walk_is_on(const struct tree *tree)
{
	return tree->walking || tree->n_pending;
}

/* Something was missed: what changed since `since_s` is found by walking. */
static void walk_again(struct tree *tree, int64_t since_s)
{
	if (!walk_is_on(tree)) {
		tree->since_s = since_s;
		walk_push(tree, "");
		return;
	}
	tree->again_s = tree->again && tree->again_s < since_s ? tree->again_s : since_s;
	tree->again = true;
}

static void walk_stop(struct tree *tree)
{
	if (tree->walking)
		closedir(tree->walking);
	tree->walking = NULL;
	free(tree->walking_path);
	tree->walking_path = NULL;
	while (tree->n_pending)
		free(tree->pending[--tree->n_pending]);
}

static bool path_join(char to[static QUEUE_PATH_MAX], const char *folder, const char *name)
{
	return snprintf(to, QUEUE_PATH_MAX, "%s%s%s", folder, *folder ? "/" : "", name) < QUEUE_PATH_MAX;
}

static void walk_open(struct watch *w, struct tree *tree)
{
	char *path = tree->pending[--tree->n_pending];
	int fd = tree_folder(tree->fd, path, NULL);
	if (fd >= 0 && !place_take(w, (size_t)(tree - w->trees), fd, path))
		tree->crowded = true;
	tree->walking = fd >= 0 ? fdopendir(fd) : NULL;
	if (!tree->walking) {
		if (fd >= 0)
			close(fd);
		free(path); /* gone again, or never a folder */
		return;
	}
	tree->walking_path = path;
}

static void walk_entry(struct tree *tree, const char *name, int64_t now_us)
{
	char path[QUEUE_PATH_MAX];
	struct stat status;
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return;
	bool fits = path_join(path, tree->walking_path, name);
	tree->deep = tree->deep || !fits;
	if (!fits || fstatat(dirfd(tree->walking), name, &status, AT_SYMLINK_NOFOLLOW) != 0)
		return;
	if (S_ISDIR(status.st_mode))
		walk_push(tree, path);
	else if (S_ISREG(status.st_mode) && status.st_ctim.tv_sec >= tree->since_s)
		queue_add(tree->queue, path, now_us + SETTLE_US);
}

/* Only while there is room in the queue: a walk drops nothing. */
static void walk_step(struct watch *w, struct tree *tree, int64_t now_us)
{
	for (int i = 0; i < WALK_STEP && walk_is_on(tree) && queue_length(tree->queue) < QUEUE_MAX / 2; i++) {
		if (!tree->walking) {
			walk_open(w, tree);
			continue;
		}
		struct dirent *entry = readdir(tree->walking);
		if (entry) {
			walk_entry(tree, entry->d_name, now_us);
			continue;
		}
		closedir(tree->walking);
		tree->walking = NULL;
		free(tree->walking_path);
		tree->walking_path = NULL;
	}
	if (walk_is_on(tree) || !tree->again)
		return;
	tree->again = false;
	walk_again(tree, tree->again_s);
}

/* --- trees */

static void tree_lose(struct watch *w, struct tree *tree)
{
	size_t folder = (size_t)(tree - w->trees);
	for (size_t i = w->n_places; i-- > 0;)
		if (w->places[i].folder == folder) {
			inotify_rm_watch(w->fd, w->places[i].wd);
			place_forget(w, &w->places[i]);
		}
	walk_stop(tree);
	tree->again = false;
	if (tree->fd >= 0)
		close(tree->fd);
	tree->fd = -1;
}

static void tree_try(struct watch *w, struct tree *tree)
{
	struct err err;
	tree->fd = tree_open(w->conf->folders[tree - w->trees].path, &err);
	if (tree->fd < 0) {
		snprintf(tree->problem, sizeof(tree->problem), "%.150s", err.text);
		return;
	}
	tree->problem[0] = '\0';
	walk_again(tree, INT64_MIN);
}

struct watch *watch_new(const struct conf_files *conf, struct err *err)
{
	struct watch *w = calloc(1, sizeof(*w));
	assert(w);
	w->conf = conf;
	w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (w->fd < 0) {
		err_set(err, -errno, "cannot watch folders: %s; raise fs.inotify.max_user_instances", strerror(errno));
		free(w);
		return NULL;
	}
	for (size_t i = 0; i < conf->n_folders; i++) {
		w->trees[i].queue = queue_new();
		tree_try(w, &w->trees[i]);
	}
	return w;
}

void watch_free(struct watch *w)
{
	if (!w)
		return;
	for (size_t i = 0; i < w->conf->n_folders; i++) {
		tree_lose(w, &w->trees[i]);
		free(w->trees[i].pending);
		queue_free(w->trees[i].queue);
	}
	close(w->fd);
	free(w);
}

/* Our descriptor keeps a folder that was removed or replaced alive: the kernel tells of its end only when we let go. */
static void tree_check(struct watch *w, struct tree *tree)
{
	struct stat ours, there;
	const char *path = w->conf->folders[tree - w->trees].path;
	bool same = fstat(tree->fd, &ours) == 0 && stat(path, &there) == 0 && ours.st_dev == there.st_dev &&
	            ours.st_ino == there.st_ino;
	if (same)
		return;
	tree_lose(w, tree);
	tree_try(w, tree);
}

/* --- events */

static void overflow(struct watch *w)
{
	for (size_t i = 0; i < w->conf->n_folders; i++)
		if (w->trees[i].fd >= 0)
			walk_again(&w->trees[i], clock_real_us() / 1000000 - MARGIN_S);
}

/* A folder that came: what is in it may be older than its watch. One that is being walked through comes to it by itself, or
 * has passed it. */
static void folder_came(struct tree *tree, const char *path)
{
	if (!walk_is_on(tree))
		tree->since_s = INT64_MIN;
	if (tree->since_s == INT64_MIN)
		walk_push(tree, path);
	else
		walk_again(tree, INT64_MIN);
}

static void event_take(struct watch *w, const struct inotify_event *event, int64_t now_us)
{
	char path[QUEUE_PATH_MAX];
	if (event->mask & IN_Q_OVERFLOW) {
		overflow(w);
		return;
	}
	struct place *place = place_find(w, event->wd);
	if (!place)
		return;
	struct tree *tree = &w->trees[place->folder];
	if (event->mask & (IN_IGNORED | IN_UNMOUNT)) {
		place_forget(w, place);
		return;
	}
	if (!event->len)
		return;
	if (!path_join(path, place->path, event->name)) {
		tree->deep = true;
		return;
	}
	if (event->mask & IN_ISDIR) {
		if (event->mask & (IN_CREATE | IN_MOVED_TO))
			folder_came(tree, path);
	} else if (!queue_add(tree->queue, path, now_us + SETTLE_US)) {
		walk_again(tree, clock_real_us() / 1000000 - MARGIN_S);
	}
}

int watch_fd(const struct watch *w)
{
	return w->fd;
}

void watch_read(struct watch *w, int64_t now_us)
{
	char buffer[65536] __attribute__((aligned(__alignof__(struct inotify_event))));
	ssize_t got = read(w->fd, buffer, sizeof(buffer)); /* once: others want to be served too */
	for (ssize_t at = 0; at < got;) {
		const struct inotify_event *event = (const struct inotify_event *)(buffer + at);
		event_take(w, event, now_us);
		at += (ssize_t)(sizeof(*event) + event->len);
	}
}

void watch_turn(struct watch *w, int64_t now_us)
{
	bool retry = now_us >= w->retry_us;
	if (retry)
		w->retry_us = now_us + RETRY_US;
	for (size_t i = 0; i < w->conf->n_folders; i++) {
		struct tree *tree = &w->trees[i];
		if (retry && tree->fd >= 0)
			tree_check(w, tree);
		else if (retry)
			tree_try(w, tree);
		if (tree->fd >= 0)
			walk_step(w, tree, now_us);
	}
}

int64_t watch_deadline_us(const struct watch *w)
{
	int64_t deadline_us = w->retry_us;
	for (size_t i = 0; i < w->conf->n_folders; i++) {
		const struct tree *tree = &w->trees[i];
		int64_t due_us = queue_due_us(tree->queue);
		if (walk_is_on(tree) && queue_length(tree->queue) < QUEUE_MAX / 2)
			due_us = 0;
		deadline_us = due_us < deadline_us ? due_us : deadline_us;
	}
	return deadline_us;
}

int watch_next(struct watch *w, int64_t now_us, size_t *ret_folder, char ret_path[static QUEUE_PATH_MAX])
{
	for (size_t i = 0; i < w->conf->n_folders; i++) {
		size_t folder = w->turn++ % w->conf->n_folders;
		struct tree *tree = &w->trees[folder];
		auto_free char *path = queue_take(tree->queue, now_us);
		if (!path)
			continue;
		*ret_folder = folder;
		text_copy(ret_path, QUEUE_PATH_MAX, path);
		return tree->fd >= 0 ? tree_file(tree->fd, path, NULL) : -ENOENT;
	}
	return -ENODATA;
}

size_t watch_waiting(const struct watch *w)
{
	size_t n = 0;
	for (size_t i = 0; i < w->conf->n_folders; i++)
		n += queue_length(w->trees[i].queue);
	return n;
}

size_t watch_folders(const struct watch *w)
{
	return w->n_places;
}

void watch_problems(const struct watch *w, struct scan_problems *problems)
{
	for (size_t i = 0; i < w->conf->n_folders; i++) {
		const struct tree *tree = &w->trees[i];
		const char *path = w->conf->folders[i].path;
		if (tree->problem[0])
			scan_problem(problems, "%s", tree->problem);
		if (tree->crowded)
			scan_problem(problems, "%.100s holds more folders than can be watched (%d, fs.inotify.max_user_watches)",
			             path, WATCH_FOLDERS_MAX);
		if (tree->deep)
			scan_problem(problems, "%.100s holds paths of more than %d bytes: they are not looked at", path,
			             QUEUE_PATH_MAX - 1);
	}
}
