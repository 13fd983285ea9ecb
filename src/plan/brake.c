/*
 * The brake: whoever makes guests fall again and again must not spin us. Too many verdicts in a short time, and spares are built
 * slowly from then on, until it was quiet for as long. Who serves and who stands by is replaced at once all the same: what is
 * saved is what an attacker would have us waste, processors and numbers, never the service.
 */
#include "plan/inside.h"

static void fall_add(struct plan *p, int64_t at_us)
{
	uint32_t size = p->config.brake_falls;
	if (size == 0)
		return;
	p->brake.falls_us[p->brake.n++ % size] = at_us;
	bool often = p->brake.n >= size && at_us - p->brake.falls_us[p->brake.n % size] <= p->config.brake_within_us;
	if (often || p->brake.until_us > at_us)
		p->brake.until_us = at_us + p->config.brake_within_us;
}

void brake_fell(struct plan_turn *t, const struct plan_instance *i)
{
	bool was = brake_holds(t->p);
	fall_add(t->p, t->now_us);
	if (!was && brake_holds(t->p))
		plan_note(t, PLAN_STEP_BRAKED, i->incident, i, (struct plan_note){.status = (int32_t)t->p->config.brake_falls});
}

void brake_remember(struct plan_turn *t, const int64_t *falls_us, size_t n)
{
	for (size_t k = 0; k < n; k++)
		if (t->now_us - falls_us[k] <= t->p->config.brake_within_us)
			fall_add(t->p, falls_us[k]);
}

bool brake_holds(const struct plan *p)
{
	return p->brake.until_us != 0;
}

bool brake_waits(const struct plan *p)
{
	bool stands = plan_is_served(p) && plan_count_standby(p, false) >= p->config.standby;
	return brake_holds(p) && p->brake.pause_us && stands;
}

void brake_built(struct plan_turn *t)
{
	if (brake_holds(t->p))
		t->p->brake.pause_us = t->now_us + t->p->config.brake_pause_us;
}

void brake_time(struct plan_turn *t)
{
	struct plan *p = t->p;
	if (p->brake.pause_us <= t->now_us)
		p->brake.pause_us = 0;
	if (!brake_holds(p) || p->brake.until_us > t->now_us)
		return;
	p->brake.until_us = p->brake.pause_us = 0;
	plan_note(t, PLAN_STEP_UNBRAKED, 0, NULL, (struct plan_note){0});
}

int64_t brake_deadline(const struct plan *p)
{
	int64_t until_us = p->brake.until_us ? p->brake.until_us : PLAN_NEVER;
	return p->brake.pause_us && p->brake.pause_us < until_us ? p->brake.pause_us : until_us;
}
