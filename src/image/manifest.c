/*
 * From a manifest's bytes to struct image. What a manifest may hold is said by tables of fields, one for each kind of
 * object; one reader walks them. It is strict because everything behind it (hypervisor, probes, choice of variants)
 * takes names, sizes and paths from here without looking again.
 */
#include "image/image.h"
#include "lib/bytes.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

enum kind {
	TEXT,    /* printable, may be empty */
	WORD,    /* printable ASCII without spaces */
	VARIANT, /* [a-z][a-z0-9-]* */
	FILENAME,
	PATH,
	PORT,
	KIND_TEXT_MAX_,
	SHA256 = KIND_TEXT_MAX_,
	LAYER,
	NUMBER32,
	NUMBER64
};

struct field {
	const char *key;
	enum kind kind;
	size_t offset, size; /* where it goes; of texts: the room, with NUL */
	bool dropped;        /* checked and not kept */
	json_int_t min, max; /* of numbers */
};

#define AT(type, member) .offset = offsetof(struct type, member), .size = sizeof(((struct type *)0)->member)

static const struct field top_fields[] = {
        {"variant", VARIANT, AT(image, variant)},
        {"summary", TEXT, AT(image, summary)},
        {"built", TEXT, AT(image, built)},
        {"suite", WORD, AT(image, suite)},
        {"recipe_sha256", SHA256, AT(image, recipe_sha256)},
};

static const struct field component_fields[] = {
        {"layer", LAYER, AT(image_component, layer)},
        {"name", WORD, AT(image_component, name)},
        {"version", WORD, AT(image_component, version)},
};

static const struct field file_fields[] = {
        {"name", FILENAME, AT(image_file, name)},
        {"size", NUMBER64, AT(image_file, size), .min = 0, .max = (json_int_t)1 << 40},
        {"sha256", SHA256, AT(image_file, sha256)},
};

static const struct field content_fields[] = {
        {"path", PATH, AT(image_content, path)},
        {"type", TEXT, .size = 128, .dropped = true},
        {"sha256", SHA256, AT(image_content, sha256)},
};

static const struct field boot_fields[] = {
        {"cmdline", TEXT, AT(image, cmdline)},
        {"memory_mib", NUMBER32, AT(image, memory_mib), .min = 16, .max = 65536},
        {"cpus", NUMBER32, AT(image, cpus), .min = 1, .max = 64},
};

static const struct field agent_fields[] = {
        {"list", SHA256, AT(image, agent_list)},
};

static const struct field data_fields[] = {
        {"path", PATH, AT(image, data)},
};

static const struct field combinations_fields[] = {
        {"recipe", VARIANT, AT(image_combinations, recipe)},
        {"recipe_sha256", SHA256, AT(image_combinations, recipe_sha256)},
};

/* What is being read, for the sentence when it is refused. */
struct reader {
	const char *name;
	char where[64]; /* "files[3]"; "" at the top */
	struct err *err;
};

static int refuse(const struct reader *r, const char *key, const char *must)
{
	return err_set(r->err, -EINVAL, "%s: %s%s%s %s", r->name, r->where, r->where[0] && key[0] ? "." : "", key, must);
}

static bool is_text(const char *text)
{
	for (const unsigned char *c = (const unsigned char *)text; *c; c++)
		if (*c < 0x20 || *c == 0x7f || (c[0] == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0)) /* no way to steer a terminal */
			return false;
	return true;
}

static bool is_word(const char *text)
{
	for (const char *c = text; *c; c++)
		if (*c <= ' ' || *c > '~')
			return false;
	return text[0] != '\0';
}

static bool is_variant(const char *text)
{
	for (const char *c = text; *c; c++)
		if (!((*c >= 'a' && *c <= 'z') || (c > text && ((*c >= '0' && *c <= '9') || *c == '-'))))
			return false;
	return text[0] != '\0';
}

