/* Reducing capabilities with libcap-ng and reading the result back; see privileges.h. */
#include "lib/privileges.h"

#include <cap-ng.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>

static bool is_wanted(int capability, const int *wanted, size_t n_wanted)
{
	for (size_t i = 0; i < n_wanted; i++)
		if (wanted[i] == capability)
			return true;
	return false;
}

static int privileges_check(const int *wanted, size_t n_wanted, struct err *err)
{
	if (capng_get_caps_process() != 0)
		return err_set(err, -EIO, "cannot read the own capabilities back");
	for (int cap = 0; cap <= CAP_LAST_CAP; cap++) {
		bool want = is_wanted(cap, wanted, n_wanted);
		const char *name = capng_capability_to_name((unsigned)cap);
		name = name ? name : "unknown";
		if (capng_have_capability(CAPNG_EFFECTIVE, (unsigned)cap) != want ||
		    capng_have_capability(CAPNG_PERMITTED, (unsigned)cap) != want)
			return err_set(err, -EPERM,
			               want ? "capability %s is needed and could not be kept: start koboshid as root with it"
			                    : "capability %s could not be dropped",
			               name);
		if (!want && (capng_have_capability(CAPNG_INHERITABLE, (unsigned)cap) ||
		              capng_have_capability(CAPNG_AMBIENT, (unsigned)cap)))
			return err_set(err, -EPERM, "capability %s could not be dropped from what children inherit", name);
		if (!want && n_wanted > 0 && prctl(PR_CAPBSET_READ, cap) == 1)
			return err_set(err, -EPERM, "capability %s could not be dropped from the bounding set", name);
	}
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		return err_set(err, -EPERM, "no_new_privs is not set");
	return 0;
}

int privileges_keep(const int *capabilities, size_t n_capabilities, struct err *err)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return err_set(err, -errno, "cannot set no_new_privs: %s", strerror(errno));
	capng_clear(CAPNG_SELECT_ALL);
	for (size_t i = 0; i < n_capabilities; i++)
		if (capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET, (unsigned)capabilities[i]) !=
		    0)
			return err_set(err, -EINVAL, "%d is not a capability", capabilities[i]);
	/* The bounding set first: it needs CAP_SETPCAP, which goes with the rest. What did not work shows in the check. */
	(void)capng_apply(CAPNG_SELECT_BOUNDS);
	(void)capng_apply(CAPNG_SELECT_CAPS);
	(void)capng_apply(CAPNG_SELECT_AMBIENT);
	return privileges_check(capabilities, n_capabilities, err);
}
