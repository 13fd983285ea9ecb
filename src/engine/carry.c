/* See carry.h. A guest can say as often as it likes that a file was changed: what that costs is bounded by the time from one
 * renewal to the next. */
#include "engine/engine.h"

#include "lib/bytes.h"
#include "lib/log.h"

#include <stdio.h>

#define SETTLE_US 60000000 /* where backups are made only when asked for */
#define RENEW_TIMES 10     /* so many times that, at least, from one renewal to the next */

/* One backup lies between a change and the first guest that has it: what proves to be an intruder's can be taken back. */
static int64_t settle_us(const struct engine_service *s)
{
	return s->conf->vault.every_ms ? (int64_t)s->conf->vault.every_ms * 1000 : SETTLE_US;
}

void carry_told(struct engine *e, const struct wire_note *note)
{
	struct engine_service *s = service_of_instance(e, note->instance);
	struct engine_instance *i = s ? service_instance(s, note->instance) : NULL;
	char text[LEDGER_TEXT_MAX];
	if (!i)
		return;
	i->carried_us = note->time_us;
	text_copy(s->carry.problem, sizeof(s->carry.problem), note->text);
	if (!note->text[0])
		return;
	snprintf(text, sizeof(text), "%s has the image's own instead: %s", i->address.name, note->text);
	if (i->incident)
		story_tell(s, i->incident, "refused-file", text);
	else
		log_warning("carry.refused", "%s", text);
}

void carry_changed(struct engine_service *s, int64_t now_us)
{
	int64_t next_us = s->carry.renewed_us ? s->carry.renewed_us + RENEW_TIMES * settle_us(s) : 0;
	int64_t settled_us = now_us + settle_us(s);
	if (s->conf->n_carry == 0)
		return;
	s->carry.changed_us = now_us;
	if (!s->carry.renew_us)
		s->carry.renew_us = settled_us > next_us ? settled_us : next_us;
}

/* The active one is left: it is the one that changes files, and when it hands over those who have them are there. */
static void renew(struct engine_service *s, int64_t now_us)
{
	s->carry.renew_us = 0;
	s->carry.renewed_us = now_us;
	for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++) {
		const struct engine_instance *i = &s->instances[k];
		struct plan_event event = {.type = PLAN_EV_OUTDATED, .outdated = i->number};
		if (i->number && i->number != s->plan.target && i->carried_us < s->carry.changed_us)
			service_step(s, &event);
	}
}

static void look(struct engine_instance *i, int64_t now_us)
{
	const struct agent_watch *w = i->channel ? sense_channel_watch(i->channel) : NULL;
	if (!w || w->carried == i->carried)
		return;
	i->carried = w->carried;
	log_notice("carry.saved", "%s saved a file that lives on; its agent says: %s", i->address.name, w->carried_path);
	carry_changed(i->service, now_us);
	i->carried_us = now_us;
}

void carry_pulse(struct engine *e, int64_t now_us)
{
	for (size_t n = 0; n < e->n_services; n++) {
		struct engine_service *s = &e->services[n];
		for (size_t k = 0; k < PLAN_INSTANCES_MAX && s->conf->n_carry; k++)
			if (s->instances[k].number)
				look(&s->instances[k], now_us);
		if (s->carry.renew_us && now_us >= s->carry.renew_us && e->world_known)
			renew(s, now_us);
	}
}
