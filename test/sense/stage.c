/* See stage.h. */
#include "stage.h"

#include "lib/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#define PATIENCE_MS 10000 /* a test that waits longer has failed */

static void on_report(void *arg, const struct evidence *evidence, const char *detail)
{
	struct stage *s = arg;
	s->n_reports++;
	s->n_found[evidence->finding]++;
	s->last = *evidence;
	assert_true(evidence->began_us <= evidence->time_us);
	text_copy(s->detail, sizeof(s->detail), detail);
	assert_int_equal(*detail == '\0', finding_class(evidence->finding) == FINDING_CLASS_GOOD);
	if (s->free_at_report) {
		sense_prober_free(s->prober);
		s->prober = NULL;
	}
	if (s->n_reports >= s->stop_at)
		uv_stop(&s->loop);
}

static void on_patience(uv_timer_t *timer unused_arg)
{
	fail_msg("nothing happened any more");
}

void await(struct stage *s, unsigned n_more)
{
	s->stop_at = s->n_reports + n_more;
	uv_run(&s->loop, UV_RUN_DEFAULT);
}

void await_finding(struct stage *s, enum finding finding)
{
	unsigned before = s->n_found[finding];
	for (int i = 0; i < 100 && s->n_found[finding] == before; i++)
		await(s, 1);
	assert_int_not_equal(s->n_found[finding], before);
}

int stage_set_up(void **state)
{
	struct stage *s = calloc(1, sizeof(*s));
	assert_non_null(s);
	uv_loop_init(&s->loop);
	uv_timer_init(&s->loop, &s->patience);
	uv_timer_start(&s->patience, on_patience, PATIENCE_MS, 0);
	server_start(&s->server, &s->loop, false);
	s->target = (struct sense_target){.instance = 7, .vantage = VANTAGE_GUEST, .n_content = 1, .clock_slack_ms = 2000};
	s->target.address.address4.s_addr = htonl(INADDR_LOOPBACK);
	s->target.probe =
	        (struct conf_probe){.interval_ms = 20, .timeout_ms = 2000, .port = (uint16_t)s->server.port, .body_max = 65536};
	text_copy(s->target.probe.challenge_path, CONF_PATH_MAX, "/api/challenge");
	text_copy(s->target.content[0].path, CONF_PATH_MAX, "/");
	server_page_hash(s->target.content[0].sha256);
	memcpy(s->target.key, s->server.key, 32);
	*state = s;
	return 0;
}

int stage_tear_down(void **state)
{
	struct stage *s = *state;
	sense_prober_free(s->prober);
	server_stop(&s->server);
	uv_close((uv_handle_t *)&s->patience, NULL);
	uv_run(&s->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&s->loop), 0); /* nothing is left in it */
	free(s);
	return 0;
}

void ask_plainly(struct stage *s, enum conf_probe_protocol protocol, const char *send, const char *expect)
{
	struct conf_probe *probe = &s->target.probe;
	probe->protocol = protocol;
	s->target.content_proves = true;
	s->target.n_content = 0;
	probe->send.size = strlen(send);
	memcpy(probe->send.bytes, send, probe->send.size);
	probe->expect.size = strlen(expect);
	memcpy(probe->expect.bytes, expect, probe->expect.size);
}

void begin(struct stage *s)
{
	unsigned before = s->n_reports;
	uv_update_time(&s->loop); /* what was made ready for it took its time */
	uv_timer_start(&s->patience, on_patience, PATIENCE_MS, 0);
	sense_prober_free(s->prober);
	s->prober = sense_prober_new(&s->loop, &s->target, on_report, s);
	assert_int_equal(s->n_reports, before);
}
