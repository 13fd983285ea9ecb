/*
 * Checks that need more than one key: each is one function that names the place a person would change. They run after
 * the table's own checks, so every value alone is already in its range.
 */
#include "conf/conf_local.h"

#include <arpa/inet.h>
#include <string.h>

#define EXPOSURE_LEAST_MS 10000u
#define VAULT_EVERY_LEAST_MS 1000u

/* Mask of a prefix, host order; a shift by 32 would be undefined. */
static uint32_t mask4(unsigned prefix)
{
	return prefix == 0 ? 0 : UINT32_MAX << (32 - prefix);
}

bool conf_in_range4(const struct conf_range4 *range, struct in_addr address)
{
	return ((ntohl(range->address.s_addr) ^ ntohl(address.s_addr)) & mask4(range->prefix)) == 0;
}

bool conf_in_range6(const struct conf_range6 *range, const struct in6_addr *address)
{
	for (unsigned bit = 0; bit < range->prefix; bit += 8) {
		uint8_t differ = range->address.s6_addr[bit / 8] ^ address->s6_addr[bit / 8];
		if (range->prefix - bit < 8)
			differ = (uint8_t)(differ >> (8 - (range->prefix - bit)));
		if (differ)
			return false;
	}
	return true;
}

static bool ranges_overlap4(const struct conf_range4 *a, const struct conf_range4 *b)
{
	return a->prefix < b->prefix ? conf_in_range4(a, b->address) : conf_in_range4(b, a->address);
}

static bool ranges_overlap6(const struct conf_range6 *a, const struct conf_range6 *b)
{
	return a->prefix < b->prefix ? conf_in_range6(a, &b->address) : conf_in_range6(b, &a->address);
}

struct check {
	const struct yaml_tree *tree;
	struct conf *conf;
	struct conf_service *service;
	struct err *err;
};

static const struct yaml_node *place(const struct check *c, const char *key)
{
	char path[2 * CONF_NAME_MAX + 64];
	snprintf(path, sizeof(path), "services/%s/%s", c->service->name, key);
	return yaml_tree_find(c->tree, path);
}

static int check_probe_port(const struct check *c)
{
	struct conf_service *s = c->service;
	bool udp = s->probe.protocol == CONF_PROBE_UDP;
	uint8_t protocol = udp ? IPPROTO_UDP : IPPROTO_TCP;
	size_t first = 0;
	while (first < s->n_ports && s->ports[first].protocol != protocol)
		first++;
	if (first == s->n_ports)
		return yaml_fail(place(c, "ports"), c->err, "service '%s' needs a %s port: it is the one that is probed", s->name,
		                 udp ? "UDP" : "TCP");
	if (s->probe.port == 0)
		s->probe.port = s->ports[first].port;
	for (size_t i = first; i < s->n_ports; i++)
		if (s->ports[i].port == s->probe.port && s->ports[i].protocol == protocol)
			return 0;
	return yaml_fail(place(c, "probe/port"), c->err, "'port' is %u, which is not one of the %s ports of service '%s'",
	                 s->probe.port, udp ? "UDP" : "TCP", s->name);
}

/* Absent keys have their defaults by now: whether one was written, only the file tells. */
static const struct yaml_node *probe_key_written(const struct check *c, const char *key)
{
	char path[CONF_NAME_MAX + 8];
	snprintf(path, sizeof(path), "probe/%s", key);
	const struct yaml_node *node = place(c, path);
	return node == place(c, "probe") ? NULL : node;
}

/* Of no use with another protocol, and written all the same; `off` says that it shall not be, which is no mistake. */
static int refuse_written(const struct check *c, const char *key, bool off, const char *protocols)
{
	const struct yaml_node *written = probe_key_written(c, key);
	if (!written || off)
		return 0;
	return yaml_fail(written, c->err, "'%s' is of use with 'protocol: %s' only", key, protocols);
}

static int check_plain_probe(const struct check *c)
{
	struct conf_probe *p = &c->service->probe;
	const struct {
		const char *key;
		bool off;
	} of_http[] = {{"content", p->n_content == 0},
	               {"challenge", !p->challenge},
	               {"challenge_every", false},
	               {"peer", p->n_peer == 0},
	               {"peer_every", false},
	               {"peer_ignore", p->n_peer_ignore == 0},
	               {"body", false}};
	int r = 0;
	for (size_t i = 0; i < countof(of_http) && r == 0; i++)
		r = refuse_written(c, of_http[i].key, of_http[i].off, "http");
	if (r == 0 && p->protocol == CONF_PROBE_UDP && (p->send.size == 0 || p->expect.size == 0))
		r = yaml_fail(place(c, "probe/protocol"), c->err,
		              "'protocol: udp' needs 'send' and 'expect': nobody answers by UDP who is not asked");
	if (r == 0 && p->protocol == CONF_PROBE_UDP)
		r = refuse_written(c, "tls", !p->tls, "http' or 'tcp");
	if (r == 0 && p->send.size > 0 && p->expect.size == 0)
		r = yaml_fail(place(c, "probe/send"), c->err, "'send' needs 'expect': what the answer begins with");
	p->challenge = false;
	p->n_content = p->n_peer = 0;
	return r;
}

