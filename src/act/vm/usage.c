/* See usage.h. */
#include "act/vm/usage.h"

#include "act/vm/process.h"
#include "lib/bytes.h"
#include "lib/log.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static uint64_t tap_counter(const char *tap, const char *name)
{
	char path[96];
	auto_free uint8_t *text = NULL;
	size_t size;
	uint64_t value = 0;
	snprintf(path, sizeof(path), "/sys/class/net/%s/statistics/%s", tap, name);
	if (file_read(path, 4096, &text, &size, NULL) == 0)
		sscanf((const char *)text, "%" SCNu64, &value);
	return value;
}

/* Without asking libvirt, which asks QEMU and waits for it: the bytes that its process reads and writes are those of disks and
 * tap, and of little else (console, wake-ups: some KiB a second). That needs the network device in QEMU itself, as it is
 * (domain.c). */
static void disk_bytes(pid_t pid, uint64_t tap_out, uint64_t tap_in, uint64_t *ret_read, uint64_t *ret_written)
{
	char path[40];
	auto_free uint8_t *text = NULL;
	size_t size;
	uint64_t got = 0, put = 0;
	snprintf(path, sizeof(path), "/proc/%d/io", (int)pid);
	if (file_read(path, 4096, &text, &size, NULL) < 0 ||
	    sscanf((const char *)text, "rchar: %" SCNu64 " wchar: %" SCNu64, &got, &put) != 2) {
		static bool told;
		if (!told && kill(pid, 0) == 0) { /* else it ended just now */
			told = true;
			log_warning("vm.usage", "%s cannot be read: what guests do to their disks is not watched", path);
		}
	}
	*ret_read = got > tap_in ? got - tap_in : 0;
	*ret_written = put > tap_out ? put - tap_out : 0;
}

void usage_tell(struct vm *vm, uint32_t number)
{
	struct conf_instance instance;
	struct process_sight sight;
	struct wire_usage usage;
	pid_t pid = process_find(vm, number);
	if (!process_look(pid, &sight))
		return;
	conf_instance(&vm->conf, number, &instance);
	usage.cpu_us = sight.cpu_us;
	usage.sent_bytes = tap_counter(instance.tap, "rx_bytes"); /* what the tap receives is what the guest sends */
	usage.received_packets = tap_counter(instance.tap, "tx_packets");
	disk_bytes(pid, usage.sent_bytes, tap_counter(instance.tap, "tx_bytes"), &usage.read_bytes, &usage.written_bytes);
	outbox_usage(vm->outbox, number, &usage);
}
