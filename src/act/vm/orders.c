/*
 * A table of orders. Each is idempotent: the engine may have died between order and answer and asks again. Each answers what
 * was read back from libvirt after the act, not what the act returned.
 */
#include "act/vm/orders.h"

#include "act/vm/cap.h"
#include "act/vm/domain.h"
#include "act/vm/folder.h"
#include "act/vm/process.h"
#include "act/vm/session.h"
#include "act/vm/valid.h"
#include "lib/bytes.h"
#include "lib/log.h"

#include <errno.h>
#include <libvirt/virterror.h>
#include <stdio.h>
#include <string.h>

#define DESTROY_WAIT_MS 3000
#define DESTROY_LOOK_MS 20

typedef int order_act(struct vm *vm, const struct wire_order *order, struct wire_answer *ret_answer, struct err *err);

/* The guest that an order is about; an order of this kind needs it to be there. */
struct subject {
	struct vm *vm;
	struct conf_instance instance;
	virDomainPtr domain;
};
typedef int guest_act(const struct subject *subject, const struct wire_order *order, struct wire_answer *answer, struct err *err);

/* Says in the answer how the guest is now; an error when that is not `wanted`. */
static int state_told(virDomainPtr domain, const struct conf_instance *instance, enum wire_guest wanted,
                      struct wire_answer *answer, struct err *err)
{
	enum wire_guest is = vm_domain_state(domain);
	snprintf(answer->text, sizeof(answer->text), "%s is %s", instance->name, wire_guest_name(is));
	if (is == wanted)
		return 0;
	return err_set(err, is == WIRE_GUEST_ABSENT ? -ENOENT : -EBUSY, "%s is %s, not %s", instance->name, wire_guest_name(is),
	               wire_guest_name(wanted));
}

static int order_suspend(const struct subject *s, const struct wire_order *order unused_arg, struct wire_answer *answer,
                         struct err *err)
{
	if (virDomainSuspend(s->domain) == 0 || vm_domain_state(s->domain) == WIRE_GUEST_PAUSED)
		return state_told(s->domain, &s->instance, WIRE_GUEST_PAUSED, answer, err);
	if (vm_domain_state(s->domain) != WIRE_GUEST_CRASHED)
		return vm_libvirt_error(err, "suspending the guest");
	/* a panicked guest stands still already: what was wanted */
	snprintf(answer->text, sizeof(answer->text), "%s has panicked and stands still", s->instance.name);
	return 0;
}

static int order_resume(const struct subject *s, const struct wire_order *order unused_arg, struct wire_answer *answer,
                        struct err *err)
{
	enum wire_guest before = vm_domain_state(s->domain);
	if (before == WIRE_GUEST_CRASHED)
		return err_set(err, -EBUSY, "%s has panicked: it cannot go on", s->instance.name);
	if (before != WIRE_GUEST_RUNNING && virDomainResume(s->domain) < 0 && vm_domain_state(s->domain) != WIRE_GUEST_RUNNING)
		return vm_libvirt_error(err, "resuming the guest");
	return state_told(s->domain, &s->instance, WIRE_GUEST_RUNNING, answer, err);
}

static bool card_is(virDomainPtr domain, bool up)
{
	auto_free char *xml = virDomainGetXMLDesc(domain, 0);
	return xml && (strstr(xml, "<link state='down'/>") == NULL) == up;
}

static int order_link(const struct subject *s, const struct wire_order *order, struct wire_answer *answer, struct err *err)
{
	struct domain_recipe recipe = {.tap = s->instance.tap};
	memcpy(recipe.mac, s->instance.mac, sizeof(recipe.mac));
	auto_free char *xml = domain_card_xml(&recipe, order->flag != 0);
	const char *wanted = order->flag ? "up" : "down";
	if (virDomainUpdateDeviceFlags(s->domain, xml, VIR_DOMAIN_AFFECT_LIVE) < 0)
		return vm_libvirt_error(err, "changing the guest's carrier");
	if (!card_is(s->domain, order->flag != 0))
		return err_set(err, -EIO, "%s: its carrier is not %s although libvirt took the change", s->instance.name, wanted);
	snprintf(answer->text, sizeof(answer->text), "carrier of %s is %s", s->instance.name, wanted);
	return 0;
}

static int order_uncap(const struct subject *s, const struct wire_order *order, struct wire_answer *answer, struct err *err)
{
	pid_t pid = process_find(s->vm, order->instance);
	if (pid > 0 && !cap_end(s->vm, order->instance, pid))
		return err_set(err, -EPERM, "%s: its processor share could not be set back to normal", s->instance.name);
	snprintf(answer->text, sizeof(answer->text), "%s has a normal processor share", s->instance.name);
	return 0;
}

