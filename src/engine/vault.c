/* See vault.h. */
#include "engine/vault.h"

#include "engine/report.h"
#include "lib/bytes.h"

#include <assert.h>
#include <microhttpd.h>
#include <stdio.h>
#include <string.h>

/* --- what is told */

static struct engine_vault *vault_of(struct engine_service *s)
{
	if (!s->conf->vault.path[0])
		return NULL;
	if (!s->vault)
		s->vault = calloc(1, sizeof(*s->vault));
	assert(s->vault);
	return s->vault;
}

void vault_lost(struct engine *e)
{
	for (size_t i = 0; i < e->n_services; i++) {
		struct engine_vault *v = vault_of(&e->services[i]);
		if (!v)
			continue;
		v->told = false;
		if (v->asked.done)
			continue;
		v->asked.done = true;
		v->asked.status = -1;
		text_copy(v->asked.text, sizeof(v->asked.text), "koboshi-vault ended in the middle of it");
	}
}

/* Where the one of this number stands, or shall stand. */
static struct wire_snapshot *snapshot_slot(struct engine_vault *v, uint64_t number)
{
	for (size_t i = 0; i < v->n_snapshots; i++)
		if (v->snapshots[i].number == number)
			return &v->snapshots[i];
	if (v->n_snapshots == VAULT_SNAPSHOTS_MAX)
		memmove(&v->snapshots[0], &v->snapshots[1], --v->n_snapshots * sizeof(v->snapshots[0]));
	return &v->snapshots[v->n_snapshots++];
}

static struct vault_change *change_slot(struct engine_vault *v, uint64_t number)
{
	for (size_t i = 0; i < v->n_changes; i++)
		if (v->changes[i].change.number == number)
			return &v->changes[i];
	if (v->n_changes == VAULT_CHANGES_MAX)
		memmove(&v->changes[0], &v->changes[1], --v->n_changes * sizeof(v->changes[0]));
	return &v->changes[v->n_changes++];
}

void vault_notice(struct engine *e, const struct wire_note *note)
{
	struct engine_vault *v = note->service < e->n_services ? vault_of(&e->services[note->service]) : NULL;
	if (!v)
		return;
	if (note->type == NOTICE_VAULT) {
		if (!v->told)
			v->n_snapshots = v->n_changes = 0;
		v->told = true;
		text_copy(v->problem, sizeof(v->problem), note->text);
	} else if (note->type == NOTICE_SNAPSHOT) {
		struct wire_snapshot *slot = snapshot_slot(v, note->snapshot.number);
		*slot = note->snapshot;
		if (slot->state != WIRE_SNAPSHOT_GONE)
			return;
		size_t behind = (size_t)(&v->snapshots[v->n_snapshots] - slot) - 1;
		memmove(slot, slot + 1, behind * sizeof(*slot));
		v->n_snapshots--;
	} else {
		struct vault_change *slot = change_slot(v, note->change.number);
		slot->change = note->change;
		text_copy(slot->path, sizeof(slot->path), note->text);
	}
}

void vault_answered(struct engine *e, const struct wire_order *order, const struct wire_answer *answer)
{
	struct engine_vault *v = order->service < e->n_services ? e->services[order->service].vault : NULL;
	if (!v || v->asked.done)
		return;
	v->asked.done = true;
	v->asked.status = answer->status;
	text_copy(v->asked.text, sizeof(v->asked.text), answer->text);
}

/* --- what is shown */

static const struct wire_snapshot *last_good(const struct engine_vault *v)
{
	for (size_t i = v->n_snapshots; i-- > 0;)
		if (v->snapshots[i].state == WIRE_SNAPSHOT_GOOD)
			return &v->snapshots[i];
	return NULL;
}

static json_t *snapshot_json(const struct wire_snapshot *one)
{
	return json_pack("{s:I, s:o, s:o, s:I, s:I, s:s}", "number", (json_int_t)one->number, "begun", report_when(one->begun_us),
	                 "ended", report_when(one->ended_us), "files", (json_int_t)one->files, "bytes", (json_int_t)one->bytes,
	                 "state", one->state == WIRE_SNAPSHOT_SUSPECT ? "suspect" : "good");
}

static json_t *asked_json(const struct engine_vault *v)
{
	if (!v->asked.number)
		return json_null();
	return json_pack("{s:I, s:b, s:b, s:o}", "number", (json_int_t)v->asked.number, "done", (int)v->asked.done, "ok",
	                 (int)(v->asked.done && v->asked.status == 0), "text", report_text(v->asked.text));
}

json_t *vault_summary(const struct engine_service *s, json_t *reasons)
{
	const struct engine_vault *v = s->vault;
	if (!s->conf->vault.path[0])
		return json_null();
	if (v && v->told && v->problem[0])
		report_say(reasons, "vault of %s: %s", s->conf->name, v->problem);
	const struct wire_snapshot *good = v && v->told ? last_good(v) : NULL;
	return json_pack("{s:s, s:s, s:I, s:o, s:o}", "path", s->conf->vault.path, "on_compromise",
	                 s->conf->vault.on_compromise == CONF_COMPROMISE_ROLLBACK ? "rollback" : "keep", "snapshots",
	                 (json_int_t)(v ? v->n_snapshots : 0), "last_good", good ? report_when(good->ended_us) : json_null(),
	                 "problem", v && v->problem[0] ? report_text(v->problem) : json_null());
}

