/*
 * Why an instance or a variant is judged as it is, and what would change that: the arithmetic of verdict.c and choice.c in
 * sentences. It decides nothing and remembers nothing but what was found out about each instance, by kind.
 */
#include "engine/report.h"

#include "lib/bytes.h"

#include <stdio.h>
#include <string.h>

#define SECOND_US 1e6

static double ago_s(int64_t then_us)
{
	return (double)(clock_monotonic_us() - then_us) / SECOND_US;
}

/* --- findings and their weight */

static void weak_text(const struct plan_window *window, enum finding finding, char *ret_text, size_t size)
{
	int64_t now_us = clock_monotonic_us();
	uint32_t points = plan_weak_points(window, finding, now_us);
	snprintf(ret_text, size, "%u of %u points%s%s", points, PLAN_POINTS_ENOUGH, points ? "" : ": too long ago",
	         plan_is_damped(window, finding, now_us) ? ": damped, it comes and goes" : "");
}

static void weight_text(const struct plan_config *config, const struct plan_window *window, enum finding finding, char *ret_text,
                        size_t size)
{
	switch (finding_class(finding)) {
	case FINDING_CLASS_GOOD:
		snprintf(ret_text, size, "a right answer");
		break;
	case FINDING_CLASS_UNKNOWN:
		snprintf(ret_text, size, "none");
		break;
	case FINDING_CLASS_COUNTED:
		snprintf(ret_text, size, "a miss: %u of %u may count", config->failures, config->window);
		break;
	case FINDING_CLASS_DOUBT:
		snprintf(ret_text, size, "none: another one may serve meanwhile");
		break;
	case FINDING_CLASS_LASTING:
		snprintf(ret_text, size, "when told twice, if it does not answer what is asked then and another one does");
		break;
	case FINDING_CLASS_AT_ONCE:
		snprintf(ret_text, size, "failed, at once");
		break;
	case FINDING_CLASS_COMPROMISE:
		snprintf(ret_text, size, "compromised, at once");
		break;
	case FINDING_CLASS_WEAK:
		weak_text(window, finding, ret_text, size);
		break;
	}
}

static json_t *findings(const struct engine_service *s, const struct engine_instance *i, const struct plan_instance *p)
{
	json_t *list = json_array();
	char weight[64];
	for (enum finding f = FINDING_GOOD; f < FINDING_MAX_; f++) {
		const struct engine_found *found = &i->found[f];
		if (found->count == 0)
			continue;
		weight_text(&s->plan.config, &p->window, f, weight, sizeof(weight));
		json_array_append_new(list,
		                      json_pack("{s:s, s:s, s:s, s:I, s:I, s:f, s:s, s:o}", "finding", finding_name(f),
		                                "sentence", finding_sentence(f), "vantage", vantage_name(found->vantage), "count",
		                                (json_int_t)found->count, "first_us", (json_int_t)found->first_us, "ago_s",
		                                ago_s(found->last_us), "weight", weight, "detail", report_text(found->detail)));
	}
	return list;
}

/* "refused, panicked, gone": what is of one class. */
static void names_of(enum finding_class class, char *ret_text, size_t size)
{
	size_t used = 0;
	ret_text[0] = '\0';
	for (enum finding f = FINDING_GOOD; f < FINDING_MAX_ && used < size; f++)
		if (finding_class(f) == class)
			used += (size_t)snprintf(ret_text + used, size - used, "%s%s", used ? ", " : "", finding_name(f));
}

/* --- one instance */

/* Lives in which nobody asks for answers, in words; NULL: it is asked. */
static const char *unasked(enum plan_life life)
{
	if (plan_life_falls(life))
		return "it fell or is no longer wanted, and is being taken away";
	if (life == PLAN_LIFE_PAUSING || life == PLAN_LIFE_PAUSED)
		return "it sleeps: nobody asks it anything";
	if (life == PLAN_LIFE_STOPPING || life == PLAN_LIFE_STOPPED)
		return "somebody wants its service stopped: nobody asks it anything";
	if (life == PLAN_LIFE_HOLDING || life == PLAN_LIFE_HELD)
		return "somebody wants it held: nobody asks it anything";
	if (life == PLAN_LIFE_READY || life == PLAN_LIFE_DOOMED || life == PLAN_LIFE_LOCKED)
		return NULL;
	return "it has not proven itself yet";
}

static void because_answers(json_t *list, const struct plan_instance *p, const struct plan_why *why)
{
	if (p->window.last_good_us == 0)
		report_say(list, "it has not answered rightly yet");
	else
		report_say(list, "its last right answer came %.3f s ago; for %.1f s that holds", ago_s(p->window.last_good_us),
		           (double)why->fresh_us / SECOND_US);
	if (why->misses > 0)
		report_say(list, "at least %u of its last %u probes were missed, %u in a row, %s", why->misses, why->probes,
		           why->in_row, why->silent ? "and nothing came from it since" : "but it answered in between or late");
	if (why->misses > 0 && why->contrast == 0)
		report_say(list, "nobody else answered all the while, so it may be the host and not the instance");
}

