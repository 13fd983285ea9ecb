/*
 * See flows.h. A window's numbers only grow until it closes, so a number that is alarming in the middle of one is told at once,
 * and once more with the whole number when the window closes, if that is alarming.
 */
#include "sense/flows.h"

#include "lib/attr.h"
#include "sense/flow_table.h"
#include "sense/rhythm.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define PEERS_WAYS 4 /* a client has so many places in the memory */
#define PEERS_HOUR_US 3600000000
#define TRIED 1  /* marks of a place: it was tried, */
#define PASSED 2 /* a flow came of it, */
#define FAILED 4 /* and ended without an answer */

static const struct {
	const char *name, *unit;
	double least, times; /* judged: less is never alarming; so many times the usual may be */
	double share;        /* for each flow of clients, while it is not known what is usual under load */
	double scale;        /* of the number in the text */
} features[FLOWS_FEATURES] = {
        [FLOWS_FANOUT] = {"fan-out", "places", 8, 3, 1, 1},
        [FLOWS_OPENED] = {"opened", "connections", 50, 5, 5, 1},
        [FLOWS_FAILED] = {"failed", "places without an answer", 8, 3, 1, 1},
        [FLOWS_SENT] = {"sent", "KiB", 4 << 20, 5, 64 << 10, 1.0 / 1024},
        [FLOWS_NAMES] = {"names", "not found", 10, 5, 1, 1},
        [FLOWS_ASKED] = {"asked", "connections of clients", .scale = 1},
        [FLOWS_PEERS] = {"new clients", "in the last hour", .scale = 1},
        [FLOWS_SILENT] = {"silent", "connections of clients", .scale = 1},
        [FLOWS_IN] = {"received", "KiB", .scale = 1.0 / 1024},
        [FLOWS_OUT] = {"answered", "KiB", .scale = 1.0 / 1024},
};

struct peer {          /* a client that was seen */
	uint64_t hash; /* 0: free */
	int64_t last_us;
};

struct guest {
	uint32_t instance; /* 0: free */
	struct nflog_address address4, address6;
	bool works;
	int64_t window_us; /* when the window that is open began; 0: none is */
	size_t open;
	double now[FLOWS_FEATURES], last[FLOWS_FEATURES];
	bool told[FLOWS_JUDGED];                                           /* in this window */
	struct usual usual[FLOWS_FEATURES];                                /* of what is judged: without load */
	struct usual for_asked[FLOWS_JUDGED];                              /* under load, for each flow of clients */
	struct usual_sum sum[FLOWS_FEATURES], sum_for_asked[FLOWS_JUDGED]; /* of what was learnt before this window */
	struct flow_set places, tries;
	struct rhythm rhythm;
	char name[DNS_NAME_MAX]; /* the last that it asked for in vain */
	struct peer peers[FLOWS_PEERS_MAX];
	struct callers callers;
};

struct flows {
	uint64_t seed;
	flows_tell *tell;
	void *arg;
	struct flows_counts counts;
	struct flow_table *table;
	struct guest guests[FLOWS_GUESTS_MAX];
};

const char *flows_feature_name(enum flows_feature f)
{
	return features[f].name;
}

const char *flows_feature_unit(enum flows_feature f)
{
	return features[f].unit;
}

static struct guest *guest_of(struct flows *flows, uint32_t instance)
{
	for (size_t i = 0; i < FLOWS_GUESTS_MAX; i++)
		if (flows->guests[i].instance == instance)
			return &flows->guests[i];
	return NULL;
}

static uint64_t mix(uint64_t hash, uint64_t word)
{
	hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
	return hash ^ hash >> 29;
}

static uint64_t place_hash(const struct flows *flows, const struct nflog_address *address, uint16_t port, uint8_t protocol)
{
	uint64_t words[2];
	memcpy(words, address->bytes, sizeof(words));
	return mix(mix(mix(flows->seed, words[0]), words[1]), (uint64_t)address->ipv6 << 32 | (uint64_t)protocol << 16 | port);
}

/* ---- judging */

/* Under load it is compared with itself under load, for each flow of clients; without, with itself without. */
static bool is_loaded(const double *window)
{
	return window[FLOWS_ASKED] >= FLOWS_LOAD;
}

static bool is_judged(const struct guest *g, enum flows_feature f)
{
	return f < FLOWS_JUDGED && g->works && g->usual[FLOWS_ASKED].n >= FLOWS_LEARN;
}

/* What was usual once in the last minutes is usual enough. */
static double most_of(double bound, double most)
{
	return bound > most ? bound : most;
}

