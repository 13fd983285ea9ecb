/* Probers against a scripted server on loopback: every way to answer badly ends in its finding, and good ones look like clients.
 */
#include "sense/client.h"
#include "sense/prober.h"
#include "sense/silence.h"

#include "lib/bytes.h"
#include "stage.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <cmocka.h>

static void test_good(void **state)
{
	struct stage *s = *state;
	begin(s);
	await(s, 30);
	assert_int_equal(s->n_found[FINDING_GOOD], 30);
	assert_int_equal(s->last.instance, 7);
	assert_int_equal(s->last.vantage, VANTAGE_GUEST);
	assert_true(s->server.n_connections < s->server.n_requests); /* some are kept */
	assert_true(s->server.n_connections > 1);
}

static void test_bad_answers(void **state)
{
	static const struct {
		enum server_mood mood;
		enum finding finding;
	} rows[] = {
	        {SERVER_WRONG, FINDING_WRONG_CONTENT}, {SERVER_HANG, FINDING_TIMEOUT}, {SERVER_DRIBBLE, FINDING_SLOW},
	        {SERVER_ENDLESS, FINDING_SLOW},        {SERVER_HALF, FINDING_ERROR},   {SERVER_SILENT_END, FINDING_ERROR},
	        {SERVER_GARBAGE, FINDING_GARBAGE},     {SERVER_ERROR, FINDING_ERROR},
	};
	struct stage *s = *state;
	s->target.probe.timeout_ms = 250;
	begin(s);
	for (size_t i = 0; i < countof(rows); i++) {
		s->server.mood = rows[i].mood;
		await_finding(s, rows[i].finding);
		assert_memory_equal(s->detail, "GET /: ", 7);
		s->server.mood = SERVER_RIGHT; /* none of it lasts */
		await_finding(s, FINDING_GOOD);
	}
}

static void test_until_close_twice(void **state)
{
	struct stage *s = *state;
	s->server.mood = SERVER_UNTIL_CLOSE;
	begin(s);
	await(s, 1);
	assert_int_equal(s->last.finding, FINDING_ERROR);
	await(s, 1);
	assert_int_equal(s->last.finding, FINDING_WRONG_CONTENT);
}

/* A hung server is known after k intervals and one timeout: probes do not wait for one another. */
static void test_hang_is_known_soon(void **state)
{
	struct stage *s = *state;
	s->target.probe.interval_ms = 100;
	s->target.probe.timeout_ms = 800; /* far from the third's start, for machines under load */
	s->server.mood = SERVER_HANG;
	begin(s);
	await(s, 1);
	int64_t first_us = s->last.time_us;
	assert_true(s->last.time_us - s->last.began_us >= 800000);
	await(s, 2);
	assert_true(s->last.began_us < first_us); /* the third began before the first had ended */
	assert_int_equal(s->n_found[FINDING_TIMEOUT], 3);
}

static void test_refused(void **state)
{
	struct stage *s = *state;
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(address);
	auto_close int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); /* has the port, does not listen */
	assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
	s->target.probe.port = ntohs(address.sin_port);
	begin(s);
	await(s, 3);
	assert_int_equal(s->n_found[FINDING_REFUSED], 3);
	assert_string_equal(s->detail, "GET /: connection refused");
}

/* A full queue lets no handshake through. */
static void test_no_handshake(void **state)
{
	struct stage *s = *state;
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(address);
	auto_close int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
	assert_int_equal(listen(fd, 0), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
	auto_close int first = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(first, (struct sockaddr *)&address, size), 0);
	s->target.probe.port = ntohs(address.sin_port);
	s->target.probe.timeout_ms = 100;
	begin(s);
	await_finding(s, FINDING_TIMEOUT);
	assert_string_equal(s->detail, "GET /: no connection in time");
}

