/*
 * A guest that can tell probes from clients could serve the right page to probes and another one to clients. So each
 * connection pretends to be some ordinary client: which kind, its versions and languages are drawn anew, and each kind has its
 * own headers in its own order. None offers a compressed encoding, because the hash of the plain bytes is what the manifest
 * knows; that is why kinds that ask for none by themselves are in the majority, and the browsers here look as they do behind a
 * proxy that removed the header.
 */
#include "sense/client.h"

#include "lib/attr.h"

#include <assert.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

void client_random_fill(struct client_random *random, void *ret_bytes, size_t size)
{
	assert(size <= sizeof(random->pool));
	if (random->left < size) {
		ssize_t got = getrandom(random->pool, sizeof(random->pool), 0);
		if (got != (ssize_t)sizeof(random->pool)) /* up to 256 bytes come whole or never */
			abort();
		random->left = sizeof(random->pool);
	}
	random->left -= size;
	memcpy(ret_bytes, random->pool + random->left, size);
	memset(random->pool + random->left, 0, size);
}

uint32_t client_random_below(struct client_random *random, uint32_t limit)
{
	uint32_t number;
	client_random_fill(random, &number, sizeof(number));
	return (uint32_t)(((uint64_t)number * limit) >> 32);
}

/* In a line: @ = host, # = a digit, ~ = a language. "+" = the Connection line of a kind that says keep-alive, "-" = one
 * that says it only to close; "!" before a line = only some clients of this kind send it. */
static const struct profile {
	bool http10;
	const char *lines[12];
} profiles[] = {
        {false, {"Host: @", "User-Agent: curl/7.8#.#", "Accept: */*"}},
        {false, {"Host: @", "User-Agent: curl/8.1#.0", "Accept: */*", "!Cache-Control: no-cache", "-"}},
        {false, {"User-Agent: Wget/1.2#.#", "Accept: */*", "Accept-Encoding: identity", "Host: @", "+"}},
        {false, {"Host: @", "User-Agent: Wget/1.21.#", "Accept: */*", "Accept-Encoding: identity", "+"}},
        {true, {"User-Agent: Wget/1.1#.#", "Accept: */*", "Host: @", "-"}},
        {false, {"Accept-Encoding: identity", "Host: @", "User-Agent: Python-urllib/3.1#", "-"}},
        {false,
         {"Host: @", "User-Agent: python-requests/2.2#.#", "Accept-Encoding: identity", "!X-Request-Id: ########", "Accept: */*",
          "+"}},
        {false, {"Host: @", "Accept: */*", "!Accept-Language: ~", "User-Agent: Python/3.1# aiohttp/3.8.#", "-"}},
        {false, {"Host: @", "User-Agent: Go-http-client/1.1", "!Accept: application/json, text/html", "-"}},
        {false, {"User-Agent: Java/1#.0.#", "Host: @", "Accept: text/html, image/gif, image/jpeg, */*; q=0.2", "+"}},
        {false, {"Host: @", "User-Agent: okhttp/4.9.#", "!Accept-Language: ~", "+"}},
        {false, {"Host: @", "User-Agent: ESP8266HTTPClient", "Accept-Encoding: identity;q=1,chunked;q=0.1,*;q=0", "+"}},
        {false, {"Host: @", "Connection: close", "User-Agent: ESP32 HTTP Client/1.#", "!Accept: */*"}},
        {true, {"Host: @", "User-Agent: Arduino/1.8.#", "-"}},
        {true, {"Host: @", "User-Agent: ApacheBench/2.3", "Accept: */*"}},
        {true, {"Connection: close", "Host: @", "!User-Agent: PHP/8.#.1#"}},
        {false, {"Host: @", "Connection: close", "User-Agent: lwIP/2.1.# (http)"}},
        {false, {"Accept: */*", "!Accept-Language: ~", "User-Agent: BusyBox/1.3#.# wget", "Host: @", "-"}},
        {false,
         {"Host: @", "+", "!Cache-Control: max-age=0", "!DNT: 1", "Upgrade-Insecure-Requests: 1",
          "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/1##.0.0.0 Safari/537.36",
          "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8", "Accept-Language: ~"}},
        {false,
         {"Host: @", "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:1##.0) Gecko/20100101 Firefox/1##.0",
          "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "Accept-Language: ~", "!DNT: 1", "+",
          "Upgrade-Insecure-Requests: 1", "!Pragma: no-cache"}},
        {false,
         {"Host: @", "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
          ("User-Agent: Mozilla/5.0 (iPhone; CPU iPhone OS 1#_# like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
           "Version/1#.# Mobile/15E148 Safari/604.1"),
          "Accept-Language: ~", "+"}},
};

