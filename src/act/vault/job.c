/* A job: what takes long, in a process that may be ended at any moment. See vault.h. */
#include "act/vault/vault.h"

#include "lib/bytes.h"
#include "lib/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "act/vault/nodes.h"

#define CLOCK_SLACK_US 1000000

void job_say(int out, const struct job_word *word)
{
	(void)!write(out, word, sizeof(*word)); /* nobody hears: then nobody needs it, the files say the same */
}

void vault_restic(const struct vault *v, int64_t until_us, struct restic *ret)
{
	*ret = (struct restic){.repository = v->conf->repository,
	                       .credentials = v->conf->credentials,
	                       .password = v->password,
	                       .cache = v->cache,
	                       .staging = v->staging,
	                       .until_us = until_us};
}

/* --- opening */

static int folder_ready(const char *path, struct err *err)
{
	struct stat status;
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return err_set(err, -errno, "%s: cannot make this folder: %s", path, strerror(errno));
	if (lstat(path, &status) < 0 || !S_ISDIR(status.st_mode))
		return err_set(err, -ENOTDIR, "%s: is no folder", path);
	return 0;
}

static int password_ready(const struct vault *v, struct err *err)
{
	uint8_t bytes[32];
	char text[2 * sizeof(bytes) + 2];
	if (access(v->password, F_OK) == 0)
		return 0;
	if (v->snapshots.n)
		return err_set(err, -ENOENT, "%s is gone: without it the backups cannot be read; put your copy of it there",
		               v->password);
	if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
		return err_set(err, -EIO, "no random bytes for a password");
	bytes_to_hex(bytes, sizeof(bytes), text);
	text[2 * sizeof(bytes)] = '\n';
	int r = file_write(v->password, text, sizeof(text) - 1, 0600, err);
	explicit_bzero(bytes, sizeof(bytes));
	explicit_bzero(text, sizeof(text));
	return r;
}

int vault_open(struct vault *v, struct err *err)
{
	const char *path = v->conf->path;
	conf_vault_data(v->conf, v->data);
	snprintf(v->password, sizeof(v->password), "%s/password", path);
	snprintf(v->list, sizeof(v->list), "%s/snapshots", path);
	snprintf(v->changes, sizeof(v->changes), "%s/changes", path);
	snprintf(v->kept, sizeof(v->kept), "%s/kept", path);
	snprintf(v->staging, sizeof(v->staging), "%s/staging", path);
	snprintf(v->cache, sizeof(v->cache), "%s/cache", path);
	const char *folders[] = {v->data, v->kept, v->cache};
	int r = folder_private(path, err);
	for (size_t i = 0; i < countof(folders) && r == 0; i++)
		r = folder_ready(folders[i], err);
	r = r == 0 ? snapshots_load(v->list, &v->snapshots, err) : r;
	if (r == -ENOENT && access(v->list, F_OK) < 0 && errno == ENOENT)
		r = 0;
	return r == 0 ? password_ready(v, err) : r;
}

/* --- backup */

struct backup {
	const struct vault *vault;
	const struct job *job;
	int out;
	struct restic restic;
	struct snapshots list; /* as it will be when the words have arrived */
	struct snapshot fresh;
};

static int summary_take(void *arg, const char *text, struct err *err unused_arg)
{
	struct backup *b = arg;
	json_t *line = json_loads(text, 0, NULL);
	const char *kind = json_string_value(json_object_get(line, "message_type"));
	const char *id = json_string_value(json_object_get(line, "snapshot_id"));
	if (kind && id && strcmp(kind, "summary") == 0) {
		text_copy(b->fresh.id, sizeof(b->fresh.id), id);
		b->fresh.files = (uint32_t)json_integer_value(json_object_get(line, "total_files_processed"));
		b->fresh.bytes = (uint64_t)json_integer_value(json_object_get(line, "total_bytes_processed"));
	}
	json_decref(line);
	return 0;
}

