/* The rules of restarting and of silence, in virtual time. */
#include "supervisor/restart.h"
#include "lib/attr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static void test_pause_doubles_up_to_ten_seconds(unused_arg void **state)
{
	static const int64_t wanted_ms[] = {0, 100, 200, 400, 800, 1600, 3200, 6400, 10000, 10000, 10000};
	unsigned failures = 0;
	for (size_t i = 0; i < countof(wanted_ms); i++)
		assert_int_equal(restart_pause_us(&failures, 1000), wanted_ms[i] * 1000);
}

static void test_a_steady_life_clears_the_record(unused_arg void **state)
{
	unsigned failures = 0;
	for (int i = 0; i < 20; i++)
		restart_pause_us(&failures, 0);
	assert_int_equal(restart_pause_us(&failures, RESTART_STEADY_US - 1), RESTART_MAX_US);
	assert_int_equal(restart_pause_us(&failures, RESTART_STEADY_US), 0);
	assert_int_equal(restart_pause_us(&failures, 0), RESTART_FIRST_US);
}

static void test_it_never_gives_up(unused_arg void **state)
{
	unsigned failures = UINT32_MAX;
	assert_int_equal(restart_pause_us(&failures, 0), RESTART_MAX_US);
	assert_int_equal(failures, UINT32_MAX);
}

static void test_only_a_rising_beat_proves_progress(unused_arg void **state)
{
	struct progress p;
	progress_start(&p, 1000);
	assert_int_equal(p.deadline_us, 1000 + PROGRESS_START_US);
	assert_false(progress_beat(&p, 0, 2000));
	assert_true(progress_beat(&p, 1, 2000));
	assert_int_equal(p.deadline_us, 2000 + PROGRESS_SILENCE_US);
	assert_false(progress_beat(&p, 1, 3000));
	assert_int_equal(p.deadline_us, 2000 + PROGRESS_SILENCE_US);
	assert_true(progress_beat(&p, 5, 4000));
	assert_false(progress_beat(&p, 4, 5000));
	assert_int_equal(p.deadline_us, 4000 + PROGRESS_SILENCE_US);
}

static void test_our_own_sleep_is_excused(unused_arg void **state)
{
	struct progress p;
	progress_start(&p, 0);
	progress_excuse(&p, 100);
	assert_int_equal(p.deadline_us, PROGRESS_START_US);
	progress_excuse(&p, 3600000000);
	assert_int_equal(p.deadline_us, 3600000000 + PROGRESS_SILENCE_US);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_pause_doubles_up_to_ten_seconds),
	        cmocka_unit_test(test_a_steady_life_clears_the_record),
	        cmocka_unit_test(test_it_never_gives_up),
	        cmocka_unit_test(test_only_a_rising_beat_proves_progress),
	        cmocka_unit_test(test_our_own_sleep_is_excused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
