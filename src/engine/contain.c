/* See contain.h. */
#include "engine/contain.h"

#include "engine/engine.h"
#include "lib/bytes.h"
#include "lib/log.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define AGAIN_US 5000000

static_assert(sizeof(((struct ledger_containment *)0)->subject) >= WIRE_SUBJECT_MAX, "the row is the whole record");

/* --- the ledger */

static int put_work(struct ledger *l, void *arg, struct err *err)
{
	return ledger_containment_put(l, arg, err);
}

void contain_row_write(struct engine *e, const struct ledger_containment *row)
{
	struct ledger_containment *copy = malloc(sizeof(*copy));
	assert(copy);
	*copy = *row;
	journal_put(e->journal, put_work, NULL, copy);
}

/* --- time */

/* From the row, by the wall clock. */
static void ends_take(struct containment *c, int64_t longest_us)
{
	int64_t left_us = c->row.until_us - clock_real_us();
	c->guessed = left_us > c->row.until_us - c->row.begun_us;
	left_us = left_us > longest_us ? longest_us : left_us;
	c->ends_us = clock_monotonic_us() + left_us;
}

void contain_clock_set(struct engine *e)
{
	int64_t now_us = clock_monotonic_us(), real_us = clock_real_us();
	for (size_t i = 0; i < e->containments.n; i++) {
		struct containment *c = &e->containments.list[i];
		int64_t length_us = c->row.until_us - c->row.begun_us, left_us = c->ends_us - now_us;
		if (!c->row.until_us)
			continue;
		if (c->guessed) {
			ends_take(c, left_us);
			continue;
		}
		c->row.until_us = real_us + left_us;
		c->row.begun_us = c->row.until_us - length_us;
		contain_row_write(e, &c->row);
	}
}

/* --- after a start */

static int take_row(void *arg, const struct ledger_containment *row)
{
	struct engine *e = arg;
	struct containments *all = &e->containments;
	struct containment c = {.row = *row, .due = true, .ends_us = INT64_MAX};
	struct err err = {0};
	if (row->ended_us || hold_is(row->subject) || all->n == CONTAIN_LIVING_MAX)
		return 0;
	if (contain_parse(&e->conf, row->subject, &c.what, &err) < 0) {
		log_warning("engine.contain", "containment %llu of %s ends: %s", (unsigned long long)row->number, row->subject,
		            err.text);
		text_copy(c.row.proof, sizeof(c.row.proof), err.text);
		c.ending = c.refused = true;
	} else if (row->until_us) {
		ends_take(&c, row->until_us - row->begun_us);
	}
	c.what.number = row->number;
	all->list[all->n++] = c;
	return 0;
}

int contain_load(struct engine *e, struct ledger *l, struct err *err)
{
	int r = ledger_containment_each(l, 0, take_row, e, err);
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
	int64_t now_us = clock_monotonic_us();
	for (size_t i = 0; i < all->n && !all->under_way && hands_ready(e->hands, WIRE_NET); i++) {
		struct containment *c = &all->list[i];
		if (!c->due || c->not_before_us > now_us)
			continue;
		c->due = false;
		all->under_way = c->row.number;
		hands_send(
		        e->hands,
		        &(struct wire_order){
		                .type = ORDER_NET_CONTAIN, .incident = c->row.incident, .flag = !c->ending, .contain = c->what},
		        &cookie);
	}
}

/* It is no more: the row says how it ended. */
static void finish(struct engine *e, struct containment *c, const char *state)
{
	struct containments *all = &e->containments;
	text_copy(c->row.state, sizeof(c->row.state), state);
	c->row.ended_us = clock_real_us();
	log_notice("engine.contain", "containment %llu of %s: %s: %s", (unsigned long long)c->row.number, c->row.subject, state,
	           c->row.proof);
	contain_row_write(e, &c->row);
	*c = all->list[--all->n];
}

/* It ought to be in force and is not. */
static void miss(struct engine *e, struct containment *c)
{
	c->missing = true;
	if (!c->ending)
		text_copy(c->row.state, sizeof(c->row.state), "wanted");
	contain_row_write(e, &c->row);
}

/* koboshi-net's kernel refused: again, but not before all others had their turn. */
static void failed(struct engine *e, struct containment *c, const struct wire_answer *answer)
{
	c->due = true;
	if (answer->status == -EPIPE)
		return; /* koboshi-net ended before it answered, and the next one is told everything */
	c->not_before_us = clock_monotonic_us() + AGAIN_US;
	if (c->missing && (c->refused || strcmp(c->row.proof, answer->text) == 0))
		return; /* said already */
	if (!c->refused)
		text_copy(c->row.proof, sizeof(c->row.proof), answer->text);
	log_error("engine.contain", "containment %llu of %s: %s; trying again", (unsigned long long)c->row.number, c->row.subject,
	          answer->text);
	miss(e, c);
}

