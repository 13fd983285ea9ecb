/*
 * What we give up. We stay user 0: /dev/net/tun may be root's alone, evidence shall be root's, and the kernel lets
 * CAP_NET_ADMIN write /proc/sys/net either way. But user 0 without capabilities still owns root's files, so Landlock
 * takes away all writing outside of the three places that are ours. Where the kernel has no Landlock we go on without:
 * a missing second lock is no reason to leave the service unguarded.
 */
#include "act/net/net.h"
#include "lib/log.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define WRITES                                                                                                                   \
	(LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |                            \
	 LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR |                           \
	 LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |                             \
	 LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM)

static int lock_allow(int lock, const char *path, uint64_t access, struct err *err)
{
	auto_close int fd = open(path, O_PATH | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : err_set(err, -errno, "cannot open %s: %s", path, strerror(errno));
	struct landlock_path_beneath_attr rule = {.allowed_access = access, .parent_fd = fd};
	if (syscall(SYS_landlock_add_rule, lock, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
		return err_set(err, -errno, "cannot keep write access to %s: %s", path, strerror(errno));
	return 0;
}

static int lock_files(const struct conf *conf, struct err *err)
{
	struct landlock_ruleset_attr what = {.handled_access_fs = WRITES};
	auto_close int lock = (int)syscall(SYS_landlock_create_ruleset, &what, sizeof(what), 0);
	if (lock < 0) {
		log_notice("net.landlock", "this kernel has no Landlock (%s): going on without", strerror(errno));
		return 0;
	}
	char evidence[CONF_PATH_MAX + 16];
	snprintf(evidence, sizeof(evidence), "%s/evidence", conf->state_dir);
	int r = lock_allow(lock, "/dev/net/tun", LANDLOCK_ACCESS_FS_WRITE_FILE, err);
	if (r == 0)
		r = lock_allow(lock, "/proc/sys/net", LANDLOCK_ACCESS_FS_WRITE_FILE, err);
	if (r == 0)
		r = lock_allow(lock, evidence,
		               LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_DIR |
		                       LANDLOCK_ACCESS_FS_REMOVE_FILE,
		               err);
	if (r == 0 && syscall(SYS_landlock_restrict_self, lock, 0) < 0)
		r = err_set(err, -errno, "cannot lock the file system away: %s", strerror(errno));
	return r;
}

int privilege_drop(const struct conf *conf, struct err *err)
{
	(void)!setpriority(PRIO_PROCESS, 0, -10); /* a switch must not queue behind what made it necessary */
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_set(err, -errno, "cannot give up new privileges: %s", strerror(errno));
	int r = lock_files(conf, err);
	if (r < 0)
		return r;
	capng_clear(CAPNG_SELECT_BOTH);
	capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET, CAP_NET_ADMIN);
	(void)!capng_apply(CAPNG_SELECT_BOUNDS); /* needs CAP_SETPCAP; without it no_new_privs says the same */
	if (capng_apply(CAPNG_SELECT_CAPS) < 0)
		return err_set(err, -EPERM, "cannot drop to CAP_NET_ADMIN: start as root, or with that capability");
	return 0;
}
