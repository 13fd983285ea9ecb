/* Any bytes as a netlink datagram of conntrack: the reader ends and what it found can be fed to the judging core. */
#include "sense/conntrack.h"
#include "sense/flows.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void on_tell(void *arg, uint32_t instance, int64_t began_us, int64_t time_us, const char *text)
{
	(void)arg;
	if (instance != 7 || began_us > time_us || strnlen(text, FLOWS_TEXT_MAX) == FLOWS_TEXT_MAX)
		abort();
	for (; *text; text++)
		if (*text < 0x20 || *text > 0x7e)
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static struct flows *flows;
	static int64_t now_us;
	const struct nflog_address four = {.bytes = {127, 0, 0, 1}}, six = {.ipv6 = true, .bytes = {[15] = 1}};
	if (!flows)
		flows = flows_new(1, on_tell, NULL);
	flows_add(flows, 7, &four, &six);
	flows_work(flows, 7, true, now_us += 1000000);
	uint8_t *exact = malloc(size ? size : 1);
	if (!exact)
		abort();
	memcpy(exact, bytes, size);
	struct netlink_bytes datagram = {exact, size};
	struct conntrack_flow flow;
	size_t left = size + 1;
	while (conntrack_next(&datagram, &flow) == 1) {
		if (datagram.left >= left)
			abort();
		left = datagram.left;
		flows_flow(flows, 7, &flow, now_us);
	}
	flows_tick(flows, now_us);
	free(exact);
	return 0;
}
