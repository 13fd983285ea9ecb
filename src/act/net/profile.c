/*
 * See profile.h. A guest's own packet is judged where it enters, before routing, so that what has no route is seen too:
 *
 *   entering    (prerouting)  guests' original direction -> from-SERVICE: allowed, or noted and dropped
 *   profile_out (forward)     what got so far may go out, if the tap's gate is open and no other tap is the way
 *   profile_back (forward)    answers -> to-SERVICE
 *
 * Every packet is judged and not only a flow's first: a profile that changes ends what it no longer allows. The service's own
 * traffic never comes here: it is the guest's reply direction, brought by the map.
 */
#include "act/net/profile.h"

#include "act/net/net.h"
#include "act/net/state.h"
#include "lib/bytes.h"
#include "lib/log.h"
#include "mud/profile.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <string.h>

#define T "inet koboshi "
#define STRAY_RATE "50/second burst 50 packets" /* told of one tap's; a scan must be seen as one */

void profile_set(const struct conf_service *service, char ret_name[static PROFILE_SET_MAX])
{
	snprintf(ret_name, PROFILE_SET_MAX, "of-%s", service->name);
}

void profile_problem(const struct net *net, uint32_t service, char ret_text[static WIRE_TEXT_MAX])
{
	static const char in_force[] = "in force, but ";
	const struct profile *profile = &net->profiles[service];
	text_copy(ret_text, WIRE_TEXT_MAX, profile->problem);
	if (profile->state != PROFILE_TAKEN)
		return;
	names_problem(&net->names, profile->names, ret_text + sizeof(in_force) - 1, WIRE_TEXT_MAX - sizeof(in_force) + 1);
	if (ret_text[sizeof(in_force) - 1])
		memcpy(ret_text, in_force, sizeof(in_force) - 1);
}

bool profile_holds(const struct net *net, uint32_t service)
{
	if (service >= net->conf.n_services)
		return false;
	enum profile_state state = net->profiles[service].state;
	return state == PROFILE_TAKEN || state == PROFILE_BEFORE;
}

/* --- what all have in common */

static const char common[] = /* */
        "add map " T "notes { type ifname : verdict; }\n"
        "add map " T "paces { type ifname : verdict; }\n"
        "add counter " T "outside_to\n"
        "add chain " T "entering { type filter hook prerouting priority mangle; policy accept; }\n"
        "add chain " T "profile_out\nadd chain " T "profile_back\nadd chain " T "profile_allow\nadd chain " T "profile_near\n"
        "flush chain " T "entering\nflush chain " T "profile_out\nflush chain " T "profile_back\n"
        "flush chain " T "profile_allow\nflush chain " T "profile_near\n"
        "add rule " T "profile_allow ct state new ct mark set iifname map @marks\n"
        "add rule " T "profile_allow accept\n"
        /* the host itself and other guests: no profile reaches them */
        "add rule " T "profile_near iifname vmap @notes\n"
        "add rule " T "profile_near drop\n";

static bool any_profile(const struct conf *conf)
{
	for (size_t i = 0; i < conf->n_services; i++)
		if (conf->services[i].profile[0])
			return true;
	return false;
}

/* Guests' addresses mean nothing outside of this host. */
static void hide_guests(FILE *out, const struct conf *conf)
{
	char four[INET_ADDRSTRLEN], six[INET6_ADDRSTRLEN];
	inet_ntop(AF_INET, &conf->guests4.address, four, sizeof(four));
	inet_ntop(AF_INET6, &conf->guests6.address, six, sizeof(six));
	fprintf(out,
	        "add rule " T "disguise ip saddr %s/%u oifname != \"kb*\" masquerade\n"
	        "add rule " T "disguise ip6 saddr %s/%u oifname != \"kb*\" masquerade\n",
	        four, conf->guests4.prefix, six, conf->guests6.prefix);
}

void profile_base(FILE *out, const struct conf *conf)
{
	char name[PROFILE_SET_MAX];
	fputs(common, out);
	for (size_t i = 0; i < conf->n_services; i++) {
		profile_set(&conf->services[i], name);
		fprintf(out, "add set " T "%s { type ifname; }\n", name);
	}
	if (any_profile(conf))
		hide_guests(out, conf);
}

/* --- one service's chains */

struct writing {
	const struct conf_service *service;
	const struct mud *mud;
	FILE *out;
};

static size_t ranges4_put(FILE *out, const struct conf_range4 *ranges, size_t n)
{
	char text[INET_ADDRSTRLEN];
	for (size_t i = 0; i < n && out; i++)
		fprintf(out, "%s%s/%u", i ? ", " : "{ ", inet_ntop(AF_INET, &ranges[i].address, text, sizeof(text)),
		        ranges[i].prefix);
	return n;
}

