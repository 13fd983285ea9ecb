/*
 * What belongs to the host as a whole: it forwards, counts packets of each flow (the rules ask for the first one),
 * and holds the service addresses. A host that did not forward before us goes on not to forward for others: the base
 * ruleset has a chain for that, and the chain is what tells a restarted actuator that it was so.
 */
#include "act/net/net.h"
#include "act/net/rtnl.h"
#include "act/net/state.h"
#include "lib/bytes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>

int host_sysctl(const char *value, struct err *err, const char *format, ...)
{
	char path[160];
	va_list args;
	va_start(args, format);
	vsnprintf(path, sizeof(path), format, args);
	va_end(args);
	auto_close int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		return err_set(err, -errno, "cannot set %s to %s: %s", path, value, strerror(errno));
	return 0;
}

long host_sysctl_read(const char *path)
{
	uint8_t *bytes;
	size_t size;
	if (file_read(path, 64, &bytes, &size, NULL) < 0)
		return -1;
	long value = strtol((const char *)bytes, NULL, 10);
	free(bytes);
	return value;
}

#define FORWARD4 "/proc/sys/net/ipv4/ip_forward"
#define FORWARD6 "/proc/sys/net/ipv6/conf/all/forwarding"

/* A host that forwards no longer hears router advertisements unless told so: keep the uplinks that live by them. */
static int keep_hearing_routers(struct err *err)
{
	DIR *folder = opendir("/proc/sys/net/ipv6/conf");
	if (!folder)
		return err_set(err, -errno, "cannot read /proc/sys/net/ipv6/conf: %s; is IPv6 in the kernel?", strerror(errno));
	int r = 0;
	for (struct dirent *entry = readdir(folder); entry && r == 0; entry = readdir(folder)) {
		char path[320];
		snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/accept_ra", entry->d_name);
		if (entry->d_name[0] != '.' && host_sysctl_read(path) == 1)
			r = host_sysctl("2", err, "%s", path);
	}
	closedir(folder);
	return r;
}

/* Whether forwarding was off before us. Once we were here the rules know, and the link for the lost, since others may have
 * flushed the rules while we were away; the host's own words are ours then. */
static int held_before(struct net *net, bool *ret_four, bool *ret_six, struct err *err)
{
	const struct state_base base = state_base(net);
	struct rtnl_link lost;
	int r = rtnl_link_find(net->route, NET_LOST, &lost, err);
	bool first = !base.loaded && !lost.alias[0];
	*ret_four = base.hold4 || strchr(lost.alias, '4') || (first && host_sysctl_read(FORWARD4) == 0);
	*ret_six = base.hold6 || strchr(lost.alias, '6') || (first && host_sysctl_read(FORWARD6) == 0);
	return r;
}

static int forward(struct net *net, struct err *err)
{
	int r = held_before(net, &net->hold4, &net->hold6, err);
	if (r < 0)
		return r;
	return host_sysctl_read(FORWARD6) == 0 ? keep_hearing_routers(err) : 0;
}

/* ---- service addresses */

struct wanted {
	struct net *net;
	struct rtnl_address address[2 * CONF_SERVICES_MAX];
	bool held[2 * CONF_SERVICES_MAX];
	size_t count;
	struct rtnl_address extra[2 * CONF_SERVICES_MAX]; /* ours, on lo */
	size_t n_extra;
	int loopback;
};

static void service_addresses(const struct conf *conf, struct wanted *wanted)
{
	for (size_t i = 0; i < conf->n_services; i++) {
		const struct conf_service *service = &conf->services[i];
		if (service->has_address4)
			wanted->address[wanted->count++] = (struct rtnl_address){.family = AF_INET, .four = service->address4};
		if (service->has_address6)
			wanted->address[wanted->count++] = (struct rtnl_address){.family = AF_INET6, .six = service->address6};
	}
}

static bool address_same(const struct rtnl_address *a, const struct rtnl_address *b)
{
	return a->family == b->family && memcmp(&a->six, &b->six, rtnl_address_size(a)) == 0;
}

