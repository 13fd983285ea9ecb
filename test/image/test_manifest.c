/* What a manifest may say: rows that set one place of a good manifest to something else, and the refusal that must come. */
#include "made.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* `place` is like "files.1.size"; `value` is JSON, NULL: the key is taken away. `says`: part of the sentence; NULL: accepted. */
struct row {
	const char *place, *value, *says;
};

#define LONG64 "\"0123456789012345678901234567890123456789012345678901234567890123\""
#define HEX64 "\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\""

static const struct row rows[] = {
        {"unknown", "[1]", NULL},
        {"format", NULL, "format is missing: this is not a manifest"},
        {"format", "2", "is of format 2"},
        {"format", "1.0", "format must be a whole number"},
        {"variant", NULL, "variant is missing"},
        {"variant", "7", "variant must be a name"},
        {"variant", "\"\"", "variant must be a name"},
        {"variant", "\"Birch\"", "variant must be a name"},
        {"variant", "\"7birch\"", "variant must be a name"},
        {"variant", "\"-\"", "variant must be a name"},
        {"variant", "\"a/b\"", "variant must be a name"},
        {"variant", "\"birch-2\"", NULL},
        {"variant", "\"abcdefghijklmnopqrstuvwxyzabcdef\"", "variant is longer"},
        {"variant", "\"abcdefghijklmnopqrstuvwxyzabcde\"", NULL},
        {"summary", "\"\"", NULL},
        {"summary", "\"\\u001b[2J\"", "summary must be a text"},
        {"summary", "\"\\u009b2J\"", "summary must be a text"},
        {"summary", "\"gr\\u00fcn\"", NULL},
        {"summary", "\"a\\u0000b\"", "is no JSON"},
        {"built", "null", "built must be a text"},
        {"suite", "\"a b\"", "suite must be printable"},
        {"recipe_sha256", "\"00\"", "recipe_sha256 must be 64"},
        {"recipe_sha256", HEX64, NULL},
        {"fallbacks", "[]", NULL},
        {"fallbacks", "{}", "fallbacks must be a list"},
        {"fallbacks", "[7]", "fallbacks must be a text"},
        {"fallbacks", "[\"\",\"\",\"\",\"\",\"\"]", "fallbacks has 5 entries, more than 4"},
        {"components", "[]", NULL},
        {"components", NULL, "components is missing"},
        {"components.0", "7", "components[0] must be an object"},
        {"components.0.layer", "\"package\"", "components[0].layer must be one of"},
        {"components.0.layer", "0", "components[0].layer must be one of"},
        {"components.0.name", "\"a b\"", "components[0].name must be printable"},
        {"components.0.version", "\"\"", "components[0].version must be printable"},
        {"components.0.version", NULL, "components[0].version is missing"},
        {"components.0.hidden", "1", "components[0].hidden is not known in format 1"},
        {"components.1", "{\"layer\":\"kernel\",\"name\":\"linux\",\"version\":\"7\"}", "components names one thing twice"},
        {"components.1", "{\"layer\":\"server\",\"name\":\"linux\",\"version\":\"7\"}", NULL},
        {"packages", "[]", NULL},
        {"packages", "7", "packages must be a list"},
        {"packages.0.name", LONG64, "packages[0].name is longer"},
        {"packages.0.name", "\"libc6\"", "packages names one thing twice"},
        {"packages.2.layer", "\"kernel\"", "packages[2].layer is not known"},
        {"files", "[]", "files is empty"},
        {"files.1.name", "\"../x\"", "files[1].name must be a file's name"},
        {"files.1.name", "\"a/b\"", "files[1].name must be a file's name"},
        {"files.1.name", "\".hidden\"", "files[1].name must be a file's name"},
        {"files.1.name", "\"\"", "files[1].name must be a file's name"},
        {"files.1.name", "\"vmlinuz\"", "files names one thing twice"},
        {"files.1.size", "-1", "files[1].size must be a whole number from 0"},
        {"files.1.size", "1099511627777", "files[1].size must be a whole number from 0"},
        {"files.1.size", "99999999999999999999", "is no JSON"},
        {"files.1.size", "1e3", "files[1].size must be a whole number"},
        {"files.1.size", "\"5\"", "files[1].size must be a whole number"},
        {"files.1.sha256", LONG64, NULL},
        {"files.1.sha256", "\"zz\"", "files[1].sha256 must be 64"},
        {"files.1.sha256", "{}", "files[1].sha256 must be 64"},
        {"content", "[]", NULL},
        {"content.0.path", "\"x\"", "content[0].path must be a path"},
        {"content.0.path", "\"/ HTTP/1.0\"", "content[0].path must be a path"},
        {"content.0.type", "7", "content[0].type must be a text"},
        {"content.0.type", NULL, "content[0].type is missing"},
        {"boot", NULL, "boot is missing"},
        {"boot", "[]", "boot must be an object"},
        {"boot.memory_mib", "15", "boot.memory_mib must be a whole number from 16 to 65536"},
        {"boot.memory_mib", "65537", "boot.memory_mib must be"},
        {"boot.cpus", "0", "boot.cpus must be a whole number from 1 to 64"},
        {"boot.cpus", "true", "boot.cpus must be"},
        {"boot.cmdline", "\"a\\nb\"", "boot.cmdline must be a text"},
        {"boot.init", "\"/bin/sh\"", "boot.init is not known"},
        {"boot.in it", "1", "boot.a key is not known"},
        {"service", NULL, "service is missing"},
        {"service", "7", "service must be an object"},
        {"service.ports", "[\"80\"]", "service.ports must be a port"},
        {"service.ports", "[\"0/tcp\"]", "service.ports must be a port"},
        {"service.ports", "[\"65536/tcp\"]", "service.ports must be a port"},
        {"service.ports", "[\"99999999999999999999999/tcp\"]", "service.ports must be a port"},
        {"service.ports", "[\"80/sctp\"]", "service.ports must be a port"},
        {"service.ports", "[\"53/udp\", \"65535/tcp\"]", NULL},
        {"service.user", "1", "service.user is not known"},
        {"agent", "7", "agent must be an object"},
        {"data", "7", "data must be an object"},
        {"data", "{}", "data.path is missing"},
        {"data", "{\"path\": \"var\"}", "data.path must be a path"},
        {"agent", "{}", "agent.list is missing"},
        {"agent", "{\"list\": \"12\"}", "agent.list must be 64"},
};

