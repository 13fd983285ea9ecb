#pragma once
/*
 * The API on the Unix socket: JSON under /v1/, usable with `curl --unix-socket`. Who may use it is decided by the socket's
 * permissions. Paths and answers are described in docs/api.md.
 */
#include "engine/engine.h"

struct api;

/* Serves connections that arrive on `listen_fd` (taken). NULL with `err` filled when that cannot be. */
struct api *api_new(struct engine *e, int listen_fd, struct err *err) must_use;
void api_free(struct api *api);
