#include "sense/carrier.h"

#include "lib/bytes.h"
#include "sense/netlink.h"
#include "sense/syns.h"

#include <assert.h>
#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUFFER 32768        /* what the kernel says of one link is a few hundred bytes */
#define READS 64            /* a turn: other sources get theirs */
#define LOWER_UP (1u << 16) /* IFF_LOWER_UP of linux/if.h, which does not go together with net/if.h */

struct plugged {
	uint32_t number; /* 0: free */
	char tap[IFNAMSIZ];
	bool has;        /* a carrier */
	int64_t lost_us; /* 0: not, or told already */
	bool doubted;    /* that it is lost was told, not yet that it lasts */
};

struct sense_carrier {
	uv_poll_t poll;
	uv_timer_t timer;
	unsigned n_closing;
	bool gone;
	int fd;
	sense_report *report;
	void *arg;
	struct plugged plugged[SYNS_GUESTS_MAX];
	uint8_t buffer[BUFFER];
};

static struct plugged *numbered(struct sense_carrier *c, uint32_t number)
{
	for (size_t i = 0; i < countof(c->plugged); i++)
		if (c->plugged[i].number == number)
			return &c->plugged[i];
	return NULL;
}

static void look(struct sense_carrier *c, const char *tap, bool lives)
{
	for (size_t i = 0; i < countof(c->plugged); i++) {
		struct plugged *one = &c->plugged[i];
		if (one->number == 0 || strcmp(one->tap, tap) != 0)
			continue;
		if (one->has && !lives)
			one->lost_us = clock_monotonic_us(), one->doubted = false;
		if (lives)
			one->lost_us = 0;
		one->has = lives;
	}
}

/* RTM_NEWLINK, RTM_DELLINK; whoever sends anything else is passed over. */
static void on_link(struct sense_carrier *c, const struct netlink_message *message)
{
	char tap[IFNAMSIZ] = "";
	struct ifinfomsg head;
	struct netlink_attribute attribute;
	if ((message->type != RTM_NEWLINK && message->type != RTM_DELLINK) || message->body.left < sizeof(head))
		return;
	memcpy(&head, message->body.at, sizeof(head));
	struct netlink_bytes rest = {message->body.at + sizeof(head), message->body.left - sizeof(head)};
	while (netlink_next_attribute(&rest, &attribute) == 1)
		if (attribute.type == IFLA_IFNAME && attribute.value.left <= sizeof(tap))
			memcpy(tap, attribute.value.at, attribute.value.left);
	tap[sizeof(tap) - 1] = '\0';
	look(c, tap, message->type == RTM_NEWLINK && (head.ifi_flags & IFF_UP) && (head.ifi_flags & LOWER_UP));
}

static void receive(struct sense_carrier *c)
{
	struct netlink_message message;
	for (int i = 0; i < READS; i++) {
		struct sockaddr_nl from = {0};
		socklen_t size = sizeof(from);
		ssize_t got = recvfrom(c->fd, c->buffer, sizeof(c->buffer), MSG_TRUNC, (struct sockaddr *)&from, &size);
		if (got < 0 && (errno == EINTR || errno == ENOBUFS)) /* what was dropped is not made up: probes will find it */
			continue;
		if (got < 0)
			return;
		if ((size_t)got > sizeof(c->buffer) || (size == sizeof(from) && from.nl_pid != 0))
			continue;
		struct netlink_bytes bytes = {c->buffer, (size_t)got};
		while (netlink_next_message(&bytes, &message) == 1)
			on_link(c, &message);
	}
}

static void say(struct sense_carrier *c, const struct plugged *one, enum finding finding, int64_t now_us)
{
	char detail[64];
	struct evidence evidence = {.time_us = now_us,
	                            .instance = one->number,
	                            .vantage = VANTAGE_WIRE,
	                            .finding = finding,
	                            .began_us = one->lost_us};
	snprintf(detail, sizeof(detail), "its link %s has no carrier", one->tap);
	c->report(c->arg, &evidence, detail);
}

