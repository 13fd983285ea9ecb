/* The stories of incidents, from the ledger alone. */
#include "engine/report.h"

#include "lib/bytes.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

json_t *report_when(int64_t real_us)
{
	char text[48];
	struct tm broken;
	time_t seconds = real_us / 1000000;
	if (real_us == 0)
		return json_null();
	gmtime_r(&seconds, &broken);
	snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", broken.tm_year + 1900, broken.tm_mon + 1,
	         broken.tm_mday, broken.tm_hour, broken.tm_min, broken.tm_sec, (int)(real_us / 1000 % 1000));
	return json_string(text);
}

/* Milliseconds from the first evidence; null when it has not come to that, or another boot's clock counted. */
static json_t *since(const struct ledger_incident *row, int64_t monotonic_us)
{
	if (monotonic_us == 0 || row->first_evidence_us == 0)
		return json_null();
	return json_real((double)(monotonic_us - row->first_evidence_us) / 1000.0);
}

static json_t *party_name(uint32_t number, const char *variant)
{
	return json_pack("{s:I, s:o}", "number", (json_int_t)number, "variant", report_text(variant));
}

static json_t *head(const struct ledger_incident *row)
{
	json_t *json = json_pack("{s:I, s:o, s:o, s:o, s:o, s:o, s:o}", "number", (json_int_t)row->number, "service",
	                         report_text(row->service), "verdict", report_text(row->verdict), "phase",
	                         report_text(row->phase), "cause", report_text(row->cause), "outcome", report_text(row->outcome),
	                         "shared", report_text(row->shared));
	assert(json);
	json_object_set_new(json, "opened", report_when(row->opened_us));
	json_object_set_new(json, "closed", report_when(row->closed_us));
	json_object_set_new(json, "victim", party_name(row->victim, row->victim_variant));
	json_object_set_new(json, "active", party_name(row->active_after, row->active_variant));
	const struct {
		const char *ms, *us;
		int64_t time_us;
	} times[] = {
	        {"detected_ms", "verdict_us", row->verdict_us},
	        {"steered_ms", "steered_us", row->steered_us},
	        {"standby_restored_ms", "standby_us", row->standby_us},
	        {"spare_restored_ms", "spare_us", row->spare_us},
	};
	json_object_set_new(json, "first_evidence_us", json_integer(row->first_evidence_us));
	for (size_t i = 0; i < countof(times); i++) {
		json_object_set_new(json, times[i].ms, since(row, times[i].time_us));
		json_object_set_new(json, times[i].us, times[i].time_us ? json_integer(times[i].time_us) : json_null());
	}
	json_object_set_new(json, "boot_id", report_text(row->boot_id));
	return json;
}

static int add_head(void *arg, const struct ledger_incident *row)
{
	json_array_append_new(arg, head(row));
	return 0;
}

json_t *report_incidents(struct ledger *l, struct err *err)
{
	json_t *list = json_array();
	if (ledger_incident_each(l, 200, add_head, list, err) < 0) {
		json_decref(list);
		return NULL;
	}
	return json_pack("{s:o}", "incidents", list);
}

/* --- who was there before and after */

/* The rows say who had which role last. What it was around an incident, the incident's own steps say. */
struct roles {
	struct {
		uint32_t number;
		const char *before, *after;
	} known[PLAN_INSTANCES_MAX];
	size_t n;
};

static void role_learn(struct roles *roles, const struct ledger_step *row)
{
	unsigned number;
	bool waking = strcmp(row->step, "waking") == 0, standby = strcmp(row->step, "standby") == 0;
	if ((!waking && !standby && strcmp(row->step, "spare") != 0) ||
	    sscanf(row->text + strcspn(row->text, "-"), "-%u", &number) != 1)
		return;
	size_t i = 0;
	while (i < roles->n && roles->known[i].number != number)
		i++;
	if (i == countof(roles->known))
		return;
	if (i == roles->n)
		roles->known[roles->n++].number = number;
	if (waking)
		roles->known[i].before = "spare";
	else
		roles->known[i].after = standby ? "standby" : "spare";
}

struct story {
	json_t *steps;
	struct roles roles;
};

static int add_step(void *arg, const struct ledger_step *row)
{
	struct story *story = arg;
	json_t *step = json_pack("{s:f, s:o, s:o, s:o}", "ms", (double)row->since_us / 1000.0, "phase", report_text(row->phase),
	                         "step", report_text(row->step), "text", report_text(row->text));
	assert(step);
	json_object_set_new(step, "time", report_when(row->time_us));
	json_array_append_new(story->steps, step);
	role_learn(&story->roles, row);
	return 0;
}

struct parties {
	json_t *list;
	int64_t at_us;
	const struct ledger_incident *incident;
	const struct roles *roles;
	bool after;
};

static const char *role_of(const struct parties *p, const struct ledger_instance *row)
{
	const struct ledger_incident *x = p->incident;
	if (row->number == (p->after ? x->active_after : x->active_before))
		return "active";
	for (size_t i = 0; i < p->roles->n; i++) {
		const char *said = p->after ? p->roles->known[i].after : p->roles->known[i].before;
		if (p->roles->known[i].number == row->number && said)
			return said;
	}
	if (!p->after && row->number == x->active_after)
		return "standby"; /* only a standby takes over */
	return row->ended_us || strcmp(row->role, "active") == 0 ? "none" : row->role;
}

/* "kernel linux 6.1; server nginx 1.22" -> {"kernel": "linux 6.1", ...} */
static json_t *components(const char *text)
{
	json_t *json = json_object();
	char copy[LEDGER_TEXT_MAX], *rest = copy;
	text_copy(copy, sizeof(copy), text);
	for (char *part; (part = strsep(&rest, ";"));) {
		part += strspn(part, " ");
		char *name = strchr(part, ' ');
		if (!name)
			continue;
		*name++ = '\0';
		json_object_set_new(json, part, report_text(name));
	}
	return json;
}

static int add_party(void *arg, const struct ledger_instance *row)
{
	struct parties *p = arg;
	if (row->created_us > p->at_us || (row->ended_us && row->ended_us <= p->at_us))
		return 0;
	json_t *party = party_name(row->number, row->variant);
	json_object_set_new(party, "role", report_text(role_of(p, row)));
	json_object_set_new(party, "components", components(row->components));
	json_array_append_new(p->list, party);
	return 0;
}

static json_t *parties(struct ledger *l, const struct ledger_incident *x, const struct roles *roles, bool after)
{
	int64_t at_us = !after ? x->opened_us : x->closed_us ? x->closed_us : clock_real_us();
	struct parties p = {json_array(), at_us, x, roles, after};
	struct err err = {0};
	if (ledger_instance_each(l, 64, add_party, &p, &err) < 0)
		json_array_clear(p.list);
	return p.list;
}

json_t *report_incident(struct ledger *l, const char *state_dir, uint64_t number, struct err *err)
{
	struct ledger_incident row;
	struct story story = {0};
	if (ledger_incident_get(l, number, &row, err) < 0)
		return NULL;
	json_t *json = head(&row);
	story.steps = json_array();
	json_object_set_new(json, "steps", story.steps);
	json_t *evidence = report_evidence_list(l, state_dir, number, err);
	if (!evidence || ledger_step_each(l, number, add_step, &story, err) < 0) {
		json_decref(evidence);
		json_decref(json);
		return NULL;
	}
	json_object_set_new(json, "evidence", evidence);
	json_object_set_new(json, "before", parties(l, &row, &story.roles, false));
	json_object_set_new(json, "after", parties(l, &row, &story.roles, true));
	return json;
}