static json_t *step_into(json_t *at, const char *key)
{
	return json_is_array(at) ? json_array_get(at, (size_t)atoi(key)) : json_object_get(at, key);
}

static char *changed(const struct row *row)
{
	char place[64], *rest = place, *key;
	strcpy(place, row->place);
	json_auto_t *manifest = made_manifest();
	json_t *at = manifest;
	while ((key = strsep(&rest, ".")) && rest)
		at = step_into(at, key);
	/* The value goes in as raw text: not all that a file can hold can be made with the library that reads it. */
	if (!row->value)
		json_object_del(at, key);
	else if (json_is_array(at))
		json_array_set_new(at, (size_t)atoi(key), json_string("@@"));
	else
		json_object_set_new(at, key, json_string("@@"));
	char *text = json_dumps(manifest, 0), *out, *mark = strstr(text, "\"@@\"");
	assert_int_equal(mark != NULL, row->value != NULL);
	assert_true(asprintf(&out, "%.*s%s%s", mark ? (int)(mark - text) : (int)strlen(text), text, mark ? row->value : "",
	                     mark ? mark + 4 : "") > 0);
	free(text);
	return out;
}

static void row_check(const struct row *row)
{
	struct image *image = NULL;
	struct err err = {0};
	char *text = changed(row);
	int r = image_parse("m", (const uint8_t *)text, strlen(text), &image, &err);
	if (!row->says && r < 0)
		fail_msg("%s = %s: refused: %s", row->place, row->value, err.text);
	if (row->says && (r == 0 || !strstr(err.text, row->says) || strncmp(err.text, "m:", 2) != 0))
		fail_msg("%s = %s: '%s' does not say '%s'", row->place, row->value, err.text, row->says);
	if (r < 0)
		assert_null(image);
	image_free(image);
	free(text);
}

