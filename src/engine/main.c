/*
 * koboshi-engine: the only program that decides. This file puts its parts together and confines the process; it knows
 * them all, and nothing else does.
 *
 * The configuration is read once. SIGHUP reads it again: a file with an error changes nothing; a good one ends this
 * process, and the supervisor starts it anew with the new configuration. Guests and rules stay as they are meanwhile, and
 * what a restart has to do is what it must be able to do after any crash, so there is no second way.
 */
#include "engine/api.h"
#include "engine/start.h"

#include "lib/bytes.h"
#include "lib/log.h"
#include "lib/sandbox.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <libgen.h>
#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>

#define PULSE_MS 100
#define PROGRESS_BEATS 5 /* one report to the supervisor in so many pulses */
#define LEDGER_BEATS 50  /* one try in so many pulses to open a ledger that could not be opened */
#define BLIND_US 1000000 /* how long senses count as lost after the loop was late */

/* --- pulse */

static void words_add(struct engine_words *words, int64_t time_us, const char *text)
{
	size_t slot = words->count++ % ENGINE_WORDS_MAX;
	words->last[slot].time_us = time_us;
	text_copy(words->last[slot].text, sizeof(words->last[slot].text), text);
}

/* A loop that was not turned for long, or a clock that was set, has seen nothing in between: what probes found around then
 * says more about this host than about the guests. */
static void check_senses(struct engine *e, int64_t now_us)
{
	int64_t late_us = now_us - e->last_turn_us - PULSE_MS * 1000;
	int64_t offset_us = clock_real_us() - now_us, step_us = offset_us - e->clock_offset_us;
	bool stepped = step_us > 500000 || step_us < -500000;
	e->last_turn_us = now_us;
	e->clock_offset_us = offset_us;
	if (late_us > (int64_t)e->conf.freeze_ms * 1000 || stepped) {
		char text[WIRE_TEXT_MAX];
		snprintf(text, sizeof(text), "%s %lld ms", stepped ? "the clock was set by" : "this process stood still for",
		         (long long)((stepped ? step_us : late_us) / 1000));
		words_add(&e->lapses, now_us, text);
		log_warning("engine.blind", "%s: observing only for a while", text);
		e->blind_until_us = now_us + BLIND_US;
		if (stepped) {
			contain_clock_set(e);
			hold_clock_set(e);
		}
		if (!e->blind)
			engine_tell_all(e, PLAN_EV_SENSES, true);
		e->blind = true;
	} else if (e->blind && now_us >= e->blind_until_us) {
		log_notice("engine.sees", "senses are back");
		e->blind = false;
		engine_tell_all(e, PLAN_EV_SENSES, false);
	}
}

static void ledger_try_again(struct engine *e);

static void on_pulse(uv_timer_t *timer)
{
	struct engine *e = timer->data;
	int64_t now_us = clock_monotonic_us(), late_us = now_us - e->last_turn_us - PULSE_MS * 1000;
	check_senses(e, now_us);
	bool busy = pressure_sample(&e->pressure, now_us, late_us);
	if (busy != e->busy) {
		e->busy = busy;
		engine_tell_all(e, PLAN_EV_BUSY, busy);
	}
	agents_pulse(e);
	carry_pulse(e, now_us);
	contain_pulse(e);
	cut_pulse(e, now_us);
	hold_pulse(e);
	journal_check(e->journal, now_us);
	e->beats++;
	senses_pulse(e);
	if (e->beats % PROGRESS_BEATS == 0)
		hands_progress(e->hands, e->beats);
	if (e->start && (e->beats % 10 == 0 || start_waits(e)))
		start_actuator_ready(e, WIRE_SUPERVISOR);
	if (e->beats % 10 == 0) {
		start_judge(e, now_us);
		wanted_pulse(e);
		engine_fetch_number(e); /* also how a ledger that could not be written is tried again */
	}
	if (e->ledger_lost && e->beats % LEDGER_BEATS == 0)
		ledger_try_again(e);
}