static void because(json_t *list, const struct plan_instance *p, const struct plan_why *why)
{
	const char *life = unasked(p->life);
	if (p->verdict >= PLAN_FAILED)
		report_say(list, "it %s, seen from the %s", finding_sentence(p->window.worst), vantage_name(p->window.vantage));
	if (p->verdict >= PLAN_FAILED && p->window.beside != FINDING_GOOD)
		report_say(list, "and it %s, seen from the %s", finding_sentence(p->window.beside),
		           vantage_name(p->window.beside_vantage));
	if (why->points)
		report_say(list, "%u of %u points speak for takeover", why->points, PLAN_POINTS_ENOUGH);
	if (life)
		report_say(list, "%s", life);
	else
		because_answers(list, p, why);
}

static void would_fail(json_t *list, const struct plan *plan, const struct plan_why *why)
{
	char names[320];
	uint32_t more = plan->config.failures > why->misses ? plan->config.failures - why->misses : 0;
	if (plan->busy)
		report_say(list, "the host's processors are overrun: misses count only in a row for now");
	else if (why->crowded)
		report_say(list,
		           "it took the place of one that missed lately: until it was without a miss for %d s, misses count only "
		           "in a row",
		           PLAN_CROWD_US / 1000000);
	else if (why->contrast)
		report_say(list,
		           "failed: %u more missed of the next %u probes, if nothing comes from it and kb-%u goes on answering",
		           more, plan->config.window, why->contrast);
	if (why->row_enough > why->in_row)
		report_say(list, "failed: %u more missed probes in a row, whatever others do", why->row_enough - why->in_row);
	if ((plan->busy || why->crowded) && why->misses > 0 && !why->silent)
		report_say(list, "failed: no answer in time for %d s, while another one answers in time", PLAN_SLOW_US / 1000000);
	names_of(FINDING_CLASS_AT_ONCE, names, sizeof(names));
	report_say(list, "failed at once: %s", names);
	names_of(FINDING_CLASS_COMPROMISE, names, sizeof(names));
	report_say(list, "compromised at once: %s", names);
	names_of(FINDING_CLASS_WEAK, names, sizeof(names));
	report_say(list, "compromised: %u more points, from another vantage and about another thing: %s",
	           PLAN_POINTS_ENOUGH > why->points ? PLAN_POINTS_ENOUGH - why->points : 0, names);
}

static void gives_way_for(json_t *list, const struct silence_limits *limits, const char *what)
{
	if (limits->known && limits->limit_us < INT64_MAX)
		report_say(list, "gives way, without having failed: no %s answered for %.1f ms, and another one answers", what,
		           (double)limits->limit_us / 1000);
	else if (limits->known)
		report_say(list, "goes on serving whatever %s waits: it let them wait for %.0f ms itself lately", what,
		           (double)limits->longest_us / 1000);
}

static void would_give_way(json_t *list, const struct engine_service *s, const struct engine_instance *i)
{
	struct silence_limits limits;
	if (!s->plan.config.gives_way || s->plan.target != i->number)
		return;
	if (i->prober) {
		limits = sense_prober_limits(i->prober);
		gives_way_for(list, &limits, "probe");
	}
	if (s->engine->wire) {
		limits = sense_wire_limits(s->engine->wire, i->number, FINDING_STALLED);
		gives_way_for(list, &limits, "new connection of a client");
		limits = sense_wire_limits(s->engine->wire, i->number, FINDING_UNHEARD);
		gives_way_for(list, &limits, "first request of a client's connection");
	}
}

static void would_change(json_t *list, const struct plan *plan, const struct plan_instance *p, const struct plan_why *why)
{
	if (plan_life_falls(p->life) || p->verdict >= PLAN_FAILED) {
		report_say(list, "nothing: what fell is replaced, not healed");
		return;
	}
	if (p->life == PLAN_LIFE_BOOTING || p->life == PLAN_LIFE_WAKING)
		report_say(list, "healthy: two right answers, one of them to the challenge");
	else if (why->verdict == PLAN_UNKNOWN && p->life == PLAN_LIFE_READY)
		report_say(list, "healthy: one right answer");
	if (p->life == PLAN_LIFE_READY)
		would_fail(list, plan, why);
	else
		report_say(list, "failed or compromised: only what the hypervisor or the wire tells");
}

static json_t *instance_why(const struct engine_service *s, const struct engine_instance *i, const struct plan_instance *p)
{
	struct plan_why why;
	json_t *reasons = json_array(), *changes = json_array();
	plan_why(&s->plan, p, clock_monotonic_us(), &why);
	because(reasons, p, &why);
	would_change(changes, &s->plan, p, &why);
	if (p->life == PLAN_LIFE_READY && p->verdict < PLAN_FAILED)
		would_give_way(changes, s, i);
	return json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:i}", "subject", i->address.name, "kind", "instance", "verdict",
	                 plan_verdict_name(p->verdict), "because", reasons, "would_change", changes, "findings",
	                 findings(s, i, p), "learnt", (int)usage_learnt(&i->usage));
}

