/* Lessons as documents: one form, what may stand in it, who may have signed it; and the device's key. */
#include "lesson/lesson.h"

#include "lib/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define NOW_S 1767323045 /* 2026-01-02T03:04:05Z */

static struct lesson_key key, other;
static struct lesson_trust trust;
static struct err err;
static char folder[2][32] = {"/tmp/kbl.XXXXXX", "/tmp/kbl.XXXXXX"};

static struct lesson made(void)
{
	struct lesson lesson = {
	        .device = "testbed",
	        .incident = 7,
	        .service = "sensor",
	        .verdict = "compromised",
	        .finding = "strayed",
	        .vantage = "wire",
	        .beside = "busy",
	        .beside_vantage = "hypervisor",
	        .victim = {{"kernel linux 6.1.0", "server nginx 1.22.1-9+deb12u3"}, 2},
	        .survivor = {{"kernel linux 6.12.0", "server lighttpd 1.4"}, 2},
	        .sources = {"source 203.0.113.9/32"},
	        .n_sources = 1,
	        .rung = "replace",
	        .learnt_s = NOW_S,
	        .expires_s = NOW_S + 30 * 86400,
	};
	lesson_sign(&lesson, &key);
	return lesson;
}

static int parse(const char *text, struct lesson *ret_lesson)
{
	size_t size = strlen(text);
	char *exact = malloc(size ? size : 1); /* the sanitizer sees one byte too many */
	memcpy(exact, text, size);
	err = (struct err){0};
	int r = lesson_parse(exact, size, ret_lesson, &err);
	free(exact);
	return r;
}

static void has_one_form(void **state)
{
	(void)state;
	struct lesson lesson = made(), again;
	auto_free char *text = lesson_print(&lesson, true);
	auto_free char *signed_text = lesson_print(&lesson, false);
	char wanted[1024];
	snprintf(
	        wanted, sizeof(wanted),
	        "{\"beside\":\"busy\",\"beside_vantage\":\"hypervisor\",\"device\":\"testbed\",\"expires\":\"2026-02-01T03:04:"
	        "05Z\","
	        "\"finding\":\"strayed\",\"format\":1,\"incident\":7,\"learnt\":\"2026-01-02T03:04:05Z\",\"origin\":\"%s\","
	        "\"rung\":\"replace\",\"service\":\"sensor\",\"sources\":[\"source 203.0.113.9/32\"],"
	        "\"survivor\":[\"kernel linux 6.12.0\",\"server lighttpd 1.4\"],\"vantage\":\"wire\",\"verdict\":\"compromised\","
	        "\"victim\":[\"kernel linux 6.1.0\",\"server nginx 1.22.1-9+deb12u3\"]}",
	        key.id);
	assert_string_equal(signed_text, wanted);
	/* other spaces, another order: the same lesson */
	json_t *json = json_loads(text, 0, NULL);
	auto_free char *loose = json_dumps(json, JSON_INDENT(4));
	json_decref(json);
	assert_int_equal(parse(loose, &again), 0);
	auto_free char *text_again = lesson_print(&again, true);
	assert_string_equal(text, text_again);
	assert_int_equal(lesson_check(&again, &trust, NOW_S, &err), 0);
}

/* `place`: a member; `value`: JSON, NULL: it is taken away; `says`: part of the sentence, NULL: it is read. */
static const struct {
	const char *place, *value, *says;
} rows[] = {
        {"format", "2", "of format 2, this koboshi knows format 1"},
        {"format", "1.0", "'format' must be a number"},
        {"format", NULL, "'format' must be a number"},
        {"origin", "\"A\"", "'origin' has letters"},
        {"origin", "\"00112233445566778899aabbccddeeff0\"", "'origin' is longer than 32"},
        {"device", "\"\\u001b[2J\"", "'device' has letters"},
        {"device", "\"\"", "'device' has letters that it cannot have, or none"},
        {"device", "\"a\\u0000b\"", "it is not JSON"},
        {"device", "\"01234567890123456789012345678901\"", "'device' is longer than 31"},
        {"incident", "0", "'incident' must be"},
        {"incident", "-1", "'incident' must be"},
        {"incident", "9223372036854775808", "it is not JSON"},
        {"incident", "\"7\"", "'incident' must be"},
        {"verdict", "\"healthy\"", "'healthy' is not known as a verdict"},
        {"rung", "\"pray\"", "'pray' is not known as what worked"},
        {"rung", "\"restart\"", NULL},
        {"beside", "\"\"", NULL},
        {"beside", "null", "'beside' must be a text"},
        {"finding", "\"\"", "'finding' has letters"},
        {"victim", "[]", NULL},
        {"victim", "{}", "'victim' must be a list of at most 4"},
        {"victim", "[\"a\",\"b\",\"c\",\"d\",\"e\"]", "'victim' must be a list of at most 4"},
        {"victim", "[[\"a\"]]", "'victim' must be a text"},
        {"victim", "[\"a\\\"b\"]", "'victim' has letters"},
        {"sources", "[\"source 2001:db8:20::/64\"]", NULL},
        {"sources", "7", "'sources' must be a list of at most 16"},
        {"learnt", "\"2026-01-02 03:04:05\"", "'learnt' must be a time"},
        {"learnt", "\"2026-13-02T03:04:05Z\"", "'learnt' must be a time"},
        {"learnt", "\"2026-02-30T03:04:05Z\"", "'learnt' must be a time"},
        {"learnt", "1767323045", "'learnt' must be a time"},
        {"expires", "\"2026-01-02T03:04:05Z\"", "must expire after it was learnt"},
        {"expires", "\"2036-01-02T03:04:05Z\"", "must expire after it was learnt, within 400 days"},
        {"signature", NULL, "this lesson is not signed"},
        {"signature", "\"00\"", "'signature' must be 128 hexadecimal digits"},
        {"more", "1", "'more' is not known"},
};

