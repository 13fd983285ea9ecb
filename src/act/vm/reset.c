/*
 * What is done with a guest that is mended. ORDER_VM_RESET: the guest boots anew, as after a power cut. Its root and its seed can
 * only be read, so what it boots is what was verified when it was made; all that it changed lay in its memory. Its agent is
 * another one then: the channel gets a key of its own, before the reset, so that no life of the guest ever has another one's.
 * ORDER_VM_CAP: what is started in it is capped as a boot.
 */
#include "act/vm/orders.h"

#include "act/vm/cap.h"
#include "act/vm/folder.h"
#include "act/vm/process.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

static int new_key(const struct vm *vm, uint32_t number, struct err *err)
{
	uint8_t key[WIRE_KEY_SIZE];
	if (getrandom(key, sizeof(key), 0) != sizeof(key))
		return err_set(err, -EIO, "the kernel gives no random bytes");
	int r = folder_agent_key_write(vm, number, key, err);
	explicit_bzero(key, sizeof(key));
	return r;
}

/* One that panicked or was paused stands still until it is let go on. */
static int boot_anew(virDomainPtr domain, const struct conf_instance *instance, struct err *err)
{
	if (virDomainReset(domain, 0) < 0)
		return vm_libvirt_error(err, "resetting the guest");
	if (vm_domain_state(domain) != WIRE_GUEST_RUNNING && virDomainResume(domain) < 0 &&
	    vm_domain_state(domain) != WIRE_GUEST_RUNNING)
		return vm_libvirt_error(err, "letting the guest boot anew");
	enum wire_guest is = vm_domain_state(domain);
	return is == WIRE_GUEST_RUNNING ? 0
	                                : err_set(err, is == WIRE_GUEST_ABSENT ? -ENOENT : -EBUSY, "%s was reset and is %s",
	                                          instance->name, wire_guest_name(is));
}

static void cap(struct vm *vm, const struct conf_instance *instance, char *ret_how, size_t size)
{
	pid_t pid = process_find(vm, instance->number);
	ret_how[0] = '\0';
	if (pid > 0)
		cap_set(vm, instance->number, pid, vm_others_run(vm, instance->name), ret_how, size);
}

int vm_cap(struct vm *vm, const struct wire_order *order, struct wire_answer *answer, struct err *err)
{
	struct conf_instance instance;
	virDomainPtr domain;
	char share[64];
	conf_instance(&vm->conf, order->instance, &instance);
	int r = vm_domain(vm, &instance, &domain, err);
	if (r < 0)
		return r;
	virDomainFree(domain);
	cap(vm, &instance, share, sizeof(share));
	snprintf(answer->text, sizeof(answer->text), "%s: %s", instance.name, share[0] ? share : "no process of its own to cap");
	return 0;
}

int vm_reset(struct vm *vm, const struct wire_order *order, struct wire_answer *answer, struct err *err)
{
	struct conf_instance instance;
	virDomainPtr domain;
	char share[64];
	conf_instance(&vm->conf, order->instance, &instance);
	int r = vm_domain(vm, &instance, &domain, err);
	if (r < 0)
		return r;
	r = new_key(vm, order->instance, err);
	if (r == 0)
		r = boot_anew(domain, &instance, err);
	if (r == 0) {
		cap(vm, &instance, share, sizeof(share)); /* behind it, as QEMU carries it out itself */
		snprintf(answer->text, sizeof(answer->text), "%s boots anew%s%s", instance.name, share[0] ? ", " : "", share);
	}
	virDomainFree(domain);
	return r;
}
