/*
 * See peer.h. One prober for each instance, that asks only when told to; a timer for the rounds. A round ends when all have
 * answered or were given up; it is judged on the loop's next turn, so that no report comes from within a prober.
 */
#include "sense/peer.h"

#include "sense/answer.h"
#include "sense/canon.h"
#include "sense/prober.h"
#include "sense/vote.h"

#include "lib/bytes.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define JSON_MAX 65536    /* longer JSON is compared by its bytes */
#define OUTVOTED_ENOUGH 2 /* rounds in a row */
#define DIFFERS_ENOUGH 3

static_assert(CANON_NAME_MAX == CONF_NAME_MAX, "names of members come from the configuration");

struct voter {
	struct sense_prober prober; /* first */
	struct sense_peer *peer;
	bool waiting; /* for its answer in this round */
	struct vote_ballot ballot;
	uint16_t status;
	uint32_t size;
	struct sense_answer answer;
	uint8_t *body; /* for as long as a round lasts */
	char request[CLIENT_REQUEST_MAX];
};

struct sense_peer {
	uv_timer_t timer;
	bool gone;
	struct conf_probe probe;
	sense_report *report;
	void *arg;
	struct client_random random;
	struct voter *voters[VOTE_VOTERS_MAX];
	size_t n_voters;
	/* the round */
	bool asking;
	uint32_t path;
	struct client_shape shape;
	uint32_t host;
	bool ipv6;
	int64_t began_us;
	unsigned repeats;   /* so often in a row the same path was asked already, because of what was answered */
	struct vote before; /* the round before */
	struct sense_peer_counts counts;
};

/* ---- what is compared */

/* What the server says when it cannot answer is no answer: the other probes judge that. */
static bool is_comparable(const struct sense_answer *a)
{
	return a->state == ANSWER_FINISHED && !a->extra && !a->encoded && a->status < 500 && a->status != 408 && a->status != 429;
}

static void ballot_fill(struct voter *v)
{
	const struct sense_answer *a = &v->answer;
	const struct conf_probe *probe = &v->peer->probe;
	struct sha256_ctx hash;
	if (!is_comparable(a))
		return;
	v->ballot.answered = true;
	v->ballot.doubtful = a->until_close;
	v->status = a->status;
	v->size = a->body_size;
	sha256_init(&hash);
	sha256_update(&hash, sizeof(a->status), (const uint8_t *)&a->status);
	bool json =
	        a->body_size <= JSON_MAX && canon_json(v->body, a->body_size, probe->peer_ignore, probe->n_peer_ignore, &hash);
	if (!json && a->status < 300)
		sha256_update(&hash, sizeof(a->digest), a->digest);
	sha256_digest(&hash, sizeof(v->ballot.digest), v->ballot.digest);
}

/* ---- one question */

static struct voter *voter_of(struct sense_prober *p)
{
	return (struct voter *)p;
}

static void voter_begin(struct sense_prober *p, struct prober_slot *slot, enum sense_probe wanted unused_arg)
{
	struct voter *v = voter_of(p);
	const struct sense_peer *peer = v->peer;
	char address[SENSE_HOST_MAX];
	const char *host = p->target.n_hosts > 0 ? p->target.hosts[peer->host % p->target.n_hosts] : address;
	if (host == address)
		prober_address(p, slot, address);
	slot->request = v->request;
	slot->request_size = client_request(&peer->shape, peer->probe.peer[peer->path], host, CLIENT_CLOSES, v->request);
	answer_begin(&v->answer, p->target.probe.body_max);
	answer_keep(&v->answer, v->body, JSON_MAX);
}

static bool voter_heard(struct sense_prober *p, struct prober_slot *slot unused_arg, const uint8_t *bytes, size_t size,
                        struct prober_result *ret_result)
{
	struct voter *v = voter_of(p);
	if (v->waiting && (size > 0 ? answer_feed(&v->answer, bytes, size) : answer_end(&v->answer)) == ANSWER_MORE)
		return false;
	if (v->waiting)
		ballot_fill(v);
	*ret_result = (struct prober_result){.finding = FINDING_GOOD, .detail = "", .then = PROBER_CLOSE};
	return true;
}

