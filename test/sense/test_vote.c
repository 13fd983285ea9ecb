/* Who differs: all combinations of two, three and four answers, and what of it lasts into the next round. */
#include "sense/vote.h"

#include "lib/attr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* Each letter is an answer, - is none; . agrees, o is outvoted, d differs. */
static const struct {
	const char *answers, *results;
} rows[] = {
        /* clang-format off */
        {"--", "--"}, {"-a", "-."}, {"a-", ".-"}, {"aa", ".."}, {"ab", "dd"}, {"---", "---"},
        {"--a", "--."}, {"-a-", "-.-"}, {"-aa", "-.."}, {"-ab", "-dd"}, {"a--", ".--"}, {"a-a", ".-."},
        {"a-b", "d-d"}, {"aa-", "..-"}, {"aaa", "..."}, {"aab", "..o"}, {"ab-", "dd-"}, {"aba", ".o."},
        {"abb", "o.."}, {"abc", "ddd"}, {"----", "----"}, {"---a", "---."}, {"--a-", "--.-"}, {"--aa", "--.."},
        {"--ab", "--dd"}, {"-a--", "-.--"}, {"-a-a", "-.-."}, {"-a-b", "-d-d"}, {"-aa-", "-..-"}, {"-aaa", "-..."},
        {"-aab", "-..o"}, {"-ab-", "-dd-"}, {"-aba", "-.o."}, {"-abb", "-o.."}, {"-abc", "-ddd"}, {"a---", ".---"},
        {"a--a", ".--."}, {"a--b", "d--d"}, {"a-a-", ".-.-"}, {"a-aa", ".-.."}, {"a-ab", ".-.o"}, {"a-b-", "d-d-"},
        {"a-ba", ".-o."}, {"a-bb", "o-.."}, {"a-bc", "d-dd"}, {"aa--", "..--"}, {"aa-a", "..-."}, {"aa-b", "..-o"},
        {"aaa-", "...-"}, {"aaaa", "...."}, {"aaab", "...o"}, {"aab-", "..o-"}, {"aaba", "..o."}, {"aabb", "dddd"},
        {"aabc", "dddd"}, {"ab--", "dd--"}, {"ab-a", ".o-."}, {"ab-b", "o.-."}, {"ab-c", "dd-d"}, {"aba-", ".o.-"},
        {"abaa", ".o.."}, {"abab", "dddd"}, {"abac", "dddd"}, {"abb-", "o..-"}, {"abba", "dddd"}, {"abbb", "o..."},
        {"abbc", "dddd"}, {"abc-", "ddd-"}, {"abca", "dddd"}, {"abcb", "dddd"}, {"abcc", "dddd"}, {"abcd", "dddd"},
        /* clang-format on */
};

static struct vote vote_made(const char *answers)
{
	struct vote vote = {.n = strlen(answers)};
	for (size_t i = 0; i < vote.n; i++) {
		vote.ballots[i].instance = (uint32_t)i + 1;
		vote.ballots[i].answered = answers[i] != '-';
		vote.ballots[i].doubtful = answers[i] >= 'A' && answers[i] <= 'Z';
		memset(vote.ballots[i].digest, answers[i] | 0x20, VOTE_DIGEST);
	}
	vote_count(&vote);
	return vote;
}

static const char *results_text(const struct vote *vote)
{
	static char text[VOTE_VOTERS_MAX + 1];
	for (size_t i = 0; i < vote->n; i++)
		text[i] = "-.od"[vote->ballots[i].result];
	text[vote->n] = '\0';
	return text;
}

static void all_combinations(void **state unused_arg)
{
	for (size_t i = 0; i < countof(rows); i++) {
		struct vote vote = vote_made(rows[i].answers);
		if (strcmp(results_text(&vote), rows[i].results) != 0)
			fail_msg("%s is %s, not %s", rows[i].answers, results_text(&vote), rows[i].results);
	}
}

/* Bell numbers: so many ways there are to sort n answers, where one more heap is that of no answer. */
static void the_table_holds_them_all(void **state unused_arg)
{
	size_t n[5] = {0};
	for (size_t i = 0; i < countof(rows); i++) {
		n[strlen(rows[i].answers)]++;
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(rows[i].answers, rows[j].answers);
	}
	assert_int_equal(n[2], 5);
	assert_int_equal(n[3], 15);
	assert_int_equal(n[4], 52);
}

/* Capitals are answers that may be a piece of one. Digits: the row of each after the second round, 0 for whom nothing speaks
 * against. */
static void what_lasts(void **state unused_arg)
{
	static const struct {
		const char *before, *now, *in_row, *why;
	} cases[] = {
	        {"aab", "aab", "002", "the same again"},
	        {"aab", "aac", "002", "a liar who says something else each time"},
	        {"aab", "baa", "100", "another one now"},
	        {"aab", "bba", "001", "the content has moved, one was later than the others"},
	        {"aab", "ccb", "001", "the content moves"},
	        {"aab", "abc", "111", "now nobody agrees"},
	        {"aab", "aa-", "000", "no answer this time"},
	        {"aa-", "aab", "001", "no answer last time"},
	        {"aab", "a-b", "101", "now there are only two"},
	        {"a-b", "aab", "001", "now there are three"},
	        {"aab", "aaa", "000", "it agrees again"},
	        {"aaB", "aaB", "002", "the same piece twice is no piece"},
	        {"aaB", "aaC", "001", "pieces of different lengths"},
	        {"ab", "ab", "22", "two, the same again"},
	        {"ab", "ac", "22", "one changes, the other does not"},
	        {"ab", "cd", "11", "both change: the content moves"},
	        {"ab", "ba", "11", "both change: the content moves to and fro"},
	        {"ab", "aa", "00", "they agree again"},
	        {"ab", "aB", "22", "two, a piece the second time, the same bytes"},
	        {"aB", "aC", "11", "two, and different pieces"},
	        {"aabb", "aabb", "2222", "two against two"},
	        {"aaab", "aaab", "0002", "one against three"},
	};
	for (size_t i = 0; i < countof(cases); i++) {
		struct vote before = vote_made(cases[i].before), now = vote_made(cases[i].now);
		bool any = vote_follow(&before, &now), wanted = strchr(cases[i].in_row, '2') != NULL;
		for (size_t k = 0; k < now.n; k++)
			if (now.ballots[k].row != (unsigned)(cases[i].in_row[k] - '0'))
				fail_msg("%s: number %zu has a row of %u", cases[i].why, k, now.ballots[k].row);
		assert_int_equal(any, wanted);
	}
}

static void a_row_grows(void **state unused_arg)
{
	struct vote before = vote_made("ab");
	for (unsigned n = 2; n < 5; n++) {
		struct vote now = vote_made("ab");
		assert_true(vote_follow(&before, &now));
		assert_int_equal(now.ballots[0].row, n);
		before = now;
	}
}

static void the_others_are_named(void **state unused_arg)
{
	struct vote vote = vote_made("abaa");
	size_t n = 0;
	assert_int_equal(vote_other(&vote, &vote.ballots[1], &n)->instance, 1);
	assert_int_equal(n, 3);
	assert_null(vote_other(&vote, &vote.ballots[0], &n));
	vote = vote_made("-ab");
	assert_int_equal(vote_other(&vote, &vote.ballots[1], &n)->instance, 3);
	assert_int_equal(n, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(all_combinations), cmocka_unit_test(the_table_holds_them_all), cmocka_unit_test(what_lasts),
	        cmocka_unit_test(a_row_grows),      cmocka_unit_test(the_others_are_named),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
