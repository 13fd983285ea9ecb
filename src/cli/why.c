/* `koboshi why [SUBJECT]`: why an instance or a variant is judged as it is, and what would change that. Without: all of them. */
#include "cli/api.h"
#include "cli/cli.h"
#include "cli/show.h"

#include <stdio.h>
#include <string.h>

static void print_sentences(const char *title, const json_t *list)
{
	size_t i;
	json_t *item;
	json_array_foreach(list, i, item) printf("  %-13s %s\n", i ? "" : title, json_string_value(item));
}

static void print_findings(const json_t *findings)
{
	static const char *const columns[] = {"FINDING", "SEEN FROM", "TIMES", "LAST", "WEIGHT", "DETAIL"};
	size_t i;
	json_t *finding;
	if (json_array_size(findings) == 0)
		return;
	struct libscols_table *table = show_table_new(columns, countof(columns));
	show_right(table, 2);
	json_array_foreach(findings, i, finding)
	{
		struct libscols_line *row = show_row(table);
		char text[SHOW_TEXT_MAX], last[SHOW_TEXT_MAX + 8];
		show_cell(row, 0, show_string(finding, "finding"), SHOW_PLAIN);
		show_cell(row, 1, show_string(finding, "vantage"), SHOW_PLAIN);
		show_cell(row, 2, show_member(finding, "count", text), SHOW_PLAIN);
		snprintf(last, sizeof(last), "%s ago",
		         show_ms(1000 * json_number_value(json_object_get(finding, "ago_s")), text));
		show_cell(row, 3, last, SHOW_PLAIN);
		show_cell(row, 4, show_string(finding, "weight"), SHOW_PLAIN);
		show_cell(row, 5, show_string(finding, "detail"), SHOW_QUIET);
	}
	printf("\n");
	show_table_print(table);
}

static void print_one(const json_t *why)
{
	const char *verdict = show_string(why, "verdict");
	printf("%s%s%s  %s%s%s\n", show_on(SHOW_BOLD), show_string(why, "subject"), show_off(SHOW_BOLD),
	       show_on(show_mood_of(verdict)), verdict, show_off(show_mood_of(verdict)));
	print_sentences("because", json_object_get(why, "because"));
	print_sentences("would change", json_object_get(why, "would_change"));
	print_findings(json_object_get(why, "findings"));
}

static void print_all(const json_t *subjects)
{
	static const char *const columns[] = {"SUBJECT", "KIND", "VERDICT"};
	size_t i;
	json_t *subject;
	struct libscols_table *table = show_table_new(columns, countof(columns));
	json_array_foreach(subjects, i, subject)
	{
		struct libscols_line *row = show_row(table);
		const char *verdict = show_string(subject, "verdict");
		show_cell(row, 0, show_string(subject, "subject"), SHOW_BOLD);
		show_cell(row, 1, show_string(subject, "kind"), SHOW_PLAIN);
		show_cell(row, 2, verdict, show_mood_of(verdict));
	}
	show_table_print(table);
}

int cli_why(const struct cli *cli)
{
	struct api_answer answer;
	char path[96] = "/v1/why";
	if (cli->n_args == 1 && !cli_is_name(cli->args[0]))
		return cli_fail("'%.40s' is no name of an instance or a variant; 'koboshi why' lists them", cli->args[0]);
	if (cli->n_args == 1)
		snprintf(path, sizeof(path), "/v1/why/%s", cli->args[0]);
	if (cli_ask(cli, path, NULL, &answer) != 0)
		return CLI_FAILED;
	if (!cli->json && cli->n_args == 1)
		print_one(answer.json);
	else if (!cli->json)
		print_all(json_object_get(answer.json, "subjects"));
	api_answer_done(&answer);
	return 0;
}