static bool is_filename(const char *text)
{
	return is_word(text) && text[0] != '.' && !strchr(text, '/');
}

static bool is_path(const char *text)
{
	return is_word(text) && text[0] == '/';
}

static bool is_port(const char *text)
{
	char *end;
	unsigned long port = strtoul(text, &end, 10);
	bool plain = text[0] >= '1' && text[0] <= '9' && port <= 65535;
	return plain && (strcmp(end, "/tcp") == 0 || strcmp(end, "/udp") == 0);
}

static const struct {
	bool (*fits)(const char *text);
	const char *must;
} texts[KIND_TEXT_MAX_] = {
        [TEXT] = {is_text, "must be a text without control characters"},
        [WORD] = {is_word, "must be printable ASCII without spaces"},
        [VARIANT] = {is_variant, "must be a name like [a-z][a-z0-9-]*"},
        [FILENAME] = {is_filename, "must be a file's name without slash that does not start with a dot"},
        [PATH] = {is_path, "must be a path that starts with a slash, without spaces"},
        [PORT] = {is_port, "must be a port like 80/tcp or 53/udp"},
};

static int read_text(const struct reader *r, const char *key, const json_t *value, enum kind kind, char *ret_text, size_t size)
{
	const char *text = json_string_value(value);
	if (!text || !texts[kind].fits(text))
		return refuse(r, key, texts[kind].must);
	if (strlen(text) >= size)
		return refuse(r, key, "is longer than this format allows");
	if (ret_text)
		text_copy(ret_text, size, text);
	return 0;
}

static int read_layer(const struct reader *r, const char *key, const json_t *value, enum image_layer *ret_layer)
{
	const char *text = json_string_value(value);
	for (enum image_layer layer = 0; text && layer < IMAGE_PACKAGE; layer++) {
		if (strcmp(text, image_layer_name(layer)) == 0) {
			*ret_layer = layer;
			return 0;
		}
	}
	return refuse(r, key, "must be one of kernel, libc, server, runtime");
}

static int read_number(const struct reader *r, const struct field *field, const json_t *value, void *to)
{
	char must[96];
	json_int_t number = json_integer_value(value);
	if (!json_is_integer(value) || number < field->min || number > field->max) {
		snprintf(must, sizeof(must), "must be a whole number from %lld to %lld", (long long)field->min,
		         (long long)field->max);
		return refuse(r, field->key, must);
	}
	if (field->kind == NUMBER32)
		*(uint32_t *)to = (uint32_t)number;
	else
		*(uint64_t *)to = (uint64_t)number;
	return 0;
}

static int read_field(const struct reader *r, const struct field *field, const json_t *object, void *base)
{
	const json_t *value = json_object_get(object, field->key);
	uint8_t *to = (uint8_t *)base + field->offset;
	if (!value)
		return refuse(r, field->key, "is missing");
	if (field->kind < KIND_TEXT_MAX_)
		return read_text(r, field->key, value, field->kind, field->dropped ? NULL : (char *)to, field->size);
	if (field->kind == LAYER)
		return read_layer(r, field->key, value, (enum image_layer *)(void *)to);
	if (field->kind == SHA256) {
		const char *hex = json_string_value(value);
		return hex && bytes_from_hex(hex, to, IMAGE_SHA256) ? 0 : refuse(r, field->key, "must be 64 hexadecimal digits");
	}
	return read_number(r, field, value, to);
}

static int read_fields(const struct reader *r, const struct field *fields, size_t n_fields, const json_t *object, void *base)
{
	for (size_t i = 0; i < n_fields; i++) {
		int e = read_field(r, &fields[i], object, base);
		if (e < 0)
			return e;
	}
	return 0;
}

