/* See server.h. One libuv server in the test's own loop, so that tests need no threads and no sleeps. */
#include "server.h"

#include "lib/bytes.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

struct connection {
	uv_tcp_t tcp;
	uv_timer_t timer;
	struct server *server;
	unsigned n_closing, dribbled;
	size_t size;
	char request[2000];
};

struct note {
	uv_write_t write;
	struct connection *connection;
	bool close;
	char text[]; /* what is written must live until it is */
};

static void on_closed(uv_handle_t *handle)
{
	struct connection *c = handle->data;
	if (--c->n_closing > 0)
		return;
	c->server->n_open--;
	free(c);
}

static void connection_close(struct connection *c)
{
	if (c->n_closing)
		return;
	c->n_closing = 2;
	uv_close((uv_handle_t *)&c->tcp, on_closed);
	uv_close((uv_handle_t *)&c->timer, on_closed);
}

static void on_written(uv_write_t *write, int status)
{
	struct note *note = write->data;
	if (note->close || status < 0)
		connection_close(note->connection);
	free(note);
}

static void say(struct connection *c, const char *text, size_t size, bool close)
{
	struct note *note = malloc(sizeof(*note) + size);
	assert(note);
	memcpy(note->text, text, size);
	note->connection = c;
	note->close = close;
	note->write.data = note;
	uv_buf_t part = uv_buf_init(note->text, (unsigned)size);
	int r = uv_write(&note->write, (uv_stream_t *)&c->tcp, &part, 1, on_written);
	assert(r == 0);
	c->server->sent += size;
}

static void say_body(struct connection *c, const char *status, const char *body, bool close, bool end)
{
	char text[600];
	int size = snprintf(text, sizeof(text), "HTTP/1.1 %s\r\nContent-Length: %zu\r\nConnection: %s\r\n\r\n%s", status,
	                    strlen(body), close ? "close" : "keep-alive", body);
	say(c, text, (size_t)size, end);
}

static void on_dribble(uv_timer_t *timer)
{
	static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n" SERVER_PAGE;
	struct connection *c = timer->data;
	if (c->dribbled < sizeof(answer) - 1)
		say(c, &answer[c->dribbled++], 1, false);
}

static void on_more(uv_write_t *write, int status)
{
	static char block[65536] = "HTTP/1.1 200 OK\r\n\r\n";
	struct connection *c = write->data;
	uv_buf_t part = uv_buf_init(block, sizeof(block));
	if (status < 0 || c->n_closing) {
		free(write);
		connection_close(c);
		return;
	}
	c->server->sent += sizeof(block);
	uv_write(write, (uv_stream_t *)&c->tcp, &part, 1, on_more);
}

static void flood(struct connection *c)
{
	uv_write_t *write = malloc(sizeof(*write));
	assert(write);
	write->data = c;
	on_more(write, 0);
}

static void answer_challenge(struct connection *c, const char *nonce_text, bool close)
{
	char nonce_hex[65], digest_hex[65], body[200];
	uint8_t nonce[32], page[32], digest[32];
	struct hmac_sha256_ctx hmac;
	c->server->n_challenges++;
	text_copy(nonce_hex, sizeof(nonce_hex), nonce_text);
	bool right = bytes_from_hex(nonce_hex, nonce, sizeof(nonce));
	assert(right);
	server_page_hash(page);
	hmac_sha256_set_key(&hmac, 32, c->server->key);
	hmac_sha256_update(&hmac, 32, nonce);
	hmac_sha256_update(&hmac, 32, page);
	hmac_sha256_digest(&hmac, 32, digest);
	digest[7] ^= c->server->mood == SERVER_WRONG_DIGEST;
	bytes_to_hex(digest, 32, digest_hex);
	double clock = (double)clock_real_us() / 1e6 - (c->server->mood == SERVER_WRONG_CLOCK ? 30 : 0);
	snprintf(body, sizeof(body), "{\"digest\":\"%s\",\"clock\":%.3f}\n", digest_hex, clock);
	say_body(c, "200 OK", body, close, close);
}

static void answer_rightly(struct connection *c, bool close)
{
	const char *nonce = strstr(c->request, "nonce=");
	if (nonce)
		answer_challenge(c, nonce + 6, close);
	else if (strncmp(c->request, "GET /api/reading ", 17) == 0)
		say_body(c, "200 OK", "{\"value\":23.5}\n", close, close);
	else
		say_body(c, "200 OK", SERVER_PAGE, close, close);
}