/* libvirt sees the end of a killed process by itself and a moment later; a guest without one that we know, it must end. */
static int libvirt_forget(struct vm *vm, const struct conf_instance *instance, struct err *err)
{
	virDomainPtr domain;
	int r;
	for (int64_t end_us = clock_monotonic_us() + DESTROY_WAIT_MS * 1000; (r = vm_domain(vm, instance, &domain, err)) == 0;
	     usleep(DESTROY_LOOK_MS * 1000)) {
		int destroyed = virDomainDestroy(domain), code = virGetLastErrorCode();
		if (destroyed < 0 && code != VIR_ERR_NO_DOMAIN && code != VIR_ERR_OPERATION_INVALID)
			r = vm_libvirt_error(err, "destroying the guest");
		virDomainFree(domain);
		if (r < 0)
			return r;
		if (clock_monotonic_us() > end_us)
			return err_set(err, -EBUSY, "%s: its process is gone, libvirt still lists it; destroy it again",
			               instance->name);
	}
	return r == -ENOENT ? 0 : r;
}

static int order_revoke(struct vm *vm, const struct wire_order *order, struct wire_answer *answer, struct err *err)
{
	size_t n;
	int r = valid_revoke(vm, order->instance, &n, err);
	if (r == 0)
		snprintf(answer->text, sizeof(answer->text), "%zu secrets of kb-%u are not valid any more", n, order->instance);
	return r;
}

static int order_destroy(struct vm *vm, const struct wire_order *order, struct wire_answer *answer, struct err *err)
{
	struct conf_instance instance;
	conf_instance(&vm->conf, order->instance, &instance);
	/* First of all, and without libvirt, which may hang: it is the guest's end that was ordered. */
	auto_close int pidfd = process_open(process_find(vm, order->instance));
	process_kill(pidfd);
	if (!process_wait(pidfd, DESTROY_WAIT_MS))
		return err_set(err, -EBUSY, "%s: its process does not end although it was killed", instance.name);
	session_swept(vm);
	size_t n;
	struct folder_record record;
	bool known = folder_record_read(vm, order->instance, &record, NULL) == 0;
	bool revoked = valid_revoke(vm, order->instance, &n, NULL) == 0;
	int r = libvirt_forget(vm, &instance, err);
	if (r < 0)
		return r;
	if (process_find(vm, order->instance) > 0)
		return err_set(err, -EBUSY, "%s: its process is still there", instance.name);
	cap_forget(vm, order->instance);
	folder_log_remove(vm, order->instance);
	r = folder_remove(vm, order->instance, err);
	if (r == 0 && !revoked) /* there is room again */
		r = valid_lists(vm, known ? record.service : NULL, err);
	if (r == 0)
		snprintf(answer->text, sizeof(answer->text), "%s is gone, with all its files", instance.name);
	return r;
}

/* Whether a new guest of this variant would be another. An image that cannot be read now says nothing about those that run. */
static bool is_outdated(const struct vm *vm, const struct conf_service *service, const struct folder_record *record)
{
	char dir[2 * CONF_PATH_MAX], settings[sizeof(record->settings)];
	struct image *image = NULL;
	snprintf(dir, sizeof(dir), "%s/%s", vm->conf.image_dir, record->variant);
	if (image_open(dir, vm->conf.image_key, &image, NULL) < 0)
		return false;
	folder_settings(service, service->memory_mib ? service->memory_mib : image->memory_mib, settings, sizeof(settings));
	bool differs = memcmp(image->manifest_sha256, record->manifest, IMAGE_SHA256) != 0 ||
	               (record->settings[0] && strcmp(settings, record->settings) != 0);
	image_free(image);
	return differs;
}

/* What the record says about a guest, as numbers of our configuration; unknown where it says nothing or names what is gone. */
static void observed_fill(const struct vm *vm, struct wire_observed_instance *observed)
{
	struct folder_record record;
	observed->service = observed->variant = UINT32_MAX;
	if (folder_record_read(vm, observed->instance, &record, NULL) < 0)
		return;
	memcpy(observed->key, record.key, WIRE_KEY_SIZE);
	observed->revoked = valid_is_revoked(vm, observed->instance);
	for (uint32_t s = 0; s < vm->conf.n_services; s++) {
		const struct conf_service *service = &vm->conf.services[s];
		if (strcmp(service->name, record.service) != 0)
			continue;
		observed->service = s;
		for (uint32_t v = 0; v < service->n_variants; v++)
			if (strcmp(service->variants[v], record.variant) == 0)
				observed->variant = v;
		observed->outdated = observed->variant != UINT32_MAX && is_outdated(vm, service, &record);
	}
}

