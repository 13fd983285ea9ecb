/* What each instance could read, as the ledger has it: names and places. */
#include "engine/report.h"

#include <stdio.h>

#define SECRETS_SHOWN 500

static int add_row(void *list, const struct ledger_secret *row)
{
	char name[16];
	snprintf(name, sizeof(name), "kb-%u", row->instance);
	json_array_append_new(list, json_pack("{s:o, s:o, s:o, s:o, s:s, s:o, s:o}", "instance", report_text(name), "kind",
	                                      report_text(row->kind), "name", report_text(row->name), "place",
	                                      report_text(row->place), "state", row->revoked_us ? "revoked" : "valid", "made",
	                                      report_when(row->made_us), "revoked", report_when(row->revoked_us)));
	return 0;
}

json_t *report_secrets(struct ledger *l, uint32_t instance, struct err *err)
{
	json_t *list = json_array();
	if (ledger_secret_each(l, instance, SECRETS_SHOWN, add_row, list, err) == 0)
		return json_pack("{s:o}", "secrets", list);
	json_decref(list);
	return NULL;
}
