/* Written with rename and without fsync: it is about this boot's processes and must not wait for a disk. See status.h. */
#include "supervisor/status.h"
#include "supervisor/notify.h"
#include "lib/bytes.h"
#include "lib/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static void path_make(const struct place *place, const char *name, char *ret_path, size_t size)
{
	snprintf(ret_path, size, "%s/%s", place->run_dir, name);
}

static void file_publish(const struct place *place, const char *text)
{
	char path[PATH_MAX], fresh[PATH_MAX];
	path_make(place, "processes", path, sizeof(path));
	path_make(place, ".processes.new", fresh, sizeof(fresh));
	auto_close int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
	ssize_t size = (ssize_t)strlen(text);
	if (fd < 0 || fchmod(fd, 0644) != 0 || write(fd, text, (size_t)size) != size || rename(fresh, path) != 0)
		log_warning("supervisor.status", "cannot write '%s': %s", path, strerror(errno));
}

void status_publish(const struct place *place, const struct child children[static CHILD_SPECS])
{
	static int64_t since_us;
	since_us = since_us ? since_us : clock_monotonic_us();
	struct lock_process processes[CHILD_SPECS];
	char text[512], line[192];
	size_t n = 0, line_used = 0;
	size_t used = (size_t)snprintf(text, sizeof(text), "supervisor %d 0 %lld -\n", getpid(), (long long)since_us);
	for (size_t i = 0; i < CHILD_SPECS; i++) {
		const struct child *child = &children[i];
		if (child->unwanted && !child->pid)
			continue;
		const char *role = wire_role_name(child->spec->role);
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s %d %u %lld %s\n", role, child->pid,
		                         child->starts ? child->starts - 1 : 0, (long long)child->started_us, child->last_exit);
		line_used += (size_t)snprintf(line + line_used, sizeof(line) - line_used, "%s%s %s", line_used ? ", " : "", role,
		                              child->pid ? "runs" : "waits to start again");
		if (child->pid)
			processes[n++] = (struct lock_process){.pid = child->pid, .born = child->born};
	}
	file_publish(place, text);
	lock_note(&place->lock, processes, n);
	notify_send("STATUS=%s", line);
}

void status_remove(const struct place *place)
{
	char path[PATH_MAX];
	path_make(place, "processes", path, sizeof(path));
	unlink(path);
}
