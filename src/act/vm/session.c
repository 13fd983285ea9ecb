/*
 * libvirt runs embedded in this process by default: no daemon of its own to install, to watch and to lose. Its default event loop
 * is registered before the first open and runs in a thread for ever, as libvirt asks; callbacks only copy and post.
 *
 * Guests outlive this process; the next one finds them again by the files below <run_dir>/vm. A second process on the
 * same folder is refused by libvirt's lock, which is why opening is tried again: our predecessor may still be dying.
 */
#include "act/vm/session.h"

#include "act/vm/accel.h"
#include "act/vm/cap.h"
#include "act/vm/evidence.h"
#include "act/vm/folder.h"
#include "act/vm/process.h"
#include "lib/bytes.h"
#include "lib/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libvirt/virterror.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define RETRY_FIRST_MS 250
#define RETRY_MAX_MS 8000
#define TROUBLE_MS 500
#define OPEN_US 60000000 /* the embedded driver may ask each QEMU on the disk what it can do: 5-15 s */
#define LOCK_WAIT_MS 5000
#define LOCK_LOOK_MS 20
#define STATUS_MAX (4 << 20) /* what libvirt notes of a guest: some 14 KiB */
#define IO_ERROR_APART_US 50000

char *session_qemu_conf(void)
{
	/* user: QEMU must open the guest's folder (0700, root's) and in a user namespace there is no other user; it gets the tap
	 * as an open descriptor and runs under QEMU's own seccomp filter, which libvirt switches on. dynamic_ownership,
	 * remember_owner: the images stay as they are; a changed owner would also change the inode's time, by which we know that
	 * a verified file is still the same. stdio_handler: there is no virtlogd. namespaces, cgroup_controllers: mount
	 * namespaces and cgroups are not ours to arrange in containers; the boot's cap (cap.c) takes a cgroup of its own where it
	 * can. security_driver: AppArmor and SELinux labels need a policy for our folders, which a package may bring; without one
	 * libvirt would refuse to start guests. */
	char *text = strdup("# Written anew by koboshi-vm at each start; see src/act/vm/session.c for the reasons.\n"
	                    "user = \"+0\"\n"
	                    "group = \"+0\"\n"
	                    "dynamic_ownership = 0\n"
	                    "remember_owner = 0\n"
	                    "stdio_handler = \"file\"\n"
	                    "namespaces = []\n"
	                    "cgroup_controllers = []\n"
	                    "security_driver = \"none\"\n"
	                    "seccomp_sandbox = 1\n"
	                    "set_process_name = 1\n"
	                    "max_core = 0\n");
	if (!text)
		abort();
	return text;
}

static int ensure_folder(const char *path, struct err *err)
{
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return err_set(err, -errno, "%s: cannot make this folder: %s", path, strerror(errno));
	return 0;
}

/* What libvirt learns about QEMU takes it 5-15 s of processor time: kept in the state folder, it survives a reboot. */
static int cache_keep(const struct vm *vm, struct err *err)
{
	char link[VM_PATH_MAX + 16], kept[VM_PATH_MAX];
	snprintf(link, sizeof(link), "%s/cache", vm->root);
	snprintf(kept, sizeof(kept), "%s/libvirt-cache", vm->conf.state_dir);
	int r = ensure_folder(vm->conf.state_dir, err);
	if (r == 0)
		r = ensure_folder(kept, err);
	if (r == 0 && symlink(kept, link) < 0 && errno != EEXIST)
		r = err_set(err, -errno, "%s: cannot point to %s: %s", link, kept, strerror(errno));
	return r;
}

static int embed_prepare(const struct vm *vm, struct err *err)
{
	char path[VM_PATH_MAX + 16];
	auto_free char *text = session_qemu_conf();
	int r = ensure_folder(vm->conf.run_dir, err);
	if (r == 0)
		r = ensure_folder(vm->root, err);
	if (r == 0)
		r = cache_keep(vm, err);
	snprintf(path, sizeof(path), "%s/etc", vm->root);
	if (r == 0)
		r = ensure_folder(path, err);
	snprintf(path, sizeof(path), "%s/etc/qemu.conf", vm->root);
	return r < 0 ? r : file_write(path, text, strlen(text), 0600, err);
}