static void on_ledger_state(void *arg, bool writable, const char *why)
{
	struct engine *e = arg;
	if (e->ledger_lost)
		return; /* what can be written then is a stand-in in memory, which proves nothing */
	e->ledger_writable = writable;
	snprintf(e->ledger_problem, sizeof(e->ledger_problem), "%s", why);
	if (writable)
		log_notice("engine.ledger", "the ledger can be written again");
	else
		log_error("engine.ledger",
		          "the ledger cannot be written (%s): the service is watched and steered, nothing is built or destroyed",
		          why);
	for (size_t i = 0; i < e->n_services && writable; i++)
		follow_again(&e->services[i]);
	engine_tell_all(e, PLAN_EV_LEDGER, !writable);
}

/* --- what the actuators say */

static const struct {
	enum wire_notice notice;
	enum finding finding;
} guest_findings[] = {
        {NOTICE_GUEST_PANICKED, FINDING_PANICKED}, {NOTICE_GUEST_GONE, FINDING_GONE},
        {NOTICE_GUEST_PAUSED, FINDING_PAUSED},     {NOTICE_GUEST_RESET, FINDING_RESET},
        {NOTICE_GUEST_IO_ERROR, FINDING_IO_ERROR}, {NOTICE_GUEST_WATCHDOG, FINDING_WATCHDOG},
};

static void guest_event(struct engine *e, const struct wire_note *note)
{
	struct engine_service *s = service_of_instance(e, note->instance);
	for (size_t k = 0; s && k < countof(guest_findings); k++) {
		if (guest_findings[k].notice != note->type)
			continue;
		struct evidence evidence = {.time_us = note->time_us,
		                            .instance = note->instance,
		                            .vantage = VANTAGE_HYPERVISOR,
		                            .finding = guest_findings[k].finding,
		                            .began_us = note->time_us};
		service_found(s, &evidence, note->text);
	}
}

/* Only of whoever is at work: a start is not like any other time. */
static void guest_usage(struct engine *e, const struct wire_note *note)
{
	static const enum finding findings[USAGE_FEATURES] = {
	        [USAGE_CPU] = FINDING_BUSY, [USAGE_SENT] = FINDING_FLOODING, [USAGE_DISK] = FINDING_WRITING};
	struct engine_service *s = service_of_instance(e, note->instance);
	const struct plan_instance *p = s ? plan_find(&s->plan, note->instance) : NULL;
	struct engine_instance *i = s ? service_instance(s, note->instance) : NULL;
	if (!p || !i || p->life != PLAN_LIFE_READY)
		return;
	struct usage_alarm alarm;
	usage_add(&i->usage,
	          &(struct usage_sample){.time_us = note->time_us,
	                                 .cpu_us = note->usage.cpu_us,
	                                 .sent_bytes = note->usage.sent_bytes,
	                                 .received_packets = note->usage.received_packets,
	                                 .read_bytes = note->usage.read_bytes,
	                                 .written_bytes = note->usage.written_bytes},
	          !e->busy, &alarm);
	for (enum usage_feature f = USAGE_CPU; f < USAGE_FEATURES; f++) {
		struct evidence evidence = {.time_us = note->time_us,
		                            .instance = note->instance,
		                            .vantage = VANTAGE_HYPERVISOR,
		                            .finding = findings[f],
		                            .began_us = note->time_us};
		if (alarm.told[f])
			service_found(s, &evidence, alarm.text[f]);
	}
}

#define SAYS(role) (1u << (role))

/* Who has a say in what. Some of them talk to hostile guests or read their files and may have been taken over: what is not
 * theirs, they cannot say. */
