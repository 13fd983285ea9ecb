/*
 * Where packets go that the map leads to a guest whose wire is down or gone: to a link that has no other end. Without it the
 * host's next best route would have them, or none: then the host itself says that the network cannot be reached, and the client
 * has failed in the milliseconds before the map moves. So they pass our rules as if the guest were there, the kernel remembers
 * their flows, and when the map has moved their openings are sent again like those that a guest did not answer (rescue.c).
 */
#include "act/net/net.h"
#include "act/net/rtnl.h"

#include <errno.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <string.h>

#define LAST_RESORT UINT32_C(1000000) /* metric: any other route to a guest is better; a guest's own has 0, or 1024 with IPv6 */

int lost_down(struct net *net, struct err *err)
{
	struct rtnl_link link;
	int r = rtnl_link_find(net->route, NET_LOST, &link, err);
	if (r < 0 || link.index == 0)
		return r;
	if (strcmp(link.kind, "tun") != 0)
		return err_set(err, -EBUSY, "link " NET_LOST " exists and is none of ours (kind '%s'): remove it", link.kind);
	return rtnl_link_del(net->route, link.index, err);
}

static int routes_set(struct net *net, int index, struct err *err)
{
	const struct conf *conf = &net->conf;
	const struct rtnl_route four = {.index = index,
	                                .to = {.family = AF_INET, .four = conf->guests4.address},
	                                .prefix = conf->guests4.prefix,
	                                .metric = LAST_RESORT};
	const struct rtnl_route six = {.index = index,
	                               .to = {.family = AF_INET6, .six = conf->guests6.address},
	                               .prefix = conf->guests6.prefix,
	                               .metric = LAST_RESORT};
	int r = rtnl_route_add(net->route, &four, err);
	return r == 0 ? rtnl_route_add(net->route, &six, err) : r;
}

static int furnish(struct net *net, struct err *err)
{
	struct rtnl_link link = {0};
	char alias[16];
	snprintf(alias, sizeof(alias), "hold%s%s", net->hold4 ? " 4" : "", net->hold6 ? " 6" : ""); /* host.c reads it again */
	int r = host_sysctl("0", err, "/proc/sys/net/ipv6/conf/" NET_LOST "/disable_ipv6");
	if (r == 0)
		r = host_sysctl("1", err, "/proc/sys/net/ipv6/conf/" NET_LOST "/addr_gen_mode"); /* no address of its own */
	if (r == 0)
		r = rtnl_link_find(net->route, NET_LOST, &link, err);
	if (r == 0)
		r = rtnl_link_alias(net->route, link.index, alias, err);
	if (r == 0)
		r = rtnl_link_set(net->route, link.index, NULL, true, err);
	return r == 0 ? routes_set(net, link.index, err) : r;
}

int lost_up(struct net *net, struct err *err)
{
	int r = lost_down(net, err);
	if (r == 0)
		r = tun_make(NET_LOST, IFF_TUN, err);
	if (r == 0)
		r = furnish(net, err);
	return r < 0 ? err_prefix(err, "the link for packets to guests that are not there") : 0;
}

bool lost_stands(struct net *net)
{
	struct rtnl_link link;
	return rtnl_link_find(net->route, NET_LOST, &link, NULL) == 0 && strcmp(link.kind, "tun") == 0 && link.flags & IFF_UP;
}

int lost_hold(struct net *net, struct err *err)
{
	return lost_stands(net) ? 0 : lost_up(net, err);
}
