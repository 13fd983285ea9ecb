/*
 * The tarpit over loopback: it holds what it may and no more, whoever does not read costs nothing, and neither ends nor floods
 * make it hold more. Time is the test's: seconds pass as it says.
 */
#include "decoy/tarpit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <cmocka.h>

#define LIMIT 1024
#define MANY 10000

struct stage {
	int listening, watcher;
	struct sockaddr_in at;
	struct tarpit *tarpit;
	int64_t now_us;
	int callers[MANY]; /* -1: closed */
	size_t n_callers;
};

static void stage_open(struct stage *s, size_t limit)
{
	socklen_t size = sizeof(s->at);
	struct err err;
	*s = (struct stage){.at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}}, .now_us = 1000000};
	s->listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(s->listening, (struct sockaddr *)&s->at, sizeof(s->at)), 0);
	assert_int_equal(getsockname(s->listening, (struct sockaddr *)&s->at, &size), 0);
	assert_int_equal(listen(s->listening, 256), 0);
	assert_int_equal(tarpit_prepare(s->listening, &err), 0);
	s->watcher = epoll_create1(EPOLL_CLOEXEC);
	s->tarpit = tarpit_new(limit, s->watcher);
}

static void stage_close(struct stage *s)
{
	for (size_t i = 0; i < s->n_callers; i++)
		if (s->callers[i] >= 0)
			close(s->callers[i]);
	tarpit_free(s->tarpit);
	close(s->watcher);
	close(s->listening);
}

static struct tarpit_counts counts(const struct stage *s)
{
	struct tarpit_counts counts;
	tarpit_counts(s->tarpit, &counts);
	return counts;
}

static void ends_take(struct stage *s, int patience_ms)
{
	struct epoll_event events[64];
	for (int n; (n = epoll_wait(s->watcher, events, 64, patience_ms)) > 0;)
		for (int i = 0; i < n; i++)
			tarpit_ended(s->tarpit, events[i].data.u64);
}

static int call(struct stage *s)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&s->at, sizeof(s->at)), 0);
	struct pollfd watched = {.fd = s->listening, .events = POLLIN};
	assert_int_equal(poll(&watched, 1, 5000), 1);
	assert_int_equal(tarpit_accept(s->tarpit, s->listening, 8, s->now_us), 0);
	s->callers[s->n_callers++] = fd;
	return fd;
}

/* Lets seconds pass; what was given in them. */
static uint64_t pass(struct stage *s, unsigned seconds)
{
	uint64_t before = counts(s).bytes;
	for (unsigned i = 0; i < seconds; i++) {
		s->now_us += 1000000;
		tarpit_dribble(s->tarpit, s->now_us);
	}
	return counts(s).bytes - before;
}

static bool is_put_out(int fd)
{
	char byte;
	struct pollfd watched = {.fd = fd, .events = POLLIN};
	return poll(&watched, 1, 2000) == 1 && recv(fd, &byte, 1, 0) <= 0;
}

/* What is ours alone, counted page by page: the sum in statm is kept for each processor apart and off by up to 32 pages of each,
 * and how much of a library is mapped beside what was touched is the kernel's affair. */
static long memory_kb(void)
{
	char line[128];
	long kb = -1;
	FILE *file = fopen("/proc/self/smaps_rollup", "re");
	assert_non_null(file);
	while (kb < 0 && fgets(line, sizeof(line), file))
		(void)sscanf(line, "Anonymous: %ld kB", &kb);
	fclose(file);
	assert_true(kb > 0);
	return kb;
}

