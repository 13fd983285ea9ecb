/*
 * rtnetlink through libmnl: one request, one confirmation, in the caller's time. The kernel answers these at once, so
 * blocking here costs microseconds and spares a state machine.
 */
#include "act/net/rtnl.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <time.h>

#define RTNL_OURS 0x4b /* IFA_PROTO of addresses that we set */

static uint32_t rtnl_sequence(void)
{
	static uint32_t last;
	if (last == 0)
		last = (uint32_t)time(NULL);
	return ++last;
}

static int rtnl_talk(struct mnl_socket *socket, struct nlmsghdr *request, mnl_cb_t callback, void *arg)
{
	char buffer[16384]; /* links of a busy host come some at a time */
	request->nlmsg_seq = rtnl_sequence();
	if (mnl_socket_sendto(socket, request, request->nlmsg_len) < 0)
		return -errno;
	for (;;) {
		ssize_t got = mnl_socket_recvfrom(socket, buffer, sizeof(buffer));
		if (got < 0)
			return -errno;
		int r = mnl_cb_run(buffer, (size_t)got, request->nlmsg_seq, mnl_socket_get_portid(socket), callback, arg);
		if (r < 0 && (errno == ESRCH || errno == EPROTO))
			continue; /* an answer to an older request that we left */
		if (r <= 0)
			return r < 0 ? -errno : 0;
	}
}

static int rtnl_confirm(struct mnl_socket *socket, struct nlmsghdr *request, int fine, const char *what, struct err *err)
{
	request->nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
	int r = rtnl_talk(socket, request, NULL, NULL);
	if (r == 0 || r == fine)
		return 0;
	return err_set(err, r, "%s: %s", what, strerror(-r));
}

size_t rtnl_address_size(const struct rtnl_address *address)
{
	return address->family == AF_INET ? 4 : 16;
}

struct rtnl_dump {
	rtnl_link_seen *link;
	rtnl_address_seen *address;
	void *arg;
};

static void link_kind(const struct nlattr *info, struct rtnl_link *link)
{
	const struct nlattr *part;
	mnl_attr_for_each_nested(part, info)
	{
		if (mnl_attr_get_type(part) != IFLA_INFO_KIND || mnl_attr_validate(part, MNL_TYPE_STRING) < 0)
			continue;
		strncpy(link->kind, mnl_attr_get_str(part), sizeof(link->kind) - 1);
	}
}

static int link_seen(const struct nlmsghdr *message, void *arg)
{
	struct rtnl_dump *dump = arg;
	const struct ifinfomsg *head = mnl_nlmsg_get_payload(message);
	struct rtnl_link link = {.index = head->ifi_index, .flags = head->ifi_flags};
	const struct nlattr *part;
	mnl_attr_for_each(part, message, sizeof(*head))
	{
		uint16_t type = mnl_attr_get_type(part);
		if (type == IFLA_IFNAME && mnl_attr_validate(part, MNL_TYPE_STRING) >= 0)
			strncpy(link.name, mnl_attr_get_str(part), sizeof(link.name) - 1);
		else if (type == IFLA_ADDRESS && mnl_attr_get_payload_len(part) == sizeof(link.mac))
			memcpy(link.mac, mnl_attr_get_payload(part), sizeof(link.mac));
		else if (type == IFLA_IFALIAS && mnl_attr_validate(part, MNL_TYPE_STRING) >= 0)
			strncpy(link.alias, mnl_attr_get_str(part), sizeof(link.alias) - 1);
		else if (type == IFLA_LINKINFO)
			link_kind(part, &link);
	}
	dump->link(dump->arg, &link);
	return MNL_CB_OK;
}

