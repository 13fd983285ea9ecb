/*
 * koboshi-image: what people and scripts do with variants' images: check, look into, compare, sign, build.
 * Exit code 0: done and good; 1: refused, the reason is on standard error; 2: called wrongly.
 */
#include "image/image.h"
#include "image/report.h"
#include "lib/bytes.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <string.h>

#define DIRS_MAX 16

enum { EXIT_REFUSED = 1, EXIT_USAGE = 2 };

struct call {
	const char *key; /* --key */
	bool json;       /* --json */
	char **dirs;
	int n_dirs;
};

struct command {
	const char *name;
	int (*run)(const struct call *call);
	int dirs_min, dirs_max;
	bool takes_json, needs_key;
	const char *usage, *help;
};

static int refused(const struct err *err)
{
	fprintf(stderr, "koboshi-image: %s\n", err->text);
	return EXIT_REFUSED;
}

/* With a key the signature is checked; without, only the form: good enough to look at, never to start. */
static int image_load(const char *dir, const char *key, struct image **ret_image, struct err *err)
{
	if (key)
		return image_open(dir, key, ret_image, err);
	char path[PATH_MAX];
	auto_free uint8_t *bytes = NULL;
	size_t size;
	if (snprintf(path, sizeof(path), "%s/manifest.json", dir) >= (int)sizeof(path))
		return err_set(err, -ENAMETOOLONG, "%.100s...: the name is too long", dir);
	int r = file_read(path, IMAGE_MANIFEST_MAX, &bytes, &size, err);
	return r < 0 ? r : image_parse(path, bytes, size, ret_image, err);
}

static int verify_one(const char *dir, const char *key)
{
	struct image *image;
	struct err err;
	struct report_bar bar;
	int r = image_open(dir, key, &image, &err);
	if (r < 0)
		return refused(&err);
	report_bar_begin(&bar, image->variant);
	r = image_verify(image, dir, report_bar_step, &bar, &err);
	report_bar_end(&bar);
	if (r == 0)
		printf("%s: %s is as it was signed (%zu files, %zu packages)\n", dir, image->variant, image->n_files,
		       image->n_packages);
	image_free(image);
	return r < 0 ? refused(&err) : 0;
}

/* All are checked, also behind a bad one: the reader wants the whole list. */
static int run_verify(const struct call *call)
{
	int worst = 0;
	for (int i = 0; i < call->n_dirs; i++)
		if (verify_one(call->dirs[i], call->key) != 0)
			worst = EXIT_REFUSED;
	return worst;
}

static int run_show(const struct call *call)
{
	struct image *image;
	struct err err;
	if (image_load(call->dirs[0], call->key, &image, &err) < 0)
		return refused(&err);
	report_image(image, stdout);
	printf("\n%s\n", call->key ? "the signature is good" : "the signature was not checked (give --key)");
	image_free(image);
	return 0;
}

static int run_overlap(const struct call *call)
{
	struct image *images[DIRS_MAX] = {NULL};
	struct err err;
	int r = 0, n = 0;
	while (r == 0 && n < call->n_dirs) {
		r = image_load(call->dirs[n], call->key, &images[n], &err);
		n += r == 0;
	}
	if (r == 0 && call->json)
		report_overlaps_json(images, (size_t)n, stdout);
	else if (r == 0)
		report_overlaps(images, (size_t)n, stdout);
	for (int i = 0; i < n; i++)
		image_free(images[i]);
	return r < 0 ? refused(&err) : 0;
}

static int run_sign(const struct call *call)
{
	struct err err;
	if (image_sign(call->dirs[0], call->key, &err) < 0)
		return refused(&err);
	printf("%s: signed\n", call->dirs[0]);
	return 0;
}

static const struct command commands[] = {
        {"verify", run_verify, 1, INT_MAX, false, true, "verify DIR... --key PUB",
         "check signature and every file of each image"},
        {"show", run_show, 1, 1, false, false, "show DIR [--key PUB]", "what an image is made of"},
        {"overlap", run_overlap, 2, DIRS_MAX, true, false, "overlap DIR DIR... [--json] [--key PUB]",
         "what images have in common, by layer and as a whole"},
        {"sign", run_sign, 1, 1, false, true, "sign DIR --key KEY", "sign a manifest with a PEM Ed25519 private key"},
};

static void print_help(FILE *to)
{
	fputs("koboshi-image: images of variants, their signed manifests, what they share\n\n", to);
	for (size_t i = 0; i < countof(commands); i++)
		fprintf(to, "  koboshi-image %-40s %s\n", commands[i].usage, commands[i].help);
	fprintf(to, "  koboshi-image %-40s %s\n", "build [ARGUMENT...]", "make images from recipes (build --help says how)");
	fprintf(to, "  koboshi-image %-40s %s\n", "help | --version", "this; the version");
	fputs("\nExit code: 0 good, 1 refused, 2 called wrongly.\n", to);
}

static int wrong_call(const char *why)
{
	fprintf(stderr, "koboshi-image: %s; see koboshi-image help\n", why);
	return EXIT_USAGE;
}

static const struct command *command_named(const char *name)
{
	for (size_t i = 0; i < countof(commands); i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

static int usage_wrong(const struct command *command)
{
	fprintf(stderr, "koboshi-image: the call is: koboshi-image %s\n", command->usage);
	return EXIT_USAGE;
}

static int command_run(const struct command *command, int argc, char **argv)
{
	static const struct option options[] = {{"key", required_argument, NULL, 'k'}, {"json", no_argument, NULL, 'j'}, {0}};
	struct call call = {0};
	opterr = 0; /* our own sentence says the whole call */
	for (int option; (option = getopt_long(argc, argv, "k:", options, NULL)) != -1;) {
		if (option == 'k')
			call.key = optarg;
		else if (option == 'j' && command->takes_json)
			call.json = true;
		else
			return usage_wrong(command);
	}
	call.dirs = argv + optind;
	call.n_dirs = argc - optind;
	if (call.n_dirs < command->dirs_min || call.n_dirs > command->dirs_max || (command->needs_key && !call.key))
		return usage_wrong(command);
	int code = command->run(&call);
	if (fflush(stdout) != 0) {
		fprintf(stderr, "koboshi-image: cannot write the output: %s\n", strerror(errno));
		return EXIT_REFUSED;
	}
	return code;
}

/* The builder is a program of its own: it needs an interpreter and package tools, a device that only checks needs none. */
static int run_build(char **argv)
{
	const char *builder = getenv("KOBOSHI_IMAGE_BUILD");
	if (!builder || !builder[0])
		builder = KOBOSHI_LIBEXECDIR "/image-build";
	argv[0] = (char *)(uintptr_t)builder;
	execv(builder, argv);
	fprintf(stderr, "koboshi-image: cannot start the image builder %s: %s; install it, or set KOBOSHI_IMAGE_BUILD\n", builder,
	        strerror(errno));
	return EXIT_REFUSED;
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return wrong_call("a command is missing");
	const char *name = argv[1];
	if (strcmp(name, "help") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
		print_help(stdout);
		return 0;
	}
	if (strcmp(name, "--version") == 0) {
		puts("koboshi-image " KOBOSHI_VERSION);
		return 0;
	}
	if (strcmp(name, "build") == 0)
		return run_build(argv + 1);
	const struct command *command = command_named(name);
	return command ? command_run(command, argc - 1, argv + 1) : wrong_call("there is no such command");
}
