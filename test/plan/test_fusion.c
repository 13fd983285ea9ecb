/*
 * What findings of several vantages add up to: all combinations of two, by table, whichever comes first; what damping and
 * time make of it.
 */
#include "made.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static const struct {
	enum finding finding;
	enum vantage vantage;
} kinds[] = {
        {FINDING_GOOD, VANTAGE_PATH},           {FINDING_PROVEN, VANTAGE_PATH},         {FINDING_UNKNOWN, VANTAGE_PATH},
        {FINDING_LATE, VANTAGE_PATH},           {FINDING_TIMEOUT, VANTAGE_PATH},        {FINDING_SLOW, VANTAGE_PATH},
        {FINDING_ERROR, VANTAGE_PATH},          {FINDING_UNREACHABLE, VANTAGE_PATH},    {FINDING_UNANSWERED, VANTAGE_WIRE},
        {FINDING_WRONG_CLOCK, VANTAGE_PATH},    {FINDING_IO_ERROR, VANTAGE_HYPERVISOR}, {FINDING_STALLED, VANTAGE_PATH},
        {FINDING_UNHEARD, VANTAGE_WIRE},        {FINDING_UNLINKED, VANTAGE_WIRE},       {FINDING_SILENT, VANTAGE_WIRE},
        {FINDING_REFUSED, VANTAGE_WIRE},        {FINDING_PANICKED, VANTAGE_HYPERVISOR}, {FINDING_GONE, VANTAGE_HYPERVISOR},
        {FINDING_PAUSED, VANTAGE_HYPERVISOR},   {FINDING_RESET, VANTAGE_HYPERVISOR},    {FINDING_UNPLUGGED, VANTAGE_WIRE},
        {FINDING_WATCHDOG, VANTAGE_HYPERVISOR}, {FINDING_WRONG_CONTENT, VANTAGE_PATH},  {FINDING_WRONG_CHALLENGE, VANTAGE_PATH},
        {FINDING_GARBAGE, VANTAGE_PATH},        {FINDING_SPOOFED, VANTAGE_WIRE},        {FINDING_REACHING, VANTAGE_WIRE},
        {FINDING_TOUCHED, VANTAGE_DECOY},       {FINDING_DENIED, VANTAGE_GUEST},        {FINDING_CHANGED, VANTAGE_GUEST},
        {FINDING_ACCOUNT, VANTAGE_GUEST},       {FINDING_MODULE, VANTAGE_GUEST},        {FINDING_MUTE, VANTAGE_GUEST},
        {FINDING_NONSENSE, VANTAGE_GUEST},      {FINDING_OUTVOTED, VANTAGE_PEER},       {FINDING_MALWARE, VANTAGE_FILES},
        {FINDING_BUSY, VANTAGE_HYPERVISOR},     {FINDING_FLOODING, VANTAGE_HYPERVISOR}, {FINDING_WRITING, VANTAGE_HYPERVISOR},
        {FINDING_STRAYED, VANTAGE_WIRE},        {FINDING_UNUSUAL, VANTAGE_WIRE},        {FINDING_LISTENING, VANTAGE_GUEST},
        {FINDING_CONTRADICTED, VANTAGE_GUEST},  {FINDING_DIFFERS, VANTAGE_PEER},
};

#define KINDS (sizeof(kinds) / sizeof(kinds[0]))
#define FIRST_US 1000000

/* clang-format off */
/* What came first by row, what came then by column: good, unknown, counted, doubt, lasting, at once, takeover, weak.
 * h healthy   F failed   C compromised   w see the next table */
static const char *const classes[] = {
	"hhhhhFCh",
	"hhhhhFCh",
	"hhhhhFCh",
	"hhhhhFCh",
	"hhhhhFCh",
	"FFFFFFCF",
	"CCCCCCCC",
	"hhhhhFCw",
};

/* Busy, flooding, writing (hypervisor); strayed, unusual (wire); listening, contradicted (guest); differs (peer). */
static const char *const weak[] = {
	"hhhCCCCC",
	"hhhChCCC",
	"hhhCCCCC",
	"CCChhCCC",
	"ChChhCCC",
	"CCCCChhC",
	"CCCCChhh",
	"CCCCCChh",
};
/* clang-format on */

static char letter_of(enum plan_verdict verdict)
{
	return "uhFC"[verdict];
}

