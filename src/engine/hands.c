/*
 * See hands.h. One uv_poll per link; messages are small and few, so they are sent at once or the link counts as broken.
 *
 * Answers that we make up ourselves come from an idle handle on the next turn of the loop, never from within a send: the
 * caller is a plan in the middle of its step.
 */
#include "engine/hands.h"

#include "lib/bytes.h"
#include "lib/log.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define LOST_US 3000000 /* an actuator that ended is back with a new link long before */

struct pending {
	bool used;
	bool sent;  /* else it waits for the actuator to be ready */
	int status; /* of the answer that we give ourselves on the next turn; 0: the actuator's is awaited */
	struct wire_order order;
	struct hands_cookie cookie;
};

struct refused { /* there was no room for it */
	struct refused *next;
	struct pending order;
};

struct hand {
	struct hands *all;
	enum wire_role role;
	int fd; /* -1: no link */
	uv_poll_t *poll;
	bool ready;
	int64_t lost_us; /* since when the link is gone; 0: it is there, or never was */
	struct pending pending[WIRE_PENDING_MAX];
};

struct hands {
	uv_loop_t *loop;
	uv_idle_t unanswerable; /* turns until what no actuator will answer is answered */
	struct refused *refused;
	const struct hands_events *events;
	void *arg;
	uint64_t last_id;
	struct hand hands[WIRE_ROLE_MAX_];
};

static void free_handle(uv_handle_t *handle)
{
	free(handle);
}

static void answer_ourselves(struct hands *h, const struct pending *p)
{
	struct wire_answer answer = {.id = p->order.id, .status = p->status};
	snprintf(answer.text, sizeof(answer.text), "%s",
	         p->status == -EPIPE       ? "the actuator ended before it answered"
	         : p->status == -ECANCELED ? "a newer order of the same kind took its place"
	                                   : "too many orders are unanswered");
	h->events->answer(h->arg, &p->cookie, &p->order, &answer);
}

static void answer_unanswerable(uv_idle_t *idle)
{
	struct hands *h = idle->data;
	uv_idle_stop(idle); /* what the answers cause may start it again */
	struct refused *refused = h->refused;
	h->refused = NULL;
	for (int role = WIRE_NET; role < WIRE_ROLE_MAX_; role++)
		for (size_t i = 0; i < WIRE_PENDING_MAX; i++) {
			struct pending lost = h->hands[role].pending[i];
			if (!lost.used || lost.status == 0)
				continue;
			h->hands[role].pending[i].used = false;
			answer_ourselves(h, &lost);
		}
	for (struct refused *next; refused; refused = next) {
		next = refused->next;
		answer_ourselves(h, &refused->order);
		free(refused);
	}
}

static void pending_settle(struct hands *h, struct pending *p, int status)
{
	p->status = status;
	uv_idle_start(&h->unanswerable, answer_unanswerable);
}

/* What was sent is lost with the link; whether it was carried out, nobody knows. What waits goes on waiting. */
static void hand_drop(struct hand *hand)
{
	if (hand->poll) {
		uv_poll_stop(hand->poll);
		uv_close((uv_handle_t *)hand->poll, free_handle);
		hand->poll = NULL;
	}
	if (hand->fd >= 0)
		close(hand->fd);
	bool was_ready = hand->ready;
	hand->fd = -1;
	hand->ready = false;
	hand->lost_us = clock_monotonic_us();
	for (size_t i = 0; i < WIRE_PENDING_MAX; i++)
		if (hand->pending[i].used && hand->pending[i].sent && hand->pending[i].status == 0)
			pending_settle(hand->all, &hand->pending[i], -EPIPE);
	if (was_ready)
		hand->all->events->lost(hand->all->arg, hand->role);
}

static void take_answer(struct hand *hand, const struct wire_answer *answer)
{
	for (size_t i = 0; i < WIRE_PENDING_MAX; i++) {
		struct pending found = hand->pending[i];
		if (!found.used || !found.sent || found.status || found.order.id != answer->id)
			continue;
		hand->pending[i].used = false;
		hand->all->events->answer(hand->all->arg, &found.cookie, &found.order, answer);
		return;
	}
	log_debug("engine.stray", "%s answered an order that nobody waits for", wire_role_name(hand->role));
}

