/*
 * Walks a tree and a table together and fills a struct. What no row of the table consumed is an error, with the near
 * key where there is one. Defaults are YAML text and go the same way as what a person wrote, so the default that the
 * manual shows is the default that is used.
 */
#include "lib/yaml_tree.h"

#include "lib/near.h"

#include <assert.h>
#include <string.h>

static const struct yaml_key *key_named(const struct yaml_key *keys, const char *name)
{
	for (; keys->key; keys++)
		if (strcmp(keys->key, name) == 0)
			return keys;
	return NULL;
}

static int refuse_unknown(const struct yaml_node *key, const struct yaml_key *keys, struct err *err)
{
	const char *words[YAML_KEYS_MAX];
	char known[ERR_TEXT_MAX / 2] = "";
	size_t at = 0;
	unsigned n = 0;
	for (; keys[n].key; n++) {
		assert(n < countof(words));
		words[n] = keys[n].key;
		if (at < sizeof(known))
			at += (size_t)snprintf(known + at, sizeof(known) - at, "%s%s", n ? ", " : "", keys[n].key);
	}
	const char *near = near_word(key->text, words, n);
	if (near)
		return yaml_fail(key, err, "unknown key '%.60s', did you mean '%s'?", key->text, near);
	return yaml_fail(key, err, "unknown key '%.60s'; known here: %s", key->text, known);
}

static void store_number(const struct yaml_key *key, uint64_t number, void *field)
{
	if (key->unit > 1)
		number /= key->unit;
	switch (key->width) {
	case 1:
		*(uint8_t *)field = (uint8_t)number;
		break;
	case 2:
		*(uint16_t *)field = (uint16_t)number;
		break;
	case 4:
		*(uint32_t *)field = (uint32_t)number;
		break;
	default:
		assert(key->width == 8);
		*(uint64_t *)field = number;
	}
}

static void store(const struct yaml_key *key, enum yaml_type type, const struct yaml_value *value, void *field)
{
	switch (type) {
	case YAML_TEXT:
	case YAML_NAME:
	case YAML_PATH:
	case YAML_URL_PATH:
		memset(field, 0, key->width);
		memcpy(field, value->text, strlen(value->text));
		break;
	case YAML_BOOL:
	case YAML_INTEGER:
	case YAML_DURATION:
	case YAML_SIZE:
	case YAML_PERCENT:
	case YAML_WORD:
		store_number(key, value->number, field);
		break;
	case YAML_ADDRESS:
	case YAML_RANGE:
	case YAML_PORT:
	case YAML_MAP:
	case YAML_LIST:
	case YAML_NAMED:
	case YAML_TYPE_MAX_:
		assert(!"this type needs a hook");
	}
}

static bool node_is_empty(const struct yaml_node *node)
{
	return node->kind == YAML_KIND_SCALAR && node->plain && (!*node->text || strcmp(node->text, "~") == 0);
}

static int read_scalar(const struct yaml_key *key, enum yaml_type type, const struct yaml_node *node, void *object, void *field,
                       struct err *err)
{
	struct yaml_value value;
	char want[ERR_TEXT_MAX / 2];
	const char *each = key->type == YAML_LIST ? "each of " : "";
	if (node->kind != YAML_KIND_SCALAR)
		return yaml_fail(node, err, "%s'%s' must be one value, not a %s", each, key->key,
		                 node->kind == YAML_KIND_LIST ? "list" : "map");
	if (node_is_empty(node))
		return yaml_fail(node, err, "'%s' has no value", key->key);
	if (!yaml_value_parse(key, type, node->text, &value, want, sizeof(want)))
		return yaml_fail(node, err, "%s'%s' must be %s, not '%.80s'", each, key->key, want, node->text);
	if (key->hook)
		return key->hook(node, &value, object, err);
	store(key, type, &value, field);
	return 0;
}

static int read_list(const struct yaml_key *key, const struct yaml_node *node, void *object, struct err *err)
{
	if (node->kind == YAML_KIND_SCALAR && !node_is_empty(node))
		return yaml_fail(node, err, "'%s' must be a list: write [%.80s]", key->key, node->text);
	if (node->kind == YAML_KIND_MAP)
		return yaml_fail(node, err, "'%s' must be a list, not a map", key->key);
	if (node->n_pairs < key->min)
		return yaml_fail(node, err, "'%s' must have at least %llu", key->key, (unsigned long long)key->min);
	if (node->n_pairs > key->limit)
		return yaml_fail(node->pairs[key->limit].value, err, "'%s' can have %zu at most", key->key, key->limit);
	for (size_t i = 0; i < node->n_pairs; i++) {
		char *field = (char *)object + key->offset + i * key->width;
		int e = read_scalar(key, key->item, node->pairs[i].value, object, field, err);
		if (e < 0)
			return e;
	}
	if (!key->hook)
		*(size_t *)((char *)object + key->count) = node->n_pairs;
	return 0;
}

