/* /proc and pidfds. See process.h. */
#include "act/vm/process.h"

#include "act/vm/folder.h"
#include "lib/bytes.h"

#include <ctype.h>
#include <dirent.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define KNOWN_MAX (2 * WIRE_INSTANCES_MAX) /* a folder may outlive its guest by a while */

/* Our guests are known by a file of theirs in the command line: the name "kb-7" may be someone else's too. */
static bool command_has(const char *pid, const char *needle)
{
	char path[64];
	auto_free uint8_t *text = NULL;
	size_t size;
	snprintf(path, sizeof(path), "/proc/%.20s/cmdline", pid);
	if (file_read(path, 256 << 10, &text, &size, NULL) < 0 || !memmem(text, size, "qemu", 4))
		return false;
	return memmem(text, size, needle, strlen(needle)) != NULL;
}

/* Anybody can give his processes our guests' words. `file` is ours, or of the user to whom libvirt gave it for QEMU. Its /proc
 * folder does not say whose a process is: it is root's of each that shall not be dumped. */
static bool owner_is_right(const char *pid, const char *file)
{
	char path[64];
	auto_free uint8_t *text = NULL;
	size_t size;
	unsigned user;
	struct stat status;
	snprintf(path, sizeof(path), "/proc/%.20s/status", pid);
	if (file_read(path, 16 << 10, &text, &size, NULL) < 0)
		return false;
	const char *line = strstr((const char *)text, "\nUid:");
	if (!line || sscanf(line, "\nUid: %u", &user) != 1)
		return false;
	return user == geteuid() || (stat(file, &status) == 0 && status.st_uid == user);
}

bool process_look(pid_t pid, struct process_sight *ret_sight)
{
	char path[40], state;
	auto_free uint8_t *text = NULL;
	size_t size;
	uint64_t user, system, born;
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if (pid <= 0 || file_read(path, 4096, &text, &size, NULL) < 0)
		return false;
	const char *rest = strrchr((const char *)text, ')'); /* the name may hold anything */
	if (!rest ||
	    sscanf(rest + 1,
	           " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64 " %*d %*d %*d %*d %*d %*d %" SCNu64, &state,
	           &user, &system, &born) != 4 ||
	    state == 'Z' || state == 'X')
		return false;
	*ret_sight = (struct process_sight){.born = born, .cpu_us = (user + system) * (1000000 / (uint64_t)sysconf(_SC_CLK_TCK))};
	return true;
}

static struct known { /* by a file that the process holds */
	char file[VM_PATH_MAX + 16];
	pid_t pid;
	uint64_t born;
	uint64_t asked; /* the last time, in questions */
} known[KNOWN_MAX];
static pthread_mutex_t known_lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t questions;

static pid_t known_pid(const char *file)
{
	struct process_sight sight;
	pid_t found = 0;
	pthread_mutex_lock(&known_lock);
	questions++;
	for (size_t i = 0; i < KNOWN_MAX && found == 0; i++) {
		struct known *k = &known[i];
		if (k->pid == 0 || strcmp(k->file, file) != 0)
			continue;
		if (process_look(k->pid, &sight) && sight.born == k->born)
			found = k->pid;
		k->pid = found;
		k->asked = questions;
	}
	pthread_mutex_unlock(&known_lock);
	return found;
}

/* Takes the place of what was not asked for the longest. */
static void known_add(const char *file, pid_t pid, uint64_t born)
{
	pthread_mutex_lock(&known_lock);
	struct known *seat = &known[0];
	for (size_t i = 1; i < KNOWN_MAX && seat->pid; i++)
		if (known[i].pid == 0 || known[i].asked < seat->asked)
			seat = &known[i];
	*seat = (struct known){.pid = pid, .born = born, .asked = questions};
	if (!text_copy(seat->file, sizeof(seat->file), file))
		seat->pid = 0;
	pthread_mutex_unlock(&known_lock);
}

pid_t process_with(const char *file)
{
	struct process_sight sight;
	pid_t found = known_pid(file);
	DIR *proc = found ? NULL : opendir("/proc");
	for (const struct dirent *entry; proc && found == 0 && (entry = readdir(proc));) {
		pid_t pid = isdigit((unsigned char)entry->d_name[0]) ? (pid_t)strtol(entry->d_name, NULL, 10) : 0;
		/* its birth first: should the number change hands before we look at the command, it is not believed next time */
		if (process_look(pid, &sight) && command_has(entry->d_name, file) && owner_is_right(entry->d_name, file)) {
			known_add(file, pid, sight.born);
			found = pid;
		}
	}
	if (proc)
		closedir(proc);
	return found;
}

pid_t process_find(const struct vm *vm, uint32_t number)
{
	char seed[VM_PATH_MAX];
	if (vm->test)
		return 0;
	folder_path(vm, number, "seed.iso", seed);
	return process_with(seed);
}

int process_open(pid_t pid)
{
	return pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
}

bool process_wait(int pidfd, int wait_ms)
{
	struct pollfd ended = {.fd = pidfd, .events = POLLIN};
	return pidfd < 0 || poll(&ended, 1, wait_ms) == 1;
}

void process_kill(int pidfd)
{
	if (pidfd >= 0)
		syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
}
