/*
 * Reading back. Sets and maps are read with plain netlink and not through libnftables: the bytes of a key need no
 * parser of a text, and what checks a writer should not be the writer.
 */
#include "act/net/state.h"

#include "act/net/rtnl.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdlib.h>
#include <string.h>

uint32_t state_tap_number(const char *name)
{
	if (name[0] != 'k' || name[1] != 'b' || name[2] < '1' || name[2] > '9')
		return 0;
	uint64_t number = 0;
	for (const char *digit = name + 2; *digit; digit++) {
		if (*digit < '0' || *digit > '9')
			return 0;
		number = number * 10 + (uint64_t)(*digit - '0');
		if (number > UINT32_MAX)
			return 0;
	}
	return (uint32_t)number;
}

static void tap_seen(void *arg, const struct rtnl_link *link)
{
	struct state *state = arg;
	uint32_t number = state_tap_number(link->name);
	if (number == 0 || state->n_taps == STATE_TAPS_MAX)
		return;
	struct state_tap *tap = &state->taps[state->n_taps++];
	*tap = (struct state_tap){.number = number,
	                          .index = link->index,
	                          .up = link->flags & IFF_UP,
	                          .gate = WIRE_GATE_QUARANTINE,
	                          .service = UINT32_MAX};
	memcpy(tap->kind, link->kind, sizeof(tap->kind));
}

const struct state_tap *state_tap(const struct state *state, uint32_t number)
{
	for (size_t i = 0; i < state->n_taps; i++)
		if (state->taps[i].number == number)
			return &state->taps[i];
	return NULL;
}

/* ---- elements of a set */

struct element {
	const uint8_t *key, *data;
	size_t key_size, data_size;
};

struct reading {
	struct state *state;
	void (*element)(struct reading *reading, const struct element *element);
	enum wire_gate gate;      /* of the set being read */
	uint32_t service;         /* the same */
	uint8_t family;           /* of the map being read */
	state_address_seen *seen; /* of a set of addresses */
	void *arg;
};

static void data_value(const struct nlattr *data, const uint8_t **ret_bytes, size_t *ret_size)
{
	const struct nlattr *part;
	mnl_attr_for_each_nested(part, data)
	{
		if (mnl_attr_get_type(part) != NFTA_DATA_VALUE)
			continue;
		*ret_bytes = mnl_attr_get_payload(part);
		*ret_size = mnl_attr_get_payload_len(part);
	}
}

static int elements_seen(const struct nlmsghdr *message, void *arg)
{
	struct reading *reading = arg;
	const struct nlattr *list, *one, *part;
	mnl_attr_for_each(list, message, sizeof(struct nfgenmsg))
	{
		if (mnl_attr_get_type(list) != NFTA_SET_ELEM_LIST_ELEMENTS)
			continue;
		mnl_attr_for_each_nested(one, list)
		{
			struct element element = {0};
			mnl_attr_for_each_nested(part, one)
			{
				if (mnl_attr_get_type(part) == NFTA_SET_ELEM_KEY)
					data_value(part, &element.key, &element.key_size);
				else if (mnl_attr_get_type(part) == NFTA_SET_ELEM_DATA)
					data_value(part, &element.data, &element.data_size);
			}
			reading->element(reading, &element);
		}
	}
	return MNL_CB_OK;
}

static int filter_talk(struct net *net, struct nlmsghdr *request, mnl_cb_t callback, void *arg)
{
	static uint32_t sequence;
	char buffer[16384];
	request->nlmsg_seq = ++sequence;
	if (mnl_socket_sendto(net->filter, request, request->nlmsg_len) < 0)
		return -errno;
	for (;;) {
		ssize_t got = mnl_socket_recvfrom(net->filter, buffer, sizeof(buffer));
		if (got < 0)
			return -errno;
		int r = mnl_cb_run(buffer, (size_t)got, sequence, mnl_socket_get_portid(net->filter), callback, arg);
		if (r < 0 && (errno == ESRCH || errno == EPROTO))
			continue;
		if (r <= 0)
			return r < 0 ? -errno : 0;
	}
}

static struct nlmsghdr *filter_request(char *buffer, uint16_t type, uint16_t flags, uint8_t family)
{
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	request->nlmsg_type = (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type);
	request->nlmsg_flags = NLM_F_REQUEST | flags;
	struct nfgenmsg *head = mnl_nlmsg_put_extra_header(request, sizeof(*head));
	head->nfgen_family = family;
	head->version = NFNETLINK_V0;
	return request;
}

