/* See names.h. A set bears its name's hash, so that after a restart with another profile it is still the same name's. */
#include "act/net/names.h"

#include "act/net/net.h"
#include "act/net/state.h"
#include "lib/bytes.h"
#include "lib/log.h"
#include "mud/profile.h"

#include <arpa/inet.h>
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define T "inet koboshi "

static_assert(NAMES_MAX <= 64, "a profile's names are bits");

/* --- who is there */

static uint64_t hash_of(const char *text)
{
	uint64_t hash = 14695981039346656037u; /* FNV-1a */
	for (; *text; text++)
		hash = (hash ^ (uint8_t)tolower((unsigned char)*text)) * 1099511628211u;
	return hash;
}

void names_set(const char *text, bool v6, char ret_set[static NAMES_SET_MAX])
{
	snprintf(ret_set, NAMES_SET_MAX, "name%c-%016" PRIx64, v6 ? '6' : '4', hash_of(text));
}

int names_add(struct names *names, const char *text)
{
	for (size_t i = 0; i < names->n; i++)
		if (strcasecmp(names->names[i].text, text) == 0)
			return (int)i;
	if (names->n == NAMES_MAX)
		return -1;
	text_copy(names->names[names->n].text, MUD_URI_MAX, text);
	text_copy(names->names[names->n].problem, sizeof(names->names[0].problem), "is being asked for");
	return (int)names->n++;
}

static bool same(const struct resolved_address *a, const struct resolved_address *b)
{
	return a->v6 == b->v6 && memcmp(a->bytes, b->bytes, a->v6 ? 16 : 4) == 0;
}

/* One more, or seen again. When there is no room whoever was not seen for the longest time gives way. */
static void address_see(struct name *name, const struct resolved_address *address, int64_t now_us)
{
	struct name_address *oldest = &name->addresses[0];
	for (size_t i = 0; i < name->n; i++) {
		struct name_address *one = &name->addresses[i];
		if (same(&one->address, address)) {
			one->seen_us = now_us;
			return;
		}
		oldest = one->seen_us < oldest->seen_us ? one : oldest;
	}
	if (name->n < RESOLVE_ADDRESSES_MAX)
		oldest = &name->addresses[name->n++];
	*oldest = (struct name_address){*address, now_us};
	name->changed = true;
}

static void addresses_forget(struct name *name, int64_t now_us)
{
	for (size_t i = name->n; i-- > 0;)
		if (name->addresses[i].seen_us + NAMES_KEEP_US < now_us) {
			name->addresses[i] = name->addresses[--name->n];
			name->changed = true;
		}
}

/* --- what is there from before */

struct taking {
	struct name *name;
	bool v6;
	int64_t now_us;
};

static void element_seen(void *arg, const uint8_t *bytes, size_t size)
{
	const struct taking *taking = arg;
	struct resolved_address address = {.v6 = taking->v6};
	if (size != (taking->v6 ? 16u : 4u))
		return;
	memcpy(address.bytes, bytes, size);
	address_see(taking->name, &address, taking->now_us);
}

int names_open(struct net *net, struct err *err)
{
	char set[NAMES_SET_MAX];
	int r = 0;
	for (size_t i = 0; r == 0 && i < 2 * net->names.n; i++) {
		struct taking taking = {&net->names.names[i / 2], i % 2, clock_monotonic_us()};
		names_set(taking.name->text, taking.v6, set);
		r = state_addresses(net, set, element_seen, &taking, err);
		taking.name->changed = false;
		if (taking.name->n)
			taking.name->problem[0] = '\0';
	}
	return r;
}

struct cleaning {
	const struct names *names;
	FILE *out;
};

static void set_seen(void *arg, const char *set)
{
	const struct cleaning *cleaning = arg;
	char known[NAMES_SET_MAX];
	if (strncmp(set, "name4-", 6) != 0 && strncmp(set, "name6-", 6) != 0)
		return;
	for (size_t i = 0; i < cleaning->names->n; i++) {
		names_set(cleaning->names->names[i].text, set[4] == '6', known);
		if (strcmp(set, known) == 0)
			return;
	}
	fprintf(cleaning->out, "delete set " T "%s\n", set);
}

