/* What is now: the device, its services and instances, the variants and what they have in common. */
#include "engine/report.h"

#include "lib/bytes.h"

#include <arpa/inet.h>
#include <assert.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define SILENT_US 3000000 /* an actuator that owes an answer is spoken of from then on */
#define MOVED_OFTEN 3     /* times; once is chance */
#define MUTE_US 10000000  /* an agent that is not heard for so long is a reason not to say "ok" */

json_t *report_text(const char *text)
{
	json_t *json = json_string(text);
	if (json)
		return json;
	char *copy = strdup(text); /* cut in the middle of a letter, most likely */
	assert(copy);
	for (char *c = copy; *c; c++)
		if (*c & 0x80)
			*c = '?';
	json = json_string(copy);
	free(copy);
	assert(json);
	return json;
}

/* --- processes: as the supervisor wrote them down */

static int rss_kb(int pid)
{
	char path[64];
	uint8_t *bytes;
	size_t size;
	long pages = 0;
	snprintf(path, sizeof(path), "/proc/%d/statm", pid);
	if (file_read(path, 256, &bytes, &size, NULL) < 0)
		return 0;
	sscanf((char *)bytes, "%*s %ld", &pages);
	free(bytes);
	return (int)(pages * (sysconf(_SC_PAGESIZE) / 1024));
}

static json_t *processes(const struct engine *e)
{
	char path[PATH_MAX];
	uint8_t *bytes;
	size_t size;
	json_t *list = json_array();
	snprintf(path, sizeof(path), "%s/processes", e->conf.run_dir);
	if (file_read(path, 4096, &bytes, &size, NULL) < 0)
		return list;
	char *rest = (char *)bytes, role[16], last[33];
	int pid, restarts;
	for (char *line; (line = strsep(&rest, "\n"));)
		if (sscanf(line, "%15s %d %d %*d %32s", role, &pid, &restarts, last) == 4)
			json_array_append_new(list, json_pack("{s:o, s:i, s:i, s:o, s:i}", "role", report_text(role), "pid", pid,
			                                      "restarts", restarts, "last_exit", report_text(last), "rss_kb",
			                                      pid ? rss_kb(pid) : 0));
	free(bytes);
	return list;
}

/* --- instances and services */

/* Of one that is not built its recipe's list says it. */
static json_t *components_planned(const struct engine *e, const struct library_variant *v)
{
	json_t *json = json_object();
	for (size_t c = 0; c < e->library.n_components; c++) {
		const struct library_component *part = &e->library.components[c];
		const char *name = strchr(part->key, ' ');
		if ((v->components[c / 64] >> (c % 64) & 1) && part->layer <= IMAGE_RUNTIME && name)
			json_object_set_new(json, image_layer_name(part->layer), report_text(name + 1));
	}
	return json;
}

static json_t *components(const struct library_variant *v)
{
	json_t *json = json_object();
	for (enum image_layer layer = IMAGE_KERNEL; v && v->image && layer <= IMAGE_RUNTIME; layer++) {
		const struct image_component *c = image_component(v->image, layer);
		char text[192];
		if (!c)
			continue;
		snprintf(text, sizeof(text), "%s %s", c->name, c->version);
		json_object_set_new(json, image_layer_name(layer), report_text(text));
	}
	return json;
}

/* What its kernel does not let the agent do. */
static json_t *inabilities(uint32_t abilities)
{
	static const struct {
		enum agent_ability ability;
		const char *text;
	} all[] = {
	        {AGENT_CAN_DENY, "keep programs from running"},
	        {AGENT_CAN_READ, "keep interpreters from unlisted files"},
	        {AGENT_CAN_LOADER, "keep the dynamic loader from being called by hand"},
	        {AGENT_CAN_WATCH, "watch files, accounts and keys"},
	        {AGENT_CAN_LISTEN, "watch listening sockets"},
	        {AGENT_CAN_MODULES, "watch kernel modules"},
	};
	json_t *list = json_array();
	for (size_t k = 0; k < countof(all); k++)
		if (!(abilities & all[k].ability))
			json_array_append_new(list, json_string(all[k].text));
	return list;
}