static bool may_say(enum wire_role role, const struct wire_note *note)
{
	static const unsigned by_notice[NOTICE_MAX_] = {
	        [NOTICE_READY] = ~0u,
	        [NOTICE_TROUBLE] = SAYS(WIRE_NET) | SAYS(WIRE_VM),
	        [NOTICE_MEDDLED] = SAYS(WIRE_NET) | SAYS(WIRE_VM) | SAYS(WIRE_HOST),
	        [NOTICE_PROFILE] = SAYS(WIRE_NET),
	        [NOTICE_RESCUE] = SAYS(WIRE_NET),
	        [NOTICE_TARPIT] = SAYS(WIRE_DECOY),
	        [NOTICE_FILE_BAD] = SAYS(WIRE_SCAN),
	        [NOTICE_FILE_UNKNOWN] = SAYS(WIRE_SCAN),
	        [NOTICE_FILE_SKIPPED] = SAYS(WIRE_SCAN),
	        [NOTICE_FILE_TROUBLE] = SAYS(WIRE_SCAN),
	        [NOTICE_FILE_COUNTS] = SAYS(WIRE_SCAN),
	        [NOTICE_GUEST_STARTED] = SAYS(WIRE_VM),
	        [NOTICE_GUEST_PAUSED] = SAYS(WIRE_VM),
	        [NOTICE_GUEST_RESUMED] = SAYS(WIRE_VM),
	        [NOTICE_GUEST_PANICKED] = SAYS(WIRE_VM),
	        [NOTICE_GUEST_GONE] = SAYS(WIRE_VM),
	        [NOTICE_GUEST_RESET] = SAYS(WIRE_VM),
	        [NOTICE_GUEST_USAGE] = SAYS(WIRE_VM),
	        [NOTICE_GUEST_IO_ERROR] = SAYS(WIRE_VM),
	        [NOTICE_GUEST_WATCHDOG] = SAYS(WIRE_VM),
	        [NOTICE_GUEST_CHANNEL] = SAYS(WIRE_VM),
	        [NOTICE_EVIDENCE_TAKEN] = SAYS(WIRE_VM),
	        [NOTICE_EVIDENCE_DROPPED] = SAYS(WIRE_VM),
	        [NOTICE_VAULT] = SAYS(WIRE_VAULT),
	        [NOTICE_SNAPSHOT] = SAYS(WIRE_VAULT),
	        [NOTICE_CHANGE] = SAYS(WIRE_VAULT),
	        [NOTICE_GUEST_SECRET] = SAYS(WIRE_VM),
	        [NOTICE_GUEST_CARRIED] = SAYS(WIRE_VM),
	};
	return by_notice[note->type] & SAYS(role);
}

static void on_notice(void *arg, enum wire_role role, const struct wire_note *note, int *fds, size_t n_fds)
{
	struct engine *e = arg;
	size_t taken = 0;
	if (!may_say(role, note)) {
		log_warning("engine.notice", "%s said what it has no say in: %s", wire_role_name(role),
		            wire_notice_name((enum wire_notice)note->type));
	} else if (note->type == NOTICE_TARPIT) {
		e->decoys.tarpit = note->tarpit;
	} else if (note->type == NOTICE_READY) {
		e->trouble[role][0] = '\0';
		log_info("engine.ready", "%s is ready%s%s", wire_role_name(role), note->text[0] ? ": " : "", note->text);
		if (role == WIRE_VM && note->accelerator)
			e->accelerator = note->accelerator;
		if (role == WIRE_NET && n_fds >= 1) {
			senses_wire(e, fds[0], n_fds >= 2 ? fds[1] : -1);
			taken = n_fds >= 2 ? 2 : 1;
		}
		if (role == WIRE_SCAN)
			files_ready(e);
		if (role == WIRE_VAULT)
			vault_lost(e);
		if (role == WIRE_NET)
			contain_again(e);
		start_actuator_ready(e, role);
	} else if (note->type == NOTICE_TROUBLE) {
		text_copy(e->trouble[role], sizeof(e->trouble[role]), note->text);
	} else if (note->type == NOTICE_MEDDLED) {
		words_add(&e->meddled, note->time_us, note->text);
		if (role == WIRE_NET) /* what it put back has no containment in it */
			contain_again(e);
		log_warning("engine.meddled", "%s", note->text);
	} else if (note->type == NOTICE_PROFILE) {
		if (note->service < e->n_services)
			text_copy(e->services[note->service].profile_problem, WIRE_TEXT_MAX, note->text);
	} else if (note->type == NOTICE_RESCUE) {
		text_copy(e->rescue_problem, sizeof(e->rescue_problem), note->text);
	} else if (note->type == NOTICE_GUEST_CHANNEL) {
		if (n_fds > 0)
			agents_connected(e, note, fds[taken++]);
	} else if (note->type == NOTICE_GUEST_USAGE) {
		guest_usage(e, note);
	} else if (note->type == NOTICE_EVIDENCE_TAKEN || note->type == NOTICE_EVIDENCE_DROPPED) {
		record_notice(e, note);
	} else if (role == WIRE_VAULT) {
		vault_notice(e, note);
	} else if (note->type == NOTICE_GUEST_SECRET) {
		secrets_told(e, note);
	} else if (note->type == NOTICE_GUEST_CARRIED) {
		carry_told(e, note);
	} else if (role == WIRE_SCAN) {
		files_notice(e, note);
	} else {
		guest_event(e, note);
	}
	for (; taken < n_fds; taken++)
		close(fds[taken]);
}

