/*
 * The engine's links, with the test at the other ends: a fake supervisor that hands out links, and fake actuators on them.
 * Everything goes over socket pairs, so a few turns of the loop without waiting are all that there is to wait for.
 */
#include "engine/hands.h"

#include "lib/bytes.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

static uv_loop_t loop;
static struct hands *hands;
static int supervisor;
static struct err err;

static struct heard {
	uint32_t ticket;
	enum order_type type;
	int32_t status;
} answers[256];
static size_t n_answers, n_ready, n_lost, n_notices;
static bool sending; /* we are within hands_send() */

static void on_answer(unused_arg void *arg, const struct hands_cookie *cookie, const struct wire_order *order,
                      const struct wire_answer *answer)
{
	assert_false(sending);
	assert_int_equal(order->id, answer->id);
	assert_true(n_answers < countof(answers));
	answers[n_answers++] = (struct heard){cookie->ticket, (enum order_type)order->type, answer->status};
}

static void on_notice(unused_arg void *arg, unused_arg enum wire_role role, const struct wire_note *note, int *fds, size_t n_fds)
{
	n_notices++;
	n_ready += note->type == NOTICE_READY;
	for (size_t i = 0; i < n_fds; i++)
		close(fds[i]);
}

static void on_lost(unused_arg void *arg, unused_arg enum wire_role role)
{
	n_lost++;
}

static const struct hands_events events = {on_answer, on_notice, on_lost};

static void turn(void)
{
	for (int i = 0; i < 6; i++)
		uv_run(&loop, UV_RUN_NOWAIT);
}

static int setup(unused_arg void **state)
{
	int pair[2];
	n_answers = n_ready = n_lost = n_notices = 0;
	assert_int_equal(uv_loop_init(&loop), 0);
	assert_int_equal(wire_pair(pair, &err), 0);
	supervisor = pair[0];
	hands = hands_new(&loop, pair[1], &events, NULL);
	return 0;
}

static int teardown(unused_arg void **state)
{
	hands_free(hands);
	turn();
	close(supervisor);
	assert_int_equal(uv_loop_close(&loop), 0); /* no handle is left */
	return 0;
}

/* A new actuator; the engine has its end of the link. */
static int actuator(enum wire_role role)
{
	int pair[2];
	struct wire_message message = {.kind = WIRE_LINK, .link.role = role};
	assert_int_equal(wire_pair(pair, &err), 0);
	assert_int_equal(wire_send(supervisor, &message, &pair[1], 1, &err), 0);
	close(pair[1]);
	return pair[0];
}

static void say_ready(int fd)
{
	struct wire_message message = {.kind = WIRE_NOTICE, .note.type = NOTICE_READY};
	assert_int_equal(wire_send(fd, &message, NULL, 0, &err), 0);
	turn();
}

static int ready_actuator(enum wire_role role)
{
	int fd = actuator(role);
	say_ready(fd);
	assert_true(hands_ready(hands, role));
	return fd;
}

static void send_order(enum order_type type, uint32_t instance, uint32_t ticket)
{
	struct wire_order order = {.type = type, .instance = instance, .gate = type == ORDER_NET_GATE ? WIRE_GATE_OPEN : 0};
	struct hands_cookie cookie = {.ticket = ticket};
	sending = true;
	hands_send(hands, &order, &cookie);
	sending = false;
}

/* 1 and the message, or 0 when nothing is there. */
static int receive(int fd, struct wire_message *ret)
{
	int fds[WIRE_FDS_MAX];
	size_t n_fds = 0;
	return wire_receive(fd, ret, fds, &n_fds, &err);
}

static uint64_t next_order(int fd, enum order_type type, uint32_t instance)
{
	struct wire_message message;
	assert_int_equal(receive(fd, &message), 1);
	assert_int_equal(message.kind, WIRE_ORDER);
	assert_int_equal(message.order.type, type);
	assert_int_equal(message.order.instance, instance);
	return message.order.id;
}

static void answer(int fd, uint64_t id, int32_t status)
{
	struct wire_message message = {.kind = WIRE_ANSWER, .answer = {.id = id, .status = status, .text = "so be it"}};
	assert_int_equal(wire_send(fd, &message, NULL, 0, &err), 0);
	turn();
}

static void heard(uint32_t ticket, int32_t status)
{
	for (size_t i = 0; i < n_answers; i++)
		if (answers[i].ticket == ticket) {
			assert_int_equal(answers[i].status, status);
			answers[i] = answers[--n_answers];
			return;
		}
	fail_msg("ticket %u has no answer", ticket);
}

