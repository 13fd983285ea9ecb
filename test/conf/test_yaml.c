/*
 * The table-driven reader: each kind of value good and bad with its exact message, and each part of YAML that is
 * refused, with its place. The rows are (text, what must come out).
 */
#include "lib/yaml.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

struct child {
	char name[16];
	uint16_t weight;
};

struct thing {
	uint8_t flag;
	uint16_t number;
	uint32_t duration, share, memory, word;
	uint64_t size;
	char text[8], name[8], path[16], url[16];
	struct yaml_value address, range, port;
	char names[3][8];
	size_t n_names;
	struct child children[2];
	size_t n_children;
	uint32_t inner;
};

static int keep_address(const struct yaml_node *node unused_arg, const struct yaml_value *value, void *object,
                        struct err *err unused_arg)
{
	((struct thing *)object)->address = *value;
	return 0;
}

static int keep_range(const struct yaml_node *node unused_arg, const struct yaml_value *value, void *object,
                      struct err *err unused_arg)
{
	((struct thing *)object)->range = *value;
	return 0;
}

static int keep_port(const struct yaml_node *node, const struct yaml_value *value, void *object, struct err *err)
{
	if (value->number == 22)
		return yaml_fail(node, err, "not this one");
	((struct thing *)object)->port = *value;
	return 0;
}

static const char *const words[] = {"red", "green", "blue", NULL};

static const struct yaml_key child_keys[] = {
        {.key = "weight", .type = YAML_INTEGER, YAML_FIELD(struct child, weight), .max = 100, .required = true},
        {.key = NULL},
};

static const struct yaml_key inner_keys[] = {
        {.key = "value", .type = YAML_INTEGER, YAML_FIELD(struct thing, inner), .max = 9, .fallback = "4"},
        {.key = NULL},
};

static const struct yaml_key keys[] = {
        {.key = "flag", .type = YAML_BOOL, YAML_FIELD(struct thing, flag)},
        {.key = "number", .type = YAML_INTEGER, YAML_FIELD(struct thing, number), .min = 2, .max = 60000, .fallback = "7"},
        {.key = "duration", .type = YAML_DURATION, YAML_FIELD(struct thing, duration), .min = 20, .max = 86400000},
        {.key = "size", .type = YAML_SIZE, YAML_FIELD(struct thing, size), .max = 4ull << 30},
        {.key = "share", .type = YAML_PERCENT, YAML_FIELD(struct thing, share), .min = 5, .max = 100},
        {.key = "memory", .type = YAML_SIZE, YAML_FIELD(struct thing, memory), .unit = 1u << 20, .max = 1ull << 30},
        {.key = "word", .type = YAML_WORD, YAML_FIELD(struct thing, word), .words = words},
        {.key = "text", .type = YAML_TEXT, YAML_FIELD(struct thing, text)},
        {.key = "name", .type = YAML_NAME, YAML_FIELD(struct thing, name)},
        {.key = "path", .type = YAML_PATH, YAML_FIELD(struct thing, path)},
        {.key = "url", .type = YAML_URL_PATH, YAML_FIELD(struct thing, url)},
        {.key = "address", .type = YAML_ADDRESS, .hook = keep_address},
        {.key = "range", .type = YAML_RANGE, .hook = keep_range},
        {.key = "ports", .type = YAML_LIST, .item = YAML_PORT, .hook = keep_port, .limit = 2},
        {.key = "names",
         .type = YAML_LIST,
         .item = YAML_NAME,
         .min = 1,
         YAML_ITEMS(struct thing, names, n_names),
         .fallback = "[x, y]"},
        {.key = "children",
         .type = YAML_NAMED,
         .keys = child_keys,
         .min = 1,
         YAML_ITEMS(struct thing, children, n_children),
         .name_offset = offsetof(struct child, name),
         .name_max = 16},
        {.key = "inner", .type = YAML_MAP, .keys = inner_keys},
        {.key = NULL},
};

static int read_text(const char *text, struct thing *ret_thing, struct err *err)
{
	struct yaml_tree *tree = yaml_tree_new();
	memset(ret_thing, 0, sizeof(*ret_thing));
	int e = yaml_tree_add(tree, "f", text, strlen(text), err);
	if (e == 0)
		e = yaml_tree_read(tree, keys, ret_thing, err);
	yaml_tree_free(tree);
	return e;
}

static void good(const char *text, struct thing *ret_thing)
{
	struct err err = {0};
	if (read_text(text, ret_thing, &err) < 0)
		fail_msg("'%s' was refused: %s", text, err.text);
}

