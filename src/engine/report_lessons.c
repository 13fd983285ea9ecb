/* Lessons: what the ledger has of them, and one that is brought by POST. */
#include "engine/report.h"

#include "lib/bytes.h"

#include <errno.h>
#include <microhttpd.h>
#include <string.h>

static int add_row(void *arg, const struct ledger_lesson *row)
{
	json_t *lesson = json_loads(row->text, JSON_REJECT_DUPLICATES, NULL);
	if (lesson)
		json_array_append_new(arg,
		                      json_pack("{s:I, s:b, s:b, s:o}", "number", (json_int_t)row->number, "own", (int)row->own,
		                                "expired", (int)(row->expires_us <= clock_real_us()), "lesson", lesson));
	return 0;
}

json_t *report_lessons(struct ledger *l, const struct lessons *lessons, struct err *err)
{
	json_t *list = json_array();
	if (ledger_lesson_each(l, LEDGER_LESSONS_KEPT, add_row, list, err) < 0) {
		json_decref(list);
		return NULL;
	}
	json_t *key = lessons->can_sign ? report_text(lessons->key.id) : json_null();
	return json_pack("{s:o, s:i, s:o, s:o}", "key", key, "trusted", (int)lessons->trust.n, "problem",
	                 report_text(lessons->problem), "lessons", list);
}

unsigned report_lesson_take(struct engine *e, const char *text, size_t size, json_t **ret_answer)
{
	struct lesson lesson;
	struct err err = {0};
	int r = lessons_take(e, text, size, &lesson, &err);
	if (r < 0 && r != -EALREADY) {
		*ret_answer = json_pack("{s:o}", "error", report_text(err.text));
		return r == -EINVAL ? MHD_HTTP_BAD_REQUEST : r == -EROFS ? MHD_HTTP_SERVICE_UNAVAILABLE : MHD_HTTP_CONFLICT;
	}
	*ret_answer = json_pack("{s:o, s:I, s:b}", "origin", report_text(lesson.origin), "incident", (json_int_t)lesson.incident,
	                        "taken", (int)(r == 0));
	return r == 0 ? MHD_HTTP_ACCEPTED : MHD_HTTP_OK;
}
