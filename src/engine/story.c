/*
 * The story of an incident: the plan's notes as sentences that an operator can follow, in the log always and in the
 * ledger when they belong to an incident. Kept apart from the plan, which knows no words.
 */
#include "engine/engine.h"

#include "lib/bytes.h"
#include "lib/log.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

struct words {
	char instance[64]; /* "kb-7 (amber)" */
	char other[64];
	char layers[96], shared[96];
};

static void instance_words(const struct engine_service *s, uint32_t number, uint32_t variant, char *ret_text, size_t size)
{
	const struct plan_instance *i = plan_find(&s->plan, number);
	if (variant == UINT32_MAX && i)
		variant = i->variant;
	if (number == 0)
		text_copy(ret_text, size, "nothing");
	else if (variant < s->conf->n_variants)
		snprintf(ret_text, size, "kb-%u (%s)", number, s->conf->variants[variant]);
	else
		snprintf(ret_text, size, "kb-%u", number);
}

static const struct engine_instance *slot_of(const struct engine_service *s, uint32_t number)
{
	for (size_t k = 0; number && k < PLAN_INSTANCES_MAX; k++)
		if (s->instances[k].number == number)
			return &s->instances[k];
	return NULL;
}

static const char *detail_of(const struct engine_service *s, uint32_t number)
{
	const struct engine_instance *i = slot_of(s, number);
	return i ? i->detail : "";
}

static const char *found_detail(const struct engine_service *s, uint32_t number, enum finding finding)
{
	const struct engine_instance *i = slot_of(s, number);
	return i ? i->found[finding].detail : "";
}

/* The hypervisor's strong findings are their own words already. */
static void detected(const struct engine_service *s, const struct plan_note *n, const struct words *w, char *t, size_t size)
{
	const char *detail = found_detail(s, n->instance, n->finding), *beside = found_detail(s, n->instance, n->beside);
	bool said = detail[0] && (n->vantage != VANTAGE_HYPERVISOR || finding_class(n->finding) == FINDING_CLASS_WEAK);
	if (n->lesson)
		snprintf(t, size,
		         "%s %s (seen from the %s: %s); that alone is enough, as it was half of what convicted in incident "
		         "%llu: verdict %s",
		         w->instance, finding_sentence(n->finding), vantage_name(n->vantage), detail,
		         (unsigned long long)n->lesson, plan_verdict_name((enum plan_verdict)n->status));
	else if (n->finding == FINDING_UNKNOWN)
		snprintf(t, size, "%s was found cut off after a restart and nothing says why: the worst is assumed", w->instance);
	else if (n->beside != FINDING_GOOD)
		snprintf(t, size, "%s %s (seen from the %s: %s) and %s (%s: %s): verdict %s", w->instance,
		         finding_sentence(n->finding), vantage_name(n->vantage), detail, finding_sentence(n->beside),
		         vantage_name(n->beside_vantage), beside, plan_verdict_name((enum plan_verdict)n->status));
	else
		snprintf(t, size, "%s %s (seen from the %s%s%s): verdict %s", w->instance, finding_sentence(n->finding),
		         vantage_name(n->vantage), said ? ": " : "", said ? detail : "",
		         plan_verdict_name((enum plan_verdict)n->status));
}

static void chosen(const struct plan_note *n, const struct words *w, char *t, size_t size)
{
	int used = snprintf(t, size, "next is %s", w->instance);
	if (n->other && used > 0 && (size_t)used < size)
		used += snprintf(t + used, size - (size_t)used, "; it shares with the fallen %s: %s", w->other, w->layers);
	if (used > 0 && (size_t)used < size)
		snprintf(t + used, size - (size_t)used, "; with what serves now: %s", w->shared);
}

/* Steps that need no more said than who and what. */
static const char *const tails[PLAN_STEP_MAX_] = {
        [PLAN_STEP_FENCED] = "is cut off: nothing passes its tap in either direction, its flows are ended",
        [PLAN_STEP_LINK_DOWN] = "lost its network carrier",
        [PLAN_STEP_FROZEN] = "is frozen: its processors stand still",
        [PLAN_STEP_PROVEN] = "is proven: right content, right answer to the challenge, right clock",
        [PLAN_STEP_STANDBY] = "is ready to take over",
        [PLAN_STEP_BUILDING] = "is being built",
        [PLAN_STEP_SPARE] = "sleeps as proven spare",
        [PLAN_STEP_REMOVED] = "is removed: guest, tap, rules and keys are gone",
        [PLAN_STEP_LOCKED] = "is kept from clients: only this host reaches it",
        [PLAN_STEP_HELD] = "is held: its processors stand still",
        [PLAN_STEP_SERVICE_STOPPED] = "is held: its agent stopped its service",
        [PLAN_STEP_SERVICE_NOT_STOPPED] = "is held no more: its agent did not stop its service",
        [PLAN_STEP_OUTDATED] =
                "is of an image, of settings or of carried files that are no longer in force: another will take its place",
        [PLAN_STEP_WORN] = "was within clients' reach for as long as it may (max_exposure): another will take its place",
};

