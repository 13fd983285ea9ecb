#pragma once
/*
 * Judging files by their bytes: lists of SHA-256 sums that are known as good or bad, then YARA rules. Whoever wrote the files is
 * hostile, and so may be whatever a file makes of the library that looks at it: bytes are read in a cell (cell.h), a
 * process that can do nothing but say what it found.
 */
#include "conf/conf.h"

#include <stdio.h>

#define SCAN_SHA256 32
#define SCAN_WHY_MAX 112

enum scan_verdict {
	SCAN_UNKNOWN, /* neither list nor rule knows it */
	SCAN_GOOD,    /* listed as good */
	SCAN_BAD,     /* listed as bad, or a rule matches */
	SCAN_SKIPPED, /* could not be judged; `why` says why */
	SCAN_VERDICT_MAX_
};

struct scan_result {
	enum scan_verdict verdict;
	bool hashed; /* else there is no sum: too large, or not to be read */
	uint8_t sha256[SCAN_SHA256];
	char why[SCAN_WHY_MAX]; /* printable; "" for SCAN_UNKNOWN of a whole file */
};

const char *scan_verdict_name(enum scan_verdict verdict);

/* What is wrong with rules and lists, a sentence each. Bounded: further ones are counted. */
#define SCAN_PROBLEMS_MAX 8
struct scan_problems {
	char lines[SCAN_PROBLEMS_MAX][192];
	size_t n, more;
};

void scan_problem(struct scan_problems *problems, const char *format, ...) printf_like(2, 3);
