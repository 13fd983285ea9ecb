/*
 * Flows in conntrack. A map change moves new connections only; those that go on to a fenced guest would hang in
 * retransmission until their own patience ends. Deleting their entries makes the next segment look like a new flow,
 * which the map brings to the new instance, whose refusal tells the client at once.
 *
 * The rules give each flow its guest's mark, and the kernel deletes by mark in one request. The obvious way, to dump and
 * delete one by one, costs 9 ms of processor on a table of 262,144 buckets even when it is empty (a dump locks each;
 * a flush skips empty ones), 40 ms on a busy host, in the middle of a switch. What is cut is not lost for the evidence, nor for
 * the clients who wait (rescue.c): the kernel tells of the end of each flow whoever listens, and we listen while we cut. Where
 * flows are so many that this would take longer than a list, they are listed before; by then the map has moved.
 */
#include "act/net/net.h"
#include "sense/conntrack.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libnetfilter_conntrack/libnetfilter_conntrack.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define LISTEN_BUFFER (2 << 20) /* LISTEN_MAX messages, as the kernel counts them */
#define LIST_MAX 65536          /* flows of the host: beyond, nobody is told and there is no evidence of them */
#define LISTEN_MAX                                                                                                               \
	1024 /* flows of the host; being told of the end of one takes the kernel some 10 us, in the middle of a switch */

uint32_t conntrack_mark(const struct conf_instance *instance)
{
	return CONF_MARK | (instance->number & CONF_MARK_NUMBER);
}

struct dump {
	const struct conf_instance *guest;
	FILE *out;
	size_t left, count;
	bool more;
};

static bool is_guest(const struct nlattr *address, const struct conf_instance *guest)
{
	uint16_t type = mnl_attr_get_type(address), size = mnl_attr_get_payload_len(address);
	const void *bytes = mnl_attr_get_payload(address);
	return (type == CTA_IP_V4_SRC && size == 4 && memcmp(bytes, &guest->address4, 4) == 0) ||
	       (type == CTA_IP_V6_SRC && size == 16 && memcmp(bytes, &guest->address6, 16) == 0);
}

/* Of the reply direction it answers, of the original one it asked. */
static bool comes_from(const struct nlattr *tuple, const struct conf_instance *guest)
{
	const struct nlattr *part, *address;
	mnl_attr_for_each_nested(part, tuple)
	{
		if (mnl_attr_get_type(part) != CTA_TUPLE_IP)
			continue;
		mnl_attr_for_each_nested(address, part)
		{
			if (is_guest(address, guest))
				return true;
		}
	}
	return false;
}

static void flow_write(struct dump *dump, const struct nlmsghdr *message)
{
	char line[1024];
	struct nf_conntrack *flow = nfct_new();
	if (!flow || nfct_nlmsg_parse(message, flow) < 0 ||
	    nfct_snprintf(line, sizeof(line) - 1, flow, NFCT_T_UNKNOWN, NFCT_O_DEFAULT, NFCT_OF_SHOW_LAYER3 | NFCT_OF_ID) < 0)
		line[0] = '\0';
	nfct_destroy(flow);
	line[sizeof(line) - 1] = '\0';
	size_t size = strlen(line);
	if (size == 0)
		return;
	if (size + 1 > dump->left) {
		dump->more = true;
		dump->left = 0;
		return;
	}
	dump->left -= size + 1;
	dump->count++;
	fprintf(dump->out, "%s\n", line);
}

static int flow_seen(const struct nlmsghdr *message, void *arg)
{
	struct dump *dump = arg;
	const struct nlattr *part;
	mnl_attr_for_each(part, message, sizeof(struct nfgenmsg))
	{
		bool way = mnl_attr_get_type(part) == CTA_TUPLE_REPLY || mnl_attr_get_type(part) == CTA_TUPLE_ORIG;
		if (way && comes_from(part, dump->guest))
			flow_write(dump, message);
	}
	return MNL_CB_OK;
}