static void on_answer(void *arg, const struct hands_cookie *cookie, const struct wire_order *order,
                      const struct wire_answer *answer)
{
	struct engine *e = arg;
	bool fenced = order->type == ORDER_NET_GATE && order->gate == WIRE_GATE_FENCED;
	bool cuts = fenced || order->type == ORDER_NET_CUT || (order->type == ORDER_NET_STEER && order->victim);
	if (cuts && answer->status == 0)
		sense_flows_cut(e->flows, order->type == ORDER_NET_STEER ? order->victim : order->instance);
	if (order->type == ORDER_NET_OBSERVE || order->type == ORDER_VM_OBSERVE)
		start_answer(e, order, answer);
	else if (order->type == ORDER_NET_CONTAIN)
		contain_answer(e, order, answer);
	else if (order_role((enum order_type)order->type) == WIRE_VAULT && !cookie->ticket)
		vault_answered(e, order, answer);
	else if (order->type == ORDER_VM_CHANNEL)
		agents_answered(e, order, answer);
	else if (cookie->service < e->n_services)
		service_answer(&e->services[cookie->service], cookie, order, answer);
	if (start_waits(e)) /* it may have been the last one that was waited for */
		start_actuator_ready(e, WIRE_SUPERVISOR);
}

static void on_lost(void *arg, enum wire_role role)
{
	struct engine *e = arg;
	if (role == WIRE_DECOY)
		e->decoys.tarpit = (struct wire_tarpit){0};
	log_warning("engine.lost", "%s is away; guests and rules stay as they are", wire_role_name(role));
}

static const struct hands_events events = {.answer = on_answer, .notice = on_notice, .lost = on_lost};

/* --- signals */

/* What koboshid made when it started: another needs another koboshid. */
static int check_place(const struct engine *e, const struct conf *fresh, struct err *err)
{
	const struct {
		const char *key, *old, *fresh;
	} fixed[] = {
	        {"user", e->conf.user, fresh->user},
	        {"paths.run", e->conf.run_dir, fresh->run_dir},
	        {"paths.state", e->conf.state_dir, fresh->state_dir},
	};
	for (size_t i = 0; i < countof(fixed); i++)
		if (strcmp(fixed[i].old, fixed[i].fresh) != 0)
			return err_set(err, -EINVAL, "%s: '%s' changed from %s to %s, which needs a restart of koboshid",
			               e->conf_path, fixed[i].key, fixed[i].old, fixed[i].fresh);
	return 0;
}

static void on_hangup(uv_signal_t *signal, int number)
{
	struct engine *e = signal->data;
	(void)number;
	struct conf *fresh = calloc(1, sizeof(*fresh)); /* compared whole: the bytes between the fields too */
	struct err err = {0};
	assert(fresh);
	if (conf_load(e->conf_path, fresh, &err) < 0 || check_place(e, fresh, &err) < 0) {
		log_error("engine.reload", "the new configuration is not taken, the old one stays: %s", err.text);
		snprintf(e->reload_problem, sizeof(e->reload_problem), "%s", err.text);
		/* NOLINTNEXTLINE(*-memory-comparison,cert-*): both were zeroed; differing padding costs one restart */
	} else if (memcmp(fresh, &e->conf, sizeof(*fresh)) == 0) {
		log_notice("engine.reload", "the configuration says what it said before");
		e->reload_problem[0] = '\0';
	} else {
		log_notice("engine.reload", "the configuration changed: starting anew with it");
		uv_stop(e->loop);
	}
	free(fresh);
}

static void on_terminate(uv_signal_t *signal, int number)
{
	struct engine *e = signal->data;
	(void)number;
	uv_stop(e->loop);
}

