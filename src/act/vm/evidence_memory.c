/*
 * The memory image of a fallen guest. It holds all that the guest changed of its image too: both its disks can only be read, and
 * what it writes over its root lies in a tmpfs (images/guest/initrd-init), in whole pages.
 *
 * QEMU cannot be told to stop writing, and a disk may be slow. So it writes into a pipe: we read, for as long as there is time,
 * and what is full of zeros becomes a hole. When we close our end, QEMU gets an error and is done. One that did not even begin
 * in time finds a pipe later on that nobody reads, and waits there until somebody looks into it or ends QEMU: without the pipe it
 * would make a file.
 */
#include "act/vm/evidence.h"

#include "act/vm/cap.h"
#include "act/vm/folder.h"
#include "act/vm/process.h"
#include "lib/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libvirt/libvirt-qemu.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define PIPE "memory.pipe"
#define BLOCK (64u << 10)
#define PIPE_BYTES (1 << 20) /* a QEMU that stands behind all others should not have to wait for us as well */
#define LOOK_MS 20
#define END_US 500000 /* QEMU's answer, once all is read or our end is closed */

static const char writing[] = "writing the guest's memory";

/* QEMU at work, asked by a thread of its own. It may never answer (it may stand still itself): whoever lets go last frees. */
struct pour {
	virDomainPtr domain;
	char command[VM_PATH_MAX + 256];
	atomic_int holders;
	atomic_bool ended; /* status and err are there */
	int status;
	struct err err;
};

static void pour_let_go(struct pour *pour)
{
	if (atomic_fetch_sub(&pour->holders, 1) > 1)
		return;
	virDomainFree(pour->domain);
	free(pour);
}

static void *pour_run(void *arg)
{
	struct pour *pour = arg;
	auto_free char *reply = NULL;
	if (virDomainQemuMonitorCommand(pour->domain, pour->command, &reply, 0) < 0)
		pour->status = vm_libvirt_error(&pour->err, writing);
	else if (strstr(reply, "\"error\""))
		pour->status = err_set(&pour->err, -EIO, "%s: QEMU says: %.200s", writing, reply);
	atomic_store(&pour->ended, true);
	pour_let_go(pour);
	return NULL;
}

static struct pour *pour_new(virDomainPtr domain, uint64_t from, uint64_t bytes, const char *path)
{
	struct pour *pour = calloc(1, sizeof(*pour));
	if (!pour)
		abort();
	snprintf(pour->command, sizeof(pour->command),
	         "{\"execute\":\"pmemsave\",\"arguments\":{\"val\":%" PRIu64 ",\"size\":%" PRIu64 ",\"filename\":\"%s\"}}", from,
	         bytes, path);
	pour->domain = domain;
	virDomainRef(domain);
	atomic_store(&pour->holders, 2);
	pthread_t thread;
	if (pthread_create(&thread, NULL, pour_run, pour) != 0)
		abort();
	pthread_detach(thread);
	return pour;
}

struct copy {
	int from, to;
	uint64_t wanted, copied;
	size_t filled; /* of `block`, not written yet */
	uint8_t block[BLOCK];
};

