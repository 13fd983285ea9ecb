/*
 * libyara's compiler cannot go on after an error, so each file is compiled alone first; those that pass go into the set
 * together, each in a name space of its own, so that two files may have rules of one name. Includes are off: what is in use
 * is what lies in the folder.
 */
#include "scan/lore.h"
#include "lib/bytes.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <yara.h>

#define RULE_FILE_MAX (16u << 20)

struct told {
	struct scan_problems *problems;
	const char *path;
	bool wrong;
};

static void on_compiled(int level, unused_arg const char *file, int line, unused_arg const YR_RULE *rule, const char *message,
                        void *arg)
{
	struct told *told = arg;
	if (level != YARA_ERROR_LEVEL_ERROR)
		return;
	if (!told->wrong)
		scan_problem(told->problems, "%s:%d: %.80s: this file's rules are not used", told->path, line, message);
	told->wrong = true;
}

static YR_COMPILER *compiler_new(struct told *told)
{
	YR_COMPILER *compiler;
	if (yr_compiler_create(&compiler) != ERROR_SUCCESS)
		abort(); /* no memory */
	yr_compiler_set_callback(compiler, on_compiled, told);
	yr_compiler_set_include_callback(compiler, NULL, NULL, NULL);
	return compiler;
}

static bool text_compiles(const char *path, const char *text, struct scan_problems *problems)
{
	struct told told = {problems, path, false};
	YR_COMPILER *compiler = compiler_new(&told);
	int errors = yr_compiler_add_string(compiler, text, NULL);
	YR_RULES *rules = NULL;
	if (errors == 0 && yr_compiler_get_rules(compiler, &rules) != ERROR_SUCCESS)
		on_compiled(YARA_ERROR_LEVEL_ERROR, NULL, 0, NULL, "cannot be compiled", &told);
	if (rules)
		yr_rules_destroy(rules);
	yr_compiler_destroy(compiler);
	return errors == 0 && !told.wrong;
}

static int is_rule_file(const struct dirent *entry)
{
	const char *dot = strrchr(entry->d_name, '.');
	return entry->d_name[0] != '.' && dot && (strcmp(dot, ".yar") == 0 || strcmp(dot, ".yara") == 0);
}

/* Plain byte order: the same on every device, whatever its locale. */
static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static void file_add(struct lore *lore, YR_COMPILER *all, const char *folder, const char *name)
{
	char path[CONF_PATH_MAX + NAME_MAX + 2];
	uint8_t *bytes;
	size_t size;
	struct err err;
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	if (file_read(path, RULE_FILE_MAX, &bytes, &size, &err) < 0) {
		scan_problem(&lore->problems, "%s", err.text);
		return;
	}
	if (strlen((char *)bytes) != size)
		scan_problem(&lore->problems, "%s: is no text: this file's rules are not used", path);
	else if (text_compiles(path, (char *)bytes, &lore->problems)) {
		yr_compiler_add_string(all, (char *)bytes, name);
		lore->n_rule_files++;
	}
	free(bytes);
}

static void rules_load(struct lore *lore, const char *folder)
{
	struct dirent **entries;
	int n = scandir(folder, &entries, is_rule_file, by_name);
	if (n < 0) {
		scan_problem(&lore->problems, "cannot read the folder of rules '%s': %s", folder, strerror(errno));
		return;
	}
	struct told told = {&lore->problems, folder, false};
	YR_COMPILER *all = compiler_new(&told);
	for (int i = 0; i < n; i++) {
		if (i < LORE_RULE_FILES_MAX)
			file_add(lore, all, folder, entries[i]->d_name);
		free(entries[i]);
	}
	free(entries);
	if (n > LORE_RULE_FILES_MAX)
		scan_problem(&lore->problems, "%s: has more than %d files of rules: the others are not used", folder,
		             LORE_RULE_FILES_MAX);
	if (lore->n_rule_files && !told.wrong && yr_compiler_get_rules(all, &lore->rules) != ERROR_SUCCESS)
		scan_problem(&lore->problems, "%s: the rules cannot be used together", folder);
	yr_compiler_destroy(all);
}

struct lore *lore_new(const struct conf_files *conf)
{
	struct lore *lore = calloc(1, sizeof(*lore));
	if (!lore || yr_initialize() != ERROR_SUCCESS)
		abort();
	yr_set_configuration_uint32(YR_CONFIG_MAX_MATCH_DATA, 0); /* nobody looks at what matched */
	hashes_load(conf->good, &lore->good, &lore->problems);
	hashes_load(conf->bad, &lore->bad, &lore->problems);
	if (conf->rules[0])
		rules_load(lore, conf->rules);
	return lore;
}

void lore_free(struct lore *lore)
{
	if (!lore)
		return;
	hashes_done(&lore->good);
	hashes_done(&lore->bad);
	if (lore->rules)
		yr_rules_destroy(lore->rules);
	yr_finalize();
	free(lore);
}

void lore_give_up(struct lore *lore, const uint8_t sha256[static SCAN_SHA256], const char *why)
{
	struct lore_given_up *slot = &lore->given_up[lore->n_given_up++ % LORE_GIVEN_UP_MAX];
	memcpy(slot->sha256, sha256, SCAN_SHA256);
	text_copy(slot->why, sizeof(slot->why), why);
}

const char *lore_given_up(const struct lore *lore, const uint8_t sha256[static SCAN_SHA256])
{
	for (size_t i = 0; i < LORE_GIVEN_UP_MAX && i < lore->n_given_up; i++)
		if (memcmp(lore->given_up[i].sha256, sha256, SCAN_SHA256) == 0)
			return lore->given_up[i].why;
	return NULL;
}

static int on_scanned(unused_arg YR_SCAN_CONTEXT *context, int message, void *data, void *arg)
{
	struct scan_result *result = arg;
	if (message != CALLBACK_MSG_RULE_MATCHING)
		return CALLBACK_CONTINUE;
	const YR_RULE *rule = data;
	result->verdict = SCAN_BAD;
	snprintf(result->why, sizeof(result->why), "rule %.60s of %.40s", rule->identifier, rule->ns->name);
	return CALLBACK_ABORT; /* one is enough */
}

void lore_match(const struct lore *lore, const uint8_t *bytes, size_t size, uint32_t file_ms, struct scan_result *result)
{
	if (!lore->rules || size == 0)
		return;
	int seconds = (int)((file_ms + 999) / 1000);
	int r = yr_rules_scan_mem(lore->rules, bytes, size, SCAN_FLAGS_FAST_MODE | SCAN_FLAGS_REPORT_RULES_MATCHING, on_scanned,
	                          result, seconds);
	if (r == ERROR_SUCCESS || result->verdict == SCAN_BAD)
		return;
	result->verdict = SCAN_SKIPPED;
	if (r == ERROR_SCAN_TIMEOUT)
		snprintf(result->why, sizeof(result->why), "looking at it took longer than %u ms", file_ms);
	else if (r == ERROR_INSUFFICIENT_MEMORY)
		snprintf(result->why, sizeof(result->why), "looking at it took too much memory");
	else
		snprintf(result->why, sizeof(result->why), "the rules could not be tried on it (libyara's error %d)", r);
}
