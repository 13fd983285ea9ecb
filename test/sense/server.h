#pragma once
/* A scripted HTTP server on loopback for the tests of probers: what it does with the next request is a variable. */
#include <nettle/hmac.h>
#include <stdbool.h>
#include <uv.h>

#define SERVER_PAGE "<p>23.5 C</p>\n"
#define SERVER_SEEN_MAX 200

enum server_mood {
	SERVER_RIGHT,
	SERVER_WRONG,      /* other bytes */
	SERVER_HANG,       /* reads and says nothing */
	SERVER_DRIBBLE,    /* one byte each 20 ms */
	SERVER_ENDLESS,    /* as many bytes as the socket takes */
	SERVER_HALF,       /* half an answer, then closes */
	SERVER_SILENT_END, /* closes without an answer */
	SERVER_GARBAGE,
	SERVER_ERROR,       /* 503 */
	SERVER_UNTIL_CLOSE, /* other bytes that end with the connection */
	SERVER_FICKLE,      /* right, says keep-alive, closes right after */
	SERVER_WRONG_DIGEST,
	SERVER_WRONG_CLOCK,
	SERVER_SAYS,            /* `says_status` and `says` */
	SERVER_SAYS_UNTIL_CLOSE /* only `says`, its end is the connection's */
};

struct server {
	uv_tcp_t listener;
	uv_loop_t *loop;
	int port;
	enum server_mood mood;
	const char *says_status, *says;
	const char *const *says_each; /* instead of `says`, one after the other */
	size_t n_says_each;
	uint8_t key[32];
	unsigned n_connections, n_requests, n_seen, n_challenges, n_open;
	uint64_t sent;
	char seen[SERVER_SEEN_MAX][1100];
};

void server_start(struct server *server, uv_loop_t *loop, bool ipv6);
void server_stop(struct server *server); /* run the loop afterwards */
void server_page_hash(uint8_t ret_sha256[static 32]);
