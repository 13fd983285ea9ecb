/* Probes of services that speak no HTTP: of the scripted server by TCP, which knows no better, and of one that echoes by UDP. */
#include "stage.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static void begin_plain(struct stage *s, enum conf_probe_protocol protocol, const char *send, const char *expect)
{
	ask_plainly(s, protocol, send, expect);
	begin(s);
}

/* The connection is all there is: who hangs has his accepted by the kernel. */
static void test_tcp_connects(void **state)
{
	struct stage *s = *state;
	s->server.mood = SERVER_HANG;
	begin_plain(s, CONF_PROBE_TCP, "", "");
	await(s, 5);
	assert_int_equal(s->n_found[FINDING_PROVEN], 5);
	sense_prober_ask(s->prober, SENSE_PROBE_CHALLENGE);
	await(s, 1);
	server_stop(&s->server);
	await_finding(s, FINDING_REFUSED);
	server_start(&s->server, &s->loop, false);
}

#define PLAIN_GET "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

static void test_tcp_asks(void **state)
{
	struct stage *s = *state;
	s->target.probe.timeout_ms = 250;
	begin_plain(s, CONF_PROBE_TCP, PLAIN_GET, "HTTP/1.1 200 ");
	await(s, 5);
	assert_int_equal(s->n_found[FINDING_PROVEN], 5);
	assert_memory_equal(s->server.seen[0], PLAIN_GET, 16);
	s->server.mood = SERVER_ERROR;
	await_finding(s, FINDING_ERROR);
	assert_string_equal(s->detail, "byte 10 of its answer is not as expected");
	s->server.mood = SERVER_HANG;
	await_finding(s, FINDING_TIMEOUT);
	s->server.mood = SERVER_SILENT_END;
	await_finding(s, FINDING_ERROR);
	assert_string_equal(s->detail, "its answer ended before it was whole");
	s->server.mood = SERVER_DRIBBLE; /* byte by byte is an answer too */
	s->target.probe.timeout_ms = 2000;
	begin(s);
	await_finding(s, FINDING_PROVEN);
}

/* A server that should speak first and does not. */
static void test_tcp_waits_for_a_greeting(void **state)
{
	struct stage *s = *state;
	s->target.probe.timeout_ms = 100;
	begin_plain(s, CONF_PROBE_TCP, "", "SSH-2.0-");
	await_finding(s, FINDING_TIMEOUT);
	assert_string_equal(s->detail, "no answer in time");
}

/* ---- UDP */

struct echo {
	uv_poll_t poll;
	int fd;
	unsigned n_asked, passed_over; /* so many of the next ones are not answered */
	size_t cut;                    /* bytes of the answer at most; 0: all */
	char asked[32];
};

static void echo_heard(uv_poll_t *poll, int status unused_arg, int events unused_arg)
{
	struct echo *echo = poll->data;
	struct sockaddr_in from;
	socklen_t size = sizeof(from);
	ssize_t got = recvfrom(echo->fd, echo->asked, sizeof(echo->asked) - 1, 0, (struct sockaddr *)&from, &size);
	assert_true(got > 0);
	echo->asked[got] = '\0';
	echo->n_asked++;
	if (echo->passed_over > 0) {
		echo->passed_over--;
		return;
	}
	size_t answered = echo->cut ? echo->cut : (size_t)got;
	assert_int_equal(sendto(echo->fd, echo->asked, answered, 0, (struct sockaddr *)&from, size), answered);
}

/* On the port that the stage's server has by TCP. */
static void echo_start(struct echo *echo, struct stage *s)
{
	struct sockaddr_in at = {
	        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)s->server.port)};
	*echo = (struct echo){.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
	assert_int_equal(bind(echo->fd, (struct sockaddr *)&at, sizeof(at)), 0);
	uv_poll_init(&s->loop, &echo->poll, echo->fd);
	echo->poll.data = echo;
	uv_poll_start(&echo->poll, UV_READABLE, echo_heard);
}

static void echo_stop(struct echo *echo, struct stage *s)
{
	uv_close((uv_handle_t *)&echo->poll, NULL);
	uv_run(&s->loop, UV_RUN_NOWAIT);
	close(echo->fd);
}

static void test_udp_asks(void **state)
{
	struct stage *s = *state;
	struct echo echo;
	echo_start(&echo, s);
	s->target.probe.timeout_ms = 100;
	begin_plain(s, CONF_PROBE_UDP, "who?", "who");
	await(s, 5);
	assert_int_equal(s->n_found[FINDING_PROVEN], 5);
	assert_string_equal(echo.asked, "who?");
	assert_int_equal(s->server.n_connections, 0);
	echo.passed_over = 1;
	await_finding(s, FINDING_TIMEOUT);
	assert_string_equal(s->detail, "no answer in time");
	await_finding(s, FINDING_PROVEN);
	echo.cut = 2;
	await_finding(s, FINDING_ERROR);
	assert_string_equal(s->detail, "its answer ended before it was whole");
	echo_stop(&echo, s);
}

static void test_udp_is_refused_where_nobody_listens(void **state)
{
	struct stage *s = *state;
	begin_plain(s, CONF_PROBE_UDP, "who?", "who");
	await_finding(s, FINDING_REFUSED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        STAGED(test_tcp_connects),
	        STAGED(test_tcp_asks),
	        STAGED(test_tcp_waits_for_a_greeting),
	        STAGED(test_udp_asks),
	        STAGED(test_udp_is_refused_where_nobody_listens),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
