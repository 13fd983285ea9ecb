/* See lessons.h. */
#include "engine/lessons.h"

#include "engine/engine.h"
#include "lib/bytes.h"
#include "lib/log.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define REPLACED "replace" /* the rung of whoever was not mended */

/* --- keys */

static void problem_say(struct lessons *all, const struct err *err)
{
	log_error("lessons.key", "%s", err->text);
	if (!all->problem[0])
		text_copy(all->problem, sizeof(all->problem), err->text);
}

void lessons_open(struct engine *e)
{
	struct lessons *all = &e->lessons;
	struct err err = {0};
	char folder[CONF_PATH_MAX + 16];
	conf_ledger_dir(e->conf.state_dir, folder);
	all->can_sign = lesson_key_open(folder, &all->key, &err) == 0;
	if (all->can_sign)
		lesson_trust_add(&all->trust, all->key.open);
	else
		problem_say(all, &err);
	for (size_t i = 0; i < e->conf.n_lessons_trust; i++)
		if (lesson_trust_file(&all->trust, e->conf.lessons_trust[i], &err) < 0)
			problem_say(all, &err);
}

/* --- which are known */

static bool is_known(const struct lessons *all, const struct lesson *lesson)
{
	for (size_t i = 0; i < all->n_known && i < LEDGER_LESSONS_KEPT; i++)
		if (all->known[i].incident == lesson->incident && strcmp(all->known[i].origin, lesson->origin) == 0)
			return true;
	return false;
}

static void know(struct lessons *all, const struct lesson *lesson)
{
	struct lesson_name *name = &all->known[all->n_known++ % LEDGER_LESSONS_KEPT];
	text_copy(name->origin, sizeof(name->origin), lesson->origin);
	name->incident = lesson->incident;
}

/* --- for the plans */

struct components {
	uint64_t bits[PLAN_COMPONENTS_MAX / 64];
};

static void components_find(const struct library *library, const struct lesson_components *from, struct components *ret)
{
	*ret = (struct components){0};
	for (size_t i = 0; i < from->n; i++) {
		int number = library_component(library, from->list[i]);
		if (number >= 0)
			ret->bits[number / 64] |= 1ull << (number % 64);
	}
}

static enum finding finding_of(const char *name, enum finding first)
{
	enum finding f = first;
	while (f < FINDING_MAX_ && strcmp(finding_name(f), name) != 0)
		f++;
	return f;
}

static enum vantage vantage_of(const char *name)
{
	enum vantage v = VANTAGE_PATH;
	while (v < VANTAGE_MAX_ && strcmp(vantage_name(v), name) != 0)
		v++;
	return v;
}

static bool is_own(const struct lessons *all, const struct lesson *lesson)
{
	return all->can_sign && strcmp(lesson->origin, all->key.id) == 0;
}

static struct plan_learnt learnt_of(const struct lesson *lesson)
{
	struct plan_learnt learnt = {
	        .incident = lesson->incident,
	        .finding = {finding_of(lesson->finding, FINDING_WEAK_FIRST), finding_of(lesson->beside, FINDING_WEAK_FIRST)},
	        .vantage = {vantage_of(lesson->vantage), vantage_of(lesson->beside_vantage)}};
	bool pair = learnt.finding[0] < FINDING_MAX_ && learnt.finding[1] < FINDING_MAX_;
	return pair && strcmp(lesson->verdict, plan_verdict_name(PLAN_COMPROMISED)) == 0 ? learnt : (struct plan_learnt){0};
}

static enum plan_rung rung_of(const char *name)
{
	enum plan_rung rung = PLAN_RUNG_NONE;
	while (++rung < PLAN_RUNG_REBUILD && strcmp(plan_rung_name(rung), name) != 0)
		;
	return rung < PLAN_RUNG_REBUILD ? rung : PLAN_RUNG_NONE;
}

/* Components are of all services; what is usual, and so what is weak, of one device's one service alone. */
static void teach(struct engine *e, const struct lesson *lesson, bool heard, bool spent)
{
	struct components victim, survivor;
	bool own = is_own(&e->lessons, lesson), taken_over = strcmp(lesson->verdict, plan_verdict_name(PLAN_COMPROMISED)) == 0;
	components_find(&e->library, &lesson->victim, &victim);
	components_find(&e->library, &lesson->survivor, &survivor);
	for (size_t i = 0; i < e->n_services; i++) {
		struct engine_service *s = &e->services[i];
		struct plan_event event = {.type = PLAN_EV_LESSON};
		event.lesson = (struct plan_lesson){
		        .victim = victim.bits,
		        .survivor = survivor.bits,
		        .age_us = clock_real_us() - lesson->learnt_s * 1000000,
		        .raise = heard && taken_over,
		        .warns = !own && taken_over,
		};
		if (heard && !own) {
			event.lesson.cause = finding_of(lesson->finding, FINDING_GOOD);
			event.lesson.helped = rung_of(lesson->rung);
		}
		if (own && !spent && strcmp(s->conf->name, lesson->service) == 0)
			event.lesson.learnt = learnt_of(lesson);
		service_step(s, &event);
	}
}

