#pragma once
/* What lay in a snapshot, as `restic ls --json` tells it, in order, to be compared with what lies in the data now. */
#include "lib/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define NODES_MAX 1000000

struct node {
	char *path;  /* below the data, without a slash in front */
	mode_t mode; /* with its kind */
	uid_t uid;
	gid_t gid;
	uint64_t size;
	int64_t mtime_us;
	bool seen;    /* it is there now */
	bool differs; /* perhaps: it is taken from the snapshot */
};

struct nodes {
	struct node *all;
	size_t n, room;
};

/* One line; those that tell of something else are passed over. A restic_line. */
int nodes_line(void *nodes, const char *line, struct err *err);

void nodes_sort(struct nodes *nodes);
struct node *nodes_find(const struct nodes *nodes, const char *path); /* NULL: none. After sorting */
void nodes_free(struct nodes *nodes);

/* As restic writes a time; -1: that is none. */
int64_t nodes_time_us(const char *text);
