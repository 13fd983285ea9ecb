#pragma once
/*
 * What koboshi-scan tells of files that guests wrote: findings against whoever wrote a bad one, and short bounded lists for the
 * API. The list of unknown sums is where verdicts from elsewhere come in: the fog will read it and answer with more of the lists
 * that koboshi-scan looks into. Until then nobody answers.
 */
#include "wire/order.h"

#include <jansson.h>

#define FILES_EVENTS_MAX 16
#define FILES_UNKNOWN_MAX 64
#define FILES_PROBLEMS_MAX 12

struct engine;

struct engine_files {
	struct wire_files counts;
	struct files_event {
		int64_t time_us;
		uint32_t instance; /* 0: nobody's */
		bool bad;          /* else it could not be judged */
		char text[WIRE_TEXT_MAX];
	} events[FILES_EVENTS_MAX];
	uint64_t n_events; /* ever; the ring keeps the last */
	struct files_unknown {
		int64_t time_us;
		char sha256[65];
		char path[WIRE_TEXT_MAX];
	} unknown[FILES_UNKNOWN_MAX]; /* each sum once */
	uint64_t n_unknown;
	char problems[FILES_PROBLEMS_MAX][WIRE_TEXT_MAX];
	size_t n_problems;
};

/* koboshi-scan says from here on what is wrong with rules, lists and folders. */
void files_ready(struct engine *e);

/* A notice of the kinds NOTICE_FILE_*. */
void files_notice(struct engine *e, const struct wire_note *note);

/* GET /v1/files. */
json_t *files_report(struct engine *e);

/* For the status: null where nothing is watched. Appends to the reasons. */
json_t *files_summary(struct engine *e, json_t *reasons);