static struct plan_instance *fresh(struct plan *p)
{
	made_plan(p);
	struct plan_instance *i = made_instance(p, 1, AMBER, PLAN_ACTIVE, PLAN_LIFE_READY);
	for (int n = 0; n < 2; n++) {
		struct evidence good =
		        made_evidence(1, FINDING_GOOD, FIRST_US - 200000 + n * 100000, FIRST_US - 190000 + n * 100000);
		verdict_add(p, &i->window, &good);
	}
	return i;
}

static void see(struct plan *p, struct plan_instance *i, size_t kind, int64_t time_us)
{
	struct evidence e = made_evidence(1, kinds[kind].finding, time_us - 3000, time_us);
	e.vantage = kinds[kind].vantage;
	verdict_add(p, &i->window, &e);
}

static char expected(size_t a, size_t b)
{
	char letter = classes[finding_class(kinds[a].finding)][finding_class(kinds[b].finding)];
	return letter != 'w' ? letter : weak[kinds[a].finding - FINDING_WEAK_FIRST][kinds[b].finding - FINDING_WEAK_FIRST];
}

static void all_pairs_hold(void **state)
{
	(void)state;
	assert_int_equal(KINDS, FINDING_MAX_);
	for (size_t a = 0; a < KINDS; a++)
		for (size_t b = 0; b < KINDS; b++) {
			static struct plan p;
			struct plan_instance *i = fresh(&p);
			see(&p, i, a, FIRST_US);
			see(&p, i, b, FIRST_US + 150000);
			char is = letter_of(verdict_of(&p, i, FIRST_US + 150000));
			if (is != expected(a, b))
				fail_msg("%s (%s), then %s (%s): %c, not %c", finding_name(kinds[a].finding),
				         vantage_name(kinds[a].vantage), finding_name(kinds[b].finding),
				         vantage_name(kinds[b].vantage), is, expected(a, b));
		}
}

/* No finding is missing from the tables. */
static void kinds_are_all(void **state)
{
	(void)state;
	bool seen[FINDING_MAX_] = {false};
	for (size_t k = 0; k < KINDS; k++)
		seen[kinds[k].finding] = true;
	for (size_t f = 0; f < FINDING_MAX_; f++)
		assert_true(seen[f]);
	assert_int_equal(sizeof(weak) / sizeof(weak[0]), FINDING_WEAK);
}

static size_t kind_of(enum finding finding)
{
	size_t k = 0;
	while (kinds[k].finding != finding)
		k++;
	return k;
}

/* Comes, is over, comes again: until it is damped. Returns when it came last. */
static int64_t flap(struct plan *p, struct plan_instance *i, enum finding finding, int64_t from_us)
{
	int64_t time_us = from_us;
	for (uint32_t n = 0; n < PLAN_FLAPS; n++) {
		time_us = from_us + n * (finding_lasts_us(finding) + 1);
		see(p, i, kind_of(finding), time_us);
	}
	return time_us;
}

static void weak_ones_last_as_long_as_they_say(void **state)
{
	(void)state;
	for (int64_t late_us = 0; late_us <= 1; late_us++) {
		static struct plan p;
		struct plan_instance *i = fresh(&p);
		see(&p, i, kind_of(FINDING_BUSY), FIRST_US);
		see(&p, i, kind_of(FINDING_STRAYED), FIRST_US + finding_lasts_us(FINDING_BUSY) + late_us);
		assert_int_equal(i->window.fell_compromised, !late_us);
	}
}

static void what_comes_and_goes_is_damped(void **state)
{
	(void)state;
	static struct plan p;
	struct plan_instance *i = fresh(&p);
	int64_t now_us = flap(&p, i, FINDING_BUSY, FIRST_US);
	assert_true(plan_is_damped(&i->window, FINDING_BUSY, now_us));
	assert_int_equal(plan_weak_points(&i->window, FINDING_BUSY, now_us), PLAN_POINTS_DAMPED);
	see(&p, i, kind_of(FINDING_STRAYED), now_us);
	assert_false(i->window.fell_compromised); /* 1 + 2 */
	see(&p, i, kind_of(FINDING_LISTENING), now_us);
	assert_true(i->window.fell_compromised); /* 2 + 2 without it */
}

