#pragma once
/*
 * Does a guest call the same place again and again, in even intervals, as a program does that waits for commands? Intervals that
 * but for one all lie near their median are a rhythm; people and their requests have none. A guest's own programs have some too
 * (time, updates, its reports): places that it called while it was new are its usual ones and never told of. So whoever was there
 * from the beginning is not found here, nor who leaves his intervals to chance.
 *
 * Pure: times in, a sentence out. Bounded: RHYTHM_PLACES of a guest, who was not called for the longest time gives way.
 */
#include "sense/nflog.h"

#define RHYTHM_PLACES 32
#define RHYTHM_BEATS 12           /* intervals that must fit */
#define RHYTHM_NEAR 0.2           /* of the median: so far away they may be */
#define RHYTHM_LEAST_US 2000000   /* quicker is a burst, which is judged otherwise */
#define RHYTHM_REPEAT_US 60000000 /* said again at the earliest after that */

struct rhythm_call {
	struct nflog_address to;
	uint16_t port, from_port; /* another port of its own: another try, not the same one repeated */
	uint8_t protocol;
};

struct rhythm { /* of one guest; all zero: nothing yet */
	struct rhythm_place {
		struct rhythm_call call;        /* the last one */
		int64_t last_us, told_us;       /* 0: free; never */
		double intervals[RHYTHM_BEATS]; /* seconds */
		unsigned n, next;
		bool usual;
	} places[RHYTHM_PLACES];
};

/* One more call. `fresh`: the guest is new, a place that it calls now is one of its usual ones. True: `ret_text` is to be told.
 */
bool rhythm_add(struct rhythm *rhythm, const struct rhythm_call *call, bool fresh, int64_t time_us, char *ret_text, size_t size);
