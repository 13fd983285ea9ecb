/*
 * ORDER_VM_EVIDENCE: what a fallen guest leaves behind to be looked at: its console and its memory, below
 * <state_dir>/evidence/<incident>/ with SHA256SUMS beside them. Bounded twice (one incident, all together), and never in the way:
 * it runs behind all others, one at a time. The oldest evidence makes room, but only of incidents that are closed. A part that
 * cannot be had does not take the others along; what is missing or left out for want of room is said in the answer.
 *
 * The memory holds the guest's secrets: the folders are root's alone.
 */
#include "act/vm/orders.h"

#include "act/vm/cap.h"
#include "act/vm/folder.h"
#include "act/vm/process.h"
#include "lib/bytes.h"
#include "lib/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libvirt/libvirt-qemu.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#define CONSOLE_MAX (FOLDER_CONSOLE_MAX + (4u << 20)) /* it may have outgrown its limit since the last look */
#define DISK_LEFT (64ull << 20)                       /* evidence never takes the last of a disk */
#define INCIDENTS_MAX 4096

static uint64_t folder_bytes(int at, const char *name, int depth)
{
	uint64_t sum = 0;
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir && fd >= 0)
		close(fd);
	size_t seen = 0;
	for (const struct dirent *entry; dir && seen < INCIDENTS_MAX && (entry = readdir(dir)); seen++) {
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

static int hash_file(const char *path, char ret_hex[static 65], struct err *err)
{
	uint8_t digest[EVP_MAX_MD_SIZE];
	unsigned size = 0;
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return err_set(err, -errno, "%s: cannot be read back: %s", path, strerror(errno));
	auto_free uint8_t *buffer = malloc(1 << 18);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	if (!buffer || !ctx)
		abort();
	cap_self(CAP_BEHIND); /* hashing stands behind the guests */
	bool good = EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1;
	ssize_t got = 0;
	while (good && (got = read(fd, buffer, 1 << 18)) > 0)
		good = EVP_DigestUpdate(ctx, buffer, (size_t)got) == 1;
	good = good && got == 0 && EVP_DigestFinal_ex(ctx, digest, &size) == 1 && size == 32;
	cap_self(CAP_USUAL);
	EVP_MD_CTX_free(ctx);
	if (!good)
		return err_set(err, -EIO, "%s: cannot be hashed", path);
	bytes_to_hex(digest, 32, ret_hex);
	return 0;
}

/* SHA256SUMS with this file's line new and all others kept: the net actuator's flows may lie in the same folder. */
static int sums_add(const char *folder, const char *name, struct err *err)
{
	char path[VM_PATH_MAX + 64], hex[65], *text;
	auto_free uint8_t *old = NULL;
	size_t size, old_size;
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	int r = hash_file(path, hex, err);
	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "%s/SHA256SUMS", folder);
	FILE *out = open_memstream(&text, &size);
	if (!out)
		abort();
	if (file_read(path, 64 << 10, &old, &old_size, NULL) == 0) {
		char *rest = (char *)old;
		for (char *line; (line = strsep(&rest, "\n"));)
			if (strlen(line) > 66 && strcmp(line + 66, name) != 0)
				fprintf(out, "%s\n", line);
	}
	fprintf(out, "%s  %s\n", hex, name);
	if (fclose(out) != 0)
		abort();
	r = file_write(path, text, size, 0600, err);
	free(text);
	return r;
}

struct kept { /* what the answer says: what was kept, and what is missing and why */
	bool some;
	char text[160];
};

static void printf_like(2, 3) kept_say(struct kept *kept, const char *format, ...)
{
	size_t used = strlen(kept->text);
	va_list args;
	va_start(args, format);
	int more = snprintf(kept->text + used, sizeof(kept->text) - used, "%s", used ? ", " : "");
	used += more > 0 ? (size_t)more : 0;
	if (used < sizeof(kept->text))
		vsnprintf(kept->text + used, sizeof(kept->text) - used, format, args);
	va_end(args);
}

