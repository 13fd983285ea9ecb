/* See valid.h. In an instance's folder: secret.NAME.line, secret.NAME.key, and `revoked` once that is so. */
#include "act/vm/valid.h"

#include "act/vm/folder.h"
#include "lib/bytes.h"
#include "lib/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define NAMES_MAX (2 * CONF_SECRETS_MAX)     /* of one service: guests of an older configuration have others too */
#define FOLDERS_MAX (2 * WIRE_INSTANCES_MAX) /* leftovers of a crash among them */
#define KEY_FILES_MAX (FOLDERS_MAX * CONF_SECRETS_MAX)
#define FILE_NAME_MAX 64
#define REVOKED "revoked"
#define PREFIX "secret."

struct list { /* of one secret */
	char name[CONF_NAME_MAX];
	char text[FOLDERS_MAX * SECRET_LINE_MAX];
	size_t size;
};

struct lists { /* of one service */
	const struct conf_service *service;
	char dir[VM_PATH_MAX + CONF_NAME_MAX + 16];
	struct list list[NAMES_MAX];
	size_t n_lists;
	char key_files[KEY_FILES_MAX][FILE_NAME_MAX];
	size_t n_key_files;
};

/* --- an instance's folder */

static int keep_file(const struct vm *vm, uint32_t number, const char *name, const char *kind, const char *text, struct err *err)
{
	char path[VM_PATH_MAX], file[FILE_NAME_MAX];
	snprintf(file, sizeof(file), PREFIX "%s.%s", name, kind);
	folder_path(vm, number, file, path);
	return file_write(path, text, strlen(text), 0600, err);
}

int valid_keep(const struct vm *vm, uint32_t number, const struct secret *secret, struct err *err)
{
	int r = keep_file(vm, number, secret->conf->name, "line", secret->line, err);
	if (r == 0 && secret->private_half[0])
		r = keep_file(vm, number, secret->conf->name, "key", secret->private_half, err);
	return r;
}

bool valid_is_revoked(const struct vm *vm, uint32_t number)
{
	char path[VM_PATH_MAX];
	folder_path(vm, number, REVOKED, path);
	return access(path, F_OK) == 0;
}

/* "secret.NAME.line" -> NAME, true when it ends in `kind`. */
static bool kept_name(const char *file, const char *kind, char ret_name[static CONF_NAME_MAX])
{
	const char *dot = strrchr(file, '.');
	if (strncmp(file, PREFIX, strlen(PREFIX)) != 0 || dot < file + strlen(PREFIX) || strcmp(dot + 1, kind) != 0)
		return false;
	snprintf(ret_name, CONF_NAME_MAX, "%.*s", (int)(dot - file - (int)strlen(PREFIX)), file + strlen(PREFIX));
	return true;
}

static size_t count_kept(const struct vm *vm, uint32_t number)
{
	char path[VM_PATH_MAX], name[CONF_NAME_MAX];
	size_t n = 0;
	folder_path(vm, number, NULL, path);
	DIR *dir = opendir(path);
	for (const struct dirent *entry; dir && (entry = readdir(dir));)
		n += kept_name(entry->d_name, "line", name);
	if (dir)
		closedir(dir);
	return n;
}

/* --- files of the lists */

static const struct conf_secret *secret_named(const struct conf_service *service, const char *name)
{
	for (size_t i = 0; i < service->n_secrets; i++)
		if (strcmp(service->secrets[i].name, name) == 0)
			return &service->secrets[i];
	return NULL;
}

static int group_find(const char *name, gid_t *ret_group)
{
	char room[4096];
	struct group entry, *found = NULL;
	if (getgrnam_r(name, &entry, room, sizeof(room), &found) != 0 || !found)
		return -ENOENT;
	*ret_group = found->gr_gid;
	return 0;
}

int valid_groups(const struct conf_service *service, struct err *err)
{
	gid_t group;
	for (size_t i = 0; i < service->n_secrets; i++)
		if (service->secrets[i].group[0] && group_find(service->secrets[i].group, &group) < 0)
			return err_set(err, -ENOENT, "secret '%s' of service '%s': there is no group '%s' on this host",
			               service->secrets[i].name, service->name, service->secrets[i].group);
	return 0;
}

/* Who may read it beside root. A group that is gone reads nothing; that is no reason to leave a list as it is. */
static gid_t group_of(const struct conf_service *service, const char *name)
{
	const struct conf_secret *secret = secret_named(service, name);
	gid_t group = 0;
	if (secret && secret->group[0] && group_find(secret->group, &group) < 0)
		log_warning("vm.secrets", "there is no group '%s' any more: only root can read which '%s' are valid",
		            secret->group, name);
	return group;
}