static size_t ranges6_put(FILE *out, const struct conf_range6 *ranges, size_t n)
{
	char text[INET6_ADDRSTRLEN];
	for (size_t i = 0; i < n && out; i++)
		fprintf(out, "%s%s/%u", i ? ", " : "{ ", inet_ntop(AF_INET6, &ranges[i].address, text, sizeof(text)),
		        ranges[i].prefix);
	return n;
}

/* Without `out` only counts: nobody of that family, no rule. */
static size_t peers_put(const struct writing *w, const struct mud_ace *ace, FILE *out)
{
	const struct conf_service *s = w->service;
	char set[NAMES_SET_MAX];
	size_t n = 1;
	if (ace->peer == MUD_NAME && out) {
		names_set(w->mud->names[ace->which], ace->v6, set);
		fprintf(out, "@%s", set);
		return n;
	}
	if (ace->peer == MUD_LOCAL)
		n = ace->v6 ? ranges6_put(out, s->local6, s->n_local6) : ranges4_put(out, s->local4, s->n_local4);
	else if (ace->peer == MUD_CONTROLLER)
		n = ace->v6 ? ranges6_put(out, s->controllers6, s->n_controllers6)
		            : ranges4_put(out, s->controllers4, s->n_controllers4);
	if (out && n > 0)
		fputs(" }", out);
	return n;
}

static void peers_of(void *arg, const struct mud_ace *ace, FILE *out)
{
	peers_put(arg, ace, out);
}

static void rule_put(const struct writing *w, const struct mud_ace *ace, bool from, const char *verdict)
{
	fprintf(w->out, "add rule " T "%s-%s ", from ? "from" : "to", w->service->name);
	mud_match_put(ace, from, peers_of, (void *)w, w->out);
	fprintf(w->out, " %s\n", verdict);
}

static void ace_put(const struct writing *w, const struct mud_ace *ace, bool from)
{
	char log[160];
	if (ace->peer != MUD_ANYBODY && ace->peer != MUD_NETWORK && peers_put(w, ace, NULL) == 0)
		return;
	snprintf(log, sizeof(log), "limit rate 1/second log prefix \"koboshi %s: %s \"", w->service->name, ace->name);
	if (ace->logged) /* a guest must not fill the host's log */
		rule_put(w, ace, from, log);
	if (ace->action == MUD_ACCEPT) {
		rule_put(w, ace, from, from ? "goto profile_allow" : "accept");
		return;
	}
	if (from)
		rule_put(w, ace, from, "iifname vmap @notes");
	rule_put(w, ace, from, ace->action == MUD_REJECT ? "reject" : "drop");
}

/* What no entry fits. */
static void outside_put(const struct writing *w, bool from)
{
	const char *name = w->service->name;
	static const char *const verdicts[2][3] = {
	        {[CONF_OUTSIDE_COUNT] = "accept", [CONF_OUTSIDE_LIMIT] = "oifname vmap @paces", [CONF_OUTSIDE_CUT] = "drop"},
	        {[CONF_OUTSIDE_COUNT] = "goto profile_allow",
	         [CONF_OUTSIDE_LIMIT] = "iifname vmap @paces",
	         [CONF_OUTSIDE_CUT] = "drop"},
	};
	fprintf(w->out, "add rule " T "%s-%s %s\n", from ? "from" : "to", name,
	        from ? "iifname vmap @notes" : "counter name outside_to");
	fprintf(w->out, "add rule " T "%s-%s %s\n", from ? "from" : "to", name, verdicts[from][w->service->outside]);
	fprintf(w->out, "add rule " T "%s-%s drop\n", from ? "from" : "to", name);
}

static void sets_put(const struct writing *w)
{
	char set[NAMES_SET_MAX];
	for (size_t i = 0; i < 2 * w->mud->n_names; i++) {
		names_set(w->mud->names[i / 2], i % 2, set);
		fprintf(w->out, "add set " T "%s { type ipv%c_addr; comment \"%.100s\"; }\n", set, i % 2 ? '6' : '4',
		        w->mud->names[i / 2]);
	}
}

static void chains_put(const struct writing *w)
{
	const char *name = w->service->name;
	const struct mud *mud = w->mud;
	sets_put(w);
	for (int way = 0; way < 2; way++)
		fprintf(w->out, "add chain " T "%s-%s\nflush chain " T "%s-%s\n", way ? "to" : "from", name, way ? "to" : "from",
		        name);
	for (size_t i = 0; i < mud->n_aces; i++)
		ace_put(w, &mud->aces[i], i < mud->n_from);
	outside_put(w, true);
	outside_put(w, false);
}