static json_t *agent(const struct engine_instance *i, const struct plan_instance *p)
{
	if (!i->channel)
		return json_pack("{s:s}", "state", "none");
	const struct agent_watch *w = sense_channel_watch(i->channel);
	bool asleep = p->life == PLAN_LIFE_PAUSED || p->life == PLAN_LIFE_PAUSING || p->life == PLAN_LIFE_RESUMING ||
	              p->life == PLAN_LIFE_HOLDING || p->life == PLAN_LIFE_HELD;
	const char *state = asleep ? "asleep" : agent_speaks(w, clock_monotonic_us()) ? "speaks" : "silent";
	json_t *json = json_pack("{s:s, s:o, s:b, s:b}", "state", state, "trouble", report_text(w->trouble), "fail_open",
	                         (w->abilities & AGENT_FAIL_OPEN) != 0, "learning", (w->abilities & AGENT_LEARNING) != 0);
	json_object_set_new(json, "cannot", w->abilities ? inabilities(w->abilities) : json_null());
	json_object_set_new(json, "programs", json_integer(w->programs));
	json_object_set_new(json, "decided", json_integer((json_int_t)w->decided));
	json_object_set_new(json, "denied", json_integer((json_int_t)w->denied));
	json_object_set_new(json, "late", json_integer((json_int_t)w->late));
	json_object_set_new(json, "lost", json_integer(w->lost));
	json_object_set_new(json, "nonsense", json_integer((json_int_t)w->nonsense));
	json_object_set_new(json, "dropped", json_integer((json_int_t)w->dropped));
	return json;
}

static json_t *instance(const struct engine_service *s, const struct engine_instance *i, const struct plan_instance *p)
{
	const char *variant = p->variant < s->conf->n_variants ? s->conf->variants[p->variant] : "?";
	json_t *probes = json_pack("{s:I, s:I}", "good", (json_int_t)i->good, "bad", (json_int_t)i->bad);
	json_object_set_new(probes, "last_ms", i->last_took_us ? json_real((double)i->last_took_us / 1000.0) : json_null());
	json_t *exposed = p->exposed ? json_real((double)(clock_monotonic_us() - p->exposed_us) / 1e6) : json_null();
	return json_pack("{s:i, s:s, s:s, s:s, s:s, s:s, s:o, s:f, s:o, s:b, s:b, s:o, s:o, s:o}", "number", (int)p->number,
	                 "name", i->address.name, "variant", variant, "role", plan_role_name(p->role), "state",
	                 plan_life_name(p->life), "verdict", plan_verdict_name(p->verdict), "reason",
	                 report_text(p->verdict >= PLAN_FAILED ? i->detail : ""), "since_s",
	                 (double)(clock_monotonic_us() - p->life_us) / 1e6, "exposed_s", exposed, "worn", (int)p->worn,
	                 "outdated", (int)p->outdated, "components", components(library_find(&s->engine->library, variant)),
	                 "probes", probes, "agent", agent(i, p));
}

static json_t *addresses(const struct conf_service *conf)
{
	json_t *list = json_array();
	char text[INET6_ADDRSTRLEN];
	if (conf->has_address4 && inet_ntop(AF_INET, &conf->address4, text, sizeof(text)))
		json_array_append_new(list, json_string(text));
	if (conf->has_address6 && inet_ntop(AF_INET6, &conf->address6, text, sizeof(text)))
		json_array_append_new(list, json_string(text));
	return list;
}

static json_t *ports(const struct conf_service *conf)
{
	json_t *list = json_array();
	char text[16];
	for (size_t i = 0; i < conf->n_ports; i++) {
		snprintf(text, sizeof(text), "%u/%s", conf->ports[i].port,
		         conf->ports[i].protocol == IPPROTO_TCP ? "tcp" : "udp");
		json_array_append_new(list, json_string(text));
	}
	return list;
}

void report_say(json_t *list, const char *format, ...)
{
	char text[ERR_TEXT_MAX + 80];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	json_array_append_new(list, report_text(text));
}

