/* What an instance is told, and the disk that tells it. Given a file name, writes the disk there for another program to read. */
#include "act/vm/iso.h"
#include "act/vm/seed.h"
#include "lib/attr.h"
#include "lib/bytes.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static void instance_make(struct conf_instance *instance)
{
	*instance = (struct conf_instance){.number = 7, .name = "kb-7", .tap = "kb7", .mac = {2, 0x6b, 0x6f, 0, 0, 7}};
	inet_pton(AF_INET, "198.51.100.9", &instance->address4);
	inet_pton(AF_INET, "198.51.100.1", &instance->gateway4);
	inet_pton(AF_INET6, "2001:db8:1::9", &instance->address6);
	inet_pton(AF_INET6, "2001:db8:1::1", &instance->gateway6);
}

static void seed_make(struct seed *seed)
{
	struct conf_instance instance;
	uint8_t key[WIRE_KEY_SIZE];
	memset(key, 0xa5, sizeof(key));
	instance_make(&instance);
	seed_write(&(struct seed_parts){.instance = &instance, .key = key, .tag = 0xdeadbeef}, seed);
}

static void test_content(void **state unused_arg)
{
	static struct seed seed;
	seed_make(&seed);
	assert_string_equal(seed.meta_data, "instance-id: kb-7-deadbeef\nlocal-hostname: kb-7\n");
	assert_int_equal(strncmp(seed.user_data, "#cloud-config\n", 14), 0);
	assert_non_null(strstr(seed.user_data, "path: /etc/koboshi/challenge.key"));
	assert_non_null(strstr(seed.user_data, "permissions: \"0600\""));
	assert_non_null(strstr(seed.user_data, "content: \"a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5\""));
	assert_non_null(strstr(seed.user_data, "lock_passwd: true"));
	assert_null(strstr(seed.user_data, "mounts:"));
	assert_non_null(strstr(seed.network_config, "macaddress: \"02:6b:6f:00:00:07\""));
	assert_non_null(strstr(seed.network_config, "\"198.51.100.9/32\""));
	assert_non_null(strstr(seed.network_config, "\"2001:db8:1::9/128\""));
	assert_non_null(strstr(seed.network_config, "via: \"198.51.100.1\"\n        on-link: true"));
	assert_non_null(strstr(seed.network_config, "via: \"2001:db8:1::1\"\n        on-link: true"));
}

/* The largest addresses fit. */
static void test_long(void **state unused_arg)
{
	struct conf_instance instance;
	static struct seed seed;
	uint8_t key[WIRE_KEY_SIZE] = {0};
	instance_make(&instance);
	inet_pton(AF_INET6, "2001:db8:ffff:ffff:ffff:ffff:ffff:fffe", &instance.address6);
	inet_pton(AF_INET6, "2001:db8:ffff:ffff:ffff:ffff:ffff:fffd", &instance.gateway6);
	memset(instance.name, 'x', sizeof(instance.name) - 1);
	char path[192];
	memset(path, '/', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	seed_write(&(struct seed_parts){.instance = &instance, .key = key, .tag = 1, .data = path}, &seed);
	assert_non_null(strstr(seed.user_data, "////\", \"virtiofs\", \"rw,nosuid,nodev,noexec\", \"0\", \"0\"]\n"));
	assert_non_null(strstr(seed.network_config, "fffd\"\n        on-link: true\n"));
}

static void test_disk(void **state unused_arg)
{
	static struct seed seed;
	size_t size;
	seed_make(&seed);
	auto_free uint8_t *disk = seed_disk(&seed, &size);
	assert_int_equal(size % 2048, 0);
	assert_memory_equal(disk + 0x8001, "CD001", 5);
	assert_memory_equal(disk + 0x8028, "cidata    ", 10);
	assert_non_null(memmem(disk, size, seed.user_data, strlen(seed.user_data)));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_content), cmocka_unit_test(test_long),
	                                   cmocka_unit_test(test_disk)};
	if (argc == 2) {
		static struct seed seed;
		size_t size;
		seed_make(&seed);
		auto_free uint8_t *disk = seed_disk(&seed, &size);
		return file_write(argv[1], disk, size, 0600, NULL) == 0 ? 0 : 1;
	}
	return cmocka_run_group_tests_name("vm seed", tests, NULL, NULL);
}
