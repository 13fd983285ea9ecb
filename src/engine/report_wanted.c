/* What `koboshi status` says of an image that is wanted and of one that could not be built. */
#include "engine/report.h"

#include "engine/engine.h"
#include "lib/bytes.h"

/* Somebody may have built it in the meantime. */
static bool is_missing(const struct engine *e)
{
	return e->wanted.failed[0] && !library_is_usable(library_find(&e->library, e->wanted.failed));
}

static json_t *failed(const struct engine *e)
{
	const struct wanted *w = &e->wanted;
	return is_missing(e) ? json_pack("{s:o, s:o}", "image", report_text(w->failed), "text", report_text(w->why))
	                     : json_null();
}

json_t *report_wanted(const struct engine *e, json_t *reasons)
{
	const struct wanted *w = &e->wanted;
	int64_t for_us = w->name[0] ? clock_monotonic_us() - w->since_us : 0;
	if (is_missing(e))
		report_say(reasons, "an image of %s could not be built: %s", w->failed, w->why);
	if (w->problem[0])
		report_say(reasons, "nobody can be told which image is wanted: %s", w->problem);
	if (for_us > WANTED_LONG_US)
		report_say(reasons, "an image of %s is wanted for %d min and nobody has built it", w->name,
		           (int)(for_us / 60000000));
	return json_pack("{s:o, s:o, s:o}", "image", w->name[0] ? report_text(w->name) : json_null(), "for_s",
	                 json_real((double)for_us / 1e6), "failed", failed(e));
}
