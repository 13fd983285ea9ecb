/*
 * YAML text to a tree of values that know their place. Built from libyaml's events and not from its documents: an event
 * still tells an alias from a second value and a written tag from an implied one, and depth and count can be refused
 * while reading, not after. The tree belongs to us, so that files can be laid over one another.
 */
#include "lib/yaml_tree.h"

#include "lib/bytes.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <yaml.h>

struct reader {
	yaml_parser_t parser;
	const char *name;
	const char *text;
	size_t size, nodes;
	struct err *err;
};

static void *must_alloc(void *p)
{
	if (!p)
		abort();
	return p;
}

void yaml_node_free(struct yaml_node *node)
{
	if (!node)
		return;
	for (size_t i = 0; i < node->n_pairs; i++) {
		yaml_node_free(node->pairs[i].key);
		yaml_node_free(node->pairs[i].value);
	}
	free(node->pairs);
	free(node->text);
	free(node);
}

static void node_free_cleanup(struct yaml_node **node)
{
	yaml_node_free(*node);
}
#define auto_node __attribute__((cleanup(node_free_cleanup)))

static void event_done(yaml_event_t *event)
{
	yaml_event_delete(event);
}
#define auto_event __attribute__((cleanup(event_done)))

static int refuse(struct reader *r, yaml_mark_t mark, const char *format, ...) printf_like(3, 4);
static int refuse(struct reader *r, yaml_mark_t mark, const char *format, ...)
{
	char sentence[ERR_TEXT_MAX];
	va_list args;
	va_start(args, format);
	vsnprintf(sentence, sizeof(sentence), format, args);
	va_end(args);
	return err_set(r->err, -EINVAL, "%s:%zu:%zu: %s", r->name, mark.line + 1, mark.column + 1, sentence);
}

/* The indentation of a line that holds a tab is the most frequent mistake, and libyaml words it worst. */
static bool tab_indents(const struct reader *r, size_t line)
{
	const char *at = r->text, *end = r->text + r->size;
	for (; line > 0 && at; line--) {
		at = memchr(at, '\n', (size_t)(end - at));
		if (at)
			at++;
	}
	for (; at && at < end && (*at == ' ' || *at == '\t'); at++)
		if (*at == '\t')
			return true;
	return false;
}

static int refuse_syntax(struct reader *r)
{
	yaml_parser_t *p = &r->parser;
	yaml_mark_t mark = p->problem_mark;
	if (p->error == YAML_READER_ERROR) {
		mark = (yaml_mark_t){0};
		for (size_t i = 0; i < p->problem_offset && i < r->size; i++) {
			mark.column = r->text[i] == '\n' ? 0 : mark.column + 1;
			mark.line += r->text[i] == '\n';
		}
		return refuse(r, mark, "this is not readable text: %s", p->problem ? p->problem : "bad bytes");
	}
	if (p->error == YAML_MEMORY_ERROR)
		abort();
	if (tab_indents(r, mark.line))
		return refuse(r, mark, "a tab cannot indent: use spaces");
	if (p->problem && strcmp(p->problem, "found unexpected ':'") == 0)
		return refuse(r, mark, "a value that begins or ends with ':' must be in quotes");
	if (p->context)
		return refuse(r, mark, "%s, %s that begins in line %zu", p->problem, p->context, p->context_mark.line + 1);
	return refuse(r, mark, "%s", p->problem ? p->problem : "this is not YAML");
}

static int next_event(struct reader *r, yaml_event_t *ret_event)
{
	if (!yaml_parser_parse(&r->parser, ret_event)) {
		memset(ret_event, 0, sizeof(*ret_event));
		return refuse_syntax(r);
	}
	return 0;
}

static struct yaml_node *node_new(struct reader *r, enum yaml_kind kind, yaml_mark_t mark)
{
	struct yaml_node *node = must_alloc(calloc(1, sizeof(*node)));
	node->kind = kind;
	node->file = r->name;
	node->line = (unsigned)mark.line + 1;
	node->column = (unsigned)mark.column + 1;
	r->nodes++;
	return node;
}

static void node_append(struct yaml_node *node, struct yaml_node *key, struct yaml_node *value)
{
	size_t n = node->n_pairs;
	if ((n & (n - 1)) == 0)
		node->pairs = must_alloc(reallocarray(node->pairs, n ? 2 * n : 1, sizeof(*node->pairs)));
	node->pairs[node->n_pairs++] = (struct yaml_pair){key, value};
}

const struct yaml_node *yaml_map_get(const struct yaml_node *map, const char *key)
{
	for (size_t i = 0; map && map->kind == YAML_KIND_MAP && i < map->n_pairs; i++)
		if (strcmp(map->pairs[i].key->text, key) == 0)
			return map->pairs[i].value;
	return NULL;
}

static int refuse_extras(struct reader *r, const yaml_event_t *event, const yaml_char_t *anchor, const yaml_char_t *tag)
{
	if (anchor)
		return refuse(r, event->start_mark, "anchors are not allowed here: remove '&%.40s'", (const char *)anchor);
	if (tag)
		return refuse(r, event->start_mark, "tags are not allowed here: remove '%.60s'", (const char *)tag);
	if (r->nodes >= YAML_NODES_MAX)
		return refuse(r, event->start_mark, "more than the %d values that one file may have", YAML_NODES_MAX);
	return 0;
}

