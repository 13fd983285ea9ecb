/* Errors are made once, where they happen; see err.h. */
#include "lib/err.h"

#undef err_set /* the analyzer's */

#include <assert.h>
#include <stdio.h>
#include <string.h>

int err_set(struct err *err, int code, const char *format, ...)
{
	assert(code < 0);
	if (!err)
		return code;
	va_list args;
	va_start(args, format);
	vsnprintf(err->text, sizeof(err->text), format, args);
	va_end(args);
	err->code = code;
	return code;
}

int err_prefix(struct err *err, const char *format, ...)
{
	if (!err)
		return -1;
	assert(err->code < 0);
	char old[ERR_TEXT_MAX];
	memcpy(old, err->text, sizeof(old));
	va_list args;
	va_start(args, format);
	int length = vsnprintf(err->text, sizeof(err->text), format, args);
	va_end(args);
	if (length >= 0 && (size_t)length < sizeof(err->text))
		snprintf(err->text + length, sizeof(err->text) - (size_t)length, ": %.*s", (int)sizeof(old) - 1, old);
	return err->code;
}
