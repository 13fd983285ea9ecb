/* flock(2), because the kernel lets go of it whatever end we come to; see lock.h. */
#include "supervisor/lock.h"
#include "lib/bytes.h"
#include "lib/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

#define HELD_US 500000       /* a supervisor that was just killed may take a moment to be gone */
#define LEFTOVERS_US 4000000 /* children end by themselves when they see that their supervisor is gone */
#define KILLED_US 4000000
#define LOCK_TEXT_MAX 1024
#define LEFTOVERS_MAX 16

/* The file may have been removed between opening and locking it: then the lock is on a file that nobody else sees. */
static bool is_current(int fd, const char *path)
{
	struct stat held, named;
	return fstat(fd, &held) == 0 && stat(path, &named) == 0 && held.st_ino == named.st_ino && held.st_dev == named.st_dev;
}

static int try_lock(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	(void)!fchmod(fd, 0600); /* one of an earlier version: whoever can open it can lock it, and keep us away */
	int r = flock(fd, LOCK_EX | LOCK_NB) != 0 ? -errno : is_current(fd, path) ? 0 : -EWOULDBLOCK;
	if (r == 0)
		return fd;
	close(fd);
	return r;
}

static int holder_pid(const char *path)
{
	int pid = 0;
	FILE *file = fopen(path, "re");
	if (file && fscanf(file, "%d", &pid) != 1)
		pid = 0;
	if (file)
		fclose(file);
	return pid;
}

int lock_take(struct lock *lock, const char *run_dir, struct err *err)
{
	const struct timespec pause = {.tv_nsec = 20000000};
	snprintf(lock->path, sizeof(lock->path), "%s/koboshid.lock", run_dir);
	int64_t until = clock_monotonic_us() + HELD_US;
	while ((lock->fd = try_lock(lock->path)) == -EWOULDBLOCK && clock_monotonic_us() < until)
		nanosleep(&pause, NULL);
	if (lock->fd >= 0)
		return 0;
	int r = lock->fd;
	lock->fd = -1;
	if (r == -EWOULDBLOCK)
		return err_set(err, -EBUSY,
		               "another koboshid (pid %d) already runs in '%s': stop it first, or set another paths.run",
		               holder_pid(lock->path), run_dir);
	return err_set(err, r, "cannot open '%s': %s", lock->path, strerror(-r));
}

uint64_t process_born(pid_t pid)
{
	char path[32], text[1024];
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (got <= 0)
		return 0;
	text[got] = '\0';
	/* The name may hold anything, blanks and brackets too: count the fields behind its end. */
	const char *at = strrchr(text, ')');
	for (int field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	return at ? strtoull(at + 1, NULL, 10) : 0;
}

static bool await_end(int pidfd, int64_t until_us)
{
	struct pollfd watched = {.fd = pidfd, .events = POLLIN};
	for (;;) {
		int64_t left_us = until_us - clock_monotonic_us();
		int r = poll(&watched, 1, left_us > 0 ? (int)(left_us / 1000 + 1) : 0);
		if (r > 0)
			return true;
		if (r == 0 || errno != EINTR)
			return false;
	}
}

static int await_one(const struct lock_process *process, int64_t until_us, struct err *err)
{
	auto_close int pidfd = (int)syscall(SYS_pidfd_open, process->pid, 0);
	/* Looked at after the descriptor holds the process: the number cannot change hands in between. */
	if (pidfd < 0 || process_born(process->pid) != process->born || await_end(pidfd, until_us))
		return 0;
	log_warning("supervisor.leftover", "process %d of an earlier koboshid does not end by itself and is killed",
	            process->pid);
	syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
	if (await_end(pidfd, clock_monotonic_us() + KILLED_US))
		return 0;
	return err_set(err, -EBUSY,
	               "process %d of an earlier koboshid cannot be killed: look at it (ps -o stat,wchan %d), then start again",
	               process->pid, process->pid);
}

int lock_await_leftovers(const struct lock *lock, struct err *err)
{
	char text[LOCK_TEXT_MAX + 1];
	ssize_t got = pread(lock->fd, text, LOCK_TEXT_MAX, 0);
	if (got <= 0)
		return 0;
	text[got] = '\0';
	int64_t until = clock_monotonic_us() + LEFTOVERS_US;
	char *line = strchr(text, '\n');
	int r = 0;
	for (int i = 0; line && i < LEFTOVERS_MAX && r == 0; i++, line = strchr(line + 1, '\n')) {
		struct lock_process process;
		unsigned long long born;
		if (sscanf(line, "%d %llu", &process.pid, &born) != 2 || process.pid <= 1)
			continue; /* torn by the kill that we come after */
		process.born = born;
		r = await_one(&process, until, err);
	}
	return r;
}

void lock_note(const struct lock *lock, const struct lock_process *children, size_t n_children)
{
	char text[LOCK_TEXT_MAX];
	size_t used = (size_t)snprintf(text, sizeof(text), "%d\n", getpid());
	for (size_t i = 0; i < n_children && used < sizeof(text) - 48; i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%d %llu\n", children[i].pid,
		                         (unsigned long long)children[i].born);
	if (pwrite(lock->fd, text, used, 0) != (ssize_t)used || ftruncate(lock->fd, (off_t)used) != 0)
		log_warning("supervisor.lock", "cannot write '%s': %s; a successor will not wait for these processes", lock->path,
		            strerror(errno));
}

void lock_abandon(struct lock *lock)
{
	close(lock->fd);
	lock->fd = -1;
}

void lock_release(struct lock *lock)
{
	if (lock->fd < 0)
		return;
	unlink(lock->path);
	close(lock->fd);
	lock->fd = -1;
}
