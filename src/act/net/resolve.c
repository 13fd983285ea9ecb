/* See resolve.h. The system's list of hosts comes first, as everywhere else on the host; search domains are not tried. */
#include "act/net/resolve.h"

#include "lib/log.h"
#include "lib/sandbox.h"

#include <ares.h>
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#define TRIES 3
#define TRY_MS 2000
#define OUT 3

static_assert(sizeof(struct resolved) <= PIPE_BUF, "all or nothing");

static void say(const struct resolved *resolved)
{
	if (write(OUT, resolved, sizeof(*resolved)) != (ssize_t)sizeof(*resolved))
		_exit(1);
}

static enum resolved_how how_of(int status)
{
	switch (status) {
	case ARES_SUCCESS:
		return RESOLVED_FOUND;
	case ARES_ENODATA:
	case ARES_ENOTFOUND:
	case ARES_EBADNAME:
		return RESOLVED_NONE;
	case ARES_ETIMEOUT:
	case ARES_ECONNREFUSED:
		return RESOLVED_SILENT;
	default:
		return RESOLVED_FAILED;
	}
}

static void address_take(struct resolved *resolved, const struct ares_addrinfo_node *node)
{
	bool v6 = node->ai_family == AF_INET6;
	if ((!v6 && node->ai_family != AF_INET) || resolved->n == RESOLVE_ADDRESSES_MAX)
		return;
	struct resolved_address *address = &resolved->addresses[resolved->n++];
	address->v6 = v6;
	if (v6)
		memcpy(address->bytes, &((const struct sockaddr_in6 *)(const void *)node->ai_addr)->sin6_addr, 16);
	else
		memcpy(address->bytes, &((const struct sockaddr_in *)(const void *)node->ai_addr)->sin_addr, 4);
}

static uint32_t shorter(uint32_t ttl_s, int other)
{
	return other >= 0 && (uint32_t)other < ttl_s ? (uint32_t)other : ttl_s;
}

static void on_answer(void *arg, int status, int timeouts unused_arg, struct ares_addrinfo *info)
{
	const struct question *question = arg;
	struct resolved resolved = {.index = question->index, .how = how_of(status), .ttl_s = UINT32_MAX};
	for (const struct ares_addrinfo_node *node = info ? info->nodes : NULL; node; node = node->ai_next) {
		address_take(&resolved, node);
		resolved.ttl_s = shorter(resolved.ttl_s, node->ai_ttl);
	}
	for (const struct ares_addrinfo_cname *alias = info ? info->cnames : NULL; alias; alias = alias->next)
		resolved.ttl_s = shorter(resolved.ttl_s, alias->ttl);
	if (resolved.how == RESOLVED_FOUND && resolved.n == 0)
		resolved.how = RESOLVED_NONE;
	if (info)
		ares_freeaddrinfo(info);
	if (status != ARES_EDESTRUCTION)
		say(&resolved);
}

static void servers_put(const struct conf *conf, char *text, size_t size)
{
	char one[INET6_ADDRSTRLEN];
	size_t used = 0;
	text[0] = '\0';
	for (size_t i = 0; i < conf->n_resolvers; i++) {
		const struct conf_address *server = &conf->resolvers[i];
		inet_ntop(server->family, server->family == AF_INET6 ? (const void *)&server->six : (const void *)&server->four,
		          one, sizeof(one));
		used += (size_t)snprintf(text + used, size - used, "%s%s", i ? "," : "", one);
	}
}

static int channel_open(const struct conf *conf, ares_channel *ret_channel)
{
	struct ares_options options = {.flags = ARES_FLAG_NOSEARCH, .timeout = TRY_MS, .tries = TRIES};
	char servers[CONF_RESOLVERS_MAX * (INET6_ADDRSTRLEN + 1)];
	int r = ares_library_init(ARES_LIB_INIT_ALL);
	if (r == ARES_SUCCESS)
		r = ares_init_options(ret_channel, &options, ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES);
	servers_put(conf, servers, sizeof(servers));
	if (r == ARES_SUCCESS && servers[0])
		r = ares_set_servers_csv(*ret_channel, servers);
	return r;
}

