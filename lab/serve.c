/*
 * koboshi-serve: the web server of a guest that is only a network namespace. It answers every GET with one file, read anew each
 * time, and keeps connections open when asked to. One thread, one epoll, bounded in everything; for the laboratory alone.
 */
#include "lib/attr.h"
#include "lib/bytes.h"

#include <errno.h>
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

struct connection { /* by its descriptor */
	size_t size;
	char head[HEAD_MAX];
};

struct server {
	int epoll, listener;
	const char *file;
	struct connection *connections;
};

static int fail(const char *what)
{
	fprintf(stderr, "koboshi-serve: %s: %s\n", what, strerror(errno));
	return 1;
}

static void drop(struct server *server, int fd)
{
	server->connections[fd].size = 0;
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

static void hear(struct server *server, int fd)
{
	struct connection *connection = &server->connections[fd];
	ssize_t got = recv(fd, connection->head + connection->size, HEAD_MAX - 1 - connection->size, 0);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) {
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
	if (!asked || !reply(server, fd, asked))
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
		int n = epoll_wait(server->epoll, events, countof(events), -1);
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
	server.connections = calloc(CONNECTIONS_MAX, sizeof(*server.connections));
	server.listener = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
	struct epoll_event event = {.events = EPOLLIN, .data.fd = server.listener};
	int one = 1;
	if (server.epoll < 0 || !server.connections || server.listener < 0 ||
	    setsockopt(server.listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    bind(server.listener, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(server.listener, 1024) < 0 ||
	    epoll_ctl(server.epoll, EPOLL_CTL_ADD, server.listener, &event) < 0)
		return fail("cannot listen");
	return serve(&server);
}