/* Below the top level every key must be known: there, a key that is not understood could change what the others mean. */
static int check_unknown(const struct reader *r, const struct field *fields, size_t n_fields, json_t *object)
{
	const char *key;
	json_t *value;
	json_object_foreach(object, key, value)
	{
		size_t i = 0;
		while (i < n_fields && strcmp(fields[i].key, key) != 0)
			i++;
		if (i == n_fields)
			return refuse(r, is_word(key) && strlen(key) < 64 ? key : "a key", "is not known in format 1");
	}
	return 0;
}

static int read_object(const struct reader *r, const struct field *fields, size_t n_fields, json_t *object, void *base)
{
	if (!json_is_object(object))
		return refuse(r, "", object ? "must be an object" : "is missing");
	int e = read_fields(r, fields, n_fields, object, base);
	return e < 0 ? e : check_unknown(r, fields, n_fields, object);
}

static int read_array(const struct reader *r, const char *key, const json_t *parent, size_t max, json_t **ret_array)
{
	char must[64];
	json_t *array = json_object_get(parent, key);
	if (!json_is_array(array))
		return refuse(r, key, array ? "must be a list" : "is missing");
	if (json_array_size(array) > max) {
		snprintf(must, sizeof(must), "has %zu entries, more than %zu", json_array_size(array), max);
		return refuse(r, key, must);
	}
	*ret_array = array;
	return 0;
}

struct list {
	const char *key;
	const struct field *fields;
	size_t n_fields;
	size_t item;                    /* bytes of one */
	size_t identity, identity_size; /* the part that no two may share; unset bytes are zero */
};

#define IDENTITY(type, member) offsetof(struct type, member), sizeof(((struct type *)0)->member)

/* Of a component, layer and name together. */
static const struct list component_list = {
        "components", component_fields, 3, sizeof(struct image_component), 0, offsetof(struct image_component, version)};
static const struct list package_list = {"packages", component_fields + 1, 2, sizeof(struct image_component),
                                         IDENTITY(image_component, name)};
static const struct list file_list = {"files", file_fields, 3, sizeof(struct image_file), IDENTITY(image_file, name)};
static const struct list content_list = {"content", content_fields, 3, sizeof(struct image_content),
                                         IDENTITY(image_content, path)};

static int read_items(struct reader *r, const struct list *list, const json_t *array, void *base)
{
	for (size_t i = 0; i < json_array_size(array); i++) {
		snprintf(r->where, sizeof(r->where), "%s[%zu]", list->key, i);
		int e = read_object(r, list->fields, list->n_fields, json_array_get(array, i), (uint8_t *)base + i * list->item);
		if (e < 0)
			return e;
	}
	r->where[0] = '\0';
	return 0;
}

static int check_twice(const struct reader *r, const struct list *list, const void *base, size_t count)
{
	const uint8_t *at = (const uint8_t *)base + list->identity;
	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; j < i; j++)
			if (memcmp(at + i * list->item, at + j * list->item, list->identity_size) == 0)
				return refuse(r, list->key, "names one thing twice");
	return 0;
}

static int read_list(struct reader *r, const struct list *list, const json_t *root, size_t max, void *base, size_t *ret_count)
{
	json_t *array = NULL;
	int e = read_array(r, list->key, root, max, &array);
	if (e == 0)
		e = read_items(r, list, array, base);
	if (e == 0)
		e = check_twice(r, list, base, json_array_size(array));
	if (e == 0)
		*ret_count = json_array_size(array);
	return e;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct image_component *)a)->name, ((const struct image_component *)b)->name);
}

/* Up to thousands: the one list that is allocated, and sorted before twins are looked for. */
static int read_packages(struct reader *r, const json_t *root, struct image *image)
{
	json_t *array;
	int e = read_array(r, package_list.key, root, IMAGE_PACKAGES_MAX, &array);
	if (e < 0)
		return e;
	size_t count = json_array_size(array);
	image->packages = calloc(count ? count : 1, sizeof(image->packages[0]));
	if (!image->packages)
		abort();
	e = read_items(r, &package_list, array, image->packages);
	if (e < 0)
		return e;
	for (size_t i = 0; i < count; i++)
		image->packages[i].layer = IMAGE_PACKAGE;
	qsort(image->packages, count, sizeof(image->packages[0]), by_name);
	for (size_t i = 1; i < count; i++)
		if (by_name(&image->packages[i - 1], &image->packages[i]) == 0)
			return refuse(r, package_list.key, "names one thing twice");
	image->n_packages = count;
	return 0;
}

