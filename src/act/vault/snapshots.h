#pragma once
/*
 * What koboshi-vault remembers of a service's snapshots. restic knows when one was begun; that it holds nothing of after a
 * moment is known only by when it ended, and that one is suspect only by us, so this file stands beside the repository. When it
 * is lost it is made anew from what restic says, with an end as late as it can have been.
 */
#include "conf/conf.h"

#define SNAPSHOTS_MAX 512
#define SNAPSHOT_ID_MAX 65 /* with NUL; restic's: 64 hexadecimal digits */

struct snapshot {
	uint64_t number; /* > 0, rising */
	char id[SNAPSHOT_ID_MAX];
	int64_t begun_us, ended_us; /* since 1970 */
	uint64_t bytes;
	uint32_t files;
	bool suspect; /* of after the first evidence in an incident that was rolled back */
};

#define SNAPSHOTS_ROLLED 32

struct snapshots {
	struct snapshot all[SNAPSHOTS_MAX]; /* oldest first */
	size_t n;
	uint64_t last; /* number that was given out last */
	struct {       /* the newest incidents that were rolled back: each is once */
		uint64_t incident;
		int64_t before_us;
	} rolled[SNAPSHOTS_ROLLED]; /* oldest first */
	size_t n_rolled;
};

/* -ENOENT: there is no such file; -EBADMSG: it is damaged, `err` says where. Nothing is touched then. */
int snapshots_load(const char *path, struct snapshots *ret, struct err *err) must_use;
int snapshots_save(const char *path, const struct snapshots *s, struct err *err) must_use;

/* Gives it the next number. When there is no room the oldest suspect one is left out, else the oldest. */
const struct snapshot *snapshots_add(struct snapshots *s, const struct snapshot *fresh);

/* The last good one that had ended before; NULL: none. */
const struct snapshot *snapshots_before(const struct snapshots *s, int64_t before_us);
const struct snapshot *snapshots_find(const struct snapshots *s, uint64_t number); /* NULL: none */

/* Whatever ended later is suspect from now on. Returns how many that are new. */
size_t snapshots_doubt(struct snapshots *s, int64_t since_us);

/* Which ones the configuration does not keep, in `ret_drop`. Suspect ones are kept like others but never instead of a good one:
 * each kind is counted for itself. The last good one always stays. Returns how many go. */
size_t snapshots_to_forget(const struct snapshots *s, const struct conf_vault *conf, bool ret_drop[static SNAPSHOTS_MAX]);
/* Incidents that were rolled back. The moment tells one from another of the same number, of a ledger that was lost; it was
 * computed anew and may differ a little. */
void snapshots_rolled(struct snapshots *s, uint64_t incident, int64_t before_us);
bool snapshots_is_rolled(const struct snapshots *s, uint64_t incident, int64_t before_us);

void snapshots_drop(struct snapshots *s, const bool drop[static SNAPSHOTS_MAX]);