/* --- putting together */

static void read_boot_id(struct engine *e)
{
	uint8_t *bytes;
	size_t size;
	if (file_read("/proc/sys/kernel/random/boot_id", 64, &bytes, &size, NULL) < 0)
		return;
	bytes[strcspn((char *)bytes, "\n")] = '\0';
	text_copy(e->boot_id, sizeof(e->boot_id), (char *)bytes);
	free(bytes);
}

static void add_unproven(struct engine *e, const char *line)
{
	if (e->n_unproven < countof(e->unproven))
		text_copy(e->unproven[e->n_unproven++], sizeof(e->unproven[0]), line);
}

static int confine(struct engine *e, struct err *err)
{
	static char conf_folder[PATH_MAX], drop_ins[PATH_MAX], ledger[CONF_PATH_MAX + 16];
	char copy[PATH_MAX];
	struct sandbox_report report = {0};
	text_copy(copy, sizeof(copy), e->conf_path);
	text_copy(conf_folder, sizeof(conf_folder), dirname(copy));
	snprintf(drop_ins, sizeof(drop_ins), "%s.d", e->conf_path);
	conf_ledger_dir(e->conf.state_dir, ledger);
	struct sandbox wanted = {
	        .user = NULL, /* the supervisor has changed it already */
	        .paths = {{ledger, true},
	                  {conf_folder, false},
	                  {drop_ins, false},
	                  {e->conf.run_dir, false},
	                  {"/proc", false},
	                  {"/dev/urandom", false},
	                  {"/etc/localtime", false},
	                  {e->conf.image_dir, false},
	                  {e->conf.image_key, false}},
	        .n_paths = 9,
	        .limit_connect = true, /* to what is probed, nowhere else */
	        .violation = SANDBOX_DENY,
	};
	for (size_t i = 0; i < e->conf.n_services; i++)
		if (e->conf.services[i].probe.protocol != CONF_PROBE_UDP)
			wanted.connect_ports[wanted.n_connect_ports++] = e->conf.services[i].probe.port;
	int r = sandbox_apply(&wanted, &report, err);
	for (size_t i = 0; i < report.n_lines; i++)
		add_unproven(e, report.lines[i]);
	char *told = getenv("KOBOSHI_UNPROVEN"); /* by the supervisor, a sentence a line */
	for (char *line; told && (line = strsep(&told, "\n"));)
		add_unproven(e, line);
	return r;
}

/* A device without its notebook is still better watched and steered than left alone: see `ledger_lost`. */
static int ledger_stand_in(struct engine *e, const struct err *why, struct ledger **ret_ledger, struct err *err)
{
	char because[LEDGER_TEXT_MAX];
	log_error("engine.ledger", "%s: the service is watched and steered, nothing is built or destroyed", why->text);
	text_copy(e->ledger_problem, sizeof(e->ledger_problem), why->text);
	e->ledger_lost = true;
	e->ledger_writable = false;
	return ledger_open(":memory:", ret_ledger, because, err);
}

static void ledger_path(const struct engine *e, char ret_path[static PATH_MAX])
{
	char folder[CONF_PATH_MAX + 16];
	conf_ledger_dir(e->conf.state_dir, folder);
	snprintf(ret_path, PATH_MAX, "%s/ledger.db", folder);
}

static int ledger_start(struct engine *e, struct err *err)
{
	char path[PATH_MAX], fresh_because[LEDGER_TEXT_MAX] = "";
	struct ledger *l;
	struct err why = {0};
	ledger_path(e, path);
	int r = ledger_open(path, &l, fresh_because, &why);
	if (r < 0)
		r = ledger_stand_in(e, &why, &l, err);
	if (r < 0)
		return r;
	if (fresh_because[0]) {
		log_error("engine.ledger", "%s", fresh_because);
		text_copy(e->ledger_problem, sizeof(e->ledger_problem), fresh_because);
	}
	r = start_begin(e, l, fresh_because[0] != '\0', err);
	if (r < 0) {
		ledger_close(l);
		return r;
	}
	e->journal = journal_new(e->loop, l, on_ledger_state, e);
	return 0;
}

