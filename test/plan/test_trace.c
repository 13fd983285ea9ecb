/*
 * Stories. Each file in the folder trace/ tells one: lines with "> " are what happens, the lines below are what the plan ordered
 * ("->") and noted until the next. Time is virtual and nothing is left to chance, so the log is the same to the millisecond.
 * After a change that is meant, `test-plan-trace --bless FOLDER` writes the files anew: read the difference before committing it.
 */
#include "made.h"
#include "sim.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define STORIES_MAX 200

static const char *const fates[SIM_FATE_MAX_] = {"done", "refused", "false-refusal", "lost", "hung", "slow", "tardy", "twice"};

static int word_in(const char *const *words, int n, const char *word)
{
	for (int k = 0; k < n; k++)
		if (strcmp(words[k], word) == 0)
			return k;
	fail_msg("no such word: %s", word);
	return 0;
}

static enum plan_order_type order_named(const char *name)
{
	for (unsigned k = 0; k < PLAN_ORDER_MAX_; k++)
		if (strcmp(plan_order_name((enum plan_order_type)k), name) == 0)
			return (enum plan_order_type)k;
	fail_msg("no such order: %s", name);
	return PLAN_ORDER_MAX_;
}

static void run_seconds(struct sim *s, const char *seconds)
{
	sim_run(s, s->now_us + (int64_t)(strtod(seconds, NULL) * 1e6 + 0.5));
}

static void ask_switch(struct sim *s)
{
	static const char *const replies[] = {"accepted", "refused: no standby", "refused: busy", "refused: blind"};
	sim_log(s, "switch %s", replies[sim_switch(s)]);
}

static void hold(struct sim *s, const char *number, const char *how)
{
	static const char *const hows[] = {"release", "lock", "freeze", "stop-service", "stop"};
	static const char *const replies[] = {"accepted",       "refused: no standby", "refused: busy",
	                                      "refused: blind", "refused: not there",  "refused: too many"};
	enum plan_hold wanted = (enum plan_hold)word_in(hows, PLAN_HOLD_MAX_, how);
	sim_log(s, "%s kb-%s %s", how, number, replies[sim_hold(s, (uint32_t)strtoul(number, NULL, 10), wanted)]);
}

static void settled(struct sim *s)
{
	const char *why;
	if (check_settled(s, &why))
		sim_log(s, "all is well: kb-%u serves, %u standby, %u spare", s->target, plan_count_standby(&s->plan, true),
		        plan_count_spare(&s->plan));
	else
		sim_log(s, "not at rest: %s", why);
}

static void config(struct sim *s, const char *key, const char *value)
{
	uint32_t number = (uint32_t)strtoul(value, NULL, 10);
	if (strcmp(key, "standby") == 0)
		s->config.standby = number;
	else if (strcmp(key, "spare") == 0)
		s->config.spare = number;
	else if (strcmp(key, "brake-falls") == 0)
		s->config.brake_falls = number;
	else if (strcmp(key, "rollback") == 0)
		s->config.rollback = number > 0;
	else if (strcmp(key, "ladder") == 0)
		s->config.ladder = PLAN_LADDER_ALL;
	else if (strcmp(key, "incurable") == 0)
		s->incurable = 1;
	else if (strcmp(key, "carry") == 0)
		s->config.carry = number > 0;
	else if (strcmp(key, "secrets") == 0)
		s->config.secrets = number > 0;
	else if (strcmp(key, "max-exposure") == 0)
		s->config.max_exposure_us = s->plan.config.max_exposure_us = number * 1000000ll;
	else
		fail_msg("no such setting: %s", key);
}

