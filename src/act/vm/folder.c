/* Plain files below the run folder: gone after a reboot of the host, as the guests are. See folder.h. */
#include "act/vm/folder.h"

#include "lib/bytes.h"
#include "lib/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define RECORD_MAX 640

/* A short sum (FNV-1a) of what the guest is given as secrets; it only has to differ when that does. */
static uint64_t secrets_sum(const struct conf_service *service)
{
	uint64_t sum = 0xcbf29ce484222325u;
	for (size_t i = 0; i < service->n_secrets; i++) {
		const struct conf_secret *secret = &service->secrets[i];
		char text[2 * CONF_PATH_MAX];
		snprintf(text, sizeof(text), "%s %s %s %s %s %o;", secret->name, conf_secret_kind_name(secret->kind),
		         secret->user, secret->path, secret->owner, secret->mode);
		for (const char *at = text; *at; at++)
			sum = (sum ^ (uint8_t)*at) * 0x100000001b3u;
	}
	return sum;
}

void folder_settings(const struct conf_service *service, uint32_t memory_mib, char *ret_text, size_t size)
{
	int length = snprintf(ret_text, size, "memory %u MiB%s%s", memory_mib, service->vault.path[0] ? ", vault " : "",
	                      service->vault.path);
	if (service->n_secrets)
		snprintf(ret_text + length, size - (size_t)length, ", secrets %016llx", (unsigned long long)secrets_sum(service));
}

void folder_path(const struct vm *vm, uint32_t number, const char *file, char ret_path[static VM_PATH_MAX])
{
	snprintf(ret_path, VM_PATH_MAX, "%s/%u%s%s", vm->guests, number, file ? "/" : "", file ? file : "");
}

static int folder_ensure(const char *path, mode_t mode, struct err *err)
{
	if (mkdir(path, mode) < 0 && errno != EEXIST)
		return err_set(err, -errno, "%s: cannot make this folder: %s", path, strerror(errno));
	return 0;
}

int folder_make(const struct vm *vm, uint32_t number, struct err *err)
{
	/* another libvirt runs QEMU as a user of its own, which must get through to the files that it is given */
	mode_t mode = vm->embed || vm->test ? 0700 : 0711;
	char path[VM_PATH_MAX];
	int r = folder_remove(vm, number, err);
	if (r == 0)
		r = folder_ensure(vm->guests, mode, err);
	folder_path(vm, number, NULL, path);
	return r < 0 ? r : folder_ensure(path, mode, err);
}

static int key_write(const struct vm *vm, uint32_t number, const char *file, const uint8_t key[static WIRE_KEY_SIZE],
                     struct err *err)
{
	char path[VM_PATH_MAX], hex[2 * WIRE_KEY_SIZE + 1];
	bytes_to_hex(key, WIRE_KEY_SIZE, hex);
	folder_path(vm, number, file, path);
	return file_write(path, hex, 2 * WIRE_KEY_SIZE, 0600, err);
}

int folder_agent_key_write(const struct vm *vm, uint32_t number, const uint8_t key[static WIRE_KEY_SIZE], struct err *err)
{
	return key_write(vm, number, "agent.key", key, err);
}

int folder_record_write(const struct vm *vm, uint32_t number, const struct folder_record *record, struct err *err)
{
	char path[VM_PATH_MAX], manifest[2 * IMAGE_SHA256 + 1], text[RECORD_MAX];
	int r = key_write(vm, number, "key", record->key, err);
	if (r == 0)
		r = key_write(vm, number, "agent.key", record->agent_key, err);
	if (r < 0)
		return r;
	bytes_to_hex(record->manifest, IMAGE_SHA256, manifest);
	int length = snprintf(text, sizeof(text), "service %s\nvariant %s\nmanifest %s\nsettings %s\n", record->service,
	                      record->variant, manifest, record->settings);
	folder_path(vm, number, "record", path);
	return file_write(path, text, (size_t)length, 0600, err);
}

static int key_read(const struct vm *vm, uint32_t number, const char *file, uint8_t ret_key[static WIRE_KEY_SIZE],
                    struct err *err)
{
	char path[VM_PATH_MAX];
	auto_free uint8_t *bytes = NULL;
	size_t size;
	folder_path(vm, number, file, path);
	int r = file_read(path, 2 * WIRE_KEY_SIZE, &bytes, &size, err);
	if (r < 0)
		return r;
	if (!bytes_from_hex((const char *)bytes, ret_key, WIRE_KEY_SIZE))
		return err_set(err, -EBADMSG, "%s: is no key", path);
	return 0;
}

int folder_agent_key(const struct vm *vm, uint32_t number, uint8_t ret_key[static WIRE_KEY_SIZE], struct err *err)
{
	return key_read(vm, number, "agent.key", ret_key, err);
}

