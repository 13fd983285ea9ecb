#pragma once
/*
 * The flows that are open now, as far as they are known: FLOW_TABLE_MAX of them in one flat block, the oldest gives way and is
 * counted. And small sets of what was seen in a window. Pure: time comes in.
 */
#include "sense/conntrack.h"

#define FLOW_TABLE_MAX 32768

struct flow_open {
	uint32_t id, instance;
	bool by_guest; /* it opened it */
	uint16_t port; /* of whoever opened it: a second part of the name, since ids come again */
	int64_t began_us;
};

struct flow_table;

struct flow_table *flow_table_new(void); /* never NULL */
void flow_table_free(struct flow_table *table);

/* True when it was not known yet. When the table was full `ret_evicted` is the one that gave way (else its instance is 0). */
bool flow_table_add(struct flow_table *table, const struct flow_open *flow, struct flow_open *ret_evicted);
bool flow_table_take(struct flow_table *table, uint32_t id, uint16_t port, struct flow_open *ret_flow); /* out of it */
void flow_table_forget(struct flow_table *table, uint32_t instance);                                    /* 0: all */
size_t flow_table_count(const struct flow_table *table);

/* ---- a set of hashes; what finds no place any more is not told from what is there */
#define FLOW_SET_MAX 512
#define FLOW_SET_SLOTS 1024

struct flow_set {
	size_t n;
	uint64_t slots[FLOW_SET_SLOTS]; /* 0: free */
	uint8_t marks[FLOW_SET_SLOTS];
};

/* Its marks, which begin as 0 when it is new; NULL: there is no room. */
uint8_t *flow_set_add(struct flow_set *set, uint64_t hash);
void flow_set_clear(struct flow_set *set);
