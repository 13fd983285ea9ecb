/*
 * A profile by the book and what becomes of it; then the same profile with one thing wrong in it, a row each: refused with the
 * sentence that says where and why.
 */
#include "lib/bytes.h"
#include "mud/mud.h"
#include "mud/profile.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static char *good; /* pump.json */
static size_t good_size;
static const char *golden; /* pump.nft */

static const struct {
	const char *find, *put; /* the first `find` becomes `put` */
	const char *sentence;   /* NULL: fine all the same */
} rows[] = {
        {"\"mud-version\": 1", "\"mud-version\": 2", "/ietf-mud:mud/mud-version: must be 1"},
        {"\"mud-version\": 1,", "", "/ietf-mud:mud: 'mud-version' is missing"},
        {"https://pump", "http://pump", "/ietf-mud:mud/mud-url: must begin with https://"},
        {"\"cache-validity\": 24", "\"cache-validity\": 169", "/ietf-mud:mud/cache-validity: must be a number from 1 to 168"},
        {"\"is-supported\": true", "\"is-supported\": 1", "/ietf-mud:mud/is-supported: must be true or false"},
        {"\"is-supported\": true", "\"is-supported\": false", NULL},
        {"\"systeminfo\"", "\"systeminfos\"", "/ietf-mud:mud/systeminfos: unknown, did you mean 'systeminfo'?"},
        {"Pump controller P7", "Pump\\u0007", "must be printable ASCII"},
        {"Pump controller P7", "P\\\"; } drop", "must be printable ASCII"},
        {"\"mfg-name\": \"Example Pumps\"", "\"extensions\": [\"sbom\"]", "extensions/0: extensions are not supported"},
        {"\"mfg-name\": \"Example Pumps\"", "\"extensions\": []", NULL},
        {"{\"name\": \"out-v4\"}", "{\"name\": \"outt\"}",
         "/from-device-policy/access-lists/access-list/0/name: no access list is named 'outt'"},
        {"\"name\": \"out-v6\",\n", "\"name\": \"in-v4\",\n", "no access list is named 'out-v6'"},
        {"\"name\": \"in-v6\",\n", "\"name\": \"in-v4\",\n", "/acl: two lists are named 'in-v4'"},
        {"\"type\": \"ipv4-acl-type\"", "\"type\": \"eth-acl-type\"", "/acl/0/type: only ipv4-acl-type and ipv6-acl-type"},
        {"\"protocol\": 6", "\"protocol\": 17", "means IP protocol 6, another part of this entry 17"},
        {"\"protocol\": 6", "\"protocol\": 256", "ace/0/matches/ipv4/protocol: must be a number from 0 to 255"},
        {"\"protocol\": 6", "\"ttl\": 1", "ace/0/matches/ipv4/ttl: not supported"},
        {"\"ipv4\": {\"ietf", "\"ipv6\": {\"ietf", "/acl/0/aces/ace/0/matches/ipv6: cannot be in a list of IPv4"},
        {"collect.example.com", "collect..example.com", "dst-dnsname: is no DNS name"},
        {"dst-dnsname\": \"collect", "src-dnsname\": \"collect", "names the device itself"},
        {"\"operator\": \"eq\"", "\"operator\": \"is\"", "destination-port/operator: must be eq, neq, lte or gte"},
        {"\"port\": 8883", "\"port\": 65536", "destination-port/port: must be a number from 0 to 65535"},
        {"\"operator\": \"eq\", \"port\": 8883", "\"port\": 8883", "destination-port: 'operator' is missing"},
        {"\"upper-port\": 26", "\"upper-port\": 24", "a range from 25 to 24 holds nothing"},
        {"\"upper-port\": 26", "\"port\": 26", "destination-port/port: unknown here"},
        {"\"from-device\", \"destination-port\"", "\"out\", \"destination-port\"", "must be from-device or to-device"},
        {"192.0.2.123/32", "192.0.2.123/33", "must be an IPv4 network as ADDRESS/PREFIX"},
        {"192.0.2.123/32", "2001:db8::/32", "must be an IPv4 network as ADDRESS/PREFIX"},
        {"192.0.2.123/32", "192.0.2.123", "must be an IPv4 network as ADDRESS/PREFIX"},
        {"\"local-networks\": [null]", "\"same-manufacturer\": [null]", "mud/same-manufacturer: not supported"},
        {"\"local-networks\": [null]", "\"local-networks\": [null], \"my-controller\": [null]",
         "the entry says already who the other side is"},
        {"\"type\": 0", "\"type\": 300", "icmp/type: must be a number from 0 to 255"},
        {"\"forwarding\": \"accept\"", "\"forwarding\": \"allow\"", "actions/forwarding: must be accept, drop or reject"},
        {"\"actions\": {\"forwarding\": \"accept\"}", "\"actions\": {}", "actions: 'forwarding' is missing"},
        {"log-syslog", "log-file", "must be log-none or log-syslog"},
        {"\"name\": \"serve\"", "\"name\": \"report\"", "an entry named 'report' is there already"},
        {"{\"name\": \"time\", \"matches\"",
         "{\"name\": \"twice\", \"matches\": {\"tcp\": {\"ietf-mud:direction-initiated\": \"to-device\", \"source-port\": "
         "{\"operator\": \"eq\", \"port\": 80}}}, \"actions\": {\"forwarding\": \"drop\"}}, {\"name\": \"time\", \"matches\"",
         "contradicts 'serve', which does something else with the same packets"},
        {"{\"name\": \"time\", \"matches\"", "{\"name\": \"time\", \"name\": \"time\", \"matches\"", "no JSON: duplicate"},
        {"\"ietf-mud:mud\": {\n", "\"mud\": {\n", NULL},
        {"\"ietf-mud:mud\": {\n", "\"evil-mud:mud\": {\n", "/evil-mud:mud: unknown here"},
        {"\"ietf-access-control-list:acls\"", "\"acls\"", NULL},
        {"{", "[", "no JSON"},
};