/* A detector that flaps is never muted in silence. */
static void say_damped(json_t *reasons, const struct plan_instance *p)
{
	for (enum finding f = FINDING_WEAK_FIRST; f < FINDING_MAX_; f++)
		if (plan_is_damped(&p->window, f, clock_monotonic_us()))
			report_say(reasons, "kb-%u: '%s' comes and goes, it counts half for now", p->number, finding_name(f));
}

/* How often its instances were asked the same and compared; null: nothing is to be compared. */
static json_t *compared(const struct engine_service *s)
{
	struct sense_peer_counts counts = {0};
	if (s->conf->probe.n_peer == 0)
		return json_null();
	if (s->peer)
		sense_peer_counts(s->peer, &counts);
	return json_pack("{s:I, s:I, s:I, s:s}", "rounds", (json_int_t)counts.rounds, "differed", (json_int_t)counts.differed,
	                 "moved", (json_int_t)counts.moved, "moving", counts.moving);
}

/* null: none is configured, its guests may open nothing. */
static json_t *profile(const struct engine_service *s, json_t *reasons)
{
	static const char *const outside[] = {
	        [CONF_OUTSIDE_COUNT] = "count", [CONF_OUTSIDE_LIMIT] = "limit", [CONF_OUTSIDE_CUT] = "cut"};
	if (!s->conf->profile[0])
		return json_null();
	if (s->profile_problem[0])
		report_say(reasons, "profile of %s: %s: %s", s->conf->name, s->conf->profile, s->profile_problem);
	return json_pack("{s:o, s:s, s:o}", "file", report_text(s->conf->profile), "outside", outside[s->conf->outside],
	                 "problem", report_text(s->profile_problem));
}

/* null: switched off. */
static json_t *rescue(const struct engine_service *s, json_t *reasons)
{
	const char *problem = s->engine->rescue_problem;
	if (!s->conf->rescue)
		return json_null();
	if (problem[0])
		report_say(reasons, "clients of %s are not helped over a switch: %s", s->conf->name, problem);
	return json_pack("{s:o}", "problem", report_text(problem));
}

/* Its silence may be no evidence, because nobody ever heard it; then this is all that is told of it. */
static void say_mute(json_t *reasons, const struct engine_instance *i, const struct plan_instance *p)
{
	int64_t now_us = clock_monotonic_us();
	if (!i->channel || p->life != PLAN_LIFE_READY || now_us - p->life_us < MUTE_US)
		return;
	const struct agent_watch *w = sense_channel_watch(i->channel);
	if (!w->spoke || now_us - w->beat_us > MUTE_US)
		report_say(reasons, "the agent of kb-%u is %s", p->number,
		           !sense_channel_connected(i->channel) ? "not connected"
		           : w->spoke                           ? "silent"
		                                                : "not heard yet");
}

/* The ladder's end: nothing healthy is left. The address stays where it is, and slow tries go on. */
static void say_unserved(json_t *reasons, const struct engine_service *s)
{
	const struct plan *plan = &s->plan;
	const struct plan_instance *active = plan_find(plan, plan->target);
	int64_t now_us = clock_monotonic_us(), next_us = PLAN_NEVER;
	if (plan_is_served(plan))
		return;
	report_say(reasons, "%s is not served by a healthy instance", s->conf->name);
	if (plan_open_incidents(plan) == 0)
		return;
	for (size_t v = 0; v < plan->n_variants; v++)
		if (plan->variants[v].usable && plan->variants[v].not_before_us < next_us)
			next_us = plan->variants[v].not_before_us;
	if (active && active->life == PLAN_LIFE_DOOMED)
		report_say(reasons, "%s: safe mode: kb-%u failed and keeps the address until a healthy one is there",
		           s->conf->name, active->number);
	if (next_us == PLAN_NEVER)
		report_say(reasons, "%s: safe mode: no variant has an image that can be used", s->conf->name);
	else if (next_us > now_us)
		report_say(reasons, "%s: safe mode: all variants failed lately, the next one is tried in %lld s", s->conf->name,
		           (long long)(next_us - now_us + 999999) / 1000000);
}

