/* Whatever is read as a lesson is printed and read again as the same one, and no text of it can be more than a text. */
#include "lesson/lesson.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct lesson lesson, again;
	struct err err;
	if (lesson_parse((const char *)bytes, size, &lesson, &err) < 0) {
		assert(err.code < 0 && err.text[0]);
		return 0;
	}
	char *text = lesson_print(&lesson, true);
	assert(strlen(text) <= LESSON_BYTES_MAX);
	assert(!strpbrk(text, "\\\n\x1b"));
	int r = lesson_parse(text, strlen(text), &again, &err);
	assert(r == 0);
	char *text_again = lesson_print(&again, true);
	assert(strcmp(text, text_again) == 0);
	free(text);
	free(text_again);
	return 0;
}
