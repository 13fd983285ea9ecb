/* Revoking finds a worker and its turn while everything that asks libvirt hangs. */
#include "act/vm/queue.h"
#include "lib/attr.h"

#include <semaphore.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

static sem_t begun, go_on, revoked;

static void carry(void *arg unused_arg, const struct wire_order *order, uint64_t link unused_arg)
{
	if (order->type == ORDER_VM_REVOKE) {
		sem_post(&revoked);
		return;
	}
	sem_post(&begun);
	sem_wait(&go_on);
}

static void push(struct queue *queue, enum order_type type, uint32_t instance)
{
	static uint64_t id;
	const struct wire_order order = {.id = ++id, .type = type, .instance = instance};
	assert_int_equal(queue_push(queue, &order, 1, NULL), 0);
}

static void await(sem_t *semaphore)
{
	struct timespec until;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 20;
	assert_int_equal(sem_timedwait(semaphore, &until), 0);
}

static void test_revoked_while_libvirt_hangs(void **state unused_arg)
{
	struct queue *queue = queue_new(carry, NULL);
	for (uint32_t i = 1; i <= QUEUE_WORKERS + 2; i++)
		push(queue, ORDER_VM_SUSPEND, i);
	for (int i = 0; i < QUEUE_WORKERS - 1; i++)
		await(&begun);
	push(queue, ORDER_VM_REVOKE, 50); /* of one that nobody is at */
	await(&revoked);
	push(queue, ORDER_VM_REVOKE, 1); /* of one whose order hangs */
	await(&revoked);
	assert_int_equal(sem_trywait(&begun), -1); /* and no other took that worker */
	for (int i = 0; i < QUEUE_WORKERS + 2; i++)
		sem_post(&go_on);
	queue_free(queue);
}

/* Not before it is made: there would be nothing to revoke yet. */
static void test_after_what_makes_it(void **state unused_arg)
{
	struct queue *queue = queue_new(carry, NULL);
	while (sem_trywait(&begun) == 0) {
	}
	push(queue, ORDER_VM_CREATE, 1);
	await(&begun);
	push(queue, ORDER_VM_REVOKE, 1);
	push(queue, ORDER_VM_REVOKE, 2);
	await(&revoked);
	assert_int_equal(sem_trywait(&revoked), -1);
	sem_post(&go_on);
	await(&revoked);
	queue_free(queue);
}

/* Of another link: what it has begun is done before a new engine is told how things stand, but for what takes long. */
static void test_a_new_engine_is_told_what_the_last_one_did(void **state unused_arg)
{
	const struct wire_order observe = {.id = 1000, .type = ORDER_VM_OBSERVE};
	struct queue *queue = queue_new(carry, NULL);
	while (sem_trywait(&begun) == 0) {
	}
	push(queue, ORDER_VM_CREATE, 1);
	push(queue, ORDER_VM_SUSPEND, 2);
	await(&begun);
	await(&begun);
	assert_int_equal(queue_push(queue, &observe, 2, NULL), 0);
	push(queue, ORDER_VM_SUSPEND, 3); /* a sign that whoever may begin has begun */
	await(&begun);
	assert_int_equal(sem_trywait(&begun), -1);
	for (int i = 0; i < 4; i++)
		sem_post(&go_on);
	await(&begun);
	queue_free(queue);
}

int main(void)
{
	alarm(120); /* a test that fails leaves workers behind that wait for ever */
	sem_init(&begun, 0, 0);
	sem_init(&go_on, 0, 0);
	sem_init(&revoked, 0, 0);
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_revoked_while_libvirt_hangs),
	                                   cmocka_unit_test(test_after_what_makes_it),
	                                   cmocka_unit_test(test_a_new_engine_is_told_what_the_last_one_did)};
	return cmocka_run_group_tests_name("vm queue", tests, NULL, NULL);
}
