/*
 * What a step of the plan costs, against the number of instances: nothing to do, an answer to a probe, a miss, the finding that
 * convicts whoever serves (of a fault, or of a takeover, after which others are suspect), and the news that it was steered. The
 * plan is as large as it can be otherwise: 16 variants of 2,000 components. Each step is timed alone, so a figure holds the cost
 * of reading the clock (`clock_us` says what that is). Not a test: lab/bench runs it, and it can be run by hand. Writes JSON.
 */
#include "made.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define COMPONENTS 2000
#define VERDICTS 500 /* each begins with a fresh copy of the plan */
#define ROUNDS 200   /* of everybody's answers */
#define SAMPLES_MAX (ROUNDS * PLAN_INSTANCES_MAX)

enum measured { IDLE, GOOD, MISS, FAULT, TAKEOVER, STEERED, MEASURED_MAX_ };

static const char *const names[MEASURED_MAX_] = {[IDLE] = "idle",   [GOOD] = "good_answer",  [MISS] = "miss",
                                                 [FAULT] = "fault", [TAKEOVER] = "takeover", [STEERED] = "steered"};

struct samples {
	double us[SAMPLES_MAX];
	size_t n;
};

static struct samples samples[MEASURED_MAX_];
static struct plan plan, whole;
static struct plan_update update;

static double now_us(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static void step(struct samples *into, const struct plan_event *event)
{
	double before_us = now_us();
	plan_step(&plan, event, &update);
	double took_us = now_us() - before_us;
	if (into)
		into->us[into->n++] = took_us;
}

/* Layers as in an image: a kernel, a libc, a server, a runtime, and packages, of which half are everybody's. */
static void variants_make(struct plan *p)
{
	p->n_variants = PLAN_VARIANTS_MAX;
	p->n_components = COMPONENTS;
	for (uint32_t c = 0; c < COMPONENTS; c++) {
		uint32_t layer = c / PLAN_VARIANTS_MAX, owner = c % PLAN_VARIANTS_MAX;
		bool package = layer >= PLAN_PACKAGE;
		p->layer[c] = (uint8_t)(package ? PLAN_PACKAGE : layer);
		for (uint32_t v = 0; v < p->n_variants; v++)
			if (v == owner || (package && c % 2))
				p->variants[v].components[c / 64] |= UINT64_C(1) << (c % 64);
	}
	for (uint32_t v = 0; v < p->n_variants; v++)
		p->variants[v].usable = true;
}

/* As a device is that has stood for a while: one serves, one sleeps (with more than two), all others stand by. */
static void plan_make(struct plan *p, uint32_t instances)
{
	uint32_t spare = instances > 2;
	struct plan_config config = made_config();
	config.standby = instances - 1 - spare;
	config.spare = spare;
	config.max_exposure_us = 86400000000;
	plan_init(p, &config);
	variants_make(p);
	p->world_known = true;
	p->target = 1;
	for (uint32_t k = 0; k < instances; k++)
		p->instances[k] = (struct plan_instance){
		        .number = k + 1,
		        .variant = k ? 1 + (k - 1) % (p->n_variants - 1)
		                     : 0, /* nobody else is what serves: nobody better is built */
		        .role = k == 0                        ? PLAN_ACTIVE
		                : spare && k == instances - 1 ? PLAN_SPARE
		                                              : PLAN_STANDBY,
		        .life = spare && k == instances - 1 ? PLAN_LIFE_PAUSED : PLAN_LIFE_READY,
		        .deadline_us = PLAN_NEVER,
		        .exposed = true,
		        .exposed_us = 1,
		};
}

static struct plan_event event_of(enum plan_event_type type, int64_t at_us)
{
	return (struct plan_event){.now_us = at_us, .fresh_number = 1000, .fresh_incident = 1, .type = type};
}

static int64_t everybody(struct samples *idle, struct samples *seen, enum finding finding, uint32_t instances, int64_t at_us)
{
	for (uint32_t number = 1; number <= instances; number++) {
		struct plan_event event = event_of(PLAN_EV_EVIDENCE, at_us);
		event.evidence = made_evidence(number, finding, at_us, at_us);
		step(seen, &event);
		event = event_of(PLAN_EV_TIME, at_us + 10);
		step(idle, &event);
		assert(update.n_orders == 0 && !update.number_used);
	}
	return at_us + MADE_INTERVAL_US;
}

static void convict(struct samples *verdict, struct samples *steered, enum finding finding, int64_t at_us)
{
	plan = whole;
	struct plan_event event = event_of(PLAN_EV_EVIDENCE, at_us);
	event.evidence = made_evidence(1, finding, at_us, at_us);
	step(verdict, &event);
	assert(update.n_orders > 0 && update.orders[0].type == PLAN_DO_STEER && update.orders[0].victim == 1);
	event = event_of(PLAN_EV_ANSWER, at_us + 1000);
	event.answer.ticket = update.orders[0].ticket;
	step(steered, &event);
	assert(plan.target != 1);
}

static void measure(uint32_t instances)
{
	int64_t at_us = 1000000;
	memset(samples, 0, sizeof(samples));
	plan_make(&plan, instances);
	for (int i = 0; i < 8; i++)
		at_us = everybody(NULL, NULL, FINDING_PROVEN, instances, at_us);
	for (int i = 0; i < ROUNDS; i++)
		at_us = everybody(&samples[IDLE], &samples[GOOD], FINDING_PROVEN, instances, at_us);
	for (int i = 0; i < ROUNDS; i++) { /* all miss together, which convicts nobody, and answer again */
		at_us = everybody(NULL, &samples[MISS], FINDING_TIMEOUT, instances, at_us);
		at_us = everybody(NULL, NULL, FINDING_PROVEN, instances, at_us);
	}
	whole = plan;
	for (int i = 0; i < VERDICTS; i++) {
		convict(&samples[FAULT], NULL, FINDING_REFUSED, at_us);
		convict(&samples[TAKEOVER], &samples[STEERED], FINDING_TOUCHED, at_us);
	}
}

static int by_size(const void *a, const void *b)
{
	double one = *(const double *)a, other = *(const double *)b;
	return (one > other) - (one < other);
}

static double share_of(const struct samples *s, size_t percent)
{
	return s->us[(s->n - 1) * percent / 100];
}

static void print(uint32_t instances, bool last)
{
	printf("  {\"instances\": %u", instances);
	for (int m = 0; m < MEASURED_MAX_; m++) {
		qsort(samples[m].us, samples[m].n, sizeof(double), by_size);
		printf(", \"%s\": {\"n\": %zu, \"median_us\": %.2f, \"p99_us\": %.2f}", names[m], samples[m].n,
		       share_of(&samples[m], 50), share_of(&samples[m], 99));
	}
	printf("}%s\n", last ? "" : ",");
}

int main(void)
{
	static const uint32_t counts[] = {2, 4, 8, 16, 32};
	size_t n = sizeof(counts) / sizeof(counts[0]);
	double before_us = now_us();
	for (int i = 0; i < 1000; i++)
		now_us();
	printf("{\"variants\": %d, \"components\": %d, \"clock_us\": %.3f, \"rows\": [\n", PLAN_VARIANTS_MAX, COMPONENTS,
	       (now_us() - before_us) / 1000);
	for (size_t i = 0; i < n; i++) {
		measure(counts[i]);
		print(counts[i], i + 1 == n);
	}
	printf("]}\n");
	return 0;
}
