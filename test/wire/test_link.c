/* Links over real socket pairs: messages, descriptors, a peer that does not read, that is gone, that sends nonsense. */
#include "wire/link.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

struct ends {
	int here, there;
};

static int setup(void **state)
{
	static struct ends ends;
	int pair[2];
	struct err err;
	assert_int_equal(wire_pair(pair, &err), 0);
	ends = (struct ends){pair[0], pair[1]};
	*state = &ends;
	return 0;
}

static int teardown(void **state)
{
	struct ends *ends = *state;
	close(ends->here);
	close(ends->there);
	return 0;
}

static size_t fds_open(void)
{
	size_t count = 0;
	DIR *dir = opendir("/proc/self/fd");
	assert_non_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

static struct wire_message progress(uint64_t beats)
{
	return (struct wire_message){.kind = WIRE_PROGRESS, .progress.beats = beats};
}

static int receive(struct ends *ends, struct wire_message *ret_message, struct err *err)
{
	int fds[WIRE_FDS_MAX];
	size_t n_fds = 99;
	int r = wire_receive(ends->there, ret_message, fds, &n_fds, err);
	if (r == 1)
		assert_int_equal(n_fds, 0);
	return r;
}

/* Sends raw bytes with `n_fds` copies of standard input's descriptor, as a taken-over peer could. */
static void send_raw(int fd, const void *bytes, size_t size, size_t n_fds)
{
	int fds[32];
	char control[CMSG_SPACE(sizeof(fds))] __attribute__((aligned(8))) = {0};
	struct iovec part = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = size};
	struct msghdr head = {.msg_iov = &part, .msg_iovlen = 1};
	for (size_t i = 0; i < n_fds; i++)
		fds[i] = STDERR_FILENO;
	if (n_fds > 0) {
		head.msg_control = control;
		head.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		struct cmsghdr *c = CMSG_FIRSTHDR(&head);
		*c = (struct cmsghdr){
		        .cmsg_len = CMSG_LEN(n_fds * sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
		memcpy(CMSG_DATA(c), fds, n_fds * sizeof(int));
	}
	assert_int_equal(sendmsg(fd, &head, 0), (ssize_t)size);
}

static void test_messages_come_in_order(void **state)
{
	struct ends *ends = *state;
	struct err err;
	struct wire_message got;
	assert_int_equal(receive(ends, &got, &err), 0);
	for (uint64_t i = 1; i <= 3; i++) {
		struct wire_message m = progress(i);
		assert_int_equal(wire_send(ends->here, &m, NULL, 0, &err), 0);
	}
	for (uint64_t i = 1; i <= 3; i++) {
		assert_int_equal(receive(ends, &got, &err), 1);
		assert_int_equal(got.kind, WIRE_PROGRESS);
		assert_int_equal(got.progress.beats, i);
	}
	assert_int_equal(receive(ends, &got, &err), 0);
}

static void test_the_pair_is_private_and_does_not_block(void **state)
{
	const struct ends *ends = *state;
	assert_true(fcntl(ends->here, F_GETFD) & FD_CLOEXEC);
	assert_true(fcntl(ends->there, F_GETFL) & O_NONBLOCK);
}

static void test_descriptors_arrive(void **state)
{
	struct ends *ends = *state;
	struct err err;
	int pipes[2], got_fds[WIRE_FDS_MAX];
	size_t n_fds, before;
	char byte = 0;
	assert_int_equal(pipe(pipes), 0);
	for (size_t count = 1; count <= WIRE_FDS_MAX; count++) {
		int fds[WIRE_FDS_MAX] = {pipes[1], pipes[1], pipes[1], pipes[1]};
		struct wire_message got, m = progress(1);
		before = fds_open();
		assert_int_equal(wire_send(ends->here, &m, fds, count, &err), 0);
		assert_int_equal(wire_receive(ends->there, &got, got_fds, &n_fds, &err), 1);
		assert_int_equal(n_fds, count);
		assert_int_equal(fds_open(), before + count);
		for (size_t i = 0; i < count; i++) {
			assert_true(fcntl(got_fds[i], F_GETFD) & FD_CLOEXEC);
			assert_int_equal(write(got_fds[i], "x", 1), 1);
			assert_int_equal(read(pipes[0], &byte, 1), 1);
			close(got_fds[i]);
		}
	}
	close(pipes[0]);
	close(pipes[1]);
}

static void test_refused_messages_leave_no_descriptor(void **state)
{
	struct ends *ends = *state;
	struct wire_message m = progress(1), got;
	char big[sizeof(struct wire_message) + 1] = {0};
	size_t size = wire_encode(&m);
	const struct {
		const void *bytes;
		size_t size, n_fds;
		int want;
		const char *says;
	} rows[] = {
	        {&m, size, 5, -EBADMSG, "descriptors"},
	        {&m, size, 6, -EBADMSG, "descriptors"},
	        {&m, size, 32, -EBADMSG, "descriptors"},
	        {&m, size - 1, 4, -EBADMSG, "bytes"},
	        {"x", 1, 1, -EBADMSG, "bytes"},
	        {big, sizeof(big), 2, -EBADMSG, "longer than any"},
	        {big, sizeof(big), 0, -EBADMSG, "longer than any"},
	        {"", 0, 3, -EPIPE, "closed"},
	};
	for (size_t i = 0; i < countof(rows); i++) {
		struct err err = {0};
		size_t before = fds_open();
		send_raw(ends->here, rows[i].bytes, rows[i].size, rows[i].n_fds);
		assert_int_equal(receive(ends, &got, &err), rows[i].want);
		assert_non_null(strstr(err.text, rows[i].says));
		assert_int_equal(fds_open(), before);
	}
}

static void test_a_peer_that_does_not_read(void **state)
{
	struct ends *ends = *state;
	struct err err;
	struct wire_message got, m = progress(0);
	uint64_t sent = 0;
	int r = 0;
	while (sent < 100000 && (r = wire_send(ends->here, &m, NULL, 0, &err)) == 0)
		m = progress(++sent);
	assert_int_equal(r, -EAGAIN);
	assert_true(sent >= WIRE_PENDING_MAX);
	for (uint64_t i = 0; i < sent; i++) {
		assert_int_equal(receive(ends, &got, &err), 1);
		assert_int_equal(got.progress.beats, i);
	}
	assert_int_equal(wire_send(ends->here, &m, NULL, 0, &err), 0);
}

/* The buffer holds all orders that may be unanswered, and as many answers, those of two observations of everybody among them. */
static void test_the_buffer_holds_what_may_be_pending(void **state)
{
	struct ends *ends = *state;
	struct err err;
	for (unsigned i = 0; i < WIRE_PENDING_MAX; i++) {
		struct wire_message m = {.kind = WIRE_ANSWER};
		m.answer.id = i + 1;
		m.answer.n_observed = i < 2 ? WIRE_INSTANCES_MAX : 0;
		assert_int_equal(wire_send(ends->here, &m, NULL, 0, &err), 0);
	}
}

static void test_a_peer_that_is_gone(void **state)
{
	struct ends *ends = *state;
	struct err err = {0};
	struct wire_message got, m = progress(1);
	assert_int_equal(wire_send(ends->here, &m, NULL, 0, &err), 0);
	close(ends->here);
	assert_int_equal(receive(ends, &got, &err), 1);
	assert_int_equal(receive(ends, &got, &err), -EPIPE);
	assert_int_equal(wire_send(ends->there, &m, NULL, 0, &err), -EPIPE);
	ends->here = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* A peer that dies with our message unread makes the kernel say ECONNRESET. */
static void test_a_peer_that_died_without_reading(void **state)
{
	struct ends *ends = *state;
	struct err err = {0};
	struct wire_message got, m = progress(1);
	assert_int_equal(wire_send(ends->there, &m, NULL, 0, &err), 0);
	close(ends->here);
	assert_int_equal(receive(ends, &got, &err), -EPIPE);
	ends->here = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void test_not_a_socket(unused_arg void **state)
{
	int fds[WIRE_FDS_MAX];
	size_t n_fds;
	struct err err = {0};
	struct wire_message m = progress(1);
	auto_close int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	assert_int_equal(wire_send(null, &m, NULL, 0, &err), -ENOTSOCK);
	assert_int_equal(wire_receive(null, &m, fds, &n_fds, &err), -ENOTSOCK);
}

int main(void)
{
#define LINK_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	        LINK_TEST(test_messages_come_in_order),    LINK_TEST(test_the_pair_is_private_and_does_not_block),
	        LINK_TEST(test_descriptors_arrive),        LINK_TEST(test_refused_messages_leave_no_descriptor),
	        LINK_TEST(test_a_peer_that_does_not_read), LINK_TEST(test_the_buffer_holds_what_may_be_pending),
	        LINK_TEST(test_a_peer_that_is_gone),       LINK_TEST(test_a_peer_that_died_without_reading),
	        cmocka_unit_test(test_not_a_socket),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
