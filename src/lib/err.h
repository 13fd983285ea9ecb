#pragma once
/*
 * One error: a code and a sentence, made where the failure happens and carried up unchanged.
 * A function that can fail returns 0 or -errno and fills `err` (which may be NULL: then only the code survives).
 */
#include "lib/attr.h"

#include <stdarg.h>

#define ERR_TEXT_MAX 400

struct err {
	int code;                /* negative errno, 0 when unset */
	char text[ERR_TEXT_MAX]; /* one sentence, no newline, says what to do where it can */
};

/* Sets code and sentence; returns `code` so that `return err_set(err, -ENOENT, ...)` works. `code` must be negative. */
int err_set(struct err *err, int code, const char *format, ...) printf_like(3, 4);
#ifdef __clang_analyzer__ /* sees one file at a time: here it learns what err_set() returns */
static inline int err_code_returned(int code)
{
	return code < 0 ? code : -1;
}
#define err_set(err, code, ...) ((void)err_set(err, code, __VA_ARGS__), err_code_returned(code))
#endif

/* Puts context before the sentence ("FORMAT: old text"); returns the code that is already there. */
int err_prefix(struct err *err, const char *format, ...) printf_like(2, 3);