static const struct prober_kind voter_kind = {.only_asked = true, .begin = voter_begin, .heard = voter_heard};

static void voter_rest(struct voter *v)
{
	free(v->body);
	v->body = NULL;
	v->waiting = false;
}

static void voter_free(struct voter *v)
{
	voter_rest(v);
	sense_prober_free(&v->prober);
}

/* ---- rounds */

static void round_schedule(struct sense_peer *peer, int64_t wait_ms);

static void round_end_if_through(struct sense_peer *peer)
{
	for (size_t i = 0; i < peer->n_voters; i++)
		if (peer->voters[i]->waiting)
			return;
	if (peer->asking)
		round_schedule(peer, 0);
}

/* Answered, or given up: both end the wait. */
static void on_voter(void *arg, const struct evidence *evidence unused_arg, const char *detail unused_arg)
{
	struct voter *v = arg;
	if (!v->waiting)
		return;
	voter_rest(v);
	round_end_if_through(v->peer);
}

static void round_begin(struct sense_peer *peer)
{
	client_shape_choose(&peer->random, &peer->shape);
	peer->host = client_random_below(&peer->random, SENSE_HOSTS_MAX * 16);
	peer->ipv6 = client_random_below(&peer->random, 2);
	peer->began_us = clock_monotonic_us();
	peer->asking = true;
	for (size_t i = 0; i < peer->n_voters; i++) {
		struct voter *v = peer->voters[i];
		v->ballot = (struct vote_ballot){.instance = v->prober.target.instance};
		v->body = malloc(JSON_MAX);
		if (!v->body)
			abort();
		v->waiting = true;
		prober_restart(&v->prober); /* an answer that is late from the last round would be taken for this one's */
		v->prober.use6_next = peer->ipv6;
		sense_prober_ask(&v->prober, SENSE_PROBE_ANY);
	}
}

static const struct voter *voter_find(const struct sense_peer *peer, uint32_t instance)
{
	for (size_t i = 0; i < peer->n_voters; i++)
		if (peer->voters[i]->prober.target.instance == instance)
			return peer->voters[i];
	return NULL;
}

struct accusation {
	struct evidence evidence;
	char detail[CONF_PATH_MAX + 80];
};

static void accuse(const struct sense_peer *peer, const struct vote *vote, const struct vote_ballot *b,
                   struct accusation *ret_accusation)
{
	size_t n_others = 0;
	const struct vote_ballot *other = vote_other(vote, b, &n_others);
	const struct voter *me = voter_find(peer, b->instance), *they = voter_find(peer, other->instance);
	char who[32];
	if (n_others > 1)
		snprintf(who, sizeof(who), "%zu others", n_others);
	else
		snprintf(who, sizeof(who), "kb-%u", other->instance);
	ret_accusation->evidence = (struct evidence){
	        .time_us = clock_monotonic_us(),
	        .instance = b->instance,
	        .vantage = VANTAGE_PEER,
	        .finding = b->result == VOTE_OUTVOTED ? FINDING_OUTVOTED : FINDING_DIFFERS,
	        .began_us = peer->began_us,
	};
	snprintf(ret_accusation->detail, sizeof(ret_accusation->detail),
	         "GET %.40s: %u, %u bytes, %02x%02x%02x; %s: %u, %u bytes, %02x%02x%02x", peer->probe.peer[peer->path],
	         me->status, me->size, b->digest[0], b->digest[1], b->digest[2], who, they->status, they->size, other->digest[0],
	         other->digest[1], other->digest[2]);
}

static bool is_enough(const struct vote_ballot *b)
{
	return b->row >= (b->result == VOTE_OUTVOTED ? OUTVOTED_ENOUGH : DIFFERS_ENOUGH);
}

/* When and about what is the next one? The same again while it is not known what to think of it: first soon, so that one who was
 * only a little later than the others has caught up; then in its turn. */
