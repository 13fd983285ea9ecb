/*
 * `koboshi evidence [INCIDENT]`: what is kept of fallen guests, with the sums that the ledger has of it. The files are root's
 * alone; this shows where they are, not what is in them.
 */
#include "cli/api.h"
#include "cli/cli.h"
#include "cli/show.h"

#include <stdio.h>
#include <string.h>

static void row_put(struct libscols_table *table, const json_t *one)
{
	char text[SHOW_TEXT_MAX];
	bool gone = *show_string(one, "dropped"), open = json_is_true(json_object_get(one, "open"));
	struct libscols_line *row = show_row(table);
	show_cell(row, 0, show_member(one, "incident", text), SHOW_BOLD);
	show_cell(row, 1, show_string(one, "file"), gone ? SHOW_QUIET : SHOW_PLAIN);
	show_cell(row, 2, show_bytes(json_integer_value(json_object_get(one, "bytes")), text), SHOW_PLAIN);
	show_cell(row, 3, show_moment(one, "taken", "-", text), SHOW_PLAIN);
	show_cell(row, 4, gone ? "dropped" : open ? "incident open" : "kept", gone ? SHOW_QUIET : open ? SHOW_WARN : SHOW_PLAIN);
	show_cell(row, 5, show_string(one, "sha256"), SHOW_PLAIN);
}

/* The folder of all: what comes before INCIDENT/FILE in a path. */
static void place_print(const json_t *list)
{
	const char *path = show_string(json_array_get(list, 0), "path");
	size_t length = strlen(path);
	for (int parts = 0; length > 0 && parts < 2; length--)
		parts += path[length - 1] == '/';
	if (length > 0)
		printf("Kept as %.*s/INCIDENT/FILE, for root only.\n", (int)length, path);
}

static void list_print(const json_t *list)
{
	static const char *const columns[] = {"INCIDENT", "FILE", "SIZE", "TAKEN (UTC)", "STATE", "SHA-256"};
	size_t i;
	json_t *one;
	struct libscols_table *table = show_table_new(columns, countof(columns));
	show_right(table, 0);
	show_right(table, 2);
	json_array_foreach(list, i, one) row_put(table, one);
	show_table_print(table);
	place_print(list);
}

int cli_evidence(const struct cli *cli)
{
	struct api_answer answer;
	char path[64] = "/v1/evidence";
	if (cli->n_args == 1) {
		const char *number = cli->args[0];
		if (!*number || strlen(number) > 18 || number[strspn(number, "0123456789")])
			return cli_fail("'%.40s' is not an incident's number; 'koboshi incidents' lists them", number);
		snprintf(path, sizeof(path), "/v1/evidence/%s", number);
	}
	if (cli_ask(cli, path, NULL, &answer) != 0)
		return CLI_FAILED;
	const json_t *list = json_object_get(answer.json, "evidence");
	if (!cli->json && json_array_size(list) > 0)
		list_print(list);
	else if (!cli->json)
		printf("no evidence%s%s\n", cli->n_args == 1 ? " of incident " : " yet", cli->n_args == 1 ? cli->args[0] : "");
	api_answer_done(&answer);
	return 0;
}
