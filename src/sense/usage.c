/* See usage.h. */
#include "sense/usage.h"

#include <stdio.h>

#define GAP_US 5000000
#define MIB 1048576.0
#define IDLE_PACKETS 20.0 /* a second: who is asked nothing still has a life of its own */

static const double more_than[USAGE_FEATURES] = {
        [USAGE_CPU] = USAGE_CPU_TIMES, [USAGE_SENT] = USAGE_SENT_TIMES, [USAGE_DISK] = USAGE_DISK_TIMES};

/* Beyond what is it alarming? `ret_usual` is the median. */
static double bound(const struct usage *usage, enum usage_feature f, double *ret_usual)
{
	struct usual_sum sum;
	usual_sum(&usage->features[f].usual, &sum);
	*ret_usual = sum.median;
	return usual_bound(&sum, more_than[f]);
}

size_t usage_learnt(const struct usage *usage)
{
	return usage->features[USAGE_CPU].usual.n;
}

struct rates { /* a second */
	double feature[USAGE_FEATURES];
	double written; /* of USAGE_DISK */
	double asked;   /* packets received, and what a life without any takes */
};

static void tell(enum usage_feature f, const struct rates *now, double usual, char *ret_text, size_t size)
{
	double value = now->feature[f], expected = usual * now->asked;
	if (f == USAGE_CPU)
		snprintf(ret_text, size, "uses %.2f of a processor; usual for what it is asked is %.2f", value, expected);
	else if (f == USAGE_DISK)
		snprintf(ret_text, size, "%s %.1f MiB/s on its disk; usual for what it is asked is %.1f",
		         2 * now->written > value ? "writes" : "reads", value / MIB, expected / MIB);
	else
		snprintf(ret_text, size, "sends %.0f KiB/s; usual for what it is asked is %.0f", value / 1024, expected / 1024);
}

static bool judge(struct usage *usage, enum usage_feature f, const struct rates *now, bool usual_times, char *ret_text,
                  size_t size)
{
	static const double least[USAGE_FEATURES] = {
	        [USAGE_CPU] = USAGE_CPU_LEAST, [USAGE_SENT] = USAGE_SENT_LEAST, [USAGE_DISK] = USAGE_DISK_LEAST};
	double usual, value = now->feature[f] / now->asked;
	if (usage->features[f].usual.n < USAGE_LEARN || now->feature[f] < least[f] || value <= bound(usage, f, &usual)) {
		if (usual_times)
			usual_learn(&usage->features[f].usual, value);
		usage->features[f].row = 0;
		return false;
	}
	if (++usage->features[f].row < USAGE_ROW)
		return false;
	tell(f, now, usual, ret_text, size);
	return true;
}

/* Counters that went back are another machine's. Those of the disk are only about right, and may do so by a little. */
static bool went_on(const struct usage_sample *last, const struct usage_sample *now)
{
	return now->cpu_us >= last->cpu_us && now->sent_bytes >= last->sent_bytes &&
	       now->received_packets >= last->received_packets;
}

static double grown(uint64_t last, uint64_t now)
{
	return now > last ? (double)(now - last) : 0;
}

void usage_add(struct usage *usage, const struct usage_sample *sample, bool usual_times, struct usage_alarm *ret_alarm)
{
	struct usage_sample last = usage->last;
	int64_t took_us = sample->time_us - last.time_us;
	bool follows = last.time_us > 0 && took_us > 0 && took_us <= GAP_US && went_on(&last, sample);
	*ret_alarm = (struct usage_alarm){0};
	usage->last = *sample;
	if (!follows)
		return;
	double seconds = (double)took_us / 1e6, written = grown(last.written_bytes, sample->written_bytes);
	struct rates now = {
	        .feature = {[USAGE_CPU] = (double)(sample->cpu_us - last.cpu_us) / (double)took_us,
	                    [USAGE_SENT] = (double)(sample->sent_bytes - last.sent_bytes) / seconds,
	                    [USAGE_DISK] = (grown(last.read_bytes, sample->read_bytes) + written) / seconds},
	        .written = written / seconds,
	        .asked = IDLE_PACKETS + (double)(sample->received_packets - last.received_packets) / seconds,
	};
	for (enum usage_feature f = USAGE_CPU; f < USAGE_FEATURES; f++)
		ret_alarm->told[f] = judge(usage, f, &now, usual_times, ret_alarm->text[f], sizeof(ret_alarm->text[f]));
}
