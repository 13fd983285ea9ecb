/*
 * Follows a plan: whatever changed in it since the last look is carried into the world beside the orders: probes start
 * and stop with an instance's life, and the ledger gets the rows from which a restart goes on. Comparing, instead of
 * being told, means that no path through the plan can forget to say something.
 */
#include "engine/engine.h"

#include "lib/bytes.h"
#include "lib/log.h"
#include "sense/client.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>
#include <string.h>

/* --- probes */

static void on_report(void *arg, const struct evidence *evidence, const char *detail)
{
	struct engine_instance *i = arg;
	struct engine_service *s = i->service;
	enum finding_class class = finding_class(evidence->finding);
	if (class == FINDING_CLASS_GOOD) {
		i->good++;
		i->last_took_us = evidence->time_us - evidence->began_us;
	} else if (class != FINDING_CLASS_UNKNOWN && class != FINDING_CLASS_DOUBT) {
		i->bad++;
	}
	agents_probed(i, evidence);
	service_found(s, evidence, detail);
}

/* What clients write in their Host header: the service's addresses. */
static void host_names(const struct conf_service *conf, struct sense_target *t)
{
	char text[INET6_ADDRSTRLEN], port[CLIENT_PORT_MAX];
	client_port(&conf->probe, port);
	if (conf->has_address4 && inet_ntop(AF_INET, &conf->address4, text, sizeof(text)))
		snprintf(t->hosts[t->n_hosts++], SENSE_HOST_MAX, "%s%s", text, port);
	if (conf->has_address6 && inet_ntop(AF_INET6, &conf->address6, text, sizeof(text)))
		snprintf(t->hosts[t->n_hosts++], SENSE_HOST_MAX, "[%s]%s", text, port);
}

/* What an image says that its guests answer, as it stands in the row. Caller frees. */
static char *content_text(const struct library_variant *v)
{
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	assert(out);
	for (size_t c = 0; v && v->image && c < v->image->n_content; c++) {
		char hex[2 * IMAGE_SHA256 + 1];
		bytes_to_hex(v->image->content[c].sha256, IMAGE_SHA256, hex);
		fprintf(out, "%s %s\n", v->image->content[c].path, hex);
	}
	int r = fclose(out);
	assert(r == 0);
	return text;
}

/* The sum that stands behind this path. */
static bool content_find(const char *text, const char *path, uint8_t ret_sha256[static IMAGE_SHA256])
{
	size_t length = strlen(path);
	char hex[2 * IMAGE_SHA256 + 1];
	for (const char *line = text; line && *line; line = strchr(line, '\n'), line = line ? line + 1 : NULL)
		if (strncmp(line, path, length) == 0 && line[length] == ' ') {
			snprintf(hex, sizeof(hex), "%s", line + length + 1);
			return bytes_from_hex(hex, ret_sha256, IMAGE_SHA256);
		}
	return false;
}

static void fill_target(const struct engine_instance *i, bool proving, struct sense_target *ret_target)
{
	const struct engine_service *s = i->service;
	const struct conf_service *conf = s->conf;
	*ret_target = (struct sense_target){
	        .instance = i->number,
	        .vantage = VANTAGE_PATH, /* the same port and bytes as a client's, only past the map */
	        .address = i->address,
	        .probe = conf->probe,
	        .source4 = i->address.gateway4,
	        .source6 = i->address.gateway6,
	        .use6 = conf->has_address6,
	        .content_proves = !conf->probe.challenge,
	        .clock_slack_ms = 2000,
	};
	if (!conf->has_address4) /* guests have both, and their server may listen where clients come only */
		ret_target->address.address4.s_addr = 0;
	host_names(conf, ret_target);
	memcpy(ret_target->key, i->key, sizeof(i->key));
	if (proving) { /* ask often and be patient: a booting guest is slow, a woken one must prove itself at once */
		ret_target->probe.challenge_ms = 2 * conf->probe.interval_ms;
		if (ret_target->probe.timeout_ms < 1000)
			ret_target->probe.timeout_ms = 1000;
	}
	for (size_t k = 0; k < conf->probe.n_content; k++) {
		size_t n = ret_target->n_content;
		if (!content_find(i->content, conf->probe.content[k], ret_target->content[n].sha256))
			continue;
		text_copy(ret_target->content[n].path, sizeof(ret_target->content[n].path), conf->probe.content[k]);
		ret_target->n_content++;
	}
}

static void probes_stop(struct engine_instance *i)
{
	sense_prober_free(i->prober);
	i->prober = NULL;
}