static struct nlmsghdr *request_put(char *buffer, uint16_t type, uint16_t flags)
{
	static uint32_t sequence = UINT32_C(1) << 30;
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	request->nlmsg_type = (uint16_t)(NFNL_SUBSYS_CTNETLINK << 8 | type);
	request->nlmsg_flags = NLM_F_REQUEST | flags;
	request->nlmsg_seq = ++sequence;
	struct nfgenmsg *head = mnl_nlmsg_put_extra_header(request, sizeof(*head));
	head->nfgen_family = AF_UNSPEC;
	head->version = NFNETLINK_V0;
	return request;
}

static int talk(struct net *net, const struct nlmsghdr *request, mnl_cb_t callback, void *arg, struct err *err)
{
	char buffer[16384];
	uint32_t sequence = request->nlmsg_seq;
	if (mnl_socket_sendto(net->filter, request, request->nlmsg_len) < 0)
		return err_set(err, -errno, "cannot ask conntrack: %s", strerror(errno));
	for (;;) {
		ssize_t got = mnl_socket_recvfrom(net->filter, buffer, sizeof(buffer));
		if (got < 0)
			return err_set(err, -errno, "cannot read conntrack: %s", strerror(errno));
		int r = mnl_cb_run(buffer, (size_t)got, sequence, mnl_socket_get_portid(net->filter), callback, arg);
		if (r < 0 && (errno == ESRCH || errno == EPROTO))
			continue; /* an answer to an older request that we left */
		if (r < 0)
			return err_set(err, -errno, "conntrack refused: %s", strerror(errno));
		if (r == 0)
			return 0;
	}
}

static long flows_of_host(void)
{
	return host_sysctl_read("/proc/sys/net/netfilter/nf_conntrack_count");
}

static int cut(struct net *net, uint32_t mark, struct err *err)
{
	char buffer[256];
	struct nlmsghdr *request = request_put(buffer, IPCTNL_MSG_CT_DELETE, NLM_F_ACK);
	mnl_attr_put_u32(request, CTA_MARK, htonl(mark));
	mnl_attr_put_u32(request, CTA_MARK_MASK, UINT32_MAX);
	bool few = flows_of_host() <= LISTEN_MAX;
	if (!few)
		flow_events_hear_ends(net, false);
	int r = talk(net, request, NULL, NULL, err);
	if (!few)
		flow_events_hear_ends(net, true);
	return r;
}

int conntrack_cut(struct net *net, const struct conf_instance *instance, struct err *err)
{
	return cut(net, conntrack_mark(instance), err);
}

static void flow_put(struct nlmsghdr *request, const struct wire_contain *flow)
{
	size_t size = flow->v6 ? 16 : 4;
	struct nfgenmsg *head = mnl_nlmsg_get_payload(request);
	head->nfgen_family = flow->v6 ? AF_INET6 : AF_INET;
	struct nlattr *tuple = mnl_attr_nest_start(request, CTA_TUPLE_ORIG);
	struct nlattr *part = mnl_attr_nest_start(request, CTA_TUPLE_IP);
	mnl_attr_put(request, flow->v6 ? CTA_IP_V6_SRC : CTA_IP_V4_SRC, size, flow->address);
	mnl_attr_put(request, flow->v6 ? CTA_IP_V6_DST : CTA_IP_V4_DST, size, flow->to);
	mnl_attr_nest_end(request, part);
	part = mnl_attr_nest_start(request, CTA_TUPLE_PROTO);
	mnl_attr_put_u8(request, CTA_PROTO_NUM, (uint8_t)flow->protocol);
	mnl_attr_put_u16(request, CTA_PROTO_SRC_PORT, htons((uint16_t)flow->port));
	mnl_attr_put_u16(request, CTA_PROTO_DST_PORT, htons((uint16_t)flow->to_port));
	mnl_attr_nest_end(request, part);
	mnl_attr_nest_end(request, tuple);
}

/* The kernel finds it by its ends, without a dump. */
int conntrack_cut_flow(struct net *net, const struct wire_contain *flow, struct err *err)
{
	char buffer[256];
	struct nlmsghdr *request = request_put(buffer, IPCTNL_MSG_CT_DELETE, NLM_F_ACK);
	flow_put(request, flow);
	int r = talk(net, request, NULL, NULL, err);
	return r == -ENOENT ? 0 : r;
}