static bool is_already(const char *path, const char *text, size_t size, mode_t mode, gid_t group)
{
	struct stat status;
	auto_free uint8_t *bytes = NULL;
	size_t have;
	bool same = lstat(path, &status) == 0 && S_ISREG(status.st_mode) && (status.st_mode & 07777) == mode &&
	            status.st_gid == (group ? group : getegid()) && (size_t)status.st_size == size &&
	            file_read(path, size, &bytes, &have, NULL) == 0 && have == size && memcmp(bytes, text, size) == 0;
	if (bytes)
		explicit_bzero(bytes, size);
	return same;
}

/* Whole, with its group, or as before. Not synced: after a power cut there are no guests either. */
static int file_put(const struct lists *lists, const char *file, const char *of, const char *text, size_t size, struct err *err)
{
	char path[sizeof(lists->dir) + FILE_NAME_MAX + 8], fresh[sizeof(path) + 8];
	struct stat before;
	gid_t group = group_of(lists->service, of);
	snprintf(path, sizeof(path), "%s/%s", lists->dir, file);
	if (!secret_named(lists->service, of) && lstat(path, &before) == 0 && (before.st_mode & 0040))
		group = before.st_gid; /* of a service that was removed: its guest may still serve */
	mode_t mode = group ? 0640 : 0600;
	snprintf(fresh, sizeof(fresh), "%s/.%s", lists->dir, file);
	if (is_already(path, text, size, mode, group))
		return 0;
	unlink(fresh);
	auto_close int fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	bool put = fd >= 0 && write(fd, text, size) == (ssize_t)size && (!group || fchown(fd, (uid_t)-1, group) == 0) &&
	           fchmod(fd, mode) == 0 && rename(fresh, path) == 0;
	int r = put ? 0 : err_set(err, errno ? -errno : -EIO, "%s: cannot write it: %s", path, strerror(errno));
	if (!put)
		unlink(fresh);
	return r;
}

static int dir_make(const char *path, struct err *err)
{
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		return err_set(err, -errno, "%s: cannot make this folder: %s", path, strerror(errno));
	return 0;
}

static bool is_wanted(const struct lists *lists, const char *file)
{
	for (size_t i = 0; i < lists->n_lists; i++)
		if (strcmp(lists->list[i].name, file) == 0)
			return true;
	for (size_t i = 0; i < lists->n_key_files; i++)
		if (strcmp(lists->key_files[i], file) == 0)
			return true;
	return false;
}

static void unwanted_remove(const struct lists *lists)
{
	DIR *dir = opendir(lists->dir);
	for (const struct dirent *entry; dir && (entry = readdir(dir));)
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 && !is_wanted(lists, entry->d_name))
			folder_wipe(dirfd(dir), entry->d_name);
	if (dir)
		closedir(dir);
}

/* --- from folders to lists */

/* One list that cannot be written is no reason to leave the others as they are. */
static int first_of(int before, int now)
{
	return before < 0 ? before : now;
}

static struct list *list_of(struct lists *lists, const char *name)
{
	for (size_t i = 0; i < lists->n_lists; i++)
		if (strcmp(lists->list[i].name, name) == 0)
			return &lists->list[i];
	if (lists->n_lists == NAMES_MAX)
		return NULL;
	struct list *list = &lists->list[lists->n_lists++];
	text_copy(list->name, sizeof(list->name), name);
	return list;
}

static int take_line(struct lists *lists, const char *name, const char *path, struct err *err)
{
	auto_free uint8_t *bytes = NULL;
	size_t size;
	struct list *list = list_of(lists, name);
	int r = file_read(path, SECRET_LINE_MAX - 1, &bytes, &size, err);
	if (r < 0 || !list)
		return r;
	if (size <= sizeof(list->text) - list->size) {
		memcpy(list->text + list->size, bytes, size);
		list->size += size;
	}
	explicit_bzero(bytes, size);
	return 0;
}

static int take_key(struct lists *lists, uint32_t number, const char *name, const char *path, struct err *err)
{
	auto_free uint8_t *bytes = NULL;
	size_t size;
	if (lists->n_key_files == KEY_FILES_MAX)
		return 0;
	char *file = lists->key_files[lists->n_key_files];
	snprintf(file, FILE_NAME_MAX, "%s.kb-%u", name, number);
	int r = file_read(path, SSH_PRIVATE_MAX - 1, &bytes, &size, err);
	if (r < 0)
		return r;
	lists->n_key_files++;
	r = file_put(lists, file, name, (const char *)bytes, size, err);
	explicit_bzero(bytes, size);
	return r;
}

static int take_folder(const struct vm *vm, struct lists *lists, uint32_t number, struct err *err)
{
	char dir_path[VM_PATH_MAX], path[VM_PATH_MAX], name[CONF_NAME_MAX];
	struct folder_record record;
	if (valid_is_revoked(vm, number) || folder_record_read(vm, number, &record, NULL) < 0 ||
	    strcmp(record.service, lists->service->name) != 0)
		return 0; /* nothing that stands */
	folder_path(vm, number, NULL, dir_path);
	DIR *dir = opendir(dir_path);
	int r = 0;
	for (const struct dirent *entry; dir && (entry = readdir(dir));) {
		if (strlen(entry->d_name) >= FILE_NAME_MAX)
			continue;
		folder_path(vm, number, entry->d_name, path);
		if (kept_name(entry->d_name, "line", name))
			r = first_of(r, take_line(lists, name, path, err));
		else if (kept_name(entry->d_name, "key", name))
			r = first_of(r, take_key(lists, number, name, path, err));
	}
	if (dir)
		closedir(dir);
	return r;
}

