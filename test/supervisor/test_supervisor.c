/* The real koboshid with fake children: how it starts, connects, watches, restarts and ends them. */
#include "stage.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

static int setup(void **state)
{
	static struct stage stage;
	stage_open(&stage);
	*state = &stage;
	return 0;
}

static int teardown(void **state)
{
	stage_close(*state);
	return 0;
}

static void starts_with_the_rights_it_should(struct stage *stage, const char *role, const char *wanted)
{
	char rest[256];
	stage_await(stage, role, "start ", rest, sizeof(rest));
	assert_memory_equal(rest, wanted, strlen(wanted));
}

static void heard(struct stage *stage, const char *role, const char *from, pid_t pid)
{
	char what[64];
	snprintf(what, sizeof(what), "heard %s %d", from, pid);
	stage_await(stage, role, what, NULL, 0);
}

static void test_each_part_gets_its_rights_and_nothing_else(void **state)
{
	struct stage *stage = *state;
	stage_start(stage, NULL, NULL, NULL);
	/* descriptors 0-2 and the link, the API's for the engine; PATH, HOME */
	starts_with_the_rights_it_should(stage, "net", "uid 0 fds 6 env 2 nnp 0 secret no");
	starts_with_the_rights_it_should(stage, "vm", "uid 0 fds 4 env 3 nnp 0 secret no");
	starts_with_the_rights_it_should(stage, "decoy", "uid 65534 fds 6 env 2 nnp 1 secret no");
	starts_with_the_rights_it_should(stage, "engine", "uid 65534 fds 5 env 2 nnp 1 secret no");
	struct stat status;
	char path[128];
	assert_int_equal(stat(stage->run, &status), 0);
	assert_int_equal(status.st_mode & 07777, 0711);
	snprintf(path, sizeof(path), "%s/state", stage->dir);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_mode & 07777, 0711);
	assert_int_equal(status.st_uid, 0);
	snprintf(path, sizeof(path), "%s/state/ledger", stage->dir);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_mode & 07777, 0700);
	assert_int_equal(status.st_uid, 65534);
	snprintf(path, sizeof(path), "%s/koboshi.sock", stage->run);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_mode & 07777, 0660);
}

static void test_links_lead_from_the_engine_to_each_actuator(void **state)
{
	struct stage *stage = *state;
	pid_t net, vm, engine;
	stage_start(stage, NULL, NULL, NULL);
	stage_await_all(stage, &net, &vm, &engine);
	heard(stage, "engine", "net", net);
	heard(stage, "engine", "vm", vm);
	heard(stage, "net", "engine", engine);
	heard(stage, "vm", "engine", engine);
}

static void killed_comes_back_linked(struct stage *stage, const char *role, pid_t *pid, const char *peer, pid_t peer_pid)
{
	assert_int_equal(kill(*pid, SIGKILL), 0);
	*pid = stage_await(stage, role, "start", NULL, 0);
	heard(stage, peer, role, *pid);
	heard(stage, role, peer, peer_pid);
	assert_true(stage_last_exit(stage, role, "signal:KILL"));
}

static void test_whoever_is_killed_comes_back_with_new_links(void **state)
{
	struct stage *stage = *state;
	pid_t net, vm, engine;
	stage_start(stage, NULL, NULL, NULL);
	stage_await_all(stage, &net, &vm, &engine);
	killed_comes_back_linked(stage, "net", &net, "engine", engine);
	killed_comes_back_linked(stage, "vm", &vm, "engine", engine);
	killed_comes_back_linked(stage, "engine", &engine, "net", net);
	heard(stage, "vm", "engine", engine);
	killed_comes_back_linked(stage, "engine", &engine, "vm", vm);
}

static void api_is_answered_by(struct stage *stage, pid_t engine)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char text[32] = "";
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/koboshi.sock", stage->run);
	auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_true(stage_await_fd(stage, fd));
	assert_true(recv(fd, text, sizeof(text) - 1, 0) > 0);
	assert_int_equal(atoi(text), engine);
}

