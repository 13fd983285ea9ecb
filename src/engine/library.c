/* See library.h. */
#include "engine/library.h"

#include "lib/bytes.h"
#include "lib/log.h"

#include <assert.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

_Static_assert((int)IMAGE_KERNEL == (int)PLAN_KERNEL && (int)IMAGE_RUNTIME == (int)PLAN_RUNTIME &&
                       (int)IMAGE_PACKAGE == (int)PLAN_PACKAGE,
               "layers of manifest and plan are the same");

int library_component(const struct library *library, const char *key)
{
	for (size_t i = 0; i < library->n_components; i++)
		if (strcmp(library->components[i].key, key) == 0)
			return (int)i;
	return -1;
}

static void add_component(struct library *library, struct library_variant *variant, const struct image_component *c)
{
	char key[192];
	snprintf(key, sizeof(key), "%s %s %s", image_layer_name(c->layer), c->name, c->version);
	int number = library_component(library, key);
	if (number < 0 && library->n_components == PLAN_COMPONENTS_MAX)
		return; /* bounded; the layers that matter come first */
	if (number < 0) {
		number = (int)library->n_components++;
		library->components[number].layer = c->layer;
		library->components[number].key = strdup(key);
		assert(library->components[number].key);
	}
	variant->components[number / 64] |= 1ull << (number % 64);
}

static void load_variant(struct library *library, const struct conf *conf, const char *name)
{
	if (library_find(library, name) || library->n_variants == LIBRARY_VARIANTS_MAX)
		return;
	struct library_variant *v = &library->variants[library->n_variants++];
	text_copy(v->name, sizeof(v->name), name);
	char dir[PATH_MAX];
	struct err err = {0};
	snprintf(dir, sizeof(dir), "%s/%s", conf->image_dir, name);
	if (image_open(dir, conf->image_key, &v->image, &err) < 0) {
		text_copy(v->problem, sizeof(v->problem), err.text);
		log_warning("engine.image", "variant %s cannot be used: %s", name, err.text);
		return;
	}
	if (strcmp(v->image->variant, name) != 0) {
		snprintf(v->problem, sizeof(v->problem), "%s holds the image of variant '%s'", dir, v->image->variant);
		image_free(v->image);
		v->image = NULL;
		return;
	}
	for (size_t i = 0; i < v->image->n_components; i++)
		add_component(library, v, &v->image->components[i]);
}

void library_load(struct library *library, const struct conf *conf)
{
	memset(library, 0, sizeof(*library));
	for (size_t s = 0; s < conf->n_services; s++)
		for (size_t i = 0; i < conf->services[s].n_variants; i++)
			load_variant(library, conf, conf->services[s].variants[i]);
	for (size_t k = 0; k < library->n_variants; k++)
		for (size_t i = 0; library->variants[k].image && i < library->variants[k].image->n_packages; i++)
			add_component(library, &library->variants[k], &library->variants[k].image->packages[i]);
}

void library_done(struct library *library)
{
	for (size_t i = 0; i < library->n_variants; i++)
		image_free(library->variants[i].image);
	for (size_t i = 0; i < library->n_components; i++)
		free(library->components[i].key);
	memset(library, 0, sizeof(*library));
}

const struct library_variant *library_find(const struct library *library, const char *name)
{
	for (size_t i = 0; i < library->n_variants; i++)
		if (strcmp(library->variants[i].name, name) == 0)
			return &library->variants[i];
	return NULL;
}

void library_describe(const struct library_variant *variant, char *ret_text, size_t size)
{
	ret_text[0] = '\0';
	for (enum image_layer layer = IMAGE_KERNEL; variant && variant->image && layer <= IMAGE_RUNTIME; layer++) {
		const struct image_component *c = image_component(variant->image, layer);
		size_t used = strlen(ret_text);
		if (c)
			snprintf(ret_text + used, size - used, "%s%s %s %s", used ? "; " : "", image_layer_name(layer), c->name,
			         c->version);
	}
}

void library_layers_text(uint32_t layers, uint32_t mask, char *ret_text, size_t size)
{
	ret_text[0] = '\0';
	for (enum image_layer layer = IMAGE_KERNEL; layer <= IMAGE_PACKAGE; layer++) {
		size_t used = strlen(ret_text);
		if (layers & mask & 1u << layer)
			snprintf(ret_text + used, size - used, "%s%s", used ? ", " : "",
			         layer == IMAGE_PACKAGE ? "packages" : image_layer_name(layer));
	}
	if (!ret_text[0])
		text_copy(ret_text, size, "nothing");
}