static void probes_start(struct engine_instance *i, bool proving)
{
	struct sense_target target;
	probes_stop(i);
	fill_target(i, proving, &target);
	i->prober = sense_prober_new(i->service->engine->loop, &target, on_report, i);
	i->proving = proving;
	if (proving)
		sense_prober_ask(i->prober, SENSE_PROBE_CHALLENGE);
}

static void on_peer(void *arg, const struct evidence *evidence, const char *detail)
{
	service_found(arg, evidence, detail);
}

/* Those are compared who serve or could at once. */
static void votes_follow(struct engine_instance *i, bool votes)
{
	struct engine_service *s = i->service;
	if (i->votes == votes || s->conf->probe.n_peer == 0)
		return;
	i->votes = votes;
	if (!s->peer)
		s->peer = sense_peer_new(s->engine->loop, &s->conf->probe, on_peer, s);
	if (!votes) {
		sense_peer_remove(s->peer, i->number);
		return;
	}
	struct sense_target target;
	fill_target(i, false, &target);
	sense_peer_add(s->peer, &target);
}

static void probes_follow(struct engine_instance *i)
{
	bool proving = i->life == PLAN_LIFE_BOOTING || i->life == PLAN_LIFE_WAKING || i->life == PLAN_LIFE_RESTARTED ||
	               i->life == PLAN_LIFE_REBOOTING;
	bool serving = i->life == PLAN_LIFE_READY || i->life == PLAN_LIFE_DOOMED || i->life == PLAN_LIFE_OPENING ||
	               i->life == PLAN_LIFE_LOCKING || i->life == PLAN_LIFE_LOCKED;
	if (!i->has_key || (!proving && !serving))
		probes_stop(i);
	else if (!i->prober || i->proving != proving)
		probes_start(i, proving);
	votes_follow(i, i->has_key && i->life == PLAN_LIFE_READY);
}

void follow_ask_all(struct engine_service *s)
{
	for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++)
		if (s->instances[k].number && s->instances[k].prober && !s->instances[k].proving)
			sense_prober_ask(s->instances[k].prober, SENSE_PROBE_ANY);
}

/* --- instances' rows */

struct instance_job {
	struct ledger_instance row;
};

static int instance_work(struct ledger *l, void *arg, struct err *err)
{
	struct instance_job *job = arg;
	return ledger_instance_put(l, &job->row, err);
}

static void write_instance(const struct engine_instance *i, bool ended)
{
	const struct engine_service *s = i->service;
	int64_t now_us = clock_real_us();
	struct instance_job *job = calloc(1, sizeof(*job));
	assert(job);
	job->row.number = i->number;
	job->row.created_us = i->created_us;
	job->row.exposed_us = i->exposed_us ? now_us - (clock_monotonic_us() - i->exposed_us) : 0;
	job->row.ended_us = ended ? now_us : 0;
	job->row.incident = i->incident;
	text_copy(job->row.content, sizeof(job->row.content), i->content);
	text_copy(job->row.service, sizeof(job->row.service), s->conf->name);
	text_copy(job->row.role, sizeof(job->row.role), plan_role_name(i->role));
	text_copy(job->row.state, sizeof(job->row.state), ended ? "ended" : plan_life_name(i->life));
	if (i->variant < s->conf->n_variants) {
		const char *variant = s->conf->variants[i->variant];
		text_copy(job->row.variant, sizeof(job->row.variant), variant);
		library_describe(library_find(&s->engine->library, variant), job->row.components, sizeof(job->row.components));
	}
	journal_put(s->engine->journal, instance_work, NULL, job);
}

static void instance_gone(struct engine_instance *i)
{
	probes_stop(i);
	votes_follow(i, false);
	agents_gone(i);
	if (i->service->engine->wire)
		sense_wire_remove(i->service->engine->wire, i->number);
	sense_carrier_remove(i->service->engine->carrier, i->number);
	sense_flows_remove(i->service->engine->flows, i->number);
	write_instance(i, true);
	free(i->content);
	memset(i, 0, sizeof(*i));
}

static void instance_came(struct engine_service *s, struct engine_instance *i, const struct plan_instance *p)
{
	uint8_t key[WIRE_KEY_SIZE];
	bool has_key = i->number == 0 && i->has_key; /* laid down by start.c before the plan saw it */
	int64_t created_us = i->created_us ? i->created_us : clock_real_us();
	char *content = i->content;
	if (!content && p->variant < s->conf->n_variants)
		content = content_text(library_find(&s->engine->library, s->conf->variants[p->variant]));
	memcpy(key, i->key, sizeof(key));
	*i = (struct engine_instance){.service = s,
	                              .number = p->number,
	                              .variant = p->variant,
	                              .created_us = created_us,
	                              .content = content ? content : strdup(""),
	                              .has_key = has_key};
	assert(i->content);
	memcpy(i->key, key, sizeof(key));
	conf_instance(&s->engine->conf, p->number, &i->address);
	if (s->engine->wire)
		sense_wire_add(s->engine->wire, &i->address, &s->conf->probe);
	sense_carrier_add(s->engine->carrier, i->number, i->address.tap);
	agents_came(i, !has_key);
	sense_flows_add(s->engine->flows, &i->address);
}