static int by_number(const void *a, const void *b)
{
	uint32_t first = *(const uint32_t *)a, second = *(const uint32_t *)b;
	return (first > second) - (first < second);
}

static int service_lists(const struct vm *vm, struct lists *lists, const uint32_t *numbers, size_t n, struct err *err)
{
	int r = 0;
	for (size_t i = 0; i < lists->service->n_secrets; i++) /* also one that nobody has yet */
		(void)list_of(lists, lists->service->secrets[i].name);
	for (size_t i = 0; i < n; i++)
		r = first_of(r, take_folder(vm, lists, numbers[i], err));
	if (lists->n_lists == NAMES_MAX)
		log_warning("vm.secrets", "guests of service '%s' have secrets of %d names and more: further lists are not kept",
		            lists->service->name, NAMES_MAX);
	for (size_t i = 0; i < lists->n_lists; i++)
		r = first_of(r, file_put(lists, lists->list[i].name, lists->list[i].name, lists->list[i].text,
		                         lists->list[i].size, err));
	unwanted_remove(lists);
	return r;
}

static int lists_make(const struct vm *vm, struct lists *lists, const struct conf_service *service, const uint32_t *numbers,
                      size_t n, struct err *err)
{
	char dir[VM_PATH_MAX + 16];
	snprintf(dir, sizeof(dir), "%s/secrets", vm->conf.run_dir);
	memset(lists, 0, sizeof(*lists));
	lists->service = service;
	snprintf(lists->dir, sizeof(lists->dir), "%s/%s", dir, service->name);
	if (service->n_secrets == 0 && access(lists->dir, F_OK) < 0)
		return 0;
	int r = dir_make(dir, err);
	if (r == 0)
		r = dir_make(lists->dir, err);
	return r == 0 ? service_lists(vm, lists, numbers, n, err) : r;
}

/* Of a service that the configuration does not name any more: its last guests take their secrets along. */
static int lists_left(const struct vm *vm, struct lists *lists, const char *service, const uint32_t *numbers, size_t n,
                      struct err *err)
{
	char path[VM_PATH_MAX + 16];
	int r = 0;
	auto_free struct conf_service *gone = calloc(1, sizeof(*gone));
	if (!gone)
		abort();
	snprintf(path, sizeof(path), "%s/secrets", vm->conf.run_dir);
	DIR *dir = opendir(path);
	for (const struct dirent *entry; dir && (entry = readdir(dir));) {
		bool asked = entry->d_name[0] != '.' && (!service || strcmp(service, entry->d_name) == 0);
		if (asked && !conf_service_named(&vm->conf, entry->d_name) &&
		    text_copy(gone->name, sizeof(gone->name), entry->d_name))
			r = first_of(r, lists_make(vm, lists, gone, numbers, n, err));
	}
	if (dir)
		closedir(dir);
	return r;
}

int valid_lists(struct vm *vm, const char *service, struct err *err)
{
	uint32_t numbers[FOLDERS_MAX];
	int r = 0;
	auto_free struct lists *lists = malloc(sizeof(*lists));
	if (!lists)
		abort();
	pthread_mutex_lock(&vm->valid_lock);
	size_t n = folder_list(vm, numbers, countof(numbers));
	qsort(numbers, n, sizeof(numbers[0]), by_number);
	for (size_t s = 0; s < vm->conf.n_services; s++)
		if (!service || strcmp(service, vm->conf.services[s].name) == 0)
			r = first_of(r, lists_make(vm, lists, &vm->conf.services[s], numbers, n, err));
	r = first_of(r, lists_left(vm, lists, service, numbers, n, err));
	pthread_mutex_unlock(&vm->valid_lock);
	explicit_bzero(lists, sizeof(*lists));
	return r;
}

int valid_revoke(struct vm *vm, uint32_t number, size_t *ret_n, struct err *err)
{
	char path[VM_PATH_MAX];
	struct folder_record record;
	const char *service = folder_record_read(vm, number, &record, NULL) == 0 ? record.service : NULL;
	folder_path(vm, number, NULL, path);
	*ret_n = 0;
	if (access(path, F_OK) < 0) /* gone, but perhaps not out of a list that could not be written then */
		return valid_lists(vm, NULL, err);
	folder_path(vm, number, REVOKED, path);
	int r = file_write(path, "", 0, 0600, err);
	if (r == 0)
		r = valid_lists(vm, service, err);
	if (r == 0)
		*ret_n = count_kept(vm, number);
	return r;
}
