/*
 * libvirt starts QEMU as a daemon, so QEMU's parent becomes whoever adopts orphans. When that one does not wait for them (some
 * containers' first process), ended QEMUs stay as zombies, and libvirt waits for minutes for each to go. So we bring our own
 * adopter. It cannot be the process with libvirt in it: waiting for "any child" there would steal the children that libvirt
 * itself waits for. This one has nothing to do but wait, and holds nothing: no link, no thread, a few pages.
 *
 * It and its child live and die together: the child is killed when the parent is (PR_SET_PDEATHSIG), guests are not.
 */
#include "act/vm/reaper.h"

#include "lib/attr.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

static pid_t reaper_child;

static void pass_on(int number)
{
	if (reaper_child > 0)
		kill(reaper_child, number);
}

static _Noreturn void reap(void)
{
	prctl(PR_SET_NAME, "koboshi-vm-reap");
	struct sigaction action = {.sa_handler = pass_on};
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	close_range(3, ~0u, 0); /* the supervisor's link must end when the child ends */
	for (;;) {
		int status;
		pid_t pid = waitpid(-1, &status, 0);
		if (pid == reaper_child)
			_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
		if (pid < 0 && errno != EINTR)
			_exit(127);
	}
}

void reaper_split(void)
{
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	pid_t parent = getpid();
	reaper_child = fork();
	if (reaper_child < 0)
		_exit(127);
	if (reaper_child > 0)
		reap();
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(0); /* it died before we could ask to be told */
}
