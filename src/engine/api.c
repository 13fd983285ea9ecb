/*
 * HTTP on the Unix socket by libmicrohttpd, whose own epoll descriptor is watched by our loop: no thread, nothing blocks.
 * What needs the ledger is asked on the ledger's thread while the connection is suspended.
 */
#include "engine/api.h"
#include "engine/report.h"

#include "lib/bytes.h"
#include "lib/log.h"

#include <assert.h>
#include <errno.h>
#include <microhttpd.h>
#include <stdio.h>
#include <string.h>

#define BODY_MAX 4096
#define CONNECTIONS_MAX 64 /* more wait in the socket's queue until one of these ends; each costs MEMORY_MAX at most */
#define IDLE_S 4           /* a connection on which nothing happens for so long is closed: nobody can keep others out for good */
#define MEMORY_MAX 8192

struct api {
	struct engine *engine;
	struct MHD_Daemon *daemon;
	uv_poll_t poll;
	uv_timer_t timer;
	bool idle; /* no connection, as far as was told */
};

struct request {
	struct api *api;
	struct MHD_Connection *connection;
	char body[BODY_MAX + 1];
	size_t size;
	bool too_long, asked;
	json_t *answer; /* of the ledger's thread */
	unsigned status;
};

enum subject { INCIDENTS, CONTAINMENTS, EVIDENCE, SECRETS, LESSONS };

struct question { /* to the ledger's thread */
	struct request *request;
	enum subject subject;
	uint64_t number; /* of an incident, of secrets an instance; 0: the list */
	json_t *answer;
};

static json_t *sentence(const char *text)
{
	return json_pack("{s:o}", "error", report_text(text));
}

static enum MHD_Result respond(struct MHD_Connection *connection, unsigned status, json_t *json)
{
	char *text = json_dumps(json, JSON_COMPACT);
	json_decref(json);
	if (!text) { /* a fault of ours, and no reason to fall */
		log_error("engine.api", "an answer could not be put into words");
		status = MHD_HTTP_INTERNAL_SERVER_ERROR;
		text = strdup("{\"error\":\"the answer could not be put into words; see the log\"}");
		assert(text);
	}
	struct MHD_Response *response = MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE);
	MHD_add_response_header(response, "Content-Type", "application/json");
	MHD_add_response_header(response, "Cache-Control", "no-store");
	enum MHD_Result r = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return r;
}

/* --- the ledger's answers */

static int question_work(struct ledger *l, void *arg, struct err *err)
{
	struct question *q = arg;
	const char *state_dir = q->request->api->engine->conf.state_dir; /* never changes while this process lives */
	if (q->subject == CONTAINMENTS)
		q->answer = report_containments(l, err);
	else if (q->subject == LESSONS)
		q->answer = report_lessons(l, &q->request->api->engine->lessons, err);
	else if (q->subject == EVIDENCE)
		q->answer = report_evidence(l, state_dir, q->number, err);
	else if (q->subject == SECRETS)
		q->answer = report_secrets(l, (uint32_t)q->number, err);
	else
		q->answer = q->number ? report_incident(l, state_dir, q->number, err) : report_incidents(l, err);
	return q->answer ? 0 : err->code;
}

static void api_run(struct api *api);

static void question_done(void *arg, int status, const struct err *err)
{
	struct question *q = arg;
	struct request *request = q->request;
	request->status = status == 0 ? MHD_HTTP_OK : status == -ENOENT ? MHD_HTTP_NOT_FOUND : MHD_HTTP_SERVICE_UNAVAILABLE;
	request->answer = status == 0 ? q->answer : sentence(err->text);
	MHD_resume_connection(request->connection);
	api_run(request->api);
	free(q);
}

static enum MHD_Result ask_ledger(struct request *request, enum subject subject, uint64_t number)
{
	if (request->answer) {
		json_t *answer = request->answer;
		request->answer = NULL;
		return respond(request->connection, request->status, answer);
	}
	if (request->asked)
		return MHD_YES;
	struct question *q = calloc(1, sizeof(*q));
	assert(q);
	q->request = request;
	q->subject = subject;
	q->number = number;
	request->asked = true;
	MHD_suspend_connection(request->connection);
	journal_ask(request->api->engine->journal, question_work, question_done, q);
	return MHD_YES;
}

/* --- routes */

static enum MHD_Result get_status(struct request *request, const char *rest)
{
	(void)rest;
	return respond(request->connection, MHD_HTTP_OK, report_status(request->api->engine));
}

static enum MHD_Result get_variants(struct request *request, const char *rest)
{
	(void)rest;
	return respond(request->connection, MHD_HTTP_OK, report_variants(request->api->engine));
}