static void test_rows(unused_arg void **state)
{
	for (size_t i = 0; i < countof(rows); i++)
		row_check(&rows[i]);
}

static int parse_text(const char *text, size_t size, struct err *err)
{
	struct image *image = NULL;
	int r = image_parse("m", (const uint8_t *)text, size, &image, err);
	image_free(image);
	return r;
}

static void test_not_a_manifest(unused_arg void **state)
{
	static const char *const texts[] = {"", "{", "[]", "7", "null", "{\"format\":1,\"format\":1}", "\xff\xfe", "{} {}"};
	for (size_t i = 0; i < countof(texts); i++) {
		struct err err = {0};
		assert_int_equal(parse_text(texts[i], strlen(texts[i]), &err), -EINVAL);
		assert_non_null(strstr(err.text, "m:"));
	}
}

static void test_twice_the_same_key_deep_inside(unused_arg void **state)
{
	struct err err = {0};
	json_auto_t *manifest = made_manifest();
	char *text = json_dumps(manifest, 0), *at = strstr(text, "\"cpus\"");
	assert_non_null(at);
	char *twice;
	assert_true(asprintf(&twice, "%.*s\"cpus\": 1, %s", (int)(at - text), text, at) > 0);
	assert_int_equal(parse_text(twice, strlen(twice), &err), -EINVAL);
	assert_non_null(strstr(err.text, "duplicate"));
	free(text);
	free(twice);
}

static void test_deep_and_large(unused_arg void **state)
{
	struct err err = {0};
	char *deep = malloc(IMAGE_MANIFEST_MAX + 1);
	assert_non_null(deep);
	memset(deep, '[', IMAGE_MANIFEST_MAX + 1);
	assert_int_equal(parse_text(deep, IMAGE_MANIFEST_MAX, &err), -EINVAL);
	assert_int_equal(parse_text(deep, IMAGE_MANIFEST_MAX + 1, &err), -EFBIG);
	free(deep);
}

static int parse_packages(size_t count)
{
	json_auto_t *manifest = made_manifest();
	json_t *packages = json_array();
	for (size_t i = 0; i < count; i++)
		json_array_append_new(packages,
		                      json_pack("{so, ss}", "name", json_sprintf("p%zu", i * 7919 % count), "version", "1"));
	json_object_set_new(manifest, "packages", packages);
	char *text = json_dumps(manifest, 0);
	int r = parse_text(text, strlen(text), NULL);
	free(text);
	return r;
}

static void test_as_many_packages_as_allowed(unused_arg void **state)
{
	assert_int_equal(parse_packages(IMAGE_PACKAGES_MAX), 0);
	assert_int_equal(parse_packages(IMAGE_PACKAGES_MAX + 1), -EINVAL);
}

