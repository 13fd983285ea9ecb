/*
 * One scalar of a configuration file to a value, and back to text for messages. Strict on purpose: a number without its
 * unit, a number that YAML 1.1 would take for octal, or an address range with host bits set is a mistake that would
 * otherwise be found on a bad day.
 */
#include "lib/yaml.h"

#include "lib/bytes.h"

#include <arpa/inet.h>
#include <string.h>

struct unit {
	const char *name;
	uint64_t factor;
};

static const struct unit durations[] = {{"ms", 1}, {"s", 1000}, {"min", 60000}, {"h", 3600000}};
static const struct unit sizes[] = {{"B", 1}, {"KiB", 1u << 10}, {"MiB", 1u << 20}, {"GiB", 1u << 30}};
static const struct unit percents[] = {{"%", 1}};
static const struct unit none[] = {{"", 1}};

static const struct unit *units_of(enum yaml_type type, size_t *ret_n)
{
	*ret_n = type == YAML_DURATION || type == YAML_SIZE ? 4 : 1;
	return type == YAML_DURATION ? durations : type == YAML_SIZE ? sizes : type == YAML_PERCENT ? percents : none;
}

void yaml_number_text(enum yaml_type type, uint64_t number, char *ret_text, size_t size)
{
	size_t n;
	const struct unit *units = units_of(type, &n);
	while (n > 1 && (number == 0 ? n > 2 || type == YAML_SIZE : number % units[n - 1].factor != 0))
		n--;
	snprintf(ret_text, size, "%llu%s", (unsigned long long)(number / units[n - 1].factor), units[n - 1].name);
}

static const char *const wants[YAML_TYPE_MAX_] = {
        [YAML_BOOL] = "yes or no",
        [YAML_INTEGER] = "a whole number",
        [YAML_DURATION] = "a whole number with a unit (ms, s, min, h), such as 250ms",
        [YAML_SIZE] = "a whole number with a unit (B, KiB, MiB, GiB), such as 64KiB",
        [YAML_PERCENT] = "a whole number with a percent sign, such as 50%",
        [YAML_TEXT] = "printable text",
        [YAML_NAME] = "a name: a lower-case letter, then lower-case letters, digits and '-'",
        [YAML_PATH] = "an absolute path without '..', such as /var/lib/thing",
        [YAML_URL_PATH] = "a path on a web server: '/' first, then visible ASCII without '#'",
        [YAML_ADDRESS] = "an IPv4 or IPv6 address",
        [YAML_RANGE] = "an address range, such as 192.0.2.0/24 or 2001:db8::/64",
        [YAML_PORT] = "a port and its protocol, such as 80/tcp or 53/udp",
};

/* Digits only, no leading zero, stops at the first other character. False on overflow or without a digit. */
static bool parse_digits(const char *text, uint64_t *ret_number, const char **ret_end)
{
	uint64_t number = 0;
	const char *at = text;
	for (; *at >= '0' && *at <= '9'; at++)
		if (__builtin_mul_overflow(number, 10, &number) || __builtin_add_overflow(number, (uint64_t)(*at - '0'), &number))
			return false;
	*ret_number = number;
	*ret_end = at;
	return at > text && (text[0] != '0' || at == text + 1);
}

static bool parse_number(const struct yaml_key *key, enum yaml_type type, const char *text, struct yaml_value *ret_value,
                         char *ret_want, size_t want_size)
{
	size_t n, which = 0;
	uint64_t number;
	const char *end;
	const struct unit *units = units_of(type, &n);
	if (!parse_digits(text, &number, &end))
		return false;
	while (which < n && strcmp(end, units[which].name) != 0)
		which++;
	bool bare_zero = number == 0 && *end == '\0';
	if (which == n && !bare_zero) {
		if (*end == '\0')
			snprintf(ret_want, want_size, "%s; a unit is missing", wants[type]);
		return false;
	}
	bool overflow = !bare_zero && __builtin_mul_overflow(number, units[which].factor, &number);
	if (overflow || number < key->min || number > key->max) {
		char low[32], high[32];
		yaml_number_text(type, key->min, low, sizeof(low));
		yaml_number_text(type, key->max, high, sizeof(high));
		snprintf(ret_want, want_size, "between %s and %s", low, high);
		return false;
	}
	if (key->unit > 1 && number % key->unit != 0) {
		char unit[32];
		yaml_number_text(type, key->unit, unit, sizeof(unit));
		snprintf(ret_want, want_size, "a multiple of %s", unit);
		return false;
	}
	ret_value->number = number;
	return true;
}

static bool parse_bool(const char *text, struct yaml_value *ret_value)
{
	static const char *const words[] = {"no", "yes", "false", "true", "off", "on"};
	for (size_t i = 0; i < countof(words); i++) {
		ret_value->number = i & 1;
		if (strcmp(text, words[i]) == 0)
			return true;
	}
	return false;
}

static bool parse_word(const struct yaml_key *key, const char *text, struct yaml_value *ret_value, char *ret_want,
                       size_t want_size)
{
	size_t at = (size_t)snprintf(ret_want, want_size, "one of");
	for (size_t i = 0; key->words[i]; i++) {
		ret_value->number = i;
		if (strcmp(key->words[i], text) == 0)
			return true;
		if (at < want_size)
			at += (size_t)snprintf(ret_want + at, want_size - at, "%s %s", i ? "," : "", key->words[i]);
	}
	return false;
}

