/* `koboshi backup`, `snapshots`, `restore`, `data diff`, `data return`: the data of services, outside of their guests. */
#include "cli/api.h"
#include "cli/cli.h"
#include "cli/show.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LOOK_NS 100000000l
#define LOOKS 36000 /* an hour; it goes on without us */

static const json_t *vault_of(const json_t *answer, const char *service)
{
	size_t i;
	json_t *one;
	json_array_foreach(json_object_get(answer, "vaults"), i,
	                   one) if (strcmp(show_string(one, "service"), service) == 0) return one;
	return NULL;
}

/* Seconds, on a terminal only. */
static void progress_show(int look)
{
	if (look >= 20 && look % 10 == 0 && isatty(STDERR_FILENO))
		fprintf(stderr, "\r%d s", look / 10);
}

/* Prints what was done, or why not. */
static int outcome_await(const struct cli *cli, const char *service, json_int_t number)
{
	const struct cli quiet = {.socket = cli->socket};
	for (int look = 0; look < LOOKS; look++) {
		struct api_answer answer;
		if (cli_ask(&quiet, "/v1/snapshots", NULL, &answer) != 0)
			return CLI_FAILED;
		const json_t *asked = json_object_get(vault_of(answer.json, service), "asked");
		bool ours = json_integer_value(json_object_get(asked, "number")) == number;
		bool done = !ours || json_is_true(json_object_get(asked, "done"));
		int r = 0;
		if (done && look >= 20 && isatty(STDERR_FILENO))
			fputc('\n', stderr);
		if (done && !ours)
			r = cli_fail("koboshi-engine was started anew meanwhile: koboshi snapshots shows what came of it");
		else if (done && !json_is_true(json_object_get(asked, "ok")))
			r = cli_fail("%s", show_string(asked, "text"));
		else if (done && !cli->json)
			printf("%s\n", show_string(asked, "text")[0] ? show_string(asked, "text") : "done");
		api_answer_done(&answer);
		if (done)
			return r;
		progress_show(look);
		nanosleep(&(struct timespec){.tv_nsec = LOOK_NS}, NULL);
	}
	return cli_fail("it is still under way; koboshi snapshots shows what came of it");
}

static int ask_for(const struct cli *cli, const char *path, json_t *question, const char *service)
{
	struct api_answer answer;
	if (service)
		json_object_set_new(question, "service", json_string(service));
	auto_free char *body = json_dumps(question, JSON_COMPACT);
	json_decref(question);
	if (!body)
		return cli_fail("the arguments are no text in UTF-8");
	if (cli_ask(cli, path, body, &answer) != 0)
		return CLI_FAILED;
	char name[64];
	snprintf(name, sizeof(name), "%s", show_string(answer.json, "service"));
	json_int_t number = json_integer_value(json_object_get(answer.json, "asked"));
	api_answer_done(&answer);
	return outcome_await(cli, name, number);
}

int cli_backup(const struct cli *cli)
{
	return ask_for(cli, "/v1/backup", json_object(), cli->n_args ? cli->args[0] : NULL);
}

/* N [SERVICE] */
static int ask_number(const struct cli *cli, const char *path, const char *key, const char *what, const char *lists)
{
	const char *text = cli->args[0];
	size_t digits = strspn(text, "0123456789");
	if (digits == 0 || digits > 15 || text[digits])
		return cli_fail("'%.40s' is no %s's number; %s lists them", text, what, lists);
	return ask_for(cli, path, json_pack("{s:I}", key, (json_int_t)strtoll(text, NULL, 10)),
	               cli->n_args > 1 ? cli->args[1] : NULL);
}

int cli_restore(const struct cli *cli)
{
	return ask_number(cli, "/v1/restore", "snapshot", "snapshot", "koboshi snapshots");
}

int cli_data_return(const struct cli *cli)
{
	return ask_number(cli, "/v1/return", "change", "change", "koboshi data diff");
}

