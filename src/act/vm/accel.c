/*
 * There are machines whose /dev/kvm opens and on which no Linux guest gets beyond its first instructions (nested ones). So `auto`
 * means: KVM when a guest has been seen to boot here under this very kernel, else software emulation, which always works. The
 * record names machine and kernel: after an update of the kernel it counts no more.
 */
#include "act/vm/accel.h"

#include "act/vm/domain.h"
#include "act/vm/process.h"
#include "act/vm/session.h"
#include "lib/bytes.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#define PROOF_MS 20000
#define LOOK_MS 100
#define READY "koboshi: ready"
#define NAME "kb-proof"
#define END_MS 3000

static volatile sig_atomic_t interrupted;

static void accel_subject(char *to, size_t size)
{
	struct utsname host;
	char machine[64] = "unknown";
	auto_free uint8_t *text = NULL;
	size_t length;
	if (file_read("/etc/machine-id", sizeof(machine) - 1, &text, &length, NULL) == 0 && length > 0)
		text_copy(machine, sizeof(machine), (char *)text);
	machine[strcspn(machine, "\n")] = '\0';
	if (uname(&host) < 0)
		text_copy(host.release, sizeof(host.release), "unknown");
	snprintf(to, size, "%s %s", machine, host.release);
}

bool accel_choose(const struct conf *conf)
{
	char path[VM_PATH_MAX], subject[256], wanted[300];
	auto_free uint8_t *text = NULL;
	size_t size;
	if (conf->accel != CONF_ACCEL_AUTO)
		return conf->accel == CONF_ACCEL_KVM;
	snprintf(path, sizeof(path), "%s/accel", conf->state_dir);
	accel_subject(subject, sizeof(subject));
	snprintf(wanted, sizeof(wanted), "kvm %s\n", subject);
	return file_read(path, 512, &text, &size, NULL) == 0 && strcmp((char *)text, wanted) == 0 &&
	       access("/dev/kvm", R_OK | W_OK) == 0;
}

static int accel_record(const struct conf *conf, bool works, struct err *err)
{
	char path[VM_PATH_MAX], subject[256], line[300];
	snprintf(path, sizeof(path), "%s/accel", conf->state_dir);
	accel_subject(subject, sizeof(subject));
	int length = snprintf(line, sizeof(line), "%s %s\n", works ? "kvm" : "tcg", subject);
	return file_write(path, line, (size_t)length, 0644, err);
}

/* Waits for the guest's word on its console. */
static bool console_ready(const char *path)
{
	for (int64_t end = clock_monotonic_us() + PROOF_MS * 1000; !interrupted && clock_monotonic_us() < end;
	     usleep(LOOK_MS * 1000)) {
		auto_free uint8_t *text = NULL;
		size_t size;
		if (file_read(path, 1 << 20, &text, &size, NULL) == 0 && memmem(text, size, READY, strlen(READY)))
			return true;
	}
	return false;
}

static int image_first(const struct conf *conf, char *dir, size_t size, struct image **ret_image, struct err *err)
{
	int r = -ENOENT;
	for (size_t s = 0; s < conf->n_services; s++)
		for (size_t v = 0; v < conf->services[s].n_variants; v++) {
			snprintf(dir, size, "%s/%s", conf->image_dir, conf->services[s].variants[v]);
			r = image_open(dir, conf->image_key, ret_image, err);
			if (r == 0)
				return image_verify(*ret_image, dir, NULL, NULL, err);
		}
	return r;
}

static void on_signal(int number unused_arg)
{
	interrupted = 1;
}

/* Guests outlive whoever started them: an earlier proof that was killed is in the way, and takes a processor. */
static int leftover_end(struct vm *vm, const char *console, struct err *err)
{
	auto_close int pidfd = process_open(process_with(console));
	process_kill(pidfd);
	if (!process_wait(pidfd, END_MS))
		return err_set(err, -EBUSY,
		               "the guest of an earlier proof does not end although it was killed: nothing is recorded");
	virDomainPtr domain;
	for (int64_t end_us = clock_monotonic_us() + END_MS * 1000; (domain = virDomainLookupByName(vm->conn, NAME));
	     usleep(LOOK_MS * 1000)) {
		virDomainDestroy(domain);
		virDomainFree(domain);
		if (clock_monotonic_us() > end_us)
			return err_set(err, -EBUSY,
			               "libvirt still lists the guest of an earlier proof: nothing is recorded; try again");
	}
	return 0;
}