static void test_api_socket_outlives_the_engine(void **state)
{
	struct stage *stage = *state;
	pid_t net, vm, engine;
	stage_start(stage, NULL, NULL, NULL);
	stage_await_all(stage, &net, &vm, &engine);
	api_is_answered_by(stage, engine);
	kill(engine, SIGKILL);
	engine = stage_await(stage, "engine", "start", NULL, 0);
	api_is_answered_by(stage, engine);
}

static void test_an_engine_without_progress_is_replaced(void **state)
{
	struct stage *stage = *state;
	pid_t net, vm, engine;
	stage_start(stage, NULL, NULL, NULL);
	stage_await_all(stage, &net, &vm, &engine);
	kill(engine, SIGUSR1);
	pid_t fresh = stage_await(stage, "engine", "start", NULL, 0);
	assert_int_not_equal(fresh, engine);
	assert_true(stage_last_exit(stage, "engine", "hung"));
	heard(stage, "net", "engine", fresh);
}

static void test_the_engine_can_have_an_actuator_replaced(void **state)
{
	struct stage *stage = *state;
	pid_t net, vm, engine;
	stage_start(stage, NULL, NULL, NULL);
	stage_await_all(stage, &net, &vm, &engine);
	kill(vm, SIGSTOP); /* as when libvirt hangs */
	kill(engine, SIGUSR2);
	vm = stage_await(stage, "vm", "start", NULL, 0);
	heard(stage, "engine", "vm", vm);
	assert_true(stage_last_exit(stage, "vm", "replaced"));
	/* Only once a second: asked again at once, nothing happens. */
	kill(engine, SIGUSR2);
	stage_await(stage, "engine", "signal USR2", NULL, 0);
	kill(vm, SIGHUP);
	assert_int_equal(stage_await(stage, "vm", "signal HUP", NULL, 0), vm);
}

static void test_garbage_and_lies_are_answered_with_a_kill(void **state)
{
	struct stage *stage = *state;
	pid_t net, vm, engine;
	stage_start(stage, NULL, NULL, NULL);
	stage_await_all(stage, &net, &vm, &engine);
	kill(engine, SIGTTOU);
	stage_await(stage, "engine", "start", NULL, 0);
	assert_true(stage_last_exit(stage, "engine", "garbled"));
	kill(net, SIGUSR2); /* an actuator that gives orders to the supervisor */
	stage_await(stage, "net", "start", NULL, 0);
	assert_true(stage_last_exit(stage, "net", "garbled"));
}

static void test_a_killed_supervisor_takes_its_children_along(void **state)
{
	struct stage *stage = *state;
	pid_t pids[3], fresh[3];
	stage_start(stage, NULL, NULL, NULL);
	stage_await_all(stage, &pids[0], &pids[1], &pids[2]);
	kill(stage->supervisor, SIGKILL);
	stage_wait(stage);
	stage_start(stage, NULL, NULL, NULL);
	stage_await_all(stage, &fresh[0], &fresh[1], &fresh[2]);
	for (size_t i = 0; i < countof(pids); i++) {
		assert_true(stage_ended(stage, pids[i]));
		assert_int_not_equal(pids[i], fresh[i]);
	}
}

static void test_leftovers_of_a_killed_supervisor_are_ended_first(void **state)
{
	struct stage *stage = *state;
	pid_t net, vm, engine, old;
	stage_start(stage, NULL, NULL, NULL);
	stage_await_all(stage, &net, &old, &engine);
	kill(old, SIGTSTP);
	stage_await(stage, "vm", "signal TSTP", NULL, 0);
	kill(stage->supervisor, SIGKILL);
	stage_wait(stage);
	stage_await(stage, "vm", "eof", NULL, 0);
	stage_start(stage, NULL, NULL, NULL);
	stage_await_all(stage, &net, &vm, &engine);
	assert_int_not_equal(vm, old);
	assert_true(stage_ended(stage, old));
}