static json_t *vault_json(const struct engine_service *s)
{
	json_t *list = json_array();
	for (size_t i = 0; s->vault && i < s->vault->n_snapshots; i++)
		json_array_append_new(list, snapshot_json(&s->vault->snapshots[i]));
	return json_pack("{s:s, s:o, s:o, s:o, s:o}", "service", s->conf->name, "repository",
	                 report_text(s->conf->vault.repository), "problem",
	                 s->vault && s->vault->problem[0] ? report_text(s->vault->problem) : json_null(), "asked",
	                 s->vault ? asked_json(s->vault) : json_null(), "snapshots", list);
}

json_t *vault_report(const struct engine *e)
{
	json_t *list = json_array();
	for (size_t i = 0; i < e->n_services; i++)
		if (e->services[i].conf->vault.path[0])
			json_array_append_new(list, vault_json(&e->services[i]));
	return json_pack("{s:o}", "vaults", list);
}

static json_t *change_json(const struct engine_service *s, const struct vault_change *one)
{
	static const char *const kinds[WIRE_CHANGE_MAX_] = {"changed", "added", "removed", "returned"};
	json_t *incident = one->change.incident ? json_integer((json_int_t)one->change.incident) : json_null();
	return json_pack("{s:s, s:I, s:o, s:s, s:o, s:I}", "service", s->conf->name, "number", (json_int_t)one->change.number,
	                 "incident", incident, "kind", kinds[one->change.kind], "path", report_text(one->path), "bytes",
	                 (json_int_t)one->change.bytes);
}

json_t *vault_changes(const struct engine *e, uint64_t incident)
{
	json_t *list = json_array();
	for (size_t i = 0; i < e->n_services; i++) {
		const struct engine_service *s = &e->services[i];
		for (size_t k = 0; s->vault && k < s->vault->n_changes; k++)
			if (!incident || s->vault->changes[k].change.incident == incident)
				json_array_append_new(list, change_json(s, &s->vault->changes[k]));
	}
	return json_pack("{s:o}", "changes", list);
}

/* --- what is asked for */

static unsigned refuse(json_t **ret_answer, unsigned status, const char *text)
{
	*ret_answer = json_pack("{s:s}", "error", text);
	return status;
}

/* The service that is meant: the named one, or the only one with a vault. NULL: `ret_wrong` says why. */
static struct engine_service *service_meant(struct engine *e, const json_t *body, const char **ret_wrong)
{
	const json_t *named = json_object_get(body, "service");
	const char *name = json_string_value(named);
	struct engine_service *found = NULL;
	size_t n = 0;
	for (size_t i = 0; i < e->n_services; i++) {
		struct engine_service *s = &e->services[i];
		if (!s->conf->vault.path[0] || (name && strcmp(name, s->conf->name) != 0))
			continue;
		found = s;
		n++;
	}
	*ret_wrong = NULL;
	if (named && !name)
		*ret_wrong = "'service' must be a service's name in quotes";
	else if (n == 0)
		*ret_wrong = name ? "there is no such service, or it has no vault" : "no service has a vault";
	else if (n > 1)
		*ret_wrong = "several services have a vault: name one, as in {\"service\": \"NAME\"}";
	return *ret_wrong ? NULL : found;
}

static unsigned ask(struct engine *e, const json_t *body, enum order_type type, const char *number_key, json_t **ret_answer)
{
	const char *key, *wrong = NULL;
	json_t *value;
	json_int_t number = number_key ? json_integer_value(json_object_get(body, number_key)) : 0;
	json_object_foreach(
	        (json_t *)(uintptr_t)body, key,
	        value) if (strcmp(key, "service") != 0 &&
	                   (!number_key ||
	                    strcmp(key, number_key) != 0)) return refuse(ret_answer, MHD_HTTP_BAD_REQUEST,
	                                                                 number_key ? "a body is {\"service\": \"NAME\", and the "
	                                                                              "number of a snapshot or of a change}"
	                                                                            : "a body is {\"service\": \"NAME\"}");
	if (number_key && number < 1)
		return refuse(ret_answer, MHD_HTTP_BAD_REQUEST, "the number of a snapshot or of a change is missing, or is none");
	struct engine_service *s = service_meant(e, body, &wrong);
	if (!s)
		return refuse(ret_answer, MHD_HTTP_BAD_REQUEST, wrong);
	struct engine_vault *v = vault_of(s);
	if (!hands_ready(e->hands, WIRE_VAULT))
		return refuse(ret_answer, MHD_HTTP_CONFLICT, "koboshi-vault does not run at the moment: try again in a second");
	if (v->asked.number && !v->asked.done)
		return refuse(ret_answer, MHD_HTTP_CONFLICT,
		              "koboshi-vault is at something that was asked for before: wait for it");
	v->asked.number++;
	v->asked.done = false;
	v->asked.text[0] = '\0';
	hands_send(e->hands, &(struct wire_order){.type = type, .service = s->index, .number = (uint64_t)number},
	           &(struct hands_cookie){.service = s->index});
	*ret_answer = json_pack("{s:s, s:I}", "service", s->conf->name, "asked", (json_int_t)v->asked.number);
	return MHD_HTTP_ACCEPTED;
}

unsigned vault_backup(struct engine *e, const json_t *body, json_t **ret_answer)
{
	return ask(e, body, ORDER_VAULT_BACKUP, NULL, ret_answer);
}

unsigned vault_restore(struct engine *e, const json_t *body, json_t **ret_answer)
{
	return ask(e, body, ORDER_VAULT_RESTORE, "snapshot", ret_answer);
}

unsigned vault_return(struct engine *e, const json_t *body, json_t **ret_answer)
{
	return ask(e, body, ORDER_VAULT_RETURN, "change", ret_answer);
}
