/* See contain.h. */
#include "engine/contain.h"

#include "engine/engine.h"
#include "lib/bytes.h"
#include "lib/log.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define AGAIN_US 5000000
#define SUBJECT "source "

/* --- sources in text */

int contain_parse(const char *text, struct wire_contain *ret_source, struct err *err)
{
	char address[INET6_ADDRSTRLEN];
	struct wire_contain source = {0};
	const char *slash = strchr(text, '/');
	size_t length = slash ? (size_t)(slash - text) : strlen(text), digits = slash ? strspn(slash + 1, "0123456789") : 0;
	bool good = length < sizeof(address) && (!slash || (digits > 0 && digits < 4 && !slash[1 + digits]));
	snprintf(address, sizeof(address), "%.*s", (int)length, text);
	source.v6 = strchr(address, ':') != NULL;
	good = good && inet_pton(source.v6 ? AF_INET6 : AF_INET, address, source.address) == 1;
	source.prefix = slash ? (uint32_t)strtoul(slash + 1, NULL, 10) : source.v6 ? 128 : 32;
	if (!good || source.prefix > (source.v6 ? 128 : 32))
		return err_set(err, -EINVAL, "'%.60s' is no address and no network, such as 203.0.113.9 or 2001:db8:20::/64",
		               text);
	if (wire_contain_bits_behind(&source))
		return err_set(err, -EINVAL, "'%.60s' is no network: there are bits behind its prefix", text);
	*ret_source = source;
	return 0;
}

/* --- the ledger */

static int put_work(struct ledger *l, void *arg, struct err *err)
{
	return ledger_containment_put(l, arg, err);
}

static void row_write(struct engine *e, const struct containment *c, journal_done *done)
{
	struct ledger_containment *row = malloc(sizeof(*row));
	assert(row);
	*row = c->row;
	journal_put(e->journal, put_work, done, row);
}

static int take_row(void *arg, const struct ledger_containment *row)
{
	struct containments *all = arg;
	struct containment c = {.row = *row, .due = true};
	if (row->ended_us || all->n == CONTAIN_LIVING_MAX || strncmp(row->subject, SUBJECT, strlen(SUBJECT)) != 0 ||
	    contain_parse(row->subject + strlen(SUBJECT), &c.source, NULL) < 0)
		return 0;
	c.source.number = row->number;
	all->list[all->n++] = c;
	return 0;
}

int contain_load(struct engine *e, struct ledger *l, struct err *err)
{
	int r = ledger_containment_each(l, 0, take_row, &e->containments, err);
	return r == 0 ? ledger_containment_last(l, &e->containments.last, err) : r;
}

/* --- orders */

static struct containment *find(struct engine *e, uint64_t number)
{
	for (size_t i = 0; i < e->containments.n; i++)
		if (e->containments.list[i].row.number == number)
			return &e->containments.list[i];
	return NULL;
}

static void order_next(struct engine *e)
{
	struct containments *all = &e->containments;
	const struct hands_cookie cookie = {.service = UINT32_MAX};
	for (size_t i = 0; i < all->n && !all->under_way && hands_ready(e->hands, WIRE_NET); i++) {
		struct containment *c = &all->list[i];
		if (!c->due)
			continue;
		c->due = false;
		all->under_way = c->row.number;
		hands_send(
		        e->hands,
		        &(struct wire_order){
		                .type = ORDER_NET_CONTAIN, .incident = c->row.incident, .flag = !c->ending, .contain = c->source},
		        &cookie);
	}
}

/* It is no more: the row says how it ended. */
static void finish(struct engine *e, struct containment *c, const char *state, const char *proof)
{
	struct containments *all = &e->containments;
	text_copy(c->row.state, sizeof(c->row.state), state);
	text_copy(c->row.proof, sizeof(c->row.proof), proof);
	c->row.ended_us = clock_real_us();
	log_notice("engine.contain", "containment %llu of %s: %s: %s", (unsigned long long)c->row.number, c->row.subject, state,
	           proof);
	row_write(e, c, NULL);
	*c = all->list[--all->n];
}

