/* What is contained, as people write it; see contain.h. It is printed by wire_contain_text(), in the one form that each has. */
#include "engine/contain.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define WORDS_MAX 4

struct words {
	char bytes[WIRE_SUBJECT_MAX + 32];
	const char *word[WORDS_MAX];
	size_t n; /* more than WORDS_MAX: those are not kept */
};

static bool words_split(const char *text, struct words *ret)
{
	*ret = (struct words){0};
	snprintf(ret->bytes, sizeof(ret->bytes), "%s", text);
	char *rest = ret->bytes;
	for (char *word; (word = strsep(&rest, " "));) {
		if (!*word)
			continue;
		if (ret->n < WORDS_MAX)
			ret->word[ret->n] = word;
		ret->n++;
	}
	return ret->n > 0;
}

/* --- parts */

/* 1..max in digits; what is behind them. NULL: no such number. */
static const char *number_read(const char *text, uint32_t max, uint32_t *ret_number)
{
	size_t digits = strspn(text, "0123456789");
	unsigned long number = digits > 0 && digits < 6 ? strtoul(text, NULL, 10) : 0;
	if (number == 0 || number > max)
		return NULL;
	*ret_number = (uint32_t)number;
	return text + digits;
}

static int source_read(const char *text, struct wire_contain *source, struct err *err)
{
	char address[INET6_ADDRSTRLEN];
	const char *slash = strchr(text, '/');
	size_t length = slash ? (size_t)(slash - text) : strlen(text), digits = slash ? strspn(slash + 1, "0123456789") : 0;
	bool good = length < sizeof(address) && (!slash || (digits > 0 && digits < 4 && !slash[1 + digits]));
	snprintf(address, sizeof(address), "%.*s", (int)length, text);
	source->v6 = strchr(address, ':') != NULL;
	good = good && inet_pton(source->v6 ? AF_INET6 : AF_INET, address, source->address) == 1;
	source->prefix = slash ? (uint32_t)strtoul(slash + 1, NULL, 10) : source->v6 ? 128 : 32;
	if (!good || source->prefix > (source->v6 ? 128 : 32))
		return err_set(err, -EINVAL, "'%.60s' is no address and no network, such as 203.0.113.9 or 2001:db8:20::/64",
		               text);
	if (wire_contain_bits_behind(source))
		return err_set(err, -EINVAL, "'%.60s' is no network: there are bits behind its prefix", text);
	return 0;
}

static bool protocol_read(const char *text, uint32_t *ret_protocol)
{
	if (strcmp(text, "tcp") != 0 && strcmp(text, "udp") != 0)
		return false;
	*ret_protocol = text[0] == 't' ? IPPROTO_TCP : IPPROTO_UDP;
	return true;
}

/* "198.51.100.7:40312", "[2001:db8:20::7]:40312" */
static int end_read(const char *text, uint32_t *ret_v6, uint8_t ret_address[static 16], uint32_t *ret_port, struct err *err)
{
	char address[INET6_ADDRSTRLEN] = "";
	bool v6 = text[0] == '[';
	const char *begin = text + v6, *end = strchr(text, v6 ? ']' : ':'), *behind = NULL;
	size_t length = end ? (size_t)(end - begin) : 0;
	if (end && length < sizeof(address) && (!v6 || end[1] == ':')) {
		snprintf(address, sizeof(address), "%.*s", (int)length, begin);
		behind = number_read(end + 1 + v6, UINT16_MAX, ret_port);
	}
	if (!behind || *behind || inet_pton(v6 ? AF_INET6 : AF_INET, address, ret_address) != 1)
		return err_set(err, -EINVAL, "'%.60s' is no end of a flow, such as 198.51.100.7:40312 or [2001:db8:20::7]:40312",
		               text);
	*ret_v6 = v6;
	return 0;
}

/* --- kinds; `words` are those behind the kind's name */

static int parse_source(unused_arg const struct conf *conf, const char *const *words, unused_arg size_t n,
                        struct wire_contain *what, struct err *err)
{
	return source_read(words[0], what, err);
}

