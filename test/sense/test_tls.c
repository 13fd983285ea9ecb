/* Probes over TLS: of the scripted server behind a relay by OpenSSL (tls_relay.py, the first argument), and of peers who mean
 * ill. */
#include "stage.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static const char *relay_path;

struct relay {
	pid_t pid;
	int life; /* it ends when this is closed */
	int port;
};

static void relay_start(struct relay *relay, int behind, const char *manner)
{
	int in[2], out[2];
	char port[12], line[12] = "";
	assert_int_equal(pipe(in) | pipe(out), 0);
	snprintf(port, sizeof(port), "%d", behind);
	relay->pid = fork();
	assert_true(relay->pid >= 0);
	if (relay->pid == 0) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		close(in[0]), close(in[1]), close(out[0]), close(out[1]);
		execlp("python3", "python3", relay_path, port, manner, (char *)NULL);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	relay->life = in[1];
	FILE *told = fdopen(out[0], "r");
	assert_non_null(fgets(line, sizeof(line), told));
	fclose(told);
	relay->port = atoi(line);
}

static void relay_end(struct relay *relay)
{
	int status;
	kill(relay->pid, SIGCONT);
	close(relay->life);
	assert_int_equal(waitpid(relay->pid, &status, 0), relay->pid);
}

static void begin_tls(struct stage *s, struct relay *relay, const char *manner)
{
	relay_start(relay, s->server.port, manner);
	s->target.probe.tls = true;
	s->target.probe.port = (uint16_t)relay->port;
	begin(s);
}

/* Kept connections, parts of answers and all that HTTP has are as without. */
static void assert_serves(void **state, const char *manner)
{
	struct stage *s = *state;
	struct relay relay;
	s->target.probe.challenge = true;
	s->target.probe.challenge_ms = 40;
	begin_tls(s, &relay, manner);
	await(s, 30);
	assert_int_equal(s->n_found[FINDING_GOOD] + s->n_found[FINDING_PROVEN], s->n_reports); /* some may come together */
	assert_true(s->n_found[FINDING_PROVEN] > 3);
	assert_true(s->server.n_connections < s->server.n_requests);
	s->server.mood = SERVER_DRIBBLE;
	await_finding(s, FINDING_GOOD);
	s->server.mood = SERVER_WRONG;
	await_finding(s, FINDING_WRONG_CONTENT);
	s->server.mood = SERVER_HALF;
	await_finding(s, FINDING_ERROR);
	relay_end(&relay);
	await_finding(s, FINDING_REFUSED);
}

static void test_http_inside(void **state)
{
	assert_serves(state, "ec");
}

static void test_tls_1_2(void **state)
{
	assert_serves(state, "tls1.2");
}

static void test_rsa(void **state)
{
	assert_serves(state, "rsa");
}

/* Many servers end the connection and say no farewell: that alone is no sign of anything. */
static void test_an_abrupt_end_is_an_end(void **state)
{
	struct stage *s = *state;
	struct relay relay;
	s->server.mood = SERVER_SAYS_UNTIL_CLOSE;
	s->server.says = SERVER_PAGE;
	begin_tls(s, &relay, "abrupt");
	await(s, 10);
	assert_int_equal(s->n_found[FINDING_GOOD], s->n_reports);
	relay_end(&relay);
}

/* No second event tells of an answer that waits behind a record of TLS's own. */
static void test_an_answer_behind_tickets_is_read(void **state)
{
	struct stage *s = *state;
	struct relay relay;
	begin_tls(s, &relay, "at-once");
	await(s, 10);
	assert_int_equal(s->n_found[FINDING_GOOD], s->n_reports);
	relay_end(&relay);
}

/* Records of TLS hold 16 KiB. */
static void test_an_answer_without_end_is_not_read_to_it(void **state)
{
	struct stage *s = *state;
	struct relay relay;
	s->server.mood = SERVER_ENDLESS;
	s->target.probe.interval_ms = 60000;
	s->target.probe.timeout_ms = 8000;
	begin_tls(s, &relay, "ec");
	await(s, 1);
	assert_int_equal(s->last.finding, FINDING_SLOW);
	assert_true(s->last.time_us - s->last.began_us < 8000000); /* not by the timeout */
	assert_true(s->server.sent < 16u << 20);                   /* sockets' buffers and the relay's */
	relay_end(&relay);
}