static void damped_ones_still_count(void **state)
{
	(void)state;
	static struct plan p;
	struct plan_instance *i = fresh(&p);
	flap(&p, i, FINDING_UNUSUAL, FIRST_US);
	int64_t now_us = flap(&p, i, FINDING_BUSY, FIRST_US + finding_lasts_us(FINDING_UNUSUAL) * (PLAN_FLAPS - 1));
	see(&p, i, kind_of(FINDING_UNUSUAL), now_us);
	assert_false(i->window.fell_compromised); /* 1 + 1 */
	see(&p, i, kind_of(FINDING_DIFFERS), now_us);
	assert_true(i->window.fell_compromised); /* 1 + 1 + 2 */
}

static void steady_is_no_flapping(void **state)
{
	(void)state;
	static struct plan p;
	struct plan_instance *i = fresh(&p);
	for (int n = 0; n < 600; n++) {
		see(&p, i, kind_of(FINDING_BUSY), FIRST_US + n * 1000000);
		assert_false(plan_is_damped(&i->window, FINDING_BUSY, FIRST_US + n * 1000000));
	}
}

static void quiet_heals_damping(void **state)
{
	(void)state;
	static struct plan p;
	struct plan_instance *i = fresh(&p);
	int64_t now_us = flap(&p, i, FINDING_BUSY, FIRST_US);
	assert_true(plan_is_damped(&i->window, FINDING_BUSY, now_us + PLAN_FLAP_US - 1));
	see(&p, i, kind_of(FINDING_BUSY), now_us + PLAN_FLAP_US - 1); /* not yet quiet for long enough */
	now_us += 2 * (int64_t)PLAN_FLAP_US - 1;
	assert_false(plan_is_damped(&i->window, FINDING_BUSY, now_us));
	see(&p, i, kind_of(FINDING_BUSY), now_us);
	assert_int_equal(plan_weak_points(&i->window, FINDING_BUSY, now_us), PLAN_POINTS_WEAK);
}

/* Takeover is named with both that it took. */
static void both_are_named(void **state)
{
	(void)state;
	static struct plan p;
	struct plan_instance *i = fresh(&p);
	see(&p, i, kind_of(FINDING_LISTENING), FIRST_US);
	see(&p, i, kind_of(FINDING_FLOODING), FIRST_US + 1);
	assert_int_equal(i->window.worst, FINDING_FLOODING);
	assert_int_equal(i->window.beside, FINDING_LISTENING);
	assert_int_equal(i->window.beside_vantage, VANTAGE_GUEST);
}

/* What is rolled back goes to before the first of them, however often it was seen since. */
static void the_first_of_both_is_its_beginning(void **state)
{
	(void)state;
	static struct plan p;
	struct plan_instance *i = fresh(&p);
	int64_t lasts_us = finding_lasts_us(FINDING_BUSY), first_us = FIRST_US + 2 * lasts_us;
	see(&p, i, kind_of(FINDING_BUSY), FIRST_US); /* over, and no part of it */
	see(&p, i, kind_of(FINDING_BUSY), first_us);
	see(&p, i, kind_of(FINDING_BUSY), first_us + lasts_us - 1);
	see(&p, i, kind_of(FINDING_STRAYED), first_us + lasts_us + 1);
	assert_true(i->window.fell_compromised);
	assert_int_equal(i->window.fell_us, first_us);
}

/* A program that calls where it must not, all day long, is innocent enough: the other finding tells when it was taken over. */
static void what_has_long_been_so_is_no_beginning(void **state)
{
	(void)state;
	static struct plan p;
	struct plan_instance *i = fresh(&p);
	int64_t now_us = FIRST_US;
	for (; now_us < FIRST_US + 3600 * INT64_C(1000000); now_us += 1000000)
		see(&p, i, kind_of(FINDING_STRAYED), now_us);
	see(&p, i, kind_of(FINDING_BUSY), now_us);
	assert_true(i->window.fell_compromised);
	assert_int_equal(i->window.fell_us, now_us - PLAN_FLAP_US);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(kinds_are_all),
	        cmocka_unit_test(all_pairs_hold),
	        cmocka_unit_test(weak_ones_last_as_long_as_they_say),
	        cmocka_unit_test(what_comes_and_goes_is_damped),
	        cmocka_unit_test(damped_ones_still_count),
	        cmocka_unit_test(steady_is_no_flapping),
	        cmocka_unit_test(quiet_heals_damping),
	        cmocka_unit_test(both_are_named),
	        cmocka_unit_test(the_first_of_both_is_its_beginning),
	        cmocka_unit_test(what_has_long_been_so_is_no_beginning),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