static void test_ten_thousand(void **state unused_arg)
{
	static struct stage s;
	struct rlimit files;
	stage_open(&s, LIMIT);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	long before_kb = 0;
	for (size_t i = 0; i < MANY; i++) {
		int fd = call(&s);
		if (i == LIMIT)
			before_kb = memory_kb();
		if (i >= LIMIT + 16) { /* those that were put out are of no more use to the test either */
			close(s.callers[i - LIMIT - 16]);
			s.callers[i - LIMIT - 16] = -1;
		}
		(void)fd;
	}
	struct tarpit_counts now = counts(&s);
	assert_int_equal(now.held, LIMIT);
	assert_int_equal(now.taken, MANY);
	assert_int_equal(now.displaced, MANY - LIMIT);
	assert_true(is_put_out(s.callers[MANY - LIMIT - 1])); /* the oldest go ... */
	struct pollfd held = {.fd = s.callers[MANY - LIMIT], .events = POLLIN};
	assert_int_equal(poll(&held, 1, 0), 0); /* ... and only they */
	long more_kb = memory_kb() - before_kb;
	print_message("%d connections, limit %d: %ld KiB more than with the first %d\n", MANY, LIMIT, more_kb, LIMIT);
#if !defined(__SANITIZE_ADDRESS__)
	assert_true(more_kb < 256);
#endif
	assert_in_range(pass(&s, 40), 2 * LIMIT, 11 * LIMIT);
	stage_close(&s);
}

static void test_slow_and_uneven(void **state unused_arg)
{
	static struct stage s;
	stage_open(&s, 16);
	int fd = call(&s);
	unsigned pauses[3] = {0}, different = 0;
	assert_int_equal(pass(&s, 1), 0);
	assert_int_equal(pass(&s, 3), 1);
	for (size_t i = 0; i < countof(pauses); i++) {
		while (pass(&s, 1) == 0)
			pauses[i]++;
		assert_in_range(pauses[i], 2, 17);
		different += i > 0 && pauses[i] != pauses[0];
	}
	char text[16];
	assert_int_equal(recv(fd, text, sizeof(text), 0), 4);
	assert_memory_equal(text, "\r\n\r\n", 4);
	stage_close(&s);
	assert_true(different > 0 || pauses[0] > 0);
}

/* Sends for all it is worth and never reads: what it sends is not taken, what it does not read is not kept ready for it. */
static void test_who_floods_and_does_not_read(void **state unused_arg)
{
	static struct stage s;
	static char junk[65536];
	stage_open(&s, 16);
	int fd = call(&s);
	size_t sent = 0;
	for (ssize_t n; (n = send(fd, junk, sizeof(junk), MSG_DONTWAIT)) > 0;)
		sent += (size_t)n;
	assert_int_equal(errno, EAGAIN);
	uint64_t given = pass(&s, 20000);
	assert_in_range(given, 1, 6000);
	assert_int_equal(counts(&s).held, 1);
	print_message("%zu bytes went into the wire, %llu came back in 20,000 s\n", sent, (unsigned long long)given);
	stage_close(&s);
}

static void test_who_goes_makes_room(void **state unused_arg)
{
	static struct stage s;
	stage_open(&s, 4);
	for (int i = 0; i < 4; i++)
		call(&s);
	close(s.callers[1]);
	s.callers[1] = -1;
	const struct linger hard = {.l_onoff = 1};
	setsockopt(s.callers[2], SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	close(s.callers[2]);
	s.callers[2] = -1;
	while (counts(&s).held > 2)
		ends_take(&s, 50);
	call(&s);
	call(&s);
	assert_int_equal(counts(&s).displaced, 0);
	call(&s);
	assert_int_equal(counts(&s).displaced, 1);
	assert_true(is_put_out(s.callers[0]));
	assert_int_equal(counts(&s).held, 4);
	stage_close(&s);
}

/* An end that was told before the slot was given to another. */
static void test_an_old_end_is_nobodys(void **state unused_arg)
{
	static struct stage s;
	struct epoll_event old;
	stage_open(&s, 1);
	call(&s);
	close(s.callers[0]);
	s.callers[0] = -1;
	assert_int_equal(epoll_wait(s.watcher, &old, 1, 5000), 1);
	call(&s);
	tarpit_ended(s.tarpit, old.data.u64);
	assert_int_equal(counts(&s).held, 1);
	tarpit_ended(s.tarpit, TARPIT_ID | 77); /* no slot at all */
	stage_close(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_ten_thousand),
	        cmocka_unit_test(test_slow_and_uneven),
	        cmocka_unit_test(test_who_floods_and_does_not_read),
	        cmocka_unit_test(test_who_goes_makes_room),
	        cmocka_unit_test(test_an_old_end_is_nobodys),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
