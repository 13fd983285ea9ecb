/* Whatever parses keeps to its limits: names end and are names, components have a layer, no two combinations one name. */
#include "image/image.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void check(const struct image_combination *c)
{
	assert(memchr(c->name, 0, sizeof(c->name)) && c->name[0] >= 'a' && c->name[0] <= 'z' && !strchr(c->name, '/'));
	assert(c->n_components <= 4);
	for (size_t i = 0; i < c->n_components; i++) {
		assert(c->components[i].layer < IMAGE_PACKAGE);
		assert(c->components[i].name[0] && !strchr(c->components[i].name, ' '));
		assert(c->components[i].version[0] && !strchr(c->components[i].version, ' '));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct image_combinations *list;
	struct err err;
	if (image_combinations_parse("fuzz", bytes, size, &list, &err) < 0) {
		assert(err.code < 0 && err.text[0]);
		return 0;
	}
	assert(list->n <= IMAGE_COMBINATIONS_MAX);
	for (size_t i = 0; i < list->n; i++) {
		check(&list->list[i]);
		for (size_t j = 0; j < i; j++)
			assert(strcmp(list->list[i].name, list->list[j].name) != 0);
	}
	free(list);
	return 0;
}
