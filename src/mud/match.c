/*
 * What an entry is about: RFC 8519's header fields as far as profiles of devices use them, RFC 8520's classes of peers and DNS
 * names. Each container says which protocol it means; two that mean different ones cannot both hold.
 */
#include "mud/inside.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

/* --- protocols */

static int protocol_set(struct reading *r, const struct place *at, int protocol)
{
	if (r->ace->protocol >= 0 && r->ace->protocol != protocol)
		return mud_refuse(r, at, "means IP protocol %d, another part of this entry %d", protocol, r->ace->protocol);
	r->ace->protocol = (int16_t)protocol;
	return 0;
}

static int read_protocol(struct reading *r, const struct place *at, const json_t *value)
{
	long protocol;
	int e = mud_number(r, at, value, 0, 255, &protocol);
	return e < 0 ? e : protocol_set(r, at, (int)protocol);
}

/* --- addresses and names; `source` is the device's side in what it sends */

static bool is_own(const struct reading *r, bool source)
{
	return source != r->to_device;
}

static void bits_clear(struct mud_network *network, unsigned bits)
{
	for (unsigned bit = network->prefix; bit < bits; bit++)
		network->address[bit / 8] &= (uint8_t) ~(0x80u >> (bit % 8));
}

static int network_parse(struct reading *r, const struct place *at, const json_t *value, bool v6, struct mud_network *ret)
{
	char text[MUD_WORD_MAX];
	unsigned bits = v6 ? 128 : 32, prefix = 0;
	int e = mud_text(r, at, value, text, sizeof(text));
	if (e < 0)
		return e;
	char *slash = strchr(text, '/'), *end = slash;
	if (slash) {
		*slash = '\0';
		prefix = (unsigned)strtoul(slash + 1, &end, 10);
	}
	struct mud_network network = {.given = true};
	if (!slash || end == slash + 1 || *end || prefix > bits || inet_pton(v6 ? AF_INET6 : AF_INET, text, network.address) != 1)
		return mud_refuse(r, at, "must be an %s network as ADDRESS/PREFIX", v6 ? "IPv6" : "IPv4");
	network.prefix = (uint8_t)prefix;
	bits_clear(&network, bits);
	*ret = network;
	return 0;
}

static int peer_set(struct reading *r, const struct place *at, enum mud_peer peer)
{
	if (r->ace->peer != MUD_ANYBODY)
		return mud_refuse(r, at, "the entry says already who the other side is");
	r->ace->peer = peer;
	return 0;
}

static int read_network(struct reading *r, const struct place *at, const json_t *value, bool v6, bool source)
{
	bool own = is_own(r, source);
	int e = own ? 0 : peer_set(r, at, MUD_NETWORK);
	return e < 0 ? e : network_parse(r, at, value, v6, own ? &r->ace->own : &r->ace->remote);
}

static int read_source4(struct reading *r, const struct place *at, const json_t *value)
{
	return read_network(r, at, value, false, true);
}

static int read_destination4(struct reading *r, const struct place *at, const json_t *value)
{
	return read_network(r, at, value, false, false);
}

static int read_source6(struct reading *r, const struct place *at, const json_t *value)
{
	return read_network(r, at, value, true, true);
}

static int read_destination6(struct reading *r, const struct place *at, const json_t *value)
{
	return read_network(r, at, value, true, false);
}

static bool is_dns_name(const char *text)
{
	size_t length = strlen(text), label = 0;
	for (size_t i = 0; i < length; i++) {
		bool letter = strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_", text[i]);
		if (!letter && (text[i] != '.' || label == 0))
			return false;
		label = letter ? label + 1 : 0;
		if (label > 63)
			return false;
	}
	return length > 0 && length < 254;
}

/* The index of `word` in a table of such words, added if need be; -1 when there is no room. */
static int word_index(char (*words)[MUD_URI_MAX], size_t *n, size_t max, const char *word)
{
	for (size_t i = 0; i < *n; i++)
		if (strcasecmp(words[i], word) == 0)
			return (int)i;
	if (*n == max)
		return -1;
	memcpy(words[*n], word, strlen(word) + 1);
	return (int)(*n)++;
}

static int read_dns(struct reading *r, const struct place *at, const json_t *value, bool source)
{
	char name[MUD_URI_MAX];
	struct mud *mud = r->mud;
	int e = mud_text(r, at, value, name, sizeof(name));
	if (e < 0)
		return e;
	if (!is_dns_name(name))
		return mud_refuse(r, at, "is no DNS name");
	if (is_own(r, source))
		return mud_refuse(r, at, "names the device itself, not whom it talks to");
	int which = word_index(mud->names, &mud->n_names, MUD_NAMES_MAX, name);
	if (which < 0)
		return mud_refuse(r, at, "more than %d different DNS names", MUD_NAMES_MAX);
	r->ace->which = (uint8_t)which;
	return peer_set(r, at, MUD_NAME);
}