static void answer_request(struct connection *c)
{
	static const char half[] = "HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n<p>2";
	static const char other[] = "HTTP/1.1 200 OK\r\n\r\nother\n";
	char text[600];
	int size;
	static const char garbage[] = "220 mail.example ESMTP\r\n";
	bool close = strstr(c->request, "Connection: close") || strstr(c->request, " HTTP/1.0\r\n");
	switch (c->server->mood) {
	case SERVER_RIGHT:
	case SERVER_WRONG_DIGEST:
	case SERVER_WRONG_CLOCK:
		answer_rightly(c, close);
		break;
	case SERVER_WRONG:
		say_body(c, "200 OK", "hacked\n", close, close);
		break;
	case SERVER_HANG:
		break;
	case SERVER_DRIBBLE:
		uv_timer_start(&c->timer, on_dribble, 0, 20);
		break;
	case SERVER_ENDLESS:
		flood(c);
		break;
	case SERVER_HALF:
		say(c, half, sizeof(half) - 1, true);
		break;
	case SERVER_SILENT_END:
		connection_close(c);
		break;
	case SERVER_GARBAGE:
		say(c, garbage, sizeof(garbage) - 1, false);
		break;
	case SERVER_ERROR:
		say_body(c, "503 Busy", "", close, close);
		break;
	case SERVER_UNTIL_CLOSE:
		say(c, other, sizeof(other) - 1, true);
		break;
	case SERVER_SAYS:
		say_body(c, c->server->says_status, c->server->says, close, close);
		break;
	case SERVER_SAYS_UNTIL_CLOSE:
		size = snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\n\r\n%s", c->server->says);
		say(c, text, (size_t)size, true);
		break;
	case SERVER_FICKLE:
		say_body(c, "200 OK", SERVER_PAGE, false, true);
		break;
	}
}

static void on_space(uv_handle_t *handle, size_t wanted, uv_buf_t *ret_part)
{
	struct connection *c = handle->data;
	(void)wanted;
	*ret_part = uv_buf_init(c->request + c->size, (unsigned)(sizeof(c->request) - 1 - c->size));
}

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *part)
{
	struct connection *c = stream->data;
	struct server *server = c->server;
	(void)part;
	if (got < 0) {
		connection_close(c);
		return;
	}
	c->size += (size_t)got;
	c->request[c->size] = '\0';
	if (!strstr(c->request, "\r\n\r\n"))
		return;
	if (server->n_seen < SERVER_SEEN_MAX)
		text_copy(server->seen[server->n_seen++], sizeof(server->seen[0]), c->request);
	server->n_requests++;
	c->size = 0;
	if (server->says_each)
		server->says = server->says_each[server->n_requests % server->n_says_each];
	answer_request(c);
}

static void on_connection(uv_stream_t *stream, int status)
{
	struct server *server = stream->data;
	struct connection *c = calloc(1, sizeof(*c));
	assert(c && status == 0);
	c->server = server;
	c->tcp.data = c->timer.data = c;
	uv_tcp_init(server->loop, &c->tcp);
	uv_timer_init(server->loop, &c->timer);
	int r = uv_accept(stream, (uv_stream_t *)&c->tcp);
	assert(r == 0);
	server->n_connections++;
	server->n_open++;
	uv_read_start((uv_stream_t *)&c->tcp, on_space, on_read);
}

void server_start(struct server *server, uv_loop_t *loop, bool ipv6)
{
	struct sockaddr_in four;
	struct sockaddr_in6 six;
	int size = sizeof(six);
	memset(server, 0, sizeof(*server));
	server->loop = loop;
	uv_ip4_addr("127.0.0.1", 0, &four);
	uv_ip6_addr("::1", 0, &six);
	uv_tcp_init(loop, &server->listener);
	server->listener.data = server;
	int r = uv_tcp_bind(&server->listener, ipv6 ? (struct sockaddr *)&six : (struct sockaddr *)&four, 0);
	assert(r == 0);
	r = uv_listen((uv_stream_t *)&server->listener, 64, on_connection);
	assert(r == 0);
	uv_tcp_getsockname(&server->listener, (struct sockaddr *)&six, &size);
	server->port = ntohs(six.sin6_port); /* the same place in both */
	memset(server->key, 0x42, sizeof(server->key));
}

static void close_connections(uv_handle_t *handle, void *arg)
{
	const struct server *server = arg;
	bool listens = handle->type == UV_TCP && ((uv_stream_t *)handle)->connection_cb; /* ours or another server's */
	if (handle->type == UV_TCP && !listens && !uv_is_closing(handle) && ((struct connection *)handle->data)->server == server)
		connection_close(handle->data);
}

void server_stop(struct server *server)
{
	uv_walk(server->loop, close_connections, server);
	uv_close((uv_handle_t *)&server->listener, NULL);
}

void server_page_hash(uint8_t ret_sha256[static 32])
{
	struct sha256_ctx hash;
	sha256_init(&hash);
	sha256_update(&hash, strlen(SERVER_PAGE), (const uint8_t *)SERVER_PAGE);
	sha256_digest(&hash, 32, ret_sha256);
}
