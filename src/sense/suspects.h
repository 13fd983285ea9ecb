#pragma once
/*
 * Who was there whenever a guest fell, and is not there at other times. An attacker who comes for each of its attacks stands out;
 * a client that polls all the time was there at every fall, too, and at every other moment as well: that is no suspicion. Neither
 * does an attacker stand out who is always there, nor one who comes from elsewhere each time.
 *
 * Suspected is who was at SUSPECTS_FALLS_ENOUGH falls within the time asked for and at less than half of the calm moments, the
 * last SUSPECTS_CALM_MAX of them; nobody as long as there are less than SUSPECTS_CALM_LEAST. Pure: time comes in, nothing is cut
 * here.
 */
#include "sense/callers.h"

#define SUSPECTS_CALM_MAX 20
#define SUSPECTS_CALM_LEAST 4
#define SUSPECTS_FALLS_MAX 16
#define SUSPECTS_FALLS_ENOUGH 3
#define SUSPECTS_MAX 16

struct suspects_moment {
	int64_t time_us;
	struct nflog_address who[CALLERS_MAX];
	size_t n;
};

struct suspects {
	struct suspects_moment calm[SUSPECTS_CALM_MAX], falls[SUSPECTS_FALLS_MAX]; /* rings */
	uint32_t n_calm, n_falls;                                                  /* ever */
};

struct suspect {
	struct nflog_address who;
	uint32_t falls, of_falls; /* it was at so many */
	uint32_t calm, of_calm;
};

/* `n` at most CALLERS_MAX. */
void suspects_calm(struct suspects *suspects, const struct nflog_address *who, size_t n, int64_t now_us);
void suspects_fall(struct suspects *suspects, const struct nflog_address *who, size_t n, int64_t now_us);

/* The most suspected first. */
size_t suspects_name(const struct suspects *suspects, int64_t within_us, int64_t now_us,
                     struct suspect ret_suspects[static SUSPECTS_MAX]);

/* How long one is cut off who was cut off so many times before: 10 min, twice as long each time, at most a day. */
int64_t suspects_cut_s(uint32_t before);
