/*
 * ORDER_VM_CREATE: from a signed image to a guest that runs behind all others. Everything that can be known to be missing is
 * looked for first, so that the sentence names the cause and not what libvirt stumbled over; a failure leaves nothing.
 *
 * The guest is started paused, capped, and only then let go: it never gets a moment of uncapped boot.
 */
#include "act/vm/orders.h"

#include "act/vm/cap.h"
#include "act/vm/carry.h"
#include "act/vm/domain.h"
#include "act/vm/folder.h"
#include "act/vm/process.h"
#include "act/vm/seed.h"
#include "act/vm/session.h"
#include "act/vm/valid.h"
#include "lib/bytes.h"
#include "lib/log.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#define QEMU_PROGRAM "/usr/bin/qemu-system-x86_64"
#define MEMORY_BESIDE_MIB 48     /* QEMU itself, beside the guest's memory */
#define DISK_NEEDED (8ull << 20) /* seed, record, console at their limits, libvirt's own state */

/* All that create works with; the folder's paths are kept for the recipe. */
struct create {
	struct vm *vm;
	const struct wire_order *order;
	const struct conf_service *service;
	const char *variant;
	struct conf_instance instance;
	struct image *image;
	uint32_t memory_mib;
	char dir[2 * CONF_PATH_MAX], kernel[512], initrd[512], root[512];
	char vault[CONF_VAULT_PATH_MAX]; /* "": it keeps to itself what it writes */
	char seed[VM_PATH_MAX], console[VM_PATH_MAX], agent[VM_PATH_MAX], lab[VM_PATH_MAX];
	uint8_t key[WIRE_KEY_SIZE], agent_key[WIRE_KEY_SIZE];
};

static uint64_t memory_available_mib(void)
{
	auto_free uint8_t *text = NULL;
	size_t size;
	unsigned long long kib;
	if (file_read("/proc/meminfo", 16384, &text, &size, NULL) < 0)
		return UINT64_MAX;
	const char *line = strstr((const char *)text, "MemAvailable:");
	return line && sscanf(line, "MemAvailable: %llu", &kib) == 1 ? kib / 1024 : UINT64_MAX;
}

static int host_check(const struct create *create, struct err *err)
{
	struct statvfs disk;
	const struct vm *vm = create->vm;
	if (if_nametoindex(create->instance.tap) == 0)
		return err_set(err, -ENODEV, "there is no tap %s: the net actuator has to add it before %s is created",
		               create->instance.tap, create->instance.name);
	auto_close int tun = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (tun < 0)
		return err_set(err, -errno, "/dev/net/tun cannot be opened (%s): load the kernel's tun driver", strerror(errno));
	if (vm->embed && access(QEMU_PROGRAM, X_OK) < 0)
		return err_set(err, -ENOENT, QEMU_PROGRAM " is missing: install qemu-system-x86");
	if (memory_available_mib() < create->memory_mib + MEMORY_BESIDE_MIB)
		return err_set(err, -ENOMEM,
		               "%s needs %u MiB of memory and %llu MiB are free: lower 'memory' or the number of spares",
		               create->instance.name, create->memory_mib + MEMORY_BESIDE_MIB,
		               (unsigned long long)memory_available_mib());
	if (statvfs(vm->conf.run_dir, &disk) == 0 && (uint64_t)disk.f_bavail * disk.f_frsize < DISK_NEEDED)
		return err_set(err, -ENOSPC, "%s: fewer than %llu MiB are free on its disk", vm->conf.run_dir, DISK_NEEDED >> 20);
	return 0;
}

/* The image's file of a kind; recipes of other builders may call the root image squashfs. */
static bool image_file_find(const struct create *create, const char *const *names, char *to, size_t size)
{
	for (; *names; names++)
		for (size_t i = 0; i < create->image->n_files; i++)
			if (strcmp(create->image->files[i].name, *names) == 0)
				return snprintf(to, size, "%s/%s", create->dir, *names) < (int)size;
	return false;
}

static int image_find(struct create *create, struct err *err)
{
	static const char *const kernels[] = {"vmlinuz", "kernel", NULL};
	static const char *const initrds[] = {"initrd", "initrd.img", NULL};
	static const char *const roots[] = {"root.erofs", "root.squashfs", "root.img", NULL};
	if (image_file_find(create, kernels, create->kernel, sizeof(create->kernel)) &&
	    image_file_find(create, initrds, create->initrd, sizeof(create->initrd)) &&
	    image_file_find(create, roots, create->root, sizeof(create->root)))
		return 0;
	return err_set(err, -ENOENT, "image %s: its manifest does not name a kernel (vmlinuz), an initrd and a root (root.erofs)",
	               create->variant);
}

static int image_ready(struct create *create, struct err *err)
{
	const struct conf *conf = &create->vm->conf;
	snprintf(create->dir, sizeof(create->dir), "%s/%s", conf->image_dir, create->variant);
	int r = image_open(create->dir, conf->image_key, &create->image, err);
	if (r < 0)
		return r;
	if (strcmp(create->image->variant, create->variant) != 0)
		return err_set(err, -EBADMSG, "%s: the signed image in it is variant '%s', not '%s'", create->dir,
		               create->image->variant, create->variant);
	create->memory_mib = create->service->memory_mib ? create->service->memory_mib : create->image->memory_mib;
	return image_find(create, err);
}

