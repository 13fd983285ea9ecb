/*
 * Flows in conntrack. A map change moves new connections only; those that go on to a fenced guest would hang in
 * retransmission until their own patience ends. Deleting their entries makes the next segment look like a new flow,
 * which the map brings to the new instance, whose refusal tells the client at once.
 *
 * The rules give each flow its guest's mark, and the kernel deletes by mark in one request. The obvious way, to dump and
 * delete one by one, costs 9 ms of processor on a table of 262,144 buckets even when it is empty (a dump locks each;
 * a flush skips empty ones), 40 ms on a busy host, in the middle of a switch. A dump serves only for evidence.
 */
#include "act/net/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libnetfilter_conntrack/libnetfilter_conntrack.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <string.h>

#define MARK 0x4b000000u /* upper byte of our marks; below it the instance's number */

uint32_t conntrack_mark(const struct conf_instance *instance)
{
	return MARK | (instance->number & 0xffffff);
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

static bool reply_from(const struct nlattr *tuple, const struct conf_instance *guest)
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
		if (mnl_attr_get_type(part) == CTA_TUPLE_REPLY && reply_from(part, dump->guest))
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
		if (r < 0 && errno == ESRCH)
			continue; /* an answer to an older request that we left */
		if (r < 0)
			return err_set(err, -errno, "conntrack refused: %s", strerror(errno));
		if (r == 0)
			return 0;
	}
}

int conntrack_cut(struct net *net, const struct conf_instance *instance, struct err *err)
{
	char buffer[256];
	struct nlmsghdr *request = request_put(buffer, IPCTNL_MSG_CT_DELETE, NLM_F_ACK);
	mnl_attr_put_u32(request, CTA_MARK, htonl(conntrack_mark(instance)));
	mnl_attr_put_u32(request, CTA_MARK_MASK, UINT32_MAX);
	return talk(net, request, NULL, NULL, err);
}

int conntrack_write(struct net *net, const struct conf_instance *instance, FILE *out, size_t max, size_t *ret_flows,
                    struct err *err)
{
	char buffer[256];
	struct dump dump = {.guest = instance, .out = out, .left = max};
	int r = talk(net, request_put(buffer, IPCTNL_MSG_CT_GET, NLM_F_DUMP), flow_seen, &dump, err);
	if (r == 0 && dump.more)
		fputs("# cut off here: more flows than the limit allows\n", out);
	if (r == 0)
		*ret_flows = dump.count;
	return r;
}