/* Once at the beginning, and once when it has lasted. */
static void tell(struct sense_carrier *c)
{
	int64_t now_us = clock_monotonic_us();
	for (size_t i = 0; i < countof(c->plugged) && !c->gone; i++) {
		struct plugged *one = &c->plugged[i], was = *one;
		if (was.lost_us == 0)
			continue;
		bool lasts = now_us >= was.lost_us + CARRIER_LOST_MS * 1000;
		one->doubted = true;
		one->lost_us = lasts ? 0 : was.lost_us;
		if (lasts)
			say(c, &was, FINDING_UNPLUGGED, now_us);
		else if (!was.doubted)
			say(c, &was, FINDING_UNLINKED, now_us);
	}
}

static void on_timer(uv_timer_t *timer);

static void schedule(struct sense_carrier *c)
{
	int64_t due_us = INT64_MAX;
	for (size_t i = 0; i < countof(c->plugged); i++)
		if (c->plugged[i].lost_us && c->plugged[i].lost_us + CARRIER_LOST_MS * 1000 < due_us)
			due_us = c->plugged[i].lost_us + CARRIER_LOST_MS * 1000;
	int64_t wait_us = due_us - clock_monotonic_us();
	if (due_us != INT64_MAX)
		uv_timer_start(&c->timer, on_timer, wait_us > 0 ? (uint64_t)(wait_us + 999) / 1000 : 0, 0);
}

static void on_timer(uv_timer_t *timer)
{
	struct sense_carrier *c = timer->data;
	receive(c); /* the loop runs timers first: that it is back may be waiting in the socket */
	tell(c);
	if (!c->gone)
		schedule(c);
}

static void on_readable(uv_poll_t *poll, int status unused_arg, int events unused_arg)
{
	struct sense_carrier *c = poll->data;
	receive(c);
	tell(c);
	if (!c->gone)
		schedule(c);
}

/* --- life */

int sense_carrier_open(void)
{
	struct sockaddr_nl group = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&group, sizeof(group)) == 0)
		return fd;
	int error = -errno;
	close(fd);
	return error;
}

struct sense_carrier *sense_carrier_new(uv_loop_t *loop, int fd, sense_report *report, void *arg)
{
	struct sense_carrier *c = calloc(1, sizeof(*c));
	if (!c)
		abort();
	c->fd = fd;
	c->report = report;
	c->arg = arg;
	c->timer.data = c->poll.data = c;
	int r = uv_timer_init(loop, &c->timer);
	assert(r == 0);
	if (fd < 0)
		return c;
	r = uv_poll_init(loop, &c->poll, fd);
	assert(r == 0);
	r = uv_poll_start(&c->poll, UV_READABLE, on_readable);
	assert(r == 0);
	return c;
}

/* Whether it has a carrier now: one that came before us is told of by nobody. The answer comes like everything else. */
static void ask(const struct sense_carrier *c, const char *tap)
{
	struct {
		struct nlmsghdr head;
		struct ifinfomsg link;
		struct rtattr name;
		char tap[IFNAMSIZ];
	} request = {
	        .head = {.nlmsg_len = sizeof(request), .nlmsg_type = RTM_GETLINK, .nlmsg_flags = NLM_F_REQUEST},
	        .name = {.rta_len = sizeof(request.name) + sizeof(request.tap), .rta_type = IFLA_IFNAME},
	};
	text_copy(request.tap, sizeof(request.tap), tap);
	(void)!send(c->fd, &request, sizeof(request), 0); /* then it is watched from its next change on */
}

void sense_carrier_add(struct sense_carrier *c, uint32_t number, const char *tap)
{
	struct plugged *one = numbered(c, number);
	if (!one)
		one = numbered(c, 0);
	if (!one || c->fd < 0)
		return;
	*one = (struct plugged){.number = number};
	text_copy(one->tap, sizeof(one->tap), tap);
	ask(c, tap);
}

void sense_carrier_remove(struct sense_carrier *c, uint32_t number)
{
	struct plugged *one = number ? numbered(c, number) : NULL;
	if (one)
		*one = (struct plugged){0};
}

static void on_closed(uv_handle_t *handle)
{
	struct sense_carrier *c = handle->data;
	if (--c->n_closing > 0)
		return;
	if (c->fd >= 0)
		close(c->fd);
	free(c);
}

void sense_carrier_free(struct sense_carrier *c)
{
	if (!c)
		return;
	assert(!c->gone);
	c->gone = true;
	c->n_closing = c->fd >= 0 ? 2 : 1;
	uv_close((uv_handle_t *)&c->timer, on_closed);
	if (c->fd >= 0)
		uv_close((uv_handle_t *)&c->poll, on_closed);
}