static void unsuccessful(const struct plan_note *n, const struct words *w, char *t, size_t size)
{
	const char *order = plan_order_name(n->order);
	if (n->step == PLAN_STEP_LATE)
		snprintf(t, size, "'%s' of %s was not answered in time: its actuator is replaced", order, w->instance);
	else if (n->step == PLAN_STEP_REFUSED_ORDER)
		snprintf(t, size, "'%s' of %s failed (%s)", order, w->instance, strerror(-n->status));
	else
		snprintf(t, size, "%s was never proven (%s) and is given up", w->instance,
		         n->status ? strerror(-n->status) : "no right answer");
}

static void pointed(const struct engine_service *s, const struct plan_note *n, const struct words *w, char *t, size_t size)
{
	if (n->step == PLAN_STEP_UNSTEERABLE)
		snprintf(t, size, "no healthy instance can take over from %s%s", w->instance,
		         n->status == PLAN_COMPROMISED ? ": it is cut off all the same" : " yet");
	else if (n->step == PLAN_STEP_ACTIVE)
		snprintf(t, size, "%s now points at %s", s->conf->name, w->instance);
	else
		snprintf(t, size, "%s now points at %s instead of %s; the two share: %s", s->conf->name, w->instance, w->other,
		         w->layers);
}

/* Not about what is broken, but about what is made of it. */
static void renewed(const struct plan_note *n, const struct words *w, char *t, size_t size)
{
	if (n->step == PLAN_STEP_ROTATING)
		snprintf(t, size, "%s %s and hands over to %s", w->instance,
		         n->status == PLAN_RETIRED_WARNED ? "is made of what fell elsewhere, as a lesson says,"
		         : n->status == PLAN_RETIRED_OUTDATED
		                 ? "is of an image, of settings or of carried files that are no longer in force"
		                 : "was within clients' reach for as long as it may",
		         w->other);
	else if (n->step == PLAN_STEP_DRAINED)
		snprintf(t, size, "the last old connections to %s are ended", w->instance);
	else if (n->step == PLAN_STEP_TAUGHT)
		snprintf(t, size, "a lesson of a takeover speaks against %s (suspect in it: %s): a cleaner one is to take over",
		         w->instance, w->layers);
	else if (n->step == PLAN_STEP_CLEARED)
		snprintf(t, size, "%s stood where %s fell, and did not: what it is made of is half as suspect", w->instance,
		         w->other);
	else if (n->step == PLAN_STEP_BRAKED)
		snprintf(t, size,
		         "ALARM: %d instances fell in a short time: spares are built slowly until it was quiet for long enough",
		         n->status);
	else if (n->step == PLAN_STEP_UNBRAKED)
		snprintf(t, size, "it was quiet for long enough: spares are built at once again");
	else if (n->status == PLAN_RETIRED_STOP)
		snprintf(t, size, "%s is ended, because somebody wanted it", w->instance);
	else if (n->status == PLAN_RETIRED_OUTDATED)
		snprintf(t, size, "%s is retired: it was of an image or of settings that are no longer in force", w->instance);
	else if (n->status == PLAN_RETIRED_WORN)
		snprintf(t, size, "%s is retired: it was within clients' reach for long enough", w->instance);
	else
		snprintf(t, size, "%s is retired: a better one took its place (suspect in it: %s)", w->instance, w->layers);
}

/* In the words of whoever did it. */
static void kept(const struct engine_service *s, const struct plan_note *n, const struct words *w, char *t, size_t size)
{
	const char *detail = detail_of(s, n->instance);
	if (n->step == PLAN_STEP_RECORDED)
		snprintf(t, size, "evidence is kept and hashed, of %s", detail);
	else if (n->step == PLAN_STEP_ROLLED_BACK)
		snprintf(t, size, "what %s wrote is undone: %s", w->instance, detail);
	else if (n->step == PLAN_STEP_REVOKED)
		snprintf(t, size, "what %s could read is refused from now on: %s", w->instance,
		         n->order == PLAN_DO_DESTROY ? "it is gone with all its files" : detail);
	else
		snprintf(t, size, "the data is as %s left it: %s", w->instance, detail);
}

static void words_of(const struct engine_service *s, const struct plan_note *n, struct words *ret)
{
	instance_words(s, n->instance, n->variant, ret->instance, sizeof(ret->instance));
	instance_words(s, n->other, UINT32_MAX, ret->other, sizeof(ret->other));
	library_layers_text(n->layers, ENGINE_ALL_LAYERS, ret->layers, sizeof(ret->layers));
	library_layers_text(n->shared, ENGINE_ALL_LAYERS, ret->shared, sizeof(ret->shared));
}

