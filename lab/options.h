#pragma once
/* What koboshi-load was asked to do, checked: see options_parse. */
#include "tally.h"

#include <stdbool.h>
#include <sys/socket.h>

#define GOOD_MAX 8

struct options {
	struct sockaddr_storage target, source;
	socklen_t target_size, source_size; /* source_size 0: the kernel chooses */
	const char *path, *name, *json, *csv;
	int64_t timeout_us, late_us;
	unsigned rate, seconds;
	bool keep_alive;
	char good[GOOD_MAX][TALLY_HASH_TEXT];
	size_t n_good; /* 0: any content is good */
};

/* Requests that can be unanswered at the same moment, given rate and timeout. */
size_t options_slots(const struct options *options);

/* 0: go on; else the exit status, and the reason was printed. Texts point into `argv`. */
int options_parse(int argc, char **argv, struct options *ret_options);
