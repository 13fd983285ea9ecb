/* See restart.h. A plain fork: the gate decides on its execve() as on any other, in threads that a vfork() would not stop, but
 * the main thread, which answers what is late, it would. */
#include "guest/restart.h"

#include "guest/tell.h"
#include "lib/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOT_STARTED 127
#define NOT_ENDED 128 /* and the signal's number */

static struct {
	char program[AGENT_TEXT];
	enum agent_what what;
	pid_t pid; /* 0: none */
	int64_t until_us;
} restart;

/* As if the guest's first program had started it: of the agent's own firmness nothing is handed down. */
static _Noreturn void become(const char *program)
{
	static const int deaf[] = {SIGHUP, SIGINT, SIGTERM, SIGPIPE, SIGIO, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM};
	static char path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
	char *argv[] = {restart.program, NULL}, *environment[] = {path, NULL};
	for (size_t i = 0; i < countof(deaf); i++)
		signal(deaf[i], SIG_DFL);
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd >= 0 && write(fd, "0", 1) < 0)
		_exit(NOT_STARTED);
	setsid();
	execve(program, argv, environment);
	_exit(NOT_STARTED);
}

void restart_begin(const char *program, enum agent_what what)
{
	if (restart.pid)
		return; /* what is wanted is being done */
	if (!program[0]) {
		tell(what, NOT_STARTED, "no program is named");
		return;
	}
	text_copy(restart.program, sizeof(restart.program), program);
	restart.what = what;
	restart.until_us = clock_monotonic_us() + RESTART_MS * INT64_C(1000);
	restart.pid = fork();
	if (restart.pid == 0)
		become(program);
	if (restart.pid > 0)
		return;
	restart.pid = 0;
	tell(what, NOT_STARTED, restart.program);
}

void restart_look(void)
{
	int status;
	if (restart.pid == 0)
		return;
	pid_t ended = waitpid(restart.pid, &status, WNOHANG);
	if (ended == 0 && clock_monotonic_us() > restart.until_us)
		kill(-restart.pid, SIGKILL);
	if (ended == 0)
		return;
	restart.pid = 0;
	uint32_t how = ended < 0           ? NOT_STARTED
	               : WIFEXITED(status) ? (uint32_t)WEXITSTATUS(status)
	                                   : NOT_ENDED + (uint32_t)WTERMSIG(status);
	tell(restart.what, how, restart.program);
}