static int read_source_name(struct reading *r, const struct place *at, const json_t *value)
{
	return read_dns(r, at, value, true);
}

static int read_destination_name(struct reading *r, const struct place *at, const json_t *value)
{
	return read_dns(r, at, value, false);
}

/* --- IP */

#define IP_COMMON                                                                                                                \
	{"protocol", read_protocol, false}, {"ietf-acldns:src-dnsname", read_source_name, false},                                \
	        {"ietf-acldns:dst-dnsname", read_destination_name, false}, {"dscp", NULL, false}, {"ecn", NULL, false},          \
	        {"length", NULL, false},                                                                                         \
	{                                                                                                                        \
		"ttl", NULL, false                                                                                               \
	}

static int family_is(const struct reading *r, const struct place *at, bool v6)
{
	if (r->v6 == v6)
		return 0;
	return mud_refuse(r, at, "cannot be in a list of IPv%c", r->v6 ? '6' : '4');
}

static int read_ipv4(struct reading *r, const struct place *at, const json_t *value)
{
	static const struct member members[] = {
	        IP_COMMON,
	        {"source-ipv4-network", read_source4, false},
	        {"destination-ipv4-network", read_destination4, false},
	        {"ihl", NULL, false},
	        {"flags", NULL, false},
	        {"offset", NULL, false},
	        {"identification", NULL, false},
	};
	int e = family_is(r, at, false);
	return e < 0 ? e : mud_object(r, at, value, members, countof(members));
}

static int read_ipv6(struct reading *r, const struct place *at, const json_t *value)
{
	static const struct member members[] = {
	        IP_COMMON,
	        {"source-ipv6-network", read_source6, false},
	        {"destination-ipv6-network", read_destination6, false},
	        {"flow-label", NULL, false},
	};
	int e = family_is(r, at, true);
	return e < 0 ? e : mud_object(r, at, value, members, countof(members));
}

/* --- ports: one with an operator, or a range */

static int port_of(struct reading *r, const struct place *up, const json_t *object, const char *key, long *ret_port)
{
	struct place at = {.up = up, .key = key};
	return mud_number(r, &at, json_object_get(object, key), 0, 65535, ret_port);
}

static int ports_by_operator(struct reading *r, const struct place *at, const json_t *value, struct mud_ports *ret)
{
	static const char *const operators[] = {"eq", "neq", "lte", "gte"};
	const char *given = json_string_value(json_object_get(value, "operator"));
	struct place place = {.up = at, .key = "operator"};
	long port;
	size_t o = 0;
	while (o < countof(operators) && (!given || strcmp(given, operators[o]) != 0))
		o++;
	if (o == countof(operators))
		return mud_refuse(r, &place, "must be eq, neq, lte or gte");
	int e = port_of(r, at, value, "port", &port);
	if (e < 0)
		return e;
	*ret = (struct mud_ports){.given = true, .negated = o == 1, .low = (uint16_t)port, .high = (uint16_t)port};
	if (o == 2)
		ret->low = 0;
	if (o == 3)
		ret->high = 65535;
	return 0;
}

static int known(struct reading *r unused_arg, const struct place *at unused_arg, const json_t *value unused_arg)
{
	return 0;
}

static int ports_by_range(struct reading *r, const struct place *at, const json_t *value, struct mud_ports *ret)
{
	long low, high;
	int e = port_of(r, at, value, "lower-port", &low);
	high = low;
	if (e == 0 && json_object_get(value, "upper-port"))
		e = port_of(r, at, value, "upper-port", &high);
	if (e < 0)
		return e;
	if (high < low)
		return mud_refuse(r, at, "a range from %ld to %ld holds nothing", low, high);
	*ret = (struct mud_ports){.given = true, .low = (uint16_t)low, .high = (uint16_t)high};
	return 0;
}

static int read_ports(struct reading *r, const struct place *at, const json_t *value, bool source)
{
	static const struct member range[] = {{"lower-port", known, true}, {"upper-port", known, false}};
	static const struct member one[] = {{"operator", known, true}, {"port", known, true}};
	struct mud_ports *ports = is_own(r, source) ? &r->ace->own_port : &r->ace->remote_port;
	bool is_range = json_object_get(value, "lower-port") || json_object_get(value, "upper-port");
	int e = is_range ? mud_object(r, at, value, range, countof(range)) : mud_object(r, at, value, one, countof(one));
	if (e < 0)
		return e;
	return is_range ? ports_by_range(r, at, value, ports) : ports_by_operator(r, at, value, ports);
}