static int flow_found(const struct nlmsghdr *message, void *arg)
{
	struct netlink_bytes bytes = {(const uint8_t *)message, message->nlmsg_len};
	struct conntrack_flow flow;
	if (conntrack_next(&bytes, &flow) == 1)
		*(struct conntrack_flow *)arg = flow;
	return MNL_CB_OK;
}

bool conntrack_find(struct net *net, const struct wire_contain *ends, struct conntrack_flow *ret_flow)
{
	char buffer[256];
	struct nlmsghdr *request = request_put(buffer, IPCTNL_MSG_CT_GET, NLM_F_ACK);
	*ret_flow = (struct conntrack_flow){0};
	flow_put(request, ends);
	return talk(net, request, flow_found, ret_flow, NULL) == 0 && ret_flow->asks.protocol != 0;
}

bool conntrack_is_crowded(void)
{
	return flows_of_host() > LIST_MAX;
}

/* A socket of its own: what it is told of must not stand between a question and its answer. */
int conntrack_open(struct net *net, struct err *err)
{
	net->ended = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (!net->ended || mnl_socket_bind(net->ended, 0, MNL_SOCKET_AUTOPID) < 0)
		return err_set(err, -errno, "cannot open a netlink socket (conntrack events): %s", strerror(errno));
	int size = LISTEN_BUFFER, fd = mnl_socket_get_fd(net->ended);
	/* beyond the system's limit only the real root may go; elsewhere the limit must do: what is lost is told */
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	return 0;
}

static bool listen_set(struct net *net, int option)
{
	int group = NFNLGRP_CONNTRACK_DESTROY;
	return mnl_socket_setsockopt(net->ended, option, &group, sizeof(group)) == 0;
}

static void flows_close_gap(struct net *net, size_t at)
{
	for (; at + 1 < NET_FLOWS_KEPT; at++)
		net->flows[at] = net->flows[at + 1];
	net->flows[NET_FLOWS_KEPT - 1] = NULL;
}

static void flows_begin(struct net_flows *flows, uint32_t instance)
{
	flows->instance = instance;
	flows->size = 0;
	flows->more = false;
}

static struct net_flows *flows_new(uint32_t instance)
{
	struct net_flows *flows = malloc(sizeof(*flows));
	if (!flows)
		abort();
	flows_begin(flows, instance);
	return flows;
}

/* A place for one more victim: a free one, or the oldest. To what there is of it already more is added. */
static struct net_flows *flows_place(struct net *net, uint32_t instance)
{
	size_t at = 0;
	while (at < NET_FLOWS_KEPT - 1 && net->flows[at] && net->flows[at]->instance != instance)
		at++;
	if (!net->flows[at])
		net->flows[at] = flows_new(instance);
	if (net->flows[at]->instance == instance)
		return net->flows[at];
	struct net_flows *oldest = net->flows[0]; /* all are taken */
	flows_close_gap(net, 0);
	flows_begin(oldest, instance);
	return net->flows[NET_FLOWS_KEPT - 1] = oldest;
}

/* Told are the ends of all flows, of others too; which are the victim's is looked at when they are written. */
static void flows_take(struct net *net, struct net_flows *flows)
{
	for (;;) {
		size_t room = sizeof(flows->bytes) - flows->size;
		ssize_t got = recv(mnl_socket_get_fd(net->ended), flows->bytes + flows->size, room, MSG_TRUNC);
		if (got < 0 && (errno == EINTR || errno == ENOBUFS)) {
			flows->more = flows->more || errno == ENOBUFS;
			continue;
		}
		if (got <= 0)
			return;
		if ((size_t)got > room)
			flows->more = true;
		else
			flows->size += MNL_ALIGN((size_t)got);
		if (flows->size > sizeof(flows->bytes))
			flows->size = sizeof(flows->bytes);
	}
}

struct listing {
	const struct conntrack_seen *seen;
	struct net_flows *flows; /* kept here too; NULL: nowhere */
};

static void flow_keep(struct net_flows *flows, const struct nlmsghdr *message)
{
	size_t size = MNL_ALIGN(message->nlmsg_len);
	if (size > sizeof(flows->bytes) - flows->size) {
		flows->more = true;
		return;
	}
	memcpy(flows->bytes + flows->size, message, message->nlmsg_len);
	flows->size += size;
}

