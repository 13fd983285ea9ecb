/* Three scripted servers on loopback are asked the same at the same moment: who is suspected, after how many questions, and what
 * may differ without being told. */
#include "sense/peer.h"

#include "lib/bytes.h"
#include "server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define PATIENCE_MS 20000 /* a test that waits longer has failed */
#define SERVERS 3

struct stage {
	uv_loop_t loop;
	uv_timer_t patience, look;
	struct server servers[SERVERS];
	struct conf_probe probe;
	struct sense_peer *peer;
	uint64_t rounds; /* wanted */
	unsigned n_outvoted[SERVERS + 1], n_differs[SERVERS + 1], n_reports;
	unsigned asked_before; /* the first report */
	char detail[300];
	bool remove_at_report, free_at_report;
};

static void on_report(void *arg, const struct evidence *evidence, const char *detail)
{
	struct stage *s = arg;
	assert_int_equal(evidence->vantage, VANTAGE_PEER);
	assert_true(evidence->began_us <= evidence->time_us);
	assert_in_range(evidence->instance, 1, SERVERS);
	if (s->n_reports++ == 0)
		s->asked_before = s->servers[0].n_requests;
	if (evidence->finding == FINDING_OUTVOTED)
		s->n_outvoted[evidence->instance]++;
	else
		s->n_differs[evidence->instance]++;
	text_copy(s->detail, sizeof(s->detail), detail);
	if (s->remove_at_report)
		for (uint32_t i = 1; i <= SERVERS; i++)
			sense_peer_remove(s->peer, i);
	if (s->free_at_report) {
		sense_peer_free(s->peer);
		s->peer = NULL;
	}
	if (s->remove_at_report || s->free_at_report)
		uv_stop(&s->loop);
}

static void on_patience(uv_timer_t *timer unused_arg)
{
	fail_msg("nothing happened any more");
}

static int set_up(void **state)
{
	struct stage *s = calloc(1, sizeof(*s));
	assert_non_null(s);
	uv_loop_init(&s->loop);
	uv_timer_init(&s->loop, &s->patience);
	uv_timer_init(&s->loop, &s->look);
	uv_timer_start(&s->patience, on_patience, PATIENCE_MS, 0);
	for (size_t i = 0; i < SERVERS; i++)
		server_start(&s->servers[i], &s->loop, false);
	s->probe = (struct conf_probe){.interval_ms = 20, .timeout_ms = 2000, .body_max = 65536, .n_peer = 1, .peer_ms = 20};
	text_copy(s->probe.peer[0], CONF_PATH_MAX, "/api/x");
	*state = s;
	return 0;
}

static int tear_down(void **state)
{
	struct stage *s = *state;
	sense_peer_free(s->peer);
	for (size_t i = 0; i < SERVERS; i++)
		server_stop(&s->servers[i]);
	uv_close((uv_handle_t *)&s->patience, NULL);
	uv_close((uv_handle_t *)&s->look, NULL);
	uv_run(&s->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&s->loop), 0); /* nothing is left in it */
	free(s);
	return 0;
}

static void add(struct stage *s, uint32_t number)
{
	struct sense_target target = {.instance = number, .vantage = VANTAGE_HOST, .probe = s->probe, .n_hosts = 1};
	target.address.address4.s_addr = htonl(INADDR_LOOPBACK);
	target.probe.port = (uint16_t)s->servers[number - 1].port;
	text_copy(target.hosts[0], SENSE_HOST_MAX, "203.0.113.10");
	sense_peer_add(s->peer, &target);
}

static void begin(struct stage *s, uint32_t n)
{
	s->peer = sense_peer_new(&s->loop, &s->probe, on_report, s);
	for (uint32_t i = 1; i <= n; i++)
		add(s, i);
}

static void on_look(uv_timer_t *timer)
{
	struct stage *s = timer->data;
	struct sense_peer_counts counts;
	sense_peer_counts(s->peer, &counts);
	if (counts.rounds >= s->rounds)
		uv_stop(&s->loop);
}

static struct sense_peer_counts await_rounds(struct stage *s, unsigned more)
{
	struct sense_peer_counts counts;
	sense_peer_counts(s->peer, &counts);
	s->rounds = counts.rounds + more;
	s->look.data = s;
	uv_timer_start(&s->look, on_look, 1, 1);
	uv_run(&s->loop, UV_RUN_DEFAULT);
	uv_timer_stop(&s->look);
	sense_peer_counts(s->peer, &counts);
	return counts;
}

static void says(struct stage *s, uint32_t number, const char *status, const char *body)
{
	s->servers[number - 1].mood = SERVER_SAYS;
	s->servers[number - 1].says_status = status;
	s->servers[number - 1].says = body;
}