static int read_source_port(struct reading *r, const struct place *at, const json_t *value)
{
	return read_ports(r, at, value, true);
}

static int read_destination_port(struct reading *r, const struct place *at, const json_t *value)
{
	return read_ports(r, at, value, false);
}

static int read_direction(struct reading *r, const struct place *at, const json_t *value)
{
	const char *text = json_string_value(value);
	bool by_device = text && strcmp(text, "from-device") == 0;
	if (!by_device && !(text && strcmp(text, "to-device") == 0))
		return mud_refuse(r, at, "must be from-device or to-device");
	r->ace->initiated = by_device ? MUD_BY_DEVICE : MUD_BY_PEER;
	return 0;
}

static int read_tcp(struct reading *r, const struct place *at, const json_t *value)
{
	static const struct member members[] = {
	        {"source-port", read_source_port, false},
	        {"destination-port", read_destination_port, false},
	        {"ietf-mud:direction-initiated", read_direction, false},
	        {"sequence-number", NULL, false},
	        {"acknowledgement-number", NULL, false},
	        {"data-offset", NULL, false},
	        {"reserved", NULL, false},
	        {"flags", NULL, false},
	        {"window-size", NULL, false},
	        {"urgent-pointer", NULL, false},
	        {"options", NULL, false},
	};
	int e = protocol_set(r, at, IPPROTO_TCP);
	return e < 0 ? e : mud_object(r, at, value, members, countof(members));
}

static int read_udp(struct reading *r, const struct place *at, const json_t *value)
{
	static const struct member members[] = {
	        {"source-port", read_source_port, false},
	        {"destination-port", read_destination_port, false},
	        {"length", NULL, false},
	};
	int e = protocol_set(r, at, IPPROTO_UDP);
	return e < 0 ? e : mud_object(r, at, value, members, countof(members));
}

/* --- ICMP */

static int read_byte(struct reading *r, const struct place *at, const json_t *value, int16_t *ret)
{
	long number;
	int e = mud_number(r, at, value, 0, 255, &number);
	if (e == 0)
		*ret = (int16_t)number;
	return e;
}

static int read_icmp_type(struct reading *r, const struct place *at, const json_t *value)
{
	return read_byte(r, at, value, &r->ace->icmp_type);
}

static int read_icmp_code(struct reading *r, const struct place *at, const json_t *value)
{
	return read_byte(r, at, value, &r->ace->icmp_code);
}

static int read_icmp(struct reading *r, const struct place *at, const json_t *value)
{
	static const struct member members[] = {
	        {"type", read_icmp_type, false}, {"code", read_icmp_code, false}, {"rest-of-header", NULL, false}};
	int e = protocol_set(r, at, r->v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
	return e < 0 ? e : mud_object(r, at, value, members, countof(members));
}

/* --- RFC 8520's classes of peers */

static int read_local(struct reading *r, const struct place *at, const json_t *value unused_arg)
{
	return peer_set(r, at, MUD_LOCAL);
}

static int controller_set(struct reading *r, const struct place *at, const char *uri)
{
	struct mud *mud = r->mud;
	int which = word_index(mud->controllers, &mud->n_controllers, MUD_CONTROLLERS_MAX, uri);
	if (which < 0)
		return mud_refuse(r, at, "more than %d different controllers", MUD_CONTROLLERS_MAX);
	r->ace->which = (uint8_t)which;
	return peer_set(r, at, MUD_CONTROLLER);
}

static int read_my_controller(struct reading *r, const struct place *at, const json_t *value unused_arg)
{
	return controller_set(r, at, MUD_MY_CONTROLLER);
}

static int read_controller(struct reading *r, const struct place *at, const json_t *value)
{
	char uri[MUD_URI_MAX];
	int e = mud_text(r, at, value, uri, sizeof(uri));
	return e < 0 ? e : controller_set(r, at, uri);
}

static int read_classes(struct reading *r, const struct place *at, const json_t *value)
{
	static const struct member members[] = {
	        {"local-networks", read_local, false},  {"my-controller", read_my_controller, false},
	        {"controller", read_controller, false}, {"manufacturer", NULL, false},
	        {"same-manufacturer", NULL, false},     {"model", NULL, false},
	};
	return mud_object(r, at, value, members, countof(members));
}

int mud_matches(struct reading *r, const struct place *at, const json_t *value)
{
	static const struct member members[] = {
	        {"ipv4", read_ipv4, false}, {"ipv6", read_ipv6, false},        {"tcp", read_tcp, false},
	        {"udp", read_udp, false},   {"icmp", read_icmp, false},        {"ietf-mud:mud", read_classes, false},
	        {"eth", NULL, false},       {"egress-interface", NULL, false}, {"ingress-interface", NULL, false},
	};
	return mud_object(r, at, value, members, countof(members));
}