static const char *stopped_text(int detail)
{
	switch (detail) {
	case VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN:
		return "the guest shut itself down";
	case VIR_DOMAIN_EVENT_STOPPED_DESTROYED:
		return "the guest was destroyed";
	case VIR_DOMAIN_EVENT_STOPPED_CRASHED:
		return "the guest crashed and is gone";
	case VIR_DOMAIN_EVENT_STOPPED_FAILED:
		return "the guest's process ended by itself or was killed";
	default:
		return "the guest stopped";
	}
}

static int on_lifecycle(virConnectPtr conn unused_arg, virDomainPtr domain, int event, int detail, void *opaque)
{
	struct vm *vm = opaque;
	uint32_t number = conf_instance_named(virDomainGetName(domain));
	if (number == 0)
		return 0;
	if (event == VIR_DOMAIN_EVENT_STARTED)
		outbox_note(vm->outbox, NOTICE_GUEST_STARTED, number, 0, "started");
	else if (event == VIR_DOMAIN_EVENT_SUSPENDED)
		outbox_note(vm->outbox, NOTICE_GUEST_PAUSED, number, 0,
		            detail == VIR_DOMAIN_EVENT_SUSPENDED_IOERROR ? "paused by a disk error" : "paused");
	else if (event == VIR_DOMAIN_EVENT_RESUMED)
		outbox_note(vm->outbox, NOTICE_GUEST_RESUMED, number, 0, "runs again");
	else if (event == VIR_DOMAIN_EVENT_CRASHED)
		outbox_note(vm->outbox, NOTICE_GUEST_PANICKED, number, 0, "the guest's kernel panicked");
	else if (event == VIR_DOMAIN_EVENT_STOPPED)
		outbox_note(vm->outbox, NOTICE_GUEST_GONE, number, 0, stopped_text(detail));
	return 0;
}

static void on_reboot(virConnectPtr conn unused_arg, virDomainPtr domain, void *opaque)
{
	struct vm *vm = opaque;
	uint32_t number = conf_instance_named(virDomainGetName(domain));
	if (number > 0)
		outbox_note(vm->outbox, NOTICE_GUEST_RESET, number, 0, "the guest rebooted by itself");
}

/* A guest may read a broken place over and over: few of its errors say as much as all. Called by libvirt's one thread. */
static bool io_error_is_news(uint32_t number)
{
	static struct {
		uint32_t number;
		int64_t told_us;
	} told[WIRE_INSTANCES_MAX];
	size_t at = number % WIRE_INSTANCES_MAX;
	int64_t now_us = clock_monotonic_us();
	if (told[at].number == number && now_us - told[at].told_us < IO_ERROR_APART_US)
		return false;
	told[at].number = number;
	told[at].told_us = now_us;
	return true;
}

static void on_io_error(virConnectPtr conn unused_arg, virDomainPtr domain, const char *source unused_arg, const char *device,
                        int action unused_arg, const char *reason, void *opaque)
{
	struct vm *vm = opaque;
	char text[WIRE_TEXT_MAX];
	uint32_t number = conf_instance_named(virDomainGetName(domain));
	if (number == 0 || !io_error_is_news(number))
		return;
	snprintf(text, sizeof(text), "an input or output error on %.32s%s%.64s", device ? device : "a disk",
	         reason && *reason ? ": " : "", reason ? reason : "");
	outbox_note(vm->outbox, NOTICE_GUEST_IO_ERROR, number, 0, text);
}

static void on_watchdog(virConnectPtr conn unused_arg, virDomainPtr domain, int action unused_arg, void *opaque)
{
	struct vm *vm = opaque;
	uint32_t number = conf_instance_named(virDomainGetName(domain));
	if (number > 0)
		outbox_note(vm->outbox, NOTICE_GUEST_WATCHDOG, number, 0, "the guest stopped feeding its watchdog");
}

