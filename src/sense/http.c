/*
 * What a probe by HTTP asks and what it makes of the answer. The mix is drawn anew each time, from the kernel's random numbers:
 * content whose bytes the manifest knows, now and then any JSON, and once in a while a challenge that only a living application
 * with this instance's key can answer. Whether a guest can tell probes from clients is client.c's business.
 */
#include "sense/answer.h"
#include "sense/prober.h"

#include "lib/bytes.h"

#include <nettle/hmac.h>
#include <stdio.h>
#include <string.h>

#define KEEP_UP_TO 5 /* requests on one connection */

struct exchange { /* what one slot is about */
	struct client_shape shape;
	uint32_t host;
	char path[CONF_PATH_MAX + 80];
	size_t shown; /* of path in details: not the nonce */
	int64_t began_real_us;
	struct answer_expected expected;
	struct sense_answer answer;
	char request[CLIENT_REQUEST_MAX];
};

struct http_prober {
	struct sense_prober prober; /* first */
	int64_t challenge_us;       /* when the next challenge is due */
	bool doubted;               /* `doubtful` holds the hash of other bytes that ended with the connection, seen last */
	uint8_t doubtful[32];
	char detail[CONF_PATH_MAX + ANSWER_DETAIL_MAX + 16];
	struct exchange exchanges[PROBER_SLOTS];
};

static struct http_prober *http_of(struct sense_prober *p)
{
	return (struct http_prober *)p;
}

/* ---- what to ask */

static const uint8_t *root_hash(const struct sense_target *target)
{
	for (size_t i = 0; i < target->n_content; i++)
		if (strcmp(target->content[i].path, "/") == 0)
			return target->content[i].sha256;
	return NULL;
}

static void expect_challenge(struct http_prober *http, struct exchange *x)
{
	const struct sense_target *target = &http->prober.target;
	uint8_t nonce[32];
	char text[65];
	struct hmac_sha256_ctx hmac;
	client_random_fill(&http->prober.random, nonce, sizeof(nonce));
	bytes_to_hex(nonce, sizeof(nonce), text);
	hmac_sha256_set_key(&hmac, sizeof(target->key), target->key);
	hmac_sha256_update(&hmac, sizeof(nonce), nonce);
	hmac_sha256_update(&hmac, 32, root_hash(target));
	x->expected.kind = ANSWER_CHALLENGE;
	hmac_sha256_digest(&hmac, sizeof(x->expected.sha256), x->expected.sha256);
	explicit_bzero(&hmac, sizeof(hmac));
	const char *path = target->probe.challenge_path;
	snprintf(x->path, sizeof(x->path), "%s%cnonce=%s", path, strchr(path, '?') ? '&' : '?', text);
	x->shown = strlen(path);
	http->challenge_us = clock_monotonic_us() + (int64_t)target->probe.challenge_ms * 1000;
}

static void expect_json(struct http_prober *http, struct exchange *x)
{
	x->expected.kind = ANSWER_JSON;
	text_copy(x->path, sizeof(x->path), http->prober.target.json_path);
	x->shown = strlen(x->path);
}

static void expect_content(struct http_prober *http, struct exchange *x)
{
	const struct sense_target *target = &http->prober.target;
	x->expected.kind = target->n_content > 0 ? ANSWER_CONTENT : ANSWER_PLAIN;
	if (target->n_content > 0) {
		uint32_t which = client_random_below(&http->prober.random, (uint32_t)target->n_content);
		memcpy(x->expected.sha256, target->content[which].sha256, sizeof(x->expected.sha256));
		text_copy(x->path, sizeof(x->path), target->content[which].path);
	} else {
		text_copy(x->path, sizeof(x->path), target->probe.n_content > 0 ? target->probe.content[0] : "/");
	}
	x->shown = strlen(x->path);
}

static void choose_question(struct http_prober *http, struct exchange *x, enum sense_probe wanted)
{
	const struct sense_target *target = &http->prober.target;
	bool challenge_due = target->probe.challenge && clock_monotonic_us() >= http->challenge_us;
	if (!target->content_proves && root_hash(target) &&
	    (wanted == SENSE_PROBE_CHALLENGE || (wanted == SENSE_PROBE_ANY && challenge_due)))
		expect_challenge(http, x);
	else if (wanted == SENSE_PROBE_ANY && target->json_path[0] && client_random_below(&http->prober.random, 8) == 0)
		expect_json(http, x);
	else
		expect_content(http, x);
}