static void answered(struct engine *e, struct containment *c, const struct wire_answer *answer, bool began)
{
	if (answer->status == 0 && !began) {
		finish(e, c, "ended", answer->text);
	} else if (answer->status == 0) {
		text_copy(c->row.state, sizeof(c->row.state), "in-force");
		text_copy(c->row.proof, sizeof(c->row.proof), answer->text);
		log_notice("engine.contain", "containment %llu: %s (%u us)", (unsigned long long)c->row.number, answer->text,
		           answer->took_us);
		row_write(e, c, NULL);
	} else if (began && (answer->status == -EPERM || answer->status == -ENOSPC)) {
		finish(e, c, "refused", answer->text);
	} else { /* koboshi-net was replaced, or its kernel refused: again */
		c->due = true;
		text_copy(c->row.proof, sizeof(c->row.proof), answer->text);
		e->containments.again_us = clock_monotonic_us() + AGAIN_US;
	}
}

void contain_answer(struct engine *e, const struct wire_order *order, const struct wire_answer *answer)
{
	struct containment *c = find(e, order->contain.number);
	e->containments.under_way = 0;
	bool began = order->flag == 1;
	if (c && began == c->ending) /* released while it was being ordered */
		c->due = true;
	else if (c)
		answered(e, c, answer, began);
	if (answer->status == 0)
		order_next(e);
}

void contain_again(struct engine *e)
{
	for (size_t i = 0; i < e->containments.n; i++)
		e->containments.list[i].due = true;
	order_next(e);
}

/* --- beginning and ending */

static const struct containment *of_source(const struct containments *all, const struct wire_contain *source)
{
	for (size_t i = 0; i < all->n; i++) {
		const struct wire_contain *other = &all->list[i].source;
		if (other->v6 == source->v6 && other->prefix == source->prefix &&
		    memcmp(other->address, source->address, sizeof(other->address)) == 0)
			return &all->list[i];
	}
	return NULL;
}

uint64_t contain_begin(struct engine *e, const char *source, const char *reason, int64_t for_s, struct err *err)
{
	struct containments *all = &e->containments;
	struct containment c = {.due = true};
	char address[INET6_ADDRSTRLEN];
	if (contain_parse(source, &c.source, err) < 0)
		return 0;
	const struct containment *same = of_source(all, &c.source);
	if (same)
		err_set(err, -EEXIST, "%s is cut already, by containment %llu", source, (unsigned long long)same->row.number);
	else if (all->n == CONTAIN_LIVING_MAX)
		err_set(err, -ENOSPC, "there are %d containments, no more can be: release some", CONTAIN_LIVING_MAX);
	if (same || all->n == CONTAIN_LIVING_MAX)
		return 0;
	c.row = (struct ledger_containment){.number = ++all->last, .begun_us = clock_real_us()};
	c.row.until_us = for_s ? c.row.begun_us + for_s * 1000000 : 0;
	c.source.number = c.row.number;
	inet_ntop(c.source.v6 ? AF_INET6 : AF_INET, c.source.address, address, sizeof(address));
	snprintf(c.row.subject, sizeof(c.row.subject), SUBJECT "%s/%u", address, c.source.prefix);
	text_copy(c.row.reason, sizeof(c.row.reason), reason);
	text_copy(c.row.who, sizeof(c.row.who), "operator");
	text_copy(c.row.state, sizeof(c.row.state), "wanted");
	row_write(e, &c, NULL); /* the disk is not waited for: whoever is cut a moment too early can be let in again */
	all->list[all->n++] = c;
	order_next(e);
	return c.row.number;
}

static void end(struct engine *e, struct containment *c)
{
	c->ending = c->due = true;
	order_next(e);
}

int contain_release(struct engine *e, uint64_t number, struct err *err)
{
	struct containment *c = find(e, number);
	if (!c)
		return err_set(err, -ENOENT, "containment %llu is not in force", (unsigned long long)number);
	end(e, c);
	return 0;
}

void contain_pulse(struct engine *e)
{
	int64_t now_us = clock_real_us();
	for (size_t i = 0; i < e->containments.n; i++) {
		struct containment *c = &e->containments.list[i];
		if (c->row.until_us && c->row.until_us <= now_us && !c->ending)
			end(e, c);
	}
	if (clock_monotonic_us() >= e->containments.again_us)
		order_next(e);
}
