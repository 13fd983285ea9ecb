/* `koboshi config ...`: needs no koboshid. What it accepts is what the processes accept: the same reader. */
#include "cli/cli.h"
#include "conf/conf.h"
#include "conf/schema.h"
#include "mud/profile.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int print_verdict(json_t *verdict, int code)
{
	if (json_dumpf(verdict, stdout, JSON_COMPACT) == 0)
		putchar('\n');
	json_decref(verdict);
	return code;
}

static size_t variants_of(const struct conf *conf)
{
	size_t n = 0;
	for (size_t i = 0; i < conf->n_services; i++)
		n += conf->services[i].n_variants;
	return n;
}

/* Legal, but not what Koboshi is for: said without failing. */
static void print_notes(const struct conf *conf)
{
	for (size_t i = 0; i < conf->n_services; i++) {
		const struct conf_service *s = &conf->services[i];
		if (s->n_variants == 1)
			printf("note: service '%s' has one variant: whatever fells it fells its replacement too\n", s->name);
		if (s->standby == 0)
			printf("note: service '%s' has no standby: a switch waits for a guest to wake or boot\n", s->name);
		if (s->profile[0] && s->outside != CONF_OUTSIDE_CUT)
			printf("note: service '%s' lets pass %s its profile does not allow\n", s->name,
			       s->outside == CONF_OUTSIDE_COUNT ? "what" : "some of what");
		if (s->n_clients4 + s->n_clients6 == 0)
			printf("note: service '%s' names no clients: their addresses are hidden from the guest\n", s->name);
	}
	if (conf->lab)
		printf("note: 'lab' is on: guests take commands from the host; never on a real device\n");
}

/* The files that the configuration names and koboshi-net reads at its start; all of them, not only the first bad one. */
static int profiles_check(const struct conf *conf, json_t *problems)
{
	for (size_t i = 0; i < conf->n_services; i++) {
		struct err err = {0};
		if (!conf->services[i].profile[0])
			continue;
		struct mud *mud = mud_profile_load(conf, &conf->services[i], &err);
		if (!mud)
			json_array_append_new(problems, json_string(err.text));
		free(mud);
	}
	return (int)json_array_size(problems);
}

static int print_profile_problems(const struct cli *cli, json_t *problems)
{
	size_t i;
	json_t *problem;
	if (cli->json)
		return print_verdict(
		        json_pack("{s:b, s:O, s:o}", "ok", 0, "error", json_array_get(problems, 0), "profiles", problems),
		        CLI_FAILED);
	json_array_foreach(problems, i, problem) fprintf(stderr, "%s\n", json_string_value(problem));
	json_decref(problems);
	return CLI_FAILED;
}

int cli_config_check(const struct cli *cli)
{
	struct err err;
	auto_free struct conf *conf = malloc(sizeof(*conf));
	if (!conf)
		abort();
	const char *path = cli->n_args == 1 ? cli->args[0] : "/etc/koboshi/koboshi.yaml";
	if (conf_load(path, conf, &err) < 0) {
		if (cli->json)
			return print_verdict(json_pack("{s:b, s:s%}", "ok", 0, "error", err.text, strlen(err.text)), CLI_FAILED);
		fprintf(stderr, "%s\n", err.text);
		return CLI_FAILED;
	}
	json_t *problems = json_array();
	if (profiles_check(conf, problems) > 0)
		return print_profile_problems(cli, problems);
	json_decref(problems);
	size_t variants = variants_of(conf);
	if (cli->json)
		return print_verdict(json_pack("{s:b, s:I, s:I}", "ok", 1, "services", (json_int_t)conf->n_services, "variants",
		                               (json_int_t)variants),
		                     0);
	printf("%s: ok: %zu service%s, %zu variant%s\n", path, conf->n_services, conf->n_services == 1 ? "" : "s", variants,
	       variants == 1 ? "" : "s");
	print_notes(conf);
	return 0;
}

int cli_config_schema(const struct cli *cli unused_arg)
{
	conf_print_json_schema(stdout);
	return 0;
}
