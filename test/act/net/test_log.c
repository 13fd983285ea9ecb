/* What koboshi-net's rules tell the engine of clients' packets: exactly what it is to know, and each once. */
#include "world.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>

#include <cmocka.h>

static void test_requests_and_refusals(void **state)
{
	struct world *w = *state;
	steer(w, 3, 0);
	lab_logged(&w->lab, QUIET);
	assert_int_equal(reached(w, SERVICE4, NULL, NULL, NULL), 3);
	struct lab_logged logged = lab_logged(&w->lab, QUIET);
	assert_int_equal(logged.syn, 1);
	assert_int_equal(logged.ack, 1);
	assert_int_equal(logged.rst + logged.spoof + logged.out + logged.other, 0);
	close(w->web[3]);
	for (int i = 0; i < 2; i++) {
		int fd = lab_connect(&w->lab, LAB_CLIENT, i ? SERVICE6 : SERVICE4, 80, NULL);
		assert_int_equal(lab_outcome(fd, SOON), -ECONNREFUSED);
		close(fd);
		logged = lab_logged(&w->lab, QUIET);
		assert_int_equal(logged.syn, 1);
		assert_int_equal(logged.rst, 1);
		assert_int_equal(logged.ack + logged.spoof + logged.other, 0);
	}
	w->web[3] = lab_listen(&w->lab, LAB_GUEST3, 80);
	gate(w, 3, WIRE_GATE_OPEN);
	int probe = lab_connect(&w->lab, LAB_HOST, w->address4[3], 81, w->gateway4);
	assert_int_equal(lab_outcome(probe, SOON), -ECONNREFUSED);
	close(probe);
	logged = lab_logged(&w->lab, QUIET);
	assert_int_equal(logged.syn + logged.rst, 0); /* a probe's own outcome is known to who sent it */
}

/* Of each connection once, however short the words; the reader of what is asked later would only be kept busy. */
static void test_first_words(void **state)
{
	static const char words[1500];
	struct world *w = *state;
	steer(w, 3, 0);
	for (int six = 0; six < 2; six++) {
		size_t size = six ? sizeof(words) : 1; /* more than a segment: the first bears no PSH if more is to come */
		int client, server;
		assert_int_equal(reached(w, six ? SERVICE6 : SERVICE4, &client, &server, NULL), 3);
		struct lab_logged logged = lab_logged(&w->lab, QUIET);
		assert_int_equal(logged.ask + logged.say, 0); /* nobody said anything */
		assert_int_equal(send(client, words, 1, MSG_NOSIGNAL), 1);
		logged = lab_logged(&w->lab, QUIET);
		assert_int_equal(logged.ask, 1);
		assert_int_equal(logged.say, 0);
		assert_int_equal(send(server, words, size, MSG_NOSIGNAL | (six ? MSG_MORE : 0)), size);
		logged = lab_logged(&w->lab, QUIET);
		assert_int_equal(logged.ask, 0);
		assert_in_range(logged.say, 1, 3);
		assert_int_equal(send(client, words, size, MSG_NOSIGNAL), size);
		logged = lab_logged(&w->lab, QUIET);
		assert_int_equal(logged.ask, 0);
		assert_int_equal(logged.spoof + logged.out + logged.other, 0);
		close(client);
		close(server);
	}
}

int main(int argc, char **argv)
{
	int r = world_begin(argc, argv);
	if (r != 0)
		return r;
	const struct CMUnitTest tests[] = {
	        LAB_TEST(test_requests_and_refusals),
	        LAB_TEST(test_first_words),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
