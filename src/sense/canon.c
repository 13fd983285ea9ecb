/* See canon.h. */
#include "sense/canon.h"

#include <jansson.h>
#include <string.h>

#define WHOLE_MAX 9007199254740992.0 /* up to here a double holds every whole number */

struct ignored {
	const char (*names)[CANON_NAME_MAX];
	size_t n;
};

static bool is_ignored(const struct ignored *ignored, const char *name)
{
	for (size_t i = 0; i < ignored->n; i++)
		if (strcmp(ignored->names[i], name) == 0)
			return true;
	return false;
}

/* 21.0 and 21 are the same number, whichever language wrote it. NULL: it is written in one way only. */
static json_t *whole_number(const json_t *value)
{
	double real = json_real_value(value);
	if (!json_is_real(value) || real < -WHOLE_MAX || real > WHOLE_MAX || real != (double)(json_int_t)real)
		return NULL;
	return json_integer((json_int_t)real);
}

/* As deep as the parser lets it be. */
static void tidy(json_t *json, const struct ignored *ignored) /* NOLINT(misc-no-recursion) */
{
	const char *name;
	json_t *value, *whole;
	void *next;
	size_t index;
	json_object_foreach_safe(json, next, name, value)
	{
		if (is_ignored(ignored, name))
			json_object_del(json, name);
		else if ((whole = whole_number(value)))
			json_object_set_new(json, name, whole);
		else
			tidy(value, ignored);
	}
	json_array_foreach(json, index, value)
	{
		if ((whole = whole_number(value)))
			json_array_set_new(json, index, whole);
		else
			tidy(value, ignored);
	}
}

static int hash_part(const char *bytes, size_t size, void *hash)
{
	sha256_update(hash, size, (const uint8_t *)bytes);
	return 0;
}

bool canon_json(const uint8_t *bytes, size_t size, const char (*ignored)[CANON_NAME_MAX], size_t n_ignored,
                struct sha256_ctx *hash)
{
	json_t *json = json_loadb((const char *)bytes, size, JSON_REJECT_DUPLICATES, NULL);
	if (!json)
		return false;
	tidy(json, &(struct ignored){ignored, n_ignored});
	json_dump_callback(json, hash_part, hash, JSON_SORT_KEYS | JSON_COMPACT);
	json_decref(json);
	return true;
}
