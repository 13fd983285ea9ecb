/*
 * Runs probes. The sockets of one target sit in an epoll set of their own, of which libuv watches the one descriptor: opening and
 * closing a connection then costs its system calls and nothing else, where a libuv handle for each would cost more than the
 * probe. Slots are reused, nothing is allocated after the start (but by TLS), all times are looked at by the monotonic clock.
 *
 * An honest prober must know what it does not know: shortages of our own and a loop that was late are FINDING_UNKNOWN, and before
 * a timeout is believed the socket is read once more, since libuv runs late timers before late descriptors.
 */
#include "sense/prober.h"

#include "lib/bytes.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define OVERDUE_TIMEOUTS 4  /* how many timeouts more an answer may be late and still be told */
#define LATE_US 50000       /* a loop that is late by this and by half the timeout has not looked */
#define STALL_KNOWN 16      /* answers: a few seconds of probes, since what is told then ends nobody */
#define STALL_LATE_US 10000 /* nor has one that is late by this, where milliseconds count */

static void prober_schedule(struct sense_prober *p);

static bool choose_ipv6(struct sense_prober *p)
{
	if (IN6_IS_ADDR_UNSPECIFIED(&p->target.address.address6))
		return false;
	if (p->target.address.address4.s_addr == 0)
		return true;
	p->use6_next = !p->use6_next;
	return p->target.use6 && !p->use6_next;
}

/* ---- stalls: what waits, long before it is a miss */

static int64_t stall_us(const struct sense_prober *p)
{
	return (int64_t)p->target.probe.stall_ms * 1000;
}

/* A probe is through. Any word of an answer ends a silence; one of which we do not know whether it left us says nothing. */
static void prober_heard(struct sense_prober *p, const struct prober_slot *slot, enum finding_class class)
{
	if (slot->heard || class == FINDING_CLASS_GOOD)
		silence_answered(&p->silence, clock_monotonic_us());
	else if (class == FINDING_CLASS_UNKNOWN)
		silence_clear(&p->silence);
}

/* ---- one probe */

/* The last thing that a path through here does: the report may free the prober. */
static void slot_finish(struct sense_prober *p, struct prober_slot *slot, const struct prober_result *result)
{
	struct prober_result late = {.finding = FINDING_LATE, .detail = "", .then = PROBER_CLOSE};
	enum finding_class class = finding_class(result->finding);
	prober_heard(p, slot, class);
	if (slot->overdue && (class == FINDING_CLASS_COUNTED || class == FINDING_CLASS_UNKNOWN)) { /* told already */
		slot_close(slot);
		prober_schedule(p);
		return;
	}
	if (slot->overdue && class == FINDING_CLASS_GOOD)
		result = &late;
	const char *detail = finding_class(result->finding) == FINDING_CLASS_GOOD ? "" : result->detail;
	if (*detail && p->kind->describe)
		detail = p->kind->describe(p, slot, detail);
	struct evidence evidence = {.time_us = clock_monotonic_us(),
	                            .instance = p->target.instance,
	                            .vantage = p->target.vantage,
	                            .finding = result->finding,
	                            .began_us = slot->began_us};
	if (result->then == PROBER_CLOSE)
		slot_close(slot);
	else
		slot->state = SLOT_IDLE;
	if (result->then == PROBER_PART) { /* the server's close need not wake us up: the next probe finds it */
		epoll_ctl(p->epoll, EPOLL_CTL_DEL, slot->fd, NULL);
		slot->state = SLOT_PARTING;
	}
	p->report(p->arg, &evidence, detail);
	if (!p->gone)
		prober_schedule(p);
}