static char *changed(const char *find, const char *put)
{
	char *at = strstr(good, find), *text = malloc(good_size + strlen(put) + 1);
	assert_non_null(text);
	if (!at)
		fail_msg("pump.json holds no %s", find);
	size_t before = (size_t)(at - good);
	memcpy(text, good, before);
	strcpy(text + before, put);
	strcat(text, at + strlen(find));
	return text;
}

static void rows_hold(void **state unused_arg)
{
	for (size_t row = 0; row < countof(rows); row++) {
		struct err err = {0};
		auto_free char *text = changed(rows[row].find, rows[row].put);
		auto_free struct mud *mud = mud_read("pump.json", text, strlen(text), &err);
		if (!rows[row].sentence && !mud)
			fail_msg("row %zu (%s): refused: %s", row, rows[row].put, err.text);
		if (rows[row].sentence &&
		    (mud || !strstr(err.text, rows[row].sentence) || strncmp(err.text, "pump.json:", 10) != 0))
			fail_msg("row %zu: '%s' does not say '%s'", row, mud ? "(taken)" : err.text, rows[row].sentence);
	}
}

static char *compiled(const struct mud *mud, const struct mud_target *target)
{
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	assert_non_null(out);
	mud_compile(mud, target, out);
	fclose(out);
	return text;
}

static void becomes_rules(void **state unused_arg)
{
	struct err err = {0};
	auto_free uint8_t *wanted = NULL;
	size_t size;
	auto_free struct mud *mud = mud_read("pump.json", good, good_size, &err);
	assert_non_null(mud);
	assert_int_equal(mud->cache_hours, 24);
	assert_int_equal(mud->n_from, 6);
	assert_int_equal(mud->n_aces, 11);
	assert_int_equal(mud->n_names, 1); /* names differ by more than capitals */
	assert_int_equal(mud->n_controllers, 2);
	auto_free char *text = compiled(mud, &(struct mud_target){.link = "kb7", .outside = MUD_CUT});
	assert_int_equal(file_read(golden, 1 << 16, &wanted, &size, &err), 0);
	assert_string_equal(text, (char *)wanted);
}

