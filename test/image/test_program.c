/* The program as a person calls it: exit codes, what stands on which stream. argv[1] is the program. */
#include "made.h"
#include "lib/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

static struct made made;
static const char *program;

static int setup(unused_arg void **state)
{
	made_new(&made);
	return 0;
}

static int teardown(unused_arg void **state)
{
	made_remove(&made);
	return 0;
}

/* Runs the program in the tiny image's base folder; both streams together come back. */
static int run(const char *arguments, char ret_output[static 8192])
{
	char line[PATH_MAX * 2];
	assert_true(snprintf(line, sizeof(line), "cd %s && %s %s 2>&1", made.base, program, arguments) < (int)sizeof(line));
	FILE *from = popen(line, "r");
	assert_non_null(from);
	ret_output[fread(ret_output, 1, 8191, from)] = '\0';
	int status = pclose(from);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void test_calls(unused_arg void **state)
{
	static const struct {
		const char *arguments;
		int code;
		const char *says;
	} rows[] = {
	        {"help", 0, "overlap DIR DIR"},
	        {"--help", 0, "Exit code"},
	        {"--version", 0, "koboshi-image 0."},
	        {"", 2, "a command is missing"},
	        {"frobnicate", 2, "no such command"},
	        {"verify", 2, "the call is: koboshi-image verify DIR... --key PUB"},
	        {"verify birch", 2, "the call is"},
	        {"verify birch --key", 2, "the call is"},
	        {"verify birch --key pub --json", 2, "the call is"},
	        {"verify birch --key pub", 0, "birch: birch is as it was signed (3 files, 3 packages)"},
	        {"verify --key pub birch birch", 0, "as it was signed"},
	        {"verify birch --key other-pub", 1, "its signature does not fit"},
	        {"verify nowhere birch --key pub", 1, "birch: birch is as it was signed"},
	        {"verify nowhere --key pub", 1, "koboshi-image: nowhere/manifest.json: is not there"},
	        {"show birch", 0, "lighttpd"},
	        {"show birch", 0, "the signature was not checked"},
	        {"show birch --key pub", 0, "the signature is good"},
	        {"show birch --key other-pub", 1, "does not fit"},
	        {"show birch birch", 2, "the call is"},
	        {"show birch", 0, "instead of what the recipe wanted: kernel 6.12 instead of 6.13"},
	        {"overlap birch", 2, "the call is"},
	        {"overlap birch birch", 0, "100.0 %"},
	        {"overlap birch birch --json", 0, "\"libc\": \"shared\""},
	        {"overlap birch nowhere", 1, "nowhere/manifest.json"},
	        {"sign birch --key other-key", 0, "birch: signed"},
	        {"verify birch --key other-pub", 0, "as it was signed"},
	        {"verify birch --key pub", 1, "does not fit"},
	        {"sign birch --key pub", 1, "no private key"},
	        {"sign birch", 2, "the call is"},
	};
	for (size_t i = 0; i < countof(rows); i++) {
		char output[8192];
		int code = run(rows[i].arguments, output);
		if (code != rows[i].code || !strstr(output, rows[i].says))
			fail_msg("koboshi-image %s: code %d, '%s' does not say '%s'", rows[i].arguments, code, output,
			         rows[i].says);
	}
}

static void test_json_can_be_parsed(unused_arg void **state)
{
	char output[8192];
	assert_int_equal(run("overlap birch birch birch --json", output), 0);
	json_auto_t *pairs = json_loads(output, JSON_REJECT_DUPLICATES, NULL);
	assert_int_equal(json_array_size(pairs), 3);
	double share;
	const char *a;
	assert_int_equal(json_unpack(json_array_get(pairs, 2), "{ss, sf}", "a", &a, "share", &share), 0);
	assert_string_equal(a, "birch");
	assert_true(share > 0.999);
}

static void test_build_hands_over(unused_arg void **state)
{
	char output[8192];
	setenv("KOBOSHI_IMAGE_BUILD", "/bin/echo", 1);
	assert_int_equal(run("build birch --key 'a b'", output), 0);
	assert_string_equal(output, "birch --key a b\n");
	setenv("KOBOSHI_IMAGE_BUILD", "/no/such/builder", 1);
	assert_int_equal(run("build", output), 1);
	assert_non_null(strstr(output, "/no/such/builder"));
	unsetenv("KOBOSHI_IMAGE_BUILD");
}

static void test_a_full_disk_is_not_a_success(unused_arg void **state)
{
	char output[8192];
	assert_int_equal(run("show birch > /dev/full", output), 1);
}

int main(unused_arg int argc, char **argv)
{
#define PROGRAM_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	        PROGRAM_TEST(test_calls),
	        PROGRAM_TEST(test_json_can_be_parsed),
	        PROGRAM_TEST(test_build_hands_over),
	        PROGRAM_TEST(test_a_full_disk_is_not_a_success),
	};
	program = argv[1];
	return program ? cmocka_run_group_tests(tests, NULL, NULL) : 2;
}