static void test_what_is_read(unused_arg void **state)
{
	struct image *image;
	json_auto_t *manifest = made_manifest();
	char *text = json_dumps(manifest, 0);
	assert_int_equal(image_parse("m", (const uint8_t *)text, strlen(text), &image, NULL), 0);
	free(text);
	assert_string_equal(image->suite, "trixie");
	assert_string_equal(image->summary, "a tiny image");
	assert_string_equal(image->built, "2026-01-02T03:04:05Z");
	assert_string_equal(image->fallbacks[0], "kernel 6.12 instead of 6.13");
	assert_string_equal(image->cmdline, "console=ttyS0");
	assert_string_equal(image->ports[0], "80/tcp");
	assert_string_equal(image->content[0].path, "/");
	assert_int_equal(image->memory_mib, 192);
	assert_int_equal(image->cpus, 1);
	assert_int_equal(image->n_files, 3);
	assert_int_equal(image->files[2].size, 5000);
	assert_string_equal(image_component(image, IMAGE_SERVER)->name, "lighttpd");
	assert_null(image_component(image, IMAGE_PACKAGE));
	assert_int_equal(image->n_packages, 3);
	assert_string_equal(image->packages[0].name, "libc6");
	assert_string_equal(image->packages[2].version, "1:1.3");
	assert_int_equal(image->packages[1].layer, IMAGE_PACKAGE);
	image_free(image);
}

static const char combinations[] =
        "{\"format\":1,\"recipe\":\"dune\",\"recipe_sha256\":" HEX64 ",\"later\":7,\"combinations\":["
        "{\"name\":\"dune-a\",\"components\":[{\"layer\":\"kernel\",\"name\":\"linux\",\"version\":\"6\"}]},"
        "{\"name\":\"dune-b\",\"components\":[]}]}";

static void test_combinations(unused_arg void **state)
{
	auto_free struct image_combinations *list = NULL;
	struct err err = {0};
	assert_int_equal(image_combinations_parse("f", (const uint8_t *)combinations, strlen(combinations), &list, &err), 0);
	assert_string_equal(list->recipe, "dune");
	assert_int_equal(list->n, 2);
	assert_string_equal(list->list[0].name, "dune-a");
	assert_string_equal(list->list[0].components[0].version, "6");
	assert_int_equal(list->list[1].n_components, 0);
}

static void test_wrong_combinations(unused_arg void **state)
{
	static const struct {
		const char *from, *to, *says;
	} wrong[] = {
	        {"\"format\":1", "\"format\":2", "f: is of format 2"},
	        {"\"recipe\":\"dune\",", "", "f: recipe is missing"},
	        {"\"dune\"", "\"../dune\"", "f: recipe must be a name"},
	        {"\"combinations\":[", "\"combinations\":[7,", "f: combinations[0] must be an object"},
	        {"dune-a\",", "dune-a\",\"more\":1,", "f: combinations[0].more is not known in format 1"},
	        {"dune-a", "Dune", "f: combinations[0].name must be a name"},
	        {"dune-a", "dune-b", "f: combinations names one thing twice"},
	        {"dune-a", "dune-of-more-than-thirty-one-letters", "f: combinations[0].name is longer"},
	        {"\"kernel\"", "\"package\"", "f: components[0].layer must be one of"},
	        {"\"components\":[]", "\"components\":[1,2,3,4,5]", "f: combinations[1].components has 5 entries, more than 4"},
	        {"}]}", "}]", "f:1:"},
	};
	for (size_t i = 0; i < countof(wrong); i++) {
		char text[1024];
		struct image_combinations *list;
		struct err err = {0};
		const char *at = strstr(combinations, wrong[i].from);
		snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - combinations), combinations, wrong[i].to,
		         at + strlen(wrong[i].from));
		assert_true(image_combinations_parse("f", (const uint8_t *)text, strlen(text), &list, &err) < 0);
		if (strncmp(err.text, wrong[i].says, strlen(wrong[i].says)) != 0)
			fail_msg("'%s' is not '%s'", err.text, wrong[i].says);
		assert_true(image_combinations_parse("f", (const uint8_t *)text, strlen(text), &list, NULL) < 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_rows),
	        cmocka_unit_test(test_not_a_manifest),
	        cmocka_unit_test(test_twice_the_same_key_deep_inside),
	        cmocka_unit_test(test_deep_and_large),
	        cmocka_unit_test(test_as_many_packages_as_allowed),
	        cmocka_unit_test(test_what_is_read),
	        cmocka_unit_test(test_combinations),
	        cmocka_unit_test(test_wrong_combinations),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
