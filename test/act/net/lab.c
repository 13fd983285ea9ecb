/* See lab.h. Every wait is for an event with a limit; a step of the making that fails ends the test. */
#include "lab.h"

#include "lib/bytes.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/if_packet.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_log.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define need(condition)                                                                                                          \
	do {                                                                                                                     \
		if (!(condition)) {                                                                                              \
			fprintf(stderr, "lab: %s:%d: %s (%s)\n", __FILE__, __LINE__, #condition, strerror(errno));               \
			abort();                                                                                                 \
		}                                                                                                                \
	} while (0)

static const char settings[] = "paths:\n  run: %s\n  state: %s/kept\n"
                               "guests:\n  addresses: [192.0.2.0/26, \"2001:db8:1::/64\"]\n"
                               "services:\n  web:\n    addresses: [203.0.113.10, \"2001:db8:10::10\"]\n"
                               "    ports: [80/tcp, 53/udp]\n    variants: [amber]\n%s";
static const char ranges_line[] = "    clients: [198.51.100.0/24, \"2001:db8:20::/64\"]\n";

int lab_command(const char *format, ...)
{
	char command[1024];
	va_list args;
	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	int status = system(command);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void lab_enter(struct lab *lab, enum place place)
{
	need(setns(lab->place[place], CLONE_NEWNET) == 0);
}

static void places_make(struct lab *lab)
{
	for (int i = 0; i < LAB_PLACES; i++) {
		need(unshare(CLONE_NEWNET) == 0);
		lab->place[i] = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
		need(lab->place[i] >= 0);
		need(lab_command("ip link set lo up") == 0);
	}
}

static void wire_make(struct lab *lab, const char *host_end, const char *far_end, enum place place)
{
	lab_enter(lab, LAB_HOST);
	need(lab_command("ip link add %s type veth peer name %s && ip link set %s netns /proc/%d/fd/%d", host_end, far_end,
	                 far_end, getpid(), lab->place[place]) == 0);
}

/* A host asks for no neighbour before it has seen, for two seconds, that its link-local address is nobody else's: not here. */
static void client_make(struct lab *lab)
{
	wire_make(lab, "wan0", "eth0", LAB_CLIENT);
	need(lab_command("echo 0 > /proc/sys/net/ipv6/conf/wan0/accept_dad") == 0);
	need(lab_command("ip addr add 198.51.100.1/24 dev wan0 && ip addr add 2001:db8:20::1/64 dev wan0 nodad && "
	                 "ip link set wan0 up") == 0);
	lab_enter(lab, LAB_CLIENT);
	need(lab_command("ip addr add 198.51.100.7/24 dev eth0 && ip addr add 2001:db8:20::7/64 dev eth0 nodad && "
	                 "ip link set eth0 up && ip route add default via 198.51.100.1 && "
	                 "ip -6 route add default via 2001:db8:20::1") == 0);
}

void lab_make(struct lab *lab, bool ranges)
{
	*lab = (struct lab){.supervisor = -1, .engine = -1, .log = -1, .flows = -1};
	snprintf(lab->folder, sizeof(lab->folder), "/tmp/koboshi-net-XXXXXX");
	need(mkdtemp(lab->folder));
	snprintf(lab->config, sizeof(lab->config), "%s/c.yaml", lab->folder);
	FILE *out = fopen(lab->config, "w");
	need(out);
	fprintf(out, settings, lab->folder, lab->folder, ranges ? ranges_line : "");
	fclose(out);
	need(lab_command("mkdir %s/kept", lab->folder) == 0);
	struct err err;
	if (conf_load(lab->config, &lab->conf, &err) < 0)
		fprintf(stderr, "lab: %s\n", err.text), abort();
	places_make(lab);
	client_make(lab);
}

void lab_end(struct lab *lab)
{
	lab_kill(lab);
	for (int i = 0; i < LAB_PLACES; i++)
		close(lab->place[i]);
	lab_command("rm -rf %s", lab->folder);
}

void lab_guest(struct lab *lab, uint32_t number)
{
	struct conf_instance i;
	char four[INET_ADDRSTRLEN], six[INET6_ADDRSTRLEN], gate4[INET_ADDRSTRLEN], gate6[INET6_ADDRSTRLEN];
	conf_instance(&lab->conf, number, &i);
	inet_ntop(AF_INET, &i.address4, four, sizeof(four));
	inet_ntop(AF_INET6, &i.address6, six, sizeof(six));
	inet_ntop(AF_INET, &i.gateway4, gate4, sizeof(gate4));
	inet_ntop(AF_INET6, &i.gateway6, gate6, sizeof(gate6));
	enum place place = LAB_GUEST1 + number - 1;
	wire_make(lab, i.tap, "eth0", place);
	lab_enter(lab, place);
	need(lab_command("ip link set eth0 address %02x:%02x:%02x:%02x:%02x:%02x && ip link set eth0 up && ip addr add %s/32 dev "
	                 "eth0 && "
	                 "ip addr add %s/128 dev eth0 nodad && ip route add default via %s dev eth0 onlink && "
	                 "ip -6 route add default via %s dev eth0 onlink",
	                 i.mac[0], i.mac[1], i.mac[2], i.mac[3], i.mac[4], i.mac[5], four, six, gate4, gate6) == 0);
}

/* ---- the program */

static pid_t program_fork(struct lab *lab, const char *program, const char *option, int link)
{
	lab_enter(lab, LAB_HOST);
	pid_t child = fork();
	need(child >= 0);
	if (child > 0)
		return child;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (link >= 0)
		dup2(link, WIRE_SUPERVISOR_FD);
	for (int i = 0; i < 2; i++)
		if (lab->tarpit[i] > 0)
			dup2(lab->tarpit[i], i ? WIRE_DECOY6_FD : WIRE_DECOY4_FD);
	execl(program, program, "--config", lab->config, option, (char *)NULL);
	_exit(127);
}

int lab_run(struct lab *lab, const char *program, const char *option)
{
	int status;
	pid_t child = program_fork(lab, program, option, -1);
	need(waitpid(child, &status, 0) == child);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void receive(struct lab *lab, struct wire_message *message, int *ret_fds, size_t max)
{
	int fds[WIRE_FDS_MAX];
	size_t n_fds = 0;
	struct err err = {0};
	need(lab_readable(lab->engine, 10000));
	int r = wire_receive(lab->engine, message, fds, &n_fds, &err);
	if (r != 1)
		fprintf(stderr, "lab: %s\n", err.text), abort();
	for (size_t i = 0; i < n_fds && i < max; i++)
		ret_fds[i] = fds[i];
}

void lab_relink(struct lab *lab)
{
	int pair[2];
	struct err err;
	struct wire_message message = {.kind = WIRE_LINK, .link = {.role = WIRE_ENGINE}};
	need(wire_pair(pair, &err) == 0 && wire_send(lab->supervisor, &message, &pair[1], 1, &err) == 0);
	close(pair[1]);
	if (lab->engine >= 0)
		close(lab->engine);
	if (lab->log >= 0)
		close(lab->log);
	if (lab->flows >= 0)
		close(lab->flows);
	int fds[2] = {-1, -1};
	lab->engine = pair[0];
	receive(lab, &message, fds, 2);
	lab->log = fds[0];
	lab->flows = fds[1];
	need(message.kind == WIRE_NOTICE && message.note.type == NOTICE_READY && lab->log >= 0 && lab->flows >= 0);
	receive(lab, &message, NULL, 0);
	need(message.kind == WIRE_NOTICE && message.note.type == NOTICE_RESCUE);
	text_copy(lab->not_rescued, sizeof(lab->not_rescued), message.note.text);
}

void lab_start(struct lab *lab, const char *program)
{
	int pair[2];
	struct err err;
	need(wire_pair(pair, &err) == 0);
	if (lab->supervisor >= 0)
		close(lab->supervisor);
	lab->supervisor = pair[0];
	lab->program = program_fork(lab, program, NULL, pair[1]);
	close(pair[1]);
	lab_relink(lab);
}

void lab_kill(struct lab *lab)
{
	if (lab->program <= 0)
		return;
	kill(lab->program, SIGKILL);
	need(waitpid(lab->program, NULL, 0) == lab->program);
	lab->program = 0;
}

bool lab_linked(struct lab *lab)
{
	char byte;
	struct pollfd watched = {.fd = lab->engine, .events = POLLIN};
	return poll(&watched, 1, 1000) == 0 || recv(lab->engine, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

struct wire_answer lab_order(struct lab *lab, struct wire_order order)
{
	struct err err;
	order.id = ++lab->id;
	struct wire_message message = {.kind = WIRE_ORDER, .order = order};
	need(wire_send(lab->engine, &message, NULL, 0, &err) == 0);
	receive(lab, &message, NULL, 0);
	need(message.kind == WIRE_ANSWER && message.answer.id == order.id);
	return message.answer;
}

struct wire_note lab_notice(struct lab *lab)
{
	struct wire_message message;
	receive(lab, &message, NULL, 0);
	need(message.kind == WIRE_NOTICE);
	return message.note;
}

bool lab_says_nothing(struct lab *lab, int patience_ms)
{
	return !lab_readable(lab->engine, patience_ms);
}

/* ---- sockets */

bool lab_readable(int fd, int patience_ms)
{
	struct pollfd watched = {.fd = fd, .events = POLLIN};
	return poll(&watched, 1, patience_ms) == 1;
}

static int bound(struct lab *lab, enum place place, int type, uint16_t port)
{
	lab_enter(lab, place);
	int fd = socket(AF_INET6, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1;
	struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	need(fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0);
	need(bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
	return fd;
}

int lab_listen(struct lab *lab, enum place place, uint16_t port)
{
	int fd = bound(lab, place, SOCK_STREAM, port);
	need(listen(fd, 2048) == 0);
	return fd;
}

int lab_datagrams(struct lab *lab, enum place place, uint16_t port)
{
	return bound(lab, place, SOCK_DGRAM, port);
}

static socklen_t address_of(const char *text, uint16_t port, struct sockaddr_storage *ret)
{
	struct sockaddr_in *four = (struct sockaddr_in *)ret;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)ret;
	memset(ret, 0, sizeof(*ret));
	if (inet_pton(AF_INET, text, &four->sin_addr) == 1) {
		four->sin_family = AF_INET;
		four->sin_port = htons(port);
		return sizeof(*four);
	}
	need(inet_pton(AF_INET6, text, &six->sin6_addr) == 1);
	six->sin6_family = AF_INET6;
	six->sin6_port = htons(port);
	return sizeof(*six);
}

int lab_connect(struct lab *lab, enum place place, const char *to, uint16_t port, const char *from)
{
	struct sockaddr_storage address;
	socklen_t size = address_of(to, port, &address);
	lab_enter(lab, place);
	int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	need(fd >= 0);
	if (from) {
		struct sockaddr_storage source;
		need(bind(fd, (struct sockaddr *)&source, address_of(from, 0, &source)) == 0);
	}
	(void)!connect(fd, (struct sockaddr *)&address, size);
	return fd;
}

int lab_outcome(int fd, int patience_ms)
{
	struct pollfd watched = {.fd = fd, .events = POLLOUT};
	int error = 0;
	socklen_t size = sizeof(error);
	if (poll(&watched, 1, patience_ms) != 1)
		return -ETIMEDOUT;
	need(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0);
	return -error;
}

int lab_accept(int fd, int patience_ms, char *ret_peer)
{
	struct sockaddr_in6 peer;
	socklen_t size = sizeof(peer);
	if (!lab_readable(fd, patience_ms))
		return -1;
	int taken = accept4(fd, (struct sockaddr *)&peer, &size, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (taken >= 0 && ret_peer) {
		bool four = IN6_IS_ADDR_V4MAPPED(&peer.sin6_addr);
		inet_ntop(four ? AF_INET : AF_INET6, four ? (void *)&peer.sin6_addr.s6_addr[12] : (void *)&peer.sin6_addr,
		          ret_peer, INET6_ADDRSTRLEN);
	}
	return taken;
}

int lab_frames(struct lab *lab, enum place place, const char *link)
{
	lab_enter(lab, place);
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(ETH_P_ALL));
	struct sockaddr_ll address = {
	        .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = (int)if_nametoindex(link)};
	need(fd >= 0 && address.sll_ifindex > 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
	return fd;
}

/* ---- log */

static int logged_one(const struct nlmsghdr *message, void *arg)
{
	struct lab_logged *logged = arg;
	const struct nlattr *part;
	if ((message->nlmsg_type & 0xff) != NFULNL_MSG_PACKET)
		return MNL_CB_OK;
	mnl_attr_for_each(part, message, sizeof(struct nfgenmsg))
	{
		if (mnl_attr_get_type(part) != NFULA_PREFIX)
			continue;
		const char *prefix = mnl_attr_get_str(part);
		unsigned *count = strcmp(prefix, "kb:rst") == 0     ? &logged->rst
		                  : strcmp(prefix, "kb:syn") == 0   ? &logged->syn
		                  : strcmp(prefix, "kb:ack") == 0   ? &logged->ack
		                  : strcmp(prefix, "kb:ask") == 0   ? &logged->ask
		                  : strcmp(prefix, "kb:say") == 0   ? &logged->say
		                  : strcmp(prefix, "kb:out") == 0   ? &logged->out
		                  : strcmp(prefix, "kb:stray") == 0 ? &logged->stray
		                  : strcmp(prefix, "kb:try") == 0   ? &logged->tried
		                  : strcmp(prefix, "kb:spoof") == 0 ? &logged->spoof
		                  : strcmp(prefix, "kb:decoy") == 0 ? &logged->decoy
		                                                    : &logged->other;
		++*count;
	}
	return MNL_CB_OK;
}

struct lab_logged lab_logged(struct lab *lab, int patience_ms)
{
	struct lab_logged logged = {0};
	char buffer[16384];
	while (lab_readable(lab->log, patience_ms)) {
		ssize_t got = recv(lab->log, buffer, sizeof(buffer), MSG_DONTWAIT);
		if (got > 0 && mnl_cb_run(buffer, (size_t)got, 0, 0, logged_one, &logged) < 0)
			logged.other++;
	}
	return logged;
}