static int read_map(const struct yaml_key *keys, const struct yaml_node *map, const struct yaml_node *place, void *object,
                    struct err *err);

static int read_named(const struct yaml_key *key, const struct yaml_node *node, void *object, struct err *err)
{
	const struct yaml_key name_key = {.key = key->key, .type = YAML_NAME, .width = key->name_max};
	if (node->kind != YAML_KIND_MAP)
		return yaml_fail(node, err, "'%s' must be a map: a name for each, and its keys below it", key->key);
	if (node->n_pairs < key->min)
		return yaml_fail(node, err, "'%s' must have at least %llu", key->key, (unsigned long long)key->min);
	if (node->n_pairs > key->limit)
		return yaml_fail(node->pairs[key->limit].key, err, "'%s' can have %zu at most", key->key, key->limit);
	for (size_t i = 0; i < node->n_pairs; i++) {
		const struct yaml_pair *pair = &node->pairs[i];
		char *thing = (char *)object + key->offset + i * key->width, want[ERR_TEXT_MAX / 2];
		struct yaml_value name;
		if (!yaml_value_parse(&name_key, YAML_NAME, pair->key->text, &name, want, sizeof(want)))
			return yaml_fail(pair->key, err, "the key below '%s' must be %s, not '%.80s'", key->key, want,
			                 pair->key->text);
		store(&name_key, YAML_NAME, &name, thing + key->name_offset);
		int e = read_map(key->keys, node_is_empty(pair->value) ? NULL : pair->value, pair->key, thing, err);
		if (e < 0)
			return e;
	}
	*(size_t *)((char *)object + key->count) = node->n_pairs;
	return 0;
}

static int read_value(const struct yaml_key *key, const struct yaml_node *node, const struct yaml_node *place, void *object,
                      struct err *err)
{
	if (key->type == YAML_MAP)
		return read_map(key->keys, node, place, object, err);
	if (key->type == YAML_NAMED)
		return read_named(key, node, object, err);
	if (key->type == YAML_LIST)
		return read_list(key, node, object, err);
	return read_scalar(key, key->type, node, object, (char *)object + key->offset, err);
}

/* A default that does not parse is a mistake in the table: the program stops in its first test. */
static void read_fallback(const struct yaml_key *key, void *object)
{
	struct yaml_node scalar = {.kind = YAML_KIND_SCALAR, .plain = true, .file = key->key};
	struct yaml_node *list = NULL, *node = &scalar;
	struct err err;
	auto_free char *text = strdup(key->fallback);
	if (!text)
		abort();
	scalar.text = text;
	if (key->type == YAML_LIST) {
		int e = yaml_parse_text(key->key, key->fallback, strlen(key->fallback), &list, &err);
		assert(e == 0);
		node = list;
	}
	int e = read_value(key, node, node, object, &err);
	assert(e == 0);
	yaml_node_free(list);
}

static int read_key(const struct yaml_key *key, const struct yaml_node *map, const struct yaml_node *place, void *object,
                    struct err *err)
{
	const struct yaml_node *node = yaml_map_get(map, key->key);
	if (node && key->type == YAML_MAP && node_is_empty(node))
		node = NULL;
	if (!node && key->required)
		return yaml_fail(place, err, "'%s' is missing here", key->key);
	if (node)
		return read_value(key, node, node, object, err);
	if (key->type == YAML_MAP)
		return read_map(key->keys, NULL, place, object, err);
	if (key->fallback)
		read_fallback(key, object);
	return 0;
}

/* `map` may be NULL (then all are defaults); `place` is where a missing key is reported. */
static int read_map(const struct yaml_key *keys, const struct yaml_node *map, const struct yaml_node *place, void *object,
                    struct err *err)
{
	if (map && map->kind != YAML_KIND_MAP)
		return yaml_fail(map, err, "there must be keys here ('%s: ...'), not %s", keys[0].key,
		                 map->kind == YAML_KIND_LIST ? "a list" : "one value");
	for (size_t i = 0; map && i < map->n_pairs; i++)
		if (!key_named(keys, map->pairs[i].key->text))
			return refuse_unknown(map->pairs[i].key, keys, err);
	for (; keys->key; keys++) {
		int e = read_key(keys, map, place, object, err);
		if (e < 0)
			return e;
	}
	return 0;
}

int yaml_tree_read(const struct yaml_tree *tree, const struct yaml_key *keys, void *object, struct err *err)
{
	assert(tree->root);
	return read_map(keys, tree->root, tree->root, object, err);
}
