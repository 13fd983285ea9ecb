/*
 * What the evidence on one instance adds up to. A window of the last probes, k of n, so that one lost packet is never a
 * verdict; findings that cannot be chance count at once. Three-valued: no fresh evidence is *unknown*, and unknown
 * never triggers anything.
 *
 * A busy host must not look like an attack: misses alone convict only in contrast, when another instance answered all
 * its probes that began between the first and the last of these misses. (What it answered after them proves nothing: a host
 * that stood still lets everybody answer as soon as it goes on.) If all are slow together, if there is nothing to compare
 * with, or if the host knows that its processors are overrun (then chance decides who is slow), it takes eight times the
 * misses, without a good answer in between. The same holds for whoever still answers, only late: it is slow, a hung
 * server is silent; and slow alone convicts only in contrast, and on an overrun host only if it lasts: in its place another
 * one would be slow, and building one more guest takes what is short. Many connections that were tried in one moment are one
 * miss, or a crowd of clients would make a verdict out of a hiccup. What is merely unusual is weak: it takes two vantages, and
 * two different things that they see.
 *
 * A silence that clients meet convicts sooner than probes do, and by contrast alone: it was told twice, in between all were asked
 * at once, another one answered that, and this one did not.
 */
#include "plan/inside.h"

static void window_shift(struct plan_window *window, bool missed, int64_t began_us)
{
	memmove(window->began_us + 1, window->began_us, sizeof(window->began_us) - sizeof(window->began_us[0]));
	window->began_us[0] = began_us;
	window->misses = window->misses << 1 | (missed ? 1 : 0);
	if (window->filled < 32)
		window->filled++;
}

static void window_fall(struct plan_window *window, const struct evidence *evidence, bool compromised)
{
	if (window->fell_compromised || (window->fell_at_once && !compromised))
		return; /* the first reason stands, unless a graver one comes */
	window->fell_at_once = true;
	window->fell_compromised = compromised;
	window->fell_us = evidence->time_us;
	window->worst = evidence->finding;
	window->vantage = evidence->vantage;
}

/* Is there a miss already that began at about the same time? */
static bool window_knows(const struct plan_window *window, int64_t began_us, int64_t apart_us)
{
	for (uint32_t age = 0; age < window->filled; age++) {
		int64_t between_us = began_us - window->began_us[age];
		if ((window->misses >> age & 1) && between_us < apart_us && between_us > -apart_us)
			return true;
	}
	return false;
}

static void window_miss(struct plan_window *window, const struct evidence *evidence, int64_t apart_us)
{
	if (evidence->began_us < window->since_us || window_knows(window, evidence->began_us, apart_us))
		return;
	window_shift(window, true, evidence->began_us);
	if (window->fell_at_once)
		return;
	window->worst = evidence->finding;
	window->vantage = evidence->vantage;
}

static void window_doubt(struct plan_window *window, const struct evidence *evidence)
{
	const struct plan_doubt *before = &window->doubt;
	bool again = before->began_us == evidence->began_us;
	bool fresh = before->told_us > 0 && evidence->time_us - before->told_us <= PLAN_SILENCE_FRESH_US;
	if (evidence->finding == FINDING_UNHEARD && before->finding != FINDING_UNHEARD && fresh)
		return; /* what weighs by itself is not taken back by what does not yet */
	window->doubt = (struct plan_doubt){.began_us = evidence->began_us,
	                                    .first_us = again ? before->first_us : evidence->time_us,
	                                    .told_us = evidence->time_us,
	                                    .finding = evidence->finding,
	                                    .vantage = evidence->vantage};
}

static void window_silent(struct plan_window *window, const struct evidence *evidence)
{
	struct plan_silence *silence = &window->silence;
	if (silence->began_us != evidence->began_us)
		*silence = (struct plan_silence){.began_us = evidence->began_us, .first_us = evidence->time_us};
	silence->last_us = evidence->time_us;
	if (window->fell_at_once)
		return;
	window->worst = evidence->finding;
	window->vantage = evidence->vantage;
}

/* A patient probe (proving) that was answered late says no more than one with the usual patience that began later. */
static int64_t good_began_us(const struct plan *p, const struct evidence *evidence)
{
	int64_t at_least_us = evidence->time_us - p->config.timeout_us;
	return evidence->began_us > at_least_us ? evidence->began_us : at_least_us;
}