static void say_mended(json_t *reasons, const struct plan *plan)
{
	for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++)
		if (plan->instances[k].number && plan_life_mends(plan->instances[k].life))
			report_say(reasons, "kb-%u failed, is kept from clients and mended (%s)", plan->instances[k].number,
			           plan_rung_name(plan->instances[k].rung));
}

static json_t *service(struct engine_service *s, json_t *reasons)
{
	json_t *list = json_array();
	uint32_t standby = plan_count_standby(&s->plan, true), spare = plan_count_spare(&s->plan);
	const struct plan_instance *active = plan_find(&s->plan, s->plan.target);
	for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++)
		if (s->instances[k].number && s->plan.instances[k].number == s->instances[k].number)
			json_array_append_new(list, instance(s, &s->instances[k], &s->plan.instances[k]));
	for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++)
		say_damped(reasons, &s->plan.instances[k]);
	for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++)
		say_mute(reasons, &s->instances[k], &s->plan.instances[k]);
	for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++)
		if (s->plan.instances[k].hold != PLAN_HOLD_NONE)
			report_say(reasons, "kb-%u is kept from clients because somebody wanted it: koboshi containments",
			           s->plan.instances[k].number);
	say_unserved(reasons, s);
	say_mended(reasons, &s->plan);
	if (standby < s->conf->standby)
		report_say(reasons, "%s has %u of %u standbys", s->conf->name, standby, s->conf->standby);
	if (spare < s->conf->spare)
		report_say(reasons, "%s has %u of %u spares", s->conf->name, spare, s->conf->spare);
	if (s->plan.brake.until_us)
		report_say(reasons, "%s: guests fall again and again: spares are built slowly until it was quiet for %u s%s",
		           s->conf->name, s->engine->conf.brake_within_ms / 1000,
		           cut_living(s->engine) ? "; who was there each time is cut off: koboshi containments" : "");
	if (s->carry.problem[0])
		report_say(reasons, "files of %s that live on: %s", s->conf->name, s->carry.problem);
	for (size_t v = 0; v < s->plan.n_variants; v++)
		if (s->plan.variants[v].failures && s->plan.variants[v].usable)
			report_say(reasons, "variant %s was not proven %u times in a row", s->conf->variants[v],
			           s->plan.variants[v].failures);
	return json_pack("{s:s, s:o, s:o, s:i, s:s, s:i, s:o, s:o, s:o, s:o, s:o}", "name", s->conf->name, "addresses",
	                 addresses(s->conf), "ports", ports(s->conf), "active", (int)s->plan.target, "verdict",
	                 active ? plan_verdict_name(active->verdict) : "unknown", "open_incidents",
	                 (int)plan_open_incidents(&s->plan), "profile", profile(s, reasons), "instances", list, "peer",
	                 compared(s), "vault", vault_summary(s, reasons), "rescue", rescue(s, reasons));
}

static const char *accelerator(const struct engine *e)
{
	return e->accelerator == 2 ? "KVM" : e->accelerator == 1 ? "software emulation" : "unknown";
}

/* "koboshi-net is not ready: cannot open /dev/net/tun ..." */
static void say_absent(json_t *reasons, const struct engine *e, enum wire_role role)
{
	const char *trouble = e->trouble[role];
	if (!hands_ready(e->hands, role))
		report_say(reasons, "koboshi-%s is %s%s%s", wire_role_name(role), e->world_known ? "away" : "not ready",
		           trouble[0] ? ": " : "", trouble);
}

/* It said that it is ready, and then not what is there. */
static void say_silent(json_t *reasons, const struct engine *e, enum wire_role role)
{
	int64_t silent_us = e->asked_us[role] ? clock_monotonic_us() - e->asked_us[role] : 0;
	if (silent_us >= SILENT_US && hands_ready(e->hands, role))
		report_say(reasons, "koboshi-%s was asked %d s ago what is there and has not said", wire_role_name(role),
		           (int)(silent_us / 1000000));
}