static enum MHD_Result get_files(struct request *request, const char *rest)
{
	(void)rest;
	return respond(request->connection, MHD_HTTP_OK, files_report(request->api->engine));
}

static enum MHD_Result get_why(struct request *request, const char *rest)
{
	struct engine *e = request->api->engine;
	if (rest[0] == '\0')
		return respond(request->connection, MHD_HTTP_OK, report_subjects(e));
	json_t *why = report_why(e, rest + 1);
	if (why)
		return respond(request->connection, MHD_HTTP_OK, why);
	return respond(request->connection, MHD_HTTP_NOT_FOUND,
	               sentence("there is no instance and no variant of this name; /v1/why lists them"));
}

static enum MHD_Result get_flows(struct request *request, const char *rest)
{
	struct engine *e = request->api->engine;
	json_t *flows = rest[0] ? report_flows_of(e, rest + 1) : report_flows(e);
	if (flows)
		return respond(request->connection, MHD_HTTP_OK, flows);
	return respond(request->connection, MHD_HTTP_NOT_FOUND,
	               sentence("there is no instance of this name; /v1/flows lists them"));
}

static bool number_of(const char *text, uint64_t *ret_number)
{
	size_t digits = strspn(text, "0123456789");
	*ret_number = digits > 0 && digits < 19 && !text[digits] ? strtoull(text, NULL, 10) : 0;
	return *ret_number > 0;
}

/* All of them, or of the incident whose number follows. */
static enum MHD_Result get_of_incident(struct request *request, enum subject subject, const char *rest, const char *wrong)
{
	uint64_t number = 0;
	if (rest[0] && !number_of(rest + 1, &number))
		return respond(request->connection, MHD_HTTP_NOT_FOUND, sentence(wrong));
	return ask_ledger(request, subject, number);
}

static enum MHD_Result get_incidents(struct request *request, const char *rest)
{
	return get_of_incident(request, INCIDENTS, rest, "an incident is named by its number, as in /v1/incidents/3");
}

static enum MHD_Result get_evidence(struct request *request, const char *rest)
{
	return get_of_incident(request, EVIDENCE, rest, "evidence is found by its incident's number, as in /v1/evidence/3");
}

static enum MHD_Result get_secrets(struct request *request, const char *rest)
{
	uint32_t instance = rest[0] ? conf_instance_named(rest + 1) : 0;
	if (rest[0] && !instance)
		return respond(request->connection, MHD_HTTP_NOT_FOUND, sentence("an instance is named as in /v1/secrets/kb-3"));
	return ask_ledger(request, SECRETS, instance);
}

static enum MHD_Result get_containments(struct request *request, const char *rest unused_arg)
{
	return ask_ledger(request, CONTAINMENTS, 0);
}

static enum MHD_Result get_lessons(struct request *request, const char *rest unused_arg)
{
	return ask_ledger(request, LESSONS, 0);
}

static enum MHD_Result post_lessons(struct request *request, const char *rest unused_arg)
{
	json_t *answer;
	unsigned status = report_lesson_take(request->api->engine, request->body, request->size, &answer);
	return respond(request->connection, status, answer);
}

/* What is misspelt must not become a switch of whatever there is. */
static bool body_is_understood(const json_t *body, char *ret_problem, size_t size)
{
	const char *key;
	json_t *value;
	json_object_foreach((json_t *)(uintptr_t)body, key, value)
	{
		if (strcmp(key, "service") != 0)
			snprintf(ret_problem, size, "'%.31s' is not known here; a body is {\"service\": \"NAME\"}", key);
		else if (!json_is_string(value))
			snprintf(ret_problem, size, "'service' must be a service's name in quotes");
		else
			continue;
		return false;
	}
	return true;
}

static struct engine_service *service_asked_for(struct engine *e, const json_t *body, char *ret_problem, size_t size)
{
	if (!body_is_understood(body, ret_problem, size))
		return NULL;
	const char *name = json_string_value(json_object_get(body, "service"));
	if (!name && e->n_services == 1)
		return &e->services[0];
	for (size_t i = 0; name && i < e->n_services; i++)
		if (strcmp(e->services[i].conf->name, name) == 0)
			return &e->services[i];
	if (name)
		snprintf(ret_problem, size, "there is no service '%.31s'", name);
	else
		snprintf(ret_problem, size, "there are %zu services: name one, as in {\"service\": \"%s\"}", e->n_services,
		         e->services[0].conf->name);
	return NULL;
}