/* Our own shortage says nothing about the guest. */
static void test_own_shortages(void **state)
{
	struct stage *s = *state;
	struct rlimit limit, none;
	begin(s);
	await(s, 1);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = (struct rlimit){3, limit.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	await_finding(s, FINDING_UNKNOWN);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	await_finding(s, FINDING_GOOD);
	s->target.source4.s_addr = inet_addr("192.0.2.1"); /* not an address of this host */
	begin(s);
	await_finding(s, FINDING_UNKNOWN);
}

static void test_late_loop_knows_nothing(void **state)
{
	struct stage *s = *state;
	s->server.mood = SERVER_HANG;
	s->target.probe.timeout_ms = 40;
	begin(s);
	await_finding(s, FINDING_TIMEOUT);
	usleep(150000); /* the fault itself, not a wait for something */
	await_finding(s, FINDING_UNKNOWN);
}

/* Known for as long as it takes: what it does not answer then waits for longer than anything did. */
static void become_known(struct stage *s, uint32_t interval_ms)
{
	s->target.probe.interval_ms = interval_ms;
	s->target.probe.stall_ms = 20;
	begin(s);
	int64_t until_us = clock_monotonic_us() + 2 * SILENCE_KNOWN_US;
	while (clock_monotonic_us() < until_us || s->n_found[FINDING_GOOD] < 20)
		await(s, 1);
	assert_int_equal(s->n_found[FINDING_GOOD], s->n_reports);
}

/* Long before any probe is a miss, and again while it lasts. */
static void test_stall_is_told(void **state)
{
	struct stage *s = *state;
	become_known(s, 5);
	int64_t from_us = clock_monotonic_us();
	s->server.mood = SERVER_HANG;
	await_finding(s, FINDING_STALLED);
	assert_true(s->last.began_us + 20000 <= s->last.time_us);
	assert_true(s->last.began_us >= from_us - 20000);
	assert_memory_equal(s->detail, "nothing that it was asked was answered for ", 43);
	assert_int_equal(s->n_found[FINDING_TIMEOUT], 0);
	int64_t began_us = s->last.began_us;
	await_finding(s, FINDING_STALLED);
	assert_int_equal(s->last.began_us, began_us); /* the same one */
}

/* What is asked for a doubt keeps no probe away that is due: the verdict comes no later for it. */
static void test_doubt_delays_no_probe(void **state)
{
	struct stage *s = *state;
	become_known(s, 150); /* rarer than what is asked for a doubt */
	unsigned asked = s->server.n_requests;
	s->server.mood = SERVER_HANG;
	await_finding(s, FINDING_STALLED);
	while (s->server.n_requests < asked + PROBER_AT_ONCE + SILENCE_ASKED - 1)
		uv_run(&s->loop, UV_RUN_ONCE);
	assert_int_equal(s->n_found[FINDING_TIMEOUT], 0);
}

static void test_stall_is_told_only_if_wanted(void **state)
{
	struct stage *s = *state;
	become_known(s, 5);
	s->target.probe.stall_ms = 0;
	begin(s);
	await(s, 2 * SILENCE_KNOWN_ANSWERS);
	s->server.mood = SERVER_HANG;
	await_finding(s, FINDING_TIMEOUT);
	assert_int_equal(s->n_found[FINDING_STALLED], 0);
}

/* Whoever was away himself does not know how long another one was. */
static void test_late_loop_saw_no_stall(void **state)
{
	struct stage *s = *state;
	become_known(s, 5);
	unsigned asked = s->server.n_requests;
	s->server.mood = SERVER_HANG;
	while (s->server.n_requests < asked + SILENCE_ASKED)
		uv_run(&s->loop, UV_RUN_ONCE);
	usleep(100000); /* the fault itself, not a wait for something */
	int64_t back_us = clock_monotonic_us();
	await_finding(s, FINDING_STALLED);
	assert_true(s->last.time_us >= back_us + 20000);
}

static void test_fickle_server(void **state)
{
	struct stage *s = *state;
	s->server.mood = SERVER_FICKLE;
	begin(s);
	await(s, 40);
	assert_int_equal(s->n_found[FINDING_GOOD], 40);
}

static void test_challenge(void **state)
{
	struct stage *s = *state;
	s->target.probe.challenge = true;
	s->target.probe.challenge_ms = 60;
	s->server.mood = SERVER_WRONG_DIGEST;
	begin(s);
	await(s, 1); /* the first probe is a challenge */
	assert_int_equal(s->last.finding, FINDING_WRONG_CHALLENGE);
	assert_memory_equal(s->detail, "GET /api/challenge: ", 20);
	s->server.mood = SERVER_RIGHT;
	await(s, 20);
	assert_int_equal(s->n_found[FINDING_GOOD] + s->n_found[FINDING_PROVEN], 20);
	assert_in_range(s->n_found[FINDING_PROVEN], 2, 15);
	assert_in_range(s->server.n_challenges, 3, 15);
	s->server.mood = SERVER_WRONG_CLOCK;
	await_finding(s, FINDING_WRONG_CLOCK);
	assert_non_null(strstr(s->detail, "behind"));
	s->target.clock_slack_ms = 0;
	begin(s);
	unsigned before = s->n_found[FINDING_WRONG_CLOCK];
	sense_prober_ask(s->prober, SENSE_PROBE_CHALLENGE);
	await(s, 10);
	assert_int_equal(s->n_found[FINDING_WRONG_CLOCK], before);
}

static void test_ask(void **state)
{
	struct stage *s = *state;
	s->target.probe.interval_ms = 60000;
	begin(s);
	await(s, 1);
	for (unsigned i = 1; i <= 5; i++) {
		sense_prober_ask(s->prober, SENSE_PROBE_CHALLENGE);
		await(s, 1);
		assert_int_equal(s->server.n_challenges, i);
		sense_prober_ask(s->prober, SENSE_PROBE_CONTENT);
		await(s, 1);
	}
	assert_int_equal(s->n_found[FINDING_GOOD], 6);
	assert_int_equal(s->n_found[FINDING_PROVEN], 5);
}

static void test_json_and_plain(void **state)
{
	struct stage *s = *state;
	text_copy(s->target.json_path, CONF_PATH_MAX, "/api/reading");
	s->target.probe.interval_ms = 5;
	begin(s);
	await(s, 60);
	unsigned n_json = 0;
	for (unsigned i = 0; i < s->server.n_seen; i++)
		n_json += strncmp(s->server.seen[i], "GET /api/reading ", 17) == 0;
	assert_in_range(n_json, 1, 30);
	s->target.n_content = 0; /* nothing known of the content: any page will do */
	begin(s);
	s->server.mood = SERVER_WRONG;
	sense_prober_ask(s->prober, SENSE_PROBE_CONTENT);
	await_finding(s, FINDING_GOOD);
	assert_int_equal(s->n_found[FINDING_WRONG_CONTENT], 0);
}

static void test_both_families(void **state)
{
	struct stage *s = *state;
	struct server *six = calloc(1, sizeof(*six));
	assert_non_null(six);
	server_stop(&s->server);
	server_start(six, &s->loop, true);
	s->target.probe.port = (uint16_t)six->port; /* served by IPv6 only: every other probe is refused */
	s->target.address.address6 = in6addr_loopback;
	s->target.use6 = true;
	begin(s);
	await(s, 20);
	assert_in_range(s->n_found[FINDING_GOOD], 5, 19); /* kept connections shift the balance */
	assert_in_range(s->n_found[FINDING_REFUSED], 1, 10);
	sense_prober_free(take(&s->prober));
	server_stop(six);
	while (six->n_open || uv_is_closing((uv_handle_t *)&six->listener) == 0)
		uv_run(&s->loop, UV_RUN_ONCE);
	uv_run(&s->loop, UV_RUN_NOWAIT);
	free(six);
	server_start(&s->server, &s->loop, false);
}

static void test_free_in_report(void **state)
{
	struct stage *s = *state;
	s->free_at_report = true;
	begin(s);
	await(s, 1);
	assert_null(s->prober);
	assert_int_equal(s->n_reports, 1);
}

/* However much is sent, little is read: the rest stays with the sender. */
static void test_bounded(void **state)
{
	struct stage *s = *state;
	s->server.mood = SERVER_ENDLESS;
	s->target.probe.interval_ms = 60000;
	begin(s);
	await(s, 1);
	assert_int_equal(s->last.finding, FINDING_SLOW);
	assert_true(s->last.time_us - s->last.began_us < 2000000); /* not by the timeout */
	assert_true(s->server.sent < 16u << 20);                   /* socket buffers */
}

/* ---- disguise */

/* The names of a request's headers in order, and its version. */
static void shape_of(const char *request, char *ret_shape, size_t size)
{
	size_t at = 0;
	const char *line = strchr(request, '\n');
	assert_non_null(strstr(request, " HTTP/1."));
	ret_shape[at++] = strstr(request, " HTTP/1.1\r\n") ? '1' : '0';
	for (; line && line[1] != '\r'; line = strchr(line + 1, '\n')) {
		for (const char *c = line + 1; *c != ':' && at < size - 2; c++)
			ret_shape[at++] = *c;
		ret_shape[at++] = ' ';
	}
	ret_shape[at] = '\0';
}

static void check_request(const char *request)
{
	const char *encoding = strstr(request, "Accept-Encoding:");
	assert_memory_equal(request, "GET /", 5);
	assert_non_null(strstr(request, "\r\nHost: "));
	assert_string_equal(request + strlen(request) - 4, "\r\n\r\n");
	assert_null(strpbrk(request, "@#~"));
	if (encoding)
		assert_memory_equal(encoding, "Accept-Encoding: identity", 25);
}

static void test_requests_vary(void **state)
{
	struct stage *s = *state;
	static char shapes[SERVER_SEEN_MAX][300];
	unsigned n_shapes = 0, n_host_first = 0, n_agent_first = 0, n_whole = 0;
	text_copy(s->target.hosts[0], SENSE_HOST_MAX, "198.51.100.80");
	text_copy(s->target.hosts[1], SENSE_HOST_MAX, "sensor.example");
	s->target.n_hosts = 2;
	s->target.probe.interval_ms = 3;
	begin(s);
	await(s, SERVER_SEEN_MAX);
	for (unsigned i = 0; i < SERVER_SEEN_MAX; i++) {
		const char *request = s->server.seen[i], *agent = strstr(request, "\r\nUser-Agent:");
		char shape[300];
		unsigned known = 0, seen = 0;
		check_request(request);
		n_host_first += !agent || strstr(request, "\r\nHost:") < agent;
		n_agent_first += agent && strstr(request, "\r\nHost:") > agent;
		shape_of(request, shape, sizeof(shape));
		while (known < n_shapes && strcmp(shapes[known], shape) != 0)
			known++;
		if (known == n_shapes)
			text_copy(shapes[n_shapes++], sizeof(shapes[0]), shape);
		while (strcmp(s->server.seen[seen], request) != 0)
			seen++;
		n_whole += seen == i;
	}
	assert_true(n_shapes >= 20);
	assert_true(n_whole >= 60);
	assert_true(n_host_first > 0 && n_agent_first > 0);
}

static void test_every_profile(void **state unused_arg)
{
	char request[CLIENT_REQUEST_MAX + 1], path[CONF_PATH_MAX + 80], host[SENSE_HOST_MAX];
	memset(path, 'p', sizeof(path));
	path[0] = '/';
	path[sizeof(path) - 1] = '\0';
	memset(host, 'h', sizeof(host));
	host[sizeof(host) - 1] = '\0';
	for (uint32_t i = 0; i < client_profiles(); i++)
		for (uint32_t salt = 0; salt < 200; salt++) {
			struct client_shape shape = {i, salt * 2654435761u};
			size_t size = client_request(&shape, path, host, salt & 1, request);
			assert_true(size < CLIENT_REQUEST_MAX);
			request[size] = '\0';
			check_request(request);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        STAGED(test_good),
	        STAGED(test_bad_answers),
	        STAGED(test_until_close_twice),
	        STAGED(test_hang_is_known_soon),
	        STAGED(test_refused),
	        STAGED(test_no_handshake),
	        STAGED(test_own_shortages),
	        STAGED(test_late_loop_knows_nothing),
	        STAGED(test_stall_is_told),
	        STAGED(test_doubt_delays_no_probe),
	        STAGED(test_stall_is_told_only_if_wanted),
	        STAGED(test_late_loop_saw_no_stall),
	        STAGED(test_fickle_server),
	        STAGED(test_challenge),
	        STAGED(test_ask),
	        STAGED(test_json_and_plain),
	        STAGED(test_both_families),
	        STAGED(test_free_in_report),
	        STAGED(test_bounded),
	        STAGED(test_requests_vary),
	        cmocka_unit_test(test_every_profile),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