static int read_text_list(struct reader *r, const char *key, const json_t *parent, enum kind kind, size_t max, char *texts_at,
                          size_t room, size_t *ret_count)
{
	json_t *array;
	int e = read_array(r, key, parent, max, &array);
	for (size_t i = 0; e == 0 && i < json_array_size(array); i++)
		e = read_text(r, key, json_array_get(array, i), kind, texts_at + i * room, room);
	if (e == 0)
		*ret_count = json_array_size(array);
	return e;
}

static int read_service(struct reader *r, const json_t *root, struct image *image)
{
	static const struct field only_ports[] = {{"ports", TEXT}};
	json_t *service = json_object_get(root, "service");
	text_copy(r->where, sizeof(r->where), "service");
	if (!json_is_object(service))
		return refuse(r, "", service ? "must be an object" : "is missing");
	int e = read_text_list(r, "ports", service, PORT, IMAGE_PORTS_MAX, image->ports[0], sizeof(image->ports[0]),
	                       &image->n_ports);
	if (e == 0)
		e = check_unknown(r, only_ports, countof(only_ports), service);
	r->where[0] = '\0';
	return e;
}

static int read_boot(struct reader *r, const json_t *root, struct image *image)
{
	text_copy(r->where, sizeof(r->where), "boot");
	int e = read_object(r, boot_fields, countof(boot_fields), json_object_get(root, "boot"), image);
	r->where[0] = '\0';
	return e;
}

/* Images of other builders have none. */
static int read_agent(struct reader *r, const json_t *root, struct image *image)
{
	json_t *agent = json_object_get(root, "agent");
	if (!agent)
		return 0;
	text_copy(r->where, sizeof(r->where), "agent");
	int e = read_object(r, agent_fields, countof(agent_fields), agent, image);
	r->where[0] = '\0';
	image->has_agent = e == 0;
	return e;
}

/* An image whose service keeps nothing has none. */
static int read_data(struct reader *r, const json_t *root, struct image *image)
{
	json_t *data = json_object_get(root, "data");
	if (!data)
		return 0;
	text_copy(r->where, sizeof(r->where), "data");
	int e = read_object(r, data_fields, countof(data_fields), data, image);
	r->where[0] = '\0';
	return e;
}

static int read_format(const struct reader *r, const json_t *root)
{
	const json_t *format = json_object_get(root, "format");
	if (!json_is_integer(format))
		return refuse(r, "format",
		              format ? "must be a whole number" : "is missing: this is not a manifest of koboshi-image");
	if (json_integer_value(format) != 1)
		return err_set(r->err, -EPROTO,
		               "%s: is of format %lld, this program reads format 1: update it, or rebuild the image", r->name,
		               (long long)json_integer_value(format));
	return 0;
}

static int read_image(struct reader *r, const json_t *root, struct image *image)
{
	int e = read_format(r, root);
	if (e == 0)
		e = read_fields(r, top_fields, countof(top_fields), root, image);
	if (e == 0)
		e = read_text_list(r, "fallbacks", root, TEXT, IMAGE_FALLBACKS_MAX, image->fallbacks[0],
		                   sizeof(image->fallbacks[0]), &image->n_fallbacks);
	if (e == 0)
		e = read_list(r, &component_list, root, IMAGE_COMPONENTS_MAX, image->components, &image->n_components);
	if (e == 0)
		e = read_packages(r, root, image);
	if (e == 0)
		e = read_list(r, &file_list, root, IMAGE_FILES_MAX, image->files, &image->n_files);
	if (e == 0)
		e = read_list(r, &content_list, root, IMAGE_CONTENT_MAX, image->content, &image->n_content);
	if (e == 0)
		e = read_boot(r, root, image);
	if (e == 0)
		e = read_service(r, root, image);
	if (e == 0)
		e = read_agent(r, root, image);
	if (e == 0)
		e = read_data(r, root, image);
	if (e == 0 && image->n_files == 0)
		return refuse(r, "files", "is empty: there is nothing to start");
	return e;
}

