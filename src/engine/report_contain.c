/* Containments: what the ledger says of them, and what is asked for by POST. */
#include "engine/report.h"

#include "lib/bytes.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdio.h>
#include <string.h>

#define ENDED_SHOWN 100
#define CONTAIN_TEXT_MAX 200 /* of a subject that may be understood */

static int add_row(void *arg, const struct ledger_containment *row)
{
	json_t *incident = row->incident ? json_integer((json_int_t)row->incident) : json_null();
	json_array_append_new(arg,
	                      json_pack("{s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "number", (json_int_t)row->number,
	                                "subject", report_text(row->subject), "state", report_text(row->state), "reason",
	                                report_text(row->reason), "who", report_text(row->who), "incident", incident, "begun",
	                                report_when(row->begun_us), "until", report_when(row->until_us), "ended",
	                                report_when(row->ended_us), "proof", report_text(row->proof)));
	return 0;
}

json_t *report_containments(struct ledger *l, struct err *err)
{
	json_t *list = json_array();
	if (ledger_containment_each(l, ENDED_SHOWN, add_row, list, err) == 0)
		return json_pack("{s:o}", "containments", list);
	json_decref(list);
	return NULL;
}

/* One is named, the others are counted: a koboshi-net that says nothing owes all of them. */
void report_missing(const struct engine *e, json_t *reasons)
{
	const struct containment *first = NULL;
	size_t n = 0;
	for (size_t i = 0; i < e->containments.n; i++) {
		if (!e->containments.list[i].missing)
			continue;
		first = first ? first : &e->containments.list[i];
		n++;
	}
	if (!first)
		return;
	char others[48] = "";
	if (n > 1)
		snprintf(others, sizeof(others), "; it is the first of %zu", n);
	report_say(reasons, "containment %llu (%s) %s: %s%s", (unsigned long long)first->row.number, first->row.subject,
	           first->ending ? "cannot be ended" : "is not in force", first->row.proof, others);
}

/* --- what is asked for */

static unsigned refuse(json_t **ret_answer, unsigned status, const char *format, ...) printf_like(3, 4);
static unsigned refuse(json_t **ret_answer, unsigned status, const char *format, ...)
{
	char text[ERR_TEXT_MAX];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	*ret_answer = json_pack("{s:o}", "error", report_text(text));
	return status;
}

/* What is misspelt must not be passed over: it may have been the end. */
static const char *unknown_key(const json_t *body, const char *const *known, size_t n)
{
	const char *key;
	json_t *value;
	json_object_foreach((json_t *)(uintptr_t)body, key, value)
	{
		bool is_known = false;
		for (size_t i = 0; i < n; i++)
			is_known = is_known || strcmp(key, known[i]) == 0;
		if (!is_known)
			return key;
	}
	return NULL;
}

/* What every containment has: why, and for how long. 0, or a status with the refusal. */
static unsigned wrong_terms(const json_t *body, json_t **ret_answer)
{
	const json_t *for_s = json_object_get(body, "for_s");
	const char *reason = json_string_value(json_object_get(body, "reason"));
	if (!reason || !*reason || strlen(reason) >= sizeof(((struct ledger_containment *)0)->reason))
		return refuse(ret_answer, MHD_HTTP_BAD_REQUEST,
		              "'reason' must say in at most 159 bytes why: whoever finds it later wants to know");
	if (for_s && (!json_is_integer(for_s) || json_integer_value(for_s) < 1 || json_integer_value(for_s) > CONTAIN_FOR_MAX_S))
		return refuse(ret_answer, MHD_HTTP_BAD_REQUEST,
		              "'for_s' must be a number of seconds from 1 to %d; without it it lasts until it is released",
		              CONTAIN_FOR_MAX_S);
	return 0;
}

static unsigned begun(uint64_t number, const struct err *err, json_t **ret_answer)
{
	if (!number)
		return refuse(ret_answer,
		              err->code == -EINVAL   ? MHD_HTTP_BAD_REQUEST
		              : err->code == -ENOENT ? MHD_HTTP_NOT_FOUND
		                                     : MHD_HTTP_CONFLICT,
		              "%s", err->text);
	*ret_answer = json_pack("{s:I}", "containment", (json_int_t)number);
	return MHD_HTTP_ACCEPTED;
}

