/* Access lists: RFC 8519, section 4.1. Only the lists that a policy names are read, once for each. */
#include "mud/inside.h"

#include <errno.h>
#include <string.h>

/* --- one entry */

static int read_name(struct reading *r, const struct place *at, const json_t *value)
{
	return mud_text(r, at, value, r->ace->name, sizeof(r->ace->name));
}

/* Identities come with their module or without. */
static bool word_is(const json_t *value, const char *word)
{
	const char *text = json_string_value(value);
	const char *colon = text ? strrchr(text, ':') : NULL;
	return text && strcmp(colon ? colon + 1 : text, word) == 0;
}

static int read_forwarding(struct reading *r, const struct place *at, const json_t *value)
{
	static const char *const words[] = {[MUD_ACCEPT] = "accept", [MUD_DROP] = "drop", [MUD_REJECT] = "reject"};
	for (size_t i = 0; i < countof(words); i++)
		if (word_is(value, words[i])) {
			r->ace->action = (enum mud_action)i;
			return 0;
		}
	return mud_refuse(r, at, "must be accept, drop or reject");
}

static int read_logging(struct reading *r, const struct place *at, const json_t *value)
{
	if (!word_is(value, "log-none") && !word_is(value, "log-syslog"))
		return mud_refuse(r, at, "must be log-none or log-syslog");
	r->ace->logged = word_is(value, "log-syslog");
	return 0;
}

static int read_actions(struct reading *r, const struct place *at, const json_t *value)
{
	static const struct member members[] = {{"forwarding", read_forwarding, true}, {"logging", read_logging, false}};
	return mud_object(r, at, value, members, countof(members));
}

static int ignored(struct reading *r unused_arg, const struct place *at unused_arg, const json_t *value unused_arg)
{
	return 0;
}

/* The same packets, and something else to be done with them: whichever is meant, the other is a mistake. */
static int contradiction(const struct reading *r, const struct place *at, size_t first)
{
	struct mud_ace mine = *r->ace;
	memset(mine.name, 0, sizeof(mine.name));
	mine.list = mine.entry = 0;
	for (size_t i = first; i + 1 < r->mud->n_aces; i++) {
		struct mud_ace other = r->mud->aces[i];
		bool same_action = other.action == mine.action;
		memset(other.name, 0, sizeof(other.name));
		other.list = other.entry = 0;
		other.action = mine.action;
		other.logged = mine.logged;
		/* NOLINTNEXTLINE(*-memory-comparison,cert-*): both were zeroed as a whole before they were filled */
		if (!same_action && memcmp(&mine, &other, sizeof(mine)) == 0)
			return mud_refuse(r, at, "contradicts '%s', which does something else with the same packets",
			                  r->mud->aces[i].name);
		if (strcmp(r->mud->aces[i].name, r->ace->name) == 0 && r->mud->aces[i].v6 == mine.v6)
			return mud_refuse(r, at, "an entry named '%s' is there already", r->ace->name);
	}
	return 0;
}

static int read_ace(struct reading *r, const struct place *at, const json_t *value)
{
	static const struct member members[] = {
	        {"name", read_name, true},
	        {"matches", mud_matches, false},
	        {"actions", read_actions, true},
	        {"statistics", ignored, false}, /* of a router that has it in use */
	};
	struct mud *mud = r->mud;
	if (mud->n_aces == MUD_ACES_MAX)
		return mud_refuse(r, at, "more than %d entries in all", MUD_ACES_MAX);
	size_t first = r->to_device ? mud->n_from : 0;
	r->ace = &mud->aces[mud->n_aces++];
	memset(r->ace, 0, sizeof(*r->ace));
	r->ace->protocol = r->ace->icmp_type = r->ace->icmp_code = -1;
	r->ace->v6 = r->v6;
	r->ace->list = r->list;
	r->ace->entry = (uint16_t)at->index;
	int e = mud_object(r, at, value, members, countof(members));
	return e < 0 ? e : contradiction(r, at, first);
}

/* --- one list */

static int read_aces_list(struct reading *r, const struct place *at, const json_t *value)
{
	return mud_list(r, at, value, MUD_ACES_MAX, read_ace);
}

static int read_aces(struct reading *r, const struct place *at, const json_t *value)
{
	static const struct member members[] = {{"ace", read_aces_list, false}};
	return mud_object(r, at, value, members, countof(members));
}

static int read_type(struct reading *r, const struct place *at, const json_t *value)
{
	if (!word_is(value, "ipv4-acl-type") && !word_is(value, "ipv6-acl-type"))
		return mud_refuse(r, at, "only ipv4-acl-type and ipv6-acl-type are supported by this compiler");
	r->v6 = word_is(value, "ipv6-acl-type");
	return 0;
}

/* The type decides how the entries are read, wherever in the object it stands. */
static int read_acl(struct reading *r, const struct place *at, const json_t *acl)
{
	static const struct member members[] = {{"name", ignored, true}, {"type", ignored, true}, {"aces", read_aces, true}};
	struct place type = {.up = at, .key = "type"};
	const json_t *value = json_object_get(acl, "type");
	int e = value ? read_type(r, &type, value) : 0;
	return e < 0 ? e : mud_object(r, at, acl, members, countof(members));
}

int mud_acl(struct reading *r, const struct place *at, const char *name)
{
	const json_t *lists = json_object_get(r->acls, "acl");
	struct place top = {.key = "ietf-access-control-list:acls"}, all = {.up = &top, .key = "acl"};
	const json_t *found = NULL;
	struct place here = {.up = &all};
	for (size_t i = 0; i < json_array_size(lists); i++) {
		const json_t *list = json_array_get(lists, i);
		const char *is = json_string_value(json_object_get(list, "name"));
		if (!is || strcmp(is, name) != 0)
			continue;
		if (found)
			return mud_refuse(r, &all, "two lists are named '%s'", name);
		found = list;
		here.index = i;
		r->list = (uint16_t)i;
	}
	if (!found)
		return mud_refuse(r, at, "no access list is named '%s'", name);
	return read_acl(r, &here, found);
}
