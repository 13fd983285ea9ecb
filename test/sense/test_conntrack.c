/* Messages as a kernel sent them (6.18), and what is cut or false in them. */
#include "sense/conntrack.h"

#include "lib/attr.h"
#include "sense/sense.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

/* An IPv4 flow of TCP from 127.0.0.1 port 45726 to port 8080, ended by a reset; mark 4b000007. */
static const uint8_t ended[] = {
        0xe4, 0x00, 0x00, 0x00, 0x02, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x96, 0x2b, 0x00, 0x00, 0x02, 0x00, 0x00,
        0x00, 0x34, 0x00, 0x01, 0x80, 0x14, 0x00, 0x01, 0x80, 0x08, 0x00, 0x01, 0x00, 0x7f, 0x00, 0x00, 0x01, 0x08, 0x00,
        0x02, 0x00, 0x7f, 0x00, 0x00, 0x01, 0x1c, 0x00, 0x02, 0x80, 0x05, 0x00, 0x01, 0x00, 0x06, 0x00, 0x00, 0x00, 0x06,
        0x00, 0x02, 0x00, 0xb2, 0x9e, 0x00, 0x00, 0x06, 0x00, 0x03, 0x00, 0x1f, 0x90, 0x00, 0x00, 0x34, 0x00, 0x02, 0x80,
        0x14, 0x00, 0x01, 0x80, 0x08, 0x00, 0x01, 0x00, 0x7f, 0x00, 0x00, 0x01, 0x08, 0x00, 0x02, 0x00, 0x7f, 0x00, 0x00,
        0x01, 0x1c, 0x00, 0x02, 0x80, 0x05, 0x00, 0x01, 0x00, 0x06, 0x00, 0x00, 0x00, 0x06, 0x00, 0x02, 0x00, 0x1f, 0x90,
        0x00, 0x00, 0x06, 0x00, 0x03, 0x00, 0xb2, 0x9e, 0x00, 0x00, 0x08, 0x00, 0x0c, 0x00, 0x1a, 0xf2, 0xc2, 0x33, 0x08,
        0x00, 0x03, 0x00, 0x00, 0x00, 0x02, 0x0e, 0x08, 0x00, 0x07, 0x00, 0x00, 0x00, 0x00, 0x0a, 0x1c, 0x00, 0x09, 0x80,
        0x0c, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x04, 0x0c, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x04, 0xc0, 0x1c, 0x00, 0x0a, 0x80, 0x0c, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x04, 0x0c, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x0c, 0x90, 0x10, 0x00, 0x04, 0x80, 0x0c,
        0x00, 0x01, 0x80, 0x05, 0x00, 0x01, 0x00, 0x08, 0x00, 0x00, 0x00, 0x08, 0x00, 0x08, 0x00, 0x4b, 0x00, 0x00, 0x07,
};

static void reads_what_the_kernel_says(void **state)
{
	(void)state;
	struct netlink_bytes datagram = {ended, sizeof(ended)};
	struct conntrack_flow flow;
	assert_int_equal(conntrack_next(&datagram, &flow), 1);
	assert_true(flow.ended && flow.replied && flow.reset && !flow.listed);
	assert_int_equal(flow.mark, 0x4b000007);
	assert_int_equal(flow.id, 0x1af2c233);
	assert_int_equal(flow.asks.protocol, 6);
	assert_int_equal(flow.asks.source_port, 45726);
	assert_int_equal(flow.asks.destination_port, 8080);
	assert_int_equal(flow.answers.source_port, 8080);
	assert_memory_equal(flow.asks.source.bytes, "\x7f\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0", 16);
	assert_int_equal(flow.asked.packets, 4);
	assert_int_equal(flow.asked.bytes, 0x4c0);
	assert_int_equal(flow.answered.packets, 4);
	assert_int_equal(flow.answered.bytes, 0xc90);
	assert_int_equal(conntrack_next(&datagram, &flow), 0);
}

/* Every cut is refused or read as less, never read behind: ASan looks at the exact copy. */
static void what_is_cut_is_never_read_behind(void **state)
{
	(void)state;
	for (size_t size = 0; size < sizeof(ended); size++) {
		auto_free uint8_t *exact = malloc(size + 1);
		struct conntrack_flow flow;
		memcpy(exact, ended, size);
		struct netlink_bytes datagram = {exact, size};
		assert_int_equal(conntrack_next(&datagram, &flow), size ? -EBADMSG : 0);
		if (size < 16)
			continue;
		exact[0] = (uint8_t)size; /* a header that says so: the rest is all there is */
		datagram = (struct netlink_bytes){exact, size};
		int r = conntrack_next(&datagram, &flow);
		assert_true(r == 1 || r == -EBADMSG);
		assert_int_equal(datagram.left, 0);
	}
}

/* Attributes of sizes that no kernel gives are as if they were not there; other messages are passed over. */
static void what_is_false_is_not_believed(void **state)
{
	(void)state;
	uint8_t bytes[sizeof(ended) + 16];
	struct conntrack_flow flow;
	memcpy(bytes, ended, sizeof(ended));
	bytes[0xdc] = 7; /* the mark has three bytes */
	struct netlink_bytes datagram = {bytes, sizeof(ended)};
	assert_int_equal(conntrack_next(&datagram, &flow), 1);
	assert_int_equal(flow.mark, 0);
	bytes[0x15] = 2; /* longer than all of it */
	datagram = (struct netlink_bytes){bytes, sizeof(ended)};
	assert_int_equal(conntrack_next(&datagram, &flow), -EBADMSG);
	memset(bytes, 0, sizeof(bytes));
	bytes[0] = 16;
	bytes[4] = 3; /* the end of a list */
	memcpy(bytes + 16, ended, sizeof(ended));
	datagram = (struct netlink_bytes){bytes, sizeof(bytes)};
	assert_int_equal(conntrack_next(&datagram, &flow), 1);
	assert_int_equal(conntrack_next(&datagram, &flow), 0);
}

/* Through a socket and the loop: the flow is that of the instance whose mark it bears. */
static void what_is_read_is_counted(void **state)
{
	(void)state;
	int pair[2];
	uv_loop_t loop;
	struct flows_counts counts = {0};
	struct conf_instance seven = {.number = 7, .address4.s_addr = htonl(0xc6336407)};
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	uv_loop_init(&loop);
	struct sense_flows *flows = sense_flows_new(&loop, NULL, NULL);
	sense_flows_add(flows, &seven);
	assert_false(sense_flows_reads(flows));
	sense_flows_read(flows, pair[0]);
	assert_true(sense_flows_reads(flows));
	assert_int_equal(send(pair[1], "nonsense", 8, 0), 8);
	for (uint64_t n = 1; n <= 4; n++) {
		assert_int_equal(send(pair[1], ended, sizeof(ended), 0), sizeof(ended));
		while (counts.ended < n) {
			uv_run(&loop, UV_RUN_ONCE);
			flows_counts(sense_flows_core(flows), &counts);
		}
	}
	assert_int_equal(counts.ended, 4);
	assert_int_equal(sense_flows_malformed(flows), 1);
	sense_flows_free(flows);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
	close(pair[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(reads_what_the_kernel_says),
	        cmocka_unit_test(what_is_cut_is_never_read_behind),
	        cmocka_unit_test(what_is_false_is_not_believed),
	        cmocka_unit_test(what_is_read_is_counted),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
