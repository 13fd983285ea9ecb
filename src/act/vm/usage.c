/* See usage.h. */
#include "act/vm/usage.h"

#include "act/vm/process.h"
#include "lib/bytes.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Processor time of a process that began at `ret_start`; 0 when it is not there. */
static uint64_t cpu_us(pid_t pid, uint64_t *ret_start)
{
	char path[40];
	auto_free uint8_t *text = NULL;
	size_t size;
	uint64_t user = 0, system = 0;
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if (pid <= 0 || file_read(path, 4096, &text, &size, NULL) < 0)
		return 0;
	const char *rest = strrchr((const char *)text, ')'); /* the name may hold anything */
	if (!rest ||
	    sscanf(rest + 1,
	           " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64 " %*d %*d %*d %*d %*d %*d %" SCNu64, &user,
	           &system, ret_start) != 3)
		return 0;
	return (user + system) * (1000000 / (uint64_t)sysconf(_SC_CLK_TCK)) + 1; /* there, though it has done nothing yet */
}

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

struct seat {
	uint32_t number;
	pid_t pid;
	uint64_t start; /* the kernel's time of birth: the number alone may be a stranger's by now */
};

static struct seat *seat_of(const struct vm *vm, uint32_t number)
{
	static struct seat seats[WIRE_INSTANCES_MAX];
	struct seat *seat = &seats[number % WIRE_INSTANCES_MAX];
	uint64_t start = 0;
	if (seat->number == number && cpu_us(seat->pid, &start) > 0 && start == seat->start)
		return seat;
	*seat = (struct seat){.number = number, .pid = process_find(vm, number)};
	return cpu_us(seat->pid, &seat->start) > 0 ? seat : NULL;
}

void usage_tell(struct vm *vm, uint32_t number)
{
	struct conf_instance instance;
	const struct seat *seat = seat_of(vm, number);
	uint64_t start;
	if (!seat)
		return;
	conf_instance(&vm->conf, number, &instance);
	/* what the tap receives is what the guest sends */
	outbox_usage(vm->outbox, number,
	             &(struct wire_usage){.cpu_us = cpu_us(seat->pid, &start),
	                                  .sent_bytes = tap_counter(instance.tap, "rx_bytes"),
	                                  .received_packets = tap_counter(instance.tap, "tx_packets")});
}
