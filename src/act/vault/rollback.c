/*
 * Bringing the data back to a snapshot while guests read it. What may differ is found first: a file whose inode was not changed
 * since the snapshot was begun (the kernel's word, a guest cannot set it) is as it was. Only the rest is taken out of the
 * repository, which checks it, and then put into its place by exchanging names: whoever reads sees the old file or the new one,
 * never half of one. What stood there is put aside.
 */
#include "act/vault/below.h"
#include "act/vault/nodes.h"
#include "act/vault/vault.h"

#include "lib/bytes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLDER (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
#define DEPTH_MAX 200
#define DOUBTFUL_MAX NODES_MAX
#define INCLUDES_MAX 400 /* more: all of the snapshot is taken out */
#define INCLUDE_BYTES_MAX 100000
#define CLOCK_SLACK_US 1000000 /* the kernel stamps inodes by a coarse clock */

struct rollback {
	const struct vault *vault;
	const struct snapshot *to;
	uint64_t incident;
	int out;
	int data, staging, kept; /* folders */
	struct nodes nodes;
	struct changes changes;
	char path[PATH_MAX]; /* of what is being looked at */
	char **doubtful;
	size_t n_doubtful, n_changes;
};

static int doubt(struct rollback *b, const char *path, struct err *err)
{
	if (b->n_doubtful == DOUBTFUL_MAX)
		return err_set(err, -EFBIG, "more than %d files differ from the snapshot", DOUBTFUL_MAX);
	if ((b->n_doubtful & (b->n_doubtful - 1)) == 0) { /* a power of two: full */
		char **more = reallocarray(b->doubtful, b->n_doubtful ? 2 * b->n_doubtful : 1, sizeof(*more));
		if (!more)
			return err_set(err, -ENOMEM, "no memory for the list of changes");
		b->doubtful = more;
	}
	b->doubtful[b->n_doubtful] = strdup(path);
	return b->doubtful[b->n_doubtful++] ? 0 : err_set(err, -ENOMEM, "no memory for the list of changes");
}

static int64_t us_of(const struct timespec *time)
{
	return (int64_t)time->tv_sec * 1000000 + time->tv_nsec / 1000;
}

static bool may_differ(const struct rollback *b, const struct node *node, const struct stat *now)
{
	return us_of(&now->st_ctim) >= b->to->begun_us - CLOCK_SLACK_US ||
	       (S_ISREG(now->st_mode) && ((uint64_t)now->st_size != node->size || us_of(&now->st_mtim) != node->mtime_us));
}

/* A folder stays where it is, so what its snapshot says of it is set. */
static void folder_mend(int fd, const struct node *node, const struct stat *now)
{
	if (now->st_uid != node->uid || now->st_gid != node->gid)
		(void)!fchown(fd, node->uid, node->gid);
	if ((now->st_mode & 07777) != (node->mode & 07777))
		(void)!fchmod(fd, node->mode & 07777);
}

static int folder_compare(struct rollback *b, int fd, size_t length, unsigned depth, struct err *err);

static int entry_compare(struct rollback *b, int folder, const char *name, size_t length, unsigned depth, struct err *err)
{
	struct stat now;
	if (fstatat(folder, name, &now, AT_SYMLINK_NOFOLLOW) < 0)
		return 0; /* gone again */
	struct node *node = nodes_find(&b->nodes, b->path);
	if (node)
		node->seen = true;
	if (!node || (node->mode & S_IFMT) != (now.st_mode & S_IFMT) || (!S_ISDIR(now.st_mode) && may_differ(b, node, &now))) {
		if (node)
			node->differs = true;
		return doubt(b, b->path, err);
	}
	if (!S_ISDIR(now.st_mode))
		return 0;
	int fd = depth < DEPTH_MAX ? openat(folder, name, FOLDER) : -1;
	if (fd < 0) {
		node->differs = true; /* as a whole, then */
		return doubt(b, b->path, err);
	}
	folder_mend(fd, node, &now);
	return folder_compare(b, fd, length, depth + 1, err);
}

/* Takes `fd`. */
static int folder_compare(struct rollback *b, int fd, size_t length, unsigned depth, struct err *err)
{
	DIR *dir = fdopendir(fd);
	int r = 0;
	if (!dir) {
		close(fd);
		return err_set(err, -ENOMEM, "no memory to look through the data");
	}
	for (const struct dirent *entry; r == 0 && (entry = readdir(dir));) {
		size_t name = strlen(entry->d_name), at = length + (length ? 1 : 0);
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 || at + name >= sizeof(b->path))
			continue;
		if (length)
			b->path[length] = '/';
		memcpy(b->path + at, entry->d_name, name + 1);
		r = entry_compare(b, dirfd(dir), entry->d_name, at + name, depth, err);
		b->path[length] = '\0';
	}
	closedir(dir);
	return r;
}

static const struct node *folder_of(const struct nodes *nodes, const struct node *node)
{
	static char path[PATH_MAX];
	const char *slash = strrchr(node->path, '/');
	size_t length = slash ? (size_t)(slash - node->path) : 0;
	if (length == 0 || length >= sizeof(path))
		return NULL;
	memcpy(path, node->path, length);
	path[length] = '\0';
	return nodes_find(nodes, path);
}