int rtnl_links(struct mnl_socket *socket, rtnl_link_seen *seen, void *arg, struct err *err)
{
	char buffer[256];
	struct rtnl_dump dump = {.link = seen, .arg = arg};
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	request->nlmsg_type = RTM_GETLINK;
	request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	struct ifinfomsg *head = mnl_nlmsg_put_extra_header(request, sizeof(*head));
	head->ifi_family = AF_UNSPEC;
	mnl_attr_put_u32(request, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
	int r = rtnl_talk(socket, request, link_seen, &dump);
	return r < 0 ? err_set(err, r, "cannot list network links: %s", strerror(-r)) : 0;
}

struct link_look {
	const char *name;
	struct rtnl_link link;
};

static void look_seen(void *arg, const struct rtnl_link *link)
{
	struct link_look *look = arg;
	if (strcmp(link->name, look->name) == 0)
		look->link = *link;
}

int rtnl_link_find(struct mnl_socket *socket, const char *name, struct rtnl_link *ret_link, struct err *err)
{
	struct link_look look = {.name = name};
	int r = rtnl_links(socket, look_seen, &look, err);
	*ret_link = look.link;
	return r;
}

static int address_seen(const struct nlmsghdr *message, void *arg)
{
	struct rtnl_dump *dump = arg;
	const struct ifaddrmsg *head = mnl_nlmsg_get_payload(message);
	struct rtnl_address address = {.family = head->ifa_family};
	if (address.family != AF_INET && address.family != AF_INET6)
		return MNL_CB_OK;
	bool ours = false, known = false;
	const struct nlattr *part;
	mnl_attr_for_each(part, message, sizeof(*head))
	{
		uint16_t type = mnl_attr_get_type(part), wanted = address.family == AF_INET ? IFA_LOCAL : IFA_ADDRESS;
		if (type == wanted && mnl_attr_get_payload_len(part) == rtnl_address_size(&address)) {
			memcpy(&address.six, mnl_attr_get_payload(part), rtnl_address_size(&address));
			known = true;
		} else if (type == IFA_PROTO && mnl_attr_get_payload_len(part) >= 1)
			ours = mnl_attr_get_u8(part) == RTNL_OURS;
	}
	if (known)
		dump->address(dump->arg, (int)head->ifa_index, &address, ours);
	return MNL_CB_OK;
}

int rtnl_addresses(struct mnl_socket *socket, rtnl_address_seen *seen, void *arg, struct err *err)
{
	char buffer[256];
	struct rtnl_dump dump = {.address = seen, .arg = arg};
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	request->nlmsg_type = RTM_GETADDR;
	request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	struct ifaddrmsg *head = mnl_nlmsg_put_extra_header(request, sizeof(*head));
	head->ifa_family = AF_UNSPEC;
	int r = rtnl_talk(socket, request, address_seen, &dump);
	return r < 0 ? err_set(err, r, "cannot list addresses: %s", strerror(-r)) : 0;
}

int rtnl_link_set(struct mnl_socket *socket, int index, const uint8_t mac[6], bool up, struct err *err)
{
	char buffer[256];
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	request->nlmsg_type = RTM_NEWLINK;
	struct ifinfomsg *head = mnl_nlmsg_put_extra_header(request, sizeof(*head));
	head->ifi_index = index;
	head->ifi_flags = up ? IFF_UP : 0;
	head->ifi_change = up ? IFF_UP : 0;
	if (mac)
		mnl_attr_put(request, IFLA_ADDRESS, 6, mac);
	return rtnl_confirm(socket, request, 0, up ? "cannot set a link up" : "cannot set a link's address", err);
}

int rtnl_link_alias(struct mnl_socket *socket, int index, const char *alias, struct err *err)
{
	char buffer[256];
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	request->nlmsg_type = RTM_NEWLINK;
	struct ifinfomsg *head = mnl_nlmsg_put_extra_header(request, sizeof(*head));
	head->ifi_index = index;
	mnl_attr_put_strz(request, IFLA_IFALIAS, alias);
	return rtnl_confirm(socket, request, 0, "cannot set a link's alias", err);
}

int rtnl_link_del(struct mnl_socket *socket, int index, struct err *err)
{
	char buffer[256];
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	request->nlmsg_type = RTM_DELLINK;
	struct ifinfomsg *head = mnl_nlmsg_put_extra_header(request, sizeof(*head));
	head->ifi_index = index;
	return rtnl_confirm(socket, request, -ENODEV, "cannot remove a tap", err);
}

int rtnl_address_set(struct mnl_socket *socket, bool add, int index, const struct rtnl_address *address, struct err *err)
{
	char buffer[256];
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	request->nlmsg_type = add ? RTM_NEWADDR : RTM_DELADDR;
	request->nlmsg_flags = add ? NLM_F_CREATE | NLM_F_EXCL : 0;
	struct ifaddrmsg *head = mnl_nlmsg_put_extra_header(request, sizeof(*head));
	size_t size = rtnl_address_size(address);
	head->ifa_family = (uint8_t)address->family;
	head->ifa_prefixlen = (uint8_t)(size * 8);
	head->ifa_index = (uint32_t)index;
	head->ifa_flags = address->family == AF_INET6 ? IFA_F_NODAD : 0;
	mnl_attr_put(request, IFA_LOCAL, size, &address->six);
	mnl_attr_put(request, IFA_ADDRESS, size, &address->six);
	if (add)
		mnl_attr_put_u8(request, IFA_PROTO, RTNL_OURS);
	return rtnl_confirm(socket, request, add ? -EEXIST : -EADDRNOTAVAIL, "cannot set an address", err);
}

int rtnl_route_add(struct mnl_socket *socket, const struct rtnl_route *route, struct err *err)
{
	size_t size = rtnl_address_size(&route->to);
	char buffer[256];
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	request->nlmsg_type = RTM_NEWROUTE;
	request->nlmsg_flags = NLM_F_CREATE | NLM_F_REPLACE;
	struct rtmsg *head = mnl_nlmsg_put_extra_header(request, sizeof(*head));
	head->rtm_family = (uint8_t)route->to.family;
	head->rtm_dst_len = (uint8_t)route->prefix;
	head->rtm_table = RT_TABLE_MAIN;
	head->rtm_protocol = RTPROT_STATIC;
	head->rtm_scope = route->to.family == AF_INET ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
	head->rtm_type = RTN_UNICAST;
	mnl_attr_put(request, RTA_DST, size, &route->to.six);
	if (route->source)
		mnl_attr_put(request, RTA_PREFSRC, size, &route->source->six);
	mnl_attr_put_u32(request, RTA_OIF, (uint32_t)route->index);
	if (route->metric > 0)
		mnl_attr_put_u32(request, RTA_PRIORITY, route->metric);
	return rtnl_confirm(socket, request, -EEXIST, "cannot set a route to guests", err);
}

int rtnl_neighbour_add(struct mnl_socket *socket, int index, const struct rtnl_address *address, const uint8_t mac[6],
                       struct err *err)
{
	char buffer[256];
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	request->nlmsg_type = RTM_NEWNEIGH;
	request->nlmsg_flags = NLM_F_CREATE | NLM_F_REPLACE;
	struct ndmsg *head = mnl_nlmsg_put_extra_header(request, sizeof(*head));
	head->ndm_family = (uint8_t)address->family;
	head->ndm_ifindex = index;
	head->ndm_state = NUD_PERMANENT;
	mnl_attr_put(request, NDA_DST, rtnl_address_size(address), &address->six);
	mnl_attr_put(request, NDA_LLADDR, 6, mac);
	return rtnl_confirm(socket, request, 0, "cannot set a guest's neighbour entry", err);
}