static void test_a_second_one_is_refused(void **state)
{
	struct stage *stage = *state;
	struct stat status;
	char wanted[64], path[160];
	pid_t net, vm, engine;
	stage_start(stage, NULL, NULL, NULL);
	stage_await_all(stage, &net, &vm, &engine);
	snprintf(path, sizeof(path), "%s/koboshid.lock", stage->run);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_mode & 0777, 0600); /* whoever can open it can lock it, and keep us away */
	assert_int_equal(stage_try(stage, NULL, NULL, NULL), 1);
	snprintf(wanted, sizeof(wanted), "another koboshid (pid %d) already runs", stage->supervisor);
	assert_non_null(strstr(stage->output, wanted));
	api_is_answered_by(stage, engine);
}

static void stop_leaves_nothing(struct stage *stage, const pid_t pids[static 3])
{
	assert_int_equal(kill(stage->supervisor, SIGTERM), 0);
	int status = stage_wait(stage);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	for (int i = 0; i < 3; i++)
		assert_int_not_equal(kill(pids[i], 0), 0);
	assert_false(stage_has(stage, "koboshi.sock"));
	assert_false(stage_has(stage, "koboshid.lock"));
	assert_false(stage_has(stage, "processes"));
}

static void test_stop_leaves_nothing(void **state)
{
	struct stage *stage = *state;
	pid_t pids[3];
	stage_start(stage, NULL, NULL, NULL);
	stage_await_all(stage, &pids[0], &pids[1], &pids[2]);
	stop_leaves_nothing(stage, pids);
}

static void test_stop_does_not_wait_for_the_stubborn_and_the_frozen(void **state)
{
	struct stage *stage = *state;
	pid_t pids[3];
	stage_start(stage, NULL, NULL, NULL);
	stage_await_all(stage, &pids[0], &pids[1], &pids[2]);
	kill(pids[0], SIGTSTP);
	stage_await(stage, "net", "signal TSTP", NULL, 0);
	kill(pids[1], SIGSTOP);
	stop_leaves_nothing(stage, pids);
}

static void test_orphans_are_reaped(void **state)
{
	struct stage *stage = *state;
	char parent[32];
	pid_t net, vm, engine;
	stage_start(stage, NULL, NULL, NULL);
	stage_await_all(stage, &net, &vm, &engine);
	kill(vm, SIGTTIN);
	pid_t orphan = stage_await(stage, "vm", "orphan ", parent, sizeof(parent));
	assert_int_equal(atoi(parent), stage->supervisor);
	assert_true(stage_ended(stage, orphan));
	for (int i = 0; i < 400 && kill(orphan, 0) == 0; i++) /* ended; reaped is an instant later */
		usleep(5000);
	assert_int_not_equal(kill(orphan, 0), 0);
}

static void test_reload_reaches_every_part(void **state)
{
	struct stage *stage = *state;
	pid_t net, vm, engine;
	stage_start(stage, NULL, NULL, NULL);
	stage_await_all(stage, &net, &vm, &engine);
	kill(stage->supervisor, SIGHUP);
	assert_int_equal(stage_await(stage, "net", "signal HUP", NULL, 0), net);
	assert_int_equal(stage_await(stage, "vm", "signal HUP", NULL, 0), vm);
	assert_int_equal(stage_await(stage, "engine", "signal HUP", NULL, 0), engine);
}

static void config_write(const struct stage *stage, const char *text)
{
	FILE *file = fopen(stage->config, "we");
	assert_non_null(file);
	fputs(text, file);
	assert_int_equal(fclose(file), 0);
}

static void only_the_engine_hears(struct stage *stage, pid_t net, pid_t vm, pid_t engine)
{
	kill(stage->supervisor, SIGHUP);
	assert_int_equal(stage_await(stage, "engine", "signal HUP", NULL, 0), engine);
	/* Signals that would have come before this one, had they been sent at all. */
	kill(net, SIGUSR1);
	kill(vm, SIGUSR1);
	assert_int_equal(stage_await(stage, "net", "signal USR1", NULL, 0), net);
	assert_int_equal(stage_await(stage, "vm", "signal USR1", NULL, 0), vm);
	for (size_t i = 0; i < stage->n_told; i++)
		assert_null(strstr(stage->told[i], "HUP"));
}

