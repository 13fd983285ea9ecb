/*
 * The machine that a guest gets. As little of one as the guests need: what is not there cannot be attacked, and each
 * device costs boot time under emulation. All virtio devices sit directly on the root bus (fixed slots): a bridge for
 * each, libvirt's default on q35, is slower to find and makes the guest's names depend on the order.
 *
 * on_crash=preserve: a panicked guest stays as it is until the evidence is taken. on_reboot=restart with libvirt's reboot
 * event: a guest that reboots by itself is reported, the engine decides. The battery clock follows the host's clock through
 * a pause: it is what a woken guest sets its own clock by.
 */
#include "act/vm/domain.h"

#include "lib/attr.h"

#include <stdio.h>

/* Slots on the root bus; 0x1f is q35's own. */
enum { SLOT_ROOT = 2, SLOT_SEED, SLOT_CARD, SLOT_RANDOM, SLOT_SERIAL, SLOT_PANIC, SLOT_WATCHDOG, SLOT_VAULT };

#define VIRTIOFSD "/usr/lib/qemu/virtiofsd" /* of Debian 12's qemu-system-common */

static void text_put(FILE *out, const char *text)
{
	for (; *text; text++)
		switch (*text) {
		case '&':
			fputs("&amp;", out);
			break;
		case '<':
			fputs("&lt;", out);
			break;
		case '>':
			fputs("&gt;", out);
			break;
		case '\'':
			fputs("&apos;", out);
			break;
		case '"':
			fputs("&quot;", out);
			break;
		default:
			/* XML 1.0 has no way to write other control characters: none of ours may hold one */
			fputc((unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text, out);
		}
}

static void element_put(FILE *out, const char *indent, const char *name, const char *text)
{
	fprintf(out, "%s<%s>", indent, name);
	text_put(out, text);
	fprintf(out, "</%s>\n", name);
}

static void attribute_put(FILE *out, const char *before, const char *text, const char *after)
{
	fputs(before, out);
	text_put(out, text);
	fputs(after, out);
}

static void slot_put(FILE *out, unsigned slot)
{
	fprintf(out, "      <address type='pci' domain='0x0000' bus='0x00' slot='0x%02x' function='0x0'/>\n", slot);
}

static void disk_put(FILE *out, const char *file, const char *target, unsigned slot)
{
	fputs("    <disk type='file' device='disk'>\n      <driver name='qemu' type='raw'/>\n", out);
	attribute_put(out, "      <source file='", file, "'/>\n");
	fprintf(out, "      <target dev='%s' bus='virtio'/>\n      <readonly/>\n", target);
	slot_put(out, slot);
	fputs("    </disk>\n", out);
}

static void card_put(FILE *out, const struct domain_recipe *recipe, int carrier)
{
	const uint8_t *mac = recipe->mac;
	fprintf(out, "    <interface type='ethernet'>\n      <mac address='%02x:%02x:%02x:%02x:%02x:%02x'/>\n", mac[0], mac[1],
	        mac[2], mac[3], mac[4], mac[5]);
	attribute_put(out, "      <target dev='", recipe->tap, "' managed='no'/>\n");
	/* in QEMU, not in the host's kernel: one thing less between a guest and the kernel that we rely on */
	fputs("      <model type='virtio'/>\n      <driver name='qemu'/>\n", out);
	fprintf(out, "      <link state='%s'/>\n      <rom enabled='no'/>\n", carrier ? "up" : "down");
	slot_put(out, SLOT_CARD);
	fputs("    </interface>\n", out);
}

/* Nothing is cached: several guests share it, and who takes over reads what the other has written. */
static void vault_put(FILE *out, const char *folder)
{
	if (!folder)
		return;
	fputs("    <filesystem type='mount' accessmode='passthrough'>\n      <driver type='virtiofs'/>\n"
	      "      <binary path='" VIRTIOFSD
	      "' xattr='off'>\n        <cache mode='none'/>\n        <sandbox mode='namespace'/>\n"
	      "      </binary>\n",
	      out);
	attribute_put(out, "      <source dir='", folder, "'/>\n");
	fputs("      <target dir='" DOMAIN_VAULT "'/>\n", out);
	slot_put(out, SLOT_VAULT);
	fputs("    </filesystem>\n", out);
}

static void boot_put(FILE *out, const struct domain_recipe *recipe)
{
	fputs("  <os>\n    <type arch='x86_64' machine='q35'>hvm</type>\n", out);
	element_put(out, "    ", "kernel", recipe->kernel);
	element_put(out, "    ", "initrd", recipe->initrd);
	element_put(out, "    ", "cmdline", recipe->cmdline);
	fputs("  </os>\n  <features>\n    <acpi/>\n    <apic/>\n  </features>\n", out);
	if (recipe->virt == DOMAIN_KVM)
		fputs("  <cpu mode='host-passthrough' check='none'/>\n", out);
	fputs("  <clock offset='utc'>\n    <timer name='rtc' track='wall'/>\n  </clock>\n"
	      "  <on_poweroff>destroy</on_poweroff>\n  <on_reboot>restart</on_reboot>\n  <on_crash>preserve</on_crash>\n",
	      out);
}

static void channel_put(FILE *out, const char *socket, const char *port)
{
	if (!socket)
		return;
	attribute_put(out, "    <channel type='unix'>\n      <source mode='bind' path='", socket, "'/>\n");
	fprintf(out, "      <target type='virtio' name='%s'/>\n    </channel>\n", port);
}

static void channels_put(FILE *out, const struct domain_recipe *recipe)
{
	if (!recipe->agent_socket && !recipe->lab_socket)
		return;
	fputs("    <controller type='virtio-serial' index='0' ports='3'>\n", out); /* port 0 is a console's */
	slot_put(out, SLOT_SERIAL);
	fputs("    </controller>\n", out);
	channel_put(out, recipe->agent_socket, "org.koboshi.agent.0");
	channel_put(out, recipe->lab_socket, "org.koboshi.lab.0");
}

static void devices_put(FILE *out, const struct domain_recipe *recipe)
{
	fputs("  <devices>\n", out);
	disk_put(out, recipe->root, "vda", SLOT_ROOT);
	disk_put(out, recipe->seed, "vdb", SLOT_SEED);
	fputs("    <controller type='usb' model='none'/>\n", out);
	if (recipe->tap)
		card_put(out, recipe, 1);
	/* append: the file can then be cut short under QEMU's hands, which is how it is kept small */
	attribute_put(out, "    <serial type='file'>\n      <source path='", recipe->console, "' append='on'/>\n");
	fputs("      <target type='isa-serial' port='0'/>\n    </serial>\n", out);
	channels_put(out, recipe);
	vault_put(out, recipe->vault);
	fputs("    <rng model='virtio'>\n      <backend model='random'>/dev/urandom</backend>\n", out);
	slot_put(out, SLOT_RANDOM);
	/* sleeps until something in the guest opens it; then its silence is told, and the engine decides what comes of it */
	fputs("    </rng>\n    <watchdog model='i6300esb' action='none'>\n", out);
	slot_put(out, SLOT_WATCHDOG);
	fputs("    </watchdog>\n    <memballoon model='none'/>\n    <panic model='isa'/>\n  </devices>\n", out);
}

/* libvirt 9.0 knows only the ISA panic device; newer guests look for the PCI one. With both, each guest finds the one that
 * it has a driver for. */
static void panic_put(FILE *out)
{
	fprintf(out,
	        "  <qemu:commandline>\n    <qemu:arg value='-device'/>\n"
	        "    <qemu:arg value='pvpanic-pci,bus=pcie.0,addr=0x%02x'/>\n  </qemu:commandline>\n",
	        SLOT_PANIC);
}

static FILE *memory_open(char **text, size_t *size)
{
	FILE *out = open_memstream(text, size);
	if (!out)
		abort();
	return out;
}

static char *memory_close(FILE *out, char **text)
{
	if (ferror(out) || fclose(out) != 0)
		abort();
	return *text;
}

char *domain_xml(const struct domain_recipe *recipe)
{
	static const char *const types[] = {[DOMAIN_EMULATED] = "qemu", [DOMAIN_KVM] = "kvm", [DOMAIN_TEST] = "test"};
	char *text;
	size_t size;
	FILE *out = memory_open(&text, &size);
	fprintf(out, "<domain type='%s'", types[recipe->virt]);
	if (recipe->virt != DOMAIN_TEST)
		fputs(" xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'", out);
	fputs(">\n", out);
	element_put(out, "  ", "name", recipe->name);
	fprintf(out, "  <memory unit='MiB'>%u</memory>\n  <vcpu>%u</vcpu>\n", recipe->memory_mib, recipe->cpus);
	if (recipe->vault) /* the process that serves the folder reads and writes the guest's memory */
		fputs("  <memoryBacking>\n    <source type='memfd'/>\n    <access mode='shared'/>\n  </memoryBacking>\n", out);
	if (recipe->virt == DOMAIN_TEST) {
		fputs("  <os>\n    <type>hvm</type>\n  </os>\n", out);
	} else {
		boot_put(out, recipe);
		devices_put(out, recipe);
		panic_put(out);
	}
	fputs("</domain>\n", out);
	return memory_close(out, &text);
}

char *domain_card_xml(const struct domain_recipe *recipe, int carrier)
{
	char *text;
	size_t size;
	FILE *out = memory_open(&text, &size);
	card_put(out, recipe, carrier);
	return memory_close(out, &text);
}