/* A libvirt daemon that went away takes its event registrations with it: a fresh process is the simplest fresh start. */
static void on_close(virConnectPtr conn unused_arg, int reason, void *opaque unused_arg)
{
	log_error("vm.lost", "libvirt closed the connection (reason %d): starting anew", reason);
	_exit(3);
}

static void ignore_error(void *data unused_arg, virErrorPtr error unused_arg)
{
	/* libvirt prints errors by itself otherwise; ours are returned, logged once by whoever decides */
}

static int events_register(struct vm *vm, virConnectPtr conn, struct err *err)
{
	const struct {
		int event;
		virConnectDomainEventGenericCallback call;
	} events[] = {
	        {VIR_DOMAIN_EVENT_ID_LIFECYCLE, VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle)},
	        {VIR_DOMAIN_EVENT_ID_REBOOT, VIR_DOMAIN_EVENT_CALLBACK(on_reboot)},
	        {VIR_DOMAIN_EVENT_ID_IO_ERROR_REASON, VIR_DOMAIN_EVENT_CALLBACK(on_io_error)},
	        {VIR_DOMAIN_EVENT_ID_WATCHDOG, VIR_DOMAIN_EVENT_CALLBACK(on_watchdog)},
	};
	for (size_t i = 0; i < countof(events); i++)
		if (virConnectDomainEventRegisterAny(conn, NULL, events[i].event, events[i].call, vm, NULL) < 0)
			return vm_libvirt_error(err, "cannot watch the guests");
	if (!vm->embed && !vm->test) {
		virConnectRegisterCloseCallback(conn, on_close, NULL, NULL);
		virConnectSetKeepAlive(conn, 5, 3); /* local sockets may refuse: then their end is the sign */
	}
	return 0;
}

/* To learn what a QEMU can do libvirt starts one without a machine, which stays for ever if we are killed before it has answered.
 * Ours of this moment cannot be among them: that comes with the first guest that is made, which waits for this. */
static void sweep_asked(const struct vm *vm)
{
	char place[VM_PATH_MAX + 16], path[VM_PATH_MAX + 300];
	snprintf(place, sizeof(place), "%s/lib/qemu", vm->root);
	DIR *dir = vm->embed ? opendir(place) : NULL;
	for (const struct dirent *entry; dir && (entry = readdir(dir));) {
		if (strncmp(entry->d_name, "qmp-", 4) != 0)
			continue;
		static const char *const files[] = {"qmp.pid", "qmp.monitor"};
		snprintf(path, sizeof(path), "%s/%s/qmp.monitor", place, entry->d_name);
		auto_close int pidfd = process_open(process_with(path));
		process_kill(pidfd);
		process_wait(pidfd, 3000);
		for (size_t i = 0; i < countof(files); i++) {
			snprintf(path, sizeof(path), "%s/%s", entry->d_name, files[i]);
			unlinkat(dirfd(dir), path, 0);
		}
		if (unlinkat(dirfd(dir), entry->d_name, AT_REMOVEDIR) == 0)
			log_notice("vm.sweep",
			           "a QEMU that was only to be asked what it can do had been left behind: it is gone");
	}
	if (dir)
		closedir(dir);
}

/* Folders without a domain: the guest ended while nobody looked, or we were killed between QEMU's start and libvirt's note
 * of it. Domains without a folder are the engine's to judge: they are reported as of unknown service. */
