#pragma once
/*
 * What is known of files: two lists, the rules, and which bytes once were too much. Read once by the process that starts the
 * cells, which inherit it: a cell opens nothing.
 *
 * The seam for verdicts from elsewhere (the fog) is the hash: whoever learns one adds it to a list; what neither list knew is
 * told to the engine by its sum (NOTICE_FILE_UNKNOWN) and shown by its API.
 */
#include "scan/hashes.h"

#define LORE_GIVEN_UP_MAX 512
#define LORE_RULE_FILES_MAX 512

struct YR_RULES;

struct lore {
	struct hashes good, bad;
	struct YR_RULES *rules; /* NULL: none */
	size_t n_rule_files;
	struct lore_given_up {
		uint8_t sha256[SCAN_SHA256];
		char why[SCAN_WHY_MAX];
	} given_up[LORE_GIVEN_UP_MAX]; /* a ring: the oldest is forgotten, and tried once more */
	size_t n_given_up;             /* ever */
	struct scan_problems problems;
};

/* Rules and lists that cannot be used are told in `problems`, the rest is used. Never NULL. */
struct lore *lore_new(const struct conf_files *conf);
void lore_free(struct lore *lore);

/* Bytes that ended a cell or took too long. NULL: not given up. */
void lore_give_up(struct lore *lore, const uint8_t sha256[static SCAN_SHA256], const char *why);
const char *lore_given_up(const struct lore *lore, const uint8_t sha256[static SCAN_SHA256]);

/* In a cell: what a rule says of these bytes. */
void lore_match(const struct lore *lore, const uint8_t *bytes, size_t size, uint32_t file_ms, struct scan_result *result);
