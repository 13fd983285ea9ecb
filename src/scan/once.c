/* `koboshi scan PATH...`: what is named is what the user means; what lies below a folder is as hostile as ever. */
#include "scan/cell.h"
#include "scan/run.h"
#include "lib/tree.h"
#include "lib/bytes.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>

#define DEPTH_MAX 64

struct once {
	const struct conf_files *conf;
	struct lore *lore;
	bool json, found, doubtful;
	int files[CELL_FILES_MAX];
	char *paths[CELL_FILES_MAX];
	char whys[CELL_FILES_MAX][SCAN_WHY_MAX]; /* of those that could not be opened */
	size_t n;
};

static void print_json(const char *path, const struct scan_result *result)
{
	char sum[2 * SCAN_SHA256 + 1], printable[PATH_MAX];
	bytes_to_hex(result->sha256, SCAN_SHA256, sum);
	path_print(printable, sizeof(printable), "", path);
	json_t *name = json_string(path);
	json_t *object = json_pack("{s:o, s:s, s:o, s:s}", "path", name ? name : json_string(printable), "verdict",
	                           scan_verdict_name(result->verdict), "sha256", result->hashed ? json_string(sum) : json_null(),
	                           "why", result->why);
	if (object && json_dumpf(object, stdout, JSON_COMPACT) == 0)
		putchar('\n');
	json_decref(object);
}

static void result_print(struct once *o, const char *path, const struct scan_result *result)
{
	char printable[PATH_MAX];
	o->found = o->found || result->verdict == SCAN_BAD;
	o->doubtful = o->doubtful || result->verdict == SCAN_SKIPPED;
	if (o->json) {
		print_json(path, result);
		return;
	}
	path_print(printable, sizeof(printable), "", path);
	printf("%-8s %s%s%s\n", scan_verdict_name(result->verdict), printable, result->why[0] ? ": " : "", result->why);
}

static void batch_run(struct once *o)
{
	struct cell cell;
	cell_start(&cell, o->lore, o->conf, o->files, o->n);
	while (!cell_turn(&cell, clock_monotonic_us())) {
		struct pollfd watched = {.fd = cell.fd, .events = POLLIN};
		int64_t left_us = cell.deadline_us - clock_monotonic_us();
		poll(&watched, 1, left_us > 0 ? (int)(left_us / 1000 + 1) : 0);
	}
	for (size_t i = 0; i < o->n; i++) {
		if (o->whys[i][0]) {
			cell.results[i].verdict = SCAN_SKIPPED;
			text_copy(cell.results[i].why, SCAN_WHY_MAX, o->whys[i]);
		}
		result_print(o, o->paths[i], &cell.results[i]);
		free(o->paths[i]);
	}
	o->n = 0;
}

static void file_add(struct once *o, int tree, const char *relative, const char *path)
{
	struct err err = {0};
	size_t i = o->n++;
	o->files[i] = tree_file(tree, relative, &err);
	o->paths[i] = strdup(path);
	assert(o->paths[i]);
	text_copy(o->whys[i], SCAN_WHY_MAX, o->files[i] < 0 ? err.text : "");
	if (o->n == CELL_FILES_MAX)
		batch_run(o);
}

static void trouble(struct once *o, const char *path, const char *why)
{
	char printable[PATH_MAX];
	path_print(printable, sizeof(printable), "", path);
	fprintf(stderr, "koboshi-scan: %s: %s\n", printable, why);
	o->doubtful = true;
}

static void folder_add(struct once *o, int tree, const char *path, unsigned depth)
{
	struct err err;
	struct stat status;
	int fd = tree_folder(tree, "", &err);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	if (!dir || depth > DEPTH_MAX)
		trouble(o, path, dir ? "is too deep" : err.text);
	for (struct dirent *entry; dir && depth <= DEPTH_MAX && (entry = readdir(dir));) {
		char below[PATH_MAX];
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (snprintf(below, sizeof(below), "%s/%s", path, entry->d_name) >= (int)sizeof(below) ||
		    fstatat(dirfd(dir), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0)
			trouble(o, below, "cannot be looked at");
		else if (S_ISDIR(status.st_mode)) {
			auto_close int folder = tree_folder(dirfd(dir), entry->d_name, NULL);
			if (folder >= 0)
				folder_add(o, folder, below, depth + 1);
			else
				trouble(o, below, "cannot be opened");
		} else if (S_ISREG(status.st_mode))
			file_add(o, dirfd(dir), entry->d_name, below);
		/* a link, pipe or device holds nothing: whatever a link leads to is judged where it lies */
	}
	if (dir)
		closedir(dir);
}

static void path_add(struct once *o, char *path)
{
	struct err err;
	struct stat status;
	char real[PATH_MAX], folder[PATH_MAX], name[PATH_MAX]; /* links in what the user names are meant */
	if (!realpath(path, real) || stat(real, &status) != 0) {
		trouble(o, path, strerror(errno));
		return;
	}
	text_copy(folder, sizeof(folder), real);
	text_copy(name, sizeof(name), real);
	bool is_folder = S_ISDIR(status.st_mode);
	auto_close int tree = tree_open(is_folder ? real : dirname(folder), &err);
	if (tree < 0)
		trouble(o, path, err.text);
	else if (is_folder)
		folder_add(o, tree, path, 0);
	else
		file_add(o, tree, basename(name), path);
}

int once(const struct conf_files *conf, char **paths, size_t n_paths, bool json)
{
	struct once o = {.conf = conf, .json = json, .lore = lore_new(conf)};
	for (size_t i = 0; i < o.lore->problems.n; i++)
		trouble(&o, "note", o.lore->problems.lines[i]);
	for (size_t i = 0; i < n_paths; i++)
		path_add(&o, paths[i]);
	if (o.n)
		batch_run(&o);
	lore_free(o.lore);
	return o.found ? 1 : o.doubtful ? 3 : 0;
}