/* What is tried with whoever failed. */
static void mending(const struct plan_note *n, const struct words *w, char *t, size_t size)
{
	static const char *const acts[PLAN_RUNG_MAX_] = {
	        [PLAN_RUNG_RESTART] = "its agent restarts the service inside",
	        [PLAN_RUNG_REBOOT] = "the guest is rebooted, from the same verified image",
	};
	const char *rung = plan_rung_name(n->rung);
	const char *act = acts[n->rung] ? acts[n->rung] : "?";
	if (n->step == PLAN_STEP_MENDING)
		snprintf(t, size, "%s is kept from clients and mended (%s): %s", w->instance, rung, act);
	else if (n->step == PLAN_STEP_MENDED)
		snprintf(t, size, "%s is mended (%s): right content, right answer to the challenge, right clock", w->instance,
		         rung);
	else if (n->finding != FINDING_GOOD)
		snprintf(t, size, "%s is not mended by a %s: %s", w->instance, rung, finding_sentence(n->finding));
	else
		snprintf(t, size, "%s is not mended by a %s: %s", w->instance, rung,
		         n->status == -ETIMEDOUT ? "it did not prove itself in time"
		         : n->status             ? strerror(-n->status)
		                                 : "something else befell it");
}

static void begun_or_ended(const struct plan_note *n, const struct words *w, char *t, size_t size)
{
	if (n->step == PLAN_STEP_CLOSED)
		snprintf(t, size, "%s",
		         n->status ? "closed before redundancy is whole again: too many incidents are open, and the next one "
		                     "needs its place"
		                   : "closed: nothing is left to be done");
	else
		snprintf(t, size, "taken up again after a restart; victim %s", w->other);
}

/* What is no verdict. */
static void doubted(const struct plan_note *n, const struct words *w, char *t, size_t size)
{
	const char *vantage = vantage_name(n->vantage);
	if (n->step == PLAN_STEP_GAVE_WAY)
		snprintf(t, size, "%s %s (seen from the %s): %s serves until more is known", w->instance,
		         finding_sentence(n->finding), vantage, w->other);
	else if (n->step == PLAN_STEP_CROWDED)
		snprintf(t, size,
		         "%s misses as %s did, whose place it took: clients seem to be too many, so that convicts nobody",
		         w->instance, w->other);
	else
		snprintf(t, size, "%s: '%s' (seen from the %s) comes and goes: it counts half until it was quiet for %d minutes",
		         w->instance, finding_name(n->finding), vantage, PLAN_FLAP_US / 60000000);
}

static void sentence(const struct engine_service *s, const struct plan_note *n, char *t, size_t size)
{
	struct words w;
	words_of(s, n, &w);
	switch (n->step) {
	case PLAN_STEP_DETECTED:
		detected(s, n, &w, t, size);
		break;
	case PLAN_STEP_DAMPED:
	case PLAN_STEP_GAVE_WAY:
	case PLAN_STEP_CROWDED:
		doubted(n, &w, t, size);
		break;
	case PLAN_STEP_STEERED:
	case PLAN_STEP_ACTIVE:
	case PLAN_STEP_UNSTEERABLE:
		pointed(s, n, &w, t, size);
		break;
	case PLAN_STEP_RECORDED:
	case PLAN_STEP_ROLLED_BACK:
	case PLAN_STEP_NOT_ROLLED_BACK:
	case PLAN_STEP_REVOKED:
		kept(s, n, &w, t, size);
		break;
	case PLAN_STEP_SUSPECTED:
		snprintf(t, size, "what %s was made of is suspect now: %s", w.instance, w.layers);
		break;
	case PLAN_STEP_WAKING:
		snprintf(t, size, "spare %s wakes up%s%s", w.instance, (n->layers & PLAN_HOLES) ? "; suspect in it: " : "",
		         (n->layers & PLAN_HOLES) ? w.layers : "");
		break;
	case PLAN_STEP_CHOSEN:
		chosen(n, &w, t, size);
		break;
	case PLAN_STEP_RETIRED:
	case PLAN_STEP_ROTATING:
	case PLAN_STEP_TAUGHT:
	case PLAN_STEP_CLEARED:
	case PLAN_STEP_BRAKED:
	case PLAN_STEP_UNBRAKED:
	case PLAN_STEP_DRAINED:
		renewed(n, &w, t, size);
		break;
	case PLAN_STEP_MENDING:
	case PLAN_STEP_MENDED:
	case PLAN_STEP_UNMENDED:
		mending(n, &w, t, size);
		break;
	case PLAN_STEP_REFUSED_ORDER:
	case PLAN_STEP_LATE:
	case PLAN_STEP_GIVEN_UP:
		unsuccessful(n, &w, t, size);
		break;
	case PLAN_STEP_RESUMED:
	case PLAN_STEP_CLOSED:
		begun_or_ended(n, &w, t, size);
		break;
	case PLAN_STEP_FENCED:
	case PLAN_STEP_LINK_DOWN:
	case PLAN_STEP_FROZEN:
	case PLAN_STEP_PROVEN:
	case PLAN_STEP_STANDBY:
	case PLAN_STEP_BUILDING:
	case PLAN_STEP_SPARE:
	case PLAN_STEP_REMOVED:
	case PLAN_STEP_WORN:
	case PLAN_STEP_OUTDATED:
	case PLAN_STEP_LOCKED:
	case PLAN_STEP_HELD:
	case PLAN_STEP_SERVICE_STOPPED:
	case PLAN_STEP_SERVICE_NOT_STOPPED:
		snprintf(t, size, "%s %s", w.instance, tails[n->step]);
		break;
	case PLAN_STEP_MAX_:
		t[0] = '\0';
		break;
	}
}

