/* What is kept of fallen guests, as the ledger has it; and where root finds it. */
#include "engine/report.h"

#include <stdio.h>

#define EVIDENCE_SHOWN 500

struct evidence_list {
	json_t *json;
	const char *state_dir;
};

static int add_row(void *arg, const struct ledger_evidence *row)
{
	const struct evidence_list *list = arg;
	char path[CONF_PATH_MAX + 96], name[16];
	snprintf(path, sizeof(path), "%s/evidence/%llu/%s", list->state_dir, (unsigned long long)row->incident, row->file);
	snprintf(name, sizeof(name), "kb-%u", row->instance);
	json_array_append_new(list->json, json_pack("{s:I, s:b, s:o, s:o, s:o, s:I, s:o, s:o, s:o}", "incident",
	                                            (json_int_t)row->incident, "open", (int)row->open, "instance",
	                                            report_text(name), "file", report_text(row->file), "path", report_text(path),
	                                            "bytes", (json_int_t)row->bytes, "sha256", report_text(row->sha256), "taken",
	                                            report_when(row->taken_us), "dropped", report_when(row->dropped_us)));
	return 0;
}

json_t *report_evidence_list(struct ledger *l, const char *state_dir, uint64_t incident, struct err *err)
{
	struct evidence_list list = {json_array(), state_dir};
	if (ledger_evidence_each(l, incident, EVIDENCE_SHOWN, add_row, &list, err) == 0)
		return list.json;
	json_decref(list.json);
	return NULL;
}

json_t *report_evidence(struct ledger *l, const char *state_dir, uint64_t incident, struct err *err)
{
	json_t *list = report_evidence_list(l, state_dir, incident, err);
	return list ? json_pack("{s:o}", "evidence", list) : NULL;
}