static void slot_fail(struct sense_prober *p, struct prober_slot *slot, int error)
{
	struct prober_result result;
	/* A server may close a kept connection just as we ask: any client asks again on a new one. */
	if (slot->reused && !slot->heard && (error == ECONNRESET || error == EPIPE)) {
		slot_close(slot);
		slot->reused = false;
		slot->may_ask = 1;
		int r = slot_dial(p, slot);
		if (r == 0)
			return;
		error = -r;
	}
	char detail[TLS_TROUBLE_MAX];
	slot_explain(slot, error, detail, &result);
	slot_finish(p, slot, &result);
}

static bool slot_is_busy(const struct prober_slot *slot)
{
	return slot->state == SLOT_CONNECTING || slot->state == SLOT_ASKED;
}

/* A slot for a new probe: a kept connection, an unused one, or the one that waits longest for a late answer. */
static struct prober_slot *slot_free_one(struct sense_prober *p, bool besides)
{
	static const enum slot_state order[] = {SLOT_IDLE, SLOT_PARTING, SLOT_FREE};
	struct prober_slot *longest = NULL;
	unsigned at_once = 0;
	for (size_t i = 0; i < PROBER_SLOTS; i++) {
		struct prober_slot *slot = &p->slots[i];
		at_once += slot_is_busy(slot) && !slot->overdue && slot->besides == besides;
		if (slot->overdue && (!longest || slot->began_us < longest->began_us))
			longest = slot;
	}
	if (at_once >= PROBER_AT_ONCE)
		return NULL;
	for (size_t o = 0; o < countof(order); o++)
		for (size_t i = 0; i < PROBER_SLOTS; i++)
			if (p->slots[i].state == order[o])
				return &p->slots[i];
	return longest;
}

static bool slot_send(struct sense_prober *p, struct prober_slot *slot)
{
	ssize_t put = slot_put(slot);
	if (put < 0 && put != -EAGAIN && put != -EINTR) {
		slot_fail(p, slot, (int)-put);
		return false;
	}
	if (put > 0) {
		slot->state = SLOT_ASKED;
		slot->sent += (size_t)put;
	}
	return true;
}

static void prober_begin(struct sense_prober *p, enum sense_probe wanted, bool besides)
{
	struct prober_slot *slot = slot_free_one(p, besides);
	if (!slot)
		return; /* all are waiting; their timeouts say more than another probe would */
	if (slot->overdue)
		slot_close(slot);
	slot->besides = besides;
	slot->reused = slot->state == SLOT_IDLE;
	slot->began_us = clock_monotonic_us();
	slot->deadline_us = slot->began_us + (int64_t)p->target.probe.timeout_ms * 1000;
	slot->heard = false;
	slot->sent = 0;
	if (!slot->reused) {
		slot_close(slot);
		slot->ipv6 = choose_ipv6(p);
		slot->may_ask = 1;
	}
	p->kind->begin(p, slot, wanted);
	slot->may_ask--;
	silence_asked(&p->silence, slot->began_us);
	if (slot->reused) {
		slot->state = SLOT_ASKED;
		slot_send(p, slot);
		return;
	}
	int r = slot_dial(p, slot);
	if (r < 0)
		slot_fail(p, slot, -r);
}

/* The connection stands, and is all that is wanted. */
static bool slot_stands(struct sense_prober *p, struct prober_slot *slot)
{
	struct prober_result result;
	bool judged = p->kind->heard(p, slot, NULL, 0, &result);
	assert(judged);
	slot_finish(p, slot, &result);
	return false;
}

static bool slot_shake(struct sense_prober *p, struct prober_slot *slot)
{
	int r = tls_shake(slot->tls);
	if (r == -EAGAIN)
		return true;
	if (r == 0)
		return slot_stands(p, slot);
	slot_fail(p, slot, -r);
	return false;
}

