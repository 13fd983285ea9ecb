#pragma once
/*
 * Connections that a guest opens by itself. Guests serve and open none (nothing would come of it: what they open ends at the
 * tap), so many in a short time are somebody who looks around. Pure: times and addresses in, a sentence out.
 */
#include "sense/nflog.h"

#define REACH_MANY 10           /* so many ... */
#define REACH_WINDOW_US 2000000 /* ... in so short a time; a single connection's repeated requests are two or three */
#define REACH_REPEAT_US 1000000 /* said again at the earliest after that */

struct reach { /* of one guest; all zero: nothing yet */
	struct {
		int64_t time_us;
		struct nflog_address to;
		uint16_t port;
	} tries[REACH_MANY];
	size_t next, n;
	int64_t told_us;
};

/* One more, at `time_us` (never backwards). True when it is to be reported: then `ret_text` says what was seen, and
 * `ret_began_us` when that began. */
bool reach_add(struct reach *reach, const struct nflog_tcp *tcp, int64_t time_us, int64_t *ret_began_us, char *ret_text,
               size_t size);