static void test_a_bad_file_is_told_to_the_engine_only(void **state)
{
	struct stage *stage = *state;
	pid_t net, vm, engine;
	stage_start(stage, NULL, NULL, NULL);
	stage_await_all(stage, &net, &vm, &engine);
	config_write(stage, "guests: {adresses: [192.0.2.0/26]}\n");
	only_the_engine_hears(stage, net, vm, engine);
	/* What koboshid itself stands on cannot change under it. */
	stage_config(stage, "65534", "elsewhere");
	only_the_engine_hears(stage, net, vm, engine);
	/* All on the new one or all on the old one: root can read this, the engine's user cannot. */
	stage_config(stage, "65534", "state");
	assert_int_equal(chmod(stage->config, 0600), 0);
	only_the_engine_hears(stage, net, vm, engine);
	assert_int_equal(chmod(stage->config, 0644), 0);
	/* A file that never ends is a bad one, and koboshid gets over it. */
	unlink(stage->config);
	assert_int_equal(mkfifo(stage->config, 0600), 0);
	only_the_engine_hears(stage, net, vm, engine);
	unlink(stage->config);
	stage_config(stage, "65534", "state");
	kill(stage->supervisor, SIGHUP);
	assert_int_equal(stage_await(stage, "net", "signal HUP", NULL, 0), net);
}

/* Five times in a row: as failures, the last of them would wait for most of a second. */
static void test_who_ends_for_the_new_file_is_back_at_once(void **state)
{
	struct stage *stage = *state;
	char path[128];
	pid_t net, vm, engine;
	stage_start(stage, NULL, NULL, NULL);
	stage_await_all(stage, &net, &vm, &engine);
	snprintf(path, sizeof(path), "%s/reload", stage->dir);
	fclose(fopen(path, "we"));
	for (int i = 0; i < 5; i++) {
		kill(stage->supervisor, SIGHUP);
		pid_t fresh = stage_await(stage, "net", "start", NULL, 0);
		assert_int_not_equal(fresh, net);
		net = fresh;
		vm = stage_await(stage, "vm", "start", NULL, 0);
		engine = stage_await(stage, "engine", "start", NULL, 0);
		heard(stage, "engine", "net", net);
		heard(stage, "engine", "vm", vm);
	}
	assert_true(stage_last_exit(stage, "net", "reload"));
	assert_true(stage_last_exit(stage, "engine", "reload"));
	/* None of these counted: the first failure still starts again without a pause, the second after a short one. */
	killed_comes_back_linked(stage, "net", &net, "engine", engine);
}

static void files_configure(struct stage *stage, bool wanted)
{
	stage_config(stage, "65534", "state");
	FILE *file = fopen(stage->config, "ae");
	assert_non_null(file);
	if (wanted)
		fputs("files: {bad: /nowhere, folders: {data: {path: /nowhere}}}\n", file);
	assert_int_equal(fclose(file), 0);
}

static void test_files_are_watched_while_the_configuration_wants_it(void **state)
{
	struct stage *stage = *state;
	char path[128];
	pid_t net, vm, engine;
	stage_start(stage, NULL, NULL, NULL);
	stage_await_all(stage, &net, &vm, &engine);
	files_configure(stage, true);
	kill(stage->supervisor, SIGHUP);
	pid_t scan = stage_await(stage, "scan", "start uid 0 fds 4 env 2", NULL, 0); /* not before: this is the first */
	heard(stage, "engine", "scan", scan);
	snprintf(path, sizeof(path), "%s/reload", stage->dir);
	fclose(fopen(path, "we"));
	files_configure(stage, false);
	kill(stage->supervisor, SIGHUP);
	assert_int_equal(stage_await(stage, "scan", "signal HUP", NULL, 0), scan);
	assert_true(stage_ended(stage, scan));
	engine = stage_await(stage, "engine", "start", NULL, 0);
	kill(engine, SIGKILL); /* whoever else were to start again would come before this one is back */
	stage_await(stage, "engine", "start", NULL, 0);
	for (size_t i = 0; i < stage->n_told; i++)
		assert_false(strncmp(stage->told[i], "scan", 4) == 0 && strstr(stage->told[i], " start"));
	files_configure(stage, true);
	kill(stage->supervisor, SIGHUP);
	assert_int_not_equal(stage_await(stage, "scan", "start", NULL, 0), scan);
}

