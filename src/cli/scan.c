/* `koboshi scan PATH...`: needs no koboshid. koboshi-scan does it, the one program that links libyara; this only becomes it. */
#include "cli/cli.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

int cli_scan(const struct cli *cli)
{
	const char *folder = getenv("KOBOSHI_LIBEXEC");
	char program[PATH_MAX];
	const char **args = calloc((size_t)cli->n_args + 3, sizeof(*args));
	size_t n = 0;
	if (!args)
		abort();
	snprintf(program, sizeof(program), "%s/koboshi-scan", folder && *folder ? folder : KOBOSHI_LIBEXECDIR);
	args[n++] = program;
	if (cli->json)
		args[n++] = "--json";
	for (int i = 0; i < cli->n_args; i++)
		args[n++] = cli->args[i];
	execv(program, (char *const *)args);
	int error = errno;
	free(args);
	return cli_fail("cannot run '%s': %s", program, strerror(error));
}
