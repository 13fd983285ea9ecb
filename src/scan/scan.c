/* Names and sentences. */
#include "scan/scan.h"

#include <assert.h>

const char *scan_verdict_name(enum scan_verdict verdict)
{
	static const char *const names[SCAN_VERDICT_MAX_] = {
	        [SCAN_UNKNOWN] = "unknown", [SCAN_GOOD] = "good", [SCAN_BAD] = "bad", [SCAN_SKIPPED] = "skipped"};
	assert(verdict < SCAN_VERDICT_MAX_);
	return names[verdict];
}

void scan_problem(struct scan_problems *problems, const char *format, ...)
{
	if (problems->n == SCAN_PROBLEMS_MAX) {
		problems->more++;
		return;
	}
	va_list args;
	va_start(args, format);
	vsnprintf(problems->lines[problems->n++], sizeof(problems->lines[0]), format, args);
	va_end(args);
}
