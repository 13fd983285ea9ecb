/* Paths, names and libvirt's errors: what all orders need. See vm.h. */
#include "act/vm/vm.h"

#include "lib/bytes.h"

#include <errno.h>
#include <libvirt/virterror.h>
#include <stdio.h>
#include <string.h>

/* libvirt puts "<root>/lib/qemu/domain-<id>-kb-<n>/monitor.sock" into a socket address, which has room for 107 letters; the rest
 * of that path is 34 letters and the digits of two numbers. */
#define SOCKET_REST (34 + 10)
#define SOCKET_MAX 107

static int paths_init(struct vm *vm, struct err *err)
{
	const struct conf *conf = &vm->conf;
	snprintf(vm->root, sizeof(vm->root), "%s/vm", conf->run_dir);
	snprintf(vm->guests, sizeof(vm->guests), "%s/guest", conf->run_dir);
	snprintf(vm->evidence, sizeof(vm->evidence), "%s/evidence", conf->state_dir);
	if (conf->state_dir[0] != '/' || strpbrk(conf->state_dir, "\"\\"))
		return err_set(err, -EINVAL, "state_dir '%s' must be an absolute path without quotes and backslashes",
		               conf->state_dir);
	if (!vm->embed)
		return 0;
	size_t length = strlen(vm->root);
	if (length + SOCKET_REST > SOCKET_MAX)
		return err_set(
		        err, -ENAMETOOLONG,
		        "run_dir '%s' is too long by %zu letters: libvirt's sockets below it would not fit a socket address; "
		        "choose a shorter one, like /run/koboshi",
		        conf->run_dir, length + SOCKET_REST - SOCKET_MAX);
	if (conf->run_dir[0] != '/' || strpbrk(conf->run_dir, "?&#% \"\\"))
		return err_set(err, -EINVAL,
		               "run_dir '%s' must be an absolute path without ? & # %%, quotes, backslashes and blanks",
		               conf->run_dir);
	return 0;
}

int vm_init(struct vm *vm, const struct conf *conf, struct outbox *outbox, struct err *err)
{
	memset(vm, 0, sizeof(*vm));
	vm->conf = *conf;
	vm->outbox = outbox;
	vm->embed = strcmp(conf->libvirt, "embed") == 0 || conf->libvirt[0] == '\0';
	vm->test = strncmp(conf->libvirt, "test:", 5) == 0;
	int r = paths_init(vm, err);
	if (r < 0)
		return r;
	if (vm->embed)
		snprintf(vm->uri, sizeof(vm->uri), "qemu:///embed?root=%s", vm->root);
	else
		snprintf(vm->uri, sizeof(vm->uri), "%s", conf->libvirt);
	verify_init(&vm->verify);
	pthread_mutex_init(&vm->evidence_lock, NULL);
	pthread_mutex_init(&vm->sweep_lock, NULL);
	pthread_mutex_init(&vm->valid_lock, NULL);
	return 0;
}

void vm_done(struct vm *vm)
{
	virConnectPtr conn = atomic_exchange(&vm->conn, NULL);
	if (conn)
		virConnectClose(conn);
	verify_done(&vm->verify);
	pthread_mutex_destroy(&vm->evidence_lock);
	pthread_mutex_destroy(&vm->sweep_lock);
	pthread_mutex_destroy(&vm->valid_lock);
}

int vm_libvirt_error(struct err *err, const char *what)
{
	virErrorPtr error = virGetLastError();
	int code = -EIO;
	if (error && error->code == VIR_ERR_NO_DOMAIN)
		code = -ENOENT;
	if (error && error->code == VIR_ERR_OPERATION_INVALID)
		code = -EBUSY;
	char text[300];
	text_copy(text, sizeof(text), error && error->message ? error->message : "no reason given");
	for (char *at = text; *at; at++)
		if (*at == '\n')
			*at = ' ';
	return err_set(err, code, "%s: libvirt says: %s", what, text);
}

int vm_domain(struct vm *vm, const struct conf_instance *instance, virDomainPtr *ret_domain, struct err *err)
{
	virConnectPtr conn = atomic_load(&vm->conn);
	if (!conn)
		return err_set(err, -EAGAIN, "libvirt (%s) is not open yet", vm->uri);
	virDomainPtr domain = virDomainLookupByName(conn, instance->name);
	if (!domain && virGetLastErrorCode() == VIR_ERR_NO_DOMAIN)
		return err_set(err, -ENOENT, "there is no guest %s", instance->name);
	if (!domain)
		return vm_libvirt_error(err, instance->name);
	*ret_domain = domain;
	return 0;
}

enum wire_guest vm_domain_state(virDomainPtr domain)
{
	int state = 0, reason = 0;
	if (virDomainGetState(domain, &state, &reason, 0) < 0)
		return WIRE_GUEST_ABSENT;
	switch (state) {
	case VIR_DOMAIN_RUNNING:
	case VIR_DOMAIN_BLOCKED:
		return WIRE_GUEST_RUNNING;
	case VIR_DOMAIN_PAUSED:
		return reason == VIR_DOMAIN_PAUSED_CRASHED ? WIRE_GUEST_CRASHED : WIRE_GUEST_PAUSED;
	case VIR_DOMAIN_PMSUSPENDED:
		return WIRE_GUEST_PAUSED;
	case VIR_DOMAIN_CRASHED:
		return WIRE_GUEST_CRASHED;
	default:
		return WIRE_GUEST_OFF;
	}
}