/* --- after a start */

static int take_row(void *arg, const struct ledger_lesson *row)
{
	struct lessons *all = arg;
	struct err err = {0};
	struct lesson *lesson = malloc(sizeof(*lesson));
	assert(lesson);
	if (lesson_parse(row->text, strlen(row->text), lesson, &err) < 0) {
		log_warning("lessons.row", "lesson %llu is passed over: %s", (unsigned long long)row->number, err.text);
		free(lesson);
		return 0;
	}
	know(all, lesson);
	if (all->n_young < LESSONS_YOUNG_MAX && row->expires_us > clock_real_us())
		all->young[all->n_young++] = lesson;
	else
		free(lesson);
	return 0;
}

int lessons_load(struct engine *e, struct ledger *l, struct err *err)
{
	struct lessons *all = &e->lessons;
	int r = ledger_lesson_each(l, LEDGER_LESSONS_KEPT, take_row, all, err);
	for (size_t i = 0; i < all->n_known / 2; i++) { /* the newest is to be forgotten last */
		struct lesson_name *other = &all->known[all->n_known - 1 - i], one = all->known[i];
		all->known[i] = *other;
		*other = one;
	}
	return r;
}

static bool is_of(const char *finding, const char *vantage, const struct lesson *pair)
{
	return (strcmp(finding, pair->finding) == 0 && strcmp(vantage, pair->vantage) == 0) ||
	       (strcmp(finding, pair->beside) == 0 && strcmp(vantage, pair->beside_vantage) == 0);
}

/* Half of its pair convicted by itself since, which nothing but a lesson makes it do. The young are sorted, the newest first. */
static bool is_spent(const struct engine *e, size_t index)
{
	const struct lessons *all = &e->lessons;
	const struct lesson *pair = all->young[index];
	for (size_t i = 0; i < index && pair->beside[0]; i++) {
		const struct lesson *since = all->young[i];
		if (is_own(all, since) && strcmp(since->service, pair->service) == 0 && !since->beside[0] &&
		    is_of(since->finding, since->vantage, pair))
			return true;
	}
	return false;
}

void lessons_world(struct engine *e)
{
	struct lessons *all = &e->lessons;
	for (size_t i = all->n_young; i-- > 0;) /* the newest last */
		teach(e, all->young[i], false, is_spent(e, i));
	for (size_t i = 0; i < all->n_young; i++)
		free(all->young[i]);
	all->n_young = 0;
}

/* --- learning */

static int verdict_work(struct ledger *l, void *arg, struct err *err)
{
	return ledger_verdict_put(l, arg, err);
}

static void components_print(const struct library_variant *variant, char *ret_text, size_t size)
{
	ret_text[0] = '\0';
	for (enum image_layer layer = IMAGE_KERNEL; variant && variant->image && layer <= IMAGE_RUNTIME; layer++) {
		const struct image_component *c = image_component(variant->image, layer);
		size_t used = strlen(ret_text);
		if (c)
			snprintf(ret_text + used, size - used, "%s %s %s\n", image_layer_name(layer), c->name, c->version);
	}
}

static const struct library_variant *variant_of(const struct engine_service *s, uint32_t variant)
{
	return variant < s->conf->n_variants ? library_find(&s->engine->library, s->conf->variants[variant]) : NULL;
}

void lessons_verdict(struct engine_service *s, const struct plan_note *note)
{
	const struct plan_instance *i = plan_find(&s->plan, note->instance);
	if (!note->incident)
		return;
	struct ledger_verdict *row = calloc(1, sizeof(*row));
	assert(row);
	row->incident = note->incident;
	text_copy(row->finding, sizeof(row->finding), finding_name(note->finding));
	text_copy(row->vantage, sizeof(row->vantage), vantage_name(note->vantage));
	if (note->beside != FINDING_GOOD) {
		text_copy(row->beside, sizeof(row->beside), finding_name(note->beside));
		text_copy(row->beside_vantage, sizeof(row->beside_vantage), vantage_name(note->beside_vantage));
	}
	components_print(variant_of(s, i ? i->variant : note->variant), row->victim, sizeof(row->victim));
	journal_put(s->engine->journal, verdict_work, NULL, row);
}