static void answered(struct engine *e, struct containment *c, const struct wire_answer *answer, bool began)
{
	bool good = answer->status == 0, never = began && (answer->status == -EPERM || answer->status == -ENOSPC);
	if (!good && !never) {
		failed(e, c, answer);
		return;
	}
	if (!c->refused)
		text_copy(c->row.proof, sizeof(c->row.proof), answer->text);
	if (never || !began) {
		finish(e, c, never || c->refused ? "refused" : "ended");
		return;
	}
	text_copy(c->row.state, sizeof(c->row.state), "in-force");
	c->settled = true;
	c->missing = false;
	log_notice("engine.contain", "containment %llu: %s (%u us)", (unsigned long long)c->row.number, answer->text,
	           answer->took_us);
	contain_row_write(e, &c->row);
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
	order_next(e);
}

void contain_again(struct engine *e)
{
	for (size_t i = 0; i < e->containments.n; i++) {
		e->containments.list[i].due = true;
		e->containments.list[i].not_before_us = 0;
	}
	order_next(e);
}

/* --- the start */

bool contain_settled(const struct engine *e)
{
	for (size_t i = 0; i < e->containments.n; i++)
		if (!e->containments.list[i].settled && !e->containments.list[i].ending)
			return false;
	return true;
}

void contain_give_up(struct engine *e)
{
	size_t n = 0;
	for (size_t i = 0; i < e->containments.n; i++) {
		struct containment *c = &e->containments.list[i];
		if (c->settled || c->ending)
			continue;
		n++;
		if (c->missing)
			continue; /* and its row says why */
		text_copy(c->row.proof, sizeof(c->row.proof), "koboshi-net has not answered since the start");
		miss(e, c);
	}
	log_error("engine.contain", "%zu of %zu containments are not in force; the service does not wait for them any longer", n,
	          e->containments.n);
}

/* --- beginning and ending */

/* A source is limited once, whatever the rate. */
static const struct containment *same_as(const struct containments *all, const struct wire_contain *what)
{
	for (size_t i = 0; i < all->n; i++) {
		struct wire_contain other = all->list[i].what;
		other.number = what->number;
		other.rate = what->rate;
		other.per_s = what->per_s;
		if (!all->list[i].refused && memcmp(&other, what, sizeof(other)) == 0)
			return &all->list[i];
	}
	return NULL;
}

static int may_begin(const struct containments *all, const struct wire_contain *what, struct err *err)
{
	const struct containment *same = same_as(all, what);
	if (same && what->kind == WIRE_CONTAIN_LIMIT)
		return err_set(err, -EEXIST, "%s is in force already: release containment %llu before another limit",
		               same->row.subject, (unsigned long long)same->row.number);
	if (same) /* "source " is what people leave away */
		return err_set(err, -EEXIST, "%s is cut already, by containment %llu",
		               same->row.subject + (what->kind == WIRE_CONTAIN_SOURCE ? strlen("source ") : 0),
		               (unsigned long long)same->row.number);
	if (all->n == CONTAIN_LIVING_MAX)
		return err_set(err, -ENOSPC, "there are %d containments, no more can be: release some", CONTAIN_LIVING_MAX);
	return 0;
}

uint64_t contain_begin_by(struct engine *e, const char *subject, const char *reason, const char *who, uint64_t incident,
                          int64_t for_s, struct err *err)
{
	struct containments *all = &e->containments;
	struct containment c = {.due = true, .ends_us = INT64_MAX};
	if (contain_parse(&e->conf, subject, &c.what, err) < 0 || may_begin(all, &c.what, err) < 0)
		return 0;
	c.row = (struct ledger_containment){.number = ++all->last, .incident = incident, .begun_us = clock_real_us()};
	if (for_s) {
		c.row.until_us = c.row.begun_us + for_s * 1000000;
		c.ends_us = clock_monotonic_us() + for_s * 1000000;
	}
	wire_contain_text(&c.what, c.what.service ? e->conf.services[c.what.service - 1].name : NULL, c.row.subject);
	c.what.number = c.row.number;
	text_copy(c.row.reason, sizeof(c.row.reason), reason);
	text_copy(c.row.who, sizeof(c.row.who), who);
	text_copy(c.row.state, sizeof(c.row.state), "wanted");
	contain_row_write(e, &c.row); /* the disk is not waited for: whoever is cut a moment too early can be let in again */
	all->list[all->n++] = c;
	order_next(e);
	return c.row.number;
}

uint64_t contain_begin(struct engine *e, const char *subject, const char *reason, int64_t for_s, struct err *err)
{
	return contain_begin_by(e, subject, reason, "operator", 0, for_s, err);
}

static void end(struct engine *e, struct containment *c)
{
	c->ending = c->due = true;
	c->not_before_us = 0;
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
	int64_t now_us = clock_monotonic_us();
	for (size_t i = 0; i < e->containments.n; i++) {
		struct containment *c = &e->containments.list[i];
		if (c->ends_us <= now_us && !c->ending)
			end(e, c);
	}
	order_next(e);
}