/* In a window like this, more than this is alarming. */
static double bound(const struct guest *g, enum flows_feature f, const double *window)
{
	const struct usual_sum *calm = &g->sum[f], *loaded = &g->sum_for_asked[f];
	double own = most_of(usual_bound(calm, features[f].times), calm->most);
	double share = most_of(usual_bound(loaded, features[f].times), loaded->most);
	if (g->for_asked[f].n < FLOWS_LEARN)
		share = features[f].share;
	return most_of(most_of(own, share * (1 + window[FLOWS_ASKED])), features[f].least);
}

static bool is_alarming(const struct guest *g, enum flows_feature f)
{
	return is_judged(g, f) && g->now[f] > bound(g, f, g->now);
}

static void usual_in(const struct guest *g, enum flows_feature f, const double *window, double *ret_usual, double *ret_most)
{
	bool loaded = f < FLOWS_JUDGED && is_loaded(window) && g->for_asked[f].n > 0;
	const struct usual_sum *sum = loaded ? &g->sum_for_asked[f] : &g->sum[f];
	double times = loaded ? 1 + window[FLOWS_ASKED] : 1;
	*ret_usual = sum->median * times;
	*ret_most = sum->most * times;
}

static void tell(struct flows *flows, struct guest *g, enum flows_feature f, int64_t now_us)
{
	char text[FLOWS_TEXT_MAX];
	double scale = features[f].scale, usual, most;
	usual_in(g, f, g->now, &usual, &most);
	snprintf(text, sizeof(text), "%s %.0f %s in %.1f s, usual %.0f (most %.0f)%s%s", features[f].name, g->now[f] * scale,
	         features[f].unit, (double)(now_us - g->window_us) / 1e6, usual * scale, most * scale,
	         f == FLOWS_NAMES ? ", last " : "", f == FLOWS_NAMES ? g->name : "");
	g->told[f] = true;
	flows->tell(flows->arg, g->instance, g->window_us, now_us, text);
}

static void count(struct flows *flows, struct guest *g, enum flows_feature f, double more, int64_t now_us)
{
	g->now[f] += more;
	if (f < FLOWS_JUDGED && !g->told[f] && is_alarming(g, f))
		tell(flows, g, f, now_us);
}

/* ---- windows */

static void window_open(struct guest *g, int64_t now_us)
{
	memset(g->now, 0, sizeof(g->now));
	memset(g->told, 0, sizeof(g->told));
	flow_set_clear(&g->places);
	flow_set_clear(&g->tries);
	g->window_us = now_us;
	for (enum flows_feature f = 0; f < FLOWS_FEATURES; f++)
		usual_sum(&g->usual[f], &g->sum[f]);
	for (enum flows_feature f = 0; f < FLOWS_JUDGED; f++)
		usual_sum(&g->for_asked[f], &g->sum_for_asked[f]);
}

/* Places that a flow was refused at by the rules have tries and no flow. */
static double places_failed(const struct guest *g)
{
	double n = 0;
	for (size_t i = 0; g->places.n > 0 && i < FLOW_SET_SLOTS; i++)
		if (g->places.slots[i])
			n += (g->places.marks[i] & FAILED) || (g->places.marks[i] & (TRIED | PASSED)) == TRIED;
	return n;
}

static void window_learn(struct guest *g, enum flows_feature f)
{
	if (f < FLOWS_JUDGED && is_loaded(g->now))
		usual_learn(&g->for_asked[f], g->now[f] / (1 + g->now[FLOWS_ASKED]));
	else
		usual_learn(&g->usual[f], g->now[f]);
}

static void window_close(struct flows *flows, struct guest *g, int64_t now_us)
{
	g->now[FLOWS_FAILED] = places_failed(g);
	for (enum flows_feature f = 0; f < FLOWS_FEATURES; f++) {
		if (is_alarming(g, f))
			tell(flows, g, f, now_us);
		else if (g->works)
			window_learn(g, f);
	}
	memcpy(g->last, g->now, sizeof(g->last));
}

void flows_tick(struct flows *flows, int64_t now_us)
{
	for (size_t i = 0; i < FLOWS_GUESTS_MAX; i++) {
		struct guest *g = &flows->guests[i];
		if (g->instance == 0 || now_us - g->window_us < FLOWS_WINDOW_US)
			continue;
		/* we were not looking for a long time: what came meanwhile came in one lump */
		if (g->window_us && now_us - g->window_us < 2 * (int64_t)FLOWS_WINDOW_US)
			window_close(flows, g, now_us);
		window_open(g, now_us);
	}
}

void flows_work(struct flows *flows, uint32_t instance, bool at_work, int64_t now_us)
{
	struct guest *g = instance ? guest_of(flows, instance) : NULL;
	if (!g || g->works == at_work)
		return;
	g->works = at_work;
	window_open(g, now_us);
}

