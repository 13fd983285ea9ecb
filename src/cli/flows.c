/* `koboshi flows [INSTANCE]`: what goes through the instances' taps as flows, and what of it would be unusual. */
#include "cli/api.h"
#include "cli/cli.h"
#include "cli/show.h"

#include <stdio.h>
#include <string.h>

/* "12", "0.4", "-" for null. */
static const char *number(const json_t *object, const char *key, char *ret_text)
{
	const json_t *value = json_object_get(object, key);
	double n = json_number_value(value);
	if (!json_is_number(value))
		return "-";
	snprintf(ret_text, SHOW_TEXT_MAX, n > 0 && n < 10 && n != (int)n ? "%.1f" : "%.0f", n);
	return ret_text;
}

static bool is_alarming(const json_t *feature)
{
	const json_t *above = json_object_get(feature, "alarming_above");
	return json_is_number(above) && json_number_value(json_object_get(feature, "last")) > json_number_value(above);
}

static void print_one(const json_t *instance)
{
	static const char *const columns[] = {"FEATURE", "LAST", "USUAL", "MOST", "ALARM ABOVE", "OF"};
	static const char *const keys[] = {"last", "usual", "most", "alarming_above"};
	struct libscols_table *table = show_table_new(columns, countof(columns));
	char text[SHOW_TEXT_MAX], windows[SHOW_TEXT_MAX];
	json_t *feature;
	size_t i;
	for (size_t k = 0; k < countof(keys); k++)
		show_right(table, 1 + k);
	json_array_foreach(json_object_get(instance, "features"), i, feature)
	{
		struct libscols_line *row = show_row(table);
		bool judged = json_is_true(json_object_get(feature, "judged"));
		show_cell(row, 0, show_string(feature, "feature"), judged ? SHOW_PLAIN : SHOW_QUIET);
		for (size_t k = 0; k < countof(keys); k++)
			show_cell(row, 1 + k, number(feature, keys[k], text), is_alarming(feature) ? SHOW_BAD : SHOW_PLAIN);
		show_cell(row, 5, show_string(feature, "unit"), SHOW_QUIET);
	}
	printf("%s%s%s  %s open now, known from %s windows of ten seconds\n\n", show_on(SHOW_BOLD),
	       show_string(instance, "instance"), show_off(SHOW_BOLD), number(instance, "open", text),
	       number(instance, "windows", windows));
	show_table_print(table);
}

/* The last value of the feature of this name. */
static const char *last_of(const json_t *instance, const char *name, char *ret_text)
{
	json_t *feature;
	size_t i;
	json_array_foreach(json_object_get(instance, "features"), i, feature)
	{
		if (strcmp(show_string(feature, "feature"), name) == 0)
			return number(feature, "last", ret_text);
	}
	return "-";
}

static void print_all(const json_t *flows)
{
	static const char *const columns[] = {"INSTANCE", "ROLE", "OPEN", "ASKED", "NEW CLIENTS", "FAN-OUT", "FAILED"};
	static const char *const names[] = {"asked", "new clients", "fan-out", "failed"};
	struct libscols_table *table = show_table_new(columns, countof(columns));
	char text[SHOW_TEXT_MAX];
	json_t *instance;
	size_t i;
	for (size_t k = 2; k < countof(columns); k++)
		show_right(table, k);
	json_array_foreach(json_object_get(flows, "instances"), i, instance)
	{
		struct libscols_line *row = show_row(table);
		show_cell(row, 0, show_string(instance, "instance"), SHOW_BOLD);
		show_cell(row, 1, show_string(instance, "role"), SHOW_PLAIN);
		show_cell(row, 2, number(instance, "open", text), SHOW_PLAIN);
		for (size_t k = 0; k < countof(names); k++)
			show_cell(row, 3 + k, last_of(instance, names[k], text), SHOW_PLAIN);
	}
	show_table_print(table);
	if (!json_is_true(json_object_get(flows, "watched")))
		printf("\n  %sconntrack's events are not watched: koboshi-net is away, or could not open them%s\n",
		       show_on(SHOW_WARN), show_off(SHOW_WARN));
	if (json_number_value(json_object_get(flows, "lost")) > 0)
		printf("\n  %s times there were more flows than could be read: some were not counted\n",
		       number(flows, "lost", text));
}

int cli_flows(const struct cli *cli)
{
	struct api_answer answer;
	char path[96] = "/v1/flows";
	if (cli->n_args == 1 && !cli_is_name(cli->args[0]))
		return cli_fail("'%.40s' is no name of an instance; 'koboshi flows' lists them", cli->args[0]);
	if (cli->n_args == 1)
		snprintf(path, sizeof(path), "/v1/flows/%s", cli->args[0]);
	if (cli_ask(cli, path, NULL, &answer) != 0)
		return CLI_FAILED;
	if (!cli->json && cli->n_args == 1)
		print_one(answer.json);
	else if (!cli->json)
		print_all(answer.json);
	api_answer_done(&answer);
	return 0;
}