static int confine(struct err *err)
{
	static struct sandbox_report report;
	static const struct sandbox wanted = {.paths = {{"/etc/hosts", false}}, .n_paths = 1, .violation = SANDBOX_DENY};
	const struct rlimit none = {0, 0}, cpu = {RESOLVE_ROUND_S, RESOLVE_ROUND_S};
	(void)!setrlimit(RLIMIT_CORE, &none);
	(void)!setrlimit(RLIMIT_FSIZE, &none);
	(void)!setrlimit(RLIMIT_NPROC, &none);
	(void)!setrlimit(RLIMIT_CPU, &cpu);
	return sandbox_apply(&wanted, &report, err);
}

static void answers_await(ares_channel channel)
{
	struct timeval patience;
	ares_socket_t sockets[ARES_GETSOCK_MAXNUM];
	for (int wanted; (wanted = ares_getsock(channel, sockets, ARES_GETSOCK_MAXNUM));) {
		struct pollfd watched[ARES_GETSOCK_MAXNUM];
		nfds_t n = 0;
		for (int i = 0; i < ARES_GETSOCK_MAXNUM; i++) {
			short events = (short)((ARES_GETSOCK_READABLE(wanted, i) ? POLLIN : 0) |
			                       (ARES_GETSOCK_WRITABLE(wanted, i) ? POLLOUT : 0));
			if (events)
				watched[n++] = (struct pollfd){.fd = sockets[i], .events = events};
		}
		const struct timeval *left = ares_timeout(channel, NULL, &patience);
		(void)poll(watched, n, left ? (int)(left->tv_sec * 1000 + left->tv_usec / 1000) + 1 : TRY_MS);
		for (nfds_t i = 0; i < n; i++)
			if (watched[i].revents)
				ares_process_fd(channel, (watched[i].revents & ~POLLOUT) ? watched[i].fd : ARES_SOCKET_BAD,
				                (watched[i].revents & POLLOUT) ? watched[i].fd : ARES_SOCKET_BAD);
		ares_process_fd(channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD); /* what took too long */
	}
}

static void child_main(const struct conf *conf, const struct question *questions, size_t n, int out)
{
	const struct ares_addrinfo_hints hints = {.ai_family = AF_UNSPEC, .ai_flags = ARES_AI_NOSORT};
	ares_channel channel;
	struct err err = {0};
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	alarm(RESOLVE_ROUND_S);
	if (dup2(out, OUT) < 0 || syscall(SYS_close_range, OUT + 1, ~0U, 0) != 0)
		_exit(1);
	int r = channel_open(conf, &channel);
	if (r != ARES_SUCCESS)
		log_warning("net.names", "cannot ask for names: %s", ares_strerror(r));
	else if (confine(&err) < 0)
		log_warning("net.names", "names are not asked for: %s", err.text);
	for (size_t i = 0; i < n && (r != ARES_SUCCESS || err.code < 0); i++)
		say(&(struct resolved){.index = questions[i].index, .how = RESOLVED_BROKEN});
	if (r != ARES_SUCCESS || err.code < 0)
		_exit(1);
	for (size_t i = 0; i < n; i++)
		ares_getaddrinfo(channel, questions[i].name, NULL, &hints, on_answer, (void *)&questions[i]);
	answers_await(channel);
	_exit(0); /* no clean-up: the kernel is faster */
}

int resolve_start(const struct conf *conf, const struct question *questions, size_t n, pid_t *ret_child, int *ret_fd,
                  struct err *err)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_set(err, -errno, "cannot make a pipe: %s", strerror(errno));
	pid_t child = fork();
	if (child == 0)
		child_main(conf, questions, n, ends[1]);
	int code = -errno;
	close(ends[1]);
	if (child < 0) {
		close(ends[0]);
		return err_set(err, code, "cannot start a child that asks for names: %s", strerror(-code));
	}
	(void)fcntl(ends[0], F_SETFL, O_NONBLOCK);
	*ret_child = child;
	*ret_fd = ends[0];
	return 0;
}