static int read_scalar(struct reader *r, const yaml_event_t *event, struct yaml_node **ret_node)
{
	const unsigned char *value = event->data.scalar.value;
	size_t length = event->data.scalar.length;
	bool escapes = event->data.scalar.style == YAML_DOUBLE_QUOTED_SCALAR_STYLE;
	int e = refuse_extras(r, event, event->data.scalar.anchor, event->data.scalar.tag);
	if (e < 0)
		return e;
	for (size_t i = 0; i < length; i++)
		if (value[i] < 0x20 || value[i] == 0x7f)
			return refuse(r, event->start_mark, "a value must be one line without control characters%s",
			              escapes ? ": '\\r' and the like stay as they are written in single quotes" : "");
	struct yaml_node *node = node_new(r, YAML_KIND_SCALAR, event->start_mark);
	node->plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	node->text = must_alloc(strdup((const char *)value));
	*ret_node = node;
	return 0;
}

static int read_node(struct reader *r, const yaml_event_t *event, unsigned depth, struct yaml_node **ret_node);

static int read_list(struct reader *r, unsigned depth, struct yaml_node *list)
{
	for (;;) {
		auto_event yaml_event_t event;
		int e = next_event(r, &event);
		if (e < 0)
			return e;
		if (event.type == YAML_SEQUENCE_END_EVENT)
			return 0;
		struct yaml_node *item = NULL;
		e = read_node(r, &event, depth, &item);
		if (e < 0)
			return e;
		node_append(list, NULL, item);
	}
}

static int read_pair_key(struct reader *r, const yaml_event_t *event, const struct yaml_node *map, struct yaml_node **ret_key)
{
	if (event->type != YAML_SCALAR_EVENT)
		return event->type == YAML_ALIAS_EVENT
		               ? refuse(r, event->start_mark, "aliases are not allowed here: write the value out")
		               : refuse(r, event->start_mark, "a key must be a word, not a list or a map");
	auto_node struct yaml_node *key = NULL;
	int e = read_scalar(r, event, &key);
	if (e < 0)
		return e;
	assert(key);
	if (key->plain && strcmp(key->text, "<<") == 0)
		return refuse(r, event->start_mark, "merge keys ('<<') are not allowed here: write the keys out");
	for (size_t i = 0; i < map->n_pairs; i++)
		if (strcmp(map->pairs[i].key->text, key->text) == 0)
			return refuse(r, event->start_mark, "key '%.60s' is there twice: first in line %u", key->text,
			              map->pairs[i].key->line);
	*ret_key = take(&key);
	return 0;
}

static int read_pairs(struct reader *r, unsigned depth, struct yaml_node *map)
{
	for (;;) {
		auto_event yaml_event_t key_event;
		auto_event yaml_event_t value_event = {0};
		auto_node struct yaml_node *key = NULL;
		struct yaml_node *value = NULL;
		int e = next_event(r, &key_event);
		if (e < 0)
			return e;
		if (key_event.type == YAML_MAPPING_END_EVENT)
			return 0;
		e = read_pair_key(r, &key_event, map, &key);
		if (e == 0)
			e = next_event(r, &value_event);
		if (e == 0)
			e = read_node(r, &value_event, depth, &value);
		if (e < 0)
			return e;
		assert(key && value);
		node_append(map, take(&key), value);
	}
}

static int read_collection(struct reader *r, const yaml_event_t *event, unsigned depth, struct yaml_node **ret_node)
{
	bool is_map = event->type == YAML_MAPPING_START_EVENT;
	int e = is_map ? refuse_extras(r, event, event->data.mapping_start.anchor, event->data.mapping_start.tag)
	               : refuse_extras(r, event, event->data.sequence_start.anchor, event->data.sequence_start.tag);
	if (e < 0)
		return e;
	if (depth >= YAML_DEPTH_MAX)
		return refuse(r, event->start_mark, "nested deeper than the %d levels that are allowed", YAML_DEPTH_MAX);
	auto_node struct yaml_node *node = node_new(r, is_map ? YAML_KIND_MAP : YAML_KIND_LIST, event->start_mark);
	e = is_map ? read_pairs(r, depth + 1, node) : read_list(r, depth + 1, node);
	if (e < 0)
		return e;
	*ret_node = take(&node);
	return 0;
}

static int read_node(struct reader *r, const yaml_event_t *event, unsigned depth, struct yaml_node **ret_node)
{
	if (event->type == YAML_SCALAR_EVENT)
		return read_scalar(r, event, ret_node);
	if (event->type == YAML_ALIAS_EVENT)
		return refuse(r, event->start_mark, "aliases are not allowed here: write the value out instead of '*%.40s'",
		              (const char *)event->data.alias.anchor);
	return read_collection(r, event, depth, ret_node);
}

