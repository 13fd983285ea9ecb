/*
 * Pending SYNs: a hash over the connection for answers, and for each guest a list in order of time for deadlines. Each
 * guest has its own idea of what is usual, a mean that follows the last handshakes; nothing of one guest delays
 * the judgement of another. Entries are numbered, not pointed at, so that the table is one flat block.
 */
#include "sense/syns.h"

#include "lib/attr.h"

#include <assert.h>
#include <string.h>

#define NOWHERE UINT16_MAX
#define BUCKETS 1024

struct entry {
	struct syn_key key;
	int64_t began_us;
	uint16_t bucket, next_in_bucket;
	uint16_t older, newer; /* of the same guest */
};

struct guest {
	uint32_t instance; /* 0: free */
	uint16_t oldest, newest, count;
	int64_t usual_us; /* 0: none seen */
};

struct syn_table {
	int64_t least_us;
	uint64_t seed, displaced;
	uint16_t free; /* chain by next_in_bucket */
	size_t count;
	uint16_t buckets[BUCKETS];
	struct guest guests[SYNS_GUESTS_MAX];
	struct entry entries[SYNS_MAX];
};

struct syn_table *syn_table_new(int64_t least_us, uint64_t seed)
{
	struct syn_table *t = calloc(1, sizeof(*t));
	if (!t)
		abort();
	t->least_us = least_us;
	t->seed = seed;
	memset(t->buckets, 0xff, sizeof(t->buckets));
	for (uint16_t i = 0; i < SYNS_MAX; i++)
		t->entries[i].next_in_bucket = i + 1 < SYNS_MAX ? (uint16_t)(i + 1) : NOWHERE;
	return t;
}

void syn_table_free(struct syn_table *t)
{
	free(t);
}

/* ---- finding */

static uint64_t mix(uint64_t hash, uint64_t word)
{
	hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
	return hash ^ hash >> 29;
}

static uint16_t bucket_of(const struct syn_table *t, const struct syn_key *key)
{
	uint64_t words[2], hash = t->seed;
	memcpy(words, key->client.bytes, sizeof(words));
	hash = mix(mix(hash, words[0]), words[1]);
	hash = mix(hash, (uint64_t)key->instance << 32 | (uint32_t)key->client_port << 16 | key->port);
	return (uint16_t)((hash ^ t->seed >> 7) % BUCKETS);
}

static bool key_equals(const struct syn_key *a, const struct syn_key *b)
{
	return a->instance == b->instance && a->client_port == b->client_port && a->port == b->port &&
	       a->client.ipv6 == b->client.ipv6 && memcmp(a->client.bytes, b->client.bytes, sizeof(a->client.bytes)) == 0;
}

static uint16_t find(const struct syn_table *t, const struct syn_key *key)
{
	uint16_t at = t->buckets[bucket_of(t, key)];
	while (at != NOWHERE && !key_equals(&t->entries[at].key, key))
		at = t->entries[at].next_in_bucket;
	return at;
}

static struct guest *find_guest(struct syn_table *t, uint32_t instance)
{
	for (size_t i = 0; i < SYNS_GUESTS_MAX; i++)
		if (t->guests[i].instance == instance)
			return &t->guests[i];
	return NULL;
}

static int64_t limit_of(const struct syn_table *t, const struct guest *guest)
{
	int64_t limit_us = guest->usual_us * SYNS_USUAL_TIMES;
	if (limit_us > SYNS_LIMIT_MAX_US)
		limit_us = SYNS_LIMIT_MAX_US;
	return limit_us > t->least_us ? limit_us : t->least_us;
}

/* ---- adding and taking out */

static void take_out(struct syn_table *t, struct guest *guest, uint16_t at)
{
	struct entry *entry = &t->entries[at];
	uint16_t *link = &t->buckets[entry->bucket];
	while (*link != at)
		link = &t->entries[*link].next_in_bucket;
	*link = entry->next_in_bucket;
	*(entry->older == NOWHERE ? &guest->oldest : &t->entries[entry->older].newer) = entry->newer;
	*(entry->newer == NOWHERE ? &guest->newest : &t->entries[entry->newer].older) = entry->older;
	entry->next_in_bucket = t->free;
	t->free = at;
	guest->count--;
	t->count--;
}

static struct guest *fullest_guest(struct syn_table *t)
{
	struct guest *fullest = &t->guests[0];
	for (size_t i = 1; i < SYNS_GUESTS_MAX; i++)
		if (t->guests[i].count > fullest->count)
			fullest = &t->guests[i];
	return fullest;
}