void follow_instances(struct engine_service *s)
{
	for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++) {
		const struct plan_instance *p = &s->plan.instances[k];
		struct engine_instance *i = &s->instances[k];
		if (i->number && i->number != p->number)
			instance_gone(i);
		if (p->number && i->number != p->number)
			instance_came(s, i, p);
		if (i->number == 0 || (i->life == p->life && i->role == p->role && i->incident == p->incident && !i->stale))
			continue;
		i->stale = false;
		i->life = p->life;
		i->role = p->role;
		i->incident = p->incident;
		i->exposed_us = p->exposed ? p->exposed_us : 0;
		write_instance(i, false);
		probes_follow(i);
		agents_follow(i);
		sense_flows_work(s->engine->flows, i->number, p->life == PLAN_LIFE_READY);
	}
}

/* --- incidents' rows */

static int incident_work(struct ledger *l, void *arg, struct err *err)
{
	return ledger_incident_put(l, arg, err);
}

static void write_incident(struct engine *e, const struct ledger_incident *row)
{
	struct ledger_incident *job = malloc(sizeof(*job));
	assert(job);
	*job = *row;
	journal_put(e->journal, incident_work, NULL, job);
}

struct prune_job {
	uint32_t keep;
};

static int prune_work(struct ledger *l, void *arg, struct err *err)
{
	return ledger_incident_prune(l, ((struct prune_job *)arg)->keep, err);
}

void follow_prune(struct engine *e)
{
	struct prune_job *job = malloc(sizeof(*job));
	assert(job);
	job->keep = e->conf.incidents_kept;
	journal_put(e->journal, prune_work, NULL, job);
}

static const char *variant_name(const struct engine_service *s, uint32_t variant)
{
	return variant < s->conf->n_variants ? s->conf->variants[variant] : "?";
}

static void incident_fill(struct engine_service *s, struct ledger_incident *row, const struct plan_incident *x)
{
	row->number = x->number;
	row->victim = x->victim;
	row->active_before = x->active_before;
	row->active_after = x->active_after;
	row->first_evidence_us = x->evidence_us;
	row->verdict_us = x->verdict_us;
	row->steered_us = x->steered_us;
	row->standby_us = x->standby_us;
	row->spare_us = x->spare_us;
	text_copy(row->victim_variant, sizeof(row->victim_variant), variant_name(s, x->victim_variant));
	text_copy(row->verdict, sizeof(row->verdict),
	          x->verdict != PLAN_HEALTHY ? plan_verdict_name(x->verdict)
	          : x->gave_way              ? ENGINE_DOUBTFUL
	                                     : ENGINE_PLANNED);
	text_copy(row->phase, sizeof(row->phase), plan_phase_name(x->phase));
	const struct plan_instance *after = plan_find(&s->plan, x->active_after);
	if (!after)
		return;
	text_copy(row->active_variant, sizeof(row->active_variant), variant_name(s, after->variant));
	library_layers_text(plan_shared_layers(&s->plan, x->victim_variant, after->variant), ENGINE_ALL_LAYERS, row->shared,
	                    sizeof(row->shared));
}

static void incident_closed(struct engine_service *s, struct ledger_incident *row)
{
	text_copy(row->phase, sizeof(row->phase), plan_phase_name(PLAN_CLOSED));
	row->closed_us = clock_real_us();
	const struct plan_instance *active = plan_find(&s->plan, s->plan.target);
	snprintf(row->outcome, sizeof(row->outcome), "%s is served by kb-%u (%s); %u standby, %u spare", s->conf->name,
	         s->plan.target, active ? variant_name(s, active->variant) : "?", plan_count_standby(&s->plan, true),
	         plan_count_spare(&s->plan));
	lessons_close(s, row);
	follow_prune(s->engine);
}

