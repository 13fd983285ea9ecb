/*
 * Starting a child is where rights are given out, so it is done step by step with everything closed that is not named:
 * descriptors, environment, signal mask, session. Between fork and exec any failure ends the child with a sentence.
 */
#include "supervisor/child.h"
#include "lib/log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define RELOAD_US 10000000 /* the engine first writes down what was decided */

/* The engine comes last, so that its first links have somebody at the other end. */
const struct child_spec child_specs[CHILD_SPECS] = {
        {.role = WIRE_NET, .program = "koboshi-net", .tarpit = true, .oom_score = -500},
        {.role = WIRE_VM, .program = "koboshi-vm", .oom_score = 0},
        {.role = WIRE_DECOY,
         .program = "koboshi-decoy",
         .as_engine_user = true,
         .tarpit = true,
         .confined = true,
         .oom_score = 500},
        {.role = WIRE_HOST, .program = "koboshi-host", .oom_score = 0},
        {.role = WIRE_SCAN,
         .program = "koboshi-scan",
         .only_files = true,
         .oom_score = 500}, /* the first that can be done without */
        {.role = WIRE_VAULT, .program = "koboshi-vault", .only_vault = true, .oom_score = 100},
        {.role = WIRE_ENGINE,
         .program = "koboshi-engine",
         .as_engine_user = true,
         .api = true,
         .confined = true,
         .oom_score = -500},
};

bool child_is_wanted(const struct child_spec *spec, const struct settings *settings)
{
	return (!spec->only_files || settings->files) && (!spec->only_vault || settings->vault);
}

static void oom_score_set(int score)
{
	auto_close int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd >= 0)
		dprintf(fd, "%d", score); /* without CAP_SYS_RESOURCE only upwards; koboshid reports that once for itself */
}

static void signals_reset(void)
{
	sigset_t none;
	sigemptyset(&none);
	signal(SIGPIPE, SIG_DFL);
	signal(SIGHUP, SIG_DFL); /* a reload ends it, also below one who ignored that (nohup) */
	sigprocmask(SIG_SETMASK, &none, NULL);
}

#define OUT_OF_THE_WAY 10 /* above all numbers that are given out */

/* Afterwards there are 0 (nothing), 1 and 2 (our log), the link, and of the other sockets those that are meant for it. */
static bool descriptors_set(int link, const struct child_spec *spec, const struct place *place)
{
	int given[OUT_OF_THE_WAY]; /* -1: none of that number */
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	memset(given, -1, sizeof(given));
	given[WIRE_SUPERVISOR_FD] = link;
	given[WIRE_API_FD] = spec->api ? place->api : -1;
	given[WIRE_DECOY4_FD] = spec->tarpit ? place->tarpit[0] : -1;
	given[WIRE_DECOY6_FD] = spec->tarpit ? place->tarpit[1] : -1;
	if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
		return false;
	/* Out of the way first: the numbers that we are about to use may be taken. */
	for (int i = WIRE_SUPERVISOR_FD; i < OUT_OF_THE_WAY; i++)
		if (given[i] >= 0 && (given[i] = fcntl(given[i], F_DUPFD, OUT_OF_THE_WAY)) < 0)
			return false;
	if (syscall(SYS_close_range, WIRE_SUPERVISOR_FD, OUT_OF_THE_WAY - 1, 0) != 0)
		return false;
	for (int i = WIRE_SUPERVISOR_FD; i < OUT_OF_THE_WAY; i++)
		if (given[i] >= 0 && dup2(given[i], i) < 0)
			return false;
	return syscall(SYS_close_range, OUT_OF_THE_WAY, ~0U, 0) == 0;
}

static void bounding_set_empty(void)
{
	for (int cap = 0; prctl(PR_CAPBSET_READ, cap) >= 0; cap++)
		prctl(PR_CAPBSET_DROP, cap);
}

static int rights_reduce(const struct child_spec *spec, const struct place *place, struct err *err)
{
	if (!spec->confined)
		return 0;
	bounding_set_empty();
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return err_set(err, -errno, "cannot set no_new_privs: %s", strerror(errno));
	return spec->as_engine_user && !place->engine_is_us ? user_become(&place->engine, err) : 0;
}

/* Only what is known here gets through: nothing of whoever started us steers a part with other rights. */
static void environment_set(const struct child_spec *spec, const struct place *place, const char *libexec)
{
	static const char *const passed[] = {"KOBOSHI_LOG", "JOURNAL_STREAM", "TZ"};
	const char *values[countof(passed)];
	for (size_t i = 0; i < countof(passed); i++)
		values[i] = getenv(passed[i]); /* outlives clearenv(): it points into what exec gave us */
	clearenv();
	setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
	setenv("HOME", "/", 1);
	for (size_t i = 0; i < countof(passed); i++)
		if (values[i])
			setenv(passed[i], values[i], 1);
	if (spec->role == WIRE_VM) /* runs koboshi-scan */
		setenv("KOBOSHI_LIBEXEC", libexec, 1);
	if (spec->role == WIRE_ENGINE && place->unproven[0])
		setenv("KOBOSHI_UNPROVEN", place->unproven, 1);
}

