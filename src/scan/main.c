/*
 * koboshi-scan: looks at what guests write into folders of this host. Started by the supervisor when the configuration names
 * such folders; or by hand (`koboshi scan`) to judge files.
 */
#include "lib/bytes.h"
#include "lib/log.h"
#include "scan/run.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <string.h>

#define CONFIG_DEFAULT "/etc/koboshi/koboshi.yaml"

static const char usage[] = "usage: koboshi-scan [--config FILE | --rules DIR, --good FILE, --bad FILE] [--json] PATH...\n"
                            "  --config FILE  take rules, lists and limits of its 'files' (" CONFIG_DEFAULT ")\n"
                            "  --rules DIR    YARA rules, *.yar and *.yara\n"
                            "  --good FILE    SHA-256 sums of good files, as sha256sum writes them\n"
                            "  --bad FILE     SHA-256 sums of bad files\n"
                            "  --json         a JSON object for each file\n"
                            "Prints a verdict for each file: good, bad, unknown or skipped. 0: nothing is bad; 1: something is;\n"
                            "2: asked wrongly; 3: nothing is bad, but something could not be judged.\n"
                            "Without a PATH it serves the supervisor on descriptor 3.\n";

struct options {
	const char *config, *rules, *good, *bad;
	bool json;
};

static int options_read(int argc, char **argv, struct options *ret)
{
	static const struct option table[] = {{"config", required_argument, NULL, 'c'},
	                                      {"rules", required_argument, NULL, 'r'},
	                                      {"good", required_argument, NULL, 'g'},
	                                      {"bad", required_argument, NULL, 'b'},
	                                      {"json", no_argument, NULL, 'j'},
	                                      {"help", no_argument, NULL, 'h'},
	                                      {0}};
	*ret = (struct options){0};
	for (int c; (c = getopt_long(argc, argv, "c:j", table, NULL)) != -1;)
		switch (c) {
		case 'c':
			ret->config = optarg;
			break;
		case 'r':
			ret->rules = optarg;
			break;
		case 'g':
			ret->good = optarg;
			break;
		case 'b':
			ret->bad = optarg;
			break;
		case 'j':
			ret->json = true;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs(usage, stderr);
			return 2;
		}
	return -1;
}

static int path_take(char to[static CONF_PATH_MAX], const char *from, struct err *err)
{
	if (from && !text_copy(to, CONF_PATH_MAX, from))
		return err_set(err, -ENAMETOOLONG, "'%.60s...' is too long: at most %d bytes", from, CONF_PATH_MAX - 1);
	return 0;
}

/* The limits are the configuration's, or the defaults. */
static int conf_make(const struct options *options, struct conf *ret_conf, struct err *err)
{
	bool by_hand = !options->config && (options->rules || options->good || options->bad);
	if (!by_hand) {
		int r = conf_load(options->config ? options->config : CONFIG_DEFAULT, ret_conf, err);
		if (r < 0)
			return r;
	} else
		ret_conf->files =
		        (struct conf_files){.file_bytes = 16u << 20, .file_ms = 2000, .memory_mib = 256, .per_second = 50};
	int r = path_take(ret_conf->files.rules, options->rules, err);
	r = r == 0 ? path_take(ret_conf->files.good, options->good, err) : r;
	r = r == 0 ? path_take(ret_conf->files.bad, options->bad, err) : r;
	if (r == 0 && !ret_conf->files.rules[0] && !ret_conf->files.good[0] && !ret_conf->files.bad[0])
		return err_set(err, -EINVAL,
		               "there is nothing to judge by: name --rules, --good or --bad, or set them in the configuration's "
		               "'files'");
	return r;
}

int main(int argc, char **argv)
{
	static struct conf conf;
	struct options options;
	struct err err = {0};
	log_init("koboshi-scan", LOG_LEVEL_INFO);
	signal(SIGPIPE, SIG_IGN);
	int status = options_read(argc, argv, &options);
	if (status >= 0)
		return status;
	bool by_hand = optind < argc;
	if (!by_hand && !options.config) {
		fputs(usage, stderr);
		return 2;
	}
	int r = conf_make(&options, &conf, &err);
	if (r == 0 && by_hand)
		return once(&conf.files, argv + optind, (size_t)(argc - optind), options.json);
	r = r == 0 ? serve(&conf, &err) : r;
	if (r == 0)
		return 0;
	if (by_hand) {
		fprintf(stderr, "koboshi-scan: %s\n", err.text);
		return 3;
	}
	log_error("scan.failed", "%s", err.text);
	return 1;
}