/* --- one variant */

static uint32_t variant_number(const struct engine_service *s, const char *name)
{
	for (uint32_t v = 0; v < s->conf->n_variants; v++)
		if (strcmp(s->conf->variants[v], name) == 0)
			return v;
	return UINT32_MAX;
}

static const char *variant_verdict(const struct engine *e, const struct library_variant *v)
{
	const struct plan *plan = &e->services[0].plan; /* suspicion is the same in all */
	if (!library_is_usable(v))
		return v->buildable ? "not built" : "unusable";
	for (size_t c = 0; c < e->library.n_components; c++)
		if ((v->components[c / 64] >> (c % 64) & 1) && plan->suspicion[c] >= PLAN_SUSPECT)
			return "suspect";
	return "clear";
}

static void because_suspicion(json_t *list, const struct engine *e, const struct library_variant *v)
{
	const struct plan *plan = &e->services[0].plan;
	uint32_t packages = 0;
	for (size_t c = 0; c < e->library.n_components; c++) {
		if (!(v->components[c / 64] >> (c % 64) & 1) || plan->suspicion[c] == 0)
			continue;
		if (e->library.components[c].layer > IMAGE_RUNTIME)
			packages++;
		else
			report_say(list, "suspicion of %s is %.3f (suspect from %.2f)", e->library.components[c].key,
			           plan->suspicion[c] / 1000.0, PLAN_SUSPECT / 1000.0);
	}
	if (packages)
		report_say(list, "%u of its packages were in something that fell", packages);
	if (json_array_size(list) == 0)
		report_say(list, "nothing that it is made of was in anything that fell");
}

/* What it would share with whoever serves: the second rung of the choice of the next variant. */
static void because_shared(json_t *list, const struct engine_service *s, uint32_t number)
{
	char layers[64];
	const struct plan_instance *active = plan_find(&s->plan, s->plan.target);
	if (!active || active->variant >= s->conf->n_variants || number == UINT32_MAX)
		return;
	if (active->variant == number) {
		report_say(list, "%s is served by one of it, kb-%u", s->conf->name, active->number);
		return;
	}
	library_layers_text(plan_shared_layers(&s->plan, number, active->variant), PLAN_HOLES, layers, sizeof(layers));
	report_say(list, "with kb-%u (%s), which serves %s, it shares in kernel, server and runtime: %s", active->number,
	           s->conf->variants[active->variant], s->conf->name, layers);
}

static json_t *variant_why(const struct engine *e, const struct library_variant *v)
{
	json_t *reasons = json_array(), *changes = json_array();
	const char *verdict = variant_verdict(e, v);
	if (v->buildable)
		report_say(reasons, "there is no image of it; its recipe's list says what it would be made of");
	if (v->image || v->buildable)
		because_suspicion(reasons, e, v);
	else
		report_say(reasons, "%s", v->problem);
	for (size_t s = 0; s < e->n_services; s++)
		because_shared(reasons, &e->services[s], variant_number(&e->services[s], v->name));
	if (v->buildable)
		report_say(changes, "images/build %s; the engine asks for it when it would be better than all that is there",
		           v->name);
	else if (!v->image)
		report_say(changes, "an image that is whole and rightly signed, and a reload");
	else if (strcmp(verdict, "suspect") == 0)
		report_say(changes, "clear: the fall of another variant quarters all older suspicion");
	else
		report_say(changes, "suspect: the fall of an instance of it, or of one that has a component in common with it");
	return json_pack("{s:s, s:s, s:s, s:o, s:o, s:[]}", "subject", v->name, "kind", "variant", "verdict", verdict, "because",
	                 reasons, "would_change", changes, "findings");
}

/* --- all */

static bool is_living(const struct engine_service *s, size_t k)
{
	return s->instances[k].number && s->plan.instances[k].number == s->instances[k].number;
}

json_t *report_why(struct engine *e, const char *subject)
{
	for (size_t n = 0; n < e->n_services; n++) {
		const struct engine_service *s = &e->services[n];
		for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++)
			if (is_living(s, k) && strcmp(s->instances[k].address.name, subject) == 0)
				return instance_why(s, &s->instances[k], &s->plan.instances[k]);
	}
	const struct library_variant *v = library_find(&e->library, subject);
	return v ? variant_why(e, v) : NULL;
}

static void subject_add(json_t *list, const char *name, const char *kind, const char *verdict)
{
	json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "subject", name, "kind", kind, "verdict", verdict));
}

json_t *report_subjects(struct engine *e)
{
	json_t *list = json_array();
	for (size_t n = 0; n < e->n_services; n++)
		for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++)
			if (is_living(&e->services[n], k))
				subject_add(list, e->services[n].instances[k].address.name, "instance",
				            plan_verdict_name(e->services[n].plan.instances[k].verdict));
	for (size_t v = 0; v < e->library.n_variants; v++)
		subject_add(list, e->library.variants[v].name, "variant", variant_verdict(e, &e->library.variants[v]));
	return json_pack("{s:o}", "subjects", list);
}
