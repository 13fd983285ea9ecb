/*
 * Verdicts by table. Each row is what two instances' probes found, one letter an interval; the first instance is the one
 * that is judged, the second is there to compare with ("-": nobody is).
 *   g good   P proven   m missed (known after the timeout)   u unknown   . not probed
 *   l missed, and answered a little later
 *   r refused   w wrong content   p panicked   b busy, F flooding (hypervisor)   f flooding (wire)
 */
#include "made.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

static const struct {
	const char *why;
	const char *mine, *other;
	enum plan_verdict verdict;
} rows[] = {
        {"nothing was ever seen", "", "gggg", PLAN_UNKNOWN},
        {"right answers", "ggggg", "ggggg", PLAN_HEALTHY},
        {"a proof is a right answer", "P", "-", PLAN_HEALTHY},
        {"one lost packet", "ggggm", "ggggg", PLAN_HEALTHY},
        {"two lost packets", "gggmm", "ggggg", PLAN_HEALTHY},
        {"three of five", "ggmmm", "ggggg", PLAN_FAILED},
        {"three of five, not in a row", "mgmgm", "ggggg", PLAN_FAILED},
        {"three of six", "mggmgm", "gggggg", PLAN_HEALTHY},
        {"three, and the other is slow too", "ggmmm", "ggmmm", PLAN_HEALTHY},
        {"three, and the other was slow until just now", "ggmmmg", "ggmmmg", PLAN_HEALTHY},
        {"the other lost one in the same time: a shaky host", "ggmmm", "gggmg", PLAN_HEALTHY},
        {"the other lost one before", "ggggmmm", "gmggggg", PLAN_FAILED},
        {"alone: three is not enough", "ggmmm", "-", PLAN_HEALTHY},
        {"alone: seven times as many", "gmmmmmmmmmmmmmmmmmmmmm", "-", PLAN_UNKNOWN},
        {"alone: eight times as many", "gmmmmmmmmmmmmmmmmmmmmmmmm", "-", PLAN_FAILED},
        {"alone: twelve, broken once", "gmmmmmmmmmmmmgmmmmmmmmmmmm", "-", PLAN_UNKNOWN},
        {"both: seven times as many", "gmmmmmmmmmmmmmmmmmmmmm", "gmmmmmmmmmmmmmmmmmmmmm", PLAN_UNKNOWN},
        {"both: eight times as many", "gmmmmmmmmmmmmmmmmmmmmmmmm", "gmmmmmmmmmmmmmmmmmmmmmmmm", PLAN_FAILED},
        {"late each time: slow, not hung", "gglllll", "ggggggg", PLAN_HEALTHY},
        {"late for long, and so is the other: a slow host", "glllllllllllllllllllllllll", "glllllllllllllllllllllllll",
         PLAN_UNKNOWN},
        {"late for long, alone", "glllllllllllllllllllllllll", "-", PLAN_UNKNOWN},
        {"late for long, while the other is in time", "glllllllllllllllllllllllll", "gggggggggggggggggggggggggg", PLAN_FAILED},
        {"the other answered, but nobody since the last miss began: the host stands still", "gmmm", "gg..", PLAN_HEALTHY},
        {"late at first, then silent", "glmmmmmmm", "ggggggggg", PLAN_FAILED},
        {"unknown is no miss", "gguuuu", "gggggg", PLAN_HEALTHY},
        {"only unknown for long is unknown", "gguuuuuuuuuuuuu", "ggggggggggggggg", PLAN_UNKNOWN},
        {"unknown heals nothing", "gmumum", "gggggg", PLAN_FAILED},
        {"a closed port counts at once", "ggggr", "-", PLAN_FAILED},
        {"and stays, whatever comes after", "ggggrgggggg", "-", PLAN_FAILED},
        {"a panic counts at once", "p", "ggg", PLAN_FAILED},
        {"another page is takeover", "ggggw", "ggggg", PLAN_COMPROMISED},
        {"takeover outweighs a fault", "gggrw", "ggggg", PLAN_COMPROMISED},
        {"the unusual from one vantage is weak", "gggb", "ggg", PLAN_HEALTHY},
        {"however often, and of two kinds", "gggbbbbbFbFbbFbg", "ggg", PLAN_HEALTHY},
        {"from two vantages it means takeover", "gggbf", "ggg", PLAN_COMPROMISED},
        {"in any order, with right answers between", "ggfggggggggbg", "ggg", PLAN_COMPROMISED},
        {"weak and a fault is a fault", "gggbr", "ggg", PLAN_FAILED},
        {"two vantages after a fault outweigh it", "gggrbf", "ggg", PLAN_COMPROMISED},
        {"weak makes no miss count for more", "ggmmb", "ggggg", PLAN_HEALTHY},
        {"a fault does not make takeover less", "gggwr", "ggggg", PLAN_COMPROMISED},
};

