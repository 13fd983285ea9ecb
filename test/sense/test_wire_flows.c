/* What the rules log of a guest's own doings goes on from the wire sensor to whoever compares it with the usual. */
#include "sense/sense.h"

#include "lib/bytes.h"
#include "packets.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

static void on_report(void *arg, const struct evidence *evidence, const char *detail)
{
	(void)arg;
	fail_msg("finding %d: %s", evidence->finding, detail);
}

static void tries_and_names_are_told(void **state)
{
	static const char no_such[] = "\x12\x34\x81\x83\0\1\0\0\0\0\0\0\4qx7f\7example\0\0\1\0\1";
	(void)state;
	int pair[2];
	uv_loop_t loop;
	struct packets packets = {0};
	struct sense_wire_counts counts = {0};
	struct flows_look looks[FLOWS_FEATURES];
	size_t windows, open;
	struct conf_instance seven = {.number = 7, .tap = "lo"}; /* an interface that is always there */
	inet_pton(AF_INET, "198.51.100.7", &seven.address4);
	inet_pton(AF_INET6, "2001:db8::7", &seven.address6);
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	uv_loop_init(&loop);
	struct sense_wire *wire = sense_wire_new(&loop, pair[0], 30, on_report, NULL);
	struct sense_flows *flows = sense_flows_new(&loop, on_report, NULL);
	sense_wire_add(wire, &seven, &(struct conf_probe){0});
	sense_wire_tell(wire, flows);
	sense_flows_add(flows, &seven);
	sense_flows_work(flows, 7, true);
	packets_tcp(&packets, "kb:out", "198.51.100.7", 40000, "192.0.2.1", 22, 2);
	packets_udp(&packets, "kb:try", "198.51.100.7", 40000, "192.0.2.1", 123, "?", 1);
	packets_udp(&packets, "kb:try", "2001:db8::7", 40001, "2001:db8:9::2", 123, "?", 1);
	packets_udp(&packets, "kb:dns", "192.0.2.53", 53, "198.51.100.7", 40000, no_such, sizeof(no_such) - 1);
	packets_udp(&packets, "kb:dns", "2001:db8::53", 53, "2001:db8::7", 40000, "no", 2);
	packets_udp(&packets, "kb:dns", "192.0.2.53", 53, "198.51.100.99", 40000, no_such, sizeof(no_such) - 1);
	assert_int_equal(send(pair[1], packets.bytes, packets.size, 0), packets.size);
	while (counts.packets < 6) {
		uv_run(&loop, UV_RUN_ONCE);
		sense_wire_counts(wire, &counts);
	}
	assert_int_equal(counts.malformed, 1);
	assert_int_equal(counts.strange, 1);
	struct flows *core = (struct flows *)(uintptr_t)sense_flows_core(flows);
	flows_tick(core, clock_monotonic_us() + FLOWS_WINDOW_US);
	assert_true(flows_look(core, 7, looks, &windows, &open));
	assert_int_equal((int)looks[FLOWS_FANOUT].last, 3);
	assert_int_equal((int)looks[FLOWS_FAILED].last, 3);
	assert_int_equal((int)looks[FLOWS_NAMES].last, 1);
	sense_wire_free(wire);
	sense_flows_free(flows);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
	close(pair[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(tries_and_names_are_told)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