void names_clean(FILE *out, struct net *net)
{
	struct cleaning cleaning = {&net->names, out};
	for (size_t i = 0; i < net->conf.n_services; i++)
		if (net->profiles[i].state == PROFILE_BEFORE)
			return;
	state_sets(net, set_seen, &cleaning);
}

/* --- what the kernel is told */

static void elements_put(FILE *out, const struct name *name, bool v6)
{
	char set[NAMES_SET_MAX], text[INET6_ADDRSTRLEN];
	names_set(name->text, v6, set);
	for (size_t i = 0; i < name->n; i++)
		if (name->addresses[i].address.v6 == v6)
			fprintf(out, "add element " T "%s { %s }\n", set,
			        inet_ntop(v6 ? AF_INET6 : AF_INET, name->addresses[i].address.bytes, text, sizeof(text)));
}

void names_rules(FILE *out, const struct net *net)
{
	for (size_t i = 0; i < net->names.n; i++)
		for (int v6 = 0; v6 < 2; v6++)
			elements_put(out, &net->names.names[i], v6);
}

static void changes_write(struct net *net)
{
	struct ruleset_text text;
	struct err err = {0};
	char set[NAMES_SET_MAX];
	bool any = false;
	ruleset_text_init(&text);
	for (size_t i = 0; i < net->names.n; i++)
		for (int v6 = 0; v6 < 2 && net->names.names[i].changed; v6++) {
			names_set(net->names.names[i].text, v6, set);
			fprintf(text.out, "flush set " T "%s\n", set);
			elements_put(text.out, &net->names.names[i], v6);
			any = true;
		}
	const char *rules = ruleset_text_end(&text);
	bool good = !any || transact(rules, &err) == 0;
	ruleset_text_done(&text);
	for (size_t i = 0; i < net->names.n && good; i++)
		net->names.names[i].changed = false;
	if (!good) /* somebody else changes the table: with the next round */
		log_warning("net.names", "addresses of names cannot be set: %s", err.text);
}

/* --- rounds */

static void problem_set(struct names *names, struct name *name, const char *what, const char *detail)
{
	char text[sizeof(name->problem)];
	snprintf(text, sizeof(text), "%s%s", what, detail);
	names->news = names->news || strcmp(name->problem, text) != 0;
	text_copy(name->problem, sizeof(name->problem), text);
}

static const char *const how_texts[RESOLVED_MAX_] = {
        [RESOLVED_FOUND] = "",
        [RESOLVED_NONE] = "does not exist or has no address",
        [RESOLVED_SILENT] = "is not known: no resolver answers",
        [RESOLVED_FAILED] = "is not known: the resolver cannot say",
        [RESOLVED_BROKEN] = "is not known: no resolver can be asked, see the log",
};

static void unanswered(struct names *names, struct name *name, enum resolved_how how, int64_t now_us)
{
	name->due_us = now_us + NAMES_RETRY_US;
	problem_set(names, name, how_texts[how], name->n ? "; its last addresses stay" : "");
}

/* What no profile may name is passed over; the last such address is the one that is told. */
static void answered(struct net *net, struct name *name, const struct resolved *answer, int64_t now_us)
{
	char text[INET6_ADDRSTRLEN], problem[sizeof(name->problem)] = "";
	size_t taken = 0;
	int64_t again_us = answer->ttl_s > NAMES_MOST_US / 1000000 ? NAMES_MOST_US : answer->ttl_s * (int64_t)1000000;
	name->due_us = now_us + (again_us < NAMES_LEAST_US ? NAMES_LEAST_US : again_us);
	for (size_t i = 0; i < answer->n; i++) {
		const struct resolved_address *address = &answer->addresses[i];
		const char *wrong = mud_profile_unreachable(&net->conf, address->v6, address->bytes);
		if (wrong)
			snprintf(problem, sizeof(problem), "has the address %s, which %s",
			         inet_ntop(address->v6 ? AF_INET6 : AF_INET, address->bytes, text, sizeof(text)), wrong);
		else
			address_see(name, address, now_us);
		taken += !wrong;
	}
	if (taken)
		addresses_forget(name, now_us);
	problem_set(&net->names, name, problem, "");
}

