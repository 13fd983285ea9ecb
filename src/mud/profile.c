/*
 * What a tap cannot keep, found before anything is written. The reader (read.c and others) knows the standard; this file knows
 * the place: guests behind taps of their own, which nobody can reach but through the service's address.
 */
#include "mud/profile.h"

#include "lib/bytes.h"

#include <errno.h>
#include <string.h>

struct fit {
	const char *file;
	const struct conf *conf;
	const struct conf_service *service;
	const struct mud *mud;
	struct err *err;
};

static int refuse(const struct fit *f, const struct mud_ace *ace, const char *member, const char *sentence)
{
	return err_set(f->err, -EOPNOTSUPP, "%s: /ietf-access-control-list:acls/acl/%u/aces/ace/%u/matches/%s: %s", f->file,
	               ace->list, ace->entry, member, sentence);
}

/* Ranges of which the network is a part; all of them are out of every guest's reach. */
static const char *unreachable4(const struct conf *conf, const struct mud_network *network)
{
	const struct {
		struct conf_range4 range;
		const char *sentence;
	} rows[] = {
	        {conf->guests4, "is in the guests' range: guests never reach each other"},
	        {{{htonl(0x7f000000)}, 8}, "is the loopback network, which no packet of a guest may name"},
	        {{{htonl(0xe0000000)}, 4}, "is a multicast network: a tap lets no multicast pass"},
	};
	struct in_addr address;
	memcpy(&address, network->address, sizeof(address));
	for (size_t i = 0; i < countof(rows); i++)
		if (network->prefix >= rows[i].range.prefix && conf_in_range4(&rows[i].range, address))
			return rows[i].sentence;
	return NULL;
}

static const char *unreachable6(const struct conf *conf, const struct mud_network *network)
{
	const struct {
		struct conf_range6 range;
		const char *sentence;
	} rows[] = {
	        {conf->guests6, "is in the guests' range: guests never reach each other"},
	        {{IN6ADDR_LOOPBACK_INIT, 128}, "is the loopback address, which no packet of a guest may name"},
	        {{{.s6_addr = {0xfe, 0x80}}, 10}, "is a link-local network: a tap lets none pass"},
	        {{{.s6_addr = {0xff}}, 8}, "is a multicast network: a tap lets no multicast pass"},
	};
	struct in6_addr address;
	memcpy(&address, network->address, sizeof(address));
	for (size_t i = 0; i < countof(rows); i++)
		if (network->prefix >= rows[i].range.prefix && conf_in_range6(&rows[i].range, &address))
			return rows[i].sentence;
	return NULL;
}

const char *mud_profile_unreachable(const struct conf *conf, bool v6, const uint8_t *address)
{
	struct mud_network network = {.prefix = v6 ? 128 : 32};
	memcpy(network.address, address, v6 ? 16 : 4);
	return v6 ? unreachable6(conf, &network) : unreachable4(conf, &network);
}

static int fits_network(const struct fit *f, const struct mud_ace *ace, bool from_device)
{
	char member[64];
	const char *wrong = ace->v6 ? unreachable6(f->conf, &ace->remote) : unreachable4(f->conf, &ace->remote);
	if (!wrong || ace->action != MUD_ACCEPT)
		return 0;
	snprintf(member, sizeof(member), "ipv%c/%s-ipv%c-network", ace->v6 ? '6' : '4', from_device ? "destination" : "source",
	         ace->v6 ? '6' : '4');
	return refuse(f, ace, member, wrong);
}

static int fits_controller(const struct fit *f, const struct mud_ace *ace)
{
	if (strcmp(f->mud->controllers[ace->which], MUD_MY_CONTROLLER) != 0)
		return refuse(f, ace, "ietf-mud:mud/controller",
		              "nobody here knows who that is: only my-controller can be named");
	if (f->service->n_controllers4 + f->service->n_controllers6 == 0)
		return refuse(f, ace, "ietf-mud:mud/my-controller", "'controllers' of the service names nobody");
	return 0;
}

static int fits_local(const struct fit *f, const struct mud_ace *ace)
{
	if (f->service->n_local4 + f->service->n_local6 == 0)
		return refuse(f, ace, "ietf-mud:mud/local-networks", "'local_networks' of the service names none");
	return 0;
}

static int fits(const struct fit *f, const struct mud_ace *ace, bool from_device)
{
	switch (ace->peer) {
	case MUD_ANYBODY:
	case MUD_NAME: /* what is resolved is looked at then */
		return 0;
	case MUD_NETWORK:
		return fits_network(f, ace, from_device);
	case MUD_LOCAL:
		return fits_local(f, ace);
	case MUD_CONTROLLER:
		return fits_controller(f, ace);
	}
	return 0;
}

struct mud *mud_profile_read(const struct conf *conf, const struct conf_service *service, const char *name, const char *text,
                             size_t size, struct err *err)
{
	struct mud *mud = mud_read(name, text, size, err);
	struct fit f = {.file = name, .conf = conf, .service = service, .mud = mud, .err = err};
	for (size_t i = 0; mud && i < mud->n_aces; i++)
		if (fits(&f, &mud->aces[i], i < mud->n_from) < 0) {
			free(mud);
			return NULL;
		}
	return mud;
}

struct mud *mud_profile_load(const struct conf *conf, const struct conf_service *service, struct err *err)
{
	auto_free uint8_t *text = NULL;
	size_t size;
	if (file_read(service->profile, MUD_FILE_MAX, &text, &size, err) < 0)
		return NULL;
	return mud_profile_read(conf, service, service->profile, (const char *)text, size, err);
}
