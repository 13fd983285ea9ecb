/* Where our threads and the guests' processes stand: real priorities of this process and of shells in the guests' place. */
#include "act/vm/cap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
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
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_what_a_start_leaves_behind),
	};
	return cmocka_run_group_tests_name("vm cap", tests, NULL, NULL);
}