static void sweep(struct vm *vm, virConnectPtr conn)
{
	uint32_t numbers[256];
	cap_sweep(vm);
	sweep_asked(vm);
	size_t n = folder_list(vm, numbers, countof(numbers));
	for (size_t i = 0; i < n; i++) {
		struct conf_instance instance;
		conf_instance(&vm->conf, numbers[i], &instance);
		virDomainPtr domain = virDomainLookupByName(conn, instance.name);
		if (domain) {
			virDomainFree(domain);
			continue;
		}
		if (virGetLastErrorCode() != VIR_ERR_NO_DOMAIN)
			continue;
		auto_close int pidfd = process_open(process_find(vm, numbers[i]));
		process_kill(pidfd);
		process_wait(pidfd, 3000);
		cap_forget(vm, numbers[i]);
		folder_log_remove(vm, numbers[i]);
		struct err err = {0};
		if (folder_remove(vm, numbers[i], &err) < 0)
			log_warning("vm.sweep", "%s", err.text);
		else
			log_notice("vm.sweep", "%s is gone: removed what it left%s", instance.name,
			           pidfd >= 0 ? ", its process included" : "");
	}
}

static int loop_start(struct err *err);

int session_open(struct vm *vm, struct err *err)
{
	int r = loop_start(err);
	if (r == 0 && vm->embed)
		r = embed_prepare(vm, err);
	if (r < 0)
		return r;
	evidence_memory_release(vm);
	virConnectPtr conn = virConnectOpen(vm->uri);
	if (!conn)
		return vm_libvirt_error(err, vm->uri);
	r = events_register(vm, conn, err);
	if (r < 0) {
		virConnectClose(conn);
		return r;
	}
	atomic_store(&vm->accelerator, accel_choose(&vm->conf) ? VM_ACCELERATOR_KVM : VM_ACCELERATOR_EMULATION);
	pthread_mutex_lock(&vm->sweep_lock); /* before anybody can give orders */
	atomic_store(&vm->conn, conn);
	atomic_store(&vm->opening_us, 0);
	outbox_wake(vm->outbox); /* a sweep may wait for seconds; who watches and steers need not */
	sweep(vm, conn);
	pthread_mutex_unlock(&vm->sweep_lock);
	return 0;
}

void session_swept(struct vm *vm)
{
	pthread_mutex_lock(&vm->sweep_lock);
	pthread_mutex_unlock(&vm->sweep_lock);
}

static _Noreturn void give_up(const struct vm *vm, const char *why)
{
	outbox_note(vm->outbox, NOTICE_TROUBLE, 0, 0, why);
	usleep(TROUBLE_MS * 1000); /* the main thread passes it on */
	_exit(4);
}

void session_judge(struct vm *vm, int64_t now_us)
{
	char why[WIRE_TEXT_MAX];
	int64_t since_us = atomic_load(&vm->opening_us);
	if (since_us == 0 || now_us - since_us < OPEN_US)
		return;
	snprintf(why, sizeof(why), "%.100s has not answered for %d s: starting anew", vm->uri, OPEN_US / 1000000);
	log_error("vm.open", "%s", why);
	give_up(vm, why);
}

static void *loop_run(void *arg)
{
	for (;;)
		if (virEventRunDefaultImpl() < 0)
			_exit(3); /* the loop is broken: no event would ever come again */
	return arg;
}

static int loop_start(struct err *err)
{
	static bool running;
	pthread_t thread;
	if (running)
		return 0;
	virSetErrorFunc(NULL, ignore_error);
	/* its own log would repeat each of our questions about a guest that is gone as an error; ask for it to see more */
	setenv("LIBVIRT_LOG_OUTPUTS", "4:file:/dev/null", 0);
	if (virInitialize() < 0 || virEventRegisterDefaultImpl() < 0)
		return vm_libvirt_error(err, "libvirt cannot be set up");
	if (pthread_create(&thread, NULL, loop_run, NULL) != 0)
		return err_set(err, -EAGAIN, "no thread for libvirt's loop");
	pthread_detach(thread);
	running = true;
	return 0;
}

/* The embedded driver can be set up once in a process: after a failure only a new process can try again. The usual cause
 * is our predecessor, killed a moment ago and still holding the lock; so we wait for that before. */
