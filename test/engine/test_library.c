/* Manifests as bits: which components there are, which variant has them, what cannot be used and why. */
#include "../image/made.h"
#include "engine/library.h"
#include "lib/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static struct made made;
static struct conf conf;
static struct library library;

static void put_variant(const char *variant, const char *kernel)
{
	struct made other = made;
	json_auto_t *manifest = made_manifest();
	snprintf(other.dir, sizeof(other.dir), "%s/%s", made.base, variant);
	mkdir(other.dir, 0755);
	json_object_set_new(manifest, "variant", json_string(variant));
	json_object_set_new(json_array_get(json_object_get(manifest, "components"), 0), "version", json_string(kernel));
	made_put(&other, manifest);
}

static void want(const char *variant)
{
	struct conf_service *service = &conf.services[0];
	conf.n_services = 1;
	text_copy(service->variants[service->n_variants++], sizeof(service->variants[0]), variant);
}

static int setup(unused_arg void **state)
{
	memset(&conf, 0, sizeof(conf));
	made_new(&made);
	text_copy(conf.image_dir, sizeof(conf.image_dir), made.base);
	text_copy(conf.image_key, sizeof(conf.image_key), made.pub);
	return 0;
}

static int teardown(unused_arg void **state)
{
	library_done(&library);
	made_remove(&made);
	return 0;
}

static bool has(const char *variant, const char *key)
{
	int number = library_component(&library, key);
	return number >= 0 && library_find(&library, variant)->components[number / 64] >> (number % 64) & 1;
}

static void test_what_is_the_same_has_one_number(unused_arg void **state)
{
	put_variant("amber", "6.1");
	put_variant("birch", "6.12.1");
	want("amber");
	want("birch");
	library_load(&library, &conf);
	assert_int_equal(library.n_variants, 2);
	assert_int_equal(library.n_components, 5 + 3); /* two kernels, three other layers, three packages */
	assert_true(has("amber", "kernel linux 6.1") && !has("amber", "kernel linux 6.12.1"));
	assert_true(has("birch", "kernel linux 6.12.1") && !has("birch", "kernel linux 6.1"));
	assert_true(has("amber", "libc glibc 2.41") && has("birch", "libc glibc 2.41"));
	assert_int_equal(library_component(&library, "kernel linux"), -1);
	assert_true(library.components[7].layer == IMAGE_PACKAGE && library.components[0].layer == IMAGE_KERNEL);
}

static void test_what_cannot_be_used_says_why_and_takes_nothing_along(unused_arg void **state)
{
	char path[PATH_MAX];
	put_variant("birch", "6.12.1");
	put_variant("cedar", "7.3");
	snprintf(path, sizeof(path), "%s/cedar/manifest.json", made.base);
	made_flip(path, 40);
	snprintf(path, sizeof(path), "%s/other", made.base); /* another's image in this folder */
	assert_int_equal(symlink("birch", path), 0);
	want("birch");
	want("cedar");
	want("other");
	want("nowhere");
	library_load(&library, &conf);
	assert_non_null(library_find(&library, "birch")->image);
	assert_string_equal(library_find(&library, "birch")->problem, "");
	static const char *const why[][2] = {
	        {"cedar", "signature"}, {"other", "image of variant 'birch'"}, {"nowhere", "is not there"}};
	for (size_t i = 0; i < countof(why); i++) {
		assert_null(library_find(&library, why[i][0])->image);
		assert_non_null(strstr(library_find(&library, why[i][0])->problem, why[i][1]));
	}
	assert_null(library_find(&library, "unasked"));
	assert_int_equal(library.n_components, 4 + 3);
}

static void test_words(unused_arg void **state)
{
	char text[LIBRARY_VARIANTS_MAX * 4], small[12];
	put_variant("birch", "6.12.1");
	want("birch");
	library_load(&library, &conf);
	library_describe(library_find(&library, "birch"), text, sizeof(text));
	assert_string_equal(text, "kernel linux 6.12.1; libc glibc 2.41; server lighttpd 1.4.79; runtime php 8.4.28");
	library_describe(library_find(&library, "birch"), small, sizeof(small));
	assert_string_equal(small, "kernel linu");
	library_describe(NULL, text, sizeof(text));
	assert_string_equal(text, "");
	library_layers_text(1u << PLAN_KERNEL | 1u << PLAN_PACKAGE, UINT32_MAX, text, sizeof(text));
	assert_string_equal(text, "kernel, packages");
	library_layers_text(1u << PLAN_KERNEL, 1u << PLAN_LIBC, text, sizeof(text));
	assert_string_equal(text, "nothing");
}