static int parse_flow(unused_arg const struct conf *conf, const char *const *words, unused_arg size_t n,
                      struct wire_contain *what, struct err *err)
{
	uint32_t to_v6 = 0;
	if (!protocol_read(words[0], &what->protocol))
		return err_set(err, -EINVAL, "'%.20s' is no protocol of a flow: it is tcp or udp", words[0]);
	int r = end_read(words[1], &what->v6, what->address, &what->port, err);
	if (r == 0)
		r = end_read(words[2], &to_v6, what->to, &what->to_port, err);
	if (r == 0 && to_v6 != what->v6)
		r = err_set(err, -EINVAL, "one end of the flow is IPv4, the other one IPv6");
	what->prefix = what->v6 ? 128 : 32;
	return r;
}

static int parse_port(const struct conf *conf, const char *const *words, size_t n, struct wire_contain *what, struct err *err)
{
	const char *behind = number_read(words[n - 1], UINT16_MAX, &what->to_port);
	if (!behind || *behind != '/' || !protocol_read(behind + 1, &what->protocol))
		return err_set(err, -EINVAL, "'%.20s' is no port, such as 80/tcp", words[n - 1]);
	for (uint32_t i = 0; n == 2 && i < conf->n_services; i++)
		if (strcmp(conf->services[i].name, words[0]) == 0)
			what->service = i + 1;
	return n == 2 && !what->service ? err_set(err, -EINVAL, "there is no service '%.31s'", words[0]) : 0;
}

static int parse_limit(unused_arg const struct conf *conf, const char *const *words, unused_arg size_t n,
                       struct wire_contain *what, struct err *err)
{
	const char *behind = number_read(words[1], WIRE_RATE_MAX, &what->rate);
	what->per_s = !behind                       ? 0
	              : strcmp(behind, "/s") == 0   ? 1
	              : strcmp(behind, "/min") == 0 ? 60
	              : strcmp(behind, "/h") == 0   ? 3600
	                                            : 0;
	if (!what->per_s)
		return err_set(err, -EINVAL, "'%.20s' is no limit, such as 20/s, 6/min or 100/h (1 to %d)", words[1],
		               WIRE_RATE_MAX);
	return source_read(words[0], what, err);
}

static const struct {
	const char *name;
	size_t least, most; /* words behind it */
	int (*parse)(const struct conf *conf, const char *const *words, size_t n, struct wire_contain *what, struct err *err);
	const char *form;
} kinds[WIRE_CONTAIN_MAX_] = {
        [WIRE_CONTAIN_SOURCE] = {"source", 1, 1, parse_source, "source 203.0.113.9 or source 2001:db8:20::/64"},
        [WIRE_CONTAIN_FLOW] = {"flow", 3, 3, parse_flow, "flow tcp 198.51.100.7:40312 203.0.113.10:80"},
        [WIRE_CONTAIN_PORT] = {"port", 1, 2, parse_port, "port 80/tcp or port SERVICE 80/tcp"},
        [WIRE_CONTAIN_LIMIT] = {"limit", 2, 2, parse_limit, "limit 198.51.100.0/24 20/s"},
};

int contain_parse(const struct conf *conf, const char *text, struct wire_contain *ret_what, struct err *err)
{
	struct words words;
	uint32_t kind = 0;
	if (strlen(text) >= sizeof(words.bytes))
		return err_set(err, -EINVAL, "'%.60s...' is longer than anything that can be contained", text);
	bool good = words_split(text, &words);
	while (good && kind < WIRE_CONTAIN_MAX_ && strcmp(words.word[0], kinds[kind].name) != 0)
		kind++;
	if (!good || kind == WIRE_CONTAIN_MAX_)
		return err_set(err, -EINVAL, "'%.60s' does not begin with source, flow, port or limit", text);
	if (words.n - 1 < kinds[kind].least || words.n - 1 > kinds[kind].most)
		return err_set(err, -EINVAL, "'%.100s' is not understood; it is written %s", text, kinds[kind].form);
	struct wire_contain what = {.kind = kind};
	int r = kinds[kind].parse(conf, words.word + 1, words.n - 1, &what, err);
	if (r == 0)
		*ret_what = what;
	return r;
}