static void held_seen(void *arg, int index, const struct rtnl_address *address, bool ours)
{
	struct wanted *wanted = arg;
	for (size_t i = 0; i < wanted->count; i++)
		if (address_same(address, &wanted->address[i]))
			wanted->held[i] = true;
	if (ours && index == wanted->loopback && wanted->n_extra < countof(wanted->extra))
		wanted->extra[wanted->n_extra++] = *address;
}

static int held_read(struct net *net, struct wanted *wanted, struct err *err)
{
	*wanted = (struct wanted){.net = net, .loopback = (int)if_nametoindex("lo")};
	if (wanted->loopback == 0)
		return err_set(err, -ENODEV, "this network namespace has no link lo");
	service_addresses(&net->conf, wanted);
	return rtnl_addresses(net->route, held_seen, wanted, err);
}

static bool still_wanted(const struct wanted *wanted, const struct rtnl_address *address)
{
	for (size_t i = 0; i < wanted->count; i++)
		if (address_same(address, &wanted->address[i]))
			return true;
	return false;
}

static int addresses_hold(struct net *net, struct err *err)
{
	struct wanted wanted;
	int r = held_read(net, &wanted, err);
	if (r == 0)
		r = rtnl_link_set(net->route, wanted.loopback, NULL, true, err);
	for (size_t i = 0; r == 0 && i < wanted.count; i++)
		if (!wanted.held[i])
			r = rtnl_address_set(net->route, true, wanted.loopback, &wanted.address[i], err);
	for (size_t i = 0; r == 0 && i < wanted.n_extra; i++)
		if (!still_wanted(&wanted, &wanted.extra[i]))
			r = rtnl_address_set(net->route, false, wanted.loopback, &wanted.extra[i], err);
	return r;
}

int host_hold(struct net *net, struct err *err)
{
	int r = 0;
	if (host_sysctl_read(FORWARD4) != 1)
		r = host_sysctl("1", err, FORWARD4);
	if (r == 0 && host_sysctl_read(FORWARD6) != 1)
		r = host_sysctl("1", err, FORWARD6);
	if (r == 0)
		r = addresses_hold(net, err);
	return r < 0 ? r : lost_hold(net, err);
}

/* Rules before forwarding: there is no moment in which the host forwards and nothing holds. */
int host_up(struct net *net, struct err *err)
{
	int r = forward(net, err);
	if (r == 0)
		r = steer_load(net, err);
	if (r == 0)
		r = host_sysctl("1", err, "/proc/sys/net/netfilter/nf_conntrack_acct");
	if (r == 0) /* told also of flows that began when nobody listened: conntrack_seize does so only while it cuts */
		r = host_sysctl("1", err, "/proc/sys/net/netfilter/nf_conntrack_events");
	if (r == 0)
		r = lost_up(net, err);
	return r < 0 ? r : host_hold(net, err);
}

static int taps_gone(struct net *net, const struct state *state, struct err *err)
{
	int r = 0;
	for (size_t i = 0; i < state->n_taps && r == 0; i++) {
		for (const char *const *kind = tap_kinds; *kind; kind++)
			if (strcmp(*kind, state->taps[i].kind) == 0)
				r = rtnl_link_del(net->route, state->taps[i].index, err);
	}
	return r;
}

int host_down(struct net *net, struct err *err)
{
	struct state state;
	bool four = false, six = false;
	int r = state_read(net, &state, err);
	if (r == 0)
		r = held_before(net, &four, &six, err);
	if (r == 0)
		r = taps_gone(net, &state, err);
	if (r == 0)
		r = lost_down(net, err);
	if (r == 0 && four)
		r = host_sysctl("0", err, FORWARD4);
	if (r == 0 && six)
		r = host_sysctl("0", err, FORWARD6);
	struct wanted wanted;
	if (r == 0)
		r = held_read(net, &wanted, err);
	for (size_t i = 0; r == 0 && i < wanted.n_extra; i++)
		r = rtnl_address_set(net->route, false, wanted.loopback, &wanted.extra[i], err);
	if (r == 0)
		r = transact("add table inet koboshi\ndelete table inet koboshi\n"
		             "add table netdev koboshi\ndelete table netdev koboshi\n",
		             err);
	return r;
}
