/* `koboshi switch [SERVICE]`: a planned switch to the standby. With one service there is nothing to choose. */
#include "cli/api.h"
#include "cli/cli.h"
#include "cli/show.h"

#include <stdio.h>
#include <string.h>

/* The only service's name; otherwise a sentence that lists what there is. Caller frees. */
static char *only_service(const struct cli *cli)
{
	const struct cli quiet = {.socket = cli->socket};
	struct api_answer answer;
	char names[256] = "", *name = NULL;
	size_t i, at = 0;
	json_t *service;
	if (cli_ask(&quiet, "/v1/status", NULL, &answer) != 0)
		return NULL;
	const json_t *services = json_object_get(answer.json, "services");
	json_array_foreach(services, i, service) if (at < sizeof(names)) at +=
	        (size_t)snprintf(names + at, sizeof(names) - at, "%s%s", i ? ", " : "", show_string(service, "name"));
	if (json_array_size(services) == 1)
		name = strdup(names);
	else
		cli_fail("which service? There %s %s", json_array_size(services) ? "are" : "is", *names ? names : "none yet");
	api_answer_done(&answer);
	return name;
}

int cli_switch(const struct cli *cli)
{
	struct api_answer answer;
	auto_free char *name = cli->n_args == 1 ? strdup(cli->args[0]) : only_service(cli);
	if (!name)
		return CLI_FAILED;
	json_t *question = json_pack("{s:s}", "service", name);
	auto_free char *body = question ? json_dumps(question, JSON_COMPACT) : NULL;
	json_decref(question);
	if (!body)
		return cli_fail("'%.40s' is not a service's name", name);
	if (cli_ask(cli, "/v1/switch", body, &answer) != 0)
		return CLI_FAILED;
	if (!cli->json) {
		long long incident = json_integer_value(json_object_get(answer.json, "incident"));
		printf("%s is being switched to its standby. Its story: koboshi incidents %lld\n", name, incident);
	}
	api_answer_done(&answer);
	return 0;
}
