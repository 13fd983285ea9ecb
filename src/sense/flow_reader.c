/*
 * Reads conntrack's events in batches, as wire.c reads NFLOG's, and turns the core's clock. When the kernel had to drop some,
 * what is open is not known any more until those flows end; what was counted stands.
 */
#include "sense/sense.h"

#include "lib/bytes.h"
#include "lib/log.h"

#include <assert.h>
#include <errno.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#define BATCH 16          /* datagrams a call; an event is one */
#define BATCHES 16        /* calls a wake-up: other sources get their turn */
#define DATAGRAM_MAX 8192 /* a piece of a list is as large as it may be; an event has some 250 bytes */
#define TICK_MS 1000
#define GATHER_MS 20 /* nothing here is urgent: to be woken for many costs little more than for one */
#define LOST_REPEAT_US 60000000

struct sense_flows {
	uv_timer_t timer;
	uv_poll_t *poll;   /* NULL: nothing to read */
	uv_timer_t gather; /* runs instead of the poll while events come */
	int fd;
	unsigned n_closed;
	uv_loop_t *loop;
	sense_report *report;
	void *arg;
	struct flows *core;
	uint64_t malformed;
	int64_t lost_told_us;
	uint8_t buffers[BATCH][DATAGRAM_MAX];
};

static void on_tell(void *arg, uint32_t instance, int64_t began_us, int64_t time_us, const char *text)
{
	struct sense_flows *f = arg;
	struct evidence evidence = {.time_us = time_us,
	                            .instance = instance,
	                            .vantage = VANTAGE_WIRE,
	                            .finding = FINDING_UNUSUAL,
	                            .began_us = began_us};
	f->report(f->arg, &evidence, text);
}

/* ---- receiving */

static uint32_t instance_of(uint32_t mark)
{
	return (mark & ~CONF_MARK_NUMBER) == CONF_MARK ? mark & CONF_MARK_NUMBER : 0;
}

static void on_datagram(struct sense_flows *f, const struct mmsghdr *message, const uint8_t *bytes, int64_t now_us)
{
	const struct sockaddr_nl *from = message->msg_hdr.msg_name;
	struct netlink_bytes datagram = {bytes, message->msg_len};
	struct conntrack_flow flow;
	int r = 0;
	bool from_kernel = message->msg_hdr.msg_namelen < sizeof(*from) || from->nl_pid == 0; /* a test's pair has no name */
	if (!from_kernel || (message->msg_hdr.msg_flags & MSG_TRUNC)) {
		f->malformed++;
		return;
	}
	while ((r = conntrack_next(&datagram, &flow)) > 0)
		flows_flow(f->core, instance_of(flow.mark), &flow, now_us);
	if (r < 0)
		f->malformed++;
}

static void on_lost(struct sense_flows *f, int64_t now_us)
{
	flows_lost(f->core);
	if (f->lost_told_us && now_us - f->lost_told_us < LOST_REPEAT_US)
		return;
	f->lost_told_us = now_us;
	log_warning("sense.flows", "the kernel told of more flows than could be read: some were not counted");
}

/* -errno, or how many came. */
static int receive_batch(struct sense_flows *f)
{
	struct mmsghdr messages[BATCH] = {0};
	struct iovec parts[BATCH];
	struct sockaddr_nl names[BATCH];
	for (size_t i = 0; i < BATCH; i++) {
		parts[i] = (struct iovec){f->buffers[i], DATAGRAM_MAX};
		messages[i].msg_hdr = (struct msghdr){
		        .msg_name = &names[i], .msg_namelen = sizeof(names[i]), .msg_iov = &parts[i], .msg_iovlen = 1};
	}
	int n = recvmmsg(f->fd, messages, BATCH, MSG_DONTWAIT, NULL), r = n < 0 ? -errno : n;
	int64_t now_us = clock_monotonic_us();
	for (int i = 0; i < n; i++)
		on_datagram(f, &messages[i], f->buffers[i], now_us);
	if (r == -ENOBUFS)
		on_lost(f, now_us);
	return r;
}

/* True when something came. */
static bool receive(struct sense_flows *f)
{
	const uv_poll_t *poll = f->poll;
	for (int i = 0; i < BATCHES && f->poll == poll; i++) { /* a report may end the reading */
		int n = receive_batch(f);
		if (n != -ENOBUFS && n != -EINTR && n < BATCH)
			return i > 0 || n > 0;
	}
	return true;
}

