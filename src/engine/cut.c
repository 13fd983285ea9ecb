/* See cut.h. */
#include "engine/cut.h"

#include "engine/engine.h"
#include "lib/bytes.h"
#include "lib/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define REMEMBERED_US (7 * 86400 * INT64_C(1000000))
#define LATELY_MOST_US 60000000
#define LATELY_LEAST_US 1000000

/* --- how often */

static uint32_t *times_of(struct cuts *cuts, const char *subject)
{
	for (size_t i = 0; i < cuts->n && i < CUT_REMEMBERED_MAX; i++)
		if (strcmp(cuts->list[i].subject, subject) == 0)
			return &cuts->list[i].times;
	size_t slot = cuts->n++ % CUT_REMEMBERED_MAX;
	text_copy(cuts->list[slot].subject, WIRE_SUBJECT_MAX, subject);
	cuts->list[slot].times = 0;
	return &cuts->list[slot].times;
}

static int take_row(void *arg, const struct ledger_containment *row)
{
	bool ours = strcmp(row->who, "koboshi") == 0 && strcmp(row->state, "refused") != 0;
	if (ours && clock_real_us() - row->begun_us < REMEMBERED_US)
		++*times_of(arg, row->subject);
	return 0;
}

int cut_load(struct engine *e, struct ledger *l, struct err *err)
{
	return ledger_containment_each(l, LEDGER_CONTAINMENTS_KEPT, take_row, &e->cuts, err);
}

/* --- who was there */

static int64_t within_us(const struct engine *e)
{
	return (int64_t)e->conf.brake_within_ms * 1000;
}

/* "Lately" is the same at falls and at calm moments, or they could not be compared. */
static size_t callers_of(const struct engine *e, uint32_t instance, int64_t now_us,
                         struct nflog_address ret_who[static CALLERS_MAX])
{
	int64_t lately_us = within_us(e) / 10;
	lately_us = lately_us > LATELY_MOST_US ? LATELY_MOST_US : lately_us < LATELY_LEAST_US ? LATELY_LEAST_US : lately_us;
	return flows_callers(sense_flows_core(e->flows), instance, now_us - lately_us, ret_who);
}

void cut_pulse(struct engine *e, int64_t now_us)
{
	for (size_t i = 0; i < e->n_services && e->conf.brake_cut && e->world_known && !e->blind; i++) {
		struct engine_service *s = &e->services[i];
		struct nflog_address who[CALLERS_MAX];
		if (now_us < s->cut.calm_us || plan_open_incidents(&s->plan) || !plan_is_served(&s->plan))
			continue;
		s->cut.calm_us = now_us + within_us(e) / SUSPECTS_CALM_MAX;
		suspects_calm(&s->cut.suspects, who, callers_of(e, s->plan.target, now_us, who), now_us);
	}
}

/* --- cutting */

size_t cut_living(const struct engine *e)
{
	size_t n = 0;
	for (size_t i = 0; i < e->containments.n; i++)
		n += strcmp(e->containments.list[i].row.who, "koboshi") == 0 && !e->containments.list[i].ending;
	return n;
}

static void subject_of(const struct nflog_address *who, char ret_subject[static WIRE_SUBJECT_MAX])
{
	char address[INET6_ADDRSTRLEN] = "";
	(void)inet_ntop(who->ipv6 ? AF_INET6 : AF_INET, who->bytes, address, sizeof(address));
	snprintf(ret_subject, WIRE_SUBJECT_MAX, "source %s/%d", address, who->ipv6 ? 64 : 32);
}

static void cut_one(struct engine_service *s, uint64_t incident, const struct suspect *suspect)
{
	struct engine *e = s->engine;
	struct err err = {0};
	char subject[WIRE_SUBJECT_MAX], reason[160], text[LEDGER_TEXT_MAX];
	subject_of(&suspect->who, subject);
	uint32_t *times = times_of(&e->cuts, subject);
	int64_t for_s = suspects_cut_s(*times);
	snprintf(reason, sizeof(reason), "it was there at %u of %u falls of %s and at %u of %u other moments; incident %llu",
	         suspect->falls, suspect->of_falls, s->conf->name, suspect->calm, suspect->of_calm, (unsigned long long)incident);
	uint64_t number = contain_begin_by(e, subject, reason, "koboshi", incident, for_s, &err);
	if (number == 0 && err.code == -EEXIST)
		return;
	if (number == 0) {
		log_error("cut.failed", "%s cannot be cut off: %s", subject, err.text);
		return;
	}
	++*times;
	snprintf(text, sizeof(text),
	         "%s is cut off for %lld min (containment %llu): it was there at %u of %u falls and at %u of %u "
	         "other moments",
	         subject, (long long)for_s / 60, (unsigned long long)number, suspect->falls, suspect->of_falls, suspect->calm,
	         suspect->of_calm);
	story_tell(s, incident, "cut", text);
}

void cut_fell(struct engine_service *s, const struct plan_note *note)
{
	struct engine *e = s->engine;
	struct nflog_address who[CALLERS_MAX];
	struct suspect suspects[SUSPECTS_MAX];
	if (!e->conf.brake_cut || !note->incident)
		return;
	if (note->instance != s->cut.last_fallen) { /* one that fell and turns out to be taken over fell once */
		s->cut.last_fallen = note->instance;
		suspects_fall(&s->cut.suspects, who, callers_of(e, note->instance, note->time_us, who), note->time_us);
	}
	if (!s->plan.brake.until_us)
		return;
	size_t n = suspects_name(&s->cut.suspects, within_us(e), note->time_us, suspects);
	for (size_t i = 0; i < n && cut_living(e) < CUT_LIVING_MAX; i++)
		cut_one(s, note->incident, &suspects[i]);
}