static void test_other_words_inside(void **state)
{
	struct stage *s = *state;
	struct relay relay;
	ask_plainly(s, CONF_PROBE_TCP, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "HTTP/1.1 200 ");
	begin_tls(s, &relay, "ec");
	await(s, 5);
	assert_int_equal(s->n_found[FINDING_PROVEN], s->n_reports);
	s->server.mood = SERVER_ERROR;
	await_finding(s, FINDING_ERROR);
	assert_string_equal(s->detail, "byte 10 of its answer is not as expected");
	relay_end(&relay);
}

/* Nothing is said inside; but hands are shaken by the server itself, where a kernel takes a connection for one that hangs. */
static void test_shaken_hands_are_all(void **state)
{
	struct stage *s = *state;
	struct relay relay;
	s->target.probe.timeout_ms = 200;
	ask_plainly(s, CONF_PROBE_TCP, "", "");
	begin_tls(s, &relay, "ec");
	await_finding(s, FINDING_PROVEN);
	kill(relay.pid, SIGSTOP);
	await_finding(s, FINDING_TIMEOUT);
	assert_string_equal(s->detail, "no answer in time");
	relay_end(&relay);
}

static void test_whoever_hangs_is_missed(void **state)
{
	struct stage *s = *state;
	struct relay relay;
	s->target.probe.timeout_ms = 100;
	begin_tls(s, &relay, "mute");
	await_finding(s, FINDING_TIMEOUT);
	assert_string_equal(s->detail, "GET /: no answer in time");
	relay_end(&relay);
	assert_int_equal(s->n_found[FINDING_GOOD] + s->n_found[FINDING_PROVEN], 0);
}

static void assert_trouble(void **state, const char *manner, const char *detail)
{
	struct stage *s = *state;
	struct relay relay;
	begin_tls(s, &relay, manner);
	await(s, 3);
	assert_int_equal(s->n_found[FINDING_ERROR], s->n_reports);
	assert_string_equal(s->detail, detail);
	assert_int_equal(s->server.n_requests, 0);
	relay_end(&relay);
}

static void test_no_tls_at_all(void **state)
{
	assert_trouble(state, "plain", "GET /: TLS: An unexpected TLS packet was received.");
}

static void test_nothing_in_common(void **state)
{
	assert_trouble(state, "foreign", "GET /: TLS: Handshake failed");
}

/* Nor a group: the peer would name it before it shows anything. */
static void test_a_large_group_is_refused(void **state)
{
	assert_trouble(state, "group", "GET /: TLS: Handshake failed");
}

static void test_an_end_before_hands_are_shaken(void **state)
{
	assert_trouble(state, "cut", "GET /: TLS: The TLS connection was non-properly terminated.");
}

/* A key whose use takes long is not used. */
static void test_a_large_key_is_refused(void **state)
{
	assert_trouble(state, "large", "GET /: TLS: its key is none that is reckoned with");
}

static void test_a_large_key_is_refused_by_tls_1_2(void **state)
{
	assert_trouble(state, "large-tls1.2", "GET /: TLS: its key is none that is reckoned with");
}

static void test_records_without_content_end_soon(void **state)
{
	assert_trouble(state, "alerts", "GET /: TLS: An unexpected TLS handshake packet was received.");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	        STAGED(test_http_inside),
	        STAGED(test_tls_1_2),
	        STAGED(test_rsa),
	        STAGED(test_an_abrupt_end_is_an_end),
	        STAGED(test_an_answer_behind_tickets_is_read),
	        STAGED(test_an_answer_without_end_is_not_read_to_it),
	        STAGED(test_other_words_inside),
	        STAGED(test_shaken_hands_are_all),
	        STAGED(test_whoever_hangs_is_missed),
	        STAGED(test_no_tls_at_all),
	        STAGED(test_nothing_in_common),
	        STAGED(test_a_large_group_is_refused),
	        STAGED(test_an_end_before_hands_are_shaken),
	        STAGED(test_a_large_key_is_refused),
	        STAGED(test_a_large_key_is_refused_by_tls_1_2),
	        STAGED(test_records_without_content_end_soon),
	};
	relay_path = argc > 1 ? argv[1] : "tls_relay.py";
	return cmocka_run_group_tests(tests, NULL, NULL);
}