static void snapshot_say(struct backup *b, const struct snapshot *fresh)
{
	struct job_word word = {.says = JOB_SNAPSHOT, .snapshot = *snapshots_add(&b->list, fresh)};
	job_say(b->out, &word);
}

/* Our list is empty, and the repository perhaps is not: it was used before. When such a snapshot ended nobody knows, but the next
 * one had not begun. */
static int repository_take(void *arg, const char *text, struct err *err unused_arg)
{
	struct backup *b = arg;
	json_t *all = json_loads(text, 0, NULL);
	size_t n = json_array_size(all), from = n > SNAPSHOTS_MAX / 2 ? n - SNAPSHOTS_MAX / 2 : 0;
	for (size_t i = from; i < n; i++) {
		const json_t *one = json_array_get(all, i);
		const char *id = json_string_value(json_object_get(one, "short_id"));
		const char *time = json_string_value(json_object_get(one, "time"));
		const char *next = json_string_value(json_object_get(json_array_get(all, i + 1), "time"));
		struct snapshot old = {.begun_us = time ? nodes_time_us(time) : -1,
		                       .ended_us = next ? nodes_time_us(next) : clock_real_us()};
		if (id && old.begun_us > 0 && old.ended_us >= old.begun_us && text_copy(old.id, sizeof(old.id), id))
			snapshot_say(b, &old);
	}
	json_decref(all);
	return 0;
}

static int repository_ready(struct backup *b, struct err *err)
{
	const char *look[] = {"snapshots", "--json", "--no-lock", "--tag", "koboshi", NULL};
	const char *make[] = {"init", NULL};
	if (b->list.n)
		return 0;
	int r = restic_run(&b->restic, b->vault->data, look, repository_take, b, err);
	return r == -ENXIO ? restic_run(&b->restic, b->vault->data, make, NULL, NULL, err) : r;
}

