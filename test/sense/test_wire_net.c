/*
 * The wire sensor on what a real kernel logs, in a network namespace of its own (needs root): a refused connection, one that
 * nobody answers, and a frame dropped at a device's entry, all on loopback.
 */
#include "sense/sense.h"

#include "lib/bytes.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_log.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cmocka.h>

#define GROUP 7
#define LOG " group 7 snaplen 96 queue-threshold 1\n"

static const char rules[] = "table inet t\ndelete table inet t\ntable netdev n\ndelete table netdev n\n"
                            "table inet t {\n"
                            "chain out { type filter hook output priority 0;\n"
                            "tcp dport { 80, 81 } tcp flags & (fin|syn|rst|ack) == syn log prefix \"kb:syn\"" LOG
                            "tcp sport { 80, 81 } tcp flags & (fin|syn|rst|ack) == rst|ack log prefix \"kb:rst\"" LOG
                            "tcp sport { 80, 81 } tcp flags & (fin|syn|rst|ack) == syn|ack log prefix \"kb:ack\"" LOG "}\n"
                            "chain in { type filter hook input priority 0;\n"
                            "tcp dport 81 drop\n"
                            "}\n}\n"
                            "table netdev n { chain lo { type filter hook ingress device lo priority 0;\n"
                            "udp dport 112 log prefix \"kb:spoof\"" LOG "}\n}\n";

struct stage {
	uv_loop_t loop;
	uv_timer_t patience;
	struct sense_wire *wire;
	int fd; /* the sensor's */
	enum finding awaited;
	bool seen;
	struct evidence last;
	char detail[300];
};

static void on_report(void *arg, const struct evidence *evidence, const char *detail)
{
	struct stage *s = arg;
	if (evidence->finding != s->awaited)
		return;
	s->seen = true;
	s->last = *evidence;
	text_copy(s->detail, sizeof(s->detail), detail);
}

static void on_patience(uv_timer_t *timer unused_arg)
{
	fail_msg("nothing happened any more");
}

static void loopback_up(void)
{
	struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	auto_close int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &request), 0);
}

static void load_rules(void)
{
	FILE *nft = popen("nft -f -", "w"); /* of this namespace, which ends with the test */
	assert_non_null(nft);
	fputs(rules, nft);
	assert_int_equal(pclose(nft), 0);
}

/* What the net actuator does: a socket bound to the group, packets with their first bytes. */
static int open_group(void)
{
	struct {
		struct nlmsghdr header;
		struct nfgenmsg general;
		struct nlattr bind_head;
		struct nfulnl_msg_config_cmd bind;
		uint8_t pad[3];
		struct nlattr mode_head;
		struct nfulnl_msg_config_mode mode;
		uint8_t pad2[2];
	} request = {
	        .header = {.nlmsg_len = sizeof(request),
	                   .nlmsg_type = NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_CONFIG,
	                   .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
	        .general = {.res_id = htons(GROUP)},
	        .bind_head = {.nla_len = 5, .nla_type = NFULA_CFG_CMD},
	        .bind = {NFULNL_CFG_CMD_BIND},
	        .mode_head = {.nla_len = 10, .nla_type = NFULA_CFG_MODE},
	        .mode = {.copy_range = htonl(96), .copy_mode = NFULNL_COPY_PACKET},
	};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_NETFILTER);
	assert_true(fd >= 0);
	assert_int_equal(send(fd, &request, sizeof(request), 0), sizeof(request));
	return fd;
}

static int set_up(void **state)
{
	struct stage *s = calloc(1, sizeof(*s));
	assert_non_null(s);
	loopback_up();
	load_rules();
	uv_loop_init(&s->loop);
	uv_timer_init(&s->loop, &s->patience);
	uv_timer_start(&s->patience, on_patience, 10000, 0);
	s->fd = open_group();
	s->wire = sense_wire_new(&s->loop, s->fd, 30, on_report, s);
	struct conf_instance one = {.number = 1, .tap = "lo", .address4.s_addr = htonl(INADDR_LOOPBACK)};
	sense_wire_add(s->wire, &one, &(struct conf_probe){0});
	*state = s;
	return 0;
}

static int tear_down(void **state)
{
	struct stage *s = *state;
	sense_wire_free(s->wire);
	uv_close((uv_handle_t *)&s->patience, NULL);
	uv_run(&s->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&s->loop), 0);
	free(s);
	return 0;
}

static int knock(int type, uint16_t port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
	int fd = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int r = connect(fd, (struct sockaddr *)&address, sizeof(address));
	assert_true(r == 0 || errno == EINPROGRESS || errno == ECONNREFUSED);
	return fd;
}

static void provoke(struct stage *s, int type, uint16_t port, enum finding finding)
{
	int64_t before_us = clock_monotonic_us();
	s->awaited = finding;
	s->seen = false;
	auto_close int fd = knock(type, port);
	if (type == SOCK_DGRAM)
		assert_int_equal(send(fd, "x", 1, 0), 1);
	while (!s->seen)
		uv_run(&s->loop, UV_RUN_ONCE);
	assert_int_equal(s->last.instance, 1);
	assert_true(s->last.began_us >= before_us - 5000 && s->last.time_us <= clock_monotonic_us());
	print_message("%s after %ld us: %s\n", finding_name(finding), (long)(clock_monotonic_us() - before_us), s->detail);
}

static void test_real_kernel(void **state)
{
	struct stage *s = *state;
	struct sense_wire_counts counts;
	provoke(s, SOCK_STREAM, 80, FINDING_REFUSED);
	provoke(s, SOCK_STREAM, 81, FINDING_UNANSWERED);
	provoke(s, SOCK_DGRAM, 112, FINDING_SPOOFED);
	sense_wire_counts(s->wire, &counts);
	assert_int_equal(counts.malformed, 0);
	assert_int_equal(counts.strange, 0);
}

static void on_enough(uv_timer_t *timer)
{
	uv_stop(timer->loop);
}

/* Packets were lost, perhaps the answer with them: what was pending is forgotten. */
static void test_lost_packets(void **state)
{
	struct stage *s = *state;
	struct sense_wire_counts counts = {0};
	uv_timer_t enough;
	int small = 1;
	assert_int_equal(setsockopt(s->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
	s->awaited = FINDING_UNANSWERED;
	auto_close int asks = knock(SOCK_STREAM, 81);
	assert_true(asks >= 0);
	auto_close int floods = knock(SOCK_DGRAM, 112);
	while (counts.packets == 0) {
		uv_run(&s->loop, UV_RUN_ONCE);
		sense_wire_counts(s->wire, &counts);
	}
	for (int i = 0; i < 200; i++)
		send(floods, "x", 1, 0); /* every other one learns that nobody listens */
	uv_timer_init(&s->loop, &enough);
	uv_timer_start(&enough, on_enough, 100, 0); /* more than three times what it would take */
	uv_run(&s->loop, UV_RUN_DEFAULT);
	uv_close((uv_handle_t *)&enough, NULL);
	uv_run(&s->loop, UV_RUN_NOWAIT);
	sense_wire_counts(s->wire, &counts);
	assert_true(counts.lost > 0);
	assert_false(s->seen);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_real_kernel, set_up, tear_down),
	                                   cmocka_unit_test_setup_teardown(test_lost_packets, set_up, tear_down)};
	if (unshare(CLONE_NEWNET) < 0) {
		fprintf(stderr, "skipped: needs root for a network namespace\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