static void on_gather(uv_timer_t *timer);

static void on_poll(uv_poll_t *poll, int status unused_arg, int events unused_arg)
{
	struct sense_flows *f = poll->data;
	receive(f);
	if (f->poll != poll)
		return;
	uv_poll_stop(poll);
	uv_timer_start(&f->gather, on_gather, GATHER_MS, 0);
}

static void on_gather(uv_timer_t *timer)
{
	struct sense_flows *f = timer->data;
	bool came = receive(f);
	if (f->poll && came)
		uv_timer_start(&f->gather, on_gather, GATHER_MS, 0);
	else if (f->poll)
		uv_poll_start(f->poll, UV_READABLE, on_poll);
}

static void on_timer(uv_timer_t *timer)
{
	struct sense_flows *f = timer->data;
	flows_tick(f->core, clock_monotonic_us());
}

/* ---- facts and instances */

void sense_flows_tried(struct sense_flows *f, uint32_t number, const struct nflog_address *to, uint16_t port, uint8_t protocol,
                       uint16_t from_port)
{
	flows_tried(f->core, number, to, port, protocol, from_port, clock_monotonic_us());
}

void sense_flows_named(struct sense_flows *f, uint32_t number, const struct dns_answer *answer)
{
	flows_named(f->core, number, answer, clock_monotonic_us());
}

void sense_flows_add(struct sense_flows *f, const struct conf_instance *instance)
{
	struct nflog_address four = {0}, six = {.ipv6 = true};
	memcpy(four.bytes, &instance->address4, sizeof(instance->address4));
	memcpy(six.bytes, &instance->address6, sizeof(instance->address6));
	flows_add(f->core, instance->number, &four, &six);
}

void sense_flows_remove(struct sense_flows *f, uint32_t number)
{
	flows_remove(f->core, number);
}

void sense_flows_cut(struct sense_flows *f, uint32_t number)
{
	flows_cut(f->core, number);
}

void sense_flows_work(struct sense_flows *f, uint32_t number, bool at_work)
{
	flows_work(f->core, number, at_work, clock_monotonic_us());
}

const struct flows *sense_flows_core(const struct sense_flows *f)
{
	return f->core;
}

uint64_t sense_flows_malformed(const struct sense_flows *f)
{
	return f->malformed;
}

bool sense_flows_reads(const struct sense_flows *f)
{
	return f->poll != NULL;
}

/* ---- life */

static void on_poll_closed(uv_handle_t *handle)
{
	free(handle);
}

static void reading_end(struct sense_flows *f)
{
	if (!f->poll)
		return;
	uv_timer_stop(&f->gather);
	uv_close((uv_handle_t *)f->poll, on_poll_closed);
	f->poll = NULL;
	close(f->fd);
}

void sense_flows_read(struct sense_flows *f, int fd)
{
	reading_end(f);
	flows_begin(f->core);
	f->fd = fd;
	f->poll = calloc(1, sizeof(*f->poll));
	if (!f->poll)
		abort();
	int r = uv_poll_init(f->loop, f->poll, fd);
	assert(r == 0);
	f->poll->data = f;
	r = uv_poll_start(f->poll, UV_READABLE, on_poll);
	assert(r == 0);
}

struct sense_flows *sense_flows_new(uv_loop_t *loop, sense_report *report, void *arg)
{
	struct sense_flows *f = calloc(1, sizeof(*f));
	uint64_t seed;
	if (!f || getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed))
		abort();
	f->loop = loop;
	f->report = report;
	f->arg = arg;
	f->core = flows_new(seed, on_tell, f);
	uv_timer_init(loop, &f->timer);
	uv_timer_init(loop, &f->gather);
	f->timer.data = f->gather.data = f;
	uv_timer_start(&f->timer, on_timer, TICK_MS, TICK_MS);
	return f;
}

static void on_closed(uv_handle_t *handle)
{
	struct sense_flows *f = handle->data;
	if (++f->n_closed < 2)
		return;
	flows_free(f->core);
	free(f);
}

void sense_flows_free(struct sense_flows *f)
{
	if (!f)
		return;
	reading_end(f);
	uv_close((uv_handle_t *)&f->timer, on_closed);
	uv_close((uv_handle_t *)&f->gather, on_closed);
}
