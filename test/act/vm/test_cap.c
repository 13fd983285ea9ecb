/* Where our threads and the guests' processes stand: real priorities of this process and of shells in the guests' place. */
#include "act/vm/cap.h"
#include "act/vm/folder.h"
#include "act/vm/process.h"

#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "skip.h"
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define OURS (-10) /* as a service manager may start us */

static struct thread {
	pthread_t thread;
	pthread_barrier_t *stages;
	bool places_itself;
	int id;
} threads[2];

/* One that libvirt starts, and another worker in the middle of a start of its own. */
static void *thread_run(void *arg)
{
	struct thread *thread = arg;
	thread->id = gettid();
	if (thread->places_itself)
		cap_self(CAP_LOW);
	pthread_barrier_wait(thread->stages);
	pthread_barrier_wait(thread->stages);
	return NULL;
}

static int nice_of(int id)
{
	return getpriority(PRIO_PROCESS, (id_t)id);
}

static int starter(void)
{
	pthread_barrier_t stages;
	if (setpriority(PRIO_PROCESS, 0, OURS) < 0)
		return 77;
	cap_self(CAP_LOW);
	if (nice_of(0) == OURS)
		return 77; /* there is no way back here, so nobody goes */
	if (nice_of(0) != 10)
		return 1;
	pthread_barrier_init(&stages, NULL, 3);
	for (size_t i = 0; i < countof(threads); i++) {
		threads[i] = (struct thread){.stages = &stages, .places_itself = i == 1};
		pthread_create(&threads[i].thread, NULL, thread_run, &threads[i]);
	}
	pthread_barrier_wait(&stages);
	int before = nice_of(threads[0].id);
	cap_self(CAP_USUAL);
	int self = nice_of(0), stray = nice_of(threads[0].id), busy = nice_of(threads[1].id);
	pthread_barrier_wait(&stages);
	for (size_t i = 0; i < countof(threads); i++)
		pthread_join(threads[i].thread, NULL);
	return before != 10 ? 2 : self != OURS ? 3 : stray != OURS ? 4 : busy != 10 ? 5 : 0;
}

static void test_what_a_start_leaves_behind(void **state unused_arg)
{
	int status;
	pid_t pid = fork();
	if (pid == 0)
		_exit(starter());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip_for("there would be no way back from a lower priority here");
	assert_int_equal(WEXITSTATUS(status), 0);
}

static struct vm vm;
static char folder[] = "/tmp/kbcapXXXXXX";

static uid_t guests_user; /* 0: ours */

/* A shell in the place of a guest's process: known by its command line, on the first processor only. It ends with us. */
static pid_t guest(uint32_t number, const char *script, int nice)
{
	char seed[VM_PATH_MAX], nothing;
	int started[2]; /* closed by its exec: then it has a guest's command line */
	cpu_set_t first;
	CPU_ZERO(&first);
	CPU_SET(0, &first);
	folder_path(&vm, number, "seed.iso", seed);
	assert_int_equal(pipe2(started, O_CLOEXEC), 0);
	pid_t parent = getpid(), pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent || (guests_user && setuid(guests_user) < 0) ||
		    sched_setaffinity(0, sizeof(first), &first) < 0 || setpriority(PRIO_PROCESS, 0, nice) < 0)
			_exit(1);
		execl("/bin/sh", "sh", "-c", script, "qemu", seed, (char *)NULL);
		_exit(127);
	}
	assert_true(pid > 0);
	close(started[1]);
	assert_int_equal(read(started[0], &nothing, 1), 0);
	close(started[0]);
	return pid;
}

