/*
 * A lesson's document: one table says which members it has, how long they may be and which letters they have; reading and writing
 * both go by it. All texts are plain enough that nothing in them is ever escaped.
 */
#include "lesson/lesson.h"

#include "lib/bytes.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum letters { ANY, WORD, NAME, HEX }; /* printable; a-z and -; these, digits, . and _; hexadecimal digits */

static const struct {
	const char *key;
	size_t offset, size;
	enum letters letters;
	bool may_be_empty;
} texts[] = {
#define TEXT(member, letters, empty)                                                                                             \
	{                                                                                                                        \
#member, offsetof(struct lesson, member), sizeof(((struct lesson *)0)->member), letters, empty                   \
	}
        TEXT(origin, HEX, false),   TEXT(device, NAME, false),        TEXT(service, NAME, false),
        TEXT(verdict, WORD, false), TEXT(finding, WORD, false),       TEXT(vantage, WORD, false),
        TEXT(beside, WORD, true),   TEXT(beside_vantage, WORD, true), TEXT(rung, WORD, false),
#undef TEXT
};

static const char *const verdicts[] = {"failed", "compromised", NULL};
static const char *const rungs[] = {"replace", "restart", "reboot", NULL};

/* --- writing */

static json_t *components_json(const struct lesson_components *components)
{
	json_t *list = json_array();
	for (size_t i = 0; i < components->n; i++)
		json_array_append_new(list, json_string(components->list[i]));
	return list;
}

static json_t *moment_json(int64_t at_s)
{
	char text[32];
	struct tm tm;
	time_t time = at_s;
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&time, &tm));
	return json_string(text);
}

char *lesson_print(const struct lesson *lesson, bool with_signature)
{
	char hex[2 * LESSON_SIGNATURE + 1];
	json_t *sources = json_array();
	json_t *json = json_pack("{s:i, s:I}", "format", LESSON_FORMAT, "incident", (json_int_t)lesson->incident);
	for (size_t i = 0; i < countof(texts); i++)
		json_object_set_new(json, texts[i].key, json_string((const char *)lesson + texts[i].offset));
	for (size_t i = 0; i < lesson->n_sources; i++)
		json_array_append_new(sources, json_string(lesson->sources[i]));
	json_object_set_new(json, "victim", components_json(&lesson->victim));
	json_object_set_new(json, "survivor", components_json(&lesson->survivor));
	json_object_set_new(json, "sources", sources);
	json_object_set_new(json, "learnt", moment_json(lesson->learnt_s));
	json_object_set_new(json, "expires", moment_json(lesson->expires_s));
	bytes_to_hex(lesson->signature, LESSON_SIGNATURE, hex);
	if (with_signature)
		json_object_set_new(json, "signature", json_string(hex));
	char *text = json_dumps(json, JSON_SORT_KEYS | JSON_COMPACT);
	json_decref(json);
	if (!text)
		abort();
	return text;
}

/* --- reading */

static bool letter_fits(char letter, enum letters letters)
{
	bool word = (letter >= 'a' && letter <= 'z') || letter == '-';
	bool digit = letter >= '0' && letter <= '9';
	switch (letters) {
	case WORD:
		return word;
	case NAME:
		return word || digit || letter == '.' || letter == '_' || (letter >= 'A' && letter <= 'Z');
	case HEX:
		return digit || (letter >= 'a' && letter <= 'f');
	case ANY:
		break;
	}
	return letter >= ' ' && letter <= '~' && letter != '"' && letter != '\\';
}

static bool text_fits(const char *text, enum letters letters)
{
	for (; *text; text++)
		if (!letter_fits(*text, letters))
			return false;
	return true;
}

static int take_text(const json_t *value, const char *key, enum letters letters, bool may_be_empty, char *ret_text, size_t size,
                     struct err *err)
{
	const char *text = json_string_value(value);
	if (!text)
		return err_set(err, -EINVAL, "this is no lesson: '%s' must be a text", key);
	if (strlen(text) != json_string_length(value) || !text_fits(text, letters) || (!*text && !may_be_empty))
		return err_set(err, -EINVAL, "this is no lesson: '%s' has letters that it cannot have, or none", key);
	if (!text_copy(ret_text, size, text))
		return err_set(err, -EINVAL, "this is no lesson: '%s' is longer than %zu letters", key, size - 1);
	return 0;
}

/* A list of texts into rows of `size` bytes. */
static int take_list(const json_t *json, const char *key, char *rows, size_t size, size_t max, size_t *ret_n, struct err *err)
{
	const json_t *list = json_object_get(json, key);
	size_t n = json_array_size(list);
	if (!json_is_array(list) || n > max)
		return err_set(err, -EINVAL, "this is no lesson: '%s' must be a list of at most %zu texts", key, max);
	for (size_t i = 0; i < n; i++) {
		int r = take_text(json_array_get(list, i), key, ANY, false, rows + i * size, size, err);
		if (r < 0)
			return r;
	}
	*ret_n = n;
	return 0;
}