static void what_is_wrong_is_said_in_one_sentence(void **state)
{
	(void)state;
	struct lesson lesson = made(), got;
	auto_free char *good = lesson_print(&lesson, true);
	for (size_t i = 0; i < countof(rows); i++) {
		json_t *json = json_loads(good, 0, NULL);
		json_object_del(json, rows[i].place);
		char *text = json_dumps(json, JSON_COMPACT);
		json_decref(json);
		char wrong[LESSON_BYTES_MAX + 200];
		snprintf(wrong, sizeof(wrong), "%.*s", (int)strlen(text) - 1, text);
		if (rows[i].value)
			snprintf(wrong + strlen(text) - 1, 200, ",\"%s\":%s}", rows[i].place, rows[i].value);
		else
			snprintf(wrong + strlen(text) - 1, 200, "}");
		free(text);
		int r = parse(wrong, &got);
		if (rows[i].says && r == 0)
			fail_msg("taken: %s", wrong);
		if (rows[i].says && !strstr(err.text, rows[i].says))
			fail_msg("%s: %s: %s", rows[i].place, rows[i].value, err.text);
		if (!rows[i].says && r < 0)
			fail_msg("%s: %s: %s", rows[i].place, rows[i].value, err.text);
		if (r == 0)
			assert_int_equal(lesson_check(&got, &trust, NOW_S, &err), -EKEYREJECTED); /* it was changed */
	}
}

static void no_other_bytes_are_a_lesson(void **state)
{
	(void)state;
	struct lesson lesson = made(), got;
	auto_free char *good = lesson_print(&lesson, true);
	for (size_t size = 0; size < strlen(good); size++) { /* cut off anywhere */
		auto_free char *part = strndup(good, size);
		assert_int_equal(parse(part, &got), -EINVAL);
	}
	char twice[LESSON_BYTES_MAX + 64], deep[LESSON_BYTES_MAX + 1], large[LESSON_BYTES_MAX + 2];
	snprintf(twice, sizeof(twice), "%.*s,\"incident\":8}", (int)strlen(good) - 1, good);
	assert_int_equal(parse(twice, &got), -EINVAL);
	assert_non_null(strstr(err.text, "duplicate object key"));
	memset(deep, '[', sizeof(deep) - 1);
	deep[sizeof(deep) - 1] = '\0';
	assert_int_equal(parse(deep, &got), -EINVAL);
	memset(large, ' ', sizeof(large) - 1);
	memcpy(large, good, strlen(good));
	large[sizeof(large) - 1] = '\0';
	assert_int_equal(parse(large, &got), -EINVAL);
	assert_non_null(strstr(err.text, "it has 3841 bytes, a lesson has at most 3840"));
	large[sizeof(large) - 2] = '\0';
	assert_int_equal(parse(large, &got), 0);
	assert_int_equal(parse("[1]", &got), -EINVAL);
	assert_int_equal(parse("", &got), -EINVAL);
}

static void the_largest_one_fits(void **state)
{
	(void)state;
	struct lesson lesson = made(), got;
	lesson.victim.n = lesson.survivor.n = LESSON_COMPONENTS_MAX;
	lesson.n_sources = LESSON_SOURCES_MAX;
	for (size_t i = 0; i < LESSON_COMPONENTS_MAX; i++) {
		memset(lesson.victim.list[i], 'x', LESSON_COMPONENT_MAX - 1);
		memset(lesson.survivor.list[i], 'x', LESSON_COMPONENT_MAX - 1);
	}
	for (size_t i = 0; i < LESSON_SOURCES_MAX; i++)
		memset(lesson.sources[i], 'x', LESSON_SOURCE_MAX - 1);
	memset(lesson.device, 'x', sizeof(lesson.device) - 1);
	memset(lesson.service, 'x', sizeof(lesson.service) - 1);
	memset(lesson.finding, 'x', sizeof(lesson.finding) - 1);
	memset(lesson.beside, 'x', sizeof(lesson.beside) - 1);
	lesson.incident = INT64_MAX;
	lesson_sign(&lesson, &key);
	auto_free char *text = lesson_print(&lesson, true);
	assert_true(strlen(text) <= LESSON_BYTES_MAX);
	assert_int_equal(parse(text, &got), 0);
	assert_int_equal(lesson_check(&got, &trust, NOW_S, &err), 0);
}

