/*
 * The port of a guest's agent: a connection that the vm actuator made, read without waiting. What its bytes mean is agent.c's
 * business. A guest can write without end: what is read at once is bounded, and beyond what an agent ever sends nothing is read
 * for a moment, so that the flood stands in the guest and not here.
 */
#include "sense/sense.h"

#include "lib/bytes.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define READ_AT_ONCE (32 * AGENT_FRAME) /* a wake-up: other sources get their turn */
#define FLOOD_PAUSE_MS 250
#define ORDERS_APART_US 100000

struct sense_channel {
	uv_timer_t timer; /* reads again after a flood; also what the end of this waits for */
	uv_poll_t *poll;  /* NULL: not connected */
	int fd;
	bool gone;
	uint32_t instance;
	sense_report *report;
	void *arg;
	int64_t now_us;
	struct agent_watch watch;
};

static void free_handle(uv_handle_t *handle)
{
	free(handle);
}

static void on_tell(void *arg, enum finding finding, const char *detail)
{
	struct sense_channel *c = arg;
	const struct evidence evidence = {.time_us = c->now_us,
	                                  .instance = c->instance,
	                                  .vantage = VANTAGE_GUEST,
	                                  .finding = finding,
	                                  .began_us = c->now_us};
	if (!c->gone) /* an earlier report may have ended it */
		c->report(c->arg, &evidence, detail);
}

static void disconnect(struct sense_channel *c)
{
	if (!c->poll)
		return;
	uv_timer_stop(&c->timer);
	uv_close((uv_handle_t *)c->poll, free_handle);
	c->poll = NULL;
	close(c->fd);
	c->fd = -1;
}

static void send_key(struct sense_channel *c)
{
	struct agent_frame frame = {.type = AGENT_KEYED};
	uint8_t bytes[AGENT_FRAME];
	memcpy(frame.keyed.key, c->watch.key, AGENT_KEY);
	agent_encode(&frame, NULL, bytes);
	if (send(c->fd, bytes, sizeof(bytes), MSG_NOSIGNAL | MSG_DONTWAIT) != sizeof(bytes))
		disconnect(c); /* nothing was ever sent on it: it is broken */
}

/* The number needs no memory: while a guest lives its host's clock does not go back, and two orders are further apart. */
int sense_channel_order(struct sense_channel *c, enum agent_type order)
{
	struct agent_frame frame = {.type = order, .number = (uint32_t)(clock_monotonic_us() / ORDERS_APART_US) + 1};
	uint32_t needed = order == AGENT_STOP ? AGENT_CAN_STOP : AGENT_CAN_RESTART;
	uint8_t bytes[AGENT_FRAME];
	if (!c->poll || !c->watch.spoke)
		return -ENOTCONN;
	if (!c->watch.found && !(c->watch.abilities & needed)) /* of a found one nobody knows */
		return -ENOTSUP;
	agent_encode(&frame, c->watch.key, bytes);
	if (send(c->fd, bytes, sizeof(bytes), MSG_NOSIGNAL | MSG_DONTWAIT) == sizeof(bytes))
		return 0;
	disconnect(c); /* it does not read; half a frame would spoil what follows */
	return -EIO;
}

static void on_readable(uv_poll_t *poll, int status, int events);

static void on_timer(uv_timer_t *timer)
{
	struct sense_channel *c = timer->data;
	uv_poll_start(c->poll, UV_READABLE, on_readable);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct sense_channel *c = poll->data;
	uint8_t bytes[READ_AT_ONCE];
	(void)events;
	ssize_t got = status < 0 ? 0 : recv(c->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) {
		disconnect(c);
		return;
	}
	c->now_us = clock_monotonic_us();
	bool key = agent_hear(&c->watch, bytes, (size_t)got, c->now_us, on_tell, c);
	if (c->gone || c->poll != poll)
		return;
	if (key)
		send_key(c);
	if (c->poll && agent_is_flood(&c->watch)) {
		uv_poll_stop(c->poll);
		uv_timer_start(&c->timer, on_timer, FLOOD_PAUSE_MS, 0);
	}
}

struct sense_channel *sense_channel_new(uv_loop_t *loop, const struct sense_channel_target *target, sense_report *report,
                                        void *arg)
{
	struct sense_channel *c = calloc(1, sizeof(*c));
	assert(c);
	uv_timer_init(loop, &c->timer);
	c->timer.data = c;
	c->fd = -1;
	c->instance = target->instance;
	c->report = report;
	c->arg = arg;
	c->watch.began_us = target->began_us;
	c->watch.found = target->began_us == 0;
	c->watch.failures = target->failures;
	memcpy(c->watch.list, target->list, AGENT_HASH);
	return c;
}

void sense_channel_connect(struct sense_channel *c, int fd, const uint8_t key[static AGENT_KEY])
{
	if (c->poll) {
		close(fd);
		return;
	}
	c->poll = calloc(1, sizeof(*c->poll));
	assert(c->poll);
	if (uv_poll_init(c->timer.loop, c->poll, fd) < 0) { /* no socket */
		free(c->poll);
		c->poll = NULL;
		close(fd);
		return;
	}
	c->fd = fd;
	c->poll->data = c;
	memcpy(c->watch.key, key, AGENT_KEY);
	agent_connected(&c->watch, clock_monotonic_us());
	uv_poll_start(c->poll, UV_READABLE, on_readable);
}

bool sense_channel_connected(const struct sense_channel *c)
{
	return c->poll != NULL;
}

void sense_channel_starting(struct sense_channel *c, bool starting)
{
	c->watch.starting = starting;
}

void sense_channel_probed(struct sense_channel *c, bool good, int64_t time_us)
{
	agent_probed(&c->watch, good, time_us);
}

void sense_channel_look(struct sense_channel *c, bool listening, bool busy)
{
	const struct agent_moment moment = {.listening = listening && c->poll, .busy = busy};
	c->now_us = clock_monotonic_us();
	agent_look(&c->watch, &moment, c->now_us, on_tell, c);
}

const struct agent_watch *sense_channel_watch(const struct sense_channel *c)
{
	return &c->watch;
}

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void sense_channel_free(struct sense_channel *c)
{
	if (!c)
		return;
	assert(!c->gone);
	c->gone = true;
	disconnect(c);
	uv_close((uv_handle_t *)&c->timer, on_closed);
}
