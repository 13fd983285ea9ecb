/*
 * `koboshi`: shows what koboshid does and asks it for things. A command is a row of the table below: how it is called,
 * what it says about itself, what does it. Help, usage errors and "did you mean" come from the same rows.
 */
#include "cli/api.h"
#include "cli/cli.h"
#include "lib/near.h"

#include <ctype.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define SOCKET_DEFAULT "/run/koboshi/koboshi.sock"

struct command {
	const char *name; /* one or two words */
	const char *args;
	int args_min, args_max;
	const char *help;
	int (*run)(const struct cli *cli);
};

static int cli_version(const struct cli *cli);
static int cli_help(const struct cli *cli);

static const struct command commands[] = {
        {"status", "", 0, 0, "the state of the device, its services and their instances", cli_status},
        {"switch", "[SERVICE]", 0, 1, "move a service to its standby without a failed request", cli_switch},
        {"incidents", "[N]", 0, 1, "what happened; with a number the story of one", cli_incidents},
        {"evidence", "[N]", 0, 1, "what is kept of fallen guests; with a number of one incident", cli_evidence},
        {"secrets", "[INSTANCE]", 0, 1, "what guests could read (never a value), and what of it is refused", cli_secrets},
        {"variants", "", 0, 0, "what guests can be made of, and what two of them share", cli_variants},
        {"why", "[SUBJECT]", 0, 1, "why an instance or a variant is judged as it is, and what would change it", cli_why},
        {"flows", "[INSTANCE]", 0, 1, "flows of the instances, and what of them would be unusual", cli_flows},
        {"contain", "WHAT REASON [FOR]", 2, 6,
         "cut an address, a network, 'flow tcp CLIENT:PORT SERVICE:PORT' or 'port [SERVICE] 80/tcp' off from the services, or "
         "'limit SOURCE 20/s'; for so long (10min, 24h)",
         cli_contain},
        {"lock", "INSTANCE REASON [FOR]", 2, 3, "keep an instance from clients; this host still reaches it", cli_hold},
        {"freeze", "INSTANCE REASON [FOR]", 2, 3, "keep it from clients and let its processors stand still", cli_hold},
        {"stop-service", "INSTANCE REASON [FOR]", 2, 3, "keep it from clients and have its agent stop the service inside",
         cli_hold},
        {"stop", "INSTANCE REASON", 2, 2, "end an instance; another takes its place", cli_hold},
        {"release", "N", 1, 1, "end a containment", cli_release},
        {"containments", "", 0, 0, "what is contained, why, by whom and until when", cli_containments},
        {"backup", "[SERVICE]", 0, 1, "take a snapshot of a service's data now", cli_backup},
        {"snapshots", "", 0, 0, "what services' data can go back to", cli_snapshots},
        {"restore", "N [SERVICE]", 1, 2, "bring the data back to snapshot N; what was changed since is put aside", cli_restore},
        {"data diff", "[INCIDENT]", 0, 1, "what was changed in the data and put aside", cli_data_diff},
        {"data return", "N [SERVICE]", 1, 2, "put change N back into the data", cli_data_return},
        {"lessons", "", 0, 0, "what incidents taught, here and elsewhere", cli_lessons},
        {"lessons export", "[N]", 0, 1, "print lessons as they were signed, one a line", cli_lessons_export},
        {"lessons import", "FILE", 1, 1, "take lessons of other devices whose keys are trusted", cli_lessons_import},
        {"config check", "[FILE]", 0, 1, "check a configuration file (default: /etc/koboshi/koboshi.yaml)", cli_config_check},
        {"config schema", "", 0, 0, "print the configuration's JSON Schema, for editors", cli_config_schema},
        {"mud compile", "FILE [LINK [count|limit|cut]]", 1, 3, "turn a MUD file (RFC 8520) into nftables rules for a link",
         cli_mud_compile},
        {"scan", "[-- OPTIONS] PATH...", 1, INT_MAX,
         "judge files by lists of sums and YARA rules (options: koboshi scan -- --help)", cli_scan},
        {"version", "", 0, 0, "print the version", cli_version},
        {"help", "[COMMAND]", 0, 2, "print this, or how a command is used", cli_help},
};

