/*
 * A table as text for people (scdoc, the key list of a manual page) and for editors (JSON Schema). Made from the same
 * rows that the reader uses, so neither can tell of a key that does not exist.
 */
#include "lib/yaml.h"

#include <ctype.h>
#include <string.h>

static const char *const kinds[YAML_TYPE_MAX_] = {
        [YAML_BOOL] = "yes or no",     [YAML_INTEGER] = "number",
        [YAML_DURATION] = "duration",  [YAML_SIZE] = "size",
        [YAML_PERCENT] = "percentage", [YAML_WORD] = "one of",
        [YAML_TEXT] = "text",          [YAML_NAME] = "name",
        [YAML_PATH] = "absolute path", [YAML_URL_PATH] = "URL path",
        [YAML_ADDRESS] = "addresses",  [YAML_RANGE] = "address ranges",
        [YAML_PORT] = "ports",         [YAML_MAP] = "map",
        [YAML_LIST] = "list",          [YAML_NAMED] = "map of names",
};

static bool is_number(enum yaml_type type)
{
	return type == YAML_INTEGER || type == YAML_DURATION || type == YAML_SIZE || type == YAML_PERCENT;
}

/* A manual's text with the marks of scdoc taken literally. */
static void print_literal(const char *text, FILE *to)
{
	for (; *text; text++) {
		if (strchr("_*\\`<", *text))
			fputc('\\', to);
		fputc(*text, to);
	}
}

static void print_kind(const struct yaml_key *key, FILE *to)
{
	char low[32], high[32];
	fputs(key->type == YAML_LIST ? "list of " : "", to);
	fputs(key->type == YAML_LIST && key->item == YAML_NAME       ? "names"
	      : key->type == YAML_LIST && key->item == YAML_URL_PATH ? "URL paths"
	                                                             : kinds[key->type == YAML_LIST ? key->item : key->type],
	      to);
	for (size_t i = 0; key->type == YAML_WORD && key->words[i]; i++)
		fprintf(to, "%s %s", i ? "," : "", key->words[i]);
	if (!is_number(key->type))
		return;
	yaml_number_text(key->type, key->min, low, sizeof(low));
	yaml_number_text(key->type, key->max, high, sizeof(high));
	fprintf(to, ", %s to %s", low, high);
}

static void print_keys(const struct yaml_key *keys, const char *prefix, FILE *to)
{
	for (; keys->key; keys++) {
		char path[200];
		snprintf(path, sizeof(path), "%s%s%s", prefix, *prefix ? "." : "", keys->key);
		fputs("*", to);
		print_literal(path, to);
		fputs("* (", to);
		print_kind(keys, to);
		if (keys->required)
			fputs("; required", to);
		if (keys->fallback && strcmp(keys->fallback, "[]") != 0) {
			fputs("; default ", to);
			print_literal(keys->fallback, to);
		}
		fprintf(to, ")\n\t%s\n\n", keys->help);
		if (keys->type == YAML_NAMED)
			strncat(path, ".NAME", sizeof(path) - strlen(path) - 1);
		if (keys->keys)
			print_keys(keys->keys, path, to);
	}
}

void yaml_print_manual(const struct yaml_key *keys, FILE *to)
{
	print_keys(keys, "", to);
}

static const char *const patterns[YAML_TYPE_MAX_] = {
        [YAML_DURATION] = "^[0-9]+(ms|s|min|h)$",
        [YAML_SIZE] = "^(0|[0-9]+(B|KiB|MiB|GiB))$",
        [YAML_PERCENT] = "^[0-9]+%$",
        [YAML_NAME] = "^[a-z][a-z0-9-]*$",
        [YAML_PATH] = "^/",
        [YAML_URL_PATH] = "^/[!-~]*$",
        [YAML_RANGE] = "^[0-9a-fA-F.:]+/[0-9]+$",
        [YAML_PORT] = "^[0-9]+/(tcp|udp)$",
};

static bool is_mark(const char *text, const char *at)
{
	bool inside = at > text && isalnum((unsigned char)at[-1]) && isalnum((unsigned char)at[1]);
	return *at == '*' || (*at == '_' && !inside);
}