static int check_probe_protocol(const struct check *c)
{
	if (c->service->probe.protocol != CONF_PROBE_HTTP)
		return check_plain_probe(c);
	int r = refuse_written(c, "send", false, "tcp' or 'udp");
	return r == 0 ? refuse_written(c, "expect", false, "tcp' or 'udp") : r;
}

static int check_challenge(const struct check *c)
{
	const struct conf_probe *p = &c->service->probe;
	for (size_t i = 0; i < p->n_content; i++)
		if (strcmp(p->content[i], "/") == 0)
			return 0;
	if (!p->challenge)
		return 0;
	return yaml_fail(place(c, "probe/content"), c->err,
	                 "'content' must name '/' too, whose bytes the challenge is about; or say 'challenge: no'");
}

static int check_probe_numbers(const struct check *c)
{
	const struct conf_probe *p = &c->service->probe;
	if (p->failures > p->window)
		return yaml_fail(place(c, "probe/failures"), c->err, "'failures' (%u) cannot be more than 'window' (%u)",
		                 p->failures, p->window);
	if (p->timeout_ms > p->interval_ms * p->window)
		return yaml_fail(place(c, "probe/timeout"), c->err,
		                 "'timeout' (%ums) cannot be longer than 'window' probes take (%u x %ums)", p->timeout_ms,
		                 p->window, p->interval_ms);
	if (p->challenge && p->challenge_ms < p->interval_ms)
		return yaml_fail(place(c, "probe/challenge_every"), c->err,
		                 "'challenge_every' (%ums) cannot be shorter than 'interval' (%ums)", p->challenge_ms,
		                 p->interval_ms);
	return 0;
}

/* A guest takes seconds to start: with less, one would hardly serve before it had to go. */
static int check_exposure(const struct check *c)
{
	const struct conf_service *s = c->service;
	if (s->max_exposure_ms > 0 && s->max_exposure_ms < EXPOSURE_LEAST_MS)
		return yaml_fail(place(c, "max_exposure"), c->err,
		                 "'max_exposure' (%ums) is 0s (never) or at least %us: a new guest must be able to start",
		                 s->max_exposure_ms, EXPOSURE_LEAST_MS / 1000);
	return 0;
}

/* Guests' addresses belong to guests alone: rules at the taps are written by this range. */
static int check_addresses(const struct check *c)
{
	const struct conf_service *s = c->service;
	if ((s->has_address4 && conf_in_range4(&c->conf->guests4, s->address4)) ||
	    (s->has_address6 && conf_in_range6(&c->conf->guests6, &s->address6)))
		return yaml_fail(place(c, "addresses"), c->err,
		                 "service '%s' has an address in the guests' range: take another one", s->name);
	return 0;
}

static int check_clients(const struct check *c)
{
	const struct conf_service *s = c->service;
	for (size_t i = 0; i < s->n_clients4; i++)
		if (ranges_overlap4(&s->clients4[i], &c->conf->guests4))
			return yaml_fail(place(c, "clients"), c->err, "clients of service '%s' overlap the guests' IPv4 range",
			                 s->name);
	for (size_t i = 0; i < s->n_clients6; i++)
		if (ranges_overlap6(&s->clients6[i], &c->conf->guests6))
			return yaml_fail(place(c, "clients"), c->err, "clients of service '%s' overlap the guests' IPv6 range",
			                 s->name);
	if ((s->n_clients4 && !s->has_address4) || (s->n_clients6 && !s->has_address6))
		return yaml_fail(place(c, "clients"), c->err, "service '%s' has %s clients and no %s address", s->name,
		                 s->n_clients4 && !s->has_address4 ? "IPv4" : "IPv6",
		                 s->n_clients4 && !s->has_address4 ? "IPv4" : "IPv6");
	return 0;
}

struct ranges { /* of one key */
	const char *key;
	const struct conf_range4 *four;
	const struct conf_range6 *six;
	size_t n4, n6;
};

