/*
 * `koboshi incidents [N]`: the list, newest first, and the story of one: what happened, what was done about it and what
 * it is made of now, in the order in which it happened.
 */
#include "cli/api.h"
#include "cli/cli.h"
#include "cli/show.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

static void victim_text(const json_t *incident, char *ret_text)
{
	const json_t *victim = json_object_get(incident, "victim");
	long long number = json_integer_value(json_object_get(victim, "number"));
	if (number > 0)
		snprintf(ret_text, SHOW_TEXT_MAX, "kb-%lld (%.32s)", number, show_string(victim, "variant"));
	else
		snprintf(ret_text, SHOW_TEXT_MAX, "-");
}

/* Open incidents have no outcome yet: the phase says how far they are. */
static const char *outcome_text(const json_t *incident, char *ret_text)
{
	const char *outcome = show_string(incident, "outcome");
	if (*outcome)
		return outcome;
	snprintf(ret_text, SHOW_TEXT_MAX, "open: %.40s", show_string(incident, "phase"));
	return ret_text;
}

static const char *ms_text(const json_t *object, const char *key, char *ret_text)
{
	const json_t *ms = json_object_get(object, key);
	return json_is_number(ms) ? show_ms(json_number_value(ms), ret_text) : "-";
}

static void list_row(struct libscols_table *table, const json_t *incident)
{
	struct libscols_line *row = show_row(table);
	char text[SHOW_TEXT_MAX];
	const char *outcome = outcome_text(incident, text);
	enum show_mood mood = *show_string(incident, "outcome") ? show_mood_of(outcome) : SHOW_WARN;
	show_cell(row, 6, outcome, mood);
	show_cell(row, 0, show_member(incident, "number", text), SHOW_BOLD);
	show_cell(row, 1, show_ago(show_string(incident, "opened"), text), SHOW_PLAIN);
	show_cell(row, 2, show_string(incident, "service"), SHOW_PLAIN);
	victim_text(incident, text);
	show_cell(row, 3, text, SHOW_PLAIN);
	show_cell(row, 4, ms_text(incident, "detected_ms", text), SHOW_PLAIN);
	show_cell(row, 5, ms_text(incident, "steered_ms", text), SHOW_PLAIN);
	show_cell(row, 7, show_string(incident, "cause"), SHOW_PLAIN);
}

static void print_list(const json_t *incidents)
{
	static const char *const columns[] = {"N", "OPENED", "SERVICE", "VICTIM", "DETECTED", "STEERED", "OUTCOME", "CAUSE"};
	static const size_t right[] = {0, 4, 5};
	size_t i;
	json_t *incident;
	if (json_array_size(incidents) == 0) {
		printf("no incident yet\n");
		return;
	}
	struct libscols_table *table = show_table_new(columns, countof(columns));
	for (i = 0; i < countof(right); i++)
		show_right(table, right[i]);
	json_array_foreach(incidents, i, incident) list_row(table, incident);
	show_table_print(table);
}

static void print_head(const json_t *incident)
{
	char text[SHOW_TEXT_MAX], ago[SHOW_TEXT_MAX];
	const char *outcome = outcome_text(incident, text), *verdict = show_string(incident, "verdict");
	enum show_mood mood = *show_string(incident, "outcome") ? show_mood_of(outcome) : SHOW_WARN;
	printf("%sIncident %lld%s  %s  ", show_on(SHOW_BOLD), (long long)json_integer_value(json_object_get(incident, "number")),
	       show_off(SHOW_BOLD), show_string(incident, "service"));
	printf("%s%s%s\n", show_on(mood), outcome, show_off(mood));
	victim_text(incident, text);
	printf("  victim    %s%s%s%s%s\n", text, *verdict ? ", " : "", show_on(show_mood_of(verdict)), verdict,
	       show_off(show_mood_of(verdict)));
	printf("  cause     %s\n", show_string(incident, "cause"));
	printf("  opened    %s (%s)\n", show_string(incident, "opened"), show_ago(show_string(incident, "opened"), ago));
	if (*show_string(incident, "closed"))
		printf("  closed    %s (%s)\n", show_string(incident, "closed"), show_ago(show_string(incident, "closed"), ago));
}

