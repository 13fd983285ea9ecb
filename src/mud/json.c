/* Walking JSON with a path at hand. The path is written only when there is something to say about it. */
#include "mud/inside.h"

#include "lib/near.h"

#include <errno.h>
#include <string.h>

#define MEMBERS_MAX 32

static size_t path_put(const struct place *at, char *text, size_t size)
{
	if (!at)
		return 0;
	size_t used = path_put(at->up, text, size);
	int n = at->key ? snprintf(text + used, size - used, "/%s", at->key)
	                : snprintf(text + used, size - used, "/%zu", at->index);
	used += n > 0 ? (size_t)n : 0;
	return used < size ? used : size - 1;
}

int mud_refuse(const struct reading *r, const struct place *at, const char *sentence, ...)
{
	char path[200] = "/", text[160];
	va_list args;
	va_start(args, sentence);
	vsnprintf(text, sizeof(text), sentence, args);
	va_end(args);
	path_put(at, path, sizeof(path));
	return err_set(r->err, -EINVAL, "%s: %s: %s", r->file, path, text);
}

/* "ietf-mud:mud" is "mud" to whoever leaves the module out, and the other way round. */
static bool is_called(const char *name, const char *given)
{
	const char *short_name = strchr(name, ':'), *short_given = strchr(given, ':');
	if (short_name && short_given)
		return strcmp(name, given) == 0;
	if (short_given) /* only the modules of these standards may stand before a name */
		return strncmp(given, "ietf-", 5) == 0 && strcmp(name, short_given + 1) == 0;
	return strcmp(short_name ? short_name + 1 : name, given) == 0;
}

static const struct member *member_named(const char *given, const struct member *members, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (is_called(members[i].name, given))
			return &members[i];
	return NULL;
}

static int refuse_unknown(const struct reading *r, const struct place *at, const struct member *members, size_t n)
{
	const char *names[MEMBERS_MAX];
	unsigned known = 0;
	for (size_t i = 0; i < n && known < MEMBERS_MAX; i++)
		names[known++] = members[i].name;
	const char *near = near_word(at->key, names, known);
	if (near)
		return mud_refuse(r, at, "unknown, did you mean '%s'?", near);
	return mud_refuse(r, at, "unknown here");
}

/* A key is somebody else's text: what cannot be shown is not shown. */
static bool key_is_fine(const char *key)
{
	size_t length = strlen(key);
	for (size_t i = 0; i < length; i++)
		if (key[i] < 0x20 || key[i] == 0x7f)
			return false;
	return length > 0 && length < MUD_WORD_MAX;
}

static int member_read(struct reading *r, const struct place *at, const json_t *value, const struct member *members, size_t n)
{
	if (!key_is_fine(at->key))
		return mud_refuse(r, at->up, "a member's name is empty, too long or unprintable");
	const struct member *member = member_named(at->key, members, n);
	if (!member)
		return refuse_unknown(r, at, members, n);
	if (!member->read)
		return mud_refuse(r, at, "not supported by this compiler");
	return member->read(r, at, value);
}

int mud_object(struct reading *r, const struct place *at, const json_t *value, const struct member *members, size_t n)
{
	if (!json_is_object(value))
		return mud_refuse(r, at, "must be an object");
	for (void *i = json_object_iter((json_t *)value); i; i = json_object_iter_next((json_t *)value, i)) {
		struct place member = {.up = at, .key = json_object_iter_key(i)};
		int e = member_read(r, &member, json_object_iter_value(i), members, n);
		if (e < 0)
			return e;
	}
	for (size_t i = 0; i < n; i++) {
		bool there = false;
		for (void *k = json_object_iter((json_t *)value); k && members[i].needed;
		     k = json_object_iter_next((json_t *)value, k))
			there = there || is_called(members[i].name, json_object_iter_key(k));
		if (members[i].needed && !there)
			return mud_refuse(r, at, "'%s' is missing", members[i].name);
	}
	return 0;
}

int mud_list(struct reading *r, const struct place *at, const json_t *value, size_t max, read_value *read)
{
	if (!json_is_array(value))
		return mud_refuse(r, at, "must be a list");
	if (json_array_size(value) > max)
		return mud_refuse(r, at, "has %zu entries, %zu at most", json_array_size(value), max);
	for (size_t i = 0; i < json_array_size(value); i++) {
		struct place item = {.up = at, .index = i};
		int e = read(r, &item, json_array_get(value, i));
		if (e < 0)
			return e;
	}
	return 0;
}

int mud_text(const struct reading *r, const struct place *at, const json_t *value, char *ret_text, size_t size)
{
	const char *text = json_string_value(value);
	if (!text)
		return mud_refuse(r, at, "must be a text");
	size_t length = json_string_length(value);
	if (length == 0 || length >= size)
		return mud_refuse(r, at, "must have 1 to %zu characters", size - 1);
	for (size_t i = 0; i < length; i++)
		if (text[i] < 0x20 || text[i] > 0x7e || text[i] == '"' || text[i] == '\\')
			return mud_refuse(r, at, "must be printable ASCII without quotes and backslashes");
	memcpy(ret_text, text, length + 1);
	return 0;
}

int mud_number(const struct reading *r, const struct place *at, const json_t *value, long min, long max, long *ret_number)
{
	if (!json_is_integer(value) || json_integer_value(value) < min || json_integer_value(value) > max)
		return min == max ? mud_refuse(r, at, "must be %ld", min)
		                  : mud_refuse(r, at, "must be a number from %ld to %ld", min, max);
	*ret_number = (long)json_integer_value(value);
	return 0;
}
