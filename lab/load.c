/*
 * koboshi-load: asks a service at a constant rate and writes down what became of each request.
 *
 * Open loop on purpose: request k is due at begin + k/rate whatever happened to those before it, and its latency counts from
 * then. A generator that waits for answers before it asks again hides exactly the outage that the lab wants to see.
 * One thread, one epoll; every number that could grow (rate, time, requests at once, bytes of an answer) has a limit.
 * It refuses to speak to anything but loopback and the documentation ranges that the lab's own networks use.
 */
#include "lib/attr.h"
#include "lib/bytes.h"
#include "options.h"
#include "tally.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

#define HEAD_MAX 8192
#define BODY_MAX (1 << 20)
#define TOKEN_TIMER UINT64_MAX
#define TOKEN_SIGNAL (UINT64_MAX - 1)

enum phase { PHASE_FREE, PHASE_IDLE, PHASE_CONNECT, PHASE_SEND, PHASE_HEAD, PHASE_BODY };

struct slot { /* one connection; between requests (idle) only with keep-alive */
	enum phase phase;
	int fd;
	struct sample sample;
	char head[HEAD_MAX];
	size_t n_head, n_sent;
	int64_t body_left; /* -1: until the end of the connection */
	size_t n_body;
	bool close_after;
	EVP_MD_CTX *digest;
};

struct load {
	struct options options;
	struct tally tally;
	int epoll, timer, signals;
	int64_t begin_us;
	uint64_t sent, total; /* total shrinks to sent when told to stop */
	char request[1024];
	size_t request_size;
	FILE *csv;
	struct slot *slots;
	size_t n_slots, in_flight, oldest;
};

/* --- one request -------------------------------------------------------------------------------------------------- */

static void slot_close(struct load *load, struct slot *slot)
{
	(void)load;
	if (slot->fd >= 0)
		close(slot->fd);
	slot->fd = -1;
	slot->phase = PHASE_FREE;
}

static enum outcome body_judge(const struct options *options, const struct sample *sample)
{
	if (sample->status != 200)
		return OUTCOME_STATUS;
	for (size_t i = 0; i < options->n_good; i++)
		if (strcmp(options->good[i], sample->hash) == 0)
			return OUTCOME_GOOD;
	return options->n_good ? OUTCOME_WRONG : OUTCOME_GOOD;
}

static void slot_finish(struct load *load, struct slot *slot, enum outcome outcome)
{
	assert(load->in_flight > 0);
	load->in_flight--;
	slot->sample.end_us = clock_monotonic_us();
	slot->sample.outcome = outcome;
	tally_add(&load->tally, &slot->sample);
	if (load->csv)
		sample_csv(&slot->sample, load->csv);
	bool answered = outcome == OUTCOME_GOOD || outcome == OUTCOME_STATUS || outcome == OUTCOME_WRONG;
	if (answered && load->options.keep_alive && !slot->close_after)
		slot->phase = PHASE_IDLE;
	else
		slot_close(load, slot);
}

static void slot_complete(struct load *load, struct slot *slot)
{
	uint8_t hash[EVP_MAX_MD_SIZE];
	unsigned size = 0;
	EVP_DigestFinal_ex(slot->digest, hash, &size);
	bytes_to_hex(hash, size, slot->sample.hash);
	slot_finish(load, slot, body_judge(&load->options, &slot->sample));
}

static void slot_fail(struct load *load, struct slot *slot, int code)
{
	if (slot->phase == PHASE_IDLE) {
		slot_close(load, slot);
		return;
	}
	enum outcome outcome = OUTCOME_OTHER;
	if (code == ECONNREFUSED)
		outcome = OUTCOME_REFUSED;
	else if (code == ECONNRESET || code == EPIPE)
		outcome = slot->phase == PHASE_CONNECT ? OUTCOME_REFUSED : OUTCOME_RESET;
	else if (code == ETIMEDOUT)
		outcome = OUTCOME_TIMEOUT;
	slot_finish(load, slot, outcome);
}

static void slot_body(struct load *load, struct slot *slot, const char *bytes, size_t size)
{
	if (slot->body_left >= 0 && size > (size_t)slot->body_left)
		size = (size_t)slot->body_left;
	slot->n_body += size;
	if (slot->n_body > BODY_MAX) {
		slot_finish(load, slot, OUTCOME_OTHER);
		return;
	}
	EVP_DigestUpdate(slot->digest, bytes, size);
	if (slot->body_left >= 0) {
		slot->body_left -= (int64_t)size;
		if (slot->body_left == 0)
			slot_complete(load, slot);
	}
}

