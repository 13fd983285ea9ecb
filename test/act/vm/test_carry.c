/*
 * Files that live on, as koboshi-vm takes them out of what hostile guests have written, with the real koboshi-scan as their
 * judge; and how they stand in a seed.
 *
 * usage: test-vm-carry, with KOBOSHI_LIBEXEC where koboshi-scan is
 */
#include "place.h"

#include "act/vm/carry.h"
#include "act/vm/folder.h"
#include "act/vm/seed.h"
#include "lib/bytes.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#define EVIL "an intruder's\n"

static char folder[] = "/tmp/kbcarryXXXXXX";
static char data[64];
static struct outbox *outbox;
static struct vm vm;
static struct carry carry;

static void path_of(const char *path, char to[static 512])
{
	snprintf(to, 512, "%s/" CONF_CARRY_FOLDER "%s", data, path);
}

static void put(const char *path, const void *bytes, size_t size)
{
	char place[512];
	path_of(path, place);
	for (char *slash = place + 1; (slash = strchr(slash, '/')); *slash++ = '/') {
		*slash = '\0';
		mkdir(place, 0700);
	}
	assert_int_equal(file_write(place, bytes, size, 0640, NULL), 0);
}

static void bad_list_write(char to[static CONF_PATH_MAX])
{
	uint8_t sum[EVP_MAX_MD_SIZE];
	char line[2 * 32 + 8];
	EVP_Digest(EVIL, sizeof(EVIL) - 1, sum, NULL, EVP_sha256(), NULL);
	bytes_to_hex(sum, 32, line);
	strcat(line, "  x\n");
	snprintf(to, CONF_PATH_MAX, "%s/bad", folder);
	assert_int_equal(file_write(to, line, strlen(line), 0600, NULL), 0);
}

static int setup(void **state unused_arg)
{
	struct conf conf = {.n_services = 1};
	if (place_make(folder, &conf) < 0)
		return -1;
	snprintf(data, sizeof(data), "%s/data", folder);
	mkdir(data, 0700);
	bad_list_write(conf.files.bad);
	strcpy(conf.services[0].name, "sensor");
	const char *paths[] = {"/etc/passwd", "/etc/app/limits.conf", "/etc/motd"};
	for (size_t i = 0; i < countof(paths); i++)
		strcpy(conf.services[0].carry[conf.services[0].n_carry++], paths[i]);
	outbox = outbox_new();
	return vm_init(&vm, &conf, outbox, NULL) < 0 || folder_make(&vm, 7, NULL) < 0 ? -1 : 0;
}

static int teardown(void **state unused_arg)
{
	vm_done(&vm);
	outbox_free(outbox);
	return place_remove(folder);
}

/* Before each: what the one before has left is gone. */
static int fresh(void **state unused_arg)
{
	char place[512];
	for (size_t i = 0; i < vm.conf.services[0].n_carry; i++) {
		path_of(vm.conf.services[0].carry[i], place);
		unlink(place);
	}
	return 0;
}

static void carry_all(void)
{
	carry_take(&vm, &vm.conf.services[0], data, 7, &carry);
}

static void test_nothing_was_saved(void **state unused_arg)
{
	carry_all();
	assert_int_equal(carry.n, 0);
	assert_string_equal(carry.refused, "");
}

static void test_what_was_saved_is_taken_with_its_owner_and_mode(void **state unused_arg)
{
	char place[512];
	put("/etc/passwd", "root:x:0:0\n", 11);
	put("/etc/app/limits.conf", "", 0);
	path_of("/etc/passwd", place);
	assert_int_equal(chmod(place, 04755), 0); /* no right is carried over by a bit */
	carry_all();
	assert_string_equal(carry.refused, "");
	assert_int_equal(carry.n, 2);
	assert_string_equal(carry.all[0].path, "/etc/passwd");
	assert_memory_equal(carry.all[0].bytes, "root:x:0:0\n", 11);
	assert_int_equal(carry.all[0].mode, 0755);
	assert_int_equal(carry.all[0].uid, getuid());
	assert_int_equal(carry.all[1].size, 0);
	assert_int_equal(carry.all[1].mode, 0640);
	carry_free(&carry);
	char copy[VM_PATH_MAX];
	folder_path(&vm, 7, "carry.0", copy); /* what was judged does not lie about */
	assert_int_equal(access(copy, F_OK), -1);
}

static void test_what_is_bad_is_refused_by_name_and_the_others_are_taken(void **state unused_arg)
{
	put("/etc/passwd", EVIL, sizeof(EVIL) - 1);
	put("/etc/motd", "good day\n", 9);
	carry_all();
	assert_int_equal(carry.n, 1);
	assert_string_equal(carry.all[0].path, "/etc/motd");
	assert_string_equal(carry.refused, "/etc/passwd is not carried over: bad: listed as bad");
	carry_free(&carry);
}