static void hand_watch(struct hand *hand, int fd);
static void hand_post_waiting(struct hand *hand);

static void take_message(struct hand *hand, struct wire_message *message, int *fds, size_t n_fds)
{
	size_t taken = 0;
	if (hand->role == WIRE_SUPERVISOR && message->kind == WIRE_LINK && n_fds == 1 && message->link.role >= WIRE_NET) {
		struct hand *other = &hand->all->hands[message->link.role];
		hand_drop(other);
		hand_watch(other, fds[0]);
		taken = 1;
	} else if (hand->role != WIRE_SUPERVISOR && message->kind == WIRE_ANSWER) {
		take_answer(hand, &message->answer);
	} else if (hand->role != WIRE_SUPERVISOR && message->kind == WIRE_NOTICE) {
		hand->ready = hand->ready || message->note.type == NOTICE_READY;
		hand->all->events->notice(hand->all->arg, hand->role, &message->note, fds, n_fds);
		hand_post_waiting(hand);
		taken = n_fds;
	}
	for (; taken < n_fds; taken++)
		close(fds[taken]);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct hand *hand = poll->data;
	(void)events;
	for (int n = 0; n < 64 && hand->poll == poll; n++) {
		struct wire_message message;
		struct err err = {0};
		int fds[WIRE_FDS_MAX];
		size_t n_fds = 0;
		int r = status < 0 ? status : wire_receive(hand->fd, &message, fds, &n_fds, &err);
		if (r == 0)
			return;
		if (r > 0) {
			take_message(hand, &message, fds, n_fds);
			continue;
		}
		if (hand->role == WIRE_SUPERVISOR) {
			log_notice("engine.end", "the supervisor's link ended: stopping");
			uv_stop(hand->all->loop);
			uv_poll_stop(poll);
			return;
		}
		log_warning("engine.link", "link to %s is broken: %s", wire_role_name(hand->role),
		            err.text[0] ? err.text : "closed");
		hand_drop(hand);
		if (r != -EPIPE) /* it lives and would never get another link; one that ended is started again anyway */
			hands_replace(hand->all, hand->role);
	}
}

static void hand_watch(struct hand *hand, int fd)
{
	hand->fd = fd;
	hand->lost_us = 0;
	hand->poll = calloc(1, sizeof(*hand->poll));
	assert(hand->poll);
	int r = uv_poll_init(hand->all->loop, hand->poll, fd);
	assert(r == 0);
	hand->poll->data = hand;
	uv_poll_start(hand->poll, UV_READABLE, on_readable);
}

struct hands *hands_new(uv_loop_t *loop, int fd, const struct hands_events *events, void *arg)
{
	struct hands *h = calloc(1, sizeof(*h));
	assert(h);
	h->loop = loop;
	h->events = events;
	h->arg = arg;
	uv_idle_init(loop, &h->unanswerable);
	h->unanswerable.data = h;
	for (int role = 0; role < WIRE_ROLE_MAX_; role++) {
		h->hands[role].all = h;
		h->hands[role].role = (enum wire_role)role;
		h->hands[role].fd = -1;
	}
	hand_watch(&h->hands[WIRE_SUPERVISOR], fd);
	return h;
}

static void hand_post(struct hand *hand, struct pending *p)
{
	struct wire_message message = {.kind = WIRE_ORDER};
	struct err err = {0};
	message.order = p->order;
	p->sent = true;
	int r = wire_send(hand->fd, &message, NULL, 0, &err);
	if (r == 0)
		return;
	log_warning("engine.send", "order %s to %s: %s", order_type_name((enum order_type)p->order.type),
	            wire_role_name(hand->role), err.text);
	hand_drop(hand);
	if (r != -EPIPE)
		hands_replace(hand->all, hand->role);
}

/* What came while the actuator was away or still opening its tools, in the order given. */
static void hand_post_waiting(struct hand *hand)
{
	while (hand->ready) {
		struct pending *next = NULL;
		for (size_t i = 0; i < WIRE_PENDING_MAX; i++) {
			struct pending *p = &hand->pending[i];
			if (p->used && !p->sent && p->status == 0 && (!next || p->order.id < next->order.id))
				next = p;
		}
		if (!next)
			return;
		hand_post(hand, next);
	}
}

