/* `koboshi contain`, `lock`, `freeze`, `stop-service`, `stop`, `release`, `containments`: who and what is kept from the services.
 */
#include "cli/api.h"
#include "cli/cli.h"
#include "cli/show.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define LOOKS 100 /* for what became of it, 20 ms each */

static const json_t *of_number(const json_t *list, json_int_t number)
{
	size_t i;
	json_t *one;
	json_array_foreach(list, i, one) if (json_integer_value(json_object_get(one, "number")) == number) return one;
	return NULL;
}

/* Until it is no longer merely wanted. Prints what was read back, or why not. */
static int outcome_await(const struct cli *cli, json_int_t number, const char *wanted)
{
	const struct cli quiet = {.socket = cli->socket};
	for (int look = 0; look < LOOKS; look++) {
		struct api_answer answer;
		if (cli_ask(&quiet, "/v1/containments", NULL, &answer) != 0)
			return CLI_FAILED;
		const json_t *one = of_number(json_object_get(answer.json, "containments"), number);
		const char *state = show_string(one, "state");
		bool there = strcmp(state, wanted) == 0, refused = strcmp(state, "refused") == 0;
		if (there && !cli->json)
			printf("containment %lld: %s\n", (long long)number, show_string(one, "proof"));
		int r = refused ? cli_fail("%s", show_string(one, "proof")) : 0;
		api_answer_done(&answer);
		if (there || refused)
			return r;
		nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
	}
	return cli_fail("containment %lld is not %s yet; koboshi containments shows why", (long long)number, wanted);
}

/* "90s", "10min", "24h", "7d". 0: no duration. */
static long long seconds_of(const char *text)
{
	static const struct {
		const char *unit;
		long long seconds;
	} units[] = {{"s", 1}, {"min", 60}, {"h", 3600}, {"d", 86400}};
	char *end;
	long long number = strtoll(text, &end, 10);
	for (size_t i = 0; i < countof(units) && isdigit((unsigned char)*text) && number > 0 && number < 1000000; i++)
		if (strcmp(end, units[i].unit) == 0)
			return number * units[i].seconds;
	return 0;
}

static int ask_for(const struct cli *cli, const char *path, json_t *question, const char *wanted)
{
	struct api_answer answer;
	auto_free char *body = question ? json_dumps(question, JSON_COMPACT) : NULL;
	json_decref(question);
	if (!body)
		return cli_fail("the arguments are no text in UTF-8");
	if (cli_ask(cli, path, body, &answer) != 0)
		return CLI_FAILED;
	json_int_t number = json_integer_value(json_object_get(answer.json, "containment"));
	api_answer_done(&answer);
	return outcome_await(cli, number, wanted);
}

/* `question` with the reason, which stands behind so many words, and with the time if there is one. */
static int begin(const struct cli *cli, const char *path, json_t *question, int words, const char *wanted)
{
	const char *duration = cli->n_args == words + 2 ? cli->args[words + 1] : NULL;
	long long for_s = duration ? seconds_of(duration) : 0;
	if (duration && !for_s) {
		json_decref(question);
		return cli_fail("'%.40s' is no duration, such as 90s, 10min, 24h or 7d", duration);
	}
	if (question && json_object_set_new(question, "reason", json_string(cli->args[words])) < 0) {
		json_decref(question);
		question = NULL;
	}
	if (question && for_s)
		json_object_set_new(question, "for_s", json_integer(for_s));
	return ask_for(cli, path, question, wanted);
}

#define SUBJECT_MAX 200

/* What is contained is written as the list of containments shows it; a source alone needs no first word. */
static const struct {
	const char *kind;
	int words; /* its own included */
	const char *form;
} subjects[] = {
        {"source", 2, "source ADDRESS|NETWORK"},
        {"flow", 4, "flow tcp|udp CLIENT:PORT SERVICE:PORT"},
        {"port", 2, "port [SERVICE] PORT/tcp|PORT/udp"},
        {"limit", 3, "limit ADDRESS|NETWORK N/s|N/min|N/h"},
};

