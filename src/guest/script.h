#pragma once
/*
 * How interpreters are called: which of their arguments is a script, and what their scripts are called. Pure.
 *
 * `sh FILE` starts nothing new: the listed sh reads FILE. So the one who decides has to know that this file, read by this
 * process, is a program. What has no name in the arguments and no telling suffix (`sh < FILE`, `cat FILE | sh`) is not seen.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum script_language {
	SCRIPT_OTHER,   /* no interpreter that we know: its first plain argument is taken for a script */
	SCRIPT_BUSYBOX, /* goes by the name it was called by; as `cat` it reads no programs */
	SCRIPT_SH,
	SCRIPT_AWK,
	SCRIPT_LUA,
	SCRIPT_PHP,
	SCRIPT_PHP_SERVER,
	SCRIPT_PYTHON,
	SCRIPT_PERL,
	SCRIPT_RUBY,
	SCRIPT_NODE,
	SCRIPT_MAX_
};

#define SCRIPT_CANDIDATES 8

/* The language of a program by its file's name: "lua5.4" is SCRIPT_LUA. SCRIPT_OTHER when it is none. */
uint8_t script_language(const char *name);

/* A name that gives the language back. */
const char *script_name(uint8_t language);

/* "ld-linux-x86-64.so.2", "ld-musl-x86_64.so.1" */
bool script_loader(const char *name);

/* `line` is /proc/PID/cmdline: arguments, each with its NUL. Puts the offsets of those that are scripts into `ret_at` and
 * returns how many. A busybox's `language` becomes that of the applet that it runs as, if that one reads programs. */
size_t script_arguments(uint8_t *language, const char *line, size_t size, size_t ret_at[static SCRIPT_CANDIDATES]);

/* Whether a file of this name is a program for that interpreter, whoever named it ("/srv/x.php" for PHP). */
bool script_suffix(uint8_t language, const char *path);
