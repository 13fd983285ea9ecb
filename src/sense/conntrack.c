/*
 * See conntrack.h. Every table of attributes is a function over its types. A nested one is taken as far as its inside makes
 * sense; an attribute of a size that the kernel would not give it is passed over.
 */
#include "sense/conntrack.h"

#include <errno.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <string.h>

#define TYPE(what) (NFNL_SUBSYS_CTNETLINK << 8 | (what))

/* Calls `take_one` for each attribute; false when they make no sense. */
static bool for_each(struct netlink_bytes from, void (*take_one)(void *to, uint16_t type, const struct netlink_bytes *value),
                     void *to)
{
	struct netlink_attribute attribute;
	int r;
	while ((r = netlink_next_attribute(&from, &attribute)) > 0)
		take_one(to, attribute.type, &attribute.value);
	return r == 0;
}

static void take_address(struct nflog_address *address, const struct netlink_bytes *value, bool ipv6)
{
	if (value->left != (ipv6 ? 16 : 4))
		return;
	address->ipv6 = ipv6;
	memcpy(address->bytes, value->at, value->left);
}

static void take_ip(void *to, uint16_t type, const struct netlink_bytes *value)
{
	struct conntrack_tuple *tuple = to;
	if (type == CTA_IP_V4_SRC || type == CTA_IP_V6_SRC)
		take_address(&tuple->source, value, type == CTA_IP_V6_SRC);
	else if (type == CTA_IP_V4_DST || type == CTA_IP_V6_DST)
		take_address(&tuple->destination, value, type == CTA_IP_V6_DST);
}

static void take_protocol(void *to, uint16_t type, const struct netlink_bytes *value)
{
	struct conntrack_tuple *tuple = to;
	if (type == CTA_PROTO_NUM && value->left == 1)
		tuple->protocol = value->at[0];
	else if (type == CTA_PROTO_SRC_PORT && value->left == 2)
		tuple->source_port = netlink_big16(value->at);
	else if (type == CTA_PROTO_DST_PORT && value->left == 2)
		tuple->destination_port = netlink_big16(value->at);
}

static void take_tuple(void *to, uint16_t type, const struct netlink_bytes *value)
{
	if (type == CTA_TUPLE_IP)
		(void)for_each(*value, take_ip, to);
	else if (type == CTA_TUPLE_PROTO)
		(void)for_each(*value, take_protocol, to);
}

static void take_sum(void *to, uint16_t type, const struct netlink_bytes *value)
{
	struct conntrack_sum *sum = to;
	if (value->left != 8)
		return;
	if (type == CTA_COUNTERS_PACKETS)
		sum->packets = netlink_big64(value->at);
	else if (type == CTA_COUNTERS_BYTES)
		sum->bytes = netlink_big64(value->at);
}

static void take_tcp(void *to, uint16_t type, const struct netlink_bytes *value)
{
	struct conntrack_flow *flow = to;
	if (type != CTA_PROTOINFO_TCP_STATE || value->left != 1)
		return;
	flow->tcp = value->at[0];
	flow->reset = flow->tcp == TCP_CONNTRACK_CLOSE;
}

static void take_protocol_state(void *to, uint16_t type, const struct netlink_bytes *value)
{
	if (type == CTA_PROTOINFO_TCP)
		(void)for_each(*value, take_tcp, to);
}

static void take_status(struct conntrack_flow *flow, uint32_t status)
{
	flow->replied = status & IPS_SEEN_REPLY;
	flow->assured = status & IPS_ASSURED;
}

static void take_part(void *to, uint16_t type, const struct netlink_bytes *value)
{
	struct conntrack_flow *flow = to;
	if (type == CTA_TUPLE_ORIG)
		(void)for_each(*value, take_tuple, &flow->asks);
	else if (type == CTA_TUPLE_REPLY)
		(void)for_each(*value, take_tuple, &flow->answers);
	else if (type == CTA_COUNTERS_ORIG)
		(void)for_each(*value, take_sum, &flow->asked);
	else if (type == CTA_COUNTERS_REPLY)
		(void)for_each(*value, take_sum, &flow->answered);
	else if (type == CTA_PROTOINFO)
		(void)for_each(*value, take_protocol_state, flow);
	else if (type == CTA_STATUS && value->left == 4)
		take_status(flow, netlink_big32(value->at));
	else if (type == CTA_MARK && value->left == 4)
		flow->mark = netlink_big32(value->at);
	else if (type == CTA_ID && value->left == 4)
		flow->id = netlink_big32(value->at);
}

int conntrack_next(struct netlink_bytes *datagram, struct conntrack_flow *ret_flow)
{
	struct netlink_message message;
	int r;
	do
		r = netlink_next_message(datagram, &message);
	while (r > 0 && message.type != TYPE(IPCTNL_MSG_CT_NEW) && message.type != TYPE(IPCTNL_MSG_CT_DELETE));
	if (r <= 0)
		return r;
	*ret_flow = (struct conntrack_flow){.ended = message.type == TYPE(IPCTNL_MSG_CT_DELETE),
	                                    .listed = message.flags & NLM_F_MULTI};
	if (message.body.left < sizeof(struct nfgenmsg))
		return -EBADMSG;
	struct netlink_bytes parts = {message.body.at + sizeof(struct nfgenmsg), message.body.left - sizeof(struct nfgenmsg)};
	if (!for_each(parts, take_part, ret_flow))
		return -EBADMSG;
	ret_flow->replied = ret_flow->replied || ret_flow->answered.packets > 0;
	return 1;
}