/* How many words the subject has; 0: there are too few or too many behind it. */
static int subject_words(const struct cli *cli, const char **ret_form)
{
	int words = 1;
	*ret_form = "ADDRESS|NETWORK";
	for (size_t i = 0; i < countof(subjects); i++) {
		if (strcmp(cli->args[0], subjects[i].kind) != 0)
			continue;
		words = subjects[i].words;
		*ret_form = subjects[i].form;
		if (strcmp(cli->args[0], "port") == 0 && !isdigit((unsigned char)cli->args[1][0]))
			words++; /* a service's name */
	}
	int behind = cli->n_args - words;
	return behind == 1 || behind == 2 ? words : 0;
}

int cli_contain(const struct cli *cli)
{
	const char *form;
	char subject[SUBJECT_MAX] = "";
	int words = subject_words(cli, &form);
	if (words == 0) {
		cli_fail("this is written: koboshi contain %s REASON [FOR]", form);
		return CLI_USAGE;
	}
	for (int i = 0, size = 0; i < words && size < SUBJECT_MAX; i++)
		size += snprintf(subject + size, (size_t)(SUBJECT_MAX - size), "%s%s", i ? " " : "", cli->args[i]);
	return begin(cli, "/v1/contain", json_pack("{s:s}", strchr(subject, ' ') ? "subject" : "source", subject), words,
	             "in-force");
}

int cli_hold(const struct cli *cli)
{
	bool stops = strcmp(cli->word, "stop") == 0;
	return begin(cli, "/v1/hold", json_pack("{s:s, s:s}", "instance", cli->args[0], "how", cli->word), 1,
	             stops ? "ended" : "in-force");
}

int cli_release(const struct cli *cli)
{
	const char *text = cli->args[0];
	size_t digits = strspn(text, "0123456789");
	if (digits == 0 || digits > 15 || text[digits])
		return cli_fail("'%.40s' is no containment's number; koboshi containments lists them", text);
	return ask_for(cli, "/v1/release", json_pack("{s:I}", "number", (json_int_t)strtoll(text, NULL, 10)), "ended");
}

static void row_put(struct libscols_table *table, const json_t *one)
{
	char number[SHOW_TEXT_MAX], begun[SHOW_TEXT_MAX], end[SHOW_TEXT_MAX];
	const char *state = show_string(one, "state"), *until = show_moment(one, "until", "released", end);
	struct libscols_line *row = show_row(table);
	show_cell(row, 0, show_member(one, "number", number), SHOW_PLAIN);
	show_cell(row, 1, state,
	          strcmp(state, "in-force") == 0  ? SHOW_BOLD
	          : strcmp(state, "refused") == 0 ? SHOW_BAD
	                                          : SHOW_QUIET);
	show_cell(row, 2, show_string(one, "subject"), SHOW_PLAIN);
	show_cell(row, 3, show_moment(one, "begun", "", begun), SHOW_PLAIN);
	show_cell(row, 4, show_moment(one, "ended", until, end), SHOW_PLAIN);
	show_cell(row, 5, show_string(one, "reason"), SHOW_PLAIN);
	show_cell(row, 6, show_string(one, "who"), SHOW_QUIET);
}

int cli_containments(const struct cli *cli)
{
	static const char *const columns[] = {"NUMBER", "STATE", "SUBJECT", "SINCE (UTC)", "UNTIL", "REASON", "WHO"};
	struct api_answer answer;
	size_t i;
	json_t *one;
	if (cli_ask(cli, "/v1/containments", NULL, &answer) != 0)
		return CLI_FAILED;
	const json_t *list = json_object_get(answer.json, "containments");
	if (!cli->json && json_array_size(list) == 0) {
		puts("Nothing is contained, and nothing was.");
	} else if (!cli->json) {
		struct libscols_table *table = show_table_new(columns, countof(columns));
		show_right(table, 0);
		json_array_foreach(list, i, one) row_put(table, one);
		show_table_print(table);
	}
	api_answer_done(&answer);
	return 0;
}