/* Without a body: an empty one. NULL: no JSON object. Caller gives it back. */
static json_t *body_of(const struct request *request)
{
	json_t *body = request->size ? json_loadb(request->body, request->size, JSON_REJECT_DUPLICATES, NULL) : json_object();
	if (json_is_object(body))
		return body;
	json_decref(body);
	return NULL;
}

typedef unsigned asked(struct engine *e, const json_t *body, json_t **ret_answer);

static enum MHD_Result post(struct request *request, asked *do_it)
{
	json_t *body = body_of(request), *answer;
	if (!body)
		return respond(request->connection, MHD_HTTP_BAD_REQUEST, sentence("the body is not a JSON object"));
	unsigned status = do_it(request->api->engine, body, &answer);
	json_decref(body);
	return respond(request->connection, status, answer);
}

static enum MHD_Result post_contain(struct request *request, const char *rest unused_arg)
{
	return post(request, report_contain);
}

static enum MHD_Result post_hold(struct request *request, const char *rest unused_arg)
{
	return post(request, report_hold);
}

static enum MHD_Result post_release(struct request *request, const char *rest unused_arg)
{
	return post(request, report_release);
}

static enum MHD_Result get_snapshots(struct request *request, const char *rest unused_arg)
{
	return respond(request->connection, MHD_HTTP_OK, vault_report(request->api->engine));
}

static enum MHD_Result get_data(struct request *request, const char *rest)
{
	uint64_t number = 0;
	if (rest[0] && !number_of(rest + 1, &number))
		return respond(request->connection, MHD_HTTP_NOT_FOUND,
		               sentence("changes are found by their incident's number, as in /v1/data/3"));
	return respond(request->connection, MHD_HTTP_OK, vault_changes(request->api->engine, number));
}

static enum MHD_Result post_backup(struct request *request, const char *rest unused_arg)
{
	return post(request, vault_backup);
}

static enum MHD_Result post_restore(struct request *request, const char *rest unused_arg)
{
	return post(request, vault_restore);
}

static enum MHD_Result post_return(struct request *request, const char *rest unused_arg)
{
	return post(request, vault_return);
}

static enum MHD_Result post_switch(struct request *request, const char *rest)
{
	static const char *const refusals[] = {
	        [PLAN_NO_STANDBY] = "no standby is healthy: a switch now would end the service",
	        [PLAN_BUSY] = "a switch or a repair is under way: try again when the status is ok",
	        [PLAN_BLIND_NOW] = "this host's senses are not trusted at the moment (clock or load): try again in a few seconds",
	};
	(void)rest;
	char problem[160];
	json_t *body = body_of(request);
	if (!body) {
		return respond(request->connection, MHD_HTTP_BAD_REQUEST,
		               sentence("the body is not a JSON object, as in {\"service\": \"NAME\"}"));
	}
	struct engine_service *s = service_asked_for(request->api->engine, body, problem, sizeof(problem));
	json_decref(body);
	if (!s)
		return respond(request->connection, MHD_HTTP_BAD_REQUEST, sentence(problem));
	enum plan_refusal refusal;
	uint64_t incident;
	service_switch(s, &refusal, &incident);
	if (refusal != PLAN_ACCEPTED)
		return respond(request->connection, MHD_HTTP_CONFLICT, sentence(refusals[refusal]));
	return respond(request->connection, MHD_HTTP_ACCEPTED, json_pack("{s:I}", "incident", (json_int_t)incident));
}

static const struct {
	const char *method, *path;
	bool rest; /* "/..." may follow */
	enum MHD_Result (*handle)(struct request *request, const char *rest);
} routes[] = {
        {"GET", "/v1/status", false, get_status},       {"GET", "/v1/variants", false, get_variants},
        {"GET", "/v1/incidents", true, get_incidents},  {"GET", "/v1/why", true, get_why},
        {"GET", "/v1/flows", true, get_flows},          {"POST", "/v1/switch", false, post_switch},
        {"GET", "/v1/files", false, get_files},         {"GET", "/v1/containments", false, get_containments},
        {"POST", "/v1/contain", false, post_contain},   {"POST", "/v1/release", false, post_release},
        {"GET", "/v1/evidence", true, get_evidence},    {"POST", "/v1/hold", false, post_hold},
        {"GET", "/v1/snapshots", false, get_snapshots}, {"GET", "/v1/data", true, get_data},
        {"POST", "/v1/backup", false, post_backup},     {"POST", "/v1/restore", false, post_restore},
        {"POST", "/v1/return", false, post_return},     {"GET", "/v1/secrets", true, get_secrets},
        {"GET", "/v1/lessons", false, get_lessons},     {"POST", "/v1/lessons", false, post_lessons},
};