struct refusal {
	const char *text, *message;
};

static const struct refusal bad_values[] = {
        {"flag: maybe", "f:1:7: 'flag' must be yes or no, not 'maybe'"},
        {"flag: Yes", "f:1:7: 'flag' must be yes or no, not 'Yes'"},
        {"flag:", "f:1:6: 'flag' has no value"},
        {"flag: [yes]", "f:1:7: 'flag' must be one value, not a list"},
        {"number: 1", "f:1:9: 'number' must be between 2 and 60000, not '1'"},
        {"number: 60001", "f:1:9: 'number' must be between 2 and 60000, not '60001'"},
        {"number: 18446744073709551616", "f:1:9: 'number' must be a whole number, not '18446744073709551616'"},
        {"number: -3", "f:1:9: 'number' must be a whole number, not '-3'"},
        {"number: +3", "f:1:9: 'number' must be a whole number, not '+3'"},
        {"number: 010", "f:1:9: 'number' must be a whole number, not '010'"},
        {"number: 0x10", "f:1:9: 'number' must be a whole number, not '0x10'"},
        {"number: 3.0", "f:1:9: 'number' must be a whole number, not '3.0'"},
        {"number: {a: b}", "f:1:9: 'number' must be one value, not a map"},
        {"duration: 100", "f:1:11: 'duration' must be a whole number with a unit (ms, s, min, h), such as 250ms; a unit is "
                          "missing, not '100'"},
        {"duration: 1.5s", "f:1:11: 'duration' must be a whole number with a unit (ms, s, min, h), such as 250ms, not '1.5s'"},
        {"duration: 10m", "f:1:11: 'duration' must be a whole number with a unit (ms, s, min, h), such as 250ms, not '10m'"},
        {"duration: 5ms", "f:1:11: 'duration' must be between 20ms and 24h, not '5ms'"},
        {"duration: 25h", "f:1:11: 'duration' must be between 20ms and 24h, not '25h'"},
        {"duration: 18446744073709551615h", "f:1:11: 'duration' must be between 20ms and 24h, not '18446744073709551615h'"},
        {"size: 64kB", "f:1:7: 'size' must be a whole number with a unit (B, KiB, MiB, GiB), such as 64KiB, not '64kB'"},
        {"size: 5GiB", "f:1:7: 'size' must be between 0B and 4GiB, not '5GiB'"},
        {"size: 18446744073709551615GiB", "f:1:7: 'size' must be between 0B and 4GiB, not '18446744073709551615GiB'"},
        {"memory: 1KiB", "f:1:9: 'memory' must be a multiple of 1MiB, not '1KiB'"},
        {"share: 50", "f:1:8: 'share' must be a whole number with a percent sign, such as 50%; a unit is missing, not '50'"},
        {"share: 101%", "f:1:8: 'share' must be between 5% and 100%, not '101%'"},
        {"word: grren", "f:1:7: 'word' must be one of red, green, blue, not 'grren'"},
        {"text: ''", "f:1:7: 'text' must be printable text, not ''"},
        {"text: \"a\\0b\"", "f:1:7: a value must be one line without control characters: '\\r' and the like stay as they are "
                            "written in single quotes"},
        {"text: |\n  a\n  b", "f:1:7: a value must be one line without control characters"},
        {"text: 12345678", "f:1:7: 'text' must be at most 7 bytes long, not '12345678'"},
        {"name: Anna", "f:1:7: 'name' must be a name: a lower-case letter, then lower-case letters, digits and '-', not 'Anna'"},
        {"name: 7a", "f:1:7: 'name' must be a name: a lower-case letter, then lower-case letters, digits and '-', not '7a'"},
        {"path: tmp/x", "f:1:7: 'path' must be an absolute path without '..', such as /var/lib/thing, not 'tmp/x'"},
        {"path: /a/../b", "f:1:7: 'path' must be an absolute path without '..', such as /var/lib/thing, not '/a/../b'"},
        {"url: \"/a b\"", "f:1:6: 'url' must be a path on a web server: '/' first, then visible ASCII without '#', not '/a b'"},
        {"address: 192.0.2.300", "f:1:10: 'address' must be an IPv4 or IPv6 address, not '192.0.2.300'"},
        {"address: 192.0.2.1/24", "f:1:10: 'address' must be an IPv4 or IPv6 address, not '192.0.2.1/24'"},
        {"address: 2001:db8::g", "f:1:10: 'address' must be an IPv4 or IPv6 address, not '2001:db8::g'"},
        {"range: 192.0.2.0", "f:1:8: 'range' must be an address range, such as 192.0.2.0/24 or 2001:db8::/64, not '192.0.2.0'"},
        {"range: 192.0.2.0/33",
         "f:1:8: 'range' must be an address range, such as 192.0.2.0/24 or 2001:db8::/64, not '192.0.2.0/33'"},
        {"range: 192.0.2.77/26",
         "f:1:8: 'range' must be the first address of its range: did you mean 192.0.2.64/26?, not '192.0.2.77/26'"},
        {"range: 2001:db8::1/64",
         "f:1:8: 'range' must be the first address of its range: did you mean 2001:db8::/64?, not '2001:db8::1/64'"},
        {"ports: 80/tcp", "f:1:8: 'ports' must be a list: write [80/tcp]"},
        {"ports: {a: b}", "f:1:8: 'ports' must be a list, not a map"},
        {"ports: [80]", "f:1:9: each of 'ports' must be a port and its protocol, such as 80/tcp or 53/udp, not '80'"},
        {"ports: [0/tcp]", "f:1:9: each of 'ports' must be a port and its protocol, such as 80/tcp or 53/udp, not '0/tcp'"},
        {"ports: [65536/udp]",
         "f:1:9: each of 'ports' must be a port and its protocol, such as 80/tcp or 53/udp, not '65536/udp'"},
        {"ports: [80/sctp]", "f:1:9: each of 'ports' must be a port and its protocol, such as 80/tcp or 53/udp, not '80/sctp'"},
        {"ports: [22/tcp]", "f:1:9: not this one"},
        {"ports: [1/tcp, 2/tcp,\n  3/tcp]", "f:2:3: 'ports' can have 2 at most"},
        {"names: []", "f:1:8: 'names' must have at least 1"},
        {"names: [a, [b]]", "f:1:12: each of 'names' must be one value, not a list"},
        {"children: [a]", "f:1:11: 'children' must be a map: a name for each, and its keys below it"},
        {"children: {}", "f:1:11: 'children' must have at least 1"},
        {"children: {a: {weight: 1}, b: {weight: 1}, c: {weight: 1}}", "f:1:44: 'children' can have 2 at most"},
        {"children:\n  A b:\n    weight: 1",
         "f:2:3: the key below 'children' must be a name: a lower-case letter, then lower-case letters, digits and '-', "
         "not 'A b'"},
        {"children:\n  anna:\n", "f:2:3: 'weight' is missing here"},
        {"children:\n  anna:\n    wieght: 3", "f:3:5: unknown key 'wieght', did you mean 'weight'?"},
        {"inner: 3", "f:1:8: there must be keys here ('value: ...'), not one value"},
        {"inner: [3]", "f:1:8: there must be keys here ('value: ...'), not a list"},
        {"flag: yes\nnumbre: 7", "f:2:1: unknown key 'numbre', did you mean 'number'?"},
        {"inner: {elsewhere: 1}", "f:1:9: unknown key 'elsewhere'; known here: value"},
        {"inner:\n\tvalue: 3", "f:2:1: a tab cannot indent: use spaces"},
};