/* Guests do with it what they like; whoever comes next is to find one that he can enter. */
static int data_ready(const char *path, struct err *err)
{
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return err_set(err, -errno, "vault %s: cannot make this folder: %s", path, strerror(errno));
	auto_close int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_set(err, -ENOTDIR, "vault %s: is no folder", path);
	return folder_of_owner(fd, err);
}

/* Root's alone from its top: what a guest writes there may bear any owner and any mode. */
static int vault_ready(struct create *create, struct err *err)
{
	const struct conf_vault *vault = &create->service->vault;
	if (!vault->path[0])
		return 0;
	if (!create->image->data[0])
		return err_set(err, -ENOTSUP,
		               "service %s has a vault, and image %s does not say where its service's data lies ('data' in "
		               "its manifest)",
		               create->service->name, create->variant);
	conf_vault_data(vault, create->vault);
	int r = folder_private(vault->path, err);
	return r < 0 ? err_prefix(err, "vault") : data_ready(create->vault, err);
}

static int secrets_make(const struct create *create, struct secret *secrets, struct err *err)
{
	int r = 0;
	for (size_t i = 0; i < create->service->n_secrets && r == 0; i++) {
		r = secret_make(&create->service->secrets[i], &create->instance, &secrets[i], err);
		if (r == 0)
			r = valid_keep(create->vm, create->order->instance, &secrets[i], err);
	}
	return r;
}

/* What was refused, or nothing: told in both cases, since the one ends the other. */
static void carry_tell(const struct create *create, const struct carry *carry)
{
	if (create->service->n_carry)
		outbox_note(create->vm->outbox, NOTICE_GUEST_CARRIED, create->order->instance, 0, carry->refused);
}

static int seed_make(struct create *create, uint32_t tag, struct err *err)
{
	struct secret secrets[CONF_SECRETS_MAX];
	struct carry carry = {0};
	auto_free struct seed *seed = calloc(1, sizeof(*seed));
	size_t size;
	int r = seed ? secrets_make(create, secrets, err) : err_set(err, -ENOMEM, "no memory for a seed");
	if (r == 0) {
		if (create->vault[0])
			carry_take(create->vm, create->service, create->vault, create->order->instance, &carry);
		carry_tell(create, &carry);
		struct seed_parts parts = {.instance = &create->instance,
		                           .service = create->service,
		                           .key = create->key,
		                           .tag = tag,
		                           .data = create->vault[0] ? create->image->data : NULL,
		                           .secrets = secrets,
		                           .carry = &carry};
		seed_write(&parts, seed);
		auto_free uint8_t *disk = seed_disk(seed, &size);
		r = file_write(create->seed, disk, size, 0600, err);
		explicit_bzero(disk, size);
	}
	carry_free(&carry);
	explicit_bzero(secrets, sizeof(secrets));
	if (seed)
		explicit_bzero(seed, sizeof(*seed));
	return r;
}

static int folder_fill(struct create *create, struct err *err)
{
	const struct vm *vm = create->vm;
	uint32_t number = create->order->instance, tag;
	struct folder_record record = {0};
	if (getrandom(create->key, sizeof(create->key), 0) != sizeof(create->key) ||
	    getrandom(create->agent_key, sizeof(create->agent_key), 0) != sizeof(create->agent_key) ||
	    getrandom(&tag, sizeof(tag), 0) != sizeof(tag))
		return err_set(err, -EIO, "the kernel gives no random bytes");
	int r = folder_make(vm, number, err);
	if (r < 0)
		return r;
	folder_path(vm, number, "seed.iso", create->seed);
	folder_path(vm, number, "console.log", create->console);
	folder_path(vm, number, "agent.sock", create->agent);
	folder_path(vm, number, "lab.sock", create->lab);
	r = seed_make(create, tag, err);
	text_copy(record.service, sizeof(record.service), create->service->name);
	text_copy(record.variant, sizeof(record.variant), create->variant);
	folder_settings(create->service, create->memory_mib, record.settings, sizeof(record.settings));
	memcpy(record.manifest, create->image->manifest_sha256, sizeof(record.manifest));
	memcpy(record.key, create->key, sizeof(record.key));
	memcpy(record.agent_key, create->agent_key, sizeof(record.agent_key));
	return r < 0 ? r : folder_record_write(vm, number, &record, err);
}

/* Names and places, for whoever asks what it could read; no value leaves this process but into the files that are for it. */
static void secrets_tell(const struct create *create)
{
	for (size_t i = 0; i < create->service->n_secrets; i++) {
		const struct conf_secret *secret = &create->service->secrets[i];
		char text[WIRE_TEXT_MAX];
		snprintf(text, sizeof(text), "%s %s %s", conf_secret_kind_name(secret->kind), secret->name, secret_place(secret));
		outbox_note(create->vm->outbox, NOTICE_GUEST_SECRET, create->order->instance, 0, text);
	}
}

