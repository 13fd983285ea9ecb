#pragma once
/* When a child is started again, and when silence is too long. Pure: times come in. */
#include <stdbool.h>
#include <stdint.h>

#define RESTART_FIRST_US 100000     /* pause before the second restart in a row; the first one is at once */
#define RESTART_MAX_US 10000000     /* the pause doubles up to this; we never give up */
#define RESTART_STEADY_US 60000000  /* a child that lived so long starts again with a clean record */
#define PROGRESS_START_US 20000000  /* the engine's first beat: it opens the ledger and may wait for the disk */
#define PROGRESS_SILENCE_US 5000000 /* later: it promises one beat a second */
#define REPLACE_PAUSE_US 1000000    /* a role is replaced on the engine's word at most once in this time */

/* Pause before the next start of a child that ended after `lived_us`. `failures` counts the short lives in a row. */
int64_t restart_pause_us(unsigned *failures, int64_t lived_us);

struct progress {
	uint64_t beats;
	int64_t deadline_us; /* no rising beat by then: the engine hangs */
};

void progress_start(struct progress *progress, int64_t now_us);

/* True when the beat proves progress; one that does not rise proves nothing. */
bool progress_beat(struct progress *progress, uint64_t beats, int64_t now_us);

/* Our own loop stood still (machine suspended, we were stopped): that time does not count against the engine. */
void progress_excuse(struct progress *progress, int64_t now_us);