static void play(struct sim *s, const char *line)
{
	char verb[32] = "", one[32] = "", two[32] = "";
	sscanf(line, "%31s %31s %31s", verb, one, two);
	bool on = strcmp(one, "lost") == 0;
	if (strcmp(verb, "start") == 0)
		sim_start(s);
	else if (strcmp(verb, "run") == 0)
		run_seconds(s, one);
	else if (strcmp(verb, "hurt") == 0)
		sim_hurt(s, (uint32_t)strtoul(one, NULL, 10), two);
	else if (strcmp(verb, "next") == 0)
		s->next_fate[order_named(one)] = (enum sim_fate)word_in(fates, SIM_FATE_MAX_, two);
	else if (strcmp(verb, "kill") == 0)
		sim_kill_hand(s, strcmp(one, "net") == 0 ? SIM_NET : SIM_VM);
	else if (strcmp(verb, "reboot") == 0)
		sim_reboot_host(s);
	else if (strcmp(verb, "crash") == 0)
		sim_crash(s, 200000);
	else if (strcmp(verb, "hold") == 0)
		hold(s, one, two);
	else if (strcmp(verb, "outdate") == 0)
		sim_outdate(s, (uint32_t)strtoul(one, NULL, 10));
	else if (strcmp(verb, "switch") == 0)
		ask_switch(s);
	else if (strcmp(verb, "senses") == 0)
		sim_set_blind(s, on);
	else if (strcmp(verb, "ledger") == 0)
		s->unwritable = on;
	else if (strcmp(verb, "stall") == 0)
		s->stall_until_us = s->now_us + (int64_t)(strtod(one, NULL) * 1e6);
	else if (strcmp(verb, "never-boots") == 0)
		s->never_boots[strtoul(one, NULL, 10)] = (uint32_t)strtoul(two, NULL, 10);
	else if (strcmp(verb, "config") == 0)
		config(s, one, two);
	else if (strcmp(verb, "settled") == 0)
		settled(s);
	else
		fail_msg("no such verb: %s", verb);
}

/* --- files */

static char *file_text(const char *path)
{
	FILE *file = fopen(path, "r");
	if (!file)
		fail_msg("%s cannot be opened", path);
	char *text = calloc(1, 1 << 18);
	assert_non_null(text);
	size_t size = fread(text, 1, (1 << 18) - 1, file);
	text[size] = '\0';
	fclose(file);
	return text;
}

/* The story as it is told now. */
static char *told(const char *script)
{
	static struct sim s;
	struct plan_config plain = made_config();
	char *text = NULL;
	size_t size = 0;
	sim_init(&s, 1, &plain);
	s.log = open_memstream(&text, &size);
	for (const char *line = script, *end; *line; line = end) {
		end = strchr(line, '\n');
		end = end ? end + 1 : line + strlen(line);
		if (line[0] != '>' && line[0] != '#')
			continue;
		fprintf(s.log, "%.*s", (int)(end - line), line);
		if (line[0] == '>')
			play(&s, line + 2);
	}
	fclose(s.log);
	s.log = NULL;
	if (s.failure[0])
		print_message("%s\n%s\n", text, s.failure);
	return text;
}

struct story {
	char name[64], path[512];
};

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct story *)a)->name, ((const struct story *)b)->name);
}

/* Every file of the folder: a story that nobody tells would be none. */
static int stories_find(const char *folder, struct story *ret_stories, int max)
{
	DIR *dir = opendir(folder);
	if (!dir)
		return 0;
	int n = 0;
	for (struct dirent *entry; (entry = readdir(dir));) {
		if (entry->d_name[0] == '.')
			continue;
		assert_true(n < max);
		struct story *story = &ret_stories[n++];
		snprintf(story->name, sizeof(story->name), "%.60s", entry->d_name);
		snprintf(story->path, sizeof(story->path), "%.400s/%.60s", folder, entry->d_name);
	}
	closedir(dir);
	qsort(ret_stories, (size_t)n, sizeof(*ret_stories), by_name);
	return n;
}

