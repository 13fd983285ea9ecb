/* Mounts. Those of the kernel itself (proc, sysfs ...) hold no programs. */
#include "guest/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

int mounts_open(struct err *err)
{
	int fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	return fd < 0 ? err_set(err, -errno, "/proc/self/mountinfo: %s", strerror(errno)) : fd;
}

static bool holds_programs(const char *type, bool opens)
{
	static const char *const none[] = {"proc",      "sysfs",   "devpts",      "cgroup",     "cgroup2",  "bpf",
	                                   "tracefs",   "debugfs", "mqueue",      "securityfs", "configfs", "efivarfs",
	                                   "hugetlbfs", "pstore",  "binfmt_misc", "selinuxfs"};
	for (size_t i = 0; i < countof(none); i++)
		if (strcmp(type, none[i]) == 0)
			return false;
	return !(opens && strcmp(type, "devtmpfs") == 0);
}

/* "\040" and the like, in place. */
static void unescape(char *text)
{
	char *to = text;
	for (; *text; to++) {
		unsigned code;
		if (text[0] == '\\' && sscanf(text + 1, "%3o", &code) == 1) {
			*to = (char)code;
			text += 4;
		} else {
			*to = *text++;
		}
	}
	*to = '\0';
}

void mounts_each(void (*with)(const char *path), bool opens)
{
	char line[8192], path[4096], type[64];
	FILE *file = fopen("/proc/self/mountinfo", "re");
	if (!file)
		return;
	while (fgets(line, sizeof(line), file)) {
		const char *rest = strstr(line, " - ");
		if (!rest || sscanf(line, "%*s %*s %*s %*s %4095s", path) != 1 || sscanf(rest, " - %63s", type) != 1)
			continue;
		unescape(path);
		if (holds_programs(type, opens))
			with(path);
	}
	fclose(file);
}
