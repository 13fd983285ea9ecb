/*
 * From entries to nft's language. One table per link; two chains of entries in the profile's order, of which the first that
 * fits decides (RFC 8519, section 3), and at their ends what is not in the profile. Accepting is `return`: what other tables say
 * of the packet is theirs to say.
 *
 * `direction-initiated` (RFC 8520, section 8.3) needs no flags of TCP: connection tracking knows who opened it.
 */
#include "mud/mud.h"

#include <arpa/inet.h>
#include <assert.h>
#include <string.h>

bool mud_link_is_fine(const char *link)
{
	size_t length = strlen(link);
	return length > 0 && length < 16 &&
	       strspn(link, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") == length;
}

/* --- sets that somebody else fills */

static bool is_used(const struct mud *mud, enum mud_peer peer, size_t which, bool v6)
{
	for (size_t i = 0; i < mud->n_aces; i++)
		if (mud->aces[i].peer == peer && mud->aces[i].which == which && mud->aces[i].v6 == v6)
			return true;
	return false;
}

static void set_put(FILE *out, const char *name, int which, bool v6, const char *flags, const char *comment)
{
	char number[16] = "";
	if (which >= 0)
		snprintf(number, sizeof(number), "_%d", which);
	fprintf(out, "\tset %s%s_v%c { type ipv%c_addr; flags %s; comment \"%.120s\"; }\n", name, number, v6 ? '6' : '4',
	        v6 ? '6' : '4', flags, comment);
}

static void sets_put(FILE *out, const struct mud *mud, bool v6)
{
	for (size_t i = 0; i < mud->n_names; i++)
		if (is_used(mud, MUD_NAME, i, v6))
			set_put(out, "name", (int)i, v6, "timeout", mud->names[i]);
	for (size_t i = 0; i < mud->n_controllers; i++)
		if (is_used(mud, MUD_CONTROLLER, i, v6))
			set_put(out, "controller", (int)i, v6, "interval", mud->controllers[i]);
	if (is_used(mud, MUD_LOCAL, 0, v6))
		set_put(out, "local", -1, v6, "interval", "networks near the device");
}

/* --- one entry */

static void network_put(FILE *out, const struct mud_ace *ace, const char *side, const struct mud_network *network)
{
	char text[INET6_ADDRSTRLEN];
	if (!network->given || network->prefix == 0)
		return;
	inet_ntop(ace->v6 ? AF_INET6 : AF_INET, network->address, text, sizeof(text));
	fprintf(out, " %s %s %s/%u", ace->v6 ? "ip6" : "ip", side, text, network->prefix);
}

/* The sets that mud_compile() makes. */
static void set_named(void *arg unused_arg, const struct mud_ace *ace, FILE *out)
{
	char version = ace->v6 ? '6' : '4';
	if (ace->peer == MUD_LOCAL)
		fprintf(out, "@local_v%c", version);
	else
		fprintf(out, "@%s_%u_v%c", ace->peer == MUD_NAME ? "name" : "controller", ace->which, version);
}

static void ports_put(FILE *out, const struct mud_ace *ace, const char *side, const struct mud_ports *ports)
{
	if (!ports->given || (ports->low == 0 && ports->high == 65535))
		return;
	fprintf(out, " %s %s %s", ace->protocol == IPPROTO_TCP ? "tcp" : "udp", side, ports->negated ? "!= " : "");
	if (ports->low == ports->high)
		fprintf(out, "%u", ports->low);
	else
		fprintf(out, "%u-%u", ports->low, ports->high);
}

static void protocol_put(FILE *out, const struct mud_ace *ace)
{
	const char *icmp = ace->v6 ? "icmpv6" : "icmp";
	if (ace->protocol >= 0)
		fprintf(out, " meta l4proto %d", ace->protocol);
	if (ace->icmp_type >= 0)
		fprintf(out, " %s type %d", icmp, ace->icmp_type);
	if (ace->icmp_code >= 0)
		fprintf(out, " %s code %d", icmp, ace->icmp_code);
}

static const char *action_words(const struct mud_ace *ace)
{
	switch (ace->action) {
	case MUD_ACCEPT:
		return "return";
	case MUD_DROP:
		return "drop";
	case MUD_REJECT:
		return "reject";
	}
	return "drop";
}

void mud_match_put(const struct mud_ace *ace, bool from_device, mud_peers_put *peers, void *arg, FILE *out)
{
	const char *own = from_device ? "saddr" : "daddr", *remote = from_device ? "daddr" : "saddr";
	fprintf(out, "meta nfproto ipv%c", ace->v6 ? '6' : '4');
	protocol_put(out, ace);
	network_put(out, ace, own, &ace->own);
	if (ace->peer == MUD_NETWORK) {
		network_put(out, ace, remote, &ace->remote);
	} else if (ace->peer != MUD_ANYBODY) {
		fprintf(out, " %s %s ", ace->v6 ? "ip6" : "ip", remote);
		peers(arg, ace, out);
	}
	ports_put(out, ace, from_device ? "sport" : "dport", &ace->own_port);
	ports_put(out, ace, from_device ? "dport" : "sport", &ace->remote_port);
	if (ace->initiated != MUD_BY_EITHER)
		fprintf(out, " ct direction %s", (ace->initiated == MUD_BY_DEVICE) == from_device ? "original" : "reply");
}

static void ace_put(FILE *out, const struct mud_ace *ace, bool from_device)
{
	fputs("\t\t", out);
	mud_match_put(ace, from_device, set_named, NULL, out);
	if (ace->logged)
		fputs(" log", out);
	fprintf(out, " counter %s comment \"%s\"\n", action_words(ace), ace->name);
}

/* --- the table */

static void chain_put(FILE *out, const struct mud *mud, const struct mud_target *target, bool from_device)
{
	const char *way = from_device ? "from" : "to";
	fprintf(out, "\tcounter outside_%s { }\n\tchain %s_device {\n", way, way);
	for (size_t i = from_device ? 0 : mud->n_from; i < (from_device ? mud->n_from : mud->n_aces); i++)
		ace_put(out, &mud->aces[i], from_device);
	fprintf(out, "\t\tcounter name outside_%s", way);
	if (target->outside == MUD_LIMIT)
		fprintf(out, " limit rate over %u/second", target->limit_per_second);
	fputs(target->outside == MUD_COUNT ? "\n" : " drop\n", out);
	fputs("\t}\n", out);
}

void mud_compile(const struct mud *mud, const struct mud_target *target, FILE *out)
{
	assert(mud_link_is_fine(target->link) && (target->outside != MUD_LIMIT || target->limit_per_second > 0));
	char table[40];
	snprintf(table, sizeof(table), "mud_%s", target->link);
	for (char *c = table; *c; c++)
		if (*c == '.' || *c == '-')
			*c = '_'; /* no letters of a table's name */
	fprintf(out, "# %s of %s\n", mud->url, mud->last_update);
	fprintf(out, "table inet %s { }\ndelete table inet %s\ntable inet %s {\n", table, table, table);
	sets_put(out, mud, false);
	sets_put(out, mud, true);
	chain_put(out, mud, target, true);
	chain_put(out, mud, target, false);
	fprintf(out,
	        "\tchain forward {\n\t\ttype filter hook forward priority filter - 5; policy accept;\n"
	        "\t\tiifname \"%s\" jump from_device\n\t\toifname \"%s\" jump to_device\n\t}\n}\n",
	        target->link, target->link);
}