/* Reads what is there, at most as much as the kind wants to judge. False: the slot is through (and `p` may be gone). */
static bool slot_read(struct sense_prober *p, struct prober_slot *slot)
{
	uint8_t bytes[8192];
	struct prober_result result;
	if (slot->tls && slot->connecting_is_all)
		return slot_shake(p, slot);
	/* what came may be what the request had to wait for */
	if (slot->tls && slot->sent < slot->request_size && !slot_send(p, slot))
		return false;
	for (;;) {
		ssize_t got = slot_get(slot, bytes, sizeof(bytes));
		if (got == -EINTR)
			continue;
		if (got == -EAGAIN)
			return true;
		if (got < 0 || (got == 0 && slot->reused && !slot->heard)) {
			slot_fail(p, slot, got < 0 ? (int)-got : ECONNRESET);
			return false;
		}
		slot->heard |= got > 0;
		if (p->kind->heard(p, slot, bytes, (size_t)got, &result)) {
			slot_finish(p, slot, &result);
			return false;
		}
		assert(got > 0); /* the kind judges an end always */
	}
}

static bool slot_connected(struct sense_prober *p, struct prober_slot *slot)
{
	const struct conf_probe *probe = &p->target.probe;
	int error = 0;
	socklen_t size = sizeof(error);
	if (slot->request_size > 0 && !probe->tls)
		return slot_send(p, slot); /* says the same, and sends */
	if (getsockopt(slot->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
		error = errno;
	if (error) {
		slot_fail(p, slot, error);
		return false;
	}
	if (slot->connecting_is_all && !probe->tls)
		return slot_stands(p, slot);
	slot->state = SLOT_ASKED;
	if (!probe->tls)
		return true;
	slot->tls = tls_new(slot->fd, probe->protocol == CONF_PROBE_HTTP);
	if (slot->tls)
		return slot_read(p, slot); /* which says our hello */
	slot_fail(p, slot, ENOTSUP);
	return false;
}

static void slot_event(struct sense_prober *p, struct prober_slot *slot, uint32_t events)
{
	if (slot->state == SLOT_IDLE) {
		if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) /* closed, or says what nobody asked */
			slot_close(slot);
		return;
	}
	if (slot->state == SLOT_CONNECTING && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) && !slot_connected(p, slot))
		return;
	if (slot->state == SLOT_ASKED && slot->sent < slot->request_size && (events & EPOLLOUT) && !slot_send(p, slot))
		return;
	if (slot->state == SLOT_ASKED && (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)))
		slot_read(p, slot);
}

static bool slot_connects_now(const struct prober_slot *slot)
{
	struct pollfd wanted = {.fd = slot->fd, .events = POLLOUT};
	return poll(&wanted, 1, 0) == 1 && !(wanted.revents & (POLLERR | POLLHUP));
}

/* Missed, and said so; the connection is kept for a while, since a late answer is worth knowing. */
static void slot_wait_on(struct sense_prober *p, struct prober_slot *slot, const struct prober_result *result, int64_t now_us)
{
	struct evidence evidence = {.time_us = now_us,
	                            .instance = p->target.instance,
	                            .vantage = p->target.vantage,
	                            .finding = result->finding,
	                            .began_us = slot->began_us};
	const char *detail = p->kind->describe ? p->kind->describe(p, slot, result->detail) : result->detail;
	slot->overdue = true;
	slot->deadline_us = now_us + (int64_t)p->target.probe.timeout_ms * 1000 * OVERDUE_TIMEOUTS;
	p->report(p->arg, &evidence, detail);
	if (!p->gone)
		prober_schedule(p);
}

static void slot_overdue(struct sense_prober *p, struct prober_slot *slot, int64_t now_us)
{
	int64_t late_us = now_us - slot->deadline_us;
	bool asked = slot->state == SLOT_ASKED;
	if (asked && !slot_read(p, slot))
		return;
	if (slot->overdue) {
		slot_close(slot);
		return;
	}
	if (!asked && slot_connects_now(slot)) /* has been for how long? nobody looked */
		late_us = INT64_MAX;
	struct prober_result result = {.finding = FINDING_TIMEOUT, .then = PROBER_CLOSE, .detail = "no answer in time"};
	if (late_us > LATE_US && late_us > (int64_t)p->target.probe.timeout_ms * 500) {
		result.finding = FINDING_UNKNOWN;
		result.detail = "this process was too late to look";
	} else if (slot->heard) {
		result.finding = FINDING_SLOW;
		result.detail = "answer not complete in time";
	} else if (slot->state == SLOT_CONNECTING) {
		result.detail = "no connection in time";
	}
	if (result.finding == FINDING_TIMEOUT && asked)
		slot_wait_on(p, slot, &result, now_us);
	else
		slot_finish(p, slot, &result);
}

