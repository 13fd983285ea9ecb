/* A table of calls of interpreters: which of the arguments are scripts. Arguments are written with a `|` between them. */
#include "guest/script.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct row {
	const char *program, *line, *scripts; /* scripts: with a `|` behind each */
};

static const struct row rows[] = {
        {"sh", "sh|/tmp/x", "/tmp/x|"},
        {"dash", "sh|-e|/tmp/x|data", "/tmp/x|"},
        {"bash", "bash|-o|nounset|/tmp/x|data", "/tmp/x|"},
        {"bash", "bash|+o|nounset|-xeo|pipefail|/tmp/x", "/tmp/x|"},
        {"bash", "bash|--rcfile|/tmp/rc|/tmp/x", "/tmp/rc|/tmp/x|"},
        {"bash", "bash|--rcfile=/tmp/rc|-i", "/tmp/rc|"},
        {"sh", "sh|-c|echo|/tmp/x", ""},
        {"sh", "sh|-ec|. /tmp/x", ""},
        {"sh", "sh|--|/tmp/x|y", "/tmp/x|"},
        {"sh", "sh", ""},
        {"sh", "sh|", ""},
        {"sh", "sh|-|/tmp/x", "/tmp/x|"},
        {"busybox", "sh|/tmp/x", "/tmp/x|"},
        {"busybox", "/bin/ash|/tmp/x", "/tmp/x|"},
        {"busybox", "-sh|/tmp/x", "/tmp/x|"},
        {"busybox", "busybox|sh|/tmp/x", "/tmp/x|"},
        {"busybox", "busybox|busybox|sh|/tmp/x", ""}, /* is not a thing that busybox does */
        {"busybox", "cat|/tmp/x", ""},
        {"busybox", "busybox|cat|/tmp/x", ""},
        {"busybox", "awk|-f|/tmp/x|data", "/tmp/x|"},
        {"busybox", "awk|{print}|data", ""},
        {"mawk", "awk|-F|:|-v|a=b|-f/tmp/x|data", "/tmp/x|"},
        {"awk", "awk|-f|/tmp/x|-f|/tmp/y|data", "/tmp/x|/tmp/y|"},
        {"lua5.4", "lua5.4|/tmp/x|data", "/tmp/x|"},
        {"lua5.4", "lua|-e|print(1)|/tmp/x", "/tmp/x|"},
        {"python3.11", "python3|-X|dev|/tmp/x|data", "/tmp/x|"},
        {"python3", "python3|-c|print(1)|/tmp/x", ""},
        {"php8.2", "php|-d|a=b|/tmp/x", "/tmp/x|"},
        {"php8.2", "php|-f|/tmp/x|data", "/tmp/x|"},
        {"php8.2", "php|-r|echo 1;", ""},
        {"php-fpm8.2", "php-fpm: pool www", ""},
        {"perl5.36", "perl|-w|/tmp/x", "/tmp/x|"},
        {"perl", "perl|-ne|print", ""},
        {"strange", "strange|/tmp/x|data", "/tmp/x|"},
};

static void scripts_in_arguments(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char line[256], found[256] = "";
		size_t at[SCRIPT_CANDIDATES], size = strlen(rows[i].line) + 1;
		memcpy(line, rows[i].line, size);
		for (char *c = line; *c; c++)
			*c = *c == '|' ? '\0' : *c;
		uint8_t language = script_language(rows[i].program);
		size_t n = script_arguments(&language, line, size, at);
		for (size_t k = 0; k < n; k++) {
			assert_true(at[k] < size);
			strcat(strcat(found, line + at[k]), "|");
		}
		if (strcmp(found, rows[i].scripts) != 0)
			fail_msg("%s as `%s`: scripts are \"%s\", not \"%s\"", rows[i].program, rows[i].line, found,
			         rows[i].scripts);
	}
}

static void many_arguments_are_bounded(void **state)
{
	(void)state;
	char line[400];
	size_t at[SCRIPT_CANDIDATES], size = 0;
	memcpy(line, "awk", 4);
	for (size = 4; size + 6 < sizeof(line); size += 6)
		memcpy(line + size, "-f\0/x", 6);
	uint8_t language = script_language("awk");
	assert_int_equal(script_arguments(&language, line, size, at), SCRIPT_CANDIDATES);
	assert_int_equal(script_arguments(&language, line, 0, at), 0);
	language = SCRIPT_SH;
	assert_int_equal(script_arguments(&language, "sh\0-o", 5, at), 0);
	assert_int_equal(script_arguments(&language, "sh\0/tmp/x", 9, at), 1); /* the end was cut off */
}

static void suffixes(void **state)
{
	(void)state;
	assert_true(script_suffix(SCRIPT_PHP_SERVER, "/srv/sensor/shell.php"));
	assert_true(script_suffix(SCRIPT_SH, "/tmp/x.sh"));
	assert_false(script_suffix(SCRIPT_SH, "/tmp/x.php"));
	assert_false(script_suffix(SCRIPT_PHP, "/tmp/x.ph"));
	assert_false(script_suffix(SCRIPT_PHP, "/tmp/php"));
	assert_false(script_suffix(SCRIPT_PHP, "/tmp/x.php/data"));
	assert_false(script_suffix(SCRIPT_PHP, "/tmp/x."));
	assert_false(script_suffix(SCRIPT_BUSYBOX, "/tmp/x.sh")); /* cp, cat and so on */
	assert_false(script_suffix(SCRIPT_SH, "/tmp/x.sh .bash "));
}

static void names(void **state)
{
	(void)state;
	assert_int_equal(script_language("lua5.4"), SCRIPT_LUA);
	assert_int_equal(script_language("luac"), SCRIPT_OTHER);
	assert_int_equal(script_language("php-fpm8.2"), SCRIPT_PHP_SERVER);
	assert_int_equal(script_language("php8.2"), SCRIPT_PHP);
	assert_int_equal(script_language("nginx"), SCRIPT_OTHER);
	for (uint8_t language = SCRIPT_BUSYBOX; language < SCRIPT_MAX_; language++)
		assert_int_equal(script_language(script_name(language)), language);
	assert_true(script_loader("ld-linux-x86-64.so.2"));
	assert_true(script_loader("ld-musl-x86_64.so.1"));
	assert_false(script_loader("ld"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(scripts_in_arguments),
	        cmocka_unit_test(many_arguments_are_bounded),
	        cmocka_unit_test(suffixes),
	        cmocka_unit_test(names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