/* A name and its components; what it is called below the recipe says the name. */
static int read_combination(struct reader *r, const json_t *row, struct image_combination *c)
{
	static const struct field known[] = {{"name", VARIANT, AT(image_combination, name)}, {"components", TEXT}};
	if (!json_is_object(row))
		return refuse(r, "", "must be an object");
	int e = read_field(r, &known[0], row, c);
	if (e == 0)
		e = check_unknown(r, known, countof(known), (json_t *)row);
	if (e == 0)
		e = read_list(r, &component_list, row, countof(c->components), c->components, &c->n_components);
	return e;
}

static int read_combinations(struct reader *r, const json_t *root, struct image_combinations *list)
{
	json_t *rows = NULL;
	int e = read_format(r, root);
	if (e == 0)
		e = read_fields(r, combinations_fields, countof(combinations_fields), root, list);
	if (e == 0)
		e = read_array(r, "combinations", root, countof(list->list), &rows);
	for (size_t i = 0; e == 0 && i < json_array_size(rows); i++) {
		snprintf(r->where, sizeof(r->where), "combinations[%zu]", i);
		e = read_combination(r, json_array_get(rows, i), &list->list[i]);
		r->where[0] = '\0';
		for (size_t j = 0; e == 0 && j < i; j++)
			if (strcmp(list->list[j].name, list->list[i].name) == 0)
				e = refuse(r, "combinations", "names one thing twice");
		list->n = i + 1;
	}
	return e;
}

static int parse_object(const struct reader *r, const uint8_t *bytes, size_t size, json_t **ret_root)
{
	json_error_t where;
	if (size > IMAGE_MANIFEST_MAX)
		return err_set(r->err, -EFBIG, "%s: %zu bytes, more than the %u that a manifest may have", r->name, size,
		               IMAGE_MANIFEST_MAX);
	json_auto_t *root = json_loadb((const char *)bytes, size, JSON_REJECT_DUPLICATES, &where);
	if (!root)
		return err_set(r->err, -EINVAL, "%s:%d:%d: is no JSON: %s", r->name, where.line, where.column, where.text);
	if (!json_is_object(root))
		return refuse(r, "", "must be an object");
	*ret_root = take(&root);
	return 0;
}

int image_combinations_parse(const char *name, const uint8_t *bytes, size_t size, struct image_combinations **ret_list,
                             struct err *err)
{
	struct reader reader = {.name = name, .err = err};
	json_auto_t *root = NULL;
	int r = parse_object(&reader, bytes, size, &root);
	if (r < 0)
		return r;
	auto_free struct image_combinations *list = calloc(1, sizeof(*list));
	if (!list)
		abort();
	r = read_combinations(&reader, root, list);
	if (r == 0)
		*ret_list = take(&list);
	return r;
}

int image_parse(const char *name, const uint8_t *bytes, size_t size, struct image **ret_image, struct err *err)
{
	struct reader reader = {.name = name, .err = err};
	json_auto_t *root = NULL;
	int r = parse_object(&reader, bytes, size, &root);
	if (r < 0)
		return r;
	struct image *image = calloc(1, sizeof(*image));
	if (!image)
		abort();
	r = read_image(&reader, root, image);
	if (r < 0) {
		image_free(image);
		return r;
	}
	*ret_image = image;
	return 0;
}

void image_free(struct image *image)
{
	if (!image)
		return;
	free(image->packages);
	free(image);
}
