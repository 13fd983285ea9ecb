/*
 * Clients that are too many for anybody: they must not fell one instance after the other. Whoever stands by has none of them, and
 * so answers well: a contrast that says nothing. It cannot be told from the outside whether the first one that missed did so for
 * its clients; when the next one does as well, in the same place, it is not likely to be chance. See PLAN_CROWD_US.
 */
#include "plan/inside.h"

void crowd_begin(struct plan_turn *t, const struct plan_instance *before)
{
	struct plan *p = t->p;
	p->crowd.told = p->crowd.told && t->now_us < p->crowd.until_us;
	p->crowd.before = before->number;
	p->crowd.until_us = t->now_us + PLAN_CROWD_US;
}

/* Or does already, as far as anybody knows. */
static bool may_serve(const struct plan *p, uint32_t number)
{
	return number == p->target || (p->steer.ticket && number == p->steer.to) || number == p->steer.doubt;
}

bool crowd_has(const struct plan *p, const struct plan_instance *i, int64_t now_us)
{
	return may_serve(p, i->number) && i->number != p->crowd.before && now_us < p->crowd.until_us;
}

static bool is_missing(enum finding finding)
{
	enum finding_class class = finding_class(finding);
	return class == FINDING_CLASS_COUNTED || class == FINDING_CLASS_DOUBT || class == FINDING_CLASS_LASTING;
}

void crowd_fell(struct plan_turn *t, const struct plan_instance *i)
{
	if (may_serve(t->p, i->number) && i->verdict == PLAN_FAILED && is_missing(i->window.worst))
		crowd_begin(t, i);
}

void crowd_missed(struct plan_turn *t, const struct plan_instance *i, enum finding finding)
{
	if (crowd_has(t->p, i, t->now_us) && is_missing(finding))
		t->p->crowd.until_us = t->now_us + PLAN_CROWD_US;
}

/* Its clients are with another one now. What it missed before them is no measure of what it is without. */
void crowd_left(struct plan_turn *t, struct plan_instance *from, uint32_t to)
{
	struct plan *p = t->p;
	if (!from || from->number == to)
		return;
	bool gave_way = t->now_us < p->crowd.until_us && from->number == p->crowd.before;
	if (t->now_us < p->crowd.until_us)
		p->crowd.before = from->number;
	if (!plan_is_falling(from->life) && !plan_is_mending(from->life) && !gave_way)
		from->window.filled = from->window.misses = 0, from->window.since_us = t->now_us;
}

void crowd_tell(struct plan_turn *t, const struct plan_instance *i)
{
	struct plan *p = t->p;
	if (p->crowd.told || !verdict_is_withheld(p, i, t->now_us))
		return;
	p->crowd.told = true;
	plan_note(t, PLAN_STEP_CROWDED, 0, i, (struct plan_note){.other = p->crowd.before});
}