/* What koboshi finds on its own host (vantage host); null while there was nothing. */
static json_t *words(const struct engine_words *words)
{
	json_t *recent = json_array();
	int64_t now_us = clock_monotonic_us();
	for (uint32_t n = words->count, i = n; i-- > 0 && n - i <= ENGINE_WORDS_MAX;) {
		double ago_s = (double)(now_us - words->last[i % ENGINE_WORDS_MAX].time_us) / 1e6;
		json_array_append_new(recent, json_pack("{s:o, s:f}", "text", report_text(words->last[i % ENGINE_WORDS_MAX].text),
		                                        "ago_s", ago_s));
	}
	json_t *last = json_array_get(recent, 0), *told = json_null();
	if (last)
		told = json_pack("{s:i, s:O, s:O, s:O}", "count", (int)words->count, "last", json_object_get(last, "text"),
		                 "ago_s", json_object_get(last, "ago_s"), "recent", recent);
	json_decref(recent);
	return told;
}

/* A question that tells nothing should be known to whoever put it into the configuration. */
static void say_moving(json_t *list, const struct engine_service *s)
{
	struct sense_peer_counts counts = {0};
	if (s->peer)
		sense_peer_counts(s->peer, &counts);
	if (counts.moved >= MOVED_OFTEN)
		report_say(list,
		           "peer: the answer to %s of %s changes by itself, so nothing is found there; members of JSON that may "
		           "differ go into peer_ignore",
		           counts.moving, s->conf->name);
}

/* Touches are seen whether or not anybody answers them. */
static json_t *decoys(const struct engine *e)
{
	const struct wire_tarpit *tarpit = &e->decoys.tarpit;
	bool touched = e->decoys.touches > 0;
	return json_pack("{s:b, s:b, s:I, s:I, s:I, s:I, s:o, s:o}", "enabled", (int)e->conf.decoys, "answered",
	                 (int)(e->conf.decoys && hands_ready(e->hands, WIRE_DECOY)), "held", (json_int_t)tarpit->held, "taken",
	                 (json_int_t)tarpit->taken, "displaced", (json_int_t)tarpit->displaced, "touches",
	                 (json_int_t)e->decoys.touches, "last", touched ? report_text(e->decoys.text) : json_null(), "ago_s",
	                 touched ? json_real((double)(clock_monotonic_us() - e->decoys.time_us) / 1e6) : json_null());
}

/* Somebody should look at it: an attacker keeps at it, or a service that was there is served by nobody any more. */
static bool is_alarming(const struct engine *e)
{
	for (size_t k = 0; k < e->n_services; k++) {
		const struct plan *plan = &e->services[k].plan;
		if (plan->brake.until_us || (!plan_is_served(plan) && plan_open_incidents(plan)))
			return true;
	}
	return false;
}

static bool has_vault(const struct engine *e)
{
	bool has = false;
	for (size_t i = 0; i < e->n_services; i++)
		has = has || e->services[i].conf->vault.path[0];
	return has;
}

