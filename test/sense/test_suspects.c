/* Who is suspected: by stories of falls and calm moments. And who is remembered as a caller. */
#include "sense/suspects.h"

#include "lib/attr.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define SECOND INT64_C(1000000)
#define WITHIN (600 * SECOND)

static struct nflog_address at(const char *text)
{
	struct nflog_address address = {.ipv6 = strchr(text, ':')};
	assert_int_equal(inet_pton(address.ipv6 ? AF_INET6 : AF_INET, text, address.bytes), 1);
	return address;
}

static struct nflog_address client(char letter)
{
	char text[16];
	snprintf(text, sizeof(text), "203.0.113.%d", letter);
	return at(text);
}

static size_t clients(const char *letters, struct nflog_address who[static CALLERS_MAX])
{
	size_t n = 0;
	for (; *letters && *letters != ' '; letters++)
		who[n++] = client(*letters);
	return n;
}

/* Words: who was there at each moment, a letter each; "-": nobody. */
static void tell(struct suspects *s, const char *moments,
                 void (*put)(struct suspects *, const struct nflog_address *, size_t, int64_t), int64_t *now_us)
{
	for (const char *word = moments; word && *word; word = strchr(word, ' '), word = word ? word + 1 : NULL) {
		struct nflog_address who[CALLERS_MAX];
		*now_us += 10 * SECOND;
		put(s, who, *word == '-' ? 0 : clients(word, who), *now_us);
	}
}

/* p polls all the time, x attacks. */
static const struct {
	const char *what, *calm, *falls, *suspected;
	int64_t later_us;
} rows[] = {
        {"who comes for each attack", "p p p p", "px px px", "x", 0},
        {"two are not enough", "p p p p", "px px p", "", 0},
        {"of more falls three", "p p p p", "px p px p px", "x", 0},
        {"without calm moments nobody is", "", "px px px", "", 0},
        {"with too few neither", "p p p", "px px px", "", 0},
        {"nobody was there in calm moments", "- - - -", "px px px", "px", 0},
        {"who is there at half of them is not", "px p px p", "px px px", "", 0},
        {"who is there at less than half is", "px p p p p", "px px px", "x", 0},
        {"from elsewhere each time", "p p p p", "pa pb pc pd", "", 0},
        {"too long ago", "p p p p", "px px px", "", WITHIN},
        {"the worst is named first", "p p p py p", "xy xy xy x", "xy", 0},
        {"only the last calm moments count", "px px px px p p p p p p p p p p p p p p p p p p p p", "px px px", "x", 0},
        {"and only the last falls", "p p p p", "x x x p p p p p p p p p p p p p p p p", "", 0},
};

static void who_is_suspected(void **state)
{
	(void)state;
	for (size_t k = 0; k < countof(rows); k++) {
		static struct suspects s;
		struct suspect named[SUSPECTS_MAX];
		char got[SUSPECTS_MAX + 1] = "";
		int64_t now_us = SECOND;
		memset(&s, 0, sizeof(s));
		tell(&s, rows[k].calm, suspects_calm, &now_us);
		tell(&s, rows[k].falls, suspects_fall, &now_us);
		size_t n = suspects_name(&s, WITHIN, now_us + rows[k].later_us, named);
		for (size_t i = 0; i < n; i++)
			got[i] = (char)named[i].who.bytes[3];
		if (strcmp(got, rows[k].suspected) != 0)
			fail_msg("%s: '%s', not '%s'", rows[k].what, got, rows[k].suspected);
	}
}

static void counts_are_told(void **state)
{
	static struct suspects s;
	struct suspect named[SUSPECTS_MAX];
	int64_t now_us = SECOND;
	(void)state;
	tell(&s, "p p px p p", suspects_calm, &now_us);
	tell(&s, "px p px px", suspects_fall, &now_us);
	assert_int_equal(suspects_name(&s, WITHIN, now_us, named), 1);
	assert_int_equal(named[0].falls, 3);
	assert_int_equal(named[0].of_falls, 4);
	assert_int_equal(named[0].calm, 1);
	assert_int_equal(named[0].of_calm, 5);
}

static void a_crowd_is_bounded(void **state)
{
	static struct suspects s;
	struct suspect named[SUSPECTS_MAX];
	struct nflog_address who[CALLERS_MAX + 8];
	(void)state;
	for (size_t i = 0; i < countof(who); i++)
		who[i] = client((char)(1 + i));
	for (int64_t k = 0; k < 6; k++)
		suspects_calm(&s, who, 0, k);
	for (int64_t k = 0; k < 40; k++)
		suspects_fall(&s, who, countof(who), k);
	assert_int_equal(suspects_name(&s, WITHIN, 40, named), SUSPECTS_MAX);
}

static void cuts_last_longer_each_time(void **state)
{
	static const int64_t wanted[] = {600, 1200, 2400, 4800, 9600, 19200, 38400, 76800, 86400, 86400};
	(void)state;
	for (uint32_t k = 0; k < countof(wanted); k++)
		assert_int_equal(suspects_cut_s(k), wanted[k]);
	assert_int_equal(suspects_cut_s(UINT32_MAX), 86400);
}

static size_t lately(const struct callers *c, int64_t since_us)
{
	struct nflog_address who[CALLERS_MAX];
	return callers_since(c, since_us, who);
}

static void callers_are_networks_that_were_there(void **state)
{
	static struct callers c;
	struct nflog_address four = at("203.0.113.9"), six = at("2001:db8::7"), other = at("2001:db8::8"), who[CALLERS_MAX];
	(void)state;
	callers_began(&c, &four, 10);
	callers_began(&c, &six, 20);
	callers_began(&c, &other, 30);        /* the same /64 */
	assert_int_equal(lately(&c, 100), 2); /* open */
	callers_ended(&c, &four, 40);
	callers_ended(&c, &four, 40);
	assert_int_equal(lately(&c, 40), 2);
	assert_int_equal(lately(&c, 41), 1);
	assert_int_equal(callers_since(&c, 41, who), 1);
	struct nflog_address network = at("2001:db8::");
	assert_memory_equal(&who[0], &network, sizeof(network));
	callers_lost(&c);
	assert_int_equal(lately(&c, 41), 0);
	for (int i = 0; i < 2 * CALLERS_MAX; i++) { /* whoever was not seen for the longest time gives way */
		struct nflog_address one = client((char)i);
		callers_began(&c, &one, 100 + i);
	}
	assert_int_equal(lately(&c, 0), CALLERS_MAX);
	assert_int_equal(c.n, CALLERS_MAX);
	callers_ended(&c, &six, 500); /* no longer known */
	assert_int_equal(lately(&c, 500), CALLERS_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(who_is_suspected),
	        cmocka_unit_test(counts_are_told),
	        cmocka_unit_test(a_crowd_is_bounded),
	        cmocka_unit_test(cuts_last_longer_each_time),
	        cmocka_unit_test(callers_are_networks_that_were_there),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
