/* See guard.h. */
#include "act/net/guard.h"

#include "act/net/net.h"
#include "act/net/state.h"
#include "lib/bytes.h"

#include <errno.h>
#include <linux/netconf.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/prctl.h>

#define PAUSE_US 100000  /* between two repairs */
#define RETRY_US 1000000 /* after one that failed */
#define NEWS_BYTES 32768
#define NEWS_BUFFER (4 << 20) /* our own repair is told of too, rule by rule */

/* --- how it shall be */

static struct guard_tap *tap_at(struct guard_wanted *wanted, uint32_t number)
{
	for (size_t i = 0; i < wanted->n_taps; i++)
		if (wanted->taps[i].number == number)
			return &wanted->taps[i];
	return NULL;
}

static struct guard_tap *tap_wanted(struct guard_wanted *wanted, uint32_t number, enum wire_gate gate)
{
	struct guard_tap *tap = tap_at(wanted, number);
	if (!tap && wanted->n_taps < WIRE_INSTANCES_MAX) {
		tap = &wanted->taps[wanted->n_taps++];
		*tap = (struct guard_tap){.number = number, .service = UINT32_MAX};
	}
	if (tap)
		tap->gate = gate;
	return tap;
}

static void tap_added(struct guard_wanted *wanted, const struct wire_order *order)
{
	struct guard_tap *tap = tap_at(wanted, order->instance);
	if (!tap)
		tap = tap_wanted(wanted, order->instance, WIRE_GATE_QUARANTINE);
	if (tap)
		tap->service = order->service;
}

static void tap_unwanted(struct guard_wanted *wanted, uint32_t number)
{
	struct guard_tap *tap = tap_at(wanted, number);
	if (tap)
		*tap = wanted->taps[--wanted->n_taps];
	for (size_t i = 0; i < WIRE_SERVICES_MAX; i++)
		if (wanted->target[i] == number)
			wanted->target[i] = 0;
}

void guard_ordered(struct guard *guard, const struct wire_order *order)
{
	struct guard_wanted *wanted = &guard->wanted;
	switch (order->type) {
	case ORDER_NET_TAP_ADD:
		tap_added(wanted, order);
		break;
	case ORDER_NET_TAP_DEL:
		tap_unwanted(wanted, order->instance);
		break;
	case ORDER_NET_GATE:
		tap_wanted(wanted, order->instance, (enum wire_gate)order->gate);
		break;
	case ORDER_NET_STEER:
		wanted->target[order->service] = order->instance;
		if (order->victim > 0 && tap_at(wanted, order->victim))
			tap_wanted(wanted, order->victim, WIRE_GATE_FENCED);
		if (order->instance > 0)
			tap_wanted(wanted, order->instance, WIRE_GATE_OPEN);
		break;
	default:
		break; /* the others change nothing */
	}
}

int guard_begin(struct net *net, struct err *err)
{
	struct state state;
	struct guard_wanted *wanted = &net->guard.wanted;
	bool mixed;
	int r = state_read(net, &state, err);
	if (r < 0)
		return r;
	*wanted = (struct guard_wanted){0};
	for (size_t i = 0; i < state.n_taps; i++) {
		struct guard_tap *tap = tap_wanted(wanted, state.taps[i].number, state.taps[i].gate);
		if (tap)
			tap->service = state.taps[i].service;
	}
	for (size_t i = 0; i < net->conf.n_services; i++)
		wanted->target[i] = state_target(&state, &net->conf, i, &mixed);
	return 0;
}

/* --- news of rules */

static void name_own(char ret_name[16])
{
	memset(ret_name, 0, 16);
	(void)prctl(PR_GET_NAME, ret_name);
}

/* The end of a transaction: whose was it? A child that loads rules for us bears our name. */
static void batch_ended(struct guard *guard, const struct nlmsghdr *message)
{
	const struct nlattr *attribute;
	char own[16];
	const char *name = "?";
	uint32_t process = 0;
	mnl_attr_for_each(attribute, message, sizeof(struct nfgenmsg))
	{
		if (mnl_attr_get_type(attribute) == NFTA_GEN_PROC_NAME && mnl_attr_validate(attribute, MNL_TYPE_NUL_STRING) >= 0)
			name = mnl_attr_get_str(attribute);
		if (mnl_attr_get_type(attribute) == NFTA_GEN_PROC_PID && mnl_attr_validate(attribute, MNL_TYPE_U32) >= 0)
			process = ntohl(mnl_attr_get_u32(attribute));
	}
	name_own(own);
	if (guard->ours_in_batch && strcmp(name, own) != 0) {
		guard->rules_gone = true;
		snprintf(guard->culprit, sizeof(guard->culprit), "%.20s (process %u)", name, process);
	}
	guard->ours_in_batch = false;
}

