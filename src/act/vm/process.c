/* /proc and pidfds. See process.h. */
#include "act/vm/process.h"

#include "act/vm/folder.h"
#include "lib/bytes.h"

#include <ctype.h>
#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

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

pid_t process_with(const char *file)
{
	pid_t found = 0;
	DIR *proc = opendir("/proc");
	if (!proc)
		return 0;
	for (const struct dirent *entry; found == 0 && (entry = readdir(proc));)
		if (isdigit((unsigned char)entry->d_name[0]) && command_has(entry->d_name, file))
			found = (pid_t)strtol(entry->d_name, NULL, 10);
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