static void round_follow(struct sense_peer *peer, const struct vote *vote)
{
	bool open = false;
	for (size_t i = 0; i < vote->n; i++)
		open |= vote->ballots[i].row == peer->repeats + 1 && !is_enough(&vote->ballots[i]);
	bool soon = open && peer->repeats == 0;
	peer->before = *vote;
	peer->repeats = open ? peer->repeats + 1 : 0;
	if (!open)
		peer->path = (peer->path + 1) % (uint32_t)peer->probe.n_peer;
	uint32_t ms = peer->probe.peer_ms;
	round_schedule(peer, soon ? peer->probe.interval_ms : ms * 4 / 5 + client_random_below(&peer->random, ms * 2 / 5 + 1));
}

static void round_count(struct sense_peer *peer, struct vote *vote)
{
	size_t answered = 0, against = 0;
	vote_count(vote);
	for (size_t i = 0; i < vote->n; i++) {
		answered += vote->ballots[i].answered;
		against += vote->ballots[i].row;
	}
	peer->counts.rounds += answered > 1;
	peer->counts.differed += against > 0;
	if (peer->repeats == 0 || vote_follow(&peer->before, vote) || against == 0)
		return;
	peer->counts.moved++;
	text_copy(peer->counts.moving, sizeof(peer->counts.moving), peer->probe.peer[peer->path]);
}

static void round_judge(struct sense_peer *peer)
{
	struct vote vote = {.n = peer->n_voters};
	struct accusation accusations[VOTE_VOTERS_MAX];
	size_t n = 0;
	peer->asking = false;
	for (size_t i = 0; i < vote.n; i++)
		vote.ballots[i] = peer->voters[i]->ballot;
	round_count(peer, &vote);
	for (size_t i = 0; i < vote.n; i++)
		if (vote.ballots[i].row > 0 && is_enough(&vote.ballots[i]))
			accuse(peer, &vote, &vote.ballots[i], &accusations[n++]);
	round_follow(peer, &vote);
	for (size_t i = 0; i < n && !peer->gone; i++)
		peer->report(peer->arg, &accusations[i].evidence, accusations[i].detail);
}

static void on_timer(uv_timer_t *timer)
{
	struct sense_peer *peer = timer->data;
	if (peer->asking)
		round_judge(peer);
	else if (peer->n_voters > 1)
		round_begin(peer);
	else
		round_schedule(peer, peer->probe.peer_ms);
}

static void round_schedule(struct sense_peer *peer, int64_t wait_ms)
{
	uv_timer_start(&peer->timer, on_timer, (uint64_t)wait_ms, 0);
}

/* ---- who takes part */

void sense_peer_add(struct sense_peer *peer, const struct sense_target *target)
{
	assert(target->instance);
	sense_peer_remove(peer, target->instance);
	if (peer->n_voters == VOTE_VOTERS_MAX)
		return;
	struct voter *v = calloc(1, sizeof(*v));
	if (!v)
		abort();
	v->peer = peer;
	v->ballot.instance = target->instance;
	prober_start(&v->prober, peer->timer.loop, &voter_kind, target, on_voter, v);
	peer->voters[peer->n_voters++] = v;
}

void sense_peer_remove(struct sense_peer *peer, uint32_t instance)
{
	for (size_t i = 0; i < peer->n_voters; i++) {
		if (peer->voters[i]->prober.target.instance != instance)
			continue;
		voter_free(peer->voters[i]);
		peer->voters[i] = peer->voters[--peer->n_voters];
		round_end_if_through(peer);
		return;
	}
}

struct sense_peer *sense_peer_new(uv_loop_t *loop, const struct conf_probe *probe, sense_report *report, void *arg)
{
	struct sense_peer *peer = calloc(1, sizeof(*peer));
	if (!peer)
		abort();
	assert(probe->n_peer > 0);
	peer->probe = *probe;
	peer->report = report;
	peer->arg = arg;
	uv_timer_init(loop, &peer->timer);
	peer->timer.data = peer;
	round_schedule(peer, probe->peer_ms);
	return peer;
}

void sense_peer_counts(const struct sense_peer *peer, struct sense_peer_counts *ret_counts)
{
	*ret_counts = peer->counts;
}

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void sense_peer_free(struct sense_peer *peer)
{
	if (!peer)
		return;
	peer->gone = true;
	for (size_t i = 0; i < peer->n_voters; i++)
		voter_free(peer->voters[i]);
	peer->n_voters = 0;
	uv_close((uv_handle_t *)&peer->timer, on_closed);
}