static bool parse_name(const char *text)
{
	for (const char *at = text; *at; at++)
		if (!(*at >= 'a' && *at <= 'z') && (at == text || (!(*at >= '0' && *at <= '9') && *at != '-')))
			return false;
	return *text != '\0';
}

static bool parse_path(const char *text)
{
	if (text[0] != '/')
		return false;
	for (const char *at = strstr(text, "/.."); at; at = strstr(at + 1, "/.."))
		if (at[3] == '/' || at[3] == '\0')
			return false;
	return true;
}

static bool parse_url_path(const char *text)
{
	for (const char *at = text; *at; at++)
		if (*at <= ' ' || *at >= 0x7f || *at == '#')
			return false;
	return text[0] == '/';
}

static bool parse_address(const char *text, struct yaml_value *ret_value)
{
	ret_value->family = strchr(text, ':') ? AF_INET6 : AF_INET;
	void *to = ret_value->family == AF_INET6 ? (void *)&ret_value->address6 : (void *)&ret_value->address4;
	return inet_pton(ret_value->family, text, to) == 1;
}

/* Clears the host bits of `bytes`; true when they were clear before. */
static bool mask_bits(uint8_t *bytes, size_t size, unsigned prefix)
{
	bool clear = true;
	for (size_t i = 0; i < size; i++) {
		unsigned keep = prefix > 8 * i ? prefix - 8 * (unsigned)i : 0;
		uint8_t mask = keep >= 8 ? 0xff : (uint8_t)(0xff00 >> keep);
		clear = clear && (bytes[i] & (uint8_t)~mask) == 0;
		bytes[i] &= mask;
	}
	return clear;
}

static bool parse_range(const char *text, struct yaml_value *ret_value, char *ret_want, size_t want_size)
{
	char address[INET6_ADDRSTRLEN];
	const char *slash = strchr(text, '/'), *end;
	uint64_t prefix;
	if (!slash || (size_t)(slash - text) >= sizeof(address))
		return false;
	memcpy(address, text, (size_t)(slash - text));
	address[slash - text] = '\0';
	if (!parse_address(address, ret_value) || !parse_digits(slash + 1, &prefix, &end) || *end)
		return false;
	bool six = ret_value->family == AF_INET6;
	if (prefix > (six ? 128 : 32))
		return false;
	ret_value->prefix = (uint8_t)prefix;
	uint8_t *bytes = six ? ret_value->address6.s6_addr : (uint8_t *)&ret_value->address4;
	if (mask_bits(bytes, six ? 16 : 4, ret_value->prefix))
		return true;
	inet_ntop(ret_value->family, bytes, address, sizeof(address));
	snprintf(ret_want, want_size, "the first address of its range: did you mean %s/%u?", address, ret_value->prefix);
	return false;
}

static bool parse_port(const char *text, struct yaml_value *ret_value)
{
	const char *end;
	if (!parse_digits(text, &ret_value->number, &end) || ret_value->number < 1 || ret_value->number > 65535)
		return false;
	ret_value->protocol = strcmp(end, "/udp") == 0 ? IPPROTO_UDP : IPPROTO_TCP;
	return strcmp(end, "/tcp") == 0 || strcmp(end, "/udp") == 0;
}

static bool parse_text(const struct yaml_key *key, enum yaml_type type, const char *text, char *ret_want, size_t want_size)
{
	bool fine = type == YAML_NAME       ? parse_name(text)
	            : type == YAML_PATH     ? parse_path(text)
	            : type == YAML_URL_PATH ? parse_url_path(text)
	                                    : text[0] != '\0';
	if (fine && key->width > 0 && strlen(text) >= key->width) {
		snprintf(ret_want, want_size, "at most %zu bytes long", key->width - 1);
		return false;
	}
	return fine;
}

bool yaml_value_parse(const struct yaml_key *key, enum yaml_type type, const char *text, struct yaml_value *ret_value,
                      char *ret_want, size_t want_size)
{
	memset(ret_value, 0, sizeof(*ret_value));
	ret_value->text = text;
	text_copy(ret_want, want_size, wants[type] ? wants[type] : "a value");
	switch (type) {
	case YAML_BOOL:
		return parse_bool(text, ret_value);
	case YAML_INTEGER:
	case YAML_DURATION:
	case YAML_SIZE:
	case YAML_PERCENT:
		return parse_number(key, type, text, ret_value, ret_want, want_size);
	case YAML_WORD:
		return parse_word(key, text, ret_value, ret_want, want_size);
	case YAML_TEXT:
	case YAML_NAME:
	case YAML_PATH:
	case YAML_URL_PATH:
		return parse_text(key, type, text, ret_want, want_size);
	case YAML_ADDRESS:
		return parse_address(text, ret_value);
	case YAML_RANGE:
		return parse_range(text, ret_value, ret_want, want_size);
	case YAML_PORT:
		return parse_port(text, ret_value);
	case YAML_MAP:
	case YAML_LIST:
	case YAML_NAMED:
	case YAML_TYPE_MAX_:
		break;
	}
	return false;
}