static void who_is_alone_is_outvoted(void **state)
{
	struct stage *s = *state;
	begin(s, 3);
	struct sense_peer_counts counts = await_rounds(s, 10);
	assert_int_equal(s->n_reports, 0);
	assert_int_equal(counts.differed, 0);
	says(s, 2, "200 OK", "other\n");
	await_rounds(s, 20);
	assert_true(s->n_outvoted[2] > 0);
	assert_int_equal(s->n_reports, s->n_outvoted[2]);
	assert_non_null(strstr(s->detail, "GET /api/x: 200, 6 bytes, "));
	assert_non_null(strstr(s->detail, "; 2 others: 200, 14 bytes, "));
}

static void of_two_both_differ(void **state)
{
	struct stage *s = *state;
	begin(s, 2);
	await_rounds(s, 3);
	says(s, 2, "200 OK", "other\n");
	await_rounds(s, 20);
	assert_true(s->n_differs[1] > 0);
	assert_int_equal(s->n_differs[1], s->n_differs[2]);
	assert_int_equal(s->n_reports, s->n_differs[1] + s->n_differs[2]);
	assert_non_null(strstr(s->detail, "; kb-1: 200, 14 bytes, "));
}

static void how_often_is_asked_before(void **state)
{
	struct stage *s = *state;
	for (uint32_t n = 2; n <= 3; n++) {
		says(s, 2, "200 OK", "other\n");
		s->servers[0].n_requests = s->n_reports = 0;
		begin(s, n);
		await_rounds(s, 6);
		assert_int_equal(s->asked_before, n == 2 ? 3 : 2);
		sense_peer_free(s->peer);
	}
	s->peer = NULL;
}

/* The guests must not see by the request that they are compared: one client is pretended, and it asks each of them. */
static void all_are_asked_the_same(void **state)
{
	struct stage *s = *state;
	begin(s, 3);
	await_rounds(s, 20);
	for (unsigned n = 0; n < 20; n++)
		for (size_t i = 1; i < SERVERS; i++)
			assert_string_equal(s->servers[0].seen[n], s->servers[i].seen[n]);
	unsigned different = 0;
	for (unsigned n = 1; n < 20; n++)
		different += strcmp(s->servers[0].seen[n], s->servers[0].seen[0]) != 0;
	assert_true(different > 10);
	assert_non_null(strstr(s->servers[0].seen[0], "GET /api/x HTTP/1."));
	assert_non_null(strstr(s->servers[0].seen[0], "Host: 203.0.113.10"));
}

static void what_is_compared(void **state)
{
	static const struct {
		const char *status[2], *body[2];
		bool differ;
	} rows[] = {
	        {{"200 OK", "200 OK"}, {"{\"a\":1,\"b\":[2,{\"c\":3}]}", "{ \"b\": [2.0, {\"c\": 3}],\n\"a\": 1.0 }\n"}, false},
	        {{"200 OK", "200 OK"}, {"{\"a\":1}", "{\"a\":2}"}, true},
	        {{"200 OK", "200 OK"}, {"{\"a\":1}", "{\"a\":\"1\"}"}, true},
	        {{"200 OK", "200 OK"}, {"[1,2]", "[2,1]"}, true},
	        {{"200 OK", "200 OK"}, {"{\"a\":1,\"time\":5}", "{\"time\":6,\"a\":1}"}, false},
	        {{"200 OK", "200 OK"}, {"[{\"time\":[1]}]", "[{}]"}, false},
	        {{"200 OK", "200 OK"}, {"plain", "plain "}, true},
	        {{"200 OK", "200 OK"}, {"{\"a\":1,\"a\":1}", "{\"a\":1}"}, true}, /* two readings open: by its bytes */
	        {{"200 OK", "201 Made"}, {"x", "x"}, true},
	        {{"404 Not Found", "404 Not Found"}, {"<h1>nginx</h1>", "<h1>Apache</h1>"}, false},
	        {{"404 Not Found", "404 Not Found"}, {"{\"error\":\"no\"}", "{\"error\":\"yes\"}"}, true},
	        {{"404 Not Found", "200 OK"}, {"x", "x"}, true},
	        {{"302 Found", "302 Found"}, {"", "moved"}, false},
	        {{"204 None", "204 None"}, {"", ""}, false},
	};
	struct stage *s = *state;
	s->probe.n_peer_ignore = 1;
	text_copy(s->probe.peer_ignore[0], CONF_NAME_MAX, "time");
	for (size_t i = 0; i < countof(rows); i++) {
		says(s, 1, rows[i].status[0], rows[i].body[0]);
		says(s, 2, rows[i].status[1], rows[i].body[1]);
		begin(s, 2);
		struct sense_peer_counts counts = await_rounds(s, 2);
		if ((counts.differed > 0) != rows[i].differ)
			fail_msg("%s %s and %s %s %s", rows[i].status[0], rows[i].body[0], rows[i].status[1], rows[i].body[1],
			         rows[i].differ ? "are alike" : "differ");
		sense_peer_free(s->peer);
	}
	s->peer = NULL;
}

