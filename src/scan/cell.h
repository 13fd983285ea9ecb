#pragma once
/*
 * Files are read and judged in a cell: a process without rights, capabilities, network or a file that it could open, with bounded
 * memory and processor time. One cell takes a batch; when a file ends it or takes too long, that file is given up and another
 * cell goes on with the next. No loop inside: the caller watches `fd` and the deadline.
 *
 * A cell that a file has taken over can lie about the rest of its batch, and do nothing else.
 */
#include "scan/lore.h"

#define CELL_FILES_MAX 16

struct cell {
	struct lore *lore;
	const struct conf_files *conf;
	bool running;
	int fd; /* readable: call cell_turn */
	pid_t pid;
	int64_t deadline_us; /* CLOCK_MONOTONIC: then call cell_turn too */
	int files[CELL_FILES_MAX];
	struct scan_result results[CELL_FILES_MAX];
	size_t n, at; /* `at`: the one that is being looked at */
};

/* Takes the descriptors in `files` (closed in the end). Only when none is running. */
void cell_start(struct cell *cell, struct lore *lore, const struct conf_files *conf, const int *files, size_t n);

/* Reads what the cell says, ends it at its deadline, starts the next. True: all of `results` are there. */
bool cell_turn(struct cell *cell, int64_t now_us);

/* Ends it, results or not. */
void cell_end(struct cell *cell);