void follow_incidents(struct engine_service *s, bool closed_too)
{
	for (size_t k = 0; k < PLAN_INCIDENTS_MAX; k++) {
		const struct plan_incident *x = &s->plan.incidents[k];
		bool over = s->seen[k].number && s->seen[k].number != x->number;
		/* NOLINTNEXTLINE(*-memory-comparison,cert-*): differing padding costs one write of the same row */
		if ((memcmp(x, &s->seen[k], sizeof(*x)) == 0 && !s->stale[k]) || (over && !closed_too))
			continue;
		s->stale[k] = false;
		if (over && s->stories[k]) {
			incident_closed(s, s->stories[k]);
			free(s->stories[k]);
			s->stories[k] = NULL;
		}
		s->seen[k] = *x;
		if (x->number == 0)
			continue;
		if (!s->stories[k]) {
			s->stories[k] = calloc(1, sizeof(*s->stories[k]));
			assert(s->stories[k]);
			s->stories[k]->opened_us = clock_real_us() - (clock_monotonic_us() - x->evidence_us);
			text_copy(s->stories[k]->service, sizeof(s->stories[k]->service), s->conf->name);
			text_copy(s->stories[k]->boot_id, sizeof(s->stories[k]->boot_id), s->engine->boot_id);
		}
		incident_fill(s, s->stories[k], x);
		write_incident(s->engine, s->stories[k]);
	}
}

/* --- suspicion */

struct suspicion_job {
	size_t n;
	struct ledger_suspicion rows[];
};

static int suspicion_work(struct ledger *l, void *arg, struct err *err)
{
	struct suspicion_job *job = arg;
	int r = 0;
	for (size_t k = 0; k < job->n && r == 0; k++)
		r = ledger_suspicion_put(l, &job->rows[k], err);
	return r;
}

void follow_suspicion(struct engine_service *s)
{
	struct engine *e = s->engine;
	size_t n = 0;
	for (size_t c = 0; c < s->plan.n_components; c++)
		n += s->plan.suspicion[c] > 0;
	struct suspicion_job *job = calloc(1, sizeof(*job) + n * sizeof(job->rows[0]));
	assert(job);
	for (size_t c = 0; c < s->plan.n_components; c++) {
		if (s->plan.suspicion[c] == 0)
			continue;
		struct ledger_suspicion *row = &job->rows[job->n++];
		text_copy(row->component, sizeof(row->component), e->library.components[c].key);
		row->value = s->plan.suspicion[c] / 1000.0;
		row->since_us = clock_real_us();
		row->incident = e->last_incident;
	}
	journal_put(e->journal, suspicion_work, NULL, job);
	for (size_t k = 0; k < e->n_services; k++) { /* a component is as suspect to one service as to the other */
		if (&e->services[k] == s)
			continue;
		memcpy(e->services[k].plan.suspicion, s->plan.suspicion, sizeof(s->plan.suspicion));
		plan_components_changed(&e->services[k].plan);
	}
}

/* --- what was tried, and helped or not */

struct tries_job {
	size_t n;
	struct ledger_tries rows[];
};

static int tries_work(struct ledger *l, void *arg, struct err *err)
{
	struct tries_job *job = arg;
	int r = 0;
	for (size_t k = 0; k < job->n && r == 0; k++)
		r = ledger_tries_put(l, &job->rows[k], err);
	return r;
}

void follow_tries(struct engine_service *s)
{
	const size_t all = (size_t)FINDING_MAX_ * PLAN_RUNGS_MENDING;
	struct tries_job *job = calloc(1, sizeof(*job) + all * sizeof(job->rows[0]));
	assert(job);
	for (size_t k = 0; k < all; k++) {
		const struct plan_tries *tries = &s->plan.tries[k / PLAN_RUNGS_MENDING][k % PLAN_RUNGS_MENDING];
		struct ledger_tries *row = &job->rows[job->n];
		if (memcmp(tries, &s->tries_seen[k], sizeof(*tries)) == 0)
			continue;
		s->tries_seen[k] = *tries;
		*row = (struct ledger_tries){.tried = tries->tried,
		                             .worked = tries->worked,
		                             .last = tries->last,
		                             .passed = tries->passed,
		                             .changed_us = clock_real_us()};
		text_copy(row->service, sizeof(row->service), s->conf->name);
		text_copy(row->finding, sizeof(row->finding), finding_name((enum finding)(k / PLAN_RUNGS_MENDING)));
		text_copy(row->rung, sizeof(row->rung),
		          plan_rung_name((enum plan_rung)(PLAN_RUNG_RESTART + k % PLAN_RUNGS_MENDING)));
		job->n++;
	}
	journal_put(s->engine->journal, tries_work, NULL, job);
}

void follow_again(struct engine_service *s)
{
	for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++)
		s->instances[k].stale = s->instances[k].number > 0;
	for (size_t k = 0; k < PLAN_INCIDENTS_MAX; k++)
		s->stale[k] = s->stories[k] != NULL;
	follow_suspicion(s);
	memset(s->tries_seen, 0xff, sizeof(s->tries_seen));
	follow_tries(s);
	record_again(s->engine);
}