static bool answer_is_sane(const struct names *names, const struct resolved *answer)
{
	bool sane = answer->index < names->n && names->names[answer->index].asked && answer->how < RESOLVED_MAX_ &&
	            answer->n <= RESOLVE_ADDRESSES_MAX;
	for (size_t i = 0; sane && i < answer->n; i++)
		sane = answer->addresses[i].v6 <= 1;
	return sane;
}

/* Whoever was asked for and had no answer has none. */
static void round_end(struct names *names, int64_t now_us)
{
	kill(names->child, SIGKILL);
	while (waitpid(names->child, NULL, 0) < 0 && errno == EINTR)
		;
	close(names->fd);
	names->child = 0;
	names->fd = -1;
	for (size_t i = 0; i < names->n; i++) {
		struct name *name = &names->names[i];
		if (!name->asked)
			continue;
		name->asked = false;
		unanswered(names, name, RESOLVED_SILENT, now_us);
	}
}

static void round_read(struct net *net, int64_t now_us)
{
	struct names *names = &net->names;
	struct resolved answer;
	ssize_t got;
	while ((got = read(names->fd, &answer, sizeof(answer))) == (ssize_t)sizeof(answer) && answer_is_sane(names, &answer)) {
		struct name *name = &names->names[answer.index];
		name->asked = false;
		if (answer.how == RESOLVED_FOUND)
			answered(net, name, &answer, now_us);
		else
			unanswered(names, name, (enum resolved_how)answer.how, now_us);
	}
	bool goes_on = got < 0 && (errno == EAGAIN || errno == EINTR);
	if (!goes_on || now_us >= names->end_us)
		round_end(names, now_us);
}

static void round_begin(struct net *net, int64_t now_us)
{
	struct names *names = &net->names;
	struct question questions[NAMES_MAX];
	struct err err = {0};
	size_t n = 0;
	for (size_t i = 0; i < names->n; i++)
		if (names->names[i].due_us <= now_us)
			questions[n++] = (struct question){(uint32_t)i, names->names[i].text};
	if (n == 0)
		return;
	int r = resolve_start(&net->conf, questions, n, &names->child, &names->fd, &err);
	if (r < 0)
		log_warning("net.names", "%s", err.text);
	names->end_us = now_us + RESOLVE_ROUND_S * (int64_t)1000000;
	for (size_t i = 0; i < n; i++) {
		names->names[questions[i].index].asked = r == 0;
		names->names[questions[i].index].due_us = now_us + NAMES_RETRY_US;
	}
}

bool names_turn(struct net *net, int64_t now_us)
{
	struct names *names = &net->names;
	names->news = false;
	if (names->child) {
		round_read(net, now_us);
		changes_write(net);
	}
	if (!names->child)
		round_begin(net, now_us);
	return names->news;
}

int names_patience_ms(const struct names *names, int64_t now_us)
{
	int64_t until_us = names->child ? names->end_us : INT64_MAX;
	for (size_t i = 0; i < names->n && !names->child; i++)
		until_us = names->names[i].due_us < until_us ? names->names[i].due_us : until_us;
	if (until_us == INT64_MAX)
		return -1;
	return until_us <= now_us ? 0 : (int)((until_us - now_us) / 1000) + 1;
}

void names_problem(const struct names *names, uint64_t which, char *ret_text, size_t size)
{
	*ret_text = '\0';
	for (size_t i = 0; i < names->n; i++) {
		const struct name *name = &names->names[i];
		if (!(which >> i & 1) || !name->problem[0])
			continue;
		snprintf(ret_text, size, "%.80s %s", name->text, name->problem);
		return;
	}
}