int cli_fail(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	fputs("koboshi: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	return CLI_FAILED;
}

bool cli_is_name(const char *text)
{
	size_t length = strlen(text);
	for (size_t i = 0; i < length; i++)
		if (!isalnum((unsigned char)text[i]) && text[i] != '-' && text[i] != '_' && text[i] != '.')
			return false;
	return length > 0 && length < 64;
}

int cli_ask(const struct cli *cli, const char *path, const char *body, struct api_answer *ret_answer)
{
	struct err err;
	if (api_call(cli->socket, path, body, ret_answer, &err) < 0)
		return cli_fail("%s", err.text);
	if (cli->json)
		printf("%s\n", ret_answer->body);
	if (ret_answer->status < 400)
		return 0;
	const char *sentence = json_string_value(json_object_get(ret_answer->json, "error"));
	if (sentence)
		cli_fail("%s", sentence);
	else
		cli_fail("koboshid refuses without saying why (HTTP %d)", ret_answer->status);
	api_answer_done(ret_answer);
	return CLI_FAILED;
}

static int cli_version(const struct cli *cli)
{
	printf(cli->json ? "{\"version\":\"%s\"}\n" : "koboshi %s\n", KOBOSHI_VERSION);
	return 0;
}

static void print_usage(FILE *to)
{
	fputs("usage: koboshi COMMAND [ARGUMENTS] [OPTIONS]\n\n", to);
	for (size_t i = 0; i < countof(commands); i++)
		fprintf(to, "  %-13s %-10s %s\n", commands[i].name, commands[i].args, commands[i].help);
	fputs("\n  --json              print JSON, as the API gives it\n"
	      "  --socket PATH       koboshid's socket (or KOBOSHI_SOCKET; default " SOCKET_DEFAULT ")\n"
	      "  --help, --version\n\n"
	      "The manual: koboshi(1), koboshi.conf(5), koboshid(8)\n",
	      to);
}

static void print_command_usage(const struct command *command, FILE *to)
{
	fprintf(to, "usage: koboshi %s%s%s [--json] [--socket PATH]\n", command->name, *command->args ? " " : "", command->args);
}

/* How many words of `args` name the command: 0 when they do not. */
static int words_named(const struct command *command, char **args, int n_args)
{
	const char *second = strchr(command->name, ' ');
	size_t first = second ? (size_t)(second - command->name) : strlen(command->name);
	if (n_args < 1 || strlen(args[0]) != first || strncmp(args[0], command->name, first) != 0)
		return 0;
	if (!second)
		return 1;
	return n_args > 1 && strcmp(args[1], second + 1) == 0 ? 2 : 0;
}

static const struct command *command_named(char **args, int n_args, int *ret_words)
{
	const struct command *found = NULL;
	*ret_words = 0;
	for (size_t i = 0; i < countof(commands); i++) {
		int words = words_named(&commands[i], args, n_args);
		if (words <= *ret_words) /* of "lessons" and "lessons export" the longer one */
			continue;
		*ret_words = words;
		found = &commands[i];
	}
	return found;
}

static int refuse_command(char **args, int n_args)
{
	const char *names[countof(commands)];
	char given[80];
	for (size_t i = 0; i < countof(commands); i++)
		names[i] = commands[i].name;
	bool two = (strcmp(args[0], "config") == 0 || strcmp(args[0], "mud") == 0) && n_args > 1;
	snprintf(given, sizeof(given), "%.38s%s%.38s", args[0], two ? " " : "", two ? args[1] : "");
	const char *near = near_word(given, names, countof(names));
	if (near)
		cli_fail("unknown command '%s', did you mean '%s'?", given, near);
	else if (strcmp(given, "config") == 0)
		cli_fail("'config' needs one more word: config check, config schema");
	else if (strcmp(given, "mud") == 0)
		cli_fail("'mud' needs one more word: mud compile");
	else
		cli_fail("unknown command '%s'; 'koboshi help' lists them", given);
	return CLI_USAGE;
}

static int cli_help(const struct cli *cli)
{
	int words;
	if (cli->n_args == 0) {
		print_usage(stdout);
		return 0;
	}
	const struct command *command = command_named(cli->args, cli->n_args, &words);
	if (!command)
		return refuse_command(cli->args, cli->n_args);
	print_command_usage(command, stdout);
	printf("%s\n", command->help);
	return 0;
}

enum option_found { OPTION_NONE, OPTION_HELP, OPTION_VERSION, OPTION_BAD };

static enum option_found read_options(int argc, char **argv, struct cli *cli)
{
	static const struct option options[] = {
	        {"json", no_argument, NULL, 'j'},
	        {"socket", required_argument, NULL, 's'},
	        {"help", no_argument, NULL, 'h'},
	        {"version", no_argument, NULL, 'V'},
	        {NULL, 0, NULL, 0},
	};
	const char *socket = getenv("KOBOSHI_SOCKET");
	cli->socket = socket && *socket ? socket : SOCKET_DEFAULT;
	for (int c; (c = getopt_long(argc, argv, "hjs:V", options, NULL)) >= 0;) {
		if (c == 'j')
			cli->json = true;
		else if (c == 's')
			cli->socket = optarg;
		else
			return c == 'h' ? OPTION_HELP : c == 'V' ? OPTION_VERSION : OPTION_BAD;
	}
	return OPTION_NONE;
}

static int run(struct cli *cli)
{
	int words;
	const struct command *command = command_named(cli->args, cli->n_args, &words);
	if (!command)
		return refuse_command(cli->args, cli->n_args);
	cli->args += words;
	cli->n_args -= words;
	if (cli->n_args < command->args_min || cli->n_args > command->args_max) {
		print_command_usage(command, stderr);
		return CLI_USAGE;
	}
	cli->word = command->name;
	return command->run(cli);
}

int main(int argc, char **argv)
{
	struct cli cli = {0};
	enum option_found found = read_options(argc, argv, &cli);
	cli.args = argv + optind;
	cli.n_args = argc - optind;
	int code;
	if (found == OPTION_HELP) {
		code = cli_help(&cli);
	} else if (found == OPTION_VERSION) {
		code = cli_version(&cli);
	} else if (found == OPTION_BAD || cli.n_args == 0) {
		print_usage(stderr);
		code = CLI_USAGE;
	} else {
		code = run(&cli);
	}
	if (fflush(stdout) != 0 || ferror(stdout))
		return cli_fail("cannot write to standard output");
	return code;
}