static bool replace_asked(enum wire_role role)
{
	struct wire_message message;
	return receive(supervisor, &message) == 1 && message.kind == WIRE_REPLACE && message.replace.role == role;
}

static void test_an_order_waits_for_ready_and_then_goes_in_order(unused_arg void **state)
{
	struct wire_message message;
	send_order(ORDER_NET_TAP_ADD, 1, 11);
	int net = actuator(WIRE_NET);
	turn();
	send_order(ORDER_NET_GATE, 1, 12);
	send_order(ORDER_VM_CREATE, 1, 13); /* for another one */
	assert_int_equal(receive(net, &message), 0);
	assert_false(hands_ready(hands, WIRE_NET));
	say_ready(net);
	assert_int_equal(n_ready, 1);
	uint64_t first = next_order(net, ORDER_NET_TAP_ADD, 1), second = next_order(net, ORDER_NET_GATE, 1);
	assert_true(first < second);
	assert_int_equal(receive(net, &message), 0);
	assert_int_equal(n_answers, 0);
	close(net);
}

static void test_answers_find_their_order_whatever_comes_first(unused_arg void **state)
{
	int net = ready_actuator(WIRE_NET);
	send_order(ORDER_NET_TAP_ADD, 1, 21);
	send_order(ORDER_NET_TAP_ADD, 2, 22);
	uint64_t first = next_order(net, ORDER_NET_TAP_ADD, 1), second = next_order(net, ORDER_NET_TAP_ADD, 2);
	answer(net, second, -EIO);
	answer(net, second, 0);     /* twice */
	answer(net, second + 9, 0); /* nobody asked */
	assert_int_equal(n_answers, 1);
	answer(net, first, 0);
	heard(22, -EIO);
	heard(21, 0);
	close(net);
}

static void test_what_was_sent_is_lost_with_the_link_and_what_waits_survives(unused_arg void **state)
{
	int net = ready_actuator(WIRE_NET);
	send_order(ORDER_NET_TAP_ADD, 1, 31);
	close(net);
	turn();
	assert_int_equal(n_lost, 1);
	heard(31, -EPIPE);
	send_order(ORDER_NET_TAP_ADD, 2, 32);
	turn();
	assert_int_equal(n_answers, 0);
	net = ready_actuator(WIRE_NET);
	answer(net, next_order(net, ORDER_NET_TAP_ADD, 2), 0);
	heard(32, 0);
	close(net);
}

/* The new link may be seen before the old one's end. */
static void test_a_new_link_answers_for_the_old_one(unused_arg void **state)
{
	int old = ready_actuator(WIRE_NET);
	send_order(ORDER_NET_TAP_ADD, 1, 41);
	int net = ready_actuator(WIRE_NET);
	heard(41, -EPIPE);
	struct wire_message message;
	assert_int_equal(receive(net, &message), 0);
	answer(net, 1, 0); /* whoever knew the number: it is no longer waited for */
	assert_int_equal(n_answers, 0);
	close(old);
	close(net);
}

static void test_a_link_that_breaks_while_sending_is_no_loss(unused_arg void **state)
{
	int vm = ready_actuator(WIRE_VM);
	close(vm); /* not noticed yet */
	send_order(ORDER_VM_SUSPEND, 1, 51);
	assert_false(hands_ready(hands, WIRE_VM));
	turn();
	heard(51, -EPIPE);
	assert_int_equal(n_lost, 1);
}

static void test_garbage_closes_the_link_and_asks_for_another_actuator(unused_arg void **state)
{
	struct wire_message message;
	int net = ready_actuator(WIRE_NET), vm = ready_actuator(WIRE_VM);
	assert_int_equal(send(net, "garbage", 7, 0), 7);
	turn();
	assert_int_equal(receive(net, &message), -EPIPE);
	assert_false(hands_ready(hands, WIRE_NET));
	assert_true(hands_ready(hands, WIRE_VM));
	assert_true(replace_asked(WIRE_NET));
	close(net);
	close(vm);
}

static void test_an_actuator_that_ended_is_not_asked_for_at_once(unused_arg void **state)
{
	struct wire_message message;
	close(ready_actuator(WIRE_NET));
	turn();
	hands_progress(hands, 1); /* the supervisor knows by itself, and may have started it already */
	assert_int_equal(receive(supervisor, &message), 1);
	assert_int_equal(message.kind, WIRE_PROGRESS);
	assert_int_equal(message.progress.beats, 1);
	assert_int_equal(receive(supervisor, &message), 0);
}