static bool same_matter(const struct wire_order *a, const struct wire_order *b)
{
	bool by_service = a->type == ORDER_NET_STEER;
	if (a->type == ORDER_NET_CONTAIN && a->contain.number != b->contain.number)
		return false;
	return a->type == b->type && (by_service ? a->service == b->service : a->instance == b->instance);
}

/* An actuator may be away for long, and the plan asks again when its deadline has passed: of the same matter only the last
 * word counts, and what piled up must not all be carried out when it comes back. */
static void supersede(struct hand *hand, const struct wire_order *order)
{
	for (size_t i = 0; i < WIRE_PENDING_MAX; i++) {
		struct pending *p = &hand->pending[i];
		if (p->used && !p->sent && p->status == 0 && same_matter(&p->order, order))
			pending_settle(hand->all, p, -ECANCELED);
	}
}

static void refuse(struct hand *hand, const struct pending *p)
{
	struct refused *refused = calloc(1, sizeof(*refused));
	assert(refused);
	refused->order = *p;
	refused->next = hand->all->refused;
	hand->all->refused = refused;
	pending_settle(hand->all, &refused->order, -ENOBUFS);
	if (!hand->ready)
		return;
	log_error("engine.pending", "%s leaves %d orders unanswered", wire_role_name(hand->role), WIRE_PENDING_MAX);
	hand_drop(hand); /* as good as dead */
	hands_replace(hand->all, hand->role);
}

void hands_send(struct hands *h, const struct wire_order *order, const struct hands_cookie *cookie)
{
	enum wire_role role = order_role((enum order_type)order->type);
	struct hand *hand = &h->hands[role];
	struct pending *slot = NULL, fresh = {.used = true, .order = *order, .cookie = *cookie};
	fresh.order.id = ++h->last_id;
	if (!hand->ready)
		supersede(hand, order);
	for (size_t i = 0; i < WIRE_PENDING_MAX && !slot; i++)
		if (!hand->pending[i].used)
			slot = &hand->pending[i];
	if (!slot) {
		refuse(hand, &fresh);
		return;
	}
	*slot = fresh;
	if (hand->ready)
		hand_post(hand, slot);
}

bool hands_ready(const struct hands *h, enum wire_role role)
{
	return h->hands[role].ready;
}

static void tell_supervisor(struct hands *h, struct wire_message *message)
{
	struct err err = {0};
	int r = wire_send(h->hands[WIRE_SUPERVISOR].fd, message, NULL, 0, &err);
	if (r < 0 && r != -EAGAIN)
		log_debug("engine.supervisor", "%s", err.text);
}

/* One that closed its link and lives on (because we did not read for a while, say) gets a new link only by starting anew. */
static void replace_lost(struct hands *h)
{
	int64_t now_us = clock_monotonic_us();
	for (int role = WIRE_NET; role < WIRE_ROLE_MAX_; role++) {
		struct hand *hand = &h->hands[role];
		if (!hand->lost_us || now_us - hand->lost_us < LOST_US)
			continue;
		hand->lost_us = now_us;
		hands_replace(h, hand->role);
	}
}

void hands_progress(struct hands *h, uint64_t beats)
{
	replace_lost(h);
	struct wire_message message = {.kind = WIRE_PROGRESS};
	message.progress.beats = beats;
	tell_supervisor(h, &message);
}

void hands_replace(struct hands *h, enum wire_role role)
{
	struct wire_message message = {.kind = WIRE_REPLACE};
	message.replace.role = role;
	tell_supervisor(h, &message);
}

static void on_freed(uv_handle_t *handle)
{
	free(handle->data);
}

void hands_free(struct hands *h)
{
	if (!h)
		return;
	for (int role = 0; role < WIRE_ROLE_MAX_; role++) {
		struct hand *hand = &h->hands[role];
		if (hand->poll)
			uv_close((uv_handle_t *)hand->poll, free_handle);
		if (hand->fd >= 0)
			close(hand->fd);
	}
	for (struct refused *next; h->refused; h->refused = next) {
		next = h->refused->next;
		free(h->refused);
	}
	uv_close((uv_handle_t *)&h->unanswerable, on_freed);
}
