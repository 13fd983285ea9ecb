/* Names of everything that is a number on the wire, for logs and the ledger; and which actuator an order is for. */
#include "wire/order.h"

static const struct {
	const char *name;
	enum wire_role role;
} orders[ORDER_TYPE_MAX_] = {
        [ORDER_NET_OBSERVE] = {"net-observe", WIRE_NET},
        [ORDER_NET_TAP_ADD] = {"net-tap-add", WIRE_NET},
        [ORDER_NET_TAP_DEL] = {"net-tap-del", WIRE_NET},
        [ORDER_NET_GATE] = {"net-gate", WIRE_NET},
        [ORDER_NET_STEER] = {"net-steer", WIRE_NET},
        [ORDER_NET_CUT] = {"net-cut", WIRE_NET},
        [ORDER_NET_FLOWS] = {"net-flows", WIRE_NET},
        [ORDER_VM_OBSERVE] = {"vm-observe", WIRE_VM},
        [ORDER_VM_CREATE] = {"vm-create", WIRE_VM},
        [ORDER_VM_SUSPEND] = {"vm-suspend", WIRE_VM},
        [ORDER_VM_RESUME] = {"vm-resume", WIRE_VM},
        [ORDER_VM_LINK] = {"vm-link", WIRE_VM},
        [ORDER_VM_UNCAP] = {"vm-uncap", WIRE_VM},
        [ORDER_VM_EVIDENCE] = {"vm-evidence", WIRE_VM},
        [ORDER_VM_DESTROY] = {"vm-destroy", WIRE_VM},
        [ORDER_VM_CHANNEL] = {"vm-channel", WIRE_VM},
        [ORDER_NET_CONTAIN] = {"net-contain", WIRE_NET},
        [ORDER_VAULT_BACKUP] = {"vault-backup", WIRE_VAULT},
        [ORDER_VAULT_ROLLBACK] = {"vault-rollback", WIRE_VAULT},
        [ORDER_VAULT_RESTORE] = {"vault-restore", WIRE_VAULT},
        [ORDER_VAULT_RETURN] = {"vault-return", WIRE_VAULT},
        [ORDER_VM_RESET] = {"vm-reset", WIRE_VM},
        [ORDER_VM_CAP] = {"vm-cap", WIRE_VM},
        [ORDER_VM_REVOKE] = {"vm-revoke", WIRE_VM},
};

static const char *name_of(const char *const *names, size_t count, size_t index)
{
	return index < count && names[index] ? names[index] : "?";
}

const char *order_type_name(enum order_type type)
{
	return type < ORDER_TYPE_MAX_ && orders[type].name ? orders[type].name : "?";
}

enum wire_role order_role(enum order_type type)
{
	return type < ORDER_TYPE_MAX_ ? orders[type].role : WIRE_SUPERVISOR;
}

const char *wire_gate_name(enum wire_gate gate)
{
	static const char *const names[WIRE_GATE_MAX_] = {
	        [WIRE_GATE_NONE] = "none",
	        [WIRE_GATE_QUARANTINE] = "quarantine",
	        [WIRE_GATE_OPEN] = "open",
	        [WIRE_GATE_FENCED] = "fenced",
	};
	return name_of(names, countof(names), gate);
}

const char *wire_guest_name(enum wire_guest guest)
{
	static const char *const names[WIRE_GUEST_MAX_] = {
	        [WIRE_GUEST_ABSENT] = "absent",   [WIRE_GUEST_RUNNING] = "running", [WIRE_GUEST_PAUSED] = "paused",
	        [WIRE_GUEST_CRASHED] = "crashed", [WIRE_GUEST_OFF] = "off",
	};
	return name_of(names, countof(names), guest);
}

const char *wire_notice_name(enum wire_notice notice)
{
	static const char *const names[NOTICE_MAX_] = {
	        [NOTICE_READY] = "ready",
	        [NOTICE_GUEST_STARTED] = "guest-started",
	        [NOTICE_GUEST_PAUSED] = "guest-paused",
	        [NOTICE_GUEST_RESUMED] = "guest-resumed",
	        [NOTICE_GUEST_PANICKED] = "guest-panicked",
	        [NOTICE_GUEST_GONE] = "guest-gone",
	        [NOTICE_GUEST_RESET] = "guest-reset",
	        [NOTICE_TROUBLE] = "trouble",
	        [NOTICE_GUEST_USAGE] = "guest-usage",
	        [NOTICE_MEDDLED] = "meddled",
	        [NOTICE_PROFILE] = "profile",
	        [NOTICE_TARPIT] = "tarpit",
	        [NOTICE_GUEST_CHANNEL] = "guest-channel",
	        [NOTICE_FILE_BAD] = "file-bad",
	        [NOTICE_FILE_UNKNOWN] = "file-unknown",
	        [NOTICE_FILE_SKIPPED] = "file-skipped",
	        [NOTICE_FILE_TROUBLE] = "file-trouble",
	        [NOTICE_FILE_COUNTS] = "file-counts",
	        [NOTICE_EVIDENCE_TAKEN] = "evidence-taken",
	        [NOTICE_EVIDENCE_DROPPED] = "evidence-dropped",
	        [NOTICE_VAULT] = "vault",
	        [NOTICE_SNAPSHOT] = "snapshot",
	        [NOTICE_CHANGE] = "change",
	        [NOTICE_GUEST_SECRET] = "guest-secret",
	        [NOTICE_GUEST_CARRIED] = "guest-carried",
	        [NOTICE_RESCUE] = "rescue",
	        [NOTICE_LINK_RESTARTED] = "link-restarted",
	        [NOTICE_GUEST_IO_ERROR] = "guest-io-error",
	        [NOTICE_GUEST_WATCHDOG] = "guest-watchdog",
	};
	return name_of(names, countof(names), notice);
}

const char *wire_role_name(enum wire_role role)
{
	static const char *const names[WIRE_ROLE_MAX_] = {
	        [WIRE_SUPERVISOR] = "supervisor",
	        [WIRE_ENGINE] = "engine",
	        [WIRE_NET] = "net",
	        [WIRE_VM] = "vm",
	        [WIRE_HOST] = "host",
	        [WIRE_DECOY] = "decoy",
	        [WIRE_SCAN] = "scan",
	        [WIRE_VAULT] = "vault",
	};
	return name_of(names, countof(names), role);
}