static const struct plan_weak *weak_at(const struct plan_window *window, enum finding finding)
{
	assert(finding_class(finding) == FINDING_CLASS_WEAK);
	return &window->weak[finding - FINDING_WEAK_FIRST];
}

bool plan_is_damped(const struct plan_window *window, enum finding finding, int64_t now_us)
{
	return now_us < weak_at(window, finding)->damped_until_us;
}

uint32_t plan_weak_points(const struct plan_window *window, enum finding finding, int64_t now_us)
{
	if (now_us > weak_at(window, finding)->until_us || weak_at(window, finding)->until_us == 0)
		return 0;
	return plan_is_damped(window, finding, now_us) ? PLAN_POINTS_DAMPED : PLAN_POINTS_WEAK;
}

/* What a set of weak findings (bits) weighs together: nothing if two of them come from one vantage or are about one thing,
 * since those may have one innocent cause. */
static uint32_t set_points(const struct plan_window *window, uint32_t set, int64_t now_us)
{
	uint32_t vantages = 0, about = 0, points = 0;
	for (enum finding f = FINDING_WEAK_FIRST; f < FINDING_MAX_; f++) {
		if (!(set >> (f - FINDING_WEAK_FIRST) & 1))
			continue;
		uint32_t vantage = 1u << weak_at(window, f)->vantage, thing = 1u << finding_about(f);
		uint32_t one = plan_weak_points(window, f, now_us);
		if (one == 0 || (vantages & vantage) || (about & thing))
			return 0;
		vantages |= vantage;
		about |= thing;
		points += one;
	}
	return points;
}

/* The weightiest set; few enough to try them all. */
static uint32_t weak_points(const struct plan_window *window, int64_t now_us, uint32_t *ret_set)
{
	uint32_t most = 0;
	static_assert(FINDING_WEAK <= 10, "all sets are tried");
	*ret_set = 0;
	for (uint32_t set = 1; set < 1u << FINDING_WEAK; set++) {
		uint32_t points = set_points(window, set, now_us);
		if (points <= most)
			continue;
		most = points;
		*ret_set = set;
	}
	return most;
}

/* Whatever comes and goes all the time says little about now: it counts half. It still counts, or whoever can make a detector
 * flap could silence it. */
static void weak_came(struct plan_weak *weak, int64_t now_us)
{
	if (now_us <= weak->until_us)
		return;
	weak->since_us = now_us;
	if (weak->comings == 0 || now_us - weak->counted_us > PLAN_FLAP_US) {
		weak->counted_us = now_us;
		weak->comings = 0;
	}
	weak->comings++;
	if (weak->comings >= PLAN_FLAPS || now_us < weak->damped_until_us)
		weak->damped_until_us = now_us + PLAN_FLAP_US;
}

/* The unusual has many innocent reasons, and whoever asks for much can cause it: only what two vantages see is more. */
static void window_weak(const struct plan *p, struct plan_window *window, const struct evidence *evidence)
{
	struct plan_weak *weak = &window->weak[evidence->finding - FINDING_WEAK_FIRST];
	uint32_t set;
	weak_came(weak, evidence->time_us);
	weak->vantage = evidence->vantage;
	weak->until_us = evidence->time_us + finding_lasts_us(evidence->finding);
	if (window->fell_compromised)
		return;
	if (weak_points(window, evidence->time_us, &set) < PLAN_POINTS_ENOUGH) {
		window->learnt = plan_is_damped(window, evidence->finding, evidence->time_us) ? 0 : lesson_enough(p, evidence);
		if (window->learnt)
			window_fall(window, evidence, true);
		return;
	}
	window_fall(window, evidence, true);
	for (enum finding f = FINDING_WEAK_FIRST; f < FINDING_MAX_; f++) {
		if (!(set >> (f - FINDING_WEAK_FIRST) & 1))
			continue;
		/* What is rolled back goes to before the first of them; but what has long been so is no sign of when. */
		int64_t since_us = weak_at(window, f)->since_us, longest_us = evidence->time_us - PLAN_FLAP_US;
		since_us = since_us > longest_us ? since_us : longest_us;
		window->fell_us = since_us < window->fell_us ? since_us : window->fell_us;
		if (f == evidence->finding)
			continue;
		window->beside = f;
		window->beside_vantage = weak_at(window, f)->vantage;
	}
}

