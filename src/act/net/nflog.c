/*
 * The groups that our rules log to. We open and bind the sockets (that takes CAP_NET_ADMIN); one is the engine's to read, for a
 * copy of the descriptor is the same socket, and one our own (rescue.c). By default the kernel would collect a hundred packets or
 * wait a second; ours say at which rule a packet is delivered at once. What a client asks may wait for the answer or for a few of
 * its kind: it is late only by what nothing is decided in, and each wake-up costs more than the packet. A group has one reader:
 * after our death the engine's old copy still holds it, so a new actuator hands out its unbound socket first and binds as soon as
 * the engine has let go of the old one.
 */
#include "act/net/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_log.h>
#include <string.h>
#include <sys/socket.h>

#define SOON_PACKETS 4         /* where a rule does not say 1 ... */
#define SOON_10MS 1            /* ... and not later than that */
#define NFLOG_BUFFER (2 << 20) /* 2,000 SYN a second must survive a second of a busy engine */

static struct nlmsghdr *config(char *buffer, uint16_t group)
{
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	request->nlmsg_type = NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_CONFIG;
	request->nlmsg_flags = NLM_F_REQUEST; /* no confirmation: the reader would find it in its queue */
	struct nfgenmsg *head = mnl_nlmsg_put_extra_header(request, sizeof(*head));
	head->nfgen_family = AF_UNSPEC;
	head->version = NFNETLINK_V0;
	head->res_id = htons(group);
	return request;
}

/* Port number of the group's reader as the kernel tells, 0: none. */
static uint32_t group_reader(uint16_t wanted)
{
	FILE *file = fopen("/proc/net/netfilter/nfnetlink_log", "re");
	if (!file)
		return 0;
	char line[160];
	uint32_t reader = 0;
	while (reader == 0 && fgets(line, sizeof(line), file)) {
		unsigned group, port;
		if (sscanf(line, "%u %u", &group, &port) == 2 && group == wanted)
			reader = port;
	}
	fclose(file);
	return reader;
}

int nflog_open(struct nflog *log, uint16_t group, struct err *err)
{
	log->group = group;
	log->socket = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (!log->socket || mnl_socket_bind(log->socket, 0, MNL_SOCKET_AUTOPID) < 0)
		return err_set(err, -errno, "cannot open a netfilter log socket: %s", strerror(errno));
	int size = NFLOG_BUFFER;
	int fd = mnl_socket_get_fd(log->socket);
	/* Beyond the system's limit only the real root may go; in a user namespace the limit must do: lost packets are counted.
	 */
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0 &&
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)) < 0)
		return err_set(err, -errno, "cannot size the netfilter log's buffer: %s", strerror(errno));
	return 0;
}

static int group_take(struct nflog *log, struct err *err)
{
	char buffer[512];
	struct nlmsghdr *request = config(buffer, log->group);
	struct nfulnl_msg_config_cmd command = {.command = NFULNL_CFG_CMD_BIND};
	mnl_attr_put(request, NFULA_CFG_CMD, sizeof(command), &command);
	struct nfulnl_msg_config_mode mode = {.copy_range = htonl(NET_LOG_BYTES), .copy_mode = NFULNL_COPY_PACKET};
	mnl_attr_put(request, NFULA_CFG_MODE, sizeof(mode), &mode);
	mnl_attr_put_u32(request, NFULA_CFG_QTHRESH, htonl(SOON_PACKETS));
	mnl_attr_put_u32(request, NFULA_CFG_TIMEOUT, htonl(SOON_10MS));
	mnl_attr_put_u32(request, NFULA_CFG_NLBUFSIZ, htonl(1024)); /* of one delivery: small, so that many fit */
	mnl_attr_put_u16(request, NFULA_CFG_FLAGS, htons(NFULNL_CFG_F_SEQ));
	if (mnl_socket_sendto(log->socket, request, request->nlmsg_len) < 0)
		return err_set(err, -errno, "cannot bind NFLOG group %u: %s", log->group, strerror(errno));
	return 0;
}

int nflog_bind(struct nflog *log, struct err *err)
{
	uint32_t reader = group_reader(log->group), own = mnl_socket_get_portid(log->socket);
	if (reader != 0 && reader != own)
		return 0;
	int r = reader == 0 ? group_take(log, err) : 0;
	if (r == 0 && group_reader(log->group) != own)
		r = err_set(err, -EIO, "the kernel did not bind NFLOG group %u: is CONFIG_NETFILTER_NETLINK_LOG there?",
		            log->group);
	log->bound = r == 0;
	return r < 0 ? r : 1;
}