/* What is missing, and not with a folder that is missing or doubtful itself. A folder stands before what is in it. */
static int missing_find(struct rollback *b, struct err *err)
{
	int r = 0;
	for (size_t i = 0; i < b->nodes.n && r == 0; i++) {
		struct node *node = &b->nodes.all[i];
		const struct node *folder = folder_of(&b->nodes, node);
		bool covered = folder && folder->differs;
		if (!node->seen && !covered)
			r = doubt(b, node->path, err);
		node->differs = node->differs || !node->seen || covered;
	}
	return r;
}

/* --- out of the repository */

/* As a pattern that means this path alone, and all that is below it. */
static char *pattern_of(const char *path)
{
	char *to, *pattern = malloc(2 * strlen(path) + 2);
	if (!pattern)
		return NULL;
	to = pattern;
	*to++ = '/';
	for (; *path; path++) {
		if (strchr("\\*?[]!", *path))
			*to++ = '\\';
		*to++ = *path;
	}
	*to = '\0';
	return pattern;
}

static int take_out(struct rollback *b, const struct restic *restic, struct err *err)
{
	static const char *argv[2 * INCLUDES_MAX + 16];
	char *patterns[INCLUDES_MAX];
	size_t n = 0, n_patterns = 0, bytes = 0;
	argv[n++] = "restore";
	argv[n++] = "--no-lock";
	argv[n++] = "--verify";
	argv[n++] = b->to->id;
	argv[n++] = "--target";
	argv[n++] = b->vault->staging;
	size_t fixed = n;
	for (size_t i = 0; i < b->n_doubtful && b->n_doubtful <= INCLUDES_MAX; i++) {
		patterns[n_patterns] = pattern_of(b->doubtful[i]);
		if (!patterns[n_patterns])
			break;
		bytes += strlen(patterns[n_patterns]);
		argv[n++] = "--include";
		argv[n++] = patterns[n_patterns++];
	}
	if (n_patterns < b->n_doubtful || bytes > INCLUDE_BYTES_MAX)
		n = fixed;
	argv[n] = NULL;
	int r = restic_run(restic, b->vault->data, argv, NULL, NULL, err);
	while (n_patterns > 0)
		free(patterns[--n_patterns]);
	return r > 0 ? err_set(err, -EIO, "restic restore: some files could not be restored") : r;
}

/* --- into its place */

static bool is_there(int root, const char *path, struct stat *ret)
{
	const char *name;
	auto_close int parent = below_parent(root, path, false, &name);
	return parent >= 0 && fstatat(parent, name, ret, AT_SYMLINK_NOFOLLOW) == 0;
}

static int put_aside(struct rollback *b, int from, const char *path, uint64_t number)
{
	char name[24];
	snprintf(name, sizeof(name), "%llu", (unsigned long long)number);
	return below_move(from, path, b->kept, name);
}

static int place_one(struct rollback *b, const char *path, struct err *err)
{
	struct stat was, now;
	bool had = is_there(b->staging, path, &was), has = is_there(b->data, path, &now);
	if ((!had && !has) || (had && has && below_same(b->staging, path, b->data, path)))
		return 0;
	struct change change = {.incident = b->incident,
	                        .bytes = has && S_ISREG(now.st_mode) ? (uint64_t)now.st_size : 0,
	                        .kind = had && has ? WIRE_CHANGE_CHANGED
	                                : has      ? WIRE_CHANGE_ADDED
	                                           : WIRE_CHANGE_REMOVED,
	                        .path = (char *)path};
	int r = changes_add(&b->changes, &change, &change.number, err);
	if (r < 0)
		return r;
	if (had && has)
		r = below_exchange(b->staging, path, b->data, path);
	else if (had)
		r = below_move(b->staging, path, b->data, path);
	if (r == 0 && has)
		r = put_aside(b, had ? b->staging : b->data, path, change.number);
	if (r == -ENOENT) /* a guest that goes on took it away in this moment */
		return 0;
	char text[WIRE_TEXT_MAX];
	changes_path_text(path, text, sizeof(text));
	if (r < 0)
		return err_set(err, r, "%s cannot be put into its place: %s", text, strerror(-r));
	struct job_word word = {
	        .says = JOB_CHANGE,
	        .change = {.number = change.number, .incident = change.incident, .bytes = change.bytes, .kind = change.kind}};
	text_copy(word.text, sizeof(word.text), text);
	job_say(b->out, &word);
	b->n_changes++;
	return 0;
}

/* What nobody can look through any more. */
static void changes_trim(struct rollback *b)
{
	size_t over = b->changes.n > CHANGES_MAX ? b->changes.n - CHANGES_MAX : 0;
	for (size_t i = 0; i < over; i++) {
		char name[24];
		snprintf(name, sizeof(name), "%llu", (unsigned long long)b->changes.all[i].number);
		(void)below_remove(b->kept, name);
		free(b->changes.all[i].path);
	}
	if (over == 0)
		return;
	memmove(b->changes.all, b->changes.all + over, (b->changes.n - over) * sizeof(b->changes.all[0]));
	b->changes.n -= over;
	struct err err = {0};
	(void)!changes_save(&b->changes, &err); /* tried again at the next rollback */
}

