#pragma once
/* One request to koboshid's API over its Unix socket. Whatever answers is bounded in bytes and time. */
#include "lib/err.h"

#include <jansson.h>

#define API_ANSWER_MAX (8u << 20)
#define API_TIMEOUT_MS 10000
#define API_DEPTH_MAX 12

struct api_answer {
	int status;   /* 200..599 */
	char *body;   /* owned, NUL behind it */
	json_t *json; /* owned; an object. Control characters in texts are replaced: they may come from a guest */
};

/* `body` may be NULL (then it is a GET). 0, also for 4xx and 5xx: the caller looks at `status`. */
int api_call(const char *socket_path, const char *path, const char *body, struct api_answer *ret_answer,
             struct err *err) must_use;
void api_answer_done(struct api_answer *answer);

/* From "HTTP/1.1 ..." to status and body, in place; for api_call and its test. `size` bytes with a NUL behind them. */
int api_parse_answer(char *bytes, size_t size, struct api_answer *ret_answer, struct err *err) must_use;
