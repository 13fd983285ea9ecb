/*
 * koboshid, the supervisor: starts koboshi-net, koboshi-vm and koboshi-engine, each with its own rights, connects them, and
 * starts again whatever falls. It decides nothing about guests, parses nothing but its children's short messages, and
 * stays in the foreground. Guests are not its children's business to end: they go on when it stops.
 */
#include "lib/log.h"
#include "supervisor/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sysexits.h>

#define OOM_SCORE (-900)

struct options {
	const char *config, *libexec, *watchdog;
	bool check;
};

static const char usage[] = "usage: koboshid [--config FILE] [--check] [--libexec DIR] [--watchdog DEVICE]\n"
                            "  -c, --config FILE      configuration (/etc/koboshi/koboshi.yaml)\n"
                            "  -n, --check            check the configuration and end\n"
                            "      --libexec DIR      where koboshi-engine, koboshi-net and koboshi-vm are\n"
                            "      --watchdog DEVICE  feed this hardware watchdog while the engine proves progress\n"
                            "      --version, --help\n";

/* -1: go on; else the exit status. */
static int options_read(int argc, char **argv, struct options *ret)
{
	enum { LIBEXEC = 256, WATCHDOG, VERSION, HELP };
	static const struct option table[] = {{"config", required_argument, NULL, 'c'},
	                                      {"check", no_argument, NULL, 'n'},
	                                      {"libexec", required_argument, NULL, LIBEXEC},
	                                      {"watchdog", required_argument, NULL, WATCHDOG},
	                                      {"version", no_argument, NULL, VERSION},
	                                      {"help", no_argument, NULL, HELP},
	                                      {0}};
	*ret = (struct options){.config = "/etc/koboshi/koboshi.yaml", .libexec = KOBOSHI_LIBEXECDIR};
	for (int c; (c = getopt_long(argc, argv, "c:n", table, NULL)) != -1;)
		switch (c) {
		case 'c':
			ret->config = optarg;
			break;
		case 'n':
			ret->check = true;
			break;
		case LIBEXEC:
			ret->libexec = optarg;
			break;
		case WATCHDOG:
			ret->watchdog = optarg;
			break;
		case VERSION:
			puts("koboshid " KOBOSHI_VERSION);
			return EX_OK;
		case HELP:
			fputs(usage, stdout);
			return EX_OK;
		default:
			fputs(usage, stderr);
			return EX_USAGE;
		}
	if (optind == argc)
		return -1;
	fprintf(stderr, "koboshid: '%s' is one word too many\n%s", argv[optind], usage);
	return EX_USAGE;
}

/* Descriptors 0 to 2 must be something, or the first file that we open takes the place of the log. */
static void standard_descriptors_make(void)
{
	int fd;
	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd > STDERR_FILENO)
		close(fd);
}

/* The children change into "/": paths that they are given must not depend on where we were started. */
static int path_absolute(const char *path, char ret_path[static PATH_MAX], struct err *err)
{
	if (!realpath(path, ret_path))
		return err_set(err, -errno, "cannot find '%s': %s", path, strerror(errno));
	return 0;
}

static void protect_from_memory_shortage(struct place *place)
{
	auto_close int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || dprintf(fd, "%d", OOM_SCORE) < 0)
		place_unproven(place,
		               "koboshid may be chosen when memory runs out: it lacks the right to lower its oom_score_adj");
}

static int run(const struct options *options, const struct settings *settings, const char *config, const char *libexec,
               struct err *err)
{
	static struct place place;
	struct notify notify;
	int signals;
	if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0)
		return err_set(err, -errno, "cannot become the one that orphans come to: %s", strerror(errno));
	(void)!setpriority(PRIO_PROCESS, 0, -10); /* who sees and steers must not stand in line behind what went wrong */
	int r = place_take(&place, settings, libexec, err);
	if (r < 0)
		return r;
	protect_from_memory_shortage(&place);
	r = notify_init(&notify, options->watchdog, err);
	r = r == 0 ? watch_signals(&signals, err) : r;
	if (r == 0) {
		const struct child_world world = {.libexec = libexec, .config = config, .settings = settings, .place = &place};
		watch_run(&world, &notify, signals);
		notify_done(&notify);
	}
	place_leave(&place);
	return r;
}

/* A file that is wrong stays wrong, and the unit does not try again; a host that could not read it just now (a disk that stands
 * still, no process to be had) is no reason to stay away. */
static int config_status(int code)
{
	static const int passing[] = {-EIO, -EAGAIN, -EMFILE, -ENFILE, -ENOMEM};
	for (size_t i = 0; i < countof(passing); i++)
		if (code == passing[i])
			return EXIT_FAILURE;
	return EX_CONFIG;
}

int main(int argc, char **argv)
{
	static char config[PATH_MAX], libexec[PATH_MAX];
	struct options options;
	struct settings settings;
	struct err err;
	standard_descriptors_make();
	log_init("koboshid", LOG_LEVEL_INFO);
	int status = options_read(argc, argv, &options);
	if (status >= 0)
		return status;
	if (path_absolute(options.config, config, &err) < 0 || settings_load(config, NULL, &settings, &err) < 0) {
		log_error("supervisor.config", "%s", err.text);
		return config_status(err.code);
	}
	if (options.check) {
		printf("%s: good\n", options.config);
		return EX_OK;
	}
	if (path_absolute(options.libexec, libexec, &err) < 0 || run(&options, &settings, config, libexec, &err) < 0) {
		log_error("supervisor.start", "%s", err.text);
		return EXIT_FAILURE;
	}
	log_notice("supervisor.stop", "stopped");
	return EX_OK;
}
