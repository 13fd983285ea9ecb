/* The look of all commands in one place; see show.h. libsmartcols knows the terminal's width and cuts the last column. */
#include "cli/show.h"

#include "lib/attr.h"
#include "lib/bytes.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static const struct {
	const char *sequence, *colour; /* for our own lines; for libsmartcols */
} moods[] = {
        [SHOW_PLAIN] = {"", NULL},        [SHOW_GOOD] = {"\033[32m", "green"},   [SHOW_WARN] = {"\033[33m", "brown"},
        [SHOW_BAD] = {"\033[31m", "red"}, [SHOW_QUIET] = {"\033[2m", "\033[2m"}, [SHOW_BOLD] = {"\033[1m", "bold"},
};

enum show_mood show_mood_of(const char *word)
{
	static const struct {
		const char *word;
		enum show_mood mood;
	} words[] = {
	        {"ok", SHOW_GOOD},    {"healthy", SHOW_GOOD},    {"recovered", SHOW_GOOD}, {"done", SHOW_GOOD},
	        {"alarm", SHOW_BAD},  {"degraded", SHOW_WARN},   {"blind", SHOW_WARN},     {"unknown", SHOW_WARN},
	        {"open", SHOW_WARN},  {"booting", SHOW_WARN},    {"missing", SHOW_WARN},   {"safe", SHOW_BAD},
	        {"failed", SHOW_BAD}, {"compromised", SHOW_BAD}, {"escalated", SHOW_BAD},
	};
	for (size_t i = 0; i < countof(words); i++)
		if (strcmp(word, words[i].word) == 0)
			return words[i].mood;
	return strncmp(word, "changed", 7) == 0 ? SHOW_BAD : SHOW_PLAIN;
}

bool show_colours(void)
{
	const char *no = getenv("NO_COLOR");
	return isatty(STDOUT_FILENO) && !(no && *no);
}

const char *show_on(enum show_mood mood)
{
	return show_colours() ? moods[mood].sequence : "";
}

const char *show_off(enum show_mood mood)
{
	return show_colours() && mood != SHOW_PLAIN ? "\033[0m" : "";
}

const char *show_ms(double ms, char *ret_text)
{
	bool sane = ms > -9e15 && ms < 9e15;
	long long s = sane ? (long long)(ms / 1000) : 0;
	if (!sane)
		text_copy(ret_text, SHOW_TEXT_MAX, "?");
	else if (ms < 9.95)
		snprintf(ret_text, SHOW_TEXT_MAX, "%.1f ms", ms);
	else if (ms < 999.5)
		snprintf(ret_text, SHOW_TEXT_MAX, "%.0f ms", ms);
	else if (ms < 59950)
		snprintf(ret_text, SHOW_TEXT_MAX, "%.1f s", ms / 1000);
	else if (s < 600)
		snprintf(ret_text, SHOW_TEXT_MAX, "%lld min %lld s", s / 60, s % 60);
	else if (s < 3600)
		snprintf(ret_text, SHOW_TEXT_MAX, "%lld min", s / 60);
	else if (s < 86400)
		snprintf(ret_text, SHOW_TEXT_MAX, "%lld h %lld min", s / 3600, s / 60 % 60);
	else
		snprintf(ret_text, SHOW_TEXT_MAX, "%lld d %lld h", s / 86400, s / 3600 % 24);
	return ret_text;
}

const char *show_bytes(long long bytes, char *ret_text)
{
	if (bytes < 1024)
		snprintf(ret_text, SHOW_TEXT_MAX, "%lld B", bytes);
	else if (bytes < 1024 * 1024)
		snprintf(ret_text, SHOW_TEXT_MAX, "%.1f KiB", (double)bytes / 1024);
	else
		snprintf(ret_text, SHOW_TEXT_MAX, "%.1f MiB", (double)bytes / (1024 * 1024));
	return ret_text;
}

