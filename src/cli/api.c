/*
 * A small HTTP/1.1 client for one socket and one server, both ours: the request asks for the connection to be closed, so
 * an answer is everything until its end. Still nothing is trusted: size, time, nesting and duplicate keys have limits.
 */
#include "cli/api.h"

#include "lib/bytes.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>

static int api_connect(const char *path, int *ret_fd, struct err *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_set(err, -errno, "no socket to be had: %s", strerror(errno));
	if (!text_copy(address.sun_path, sizeof(address.sun_path), path))
		return err_set(err, -ENAMETOOLONG, "%s: longer than the %zu bytes that a socket's path can have", path,
		               sizeof(address.sun_path) - 1);
	/* A full backlog makes connect() wait; this bounds it. */
	const struct timeval patience = {.tv_sec = API_TIMEOUT_MS / 1000};
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0) {
		*ret_fd = take_fd(&fd);
		return 0;
	}
	if (errno == EAGAIN)
		return err_set(err, -ETIMEDOUT, "koboshid at %s is too busy to answer", path);
	if (errno == EACCES || errno == EPERM)
		return err_set(err, -errno, "no permission for %s: ask as root", path);
	return err_set(err, -errno, "no koboshid answers at %s: is it running? (systemctl status koboshi)", path);
}

static int send_all(int fd, const char *bytes, size_t size, struct err *err)
{
	while (size > 0) {
		ssize_t sent = send(fd, bytes, size, MSG_NOSIGNAL);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return err_set(err, -errno, "koboshid does not take the request: %s", strerror(errno));
		bytes += sent;
		size -= (size_t)sent;
	}
	return 0;
}

/* Waits until something can be read; one deadline for the whole answer. */
static int wait_readable(int fd, int64_t deadline_us, struct err *err)
{
	for (;;) {
		int64_t left_ms = (deadline_us - clock_monotonic_us()) / 1000;
		struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
		int n = left_ms > 0 ? poll(&poll_fd, 1, (int)left_ms) : 0;
		if (n > 0)
			return 0;
		if (n == 0)
			return err_set(err, -ETIMEDOUT, "koboshid did not answer within %d s", API_TIMEOUT_MS / 1000);
		if (errno != EINTR)
			return err_set(err, -errno, "cannot wait for koboshid: %s", strerror(errno));
	}
}

static int receive_all(int fd, char **ret_bytes, size_t *ret_size, struct err *err)
{
	int64_t deadline_us = clock_monotonic_us() + (int64_t)API_TIMEOUT_MS * 1000;
	size_t room = 16384, size = 0;
	auto_free char *bytes = malloc(room);
	if (!bytes)
		abort();
	for (;;) {
		if (size + 1 == room) {
			if (room >= API_ANSWER_MAX)
				return err_set(err, -EFBIG, "koboshid answers with more than %u MiB", API_ANSWER_MAX >> 20);
			room *= 2;
			char *grown = realloc(bytes, room);
			if (!grown)
				abort();
			bytes = grown;
		}
		int e = wait_readable(fd, deadline_us, err);
		if (e < 0)
			return e;
		ssize_t got = recv(fd, bytes + size, room - size - 1, 0);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_set(err, -errno, "koboshid broke off its answer: %s", strerror(errno));
		if (got == 0)
			break;
		size += (size_t)got;
	}
	bytes[size] = '\0';
	*ret_bytes = take(&bytes);
	*ret_size = size;
	return 0;
}

/* Value of a header in the block between status line and empty line; NULL when it is not there. */
static const char *header_value(const char *head, const char *name)
{
	size_t length = strlen(name);
	for (const char *line = strstr(head, "\r\n"); line; line = strstr(line, "\r\n")) {
		line += 2;
		if (strncasecmp(line, name, length) == 0 && line[length] == ':')
			return line + length + 1 + strspn(line + length + 1, " \t");
	}
	return NULL;
}

/* Chunks to one piece, in place. False when they are malformed or cut short. */
static bool join_chunks(char *body, size_t *size)
{
	char *from = body, *to = body, *end = body + *size;
	for (;;) {
		char *after;
		if (from >= end || !strchr("0123456789abcdefABCDEF", *from))
			return false;
		errno = 0;
		unsigned long chunk = strtoul(from, &after, 16);
		char *data = strstr(after, "\r\n");
		if (errno || !data || chunk > (size_t)(end - data))
			return false;
		data += 2;
		if (chunk == 0)
			break;
		if (chunk + 2 > (size_t)(end - data) || memcmp(data + chunk, "\r\n", 2) != 0)
			return false;
		memmove(to, data, chunk);
		to += chunk;
		from = data + chunk + 2;
	}
	*to = '\0';
	*size = (size_t)(to - body);
	return true;
}

