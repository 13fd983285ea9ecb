/* Units, which lie in folders of the whole host: looked at below a root of our own. */
#include "act/host/memory.h"
#include "lib/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

static char root[64];

static void run(const char *format, ...) printf_like(1, 2);
static void run(const char *format, ...)
{
	char command[512];
	va_list args;
	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	assert_int_equal(system(command), 0);
}

static int setup(unused_arg void **state)
{
	snprintf(root, sizeof(root), "/tmp/kbown.XXXXXX");
	return mkdtemp(root) ? 0 : -1;
}

static int teardown(unused_arg void **state)
{
	run("rm -rf '%s'", root);
	return 0;
}

static void test_units_and_what_is_laid_over_them(unused_arg void **state)
{
	static struct conf conf;
	static struct memory memory;
	static struct own now;
	char texts[4][200];
	const struct own_places places = {
	        .koboshid = "", .libexec = root, .config = "/nowhere/koboshi.yaml", .conf = &conf, .root = root};
	run("mkdir -p '%s/usr/lib/systemd/system' && echo unit >'%s/usr/lib/systemd/system/koboshi.service'", root, root);
	own_look(&places, &now);
	bool vault = false; /* of our programs the one that is started last and least */
	for (size_t i = 0; i < now.n; i++)
		vault |= strstr(now.files[i].path, "/koboshi-vault") != NULL;
	assert_true(vault);
	memory.own = now;
	assert_int_equal(memory_compare(&memory, &now, texts, 4), 0);
	run("mkdir -p '%s/etc/systemd/system/koboshi.service.d' && echo x >'%s/etc/systemd/system/koboshi.service.d/a.conf'",
	    root, root);
	own_look(&places, &now);
	assert_int_equal(memory_compare(&memory, &now, texts, 4), 1);
	assert_non_null(strstr(texts[0], "koboshi.service.d/a.conf was not there before"));
	memory_adopt(&memory, &now); /* it was found in a folder: nobody named it */
	assert_int_equal(memory_compare(&memory, &now, texts, 4), 1);
	run("echo other >'%s/etc/systemd/system/koboshi.service'", root); /* hides the one below /usr/lib */
	own_look(&places, &now);
	assert_int_equal(memory_compare(&memory, &now, texts, 4), 2);
	assert_non_null(strstr(texts[0], "etc/systemd/system/koboshi.service was not there before"));
	run("rm -r '%s/etc'", root);
	own_look(&places, &now);
	assert_int_equal(memory_compare(&memory, &now, texts, 4), 0);
}

static void test_a_memory_is_read_back_as_it_was(unused_arg void **state)
{
	static struct memory memory, again;
	char path[128];
	struct err err;
	snprintf(path, sizeof(path), "%s/own", root);
	memory = (struct memory){.koboshid = 7, .born = 8};
	memory.own.n = 2;
	memory.own.files[0] = (struct own_file){
	        .path = "/a b", .kind = OWN_UNIT, .listed = true, .mode = 0100644, .uid = 1, .gid = 2, .sha256 = {1, 2, 3}};
	memory.own.files[1] = (struct own_file){.path = "/c", .error = 2};
	assert_int_equal(memory_save(path, &memory, &err), 0);
	assert_true(memory_load(path, 7, 8, &again));
	assert_memory_equal(&again, &memory, sizeof(memory));
	assert_false(memory_load(path, 7, 9, &again));
	assert_false(memory_load(path, 6, 8, &again));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup_teardown(test_units_and_what_is_laid_over_them, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_a_memory_is_read_back_as_it_was, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