/* Every "*_ms" that the API tells, so that a new measure needs no new client: "detected 12 ms, steered 41 ms". */
static void print_measures(const json_t *incident)
{
	const char *key;
	json_t *value;
	const char *before = "  measured  ";
	json_object_foreach((json_t *)incident, key, value)
	{
		char name[SHOW_TEXT_MAX], text[SHOW_TEXT_MAX];
		size_t length = strlen(key);
		if (length < 4 || length > sizeof(name) || strcmp(key + length - 3, "_ms") != 0 || !json_is_number(value))
			continue;
		snprintf(name, sizeof(name), "%.*s", (int)length - 3, key);
		for (char *at = name; *at; at++)
			if (*at == '_')
				*at = ' ';
		printf("%s%s %s", before, name, show_ms(json_number_value(value), text));
		before = ", ";
	}
	if (*before == ',')
		printf("\n");
}

static void print_steps(const json_t *steps)
{
	const char *phase = "";
	size_t i;
	json_t *step;
	json_array_foreach(steps, i, step)
	{
		const char *now = show_string(step, "phase");
		char at[SHOW_TEXT_MAX], text[SHOW_TEXT_MAX];
		if (strcmp(now, phase) != 0 && *now)
			printf("\n%s%c%s%s\n", show_on(SHOW_BOLD), toupper((unsigned char)now[0]), now + 1, show_off(SHOW_BOLD));
		phase = now;
		snprintf(at, sizeof(at), "+%.40s", show_ms(json_number_value(json_object_get(step, "ms")), text));
		printf("  %s%12s%s  %-14s  %s\n", show_on(SHOW_QUIET), at, show_off(SHOW_QUIET), show_string(step, "step"),
		       show_string(step, "text"));
	}
}

/* The API's newest is the first. */
static void print_evidence(const json_t *list)
{
	if (json_array_size(list) > 0)
		printf("\n%sEvidence%s\n", show_on(SHOW_BOLD), show_off(SHOW_BOLD));
	for (size_t i = json_array_size(list); i-- > 0;) {
		const json_t *one = json_array_get(list, i);
		char text[SHOW_TEXT_MAX];
		printf("  %-22s %10s  %s%s\n", show_string(one, "file"),
		       show_bytes(json_integer_value(json_object_get(one, "bytes")), text), show_string(one, "sha256"),
		       *show_string(one, "dropped") ? " (dropped)" : "");
	}
}

static void print_components(const json_t *components)
{
	const char *key, *comma = "";
	json_t *value;
	json_object_foreach((json_t *)components, key, value) if (json_is_string(value))
	{
		printf("%s%s", comma, json_string_value(value));
		comma = ", ";
	}
}

/* One instance of the list of what served before or after: a text, or an object with its components. */
static void print_party(const json_t *party)
{
	const json_t *components = json_object_get(party, "components");
	long long number = json_integer_value(json_object_get(party, "number"));
	if (json_is_string(party)) {
		printf("  %s\n", json_string_value(party));
		return;
	}
	if (!components) {
		printf("  ");
		print_components(party);
		printf("\n");
		return;
	}
	printf("  %-8s kb-%-4lld %-10s ", show_string(party, "role"), number, show_string(party, "variant"));
	print_components(components);
	printf("\n");
}

static void print_parties(const char *title, const json_t *parties)
{
	size_t i;
	json_t *party;
	if (json_is_array(parties) ? json_array_size(parties) == 0 : json_object_size(parties) == 0)
		return;
	printf("\n%s%s%s\n", show_on(SHOW_BOLD), title, show_off(SHOW_BOLD));
	if (json_is_object(parties))
		print_party(parties);
	json_array_foreach(parties, i, party) print_party(party);
}

static void print_story(const json_t *incident)
{
	print_head(incident);
	print_measures(incident);
	print_steps(json_object_get(incident, "steps"));
	print_evidence(json_object_get(incident, "evidence"));
	print_parties("Software before", json_object_get(incident, "before"));
	print_parties("Software after", json_object_get(incident, "after"));
}

int cli_incidents(const struct cli *cli)
{
	struct api_answer answer;
	char path[64] = "/v1/incidents";
	if (cli->n_args == 1) {
		const char *number = cli->args[0];
		if (!*number || strlen(number) > 18 || number[strspn(number, "0123456789")])
			return cli_fail("'%.40s' is not an incident's number; 'koboshi incidents' lists them", number);
		snprintf(path, sizeof(path), "/v1/incidents/%s", number);
	}
	if (cli_ask(cli, path, NULL, &answer) != 0)
		return CLI_FAILED;
	if (!cli->json && cli->n_args == 1)
		print_story(answer.json);
	else if (!cli->json)
		print_list(json_object_get(answer.json, "incidents"));
	api_answer_done(&answer);
	return 0;
}