static void snapshot_put(struct libscols_table *table, const json_t *vault, const json_t *one)
{
	char number[SHOW_TEXT_MAX], files[SHOW_TEXT_MAX], bytes[SHOW_TEXT_MAX], begun[SHOW_TEXT_MAX], ended[SHOW_TEXT_MAX];
	const char *state = show_string(one, "state");
	struct libscols_line *row = show_row(table);
	show_cell(row, 0, show_member(one, "number", number), SHOW_PLAIN);
	show_cell(row, 1, show_string(vault, "service"), SHOW_PLAIN);
	show_cell(row, 2, show_moment(one, "begun", "", begun), SHOW_PLAIN);
	show_cell(row, 3, show_moment(one, "ended", "", ended), SHOW_QUIET);
	show_cell(row, 4, show_member(one, "files", files), SHOW_PLAIN);
	show_cell(row, 5, show_member(one, "bytes", bytes), SHOW_PLAIN);
	show_cell(row, 6, state, strcmp(state, "good") == 0 ? SHOW_PLAIN : SHOW_BAD);
}

int cli_snapshots(const struct cli *cli)
{
	static const char *const columns[] = {"NUMBER", "SERVICE", "BEGUN (UTC)", "ENDED", "FILES", "BYTES", "STATE"};
	struct api_answer answer;
	size_t i, k, n = 0;
	json_t *vault, *one;
	if (cli_ask(cli, "/v1/snapshots", NULL, &answer) != 0)
		return CLI_FAILED;
	const json_t *vaults = json_object_get(answer.json, "vaults");
	if (!cli->json && json_array_size(vaults) == 0)
		puts("No service has a vault.");
	json_array_foreach(vaults, i, vault)
	{
		n += json_array_size(json_object_get(vault, "snapshots"));
		if (!cli->json && show_string(vault, "problem")[0])
			printf("%s: %s\n", show_string(vault, "service"), show_string(vault, "problem"));
	}
	if (!cli->json && n == 0 && json_array_size(vaults))
		puts("There is no snapshot yet.");
	if (!cli->json && n) {
		struct libscols_table *table = show_table_new(columns, countof(columns));
		show_right(table, 0);
		show_right(table, 4);
		show_right(table, 5);
		json_array_foreach(vaults, i, vault) json_array_foreach(json_object_get(vault, "snapshots"), k, one)
		        snapshot_put(table, vault, one);
		show_table_print(table);
	}
	api_answer_done(&answer);
	return 0;
}

static void change_put(struct libscols_table *table, const json_t *one)
{
	char number[SHOW_TEXT_MAX], incident[SHOW_TEXT_MAX], bytes[SHOW_TEXT_MAX];
	const char *kind = show_string(one, "kind");
	struct libscols_line *row = show_row(table);
	show_cell(row, 0, show_member(one, "number", number), SHOW_PLAIN);
	show_cell(row, 1, json_is_integer(json_object_get(one, "incident")) ? show_member(one, "incident", incident) : "-",
	          SHOW_PLAIN);
	show_cell(row, 2, show_string(one, "service"), SHOW_PLAIN);
	show_cell(row, 3, kind, strcmp(kind, "returned") == 0 ? SHOW_QUIET : SHOW_BOLD);
	show_cell(row, 4, show_member(one, "bytes", bytes), SHOW_PLAIN);
	show_cell(row, 5, show_string(one, "path"), SHOW_PLAIN);
}

int cli_data_diff(const struct cli *cli)
{
	static const char *const columns[] = {"NUMBER", "INCIDENT", "SERVICE", "WAS", "BYTES", "PATH"};
	struct api_answer answer;
	char path[64] = "/v1/data";
	size_t i;
	json_t *one;
	const char *number = cli->n_args ? cli->args[0] : "";
	if (cli->n_args && (strspn(number, "0123456789") != strlen(number) || strlen(number) == 0 || strlen(number) > 15))
		return cli_fail("'%.40s' is no incident's number; koboshi incidents lists them", number);
	if (cli->n_args)
		snprintf(path, sizeof(path), "/v1/data/%s", number);
	if (cli_ask(cli, path, NULL, &answer) != 0)
		return CLI_FAILED;
	const json_t *list = json_object_get(answer.json, "changes");
	if (!cli->json && json_array_size(list) == 0) {
		printf("Nothing was put aside%s%s.\n", cli->n_args ? " in incident " : "", number);
	} else if (!cli->json) {
		struct libscols_table *table = show_table_new(columns, countof(columns));
		show_right(table, 0);
		show_right(table, 1);
		show_right(table, 4);
		json_array_foreach(list, i, one) change_put(table, one);
		show_table_print(table);
	}
	api_answer_done(&answer);
	return 0;
}