void verdict_add(const struct plan *p, struct plan_window *window, const struct evidence *evidence)
{
	switch (finding_class(evidence->finding)) {
	case FINDING_CLASS_GOOD:
		window_shift(window, false, good_began_us(p, evidence));
		window->last_good_us = evidence->time_us;
		window->goods++;
		if (evidence->finding == FINDING_PROVEN)
			window->proven = true;
		break;
	case FINDING_CLASS_UNKNOWN:
		if (evidence->finding == FINDING_LATE)
			window->late_us = evidence->time_us;
		break;
	case FINDING_CLASS_COUNTED:
		window_miss(window, evidence, p->config.interval_us / 2);
		break;
	case FINDING_CLASS_DOUBT:
		window_doubt(window, evidence);
		break;
	case FINDING_CLASS_LASTING:
		window_doubt(window, evidence);
		window_silent(window, evidence);
		break;
	case FINDING_CLASS_AT_ONCE:
		window_fall(window, evidence, false);
		break;
	case FINDING_CLASS_COMPROMISE:
		window_fall(window, evidence, true);
		break;
	case FINDING_CLASS_WEAK:
		window_weak(p, window, evidence);
		break;
	}
}

/* Did all go well with the probes that began in this span, and something at all that did not begin only at its end? */
static bool window_clean(const struct plan_window *window, int64_t first_us, int64_t last_us, int64_t margin_us)
{
	uint32_t goods = 0;
	for (uint32_t age = 0; age < window->filled; age++) {
		if (window->began_us[age] < first_us || window->began_us[age] > last_us)
			continue;
		if (window->misses >> age & 1)
			return false;
		goods += window->began_us[age] <= last_us - margin_us;
	}
	return goods > 0;
}

/* Who else has answered between these times, and again since? 0: nobody. A host that came to a standstill in their midst let
 * others answer what they were asked before. */
static uint32_t verdict_contrast(const struct plan *p, const struct plan_instance *me, int64_t first_us, int64_t last_us)
{
	for (size_t i = 0; i < PLAN_INSTANCES_MAX; i++) {
		const struct plan_instance *other = &p->instances[i];
		if (other == me || other->number == 0 || (other->life != PLAN_LIFE_READY && other->life != PLAN_LIFE_DOOMED))
			continue;
		if (other->window.last_good_us >= last_us &&
		    window_clean(&other->window, first_us, last_us, p->config.interval_us / 2))
			return other->number;
	}
	return 0;
}

static uint32_t misses_in_row(const struct plan_window *window)
{
	uint32_t n = 0;
	while (n < window->filled && (window->misses >> n & 1))
		n++;
	return n;
}

/* So many misses without a good answer in between, and still somebody who answers late: that is no reason to leave him, unless
 * another one answered in time all the while and would serve better, whatever the cause. */
static bool verdict_row(const struct plan *p, const struct plan_instance *i, uint32_t enough, int64_t now_us)
{
	int64_t first_us = PLAN_NEVER, last_us = 0;
	for (uint32_t age = 0; age < enough; age++) {
		int64_t began_us = i->window.began_us[age];
		first_us = began_us < first_us ? began_us : first_us;
		last_us = began_us > last_us ? began_us : last_us;
	}
	if (i->window.late_us < first_us)
		return true;
	bool excused = p->busy || crowd_has(p, i, now_us);
	return (!excused || now_us - i->window.last_good_us >= PLAN_SLOW_US) && verdict_contrast(p, i, first_us, last_us) != 0;
}

/* The newest misses of the window, `config.failures` of them at most: more would only blur between when and when they were. */
struct misses {
	uint32_t probes, count;
	int64_t first_us, last_us;
};

static struct misses misses_of(const struct plan *p, const struct plan_instance *i)
{
	struct misses m = {.probes = p->config.window < i->window.filled ? p->config.window : i->window.filled,
	                   .first_us = PLAN_NEVER};
	for (uint32_t age = 0; age < m.probes && m.count < p->config.failures; age++) {
		int64_t began_us = i->window.began_us[age];
		if (!(i->window.misses >> age & 1))
			continue;
		m.count++;
		m.first_us = began_us < m.first_us ? began_us : m.first_us;
		m.last_us = began_us > m.last_us ? began_us : m.last_us;
	}
	return m;
}

static bool is_silent(const struct plan_instance *i, const struct misses *m)
{
	return i->window.late_us < m->first_us && i->window.last_good_us < m->last_us;
}

static uint32_t row_enough(const struct plan *p)
{
	return 8 * p->config.failures < 32 ? 8 * p->config.failures : 32;
}