/* Anything whose inode was changed since; `seen` bounds the work. */
static bool changed_since(int folder, int64_t since_us, unsigned depth, unsigned *seen)
{
	DIR *dir = depth < 100 ? fdopendir(folder) : NULL;
	if (!dir) {
		close(folder);
		return true;
	}
	bool changed = false;
	for (const struct dirent *entry; !changed && (entry = readdir(dir));) {
		struct stat status;
		bool up = strcmp(entry->d_name, "..") == 0, here = strcmp(entry->d_name, ".") == 0;
		if (up || fstatat(dirfd(dir), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		changed =
		        ++*seen > 100000 || (int64_t)status.st_ctim.tv_sec * 1000000 + status.st_ctim.tv_nsec / 1000 >= since_us;
		if (!changed && !here && S_ISDIR(status.st_mode)) {
			int below = openat(dirfd(dir), entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
			changed = below < 0 || changed_since(below, since_us, depth + 1, seen);
		}
	}
	closedir(dir);
	return changed;
}

static bool is_worth_it(const struct backup *b)
{
	unsigned seen = 0;
	const struct snapshots *list = &b->list;
	const struct snapshot *last = list->n ? &list->all[list->n - 1] : NULL;
	int data = last && !last->suspect ? open(b->vault->data, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	return data < 0 || changed_since(data, last->begun_us - CLOCK_SLACK_US, 0, &seen);
}

/* Locks of one that was killed, by a rollback or a reload, stand in nobody's way but that of those who forget. */
static int run_unlocked(struct backup *b, const char *const *argv, restic_line *line, struct err *err)
{
	static const char *const unlock[] = {"unlock", NULL};
	int r = restic_run(&b->restic, b->vault->data, argv, line, b, err);
	if (r == -EBUSY && restic_run(&b->restic, b->vault->data, unlock, NULL, NULL, err) == 0)
		r = restic_run(&b->restic, b->vault->data, argv, line, b, err);
	return r;
}

/* Of the list first: a number in it whose snapshot is gone is worse than a snapshot that stays. */
static int forget(struct backup *b, struct err *err)
{
	static bool drop[SNAPSHOTS_MAX];
	static const char *argv[SNAPSHOTS_MAX + 8];
	size_t n = 0;
	if (snapshots_to_forget(&b->list, b->vault->conf, drop) == 0)
		return 0;
	argv[n++] = "forget";
	if (b->job->pruning)
		argv[n++] = "--prune";
	for (size_t i = 0; i < b->list.n; i++)
		if (drop[i]) {
			argv[n++] = b->list.all[i].id;
			job_say(b->out, &(struct job_word){.says = JOB_FORGOTTEN, .snapshot = b->list.all[i]});
		}
	argv[n] = NULL;
	int r = run_unlocked(b, argv, NULL, err);
	return r < 0 ? r : 0;
}

static int gone(const struct backup *b, struct err *err)
{
	return err_set(err, -ENXIO, "repository %s is gone: bring it back, or remove %s to begin a new one",
	               b->vault->conf->repository, b->vault->list);
}

static int backup_run(const struct vault *v, const struct job *job, int out, char *said, size_t size, struct err *err)
{
	static struct backup b;
	const char *argv[] = {"backup", "--json", "--host", v->device, "--tag", "koboshi", ".", NULL};
	b = (struct backup){.vault = v, .job = job, .out = out, .list = v->snapshots};
	vault_restic(v, job->until_us, &b.restic);
	int r = repository_ready(&b, err);
	if (r < 0)
		return r;
	if (!is_worth_it(&b)) {
		snprintf(said, size, "nothing was changed since snapshot %" PRIu64, b.list.all[b.list.n - 1].number);
		return 0;
	}
	b.fresh.begun_us = clock_real_us();
	r = run_unlocked(&b, argv, summary_take, err);
	if (r < 0)
		return r == -ENXIO ? gone(&b, err) : r;
	b.fresh.ended_us = clock_real_us();
	if (!b.fresh.id[0])
		return err_set(err, -EIO, "restic backup: it named no snapshot");
	snapshot_say(&b, &b.fresh);
	snprintf(said, size, "snapshot %" PRIu64 ": %" PRIu32 " files, %" PRIu64 " bytes, %lld ms", b.list.last, b.fresh.files,
	         b.fresh.bytes, (long long)(b.fresh.ended_us - b.fresh.begun_us) / 1000);
	return forget(&b, err);
}

/* --- going back */

static int back_run(const struct vault *v, const struct job *job, int out, char *said, size_t size, struct err *err)
{
	bool by_hand = job->type == ORDER_VAULT_RESTORE;
	int64_t begun_us = clock_monotonic_us();
	const struct snapshot *to =
	        by_hand ? snapshots_find(&v->snapshots, job->number) : snapshots_before(&v->snapshots, job->before_us);
	size_t n;
	if (!to && by_hand)
		return err_set(err, -ENOENT, "there is no snapshot %" PRIu64, job->number);
	if (!to)
		return err_set(err, -ENODATA,
		               "there is no good snapshot from before the first evidence: the data stays as it is");
	int r = rollback_run(v, job, to, out, &n, err);
	snprintf(said, size, "the data is as in snapshot %" PRIu64 "; %zu changes were put aside; %lld ms", to->number, n,
	         (long long)(clock_monotonic_us() - begun_us) / 1000);
	return r;
}

void job_run(const struct vault *v, const struct job *job, int out)
{
	struct err err = {0};
	struct job_word end = {.says = JOB_END};
	if (job->type == ORDER_VAULT_BACKUP)
		end.status = backup_run(v, job, out, end.text, sizeof(end.text), &err);
	else if (job->type == ORDER_VAULT_RETURN)
		end.status = return_run(v, job, out, &err);
	else
		end.status = back_run(v, job, out, end.text, sizeof(end.text), &err);
	if (end.status < 0)
		text_copy(end.text, sizeof(end.text), err.text);
	job_say(out, &end);
}
