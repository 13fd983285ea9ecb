/* The sockets that the program holds for its life. All are close-on-exec; reads give up after two seconds. */
#include "act/net/net.h"

#include <errno.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

static int socket_open(int protocol, struct mnl_socket **ret_socket, struct err *err)
{
	struct mnl_socket *socket = mnl_socket_open2(protocol, SOCK_CLOEXEC);
	if (!socket || mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0) {
		int code = errno ? -errno : -EIO;
		if (socket)
			mnl_socket_close(socket);
		return err_set(err, code, "cannot open a netlink socket (%s): %s",
		               protocol == NETLINK_ROUTE ? "route" : "netfilter", strerror(-code));
	}
	struct timeval patience = {.tv_sec = 2};
	(void)!setsockopt(mnl_socket_get_fd(socket), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	*ret_socket = socket;
	return 0;
}

int net_open(struct net *net, struct err *err)
{
	net->flow_events = net->names.fd = -1;
	net->rescue.sockets = (struct segment_sockets){-1, -1};
	int r = socket_open(NETLINK_ROUTE, &net->route, err);
	if (r == 0)
		r = socket_open(NETLINK_NETFILTER, &net->filter, err);
	return r == 0 ? conntrack_open(net, err) : r;
}

void net_done(struct net *net)
{
	struct mnl_socket **const sockets[] = {&net->route, &net->filter, &net->log.socket, &net->ended};
	for (size_t i = 0; i < countof(sockets); i++) {
		if (*sockets[i])
			mnl_socket_close(*sockets[i]);
		*sockets[i] = NULL;
	}
	if (net->flow_events >= 0)
		close(net->flow_events);
	net->flow_events = -1;
	guard_done(&net->guard);
	rescue_done(&net->rescue);
	profile_done(net);
	for (size_t i = 0; i < NET_FLOWS_KEPT; i++) {
		free(net->flows[i]);
		net->flows[i] = NULL;
	}
}