static enum finding finding_of(char letter)
{
	switch (letter) {
	case 'g':
		return FINDING_GOOD;
	case 'P':
		return FINDING_PROVEN;
	case 'm':
	case 'l':
		return FINDING_TIMEOUT;
	case 'r':
		return FINDING_REFUSED;
	case 'w':
		return FINDING_WRONG_CONTENT;
	case 'p':
		return FINDING_PANICKED;
	case 'b':
		return FINDING_BUSY;
	case 'f':
	case 'F':
		return FINDING_FLOODING;
	default:
		return FINDING_UNKNOWN;
	}
}

/* The two are probed a bit after one another, as in life. Returns when the last was known. */
static int64_t play(struct plan *p, struct plan_instance *i, const char *letters, int64_t offset_us)
{
	int64_t known_us = 0;
	for (size_t n = 0; letters[n]; n++) {
		int64_t began_us = 1000000 + (int64_t)n * MADE_INTERVAL_US + offset_us;
		known_us = began_us + (letters[n] == 'm' || letters[n] == 'l' ? MADE_TIMEOUT_US : 3000);
		if (letters[n] == '.')
			continue;
		struct evidence e = made_evidence(i->number, finding_of(letters[n]), began_us, known_us);
		if (strchr("bF", letters[n]))
			e.vantage = VANTAGE_HYPERVISOR;
		if (letters[n] == 'f')
			e.vantage = VANTAGE_WIRE;
		verdict_add(p, &i->window, &e);
		e = made_evidence(i->number, FINDING_LATE, began_us, known_us + 100000);
		if (letters[n] == 'l')
			verdict_add(p, &i->window, &e);
	}
	return known_us;
}

static enum plan_verdict verdict_of_row(size_t row)
{
	static struct plan p;
	made_plan(&p);
	struct plan_instance *mine = made_instance(&p, 1, AMBER, PLAN_ACTIVE, PLAN_LIFE_READY);
	bool alone = rows[row].other[0] == '-';
	if (!alone)
		play(&p, made_instance(&p, 2, BIRCH, PLAN_STANDBY, PLAN_LIFE_READY), rows[row].other, 30000);
	int64_t now_us = play(&p, mine, rows[row].mine, 0);
	return verdict_of(&p, mine, now_us);
}

static void rows_hold(void **state)
{
	(void)state;
	for (size_t row = 0; row < sizeof(rows) / sizeof(rows[0]); row++) {
		enum plan_verdict is = verdict_of_row(row);
		if (is != rows[row].verdict)
			fail_msg("%s (%s beside %s): is %s, not %s", rows[row].why, rows[row].mine, rows[row].other,
			         plan_verdict_name(is), plan_verdict_name(rows[row].verdict));
	}
}

/* Clients in haste: many connections that were tried in one moment are one miss, not many. */
static void burst_is_one_miss(void **state)
{
	(void)state;
	static struct plan p;
	made_plan(&p);
	struct plan_instance *i = made_instance(&p, 1, AMBER, PLAN_ACTIVE, PLAN_LIFE_READY);
	play(&p, i, "ggg", 0);
	for (int n = 0; n < 40; n++) {
		struct evidence e = made_evidence(1, FINDING_UNANSWERED, 1300000 + n * 1000, 1500000 + n * 1000);
		verdict_add(&p, &i->window, &e);
	}
	assert_int_equal(__builtin_popcount(i->window.misses), 1);
	assert_int_equal(verdict_of(&p, i, 1540000), PLAN_HEALTHY);
}

static void asleep_is_nobody_to_compare_with(void **state)
{
	static const struct {
		const char *mine;
		enum plan_verdict verdict;
	} cases[] = {{"ggmmm", PLAN_HEALTHY}, {"gmmmmmmmmmmmmmmmmmmmmmmmm", PLAN_FAILED}};
	(void)state;
	for (size_t n = 0; n < 2; n++) {
		static struct plan p;
		made_plan(&p);
		struct plan_instance *mine = made_instance(&p, 1, AMBER, PLAN_ACTIVE, PLAN_LIFE_READY);
		play(&p, made_instance(&p, 2, BIRCH, PLAN_SPARE, PLAN_LIFE_PAUSED), "ggggg", 0);
		assert_int_equal(verdict_of(&p, mine, play(&p, mine, cases[n].mine, 0)), cases[n].verdict);
	}
}

/* Two right answers of each, then clients meet silence from 1230 ms on: told at 1250 and 1270. What either says of a probe that
 * began at 1251 (0: nothing), and the verdict at 1275. */
