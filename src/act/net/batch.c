/* See batch.h. All or nothing: the kernel takes the elements between the begin and the end message in one step. */
#include "act/net/batch.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <net/if.h>
#include <string.h>

#define ELEMENT_BYTES 256 /* one message at most */

static struct nlmsghdr *message_put(struct batch *batch, uint16_t type, uint16_t flags, uint8_t family, uint16_t resource)
{
	static uint32_t sequence = UINT32_C(1) << 29;
	assert(batch->fill + ELEMENT_BYTES <= sizeof(batch->bytes));
	struct nlmsghdr *message = mnl_nlmsg_put_header(batch->bytes + batch->fill);
	message->nlmsg_type = type;
	message->nlmsg_flags = NLM_F_REQUEST | flags;
	message->nlmsg_seq = batch->sequence = ++sequence;
	struct nfgenmsg *head = mnl_nlmsg_put_extra_header(message, sizeof(*head));
	head->nfgen_family = family;
	head->version = NFNETLINK_V0;
	head->res_id = htons(resource);
	return message;
}

static void message_end(struct batch *batch, const struct nlmsghdr *message)
{
	batch->fill += MNL_ALIGN(message->nlmsg_len);
}

void batch_begin(struct batch *batch)
{
	batch->fill = 0;
	batch->last = NULL;
	message_end(batch, message_put(batch, NFNL_MSG_BATCH_BEGIN, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES));
}

struct bytes {
	const void *at;
	size_t size;
};

static void value_put(struct nlmsghdr *message, uint16_t type, struct bytes value)
{
	struct nlattr *nest = mnl_attr_nest_start(message, type);
	mnl_attr_put(message, NFTA_DATA_VALUE, value.size, value.at);
	mnl_attr_nest_end(message, nest);
}

static void element_put(struct batch *batch, bool add, uint8_t family, const char *set, struct bytes key, struct bytes data)
{
	uint16_t type = (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | (add ? NFT_MSG_NEWSETELEM : NFT_MSG_DELSETELEM));
	struct nlmsghdr *message = message_put(batch, type, add ? NLM_F_CREATE : 0, family, 0);
	mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_TABLE, "koboshi");
	mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_SET, set);
	struct nlattr *list = mnl_attr_nest_start(message, NFTA_SET_ELEM_LIST_ELEMENTS);
	struct nlattr *one = mnl_attr_nest_start(message, NFTA_LIST_ELEM);
	value_put(message, NFTA_SET_ELEM_KEY, key);
	if (data.size > 0)
		value_put(message, NFTA_SET_ELEM_DATA, data);
	mnl_attr_nest_end(message, one);
	mnl_attr_nest_end(message, list);
	message_end(batch, message);
	batch->last = message;
}

/* A key is address, protocol, port, each padded to four bytes. */
void batch_steer(struct batch *batch, bool add, const struct state_steer *steer)
{
	uint8_t key[24] = {0};
	size_t size = steer->family == AF_INET ? 4 : 16;
	memcpy(key, &steer->service, size);
	key[size] = steer->protocol;
	key[size + 4] = (uint8_t)(steer->port >> 8);
	key[size + 5] = (uint8_t)steer->port;
	element_put(batch, add, NFPROTO_INET, steer->family == AF_INET ? "steer4" : "steer6", (struct bytes){key, size + 8},
	            (struct bytes){&steer->guest, add ? size : 0});
}

/* To add what is there is no error, to delete what is not is one: so a removal adds first, in the same step. */
static void member_put(struct batch *batch, uint8_t family, const char *set, const char *tap, bool in)
{
	char name[IFNAMSIZ] = "";
	strncpy(name, tap, sizeof(name) - 1);
	struct bytes key = {name, sizeof(name)};
	element_put(batch, true, family, set, key, (struct bytes){0});
	if (!in)
		element_put(batch, false, family, set, key, (struct bytes){0});
}

void batch_gate(struct batch *batch, const char *tap, enum wire_gate gate)
{
	member_put(batch, NFPROTO_INET, "open", tap, gate == WIRE_GATE_OPEN);
	member_put(batch, NFPROTO_INET, "fenced", tap, gate == WIRE_GATE_FENCED);
	member_put(batch, NFPROTO_NETDEV, "fenced", tap, gate == WIRE_GATE_FENCED);
}

/* Refusals come in the order of the messages; only the last element is confirmed. */
static int replies_read(struct net *net, uint32_t last, struct err *err)
{
	char buffer[8192];
	int failed = 0;
	for (;;) {
		ssize_t got = mnl_socket_recvfrom(net->filter, buffer, sizeof(buffer));
		if (got < 0)
			return err_set(err, -errno, "no answer to a change of the rules: %s", strerror(errno));
		int left = (int)got;
		for (const struct nlmsghdr *reply = (void *)buffer; mnl_nlmsg_ok(reply, left);
		     reply = mnl_nlmsg_next(reply, &left)) {
			if (reply->nlmsg_type != NLMSG_ERROR || mnl_nlmsg_get_payload_len(reply) < sizeof(struct nlmsgerr))
				continue;
			const struct nlmsgerr *what = mnl_nlmsg_get_payload(reply);
			failed = failed == 0 ? what->error : failed;
			if (reply->nlmsg_seq != last)
				continue;
			return failed < 0 ? err_set(err, failed, "the kernel refused a change of map or gates: %s",
			                            strerror(-failed))
			                  : 0;
		}
	}
}

int batch_commit(struct batch *batch, struct net *net, struct err *err)
{
	if (!batch->last)
		return 0;
	batch->last->nlmsg_flags |= NLM_F_ACK;
	uint32_t last = batch->last->nlmsg_seq;
	message_end(batch, message_put(batch, NFNL_MSG_BATCH_END, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES));
	if (mnl_socket_sendto(net->filter, batch->bytes, batch->fill) < 0)
		return err_set(err, -errno, "cannot send a change of the rules: %s", strerror(errno));
	return replies_read(net, last, err);
}