struct mended_job {
	uint64_t incident;
	char rung[16];
};

static int mended_work(struct ledger *l, void *arg, struct err *err)
{
	const struct mended_job *job = arg;
	return ledger_verdict_mended(l, job->incident, job->rung, err);
}

void lessons_mended(struct engine_service *s, const struct plan_note *note)
{
	struct mended_job *job = note->incident ? calloc(1, sizeof(*job)) : NULL;
	if (!job)
		return;
	job->incident = note->incident;
	text_copy(job->rung, sizeof(job->rung), plan_rung_name(note->rung));
	journal_put(s->engine->journal, mended_work, NULL, job);
}

/* A line each. */
static void components_read(const char *text, struct lesson_components *ret)
{
	ret->n = 0;
	for (size_t length; *text && ret->n < LESSON_COMPONENTS_MAX; text += length + (text[length] == '\n')) {
		length = strcspn(text, "\n");
		snprintf(ret->list[ret->n++], LESSON_COMPONENT_MAX, "%.*s", (int)length, text);
	}
}

struct close_job {
	struct engine *engine;
	struct ledger_incident row;
	struct lesson lesson;
	int64_t since_us;
	bool learnt;
};

static int take_source(void *arg, const struct ledger_containment *row)
{
	struct lesson *lesson = arg;
	bool cut = row->incident == lesson->incident && strcmp(row->state, "refused") != 0;
	if (cut && lesson->n_sources < LESSON_SOURCES_MAX && strlen(row->subject) < LESSON_SOURCE_MAX)
		text_copy(lesson->sources[lesson->n_sources++], LESSON_SOURCE_MAX, row->subject);
	return 0;
}

/* The layers that make "the same hole". */
static void avoid_text(const struct lesson_components *victim, char *ret_text, size_t size)
{
	text_copy(ret_text, size, victim->n ? "" : "what nobody knows");
	for (size_t i = 0; i < victim->n; i++) {
		size_t used = strlen(ret_text);
		if (strncmp(victim->list[i], "libc ", 5) != 0)
			snprintf(ret_text + used, size - used, "%s%s", used ? ", " : "", victim->list[i]);
	}
}

static int story_work(struct ledger *l, const struct close_job *job, struct err *err)
{
	const struct lesson *lesson = &job->lesson;
	struct ledger_step step = {.incident = job->row.number, .time_us = clock_real_us(), .since_us = job->since_us};
	char avoid[LEDGER_TEXT_MAX / 2], sources[32] = "";
	avoid_text(&lesson->victim, avoid, sizeof(avoid));
	bool mended = strcmp(lesson->rung, REPLACED) != 0;
	if (lesson->n_sources)
		snprintf(sources, sizeof(sources), "; cut off: %zu", lesson->n_sources);
	text_copy(step.phase, sizeof(step.phase), plan_phase_name(PLAN_CLOSED));
	text_copy(step.step, sizeof(step.step), "lesson");
	snprintf(step.text, sizeof(step.text), "learnt: %s%s%s; what worked: %s", mended ? "nothing is to be avoided" : "avoid ",
	         mended ? "" : avoid, sources, lesson->rung);
	return ledger_step_add(l, &step, err);
}

/* One that could not be read again (an image with odd letters in a version) is none. */
static bool row_fill(const struct lesson *lesson, bool own, struct ledger_lesson *ret_row)
{
	struct lesson again;
	struct err err = {0};
	auto_free char *text = lesson_print(lesson, true);
	*ret_row = (struct ledger_lesson){.incident = lesson->incident,
	                                  .own = own,
	                                  .learnt_us = lesson->learnt_s * 1000000,
	                                  .expires_us = lesson->expires_s * 1000000};
	text_copy(ret_row->text, sizeof(ret_row->text), text);
	text_copy(ret_row->origin, sizeof(ret_row->origin), lesson->origin);
	if (lesson_parse(text, strlen(text), &again, &err) == 0)
		return true;
	log_error("lessons.print", "incident %llu teaches nothing: %s", (unsigned long long)lesson->incident, err.text);
	return false;
}

