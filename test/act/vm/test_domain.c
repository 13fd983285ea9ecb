/* The machine's XML against a golden text, and what must not get out of its place in it. Given a file name, writes the text
 * there. */
#include "act/vm/domain.h"
#include "lib/attr.h"
#include "lib/bytes.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static const struct domain_recipe plain = {
        .name = "kb-7",
        .virt = DOMAIN_EMULATED,
        .memory_mib = 192,
        .cpus = 1,
        .kernel = "/images/amber/vmlinuz",
        .initrd = "/images/amber/initrd",
        .root = "/images/amber/root.erofs",
        .cmdline = "console=ttyS0 quiet",
        .seed = "/run/koboshi/guest/7/seed.iso",
        .console = "/run/koboshi/guest/7/console.log",
        .agent_socket = "/run/koboshi/guest/7/agent.sock",
        .lab_socket = "/run/koboshi/guest/7/lab.sock",
        .tap = "kb7",
        .mac = {2, 0x6b, 0x6f, 0, 0, 7},
};

static void test_golden(void **state unused_arg)
{
	auto_free uint8_t *golden = NULL;
	size_t size;
	assert_int_equal(file_read(GOLDEN, 1 << 16, &golden, &size, NULL), 0);
	auto_free char *xml = domain_xml(&plain);
	assert_string_equal(xml, (const char *)golden);
}

static void test_escaped(void **state unused_arg)
{
	struct domain_recipe recipe = plain;
	recipe.cmdline = "a</cmdline><evil x='1' y=\"2\"/>&\x01\x7f";
	recipe.seed = "/x'/><evil/>";
	auto_free char *xml = domain_xml(&recipe);
	assert_null(strstr(xml, "<evil"));
	assert_non_null(strstr(xml, "<cmdline>a&lt;/cmdline&gt;&lt;evil x=&apos;1&apos; y=&quot;2&quot;/&gt;&amp;?"
	                            "?</cmdline>"));
	assert_non_null(strstr(xml, "<source file='/x&apos;/&gt;&lt;evil/&gt;'/>"));
}

/* Of several guests each has the folder, none has it in its cache, and none gets it without asking. */
static void test_vault(void **state unused_arg)
{
	struct domain_recipe recipe = plain;
	auto_free char *without = domain_xml(&recipe);
	assert_null(strstr(without, "virtiofs"));
	assert_null(strstr(without, "memfd"));
	recipe.vault = "/vault/'a";
	auto_free char *with = domain_xml(&recipe);
	assert_non_null(strstr(with, "<source dir='/vault/&apos;a'/>\n      <target dir='koboshi'/>"));
	assert_non_null(strstr(with, "<cache mode='none'/>"));
	assert_non_null(strstr(with, "<source type='memfd'/>"));
}

static void test_variants(void **state unused_arg)
{
	struct domain_recipe recipe = plain;
	recipe.lab_socket = NULL;
	recipe.virt = DOMAIN_KVM;
	auto_free char *device = domain_xml(&recipe);
	assert_null(strstr(device, "org.koboshi.lab.0"));
	assert_non_null(strstr(device, "org.koboshi.agent.0"));
	recipe.agent_socket = NULL;
	auto_free char *deaf = domain_xml(&recipe);
	assert_null(strstr(deaf, "virtio-serial"));
	assert_non_null(strstr(device, "<domain type='kvm'"));
	assert_non_null(strstr(device, "host-passthrough"));
	recipe.tap = NULL;
	auto_free char *cardless = domain_xml(&recipe);
	assert_null(strstr(cardless, "<interface"));
	auto_free char *down = domain_card_xml(&plain, 0);
	assert_non_null(strstr(down, "<link state='down'/>"));
	assert_non_null(strstr(down, "02:6b:6f:00:00:07"));
}

int main(int argc, char **argv)
{
	if (argc == 2) {
		auto_free char *xml = domain_xml(&plain);
		return file_write(argv[1], xml, strlen(xml), 0644, NULL) == 0 ? 0 : 1;
	}
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_golden),
	        cmocka_unit_test(test_escaped),
	        cmocka_unit_test(test_vault),
	        cmocka_unit_test(test_variants),
	};
	return cmocka_run_group_tests_name("vm domain", tests, NULL, NULL);
}
