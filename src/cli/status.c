/*
 * `koboshi status`: one look says whether all is well; if not, the first lines say what and why. Then each service with
 * its instances. What nobody has proven yet stands at the end, so that "ok" never claims more than it knows.
 */
#include "cli/api.h"
#include "cli/cli.h"
#include "cli/show.h"

#include <stdio.h>
#include <string.h>

static void print_head(const json_t *status)
{
	const char *state = show_string(status, "state"), *accelerator = show_string(status, "accelerator");
	enum show_mood mood = show_mood_of(state);
	char up[SHOW_TEXT_MAX];
	size_t i;
	json_t *reason;
	printf("%s%s%s  %s%s%s  koboshi %s, up %s", show_on(SHOW_BOLD), show_string(status, "device"), show_off(SHOW_BOLD),
	       show_on(mood), state, show_off(mood), show_string(status, "version"),
	       show_ms(1000 * json_number_value(json_object_get(status, "uptime_s")), up));
	printf("%s%s\n", *accelerator ? ", " : "",
	       strcmp(accelerator, "unknown") == 0 ? "accelerator not known yet" : accelerator);
	json_array_foreach(json_object_get(status, "reasons"), i, reason)
	        printf("  %s!%s %s\n", show_on(SHOW_WARN), show_off(SHOW_WARN), json_string_value(reason));
}

static void print_list(const json_t *list)
{
	size_t i;
	json_t *item;
	json_array_foreach(list, i, item) printf("%s%s", i ? ", " : "", json_string_value(item));
}

/* "nginx 1.22.1, php 8.2, linux 6.1.0": what differs most between variants first; the libc is in --json. */
static void software(const json_t *components, char *ret_text, size_t size)
{
	static const char *const layers[] = {"server", "runtime", "kernel"};
	size_t at = 0;
	ret_text[0] = '\0';
	for (size_t i = 0; i < countof(layers); i++) {
		const char *text = show_string(components, layers[i]);
		if (*text && at < size)
			at += (size_t)snprintf(ret_text + at, size - at, "%s%s", at ? ", " : "", text);
	}
}

static void print_probes(const json_t *probes, char *ret_text)
{
	long long good = json_integer_value(json_object_get(probes, "good")),
	          bad = json_integer_value(json_object_get(probes, "bad"));
	char last[SHOW_TEXT_MAX];
	const json_t *last_ms = json_object_get(probes, "last_ms");
	if (good + bad == 0)
		snprintf(ret_text, SHOW_TEXT_MAX, "none yet");
	else if (bad > 0)
		snprintf(ret_text, SHOW_TEXT_MAX, "%lld of %lld bad", bad, good + bad);
	else
		snprintf(ret_text, SHOW_TEXT_MAX, "%.40s",
		         json_is_number(last_ms) ? show_ms(json_number_value(last_ms), last) : "good");
}

/* "speaks", "speaks, 2 denied": what it found is in `koboshi why`. */
static enum show_mood print_agent(const json_t *agent, char *ret_text)
{
	const char *state = show_string(agent, "state");
	long long denied = json_integer_value(json_object_get(agent, "denied"));
	snprintf(ret_text, SHOW_TEXT_MAX, "%.20s", *state ? state : "-");
	if (denied > 0)
		snprintf(ret_text, SHOW_TEXT_MAX, "%.20s, %lld denied", state, denied);
	return strcmp(state, "silent") == 0 || denied > 0 ? SHOW_WARN : SHOW_PLAIN;
}

static void print_instance(struct libscols_table *table, const json_t *instance)
{
	struct libscols_line *row = show_row(table);
	const char *role = show_string(instance, "role"), *verdict = show_string(instance, "verdict");
	const char *state = show_string(instance, "state");
	const json_t *since = json_object_get(instance, "since_s"), *probes = json_object_get(instance, "probes");
	char text[SHOW_TEXT_MAX], parts[512];
	show_cell(row, 0, strcmp(role, "none") == 0 ? "-" : role, strcmp(role, "active") == 0 ? SHOW_BOLD : SHOW_PLAIN);
	show_cell(row, 1, show_string(instance, "name"), SHOW_PLAIN);
	show_cell(row, 2, show_string(instance, "variant"), SHOW_PLAIN);
	show_cell(row, 3, state, show_mood_of(state));
	show_cell(row, 4, json_is_number(since) ? show_ms(1000 * json_number_value(since), text) : "", SHOW_PLAIN);
	const json_t *exposed = json_object_get(instance, "exposed_s");
	show_cell(row, 5, json_is_number(exposed) ? show_ms(1000 * json_number_value(exposed), text) : "-",
	          json_is_true(json_object_get(instance, "worn")) ? SHOW_WARN : SHOW_PLAIN);
	show_cell(row, 6, verdict, show_mood_of(verdict));
	print_probes(probes, text);
	show_cell(row, 7, text, json_integer_value(json_object_get(probes, "bad")) > 0 ? SHOW_WARN : SHOW_PLAIN);
	enum show_mood mood = print_agent(json_object_get(instance, "agent"), text);
	show_cell(row, 8, text, mood);
	software(json_object_get(instance, "components"), parts, sizeof(parts));
	show_cell(row, 9, parts, SHOW_PLAIN);
}

