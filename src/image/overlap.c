/*
 * What two images have in common. Pure. Counted by what the manifests say, to the letter of the version: two builds of one
 * upstream release count as kin, not as the same, because a distribution's patch may have closed the hole.
 */
#include "image/image.h"

#include <assert.h>
#include <string.h>

const char *image_layer_name(enum image_layer layer)
{
	static const char *const names[IMAGE_LAYER_MAX_] = {
	        [IMAGE_KERNEL] = "kernel",   [IMAGE_LIBC] = "libc",       [IMAGE_SERVER] = "server",
	        [IMAGE_RUNTIME] = "runtime", [IMAGE_PACKAGE] = "package",
	};
	return layer < IMAGE_LAYER_MAX_ ? names[layer] : "?";
}

const struct image_component *image_component(const struct image *image, enum image_layer layer)
{
	for (size_t i = 0; i < image->n_components; i++)
		if (image->components[i].layer == layer)
			return &image->components[i];
	return NULL;
}

static void compare_components(const struct image_component *a, const struct image_component *b, struct image_overlap *to)
{
	assert(a->layer < IMAGE_LAYER_MAX_);
	if (a->layer != b->layer || strcmp(a->name, b->name) != 0)
		return;
	if (strcmp(a->version, b->version) == 0)
		to->layer_same[a->layer] = true;
	else
		to->layer_kin[a->layer] = true;
}

/* Both lists are sorted by name, and no name is in one list twice. */
static void compare_packages(const struct image *a, const struct image *b, struct image_overlap *to)
{
	for (size_t i = 0, j = 0; i < a->n_packages && j < b->n_packages;) {
		int order = strcmp(a->packages[i].name, b->packages[j].name);
		if (order == 0 && strcmp(a->packages[i].version, b->packages[j].version) == 0)
			to->packages_same++;
		else if (order == 0)
			to->packages_kin++;
		i += order <= 0;
		j += order >= 0;
	}
	to->packages_a = a->n_packages;
	to->packages_b = b->n_packages;
	size_t either = to->packages_a + to->packages_b - to->packages_same - to->packages_kin;
	to->share = either ? (double)to->packages_same / (double)either : 0;
}

void image_overlap(const struct image *a, const struct image *b, struct image_overlap *ret_overlap)
{
	struct image_overlap overlap = {0};
	for (size_t i = 0; i < a->n_components; i++)
		for (size_t j = 0; j < b->n_components; j++)
			compare_components(&a->components[i], &b->components[j], &overlap);
	compare_packages(a, b, &overlap);
	*ret_overlap = overlap;
}
