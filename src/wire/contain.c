/* See order.h: what is contained, in a message and in text. Pure, as order.c is, whose decoder asks here. */
#include "wire/order.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

static_assert(sizeof(struct wire_contain) == 8 + 2 * 16 + 10 * 4, "no padding");

static const struct {
	uint32_t per_s;
	const char *name;
} units[] = {{1, "s"}, {60, "min"}, {3600, "h"}};

bool wire_contain_bits_behind(const struct wire_contain *contain)
{
	for (uint32_t bit = contain->prefix; bit < 128; bit++)
		if (contain->address[bit / 8] & (0x80 >> bit % 8))
			return true;
	return false;
}

/* --- checks; each returns NULL, or what is wrong */

/* All that its kind has, and nothing else. */
static struct wire_contain stripped(const struct wire_contain *c)
{
	struct wire_contain own = {.number = c->number, .kind = c->kind};
	bool flow = c->kind == WIRE_CONTAIN_FLOW, port = c->kind == WIRE_CONTAIN_PORT, limit = c->kind == WIRE_CONTAIN_LIMIT;
	if (!port) {
		memcpy(own.address, c->address, sizeof(own.address));
		own.prefix = c->prefix;
		own.v6 = c->v6;
	}
	if (flow) {
		memcpy(own.to, c->to, sizeof(own.to));
		own.port = c->port;
	}
	if (flow || port) {
		own.protocol = c->protocol;
		own.to_port = c->to_port;
	}
	own.service = port ? c->service : 0;
	own.rate = limit ? c->rate : 0;
	own.per_s = limit ? c->per_s : 0;
	return own;
}

static bool is_port(uint32_t port)
{
	return port > 0 && port <= UINT16_MAX;
}

static const char *served_wrong(const struct wire_contain *c)
{
	if (c->protocol != IPPROTO_TCP && c->protocol != IPPROTO_UDP)
		return "a protocol that is neither TCP nor UDP";
	if (!is_port(c->to_port))
		return "a port out of range";
	return c->service <= WIRE_SERVICES_MAX ? NULL : "a service out of range";
}

static const char *flow_wrong(const struct wire_contain *c)
{
	static const uint8_t none[12];
	if (c->prefix != (c->v6 ? 128 : 32))
		return "a flow of more than one client";
	if (!c->v6 && memcmp(c->to + 4, none, sizeof(none)) != 0)
		return "a service's address that is too long";
	return is_port(c->port) ? served_wrong(c) : "a port out of range";
}

static const char *limit_wrong(const struct wire_contain *c)
{
	if (c->rate == 0 || c->rate > WIRE_RATE_MAX)
		return "a rate out of range";
	for (size_t i = 0; i < countof(units); i++)
		if (units[i].per_s == c->per_s)
			return NULL;
	return "a rate in no unit";
}

const char *wire_contain_wrong(const struct wire_contain *contain)
{
	if (contain->number == 0)
		return "a containment without number";
	if (contain->kind >= WIRE_CONTAIN_MAX_)
		return "a containment of no kind";
	const struct wire_contain own = stripped(contain);
	if (memcmp(&own, contain, sizeof(own)) != 0)
		return "a containment with what its kind has not";
	if (contain->v6 > 1 || contain->prefix > (contain->v6 ? 128 : 32))
		return "a source of no kind";
	if (wire_contain_bits_behind(contain))
		return "a source with bits behind its prefix";
	switch ((enum wire_contained)contain->kind) {
	case WIRE_CONTAIN_FLOW:
		return flow_wrong(contain);
	case WIRE_CONTAIN_PORT:
		return served_wrong(contain);
	case WIRE_CONTAIN_LIMIT:
		return limit_wrong(contain);
	case WIRE_CONTAIN_SOURCE:
	case WIRE_CONTAIN_MAX_:
		break;
	}
	return NULL;
}

/* --- text */

static const char *unit_name(uint32_t per_s)
{
	for (size_t i = 0; i < countof(units); i++)
		if (units[i].per_s == per_s)
			return units[i].name;
	return "?";
}

void wire_contain_text(const struct wire_contain *contain, const char *service, char ret_text[static WIRE_SUBJECT_MAX])
{
	const struct wire_contain *c = contain;
	char from[INET6_ADDRSTRLEN], to[INET6_ADDRSTRLEN];
	const char *open = c->v6 ? "[" : "", *close = c->v6 ? "]" : "", *protocol = c->protocol == IPPROTO_TCP ? "tcp" : "udp";
	inet_ntop(c->v6 ? AF_INET6 : AF_INET, c->address, from, sizeof(from));
	inet_ntop(c->v6 ? AF_INET6 : AF_INET, c->to, to, sizeof(to));
	ret_text[0] = '\0';
	switch ((enum wire_contained)c->kind) {
	case WIRE_CONTAIN_SOURCE:
		snprintf(ret_text, WIRE_SUBJECT_MAX, "source %s/%u", from, c->prefix);
		break;
	case WIRE_CONTAIN_FLOW:
		snprintf(ret_text, WIRE_SUBJECT_MAX, "flow %s %s%s%s:%u %s%s%s:%u", protocol, open, from, close, c->port, open,
		         to, close, c->to_port);
		break;
	case WIRE_CONTAIN_PORT:
		snprintf(ret_text, WIRE_SUBJECT_MAX, "port %.60s%s%u/%s", service ? service : "", service ? " " : "", c->to_port,
		         protocol);
		break;
	case WIRE_CONTAIN_LIMIT:
		snprintf(ret_text, WIRE_SUBJECT_MAX, "limit %s/%u %u/%s", from, c->prefix, c->rate, unit_name(c->per_s));
		break;
	case WIRE_CONTAIN_MAX_:
		break;
	}
}