/* All of it in the transaction that closes the incident. May run twice. */
static int close_work(struct ledger *l, void *arg, struct err *err)
{
	struct close_job *job = arg;
	struct lesson *lesson = &job->lesson;
	struct ledger_verdict verdict;
	struct err none = {0};
	struct ledger_lesson row;
	job->learnt = false;
	lesson->n_sources = 0;
	int r = ledger_incident_put(l, &job->row, err);
	if (r < 0 || ledger_verdict_get(l, job->row.number, &verdict, &none) < 0)
		return r; /* a planned one, or one of before there were lessons */
	if (!job->engine->lessons.can_sign)
		return ledger_verdict_end(l, job->row.number, err);
	text_copy(lesson->finding, sizeof(lesson->finding), verdict.finding);
	text_copy(lesson->vantage, sizeof(lesson->vantage), verdict.vantage);
	text_copy(lesson->beside, sizeof(lesson->beside), verdict.beside);
	text_copy(lesson->beside_vantage, sizeof(lesson->beside_vantage), verdict.beside_vantage);
	text_copy(lesson->rung, sizeof(lesson->rung), verdict.rung[0] ? verdict.rung : REPLACED);
	if (verdict.rung[0]) /* and serves again, made of the same */
		lesson->victim.n = lesson->survivor.n = 0;
	else
		components_read(verdict.victim, &lesson->victim);
	r = ledger_containment_each(l, LEDGER_CONTAINMENTS_KEPT, take_source, lesson, err);
	lesson_sign(lesson, &job->engine->lessons.key);
	bool good = row_fill(lesson, true, &row);
	if (r == 0 && good)
		r = ledger_lesson_put(l, &row, clock_real_us(), err);
	if (r == 0 && good)
		r = story_work(l, job, err);
	if (r == 0)
		r = ledger_verdict_end(l, job->row.number, err);
	job->learnt = r == 0 && good;
	return r;
}

static void close_done(void *arg, int status, const struct err *err unused_arg)
{
	auto_free struct close_job *job = arg;
	if (status < 0 || !job->learnt)
		return; /* the ledger's state says so */
	know(&job->engine->lessons, &job->lesson);
	log_notice("lessons.learnt", "incident %llu taught a lesson", (unsigned long long)job->row.number);
	teach(job->engine, &job->lesson, false, false); /* the fall itself made suspect what is */
}

void lessons_close(struct engine_service *s, const struct ledger_incident *row)
{
	struct close_job *job = calloc(1, sizeof(*job));
	const struct engine *e = s->engine;
	const struct plan_instance *active = plan_find(&s->plan, s->plan.target);
	struct lesson *lesson = &job->lesson;
	char survivor[800];
	assert(job);
	job->engine = s->engine;
	job->row = *row;
	job->since_us = row->first_evidence_us ? clock_monotonic_us() - row->first_evidence_us : 0;
	lesson->incident = row->number;
	lesson->learnt_s = clock_real_us() / 1000000;
	lesson->expires_s = lesson->learnt_s + e->conf.lessons_keep_ms / 1000;
	text_copy(lesson->device, sizeof(lesson->device), e->conf.device);
	text_copy(lesson->service, sizeof(lesson->service), row->service);
	text_copy(lesson->verdict, sizeof(lesson->verdict), row->verdict);
	if (active && row->active_before == row->victim && active->number != row->victim) {
		components_print(variant_of(s, active->variant), survivor, sizeof(survivor));
		components_read(survivor, &lesson->survivor);
	}
	journal_put(e->journal, close_work, close_done, job);
}

/* --- what others learnt */

static int take_work(struct ledger *l, void *arg, struct err *err)
{
	return ledger_lesson_put(l, arg, clock_real_us(), err);
}

static void take_write(struct engine *e, const struct lesson *lesson)
{
	struct ledger_lesson *row = calloc(1, sizeof(*row));
	assert(row);
	if (row_fill(lesson, is_own(&e->lessons, lesson), row))
		journal_put(e->journal, take_work, NULL, row);
	else
		free(row);
}

/* What it changes comes before its row: were it killed between, it is taken once more, and raising twice is raising once. */
int lessons_take(struct engine *e, const char *text, size_t size, struct lesson *ret_lesson, struct err *err)
{
	int r = lesson_parse(text, size, ret_lesson, err);
	if (r == 0)
		r = lesson_check(ret_lesson, &e->lessons.trust, clock_real_us() / 1000000, err);
	if (r < 0)
		return r;
	if (is_known(&e->lessons, ret_lesson))
		return err_set(err, -EALREADY, "lesson %llu of %s is known already", (unsigned long long)ret_lesson->incident,
		               ret_lesson->device);
	if (!e->ledger_writable)
		return err_set(err, -EROFS, "the ledger cannot be written: no lesson is taken now");
	if (!e->world_known)
		return err_set(err, -EROFS, "the world is still being read: no lesson is taken before");
	log_notice("lessons.taken", "lesson %llu of %s (%s of %s) is taken", (unsigned long long)ret_lesson->incident,
	           ret_lesson->device, ret_lesson->verdict, ret_lesson->service);
	know(&e->lessons, ret_lesson);
	teach(e, ret_lesson, true, false);
	take_write(e, ret_lesson);
	return 0;
}