/* All messages about tables, chains, rules, sets and elements name their table in attribute 1. */
static bool is_about_us(const struct nlmsghdr *message)
{
	const struct nfgenmsg *head = mnl_nlmsg_get_payload(message);
	const struct nlattr *attribute;
	if (message->nlmsg_pid == 0 || (head->nfgen_family != NFPROTO_INET && head->nfgen_family != NFPROTO_NETDEV))
		return false; /* without a sender: the kernel itself cleans up behind a link that went */
	mnl_attr_for_each(attribute, message, sizeof(*head))
	{
		bool names_table =
		        mnl_attr_get_type(attribute) == NFTA_TABLE_NAME && mnl_attr_validate(attribute, MNL_TYPE_NUL_STRING) >= 0;
		if (names_table)
			return strcmp(mnl_attr_get_str(attribute), "koboshi") == 0;
	}
	return false;
}

static void rules_news(struct net *net, const struct nlmsghdr *message)
{
	if (message->nlmsg_type >> 8 != NFNL_SUBSYS_NFTABLES || mnl_nlmsg_get_payload_len(message) < sizeof(struct nfgenmsg))
		return;
	if ((message->nlmsg_type & 0xff) == NFT_MSG_NEWGEN)
		batch_ended(&net->guard, message);
	else if (is_about_us(message))
		net->guard.ours_in_batch = true;
}

/* --- news of the host: a service's address went, forwarding was switched off, or the link for who is lost (lost.c) */

static bool is_service_address(const struct conf *conf, const struct nlmsghdr *message)
{
	const struct ifaddrmsg *head = mnl_nlmsg_get_payload(message);
	const struct nlattr *attribute;
	mnl_attr_for_each(attribute, message, sizeof(*head))
	{
		const void *address = mnl_attr_get_payload(attribute);
		if (mnl_attr_get_type(attribute) != IFA_ADDRESS)
			continue;
		for (size_t i = 0; i < conf->n_services; i++) {
			const struct conf_service *service = &conf->services[i];
			if (head->ifa_family == AF_INET && service->has_address4 && mnl_attr_get_payload_len(attribute) == 4 &&
			    memcmp(address, &service->address4, 4) == 0)
				return true;
			if (head->ifa_family == AF_INET6 && service->has_address6 && mnl_attr_get_payload_len(attribute) == 16 &&
			    memcmp(address, &service->address6, 16) == 0)
				return true;
		}
	}
	return false;
}

static bool is_forwarding_off(const struct nlmsghdr *message)
{
	const struct nlattr *attribute;
	int32_t link = 0, forwarding = 1;
	mnl_attr_for_each(attribute, message, MNL_ALIGN(sizeof(struct netconfmsg)))
	{
		if (mnl_attr_get_payload_len(attribute) != sizeof(uint32_t))
			continue;
		if (mnl_attr_get_type(attribute) == NETCONFA_IFINDEX)
			link = (int32_t)mnl_attr_get_u32(attribute);
		if (mnl_attr_get_type(attribute) == NETCONFA_FORWARDING)
			forwarding = (int32_t)mnl_attr_get_u32(attribute);
	}
	return link == NETCONFA_IFINDEX_ALL && forwarding == 0;
}

/* What we ourselves do to it is told as well, and is done by then. */
static bool is_lost_gone(struct net *net, const struct nlmsghdr *message)
{
	const struct nlattr *attribute;
	mnl_attr_for_each(attribute, message, sizeof(struct ifinfomsg))
	{
		if (mnl_attr_get_type(attribute) == IFLA_IFNAME && mnl_attr_validate(attribute, MNL_TYPE_NUL_STRING) >= 0)
			return strcmp(mnl_attr_get_str(attribute), NET_LOST) == 0 && !lost_stands(net);
	}
	return false;
}

static void host_news(struct net *net, const struct nlmsghdr *message)
{
	size_t size = mnl_nlmsg_get_payload_len(message);
	switch (message->nlmsg_type) {
	case RTM_DELADDR:
		if (size >= sizeof(struct ifaddrmsg) && is_service_address(&net->conf, message))
			net->guard.host_gone = "a service's address was taken away";
		break;
	case RTM_NEWNETCONF:
		if (size >= sizeof(struct netconfmsg) && is_forwarding_off(message))
			net->guard.host_gone = "forwarding was switched off";
		break;
	case RTM_NEWLINK:
	case RTM_DELLINK:
		if (size >= sizeof(struct ifinfomsg) && is_lost_gone(net, message))
			net->guard.host_gone = "link " NET_LOST " was taken away or set down";
		break;
	default:
		break;
	}
}

/* --- reading the news */

typedef void news_taken(struct net *net, const struct nlmsghdr *message);

