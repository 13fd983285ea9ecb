/*
 * Secrets: each is another one, others' programs take them (crypt, ssh-keygen), and the lists of those that are valid follow the
 * instances' folders. Whatever is not valid any more is refused by looking into a list, as whoever checks it does.
 */
#include "place.h"

#include "act/vm/folder.h"
#include "act/vm/orders.h"
#include "act/vm/seed.h"
#include "act/vm/valid.h"
#include "lib/bytes.h"

#include <arpa/inet.h>
#include <crypt.h>
#include <errno.h>
#include <grp.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "skip.h"

static char folder[] = "/tmp/kbsecretXXXXXX";
static struct outbox *outbox;
static struct vm vm;

static struct conf_secret *secret_add(struct conf_service *service, const char *name, enum conf_secret_kind kind)
{
	struct conf_secret *secret = &service->secrets[service->n_secrets++];
	text_copy(secret->name, sizeof(secret->name), name);
	secret->kind = kind;
	secret->mode = 0400;
	strcpy(secret->owner, "root");
	strcpy(secret->user, kind == CONF_SECRET_PASSWORD || kind == CONF_SECRET_SSH_USER_KEY ? "service" : "");
	strcpy(secret->path, kind == CONF_SECRET_TOKEN ? "/etc/app/token" : "");
	return secret;
}

static int setup(void **state unused_arg)
{
	struct conf conf = {.n_services = 2};
	if (place_make(folder, &conf) < 0)
		return -1;
	strcpy(conf.services[0].name, "sensor");
	strcpy(conf.services[1].name, "pump");
	secret_add(&conf.services[0], "backend", CONF_SECRET_TOKEN);
	secret_add(&conf.services[0], "login", CONF_SECRET_PASSWORD);
	secret_add(&conf.services[0], "host", CONF_SECRET_SSH_HOST_KEY);
	secret_add(&conf.services[0], "deploy", CONF_SECRET_SSH_USER_KEY);
	outbox = outbox_new();
	return vm_init(&vm, &conf, outbox, NULL) < 0 ? -1 : 0;
}

static int teardown(void **state unused_arg)
{
	vm_done(&vm);
	outbox_free(outbox);
	return place_remove(folder);
}

/* What create does for one instance. */
static void instance_make(uint32_t number, struct secret *secrets)
{
	struct folder_record record = {.service = "sensor", .variant = "amber"};
	struct conf_instance instance;
	struct err err = {0};
	conf_instance(&vm.conf, number, &instance);
	assert_int_equal(folder_make(&vm, number, NULL), 0);
	for (size_t i = 0; i < vm.conf.services[0].n_secrets; i++) {
		if (secret_make(&vm.conf.services[0].secrets[i], &instance, &secrets[i], &err) < 0)
			fail_msg("%s", err.text);
		assert_int_equal(valid_keep(&vm, number, &secrets[i], NULL), 0);
	}
	assert_int_equal(folder_record_write(&vm, number, &record, NULL), 0);
	if (valid_lists(&vm, "sensor", &err) < 0)
		fail_msg("%s", err.text);
}

/* NULL: there is no such file. Caller frees. */
static char *list_read(const char *name)
{
	char path[VM_PATH_MAX + 64];
	uint8_t *bytes = NULL;
	size_t size;
	snprintf(path, sizeof(path), "%s/secrets/sensor/%s", vm.conf.run_dir, name);
	return file_read(path, 1 << 20, &bytes, &size, NULL) == 0 ? (char *)bytes : NULL;
}

/* As whoever checks them: is this value in the list? */
static bool is_valid(const char *name, const char *value)
{
	auto_free char *text = list_read(name);
	return text && strstr(text, value);
}

static const char *last_word(char *line)
{
	line[strcspn(line, "\n")] = '\0';
	return strrchr(line, ' ') + 1;
}

static bool says(const char *command, const char *path, const char *wanted)
{
	char line[512], got[512] = "";
	snprintf(line, sizeof(line), "%s %s 2>&1", command, path);
	FILE *pipe = popen(line, "r");
	assert_non_null(pipe);
	size_t size = fread(got, 1, sizeof(got) - 1, pipe);
	got[size] = '\0';
	int status = pclose(pipe);
	if (status != 0 || strncmp(got, wanted, strlen(wanted)) != 0)
		print_message("%s: %s", line, got);
	return status == 0 && strncmp(got, wanted, strlen(wanted)) == 0;
}