/* The value of a header in a NUL-terminated head, or NULL. */
static const char *header(const char *head, const char *name)
{
	size_t size = strlen(name);
	for (const char *line = strstr(head, "\r\n"); line; line = strstr(line, "\r\n")) {
		line += 2;
		if (strncasecmp(line, name, size) == 0 && line[size] == ':')
			return line + size + 1 + strspn(line + size + 1, " \t");
	}
	return NULL;
}

static bool head_parse(struct slot *slot)
{
	if (sscanf(slot->head, "HTTP/1.%*1[01] %3d", &slot->sample.status) != 1)
		return false;
	const char *length = header(slot->head, "Content-Length"), *connection = header(slot->head, "Connection");
	slot->close_after = !connection || strncasecmp(connection, "keep-alive", 10) != 0;
	slot->body_left = -1;
	if (!length)
		return true;
	char *end;
	slot->body_left = strtoll(length, &end, 10);
	return end != length && slot->body_left >= 0 && slot->body_left <= BODY_MAX;
}

static void slot_head(struct load *load, struct slot *slot, const char *bytes, size_t size)
{
	size_t old = slot->n_head, room = HEAD_MAX - 1 - old, taken = size < room ? size : room;
	memcpy(slot->head + old, bytes, taken);
	slot->n_head += taken;
	slot->head[slot->n_head] = '\0';
	char *end = memmem(slot->head, slot->n_head, "\r\n\r\n", 4);
	if (!end) {
		if (slot->n_head == HEAD_MAX - 1)
			slot_finish(load, slot, OUTCOME_OTHER);
		return;
	}
	size_t used = (size_t)(end + 4 - slot->head) - old;
	end[2] = '\0';
	if (!head_parse(slot)) {
		slot_finish(load, slot, OUTCOME_OTHER);
		return;
	}
	slot->phase = PHASE_BODY;
	slot_body(load, slot, bytes + used, size - used);
}

static void slot_end(struct load *load, struct slot *slot)
{
	if (slot->phase == PHASE_BODY && slot->body_left < 0)
		slot_complete(load, slot);
	else if (slot->phase == PHASE_IDLE)
		slot_close(load, slot);
	else
		slot_finish(load, slot, OUTCOME_CLOSED);
	if (slot->phase == PHASE_IDLE)
		slot_close(load, slot);
}

