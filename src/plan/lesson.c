/*
 * What incidents taught. Somebody else's lesson raises suspicion as a fall here would, so that choices avoid what fell there
 * before it falls here; it quarters nothing, as what was seen here is not older for it. Of what the survivor there was made of
 * too, half: the same attacker could reach it. A lesson never lowers anything, and many of one kind weigh no more than one.
 *
 * Our own takeovers teach one thing more. Two weak findings that convicted together were worth that together; for an hour the
 * next attack of this kind is left to make one of them only. What that can cost an innocent is bounded: each is spent by the
 * verdict that it makes, such a verdict teaches no new pair, none counts under the brake, and none where nobody stands by to take
 * over.
 */
#include "plan/inside.h"

static bool in(const uint64_t *components, uint32_t c)
{
	return components && (components[c / 64] >> (c % 64) & 1);
}

static bool raise_all(struct plan *p, const struct plan_lesson *lesson)
{
	bool changed = false;
	for (uint32_t c = 0; c < p->n_components; c++) {
		uint32_t most = in(lesson->survivor, c) ? PLAN_SUSPICION_FALL / 2 : PLAN_SUSPICION_FALL;
		uint32_t value = in(lesson->victim, c) ? plan_suspicion_after(most, lesson->age_us) : 0;
		if (value <= p->suspicion[c])
			continue;
		p->suspicion[c] = value;
		changed = true;
	}
	traits_suspicion_changed(p);
	return changed;
}

/* Is whoever serves made of what is suspect by it? */
static bool strikes_active(const struct plan *p, const struct plan_lesson *lesson)
{
	const struct plan_instance *active = plan_find(p, p->target);
	if (!active || active->variant >= p->n_variants)
		return false;
	for (uint32_t c = 0; c < p->n_components; c++)
		if ((PLAN_HOLES >> p->layer[c] & 1) && p->suspicion[c] >= PLAN_SUSPECT && in(lesson->victim, c) &&
		    in(p->variants[active->variant].components, c))
			return true;
	return false;
}

static void learn(struct plan_turn *t, const struct plan_lesson *lesson)
{
	struct plan_learnt *oldest = &t->p->learnt[0];
	if (lesson->learnt.incident == 0 || lesson->age_us >= PLAN_LEARNT_US)
		return;
	for (size_t k = 0; k < PLAN_LEARNT_MAX; k++) {
		if (t->p->learnt[k].incident == lesson->learnt.incident)
			return;
		if (t->p->learnt[k].until_us < oldest->until_us)
			oldest = &t->p->learnt[k];
	}
	*oldest = lesson->learnt;
	oldest->until_us = t->now_us + PLAN_LEARNT_US - lesson->age_us;
}

void lesson_take(struct plan_turn *t, const struct plan_lesson *lesson)
{
	if (lesson->raise && raise_all(t->p, lesson)) {
		t->update->suspicion_changed = true;
		t->p->again = true; /* what is wanted may be another now */
	}
	if (lesson->warns && strikes_active(t->p, lesson)) {
		const struct plan_instance *active = plan_find(t->p, t->p->target);
		t->p->warned = true;
		plan_note(t, PLAN_STEP_TAUGHT, 0, active,
		          (struct plan_note){.layers = choice_suspect_layers(t->p, active->variant)});
	}
	if (lesson->helped != PLAN_RUNG_NONE && lesson->cause < FINDING_MAX_)
		ladder_heard(t, lesson->cause, lesson->helped);
	learn(t, lesson);
}

uint64_t lesson_enough(const struct plan *p, const struct evidence *weak)
{
	bool may = !brake_holds(p) && plan_count_standby(p, true) > 0;
	for (size_t k = 0; k < PLAN_LEARNT_MAX && may; k++) {
		const struct plan_learnt *l = &p->learnt[k];
		if (l->incident == 0 || weak->time_us >= l->until_us)
			continue;
		for (size_t i = 0; i < 2; i++)
			if (l->finding[i] == weak->finding && l->vantage[i] == weak->vantage)
				return l->incident;
	}
	return 0;
}

void lesson_spend(struct plan *p, uint64_t incident)
{
	for (size_t k = 0; incident && k < PLAN_LEARNT_MAX; k++)
		if (p->learnt[k].incident == incident)
			p->learnt[k] = (struct plan_learnt){0};
}