static int open_folder(const char *path, int *ret_fd, struct err *err)
{
	(void)mkdir(path, 0700);
	*ret_fd = open(path, FOLDER);
	return *ret_fd >= 0 ? 0 : err_set(err, -errno, "%s: %s", path, strerror(errno));
}

static int folders_open(struct rollback *b, struct err *err)
{
	const struct vault *v = b->vault;
	auto_close int top = open(v->conf->path, FOLDER);
	int r = top < 0 ? err_set(err, -errno, "%s: %s", v->conf->path, strerror(errno)) : 0;
	if (r == 0 && (r = below_remove(top, "staging")) < 0)
		return err_set(err, r, "%s: cannot be removed: %s", v->staging, strerror(-r));
	r = r == 0 ? open_folder(v->staging, &b->staging, err) : r;
	r = r == 0 ? open_folder(v->kept, &b->kept, err) : r;
	r = r == 0 ? open_folder(v->data, &b->data, err) : r;
	r = r == 0 ? folder_of_owner(b->data, err) : r; /* no snapshot knows the top itself */
	return r == 0 ? changes_load(v->changes, &b->changes, err) : r;
}

static void folders_close(struct rollback *b)
{
	auto_close int top = open(b->vault->conf->path, FOLDER);
	if (b->data >= 0)
		(void)!syncfs(b->data);
	if (top >= 0)
		(void)below_remove(top, "staging");
	int fds[] = {b->data, b->staging, b->kept};
	for (size_t i = 0; i < countof(fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

static int bring_back(struct rollback *b, const struct restic *restic, struct err *err)
{
	const char *list[] = {"ls", "--json", "--no-lock", b->to->id, NULL};
	int r = restic_run(restic, b->vault->data, list, nodes_line, &b->nodes, err);
	if (r != 0)
		return r < 0 ? r : err_set(err, -EIO, "restic ls: the snapshot is damaged");
	nodes_sort(&b->nodes);
	r = folder_compare(b, fcntl(b->data, F_DUPFD_CLOEXEC, 0), 0, 0, err);
	r = r == 0 ? missing_find(b, err) : r;
	if (r == 0 && b->n_doubtful)
		r = take_out(b, restic, err);
	for (size_t i = 0; i < b->n_doubtful && r == 0; i++)
		r = place_one(b, b->doubtful[i], err);
	return r;
}

int rollback_run(const struct vault *v, const struct job *job, const struct snapshot *to, int out, size_t *ret_n, struct err *err)
{
	static struct rollback b; /* a job does one thing and ends */
	struct restic restic;
	b = (struct rollback){.vault = v, .to = to, .incident = job->incident, .out = out, .data = -1, .staging = -1, .kept = -1};
	vault_restic(v, job->until_us, &restic);
	int r = folders_open(&b, err);
	r = r == 0 ? bring_back(&b, &restic, err) : r;
	changes_trim(&b);
	folders_close(&b);
	*ret_n = b.n_changes;
	for (size_t i = 0; i < b.n_doubtful; i++)
		free(b.doubtful[i]);
	free(b.doubtful);
	nodes_free(&b.nodes);
	changes_free(&b.changes);
	return r;
}

/* The other way: what was put aside stands in the data again, and what stood there is put aside. */
static int give_back(struct rollback *b, struct change *change, struct err *err)
{
	char name[24], text[WIRE_TEXT_MAX];
	struct stat now;
	snprintf(name, sizeof(name), "%llu", (unsigned long long)change->number);
	changes_path_text(change->path, text, sizeof(text));
	if (!is_there(b->kept, name, &now))
		return err_set(err, -ENOENT, "nothing was put aside of %s (change %s)", text, name);
	bool stands = is_there(b->data, change->path, &now);
	int r = stands ? below_exchange(b->kept, name, b->data, change->path) : below_move(b->kept, name, b->data, change->path);
	if (r < 0)
		return err_set(err, r, "%s cannot be put into its place: %s", text, strerror(-r));
	change->kind = WIRE_CHANGE_RETURNED;
	struct job_word word = {
	        .says = JOB_CHANGE,
	        .change = {.number = change->number, .incident = change->incident, .bytes = change->bytes, .kind = change->kind}};
	text_copy(word.text, sizeof(word.text), text);
	job_say(b->out, &word);
	return changes_save(&b->changes, err);
}

int return_run(const struct vault *v, const struct job *job, int out, struct err *err)
{
	static struct rollback b;
	b = (struct rollback){.vault = v, .out = out, .data = -1, .staging = -1, .kept = -1};
	int r = folders_open(&b, err);
	struct change *change = r == 0 ? changes_find(&b.changes, job->number) : NULL;
	if (r == 0)
		r = change ? give_back(&b, change, err)
		           : err_set(err, -ENOENT, "there is no change %llu", (unsigned long long)job->number);
	folders_close(&b);
	changes_free(&b.changes);
	return r;
}
