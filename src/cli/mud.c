/* `koboshi mud ...`: needs no koboshid and changes nothing; what it prints is for nft, or for whoever wants to read it. */
#include "cli/cli.h"
#include "mud/mud.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define LINK_DEFAULT "kb0"
#define LIMIT_PER_SECOND 10

static int outside_named(const char *word, enum mud_outside *ret_outside)
{
	static const char *const words[] = {[MUD_COUNT] = "count", [MUD_LIMIT] = "limit", [MUD_CUT] = "cut"};
	for (size_t i = 0; i < countof(words); i++)
		if (strcmp(word, words[i]) == 0) {
			*ret_outside = (enum mud_outside)i;
			return 0;
		}
	return cli_fail("what is outside of the profile can be met with count, limit or cut, not with '%.40s'", word);
}

static json_t *list_of(const char (*words)[MUD_URI_MAX], size_t n)
{
	json_t *list = json_array();
	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, json_string(words[i]));
	return list;
}

static int print_json(const struct mud *mud, const char *rules)
{
	json_t *what =
	        json_pack("{s:s, s:s, s:b, s:i, s:i, s:i, s:o, s:o, s:s}", "url", mud->url, "last_update", mud->last_update,
	                  "supported", (int)mud->supported, "cache_hours", (int)mud->cache_hours, "from_device", (int)mud->n_from,
	                  "to_device", (int)(mud->n_aces - mud->n_from), "names", list_of(mud->names, mud->n_names),
	                  "controllers", list_of(mud->controllers, mud->n_controllers), "rules", rules);
	if (json_dumpf(what, stdout, JSON_COMPACT) == 0)
		putchar('\n');
	json_decref(what);
	return 0;
}

static int print_rules(const struct cli *cli, const struct mud *mud, const struct mud_target *target)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	if (!out)
		abort();
	mud_compile(mud, target, out);
	if (ferror(out) || fclose(out) != 0)
		abort();
	if (cli->json)
		print_json(mud, text);
	else
		fputs(text, stdout);
	free(text);
	if (!mud->supported)
		fprintf(stderr, "koboshi: note: the maker of this device supports it no more ('is-supported' is false)\n");
	return 0;
}

int cli_mud_compile(const struct cli *cli)
{
	struct err err;
	struct mud_target target = {
	        .link = cli->n_args > 1 ? cli->args[1] : LINK_DEFAULT, .outside = MUD_CUT, .limit_per_second = LIMIT_PER_SECOND};
	if (!mud_link_is_fine(target.link))
		return cli_fail("'%.40s' is no name of a network link", target.link);
	int r = cli->n_args > 2 ? outside_named(cli->args[2], &target.outside) : 0;
	if (r)
		return r;
	auto_free struct mud *mud = mud_load(cli->args[0], &err);
	return mud ? print_rules(cli, mud, &target) : cli_fail("%s", err.text);
}