static void test_descriptors_that_nobody_wants_are_closed(unused_arg void **state)
{
	int pair[2], net = ready_actuator(WIRE_NET);
	uint8_t byte;
	struct wire_message message = {.kind = WIRE_ANSWER, .answer = {.id = 7}};
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(wire_send(net, &message, &pair[1], 1, &err), 0);
	close(pair[1]);
	turn();
	assert_int_equal(recv(pair[0], &byte, 1, MSG_DONTWAIT), 0); /* the last other end is closed */
	close(pair[0]);
	close(net);
}

static void test_replace_is_told_to_the_supervisor(unused_arg void **state)
{
	hands_replace(hands, WIRE_VM);
	assert_true(replace_asked(WIRE_VM));
}

static void test_one_that_leaves_too_many_unanswered_is_replaced(unused_arg void **state)
{
	int net = ready_actuator(WIRE_NET);
	for (uint32_t i = 1; i <= WIRE_PENDING_MAX; i++)
		send_order(ORDER_NET_TAP_ADD, i, 1000 + i);
	assert_true(hands_ready(hands, WIRE_NET));
	send_order(ORDER_NET_TAP_ADD, 999, 2000);
	assert_true(replace_asked(WIRE_NET));
	turn();
	assert_int_equal(n_answers, WIRE_PENDING_MAX + 1); /* nobody is forgotten */
	heard(2000, -ENOBUFS);
	for (uint32_t i = 1; i <= WIRE_PENDING_MAX; i++)
		heard(1000 + i, -EPIPE);
	close(net);
	net = ready_actuator(WIRE_NET);
	send_order(ORDER_NET_TAP_ADD, 1, 3000);
	answer(net, next_order(net, ORDER_NET_TAP_ADD, 1), 0);
	heard(3000, 0);
	close(net);
}

static void test_while_it_is_away_the_bound_holds_too(unused_arg void **state)
{
	for (uint32_t i = 1; i <= WIRE_PENDING_MAX + 5; i++)
		send_order(ORDER_NET_TAP_ADD, i, i);
	turn();
	assert_int_equal(n_answers, 5);
	heard(WIRE_PENDING_MAX + 1, -ENOBUFS);
	int net = ready_actuator(WIRE_NET);
	for (uint32_t i = 1; i <= WIRE_PENDING_MAX; i++)
		next_order(net, ORDER_NET_TAP_ADD, i);
	close(net);
}

/* The plan asks again when its deadline has passed; what piled up is not all carried out afterwards. */
static void test_while_it_is_away_the_last_word_counts(unused_arg void **state)
{
	struct wire_message message;
	struct wire_order steer = {.type = ORDER_NET_STEER, .service = 0, .instance = 3};
	struct hands_cookie cookie = {.ticket = 61};
	hands_send(hands, &steer, &cookie);
	send_order(ORDER_NET_GATE, 3, 62);
	steer.instance = 4;
	cookie.ticket = 63;
	hands_send(hands, &steer, &cookie);
	turn();
	assert_int_equal(n_answers, 1);
	heard(61, -ECANCELED);
	int net = ready_actuator(WIRE_NET);
	next_order(net, ORDER_NET_GATE, 3);
	next_order(net, ORDER_NET_STEER, 4);
	assert_int_equal(receive(net, &message), 0);
	close(net);
}

static void on_timer(unused_arg uv_timer_t *timer)
{
	fail_msg("the loop went on");
}

static void test_the_supervisors_end_stops_the_loop(unused_arg void **state)
{
	static uv_timer_t busy;
	uv_timer_init(&loop, &busy);
	uv_timer_start(&busy, on_timer, 20000, 0);
	shutdown(supervisor, SHUT_RDWR);
	assert_int_not_equal(uv_run(&loop, UV_RUN_DEFAULT), 0); /* came back, though something is left to do */
	uv_close((uv_handle_t *)&busy, NULL);
}

#define WITH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        WITH(test_an_order_waits_for_ready_and_then_goes_in_order),
	        WITH(test_answers_find_their_order_whatever_comes_first),
	        WITH(test_what_was_sent_is_lost_with_the_link_and_what_waits_survives),
	        WITH(test_a_new_link_answers_for_the_old_one),
	        WITH(test_a_link_that_breaks_while_sending_is_no_loss),
	        WITH(test_garbage_closes_the_link_and_asks_for_another_actuator),
	        WITH(test_an_actuator_that_ended_is_not_asked_for_at_once),
	        WITH(test_descriptors_that_nobody_wants_are_closed),
	        WITH(test_replace_is_told_to_the_supervisor),
	        WITH(test_one_that_leaves_too_many_unanswered_is_replaced),
	        WITH(test_while_it_is_away_the_bound_holds_too),
	        WITH(test_while_it_is_away_the_last_word_counts),
	        WITH(test_the_supervisors_end_stops_the_loop),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