static void test_made(void **state unused_arg)
{
	struct secret one[CONF_SECRETS_MAX], other[CONF_SECRETS_MAX];
	struct conf_instance instance;
	conf_instance(&vm.conf, 7, &instance);
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(secret_make(&vm.conf.services[0].secrets[i], &instance, &one[i], NULL), 0);
		assert_int_equal(secret_make(&vm.conf.services[0].secrets[i], &instance, &other[i], NULL), 0);
		assert_string_not_equal(one[i].given, other[i].given);
		assert_string_not_equal(one[i].line, other[i].line);
	}
	uint8_t token[32];
	assert_true(bytes_from_hex(one[0].given, token, sizeof(token)));
	assert_int_equal(strncmp(one[0].line, "kb-7 ", 5), 0);
	assert_string_equal(last_word(one[0].line), one[0].given);
}

static void test_password(void **state unused_arg)
{
	struct secret made;
	struct crypt_data data = {0}, wrong = {0};
	struct conf_instance instance;
	conf_instance(&vm.conf, 7, &instance);
	assert_int_equal(secret_make(&vm.conf.services[0].secrets[1], &instance, &made, NULL), 0);
	assert_int_equal(strncmp(made.given, "$y$", 3), 0);
	assert_int_equal(strncmp(made.line, "kb-7 service ", 13), 0);
	const char *password = last_word(made.line);
	assert_int_equal(strlen(password), 24);
	assert_null(strstr(made.given, password));
	assert_string_equal(crypt_rn(password, made.given, &data, sizeof(data)), made.given);
	assert_string_not_equal(crypt_rn("guess", made.given, &wrong, sizeof(wrong)), made.given);
}

static void test_ssh_keys(void **state unused_arg)
{
	struct conf_instance instance;
	char path[64], sign[512], public_half[SSH_PUBLIC_MAX];
	if (system("command -v ssh-keygen > /dev/null") != 0)
		skip_for("there is no ssh-keygen");
	conf_instance(&vm.conf, 4000000000u, &instance); /* the longest name, so the longest comment that there is */
	snprintf(path, sizeof(path), "%s/key", folder);
	for (int round = 0; round < 12; round++) {
		struct secret host, user;
		assert_int_equal(secret_make(&vm.conf.services[0].secrets[2], &instance, &host, NULL), 0);
		assert_int_equal(secret_make(&vm.conf.services[0].secrets[3], &instance, &user, NULL), 0);
		assert_int_equal(file_write(path, host.given, strlen(host.given), 0600, NULL), 0);
		assert_true(says("ssh-keygen -y -f", path, host.public_half));
		assert_non_null(strstr(host.line, host.public_half));
		assert_string_equal(host.private_half, "");
		assert_int_equal(file_write(path, user.private_half, strlen(user.private_half), 0600, NULL), 0);
		assert_true(says("ssh-keygen -y -f", path, user.given));
	}
	/* what is signed with the one half is right by the other */
	snprintf(sign, sizeof(sign),
	         "cd %s && echo hello > note && rm -f note.sig && ssh-keygen -q -Y sign -n file -f key note < /dev/null 2> "
	         "/dev/null && "
	         "ssh-keygen -Y check-novalidate -n file -s note.sig < note > /dev/null 2>&1",
	         folder);
	assert_int_equal(system(sign), 0);
	text_copy(public_half, sizeof(public_half), "256 SHA256:");
	struct secret user;
	assert_int_equal(secret_make(&vm.conf.services[0].secrets[3], &instance, &user, NULL), 0);
	assert_int_equal(file_write(path, user.given, strlen(user.given), 0600, NULL), 0);
	assert_true(says("ssh-keygen -l -f", path, public_half));
}

static void test_valid_until_revoked(void **state unused_arg)
{
	struct secret first[CONF_SECRETS_MAX], second[CONF_SECRETS_MAX];
	const struct wire_order revoke = {.id = 1, .type = ORDER_VM_REVOKE, .instance = 3};
	struct wire_answer answer;
	instance_make(3, first);
	instance_make(11, second);
	assert_true(is_valid("backend", first[0].given) && is_valid("backend", second[0].given));
	assert_true(is_valid("host", first[2].public_half) && is_valid("deploy", first[3].public_half));
	auto_free char *key = list_read("deploy.kb-3");
	assert_string_equal(key, first[3].private_half);
	assert_false(valid_is_revoked(&vm, 3));

	for (int again = 0; again < 2; again++) {
		vm_order_carry(&vm, &revoke, &answer);
		assert_int_equal(answer.status, 0);
		assert_string_equal(answer.text, "4 secrets of kb-3 are not valid any more");
		assert_true(valid_is_revoked(&vm, 3) && !valid_is_revoked(&vm, 11));
		assert_false(is_valid("backend", first[0].given));
		assert_false(is_valid("login", first[1].line));
		assert_false(is_valid("host", first[2].public_half));
		assert_false(is_valid("deploy", first[3].public_half));
		assert_null(list_read("deploy.kb-3"));
		assert_true(is_valid("backend", second[0].given) && is_valid("login", second[1].line));
	}
	assert_int_equal(valid_lists(&vm, NULL, NULL), 0); /* as after a restart */
	assert_false(is_valid("backend", first[0].given));
	assert_int_equal(folder_remove(&vm, 3, NULL), 0);
	assert_int_equal(folder_remove(&vm, 11, NULL), 0);
	assert_int_equal(valid_lists(&vm, NULL, NULL), 0);
	auto_free char *none = list_read("backend");
	assert_string_equal(none, ""); /* it is there, and nobody is valid */
	vm_order_carry(&vm, &revoke, &answer);
	assert_int_equal(answer.status, 0);
	assert_string_equal(answer.text, "0 secrets of kb-3 are not valid any more");
}