/* k of n, and another one that answered what this one did not. */
static bool verdict_differs(const struct plan *p, const struct plan_instance *i)
{
	struct misses m = misses_of(p, i);
	return m.count >= p->config.failures && is_silent(i, &m) && !p->busy && verdict_contrast(p, i, m.first_us, m.last_us);
}

static bool verdict_missed(const struct plan *p, const struct plan_instance *i, int64_t now_us)
{
	if (verdict_differs(p, i) && !crowd_has(p, i, now_us))
		return true;
	return misses_in_row(&i->window) >= row_enough(p) && verdict_row(p, i, row_enough(p), now_us);
}

bool verdict_answered_since(const struct plan_instance *i, int64_t since_us)
{
	for (uint32_t age = 0; age < i->window.filled; age++)
		if (!(i->window.misses >> age & 1) && i->window.began_us[age] >= since_us)
			return true;
	return false;
}

/* Who else was asked since then, and has answered? */
static bool anybody_answers_since(const struct plan *p, const struct plan_instance *me, int64_t since_us)
{
	for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++) {
		const struct plan_instance *other = &p->instances[k];
		if (other == me || other->number == 0 || (other->life != PLAN_LIFE_READY && other->life != PLAN_LIFE_DOOMED))
			continue;
		if (verdict_answered_since(other, since_us))
			return true;
	}
	return false;
}

static bool verdict_silent(const struct plan *p, const struct plan_instance *i, int64_t now_us)
{
	const struct plan_silence *silence = &i->window.silence;
	bool lasts = silence->last_us > silence->first_us && now_us - silence->last_us <= PLAN_SILENCE_FRESH_US;
	bool answers = i->window.last_good_us >= silence->first_us || i->window.late_us >= silence->first_us;
	return lasts && !answers && !p->busy && anybody_answers_since(p, i, silence->first_us);
}

bool verdict_is_withheld(const struct plan *p, const struct plan_instance *i, int64_t now_us)
{
	return crowd_has(p, i, now_us) && (verdict_differs(p, i) || verdict_silent(p, i, now_us));
}

bool verdict_is_doubted(const struct plan *p, const struct plan_instance *i, int64_t now_us)
{
	const struct plan_doubt *doubt = &i->window.doubt;
	bool lasts = doubt->told_us > 0 && now_us - doubt->told_us <= PLAN_SILENCE_FRESH_US;
	bool answers = i->window.last_good_us >= doubt->began_us || i->window.late_us >= doubt->began_us;
	bool weighs = doubt->finding != FINDING_UNHEARD || doubt->told_us > doubt->first_us;
	return lasts && weighs && !answers && !p->busy;
}

static int64_t fresh_us(const struct plan *p)
{
	return p->config.interval_us * p->config.window + p->config.timeout_us;
}

enum plan_verdict verdict_of(const struct plan *p, const struct plan_instance *i, int64_t now_us)
{
	if (i->window.fell_compromised)
		return PLAN_COMPROMISED;
	bool silent = verdict_silent(p, i, now_us) && !crowd_has(p, i, now_us);
	if (i->window.fell_at_once || verdict_missed(p, i, now_us) || silent)
		return PLAN_FAILED;
	if (i->window.last_good_us == 0 || now_us - i->window.last_good_us > fresh_us(p))
		return PLAN_UNKNOWN;
	return PLAN_HEALTHY;
}

static uint32_t anybody_healthy(const struct plan *p, const struct plan_instance *but)
{
	for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++) {
		const struct plan_instance *other = &p->instances[k];
		if (other != but && other->number && other->life == PLAN_LIFE_READY && other->verdict == PLAN_HEALTHY)
			return other->number;
	}
	return 0;
}

void plan_why(const struct plan *p, const struct plan_instance *i, int64_t now_us, struct plan_why *ret_why)
{
	struct misses m = misses_of(p, i);
	uint32_t set;
	*ret_why = (struct plan_why){
	        .verdict = verdict_of(p, i, now_us),
	        .probes = m.probes,
	        .misses = m.count,
	        .in_row = misses_in_row(&i->window),
	        .row_enough = row_enough(p),
	        .contrast = m.count >= p->config.failures ? verdict_contrast(p, i, m.first_us, m.last_us) : anybody_healthy(p, i),
	        .silent = m.count > 0 && is_silent(i, &m),
	        .crowded = crowd_has(p, i, now_us),
	        .fresh_us = fresh_us(p),
	        .points = i->window.fell_compromised ? PLAN_POINTS_ENOUGH : weak_points(&i->window, now_us, &set),
	};
}