/* A set that is not there has no elements. A dump that a change interrupted is begun anew by the caller (-EINTR). */
static int set_read(struct net *net, const char *set, struct reading *reading, struct err *err)
{
	char buffer[256];
	struct nlmsghdr *request = filter_request(buffer, NFT_MSG_GETSETELEM, NLM_F_DUMP, NFPROTO_INET);
	mnl_attr_put_strz(request, NFTA_SET_ELEM_LIST_TABLE, "koboshi");
	mnl_attr_put_strz(request, NFTA_SET_ELEM_LIST_SET, set);
	int r = filter_talk(net, request, elements_seen, reading);
	if (r == 0 || r == -ENOENT)
		return 0;
	return err_set(err, r, "cannot read set %s of table inet koboshi: %s", set, strerror(-r));
}

static struct state_tap *tap_of(struct reading *reading, const struct element *element)
{
	char name[IFNAMSIZ + 1] = "";
	if (!element->key || element->key_size > IFNAMSIZ)
		return NULL;
	memcpy(name, element->key, element->key_size);
	uint32_t number = state_tap_number(name);
	for (size_t i = 0; i < reading->state->n_taps; i++)
		if (reading->state->taps[i].number == number)
			return &reading->state->taps[i];
	return NULL;
}

static void gate_seen(struct reading *reading, const struct element *element)
{
	struct state_tap *tap = tap_of(reading, element);
	if (tap)
		tap->gate = reading->gate;
}

static void service_seen(struct reading *reading, const struct element *element)
{
	struct state_tap *tap = tap_of(reading, element);
	if (tap)
		tap->service = reading->service;
}

/* A key is address, protocol, port, each padded to four bytes. */
static void steer_seen(struct reading *reading, const struct element *element)
{
	struct state *state = reading->state;
	size_t size = reading->family == AF_INET ? 4 : 16;
	if (element->key_size != size + 8 || element->data_size != size || state->n_steer == STATE_STEER_MAX)
		return;
	struct state_steer *steer = &state->steer[state->n_steer++];
	*steer = (struct state_steer){.family = reading->family, .protocol = element->key[size]};
	memcpy(&steer->service, element->key, size);
	memcpy(&steer->guest, element->data, size);
	steer->port = (uint16_t)(element->key[size + 4] << 8 | element->key[size + 5]);
}

static void address_seen(struct reading *reading, const struct element *element)
{
	if (element->key)
		reading->seen(reading->arg, element->key, element->key_size);
}

int state_addresses(struct net *net, const char *set, state_address_seen *seen, void *arg, struct err *err)
{
	struct reading reading = {.element = address_seen, .seen = seen, .arg = arg};
	int r = -EINTR;
	for (int attempt = 0; r == -EINTR && attempt < 5; attempt++)
		r = set_read(net, set, &reading, err);
	return r;
}

struct names_seen {
	uint16_t table, name; /* attributes */
	state_name_seen *seen;
	void *arg;
};

static int name_seen(const struct nlmsghdr *message, void *arg)
{
	const struct names_seen *names = arg;
	const struct nlattr *attribute;
	const char *table = "", *name = "";
	mnl_attr_for_each(attribute, message, sizeof(struct nfgenmsg))
	{
		if (mnl_attr_validate(attribute, MNL_TYPE_NUL_STRING) < 0)
			continue;
		if (mnl_attr_get_type(attribute) == names->table)
			table = mnl_attr_get_str(attribute);
		if (mnl_attr_get_type(attribute) == names->name)
			name = mnl_attr_get_str(attribute);
	}
	if (strcmp(table, "koboshi") == 0 && name[0])
		names->seen(names->arg, name);
	return MNL_CB_OK;
}

/* No table, no names. */
static void names_read(struct net *net, uint16_t type, struct names_seen *names)
{
	char buffer[256];
	struct nlmsghdr *request = filter_request(buffer, type, NLM_F_DUMP, NFPROTO_INET);
	mnl_attr_put_strz(request, names->table, "koboshi");
	(void)filter_talk(net, request, name_seen, names);
}

void state_sets(struct net *net, state_name_seen *seen, void *arg)
{
	names_read(net, NFT_MSG_GETSET, &(struct names_seen){NFTA_SET_TABLE, NFTA_SET_NAME, seen, arg});
}

void state_chains(struct net *net, state_name_seen *seen, void *arg)
{
	names_read(net, NFT_MSG_GETCHAIN, &(struct names_seen){NFTA_CHAIN_TABLE, NFTA_CHAIN_NAME, seen, arg});
}