/* Returns false when some news were lost: then everything may have changed. */
static bool news_read(struct net *net, struct mnl_socket *from, news_taken *taken)
{
	static char buffer[NEWS_BYTES];
	for (;;) {
		ssize_t got = mnl_socket_recvfrom(from, buffer, sizeof(buffer));
		if (got < 0)
			return errno == EAGAIN || errno == EINTR;
		int left = (int)got;
		for (const struct nlmsghdr *message = (void *)buffer; mnl_nlmsg_ok(message, left);
		     message = mnl_nlmsg_next(message, &left))
			taken(net, message);
	}
}

static void rules_lost(struct guard *guard)
{
	guard->rules_gone = true;
	text_copy(guard->culprit, sizeof(guard->culprit), "somebody");
}

static void news_take(struct net *net)
{
	struct guard *guard = &net->guard;
	bool before = guard->rules_gone || guard->host_gone;
	if (!news_read(net, guard->rules, rules_news))
		rules_lost(guard);
	if (!news_read(net, guard->host, host_news))
		guard->host_gone = "more happened on the host than could be followed";
	if (!before)
		guard->seen_us = clock_monotonic_us();
}

static int news_open(int protocol, const int *groups, size_t n_groups, struct mnl_socket **ret_socket, struct err *err)
{
	struct mnl_socket *socket = mnl_socket_open2(protocol, SOCK_CLOEXEC | SOCK_NONBLOCK);
	bool good = socket && mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) == 0;
	for (size_t i = 0; i < n_groups && good; i++)
		good = mnl_socket_setsockopt(socket, NETLINK_ADD_MEMBERSHIP, (void *)(uintptr_t)&groups[i], sizeof(groups[i])) ==
		       0;
	int size = NEWS_BUFFER, code = errno, fd = good ? mnl_socket_get_fd(socket) : -1;
	/* beyond the system's limit only the real root may go; what is lost then is noticed */
	if (good && setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
		(void)!setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	if (!good && socket)
		mnl_socket_close(socket);
	if (!good)
		return err_set(err, -code, "cannot listen to the kernel's news of the network: %s", strerror(code));
	*ret_socket = socket;
	return 0;
}

int guard_open(struct net *net, struct err *err)
{
	static const int rules[] = {NFNLGRP_NFTABLES};
	static const int host[] = {RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_NETCONF, RTNLGRP_IPV6_NETCONF,
	                           RTNLGRP_LINK};
	int r = news_open(NETLINK_NETFILTER, rules, countof(rules), &net->guard.rules, err);
	if (r == 0)
		r = news_open(NETLINK_ROUTE, host, countof(host), &net->guard.host, err);
	return r;
}

void guard_done(struct guard *guard)
{
	if (guard->rules)
		mnl_socket_close(guard->rules);
	if (guard->host)
		mnl_socket_close(guard->host);
	guard->rules = guard->host = NULL;
}

/* --- putting back */

static int put_back(struct net *net, struct err *err)
{
	struct guard *guard = &net->guard;
	int r = guard->rules_gone ? steer_restore(net, &guard->wanted, err) : 0;
	if (r < 0)
		return err_prefix(err, "%s changed our rules and they cannot be put back", guard->culprit);
	r = guard->host_gone ? host_hold(net, err) : 0;
	return r < 0 ? err_prefix(err, "%s and cannot be put back", guard->host_gone) : 0;
}

int guard_look(struct net *net, char *ret_text, size_t size, struct err *err)
{
	struct guard *guard = &net->guard;
	news_take(net);
	if ((!guard->rules_gone && !guard->host_gone) || guard->not_before_us > clock_monotonic_us())
		return 0;
	int r = put_back(net, err);
	int64_t now_us = clock_monotonic_us();
	guard->not_before_us = now_us + (r < 0 ? RETRY_US : PAUSE_US);
	if (r < 0)
		return r;
	snprintf(ret_text, size, "%s%s%s%s, put back after %lld ms", guard->rules_gone ? guard->culprit : "",
	         guard->rules_gone ? " changed our rules" : "", guard->rules_gone && guard->host_gone ? "; " : "",
	         guard->host_gone ? guard->host_gone : "", (long long)((now_us - guard->seen_us) / 1000));
	guard->rules_gone = false;
	guard->host_gone = NULL;
	guard->seen_us = now_us;
	/* Of our own work: losing some of it means nothing. But somebody may have been at it again behind us. */
	if (!news_read(net, guard->rules, rules_news) && !state_base(net).loaded)
		rules_lost(guard);
	return 1;
}

int guard_patience_ms(const struct guard *guard)
{
	if (!guard->rules_gone && !guard->host_gone)
		return -1;
	int64_t left_us = guard->not_before_us - clock_monotonic_us();
	return left_us > 0 ? (int)(left_us / 1000) + 1 : 0;
}