/* --- reading them */

/* Alone and dry: what the kernel does not take must not keep all the other rules from being loaded. */
static int try(const struct net *net, const char *rules, struct err *err)
{
	struct ruleset_text text;
	ruleset_text_init(&text);
	ruleset_base(text.out, &(struct ruleset_base){.conf = &net->conf});
	fputs(rules, text.out);
	int r = transact_try(ruleset_text_end(&text), err);
	ruleset_text_done(&text);
	return r;
}

static int names_take(struct names *names, const struct mud *mud, uint64_t *ret_which, struct err *err)
{
	for (size_t i = 0; i < mud->n_names; i++) {
		int place = names_add(names, mud->names[i]);
		if (place < 0)
			return err_set(err, -ENOSPC, "all profiles together name more than %d names", NAMES_MAX);
		*ret_which |= (uint64_t)1 << place;
	}
	return 0;
}

static int load_one(struct net *net, const struct conf_service *service, struct profile *profile, struct err *err)
{
	auto_free struct mud *mud = mud_profile_load(&net->conf, service, err);
	if (!mud)
		return err->code;
	struct ruleset_text text;
	ruleset_text_init(&text);
	chains_put(&(struct writing){service, mud, text.out});
	char *rules = strdup(ruleset_text_end(&text));
	ruleset_text_done(&text);
	assert(rules);
	size_t known = net->names.n;
	int r = names_take(&net->names, mud, &profile->names, err);
	if (r == 0)
		r = try(net, rules, err);
	profile->rules = r == 0 ? rules : NULL;
	if (r < 0) {
		free(rules);
		net->names.n = known;
	}
	return r < 0 ? err_prefix(err, "%s", service->profile) : 0;
}

/* Whoever is told knows the file, and a notice is short: what stands behind the file's name must not be cut off. */
static const char *without_file(const char *why, const char *file)
{
	size_t length = strlen(file);
	if (strncmp(why, file, length) != 0 || why[length] != ':')
		return why;
	return why + length + 1 + strspn(why + length + 1, " ");
}

static void refused(struct net *net, size_t i, const char *why)
{
	struct profile *profile = &net->profiles[i];
	const struct conf_service *service = &net->conf.services[i];
	char chain[PROFILE_SET_MAX + 4];
	snprintf(chain, sizeof(chain), "from-%s", service->name);
	profile->state = state_chain_there(net, chain) ? PROFILE_BEFORE : PROFILE_CLOSED;
	log_error("net.profile", "the profile of service %s is not taken, %s: %s", service->name,
	          profile->state == PROFILE_BEFORE ? "the one before stays" : "its guests may open nothing", why);
	snprintf(profile->problem, sizeof(profile->problem), "%s: %s",
	         profile->state == PROFILE_BEFORE ? "not taken, the one before stays" : "not taken, nothing may be opened",
	         without_file(why, service->profile));
}

void profile_load(struct net *net)
{
	profile_done(net);
	for (size_t i = 0; i < net->conf.n_services; i++) {
		struct err err = {0};
		if (!net->conf.services[i].profile[0])
			continue;
		if (load_one(net, &net->conf.services[i], &net->profiles[i], &err) < 0)
			refused(net, i, err.text);
		else
			net->profiles[i].state = PROFILE_TAKEN;
	}
}

void profile_done(struct net *net)
{
	for (size_t i = 0; i < CONF_SERVICES_MAX; i++) {
		free(net->profiles[i].rules);
		net->profiles[i] = (struct profile){0};
	}
}

void profile_lost(struct net *net)
{
	for (size_t i = 0; i < net->conf.n_services; i++) {
		struct profile *profile = &net->profiles[i];
		if (profile->state != PROFILE_BEFORE)
			continue;
		profile->state = PROFILE_CLOSED;
		log_error("net.profile", "the profile of service %s went with the rules: its guests may open nothing",
		          net->conf.services[i].name);
		text_copy(profile->problem, sizeof(profile->problem),
		          "not taken, and the one before went with the rules that somebody changed: nothing may be opened");
	}
}

/* --- in a transaction */

