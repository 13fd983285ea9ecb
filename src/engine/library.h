#pragma once
/*
 * The library: the signed manifests of all variants that the configuration names, and the components that they are made
 * of, numbered once for the whole device so that plans can reason in bits. Of a recipe's combinations those are in it as well
 * whose images could be built: what they would be made of says the recipe's signed list.
 */
#include "conf/conf.h"
#include "image/image.h"
#include "plan/plan.h"

#define LIBRARY_VARIANTS_MAX (CONF_SERVICES_MAX * CONF_VARIANTS_MAX)

struct library_variant {
	char name[CONF_NAME_MAX];
	struct image *image;        /* NULL: cannot be used, or is not built */
	bool combination;           /* of a recipe with several values: its image may come and go */
	bool buildable;             /* there is no image of it now, and could be; one that was there stays in `image` */
	int64_t tried_ns;           /* of the manifest that was looked at last */
	char problem[ERR_TEXT_MAX]; /* why not, or "" */
	uint64_t components[PLAN_COMPONENTS_MAX / 64];
};

struct library_component {
	enum image_layer layer;
	char *key; /* "server nginx 1.22.1-9": owned; also the ledger's key */
};

struct library {
	struct library_variant variants[LIBRARY_VARIANTS_MAX];
	size_t n_variants;
	struct library_component components[PLAN_COMPONENTS_MAX];
	size_t n_components;
};

/* Opens every manifest (signature and form; the files themselves are hashed by the vm actuator before use). A variant
 * that cannot be used stands there with its problem. */
void library_load(struct library *library, const struct conf *conf);
void library_done(struct library *library);

/* Have images of combinations come or gone? Some stat() calls; called now and then. Numbers of components stay. */
bool library_look(struct library *library, const struct conf *conf);

bool library_is_usable(const struct library_variant *variant); /* NULL is fine: no */

const struct library_variant *library_find(const struct library *library, const char *name);

/* Component's number, or -1. */
int library_component(const struct library *library, const char *key);

/* "kernel linux 6.1.0-1; server nginx 1.22" of the four layers, for people and the ledger. */
void library_describe(const struct library_variant *variant, char *ret_text, size_t size);

/* "kernel, libc" out of a plan's layer bits; "nothing" for none. `mask` says which layers matter. */
void library_layers_text(uint32_t layers, uint32_t mask, char *ret_text, size_t size);