json_t *report_status(struct engine *e)
{
	json_t *reasons = json_array(), *services = json_array(), *unproven = json_array();
	say_absent(reasons, e, WIRE_NET);
	say_absent(reasons, e, WIRE_VM);
	say_absent(reasons, e, WIRE_HOST);
	if (e->conf.files.n_folders)
		say_absent(reasons, e, WIRE_SCAN);
	if (has_vault(e))
		say_absent(reasons, e, WIRE_VAULT);
	if (!e->world_known)
		report_say(reasons, "the world is still being read, nothing is ordered before");
	say_silent(reasons, e, WIRE_NET);
	say_silent(reasons, e, WIRE_VM);
	for (size_t i = 0; i < e->n_services; i++)
		json_array_append_new(services, service(&e->services[i], reasons));
	report_missing(e, reasons);
	for (size_t i = 0; i < e->library.n_variants; i++)
		if (e->library.variants[i].problem[0])
			report_say(reasons, "variant %s cannot be used: %s", e->library.variants[i].name,
			           e->library.variants[i].problem);
	if (e->ledger_problem[0])
		report_say(reasons, "ledger: %s", e->ledger_problem);
	if (e->reload_problem[0])
		report_say(reasons, "the changed configuration is not in use: %s", e->reload_problem);
	for (size_t i = 0; i < e->n_unproven; i++)
		json_array_append_new(unproven, report_text(e->unproven[i]));
	for (size_t i = 0; i < e->n_services; i++)
		say_moving(unproven, &e->services[i]);
	if (strcmp(e->conf.libvirt, "embed") != 0)
		json_array_append_new(unproven, json_string("libvirt: only the embedded driver was ever tried with real guests"));
	if (e->accelerator != 2)
		json_array_append_new(
		        unproven, json_string("KVM: no guest has booted with it on this host; guests run by software emulation"));
	json_t *files = files_summary(e, reasons), *wanted = report_wanted(e, reasons);
	if (e->conf.files.n_folders)
		json_array_append_new(unproven,
		                      json_string("files: what guests write on their own disks is not looked at, only what "
		                                  "they write into the folders of 'files'"));
	const char *state = e->blind ? "blind" : is_alarming(e) ? "alarm" : json_array_size(reasons) ? "degraded" : "ok";
	return json_pack("{s:s, s:s, s:s, s:o, s:b, s:f, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "device", e->conf.device,
	                 "version", KOBOSHI_VERSION, "state", state, "reasons", reasons, "busy", (int)e->busy, "uptime_s",
	                 (double)(clock_monotonic_us() - e->started_us) / 1e6, "accelerator", accelerator(e), "meddled",
	                 words(&e->meddled), "lapses", words(&e->lapses), "decoys", decoys(e), "files", files, "wanted", wanted,
	                 "services", services, "processes", processes(e), "unproven", unproven);
}

/* --- variants */

static json_t *suspicions(const struct engine *e, const struct library_variant *v)
{
	json_t *list = json_array();
	const struct plan *plan = &e->services[0].plan; /* the same in all */
	for (size_t c = 0; c < e->library.n_components; c++)
		if ((v->components[c / 64] >> (c % 64) & 1) && plan->suspicion[c] &&
		    e->library.components[c].layer <= IMAGE_RUNTIME)
			json_array_append_new(list,
			                      json_pack("{s:o, s:f}", "component", report_text(e->library.components[c].key),
			                                "value", plan->suspicion[c] / 1000.0));
	return list;
}

static json_t *variant(const struct engine *e, const struct library_variant *v)
{
	return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o}", "name", v->name, "suite",
	                 report_text(v->image ? v->image->suite : ""), "summary", report_text(v->image ? v->image->summary : ""),
	                 "built", report_text(v->image ? v->image->built : ""), "image",
	                 report_text(library_is_usable(v) ? "ok"
	                             : v->buildable       ? "not built"
	                                                  : v->problem),
	                 "components", v->buildable ? components_planned(e, v) : components(v), "suspicion", suspicions(e, v));
}

static json_t *overlap(const struct library_variant *a, const struct library_variant *b)
{
	struct image_overlap o;
	json_t *layers = json_object();
	image_overlap(a->image, b->image, &o);
	for (enum image_layer layer = IMAGE_KERNEL; layer <= IMAGE_RUNTIME; layer++)
		json_object_set_new(layers, image_layer_name(layer),
		                    json_string(o.layer_same[layer]  ? "same"
		                                : o.layer_kin[layer] ? "other version"
		                                                     : "different"));
	return json_pack("{s:s, s:s, s:o, s:I, s:I, s:I, s:f}", "a", a->name, "b", b->name, "layers", layers, "packages_same",
	                 (json_int_t)o.packages_same, "packages_a", (json_int_t)o.packages_a, "packages_b",
	                 (json_int_t)o.packages_b, "share", o.share);
}

json_t *report_variants(struct engine *e)
{
	json_t *list = json_array(), *overlaps = json_array();
	for (size_t i = 0; i < e->library.n_variants; i++) {
		const struct library_variant *a = &e->library.variants[i];
		json_array_append_new(list, variant(e, a));
		for (size_t k = i + 1; k < e->library.n_variants; k++)
			if (library_is_usable(a) && library_is_usable(&e->library.variants[k]))
				json_array_append_new(overlaps, overlap(a, &e->library.variants[k]));
	}
	return json_pack("{s:o, s:o}", "variants", list, "overlap", overlaps);
}
