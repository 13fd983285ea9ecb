/* Flows of each instance, as features: how it was in the last ten seconds, what is usual, what would be alarming. */
#include "engine/report.h"

#include <string.h>

static json_t *feature(enum flows_feature f, const struct flows_look *look)
{
	bool judged = f < FLOWS_JUDGED;
	json_t *alarming = look->alarming > 0 ? json_real(look->alarming) : json_null();
	return json_pack("{s:s, s:s, s:b, s:f, s:f, s:f, s:o}", "feature", flows_feature_name(f), "unit", flows_feature_unit(f),
	                 "judged", (int)judged, "last", look->last, "usual", look->usual, "most", look->most, "alarming_above",
	                 alarming);
}

/* NULL: it is not followed. */
static json_t *instance(const struct engine_instance *i)
{
	struct flows_look looks[FLOWS_FEATURES];
	size_t windows, open;
	if (!flows_look(sense_flows_core(i->service->engine->flows), i->number, looks, &windows, &open))
		return NULL;
	json_t *list = json_array();
	for (enum flows_feature f = 0; f < FLOWS_FEATURES; f++)
		json_array_append_new(list, feature(f, &looks[f]));
	return json_pack("{s:s, s:s, s:i, s:i, s:o}", "instance", i->address.name, "role", plan_role_name(i->role), "open",
	                 (int)open, "windows", (int)windows, "features", list);
}

json_t *report_flows_of(struct engine *e, const char *name)
{
	for (size_t n = 0; n < e->n_services; n++)
		for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++) {
			const struct engine_instance *i = &e->services[n].instances[k];
			if (i->number && strcmp(i->address.name, name) == 0)
				return instance(i);
		}
	return NULL;
}

/* What a cut would be judged by. */
static json_t *moments(const struct engine *e)
{
	json_t *list = json_array();
	for (size_t n = 0; n < e->n_services; n++) {
		const struct suspects *s = &e->services[n].cut.suspects;
		int calm = s->n_calm < SUSPECTS_CALM_MAX ? (int)s->n_calm : SUSPECTS_CALM_MAX;
		int falls = s->n_falls < SUSPECTS_FALLS_MAX ? (int)s->n_falls : SUSPECTS_FALLS_MAX;
		json_array_append_new(
		        list, json_pack("{s:s, s:i, s:i}", "service", e->services[n].conf->name, "calm", calm, "falls", falls));
	}
	return list;
}

json_t *report_flows(struct engine *e)
{
	struct flows_counts counts;
	json_t *list = json_array();
	for (size_t n = 0; n < e->n_services; n++)
		for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++)
			if (e->services[n].instances[k].number)
				json_array_append_new(list, instance(&e->services[n].instances[k]));
	flows_counts(sense_flows_core(e->flows), &counts);
	return json_pack("{s:b, s:f, s:i, s:I, s:I, s:I, s:I, s:I, s:o, s:o}", "watched", (int)sense_flows_reads(e->flows),
	                 "window_s", FLOWS_WINDOW_US / 1e6, "open", (int)counts.open, "began", (json_int_t)counts.began, "ended",
	                 (json_int_t)counts.ended, "evicted", (json_int_t)counts.evicted, "lost", (json_int_t)counts.lost,
	                 "malformed", (json_int_t)sense_flows_malformed(e->flows), "moments", moments(e), "instances", list);
}
