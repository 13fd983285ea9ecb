/*
 * See flow_table.h. Entries are numbered, not pointed at; a chain for each bucket, and one list from the oldest to the newest.
 * The kernel's id of a flow is a hash with a secret of its own, so no client can choose a bucket.
 */
#include "sense/flow_table.h"

#include <stdlib.h>
#include <string.h>

#define NOWHERE UINT32_MAX
#define BUCKETS 32768

struct entry {
	struct flow_open flow;
	uint32_t next_in_bucket; /* of a free one: the next free */
	uint32_t older, newer;
};

struct flow_table {
	uint32_t free, oldest, newest;
	uint32_t untouched; /* entries from here on were never used: memory that is not asked for is not there */
	size_t count;
	uint32_t buckets[BUCKETS];
	struct entry entries[FLOW_TABLE_MAX];
};

struct flow_table *flow_table_new(void)
{
	struct flow_table *t = calloc(1, sizeof(*t));
	if (!t)
		abort();
	flow_table_forget(t, 0);
	return t;
}

void flow_table_free(struct flow_table *t)
{
	free(t);
}

size_t flow_table_count(const struct flow_table *t)
{
	return t->count;
}

/* Where its number is written: in a bucket, or in the one before it. Points at NOWHERE when it is not there. */
static uint32_t *place_of(struct flow_table *t, uint32_t id, uint16_t port)
{
	uint32_t *at = &t->buckets[id % BUCKETS];
	while (*at != NOWHERE && (t->entries[*at].flow.id != id || t->entries[*at].flow.port != port))
		at = &t->entries[*at].next_in_bucket;
	return at;
}

static void remove_at(struct flow_table *t, uint32_t *at, struct flow_open *ret_flow)
{
	uint32_t number = *at;
	struct entry *e = &t->entries[number];
	*ret_flow = e->flow;
	*at = e->next_in_bucket;
	*(e->older == NOWHERE ? &t->oldest : &t->entries[e->older].newer) = e->newer;
	*(e->newer == NOWHERE ? &t->newest : &t->entries[e->newer].older) = e->older;
	e->next_in_bucket = t->free;
	t->free = number;
	t->count--;
}

bool flow_table_take(struct flow_table *t, uint32_t id, uint16_t port, struct flow_open *ret_flow)
{
	uint32_t *at = place_of(t, id, port);
	if (*at == NOWHERE)
		return false;
	remove_at(t, at, ret_flow);
	return true;
}

static void evict(struct flow_table *t, struct flow_open *ret_evicted)
{
	const struct flow_open *oldest = &t->entries[t->oldest].flow;
	remove_at(t, place_of(t, oldest->id, oldest->port), ret_evicted);
}

bool flow_table_add(struct flow_table *t, const struct flow_open *flow, struct flow_open *ret_evicted)
{
	*ret_evicted = (struct flow_open){0};
	if (*place_of(t, flow->id, flow->port) != NOWHERE)
		return false;
	if (t->free == NOWHERE && t->untouched == FLOW_TABLE_MAX)
		evict(t, ret_evicted);
	uint32_t number = t->free == NOWHERE ? t->untouched++ : t->free, *bucket = &t->buckets[flow->id % BUCKETS];
	struct entry *e = &t->entries[number];
	if (number == t->free)
		t->free = e->next_in_bucket;
	*e = (struct entry){*flow, *bucket, t->newest, NOWHERE};
	*bucket = number;
	*(t->newest == NOWHERE ? &t->oldest : &t->entries[t->newest].newer) = number;
	t->newest = number;
	t->count++;
	return true;
}

/* All at once is how a table begins, too. */
static void empty(struct flow_table *t)
{
	memset(t->buckets, 0xff, sizeof(t->buckets));
	t->free = t->oldest = t->newest = NOWHERE;
	t->untouched = 0;
	t->count = 0;
}

void flow_table_forget(struct flow_table *t, uint32_t instance)
{
	struct flow_open gone;
	if (instance == 0) {
		empty(t);
		return;
	}
	for (uint32_t i = t->oldest, next; i != NOWHERE; i = next) {
		next = t->entries[i].newer;
		if (t->entries[i].flow.instance == instance)
			remove_at(t, place_of(t, t->entries[i].flow.id, t->entries[i].flow.port), &gone);
	}
}

/* ---- sets */

uint8_t *flow_set_add(struct flow_set *set, uint64_t hash)
{
	hash += hash == 0;
	size_t at = hash % FLOW_SET_SLOTS;
	while (set->slots[at] && set->slots[at] != hash)
		at = (at + 1) % FLOW_SET_SLOTS;
	if (set->slots[at] == hash)
		return &set->marks[at];
	if (set->n == FLOW_SET_MAX)
		return NULL;
	set->slots[at] = hash;
	set->marks[at] = 0;
	set->n++;
	return &set->marks[at];
}

void flow_set_clear(struct flow_set *set)
{
	if (set->n > 0)
		*set = (struct flow_set){0};
}