static void print_reasons(const json_t *instances)
{
	size_t i;
	json_t *instance;
	json_array_foreach(instances, i, instance)
	{
		const char *verdict = show_string(instance, "verdict"), *reason = show_string(instance, "reason");
		if (strcmp(verdict, "healthy") != 0 && *reason)
			printf("  %s: %s%s%s: %s\n", show_string(instance, "name"), show_on(show_mood_of(verdict)), verdict,
			       show_off(show_mood_of(verdict)), reason);
	}
}

/* What the agents inside cannot do or had to leave out; silent where all is as it should be. */
static void print_agents(const json_t *instances)
{
	size_t i;
	json_t *instance;
	json_array_foreach(instances, i, instance)
	{
		const json_t *agent = json_object_get(instance, "agent"), *cannot = json_object_get(agent, "cannot");
		const char *name = show_string(instance, "name"), *trouble = show_string(agent, "trouble");
		long long lost = json_integer_value(json_object_get(agent, "lost"));
		if (json_array_size(cannot) > 0) {
			printf("  %s: its agent cannot ", name);
			print_list(cannot);
			printf("\n");
		}
		if (*trouble)
			printf("  %s: its agent: %s\n", name, trouble);
		if (json_is_true(json_object_get(agent, "learning")))
			printf("  %s: its agent learns what may run, or has learnt it\n", name);
		if (lost > 0)
			printf("  %s: its agent saw more than it could tell, %lld times\n", name, lost);
	}
}

static void print_service(const json_t *service)
{
	static const char *const columns[] = {"ROLE",    "NAME",    "VARIANT", "STATE", "FOR",
	                                      "EXPOSED", "VERDICT", "PROBE",   "AGENT", "SOFTWARE"};
	const json_t *instances = json_object_get(service, "instances");
	long long active = json_integer_value(json_object_get(service, "active"));
	const char *verdict = show_string(service, "verdict");
	size_t i;
	json_t *instance;
	printf("\n%s%s%s  ", show_on(SHOW_BOLD), show_string(service, "name"), show_off(SHOW_BOLD));
	print_list(json_object_get(service, "addresses"));
	printf("  ");
	print_list(json_object_get(service, "ports"));
	printf("  %s%s%s", show_on(show_mood_of(verdict)), verdict, show_off(show_mood_of(verdict)));
	if (active > 0)
		printf(", answered by kb-%lld\n", active);
	else
		printf(", %sanswered by nobody%s\n", show_on(SHOW_BAD), show_off(SHOW_BAD));
	if (json_array_size(instances) == 0) {
		printf("  no instance yet\n");
		return;
	}
	struct libscols_table *table = show_table_new(columns, countof(columns));
	json_array_foreach(instances, i, instance) print_instance(table, instance);
	show_table_print(table);
	print_reasons(instances);
	print_agents(instances);
}

static void print_processes(const json_t *processes)
{
	size_t i;
	json_t *process;
	if (json_array_size(processes) == 0)
		return;
	printf("\n%sprocesses%s ", show_on(SHOW_QUIET), show_off(SHOW_QUIET));
	json_array_foreach(processes, i, process)
	{
		long long restarts = json_integer_value(json_object_get(process, "restarts"));
		double rss = json_number_value(json_object_get(process, "rss_kb"));
		printf("%s %s", i ? "," : "", show_string(process, "role"));
		if (rss > 0)
			printf(" %.1f MiB", rss / 1024);
		if (restarts > 0)
			printf(" %s(restarted %lldx)%s", show_on(SHOW_WARN), restarts, show_off(SHOW_WARN));
	}
	printf("\n");
}

