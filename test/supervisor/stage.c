/* Everything that a test waits for is a datagram or the end of a process: no guessing how long something takes. */
#include "stage.h"
#include "lib/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#define AWAIT_MS 15000

static void remove_below(const char *dir)
{
	pid_t pid = fork();
	if (pid == 0) {
		execlp("rm", "rm", "-rf", "--one-file-system", dir, (char *)NULL);
		_exit(127);
	}
	waitpid(pid, NULL, 0);
}

void stage_config(struct stage *stage, const char *user, const char *state)
{
	FILE *file = fopen(stage->config, "we");
	assert_non_null(file);
	fprintf(file,
	        "user: %s\n"
	        "paths: {run: %s, state: %s%s%s}\n"
	        "guests: {addresses: [192.0.2.0/26, \"2001:db8:1::/64\"]}\n"
	        "services: {sensor: {addresses: [203.0.113.10], ports: [80/tcp], variants: [amber]}}\n",
	        user, stage->run, state[0] == '/' ? "" : stage->dir, state[0] == '/' ? "" : "/", state);
	assert_int_equal(fclose(file), 0);
}

void stage_open(struct stage *stage)
{
	*stage = (struct stage){.dir = "/tmp/kbsv.XXXXXX"};
	assert_non_null(mkdtemp(stage->dir));
	assert_int_equal(chmod(stage->dir, 0755), 0);
	snprintf(stage->libexec, sizeof(stage->libexec), "%s/libexec", stage->dir);
	snprintf(stage->run, sizeof(stage->run), "%s/run", stage->dir);
	snprintf(stage->config, sizeof(stage->config), "%s/koboshi.yaml", stage->dir);
	assert_int_equal(mkdir(stage->libexec, 0755), 0);
	static const char *const programs[] = {"koboshi-net",  "koboshi-vm",    "koboshi-decoy", "koboshi-host",
	                                       "koboshi-scan", "koboshi-vault", "koboshi-engine"};
	for (size_t i = 0; i < countof(programs); i++) {
		/* A copy: the build folder may be closed to the engine's user. */
		char command[512];
		snprintf(command, sizeof(command), "cp '%s' '%s/%s'", getenv("FAKE_CHILD"), stage->libexec, programs[i]);
		assert_int_equal(system(command), 0);
	}
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/events", stage->dir);
	stage->events = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(stage->events, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(chmod(address.sun_path, 0777), 0);
	stage_config(stage, "65534", "state");
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
}

/* `before` may enter namespaces and drop rights: program and libraries are opened before, by descriptor. */
static void supervisor_exec(const struct stage *stage, stage_before *before, const char *argument, const char *value)
{
	char notify[128];
	int program = open(getenv("KOBOSHID"), O_PATH | O_CLOEXEC);
	snprintf(notify, sizeof(notify), "%s/events", stage->dir);
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nothing behind: the children follow by themselves */
	setenv("NOTIFY_SOCKET", notify, 1);
	setenv("SECRET", "yes", 1);
	if (before && !before(stage))
		_exit(77);
	const char *const argv[] = {"koboshid", "--config", stage->config, "--libexec", stage->libexec, argument, value, NULL};
	syscall(SYS_execveat, program, "", (char *const *)argv, environ, AT_EMPTY_PATH);
	_exit(127);
}

void stage_start(struct stage *stage, stage_before *before, const char *argument, const char *value)
{
	stage->supervisor = fork();
	if (stage->supervisor == 0)
		supervisor_exec(stage, before, argument, value);
	assert_true(stage->supervisor > 0);
}

int stage_try(struct stage *stage, stage_before *before, const char *argument, const char *value)
{
	int ends[2], status;
	size_t used = 0;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	pid_t pid = fork();
	if (pid == 0) {
		dup2(ends[1], STDERR_FILENO);
		alarm(20); /* survives exec: one that starts where it should refuse is ended, and the test fails */
		supervisor_exec(stage, before, argument, value);
	}
	close(ends[1]);
	for (ssize_t got = 1; got > 0 && used<sizeof(stage->output) - 1; used += got> 0 ? (size_t)got : 0)
		got = read(ends[0], stage->output + used, sizeof(stage->output) - 1 - used);
	stage->output[used] = '\0';
	close(ends[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static char *take_told(struct stage *stage, const char *role, const char *what, const char **ret_rest, pid_t *ret_pid)
{
	for (size_t i = 0; i < stage->n_told; i++) {
		char *told = stage->told[i];
		char who[32] = "";
		int pid = 0, at = 0;
		if (role && (sscanf(told, "%31s %d %n", who, &pid, &at) < 2 || strcmp(who, role) != 0))
			continue;
		if (strncmp(told + at, what, strlen(what)) != 0)
			continue;
		*ret_rest = told + at + strlen(what);
		*ret_pid = pid;
		memmove(stage->told + i, stage->told + i + 1, (--stage->n_told - i) * sizeof(stage->told[0]));
		return told;
	}
	return NULL;
}

static bool hear(struct stage *stage, int64_t until_us)
{
	struct pollfd watched = {.fd = stage->events, .events = POLLIN};
	int64_t left_us = until_us - clock_monotonic_us();
	char text[1024];
	if (left_us <= 0 || poll(&watched, 1, (int)(left_us / 1000)) <= 0)
		return false;
	ssize_t got = recv(stage->events, text, sizeof(text) - 1, 0);
	if (got <= 0)
		return false;
	text[got] = '\0';
	assert_true(stage->n_told < STAGE_EVENTS_MAX);
	stage->told[stage->n_told++] = strdup(text);
	return true;
}

pid_t stage_await(struct stage *stage, const char *role, const char *what, char *ret_rest, size_t size)
{
	int64_t until_us = clock_monotonic_us() + AWAIT_MS * 1000;
	const char *rest;
	char *told;
	pid_t pid;
	while (!(told = take_told(stage, role, what, &rest, &pid)))
		if (!hear(stage, until_us))
			fail_msg("%s did not tell '%s'", role ? role : "koboshid", what);
	if (ret_rest)
		snprintf(ret_rest, size, "%s", rest);
	free(told);
	return pid;
}

void stage_await_all(struct stage *stage, pid_t *ret_net, pid_t *ret_vm, pid_t *ret_engine)
{
	*ret_net = stage_await(stage, "net", "start", NULL, 0);
	*ret_vm = stage_await(stage, "vm", "start", NULL, 0);
	*ret_engine = stage_await(stage, "engine", "start", NULL, 0);
	stage_await(stage, NULL, "READY=1", NULL, 0);
}

bool stage_await_fd(struct stage *stage, int fd)
{
	int64_t until_us = clock_monotonic_us() + AWAIT_MS * 1000;
	struct pollfd watched[] = {{.fd = fd, .events = POLLIN}, {.fd = stage->events, .events = POLLIN}};
	for (int64_t left_us; !watched[0].revents && (left_us = until_us - clock_monotonic_us()) > 0;)
		if (poll(watched, 2, (int)(left_us / 1000) + 1) > 0 && watched[1].revents)
			hear(stage, until_us);
	return watched[0].revents;
}

/* Either gone, or a zombie whose parent is somebody who does not reap. */
bool stage_ended(struct stage *stage, pid_t pid)
{
	auto_close int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	return pidfd < 0 || stage_await_fd(stage, pidfd);
}

int stage_wait(struct stage *stage)
{
	int status;
	auto_close int pidfd = (int)syscall(SYS_pidfd_open, stage->supervisor, 0);
	assert_true(stage_await_fd(stage, pidfd));
	assert_int_equal(waitpid(stage->supervisor, &status, 0), stage->supervisor);
	stage->supervisor = 0;
	return status;
}

bool stage_last_exit(struct stage *stage, const char *role, const char *word)
{
	char path[128], who[32], last[32];
	snprintf(path, sizeof(path), "%s/processes", stage->run);
	for (int i = 0; i < 500; i++) { /* the file comes just after the start that was told */
		FILE *file = fopen(path, "re");
		while (file && fscanf(file, "%31s %*d %*d %*d %31s", who, last) == 2)
			if (strcmp(who, role) == 0 && strcmp(last, word) == 0) {
				fclose(file);
				return true;
			}
		if (file)
			fclose(file);
		hear(stage, clock_monotonic_us() + 10000);
	}
	return false;
}

bool stage_has(const struct stage *stage, const char *name)
{
	char path[160];
	snprintf(path, sizeof(path), "%s/%s", stage->run, name);
	return access(path, F_OK) == 0;
}

void stage_close(struct stage *stage)
{
	if (stage->supervisor > 0) {
		kill(stage->supervisor, SIGTERM);
		stage_wait(stage);
	}
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	for (size_t i = 0; i < stage->n_told; i++)
		free(stage->told[i]);
	close(stage->events);
	remove_below(stage->dir);
}
