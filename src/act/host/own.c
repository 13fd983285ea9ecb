/* Nothing is waited for when a file is opened: whoever may change it may put a pipe or a terminal in its place. */
#include "act/host/own.h"
#include "lib/bytes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define CHUNK 65536
#define HASHED_MAX (256u << 20) /* of one file */

static bool file_hash(int fd, uint8_t ret_sum[static OWN_SHA256])
{
	static uint8_t chunk[CHUNK];
	struct sha256_ctx hash;
	size_t total = 0;
	ssize_t got;
	sha256_init(&hash);
	while ((got = read(fd, chunk, sizeof(chunk))) > 0 && (total += (size_t)got) <= HASHED_MAX)
		sha256_update(&hash, (size_t)got, chunk);
	sha256_digest(&hash, OWN_SHA256, ret_sum);
	return got == 0;
}

/* A link is itself: its mode says so, and what it points to is hashed if it is a plain file, since that is what is used. */
static void file_look(struct own_file *file)
{
	struct stat status;
	if (lstat(file->path, &status) != 0) {
		file->error = errno;
		return;
	}
	file->mode = status.st_mode;
	file->uid = status.st_uid;
	file->gid = status.st_gid;
	auto_close int fd = open(file->path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &status) != 0)
		file->error = errno;
	else if (!S_ISREG(status.st_mode))
		file->error = EINVAL;
	else if (!file_hash(fd, file->sha256))
		file->error = EIO;
}

static void add(struct own *own, enum own_kind kind, bool listed, const char *path)
{
	if (!*path || own_find(own, path))
		return;
	if (own->n == OWN_MAX || strlen(path) >= sizeof(own->files[0].path)) {
		own->crowded = true;
		return;
	}
	struct own_file *file = &own->files[own->n++];
	*file = (struct own_file){.kind = kind, .listed = listed};
	text_copy(file->path, sizeof(file->path), path);
	file_look(file);
}

static void add_in(struct own *own, enum own_kind kind, const char *folder, const char *name)
{
	char path[PATH_MAX];
	if (snprintf(path, sizeof(path), "%s/%s", folder, name) < (int)sizeof(path))
		add(own, kind, false, path);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static void add_listed(struct own *own, enum own_kind kind, const char *folder, const char *ending)
{
	struct dirent **entries;
	char path[PATH_MAX];
	int n = scandir(folder, &entries, NULL, by_name);
	for (int i = 0; i < n; i++) {
		const char *dot = strrchr(entries[i]->d_name, '.');
		if (dot && strcmp(dot, ending) == 0 && entries[i]->d_name[0] != '.' &&
		    snprintf(path, sizeof(path), "%s/%s", folder, entries[i]->d_name) < (int)sizeof(path))
			add(own, kind, true, path);
		free(entries[i]);
	}
	if (n >= 0)
		free(entries);
}

static void add_units(struct own *own, const char *root)
{
	static const char *const folders[] = {"/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system",
	                                      "/usr/lib/systemd/system"};
	char path[PATH_MAX];
	for (size_t i = 0; i < countof(folders); i++) {
		snprintf(path, sizeof(path), "%s%s/koboshi.service", root, folders[i]);
		add(own, OWN_UNIT, false, path);
		snprintf(path, sizeof(path), "%s%s/koboshi.service.d", root, folders[i]);
		add_listed(own, OWN_UNIT, path, ".conf");
	}
}

void own_look(const struct own_places *places, struct own *ret_own)
{
	static const char *const programs[] = {"koboshi-engine", "koboshi-net",  "koboshi-vm",   "koboshi-decoy",
	                                       "koboshi-host",   "koboshi-scan", "koboshi-vault"};
	const struct conf *conf = places->conf;
	char drop_ins[PATH_MAX];
	ret_own->n = 0;
	ret_own->crowded = false;
	add(ret_own, OWN_PROGRAM, false, places->koboshid);
	for (size_t i = 0; i < countof(programs); i++)
		add_in(ret_own, OWN_PROGRAM, places->libexec, programs[i]);
	add(ret_own, OWN_CONFIG, false, places->config);
	add(ret_own, OWN_CONFIG, false, conf->image_key);
	for (size_t i = 0; i < conf->n_lessons_trust; i++)
		add(ret_own, OWN_CONFIG, false, conf->lessons_trust[i]);
	add(ret_own, OWN_CONFIG, false, conf->files.good);
	add(ret_own, OWN_CONFIG, false, conf->files.bad);
	snprintf(drop_ins, sizeof(drop_ins), "%s.d", places->config);
	add_listed(ret_own, OWN_CONFIG, drop_ins, ".yaml");
	if (conf->files.rules[0]) {
		add_listed(ret_own, OWN_CONFIG, conf->files.rules, ".yar");
		add_listed(ret_own, OWN_CONFIG, conf->files.rules, ".yara");
	}
	add_units(ret_own, places->root);
}

const struct own_file *own_find(const struct own *own, const char *path)
{
	for (size_t i = 0; i < own->n; i++)
		if (strcmp(own->files[i].path, path) == 0)
			return &own->files[i];
	return NULL;
}

bool own_differ(const struct own_file *was, const struct own_file *is, char *ret_text, size_t size)
{
	size_t used = 0;
	if (was->error != is->error) {
		if (is->error == ENOENT)
			snprintf(ret_text, size, "is gone");
		else if (was->error == ENOENT)
			snprintf(ret_text, size, "was not there before");
		else
			snprintf(ret_text, size, "cannot be read%s%s", is->error ? ": " : " no more: it can now",
			         is->error ? strerror(is->error) : "");
		return true;
	}
	if (is->error == ENOENT)
		return false;
	if (memcmp(was->sha256, is->sha256, OWN_SHA256) != 0)
		used += (size_t)snprintf(ret_text + used, size - used, "has another content");
	if (was->mode != is->mode && used < size)
		used += (size_t)snprintf(ret_text + used, size - used, "%shas mode %o (it was %o)", used ? ", " : "",
		                         is->mode & 07777, was->mode & 07777);
	if ((was->uid != is->uid || was->gid != is->gid) && used < size)
		used += (size_t)snprintf(ret_text + used, size - used, "%sbelongs to %u:%u (it was %u:%u)", used ? ", " : "",
		                         is->uid, is->gid, was->uid, was->gid);
	return used > 0;
}
