/* See wanted.h. Which image is for the plan to say (plan_wanted_variant); here it is told, and looked for. */
#include "engine/wanted.h"

#include "engine/engine.h"
#include "lib/bytes.h"
#include "lib/log.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STEADY_LOOKS 3u      /* in the middle of a switch it may be another one for a moment */
#define PAUSE_US 600000000ll /* after a build that failed; doubled each time */
#define PAUSES_MAX 6u
#define FAILED_MAX 512u

/* --- what has come */

static void look(struct engine *e)
{
	if (!library_look(&e->library, &e->conf))
		return;
	for (size_t s = 0; s < e->n_services; s++) {
		struct plan_event event = {.type = PLAN_EV_TIME};
		service_variants(&e->services[s]);
		service_step(&e->services[s], &event);
	}
}

static void pause_build(struct engine_service *s, const char *name, int64_t now_us)
{
	for (size_t v = 0; v < s->conf->n_variants; v++) {
		struct plan_variant *variant = &s->plan.variants[v];
		if (strcmp(s->conf->variants[v], name) != 0 || variant->usable || !variant->buildable)
			continue;
		uint32_t shift = variant->failures < PAUSES_MAX ? variant->failures : PAUSES_MAX;
		variant->failures++;
		variant->not_before_us = now_us + (PAUSE_US << shift);
	}
}

/* "NAME\nSENTENCE\n". It lies in root's folder, but nothing of it is believed that cannot be checked. */
static bool parse_failed(struct engine *e, char *text)
{
	struct wanted *w = &e->wanted;
	char *why = strchr(text, '\n');
	if (!why)
		return false;
	*why++ = '\0';
	why[strcspn(why, "\n")] = '\0';
	const struct library_variant *v = library_find(&e->library, text);
	if (!v || !v->combination)
		return false;
	text_copy(w->failed, sizeof(w->failed), text);
	text_copy(w->why, sizeof(w->why), why);
	return true;
}

static void look_for_failure(struct engine *e, int64_t now_us)
{
	struct wanted *w = &e->wanted;
	struct stat status;
	char path[PATH_MAX];
	auto_free uint8_t *bytes = NULL;
	size_t size;
	snprintf(path, sizeof(path), "%s/" WANTED_FAILED, e->conf.image_dir);
	int64_t at_ns = stat(path, &status) == 0 ? status.st_mtim.tv_sec * 1000000000 + status.st_mtim.tv_nsec : 0;
	if (at_ns == w->failed_ns)
		return;
	w->failed_ns = at_ns;
	w->failed[0] = w->why[0] = '\0';
	if (at_ns == 0 || file_read(path, FAILED_MAX, &bytes, &size, NULL) < 0 || !parse_failed(e, (char *)bytes))
		return;
	log_warning("engine.wanted", "an image of %s could not be built: %s", w->failed, w->why);
	for (size_t s = 0; s < e->n_services; s++)
		pause_build(&e->services[s], w->failed, now_us);
}

/* --- what is wanted */

static const char *choose(const struct engine *e, int64_t now_us)
{
	for (size_t s = 0; s < e->n_services; s++) {
		uint32_t v = plan_wanted_variant(&e->services[s].plan, now_us);
		if (v != UINT32_MAX)
			return e->services[s].conf->variants[v];
	}
	return "";
}

struct tell_job {
	struct engine *engine;
	char path[PATH_MAX];
	char name[CONF_NAME_MAX];
};

/* On the ledger's thread: a disk may take its time. */
static int tell_work(unused_arg struct ledger *l, void *arg, struct err *err)
{
	const struct tell_job *job = arg;
	char line[CONF_NAME_MAX + 2];
	int size = snprintf(line, sizeof(line), "%s\n", job->name);
	if (job->name[0])
		return file_write(job->path, line, (size_t)size, 0644, err);
	if (unlink(job->path) < 0 && errno != ENOENT)
		return err_set(err, -errno, "%s: cannot be removed: %s", job->path, strerror(errno));
	return 0;
}

static void tell_done(void *arg, int status, const struct err *err)
{
	auto_free struct tell_job *job = arg;
	struct wanted *w = &job->engine->wanted;
	bool was_fine = !w->problem[0];
	w->writing = false;
	w->told = status == 0;
	text_copy(w->problem, sizeof(w->problem), status < 0 ? err->text : "");
	if (status < 0 && was_fine)
		log_error("engine.wanted", "nobody can be told which image is wanted: %s", err->text);
}

static void tell(struct engine *e, const char *name, int64_t now_us)
{
	struct wanted *w = &e->wanted;
	char folder[CONF_PATH_MAX + 16];
	if (strcmp(w->name, name) != 0 && name[0])
		log_notice("engine.wanted",
		           "%s would be better beside what serves than anything that is there: its image is wanted", name);
	if (strcmp(w->name, name) != 0)
		w->since_us = now_us;
	text_copy(w->name, sizeof(w->name), name);
	struct tell_job *job = calloc(1, sizeof(*job));
	assert(job);
	job->engine = e;
	conf_ledger_dir(e->conf.state_dir, folder);
	snprintf(job->path, sizeof(job->path), "%s/" WANTED_FILE, folder);
	text_copy(job->name, sizeof(job->name), name);
	w->writing = true;
	journal_ask(e->journal, tell_work, tell_done, job);
}

void wanted_pulse(struct engine *e)
{
	struct wanted *w = &e->wanted;
	int64_t now_us = clock_monotonic_us();
	if (!e->world_known)
		return;
	look(e);
	look_for_failure(e, now_us);
	const char *name = choose(e, now_us);
	w->looks = strcmp(name, w->candidate) == 0 ? w->looks + 1 : 1;
	text_copy(w->candidate, sizeof(w->candidate), name);
	bool changed = !w->told || strcmp(name, w->name) != 0;
	if (changed && !w->writing && w->looks >= STEADY_LOOKS)
		tell(e, name, now_us);
}
