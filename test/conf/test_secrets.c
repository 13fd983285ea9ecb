/* Secrets of a service: what the example says is what is read, and each mistake has its sentence and place. */
#include "conf/conf.h"
#include "lib/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char base[] = "guests:\n"
                           "  addresses: [192.0.2.0/26, \"2001:db8:1::/64\"]\n"
                           "services:\n"
                           "  sensor:\n"
                           "    addresses: [203.0.113.10]\n"
                           "    ports: [80/tcp]\n"
                           "    variants: [amber]\n";

static int parse(const char *secrets, struct conf *ret_conf, struct err *err)
{
	char text[4096];
	snprintf(text, sizeof(text), "%s%s", base, secrets);
	return conf_parse("f", text, strlen(text), ret_conf, err);
}

static void the_example_means_what_it_says(void **state unused_arg)
{
	struct conf conf;
	struct err err = {0};
	char path[512], text[8192];
	auto_free uint8_t *bytes = NULL;
	size_t size;
	snprintf(path, sizeof(path), "%s/secrets.yaml", getenv("KOBOSHI_EXAMPLES"));
	assert_int_equal(file_read(path, 4096, &bytes, &size, &err), 0);
	const char *secrets = strstr((const char *)bytes, "    secrets:\n");
	assert_non_null(secrets);
	snprintf(text, sizeof(text), "%s", secrets);
	if (parse(text, &conf, &err) < 0)
		fail_msg("%s", err.text);
	const struct conf_service *s = &conf.services[0];
	assert_int_equal(s->n_secrets, 4);
	assert_string_equal(s->secrets[0].name, "backend");
	assert_int_equal(s->secrets[0].kind, CONF_SECRET_TOKEN);
	assert_string_equal(s->secrets[0].path, "/etc/sensor/backend.token");
	assert_string_equal(s->secrets[0].owner, "root:www-data");
	assert_int_equal(s->secrets[0].mode, 0440);
	assert_string_equal(s->secrets[0].group, "backend");
	assert_int_equal(s->secrets[1].kind, CONF_SECRET_PASSWORD);
	assert_string_equal(s->secrets[1].user, "service");
	assert_string_equal(s->secrets[1].group, "");
	assert_int_equal(s->secrets[2].kind, CONF_SECRET_SSH_HOST_KEY);
	assert_int_equal(s->secrets[3].kind, CONF_SECRET_SSH_USER_KEY);
	assert_string_equal(conf_secret_kind_name(s->secrets[3].kind), "ssh-user-key");
}

static void a_token_is_roots_alone_unless_it_is_said(void **state unused_arg)
{
	struct conf conf;
	assert_int_equal(parse("    secrets: {t: {kind: token, path: /etc/t}}\n", &conf, NULL), 0);
	assert_string_equal(conf.services[0].secrets[0].owner, "root");
	assert_int_equal(conf.services[0].secrets[0].mode, 0400);
	assert_int_equal(parse("", &conf, NULL), 0);
	assert_int_equal(conf.services[0].n_secrets, 0);
}

static void mistakes_are_found(void **state unused_arg)
{
	static const struct {
		const char *secrets, *message;
	} rows[] = {
	        {"    secrets: {t: {kind: cookie}}\n",
	         "f:8:25: 'kind' must be one of token, password, ssh-host-key, ssh-user-key, not 'cookie'"},
	        {"    secrets: {t: {path: /etc/t}}\n", "f:8:15: 'kind' is missing here"},
	        {"    secrets: {t: {kind: token}}\n", "f:8:18: secret 't' is a token and needs 'path'"},
	        {"    secrets: {t: {kind: token, path: etc/t}}\n",
	         "f:8:38: 'path' must be an absolute path without '..', such as /var/lib/thing, not 'etc/t'"},
	        {"    secrets: {t: {kind: token, path: /etc/../t}}\n",
	         "f:8:38: 'path' must be an absolute path without '..', such as /var/lib/thing, not '/etc/../t'"},
	        {"    secrets: {t: {kind: token, path: \"/etc/t'; ls\"}}\n",
	         "f:8:38: 'path' must name a file by letters, digits and . _ @ + - only, not '/etc/t'; ls'"},
	        {"    secrets: {t: {kind: token, path: /etc/}}\n",
	         "f:8:38: 'path' must name a file by letters, digits and . _ @ + - only, not '/etc/'"},
	        {"    secrets: {t: {kind: token, path: /etc/koboshi/challenge.key}}\n",
	         "f:8:38: 'path' cannot be in /etc/koboshi: that is Koboshi's own in the guest"},
	        {"    secrets: {t: {kind: token, path: /t, mode: 0999}}\n",
	         "f:8:48: 'mode' must be three octal digits with or without a 0 before them, such as 0440, not '0999'"},
	        {"    secrets: {t: {kind: token, path: /t, mode: 4755}}\n",
	         "f:8:48: 'mode' must be three octal digits with or without a 0 before them, such as 0440, not '4755'"},
	        {"    secrets: {t: {kind: token, path: /t, owner: \"root:\"}}\n",
	         "f:8:49: 'owner' must be an account of the guest, or account:group, not 'root:'"},
	        {"    secrets: {t: {kind: token, path: /t, user: root}}\n", "f:8:48: secret 't' is a token, which has no 'user'"},
	        {"    secrets: {t: {kind: password}}\n", "f:8:18: secret 't' is a password and needs 'user'"},
	        {"    secrets: {t: {kind: password, user: a, path: /t}}\n",
	         "f:8:50: secret 't' is a password, which has no 'path'"},
	        {"    secrets: {t: {kind: password, user: \"a b\"}}\n",
	         "f:8:41: 'user' must be the name of an account: a letter, then letters, digits, '-' and '_', at most 31, not 'a "
	         "b'"},
	        {"    secrets: {t: {kind: ssh-host-key, group: -x}}\n",
	         "f:8:46: 'group' must be the name of an account: a letter, then letters, digits, '-' and '_', at most 31, not "
	         "'-x'"},
	        {"    secrets: {t: {kind: token, path: /t}, u: {kind: token, path: /t}}\n",
	         "f:8:46: secrets 't' and 'u' of service 'sensor' are for the same place in the guest"},
	        {"    secrets: {t: {kind: ssh-host-key}, u: {kind: ssh-host-key}}\n",
	         "f:8:43: secrets 't' and 'u' of service 'sensor' are for the same place in the guest"},
	        {"    secrets:\n      a: {kind: token, path: /a}\n      b: {kind: token, path: /b}\n      c: {kind: token, path: "
	         "/c}\n"
	         "      d: {kind: token, path: /d}\n      e: {kind: token, path: /e}\n      f: {kind: token, path: /f}\n"
	         "      g: {kind: token, path: /g}\n      h: {kind: token, path: /h}\n      i: {kind: token, path: /i}\n",
	         "f:17:7: 'secrets' can have 8 at most"},
	        {"    secrets: {T: {kind: token, path: /t}}\n", "f:8:15: the key below 'secrets' must be a name: a lower-case "
	                                                        "letter, then lower-case letters, digits and '-', not 'T'"},
	};
	for (size_t i = 0; i < countof(rows); i++) {
		struct conf conf;
		struct err err = {0};
		if (parse(rows[i].secrets, &conf, &err) == 0)
			fail_msg("taken: %s", rows[i].secrets);
		assert_string_equal(err.text, rows[i].message);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(the_example_means_what_it_says),
	        cmocka_unit_test(a_token_is_roots_alone_unless_it_is_said),
	        cmocka_unit_test(mistakes_are_found),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