/* The list that a builder writes beside the images, of a recipe whose combinations differ in their kernels. */
static void put_list(const char *recipe, const char *const *names, size_t n)
{
	char text[2048], path[PATH_MAX], command[4 * PATH_MAX];
	snprintf(text, sizeof(text), "{\"format\":1,\"recipe\":\"%s\",\"recipe_sha256\":\"%064d\",\"combinations\":[", recipe, 0);
	for (size_t i = 0; i < n; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text),
		         "%s{\"name\":\"%s\",\"components\":[{\"layer\":\"kernel\",\"name\":\"linux\",\"version\":\"%zu\"},"
		         "{\"layer\":\"server\",\"name\":\"nginx\",\"version\":\"1\"}]}",
		         i ? "," : "", names[i], i);
	snprintf(text + strlen(text), sizeof(text) - strlen(text), "]}");
	snprintf(path, sizeof(path), "%s/%s.combinations.json", made.base, recipe);
	made_write(path, text, strlen(text));
	snprintf(command, sizeof(command), "openssl pkeyutl -sign -rawin -inkey %s -in %s -out %s/%s.combinations.sig", made.key,
	         path, made.base, recipe);
	assert_int_equal(system(command), 0); /* NOLINT(*-env33-c) */
}

static void test_a_combination_comes_and_goes(unused_arg void **state)
{
	static const char *const names[] = {"dune-a-x", "dune-b-x"};
	char from[PATH_MAX], away[PATH_MAX];
	put_variant("birch", "6.12.1");
	want("birch");
	want("dune-a-x");
	want("dune-c-x");
	library_load(&library, &conf);
	const struct library_variant *a = library_find(&library, "dune-a-x"), *c = library_find(&library, "dune-c-x");
	assert_true(!a->buildable && strstr(a->problem, "is not there"));
	assert_false(library_look(&library, &conf));

	put_list("dune", names, countof(names)); /* it could be built */
	assert_true(library_look(&library, &conf));
	assert_true(a->buildable && !library_is_usable(a) && !a->problem[0] && has("dune-a-x", "kernel linux 0"));
	assert_true(!c->buildable && c->problem[0]);
	assert_false(library_look(&library, &conf));

	put_variant("dune-a-x", "6.12.1"); /* it is built, of another kernel than was thought */
	assert_true(library_look(&library, &conf));
	assert_true(library_is_usable(a) && !a->buildable);
	assert_true(has("dune-a-x", "kernel linux 6.12.1") && !has("dune-a-x", "kernel linux 0"));
	assert_true(has("dune-a-x", "package libc6 2.41"));
	assert_false(library_look(&library, &conf));

	snprintf(from, sizeof(from), "%s/dune-a-x", made.base);
	snprintf(away, sizeof(away), "%s/away", made.base);
	assert_int_equal(rename(from, away), 0); /* the builder took it away: what runs of it is still known */
	assert_true(library_look(&library, &conf));
	assert_true(a->buildable && a->image && !library_is_usable(a));
	assert_false(library_look(&library, &conf));
	assert_int_equal(rename(away, from), 0);
	assert_true(library_look(&library, &conf) && library_is_usable(a));
}

static void test_a_combination_that_is_no_image_is_told_once(unused_arg void **state)
{
	static const char *const names[] = {"dune-a-x"};
	char path[PATH_MAX];
	put_list("dune", names, 1);
	want("dune-a-x");
	library_load(&library, &conf);
	const struct library_variant *a = library_find(&library, "dune-a-x");
	assert_true(a->buildable);
	put_variant("dune-a-x", "6.12.1");
	snprintf(path, sizeof(path), "%s/dune-a-x/manifest.json", made.base);
	made_flip(path, 40);
	assert_true(library_look(&library, &conf));
	assert_true(!a->buildable && !library_is_usable(a) && strstr(a->problem, "signature"));
	assert_false(library_look(&library, &conf));
}

static void test_a_list_that_is_not_signed_is_not_believed(unused_arg void **state)
{
	static const char *const names[] = {"dune-a-x"};
	char path[PATH_MAX];
	put_list("dune", names, 1);
	snprintf(path, sizeof(path), "%s/dune.combinations.json", made.base);
	made_flip(path, 20);
	want("dune-a-x");
	library_load(&library, &conf);
	assert_false(library_find(&library, "dune-a-x")->buildable);
	assert_non_null(
	        strstr(library_find(&library, "dune-a-x")->problem, "dune.combinations.json: its signature does not fit"));
	assert_false(library_look(&library, &conf));
}

#define WITH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        WITH(test_what_is_the_same_has_one_number),
	        WITH(test_what_cannot_be_used_says_why_and_takes_nothing_along),
	        WITH(test_words),
	        WITH(test_a_combination_comes_and_goes),
	        WITH(test_a_combination_that_is_no_image_is_told_once),
	        WITH(test_a_list_that_is_not_signed_is_not_believed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
