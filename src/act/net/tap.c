/*
 * One guest's tap: a point-to-point wire of its own, never a bridge, so two guests share no segment. The host answers
 * for the gateway's address on every tap and learns nothing from the far end: neighbours are permanent, announcements
 * unheard, the tap has no link-local address. It goes up only when its chain already stands guard.
 * What is sent to a guest whose tap is down or gone goes to lost.c's link.
 */
#include "act/net/net.h"
#include "act/net/rtnl.h"
#include "act/net/state.h"

#include <errno.h>
#include <string.h>

static int kind_check(const struct rtnl_link *link, struct err *err)
{
	for (const char *const *kind = tap_kinds; *kind; kind++)
		if (strcmp(*kind, link->kind) == 0)
			return 0;
	return err_set(err, -EBUSY, "link %s exists and is no tap (kind '%s'): remove it", link->name, link->kind);
}

static int tap_settings(const char *tap, struct err *err)
{
	static const struct {
		const char *family, *name, *value;
	} settings[] = {
	        {"ipv4", "rp_filter", "1"},
	        {"ipv4", "arp_ignore", "1"},
	        {"ipv4", "arp_announce", "2"},
	        {"ipv4", "arp_accept", "0"},
	        {"ipv4", "proxy_arp", "0"},
	        {"ipv4", "accept_redirects", "0"},
	        {"ipv4", "send_redirects", "0"},
	        {"ipv4", "accept_local", "0"},
	        {"ipv4", "accept_source_route", "0"},
	        {"ipv4", "route_localnet", "0"},
	        {"ipv4", "forwarding", "1"},
	        {"ipv6", "disable_ipv6", "0"},
	        {"ipv6", "addr_gen_mode", "1"},
	        {"ipv6", "accept_ra", "0"},
	        {"ipv6", "accept_redirects", "0"},
	        {"ipv6", "autoconf", "0"},
	        {"ipv6", "accept_dad", "0"},
	        {"ipv6", "proxy_ndp", "0"},
	        {"ipv6", "accept_source_route", "-1"},
	        {"ipv6", "forwarding", "1"},
	};
	for (size_t i = 0; i < countof(settings); i++) {
		int r = host_sysctl(settings[i].value, err, "/proc/sys/net/%s/conf/%s/%s", settings[i].family, tap,
		                    settings[i].name);
		if (r < 0)
			return r;
	}
	return 0;
}

static int tap_guard(const struct net *net, const struct conf_instance *instance, uint32_t service, struct err *err)
{
	struct ruleset_text text;
	ruleset_text_init(&text);
	ruleset_tap(text.out, net, instance, service);
	int r = transact(ruleset_text_end(&text), err);
	ruleset_text_done(&text);
	return r;
}

static int tap_address(struct net *net, int index, const struct conf_instance *instance, bool six, struct err *err)
{
	struct rtnl_address gateway = {.family = six ? AF_INET6 : AF_INET}, guest = gateway;
	if (six) {
		gateway.six = instance->gateway6;
		guest.six = instance->address6;
	} else {
		gateway.four = instance->gateway4;
		guest.four = instance->address4;
	}
	const struct rtnl_route route = {
	        .index = index, .to = guest, .prefix = (unsigned)rtnl_address_size(&guest) * 8, .source = &gateway};
	int r = rtnl_address_set(net->route, true, index, &gateway, err);
	if (r == 0)
		r = rtnl_route_add(net->route, &route, err);
	if (r == 0)
		r = rtnl_neighbour_add(net->route, index, &guest, instance->mac, err);
	return r;
}

static int tap_furnish(struct net *net, int index, const struct conf_instance *instance, uint32_t service, struct err *err)
{
	int r = tap_settings(instance->tap, err);
	if (r == 0)
		r = rtnl_link_set(net->route, index, instance->host_mac, false, err);
	if (r == 0)
		r = tap_guard(net, instance, service, err);
	if (r == 0)
		r = rtnl_link_set(net->route, index, NULL, true, err);
	if (r == 0)
		r = tap_address(net, index, instance, false, err);
	if (r == 0)
		r = tap_address(net, index, instance, true, err);
	return r < 0 ? err_prefix(err, "tap %s", instance->tap) : 0;
}

int tap_add(struct net *net, const struct conf_instance *instance, uint32_t service, struct err *err)
{
	struct rtnl_link link;
	int r = rtnl_link_find(net->route, instance->tap, &link, err);
	bool new = r == 0 && link.index == 0;
	if (new)
		r = tap_make(net, instance->tap, err);
	if (new &&r == 0)
		r = rtnl_link_find(net->route, instance->tap, &link, err);
	if (r != 0)
		return r;
	if (link.index == 0)
		return err_set(err, -ENODEV, "tap %s vanished while it was made", instance->tap);
	r = kind_check(&link, err);
	if (r < 0)
		return r;
	r = tap_furnish(net, link.index, instance, service, err);
	struct err ignored;
	if (r < 0 && new) /* nothing half made stays behind */
		(void)!tap_del(net, instance, &ignored);
	return r;
}

static int guard_gone(const struct net *net, const struct conf_instance *instance, struct err *err)
{
	struct ruleset_text text;
	ruleset_text_init(&text);
	ruleset_tap_gone(text.out, &net->conf, instance);
	int r = transact(ruleset_text_end(&text), err);
	ruleset_text_done(&text);
	return r;
}

/* Nothing may lead to the guest before its wire goes, and the guard stays until the wire is gone. */
int tap_del(struct net *net, const struct conf_instance *instance, struct err *err)
{
	struct rtnl_link link;
	int r = rtnl_link_find(net->route, instance->tap, &link, err);
	if (r == 0 && link.index > 0)
		r = kind_check(&link, err);
	if (r == 0)
		r = steer_forget(net, instance, err);
	if (r == 0 && link.index > 0)
		r = rtnl_link_del(net->route, link.index, err);
	return r == 0 ? guard_gone(net, instance, err) : r;
}