static const char *const languages[] = {"en-US,en;q=0.9", "en-GB,en;q=0.7",          "de-DE,de;q=0.9,en;q=0.8", "fr,en;q=0.5",
                                        "ja,en-US;q=0.7", "es-ES,es;q=0.9,en;q=0.6", "en-US,en;q=0.5",          "nl,de;q=0.4"};

uint32_t client_profiles(void)
{
	return countof(profiles);
}

void client_shape_choose(struct client_random *random, struct client_shape *ret_shape)
{
	ret_shape->profile = client_random_below(random, countof(profiles));
	client_random_fill(random, &ret_shape->salt, sizeof(ret_shape->salt));
}

struct writer {
	char *text;
	size_t size;
	uint32_t salt;
};

static uint32_t writer_draw(struct writer *w, uint32_t limit)
{
	w->salt = w->salt * 1664525u + 1013904223u;
	return (w->salt >> 16) % limit;
}

static void writer_put(struct writer *w, const char *text)
{
	size_t length = strlen(text);
	assert(length < CLIENT_REQUEST_MAX - w->size); /* the bounds of client_request() and the table keep this true */
	memcpy(w->text + w->size, text, length);
	w->size += length;
}

static void writer_line(struct writer *w, const char *line, const char *host)
{
	for (; *line; line++) {
		char one[2] = {*line, '\0'};
		if (*line == '@')
			writer_put(w, host);
		else if (*line == '~')
			writer_put(w, languages[writer_draw(w, countof(languages))]);
		else if (*line == '#')
			one[0] = (char)('0' + writer_draw(w, 10));
		if (*line != '@' && *line != '~')
			writer_put(w, one);
	}
	writer_put(w, "\r\n");
}

size_t client_request(const struct client_shape *shape, const char *path, const char *host, enum client_connection connection,
                      char ret_request[static CLIENT_REQUEST_MAX])
{
	const struct profile *profile = &profiles[shape->profile % countof(profiles)];
	struct writer w = {.text = ret_request, .salt = shape->salt};
	writer_put(&w, "GET ");
	writer_put(&w, path);
	writer_put(&w, profile->http10 ? " HTTP/1.0\r\n" : " HTTP/1.1\r\n");
	for (size_t i = 0; i < countof(profile->lines) && profile->lines[i]; i++) {
		const char *line = profile->lines[i];
		if (*line == '+')
			writer_put(&w, connection == CLIENT_KEEPS ? "Connection: keep-alive\r\n" : "Connection: close\r\n");
		else if (*line == '-' && connection == CLIENT_CLOSES)
			writer_put(&w, "Connection: close\r\n");
		else if (*line == '!' && writer_draw(&w, 2))
			writer_line(&w, line + 1, host);
		else if (*line != '-' && *line != '!')
			writer_line(&w, line, host);
	}
	writer_put(&w, "\r\n");
	return w.size;
}

void client_port(const struct conf_probe *probe, char ret_text[static CLIENT_PORT_MAX])
{
	ret_text[0] = '\0';
	if (probe->port != (probe->tls ? 443 : 80))
		snprintf(ret_text, CLIENT_PORT_MAX, ":%u", probe->port);
}
