/* A segment that the host makes: its sums are right, a header that was seen comes back the same, and half a one is none. */
#include "act/net/segment.h"
#include "lib/attr.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const struct tcp_segment opening = {
        .from = {{198, 51, 100, 7}, 40312},
        .to = {{203, 0, 113, 10}, 80},
        .sequence = 0xfedcba98,
        .flags = SEGMENT_SYN,
        .window = 64240,
        .options = {2, 4, 5, 180, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 7},
        .options_size = 20,
};

static uint32_t sum(uint32_t so_far, const uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		so_far += (uint32_t)bytes[i] << (i % 2 ? 0 : 8);
	return so_far;
}

/* Whoever gets it adds up everything, the sum that it bears included: all bits are set then (RFC 1071). */
static uint16_t folded(uint32_t all)
{
	while (all >> 16)
		all = (all & 0xffff) + (all >> 16);
	return (uint16_t)all;
}

static void assert_sums(const uint8_t *packet, size_t size, bool ipv6)
{
	size_t ip = ipv6 ? 40 : 20, addresses = ipv6 ? 8 : 12;
	if (!ipv6)
		assert_int_equal(folded(sum(0, packet, ip)), 0xffff);
	uint32_t all = IPPROTO_TCP + (uint32_t)(size - ip);
	all = sum(all, packet + addresses, ipv6 ? 32 : 8);
	assert_int_equal(folded(sum(all, packet + ip, size - ip)), 0xffff);
}

static void test_what_is_written(void **state unused_arg)
{
	uint8_t packet[SEGMENT_PACKET_MAX];
	size_t size = segment_write(&opening, packet);
	assert_int_equal(size, 60);
	assert_int_equal(packet[0], 0x45);
	assert_int_equal(packet[3], 60);
	assert_memory_equal(packet + 12, opening.from.address, 4);
	assert_memory_equal(packet + 16, opening.to.address, 4);
	assert_sums(packet, size, false);
	struct tcp_segment six = opening;
	six.ipv6 = true;
	memcpy(six.from.address, "\x20\x01\x0d\xb8\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 16);
	size = segment_write(&six, packet);
	assert_int_equal(size, 80);
	assert_int_equal(packet[5], 40);
	assert_sums(packet, size, true);
}

static void test_what_is_read(void **state unused_arg)
{
	uint8_t packet[SEGMENT_PACKET_MAX];
	struct tcp_segment read;
	size_t size = segment_write(&opening, packet) - 20;
	assert_true(segment_read(packet + 20, size, &read));
	assert_int_equal(read.from.port, opening.from.port);
	assert_int_equal(read.to.port, opening.to.port);
	assert_int_equal(read.sequence, opening.sequence);
	assert_int_equal(read.flags, opening.flags);
	assert_int_equal(read.window, opening.window);
	assert_int_equal(read.options_size, opening.options_size);
	assert_memory_equal(read.options, opening.options, opening.options_size);
}

static void test_half_a_header_is_none(void **state unused_arg)
{
	uint8_t packet[SEGMENT_PACKET_MAX];
	struct tcp_segment read;
	size_t size = segment_write(&opening, packet) - 20;
	for (size_t part = 0; part < size; part++)
		assert_false(segment_read(packet + 20, part, &read));
	packet[20 + 12] = 0x40; /* says that it is 16 bytes long */
	assert_false(segment_read(packet + 20, size, &read));
	assert_false(segment_read(NULL, 0, &read));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_what_is_written),
	        cmocka_unit_test(test_what_is_read),
	        cmocka_unit_test(test_half_a_header_is_none),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
