/*
 * Counts, percentiles and gaps over finished requests; see tally.h. Latencies are kept one by one rather than in buckets:
 * a lab run is at most a few million requests, and a maximum that was rounded up is not a measurement.
 */
#include "tally.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

const char *outcome_name(enum outcome outcome)
{
	static const char *const names[OUTCOME_MAX_] = {"good",   "refused", "reset", "timeout",
	                                                "closed", "status",  "wrong", "other"};
	assert(outcome < OUTCOME_MAX_);
	return names[outcome];
}

void tally_init(struct tally *tally, size_t requests, int64_t begin_us, int64_t late_after_us)
{
	assert(requests > 0 && requests <= TALLY_REQUESTS_MAX);
	*tally = (struct tally){.begin_us = begin_us, .last_good_us = begin_us, .late_after_us = late_after_us};
	tally->latencies = calloc(requests, sizeof(*tally->latencies));
	if (!tally->latencies)
		abort();
}

void tally_done(struct tally *tally)
{
	free(tally->latencies);
	tally->latencies = NULL;
}

static void gap_close(struct tally *tally, int64_t now_us)
{
	int64_t gap = now_us - tally->last_good_us;
	if (gap > tally->gap_us) {
		tally->gap_us = gap;
		tally->gap_at_us = tally->last_good_us;
	}
	tally->last_good_us = now_us;
}

static void body_count(struct tally *tally, const char *hash)
{
	for (size_t i = 0; i < tally->n_bodies; i++) {
		if (strcmp(tally->bodies[i].hash, hash) == 0) {
			tally->bodies[i].count++;
			return;
		}
	}
	if (tally->n_bodies == TALLY_BODIES_MAX)
		return;
	memcpy(tally->bodies[tally->n_bodies].hash, hash, TALLY_HASH_TEXT);
	tally->bodies[tally->n_bodies++].count = 1;
}

void tally_add(struct tally *tally, const struct sample *sample)
{
	assert(tally->requests < TALLY_REQUESTS_MAX);
	int64_t latency = sample->end_us - sample->due_us;
	tally->requests++;
	tally->outcomes[sample->outcome]++;
	if (sample->hash[0])
		body_count(tally, sample->hash);
	if (sample->outcome != OUTCOME_GOOD)
		return;
	tally->latencies[tally->n_latencies++] = latency < UINT32_MAX ? (uint32_t)latency : UINT32_MAX;
	if (latency > tally->late_after_us)
		tally->late++;
	gap_close(tally, sample->end_us);
}

static int compare(const void *left, const void *right)
{
	uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
	return (a > b) - (a < b);
}

/* The smallest latency that at least `percent` of all good answers did not exceed. */
static uint32_t percentile(const struct tally *tally, unsigned percent)
{
	if (!tally->n_latencies)
		return 0;
	size_t rank = (tally->n_latencies * percent + 99) / 100;
	return tally->latencies[rank ? rank - 1 : 0];
}

void tally_report(struct tally *tally, const char *name, bool realtime, int64_t end_us, FILE *to)
{
	gap_close(tally, end_us);
	qsort(tally->latencies, tally->n_latencies, sizeof(*tally->latencies), compare);
	fprintf(to, "{\"name\": \"%s\", \"begin_us\": %" PRId64 ", \"end_us\": %" PRId64, name, tally->begin_us, end_us);
	fprintf(to, ", \"realtime\": %s", realtime ? "true" : "false");
	fprintf(to, ", \"requests\": %" PRIu64 ", \"failed\": %" PRIu64 ", \"late\": %" PRIu64, tally->requests,
	        tally->requests - tally->outcomes[OUTCOME_GOOD], tally->late);
	for (enum outcome i = 0; i < OUTCOME_MAX_; i++)
		fprintf(to, ", \"%s\": %" PRIu64, outcome_name(i), tally->outcomes[i]);
	fprintf(to, ", \"max_gap_ms\": %.3f, \"max_gap_at_us\": %" PRId64, (double)tally->gap_us / 1000, tally->gap_at_us);
	fprintf(to, ", \"p50_ms\": %.3f, \"p99_ms\": %.3f, \"max_ms\": %.3f", percentile(tally, 50) / 1000.0,
	        percentile(tally, 99) / 1000.0, percentile(tally, 100) / 1000.0);
	fprintf(to, ", \"bodies\": [");
	for (size_t i = 0; i < tally->n_bodies; i++)
		fprintf(to, "%s{\"sha256\": \"%s\", \"count\": %" PRIu64 "}", i ? ", " : "", tally->bodies[i].hash,
		        tally->bodies[i].count);
	fprintf(to, "]}\n");
}

void sample_csv_head(FILE *to)
{
	fprintf(to, "number,due_us,start_us,connected_us,first_us,end_us,status,outcome,source_port,sha256\n");
}

void sample_csv(const struct sample *sample, FILE *to)
{
	fprintf(to, "%" PRIu64 ",%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64 ",%d,%s,%u,%s\n", sample->number,
	        sample->due_us, sample->start_us, sample->connected_us, sample->first_us, sample->end_us, sample->status,
	        outcome_name(sample->outcome), sample->source_port, sample->hash);
}