static void silence_convicts_by_contrast(void **state)
{
	static const struct {
		const char *why;
		bool again, busy, mine, late;
		int64_t other_began_us, now_us;
		enum plan_verdict verdict;
	} cases[] = {
	        {"told twice, and another one answers", true, false, false, false, 1251000, 1275000, PLAN_FAILED},
	        {"told once", false, false, false, false, 1251000, 1275000, PLAN_HEALTHY},
	        {"nobody answers: the host stands still", true, false, false, false, 0, 1275000, PLAN_HEALTHY},
	        {"the other was asked before", true, false, false, false, 1249000, 1275000, PLAN_HEALTHY},
	        {"it answers what it is asked itself", true, false, true, false, 1251000, 1275000, PLAN_HEALTHY},
	        {"it answers late", true, false, false, true, 1251000, 1275000, PLAN_HEALTHY},
	        {"a host that is overrun", true, true, false, false, 1251000, 1275000, PLAN_HEALTHY},
	        {"what was told long ago", true, false, false, false, 1251000, 1270001 + PLAN_SILENCE_FRESH_US, PLAN_HEALTHY},
	};
	(void)state;
	for (size_t n = 0; n < sizeof(cases) / sizeof(cases[0]); n++) {
		static struct plan p;
		struct evidence e;
		made_plan(&p);
		struct plan_instance *mine = made_instance(&p, 1, AMBER, PLAN_ACTIVE, PLAN_LIFE_READY);
		struct plan_instance *other = made_instance(&p, 2, BIRCH, PLAN_STANDBY, PLAN_LIFE_READY);
		play(&p, mine, "gg", 0);
		play(&p, other, "gg", 30000);
		p.busy = cases[n].busy;
		for (int64_t told_us = 1250000; told_us <= (cases[n].again ? 1270000 : 1250000); told_us += 20000) {
			e = made_evidence(1, FINDING_SILENT, 1230000, told_us);
			e.vantage = VANTAGE_WIRE;
			verdict_add(&p, &mine->window, &e);
		}
		e = made_evidence(1, cases[n].late ? FINDING_LATE : FINDING_GOOD, 1251000, 1272000);
		if (cases[n].mine || cases[n].late)
			verdict_add(&p, &mine->window, &e);
		e = made_evidence(2, FINDING_GOOD, cases[n].other_began_us, 1254000);
		if (cases[n].other_began_us)
			verdict_add(&p, &other->window, &e);
		if (verdict_of(&p, mine, cases[n].now_us) != cases[n].verdict)
			fail_msg("%s: is not %s", cases[n].why, plan_verdict_name(cases[n].verdict));
	}
}

/* A silence that ended and one that began then are two. */
static void silences_do_not_add_up(void **state)
{
	(void)state;
	static struct plan p;
	made_plan(&p);
	struct plan_instance *mine = made_instance(&p, 1, AMBER, PLAN_ACTIVE, PLAN_LIFE_READY);
	struct plan_instance *other = made_instance(&p, 2, BIRCH, PLAN_STANDBY, PLAN_LIFE_READY);
	play(&p, mine, "gg", 0);
	play(&p, other, "gg", 30000);
	for (int64_t began_us = 1230000; began_us <= 1280000; began_us += 50000) {
		struct evidence e = made_evidence(1, FINDING_SILENT, began_us, began_us + 20000);
		verdict_add(&p, &mine->window, &e);
		e = made_evidence(2, FINDING_GOOD, began_us + 21000, began_us + 22000);
		verdict_add(&p, &other->window, &e);
	}
	assert_int_equal(verdict_of(&p, mine, 1305000), PLAN_HEALTHY);
}

/* Proving probes wait longer. What they were told late is no proof that the host was quick when we missed. */
static void patience_is_no_contrast(void **state)
{
	(void)state;
	static struct plan p;
	made_plan(&p);
	struct plan_instance *mine = made_instance(&p, 1, AMBER, PLAN_ACTIVE, PLAN_LIFE_READY);
	struct plan_instance *other = made_instance(&p, 2, BIRCH, PLAN_STANDBY, PLAN_LIFE_READY);
	int64_t now_us = play(&p, mine, "ggmmm", 0);
	for (int n = 2; n < 5; n++) {
		struct evidence e = made_evidence(2, FINDING_GOOD, 1030000 + n * MADE_INTERVAL_US, now_us);
		verdict_add(&p, &other->window, &e);
	}
	assert_int_equal(verdict_of(&p, mine, now_us), PLAN_HEALTHY);
}

/* The host itself says that its processors are overrun: chance decides who is slow. */
static void busy_host_needs_more(void **state)
{
	(void)state;
	static struct plan p;
	made_plan(&p);
	struct plan_instance *mine = made_instance(&p, 1, AMBER, PLAN_ACTIVE, PLAN_LIFE_READY);
	play(&p, made_instance(&p, 2, BIRCH, PLAN_STANDBY, PLAN_LIFE_READY), "gggggg", 30000);
	int64_t now_us = play(&p, mine, "gggmmm", 0);
	p.busy = true;
	assert_int_equal(verdict_of(&p, mine, now_us), PLAN_HEALTHY);
	p.busy = false;
	assert_int_equal(verdict_of(&p, mine, now_us), PLAN_FAILED);
}

