/*
 * The connection of one probe: where it goes, what passes through it, with TLS or without, and what its errors mean.
 */
#include "sense/prober.h"

#include "lib/bytes.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

/* ---- what errors mean */

static const struct {
	int error;
	enum finding finding;
	const char *detail;
} meanings[] = {
        {ECONNREFUSED, FINDING_REFUSED, "connection refused"},
        {EBADMSG, FINDING_ERROR, "not TLS"},
        {ECONNRESET, FINDING_ERROR, "connection reset"},
        {EPIPE, FINDING_ERROR, "connection reset"},
        {ETIMEDOUT, FINDING_TIMEOUT, "connection timed out"},
        {EHOSTUNREACH, FINDING_UNREACHABLE, "no way to the host"},
        {ENETUNREACH, FINDING_UNREACHABLE, "no way to the network"},
        {EHOSTDOWN, FINDING_UNREACHABLE, "no way to the host"},
        {EACCES, FINDING_UNREACHABLE, "forbidden on the way"},
        {EPROTO, FINDING_UNREACHABLE, "forbidden on the way"},
        {ENOPROTOOPT, FINDING_UNREACHABLE, "forbidden on the way"},
        {ENOTSUP, FINDING_UNKNOWN, "GnuTLS could not be set up"},
};

/* Everything else is a shortage or a mistake of our own: EMFILE, ENOBUFS, EADDRNOTAVAIL, EPERM by our own packet filter. */
void slot_explain(const struct prober_slot *slot, int error, char ret_detail[static TLS_TROUBLE_MAX],
                  struct prober_result *ret_result)
{
	ret_result->then = PROBER_CLOSE;
	ret_result->finding = FINDING_UNKNOWN;
	ret_result->detail = strerror(error);
	for (size_t i = 0; i < countof(meanings); i++)
		if (meanings[i].error == error) {
			ret_result->finding = meanings[i].finding;
			ret_result->detail = meanings[i].detail;
		}
	if (slot->tls && error == EBADMSG) {
		tls_trouble(slot->tls, ret_detail);
		ret_result->detail = ret_detail;
	}
}

/* ---- the socket */

void prober_address(const struct sense_prober *p, const struct prober_slot *slot, char ret_text[static SENSE_HOST_MAX])
{
	char text[INET6_ADDRSTRLEN], port[CLIENT_PORT_MAX];
	struct in_addr four = p->target.address.address4;
	struct in6_addr six = p->target.address.address6;
	if (slot->ipv6)
		inet_ntop(AF_INET6, &six, text, sizeof(text));
	else
		inet_ntop(AF_INET, &four, text, sizeof(text));
	client_port(&p->target.probe, port);
	snprintf(ret_text, SENSE_HOST_MAX, slot->ipv6 ? "[%s]%s" : "%s%s", text, port);
}

void slot_close(struct prober_slot *slot)
{
	tls_free(slot->tls);
	slot->tls = NULL;
	if (slot->fd >= 0)
		close(slot->fd);
	slot->fd = -1;
	slot->generation++;
	slot->state = SLOT_FREE;
	slot->overdue = false;
}

static int bind_source(const struct sense_prober *p, const struct prober_slot *slot)
{
	int on = 1;
	struct sockaddr_in four = {.sin_family = AF_INET, .sin_addr = p->target.source4};
	struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = p->target.source6};
	bool wanted = slot->ipv6 ? !IN6_IS_ADDR_UNSPECIFIED(&six.sin6_addr) : four.sin_addr.s_addr != 0;
	if (!wanted)
		return 0;
	/* the port is chosen at connect, when the peer is known: many more connections fit */
	setsockopt(slot->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
	const struct sockaddr *address = slot->ipv6 ? (struct sockaddr *)&six : (struct sockaddr *)&four;
	return bind(slot->fd, address, slot->ipv6 ? sizeof(six) : sizeof(four)) < 0 ? -errno : 0;
}

int slot_dial(struct sense_prober *p, struct prober_slot *slot)
{
	const struct conf_instance *to = &p->target.address;
	in_port_t port = htons(p->target.probe.port);
	struct sockaddr_in four = {.sin_family = AF_INET, .sin_addr = to->address4, .sin_port = port};
	struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = to->address6, .sin6_port = port};
	int type = p->target.probe.protocol == CONF_PROBE_UDP ? SOCK_DGRAM : SOCK_STREAM;
	slot->fd = socket(slot->ipv6 ? AF_INET6 : AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (slot->fd < 0)
		return -errno;
	int r = bind_source(p, slot);
	if (r < 0)
		return r;
	const struct sockaddr *address = slot->ipv6 ? (struct sockaddr *)&six : (struct sockaddr *)&four;
	if (connect(slot->fd, address, slot->ipv6 ? sizeof(six) : sizeof(four)) < 0 && errno != EINPROGRESS)
		return errno == EACCES ? -EPERM : -errno; /* refused here, not on the way */
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
	                            .data.u64 = (uint64_t)slot->generation << 32 | slot->number};
	if (epoll_ctl(p->epoll, EPOLL_CTL_ADD, slot->fd, &event) < 0)
		return -errno;
	slot->state = SLOT_CONNECTING;
	slot->sent = 0;
	slot->heard = false;
	return 0;
}

/* ---- what passes through it */

ssize_t slot_put(struct prober_slot *slot)
{
	const char *left = slot->request + slot->sent;
	size_t size = slot->request_size - slot->sent;
	if (slot->tls)
		return tls_send(slot->tls, left, size);
	ssize_t put = send(slot->fd, left, size, MSG_NOSIGNAL);
	return put < 0 ? -errno : put;
}

ssize_t slot_get(struct prober_slot *slot, uint8_t *ret_bytes, size_t size)
{
	if (slot->tls)
		return tls_recv(slot->tls, ret_bytes, size);
	ssize_t got = recv(slot->fd, ret_bytes, size, 0);
	return got < 0 ? -errno : got;
}