static void assert_refused(const struct refusal *rows, size_t n_rows)
{
	for (size_t i = 0; i < n_rows; i++) {
		struct thing thing;
		struct err err = {0};
		if (read_text(rows[i].text, &thing, &err) == 0)
			fail_msg("'%s' was taken", rows[i].text);
		assert_string_equal(err.text, rows[i].message);
		assert_int_equal(err.code, -EINVAL);
	}
}

static void bad_values_are_refused_with_their_place(void **state unused_arg)
{
	assert_refused(bad_values, countof(bad_values));
}

static void the_rest_of_yaml_is_refused(void **state unused_arg)
{
	static const struct refusal rows[] = {
	        {"text: &a x\nname: *a", "f:1:7: anchors are not allowed here: remove '&a'"},
	        {"text: *a", "f:1:7: aliases are not allowed here: write the value out instead of '*a'"},
	        {"*a : x", "f:1:1: aliases are not allowed here: write the value out"},
	        {"inner: &a {value: 1}", "f:1:8: anchors are not allowed here: remove '&a'"},
	        {"<<: {text: x}", "f:1:1: merge keys ('<<') are not allowed here: write the keys out"},
	        {"text: a\ntext: b", "f:2:1: key 'text' is there twice: first in line 1"},
	        {"text: !!str x", "f:1:7: tags are not allowed here: remove 'tag:yaml.org,2002:str'"},
	        {"inner: !x {value: 1}", "f:1:8: tags are not allowed here: remove '!x'"},
	        {"---\ntext: a\n---\ntext: b", "f:3:1: a second document begins here: one file, one document"},
	        {"[a, b]", "f:1:1: a file is a map: write 'key: value' lines"},
	        {"just text", "f:1:1: a file is a map: write 'key: value' lines"},
	        {"{[a]: b}", "f:1:2: a key must be a word, not a list or a map"},
	        {"text: 'a", "f:1:9: found unexpected end of stream, while scanning a quoted scalar that begins in line 1"},
	        {"names: [2001:db8::]", "f:1:18: a value that begins or ends with ':' must be in quotes"},
	        {"text: a\n  b: c", "f:2:4: mapping values are not allowed in this context"},
	        {"text: \xff", "f:1:7: this is not readable text: invalid leading UTF-8 octet"},
	};
	assert_refused(rows, countof(rows));
}

