/* See usage.h. */
#include "act/vm/usage.h"

#include "act/vm/process.h"
#include "lib/bytes.h"

#include <inttypes.h>
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

void usage_tell(struct vm *vm, uint32_t number)
{
	struct conf_instance instance;
	struct process_sight sight;
	if (!process_look(process_find(vm, number), &sight))
		return;
	conf_instance(&vm->conf, number, &instance);
	/* what the tap receives is what the guest sends */
	outbox_usage(vm->outbox, number,
	             &(struct wire_usage){.cpu_us = sight.cpu_us,
	                                  .sent_bytes = tap_counter(instance.tap, "rx_bytes"),
	                                  .received_packets = tap_counter(instance.tap, "tx_packets")});
}