static void what_is_outside_is_met_as_asked(void **state unused_arg)
{
	static const char empty[] =
	        "{\"ietf-mud:mud\": {\"mud-version\": 1, \"mud-url\": \"https://e.example/\", \"last-update\": \"x\", "
	        "\"is-supported\": true}, \"ietf-access-control-list:acls\": {}}";
	struct err err = {0};
	auto_free struct mud *mud = mud_read("empty.json", empty, strlen(empty), &err);
	assert_non_null(mud);
	assert_int_equal(mud->cache_hours, 48);
	auto_free char *count = compiled(mud, &(struct mud_target){.link = "kb7", .outside = MUD_COUNT});
	assert_non_null(strstr(count, "counter name outside_from\n"));
	assert_null(strstr(count, "drop"));
	auto_free char *limit = compiled(mud, &(struct mud_target){.link = "a-b.c", .outside = MUD_LIMIT, .limit_per_second = 5});
	assert_non_null(strstr(limit, "counter name outside_to limit rate over 5/second drop\n"));
	assert_non_null(strstr(limit, "table inet mud_a_b_c {"));
	assert_non_null(strstr(limit, "iifname \"a-b.c\""));
}

static void links_are_checked(void **state unused_arg)
{
	static const char *const bad[] = {"", "kb\"7", "kb 7", "kb7;", "sixteen-letters-"};
	for (size_t i = 0; i < countof(bad); i++)
		assert_false(mud_link_is_fine(bad[i]));
	assert_true(mud_link_is_fine("kb7"));
	assert_true(mud_link_is_fine("enp0s31f6.100"));
}

/* pump.json is more than a tap can keep; without that, and with the service's ranges, it can. */
static void a_tap_keeps_what_it_can(void **state unused_arg)
{
	static const struct {
		const char *find, *put, *sentence;
	} steps[] = {
	        {"192.0.2.123/32", "198.51.100.123/32",
	         "/acl/0/aces/ace/2/matches/ipv4/destination-ipv4-network: is in the guests' range"},
	        {"\"local-networks\": [null]", "\"my-controller\": [null]",
	         "local-networks: 'local_networks' of the service names none"},
	        {"\"controller\": \"https://control.example.com/class\"", "\"my-controller\": [null]",
	         "/acl/3/aces/ace/1/matches/ietf-mud:mud/controller: nobody here knows"},
	};
	struct conf conf = {.guests4 = {.prefix = 26}, .guests6 = {.prefix = 64}};
	struct conf_service service = {.n_controllers4 = 1};
	inet_pton(AF_INET, "192.0.2.64", &conf.guests4.address);
	inet_pton(AF_INET6, "2001:db8:1::", &conf.guests6.address);
	char *before = good;
	for (size_t i = 0; i <= countof(steps); i++) {
		struct err err = {0};
		auto_free struct mud *mud = mud_profile_read(&conf, &service, "pump.json", good, strlen(good), &err);
		if (i == countof(steps) && !mud)
			fail_msg("refused: %s", err.text);
		if (i == countof(steps))
			break;
		if (mud || !strstr(err.text, steps[i].sentence) || strncmp(err.text, "pump.json: /", 12) != 0)
			fail_msg("step %zu: '%s' does not say '%s'", i, mud ? "(taken)" : err.text, steps[i].sentence);
		good_size = strlen(good);
		char *next = changed(steps[i].find, steps[i].put);
		if (good != before)
			free(good);
		good = next;
	}
	free(good);
	good = before;
	good_size = strlen(good);
}

static void too_much_is_refused(void **state unused_arg)
{
	struct err err = {0};
	auto_free char *big = calloc(1, MUD_FILE_MAX + 2);
	assert_non_null(big);
	memset(big, ' ', MUD_FILE_MAX + 1);
	assert_null(mud_read("big.json", big, MUD_FILE_MAX + 1, &err));
	assert_non_null(strstr(err.text, "big.json: has 1048577 bytes"));
}

int main(int argc, char **argv)
{
	uint8_t *bytes;
	if (argc < 3 || file_read(argv[1], 1 << 16, &bytes, &good_size, NULL) < 0)
		return 2;
	good = (char *)bytes;
	golden = argv[2];
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(becomes_rules),
	        cmocka_unit_test(rows_hold),
	        cmocka_unit_test(what_is_outside_is_met_as_asked),
	        cmocka_unit_test(links_are_checked),
	        cmocka_unit_test(a_tap_keeps_what_it_can),
	        cmocka_unit_test(too_much_is_refused),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	free(bytes);
	return failed;
}
