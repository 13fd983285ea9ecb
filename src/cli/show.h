#pragma once
/* How things look: times as people say them, colours on a terminal only, tables with a margin. */
#include <jansson.h>
#include <libsmartcols/libsmartcols.h>
#include <stdbool.h>
#include <stddef.h>

#define SHOW_TEXT_MAX 64

enum show_mood { SHOW_PLAIN, SHOW_GOOD, SHOW_WARN, SHOW_BAD, SHOW_QUIET, SHOW_BOLD };

/* What a word of the API says: "healthy" is good, "failed" bad, "unknown" neither. */
enum show_mood show_mood_of(const char *word);

bool show_colours(void);                   /* standard output is a terminal and NO_COLOR is not set */
const char *show_on(enum show_mood mood);  /* escape sequence, or "" */
const char *show_off(enum show_mood mood); /* its end, or "" */

/* "0.8 ms", "78 ms", "1.2 s", "2 min 5 s", "3 h 20 min", "4 d 2 h"; `ret_text` holds SHOW_TEXT_MAX. Returns it. */
const char *show_ms(double ms, char *ret_text);

/* "512 B", "1.5 KiB", "192.0 MiB"; as show_ms. */
const char *show_bytes(long long bytes, char *ret_text);

/* "2 min ago", the date when it is a month old; the text itself when it is no RFC 3339 time. */
const char *show_ago(const char *rfc3339, char *ret_text);

/* Text of a member ("" when absent); numbers too. `ret_text` holds SHOW_TEXT_MAX and is used for numbers only. */
const char *show_member(const json_t *object, const char *key, char *ret_text);
const char *show_string(const json_t *object, const char *key);
/* "2026-01-02T03:04:05.678Z" as people write it; UTC. `never`: there is none. */
const char *show_moment(const json_t *object, const char *key, const char *never, char *ret_text);

/* A table: columns once, then rows cell by cell; printed with a margin of two. */
struct libscols_table *show_table_new(const char *const *columns, size_t n_columns);
struct libscols_line *show_row(struct libscols_table *table);
void show_cell(struct libscols_line *line, size_t column, const char *text, enum show_mood mood);
void show_right(struct libscols_table *table, size_t column);
void show_table_print(struct libscols_table *table); /* frees it */
