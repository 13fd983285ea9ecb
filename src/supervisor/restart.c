/* Backoff is a function of a count, a hang is a deadline that passed; see restart.h. */
#include "supervisor/restart.h"

int64_t restart_pause_us(unsigned *failures, int64_t lived_us)
{
	unsigned before = lived_us >= RESTART_STEADY_US ? 0 : *failures;
	*failures = before < UINT32_MAX ? before + 1 : before;
	int64_t pause = before > 0 ? RESTART_FIRST_US : 0;
	for (unsigned i = 1; i < before && pause < RESTART_MAX_US; i++)
		pause *= 2;
	return pause < RESTART_MAX_US ? pause : RESTART_MAX_US;
}

void progress_start(struct progress *progress, int64_t now_us)
{
	*progress = (struct progress){.deadline_us = now_us + PROGRESS_START_US};
}

bool progress_beat(struct progress *progress, uint64_t beats, int64_t now_us)
{
	if (beats <= progress->beats)
		return false;
	progress->beats = beats;
	progress->deadline_us = now_us + PROGRESS_SILENCE_US;
	return true;
}

void progress_excuse(struct progress *progress, int64_t now_us)
{
	if (progress->deadline_us < now_us + PROGRESS_SILENCE_US)
		progress->deadline_us = now_us + PROGRESS_SILENCE_US;
}
