/* What is usual for a guest and what is not, by stories of seconds. */
#include "sense/usage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* One guest's world: counters that go on, second by second. */
struct guest {
	struct usage usage;
	struct usage_sample now;
	unsigned told[USAGE_FEATURES];
	char text[USAGE_FEATURES][80];
	bool unusual_times;
};

struct second {
	double cpu, sent_kib, packets, read_mib, written_mib;
};

static const struct second quiet = {0.06, 4, 15}, served = {0.55, 300, 700}, mined = {0.97, 4, 15}, flooded = {0.06, 900, 15},
                           searched = {0.2, 4, 15, 40, 0}, encrypted = {0.2, 4, 15, 20, 21};

static void live(struct guest *g, const struct second *second, unsigned seconds)
{
	for (unsigned n = 0; n < seconds; n++) {
		double shaky = 1 + 0.3 * ((double)((n * 7919) % 11) / 10 - 0.5); /* a good half of a third up and down */
		struct usage_alarm alarm;
		g->now.time_us += 1000000;
		g->now.cpu_us += (uint64_t)(second->cpu * shaky * 1e6);
		g->now.sent_bytes += (uint64_t)(second->sent_kib * 1024 * shaky);
		g->now.received_packets += (uint64_t)second->packets;
		g->now.read_bytes += (uint64_t)(second->read_mib * 1048576);
		g->now.written_bytes += (uint64_t)(second->written_mib * 1048576);
		usage_add(&g->usage, &g->now, !g->unusual_times, &alarm);
		for (enum usage_feature f = USAGE_CPU; f < USAGE_FEATURES; f++) {
			g->told[f] += alarm.told[f];
			if (alarm.told[f])
				memcpy(g->text[f], alarm.text[f], sizeof(alarm.text[f]));
		}
	}
}

static struct guest born(void)
{
	return (struct guest){.now = {.time_us = 5000000, .cpu_us = 1, .sent_bytes = 1 << 20}};
}

static void assert_told(const struct guest *g, unsigned cpu, unsigned sent)
{
	if (g->told[USAGE_CPU] != cpu || g->told[USAGE_SENT] != sent)
		fail_msg("told %u times of the processor, not %u, and %u of what is sent, not %u", g->told[USAGE_CPU], cpu,
		         g->told[USAGE_SENT], sent);
}

static void a_quiet_life_is_never_told_of(void **state)
{
	(void)state;
	struct guest g = born();
	live(&g, &quiet, 600);
	assert_told(&g, 0, 0);
}

/* A switch: nobody asked it anything, and now everybody does; and the other way round. */
static void more_work_for_more_questions_is_usual(void **state)
{
	(void)state;
	for (unsigned n = 0; n < 2; n++) {
		struct guest g = born();
		live(&g, n ? &served : &quiet, 60);
		live(&g, n ? &quiet : &served, 600);
		live(&g, n ? &served : &quiet, 60);
		assert_told(&g, 0, 0);
	}
}

static void a_miner_is_told_of_at_the_third_second(void **state)
{
	(void)state;
	struct guest g = born();
	live(&g, &quiet, 40);
	live(&g, &mined, USAGE_ROW - 1);
	assert_told(&g, 0, 0);
	live(&g, &mined, 1);
	assert_told(&g, 1, 0);
	assert_non_null(strstr(g.text[USAGE_CPU], "of a processor; usual for what it is asked is 0.06"));
}

static void what_alarms_is_not_learnt(void **state)
{
	(void)state;
	struct guest g = born();
	live(&g, &quiet, 40);
	live(&g, &mined, 300);
	assert_told(&g, 300 - (USAGE_ROW - 1), 0);
}

static void a_flood_is_told_of(void **state)
{
	(void)state;
	struct guest g = born();
	live(&g, &quiet, 40);
	live(&g, &flooded, USAGE_ROW);
	assert_told(&g, 0, 1);
	assert_non_null(strstr(g.text[USAGE_SENT], "KiB/s; usual for what it is asked is 4"));
}

static void a_disk_that_is_read_through_is_told_of(void **state)
{
	(void)state;
	struct guest g = born();
	live(&g, &quiet, 40);
	live(&g, &searched, USAGE_ROW);
	assert_told(&g, 0, 0);
	assert_int_equal(g.told[USAGE_DISK], 1);
	assert_string_equal(g.text[USAGE_DISK], "reads 40.0 MiB/s on its disk; usual for what it is asked is 0.0");
	live(&g, &encrypted, 1);
	assert_string_equal(g.text[USAGE_DISK], "writes 41.0 MiB/s on its disk; usual for what it is asked is 0.0");
}

static void before_it_is_known_nothing_is_unusual(void **state)
{
	(void)state;
	struct guest g = born();
	live(&g, &quiet, USAGE_LEARN - 1);
	assert_int_equal(usage_learnt(&g.usage), USAGE_LEARN - 2); /* the first one only begins */
	live(&g, &mined, 1);
	assert_told(&g, 0, 0);
}

/* A host without processor time to give: who starves then would seem to work too much ever after. */
static void hard_times_are_judged_and_not_learnt(void **state)
{
	(void)state;
	struct guest g = born();
	live(&g, &quiet, 40);
	size_t before = usage_learnt(&g.usage);
	g.unusual_times = true;
	live(&g, &quiet, 20);
	assert_int_equal(usage_learnt(&g.usage), before);
	live(&g, &mined, 5);
	assert_told(&g, 5 - (USAGE_ROW - 1), 0);
}

/* Asleep, or another engine was there meanwhile: the counters went on and nobody knows when. */
static void a_gap_and_a_new_beginning_are_not_judged(void **state)
{
	(void)state;
	struct guest g = born();
	live(&g, &quiet, 40);
	for (unsigned n = 0; n < 10; n++) {
		g.now.time_us += 6000000;
		g.now.cpu_us += 12000000;
		live(&g, &quiet, 1);
	}
	g.now.cpu_us = 5;
	live(&g, &quiet, 1);
	assert_told(&g, 0, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_quiet_life_is_never_told_of),
	        cmocka_unit_test(more_work_for_more_questions_is_usual),
	        cmocka_unit_test(a_miner_is_told_of_at_the_third_second),
	        cmocka_unit_test(what_alarms_is_not_learnt),
	        cmocka_unit_test(a_flood_is_told_of),
	        cmocka_unit_test(a_disk_that_is_read_through_is_told_of),
	        cmocka_unit_test(before_it_is_known_nothing_is_unusual),
	        cmocka_unit_test(hard_times_are_judged_and_not_learnt),
	        cmocka_unit_test(a_gap_and_a_new_beginning_are_not_judged),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
