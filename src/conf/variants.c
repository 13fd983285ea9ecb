/*
 * What stands below `variants`: names of images, and patterns for the combinations of one recipe. A pattern becomes the names
 * that it stands for here, at once and by itself: all processes read the same file and come to the same numbers, whichever of
 * the images are there already.
 */
#include "conf/conf_local.h"
#include "lib/bytes.h"

#include <stdio.h>
#include <string.h>

#define PATTERN_MAX 256

struct spread { /* of one entry */
	const struct yaml_node *node;
	const char *text;
	struct conf_service *service;
	struct err *err;
};

static int name_add(const struct spread *s, const char *name)
{
	static const struct yaml_key as_name = {.width = CONF_NAME_MAX};
	struct conf_service *service = s->service;
	struct yaml_value value;
	char want[128];
	if (!yaml_value_parse(&as_name, YAML_NAME, name, &value, want, sizeof(want)))
		return yaml_fail(s->node, s->err, "each of 'variants' must be %s, not '%.80s'", want, name);
	for (size_t i = 0; i < service->n_variants; i++)
		if (strcmp(service->variants[i], name) == 0)
			return yaml_fail(s->node, s->err, "variant '%s' is there twice", name);
	if (service->n_variants == CONF_VARIANTS_MAX)
		return yaml_fail(s->node, s->err, "'variants' can have %d at most, all combinations counted", CONF_VARIANTS_MAX);
	text_copy(service->variants[service->n_variants++], CONF_NAME_MAX, name);
	return 0;
}

/* "dune-(lts|new)-php": `head` is done; each choice of the first bracket is put behind it, then the rest is looked at. As deep
 * as there are brackets. */
static int spread(const struct spread *s, const char *head, const char *rest)
{
	char name[PATTERN_MAX];
	const char *open = strchr(rest, '('), *close = open ? strchr(open, ')') : NULL;
	if (!open) {
		snprintf(name, sizeof(name), "%s%s", head, rest);
		return name_add(s, name);
	}
	if (!close || memchr(open + 1, '(', (size_t)(close - open - 1)))
		return yaml_fail(s->node, s->err, "'%.80s': a bracket is not closed: write name-(one|other)", s->text);
	for (const char *at = open + 1; at <= close;) {
		size_t length = strcspn(at, "|)");
		snprintf(name, sizeof(name), "%s%.*s%.*s", head, (int)(open - rest), rest, (int)length, at);
		int r = spread(s, name, close + 1);
		if (r < 0)
			return r;
		at += length + 1;
	}
	return 0;
}

int conf_variant(const struct yaml_node *node, const struct yaml_value *value, void *object, struct err *err)
{
	const struct spread s = {node, value->text, object, err};
	if (strlen(value->text) >= PATTERN_MAX)
		return yaml_fail(node, err, "'variants': an entry is at most %d bytes long", PATTERN_MAX - 1);
	return spread(&s, "", value->text);
}
