/*
 * `koboshi lessons`, `lessons export`, `lessons import`: what incidents taught. A file of them has one a line, as each was
 * signed; whether one is taken is decided by koboshid alone.
 */
#include "cli/api.h"
#include "cli/cli.h"
#include "cli/show.h"
#include "lesson/lesson.h"
#include "lib/bytes.h"

#include <stdio.h>
#include <string.h>

#define FILE_MAX (4u << 20)

/* "server nginx 1.22", a kernel and a runtime in one cell. */
static void components_text(const json_t *list, char *ret_text, size_t size)
{
	size_t i;
	json_t *one;
	ret_text[0] = '\0';
	json_array_foreach(list, i, one)
	{
		size_t used = strlen(ret_text);
		const char *text = json_string_value(one), *name = text ? strchr(text, ' ') : NULL;
		if (name && strncmp(text, "libc ", 5) != 0)
			snprintf(ret_text + used, size - used, "%s%s", used ? ", " : "", name + 1);
	}
}

static void row_put(struct libscols_table *table, const json_t *one)
{
	char text[SHOW_TEXT_MAX], avoid[256], kind[80];
	const json_t *lesson = json_object_get(one, "lesson");
	bool expired = json_is_true(json_object_get(one, "expired")), own = json_is_true(json_object_get(one, "own"));
	enum show_mood mood = expired ? SHOW_QUIET : SHOW_PLAIN;
	struct libscols_line *row = show_row(table);
	show_cell(row, 0, show_member(one, "number", text), SHOW_BOLD);
	show_cell(row, 1, own ? "here" : show_string(lesson, "device"), mood);
	show_cell(row, 2, show_member(lesson, "incident", text), mood);
	show_cell(row, 3, show_string(lesson, "service"), mood);
	snprintf(kind, sizeof(kind), "%s (%s%s%s)", show_string(lesson, "verdict"), show_string(lesson, "finding"),
	         *show_string(lesson, "beside") ? ", " : "", show_string(lesson, "beside"));
	show_cell(row, 4, kind, mood);
	components_text(json_object_get(lesson, "victim"), avoid, sizeof(avoid));
	show_cell(row, 5, avoid, mood);
	snprintf(text, sizeof(text), "%zu", json_array_size(json_object_get(lesson, "sources")));
	show_cell(row, 6, text, mood);
	show_cell(row, 7, show_string(lesson, "rung"), mood);
	snprintf(text, sizeof(text), "%.10s%s", show_string(lesson, "expires"), expired ? " (over)" : "");
	show_cell(row, 8, text, mood);
}

int cli_lessons(const struct cli *cli)
{
	static const char *const columns[] = {"NUMBER", "FROM", "INCIDENT", "SERVICE", "KIND", "AVOID", "CUT", "WORKED", "UNTIL"};
	struct api_answer answer;
	size_t i;
	json_t *one;
	if (cli_ask(cli, "/v1/lessons", NULL, &answer) != 0)
		return CLI_FAILED;
	const json_t *list = json_object_get(answer.json, "lessons");
	const char *problem = show_string(answer.json, "problem");
	if (!cli->json && json_array_size(list) == 0) {
		puts("No incident has taught anything yet.");
	} else if (!cli->json) {
		struct libscols_table *table = show_table_new(columns, countof(columns));
		show_right(table, 0);
		show_right(table, 2);
		show_right(table, 6);
		json_array_foreach(list, i, one) row_put(table, one);
		show_table_print(table);
	}
	if (!cli->json && *problem)
		printf("%s\n", problem);
	api_answer_done(&answer);
	return 0;
}

/* --- out */

int cli_lessons_export(const struct cli *cli)
{
	const struct cli quiet = {.socket = cli->socket};
	const char *number = cli->n_args == 1 ? cli->args[0] : NULL;
	char text[SHOW_TEXT_MAX];
	struct api_answer answer;
	size_t i, found = 0;
	json_t *one;
	if (number && (!*number || strlen(number) > 18 || number[strspn(number, "0123456789")]))
		return cli_fail("'%.40s' is not a lesson's number; 'koboshi lessons' lists them", number);
	if (cli_ask(&quiet, "/v1/lessons", NULL, &answer) != 0)
		return CLI_FAILED;
	json_array_foreach(json_object_get(answer.json, "lessons"), i, one)
	{
		if (number && strcmp(show_member(one, "number", text), number) != 0)
			continue;
		auto_free char *line = json_dumps(json_object_get(one, "lesson"), JSON_SORT_KEYS | JSON_COMPACT);
		if (line)
			puts(line);
		found++;
	}
	api_answer_done(&answer);
	return number && !found ? cli_fail("there is no lesson %s; 'koboshi lessons' lists them", number) : 0;
}

/* --- in */

struct import {
	const struct cli *cli;
	const char *path;
	unsigned line, taken, known, refused;
};

static void refuse(struct import *import, const char *sentence)
{
	import->refused++;
	cli_fail("%s:%u: %s", import->path, import->line, sentence);
}

/* False: nobody answers, and it is no use to go on. */
static bool bring(struct import *import, const char *text)
{
	struct api_answer answer;
	struct err err;
	if (strlen(text) > LESSON_BYTES_MAX) {
		refuse(import, "this is no lesson: it is longer than one can be");
		return true;
	}
	if (api_call(import->cli->socket, "/v1/lessons", text, &answer, &err) < 0) {
		cli_fail("%s", err.text);
		return false;
	}
	if (answer.status >= 400)
		refuse(import, show_string(answer.json, "error"));
	else if (json_is_true(json_object_get(answer.json, "taken")))
		import->taken++;
	else
		import->known++;
	api_answer_done(&answer);
	return true;
}

int cli_lessons_import(const struct cli *cli)
{
	struct import import = {.cli = cli, .path = cli->args[0]};
	struct err err;
	auto_free uint8_t *bytes = NULL;
	size_t size;
	if (file_read(import.path, FILE_MAX, &bytes, &size, &err) < 0)
		return cli_fail("%s", err.text);
	if (strlen((char *)bytes) != size)
		return cli_fail("%s: is no text: lessons stand in it one a line, as 'koboshi lessons export' writes them",
		                import.path);
	char *rest = (char *)bytes;
	for (char *line; (line = strsep(&rest, "\n"));) {
		import.line++;
		if (!line[strspn(line, " \t\r")])
			continue;
		if (!bring(&import, line))
			return CLI_FAILED;
	}
	if (import.taken + import.known + import.refused == 0)
		return cli_fail("%s: there is no lesson in it", import.path);
	printf(cli->json ? "{\"taken\":%u,\"known\":%u,\"refused\":%u}\n" : "%u taken, %u known already, %u refused\n",
	       import.taken, import.known, import.refused);
	return import.refused ? CLI_FAILED : 0;
}