struct reopen_job {
	struct engine *engine;
	char path[PATH_MAX];
};

/* On the ledger's thread: may the real one be opened now? */
static int reopen_work(unused_arg struct ledger *l, void *arg, struct err *err)
{
	struct reopen_job *job = arg;
	struct ledger *real;
	char fresh_because[LEDGER_TEXT_MAX];
	int r = ledger_open(job->path, &real, fresh_because, err);
	if (r == 0)
		ledger_close(real);
	return r;
}

static void reopen_done(void *arg, int status, unused_arg const struct err *err)
{
	auto_free struct reopen_job *job = arg;
	if (status < 0)
		return;
	log_notice("engine.ledger", "the ledger can be opened again: starting anew with it");
	uv_stop(job->engine->loop);
}

static void ledger_try_again(struct engine *e)
{
	struct reopen_job *job = calloc(1, sizeof(*job));
	assert(job);
	job->engine = e;
	ledger_path(e, job->path);
	journal_ask(e->journal, reopen_work, reopen_done, job);
}

static int engine_start(struct engine *e, struct err *err)
{
	int r = conf_load(e->conf_path, &e->conf, err);
	if (r < 0)
		return r;
	e->loop = uv_default_loop();
	e->ledger_writable = true;
	e->started_us = e->last_turn_us = clock_monotonic_us();
	e->clock_offset_us = clock_real_us() - e->started_us; /* the ledger's times are read by it */
	read_boot_id(e);
	library_load(&e->library, &e->conf);
	pressure_open(&e->pressure);
	lessons_open(e);
	int links = sense_carrier_open(); /* the sandbox lets nobody open one */
	r = confine(e, err);              /* before the first thread */
	if (r < 0)
		return r;
	if (links < 0)
		add_unproven(e, "links are not watched: no rtnetlink socket");
	senses_open(e, links);
	e->n_services = e->conf.n_services;
	for (uint32_t i = 0; i < e->n_services; i++)
		service_init(&e->services[i], e, i);
	uv_timer_init(e->loop, &e->timer);
	uv_timer_init(e->loop, &e->pulse);
	e->timer.data = e->pulse.data = e;
	r = ledger_start(e, err);
	if (r < 0)
		return r;
	e->hands = hands_new(e->loop, WIRE_SUPERVISOR_FD, &events, e);
	e->api = api_new(e, WIRE_API_FD, err);
	if (!e->api)
		return err->code;
	if (e->ledger_lost)
		engine_tell_all(e, PLAN_EV_LEDGER, true);
	else
		follow_prune(e);
	uv_timer_start(&e->pulse, on_pulse, PULSE_MS, PULSE_MS);
	malloc_trim(0); /* what reading manifests and configuration took */
	return 0;
}

static const char *options(int argc, char **argv)
{
	static const struct option table[] = {{"config", required_argument, NULL, 'c'}, {0}};
	const char *path = NULL;
	for (int c; (c = getopt_long(argc, argv, "c:", table, NULL)) != -1;)
		if (c == 'c')
			path = optarg;
	return path;
}

int main(int argc, char **argv)
{
	static struct engine engine;
	struct err err = {0};
	log_init("koboshi-engine", LOG_LEVEL_INFO);
	mallopt(M_ARENA_MAX, 1); /* the ledger's thread allocates little and seldom: a heap of its own would only be memory */
	engine.conf_path = options(argc, argv);
	if (!engine.conf_path) {
		fprintf(stderr, "koboshi-engine: is started by koboshid, with --config FILE\n");
		return 2;
	}
	if (engine_start(&engine, &err) < 0) {
		log_error("engine.start", "%s", err.text);
		return 1;
	}
	uv_signal_t hangup, terminate;
	uv_signal_init(engine.loop, &hangup);
	uv_signal_init(engine.loop, &terminate);
	hangup.data = terminate.data = &engine;
	uv_signal_start(&hangup, on_hangup, SIGHUP);
	uv_signal_start(&terminate, on_terminate, SIGTERM);
	signal(SIGPIPE, SIG_IGN);
	uv_run(engine.loop, UV_RUN_DEFAULT);
	api_free(engine.api);
	journal_free(engine.journal); /* what was decided is on disk before we go */
	return 0;
}