static enum MHD_Result route(struct request *request, const char *url, const char *method)
{
	bool path_known = false;
	for (size_t i = 0; i < countof(routes); i++) {
		size_t length = strlen(routes[i].path);
		if (strncmp(url, routes[i].path, length) != 0 || (url[length] && (url[length] != '/' || !routes[i].rest)))
			continue;
		path_known = true;
		if (strcmp(method, routes[i].method) == 0)
			return routes[i].handle(request, url + length);
	}
	if (path_known)
		return respond(request->connection, MHD_HTTP_METHOD_NOT_ALLOWED, sentence("this path takes another method"));
	return respond(request->connection, MHD_HTTP_NOT_FOUND,
	               sentence("there are /v1/status, /v1/variants, /v1/files, /v1/incidents, /v1/incidents/N, /v1/why, "
	                        "/v1/why/NAME, /v1/flows, /v1/flows/NAME, /v1/containments, /v1/evidence, /v1/evidence/N, "
	                        "/v1/secrets, /v1/secrets/N, /v1/lessons, /v1/snapshots, "
	                        "/v1/data, /v1/data/N and POST /v1/switch, /v1/contain, /v1/hold, /v1/release, /v1/backup, "
	                        "/v1/restore, /v1/return, /v1/lessons"));
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url, const char *method,
                                  const char *version, const char *upload, size_t *upload_size, void **context)
{
	(void)version;
	struct request *request = *context;
	if (!request) {
		*context = request = calloc(1, sizeof(*request));
		assert(request);
		request->api = arg;
		request->connection = connection;
		return MHD_YES;
	}
	if (*upload_size) {
		size_t room = BODY_MAX - request->size, take_size = *upload_size < room ? *upload_size : room;
		request->too_long = request->too_long || *upload_size > room;
		memcpy(request->body + request->size, upload, take_size);
		request->size += take_size;
		*upload_size = 0;
		return MHD_YES;
	}
	if (request->too_long)
		return respond(connection, MHD_HTTP_CONTENT_TOO_LARGE, sentence("a body has at most 4096 bytes here"));
	return route(request, url, method);
}

static void on_completed(void *arg, struct MHD_Connection *connection, void **context, enum MHD_RequestTerminationCode code)
{
	(void)arg, (void)connection, (void)code;
	struct request *request = *context;
	if (!request)
		return;
	json_decref(request->answer);
	free(request);
	*context = NULL;
}

/* --- loop */

static void on_timer(uv_timer_t *timer)
{
	api_run(timer->data);
}

static void api_run(struct api *api)
{
	MHD_UNSIGNED_LONG_LONG timeout_ms;
	MHD_run(api->daemon);
	bool idle = MHD_get_timeout(api->daemon, &timeout_ms) != MHD_YES;
	if (!idle)
		uv_timer_start(&api->timer, on_timer, timeout_ms < 1000 ? timeout_ms : 1000, 0);
	else if (!api->idle) /* once more: only then does it look at the socket again, if there were too many connections */
		uv_timer_start(&api->timer, on_timer, 0, 0);
	else
		uv_timer_stop(&api->timer);
	api->idle = idle;
}

static void on_poll(uv_poll_t *poll, int status, int what)
{
	(void)status, (void)what;
	api_run(poll->data);
}

struct api *api_new(struct engine *e, int listen_fd, struct err *err)
{
	struct api *api = calloc(1, sizeof(*api));
	assert(api);
	api->engine = e;
	api->daemon =
	        MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_request, api,
	                         MHD_OPTION_LISTEN_SOCKET, listen_fd, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
	                         MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
	                         (size_t)MEMORY_MAX, MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL, MHD_OPTION_END);
	const union MHD_DaemonInfo *info = api->daemon ? MHD_get_daemon_info(api->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
	if (!info || uv_poll_init(e->loop, &api->poll, info->epoll_fd) != 0) {
		err_set(err, -EIO, "the API's socket cannot be served: is koboshi-engine started by koboshid?");
		if (api->daemon)
			MHD_stop_daemon(api->daemon);
		free(api);
		return NULL;
	}
	uv_timer_init(e->loop, &api->timer);
	api->poll.data = api->timer.data = api;
	uv_poll_start(&api->poll, UV_READABLE, on_poll);
	return api;
}

void api_free(struct api *api)
{
	uv_poll_stop(&api->poll);
	uv_timer_stop(&api->timer);
	MHD_quiesce_daemon(api->daemon); /* the listening socket is the supervisor's and serves our successor */
}