/* Not a reason for "degraded", but nothing that should pass unseen. */
static void print_host(const json_t *words, size_t most)
{
	long long count = json_integer_value(json_object_get(words, "count"));
	size_t i;
	json_t *word;
	json_array_foreach(json_object_get(words, "recent"), i, word)
	{
		char ago[SHOW_TEXT_MAX];
		if (i == most)
			break;
		printf("%shost%s       %s, %s ago", show_on(SHOW_WARN), show_off(SHOW_WARN), show_string(word, "text"),
		       show_ms(1000 * json_number_value(json_object_get(word, "ago_s")), ago));
		if (i + 1 == most && count > (long long)most)
			printf(" (%lld in all)", count);
		printf("\n");
	}
}

/* Nothing to say while nobody touched one and the tarpit is where it should be. */
static void print_decoys(const json_t *decoys)
{
	long long touches = json_integer_value(json_object_get(decoys, "touches"));
	char ago[SHOW_TEXT_MAX];
	if (touches > 0)
		printf("\n%sdecoys%s     %lld touches, %lld connections held; the last %s ago: %s\n", show_on(SHOW_WARN),
		       show_off(SHOW_WARN), touches, json_integer_value(json_object_get(decoys, "held")),
		       show_ms(1000 * json_number_value(json_object_get(decoys, "ago_s")), ago), show_string(decoys, "last"));
	else if (json_is_true(json_object_get(decoys, "enabled")) && json_is_false(json_object_get(decoys, "answered")))
		printf("\n%sdecoys%s     nobody answers: koboshi-decoy is away; touches are seen all the same\n",
		       show_on(SHOW_WARN), show_off(SHOW_WARN));
}

static void print_files(const json_t *files)
{
	const json_t *last = json_object_get(files, "last");
	long long bad = json_integer_value(json_object_get(files, "bad"));
	enum show_mood mood = bad > 0 ? SHOW_BAD : SHOW_QUIET;
	char ago[SHOW_TEXT_MAX];
	if (!json_is_object(files))
		return;
	printf("\n%sfiles%s      %lld looked at, %lld bad, %lld unknown, %lld could not be judged", show_on(mood), show_off(mood),
	       json_integer_value(json_object_get(files, "looked_at")), bad,
	       json_integer_value(json_object_get(files, "unknown")), json_integer_value(json_object_get(files, "skipped")));
	if (json_is_object(last))
		printf("; the last: %s, %s ago", show_string(last, "text"),
		       show_ms(1000 * json_number_value(json_object_get(last, "ago_s")), ago));
	printf("\n");
}

static void print_wanted(const json_t *wanted)
{
	const json_t *failed = json_object_get(wanted, "failed");
	char time[SHOW_TEXT_MAX];
	if (*show_string(wanted, "image"))
		printf("\n%swanted%s     an image of %s, for %s\n", show_on(SHOW_WARN), show_off(SHOW_WARN),
		       show_string(wanted, "image"), show_ms(1000 * json_number_value(json_object_get(wanted, "for_s")), time));
	if (json_is_object(failed))
		printf("%s%snot built%s  %s: %s\n", *show_string(wanted, "image") ? "" : "\n", show_on(SHOW_BAD),
		       show_off(SHOW_BAD), show_string(failed, "image"), show_string(failed, "text"));
}

static void print_unproven(const json_t *unproven)
{
	size_t i;
	json_t *item;
	json_array_foreach(unproven, i, item)
	        printf("%sunproven%s   %s\n", show_on(SHOW_QUIET), show_off(SHOW_QUIET), json_string_value(item));
}

int cli_status(const struct cli *cli)
{
	struct api_answer answer;
	size_t i;
	json_t *service;
	if (cli_ask(cli, "/v1/status", NULL, &answer) != 0)
		return CLI_FAILED;
	if (!cli->json) {
		print_head(answer.json);
		json_array_foreach(json_object_get(answer.json, "services"), i, service) print_service(service);
		const json_t *meddled = json_object_get(answer.json, "meddled"), *lapses = json_object_get(answer.json, "lapses");
		if (json_is_object(meddled) || json_is_object(lapses))
			printf("\n");
		print_host(meddled, 4);
		print_host(lapses, 1);
		print_decoys(json_object_get(answer.json, "decoys"));
		print_files(json_object_get(answer.json, "files"));
		print_wanted(json_object_get(answer.json, "wanted"));
		print_processes(json_object_get(answer.json, "processes"));
		print_unproven(json_object_get(answer.json, "unproven"));
	}
	api_answer_done(&answer);
	return 0;
}
