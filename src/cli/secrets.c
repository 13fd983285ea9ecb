/* `koboshi secrets [INSTANCE]`: what instances could read and what of it is still good. Never a value. */
#include "cli/api.h"
#include "cli/cli.h"
#include "cli/show.h"

#include <stdio.h>
#include <string.h>

static void row_put(struct libscols_table *table, const json_t *one)
{
	char text[SHOW_TEXT_MAX];
	bool revoked = *show_string(one, "revoked");
	struct libscols_line *row = show_row(table);
	show_cell(row, 0, show_string(one, "instance"), SHOW_BOLD);
	show_cell(row, 1, show_string(one, "kind"), SHOW_PLAIN);
	show_cell(row, 2, show_string(one, "name"), SHOW_PLAIN);
	show_cell(row, 3, show_string(one, "place"), SHOW_PLAIN);
	show_cell(row, 4, show_moment(one, "made", "-", text), SHOW_PLAIN);
	show_cell(row, 5, show_string(one, "state"), revoked ? SHOW_QUIET : SHOW_PLAIN);
	show_cell(row, 6, show_moment(one, "revoked", "", text), SHOW_QUIET);
}

static void list_print(const json_t *list)
{
	static const char *const columns[] = {"INSTANCE", "KIND", "NAME", "WHERE", "MADE (UTC)", "STATE", "SINCE (UTC)"};
	size_t i;
	json_t *one;
	struct libscols_table *table = show_table_new(columns, countof(columns));
	json_array_foreach(list, i, one) row_put(table, one);
	show_table_print(table);
}

int cli_secrets(const struct cli *cli)
{
	struct api_answer answer;
	char path[64] = "/v1/secrets";
	if (cli->n_args == 1) {
		if (!cli_is_name(cli->args[0]) || strlen(cli->args[0]) > 40)
			return cli_fail("'%.40s' is not an instance's name; 'koboshi status' lists them", cli->args[0]);
		snprintf(path, sizeof(path), "/v1/secrets/%s", cli->args[0]);
	}
	if (cli_ask(cli, path, NULL, &answer) != 0)
		return CLI_FAILED;
	const json_t *list = json_object_get(answer.json, "secrets");
	if (!cli->json && json_array_size(list) > 0)
		list_print(list);
	else if (!cli->json)
		printf("nothing is known of what %s could read\n", cli->n_args == 1 ? cli->args[0] : "any guest");
	api_answer_done(&answer);
	return 0;
}