static void test_no_way_leads_out(void **state unused_arg)
{
	char place[512], other[512];
	put("/etc/motd", "good day\n", 9);
	path_of("/etc/passwd", place); /* a link itself is no plain file either */
	assert_int_equal(symlink("/etc/shadow", place), 0);
	path_of("/etc/app/limits.conf", other);
	unlink(other);
	assert_int_equal(mkfifo(other, 0600), 0);
	carry_all();
	assert_int_equal(carry.n, 1);
	assert_string_equal(carry.refused, "/etc/passwd is not carried over: is no plain file; "
	                                   "/etc/app/limits.conf is not carried over: is no plain file");
	carry_free(&carry);
}

/* By the service itself, say, which may write beside the agent's folder. */
static void test_a_folder_that_others_could_write_to_is_nobodys(void **state unused_arg)
{
	char place[512];
	put("/etc/motd", "good day\n", 9);
	path_of("", place);
	assert_int_equal(chmod(place, 0750), 0);
	carry_all();
	assert_int_equal(chmod(place, 0700), 0);
	assert_int_equal(carry.n, 0);
	assert_string_equal(carry.refused, "nothing is carried over: the folder .koboshi-carry in the data is not root's alone");
	if (geteuid() == 0) {
		assert_int_equal(chown(place, 33, 33), 0);
		carry_all();
		assert_int_equal(chown(place, 0, 0), 0);
		assert_int_equal(carry.n, 0);
	}
}

static void test_there_is_a_limit_for_each_and_for_all(void **state unused_arg)
{
	static uint8_t large[CONF_CARRY_FILE_MAX + 1];
	put("/etc/passwd", large, sizeof(large));
	carry_all();
	assert_int_equal(carry.n, 0);
	assert_string_equal(carry.refused, "/etc/passwd is not carried over: it has more than 32768 bytes");
	put("/etc/passwd", large, sizeof(large) - 1);
	put("/etc/app/limits.conf", large, sizeof(large) - 1);
	put("/etc/motd", "a", 1);
	carry_all();
	assert_int_equal(carry.n, 2);
	assert_string_equal(carry.refused, "/etc/motd is not carried over: all together have more than 65536 bytes");
	static struct seed seed; /* and all that may be taken has room */
	struct conf_instance instance;
	uint8_t key[WIRE_KEY_SIZE] = {0};
	conf_instance(&vm.conf, 7, &instance);
	seed_write(
	        &(struct seed_parts){
	                .instance = &instance, .service = &vm.conf.services[0], .key = key, .data = "/d", .carry = &carry},
	        &seed);
	assert_true(strlen(seed.user_data) > CONF_CARRY_TOTAL_MAX / 3 * 4);
	carry_free(&carry);
}

static void test_where_nobody_judges_nothing_is_taken(void **state unused_arg)
{
	char *libexec = strdup(getenv("KOBOSHI_LIBEXEC"));
	put("/etc/motd", "good day\n", 9);
	setenv("KOBOSHI_LIBEXEC", "/nonexistent", 1);
	carry_all();
	setenv("KOBOSHI_LIBEXEC", libexec, 1);
	free(libexec);
	assert_int_equal(carry.n, 0);
	assert_string_equal(carry.refused,
	                    "/etc/motd is not carried over: koboshi-scan did not judge it: No such file or directory");
	carry_free(&carry);
}

/* Files first: what the instance is given of its own is laid over what it was handed down. */
static void test_in_the_seed(void **state unused_arg)
{
	static struct seed seed;
	struct conf_instance instance;
	uint8_t key[WIRE_KEY_SIZE] = {0};
	conf_instance(&vm.conf, 7, &instance);
	put("/etc/passwd", "root:x:0:0\n", 11);
	carry_all();
	carry.all[0].uid = 0;
	carry.all[0].gid = 42;
	seed_write(
	        &(struct seed_parts){
	                .instance = &instance, .service = &vm.conf.services[0], .key = key, .data = "/d", .carry = &carry},
	        &seed);
	const char *list = strstr(seed.user_data, "  - path: /etc/koboshi/carry\n    content: "
	                                          "\"/d/.koboshi-carry\\n/etc/passwd\\n/etc/app/limits.conf\\n/etc/motd\\n\"\n");
	const char *file = strstr(seed.user_data, "  - path: /etc/passwd\n    owner: \"0:42\"\n    permissions: \"0640\"\n"
	                                          "    encoding: b64\n    content: \"cm9vdDp4OjA6MAo=\"\n");
	const char *users = strstr(seed.user_data, "users:\n");
	assert_non_null(list);
	assert_non_null(file);
	assert_true(users > file);
	carry_free(&carry);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup(test_nothing_was_saved, fresh),
	        cmocka_unit_test_setup(test_what_was_saved_is_taken_with_its_owner_and_mode, fresh),
	        cmocka_unit_test_setup(test_what_is_bad_is_refused_by_name_and_the_others_are_taken, fresh),
	        cmocka_unit_test_setup(test_no_way_leads_out, fresh),
	        cmocka_unit_test_setup(test_a_folder_that_others_could_write_to_is_nobodys, fresh),
	        cmocka_unit_test_setup(test_there_is_a_limit_for_each_and_for_all, fresh),
	        cmocka_unit_test_setup(test_where_nobody_judges_nothing_is_taken, fresh),
	        cmocka_unit_test_setup(test_in_the_seed, fresh),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