/* "2026-01-02T03:04:05Z" and no other form of it. */
static int take_moment(const json_t *json, const char *key, int64_t *ret_s, struct err *err)
{
	struct tm tm = {0};
	const char *text = json_string_value(json_object_get(json, key));
	const char *end = text && strlen(text) == 20 ? strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm) : NULL;
	json_t *again = NULL;
	if (end && !*end && tm.tm_year >= 70 && tm.tm_year < 1100) {
		*ret_s = timegm(&tm);
		again = moment_json(*ret_s);
	}
	bool good = again && strcmp(json_string_value(again), text) == 0;
	json_decref(again);
	return good ? 0 : err_set(err, -EINVAL, "this is no lesson: '%s' must be a time, such as 2026-01-02T03:04:05Z", key);
}

static int one_of(const char *word, const char *key, const char *const *words, struct err *err)
{
	for (; *words; words++)
		if (strcmp(word, *words) == 0)
			return 0;
	return err_set(err, -EINVAL, "this is no lesson: '%.20s' is not known as %s", word, key);
}

static int check_keys(const json_t *json, struct err *err)
{
	static const char *const others[] = {"format",  "incident", "victim",  "survivor",
	                                     "sources", "learnt",   "expires", "signature"};
	const char *key;
	json_t *value;
	json_object_foreach((json_t *)(uintptr_t)json, key, value)
	{
		bool known = false;
		for (size_t i = 0; i < countof(others); i++)
			known = known || strcmp(key, others[i]) == 0;
		for (size_t i = 0; i < countof(texts); i++)
			known = known || strcmp(key, texts[i].key) == 0;
		if (!known)
			return err_set(err, -EINVAL, "this is no lesson of format %d: '%.31s' is not known", LESSON_FORMAT, key);
	}
	return 0;
}

static int take_numbers(const json_t *json, struct lesson *l, struct err *err)
{
	const json_t *format = json_object_get(json, "format"), *incident = json_object_get(json, "incident");
	const char *signature = json_string_value(json_object_get(json, "signature"));
	if (!json_is_integer(format))
		return err_set(err, -EINVAL, "this is no lesson: 'format' must be a number");
	if (json_integer_value(format) != LESSON_FORMAT)
		return err_set(err, -EINVAL, "this lesson is of format %" JSON_INTEGER_FORMAT ", this koboshi knows format %d",
		               json_integer_value(format), LESSON_FORMAT);
	int r = check_keys(json, err);
	if (r < 0)
		return r;
	if (!json_is_integer(incident) || json_integer_value(incident) < 1)
		return err_set(err, -EINVAL, "this is no lesson: 'incident' must be a number from 1 on");
	if (!signature || !bytes_from_hex(signature, l->signature, LESSON_SIGNATURE))
		return err_set(err, -EINVAL, "this lesson is not signed: 'signature' must be %d hexadecimal digits",
		               2 * LESSON_SIGNATURE);
	l->incident = (uint64_t)json_integer_value(incident);
	return 0;
}

static int take_times(const json_t *json, struct lesson *l, struct err *err)
{
	int r = take_moment(json, "learnt", &l->learnt_s, err);
	if (r == 0)
		r = take_moment(json, "expires", &l->expires_s, err);
	if (r == 0 && (l->expires_s <= l->learnt_s || l->expires_s - l->learnt_s > LESSON_KEEP_MAX_S))
		return err_set(err, -EINVAL, "this is no lesson: it must expire after it was learnt, within %d days",
		               LESSON_KEEP_MAX_S / 86400);
	return r;
}

static int take_all(const json_t *json, struct lesson *l, struct err *err)
{
	int r = take_numbers(json, l, err);
	for (size_t i = 0; i < countof(texts) && r == 0; i++)
		r = take_text(json_object_get(json, texts[i].key), texts[i].key, texts[i].letters, texts[i].may_be_empty,
		              (char *)l + texts[i].offset, texts[i].size, err);
	if (r == 0)
		r = one_of(l->verdict, "a verdict", verdicts, err);
	if (r == 0)
		r = one_of(l->rung, "what worked", rungs, err);
	if (r == 0)
		r = take_list(json, "victim", l->victim.list[0], LESSON_COMPONENT_MAX, LESSON_COMPONENTS_MAX, &l->victim.n, err);
	if (r == 0)
		r = take_list(json, "survivor", l->survivor.list[0], LESSON_COMPONENT_MAX, LESSON_COMPONENTS_MAX, &l->survivor.n,
		              err);
	if (r == 0)
		r = take_list(json, "sources", l->sources[0], LESSON_SOURCE_MAX, LESSON_SOURCES_MAX, &l->n_sources, err);
	return r == 0 ? take_times(json, l, err) : r;
}

int lesson_parse(const char *text, size_t size, struct lesson *ret_lesson, struct err *err)
{
	json_error_t problem;
	if (size > LESSON_BYTES_MAX)
		return err_set(err, -EINVAL, "this is no lesson: it has %zu bytes, a lesson has at most %d", size,
		               LESSON_BYTES_MAX);
	json_t *json = json_loadb(text, size, JSON_REJECT_DUPLICATES, &problem);
	if (!json)
		return err_set(err, -EINVAL, "this is no lesson: it is not JSON: %.100s", problem.text);
	struct lesson lesson = {0};
	int r = json_is_object(json) ? take_all(json, &lesson, err)
	                             : err_set(err, -EINVAL, "this is no lesson: it is no JSON object");
	json_decref(json);
	if (r == 0)
		*ret_lesson = lesson;
	return r;
}