/* Help text carries the manual's marks (*bold*, _word_), which an editor would show as they are. */
static void print_string(const char *start, FILE *to)
{
	fputc('"', to);
	for (const char *text = start; *text; text++) {
		if (is_mark(start, text))
			continue;
		if (*text == '"' || *text == '\\')
			fputc('\\', to);
		fputc(*text, to);
	}
	fputc('"', to);
}

static void print_scalar_schema(const struct yaml_key *key, enum yaml_type type, FILE *to)
{
	if (type == YAML_BOOL) {
		fputs("\"enum\": [true, false, \"yes\", \"no\", \"on\", \"off\"]", to);
	} else if (type == YAML_WORD) {
		fputs("\"enum\": [", to);
		for (size_t i = 0; key->words[i]; i++)
			fprintf(to, "%s\"%s\"", i ? ", " : "", key->words[i]);
		fputs("]", to);
	} else if (type == YAML_INTEGER) {
		fprintf(to, "\"type\": \"integer\", \"minimum\": %llu, \"maximum\": %llu", (unsigned long long)key->min,
		        (unsigned long long)key->max);
	} else if (type == YAML_TEXT) { /* a user may be a number, a challenge may be "no" */
		fputs("\"type\": [\"string\", \"integer\", \"boolean\"]", to);
	} else if (type == YAML_SIZE && key->min == 0) { /* a bare 0 is a number to an editor */
		fprintf(to, "\"anyOf\": [{\"const\": 0}, {\"type\": \"string\", \"pattern\": \"%s\"}]", patterns[type]);
	} else {
		fputs("\"type\": \"string\"", to);
		if (patterns[type])
			fprintf(to, ", \"pattern\": \"%s\"", patterns[type]);
	}
}

static void print_map_schema(const struct yaml_key *keys, int depth, FILE *to);

static void print_key_schema(const struct yaml_key *key, int depth, FILE *to)
{
	fprintf(to, "%*s\"%s\": {", 2 * depth, "", key->key);
	if (key->help) {
		fputs("\"description\": ", to);
		print_string(key->help, to);
		fputs(", ", to);
	}
	if (key->type == YAML_LIST) {
		fprintf(to, "\"type\": \"array\", \"minItems\": %llu, \"maxItems\": %zu, \"items\": {",
		        (unsigned long long)key->min, key->limit);
		print_scalar_schema(key, key->item, to);
		fputs("}", to);
	} else if (key->type == YAML_NAMED) {
		fprintf(to, "\"type\": \"object\", \"minProperties\": %llu, \"maxProperties\": %zu, ",
		        (unsigned long long)key->min, key->limit);
		fprintf(to, "\"propertyNames\": {\"pattern\": \"%s\"}, \"additionalProperties\": {", patterns[YAML_NAME]);
		print_map_schema(key->keys, depth + 1, to);
		fputs("}", to);
	} else if (key->type == YAML_MAP) {
		print_map_schema(key->keys, depth + 1, to);
	} else {
		print_scalar_schema(key, key->type, to);
	}
	fputs("}", to);
}

static void print_map_schema(const struct yaml_key *keys, int depth, FILE *to)
{
	const char *comma = "";
	fputs("\"type\": \"object\", \"additionalProperties\": false, \"required\": [", to);
	for (const struct yaml_key *key = keys; key->key; key++)
		if (key->required) {
			fprintf(to, "%s\"%s\"", comma, key->key);
			comma = ", ";
		}
	fputs("], \"properties\": {\n", to);
	for (; keys->key; keys++) {
		print_key_schema(keys, depth, to);
		fputs(keys[1].key ? ",\n" : "\n", to);
	}
	fprintf(to, "%*s}", 2 * (depth - 1), "");
}

void yaml_print_json_schema(const struct yaml_key *keys, const char *title, FILE *to)
{
	fputs("{\"$schema\": \"https://json-schema.org/draft/2020-12/schema\", \"title\": ", to);
	print_string(title, to);
	fputs(",\n", to);
	print_map_schema(keys, 1, to);
	fputs("}\n", to);
}