static void good_values_are_stored(void **state unused_arg)
{
	struct thing t;
	char address[INET6_ADDRSTRLEN];
	good("# all kinds\nflag: yes\nnumber: 60000\nduration: 2min\nsize: 4GiB\nshare: 50%\nmemory: 192MiB\nword: blue\n"
	     "text: 'é x'\nname: a-1\npath: /a..b/c\nurl: /?x=1\naddress: 2001:db8::1\nrange: 192.0.2.64/26\n"
	     "ports: [53/udp]\nnames:\n- abc\n- d\nchildren: {anna: {weight: 3}, bert: {weight: 0}}\ninner: {value: 9}\n",
	     &t);
	assert_int_equal(t.flag, 1);
	assert_int_equal(t.number, 60000);
	assert_int_equal(t.duration, 120000);
	assert_true(t.size == 4ull << 30);
	assert_int_equal(t.share, 50);
	assert_int_equal(t.memory, 192);
	assert_int_equal(t.word, 2);
	assert_string_equal(t.text, "é x");
	assert_string_equal(t.name, "a-1");
	assert_string_equal(t.path, "/a..b/c");
	assert_string_equal(t.url, "/?x=1");
	assert_string_equal(inet_ntop(AF_INET6, &t.address.address6, address, sizeof(address)), "2001:db8::1");
	assert_int_equal(t.range.family, AF_INET);
	assert_int_equal(t.range.prefix, 26);
	assert_int_equal(t.port.number, 53);
	assert_int_equal(t.port.protocol, IPPROTO_UDP);
	assert_int_equal(t.n_names, 2);
	assert_string_equal(t.names[1], "d");
	assert_int_equal(t.n_children, 2);
	assert_string_equal(t.children[0].name, "anna");
	assert_int_equal(t.children[0].weight, 3);
	assert_string_equal(t.children[1].name, "bert");
	assert_int_equal(t.inner, 9);
}

static void defaults_are_read_from_the_table(void **state unused_arg)
{
	static const char *const empty[] = {"", "# nothing\n", "---\n", "inner:\n", "{}"};
	for (size_t i = 0; i < countof(empty); i++) {
		struct thing t;
		good(empty[i], &t);
		assert_int_equal(t.number, 7);
		assert_int_equal(t.inner, 4);
		assert_int_equal(t.n_names, 2);
		assert_string_equal(t.names[0], "x");
		assert_int_equal(t.duration, 0);
	}
	struct thing t;
	good("size: 0", &t);
	assert_true(t.size == 0);
	good("flag: on", &t);
	assert_int_equal(t.flag, 1);
	good("flag: false", &t);
	assert_int_equal(t.flag, 0);
	good("range: \"::/0\"", &t);
	assert_int_equal(t.range.prefix, 0);
}

