#pragma once
/*
 * A variant's signed manifest: what it is made of, which bytes its files have, what it answers.
 * DIR/manifest.json (format: images/README.md) with DIR/manifest.sig, a raw Ed25519 signature over its exact bytes.
 */
#include "lib/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IMAGE_MANIFEST_MAX (4u << 20)
#define IMAGE_COMPONENTS_MAX 16
#define IMAGE_PACKAGES_MAX 4096
#define IMAGE_FILES_MAX 16
#define IMAGE_CONTENT_MAX 8
#define IMAGE_FALLBACKS_MAX 4
#define IMAGE_PORTS_MAX 8
#define IMAGE_SHA256 32
#define IMAGE_COMBINATIONS_MAX 64

enum image_layer { IMAGE_KERNEL, IMAGE_LIBC, IMAGE_SERVER, IMAGE_RUNTIME, IMAGE_PACKAGE, IMAGE_LAYER_MAX_ };

struct image_component {
	enum image_layer layer;
	char name[64]; /* printable ASCII without spaces, as is the version: "layer name version" can be taken apart again */
	char version[96];
};

struct image_file {
	char name[64]; /* no slash */
	uint64_t size;
	uint8_t sha256[IMAGE_SHA256];
};

struct image_content {
	char path[192];
	uint8_t sha256[IMAGE_SHA256];
};

struct image {
	char variant[32];
	char suite[32];
	char summary[160];
	char built[32];
	char cmdline[512];
	uint32_t memory_mib; /* 16..65536 */
	uint32_t cpus;       /* 1..64 */
	uint8_t manifest_sha256[IMAGE_SHA256];
	struct image_component components[IMAGE_COMPONENTS_MAX];
	size_t n_components;
	struct image_component *packages; /* owned; sorted by name */
	size_t n_packages;
	struct image_file files[IMAGE_FILES_MAX];
	size_t n_files;
	struct image_content content[IMAGE_CONTENT_MAX];
	size_t n_content;
	char fallbacks[IMAGE_FALLBACKS_MAX][160]; /* what the builder took instead of what the recipe wanted */
	size_t n_fallbacks;
	char ports[IMAGE_PORTS_MAX][16]; /* "80/tcp": what the guest's service listens on */
	size_t n_ports;
	uint8_t recipe_sha256[IMAGE_SHA256];
	bool has_agent; /* "agent": {"list": ...}, may be missing: koboshi-guest runs in it and speaks on its port */
	char data[192]; /* "data": {"path": ...}, may be missing: what its service writes lies in this folder of the guest; "":
	                   nothing */
	uint8_t agent_list[IMAGE_SHA256]; /* of the file that names the programs that may run */
};

/* Parses a manifest's bytes; checks every field, limit and type; duplicate keys are refused. An unknown key is ignored at the
 * top level (a later builder of format 1 may say more) and refused below it. Pure. The fuzzer's target. */
int image_parse(const char *name, const uint8_t *bytes, size_t size, struct image **ret_image, struct err *err) must_use;

/* Reads DIR/manifest.json, checks the signature with the PEM public key in `key_path`, parses. Files are not read. */
int image_open(const char *dir, const char *key_path, struct image **ret_image, struct err *err) must_use;

/* Hashes every file of the manifest in DIR: missing, longer, shorter or changed ends in one sentence that names it.
 * Blocking: hundreds of MB. `progress` (may be NULL) is called with bytes done and to do. */
int image_verify(const struct image *image, const char *dir, void (*progress)(void *, uint64_t, uint64_t), void *arg,
                 struct err *err) must_use;

void image_free(struct image *image); /* NULL is fine */

/* One image that a recipe with several values could be built to, as the archive was when its list was written. */
struct image_combination {
	char name[32];
	struct image_component components[4];
	size_t n_components;
};

/* RECIPE.combinations.json: what could be built of it. The bytes are as little believed as a manifest's. */
struct image_combinations {
	char recipe[32];
	uint8_t recipe_sha256[IMAGE_SHA256];
	struct image_combination list[IMAGE_COMBINATIONS_MAX];
	size_t n;
};
int image_combinations_parse(const char *name, const uint8_t *bytes, size_t size, struct image_combinations **ret_list,
                             struct err *err) must_use;

/* Reads DIR/RECIPE.combinations.json and checks its signature, RECIPE.combinations.sig. -ENOENT: there is none. free() the list.
 */
int image_combinations_open(const char *dir, const char *recipe, const char *key_path, struct image_combinations **ret_list,
                            struct err *err) must_use;

const char *image_layer_name(enum image_layer layer);

/* The first component of a layer, NULL if the manifest has none. */
const struct image_component *image_component(const struct image *image, enum image_layer layer);

/* What two images have in common: same layer and name, and the same version (`same`) or another (`kin`).
 * Honest: a shared libc is a shared libc. */
struct image_overlap {
	bool layer_same[IMAGE_LAYER_MAX_]; /* kernel, libc, server, runtime: same name and version; packages are counted below */
	bool layer_kin[IMAGE_LAYER_MAX_];  /* same name, other version */
	size_t packages_a, packages_b, packages_same, packages_kin;
	double share; /* packages_same / names of packages in either, 0..1 */
};
void image_overlap(const struct image *a, const struct image *b, struct image_overlap *ret_overlap);

/* Ed25519 over the bytes; `key_path` PEM private key. For the builder. */
int image_sign(const char *dir, const char *key_path, struct err *err) must_use;