/* Its service was removed from the configuration, or bears another name: what it has is refused all the same when it goes. */
static void test_of_a_service_that_was_removed(void **state unused_arg)
{
	struct secret made[CONF_SECRETS_MAX];
	const struct wire_order revoke = {.id = 1, .type = ORDER_VM_REVOKE, .instance = 9};
	struct wire_answer answer;
	struct conf_service *service = &vm.conf.services[0];
	instance_make(9, made);
	text_copy(service->name, sizeof(service->name), "pump");
	assert_int_equal(valid_lists(&vm, NULL, NULL), 0);
	assert_true(is_valid("backend", made[0].given));
	vm_order_carry(&vm, &revoke, &answer);
	text_copy(service->name, sizeof(service->name), "sensor");
	assert_int_equal(answer.status, 0);
	assert_false(is_valid("backend", made[0].given));
	assert_null(list_read("deploy.kb-9"));
	assert_int_equal(folder_remove(&vm, 9, NULL), 0);
	assert_int_equal(valid_lists(&vm, NULL, NULL), 0);
}

/* libvirt is not open here, so the guest cannot be seen to be gone; what it could read is refused all the same. */
static void test_destroying_implies_it(void **state unused_arg)
{
	struct secret made[CONF_SECRETS_MAX];
	const struct wire_order destroy = {.id = 1, .type = ORDER_VM_DESTROY, .instance = 6};
	struct wire_answer answer;
	instance_make(6, made);
	assert_true(is_valid("backend", made[0].given));
	vm_order_carry(&vm, &destroy, &answer);
	assert_int_equal(answer.status, -EAGAIN);
	assert_false(is_valid("backend", made[0].given));
	assert_int_equal(folder_remove(&vm, 6, NULL), 0);
}

static void test_who_may_read(void **state unused_arg)
{
	struct secret made[CONF_SECRETS_MAX];
	struct stat status;
	struct err err = {0};
	char path[VM_PATH_MAX + 64];
	snprintf(path, sizeof(path), "%s/secrets/sensor/backend", vm.conf.run_dir);
	instance_make(3, made);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_mode & 07777, 0600);
	strcpy(vm.conf.services[0].secrets[0].group, "no-such-group");
	assert_int_equal(valid_groups(&vm.conf.services[0], &err), -ENOENT);
	assert_string_equal(err.text, "secret 'backend' of service 'sensor': there is no group 'no-such-group' on this host");
	const struct group *group = getgrgid(1);
	if (group && geteuid() == 0) {
		text_copy(vm.conf.services[0].secrets[0].group, CONF_NAME_MAX, group->gr_name);
		assert_int_equal(valid_groups(&vm.conf.services[0], NULL), 0);
		assert_int_equal(valid_lists(&vm, NULL, NULL), 0);
		assert_int_equal(stat(path, &status), 0);
		assert_int_equal(status.st_mode & 07777, 0640);
		assert_int_equal(status.st_gid, 1);
	}
	vm.conf.services[0].secrets[0].group[0] = '\0';
	snprintf(path, sizeof(path), "%s/3/secret.login.line", vm.guests);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_mode & 07777, 0600);
	assert_int_equal(folder_remove(&vm, 3, NULL), 0);
}

/* What cannot be written does not keep the other lists from it. */
static void test_one_list_in_the_way(void **state unused_arg)
{
	struct secret made[CONF_SECRETS_MAX];
	struct err err = {0};
	char path[VM_PATH_MAX + 64];
	size_t n;
	instance_make(5, made);
	snprintf(path, sizeof(path), "%s/secrets/sensor/backend", vm.conf.run_dir);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_true(valid_revoke(&vm, 5, &n, &err) < 0);
	assert_non_null(strstr(err.text, "backend: cannot write it"));
	assert_false(is_valid("login", made[1].line) || is_valid("host", made[2].public_half));
	assert_int_equal(valid_lists(&vm, "pump", NULL), 0); /* no matter to another service */
	assert_true(valid_revoke(&vm, 77, &n, NULL) < 0);    /* nobody says that one who is gone is in no list */
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(valid_revoke(&vm, 5, &n, NULL), 0);
	assert_int_equal(n, 4);
	assert_int_equal(folder_remove(&vm, 5, NULL), 0);
}

