/*
 * Choices, each a numbered ladder of comparisons: the first rung on which two candidates differ decides.
 * Everything that decides "which one" stands here, so that it can be read and tested without the rest.
 */
#include "plan/inside.h"

static bool component_in(const struct plan_variant *v, uint32_t component)
{
	return v->components[component / 64] >> (component % 64) & 1;
}

uint32_t plan_shared_layers(const struct plan *p, uint32_t a, uint32_t b)
{
	return a < p->n_variants && b < p->n_variants ? traits_of(p)->shared[a][b] : 0;
}

/* Suspicion of the variant's components in the layers of `mask`, added up. */
static uint64_t suspicion_in(const struct plan *p, uint32_t variant, uint32_t mask)
{
	const struct plan_traits *traits = traits_of(p);
	uint64_t sum = 0;
	for (uint32_t layer = 0; layer < PLAN_LAYER_MAX_; layer++)
		sum += mask >> layer & 1 ? traits->suspicion[layer][variant] : 0;
	return sum;
}

uint32_t choice_suspect_layers(const struct plan *p, uint32_t variant)
{
	return variant < p->n_variants ? traits_of(p)->suspect[variant] : PLAN_HOLES; /* nobody knows what is in another */
}

void choice_suspect(struct plan *p, uint32_t variant)
{
	if (variant >= p->n_variants)
		return;
	const struct plan_traits *traits = traits_of(p);
	for (uint32_t c = 0; c < p->n_components; c++)
		p->suspicion[c] = p->suspicion[c] / 4 + (traits->has[c] >> variant & 1) * PLAN_SUSPICION_FALL;
	traits_suspicion_changed(p);
}

/* Whoever stood where the victim fell was within the same attacker's reach: what the two share is less likely the hole. */
void choice_clear(struct plan *p, uint32_t variant)
{
	for (uint32_t c = 0; variant < p->n_variants && c < p->n_components; c++)
		if (component_in(&p->variants[variant], c))
			p->suspicion[c] /= 2;
	traits_suspicion_changed(p);
}

/* One hour's part of a half-life of a week: 2^(-1/168) is about 1 - 1/243. At least one thousandth, so that it ends. */
#define FADE_STEP_US 3600000000ll
#define FADE_PART 243u

static uint32_t faded(uint32_t value)
{
	static_assert(PLAN_SUSPICION_HALF_US == 168 * FADE_STEP_US, "FADE_PART belongs to this half-life");
	uint32_t part = (value + FADE_PART / 2) / FADE_PART;
	return value - (part || !value ? part : 1);
}

uint32_t plan_suspicion_after(uint32_t value, int64_t elapsed_us)
{
	for (; value && elapsed_us >= FADE_STEP_US; elapsed_us -= FADE_STEP_US)
		value = faded(value);
	return value;
}

void choice_fade(struct plan *p, int64_t now_us)
{
	if (p->faded_us == 0)
		p->faded_us = now_us;
	for (; now_us - p->faded_us >= FADE_STEP_US; p->faded_us += FADE_STEP_US) {
		for (uint32_t c = 0; c < p->n_components; c++)
			p->suspicion[c] = faded(p->suspicion[c]);
		traits_suspicion_changed(p);
	}
}

static int holes(uint32_t layers)
{
	return __builtin_popcount(layers & PLAN_HOLES);
}

static uint32_t variant_of(const struct plan *p, uint32_t number)
{
	const struct plan_instance *i = plan_find(p, number);
	return i ? i->variant : UINT32_MAX;
}

/* What serves, or will in a moment: in the middle of a switch the service may still point at whoever fell. */
static uint32_t serving_variant(const struct plan *p)
{
	const struct plan_instance *target = plan_find(p, p->steer.ticket ? p->steer.to : p->target);
	if (target && target->life == PLAN_LIFE_READY)
		return target->variant;
	for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++)
		if (p->instances[k].life == PLAN_LIFE_READY)
			return p->instances[k].variant;
	return target ? target->variant : UINT32_MAX;
}

static int living_of(const struct plan *p, uint32_t variant)
{
	int n = 0;
	for (size_t i = 0; i < PLAN_INSTANCES_MAX; i++)
		n += p->instances[i].number && p->instances[i].variant == variant && plan_counts(p->instances[i].life);
	return n;
}

#define RUNG(a, b)                                                                                                               \
	do {                                                                                                                     \
		if ((a) != (b))                                                                                                  \
			return (a) < (b);                                                                                        \
	} while (0)

/* Is variant `a` a better choice than `b` for the next instance? */
static bool variant_better(const struct plan *p, uint32_t a, uint32_t b)
{
	/* 1. rule 5: fewer layers that hold a suspect component */
	RUNG(holes(choice_suspect_layers(p, a)), holes(choice_suspect_layers(p, b)));
	/* 2. other software than what serves now: one hole must not open both */
	uint32_t serving = serving_variant(p);
	RUNG(holes(plan_shared_layers(p, a, serving)), holes(plan_shared_layers(p, b, serving)));
	/* 3. less remembered suspicion in these layers, 4. in libc, 5. in all packages */
	RUNG(suspicion_in(p, a, PLAN_HOLES), suspicion_in(p, b, PLAN_HOLES));
	RUNG(suspicion_in(p, a, 1u << PLAN_LIBC), suspicion_in(p, b, 1u << PLAN_LIBC));
	/* 6. a variant that fewer instances have already */
	RUNG(living_of(p, a), living_of(p, b));
	RUNG(suspicion_in(p, a, 1u << PLAN_PACKAGE), suspicion_in(p, b, 1u << PLAN_PACKAGE));
	/* 7. fewer failed builds, 8. the order in the configuration */
	RUNG(p->variants[a].failures, p->variants[b].failures);
	return a < b;
}