static void files_are_laid_over_one_another(void **state unused_arg)
{
	static const char base[] = "number: 10\ntext: a\nnames: [a, b, c]\nchildren: {anna: {weight: 1}, bert: {weight: 2}}\n";
	static const char over[] = "text: b\nnames: [d]\nchildren: {bert: {weight: 9}}\ninner: {value: 1}\n";
	struct yaml_tree *tree = yaml_tree_new();
	struct thing t = {0};
	struct err err = {0};
	assert_int_equal(yaml_tree_add(tree, "base", base, strlen(base), &err), 0);
	assert_int_equal(yaml_tree_add(tree, "over", over, strlen(over), &err), 0);
	assert_int_equal(yaml_tree_read(tree, keys, &t, &err), 0);
	assert_int_equal(t.number, 10);
	assert_string_equal(t.text, "b");
	assert_int_equal(t.n_names, 1);
	assert_string_equal(t.names[0], "d");
	assert_int_equal(t.children[0].weight, 1);
	assert_int_equal(t.children[1].weight, 9);
	assert_int_equal(t.inner, 1);
	/* the message names the file where the value comes from, and a bad file changes nothing */
	static const char wrong[] = "\n\nchildren: {bert: {weight: 101}}";
	assert_int_equal(yaml_tree_add(tree, "bad", "a: [", 4, &err), -EINVAL);
	assert_int_equal(yaml_tree_read(tree, keys, &t, &err), 0);
	assert_int_equal(yaml_tree_add(tree, "wrong", wrong, strlen(wrong), &err), 0);
	assert_int_equal(yaml_tree_read(tree, keys, &t, &err), -EINVAL);
	assert_string_equal(err.text, "wrong:3:27: 'weight' must be between 0 and 100, not '101'");
	yaml_tree_free(tree);
}

static void size_depth_and_count_are_capped(void **state unused_arg)
{
	struct thing t;
	struct err err = {0};
	size_t size = YAML_BYTES_MAX + 2;
	auto_free char *text = malloc(size);
	assert_non_null(text);
	memset(text, ' ', size);
	text[size - 1] = '\0';
	assert_int_equal(read_text(text, &t, &err), -EFBIG);
	assert_string_equal(err.text, "f: 1048577 bytes, more than the 1048576 that are allowed here");
	text[size - 2] = '\0';
	assert_int_equal(read_text(text, &t, &err), 0);
	memset(text, '[', 1000);
	text[1000] = '\0';
	memcpy(text, "text: ", 6);
	assert_int_equal(read_text(text, &t, &err), -EINVAL);
	assert_string_equal(err.text, "f:1:22: nested deeper than the 16 levels that are allowed");
	strcpy(text, "names: [");
	for (size_t i = 0; i < YAML_NODES_MAX; i++)
		strcpy(text + 8 + 2 * i, "a,");
	assert_int_equal(read_text(text, &t, &err), -EINVAL);
	assert_string_equal(err.text, "f:1:20003: more than the 10000 values that one file may have");
}

static void places_are_found_by_path(void **state unused_arg)
{
	static const char text[] = "inner:\n  value: 3\nnames:\n  - a\n  - b\n";
	static const struct {
		const char *path, *place;
	} rows[] = {
	        {"", "f:1:1: x"},        {"inner", "f:2:3: x"},   {"inner/value", "f:2:10: x"}, {"inner/none/deep", "f:2:3: x"},
	        {"names/1", "f:5:5: x"}, {"names/7", "f:4:3: x"}, {"none", "f:1:1: x"},
	};
	struct yaml_tree *tree = yaml_tree_new();
	struct err err = {0};
	assert_int_equal(yaml_tree_add(tree, "f", text, strlen(text), &err), 0);
	for (size_t i = 0; i < countof(rows); i++) {
		yaml_fail(yaml_tree_find(tree, rows[i].path), &err, "x");
		assert_string_equal(err.text, rows[i].place);
	}
	yaml_tree_free(tree);
}

static void numbers_are_written_with_the_largest_unit(void **state unused_arg)
{
	static const struct {
		enum yaml_type type;
		uint64_t number;
		const char *text;
	} rows[] = {
	        {YAML_DURATION, 0, "0s"},
	        {YAML_DURATION, 1500, "1500ms"},
	        {YAML_DURATION, 120000, "2min"},
	        {YAML_DURATION, 3600000, "1h"},
	        {YAML_SIZE, 0, "0B"},
	        {YAML_SIZE, 65536, "64KiB"},
	        {YAML_SIZE, 1025, "1025B"},
	        {YAML_PERCENT, 5, "5%"},
	        {YAML_INTEGER, 3, "3"},
	};
	for (size_t i = 0; i < countof(rows); i++) {
		char text[32];
		yaml_number_text(rows[i].type, rows[i].number, text, sizeof(text));
		assert_string_equal(text, rows[i].text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(bad_values_are_refused_with_their_place),
	        cmocka_unit_test(the_rest_of_yaml_is_refused),
	        cmocka_unit_test(good_values_are_stored),
	        cmocka_unit_test(defaults_are_read_from_the_table),
	        cmocka_unit_test(files_are_laid_over_one_another),
	        cmocka_unit_test(size_depth_and_count_are_capped),
	        cmocka_unit_test(places_are_found_by_path),
	        cmocka_unit_test(numbers_are_written_with_the_largest_unit),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