static int step_work(struct ledger *l, void *arg, struct err *err)
{
	return ledger_step_add(l, arg, err);
}

/* The incident's first evidence, also when the plan has just closed it. */
static int64_t began_us(const struct engine_service *s, uint64_t incident)
{
	for (size_t k = 0; k < PLAN_INCIDENTS_MAX; k++) {
		if (s->plan.incidents[k].number == incident)
			return s->plan.incidents[k].evidence_us;
		if (s->stories[k] && s->stories[k]->number == incident)
			return s->stories[k]->first_evidence_us;
	}
	return 0;
}

static void step_put(struct engine_service *s, uint64_t incident, const char *phase, const char *name, int64_t now_us,
                     const char *text)
{
	struct ledger_step *step = calloc(1, sizeof(*step));
	assert(step);
	int64_t began = began_us(s, incident);
	step->incident = incident;
	step->time_us = clock_real_us();
	step->since_us = began ? now_us - began : 0;
	text_copy(step->phase, sizeof(step->phase), phase);
	text_copy(step->step, sizeof(step->step), name);
	text_copy(step->text, sizeof(step->text), text);
	journal_put(s->engine->journal, step_work, NULL, step);
}

void story_tell(struct engine_service *s, uint64_t incident, const char *step, const char *text)
{
	char id[48];
	snprintf(id, sizeof(id), "plan.%s", step);
	log_event(LOG_LEVEL_WARNING, id, "[incident %llu] %s", (unsigned long long)incident, text);
	for (size_t k = 0; k < PLAN_INCIDENTS_MAX; k++)
		if (s->plan.incidents[k].number == incident)
			step_put(s, incident, plan_phase_name(s->plan.incidents[k].phase), step, clock_monotonic_us(), text);
}

void story_note(struct engine_service *s, const struct plan_note *note)
{
	char text[LEDGER_TEXT_MAX];
	sentence(s, note, text, sizeof(text));
	bool bad = note->step == PLAN_STEP_DETECTED || note->step == PLAN_STEP_BRAKED || note->step == PLAN_STEP_UNSTEERABLE ||
	           note->step == PLAN_STEP_REFUSED_ORDER || note->step == PLAN_STEP_NOT_ROLLED_BACK ||
	           note->step == PLAN_STEP_LATE || note->step == PLAN_STEP_GIVEN_UP || note->step == PLAN_STEP_UNMENDED;
	char id[48];
	snprintf(id, sizeof(id), "plan.%s", plan_step_name(note->step));
	if (note->incident)
		log_event(bad ? LOG_LEVEL_WARNING : LOG_LEVEL_NOTICE, id, "[incident %llu] %s",
		          (unsigned long long)note->incident, text);
	else
		log_event(bad ? LOG_LEVEL_WARNING : LOG_LEVEL_NOTICE, id, "%s", text);
	if (note->incident == 0)
		return;
	bool cause = note->step == PLAN_STEP_DETECTED || note->step == PLAN_STEP_ROTATING || note->step == PLAN_STEP_GAVE_WAY;
	for (size_t k = 0; k < PLAN_INCIDENTS_MAX && cause; k++)
		if (s->stories[k] && s->stories[k]->number == note->incident) {
			text_copy(s->stories[k]->cause, sizeof(s->stories[k]->cause), text);
			s->stale[k] = true;
		}
	step_put(s, note->incident, plan_phase_name(note->phase), plan_step_name(note->step), note->time_us, text);
	if (note->step == PLAN_STEP_MENDED)
		lessons_mended(s, note);
	if (note->step == PLAN_STEP_DETECTED) {
		lessons_verdict(s, note);
		cut_fell(s, note);
	}
}