/* A plain file stands in for the device: what would reach it can be read. The device itself is unproven here. */
static void test_watchdog_is_fed_by_progress_only(void **state)
{
	struct stage *stage = *state;
	char path[128], text[64] = "";
	pid_t net, vm, engine;
	snprintf(path, sizeof(path), "%s/watchdog", stage->dir);
	FILE *file = fopen(path, "w+e");
	stage_start(stage, NULL, "--watchdog", path);
	stage_await_all(stage, &net, &vm, &engine);
	stage_await(stage, NULL, "WATCHDOG=1", NULL, 0);
	stage_await(stage, NULL, "WATCHDOG=1", NULL, 0);
	kill(engine, SIGUSR1);
	stage_await(stage, "engine", "signal USR1", NULL, 0);
	stage_await(stage, "engine", "start", NULL, 0); /* killed meanwhile: no feeding for five seconds */
	kill(stage->supervisor, SIGTERM);
	stage_await(stage, NULL, "STOPPING=1", NULL, 0);
	stage_wait(stage);
	size_t got = fread(text, 1, sizeof(text) - 1, file);
	fclose(file);
	assert_true(got >= 3 && got <= 8);
	assert_int_equal(text[got - 1], 'V');
}

static void test_it_is_small(void **state)
{
	struct stage *stage = *state;
	char path[64], line[128];
	int kib = 0;
	pid_t net, vm, engine;
	stage_start(stage, NULL, NULL, NULL);
	stage_await_all(stage, &net, &vm, &engine);
	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", stage->supervisor);
	FILE *file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "Rss: %d", &kib) == 1 || strncmp(line, "Pss:", 4) == 0 ||
		    strncmp(line, "Private_Dirty:", 14) == 0)
			printf("koboshid %s", line);
	if (file)
		fclose(file);
}

#define ON_STAGE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	if (geteuid() != 0) {
		puts("skipped: koboshid needs root");
		return 77;
	}
	const struct CMUnitTest tests[] = {
	        ON_STAGE(test_each_part_gets_its_rights_and_nothing_else),
	        ON_STAGE(test_links_lead_from_the_engine_to_each_actuator),
	        ON_STAGE(test_whoever_is_killed_comes_back_with_new_links),
	        ON_STAGE(test_api_socket_outlives_the_engine),
	        ON_STAGE(test_an_engine_without_progress_is_replaced),
	        ON_STAGE(test_the_engine_can_have_an_actuator_replaced),
	        ON_STAGE(test_garbage_and_lies_are_answered_with_a_kill),
	        ON_STAGE(test_a_killed_supervisor_takes_its_children_along),
	        ON_STAGE(test_leftovers_of_a_killed_supervisor_are_ended_first),
	        ON_STAGE(test_a_second_one_is_refused),
	        ON_STAGE(test_stop_leaves_nothing),
	        ON_STAGE(test_stop_does_not_wait_for_the_stubborn_and_the_frozen),
	        ON_STAGE(test_orphans_are_reaped),
	        ON_STAGE(test_reload_reaches_every_part),
	        ON_STAGE(test_a_bad_file_is_told_to_the_engine_only),
	        ON_STAGE(test_who_ends_for_the_new_file_is_back_at_once),
	        ON_STAGE(test_files_are_watched_while_the_configuration_wants_it),
	        ON_STAGE(test_watchdog_is_fed_by_progress_only),
	        ON_STAGE(test_it_is_small),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
