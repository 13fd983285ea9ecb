/*
 * One end of a link. SOCK_SEQPACKET keeps message borders, tells when the peer is gone, and carries descriptors; the
 * socket buffer bounds what a peer can make the kernel hold. The one hard part is descriptors that come with a message
 * which is then refused: the kernel has already put them into our table, so every way out closes them.
 */
#include "wire/link.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(WIRE_FDS_MAX * sizeof(int))];
};

static void control_fill(struct msghdr *head, union control *control, const int *fds, size_t n_fds)
{
	memset(control, 0, sizeof(*control));
	head->msg_control = control->bytes;
	head->msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
	struct cmsghdr *part = CMSG_FIRSTHDR(head);
	part->cmsg_level = SOL_SOCKET;
	part->cmsg_type = SCM_RIGHTS;
	part->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
	memcpy(CMSG_DATA(part), fds, n_fds * sizeof(int));
}

static int send_failed(int error, struct err *err)
{
	if (error == EAGAIN)
		return err_set(err, -EAGAIN, "the peer does not read its messages");
	if (error == EPIPE || error == ECONNRESET || error == ENOTCONN)
		return err_set(err, -EPIPE, "the peer is gone");
	return err_set(err, -error, "cannot send to the peer: %s", strerror(error));
}

int wire_send(int fd, struct wire_message *message, const int *fds, size_t n_fds, struct err *err)
{
	assert(n_fds <= WIRE_FDS_MAX);
	struct iovec part = {.iov_base = message, .iov_len = wire_encode(message)};
	struct msghdr head = {.msg_iov = &part, .msg_iovlen = 1};
	union control control;
	if (n_fds > 0)
		control_fill(&head, &control, fds, n_fds);
	ssize_t sent;
	do
		sent = sendmsg(fd, &head, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? send_failed(errno, err) : 0;
}

static void fds_close(const int *fds, size_t n_fds)
{
	for (size_t i = 0; i < n_fds; i++)
		close(fds[i]);
}

/* Moves the descriptors out of the control part; those beyond WIRE_FDS_MAX are closed (the buffer has no room for them). */
static size_t control_take(struct msghdr *head, int ret_fds[static WIRE_FDS_MAX])
{
	size_t n_fds = 0;
	for (struct cmsghdr *part = CMSG_FIRSTHDR(head); part; part = CMSG_NXTHDR(head, part)) {
		if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
			continue;
		size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof(fd));
			if (n_fds < WIRE_FDS_MAX)
				ret_fds[n_fds++] = fd;
			else
				close(fd);
		}
	}
	return n_fds;
}

static int receive_failed(int error, struct err *err)
{
	if (error == EAGAIN)
		return 0;
	if (error == ECONNRESET || error == EPIPE || error == ENOTCONN)
		return err_set(err, -EPIPE, "the peer is gone");
	return err_set(err, -error, "cannot receive from the peer: %s", strerror(error));
}

static int packet_check(const struct msghdr *head, const void *packet, ssize_t got, struct wire_message *ret_message,
                        struct err *err)
{
	if (head->msg_flags & MSG_CTRUNC)
		return err_set(err, -EBADMSG, "the peer sent more descriptors than the %d allowed, or we have no room for them",
		               WIRE_FDS_MAX);
	if (got == 0) /* end of the link; an empty packet looks the same and means no better */
		return err_set(err, -EPIPE, "the peer closed the link");
	if (head->msg_flags & MSG_TRUNC)
		return err_set(err, -EBADMSG, "the peer sent a message longer than any kind has");
	return wire_decode(packet, (size_t)got, ret_message, err);
}

int wire_receive(int fd, struct wire_message *ret_message, int ret_fds[static WIRE_FDS_MAX], size_t *ret_n_fds, struct err *err)
{
	struct wire_message packet;
	union control control;
	struct iovec part = {.iov_base = &packet, .iov_len = sizeof(packet)};
	struct msghdr head = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control)};
	ssize_t got;
	do
		got = recvmsg(fd, &head, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return receive_failed(errno, err);
	int fds[WIRE_FDS_MAX];
	size_t n_fds = control_take(&head, fds);
	int r = packet_check(&head, &packet, got, ret_message, err);
	if (r < 0) {
		fds_close(fds, n_fds);
		return r;
	}
	memcpy(ret_fds, fds, n_fds * sizeof(int));
	*ret_n_fds = n_fds;
	return 1;
}

int wire_pair(int ret_pair[static 2], struct err *err)
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ret_pair) < 0)
		return err_set(err, -errno, "cannot make a link: %s", strerror(errno));
	return 0;
}

int wire_engine_relink(int *engine)
{
	struct wire_message message;
	int fds[WIRE_FDS_MAX];
	size_t n_fds = 0;
	int r = wire_receive(WIRE_SUPERVISOR_FD, &message, fds, &n_fds, NULL);
	if (r < 0)
		return r;
	bool link = r == 1 && message.kind == WIRE_LINK && message.link.role == WIRE_ENGINE && n_fds == 1;
	for (size_t i = link ? 1 : 0; r == 1 && i < n_fds; i++)
		close(fds[i]);
	if (!link)
		return 0;
	if (*engine >= 0)
		close(*engine);
	*engine = fds[0];
	fcntl(*engine, F_SETFL, O_NONBLOCK);
	return 1;
}