static void become(const struct child_spec *spec, const struct child_world *world, int link)
{
	char program[PATH_MAX];
	snprintf(program, sizeof(program), "%s/%s", world->libexec, spec->program);
	struct err err = {0};
	setsid(); /* a terminal's ^C is for the supervisor alone */
	oom_score_set(spec->oom_score);
	signals_reset();
	umask(022);
	environment_set(spec, world->place, world->libexec);
	if (chdir("/") != 0 || !descriptors_set(link, spec, world->place))
		err_set(&err, -errno, "cannot set up its descriptors: %s", strerror(errno));
	else if (rights_reduce(spec, world->place, &err) == 0) {
		execl(program, program, "--config", world->config, (char *)NULL);
		err_set(&err, -errno, "cannot run '%s': %s", program, strerror(errno));
	}
	log_error("supervisor.start", "%s: %s", spec->program, err.text);
	_exit(127);
}

int child_start(struct child *child, const struct child_world *world, int64_t now_us, struct err *err)
{
	int pair[2];
	int r = wire_pair(pair, err);
	if (r < 0)
		return r;
	pid_t pid = fork();
	if (pid == 0)
		become(child->spec, world, pair[1]);
	int error = errno;
	close(pair[1]);
	int pidfd = pid < 0 ? -1 : (int)syscall(SYS_pidfd_open, pid, 0);
	if (pid > 0 && pidfd < 0) {
		error = errno;
		kill(pid, SIGKILL); /* it is ours and not reaped yet: the number is still its own */
	}
	if (pidfd < 0) {
		close(pair[0]);
		return err_set(err, -error, "cannot start %s: %s", child->spec->program, strerror(error));
	}
	child->pid = pid;
	child->pidfd = pidfd;
	child->link = pair[0];
	child->born = process_born(pid);
	child->started_us = now_us;
	child->kill_at_us = INT64_MAX;
	child->killed = NULL;
	child->reload_until_us = 0;
	child->starts++;
	child->messages = 0;
	progress_start(&child->progress, now_us);
	log_info("supervisor.start", "%s runs as pid %d", child->spec->program, pid);
	return 0;
}

void child_kill(struct child *child, const struct child_reason *reason)
{
	if (!child->pid || child->killed)
		return;
	child->killed = reason;
	log_warning("supervisor.kill", "%s (pid %d) %s and is killed", child->spec->program, child->pid, reason->sentence);
	syscall(SYS_pidfd_send_signal, child->pidfd, SIGKILL, NULL, 0);
}

void child_reload(struct child *child, int64_t now_us)
{
	if (!child->pid || child->killed)
		return;
	child->reload_until_us = now_us + RELOAD_US;
	syscall(SYS_pidfd_send_signal, child->pidfd, SIGHUP, NULL, 0);
}

/* It ended as asked: not a failure, so nothing to wait for. */
static bool is_reloading(const struct child *child, int wait_status, int64_t now_us)
{
	bool orderly = WIFSIGNALED(wait_status) ? WTERMSIG(wait_status) == SIGHUP : WEXITSTATUS(wait_status) == 0;
	return orderly && now_us < child->reload_until_us;
}

void child_unlink(struct child *child)
{
	if (child->link >= 0)
		close(child->link);
	child->link = -1;
}

static void exit_describe(struct child *child, int wait_status, char *ret_text, size_t size)
{
	const char *name = WIFSIGNALED(wait_status) ? sigabbrev_np(WTERMSIG(wait_status)) : NULL;
	if (WIFSIGNALED(wait_status)) {
		snprintf(ret_text, size, "was ended by signal %s", name ? name : "?");
		snprintf(child->last_exit, sizeof(child->last_exit), "signal:%s", name ? name : "?");
	} else {
		snprintf(ret_text, size, "ended with code %d", WEXITSTATUS(wait_status));
		snprintf(child->last_exit, sizeof(child->last_exit), "exit:%d", WEXITSTATUS(wait_status));
	}
	if (child->killed && WIFSIGNALED(wait_status))
		snprintf(child->last_exit, sizeof(child->last_exit), "%s", child->killed->word);
}

void child_ended(struct child *child, int wait_status, int64_t now_us, bool stopping)
{
	char text[64];
	exit_describe(child, wait_status, text, sizeof(text));
	bool reloading = !stopping && is_reloading(child, wait_status, now_us);
	int64_t pause_us = reloading ? 0 : restart_pause_us(&child->failures, now_us - child->started_us);
	if (reloading) {
		snprintf(child->last_exit, sizeof(child->last_exit), "reload");
		log_info("supervisor.end", "%s (pid %d) ended for the new configuration", child->spec->program, child->pid);
	} else if (stopping)
		log_info("supervisor.end", "%s (pid %d) %s", child->spec->program, child->pid, text);
	else
		log_warning("supervisor.end", "%s (pid %d) %s after %lld ms; starts again in %lld ms", child->spec->program,
		            child->pid, text, (long long)(now_us - child->started_us) / 1000, (long long)pause_us / 1000);
	child_unlink(child);
	close(child->pidfd);
	child->pidfd = -1;
	child->pid = 0;
	child->start_at_us = now_us + pause_us;
}
