/*
 * What rtnetlink says of links, built by hand and sent through a pair of sockets; and once by the kernel itself, in a network
 * namespace of our own, if that may be made.
 */
#include "sense/carrier.h"

#include "lib/bytes.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "skip.h"

#define LOWER_UP (1u << 16)

struct stage {
	uv_loop_t loop;
	uv_timer_t patience;
	struct sense_carrier *carrier, *real;
	int fd;
	unsigned told, doubted;
	bool over;
	struct evidence last;
	char detail[64];
};

static void on_report(void *arg, const struct evidence *evidence, const char *detail)
{
	struct stage *s = arg;
	s->told += evidence->finding == FINDING_UNPLUGGED;
	s->doubted += evidence->finding == FINDING_UNLINKED;
	s->last = *evidence;
	text_copy(s->detail, sizeof(s->detail), detail);
}

static void on_patience(uv_timer_t *timer)
{
	((struct stage *)timer->data)->over = true;
}

static int set_up(void **state)
{
	struct stage *s = calloc(1, sizeof(*s));
	int pair[2];
	assert_non_null(s);
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	uv_loop_init(&s->loop);
	uv_timer_init(&s->loop, &s->patience);
	s->patience.data = s;
	s->fd = pair[1];
	s->carrier = sense_carrier_new(&s->loop, pair[0], on_report, s);
	sense_carrier_add(s->carrier, 7, "kb7");
	sense_carrier_add(s->carrier, 8, "kb8");
	*state = s;
	return 0;
}

static int tear_down(void **state)
{
	struct stage *s = *state;
	sense_carrier_free(s->carrier);
	sense_carrier_free(s->real);
	uv_close((uv_handle_t *)&s->patience, NULL);
	uv_run(&s->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&s->loop), 0);
	close(s->fd);
	free(s);
	return 0;
}

struct words {
	struct nlmsghdr head;
	struct ifinfomsg link;
	struct rtattr name;
	char tap[IFNAMSIZ];
};

static struct words words(uint16_t type, const char *tap, unsigned flags)
{
	struct words w = {
	        .head = {.nlmsg_len = sizeof(w), .nlmsg_type = type},
	        .link = {.ifi_flags = flags},
	        .name = {.rta_len = sizeof(w.name) + sizeof(w.tap), .rta_type = IFLA_IFNAME},
	};
	text_copy(w.tap, sizeof(w.tap), tap);
	return w;
}

static void say(struct stage *s, uint16_t type, const char *tap, unsigned flags)
{
	struct words w = words(type, tap, flags);
	assert_int_equal(send(s->fd, &w, sizeof(w), 0), sizeof(w));
}

/* Until something is told, or so long. */
static void wait_for_word(struct stage *s, uint64_t at_most_ms)
{
	unsigned before = s->told;
	s->over = false;
	uv_timer_start(&s->patience, on_patience, at_most_ms, 0);
	while (s->told == before && !s->over)
		uv_run(&s->loop, UV_RUN_ONCE);
	uv_timer_stop(&s->patience);
}

static void lost(void **state)
{
	struct stage *s = *state;
	say(s, RTM_NEWLINK, "kb7", IFF_UP | LOWER_UP);
	say(s, RTM_NEWLINK, "kb7", IFF_UP);
	wait_for_word(s, 10000);
	assert_int_equal(s->last.instance, 7);
	assert_int_equal(s->last.finding, FINDING_UNPLUGGED);
	assert_int_equal(s->last.vantage, VANTAGE_WIRE);
	assert_true(s->last.time_us - s->last.began_us >= CARRIER_LOST_MS * 1000);
	assert_string_equal(s->detail, "its link kb7 has no carrier");
	assert_true(s->doubted > 0);
	unsigned told = s->told;
	wait_for_word(s, 3 * CARRIER_LOST_MS);
	assert_int_equal(s->told, told); /* once */
}

/* What nobody falls for need not wait. */
static void doubted_at_once(void **state)
{
	struct stage *s = *state;
	say(s, RTM_NEWLINK, "kb7", IFF_UP | LOWER_UP);
	say(s, RTM_NEWLINK, "kb7", IFF_UP);
	while (s->doubted + s->told == 0)
		uv_run(&s->loop, UV_RUN_ONCE);
	if (s->told == 0) { /* else this process was away for as long as it takes */
		assert_int_equal(s->last.instance, 7);
		assert_int_equal(s->last.finding, FINDING_UNLINKED);
		wait_for_word(s, 10000);
		assert_int_equal(s->doubted, 1);
	}
	assert_int_equal(s->told, 1);
}

static void taken_down_or_away(void **state)
{
	struct stage *s = *state;
	say(s, RTM_NEWLINK, "kb7", IFF_UP | LOWER_UP);
	say(s, RTM_NEWLINK, "kb8", IFF_UP | LOWER_UP);
	say(s, RTM_NEWLINK, "kb7", LOWER_UP);
	wait_for_word(s, 10000);
	assert_int_equal(s->last.instance, 7);
	say(s, RTM_DELLINK, "kb8", IFF_UP | LOWER_UP);
	wait_for_word(s, 10000);
	assert_int_equal(s->last.instance, 8);
}

