/* What the API says of files that guests wrote; see files.h. */
#include "engine/report.h"

#include "lib/bytes.h"

#include <stdio.h>

static double ago_s(int64_t then_us)
{
	return (double)(clock_monotonic_us() - then_us) / 1e6;
}

static json_t *counts(const struct wire_files *c)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "looked_at", (json_int_t)c->looked_at, "bad", (json_int_t)c->bad,
	                 "unknown", (json_int_t)c->unknown, "skipped", (json_int_t)c->skipped, "waiting", (json_int_t)c->waiting,
	                 "folders", (json_int_t)c->folders);
}

static json_t *event(const struct files_event *event)
{
	char name[16];
	snprintf(name, sizeof(name), "kb-%u", event->instance);
	return json_pack("{s:s, s:o, s:o, s:f}", "verdict", event->bad ? "bad" : "skipped", "instance",
	                 event->instance ? json_string(name) : json_null(), "text", report_text(event->text), "ago_s",
	                 ago_s(event->time_us));
}

json_t *files_report(struct engine *e)
{
	const struct engine_files *files = &e->files;
	json_t *events = json_array(), *sums = json_array(), *problems = json_array();
	for (uint64_t n = files->n_events, i = n; i-- > 0 && n - i <= FILES_EVENTS_MAX;)
		json_array_append_new(events, event(&files->events[i % FILES_EVENTS_MAX]));
	for (uint64_t n = files->n_unknown, i = n; i-- > 0 && n - i <= FILES_UNKNOWN_MAX;) {
		const struct files_unknown *unknown = &files->unknown[i % FILES_UNKNOWN_MAX];
		json_array_append_new(sums, json_pack("{s:s, s:o, s:f}", "sha256", unknown->sha256, "path",
		                                      report_text(unknown->path), "ago_s", ago_s(unknown->time_us)));
	}
	for (size_t i = 0; i < files->n_problems; i++)
		json_array_append_new(problems, report_text(files->problems[i]));
	return json_pack("{s:b, s:b, s:o, s:o, s:o, s:o}", "wanted", (int)(e->conf.files.n_folders > 0), "watching",
	                 (int)hands_ready(e->hands, WIRE_SCAN), "counts", counts(&files->counts), "problems", problems, "events",
	                 events, "unknown_files", sums);
}

json_t *files_summary(struct engine *e, json_t *reasons)
{
	const struct engine_files *files = &e->files;
	if (e->conf.files.n_folders == 0)
		return json_null();
	for (size_t i = 0; i < files->n_problems; i++)
		report_say(reasons, "files: %s", files->problems[i]);
	json_t *summary = counts(&files->counts);
	const struct files_event *last = NULL; /* a bad one says more than one that could not be judged */
	for (uint64_t n = files->n_events, i = n; i-- > 0 && n - i <= FILES_EVENTS_MAX && !(last && last->bad);)
		if (!last || files->events[i % FILES_EVENTS_MAX].bad)
			last = &files->events[i % FILES_EVENTS_MAX];
	json_object_set_new(summary, "last", last ? event(last) : json_null());
	return summary;
}