uint32_t choice_variant(const struct plan *p, int64_t now_us)
{
	uint32_t best = UINT32_MAX;
	for (uint32_t v = 0; v < p->n_variants; v++) {
		if (!p->variants[v].usable || p->variants[v].not_before_us > now_us)
			continue;
		if (best == UINT32_MAX || variant_better(p, v, best))
			best = v;
	}
	return best;
}

#define UNPROVEN_OFTEN 3u /* who was never proven in so many tries is nothing to rely on */

uint32_t plan_wanted_variant(const struct plan *p, int64_t now_us)
{
	uint32_t have = UINT32_MAX, could = UINT32_MAX;
	for (uint32_t v = 0; v < p->n_variants; v++) {
		if (p->variants[v].usable && p->variants[v].failures < UNPROVEN_OFTEN &&
		    (have == UINT32_MAX || variant_better(p, v, have)))
			have = v;
		if (!p->variants[v].usable && p->variants[v].buildable && p->variants[v].not_before_us <= now_us &&
		    (could == UINT32_MAX || variant_better(p, v, could)))
			could = v;
	}
	return could == UINT32_MAX || have == UINT32_MAX || choice_better_beside_active(p, could, have) ? could : UINT32_MAX;
}

bool choice_as_clean(const struct plan *p, uint32_t variant, uint32_t as)
{
	return holes(choice_suspect_layers(p, variant)) <= holes(choice_suspect_layers(p, as));
}

bool choice_cleaner(const struct plan *p, uint32_t variant, uint32_t than)
{
	return holes(choice_suspect_layers(p, variant)) < holes(choice_suspect_layers(p, than));
}

bool choice_better_beside_active(const struct plan *p, uint32_t variant, uint32_t than)
{
	RUNG(holes(choice_suspect_layers(p, variant)), holes(choice_suspect_layers(p, than)));
	uint32_t serving = serving_variant(p);
	RUNG(holes(plan_shared_layers(p, variant, serving)), holes(plan_shared_layers(p, than, serving)));
	return false;
}

/* Is instance `a` a better one than `b` to hand the service to after variant `other`, or to wake up beside it? */
static bool instance_better(const struct plan *p, uint32_t other, const struct plan_instance *a, const struct plan_instance *b)
{
	/* 1. rule 5: fewer suspect layers */
	RUNG(holes(choice_suspect_layers(p, a->variant)), holes(choice_suspect_layers(p, b->variant)));
	/* 2. not in the open for longer than it may */
	RUNG(a->worn, b->worn);
	/* 3. less in common with the other */
	RUNG(holes(plan_shared_layers(p, a->variant, other)), holes(plan_shared_layers(p, b->variant, other)));
	/* 4. fewer misses lately */
	RUNG(__builtin_popcount(a->window.misses), __builtin_popcount(b->window.misses));
	/* 5. the younger one: less time in the open */
	return a->number > b->number;
}

struct plan_instance *choice_target(struct plan *p, uint32_t not_number)
{
	struct plan_instance *best = NULL;
	uint32_t before = variant_of(p, p->target); /* it fell, or hands over */
	for (size_t i = 0; i < PLAN_INSTANCES_MAX; i++) {
		struct plan_instance *c = &p->instances[i];
		if (c->number == 0 || c->number == not_number || c->hold != PLAN_HOLD_NONE || c->life != PLAN_LIFE_READY ||
		    c->verdict != PLAN_HEALTHY)
			continue;
		if (!best || instance_better(p, before, c, best))
			best = c;
	}
	return best;
}

struct plan_instance *choice_spare(struct plan *p)
{
	struct plan_instance *best = NULL;
	for (size_t i = 0; i < PLAN_INSTANCES_MAX; i++) {
		struct plan_instance *c = &p->instances[i];
		if (c->number && c->hold == PLAN_HOLD_NONE && c->life == PLAN_LIFE_PAUSED &&
		    (!best || instance_better(p, serving_variant(p), c, best)))
			best = c;
	}
	return best;
}

/* The idle instance (never the active one) that is missed least. */
struct plan_instance *choice_worst_idle(struct plan *p)
{
	struct plan_instance *worst = NULL;
	for (size_t i = 0; i < PLAN_INSTANCES_MAX; i++) {
		struct plan_instance *c = &p->instances[i];
		if (c->number == 0 || c->number == p->target || (c->life != PLAN_LIFE_PAUSED && c->life != PLAN_LIFE_READY))
			continue;
		if (c->role == PLAN_STANDBY && worst && worst->role == PLAN_SPARE)
			continue;
		if (!worst || (c->role == PLAN_SPARE && worst->role == PLAN_STANDBY) ||
		    instance_better(p, serving_variant(p), worst, c))
			worst = c;
	}
	return worst;
}