/* Reads the one document between STREAM-START and STREAM-END. An empty file is an empty map. */
static int read_stream(struct reader *r, struct yaml_node **ret_root)
{
	auto_node struct yaml_node *root = NULL;
	for (;;) {
		auto_event yaml_event_t event;
		int e = next_event(r, &event);
		if (e < 0)
			return e;
		if (event.type == YAML_STREAM_START_EVENT || event.type == YAML_DOCUMENT_END_EVENT)
			continue;
		if (event.type == YAML_STREAM_END_EVENT)
			break;
		if (event.type == YAML_DOCUMENT_START_EVENT) {
			if (root)
				return refuse(r, event.start_mark, "a second document begins here: one file, one document");
			continue;
		}
		e = read_node(r, &event, 0, &root);
		if (e < 0)
			return e;
	}
	if (root && root->kind == YAML_KIND_SCALAR && root->plain && root->text[0] == '\0') {
		yaml_node_free(root);
		root = NULL;
	}
	if (!root)
		root = node_new(r, YAML_KIND_MAP, (yaml_mark_t){0});
	*ret_root = take(&root);
	return 0;
}

int yaml_parse_text(const char *name, const char *text, size_t size, struct yaml_node **ret_root, struct err *err)
{
	struct reader r = {.name = name, .text = text, .size = size, .err = err};
	if (size > YAML_BYTES_MAX)
		return err_set(err, -EFBIG, "%s: %zu bytes, more than the %u that are allowed here", name, size, YAML_BYTES_MAX);
	if (!yaml_parser_initialize(&r.parser))
		abort();
	yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, size);
	int e = read_stream(&r, ret_root);
	yaml_parser_delete(&r.parser);
	return e;
}

/* Lays `*over` on `*base`; takes what it uses of `over`, the caller frees the rest. */
static void merge(struct yaml_node **base, struct yaml_node **over)
{
	if ((*base)->kind != YAML_KIND_MAP || (*over)->kind != YAML_KIND_MAP) {
		yaml_node_free(*base);
		*base = take(over);
		return;
	}
	for (size_t i = 0; i < (*over)->n_pairs; i++) {
		struct yaml_pair *pair = &(*over)->pairs[i];
		size_t at = 0;
		while (at < (*base)->n_pairs && strcmp((*base)->pairs[at].key->text, pair->key->text) != 0)
			at++;
		if (at < (*base)->n_pairs) {
			merge(&(*base)->pairs[at].value, &pair->value);
		} else {
			node_append(*base, pair->key, pair->value);
			*pair = (struct yaml_pair){NULL, NULL};
		}
	}
}

struct yaml_tree *yaml_tree_new(void)
{
	return must_alloc(calloc(1, sizeof(struct yaml_tree)));
}

void yaml_tree_free(struct yaml_tree *tree)
{
	if (!tree)
		return;
	yaml_node_free(tree->root);
	for (size_t i = 0; i < tree->n_files; i++)
		free(tree->files[i]);
	free(tree);
}

int yaml_tree_add(struct yaml_tree *tree, const char *name, const char *text, size_t size, struct err *err)
{
	auto_node struct yaml_node *root = NULL;
	if (tree->n_files == YAML_FILES_MAX)
		return err_set(err, -E2BIG, "%s: more than the %d files that may be laid over one another", name, YAML_FILES_MAX);
	auto_free char *file = must_alloc(strdup(name));
	int e = yaml_parse_text(file, text, size, &root, err);
	if (e < 0)
		return e;
	assert(root);
	if (root->kind != YAML_KIND_MAP)
		return yaml_fail(root, err, "a file is a map: write 'key: value' lines");
	tree->files[tree->n_files++] = take(&file);
	if (tree->root)
		merge(&tree->root, &root);
	else
		tree->root = take(&root);
	return 0;
}

int yaml_tree_add_file(struct yaml_tree *tree, const char *path, struct err *err)
{
	auto_free uint8_t *bytes = NULL;
	size_t size;
	int e = file_read(path, YAML_BYTES_MAX, &bytes, &size, err);
	return e < 0 ? e : yaml_tree_add(tree, path, (const char *)bytes, size, err);
}

int yaml_fail(const struct yaml_node *node, struct err *err, const char *format, ...)
{
	char sentence[ERR_TEXT_MAX];
	va_list args;
	va_start(args, format);
	vsnprintf(sentence, sizeof(sentence), format, args);
	va_end(args);
	return err_set(err, -EINVAL, "%s:%u:%u: %s", node->file, node->line, node->column, sentence);
}

const struct yaml_node *yaml_tree_find(const struct yaml_tree *tree, const char *path)
{
	const struct yaml_node *node = tree->root;
	char part[64];
	while (*path) {
		size_t length = strcspn(path, "/");
		if (length >= sizeof(part))
			return node;
		memcpy(part, path, length);
		part[length] = '\0';
		const struct yaml_node *next = yaml_map_get(node, part);
		if (node->kind == YAML_KIND_LIST && strtoul(part, NULL, 10) < node->n_pairs)
			next = node->pairs[strtoul(part, NULL, 10)].value;
		if (!next)
			return node;
		node = next;
		path += length + (path[length] == '/');
	}
	return node;
}