/* `ret_judged`: a guest was tried and not interrupted, so that its result means something. */
static int prove_run(struct vm *vm, const struct image *image, const char *dir, bool *ret_judged, struct err *err)
{
	char kernel[512], initrd[512], root[512], console[VM_PATH_MAX + 16];
	snprintf(kernel, sizeof(kernel), "%s/vmlinuz", dir);
	snprintf(initrd, sizeof(initrd), "%s/initrd", dir);
	snprintf(root, sizeof(root), "%s/root.erofs", dir);
	snprintf(console, sizeof(console), "%s/console.log", vm->root);
	*ret_judged = false;
	int r = leftover_end(vm, console, err);
	if (r < 0)
		return r;
	unlink(console);
	struct domain_recipe recipe = {
	        .name = NAME,
	        .virt = vm->test ? DOMAIN_TEST : DOMAIN_KVM,
	        .memory_mib = image->memory_mib,
	        .cpus = 1,
	        .kernel = kernel,
	        .initrd = initrd,
	        .root = root,
	        .cmdline = image->cmdline,
	        .seed = root,
	        .console = console,
	};
	auto_free char *xml = domain_xml(&recipe);
	static const int signals[] = {SIGTERM, SIGINT, SIGHUP};
	for (size_t i = 0; i < countof(signals); i++)
		sigaction(signals[i], &(struct sigaction){.sa_handler = on_signal}, NULL);
	virDomainPtr domain = virDomainCreateXML(vm->conn, xml, 0);
	*ret_judged = !interrupted;
	if (!domain)
		return vm_libvirt_error(err, "a guest under KVM does not start");
	bool ready = console_ready(console);
	virDomainDestroy(domain);
	virDomainFree(domain);
	unlink(console);
	*ret_judged = ready || !interrupted;
	if (!*ret_judged)
		return err_set(err, -EINTR, "interrupted before the guest was ready: nothing is proven or recorded");
	return ready ? 0
	             : err_set(err, -ETIMEDOUT, "a guest under KVM did not get ready within %d s: software emulation it is",
	                       PROOF_MS / 1000);
}

int accel_prove(const struct conf *conf, struct err *err)
{
	struct conf own = *conf;
	char dir[2 * CONF_PATH_MAX];
	struct image *image = NULL;
	struct vm vm;
	bool test = strncmp(conf->libvirt, "test:", 5) == 0;
	if (!test && access("/dev/kvm", R_OK | W_OK) < 0) {
		int r = err_set(err, -errno, "/dev/kvm cannot be used (%s): software emulation it is", strerror(errno));
		struct err second;
		return accel_record(conf, false, &second) < 0 ? err_set(err, second.code, "%s", second.text) : r;
	}
	int r = image_first(conf, dir, sizeof(dir), &image, err);
	if (r < 0) {
		image_free(image);
		return r;
	}
	/* a libvirt folder of its own: the real one may be in use */
	if (!text_copy(own.libvirt, sizeof(own.libvirt), test ? conf->libvirt : "embed") ||
	    snprintf(own.run_dir, sizeof(own.run_dir), "%.180s/proof", conf->run_dir) >= (int)sizeof(own.run_dir))
		abort();
	mkdir(conf->run_dir, 0755);
	struct outbox *outbox = outbox_new();
	r = vm_init(&vm, &own, outbox, err);
	if (r == 0) {
		r = session_open(&vm, err);
		if (r == 0) {
			bool judged;
			r = prove_run(&vm, image, dir, &judged, err);
			struct err second;
			if (judged && accel_record(conf, r == 0, &second) < 0)
				r = err_set(err, second.code, "%s", second.text);
		}
		vm_done(&vm);
	}
	outbox_free(outbox);
	image_free(image);
	return r;
}