static void lock_await(const struct vm *vm)
{
	char path[VM_PATH_MAX + 32];
	snprintf(path, sizeof(path), "%s/run/qemu/driver.pid", vm->root);
	auto_close int fd = open(path, O_RDWR | O_CLOEXEC);
	for (int tries = 0; fd >= 0 && tries < LOCK_WAIT_MS / LOCK_LOOK_MS; tries++) {
		struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
		if (fcntl(fd, F_GETLK, &lock) < 0 || lock.l_type == F_UNLCK)
			return;
		if (tries == 0)
			log_info("vm.open", "waiting for process %d to let go of %s", (int)lock.l_pid, vm->root);
		usleep(LOCK_LOOK_MS * 1000);
	}
}

/* Its process stands as 0 in what libvirt noted of it. */
static bool is_half_started(const char *path)
{
	auto_free uint8_t *text = NULL;
	size_t size;
	if (file_read(path, STATUS_MAX, &text, &size, NULL) < 0)
		return false;
	const uint8_t *from = memmem(text, size, "<domstatus ", 11);
	const uint8_t *to = from ? memchr(from, '>', size - (size_t)(from - text)) : NULL;
	return to && memmem(from, (size_t)(to - from), " pid='0'", 8);
}

/* Whoever was killed in the middle of a guest's start, before it knew the process, leaves a note of a guest that somebody is at
 * work on. libvirt takes that up and lets nobody do anything to the guest any more, not even end it. Without the note there is no
 * such guest, and the sweep ends what there is of it. After lock_await(): nobody is at work on anything. */
static void forget_half_started(const struct vm *vm)
{
	char place[VM_PATH_MAX + 16], path[VM_PATH_MAX + 300], name[32];
	snprintf(place, sizeof(place), "%s/run/qemu", vm->root);
	DIR *dir = opendir(place);
	for (const struct dirent *entry; dir && (entry = readdir(dir));) {
		const char *dot = strstr(entry->d_name, ".xml");
		if (!dot || dot[4] || (size_t)(dot - entry->d_name) >= sizeof(name))
			continue;
		snprintf(name, sizeof(name), "%.*s", (int)(dot - entry->d_name), entry->d_name);
		snprintf(path, sizeof(path), "%s/%s", place, entry->d_name);
		if (conf_instance_named(name) == 0 || !is_half_started(path) || unlink(path) < 0)
			continue;
		log_notice("vm.open", "the start of %s was interrupted: what libvirt knows of it is forgotten", name);
	}
	if (dir)
		closedir(dir);
}

static int open_once(struct vm *vm, struct err *err)
{
	atomic_store(&vm->opening_us, clock_monotonic_us());
	int r = session_open(vm, err);
	atomic_store(&vm->opening_us, 0);
	return r;
}

static void *open_run(void *arg)
{
	struct vm *vm = arg;
	struct err err = {0}, last = {0};
	int64_t began = clock_monotonic_us();
	if (vm->embed) {
		lock_await(vm);
		forget_half_started(vm);
	}
	for (unsigned pause_ms = RETRY_FIRST_MS; open_once(vm, &err) < 0;
	     pause_ms = pause_ms < RETRY_MAX_MS ? pause_ms * 2 : pause_ms) {
		if (strcmp(err.text, last.text) != 0)
			log_error("vm.open", "%s", err.text);
		if (vm->embed)
			give_up(vm, err.text);
		outbox_note(vm->outbox, NOTICE_TROUBLE, 0, 0, err.text);
		last = err;
		usleep(pause_ms * 1000);
	}
	log_info("vm.open", "%s is open and swept after %lld ms", vm->uri, (long long)(clock_monotonic_us() - began) / 1000);
	return NULL;
}

int session_start(struct vm *vm, struct err *err)
{
	pthread_t thread;
	int r = loop_start(err);
	if (r == 0 && pthread_create(&thread, NULL, open_run, vm) != 0)
		return err_set(err, -EAGAIN, "no thread to open libvirt with");
	if (r == 0)
		pthread_detach(thread);
	return r;
}