/* ---- facts */

/* A client that was not seen for an hour is new. Each has few places where it may be remembered; whoever was not seen for the
 * longest time gives way. */
static bool peer_is_new(const struct flows *flows, struct guest *g, const struct nflog_address *client, int64_t now_us)
{
	uint64_t hash = place_hash(flows, client, 0, 0) | 1;
	struct peer *way = &g->peers[hash / 2 % (FLOWS_PEERS_MAX / PEERS_WAYS) * PEERS_WAYS], *oldest = way;
	for (size_t i = 0; i < PEERS_WAYS; i++) {
		if (way[i].hash == hash) {
			bool forgotten = now_us - way[i].last_us > PEERS_HOUR_US;
			way[i].last_us = now_us;
			return forgotten;
		}
		if (way[i].last_us < oldest->last_us)
			oldest = &way[i];
	}
	*oldest = (struct peer){hash, now_us};
	return true;
}

static bool is_own(const struct guest *g, const struct nflog_address *address)
{
	const struct nflog_address *own = address->ipv6 ? &g->address6 : &g->address4;
	return memcmp(own->bytes, address->bytes, sizeof(own->bytes)) == 0;
}

static void call(struct flows *flows, struct guest *g, const struct rhythm_call *made, uint8_t mark, int64_t now_us)
{
	char text[FLOWS_TEXT_MAX];
	uint64_t place = place_hash(flows, &made->to, made->port, made->protocol);
	uint8_t *marks = flow_set_add(&g->places, place);
	uint8_t *tried = made->from_port ? flow_set_add(&g->tries, mix(place, made->from_port)) : NULL;
	if (marks && !(*marks & TRIED))
		count(flows, g, FLOWS_FANOUT, 1, now_us);
	if (marks)
		*marks |= mark;
	if (!tried || *tried == 0)
		count(flows, g, FLOWS_OPENED, 1, now_us);
	if (tried)
		*tried = TRIED;
	bool fresh = g->usual[FLOWS_ASKED].n < FLOWS_LEARN;
	if (rhythm_add(&g->rhythm, made, fresh, now_us, text, sizeof(text)) && g->works)
		flows->tell(flows->arg, g->instance, now_us, now_us, text);
}

void flows_tried(struct flows *flows, uint32_t instance, const struct nflog_address *to, uint16_t port, uint8_t protocol,
                 uint16_t from_port, int64_t now_us)
{
	struct guest *g = instance ? guest_of(flows, instance) : NULL;
	struct rhythm_call made = {.to = *to, .port = port, .from_port = from_port, .protocol = protocol};
	if (g)
		call(flows, g, &made, TRIED, now_us);
}

void flows_named(struct flows *flows, uint32_t instance, const struct dns_answer *answer, int64_t now_us)
{
	struct guest *g = instance ? guest_of(flows, instance) : NULL;
	if (!g || answer->found)
		return;
	memcpy(g->name, answer->name, sizeof(g->name));
	count(flows, g, FLOWS_NAMES, 1, now_us);
}

static void flow_began(struct flows *flows, struct guest *g, const struct conntrack_flow *flow, bool by_guest, int64_t now_us)
{
	struct flow_open evicted, fresh = {flow->id, g->instance, by_guest, flow->asks.source_port, now_us};
	if (!flow_table_add(flows->table, &fresh, &evicted))
		return;
	flows->counts.began++;
	g->open++;
	struct guest *loser = evicted.instance ? guest_of(flows, evicted.instance) : NULL;
	if (evicted.instance)
		flows->counts.evicted++;
	if (loser)
		loser->open--;
	if (!by_guest)
		callers_began(&g->callers, &flow->asks.source, now_us);
	if (flow->listed) /* when it began is not known */
		return;
	if (by_guest) {
		struct rhythm_call made = {flow->asks.destination, flow->asks.destination_port, flow->asks.source_port,
		                           flow->asks.protocol};
		call(flows, g, &made, TRIED | PASSED, now_us);
		return;
	}
	count(flows, g, FLOWS_ASKED, 1, now_us);
	if (peer_is_new(flows, g, &flow->asks.source, now_us))
		count(flows, g, FLOWS_PEERS, 1, now_us);
}