static void refused(const struct lesson *lesson, const struct lesson_trust *trusted, int64_t now_s, int code, const char *says)
{
	err = (struct err){0};
	assert_int_equal(lesson_check(lesson, trusted, now_s, &err), code);
	if (!strstr(err.text, says))
		fail_msg("%s", err.text);
}

static void who_signed_and_when_is_checked(void **state)
{
	(void)state;
	struct lesson lesson = made(), foreign = made(), changed = made();
	assert_int_equal(lesson_check(&lesson, &trust, NOW_S, &err), 0);
	assert_int_equal(lesson_check(&lesson, &trust, NOW_S - LESSON_FUTURE_S, &err), 0);
	refused(&lesson, &trust, NOW_S - LESSON_FUTURE_S - 1, -ERANGE,
	        "lesson 7 of testbed: it is from the future (2026-01-02T03:04:05Z; here it is 2026-01-02T02:59:04Z)");
	assert_int_equal(lesson_check(&lesson, &trust, lesson.expires_s - 1, &err), 0);
	refused(&lesson, &trust, lesson.expires_s, -ETIME, "it expired at 2026-02-01T03:04:05Z");
	lesson_sign(&foreign, &other);
	refused(&foreign, &trust, NOW_S, -EPERM, "is not trusted: name its file in 'lessons: trust'");
	memcpy(foreign.origin, key.id, sizeof(key.id)); /* pretends */
	refused(&foreign, &trust, NOW_S, -EKEYREJECTED, "its signature does not fit");
	changed.signature[63] ^= 1;
	refused(&changed, &trust, NOW_S, -EKEYREJECTED, "its signature does not fit");
	struct lesson_trust both = trust;
	char path[64];
	snprintf(path, sizeof(path), "%s/lesson.pub", folder[1]);
	assert_int_equal(lesson_trust_file(&both, path, &err), 0);
	assert_int_equal(lesson_trust_file(&both, path, &err), 0);
	assert_int_equal(both.n, 2);
	lesson_sign(&foreign, &other);
	assert_int_equal(lesson_check(&foreign, &both, NOW_S, &err), 0);
}

static void a_key_is_made_once(void **state)
{
	(void)state;
	struct lesson_key again;
	struct stat status;
	char path[64], open_path[64];
	snprintf(path, sizeof(path), "%s/lesson.key", folder[0]);
	snprintf(open_path, sizeof(open_path), "%s/lesson.pub", folder[0]);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_mode & 0777, 0600);
	assert_int_equal(unlink(open_path), 0); /* killed between the two */
	assert_int_equal(lesson_key_open(folder[0], &again, &err), 0);
	assert_memory_equal(&again, &key, sizeof(key));
	assert_int_equal(access(open_path, R_OK), 0);
	int fd = open(path, O_WRONLY | O_TRUNC);
	assert_int_equal(write(fd, "nonsense", 8), 8);
	close(fd);
	assert_int_equal(lesson_key_open(folder[0], &again, &err), -EINVAL);
	assert_non_null(strstr(err.text, "is no private key in PEM"));
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_size, 8); /* left alone */
}

static int setup(void **state)
{
	(void)state;
	if (!mkdtemp(folder[0]) || !mkdtemp(folder[1]) || lesson_key_open(folder[0], &key, &err) < 0 ||
	    lesson_key_open(folder[1], &other, &err) < 0)
		return -1;
	return lesson_trust_add(&trust, key.open) ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	for (size_t i = 0; i < 2; i++) {
		char path[64];
		snprintf(path, sizeof(path), "%s/lesson.key", folder[i]);
		unlink(path);
		snprintf(path, sizeof(path), "%s/lesson.pub", folder[i]);
		unlink(path);
		rmdir(folder[i]);
	}
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(has_one_form),
	        cmocka_unit_test(what_is_wrong_is_said_in_one_sentence),
	        cmocka_unit_test(no_other_bytes_are_a_lesson),
	        cmocka_unit_test(the_largest_one_fits),
	        cmocka_unit_test(who_signed_and_when_is_checked),
	        cmocka_unit_test(a_key_is_made_once),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
