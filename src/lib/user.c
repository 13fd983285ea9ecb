/* Looking up and becoming a user; see user.h. Each step is read back: a drop that silently failed is the classic hole. */
#include "lib/user.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static bool text_is_number(const char *text, unsigned long *ret_number)
{
	char *end;
	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*ret_number = strtoul(text, &end, 10);
	return errno == 0 && *end == '\0' && *ret_number < UINT32_MAX;
}

int user_find(const char *name, struct user *ret_user, struct err *err)
{
	unsigned long number = 0;
	bool by_number = text_is_number(name, &number);
	bool found = false;
	FILE *passwd = fopen("/etc/passwd", "re");
	for (struct passwd *entry; passwd && !found && (entry = fgetpwent(passwd));) {
		found = by_number ? entry->pw_uid == number : strcmp(entry->pw_name, name) == 0;
		if (found)
			*ret_user = (struct user){.uid = entry->pw_uid, .gid = entry->pw_gid};
	}
	if (passwd)
		fclose(passwd);
	if (!found && by_number) {
		*ret_user = (struct user){.uid = (uid_t)number, .gid = (gid_t)number};
		found = true;
	}
	if (!found)
		return err_set(
		        err, -ENOENT,
		        "there is no user '%s' in /etc/passwd: make it (systemd-sysusers or adduser --system) or set 'user'",
		        name);
	return 0;
}

static bool map_has(const char *path, unsigned long id)
{
	FILE *map = fopen(path, "re");
	if (!map)
		return true; /* no user namespaces in this kernel */
	bool has = false;
	unsigned long inside, outside, count;
	while (!has && fscanf(map, "%lu %lu %lu", &inside, &outside, &count) == 3)
		has = id >= inside && id - inside < count;
	fclose(map);
	return has;
}

static bool groups_may_be_dropped(void)
{
	char word[8] = "";
	FILE *file = fopen("/proc/self/setgroups", "re");
	if (!file)
		return true;
	bool denied = fscanf(file, "%7s", word) == 1 && strcmp(word, "deny") == 0;
	fclose(file);
	return !denied;
}

bool user_is_mapped(const struct user *user)
{
	return map_has("/proc/self/uid_map", user->uid) && map_has("/proc/self/gid_map", user->gid) && groups_may_be_dropped();
}

static bool user_is(const struct user *user)
{
	uid_t uid[3];
	gid_t gid[3];
	if (getresuid(&uid[0], &uid[1], &uid[2]) != 0 || getresgid(&gid[0], &gid[1], &gid[2]) != 0)
		return false;
	for (int i = 0; i < 3; i++)
		if (uid[i] != user->uid || gid[i] != user->gid)
			return false;
	return true;
}

static bool groups_are_dropped(const struct user *user)
{
	gid_t groups[2];
	int n = getgroups((int)countof(groups), groups);
	return n == 0 || (n == 1 && groups[0] == user->gid);
}

int user_become(const struct user *user, struct err *err)
{
	if (!user_is(user) || !groups_are_dropped(user)) {
		if (setgroups(0, NULL) != 0)
			return err_set(err, -errno, "cannot drop supplementary groups: %s", strerror(errno));
		if (setresgid(user->gid, user->gid, user->gid) != 0)
			return err_set(err, -errno, "cannot become group %u: %s", user->gid, strerror(errno));
		if (setresuid(user->uid, user->uid, user->uid) != 0)
			return err_set(err, -errno, "cannot become user %u: %s", user->uid, strerror(errno));
	}
	if (!user_is(user) || !groups_are_dropped(user))
		return err_set(err, -EPERM, "user and groups are not what was asked for after dropping them");
	if (user->uid != 0 && (setuid(0) == 0 || seteuid(0) == 0))
		return err_set(err, -EPERM, "user %u could become root again", user->uid);
	return 0;
}