/* Whoever cannot answer says nothing about anybody, and two that remain are two. */
static void no_answer_abstains(void **state)
{
	static const enum server_mood moods[] = {SERVER_HANG,    SERVER_SILENT_END, SERVER_HALF,
	                                         SERVER_GARBAGE, SERVER_ERROR,      SERVER_ENDLESS};
	struct stage *s = *state;
	s->probe.timeout_ms = 100;
	begin(s, 3);
	for (size_t i = 0; i < countof(moods); i++) {
		s->servers[2].mood = moods[i];
		struct sense_peer_counts counts = await_rounds(s, 3);
		assert_int_equal(counts.differed, 0);
	}
	says(s, 1, "200 OK", "other\n");
	await_rounds(s, 10);
	assert_true(s->n_differs[1] > 0);
	assert_int_equal(s->n_differs[3] + s->n_outvoted[1] + s->n_outvoted[2] + s->n_outvoted[3], 0);
}

static void one_strange_round_is_nothing(void **state)
{
	struct stage *s = *state;
	static const char *const late[] = {"older\n",
	                                   SERVER_PAGE}; /* the question that follows at once finds it like the others */
	says(s, 1, "200 OK", NULL);
	s->servers[0].says_each = late;
	s->servers[0].n_says_each = countof(late);
	begin(s, 3);
	struct sense_peer_counts counts = await_rounds(s, 20);
	assert_int_equal(s->n_reports, 0);
	assert_in_range(counts.differed, 5, 20);
}

static void pieces_are_doubtful(void **state)
{
	static const char *const pieces[] = {"{\"val", "{\"value\"", "{", "{\"value\":2"};
	struct stage *s = *state;
	says(s, 1, "200 OK", "{\"value\":23}");
	says(s, 2, "200 OK", "{\"value\":23}");
	s->servers[2].mood = SERVER_SAYS_UNTIL_CLOSE;
	s->servers[2].says_each = pieces;
	s->servers[2].n_says_each = countof(pieces);
	begin(s, 3);
	await_rounds(s, 12);
	assert_int_equal(s->n_reports, 0);
	s->servers[2].n_says_each = 1;
	await_rounds(s, 6);
	assert_true(s->n_outvoted[3] > 0);
}

static void a_report_may_end_it(void **state)
{
	struct stage *s = *state;
	says(s, 2, "200 OK", "other\n");
	s->remove_at_report = true;
	begin(s, 2);
	uv_run(&s->loop, UV_RUN_DEFAULT);
	assert_int_equal(s->n_reports, 2); /* both, though they are gone since the first */
	s->remove_at_report = false;
	s->free_at_report = true;
	add(s, 1);
	add(s, 2);
	uv_run(&s->loop, UV_RUN_DEFAULT);
	assert_null(s->peer);
	assert_int_equal(s->n_reports, 3);
}

static void who_comes_and_goes_in_the_middle(void **state)
{
	struct stage *s = *state;
	s->servers[1].mood = SERVER_HANG;
	begin(s, 3);
	await_rounds(s, 0);
	while (s->servers[1].n_requests == 0)
		uv_run(&s->loop, UV_RUN_ONCE);
	sense_peer_remove(s->peer, 2); /* all wait for it */
	struct sense_peer_counts counts = await_rounds(s, 3);
	assert_int_equal(counts.differed, 0);
	s->servers[1].mood = SERVER_RIGHT;
	add(s, 2);
	await_rounds(s, 3);
	assert_int_equal(s->n_reports, 0);
}

static void the_paths_take_turns(void **state)
{
	struct stage *s = *state;
	s->probe.n_peer = 2;
	text_copy(s->probe.peer[1], CONF_PATH_MAX, "/robots.txt");
	begin(s, 2);
	await_rounds(s, 6);
	unsigned first = 0;
	for (unsigned n = 0; n < 6; n++)
		first += strncmp(s->servers[0].seen[n], "GET /api/x ", 11) == 0;
	assert_int_equal(first, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup_teardown(who_is_alone_is_outvoted, set_up, tear_down),
	        cmocka_unit_test_setup_teardown(of_two_both_differ, set_up, tear_down),
	        cmocka_unit_test_setup_teardown(how_often_is_asked_before, set_up, tear_down),
	        cmocka_unit_test_setup_teardown(all_are_asked_the_same, set_up, tear_down),
	        cmocka_unit_test_setup_teardown(what_is_compared, set_up, tear_down),
	        cmocka_unit_test_setup_teardown(no_answer_abstains, set_up, tear_down),
	        cmocka_unit_test_setup_teardown(one_strange_round_is_nothing, set_up, tear_down),
	        cmocka_unit_test_setup_teardown(pieces_are_doubtful, set_up, tear_down),
	        cmocka_unit_test_setup_teardown(a_report_may_end_it, set_up, tear_down),
	        cmocka_unit_test_setup_teardown(who_comes_and_goes_in_the_middle, set_up, tear_down),
	        cmocka_unit_test_setup_teardown(the_paths_take_turns, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