static void ways_put(FILE *out, const struct conf *conf, const struct conf_service *service)
{
	char set[PROFILE_SET_MAX], four[INET_ADDRSTRLEN], six[INET6_ADDRSTRLEN], own[80];
	profile_set(service, set);
	inet_ntop(AF_INET, &conf->guests4.address, four, sizeof(four));
	inet_ntop(AF_INET6, &conf->guests6.address, six, sizeof(six));
	snprintf(own, sizeof(own), "iifname @%s ct direction original", set);
	fprintf(out,
	        "add rule " T "entering %s ct state related accept\n" /* ICMP about a flow that is there */
	        "add rule " T "entering %s fib daddr type local goto profile_near\n"
	        "add rule " T "entering %s ip daddr %s/%u goto profile_near\n"
	        "add rule " T "entering %s ip6 daddr %s/%u goto profile_near\n"
	        "add rule " T "entering %s goto from-%s\n"
	        "add rule " T "profile_out iifname @%s accept\n"
	        "add rule " T "profile_back oifname @%s goto to-%s\n",
	        own, own, own, four, conf->guests4.prefix, own, six, conf->guests6.prefix, own, service->name, set, set,
	        service->name);
}

void profile_rules(FILE *out, const struct net *net)
{
	for (size_t i = 0; i < net->conf.n_services; i++) {
		const struct conf_service *service = &net->conf.services[i];
		const struct profile *profile = &net->profiles[i];
		if (profile->rules)
			fputs(profile->rules, out);
		if (profile_holds(net, (uint32_t)i))
			ways_put(out, &net->conf, service);
		for (int way = 0; way < 2 && !profile_holds(net, (uint32_t)i); way++)
			fprintf(out, "add chain " T "%s-%s\nflush chain " T "%s-%s\ndelete chain " T "%s-%s\n",
			        way ? "to" : "from", service->name, way ? "to" : "from", service->name, way ? "to" : "from",
			        service->name);
	}
}

static void chains_add(FILE *out, const char *tap)
{
	fprintf(out,
	        "add counter " T "%s_outside\n"
	        "add chain " T "%s_note\nflush chain " T "%s_note\nadd chain " T "%s_pace\nflush chain " T "%s_pace\n"
	        "add element " T "notes { \"%s\" : jump %s_note }\nadd element " T "paces { \"%s\" : goto %s_pace }\n",
	        tap, tap, tap, tap, tap, tap, tap, tap, tap);
}

static void set_member(FILE *out, const char *set, const char *tap, bool in)
{
	fprintf(out, "add element " T "%s { \"%s\" }\n", set, tap);
	if (!in)
		fprintf(out, "delete element " T "%s { \"%s\" }\n", set, tap);
}

/* Counted, but nothing to tell: the answer to a client whose flow is forgotten, because it was cut or moved. */
static void late_answers(FILE *out, const char *tap, const struct conf_service *service)
{
	for (size_t i = 0; i < service->n_ports; i++)
		if (service->ports[i].protocol == IPPROTO_TCP)
			fprintf(out, "add rule " T "%s_note tcp sport %u tcp flags & (fin|syn|rst|ack) != syn return\n", tap,
			        service->ports[i].port);
}

void profile_tap(FILE *out, const struct net *net, const struct conf_instance *instance, uint32_t service)
{
	char set[PROFILE_SET_MAX];
	const char *tap = instance->tap;
	const struct conf_service *own = service < net->conf.n_services ? &net->conf.services[service] : NULL;
	chains_add(out, tap);
	fprintf(out, "add rule " T "%s_note counter name %s_outside\n", tap, tap);
	if (own)
		late_answers(out, tap, own);
	fprintf(out, "add rule " T "%s_note limit rate " STRAY_RATE " log prefix \"kb:stray\"" RULESET_LOG, tap);
	if (own)
		fprintf(out, "add rule " T "%s_pace limit rate %u/second burst %u packets goto profile_allow\n", tap,
		        own->outside_rate, own->outside_rate);
	fprintf(out, "add rule " T "%s_pace drop\n", tap);
	for (uint32_t i = 0; i < net->conf.n_services; i++) {
		profile_set(&net->conf.services[i], set);
		set_member(out, set, tap, i == service);
	}
}

void profile_tap_gone(FILE *out, const struct conf *conf, const struct conf_instance *instance)
{
	char set[PROFILE_SET_MAX];
	const char *tap = instance->tap;
	chains_add(out, tap);
	fprintf(out,
	        "delete element " T "notes { \"%s\" }\ndelete element " T "paces { \"%s\" }\n"
	        "delete chain " T "%s_note\ndelete chain " T "%s_pace\ndelete counter " T "%s_outside\n",
	        tap, tap, tap, tap, tap);
	for (size_t i = 0; i < conf->n_services; i++) {
		profile_set(&conf->services[i], set);
		set_member(out, set, tap, false);
	}
}