/* Texts may quote a guest; a terminal obeys control characters, the C1 ones (U+0080 to U+009F) included. */
static bool text_clean(char *text)
{
	bool changed = false;
	for (unsigned char *at = (unsigned char *)text; *at; at++) {
		bool c1 = at[0] == 0xc2 && at[1] >= 0x80 && at[1] <= 0x9f;
		if (*at >= 0x20 && *at != 0x7f && !c1)
			continue;
		*at = '?';
		if (c1)
			at[1] = '?';
		changed = true;
	}
	return changed;
}

static bool json_clean(json_t *json, unsigned depth)
{
	const char *key;
	json_t *value;
	size_t i;
	if (depth > API_DEPTH_MAX)
		return false;
	if (json_is_string(json)) {
		auto_free char *copy = strdup(json_string_value(json));
		if (!copy)
			abort();
		return !text_clean(copy) || json_string_set(json, copy) == 0;
	}
	json_object_foreach(json, key, value)
	{
		auto_free char *copy = strdup(key);
		if (!copy)
			abort();
		if (text_clean(copy) || !json_clean(value, depth + 1))
			return false;
	}
	json_array_foreach(json, i, value) if (!json_clean(value, depth + 1)) return false;
	return true;
}

static int parse_json(struct api_answer *answer, size_t size, struct err *err)
{
	json_error_t problem;
	answer->json = json_loadb(answer->body, size, JSON_REJECT_DUPLICATES, &problem);
	if (!answer->json)
		return err_set(err, -EBADMSG, "koboshid's answer (HTTP %d) is not JSON: %.120s", answer->status, problem.text);
	if (!json_is_object(answer->json) || !json_clean(answer->json, 0))
		return err_set(err, -EBADMSG, "koboshid's answer (HTTP %d) is not what was asked for", answer->status);
	return 0;
}

int api_parse_answer(char *bytes, size_t size, struct api_answer *ret_answer, struct err *err)
{
	char *body = strstr(bytes, "\r\n\r\n");
	if (strncmp(bytes, "HTTP/1.", 7) != 0 || size < 12 || !body)
		return err_set(err, -EPROTO, "what answers is not koboshid: it does not speak HTTP");
	struct api_answer answer = {.status = (int)strtol(bytes + 8, NULL, 10)};
	body[2] = '\0';
	body += 4;
	size -= (size_t)(body - bytes);
	const char *length = header_value(bytes, "Content-Length"), *coding = header_value(bytes, "Transfer-Encoding");
	if (answer.status < 200 || answer.status > 599)
		return err_set(err, -EPROTO, "koboshid's answer has no status");
	if (coding && strncasecmp(coding, "chunked", 7) == 0) {
		if (!join_chunks(body, &size))
			return err_set(err, -EPROTO, "koboshid's answer was cut short");
	} else if (length) {
		unsigned long long wanted = strtoull(length, NULL, 10);
		if (wanted > size)
			return err_set(err, -EPROTO, "koboshid's answer was cut short: %zu of %llu bytes", size, wanted);
		size = (size_t)wanted;
	}
	answer.body = strndup(body, size);
	if (!answer.body)
		abort();
	int e = parse_json(&answer, strlen(answer.body), err);
	if (e < 0)
		api_answer_done(&answer);
	else
		*ret_answer = answer;
	return e;
}

int api_call(const char *socket_path, const char *path, const char *body, struct api_answer *ret_answer, struct err *err)
{
	auto_close int fd = -1;
	auto_free char *request = NULL, *bytes = NULL;
	size_t size = 0;
	int length = asprintf(&request,
	                      "%s %s HTTP/1.1\r\nHost: koboshi\r\nAccept: application/json\r\nConnection: close\r\n"
	                      "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
	                      body ? "POST" : "GET", path, body ? strlen(body) : 0, body ? body : "");
	if (length < 0)
		abort();
	int e = api_connect(socket_path, &fd, err);
	if (e == 0)
		e = send_all(fd, request, (size_t)length, err);
	if (e == 0)
		e = receive_all(fd, &bytes, &size, err);
	return e < 0 ? e : api_parse_answer(bytes, size, ret_answer, err);
}

void api_answer_done(struct api_answer *answer)
{
	free(answer->body);
	json_decref(answer->json);
	*answer = (struct api_answer){0};
}
