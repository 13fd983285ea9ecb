/* For cells: a veth in a tap's place. Its other end, named like it with a p before, waits in the same namespace until it is
 * moved. */
#include "act/net/net.h"
#include "act/net/rtnl.h"

#include <errno.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <stdio.h>
#include <string.h>

static void peer_put(struct nlmsghdr *request, const char *name)
{
	char peer[IFNAMSIZ];
	snprintf(peer, sizeof(peer), "p%s", name);
	struct nlattr *info = mnl_attr_nest_start(request, IFLA_LINKINFO);
	mnl_attr_put_strz(request, IFLA_INFO_KIND, "veth");
	struct nlattr *data = mnl_attr_nest_start(request, IFLA_INFO_DATA);
	struct nlattr *other = mnl_attr_nest_start(request, VETH_INFO_PEER);
	mnl_nlmsg_put_extra_header(request, sizeof(struct ifinfomsg));
	mnl_attr_put_strz(request, IFLA_IFNAME, peer);
	mnl_attr_nest_end(request, other);
	mnl_attr_nest_end(request, data);
	mnl_attr_nest_end(request, info);
}

int tap_make(struct net *net, const char *name, struct err *err)
{
	char buffer[1024];
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	request->nlmsg_type = RTM_NEWLINK;
	request->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
	request->nlmsg_seq = 1;
	mnl_nlmsg_put_extra_header(request, sizeof(struct ifinfomsg));
	mnl_attr_put_strz(request, IFLA_IFNAME, name);
	peer_put(request, name);
	if (mnl_socket_sendto(net->route, request, request->nlmsg_len) < 0)
		return err_set(err, -errno, "cannot ask for a wire %s: %s", name, strerror(errno));
	ssize_t got = mnl_socket_recvfrom(net->route, buffer, sizeof(buffer));
	if (got < 0 || mnl_cb_run(buffer, (size_t)got, 1, mnl_socket_get_portid(net->route), NULL, NULL) < 0)
		return err_set(err, -errno, "cannot make a wire %s: %s", name, strerror(errno));
	return 0;
}
