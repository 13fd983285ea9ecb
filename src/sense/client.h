#pragma once
/* Requests that look like those of ordinary clients; and the random numbers that choose among them. */
#include "conf/conf.h"

#include <stddef.h>
#include <stdint.h>

/* Random bytes from the kernel, drawn in pools to save calls: what a guest has seen says nothing about what comes next. */
struct client_random {
	uint8_t pool[128];
	size_t left;
};
void client_random_fill(struct client_random *random, void *ret_bytes, size_t size);
uint32_t client_random_below(struct client_random *random, uint32_t limit); /* 0..limit-1; limit >= 1 */

/* One pretended client: kept for the life of a connection, as a real one keeps its headers. */
struct client_shape {
	uint32_t profile;
	uint32_t salt; /* versions, languages and other small things that differ between clients of a kind */
};

enum client_connection { CLIENT_KEEPS, CLIENT_CLOSES };

#define CLIENT_REQUEST_MAX 1024

void client_shape_choose(struct client_random *random, struct client_shape *ret_shape);
uint32_t client_profiles(void); /* how many kinds there are */

/* Writes "GET path ..." with its headers; returns its length. Depends on its arguments only. `path` is shorter than 300 bytes
 * and `host` than 64. */
size_t client_request(const struct client_shape *shape, const char *path, const char *host, enum client_connection connection,
                      char ret_request[static CLIENT_REQUEST_MAX]);

/* What clients write behind the host's name: ":8080", or "" where the port is what they take anyway. */
#define CLIENT_PORT_MAX 8
void client_port(const struct conf_probe *probe, char ret_text[static CLIENT_PORT_MAX]);