static int flow_listed(const struct nlmsghdr *message, void *arg)
{
	const struct listing *listing = arg;
	if (listing->flows)
		flow_keep(listing->flows, message);
	listing->seen->see(listing->seen->arg, message);
	return MNL_CB_OK;
}

static int list(struct net *net, uint32_t mark, struct listing *listing, struct err *err)
{
	char buffer[256];
	struct nlmsghdr *request = request_put(buffer, IPCTNL_MSG_CT_GET, NLM_F_DUMP);
	mnl_attr_put_u32(request, CTA_MARK, htonl(mark));
	mnl_attr_put_u32(request, CTA_MARK_MASK, UINT32_MAX);
	return talk(net, request, flow_listed, listing, err);
}

static void show(const struct net_flows *flows, size_t from, const struct conntrack_seen *seen)
{
	int left = (int)(flows->size - from);
	for (const struct nlmsghdr *message = (const struct nlmsghdr *)(flows->bytes + from); mnl_nlmsg_ok(message, left);
	     message = mnl_nlmsg_next(message, &left))
		seen->see(seen->arg, message);
}

static int listed_and_cut(struct net *net, uint32_t mark, struct net_flows *flows, const struct conntrack_seen *seen,
                          struct err *err)
{
	struct listing listing = {seen, flows};
	bool crowded = conntrack_is_crowded();
	if ((crowded || list(net, mark, &listing, NULL) < 0) && flows)
		flows->more = true;
	return cut(net, mark, err);
}

/* What is heard needs a place until the kernel has told all; what is listed is kept only if it shall be. */
static int heard_and_cut(struct net *net, uint32_t mark, struct net_flows *flows, const struct conntrack_seen *seen,
                         struct err *err)
{
	struct net_flows *place = flows ? flows : flows_new(0);
	size_t before = place->size;
	int r = cut(net, mark, err);
	listen_set(net, NETLINK_DROP_MEMBERSHIP);
	flows_take(net, place);
	show(place, before, seen);
	if (!flows)
		free(place);
	return r;
}

int conntrack_seize(struct net *net, const struct conf_instance *instance, bool kept, const struct conntrack_seen *seen,
                    struct err *err)
{
	struct net_flows *flows = kept ? flows_place(net, instance->number) : NULL;
	bool listens = flows_of_host() <= LISTEN_MAX && listen_set(net, NETLINK_ADD_MEMBERSHIP);
	return listens ? heard_and_cut(net, conntrack_mark(instance), flows, seen, err)
	               : listed_and_cut(net, conntrack_mark(instance), flows, seen, err);
}

int conntrack_cut_lost(struct net *net, struct err *err)
{
	return cut(net, CONNTRACK_MARK_LOST, err);
}

/* What was kept of this guest is given out once. */
static void seized_write(struct net *net, struct dump *dump)
{
	size_t at = 0;
	while (at < NET_FLOWS_KEPT && !(net->flows[at] && net->flows[at]->instance == dump->guest->number))
		at++;
	if (at == NET_FLOWS_KEPT)
		return;
	struct net_flows *flows = net->flows[at];
	int left = (int)flows->size;
	for (const struct nlmsghdr *message = (struct nlmsghdr *)flows->bytes; mnl_nlmsg_ok(message, left);
	     message = mnl_nlmsg_next(message, &left))
		if (message->nlmsg_type == (NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE) ||
		    message->nlmsg_type == (NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW)) /* of the list */
			flow_seen(message, dump);
	dump->more = dump->more || flows->more;
	flows_close_gap(net, at);
	free(flows);
}

int conntrack_write(struct net *net, const struct conf_instance *instance, FILE *out, size_t max, size_t *ret_flows,
                    struct err *err)
{
	char buffer[256];
	struct dump dump = {.guest = instance, .out = out, .left = max};
	seized_write(net, &dump);
	int r = talk(net, request_put(buffer, IPCTNL_MSG_CT_GET, NLM_F_DUMP), flow_seen, &dump, err);
	if (r == 0 && dump.more)
		fputs("# cut off here: more flows than the limit allows\n", out);
	if (r == 0)
		*ret_flows = dump.count;
	return r;
}