/* Whoever answers late on an overrun host would be followed by another who answers late; but not for ever. */
static void slow_on_a_busy_host_must_last(void **state)
{
	static const char *const patience = "llllllllllllllllllllllll", *const in_time = "ggggggggggggggggggggggggg";
	(void)state;
	static struct plan p;
	made_plan(&p);
	struct plan_instance *mine = made_instance(&p, 1, AMBER, PLAN_ACTIVE, PLAN_LIFE_READY);
	struct plan_instance *other = made_instance(&p, 2, BIRCH, PLAN_STANDBY, PLAN_LIFE_READY);
	play(&p, other, in_time, 30000);
	int64_t now_us = play(&p, mine, patience, 0);
	mine->window.last_good_us = now_us - PLAN_SLOW_US + 1;
	p.busy = true;
	assert_int_not_equal(verdict_of(&p, mine, now_us), PLAN_FAILED);
	assert_int_equal(verdict_of(&p, mine, now_us + 1), PLAN_FAILED);
	p.busy = false;
	assert_int_equal(verdict_of(&p, mine, now_us), PLAN_FAILED);
	p.busy = true;
	mine->window.late_us = 0; /* silent: that is not slow */
	assert_int_equal(verdict_of(&p, mine, now_us), PLAN_FAILED);
}

/* What people are told is what was decided by. */
static void why_tells_what_the_verdict_rests_on(void **state)
{
	static const struct {
		const char *mine, *other;
		uint32_t misses, in_row, contrast;
		bool silent;
	} cases[] = {
	        {"ggggg", "ggggg", 0, 0, 2, false}, {"ggggm", "ggggg", 1, 1, 2, true},   {"gmgmg", "ggggg", 2, 0, 2, false},
	        {"ggmmm", "ggggg", 3, 3, 2, true},  {"ggmmm", "ggmmm", 3, 3, 0, true},   {"ggmmm", "-", 3, 3, 0, true},
	        {"gglll", "ggggg", 3, 3, 2, false}, {"gmmmmm", "gggggg", 3, 5, 2, true},
	};
	(void)state;
	for (size_t n = 0; n < sizeof(cases) / sizeof(cases[0]); n++) {
		static struct plan p;
		struct plan_why why;
		made_plan(&p);
		struct plan_instance *mine = made_instance(&p, 1, AMBER, PLAN_ACTIVE, PLAN_LIFE_READY);
		if (cases[n].other[0] != '-') {
			struct plan_instance *other = made_instance(&p, 2, BIRCH, PLAN_STANDBY, PLAN_LIFE_READY);
			play(&p, other, cases[n].other, 30000);
			other->verdict = PLAN_HEALTHY;
		}
		int64_t now_us = play(&p, mine, cases[n].mine, 0);
		plan_why(&p, mine, now_us, &why);
		assert_int_equal(why.verdict, verdict_of(&p, mine, now_us));
		if (why.misses != cases[n].misses || why.in_row != cases[n].in_row || why.contrast != cases[n].contrast ||
		    why.silent != cases[n].silent)
			fail_msg("%s beside %s: %u misses, %u in a row, contrast %u, silent %d", cases[n].mine, cases[n].other,
			         why.misses, why.in_row, why.contrast, why.silent);
		assert_int_equal(why.row_enough, 24);
	}
}

static void every_finding_has_a_class_and_words(void **state)
{
	(void)state;
	for (unsigned f = 0; f < FINDING_MAX_; f++) {
		assert_non_null(finding_name((enum finding)f));
		assert_non_null(finding_sentence((enum finding)f));
		assert_true(finding_class((enum finding)f) <= FINDING_CLASS_WEAK);
	}
	for (unsigned v = 0; v < VANTAGE_MAX_; v++)
		assert_non_null(vantage_name((enum vantage)v));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(rows_hold),
	        cmocka_unit_test(burst_is_one_miss),
	        cmocka_unit_test(asleep_is_nobody_to_compare_with),
	        cmocka_unit_test(patience_is_no_contrast),
	        cmocka_unit_test(silence_convicts_by_contrast),
	        cmocka_unit_test(silences_do_not_add_up),
	        cmocka_unit_test(busy_host_needs_more),
	        cmocka_unit_test(slow_on_a_busy_host_must_last),
	        cmocka_unit_test(why_tells_what_the_verdict_rests_on),
	        cmocka_unit_test(every_finding_has_a_class_and_words),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
