#pragma once
/*
 * `koboshi`: the command line. Each command is one row of the table in main.c and one function; it gets its own
 * arguments and these options. Returns the exit code: 0, or CLI_FAILED after one sentence on standard error.
 */
#include "lib/err.h"

#include <stdbool.h>

#define CLI_FAILED 1 /* exit code: asked rightly, did not work */
#define CLI_USAGE 2  /* exit code: asked wrongly */

struct cli {
	const char *socket;
	bool json;
	const char *word; /* the command */
	int n_args;
	char **args; /* behind the command's own words */
};

int cli_status(const struct cli *cli);
int cli_switch(const struct cli *cli);
int cli_incidents(const struct cli *cli);
int cli_evidence(const struct cli *cli);
int cli_secrets(const struct cli *cli);
int cli_why(const struct cli *cli);
int cli_flows(const struct cli *cli);
int cli_variants(const struct cli *cli);
int cli_config_check(const struct cli *cli);
int cli_config_schema(const struct cli *cli);
int cli_mud_compile(const struct cli *cli);
int cli_scan(const struct cli *cli);
int cli_contain(const struct cli *cli);
int cli_hold(const struct cli *cli); /* lock, freeze, stop */
int cli_release(const struct cli *cli);
int cli_containments(const struct cli *cli);
int cli_backup(const struct cli *cli);
int cli_snapshots(const struct cli *cli);
int cli_restore(const struct cli *cli);
int cli_data_diff(const struct cli *cli);
int cli_data_return(const struct cli *cli);
int cli_lessons(const struct cli *cli);
int cli_lessons_export(const struct cli *cli);
int cli_lessons_import(const struct cli *cli);

/* Prints "koboshi: SENTENCE" on standard error; returns CLI_FAILED. */
int cli_fail(const char *format, ...) printf_like(1, 2);

/* What goes into a path must be a name: anything else could be another path. */
bool cli_is_name(const char *text);

struct api_answer;

/* Asks the API. An error of any kind is printed (CLI_FAILED). With --json the answer's bytes are printed as they came,
 * an error's too; what is left to the caller is then only api_answer_done. */
int cli_ask(const struct cli *cli, const char *path, const char *body, struct api_answer *ret_answer) must_use;