static bool object_there(struct net *net, uint16_t type, const char *chain)
{
	char buffer[256];
	struct nlmsghdr *request = filter_request(buffer, type, NLM_F_ACK, NFPROTO_INET);
	mnl_attr_put_strz(request, NFTA_CHAIN_TABLE, "koboshi"); /* the same number as NFTA_TABLE_NAME */
	if (chain)
		mnl_attr_put_strz(request, NFTA_CHAIN_NAME, chain);
	return filter_talk(net, request, NULL, NULL) == 0;
}
static_assert((int)NFTA_CHAIN_TABLE == (int)NFTA_TABLE_NAME, "one request serves both");

bool state_chain_there(struct net *net, const char *chain)
{
	return object_there(net, NFT_MSG_GETCHAIN, chain);
}

static int state_read_once(struct net *net, struct state *state, struct err *err)
{
	*state = (struct state){0};
	int r = rtnl_links(net->route, tap_seen, state, err);
	struct reading reading = {.state = state, .element = gate_seen, .gate = WIRE_GATE_OPEN};
	if (r == 0)
		r = set_read(net, "open", &reading, err);
	reading.gate = WIRE_GATE_FENCED; /* read last: a tap in both sets is fenced */
	if (r == 0)
		r = set_read(net, "fenced", &reading, err);
	reading.element = service_seen;
	for (size_t i = 0; i < net->conf.n_services && r == 0; i++) {
		char set[PROFILE_SET_MAX];
		profile_set(&net->conf.services[i], set);
		reading.service = (uint32_t)i;
		r = set_read(net, set, &reading, err);
	}
	reading.element = steer_seen;
	reading.family = AF_INET;
	if (r == 0)
		r = set_read(net, "steer4", &reading, err);
	reading.family = AF_INET6;
	if (r == 0)
		r = set_read(net, "steer6", &reading, err);
	return r;
}

int state_read(struct net *net, struct state *ret_state, struct err *err)
{
	int r = -EINTR;
	for (int attempt = 0; r == -EINTR && attempt < 5; attempt++)
		r = state_read_once(net, ret_state, err);
	return r;
}

struct state_base state_base(struct net *net)
{
	if (!object_there(net, NFT_MSG_GETTABLE, NULL))
		return (struct state_base){0};
	return (struct state_base){.loaded = true,
	                           .hold4 = object_there(net, NFT_MSG_GETCHAIN, "hold4"),
	                           .hold6 = object_there(net, NFT_MSG_GETCHAIN, "hold6")};
}

static const struct state_steer *steer_find(const struct state *state, int family, const void *address,
                                            const struct conf_port *port)
{
	for (size_t i = 0; i < state->n_steer; i++) {
		const struct state_steer *steer = &state->steer[i];
		if (steer->family == family && steer->port == port->port && steer->protocol == port->protocol &&
		    memcmp(&steer->service, address, family == AF_INET ? 4 : 16) == 0)
			return steer;
	}
	return NULL;
}

static uint32_t steer_number(const struct state *state, const struct conf *conf, const struct state_steer *steer)
{
	for (size_t i = 0; i < state->n_taps; i++) {
		struct conf_instance instance;
		conf_instance(conf, state->taps[i].number, &instance);
		const void *address = steer->family == AF_INET ? (void *)&instance.address4 : (void *)&instance.address6;
		if (memcmp(&steer->guest, address, steer->family == AF_INET ? 4 : 16) == 0)
			return instance.number;
	}
	return 0;
}

uint32_t state_target(const struct state *state, const struct conf *conf, size_t service, bool *ret_mixed)
{
	const struct conf_service *s = &conf->services[service];
	uint32_t target = 0;
	size_t found = 0, wanted = 0;
	bool mixed = false;
	for (size_t i = 0; i < 2 * s->n_ports; i++) {
		bool six = i >= s->n_ports;
		if (six ? !s->has_address6 : !s->has_address4)
			continue;
		const struct state_steer *steer =
		        steer_find(state, six ? AF_INET6 : AF_INET, six ? (const void *)&s->address6 : (const void *)&s->address4,
		                   &s->ports[six ? i - s->n_ports : i]);
		wanted++;
		if (!steer)
			continue;
		uint32_t number = steer_number(state, conf, steer);
		mixed = mixed || number == 0 || (found > 0 && number != target);
		target = found++ == 0 ? number : target;
	}
	*ret_mixed = mixed || (found > 0 && found != wanted);
	return target;
}