const char *show_ago(const char *rfc3339, char *ret_text)
{
	struct tm broken = {0};
	char span[SHOW_TEXT_MAX];
	const char *rest = strptime(rfc3339, "%Y-%m-%dT%H:%M:%S", &broken);
	int hours, minutes, n = 0;
	if (!rest) {
		text_copy(ret_text, SHOW_TEXT_MAX, rfc3339);
		return ret_text;
	}
	time_t then = timegm(&broken);
	rest += *rest == '.' ? 1 + strspn(rest + 1, "0123456789") : 0;
	if ((*rest == '+' || *rest == '-') && sscanf(rest + 1, "%2d:%2d%n", &hours, &minutes, &n) == 2 && n == 5)
		then -= (*rest == '+' ? 1 : -1) * (hours * 3600 + minutes * 60);
	double ms = 1000.0 * (double)(time(NULL) - then);
	if (ms < 2000)
		text_copy(ret_text, SHOW_TEXT_MAX, "just now");
	else if (ms < 120000)
		snprintf(ret_text, SHOW_TEXT_MAX, "%.0f s ago", ms / 1000);
	else if (ms < 600000)
		snprintf(ret_text, SHOW_TEXT_MAX, "%.0f min ago", ms / 60000);
	else if (ms < 30 * 86400e3)
		snprintf(ret_text, SHOW_TEXT_MAX, "%.50s ago", show_ms(ms, span));
	else
		snprintf(ret_text, SHOW_TEXT_MAX, "%.10s", rfc3339);
	return ret_text;
}

const char *show_moment(const json_t *object, const char *key, const char *never, char *ret_text)
{
	const char *text = show_string(object, key);
	if (strlen(text) < 19)
		return never;
	snprintf(ret_text, SHOW_TEXT_MAX, "%.10s %.8s", text, text + 11);
	return ret_text;
}

const char *show_string(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));
	return text ? text : "";
}

const char *show_member(const json_t *object, const char *key, char *ret_text)
{
	const json_t *value = json_object_get(object, key);
	if (json_is_integer(value))
		snprintf(ret_text, SHOW_TEXT_MAX, "%lld", (long long)json_integer_value(value));
	else if (json_is_real(value))
		snprintf(ret_text, SHOW_TEXT_MAX, "%.1f", json_real_value(value));
	else
		return show_string(object, key);
	return ret_text;
}

struct libscols_table *show_table_new(const char *const *columns, size_t n_columns)
{
	struct libscols_table *table = scols_new_table();
	if (!table)
		abort();
	scols_table_enable_colors(table, show_colours());
	scols_table_set_column_separator(table, "  ");
	if (isatty(STDOUT_FILENO) && scols_table_get_termwidth(table) > 20)
		scols_table_set_termwidth(table, scols_table_get_termwidth(table) - 2);
	for (size_t i = 0; i < n_columns; i++)
		if (!scols_table_new_column(table, columns[i], 0.05, i + 1 == n_columns ? SCOLS_FL_TRUNC : 0))
			abort();
	return table;
}

void show_right(struct libscols_table *table, size_t column)
{
	scols_column_set_flags(scols_table_get_column(table, column), SCOLS_FL_RIGHT);
}

struct libscols_line *show_row(struct libscols_table *table)
{
	struct libscols_line *line = scols_table_new_line(table, NULL);
	if (!line)
		abort();
	return line;
}

void show_cell(struct libscols_line *line, size_t column, const char *text, enum show_mood mood)
{
	struct libscols_cell *cell = scols_line_get_cell(line, column);
	if (!cell || scols_cell_set_data(cell, text) < 0 ||
	    (moods[mood].colour && scols_cell_set_color(cell, moods[mood].colour) < 0))
		abort();
}

void show_table_print(struct libscols_table *table)
{
	char *text = NULL, *rest;
	if (scols_print_table_to_string(table, &text) < 0)
		abort();
	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		size_t length = strlen(line);
		while (length > 0 && line[length - 1] == ' ')
			length--;
		printf("  %.*s\n", (int)length, line);
	}
	free(text);
	scols_unref_table(table);
}