static void flow_ended(struct flows *flows, struct guest *g, const struct conntrack_flow *flow, bool by_guest, int64_t now_us)
{
	struct flow_open gone;
	const struct conntrack_tuple *asks = &flow->asks;
	flows->counts.ended++;
	if (flow_table_take(flows->table, flow->id, asks->source_port, &gone) && gone.instance == g->instance)
		g->open--;
	if (by_guest) {
		bool refused = flow->reset && flow->answered.packets <= 1;
		uint8_t *marks = flow->replied && !refused
		                         ? NULL
		                         : flow_set_add(&g->places, place_hash(flows, &asks->destination, asks->destination_port,
		                                                               asks->protocol));
		if (marks)
			*marks |= FAILED;
		count(flows, g, FLOWS_SENT, (double)flow->asked.bytes, now_us);
		return;
	}
	callers_ended(&g->callers, &asks->source, now_us);
	count(flows, g, FLOWS_SILENT, flow->replied ? 0 : 1, now_us);
	count(flows, g, FLOWS_IN, (double)flow->asked.bytes, now_us);
	count(flows, g, FLOWS_OUT, (double)flow->answered.bytes, now_us);
}

/* What this host asks a guest by its own address is a probe and not a client. */
void flows_flow(struct flows *flows, uint32_t instance, const struct conntrack_flow *flow, int64_t now_us)
{
	struct guest *g = instance ? guest_of(flows, instance) : NULL;
	if (!g || is_own(g, &flow->asks.destination))
		return;
	bool by_guest = is_own(g, &flow->asks.source);
	if (flow->ended)
		flow_ended(flows, g, flow, by_guest, now_us);
	else
		flow_began(flows, g, flow, by_guest, now_us);
}

void flows_begin(struct flows *flows)
{
	flow_table_forget(flows->table, 0);
	for (size_t i = 0; i < FLOWS_GUESTS_MAX; i++) {
		flows->guests[i].open = 0;
		callers_lost(&flows->guests[i].callers);
	}
}

void flows_lost(struct flows *flows)
{
	flows->counts.lost++;
	flows_begin(flows);
}

/* ---- life, and looking */

struct flows *flows_new(uint64_t seed, flows_tell *tell_it, void *arg)
{
	struct flows *flows = calloc(1, sizeof(*flows));
	if (!flows)
		abort();
	flows->seed = seed;
	flows->tell = tell_it;
	flows->arg = arg;
	flows->table = flow_table_new();
	return flows;
}

void flows_free(struct flows *flows)
{
	if (!flows)
		return;
	flow_table_free(flows->table);
	free(flows);
}

void flows_add(struct flows *flows, uint32_t instance, const struct nflog_address *address4, const struct nflog_address *address6)
{
	assert(instance != 0);
	struct guest *g = guest_of(flows, instance);
	if (!g && (g = guest_of(flows, 0)))
		memset(g, 0, sizeof(*g)); /* the last one may have gone in the middle of something */
	if (!g)
		return;
	g->instance = instance;
	g->address4 = *address4;
	g->address6 = *address6;
}

void flows_cut(struct flows *flows, uint32_t instance)
{
	struct guest *g = instance ? guest_of(flows, instance) : NULL;
	if (!g)
		return;
	flow_table_forget(flows->table, instance);
	g->open = 0;
	callers_lost(&g->callers);
}

void flows_remove(struct flows *flows, uint32_t instance)
{
	struct guest *g = instance ? guest_of(flows, instance) : NULL;
	if (!g)
		return;
	flow_table_forget(flows->table, instance);
	memset(g, 0, sizeof(*g));
}

bool flows_look(const struct flows *flows, uint32_t instance, struct flows_look ret_looks[static FLOWS_FEATURES],
                size_t *ret_windows, size_t *ret_open)
{
	const struct guest *g = NULL;
	for (size_t i = 0; instance && i < FLOWS_GUESTS_MAX && !g; i++)
		g = flows->guests[i].instance == instance ? &flows->guests[i] : NULL;
	if (!g)
		return false;
	for (enum flows_feature f = 0; f < FLOWS_FEATURES; f++) {
		double usual, most, scale = features[f].scale, alarming = is_judged(g, f) ? bound(g, f, g->last) : 0;
		usual_in(g, f, g->last, &usual, &most);
		ret_looks[f] = (struct flows_look){g->last[f] * scale, usual * scale, most * scale, alarming * scale};
	}
	*ret_windows = g->usual[FLOWS_ASKED].n;
	*ret_open = g->open;
	return true;
}

size_t flows_callers(const struct flows *flows, uint32_t instance, int64_t since_us,
                     struct nflog_address ret_networks[static CALLERS_MAX])
{
	for (size_t i = 0; instance && i < FLOWS_GUESTS_MAX; i++)
		if (flows->guests[i].instance == instance)
			return callers_since(&flows->guests[i].callers, since_us, ret_networks);
	return 0;
}

void flows_counts(const struct flows *flows, struct flows_counts *ret_counts)
{
	*ret_counts = flows->counts;
	ret_counts->open = flow_table_count(flows->table);
}
