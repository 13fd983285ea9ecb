/*
 * Test double for all three children of koboshid, told apart by the name it is run as. It speaks the links as the real ones
 * do, tells what happens to it in datagrams to the socket `events` beside the configuration, and misbehaves on signals:
 *   USR1 no more beats      USR2 asks to replace vm      TTIN leaves an orphan behind
 *   TTOU sends garbage      TSTP goes on after its supervisor's link ended
 *   HUP ends in an orderly way if a file `reload` lies beside the configuration
 */
#include "wire/link.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

static const char *role = "?";
static int events = -1, links[WIRE_ROLE_MAX_];
static char reload[256];
static bool engine, beating = true, stubborn;

static void printf_like(1, 2) tell(const char *format, ...)
{
	char text[1024];
	int used = snprintf(text, sizeof(text), "%s %d ", role, getpid());
	va_list args;
	va_start(args, format);
	vsnprintf(text + used, sizeof(text) - (size_t)used, format, args);
	va_end(args);
	(void)send(events, text, strlen(text), MSG_NOSIGNAL);
}

static void events_open(const char *config)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const char *slash = strrchr(config, '/');
	assert(slash);
	snprintf(address.sun_path, sizeof(address.sun_path), "%.*s/events", (int)(slash - config), config);
	snprintf(reload, sizeof(reload), "%.*s/reload", (int)(slash - config), config);
	events = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (connect(events, (struct sockaddr *)&address, sizeof(address)) != 0)
		_exit(3);
}

static int descriptors_count(void)
{
	int n = 0;
	DIR *dir = opendir("/proc/self/fd");
	for (struct dirent *entry; (entry = readdir(dir));)
		n += entry->d_name[0] != '.';
	closedir(dir);
	return n - 1; /* the folder itself */
}

static int environment_count(void)
{
	int n = 0;
	for (char **entry = environ; *entry; entry++)
		n++;
	return n;
}

static void orphan_leave(void)
{
	if (fork() != 0)
		return; /* the real ones do not wait for it either: it is a zombie until we end */
	pid_t parent = getpid();
	if (fork() != 0)
		_exit(0);
	while (getppid() == parent)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	tell("orphan %d", getppid());
	_exit(0);
}

static void link_take(const struct wire_message *message, int fd)
{
	uint32_t peer = message->link.role;
	if (links[peer] >= 0)
		close(links[peer]);
	links[peer] = fd;
	tell("link %s", wire_role_name(peer));
	struct wire_message hello = {.kind = WIRE_NOTICE, .note.type = NOTICE_READY};
	snprintf(hello.note.text, sizeof(hello.note.text), "%d", getpid());
	(void)!wire_send(fd, &hello, NULL, 0, NULL);
}

static void supervisor_read(void)
{
	struct wire_message message;
	int fds[WIRE_FDS_MAX];
	size_t n_fds = 0;
	int r = wire_receive(WIRE_SUPERVISOR_FD, &message, fds, &n_fds, NULL);
	if (r == 1 && message.kind == WIRE_LINK && n_fds == 1)
		link_take(&message, fds[0]);
	if (r >= 0)
		return;
	tell("eof");
	close(WIRE_SUPERVISOR_FD);
	while (stubborn)
		pause();
	exit(0);
}

static void peer_read(unsigned peer)
{
	struct wire_message message;
	int fds[WIRE_FDS_MAX];
	size_t n_fds = 0;
	int r = wire_receive(links[peer], &message, fds, &n_fds, NULL);
	if (r == 1)
		tell("heard %s %s", wire_role_name(peer), message.note.text);
	if (r >= 0)
		return;
	close(links[peer]);
	links[peer] = -1;
}

static void signal_read(int signals)
{
	struct signalfd_siginfo info;
	if (read(signals, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	struct wire_message replace = {.kind = WIRE_REPLACE, .replace.role = WIRE_VM};
	if (info.ssi_signo == SIGUSR1)
		beating = false;
	else if (info.ssi_signo == SIGUSR2)
		(void)!wire_send(WIRE_SUPERVISOR_FD, &replace, NULL, 0, NULL);
	else if (info.ssi_signo == SIGTTIN)
		orphan_leave();
	else if (info.ssi_signo == SIGTTOU)
		(void)send(WIRE_SUPERVISOR_FD, "garbage", 7, MSG_NOSIGNAL);
	else if (info.ssi_signo == SIGTSTP)
		stubborn = true;
	tell("signal %s", sigabbrev_np((int)info.ssi_signo));
	if (info.ssi_signo == SIGHUP && access(reload, F_OK) == 0)
		exit(0);
}

static int signals_open(void)
{
	static const int taken[] = {SIGUSR1, SIGUSR2, SIGTTIN, SIGTTOU, SIGTSTP, SIGHUP};
	sigset_t set;
	sigemptyset(&set);
	for (size_t i = 0; i < countof(taken); i++)
		sigaddset(&set, taken[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC);
}

static void api_answer(void)
{
	char text[32];
	int client = accept(WIRE_API_FD, NULL, NULL);
	int length = snprintf(text, sizeof(text), "%d", getpid());
	(void)send(client, text, (size_t)length, MSG_NOSIGNAL);
	close(client);
}

static void introduce(int n_descriptors)
{
	const char *unproven = getenv("KOBOSHI_UNPROVEN");
	sigset_t blocked;
	sigprocmask(SIG_SETMASK, NULL, &blocked);
	tell("start uid %u fds %d env %d nnp %d secret %s unproven %s", getuid(), n_descriptors,
	     environment_count() - (unproven != NULL), prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), getenv("SECRET") ? "yes" : "no",
	     unproven ? unproven : "-");
}

int main(int argc, char **argv)
{
	const char *dash = strrchr(argv[0], '-');
	assert(argc == 3 && dash && strcmp(argv[1], "--config") == 0);
	role = dash + 1;
	engine = strcmp(role, "engine") == 0;
	int n_descriptors = descriptors_count();
	events_open(argv[2]);
	int signals = signals_open();
	for (size_t i = 0; i < countof(links); i++)
		links[i] = -1;
	introduce(n_descriptors);
	for (uint64_t beats = 1;; beats += beating) {
		struct wire_message beat = {.kind = WIRE_PROGRESS, .progress.beats = beats};
		if (engine && beating)
			(void)!wire_send(WIRE_SUPERVISOR_FD, &beat, NULL, 0, NULL);
		struct pollfd fds[WIRE_ROLE_MAX_ + 3] = {
		        [WIRE_ROLE_MAX_] = {.fd = WIRE_SUPERVISOR_FD, .events = POLLIN},
		        [WIRE_ROLE_MAX_ + 1] = {.fd = signals, .events = POLLIN},
		        [WIRE_ROLE_MAX_ + 2] = {.fd = engine ? WIRE_API_FD : -1, .events = POLLIN}};
		for (unsigned i = 0; i < WIRE_ROLE_MAX_; i++)
			fds[i] = (struct pollfd){.fd = links[i], .events = POLLIN};
		poll(fds, countof(fds), 200);
		for (unsigned i = 0; i < WIRE_ROLE_MAX_; i++)
			if (fds[i].revents)
				peer_read(i);
		if (fds[WIRE_ROLE_MAX_].revents)
			supervisor_read();
		if (fds[WIRE_ROLE_MAX_ + 1].revents)
			signal_read(signals);
		if (fds[WIRE_ROLE_MAX_ + 2].revents)
			api_answer();
	}
}