static char *recipe_xml(const struct create *create)
{
	struct domain_recipe recipe = {
	        .name = create->instance.name,
	        .virt = create->vm->test                                              ? DOMAIN_TEST
	                : atomic_load(&create->vm->accelerator) == VM_ACCELERATOR_KVM ? DOMAIN_KVM
	                                                                              : DOMAIN_EMULATED,
	        .memory_mib = create->memory_mib,
	        .cpus = create->image->cpus,
	        .kernel = create->kernel,
	        .initrd = create->initrd,
	        .root = create->root,
	        .cmdline = create->image->cmdline,
	        .seed = create->seed,
	        .console = create->console,
	        .agent_socket = create->agent,
	        .lab_socket = create->vm->conf.lab ? create->lab : NULL,
	        .tap = create->instance.tap,
	        .vault = create->vault[0] ? create->vault : NULL,
	};
	memcpy(recipe.mac, create->instance.mac, sizeof(recipe.mac));
	return domain_xml(&recipe);
}

bool vm_others_run(struct vm *vm, const char *name)
{
	virDomainPtr *domains = NULL;
	bool some = false;
	int n = virConnectListAllDomains(atomic_load(&vm->conn), &domains, VIR_CONNECT_LIST_DOMAINS_RUNNING);
	for (int i = 0; i < n; i++) {
		some = some || strcmp(virDomainGetName(domains[i]), name) != 0;
		virDomainFree(domains[i]);
	}
	free(domains);
	return some;
}

static int guest_start(struct create *create, struct wire_answer *answer, struct err *err)
{
	struct vm *vm = create->vm;
	uint32_t number = create->order->instance;
	char share[64];
	auto_free char *xml = recipe_xml(create);
	cap_self(CAP_LOW); /* QEMU inherits it: its own start takes most of a second of a processor */
	virDomainPtr domain = virDomainCreateXML(atomic_load(&vm->conn), xml, VIR_DOMAIN_START_PAUSED);
	cap_self(CAP_USUAL);
	if (!domain)
		return vm_libvirt_error(err, "starting the guest");
	cap_set(vm, number, process_find(vm, number), vm_others_run(vm, create->instance.name), share, sizeof(share));
	int r = virDomainResume(domain) < 0 ? vm_libvirt_error(err, "letting the guest run") : 0;
	enum wire_guest is = vm_domain_state(domain);
	if (r == 0 && is != WIRE_GUEST_RUNNING)
		r = err_set(err, -EIO, "%s was started and is %s", create->instance.name, wire_guest_name(is));
	if (r == 0)
		snprintf(answer->text, sizeof(answer->text), "%s (%s) runs, %u MiB, %s, %s", create->instance.name,
		         create->variant, create->memory_mib,
		         atomic_load(&vm->accelerator) == VM_ACCELERATOR_KVM ? "KVM" : "software emulation", share);
	else
		virDomainDestroy(domain);
	virDomainFree(domain);
	return r;
}

static void undo(const struct create *create)
{
	uint32_t number = create->order->instance;
	auto_close int pidfd = process_open(process_find(create->vm, number));
	process_kill(pidfd);
	process_wait(pidfd, 1000);
	cap_forget(create->vm, number);
	folder_log_remove(create->vm, number);
	struct err err = {0};
	if (folder_remove(create->vm, number, &err) < 0 || valid_lists(create->vm, create->service->name, &err) < 0)
		log_warning("vm.create", "after a failed start: %s", err.text);
}

static int create_run(struct create *create, struct wire_answer *answer, struct err *err)
{
	virDomainPtr domain;
	session_swept(create->vm);
	int r = vm_domain(create->vm, &create->instance, &domain, err);
	if (r == 0) {
		virDomainFree(domain);
		return err_set(err, -EEXIST, "there is a guest %s already", create->instance.name);
	}
	if (r != -ENOENT)
		return r;
	r = image_ready(create, err);
	if (r == 0)
		r = host_check(create, err);
	if (r == 0)
		r = vault_ready(create, err);
	if (r == 0)
		r = valid_groups(create->service, err);
	if (r == 0)
		r = verify_image(&create->vm->verify, create->image, create->dir, err);
	if (r < 0)
		return r;
	r = folder_fill(create, err);
	if (r == 0) /* before it runs: it may use them as soon as it does */
		r = valid_lists(create->vm, create->service->name, err);
	if (r == 0)
		r = guest_start(create, answer, err);
	if (r < 0) {
		undo(create);
		return r;
	}
	secrets_tell(create);
	memcpy(answer->key, create->key, sizeof(answer->key));
	return 0;
}

int vm_create(struct vm *vm, const struct wire_order *order, struct wire_answer *answer, struct err *err)
{
	struct create create = {.vm = vm, .order = order, .service = &vm->conf.services[order->service]};
	create.variant = create.service->variants[order->variant];
	conf_instance(&vm->conf, order->instance, &create.instance);
	int r = create_run(&create, answer, err);
	image_free(create.image);
	return r;
}