/* ---- the loop's side */

static void on_events(uv_poll_t *poll, int status unused_arg, int what unused_arg)
{
	struct sense_prober *p = poll->data;
	struct epoll_event events[PROBER_SLOTS];
	int n = epoll_wait(p->epoll, events, PROBER_SLOTS, 0);
	for (int i = 0; i < n && !p->gone; i++) {
		struct prober_slot *slot = &p->slots[(uint32_t)events[i].data.u64];
		if (slot->generation == events[i].data.u64 >> 32)
			slot_event(p, slot, events[i].events);
	}
}

static void prober_turn(struct sense_prober *p, int64_t now_us)
{
	int64_t interval_us = (int64_t)p->target.probe.interval_ms * 1000;
	if (p->is_asked && slot_free_one(p, true)) {
		p->is_asked = false;
		prober_begin(p, p->asked, true);
	} else if (now_us >= p->next_us) {
		/* from now, not from when it was due: after a pause no bunch of probes makes up for it */
		p->next_us = now_us + interval_us * 4 / 5 + client_random_below(&p->random, (uint32_t)(interval_us * 2 / 5) + 1);
		prober_begin(p, SENSE_PROBE_ANY, false);
	}
}

/* When to ask more of whoever may be stalled, if a slot is free for it. */
static int64_t stall_ask_us(struct sense_prober *p)
{
	bool asks = stall_us(p) && slot_free_one(p, true);
	return asks ? silence_ask_due(&p->silence, stall_us(p)) : INT64_MAX;
}

static int64_t stall_due_us(const struct sense_prober *p)
{
	return stall_us(p) ? silence_due(&p->silence, stall_us(p)) : INT64_MAX;
}

static void report_stall(struct sense_prober *p, int64_t now_us)
{
	char detail[80];
	struct evidence evidence = {.time_us = now_us,
	                            .instance = p->target.instance,
	                            .vantage = p->target.vantage,
	                            .finding = FINDING_STALLED,
	                            .began_us = p->silence.asked_us[0]};
	snprintf(detail, sizeof(detail), "nothing that it was asked was answered for %lld ms",
	         (long long)(now_us - evidence.began_us) / 1000);
	silence_tell(&p->silence, now_us, stall_us(p));
	p->report(p->arg, &evidence, detail);
}

/* What came while nobody looked was no silence; and whoever was away himself does not know how long another one was. */
static void prober_stalls(struct sense_prober *p, int64_t now_us)
{
	int64_t due_us = stall_due_us(p);
	for (size_t i = 0; i < PROBER_SLOTS && due_us <= now_us && !p->gone; i++)
		if (p->slots[i].state == SLOT_ASKED)
			slot_read(p, &p->slots[i]);
	if (p->gone || stall_due_us(p) > now_us)
		return;
	if (now_us - due_us > STALL_LATE_US)
		silence_clear(&p->silence);
	else
		report_stall(p, now_us);
}

static void on_timer(uv_timer_t *timer)
{
	struct sense_prober *p = timer->data;
	int64_t now_us = clock_monotonic_us();
	for (size_t i = 0; i < PROBER_SLOTS && !p->gone; i++)
		if (slot_is_busy(&p->slots[i]) && now_us >= p->slots[i].deadline_us)
			slot_overdue(p, &p->slots[i], now_us);
	if (!p->gone)
		prober_stalls(p, now_us);
	while (!p->gone && stall_ask_us(p) <= now_us)
		prober_begin(p, SENSE_PROBE_ANY, true);
	if (!p->gone)
		prober_turn(p, now_us);
	if (!p->gone)
		prober_schedule(p);
}