static int check_outside(const struct check *c)
{
	const struct conf_service *s = c->service;
	const struct ranges all[] = {
	        {"controllers", s->controllers4, s->controllers6, s->n_controllers4, s->n_controllers6},
	        {"local_networks", s->local4, s->local6, s->n_local4, s->n_local6},
	};
	for (size_t k = 0; k < countof(all); k++) {
		bool meet = false;
		for (size_t i = 0; i < all[k].n4; i++)
			meet = meet || ranges_overlap4(&all[k].four[i], &c->conf->guests4);
		for (size_t i = 0; i < all[k].n6; i++)
			meet = meet || ranges_overlap6(&all[k].six[i], &c->conf->guests6);
		if (meet)
			return yaml_fail(place(c, all[k].key), c->err,
			                 "'%s' of service '%s' overlap the guests' range: guests never reach each other",
			                 all[k].key, s->name);
		if (all[k].n4 + all[k].n6 > 0 && !s->profile[0])
			return yaml_fail(place(c, all[k].key), c->err, "'%s' of service '%s' are of no use without a 'profile'",
			                 all[k].key, s->name);
	}
	return 0;
}

static bool ports_meet(const struct conf_service *a, const struct conf_service *b)
{
	for (size_t i = 0; i < a->n_ports; i++)
		for (size_t j = 0; j < b->n_ports; j++)
			if (a->ports[i].port == b->ports[j].port && a->ports[i].protocol == b->ports[j].protocol)
				return true;
	return false;
}

static int check_others(const struct check *c)
{
	const struct conf_service *s = c->service;
	for (const struct conf_service *other = c->conf->services; other < s; other++) {
		bool same4 = s->has_address4 && other->has_address4 && s->address4.s_addr == other->address4.s_addr;
		bool same6 = s->has_address6 && other->has_address6 && IN6_ARE_ADDR_EQUAL(&s->address6, &other->address6);
		if ((same4 || same6) && ports_meet(s, other))
			return yaml_fail(place(c, "addresses"), c->err,
			                 "services '%s' and '%s' have the same address and port: one of them must move",
			                 other->name, s->name);
	}
	return 0;
}

static int check_secrets(const struct check *c)
{
	return conf_secrets_check(c->tree, c->service, c->err);
}

static int check_wanted(const struct check *c)
{
	unsigned wanted = 0, room = (1u << (32 - c->conf->guests4.prefix)) - 3;
	for (size_t i = 0; i < c->conf->n_services; i++)
		wanted += 1 + c->conf->services[i].standby + c->conf->services[i].spare;
	if (wanted > CONF_INSTANCES_MAX)
		return yaml_fail(yaml_tree_find(c->tree, "services"), c->err,
		                 "all services together want %u instances, %d at most: lower 'standby' or 'spare'", wanted,
		                 CONF_INSTANCES_MAX);
	if (2 * wanted > room)
		return yaml_fail(yaml_tree_find(c->tree, "guests/addresses"), c->err,
		                 "the guests' IPv4 range has %u addresses; %u instances need twice as many, since the old keep "
		                 "theirs for a while",
		                 room, wanted);
	return 0;
}

static int check_device(const struct check *c)
{
	const struct conf *conf = c->conf;
	if (!conf->guests4.prefix || !conf->guests6.prefix)
		return yaml_fail(yaml_tree_find(c->tree, "guests/addresses"), c->err,
		                 "'addresses' must be one IPv4 range and one IPv6 range");
	if (strlen(conf->run_dir) > CONF_RUN_DIR_MAX)
		return yaml_fail(yaml_tree_find(c->tree, "paths/run"), c->err,
		                 "'run' must be at most %d bytes long: sockets lie below it", CONF_RUN_DIR_MAX);
	if (strcmp(conf->run_dir, conf->state_dir) == 0)
		return yaml_fail(yaml_tree_find(c->tree, "paths"), c->err,
		                 "'run' and 'state' must differ: 'run' is emptied, 'state' is kept");
	if (conf->evidence_bytes > conf->evidence_total)
		return yaml_fail(yaml_tree_find(c->tree, "limits"), c->err, "'evidence' cannot be more than 'evidence_total'");
	return 0;
}

static bool lies_in(const char *path, const char *folder)
{
	size_t length = strlen(folder);
	return strncmp(path, folder, length) == 0 && (path[length] == '/' || path[length] == '\0' || folder[length - 1] == '/');
}

