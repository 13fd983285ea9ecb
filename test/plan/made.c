/* See made.h. The components are those of the real recipes, as far as they matter: the libc of trixie is in two of them. */
#include "made.h"

static const struct {
	enum plan_layer layer;
	uint32_t variants; /* bits */
} components[] = {
        {PLAN_KERNEL, 1 << AMBER},                            /* linux 6.1 */
        {PLAN_KERNEL, 1 << BIRCH},                            /* linux 6.12 */
        {PLAN_KERNEL, 1 << CEDAR},                            /* linux 7 */
        {PLAN_LIBC, 1 << AMBER},                              /* libc of bookworm */
        {PLAN_LIBC, 1 << BIRCH | 1 << CEDAR},                 /* libc of trixie */
        {PLAN_SERVER, 1 << AMBER},                            /* nginx */
        {PLAN_SERVER, 1 << BIRCH},                            /* lighttpd */
        {PLAN_SERVER, 1 << CEDAR},                            /* apache */
        {PLAN_RUNTIME, 1 << AMBER},                           /* php 8.2 */
        {PLAN_RUNTIME, 1 << BIRCH},                           /* php 8.4 */
        {PLAN_RUNTIME, 1 << CEDAR},                           /* lua */
        {PLAN_PACKAGE, 1 << AMBER | 1 << BIRCH | 1 << CEDAR}, /* one that has not changed for years */
        {PLAN_PACKAGE, 1 << BIRCH | 1 << CEDAR},              /* openssl of trixie */
        {PLAN_PACKAGE, 1 << AMBER},                           /* openssl of bookworm */
};

struct plan_config made_config(void)
{
	return (struct plan_config){
	        .standby = 1,
	        .spare = 1,
	        .interval_us = MADE_INTERVAL_US,
	        .timeout_us = MADE_TIMEOUT_US,
	        .failures = 3,
	        .window = 5,
	        .boot_us = 30000000,
	        .wake_us = 5000000,
	        .drain_us = 2000000,
	        .backoff_us = 5000000,
	        .restart_us = 8000000,
	        .quick_us = 3000000,
	        .slow_us = 60000000,
	        .back_us = 600000000,
	        .evidence = true,
	        .gives_way = true,
	        .brake_within_us = 60000000,
	        .brake_pause_us = 20000000,
	};
}

void made_variants(struct plan *p)
{
	p->n_variants = MADE_VARIANTS;
	p->n_components = sizeof(components) / sizeof(components[0]);
	for (uint32_t c = 0; c < p->n_components; c++) {
		p->layer[c] = (uint8_t)components[c].layer;
		for (uint32_t v = 0; v < MADE_VARIANTS; v++)
			if (components[c].variants >> v & 1)
				p->variants[v].components[c / 64] |= 1ull << (c % 64);
	}
	for (uint32_t v = 0; v < MADE_VARIANTS; v++)
		p->variants[v].usable = true;
}

void made_plan(struct plan *p)
{
	struct plan_config config = made_config();
	plan_init(p, &config);
	made_variants(p);
	p->world_known = true;
}

struct plan_instance *made_instance(struct plan *p, uint32_t number, uint32_t variant, enum plan_role role, enum plan_life life)
{
	for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++) {
		if (p->instances[k].number)
			continue;
		p->instances[k] = (struct plan_instance){
		        .number = number, .variant = variant, .role = role, .life = life, .deadline_us = PLAN_NEVER};
		if (life == PLAN_LIFE_READY)
			p->instances[k].verdict = PLAN_HEALTHY;
		if (role == PLAN_ACTIVE)
			p->target = number;
		return &p->instances[k];
	}
	assert(!"no free slot");
	return NULL;
}

struct evidence made_evidence(uint32_t instance, enum finding finding, int64_t began_us, int64_t time_us)
{
	return (struct evidence){
	        .time_us = time_us, .instance = instance, .vantage = VANTAGE_PATH, .finding = finding, .began_us = began_us};
}

const struct plan_order *made_ordered(const struct plan_update *update, enum plan_order_type type)
{
	for (size_t k = 0; k < update->n_orders; k++)
		if (update->orders[k].type == type)
			return &update->orders[k];
	return NULL;
}

const struct plan_note *made_noted(const struct plan_update *update, enum plan_step step)
{
	for (size_t k = 0; k < update->n_notes; k++)
		if (update->notes[k].step == step)
			return &update->notes[k];
	return NULL;
}