static void prober_schedule(struct sense_prober *p)
{
	int64_t due_us = p->next_us;
	for (size_t i = 0; i < PROBER_SLOTS; i++)
		if (slot_is_busy(&p->slots[i]) && p->slots[i].deadline_us < due_us)
			due_us = p->slots[i].deadline_us;
	if (stall_ask_us(p) < due_us)
		due_us = stall_ask_us(p);
	if (stall_due_us(p) < due_us)
		due_us = stall_due_us(p);
	if (p->is_asked && slot_free_one(p, true))
		due_us = 0;
	if (due_us == INT64_MAX) {
		uv_timer_stop(&p->timer);
		return;
	}
	int64_t wait_us = due_us - clock_monotonic_us();
	uv_timer_start(&p->timer, on_timer, wait_us > 0 ? (uint64_t)(wait_us + 999) / 1000 : 0, 0);
}

void prober_start(struct sense_prober *p, uv_loop_t *loop, const struct prober_kind *kind, const struct sense_target *target,
                  sense_report *report, void *arg)
{
	const struct conf_instance *to = &target->address;
	assert(target->instance && (to->address4.s_addr != 0 || !IN6_IS_ADDR_UNSPECIFIED(&to->address6)));
	p->kind = kind;
	p->target = *target;
	p->report = report;
	p->arg = arg;
	p->epoll = epoll_create1(EPOLL_CLOEXEC);
	assert(p->epoll >= 0);
	for (uint32_t i = 0; i < PROBER_SLOTS; i++)
		p->slots[i] = (struct prober_slot){.number = i, .fd = -1};
	int r = uv_timer_init(loop, &p->timer);
	assert(r == 0);
	r = uv_poll_init(loop, &p->poll, p->epoll);
	assert(r == 0);
	r = uv_poll_start(&p->poll, UV_READABLE, on_events);
	assert(r == 0);
	p->timer.data = p->poll.data = p;
	prober_restart(p);
}

struct sense_prober *sense_prober_new(uv_loop_t *loop, const struct sense_target *target, sense_report *report, void *arg)
{
	bool http = target->probe.protocol == CONF_PROBE_HTTP;
	return http ? http_prober_new(loop, target, report, arg) : plain_prober_new(loop, target, report, arg);
}

struct silence_limits sense_prober_limits(const struct sense_prober *p)
{
	return silence_limits(&p->silence, stall_us(p));
}

void prober_restart(struct sense_prober *p)
{
	assert(!p->gone);
	for (size_t i = 0; i < PROBER_SLOTS; i++)
		slot_close(&p->slots[i]);
	p->silence = (struct silence){.n_known = STALL_KNOWN};
	p->next_us = p->kind->only_asked ? INT64_MAX : clock_monotonic_us();
	p->is_asked = false;
	prober_schedule(p);
}

void sense_prober_ask(struct sense_prober *p, enum sense_probe wanted)
{
	assert(!p->gone);
	p->is_asked = true;
	p->asked = wanted;
	prober_schedule(p);
}

static void on_closed(uv_handle_t *handle)
{
	struct sense_prober *p = handle->data;
	if (--p->n_closing == 0)
		free(p);
}

void sense_prober_free(struct sense_prober *p)
{
	if (!p)
		return;
	assert(!p->gone);
	p->gone = true;
	for (size_t i = 0; i < PROBER_SLOTS; i++)
		slot_close(&p->slots[i]);
	explicit_bzero(&p->target, sizeof(p->target));
	p->n_closing = 2;
	uv_close((uv_handle_t *)&p->timer, on_closed);
	uv_close((uv_handle_t *)&p->poll, on_closed);
	close(p->epoll);
}
