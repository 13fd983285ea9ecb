/*
 * What the kernel tells of flows costs something for each flow and nothing for each packet. Only our guests' flows get through: a
 * filter in the kernel looks at their mark, before anybody is woken. A socket for each engine: what one left unread is not the
 * next one's. We ask for the list of what is there, which takes our privilege; whoever reads the socket gets it piece by piece.
 */
#include "act/net/net.h"

#include "lib/bytes.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <string.h>
#include <sys/socket.h>

#define BUFFER (8 << 20) /* a guest's 10,000 flows may end in one instant, when they are cut; memory is taken as it is needed */

/* A message bears its mark behind netlink's two headers, among the attributes; what has none (end of a list) is not needed. */
static int filter_set(int fd, struct err *err)
{
	struct sock_filter code[] = {
	        BPF_STMT(BPF_LD | BPF_IMM, sizeof(struct nlmsghdr) + sizeof(struct nfgenmsg)),
	        BPF_STMT(BPF_LDX | BPF_IMM, CTA_MARK),
	        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_NLATTR)), /* where it is, or 0 */
	        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 3, 0),
	        BPF_STMT(BPF_MISC | BPF_TAX, 0),
	        BPF_STMT(BPF_LD | BPF_B | BPF_IND, sizeof(struct nlattr)),
	        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, CONF_MARK >> 24, 1, 0),
	        BPF_STMT(BPF_RET | BPF_K, 0),
	        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
	};
	struct sock_fprog program = {countof(code), code};
	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0)
		return err_set(err, -errno, "cannot filter conntrack's events: %s", strerror(errno));
	return 0;
}

static int groups_join(int fd, struct err *err)
{
	static const int groups[] = {NFNLGRP_CONNTRACK_NEW, NFNLGRP_CONNTRACK_DESTROY};
	for (size_t i = 0; i < countof(groups); i++)
		if (setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &groups[i], sizeof(groups[i])) < 0)
			return err_set(err, -errno, "cannot listen to conntrack's events: %s", strerror(errno));
	return 0;
}

static int list_ask(int fd, struct err *err)
{
	char buffer[256];
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	request->nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET;
	request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	struct nfgenmsg *head = mnl_nlmsg_put_extra_header(request, sizeof(*head));
	head->nfgen_family = AF_UNSPEC;
	head->version = NFNETLINK_V0;
	mnl_attr_put_u32(request, CTA_MARK, htonl(CONF_MARK));
	mnl_attr_put_u32(request, CTA_MARK_MASK, htonl(~CONF_MARK_NUMBER));
	if (send(fd, request, request->nlmsg_len, 0) < 0)
		return err_set(err, -errno, "cannot ask conntrack for its flows: %s", strerror(errno));
	return 0;
}

void flow_events_hear_ends(struct net *net, bool hear)
{
	int group = NFNLGRP_CONNTRACK_DESTROY;
	if (net->flow_events >= 0)
		(void)!setsockopt(net->flow_events, SOL_NETLINK, hear ? NETLINK_ADD_MEMBERSHIP : NETLINK_DROP_MEMBERSHIP, &group,
		                  sizeof(group));
}

int flow_events_open(struct net *net, struct err *err)
{
	if (net->flow_events >= 0)
		close(net->flow_events);
	net->flow_events = -1;
	auto_close int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER);
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	int size = BUFFER;
	if (fd < 0 || bind(fd, (struct sockaddr *)&kernel, sizeof(kernel)) < 0)
		return err_set(err, -errno, "cannot open a netlink socket (conntrack events): %s", strerror(errno));
	/* beyond the system's limit only the real root may go; elsewhere the limit must do: what is lost is counted */
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	int r = filter_set(fd, err);
	if (r == 0)
		r = groups_join(fd, err);
	if (r == 0)
		r = list_ask(fd, err);
	if (r == 0)
		net->flow_events = take_fd(&fd);
	return r;
}