static void http_begin(struct sense_prober *p, struct prober_slot *slot, enum sense_probe wanted)
{
	struct http_prober *http = http_of(p);
	struct exchange *x = &http->exchanges[slot->number];
	if (!slot->reused) { /* another client */
		client_shape_choose(&p->random, &x->shape);
		x->host = client_random_below(&p->random, SENSE_HOSTS_MAX * 16);
		slot->may_ask = client_random_below(&p->random, 2) ? 1 : 2 + client_random_below(&p->random, KEEP_UP_TO - 1);
	}
	char address[SENSE_HOST_MAX];
	const char *host = p->target.n_hosts > 0 ? p->target.hosts[x->host % p->target.n_hosts] : address;
	if (host == address)
		prober_address(p, slot, address);
	choose_question(http, x, wanted);
	slot->request = x->request;
	slot->request_size =
	        client_request(&x->shape, x->path, host, slot->may_ask > 1 ? CLIENT_KEEPS : CLIENT_CLOSES, x->request);
	x->began_real_us = clock_real_us();
	answer_begin(&x->answer, p->target.probe.body_max);
}

/* ---- what the answer is worth */

static void expect_clock(struct sense_prober *p, const struct prober_slot *slot, struct exchange *x)
{
	int64_t slack_us = (int64_t)p->target.clock_slack_ms * 1000;
	int64_t now_us = clock_real_us();
	int64_t stepped_us = now_us - x->began_real_us - (clock_monotonic_us() - slot->began_us);
	/* our own clock was set in the meantime: by which of the two should the guest's be measured? */
	x->expected.check_clock = slack_us > 0 && stepped_us < slack_us / 2 && stepped_us > -slack_us / 2;
	x->expected.clock_from_us = x->began_real_us - slack_us;
	x->expected.clock_to_us = now_us + slack_us;
}

/* Bytes that end with the connection may be a page cut short by a dying server; the same ones twice are not. */
static enum finding judge_doubtful(struct http_prober *http, const struct exchange *x, enum finding finding, const char **detail)
{
	const struct sense_answer *answer = &x->answer;
	if (x->expected.kind != ANSWER_CONTENT || !answer->until_close || answer->state != ANSWER_FINISHED)
		return finding;
	bool same = http->doubted && memcmp(http->doubtful, answer->digest, sizeof(http->doubtful)) == 0;
	http->doubted = finding == FINDING_ERROR;
	memcpy(http->doubtful, answer->digest, sizeof(http->doubtful));
	if (finding != FINDING_ERROR || !same || answer->encoded)
		return finding;
	*detail = "the same other content again";
	return FINDING_WRONG_CONTENT;
}

static bool is_proof(const struct sense_target *target, const struct exchange *x)
{
	enum answer_kind content = target->n_content > 0 ? ANSWER_CONTENT : ANSWER_PLAIN;
	return x->expected.kind == ANSWER_CHALLENGE || (target->content_proves && x->expected.kind == content);
}

static bool http_heard(struct sense_prober *p, struct prober_slot *slot, const uint8_t *bytes, size_t size,
                       struct prober_result *ret_result)
{
	struct http_prober *http = http_of(p);
	struct exchange *x = &http->exchanges[slot->number];
	enum answer_progress progress = size > 0 ? answer_feed(&x->answer, bytes, size) : answer_end(&x->answer);
	if (progress == ANSWER_MORE)
		return false;
	expect_clock(p, slot, x);
	ret_result->finding = answer_judge(&x->answer, &x->expected, &ret_result->detail);
	ret_result->finding = judge_doubtful(http, x, ret_result->finding, &ret_result->detail);
	ret_result->then = PROBER_CLOSE;
	if (ret_result->finding == FINDING_GOOD && answer_reusable(&x->answer) && slot->may_ask > 0)
		ret_result->then = PROBER_KEEP;
	else if (ret_result->finding == FINDING_GOOD && size > 0 && x->answer.says_close)
		ret_result->then = PROBER_PART;
	if (ret_result->finding == FINDING_GOOD && is_proof(&p->target, x))
		ret_result->finding = FINDING_PROVEN;
	return true;
}

static const char *http_describe(struct sense_prober *p, struct prober_slot *slot, const char *detail)
{
	struct http_prober *http = http_of(p);
	const struct exchange *x = &http->exchanges[slot->number];
	snprintf(http->detail, sizeof(http->detail), "GET %.*s: %s", (int)x->shown, x->path, detail);
	for (char *c = http->detail; *c; c++)
		if (*c < 0x20 || *c > 0x7e)
			*c = '?';
	return http->detail;
}

static const struct prober_kind http_kind = {.begin = http_begin, .heard = http_heard, .describe = http_describe};

struct sense_prober *http_prober_new(uv_loop_t *loop, const struct sense_target *target, sense_report *report, void *arg)
{
	struct http_prober *http = calloc(1, sizeof(*http));
	if (!http)
		abort();
	prober_start(&http->prober, loop, &http_kind, target, report, arg);
	return &http->prober;
}
