/* See reach.h. Reading is what is limited; writing has its limits in whom the files belong to. */
#include "act/vault/reach.h"

#include "lib/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <linux/landlock.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define READS (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define REFER LANDLOCK_ACCESS_FS_REFER /* renames and links from folder to folder; without a right to it all are forbidden */

static const char *const usual[] = {"/usr",
                                    "/bin",
                                    "/lib",
                                    "/lib64",
                                    "/etc/ssl",
                                    "/etc/pki",
                                    "/etc/hosts",
                                    "/etc/resolv.conf",
                                    "/etc/passwd",
                                    "/etc/group",
                                    "/etc/nsswitch.conf",
                                    "/etc/localtime",
                                    "/etc/ld.so.cache",
                                    "/sys/kernel/mm/transparent_hugepage"};

static long landlock_version(void)
{
	return syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
}

bool reach_is_limited(void)
{
	return landlock_version() >= 2; /* the first one forbids all renames from folder to folder */
}

/* What is not there needs no rule. */
static int allow(int rules, const char *path, uint64_t access)
{
	struct stat status;
	auto_close int fd = open(path, O_PATH | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
	if (fstat(fd, &status) < 0)
		return -errno;
	struct landlock_path_beneath_attr rule = {
	        .allowed_access = S_ISDIR(status.st_mode) ? access : access & LANDLOCK_ACCESS_FS_READ_FILE, .parent_fd = fd};
	return syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0 ? -errno : 0;
}

/* A folder of this host, or where one is about to be made; others are reached by the network. */
static int allow_repository(int rules, const char *repository)
{
	char path[PATH_MAX];
	if (strncmp(repository, "local:", 6) == 0)
		repository += 6;
	if (repository[0] != '/' || !text_copy(path, sizeof(path), repository))
		return 0;
	return allow(rules, access(path, F_OK) == 0 ? path : dirname(path), READS | REFER);
}

int reach_limit(const struct restic *restic, const char *data, const char *const *environment)
{
	if (!reach_is_limited())
		return 0;
	struct landlock_ruleset_attr handled = {.handled_access_fs = READS | REFER};
	auto_close int rules = (int)syscall(SYS_landlock_create_ruleset, &handled, sizeof(handled.handled_access_fs), 0);
	int r = rules < 0 ? -errno : allow(rules, data, READS);
	for (size_t i = 0; i < countof(usual) && r == 0; i++)
		r = allow(rules, usual[i], READS);
	for (; *environment && r == 0; environment++) { /* certificates and the like that the credentials name */
		const char *value = strchr(*environment, '=');
		if (value && value[1] == '/')
			r = allow(rules, value + 1, READS);
	}
	if (r == 0)
		r = allow(rules, restic->cache, READS | REFER);
	if (r == 0)
		r = allow(rules, restic->staging, READS | REFER);
	if (r == 0)
		r = allow_repository(rules, restic->repository);
	if (r == 0 && (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || syscall(SYS_landlock_restrict_self, rules, 0) < 0))
		r = -errno;
	return r;
}
