/* See library.h. */
#include "engine/library.h"

#include "lib/bytes.h"
#include "lib/log.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

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

static void add_packages(struct library *library, struct library_variant *v)
{
	for (size_t i = 0; v->image && i < v->image->n_packages; i++)
		add_component(library, v, &v->image->packages[i]);
}

/* "dune-lts-nginx-php" is of the recipe dune, or of dune-lts: whichever has a list that names it. A list that cannot be used is
 * a better sentence than that there is no image. */
static bool find_combination(const struct conf *conf, struct library_variant *v, struct image_combination *ret_combination)
{
	const char *name = v->name;
	char recipe[CONF_NAME_MAX];
	bool found = false;
	text_copy(recipe, sizeof(recipe), name);
	for (char *dash = strrchr(recipe, '-'); dash && !found; dash = strrchr(recipe, '-')) {
		auto_free struct image_combinations *list = NULL;
		struct err err = {0};
		*dash = '\0';
		int r = image_combinations_open(conf->image_dir, recipe, conf->image_key, &list, &err);
		if (r < 0 && r != -ENOENT)
			text_copy(v->problem, sizeof(v->problem), err.text);
		for (size_t i = 0; r == 0 && i < list->n && !found; i++) {
			found = strcmp(list->list[i].name, name) == 0;
			if (found)
				*ret_combination = list->list[i];
		}
	}
	return found;
}

static bool load_combination(struct library *library, const struct conf *conf, struct library_variant *v)
{
	struct image_combination combination;
	if (!find_combination(conf, v, &combination))
		return false;
	v->combination = v->buildable = true;
	v->problem[0] = '\0';
	for (size_t i = 0; i < combination.n_components; i++)
		add_component(library, v, &combination.components[i]);
	return true;
}

/* Its image as it is now; without one `problem` is the sentence. */
static int load_image(struct library *library, const struct conf *conf, struct library_variant *v)
{
	struct image *image = NULL;
	struct err err = {0};
	char dir[PATH_MAX];
	snprintf(dir, sizeof(dir), "%s/%s", conf->image_dir, v->name);
	int r = image_open(dir, conf->image_key, &image, &err);
	if (r == 0 && strcmp(image->variant, v->name) != 0)
		r = err_set(&err, -EINVAL, "%s holds the image of variant '%s'", dir, image->variant);
	if (r < 0) {
		text_copy(v->problem, sizeof(v->problem), err.text);
		image_free(image);
		return r;
	}
	image_free(v->image);
	v->image = image;
	v->buildable = false;
	v->problem[0] = '\0';
	memset(v->components, 0, sizeof(v->components));
	for (size_t i = 0; i < image->n_components; i++)
		add_component(library, v, &image->components[i]);
	return 0;
}

/* When its manifest was written; 0: it is not there. */
static int64_t manifest_time_ns(const struct conf *conf, const char *name)
{
	struct stat status;
	char path[PATH_MAX];
	snprintf(path, sizeof(path), "%s/%s/manifest.json", conf->image_dir, name);
	return stat(path, &status) == 0 ? status.st_mtim.tv_sec * 1000000000 + status.st_mtim.tv_nsec : 0;
}

static void load_variant(struct library *library, const struct conf *conf, const char *name)
{
	if (library_find(library, name) || library->n_variants == LIBRARY_VARIANTS_MAX)
		return;
	struct library_variant *v = &library->variants[library->n_variants++];
	text_copy(v->name, sizeof(v->name), name);
	v->tried_ns = manifest_time_ns(conf, name);
	int r = load_image(library, conf, v);
	struct image_combination combination;
	if (r == 0) {
		v->combination = find_combination(conf, v, &combination);
		v->problem[0] = '\0'; /* with an image the list says nothing that is needed now */
	}
	if (r < 0 && (r != -ENOENT || !load_combination(library, conf, v)))
		log_warning("engine.image", "variant %s cannot be used: %s", name, v->problem);
}

void library_load(struct library *library, const struct conf *conf)
{
	memset(library, 0, sizeof(*library));
	for (size_t s = 0; s < conf->n_services; s++)
		for (size_t i = 0; i < conf->services[s].n_variants; i++)
			load_variant(library, conf, conf->services[s].variants[i]);
	for (size_t k = 0; k < library->n_variants; k++)
		add_packages(library, &library->variants[k]);
}

static bool look_at(struct library *library, const struct conf *conf, struct library_variant *v)
{
	int64_t there_ns = manifest_time_ns(conf, v->name);
	bool usable = library_is_usable(v);
	if (usable && there_ns == 0 && v->combination) {
		log_notice("engine.image", "the image of %s was taken away", v->name);
		v->tried_ns = 0;
		v->buildable = true;
		return true;
	}
	if (usable || there_ns == 0)
		return !usable && !v->buildable && load_combination(library, conf, v);
	if (!v->combination || there_ns == v->tried_ns)
		return false;
	v->tried_ns = there_ns;
	int r = load_image(library, conf, v);
	if (r == 0)
		log_notice("engine.image", "there is an image of %s now", v->name);
	else
		log_warning("engine.image", "variant %s cannot be used: %s", v->name, v->problem);
	v->buildable = false;
	add_packages(library, v);
	return true;
}

bool library_look(struct library *library, const struct conf *conf)
{
	bool changed = false;
	for (size_t i = 0; i < library->n_variants; i++)
		changed |= look_at(library, conf, &library->variants[i]);
	return changed;
}

bool library_is_usable(const struct library_variant *variant)
{
	return variant && variant->image && !variant->buildable;
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