static void flapped(void **state)
{
	struct stage *s = *state;
	say(s, RTM_NEWLINK, "kb7", IFF_UP | LOWER_UP);
	say(s, RTM_NEWLINK, "kb7", IFF_UP);
	say(s, RTM_NEWLINK, "kb7", IFF_UP | LOWER_UP);
	wait_for_word(s, 3 * CARRIER_LOST_MS);
	assert_int_equal(s->told, 0);
	assert_int_equal(s->doubted, 0); /* it was back before anybody looked */
}

/* The loop was away while it came back. */
static void back_and_read_late(void **state)
{
	struct stage *s = *state;
	say(s, RTM_NEWLINK, "kb7", IFF_UP | LOWER_UP);
	say(s, RTM_NEWLINK, "kb7", IFF_UP);
	uv_run(&s->loop, UV_RUN_NOWAIT);
	say(s, RTM_NEWLINK, "kb7", IFF_UP | LOWER_UP);
	usleep(2 * CARRIER_LOST_MS * 1000); /* the fault itself */
	uv_run(&s->loop, UV_RUN_NOWAIT);
	uv_run(&s->loop, UV_RUN_NOWAIT);
	assert_int_equal(s->told, 0);
}

static void never_had(void **state)
{
	struct stage *s = *state;
	say(s, RTM_NEWLINK, "kb7", IFF_UP);
	say(s, RTM_NEWLINK, "kb7", 0);
	say(s, RTM_NEWLINK, "eth0", IFF_UP | LOWER_UP);
	say(s, RTM_NEWLINK, "eth0", 0);
	wait_for_word(s, 3 * CARRIER_LOST_MS);
	assert_int_equal(s->told, 0);
}

static void removed(void **state)
{
	struct stage *s = *state;
	say(s, RTM_NEWLINK, "kb7", IFF_UP | LOWER_UP);
	say(s, RTM_NEWLINK, "kb7", IFF_UP);
	uv_run(&s->loop, UV_RUN_NOWAIT);
	sense_carrier_remove(s->carrier, 7);
	wait_for_word(s, 3 * CARRIER_LOST_MS);
	assert_int_equal(s->told, 0);
}

/* Every cut, and noise in the place of each byte: nothing is read behind (ASan looks), and what is right still counts. */
static void nonsense(void **state)
{
	struct stage *s = *state;
	struct words w = words(RTM_NEWLINK, "kb7", IFF_UP);
	for (size_t size = 0; size < sizeof(w); size++) {
		send(s->fd, &w, size, 0);
		uv_run(&s->loop, UV_RUN_NOWAIT);
	}
	for (size_t at = 0; at < sizeof(w); at++) {
		struct words other = w;
		((uint8_t *)&other)[at] ^= 0xff;
		send(s->fd, &other, sizeof(other), 0);
		uv_run(&s->loop, UV_RUN_NOWAIT);
	}
	wait_for_word(s, 3 * CARRIER_LOST_MS); /* noise may happen to say something */
	lost(state);
}

static void without_a_socket(void **state)
{
	struct stage *s = *state;
	struct sense_carrier *none = sense_carrier_new(&s->loop, -1, on_report, s);
	sense_carrier_add(none, 7, "kb7");
	sense_carrier_free(none);
}

static void set_up_link(const char *name, bool up)
{
	struct ifreq request = {.ifr_flags = up ? IFF_UP : 0};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	text_copy(request.ifr_name, sizeof(request.ifr_name), name);
	assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &request), 0);
	close(fd);
}

/* The loopback of a fresh namespace is a link like any other. */
static void by_the_kernel(void **state)
{
	struct stage *s = *state;
	if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
		skip_for("no network namespace may be made here");
	set_up_link("lo", true); /* before anybody listens */
	int fd = sense_carrier_open();
	assert_true(fd >= 0);
	s->real = sense_carrier_new(&s->loop, fd, on_report, s);
	sense_carrier_add(s->real, 9, "lo");
	set_up_link("lo", false);
	wait_for_word(s, 10000);
	assert_int_equal(s->told, 1);
	assert_int_equal(s->last.instance, 9);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup_teardown(doubted_at_once, set_up, tear_down),
	        cmocka_unit_test_setup_teardown(lost, set_up, tear_down),
	        cmocka_unit_test_setup_teardown(taken_down_or_away, set_up, tear_down),
	        cmocka_unit_test_setup_teardown(flapped, set_up, tear_down),
	        cmocka_unit_test_setup_teardown(back_and_read_late, set_up, tear_down),
	        cmocka_unit_test_setup_teardown(never_had, set_up, tear_down),
	        cmocka_unit_test_setup_teardown(removed, set_up, tear_down),
	        cmocka_unit_test_setup_teardown(nonsense, set_up, tear_down),
	        cmocka_unit_test_setup_teardown(without_a_socket, set_up, tear_down),
	        cmocka_unit_test_setup_teardown(by_the_kernel, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