static int check_folder(const struct check *c, size_t index)
{
	const struct conf_folder *folder = &c->conf->files.folders[index];
	char path[CONF_NAME_MAX + 32];
	snprintf(path, sizeof(path), "files/folders/%s", folder->name);
	const struct yaml_node *node = yaml_tree_find(c->tree, path);
	if (folder->service[0] && !conf_service_named(c->conf, folder->service))
		return yaml_fail(node, c->err, "folder '%s' belongs to service '%s', which does not exist", folder->name,
		                 folder->service);
	for (size_t i = 0; i < index; i++) {
		const struct conf_folder *other = &c->conf->files.folders[i];
		if (strcmp(other->path, folder->path) == 0)
			return yaml_fail(node, c->err, "folders '%s' and '%s' are the same", other->name, folder->name);
		if (lies_in(folder->path, other->path) || lies_in(other->path, folder->path))
			return yaml_fail(node, c->err, "of folders '%s' and '%s' one lies in the other: whose is a file in both?",
			                 other->name, folder->name);
	}
	return 0;
}

static int check_files(const struct check *c)
{
	const struct conf_files *files = &c->conf->files;
	if (files->n_folders && !files->rules[0] && !files->bad[0])
		return yaml_fail(yaml_tree_find(c->tree, "files"), c->err,
		                 "'files' has folders and neither 'rules' nor 'bad': nothing could be found");
	if (((uint64_t)files->memory_mib << 20) < 2 * files->file_bytes)
		return yaml_fail(yaml_tree_find(c->tree, "files"), c->err, "'memory' must be at least twice 'file_size'");
	int r = 0;
	for (size_t i = 0; i < files->n_folders && r == 0; i++)
		r = check_folder(c, i);
	return r;
}

/* What two services share one could take from the other. */
static int check_vault(const struct check *c)
{
	struct conf_vault *v = &c->service->vault;
	const struct yaml_node *node = place(c, "vault");
	bool said = v->repository[0] || v->credentials[0] || v->on_compromise != CONF_COMPROMISE_KEEP;
	if (!v->path[0])
		return said ? yaml_fail(node, c->err, "'vault' has no 'path'") : 0;
	if (v->every_ms > 0 && v->every_ms < VAULT_EVERY_LEAST_MS)
		return yaml_fail(node, c->err, "'every' (%ums) is 0s (only when asked for) or at least %us", v->every_ms,
		                 VAULT_EVERY_LEAST_MS / 1000);
	for (size_t i = 0; &c->conf->services[i] < c->service; i++)
		if (strcmp(c->conf->services[i].vault.path, v->path) == 0)
			return yaml_fail(node, c->err, "services '%s' and '%s' have the same vault", c->conf->services[i].name,
			                 c->service->name);
	if (!v->repository[0] &&
	    snprintf(v->repository, sizeof(v->repository), "%s/repository", v->path) >= (int)sizeof(v->repository))
		return yaml_fail(node, c->err, "'path' is too long to have a repository in it");
	return 0;
}

static int check_carry(const struct check *c)
{
	const struct conf_service *s = c->service;
	const struct conf_files *files = &c->conf->files;
	const struct yaml_node *node = place(c, "carry");
	if (s->n_carry && !s->vault.path[0])
		return yaml_fail(node, c->err, "'carry' needs a 'vault': that is where the files are kept");
	if (s->n_carry && !files->rules[0] && !files->bad[0])
		return yaml_fail(node, c->err,
		                 "'carry' needs 'rules' or 'bad' below 'files': nothing is carried over that was not looked at");
	for (size_t i = 0; i < s->n_carry; i++)
		for (size_t k = 0; k < i; k++)
			if (strcmp(s->carry[i], s->carry[k]) == 0)
				return yaml_fail(node, c->err, "'carry' names %s twice", s->carry[i]);
	return 0;
}

int conf_check(const struct yaml_tree *tree, struct conf *conf, struct err *err)
{
	static int (*const checks[])(const struct check *) = {
	        check_probe_port, check_probe_protocol, check_challenge, check_probe_numbers, check_exposure, check_addresses,
	        check_clients,    check_outside,        check_others,    check_vault,         check_carry,    check_secrets};
	struct check c = {.tree = tree, .conf = conf, .err = err};
	int e = check_device(&c);
	for (size_t i = 0; e == 0 && i < conf->n_services; i++) {
		c.service = &conf->services[i];
		for (size_t j = 0; e == 0 && j < countof(checks); j++)
			e = checks[j](&c);
	}
	e = e < 0 ? e : check_files(&c);
	return e < 0 ? e : check_wanted(&c);
}