static void slot_receive(struct load *load, struct slot *slot)
{
	char bytes[16384];
	ssize_t size = recv(slot->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
	if (size < 0) {
		if (errno != EAGAIN && errno != EINTR)
			slot_fail(load, slot, errno);
	} else if (size == 0) {
		slot_end(load, slot);
	} else if (slot->phase == PHASE_HEAD || slot->phase == PHASE_SEND) {
		if (!slot->sample.first_us)
			slot->sample.first_us = clock_monotonic_us();
		slot_head(load, slot, bytes, (size_t)size);
	} else if (slot->phase == PHASE_BODY) {
		slot_body(load, slot, bytes, (size_t)size);
	} else {
		slot_close(load, slot); /* bytes that nobody asked for */
	}
}

static void slot_watch(struct load *load, struct slot *slot, uint32_t events, int how)
{
	struct epoll_event event = {.events = events, .data.u64 = (uint64_t)(slot - load->slots)};
	if (epoll_ctl(load->epoll, how, slot->fd, &event) < 0)
		abort();
}

static void slot_send(struct load *load, struct slot *slot)
{
	slot->phase = PHASE_SEND;
	ssize_t size =
	        send(slot->fd, load->request + slot->n_sent, load->request_size - slot->n_sent, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (size < 0) {
		if (errno != EAGAIN && errno != EINTR)
			slot_fail(load, slot, errno);
		return;
	}
	slot->n_sent += (size_t)size;
	if (slot->n_sent < load->request_size)
		return;
	slot->phase = PHASE_HEAD;
	slot_watch(load, slot, EPOLLIN, EPOLL_CTL_MOD);
}

static void slot_connected(struct load *load, struct slot *slot)
{
	int code = 0;
	socklen_t size = sizeof(code);
	if (getsockopt(slot->fd, SOL_SOCKET, SO_ERROR, &code, &size) < 0)
		code = errno;
	if (code) {
		slot_fail(load, slot, code);
		return;
	}
	slot->sample.connected_us = clock_monotonic_us();
	slot_send(load, slot);
}

static void slot_event(struct load *load, struct slot *slot, uint32_t events)
{
	if (slot->phase == PHASE_FREE)
		return;
	if (slot->phase == PHASE_CONNECT)
		slot_connected(load, slot);
	else if (slot->phase == PHASE_SEND && (events & EPOLLOUT))
		slot_send(load, slot);
	else if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		slot_receive(load, slot);
}

static uint16_t source_port(int fd)
{
	struct sockaddr_storage address = {0};
	socklen_t size = sizeof(address);
	if (getsockname(fd, (struct sockaddr *)&address, &size) < 0)
		return 0;
	/* NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage): getsockname() filled it, which the analyzer does not know */
	return ntohs(address.ss_family == AF_INET ? ((struct sockaddr_in *)&address)->sin_port
	                                          : ((struct sockaddr_in6 *)&address)->sin6_port);
}

static void slot_open(struct load *load, struct slot *slot)
{
	const struct options *options = &load->options;
	slot->phase = PHASE_CONNECT;
	slot->fd = socket(options->target.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
	if (slot->fd < 0 ||
	    (options->source_size && bind(slot->fd, (const struct sockaddr *)&options->source, options->source_size) < 0)) {
		slot_fail(load, slot, errno);
		return;
	}
	int failed = connect(slot->fd, (const struct sockaddr *)&options->target, options->target_size);
	int code = errno;
	slot->sample.source_port = source_port(slot->fd);
	if (failed && code != EINPROGRESS) {
		slot_fail(load, slot, code);
		return;
	}
	slot_watch(load, slot, EPOLLIN | EPOLLOUT, EPOLL_CTL_ADD);
}

/* --- the schedule ------------------------------------------------------------------------------------------------- */

static struct slot *slot_pick(struct load *load)
{
	struct slot *empty = NULL;
	for (size_t i = 0; i < load->n_slots; i++) {
		if (load->slots[i].phase == PHASE_IDLE)
			return &load->slots[i];
		if (!empty && load->slots[i].phase == PHASE_FREE)
			empty = &load->slots[i];
	}
	assert(empty); /* slots cover everything that can be in flight until its timeout */
	return empty;
}

static int64_t due_us(const struct load *load, uint64_t number)
{
	return load->begin_us + (int64_t)(number * 1000000 / load->options.rate);
}

static void request_begin(struct load *load, int64_t now_us)
{
	struct slot *slot = slot_pick(load);
	bool reused = slot->phase == PHASE_IDLE;
	slot->sample = (struct sample){.number = load->sent, .due_us = due_us(load, load->sent), .start_us = now_us};
	slot->n_head = slot->n_sent = slot->n_body = 0;
	EVP_DigestInit_ex(slot->digest, EVP_sha256(), NULL);
	load->sent++;
	load->in_flight++;
	if (!reused) {
		slot_open(load, slot);
		return;
	}
	slot->sample.source_port = source_port(slot->fd);
	slot->sample.connected_us = now_us;
	slot_watch(load, slot, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
	slot_send(load, slot);
}

static void requests_expire(struct load *load, int64_t now_us)
{
	for (size_t i = 0; i < load->n_slots; i++) {
		struct slot *slot = &load->slots[i];
		if (slot->phase > PHASE_IDLE && now_us - slot->sample.start_us >= load->options.timeout_us)
			slot_finish(load, slot, OUTCOME_TIMEOUT);
	}
}

/* Next wake-up: the next request that is due, or 10 ms for the timeouts, whichever comes first. */
static void timer_set(const struct load *load, int64_t now_us)
{
	int64_t next_us = now_us + 10000;
	if (load->sent < load->total && due_us(load, load->sent) < next_us)
		next_us = due_us(load, load->sent);
	struct itimerspec at = {.it_value = {.tv_sec = next_us / 1000000, .tv_nsec = next_us % 1000000 * 1000 + 1}};
	if (timerfd_settime(load->timer, TFD_TIMER_ABSTIME, &at, NULL) < 0)
		abort();
}

static void timer_event(struct load *load)
{
	uint64_t ticks;
	if (read(load->timer, &ticks, sizeof(ticks)) < 0 && errno != EAGAIN)
		abort();
	int64_t now_us = clock_monotonic_us();
	requests_expire(load, now_us);
	while (load->sent < load->total && due_us(load, load->sent) <= now_us)
		request_begin(load, now_us);
	timer_set(load, clock_monotonic_us());
}

/* Read, or epoll would tell of it for as long as an answer is awaited, and we run ahead of whoever should give it. */
static void signal_event(struct load *load)
{
	struct signalfd_siginfo signal;
	if (read(load->signals, &signal, sizeof(signal)) < 0 && errno != EAGAIN)
		abort();
	load->total = load->sent;
}

static void loop_run(struct load *load)
{
	struct epoll_event events[64];
	timer_set(load, clock_monotonic_us());
	while (load->sent < load->total || load->in_flight > 0) {
		int n = epoll_wait(load->epoll, events, countof(events), -1);
		for (int i = 0; i < n; i++) {
			if (events[i].data.u64 == TOKEN_TIMER)
				timer_event(load);
			else if (events[i].data.u64 == TOKEN_SIGNAL)
				signal_event(load);
			else
				slot_event(load, &load->slots[events[i].data.u64], events[i].events);
		}
	}
}

/* --- start and end ------------------------------------------------------------------------------------------------ */

static void watch_add(const struct load *load, int fd, uint64_t token)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = token};
	if (fd < 0 || epoll_ctl(load->epoll, EPOLL_CTL_ADD, fd, &event) < 0)
		abort();
}

static void load_open(struct load *load)
{
	const struct options *options = &load->options;
	sigset_t signals;
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	load->epoll = epoll_create1(EPOLL_CLOEXEC);
	load->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	load->signals = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	watch_add(load, load->timer, TOKEN_TIMER);
	watch_add(load, load->signals, TOKEN_SIGNAL);
	load->slots = calloc(load->n_slots, sizeof(*load->slots));
	if (!load->slots)
		abort();
	for (size_t i = 0; i < load->n_slots; i++) {
		load->slots[i].fd = -1;
		load->slots[i].digest = EVP_MD_CTX_new();
		if (!load->slots[i].digest)
			abort();
	}
	load->total = (uint64_t)options->rate * options->seconds;
	load->begin_us = clock_monotonic_us();
	tally_init(&load->tally, load->total, load->begin_us, options->late_us);
}

/* It stands for another machine, which would not wait for a processor of this one: that wait would be charged to the service.
 * False: not allowed here, and the report says so. */
static bool realtime_begin(void)
{
	struct sched_param lowest = {.sched_priority = sched_get_priority_min(SCHED_FIFO)};
	return sched_setscheduler(0, SCHED_FIFO, &lowest) == 0;
}

static void load_close(struct load *load)
{
	for (size_t i = 0; i < load->n_slots; i++) {
		slot_close(load, &load->slots[i]);
		EVP_MD_CTX_free(load->slots[i].digest);
	}
	free(load->slots);
	tally_done(&load->tally);
	close(load->epoll);
	close(load->timer);
	close(load->signals);
}

static FILE *output_open(const char *path)
{
	FILE *file = fopen(path, "we");
	if (!file)
		fprintf(stderr, "koboshi-load: cannot write %s: %s\n", path, strerror(errno));
	return file;
}

static void request_write(struct load *load)
{
	int size = snprintf(
	        load->request, sizeof(load->request),
	        "GET %s HTTP/1.0\r\nHost: sensor\r\nUser-Agent: koboshi-load/%s\r\nAccept: */*\r\nConnection: %s\r\n\r\n",
	        load->options.path, load->options.name, load->options.keep_alive ? "keep-alive" : "close");
	assert(size > 0 && (size_t)size < sizeof(load->request));
	load->request_size = (size_t)size;
}

int main(int argc, char **argv)
{
	struct load load = {0};
	int status = options_parse(argc, argv, &load.options);
	if (status)
		return status;
	FILE *json = load.options.json ? output_open(load.options.json) : stdout;
	if (load.options.csv)
		load.csv = output_open(load.options.csv);
	if (!json || (load.options.csv && !load.csv)) {
		if (load.csv)
			fclose(load.csv);
		if (json && json != stdout)
			fclose(json);
		return 1;
	}
	if (load.csv) {
		setvbuf(load.csv, NULL, _IOLBF, 0); /* so that a reader sees each request as it ends */
		sample_csv_head(load.csv);
	}
	request_write(&load);
	load.n_slots = options_slots(&load.options);
	load_open(&load);
	bool realtime = realtime_begin();
	loop_run(&load);
	tally_report(&load.tally, load.options.name, realtime, clock_monotonic_us(), json);
	load_close(&load);
	bool written = fflush(json) == 0 && !ferror(json) && (!load.csv || fclose(load.csv) == 0);
	if (json != stdout)
		written = fclose(json) == 0 && written;
	if (!written)
		fprintf(stderr, "koboshi-load: the report could not be written: disk full?\n");
	return written ? 0 : 1;
}