static int block_write(struct copy *copy)
{
	const uint8_t *block = copy->block;
	size_t size = copy->filled, put = 0;
	bool zeros = size == 0 || (block[0] == 0 && memcmp(block, block + 1, size - 1) == 0);
	copy->filled = 0;
	while (!zeros && put < size) {
		ssize_t n = pwrite(copy->to, block + put, size - put, (off_t)(copy->copied - size + put));
		if (n < 0 && errno != EINTR)
			return -errno;
		put += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

/* Reads what is in the pipe: the number of bytes, 0 when nothing is there now, or -errno of writing. */
static int copy_some(struct copy *copy)
{
	struct pollfd readable = {.fd = copy->from, .events = POLLIN};
	uint64_t missing = copy->wanted - copy->copied;
	size_t room = BLOCK - copy->filled;
	if (poll(&readable, 1, LOOK_MS) <= 0)
		return 0;
	ssize_t got = read(copy->from, copy->block + copy->filled, missing < room ? (size_t)missing : room);
	if (got <= 0) { /* QEMU has closed its end, and will say why */
		usleep(1000);
		return 0;
	}
	copy->filled += (size_t)got;
	copy->copied += (uint64_t)got;
	int r = copy->filled == BLOCK || copy->copied == copy->wanted ? block_write(copy) : 0;
	return r < 0 ? r : (int)got;
}

/* Until all is there, QEMU ends, or the time does. */
static int copy_run(struct copy *copy, const struct pour *pour, int64_t end_us, struct err *err)
{
	while (copy->copied < copy->wanted) {
		bool ended = atomic_load(&pour->ended); /* if so, all that it wrote is in the pipe by now */
		int r = copy_some(copy);
		if (r < 0)
			return err_set(err, r, "the memory image cannot be written: %s", strerror(-r));
		if (r == 0 && ended)
			return pour->status < 0 ? err_set(err, pour->status, "%s", pour->err.text)
			                        : err_set(err, -EIO, "QEMU wrote %" PRIu64 " bytes of memory, not %" PRIu64,
			                                  copy->copied, copy->wanted);
		if (clock_monotonic_us() > end_us)
			return err_set(err, -ETIMEDOUT, "the guest's memory could not be written in time");
	}
	/* Not forced onto the disk, for which there is no limit in time: after a power cut the sum tells whether it came. */
	return ftruncate(copy->to, (off_t)copy->wanted) < 0
	               ? err_set(err, -errno, "the memory image cannot be written: %s", strerror(errno))
	               : 0;
}

/* Who waits at it for a reader has had one now, and gets an error. */
static void pipe_release(const char *path)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
	if (fd >= 0)
		close(fd);
}

void evidence_memory_release(const struct vm *vm)
{
	uint32_t numbers[WIRE_INSTANCES_MAX];
	char path[VM_PATH_MAX];
	size_t n = folder_list(vm, numbers, countof(numbers));
	for (size_t i = 0; i < n; i++) {
		folder_path(vm, numbers[i], PIPE, path);
		pipe_release(path);
	}
}

static int pipe_make(const char *path, struct err *err)
{
	pipe_release(path); /* of an earlier try */
	unlink(path);
	if (mkfifo(path, 0600) < 0)
		return err_set(err, -errno, "%s: cannot make this pipe: %s", path, strerror(errno));
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return err_set(err, -errno, "%s: cannot open it: %s", path, strerror(errno));
	fcntl(fd, F_SETPIPE_SZ, PIPE_BYTES);
	return fd;
}

/* One stretch of physical memory. */
static int memory_pour(struct taking *t, virDomainPtr domain, uint64_t from, uint64_t bytes, const char *to, struct err *err)
{
	char path[VM_PATH_MAX];
	struct copy copy = {.wanted = bytes};
	folder_path(t->vm, t->order->instance, PIPE, path);
	auto_close int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (out < 0)
		return err_set(err, -errno, "%s: cannot write it: %s", to, strerror(errno));
	int in = pipe_make(path, err);
	if (in < 0)
		return in;
	copy.from = in;
	copy.to = out;
	struct pour *pour = pour_new(domain, from, bytes, path);
	cap_self(CAP_BEHIND);
	int r = copy_run(&copy, pour, t->end_us, err);
	cap_self(CAP_USUAL);
	close(in);
	for (int64_t end_us = clock_monotonic_us() + END_US; !atomic_load(&pour->ended) && clock_monotonic_us() < end_us;)
		usleep(1000);
	if (atomic_load(&pour->ended))
		unlink(path);
	pour_let_go(pour);
	return r;
}

/* The machine keeps the addresses from 2 to 4 GiB for devices: memory beyond 2 GiB goes on at 4 GiB and into a file of its own.
 *
 * Why not virDomainCoreDump: in libvirt 9.0 it needs a helper program that comes with its daemons only, and QEMU's own
 * dump-guest-memory ends in an event that crashes libvirt when it did not ask for it. */
static int memory_part(struct taking *t, virDomainPtr domain, uint64_t from, uint64_t bytes, const char *name, struct err *err)
{
	char path[VM_PATH_MAX + 24 + WIRE_FILE_MAX];
	int r = 0;
	snprintf(path, sizeof(path), "%s/%s", t->folder, name);
	if (t->vm->embed)
		r = memory_pour(t, domain, from, bytes, path, err);
	else if (virDomainCoreDumpWithFormat(domain, path, VIR_DOMAIN_CORE_DUMP_FORMAT_RAW, VIR_DUMP_MEMORY_ONLY) < 0)
		r = vm_libvirt_error(err, writing);
	if (r == 0)
		r = evidence_keep(t, name, t->end_us, err);
	if (r < 0)
		unlink(path);
	return r;
}

static int memory_dump(struct taking *t, virDomainPtr domain, uint64_t bytes, struct err *err)
{
	const uint64_t low = 2ull << 30, high_at = 4ull << 30;
	char name[WIRE_FILE_MAX];
	snprintf(name, sizeof(name), "kb-%u.memory", t->order->instance);
	int r = memory_part(t, domain, 0, bytes < low ? bytes : low, name, err);
	if (r < 0 || !t->vm->embed || bytes <= low)
		return r;
	snprintf(name, sizeof(name), "kb-%u.memory.high", t->order->instance);
	return memory_part(t, domain, high_at, bytes - low, name, err);
}

void evidence_memory_forget(const struct taking *t)
{
	static const char *const ends[] = {"", ".high"};
	char path[VM_PATH_MAX + 24 + WIRE_FILE_MAX];
	for (size_t i = 0; i < countof(ends); i++) {
		snprintf(path, sizeof(path), "%s/kb-%u.memory%s", t->folder, t->order->instance, ends[i]);
		unlink(path);
	}
}

static void memory_take(struct taking *t, virDomainPtr domain)
{
	virDomainInfo info;
	struct err why = {0};
	if (virDomainGetInfo(domain, &info) < 0) {
		vm_libvirt_error(&why, "asking for the guest's memory size");
		taking_miss(t, "memory", &why);
		return;
	}
	uint64_t bytes = (uint64_t)info.maxMem << 10;
	if (!evidence_room(t, "memory", bytes))
		return;
	cap_fallen(process_find(t->vm, t->order->instance));
	if (memory_dump(t, domain, bytes, &why) < 0) {
		taking_miss(t, "memory", &why);
		return;
	}
	taking_say(t, "memory (%" PRIu64 " MiB)", bytes >> 20);
	t->some = true;
}

void evidence_memory(struct taking *t, const struct conf_instance *instance)
{
	virDomainPtr domain = NULL;
	struct err why = {0};
	int r = vm_domain(t->vm, instance, &domain, &why);
	if (r == 0) {
		memory_take(t, domain);
		virDomainFree(domain);
	} else if (r == -ENOENT) {
		taking_say(t, "no memory, the guest is gone");
	} else {
		taking_miss(t, "memory", &why);
	}
}
