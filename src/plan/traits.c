/*
 * What follows from what the variants are made of and from what is suspect: which layers of a variant are suspect, and how much
 * so; which layers two variants share. Each choice asks for that many times in a step, an image has thousands of components, and
 * they change seldom: so it is counted once, when somebody asks, and forgotten when either changes. One pass over the components
 * serves all variants, whose bits stand side by side. Most components are had by the same few sets of variants: those that are
 * alike in that lie next to each other and are added up before it is asked who has them.
 */
#include "plan/inside.h"

static_assert(PLAN_VARIANTS_MAX <= 16, "variants are bits of 16");
static_assert(PLAN_LAYER_MAX_ <= 8, "layers are bits of 8");

/* Bits that are set in each layer, by variant, turned into layers of each variant. */
static void layers_of(const uint16_t in_layer[static PLAN_LAYER_MAX_], uint8_t ret_layers[static PLAN_VARIANTS_MAX])
{
	memset(ret_layers, 0, PLAN_VARIANTS_MAX);
	for (uint32_t layer = 0; layer < PLAN_LAYER_MAX_; layer++)
		for (uint32_t v = 0; v < PLAN_VARIANTS_MAX; v++)
			ret_layers[v] = (uint8_t)(ret_layers[v] | (in_layer[layer] >> v & 1) << layer);
}

static uint32_t kind_of(const struct plan *p, const struct plan_traits *traits, uint32_t component)
{
	return (uint32_t)p->layer[component] << 16 | traits->has[component];
}

/* Shell's way: it needs no room, and what images are made of changes seldom. */
static void sort(const struct plan *p, struct plan_traits *traits)
{
	uint16_t *sorted = traits->sorted;
	for (uint32_t c = 0; c < p->n_components; c++)
		sorted[c] = (uint16_t)c;
	for (uint32_t gap = p->n_components / 2; gap > 0; gap /= 2)
		for (uint32_t from = gap; from < p->n_components; from++) {
			uint16_t component = sorted[from];
			uint32_t kind = kind_of(p, traits, component), to = from;
			for (; to >= gap && kind_of(p, traits, sorted[to - gap]) > kind; to -= gap)
				sorted[to] = sorted[to - gap];
			sorted[to] = component;
		}
}

static void made_count(const struct plan *p, struct plan_traits *traits)
{
	static_assert(sizeof(traits->has[0]) * 8 >= PLAN_VARIANTS_MAX, "a bit each");
	uint16_t with[PLAN_VARIANTS_MAX][PLAN_LAYER_MAX_] = {0};
	memset(traits->has, 0, sizeof(traits->has));
	for (uint32_t v = 0; v < p->n_variants; v++)
		for (uint32_t c = 0; c < p->n_components; c++)
			if (p->variants[v].components[c / 64] >> (c % 64) & 1)
				traits->has[c] = (uint16_t)(traits->has[c] | 1u << v);
	for (uint32_t c = 0; c < p->n_components; c++)
		for (uint32_t left = traits->has[c]; left; left &= left - 1)
			with[__builtin_ctz(left)][p->layer[c]] |= traits->has[c];
	for (uint32_t v = 0; v < PLAN_VARIANTS_MAX; v++)
		layers_of(with[v], traits->shared[v]);
	sort(p, traits);
}

/* The compiler does some variants at once where this loop is as plain as it is. */
static void sums_add(uint32_t sums[static PLAN_VARIANTS_MAX], uint32_t variants, uint32_t value)
{
	static const uint32_t bits[PLAN_VARIANTS_MAX] = {1,      1 << 1, 1 << 2,  1 << 3,  1 << 4,  1 << 5,  1 << 6,  1 << 7,
	                                                 1 << 8, 1 << 9, 1 << 10, 1 << 11, 1 << 12, 1 << 13, 1 << 14, 1 << 15};
	for (uint32_t v = 0; v < PLAN_VARIANTS_MAX; v++)
		sums[v] += variants & bits[v] ? value : 0;
}

static void suspicion_count(const struct plan *p, struct plan_traits *traits)
{
	const uint32_t most = UINT32_MAX / PLAN_COMPONENTS_MAX; /* far more than any has; no sum overflows */
	uint16_t suspect[PLAN_LAYER_MAX_] = {0};
	memset(traits->suspicion, 0, sizeof(traits->suspicion));
	for (uint32_t at = 0; at < p->n_components;) {
		uint32_t first = traits->sorted[at], kind = kind_of(p, traits, first), sum = 0;
		bool any = false;
		for (; at < p->n_components && kind_of(p, traits, traits->sorted[at]) == kind; at++) {
			uint32_t value = p->suspicion[traits->sorted[at]];
			any = any || value >= PLAN_SUSPECT;
			sum += value < most ? value : most;
		}
		if (any)
			suspect[p->layer[first]] |= traits->has[first];
		sums_add(traits->suspicion[p->layer[first]], traits->has[first], sum);
	}
	layers_of(suspect, traits->suspect);
}

const struct plan_traits *traits_of(const struct plan *p)
{
	struct plan_traits *traits = (struct plan_traits *)&p->traits; /* what is remembered changes nothing that can be seen */
	if (!traits->made_known)
		made_count(p, traits);
	if (!traits->made_known || !traits->suspicion_known)
		suspicion_count(p, traits);
	traits->made_known = traits->suspicion_known = true;
	return traits;
}

void traits_suspicion_changed(struct plan *p)
{
	p->traits.suspicion_known = false;
}

void plan_components_changed(struct plan *p)
{
	p->traits.made_known = p->traits.suspicion_known = false;
}
