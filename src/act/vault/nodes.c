/* Reading restic's list of a snapshot. See nodes.h. */
#include "act/vault/nodes.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

/* restic writes Go's bits, which differ from the system's beyond the lowest nine. */
#define GO_SETUID (1u << 23)
#define GO_SETGID (1u << 22)
#define GO_STICKY (1u << 20)

int64_t nodes_time_us(const char *text)
{
	struct tm tm = {0};
	char fraction[16] = "", zone[8] = "";
	int end = 0;
	if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec,
	           &end) != 6)
		return -1;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	const char *rest = text + end;
	int64_t micros = 0;
	if (*rest == '.' && sscanf(rest, ".%15[0-9]", fraction) == 1) {
		rest += 1 + strlen(fraction);
		for (size_t i = 0, alive = 1; i < 6; i++) {
			alive = alive && fraction[i];
			micros = micros * 10 + (alive ? fraction[i] - '0' : 0);
		}
	}
	int hours = 0, minutes = 0;
	if (strcmp(rest, "Z") != 0 && (sscanf(rest, "%1[+-]%2d:%2d", zone, &hours, &minutes) != 3))
		return -1;
	int64_t offset_s = (hours * 60 + minutes) * 60 * (zone[0] == '-' ? -1 : 1);
	return ((int64_t)timegm(&tm) - offset_s) * 1000000 + micros;
}

static mode_t mode_of(const char *type, uint64_t go)
{
	static const struct {
		const char *name;
		mode_t mode;
	} kinds[] = {{"file", S_IFREG}, {"dir", S_IFDIR},     {"symlink", S_IFLNK}, {"fifo", S_IFIFO},
	             {"dev", S_IFBLK},  {"chardev", S_IFCHR}, {"socket", S_IFSOCK}};
	mode_t mode = (mode_t)(go & 0777) | ((go & GO_SETUID) ? S_ISUID : 0) | ((go & GO_SETGID) ? S_ISGID : 0) |
	              ((go & GO_STICKY) ? S_ISVTX : 0);
	for (size_t i = 0; i < countof(kinds); i++)
		if (strcmp(kinds[i].name, type) == 0)
			return mode | kinds[i].mode;
	return mode;
}

static int node_add(struct nodes *nodes, const json_t *line, struct err *err)
{
	const char *path = json_string_value(json_object_get(line, "path"));
	const char *type = json_string_value(json_object_get(line, "type"));
	const char *mtime = json_string_value(json_object_get(line, "mtime"));
	if (!path || !type || *path != '/' || !path[1])
		return 0;
	if (nodes->n == NODES_MAX)
		return err_set(err, -EFBIG, "the snapshot holds more than %d files", NODES_MAX);
	if (nodes->n == nodes->room) {
		size_t room = nodes->room ? nodes->room * 2 : 256;
		struct node *more = reallocarray(nodes->all, room, sizeof(*more));
		if (!more)
			return err_set(err, -ENOMEM, "no memory for the list of a snapshot");
		nodes->all = more;
		nodes->room = room;
	}
	char *copy = strdup(path + 1);
	if (!copy)
		return err_set(err, -ENOMEM, "no memory for the list of a snapshot");
	nodes->all[nodes->n++] = (struct node){
	        .path = copy,
	        .mode = mode_of(type, (uint64_t)json_integer_value(json_object_get(line, "mode"))),
	        .uid = (uid_t)json_integer_value(json_object_get(line, "uid")),
	        .gid = (gid_t)json_integer_value(json_object_get(line, "gid")),
	        .size = (uint64_t)json_integer_value(json_object_get(line, "size")),
	        .mtime_us = mtime ? nodes_time_us(mtime) : -1,
	};
	return 0;
}

int nodes_line(void *arg, const char *text, struct err *err)
{
	json_t *line = json_loads(text, 0, NULL);
	const char *kind = json_string_value(json_object_get(line, "struct_type"));
	int r = 0;
	if (kind && strcmp(kind, "node") == 0)
		r = node_add(arg, line, err);
	json_decref(line);
	return r;
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct node *)a)->path, ((const struct node *)b)->path);
}

void nodes_sort(struct nodes *nodes)
{
	if (nodes->n)
		qsort(nodes->all, nodes->n, sizeof(nodes->all[0]), by_path);
}

struct node *nodes_find(const struct nodes *nodes, const char *path)
{
	size_t low = 0, high = nodes->n;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(nodes->all[middle].path, path);
		if (order == 0)
			return &nodes->all[middle];
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

void nodes_free(struct nodes *nodes)
{
	for (size_t i = 0; i < nodes->n; i++)
		free(nodes->all[i].path);
	free(nodes->all);
	*nodes = (struct nodes){0};
}