/* Room for one more of `guest`: by its own oldest, or by the oldest of the guest that has the most. */
static void make_room(struct syn_table *t, struct guest *guest)
{
	if (guest->count >= SYNS_GUEST_MAX) {
		take_out(t, guest, guest->oldest);
		t->displaced++;
	} else if (t->free == NOWHERE) {
		struct guest *fullest = fullest_guest(t);
		take_out(t, fullest, fullest->oldest);
		t->displaced++;
	}
}

static void put_in(struct syn_table *t, struct guest *guest, const struct syn_key *key, int64_t now_us)
{
	make_room(t, guest);
	uint16_t at = t->free;
	struct entry *entry = &t->entries[at];
	t->free = entry->next_in_bucket;
	*entry = (struct entry){
	        .key = *key, .began_us = now_us, .bucket = bucket_of(t, key), .older = guest->newest, .newer = NOWHERE};
	entry->next_in_bucket = t->buckets[entry->bucket];
	t->buckets[entry->bucket] = at;
	*(guest->newest == NOWHERE ? &guest->oldest : &t->entries[guest->newest].newer) = at;
	guest->newest = at;
	guest->count++;
	t->count++;
}

bool syn_table_add(struct syn_table *t, const struct syn_key *key, int64_t now_us)
{
	assert(key->instance != 0);
	struct guest *guest = find_guest(t, key->instance);
	if (!guest) {
		guest = find_guest(t, 0);
		assert(guest); /* the caller forgets guests that are gone */
		*guest = (struct guest){.instance = key->instance, .oldest = NOWHERE, .newest = NOWHERE};
	}
	if (find(t, key) != NOWHERE)
		return false;
	put_in(t, guest, key, now_us);
	return true;
}

bool syn_table_answer(struct syn_table *t, const struct syn_key *key, int64_t now_us, bool usable, int64_t *ret_began_us)
{
	uint16_t at = find(t, key);
	if (at == NOWHERE)
		return false;
	struct guest *guest = find_guest(t, key->instance);
	int64_t took_us = now_us - t->entries[at].began_us;
	*ret_began_us = t->entries[at].began_us;
	take_out(t, guest, at);
	if (usable && took_us >= 0)
		guest->usual_us = guest->usual_us == 0 ? took_us + 1 : guest->usual_us + (took_us - guest->usual_us) / 8;
	return true;
}

bool syn_table_overdue(struct syn_table *t, int64_t now_us, struct syn_overdue *ret_overdue)
{
	for (size_t i = 0; i < SYNS_GUESTS_MAX; i++) {
		struct guest *guest = &t->guests[i];
		if (guest->count == 0 || t->entries[guest->oldest].began_us + limit_of(t, guest) > now_us)
			continue;
		*ret_overdue = (struct syn_overdue){.key = t->entries[guest->oldest].key,
		                                    .began_us = t->entries[guest->oldest].began_us};
		take_out(t, guest, guest->oldest);
		return true;
	}
	return false;
}

int64_t syn_table_deadline(const struct syn_table *t)
{
	int64_t first_us = INT64_MAX;
	for (size_t i = 0; i < SYNS_GUESTS_MAX; i++) {
		const struct guest *guest = &t->guests[i];
		int64_t due_us = guest->count ? t->entries[guest->oldest].began_us + limit_of(t, guest) : INT64_MAX;
		if (due_us < first_us)
			first_us = due_us;
	}
	return first_us;
}

int64_t syn_table_limit(const struct syn_table *t, uint32_t instance)
{
	for (size_t i = 0; i < SYNS_GUESTS_MAX; i++)
		if (t->guests[i].instance == instance)
			return limit_of(t, &t->guests[i]);
	return t->least_us;
}

void syn_table_forget(struct syn_table *t, uint32_t instance)
{
	struct guest *guest = find_guest(t, instance);
	if (instance == 0 || !guest)
		return;
	while (guest->count > 0)
		take_out(t, guest, guest->oldest);
	*guest = (struct guest){0};
}

void syn_table_clear(struct syn_table *t)
{
	for (size_t i = 0; i < SYNS_GUESTS_MAX; i++)
		while (t->guests[i].count > 0)
			take_out(t, &t->guests[i], t->guests[i].oldest);
}

size_t syn_table_count(const struct syn_table *t)
{
	return t->count;
}

uint64_t syn_table_displaced(const struct syn_table *t)
{
	return t->displaced;
}