unsigned report_hold(struct engine *e, const json_t *body, json_t **ret_answer)
{
	static const char *const known[] = {"instance", "how", "reason", "for_s"};
	struct err err = {0};
	const char *unknown = unknown_key(body, known, countof(known));
	const char *instance = json_string_value(json_object_get(body, "instance")),
	           *how = json_string_value(json_object_get(body, "how"));
	if (unknown)
		return refuse(
		        ret_answer, MHD_HTTP_BAD_REQUEST,
		        "'%.31s' is not known here; a body is {\"instance\": \"kb-7\", \"how\": \"lock\", \"reason\": \"...\", "
		        "\"for_s\": 3600}",
		        unknown);
	if (!instance || !how)
		return refuse(ret_answer, MHD_HTTP_BAD_REQUEST,
		              "'instance' must be a name such as \"kb-7\", 'how' one of lock, freeze, stop");
	unsigned wrong = wrong_terms(body, ret_answer);
	if (wrong)
		return wrong;
	uint64_t number = hold_begin(e, how, instance, json_string_value(json_object_get(body, "reason")),
	                             json_integer_value(json_object_get(body, "for_s")), &err);
	return begun(number, &err, ret_answer);
}

/* "source" is the short form of what most want; NULL: not one of both, or no text. */
static const char *subject_of(const json_t *body, char ret_text[static CONTAIN_TEXT_MAX])
{
	const char *source = json_string_value(json_object_get(body, "source")),
	           *subject = json_string_value(json_object_get(body, "subject"));
	if (json_object_get(body, "source") && json_object_get(body, "subject"))
		return NULL;
	if (!source)
		return subject;
	snprintf(ret_text, CONTAIN_TEXT_MAX, "source %s", source);
	return ret_text;
}

unsigned report_contain(struct engine *e, const json_t *body, json_t **ret_answer)
{
	static const char *const known[] = {"source", "subject", "reason", "for_s"};
	struct err err = {0};
	char text[CONTAIN_TEXT_MAX];
	const char *unknown = unknown_key(body, known, countof(known));
	const char *subject = subject_of(body, text);
	if (unknown)
		return refuse(ret_answer, MHD_HTTP_BAD_REQUEST,
		              "'%.31s' is not known here; a body is {\"source\": \"203.0.113.9\", \"reason\": \"...\", "
		              "\"for_s\": 3600}",
		              unknown);
	if (!subject)
		return refuse(ret_answer, MHD_HTTP_BAD_REQUEST,
		              "'source' must be an address or a network in quotes, or 'subject' a flow, a port or a limit, such "
		              "as \"limit 198.51.100.0/24 20/s\"");
	unsigned wrong = wrong_terms(body, ret_answer);
	if (wrong)
		return wrong;
	uint64_t number = contain_begin(e, subject, json_string_value(json_object_get(body, "reason")),
	                                json_integer_value(json_object_get(body, "for_s")), &err);
	return begun(number, &err, ret_answer);
}

unsigned report_release(struct engine *e, const json_t *body, json_t **ret_answer)
{
	static const char *const known[] = {"number"};
	struct err err = {0};
	const json_t *number = json_object_get(body, "number");
	if (unknown_key(body, known, countof(known)) || !json_is_integer(number) || json_integer_value(number) < 1)
		return refuse(ret_answer, MHD_HTTP_BAD_REQUEST, "a body is {\"number\": N}; GET /v1/containments lists them");
	uint64_t which = (uint64_t)json_integer_value(number);
	int r = contain_release(e, which, &err);
	if (r == -ENOENT)
		r = hold_release(e, which, &err);
	if (r < 0)
		return refuse(ret_answer, r == -ENOENT ? MHD_HTTP_NOT_FOUND : MHD_HTTP_CONFLICT, "%s", err.text);
	*ret_answer = json_pack("{s:O}", "containment", number);
	return MHD_HTTP_ACCEPTED;
}