/* The answer has little room: the whole sentence is in the log. `err` is the first reason of all, which the answer carries when
 * nothing else came of it. */
static void kept_miss(struct kept *kept, const char *what, const struct err *why, struct err *err)
{
	log_warning("vm.evidence", "no %s: %s", what, why->text);
	kept_say(kept, "no %s (%s)", what, strerror(-why->code));
	if (err->code == 0)
		*err = *why;
}

/* The net actuator, which was asked first, left them there. */
static void flows_hash(uint32_t number, const char *folder, struct kept *kept, struct err *err)
{
	char name[48], path[VM_PATH_MAX + 64];
	struct err why = {0};
	snprintf(name, sizeof(name), "kb-%u.flows", number);
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	if (access(path, F_OK) < 0)
		return;
	if (sums_add(folder, name, &why) < 0) {
		kept_miss(kept, "hash of the flows", &why, err);
		return;
	}
	kept_say(kept, "flows");
	kept->some = true;
}

/* The last bytes of a file, CONSOLE_MAX at most: what a guest writes has no other limit than our looking once a second. */
static int end_read(const char *path, uint8_t **ret_bytes, size_t *ret_size, bool *ret_cut, struct err *err)
{
	struct stat status;
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &status) < 0)
		return err_set(err, -errno, "%s: cannot open it: %s", path, strerror(errno));
	bool cut = status.st_size > (off_t)CONSOLE_MAX;
	off_t from = cut ? status.st_size - (off_t)CONSOLE_MAX : 0;
	auto_free uint8_t *bytes = malloc(CONSOLE_MAX);
	if (!bytes)
		abort();
	size_t size = 0;
	for (ssize_t got; size < CONSOLE_MAX && (got = pread(fd, bytes + size, CONSOLE_MAX - size, from + (off_t)size)) != 0;
	     size += (size_t)got)
		if (got < 0)
			return err_set(err, -errno, "%s: cannot read it: %s", path, strerror(errno));
	*ret_bytes = take(&bytes);
	*ret_size = size;
	*ret_cut = cut;
	return 0;
}

static void console_take(const struct vm *vm, uint32_t number, const char *folder, struct kept *kept, struct err *err)
{
	static const struct {
		const char *file, *what;
	} parts[] = {{"console.old", "earlier console"}, {"console.log", "console"}};
	char path[VM_PATH_MAX], name[48], to[VM_PATH_MAX + 64];
	for (size_t i = 0; i < countof(parts); i++) {
		auto_free uint8_t *bytes = NULL;
		size_t size = 0;
		bool cut = false;
		struct err why = {0};
		folder_path(vm, number, parts[i].file, path);
		int r = end_read(path, &bytes, &size, &cut, &why);
		if (r == -ENOENT && i == 0)
			continue; /* it was never cut */
		snprintf(name, sizeof(name), "kb-%u.%s", number, parts[i].file);
		snprintf(to, sizeof(to), "%s/%s", folder, name);
		if (r == 0)
			r = file_write(to, bytes, size, 0600, &why);
		if (r == 0)
			r = sums_add(folder, name, &why);
		if (r < 0) {
			kept_miss(kept, parts[i].what, &why, err);
			continue;
		}
		if (cut)
			kept_say(kept, "the last %u MiB of its %s", CONSOLE_MAX >> 20, parts[i].what);
		else if (i == 1)
			kept_say(kept, "console");
		kept->some = true;
	}
}

