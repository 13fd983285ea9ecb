/*
 * koboshi-serve: the web server of a guest that is only a network namespace. It answers every GET with one file, read anew each
 * time, and keeps connections open when asked to. While there is a file of that name with ".delay" behind it, answers come so
 * many milliseconds late, in the order of the questions. One thread, one epoll, bounded in everything; for the laboratory alone.
 */
#include "lib/attr.h"
#include "lib/bytes.h"

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define CONNECTIONS_MAX 4096
#define HEAD_MAX 2048
#define PAGE_MAX 65536
#define PORT_MAX 65535
#define DELAY_MAX_MS 60000

struct connection {    /* by its descriptor */
	bool waits;    /* for an answer that comes late */
	uint64_t life; /* the how many-th on this descriptor */
	size_t size;
	char head[HEAD_MAX];
};

/* Answers that come late, the oldest first. A connection that ended meanwhile has another life then. */
struct late {
	int64_t due_us;
	uint64_t life;
	int fd;
};

struct server {
	int epoll, listener;
	const char *file;
	char delay_file[PATH_MAX];
	struct connection *connections;
	struct late *late;
	size_t late_first, n_late;
};

static int fail(const char *what)
{
	fprintf(stderr, "koboshi-serve: %s: %s\n", what, strerror(errno));
	return 1;
}

static void drop(struct server *server, int fd)
{
	server->connections[fd].size = 0;
	server->connections[fd].waits = false;
	server->connections[fd].life++;
	close(fd);
}

static bool keeps(const char *head)
{
	return strncasecmp(head, "HTTP/1.1", 8) == 0 && !strcasestr(head, "connection: close");
}

/* An answer of this size fits into an empty socket's buffer; a client that does not read its answers is let go. */
static bool reply(const struct server *server, int fd, const char *head)
{
	static char packet[PAGE_MAX + 256];
	uint8_t *page;
	size_t size;
	bool keep = keeps(head);
	if (file_read(server->file, PAGE_MAX, &page, &size, NULL) < 0)
		return false;
	int n = snprintf(packet, 256,
	                 "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %zu\r\nConnection: %s\r\n\r\n", size,
	                 keep ? "keep-alive" : "close");
	memcpy(packet + n, page, size);
	free(page);
	return send(fd, packet, (size_t)n + size, MSG_NOSIGNAL) == n + (ssize_t)size && keep;
}

/* Where the version stands in the first line; NULL: it asks for something else than a page. */
static const char *version(const char *head)
{
	const char *line_end = strchr(head, '\r'), *at = strstr(head, " HTTP/1.");
	return strncmp(head, "GET ", 4) == 0 && at && line_end && at < line_end ? at + 1 : NULL;
}

static int delay_ms(const struct server *server)
{
	auto_free uint8_t *text = NULL;
	size_t size;
	if (access(server->delay_file, F_OK) < 0 || file_read(server->delay_file, 16, &text, &size, NULL) < 0)
		return 0;
	long ms = strtol((const char *)text, NULL, 10);
	return ms > 0 && ms <= DELAY_MAX_MS ? (int)ms : 0;
}

static bool put_off(struct server *server, int fd, int ms)
{
	struct connection *connection = &server->connections[fd];
	if (server->n_late == CONNECTIONS_MAX)
		return false;
	size_t last = (server->late_first + server->n_late++) % CONNECTIONS_MAX;
	server->late[last] = (struct late){clock_monotonic_us() + ms * INT64_C(1000), connection->life, fd};
	connection->waits = true;
	return true;
}

/* What is due is answered; in how many milliseconds the next is, -1: none waits. */
static int catch_up(struct server *server)
{
	while (server->n_late > 0) {
		struct late late = server->late[server->late_first];
		struct connection *connection = &server->connections[late.fd];
		bool there = connection->waits && connection->life == late.life;
		int64_t left_us = late.due_us - clock_monotonic_us();
		if (there && left_us > 0)
			return (int)(left_us / 1000) + 1;
		server->late_first = (server->late_first + 1) % CONNECTIONS_MAX;
		server->n_late--;
		connection->waits = there ? false : connection->waits;
		if (there && !reply(server, late.fd, connection->head))
			drop(server, late.fd);
	}
	return -1;
}

static void hear(struct server *server, int fd)
{
	struct connection *connection = &server->connections[fd];
	ssize_t got = recv(fd, connection->head + connection->size, HEAD_MAX - 1 - connection->size, 0);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0 || connection->waits) { /* who asks on before the answer is there is not waited for */
		drop(server, fd);
		return;
	}
	connection->size += (size_t)got;
	connection->head[connection->size] = '\0';
	if (!strstr(connection->head, "\r\n\r\n")) {
		if (connection->size == HEAD_MAX - 1)
			drop(server, fd);
		return;
	}
	const char *asked = version(connection->head);
	connection->size = 0;
	int ms = asked ? delay_ms(server) : 0;
	if (ms > 0)
		memmove(connection->head, asked, strlen(asked) + 1);
	if (!asked || !(ms > 0 ? put_off(server, fd, ms) : reply(server, fd, asked)))
		drop(server, fd);
}

static void meet(struct server *server)
{
	for (;;) {
		int fd = accept4(server->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0)
			return;
		struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
		if (fd >= CONNECTIONS_MAX || epoll_ctl(server->epoll, EPOLL_CTL_ADD, fd, &event) < 0)
			close(fd);
		else
			server->connections[fd].size = 0;
	}
}

static int serve(struct server *server)
{
	struct epoll_event events[64];
	for (;;) {
		int n = epoll_wait(server->epoll, events, countof(events), catch_up(server));
		if (n < 0 && errno != EINTR)
			return fail("cannot wait");
		for (int i = 0; i < n; i++)
			if (events[i].data.fd == server->listener)
				meet(server);
			else
				hear(server, events[i].data.fd);
	}
}

int main(int argc, char **argv)
{
	char *end = NULL;
	unsigned long port = argc == 3 ? strtoul(argv[1], &end, 10) : 0;
	if (!end || *end || port == 0 || port > PORT_MAX) {
		fputs("usage: koboshi-serve PORT FILE\n", stderr);
		return 2;
	}
	struct server server = {.epoll = epoll_create1(EPOLL_CLOEXEC), .file = argv[2]};
	if (snprintf(server.delay_file, sizeof(server.delay_file), "%s.delay", argv[2]) >= (int)sizeof(server.delay_file))
		return errno = ENAMETOOLONG, fail(argv[2]);
	server.connections = calloc(CONNECTIONS_MAX, sizeof(*server.connections));
	server.late = calloc(CONNECTIONS_MAX, sizeof(*server.late));
	server.listener = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
	struct epoll_event event = {.events = EPOLLIN, .data.fd = server.listener};
	int one = 1;
	if (server.epoll < 0 || !server.connections || !server.late || server.listener < 0 ||
	    setsockopt(server.listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    bind(server.listener, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(server.listener, 1024) < 0 ||
	    epoll_ctl(server.epoll, EPOLL_CTL_ADD, server.listener, &event) < 0)
		return fail("cannot listen");
	return serve(&server);
}
