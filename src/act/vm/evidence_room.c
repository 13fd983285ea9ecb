/*
 * How much evidence there may be: of one incident, of all together, and never the last of a disk. The oldest makes room, but only
 * of incidents that are closed: the engine says below which number all are. So what is gone is always gone from the
 * lowest number on, and "of this one and all before it there is nothing" says again what an engine may not have heard.
 */
#include "act/vm/evidence.h"

#include "lib/log.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#define DISK_LEFT (64ull << 20) /* evidence never takes the last of a disk */
#define ENTRIES_MAX 4096        /* of a folder are looked at */
#define INCIDENTS_MAX 512       /* have evidence, however little: the ledger has a row for each file */
#define MIB(bytes) (((bytes) + (1u << 20) - 1) >> 20)

static uint64_t folder_bytes(int at, const char *name, int depth)
{
	uint64_t sum = 0;
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir && fd >= 0)
		close(fd);
	size_t seen = 0;
	for (const struct dirent *entry; dir && seen < ENTRIES_MAX && (entry = readdir(dir)); seen++) {
		struct stat status;
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
		    fstatat(dirfd(dir), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (S_ISREG(status.st_mode))
			sum += (uint64_t)status.st_blocks * 512;
		else if (S_ISDIR(status.st_mode) && depth > 0)
			sum += folder_bytes(dirfd(dir), entry->d_name, depth - 1);
	}
	if (dir)
		closedir(dir);
	return sum;
}

/* The lowest number below `limit` that has a folder, 0 when none has; and how many folders there are. */
static uint64_t oldest_folder(const struct vm *vm, uint64_t limit, size_t *ret_folders)
{
	uint64_t oldest = 0;
	size_t folders = 0;
	DIR *dir = opendir(vm->evidence);
	for (const struct dirent *entry; dir && (entry = readdir(dir));) {
		uint64_t number =
		        strspn(entry->d_name, "0123456789") == strlen(entry->d_name) ? strtoull(entry->d_name, NULL, 10) : 0;
		folders += number > 0;
		if (number > 0 && number < limit && (!oldest || number < oldest))
			oldest = number;
	}
	if (dir)
		closedir(dir);
	*ret_folders = folders;
	return oldest;
}

static bool folder_drop(const struct vm *vm, uint64_t incident)
{
	char path[VM_PATH_MAX + 24];
	snprintf(path, sizeof(path), "%s/%" PRIu64, vm->evidence, incident);
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	for (const struct dirent *entry; dir && (entry = readdir(dir));)
		unlinkat(dirfd(dir), entry->d_name, 0);
	if (dir)
		closedir(dir);
	if (rmdir(path) < 0)
		return false;
	log_notice("vm.evidence", "the evidence of incident %" PRIu64 " made room: it was the oldest of a closed one", incident);
	return true;
}

void evidence_room_make(struct taking *t, uint64_t bytes)
{
	const struct vm *vm = t->vm;
	const struct wire_order *order = t->order;
	uint64_t limit = order->closed_below < order->incident ? order->closed_below : order->incident, oldest;
	size_t folders;
	while ((oldest = oldest_folder(vm, limit, &folders)) &&
	       (folders > INCIDENTS_MAX || folder_bytes(AT_FDCWD, vm->evidence, 1) + bytes > vm->conf.evidence_total) &&
	       folder_drop(vm, oldest))
		;
}

bool evidence_room(struct taking *t, const char *what, uint64_t bytes)
{
	const struct vm *vm = t->vm;
	const struct conf *conf = &vm->conf;
	struct statvfs disk;
	if (folder_bytes(AT_FDCWD, t->folder, 0) + bytes > conf->evidence_bytes) {
		taking_say(t, "%s (%" PRIu64 " MiB) left out: more than evidence of one incident may be (%" PRIu64 " MiB)", what,
		           MIB(bytes), conf->evidence_bytes >> 20);
		return false;
	}
	if (bytes <= conf->evidence_total) /* else all would go in vain */
		evidence_room_make(t, bytes);
	if (folder_bytes(AT_FDCWD, vm->evidence, 1) + bytes > conf->evidence_total) {
		taking_say(t,
		           "%s left out: with the evidence of open incidents it would exceed %" PRIu64 " MiB ('evidence_total')",
		           what, conf->evidence_total >> 20);
		return false;
	}
	if (statvfs(t->folder, &disk) < 0 || (uint64_t)disk.f_bavail * disk.f_frsize < bytes + DISK_LEFT) {
		taking_say(t, "%s left out: the disk of %s is nearly full", what, vm->evidence);
		return false;
	}
	return true;
}

void evidence_room_tell(const struct taking *t)
{
	size_t folders;
	uint64_t oldest = oldest_folder(t->vm, UINT64_MAX, &folders);
	if (oldest > 1)
		outbox_evidence_dropped(t->vm->outbox, oldest - 1);
}