int folder_record_read(const struct vm *vm, uint32_t number, struct folder_record *ret_record, struct err *err)
{
	struct folder_record record = {0};
	char path[VM_PATH_MAX], manifest[2 * IMAGE_SHA256 + 1];
	auto_free uint8_t *bytes = NULL;
	size_t size;
	folder_path(vm, number, "record", path);
	int r = file_read(path, RECORD_MAX, &bytes, &size, err);
	if (r < 0)
		return r;
	if (sscanf((const char *)bytes, "service %31s\nvariant %31s\nmanifest %64s\nsettings %255[^\n]", record.service,
	           record.variant, manifest, record.settings) < 3 || /* older ones say nothing of settings */
	    !bytes_from_hex(manifest, record.manifest, IMAGE_SHA256))
		return err_set(err, -EBADMSG, "%s: does not say service, variant and manifest", path);
	r = key_read(vm, number, "key", record.key, err);
	if (r == 0)
		*ret_record = record;
	return r;
}

void folder_wipe(int dir, const char *file)
{
	struct stat status;
	static const char zeros[4096];
	auto_close int fd = openat(dir, file, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd >= 0 && fstat(fd, &status) == 0 && S_ISREG(status.st_mode))
		for (off_t left = status.st_size; left > 0;) {
			ssize_t put = write(fd, zeros, left < (off_t)sizeof(zeros) ? (size_t)left : sizeof(zeros));
			if (put <= 0)
				break;
			left -= put;
		}
	if (fd >= 0)
		fdatasync(fd);
	unlinkat(dir, file, 0);
}

/* Not evidence: that is in another folder. What is left of the others is the guest's own and can be long. */
static bool is_secret(const char *file)
{
	return strncmp(file, "secret.", 7) == 0 || strncmp(file, "carry.", 6) == 0 || strcmp(file, "seed.iso") == 0 ||
	       strcmp(file, "key") == 0 || strcmp(file, "agent.key") == 0;
}

int folder_remove(const struct vm *vm, uint32_t number, struct err *err)
{
	char path[VM_PATH_MAX];
	folder_path(vm, number, NULL, path);
	DIR *dir = opendir(path);
	if (!dir && errno == ENOENT)
		return 0;
	if (!dir)
		return err_set(err, -errno, "%s: cannot be opened: %s", path, strerror(errno));
	for (const struct dirent *entry; (entry = readdir(dir));)
		if (is_secret(entry->d_name))
			folder_wipe(dirfd(dir), entry->d_name);
		else if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			unlinkat(dirfd(dir), entry->d_name, 0);
	closedir(dir);
	if (rmdir(path) < 0)
		return err_set(err, -errno, "%s: cannot be removed: %s", path, strerror(errno));
	return 0;
}

static void log_path(const struct vm *vm, uint32_t number, char ret_path[VM_PATH_MAX + 48])
{
	snprintf(ret_path, VM_PATH_MAX + 48, "%s/log/qemu/kb-%u.log", vm->root, number);
}

void folder_log_remove(const struct vm *vm, uint32_t number)
{
	char path[VM_PATH_MAX + 48];
	log_path(vm, number, path);
	if (vm->embed)
		unlink(path);
}

/* libvirt opened it for appending, so QEMU goes on at the new end. */
void folder_log_bound(const struct vm *vm, uint32_t number)
{
	char path[VM_PATH_MAX + 48];
	struct stat status;
	log_path(vm, number, path);
	if (vm->embed && stat(path, &status) == 0 && status.st_size > (off_t)FOLDER_LOG_MAX && truncate(path, 0) < 0)
		log_warning("vm.log", "%s has outgrown its limit and cannot be cut: %s", path, strerror(errno));
}

size_t folder_list(const struct vm *vm, uint32_t *ret_numbers, size_t max)
{
	size_t n = 0;
	DIR *dir = opendir(vm->guests);
	if (!dir)
		return 0;
	for (const struct dirent *entry; n < max && (entry = readdir(dir));) {
		char *end;
		unsigned long number = strtoul(entry->d_name, &end, 10);
		if (*end == '\0' && entry->d_name[0] != '0' && number > 0 && number <= UINT32_MAX)
			ret_numbers[n++] = (uint32_t)number;
	}
	closedir(dir);
	return n;
}

void folder_console_bound(const struct vm *vm, uint32_t number)
{
	char path[VM_PATH_MAX];
	struct stat status;
	folder_path(vm, number, "console.log", path);
	if (stat(path, &status) < 0 || status.st_size <= (off_t)FOLDER_CONSOLE_MAX)
		return;
	auto_close int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	auto_free uint8_t *tail = malloc(FOLDER_CONSOLE_KEPT);
	if (!tail)
		abort();
	ssize_t got = fd < 0 ? -1 : pread(fd, tail, FOLDER_CONSOLE_KEPT, status.st_size - (off_t)FOLDER_CONSOLE_KEPT);
	if (got < 0)
		return;
	if (ftruncate(fd, 0) < 0) /* QEMU appends, so it goes on at the new end; what it wrote since the read is lost */
		return;
	folder_path(vm, number, "console.old", path);
	auto_close int old = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	ssize_t ignored = old < 0 ? -1 : write(old, tail, (size_t)got);
	(void)ignored;
}