/* The lowest number below `limit` that has a folder, 0 when none has. */
static uint64_t oldest_folder(const struct vm *vm, uint64_t limit)
{
	uint64_t oldest = 0;
	DIR *dir = opendir(vm->evidence);
	for (const struct dirent *entry; dir && (entry = readdir(dir));) {
		uint64_t number =
		        strspn(entry->d_name, "0123456789") == strlen(entry->d_name) ? strtoull(entry->d_name, NULL, 10) : 0;
		if (number > 0 && number < limit && (!oldest || number < oldest))
			oldest = number;
	}
	if (dir)
		closedir(dir);
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

static void make_room(const struct vm *vm, uint64_t bytes, uint64_t closed_below)
{
	uint64_t oldest;
	while (folder_bytes(AT_FDCWD, vm->evidence, 1) + bytes > vm->conf.evidence_total &&
	       (oldest = oldest_folder(vm, closed_below)) && folder_drop(vm, oldest))
		;
}

/* Why the memory must not be taken, NULL when it may. */
static const char *memory_refused(const struct vm *vm, uint64_t bytes, const char *folder, char *text, size_t size)
{
	struct statvfs disk;
	uint64_t here = folder_bytes(AT_FDCWD, folder, 0), all = folder_bytes(AT_FDCWD, vm->evidence, 1);
	if (here + bytes > vm->conf.evidence_bytes)
		snprintf(text, size,
		         "memory (%" PRIu64 " MiB) left out: more than evidence of one incident may be (%" PRIu64 " MiB)",
		         bytes >> 20, vm->conf.evidence_bytes >> 20);
	else if (all + bytes > vm->conf.evidence_total)
		snprintf(text, size,
		         "memory left out: with the evidence of open incidents it would exceed %" PRIu64
		         " MiB ('evidence_total')",
		         vm->conf.evidence_total >> 20);
	else if (statvfs(folder, &disk) < 0 || (uint64_t)disk.f_bavail * disk.f_frsize < bytes + DISK_LEFT)
		snprintf(text, size, "memory left out: the disk of %s is nearly full", vm->evidence);
	else
		return NULL;
	return text;
}

/* One stretch of physical memory, written by QEMU. */
static int memory_save(virDomainPtr domain, uint64_t from, uint64_t bytes, const char *path, struct err *err)
{
	char command[VM_PATH_MAX + 256];
	auto_free char *reply = NULL;
	snprintf(command, sizeof(command),
	         "{\"execute\":\"pmemsave\",\"arguments\":{\"val\":%" PRIu64 ",\"size\":%" PRIu64 ",\"filename\":\"%s\"}}", from,
	         bytes, path);
	if (virDomainQemuMonitorCommand(domain, command, &reply, 0) < 0)
		return vm_libvirt_error(err, "writing the guest's memory");
	if (strstr(reply, "\"error\""))
		return err_set(err, -EIO, "writing the guest's memory: QEMU says: %.200s", reply);
	return chmod(path, 0600) < 0 ? err_set(err, -errno, "%s: %s", path, strerror(errno)) : 0;
}

/* The machine keeps the addresses from 2 to 4 GiB for devices: memory beyond 2 GiB goes on at 4 GiB and into a file of its own.
 *
 * Why not virDomainCoreDump: in libvirt 9.0 it needs a helper program that comes with its daemons only, and QEMU's own
 * dump-guest-memory ends in an event that crashes libvirt when it did not ask for it. */
static int memory_dump(const struct vm *vm, virDomainPtr domain, uint64_t bytes, const char *folder, const char *name,
                       struct err *err)
{
	const uint64_t low = 2ull << 30, high_at = 4ull << 30;
	char path[VM_PATH_MAX + 64], high[64];
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	if (!vm->embed && virDomainCoreDumpWithFormat(domain, path, VIR_DOMAIN_CORE_DUMP_FORMAT_RAW, VIR_DUMP_MEMORY_ONLY) < 0)
		return vm_libvirt_error(err, "writing the guest's memory");
	int r = vm->embed ? memory_save(domain, 0, bytes < low ? bytes : low, path, err) : 0;
	if (r == 0)
		r = sums_add(folder, name, err);
	if (r < 0)
		unlink(path);
	if (r < 0 || !vm->embed || bytes <= low)
		return r;
	snprintf(high, sizeof(high), "%s.high", name);
	snprintf(path, sizeof(path), "%s/%s", folder, high);
	r = memory_save(domain, high_at, bytes - low, path, err);
	if (r == 0)
		r = sums_add(folder, high, err);
	if (r < 0)
		unlink(path);
	return r;
}

/* Of an earlier try that was interrupted: it is taken once more, and must not count against itself. */
static void memory_forget(const char *folder, uint32_t number)
{
	static const char *const ends[] = {"", ".high"};
	char path[VM_PATH_MAX + 64];
	for (size_t i = 0; i < countof(ends); i++) {
		snprintf(path, sizeof(path), "%s/kb-%u.memory%s", folder, number, ends[i]);
		unlink(path);
	}
}

static void memory_take(struct vm *vm, virDomainPtr domain, const struct wire_order *order, const char *folder, struct kept *kept,
                        struct err *err)
{
	uint32_t number = order->instance;
	virDomainInfo info;
	char name[48], refused[120];
	struct err why = {0};
	if (virDomainGetInfo(domain, &info) < 0) {
		vm_libvirt_error(&why, "asking for the guest's memory size");
		kept_miss(kept, "memory", &why, err);
		return;
	}
	uint64_t bytes = (uint64_t)info.maxMem << 10;
	memory_forget(folder, number);
	if (folder_bytes(AT_FDCWD, folder, 0) + bytes <= vm->conf.evidence_bytes && bytes <= vm->conf.evidence_total)
		make_room(vm, bytes, order->closed_below < order->incident ? order->closed_below : order->incident);
	if (memory_refused(vm, bytes, folder, refused, sizeof(refused))) {
		kept_say(kept, "%s", refused);
		return;
	}
	snprintf(name, sizeof(name), "kb-%u.memory", number);
	cap_fallen(process_find(vm, number));
	if (memory_dump(vm, domain, bytes, folder, name, &why) < 0) {
		kept_miss(kept, "memory", &why, err);
		return;
	}
	kept_say(kept, "memory (%" PRIu64 " MiB)", bytes >> 20);
	kept->some = true;
}

static int folders_make(const struct vm *vm, const char *folder, struct err *err)
{
	const char *const paths[] = {vm->conf.state_dir, vm->evidence, folder};
	for (size_t i = 0; i < countof(paths); i++)
		if (mkdir(paths[i], 0700) < 0 && errno != EEXIST)
			return err_set(err, -errno, "%s: cannot make this folder: %s", paths[i], strerror(errno));
	return 0;
}

int vm_evidence(struct vm *vm, const struct wire_order *order, struct wire_answer *answer, struct err *err)
{
	struct conf_instance instance;
	char folder[VM_PATH_MAX + 24];
	struct kept kept = {0};
	struct err first = {0};
	conf_instance(&vm->conf, order->instance, &instance);
	if (vm->conf.evidence_bytes == 0) {
		snprintf(answer->text, sizeof(answer->text), "%s: no evidence is taken (evidence_bytes is 0)", instance.name);
		return 0;
	}
	snprintf(folder, sizeof(folder), "%s/%" PRIu64, vm->evidence, order->incident);
	int r = folders_make(vm, folder, err);
	if (r < 0)
		return r;
	pthread_mutex_lock(&vm->evidence_lock);
	console_take(vm, order->instance, folder, &kept, &first);
	flows_hash(order->instance, folder, &kept, &first);
	virDomainPtr domain = NULL;
	struct err why = {0};
	r = vm_domain(vm, &instance, &domain, &why);
	if (r == 0) {
		memory_take(vm, domain, order, folder, &kept, &first);
		virDomainFree(domain);
	} else if (r == -ENOENT) {
		kept_say(&kept, "no memory, the guest is gone");
	} else {
		kept_miss(&kept, "memory", &why, &first);
	}
	pthread_mutex_unlock(&vm->evidence_lock);
	if (!kept.some && first.code < 0)
		return err_set(err, first.code, "%s", first.text);
	snprintf(answer->text, sizeof(answer->text), "%s: %s", instance.name, kept.text);
	return 0;
}