/* A second name of the same file shows what became of its bytes. */
static void test_wiped(void **state unused_arg)
{
	struct secret made[CONF_SECRETS_MAX];
	char path[VM_PATH_MAX], beside[VM_PATH_MAX];
	auto_free uint8_t *bytes = NULL;
	size_t size;
	instance_make(9, made);
	folder_path(&vm, 9, "secret.login.line", path);
	snprintf(beside, sizeof(beside), "%s/beside", folder);
	assert_int_equal(link(path, beside), 0);
	assert_int_equal(folder_remove(&vm, 9, NULL), 0);
	assert_int_equal(file_read(beside, 4096, &bytes, &size, NULL), 0);
	assert_int_equal(size, strlen(made[1].line));
	for (size_t i = 0; i < size; i++)
		assert_int_equal(bytes[i], 0);
}

static void test_seed(void **state unused_arg)
{
	struct secret made[CONF_SECRETS_MAX];
	static struct seed seed;
	struct conf_instance instance;
	char wanted[1024];
	uint8_t key[WIRE_KEY_SIZE] = {0};
	conf_instance(&vm.conf, 7, &instance);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(secret_make(&vm.conf.services[0].secrets[i], &instance, &made[i], NULL), 0);
	seed_write(
	        &(struct seed_parts){
	                .instance = &instance, .service = &vm.conf.services[0], .key = key, .tag = 1, .secrets = made},
	        &seed);
	snprintf(wanted, sizeof(wanted),
	         "  - path: /etc/app/token\n    owner: root:root\n    permissions: \"0400\"\n    content: \"%s\"\n",
	         made[0].given);
	assert_non_null(strstr(seed.user_data, wanted));
	snprintf(
	        wanted, sizeof(wanted),
	        "  - name: root\n    lock_passwd: true\n"
	        "  - name: service\n    lock_passwd: false\n    hashed_passwd: \"%s\"\n    ssh_authorized_keys:\n      - \"%s\"\n"
	        "chpasswd:\n  expire: false\n  users:\n  - name: service\n    password: \"%s\"\n    type: hash\n",
	        made[1].given, made[3].given, made[1].given);
	assert_non_null(strstr(seed.user_data, wanted));
	assert_non_null(strstr(seed.user_data, "ssh_keys:\n  ed25519_private: \"-----BEGIN OPENSSH PRIVATE KEY-----\\n"));
	assert_non_null(strstr(seed.user_data, "\\n-----END OPENSSH PRIVATE KEY-----\\n\"\n"));
	assert_non_null(strstr(seed.user_data, made[2].public_half));
	assert_null(strstr(seed.user_data, last_word(made[1].line))); /* the password itself */
	assert_null(strstr(seed.user_data, "disable_root: false"));
}

/* As many as there can be, each at its longest, fit. */
static void test_largest_seed(void **state unused_arg)
{
	static struct seed seed;
	struct conf_service *service = calloc(1, sizeof(*service));
	struct secret made[CONF_SECRETS_MAX];
	struct conf_instance instance;
	uint8_t key[WIRE_KEY_SIZE] = {0};
	conf_instance(&vm.conf, UINT32_MAX, &instance);
	for (size_t i = 0; i < CONF_SECRETS_MAX; i++) {
		enum conf_secret_kind kind = (enum conf_secret_kind)(i % CONF_SECRET_KIND_MAX_);
		struct conf_secret *secret = secret_add(service, "x", kind);
		memset(secret->name, 'x', sizeof(secret->name) - 1);
		memset(secret->owner, 'o', sizeof(secret->owner) - 1);
		memset(secret->path, 'p', sizeof(secret->path) - 1);
		memset(secret->user, (int)('a' + i), sizeof(secret->user) - 1);
		assert_int_equal(secret_make(secret, &instance, &made[i], NULL), 0);
	}
	seed_write(&(struct seed_parts){.instance = &instance, .service = service, .key = key, .tag = 1, .secrets = made}, &seed);
	print_message("the largest seed has %zu bytes\n", strlen(seed.user_data));
	assert_non_null(strstr(seed.user_data, "challenge.key"));
	free(service);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_made),
	        cmocka_unit_test(test_password),
	        cmocka_unit_test(test_ssh_keys),
	        cmocka_unit_test(test_valid_until_revoked),
	        cmocka_unit_test(test_of_a_service_that_was_removed),
	        cmocka_unit_test(test_destroying_implies_it),
	        cmocka_unit_test(test_who_may_read),
	        cmocka_unit_test(test_one_list_in_the_way),
	        cmocka_unit_test(test_wiped),
	        cmocka_unit_test(test_seed),
	        cmocka_unit_test(test_largest_seed),
	};
	return cmocka_run_group_tests_name("vm secrets", tests, setup, teardown);
}