static int order_observe(struct vm *vm, const struct wire_order *order unused_arg, struct wire_answer *answer, struct err *err)
{
	virConnectPtr conn = atomic_load(&vm->conn);
	virDomainPtr *domains = NULL;
	if (!conn)
		return err_set(err, -EAGAIN, "libvirt (%s) is not open yet", vm->uri);
	int n = virConnectListAllDomains(conn, &domains, 0);
	if (n < 0)
		return vm_libvirt_error(err, "listing the guests");
	size_t beyond = 0;
	for (int i = 0; i < n; i++) {
		uint32_t number = conf_instance_named(virDomainGetName(domains[i]));
		enum wire_guest guest = number > 0 ? vm_domain_state(domains[i]) : WIRE_GUEST_ABSENT;
		virDomainFree(domains[i]);
		if (number == 0 || guest == WIRE_GUEST_ABSENT)
			continue;
		if (answer->n_observed == WIRE_INSTANCES_MAX) {
			beyond++;
			continue;
		}
		struct wire_observed_instance *observed = &answer->observed[answer->n_observed++];
		observed->instance = number;
		observed->guest = guest;
		observed_fill(vm, observed);
	}
	free(domains);
	snprintf(answer->text, sizeof(answer->text), "%u guests%s", answer->n_observed,
	         beyond ? ", and more than can be told" : "");
	return 0;
}

static const struct {
	order_act *act; /* or, with the guest that must be there: */
	guest_act *on_guest;
	bool slow;
	bool alone; /* asks libvirt nothing */
} orders[ORDER_TYPE_MAX_] = {
        [ORDER_VM_OBSERVE] = {.act = order_observe},
        [ORDER_VM_CREATE] = {.act = vm_create, .slow = true},
        [ORDER_VM_SUSPEND] = {.on_guest = order_suspend},
        [ORDER_VM_RESUME] = {.on_guest = order_resume},
        [ORDER_VM_LINK] = {.on_guest = order_link},
        [ORDER_VM_UNCAP] = {.on_guest = order_uncap},
        [ORDER_VM_EVIDENCE] = {.act = vm_evidence, .slow = true},
        [ORDER_VM_DESTROY] = {.act = order_destroy, .slow = true},
        [ORDER_VM_CHANNEL] = {.act = vm_channel},
        [ORDER_VM_CAP] = {.act = vm_cap},
        [ORDER_VM_RESET] = {.act = vm_reset},
        [ORDER_VM_REVOKE] = {.act = order_revoke, .alone = true},
};

bool vm_order_slow(uint32_t type)
{
	return type < ORDER_TYPE_MAX_ && orders[type].slow;
}

bool vm_order_alone(uint32_t type)
{
	return type < ORDER_TYPE_MAX_ && orders[type].alone;
}

static int order_check(const struct vm *vm, const struct wire_order *order, struct err *err)
{
	if (order->type >= ORDER_TYPE_MAX_ || (!orders[order->type].act && !orders[order->type].on_guest))
		return err_set(err, -EINVAL, "order %u is not one that this actuator carries out", order->type);
	if (order->type != ORDER_VM_OBSERVE && order->instance == 0)
		return err_set(err, -EINVAL, "order %s names no instance", order_type_name((enum order_type)order->type));
	if (order->type != ORDER_VM_CREATE)
		return 0;
	if (order->service >= vm->conf.n_services)
		return err_set(err, -EINVAL, "there is no service number %u in the configuration", order->service);
	if (order->variant >= vm->conf.services[order->service].n_variants)
		return err_set(err, -EINVAL, "service '%s' has no variant number %u", vm->conf.services[order->service].name,
		               order->variant);
	return 0;
}

static int carry_on_guest(struct vm *vm, const struct wire_order *order, struct wire_answer *answer, struct err *err)
{
	struct subject s = {.vm = vm};
	conf_instance(&vm->conf, order->instance, &s.instance);
	int r = vm_domain(vm, &s.instance, &s.domain, err);
	if (r < 0)
		return r;
	r = orders[order->type].on_guest(&s, order, answer, err);
	virDomainFree(s.domain);
	return r;
}

void vm_order_carry(struct vm *vm, const struct wire_order *order, struct wire_answer *ret_answer)
{
	struct err err = {0};
	int64_t began = clock_monotonic_us();
	memset(ret_answer, 0, sizeof(*ret_answer));
	int r = order_check(vm, order, &err);
	if (r == 0)
		r = orders[order->type].on_guest ? carry_on_guest(vm, order, ret_answer, &err)
		                                 : orders[order->type].act(vm, order, ret_answer, &err);
	if (r < 0) {
		memset(ret_answer, 0, sizeof(*ret_answer));
		text_copy(ret_answer->text, sizeof(ret_answer->text), err.text);
	}
	ret_answer->id = order->id;
	ret_answer->status = r;
	int64_t took = clock_monotonic_us() - began;
	ret_answer->took_us = took > UINT32_MAX ? UINT32_MAX : (uint32_t)took;
}