static void story(void **state)
{
	char *expected = file_text(*state), *is = told(expected);
	if (strcmp(expected, is) != 0) {
		size_t at = 0;
		while (expected[at] == is[at])
			at++;
		while (at && is[at - 1] != '\n')
			at--;
		print_message("told now, from the first line that differs:\n%s\nexpected:\n%.600s\n", is + at, expected + at);
		fail_msg("%s is told differently", (const char *)*state);
	}
	assert_null(strstr(is, "BROKEN"));
	free(expected);
	free(is);
}

static int bless(struct story *stories, int n)
{
	for (int k = 0; k < n; k++) {
		char *script = file_text(stories[k].path), *is = told(script);
		FILE *file = fopen(stories[k].path, "w");
		if (!file)
			return 1;
		fputs(is, file);
		fclose(file);
		free(script);
		free(is);
	}
	return 0;
}

/* --- a restart in each life */

/* The engine dies as soon as an instance's new life is on disk; whatever that life was, all is well in the end. */
static void restart_in(enum plan_life life)
{
	static struct sim s;
	struct plan_config c = made_config();
	if (life == PLAN_LIFE_DOOMED)
		c.standby = c.spare = 0;
	c.rollback = life == PLAN_LIFE_ROLLING;
	c.ladder = plan_life_mends(life) ? PLAN_LADDER_ALL : 0;
	sim_init(&s, 7, &c);
	sim_start(&s);
	bool from_start = life <= PLAN_LIFE_PAUSED, held = life >= PLAN_LIFE_LOCKING && life <= PLAN_LIFE_HELD;
	if (from_start)
		s.crash_life = life;
	sim_run(&s, 20000000);
	if (held) {
		s.crash_life = life;
		enum plan_hold hold = life <= PLAN_LIFE_LOCKED     ? PLAN_HOLD_LOCK
		                      : life <= PLAN_LIFE_STARTING ? PLAN_HOLD_SERVICE
		                                                   : PLAN_HOLD_FREEZE;
		assert_int_equal(sim_hold(&s, s.target, hold), PLAN_ACCEPTED);
		sim_run(&s, 40000000);
		for (uint32_t number = 1; number < s.n_numbers; number++)
			(void)sim_hold(&s, number, PLAN_HOLD_NONE);
	} else if (!from_start) {
		s.crash_life = life;
		bool boots = life == PLAN_LIFE_RESETTING || life == PLAN_LIFE_REBOOTING;
		bool spoofs = life == PLAN_LIFE_FENCING || life == PLAN_LIFE_ROLLING;
		sim_hurt(&s, s.target, spoofs ? "spoof" : boots ? "panic" : "hang");
		if (life == PLAN_LIFE_FENCING)
			s.next_fate[PLAN_DO_STEER] = SIM_REFUSED;
	}
	sim_run(&s, 80000000);
	const char *why = "";
	if (s.failure[0] || s.n_crashes != 1 || !check_settled(&s, &why))
		fail_msg("%s: %u crashes, %s%s", plan_life_name(life), s.n_crashes, s.failure, why);
}

static void restart_in_each_life(void **state)
{
	(void)state;
	for (unsigned life = PLAN_LIFE_TAP; life < PLAN_LIFE_MAX_; life++)
		restart_in((enum plan_life)life);
}

int main(int argc, char **argv)
{
	static struct story stories[STORIES_MAX];
	static struct CMUnitTest tests[1 + STORIES_MAX] = {{"restart in each life", restart_in_each_life, NULL, NULL, NULL}};
	bool blesses = argc == 3 && strcmp(argv[1], "--bless") == 0;
	int n = argc > 1 ? stories_find(argv[argc - 1], stories, STORIES_MAX) : 0;
	if (n == 0) {
		fputs("usage: test-plan-trace [--bless] FOLDER\n", stderr);
		return 2;
	}
	if (blesses)
		return bless(stories, n);
	for (int k = 0; k < n; k++)
		tests[1 + k] = (struct CMUnitTest){stories[k].name, story, NULL, NULL, stories[k].path};
	return _cmocka_run_group_tests("stories", tests, 1 + (size_t)n, NULL, NULL);
}