static void guest_end(pid_t pid)
{
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static int vm_setup(void **state unused_arg)
{
	static struct conf conf = {.boot_share = 100};
	if (!mkdtemp(folder))
		return -1;
	snprintf(conf.libvirt, sizeof(conf.libvirt), "embed");
	snprintf(conf.run_dir, sizeof(conf.run_dir), "%s", folder);
	snprintf(conf.state_dir, sizeof(conf.state_dir), "%s", folder);
	return vm_init(&vm, &conf, NULL, NULL);
}

static int vm_teardown(void **state unused_arg)
{
	vm_done(&vm);
	return rmdir(folder);
}

/* Two whose numbers are a whole table apart starve beside one that hogs the processor: both are lifted. */
static void test_all_who_starve_are_lifted(void **state unused_arg)
{
	static const char *const hog = "while :; do :; done";
	const uint32_t numbers[] = {5, 5 + WIRE_INSTANCES_MAX};
	pid_t pids[countof(numbers)], other = guest(99, hog, 10);
	char how[64];
	bool idle = true;
	for (size_t i = 0; i < countof(numbers); i++) {
		pids[i] = guest(numbers[i], hog, 0);
		assert_int_equal(process_find(&vm, numbers[i]), pids[i]);
		cap_set(&vm, numbers[i], pids[i], false, how, sizeof(how));
		idle = idle && sched_getscheduler(pids[i]) == SCHED_IDLE;
	}
	size_t lifted = 0;
	for (int look = 0; idle && look < 60 && lifted < countof(numbers); look++) {
		usleep(500000); /* what is looked at is time */
		lifted = 0;
		for (size_t i = 0; i < countof(numbers); i++) {
			cap_rescue(&vm, numbers[i]);
			lifted += sched_getscheduler(pids[i]) == SCHED_BATCH;
		}
	}
	for (size_t i = 0; i < countof(numbers); i++)
		guest_end(pids[i]);
	guest_end(other);
	if (!idle)
		skip_for("this kernel makes nobody idle");
	assert_int_equal(lifted, countof(numbers));
}

/* Anybody can call his process as ours are called. */
static void test_whose_process_it_is(void **state unused_arg)
{
	if (geteuid() != 0)
		skip_for("nobody else's process can be started");
	guests_user = 65534;
	pid_t other = guest(8, "kill -STOP $$", 0);
	guests_user = 0;
	pid_t first = process_find(&vm, 8), ours = guest(8, "kill -STOP $$", 0), second = process_find(&vm, 8);
	guest_end(other);
	guest_end(ours);
	assert_int_equal(first, 0);
	assert_int_equal(second, ours);
}

/* A remembered process is believed only as long as it is that very one. */
static void test_who_is_remembered(void **state unused_arg)
{
	struct process_sight sight;
	assert_int_equal(process_find(&vm, 7), 0);
	for (int life = 0; life < 2; life++) {
		pid_t pid = guest(7, "kill -STOP $$", 0);
		assert_int_equal(process_find(&vm, 7), pid);
		assert_int_equal(process_find(&vm, 7), pid);
		assert_true(process_look(pid, &sight));
		auto_close int pidfd = process_open(pid);
		process_kill(pidfd);
		assert_true(process_wait(pidfd, 5000));
		assert_int_equal(process_find(&vm, 7), 0); /* nobody has waited for it yet */
		assert_false(process_look(pid, &sight));
		assert_int_equal(waitpid(pid, NULL, 0), pid);
	}
	/* more than are remembered */
	pid_t pids[60];
	for (uint32_t i = 0; i < countof(pids); i++)
		pids[i] = guest(100 + i, "kill -STOP $$", 0);
	for (int round = 0; round < 2; round++)
		for (uint32_t i = 0; i < countof(pids); i++)
			assert_int_equal(process_find(&vm, 100 + i), pids[i]);
	for (uint32_t i = 0; i < countof(pids); i++)
		guest_end(pids[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_what_a_start_leaves_behind),
	        cmocka_unit_test(test_all_who_starve_are_lifted),
	        cmocka_unit_test(test_whose_process_it_is),
	        cmocka_unit_test(test_who_is_remembered),
	};
	return cmocka_run_group_tests_name("vm cap", tests, vm_setup, vm_teardown);
}
