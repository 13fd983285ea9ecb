/*
 * koboshi-decoy: the tarpit behind the decoys. koboshi-net's rules send it what guests ask by TCP where nobody is; it keeps them
 * busy. That they asked is evidence already, told by the rules: nothing here has to be seen, understood or answered in time, so
 * this may hang or fall without harm, and that is why it is a program of its own: it is the only one that speaks to a guest that
 * is known to be hostile. It reads nothing of what comes, and could do nothing: no files, no new sockets, no other user's
 * process.
 *
 * The sockets that it listens on are the supervisor's and outlive it. Once a second, if they changed, it tells the engine its
 * counts.
 */
#include "decoy/tarpit.h"
#include "conf/conf.h"
#include "lib/bytes.h"
#include "lib/log.h"
#include "lib/sandbox.h"
#include "wire/link.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#define OTHER_FDS 16 /* beside the held ones: log, links, listening sockets, watcher */
#define ACCEPT_AT_ONCE 64
#define EVENTS_AT_ONCE 64
#define TELL_US 1000000
#define PAUSE_US 1000000 /* after an accept that failed for want of something */

enum source { SOURCE_SUPERVISOR, SOURCE_ENGINE, SOURCE_TCP4, SOURCE_TCP6 };

struct decoy {
	int watcher, engine; /* engine -1: no link */
	bool listening, answers;
	struct tarpit *tarpit;
	struct tarpit_counts told;
	int64_t tell_us, listen_us; /* the earliest next time */
};

static void watch(const struct decoy *d, int fd, enum source source)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = source};
	if (epoll_ctl(d->watcher, EPOLL_CTL_ADD, fd, &event) < 0 && errno != EEXIST)
		log_error("decoy.watch", "cannot watch a descriptor: %s", strerror(errno));
}

static void listen_on_off(struct decoy *d, bool on)
{
	static const int fds[] = {WIRE_DECOY4_FD, WIRE_DECOY6_FD};
	for (size_t i = 0; i < countof(fds) && d->answers; i++) {
		if (on)
			watch(d, fds[i], SOURCE_TCP4 + (enum source)i);
		else
			epoll_ctl(d->watcher, EPOLL_CTL_DEL, fds[i], NULL);
	}
	d->listening = on;
}

/* ---- links */

static void engine_drop(struct decoy *d)
{
	if (d->engine >= 0)
		close(d->engine);
	d->engine = -1;
}

static void engine_tell(struct decoy *d, enum wire_notice what)
{
	struct wire_message message = {.kind = WIRE_NOTICE, .note = {.type = what, .time_us = clock_monotonic_us()}};
	if (what == NOTICE_TARPIT)
		message.note.tarpit =
		        (struct wire_tarpit){.held = d->told.held, .taken = d->told.taken, .displaced = d->told.displaced};
	int r = d->engine >= 0 ? wire_send(d->engine, &message, NULL, 0, NULL) : 0;
	if (r < 0 && r != -EAGAIN) /* a full link: the next count says it as well */
		engine_drop(d);
}

static void counts_tell(struct decoy *d, int64_t now_us)
{
	struct tarpit_counts counts;
	tarpit_counts(d->tarpit, &counts);
	bool changed = counts.held != d->told.held || counts.taken != d->told.taken || counts.displaced != d->told.displaced;
	if (!changed || now_us < d->tell_us)
		return;
	d->told = counts;
	d->tell_us = now_us + TELL_US;
	engine_tell(d, NOTICE_TARPIT);
}

/* Returns 1 at the end of the supervisor. */
static int supervisor_read(struct decoy *d)
{
	struct wire_message message;
	int fds[WIRE_FDS_MAX];
	size_t n_fds = 0;
	int r = wire_receive(WIRE_SUPERVISOR_FD, &message, fds, &n_fds, NULL);
	if (r == 1 && message.kind == WIRE_LINK && message.link.role == WIRE_ENGINE && n_fds == 1) {
		engine_drop(d);
		d->engine = fds[0];
		watch(d, d->engine, SOURCE_ENGINE);
		engine_tell(d, NOTICE_READY);
		engine_tell(d, NOTICE_TARPIT);
		return 0;
	}
	for (size_t i = 0; r == 1 && i < n_fds; i++)
		close(fds[i]);
	return r < 0;
}

/* There are no orders for us: whatever comes is the link's end, or nothing. */
static void engine_read(struct decoy *d)
{
	struct wire_message message;
	int fds[WIRE_FDS_MAX];
	size_t n_fds = 0;
	int r = d->engine >= 0 ? wire_receive(d->engine, &message, fds, &n_fds, NULL) : 0;
	for (size_t i = 0; r == 1 && i < n_fds; i++)
		close(fds[i]);
	if (r < 0)
		engine_drop(d);
}

/* ---- turning */

/* Ends first: a slot that is taken again in this turn must not get the end of who had it before. */
static int events_take(struct decoy *d, const struct epoll_event *events, int n, int64_t now_us)
{
	int ended = 0, r = 0;
	for (int i = 0; i < n; i++)
		if (events[i].data.u64 & TARPIT_ID)
			tarpit_ended(d->tarpit, events[i].data.u64);
	for (int i = 0; i < n; i++) {
		uint64_t source = events[i].data.u64;
		if (source == SOURCE_SUPERVISOR)
			ended = supervisor_read(d);
		else if (source == SOURCE_ENGINE)
			engine_read(d);
		else if (source == SOURCE_TCP4 || source == SOURCE_TCP6)
			r = tarpit_accept(d->tarpit, source == SOURCE_TCP4 ? WIRE_DECOY4_FD : WIRE_DECOY6_FD, ACCEPT_AT_ONCE,
			                  now_us);
		if (r < 0 && d->listening) {
			log_warning("decoy.accept", "cannot take more just now: %s", strerror(-r));
			listen_on_off(d, false);
			d->listen_us = now_us + PAUSE_US;
		}
	}
	return ended;
}

static int patience_ms(const struct decoy *d, int64_t dribble_us, int64_t now_us)
{
	struct tarpit_counts counts;
	tarpit_counts(d->tarpit, &counts);
	int64_t until_us = dribble_us;
	if (counts.taken != d->told.taken || counts.held != d->told.held)
		until_us = d->tell_us < until_us ? d->tell_us : until_us;
	if (!d->listening)
		until_us = d->listen_us < until_us ? d->listen_us : until_us;
	if (until_us == INT64_MAX)
		return -1;
	return until_us > now_us ? (int)((until_us - now_us) / 1000) + 1 : 0;
}

static int serve(struct decoy *d, struct err *err)
{
	struct epoll_event events[EVENTS_AT_ONCE];
	watch(d, WIRE_SUPERVISOR_FD, SOURCE_SUPERVISOR);
	listen_on_off(d, true);
	for (int64_t now_us = clock_monotonic_us();;) {
		int64_t dribble_us = tarpit_dribble(d->tarpit, now_us);
		counts_tell(d, now_us);
		if (!d->listening && now_us >= d->listen_us)
			listen_on_off(d, true);
		int n = epoll_wait(d->watcher, events, EVENTS_AT_ONCE, patience_ms(d, dribble_us, now_us));
		if (n < 0 && errno != EINTR)
			return err_set(err, -errno, "cannot wait: %s", strerror(errno));
		now_us = clock_monotonic_us();
		if (events_take(d, events, n, now_us))
			return 0;
	}
}

/* ---- starting */

/* As many as may be open; the rest of the limits say that nothing else grows. Memory is all taken at the start. */
static size_t limits_set(size_t wanted)
{
	const struct rlimit none = {0, 0};
	struct rlimit files;
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		rlim_t needed = wanted + OTHER_FDS;
		if (files.rlim_max != RLIM_INFINITY && files.rlim_max < needed)
			needed = files.rlim_max;
		files = (struct rlimit){needed, needed};
		if (setrlimit(RLIMIT_NOFILE, &files) == 0 && needed < wanted + OTHER_FDS) {
			log_notice("decoy.limit", "%zu connections are wanted, this system lets us hold %zu", wanted,
			           (size_t)needed - OTHER_FDS);
			wanted = (size_t)needed - OTHER_FDS;
		}
	}
	(void)setrlimit(RLIMIT_CORE, &none);
	return wanted;
}

static int confine(struct err *err)
{
	/* In and out of what is open already, and the end of it. A link that is sent to us is received with its message. */
	static const char *const calls[] = {"accept4",        "getsockopt",      "send",       "sendto",        "sendmsg",
	                                    "recvmsg",        "recvfrom",        "epoll_wait", "epoll_pwait",   "epoll_ctl",
	                                    "close",          "write",           "writev",     "clock_gettime", "gettimeofday",
	                                    "getpid",         "clock_gettime64", "exit",       "exit_group",    "rt_sigreturn",
	                                    "sigreturn",      "restart_syscall", "futex",      "brk",           "munmap",
	                                    "rt_sigprocmask", "gettid",          "fcntl",      "fcntl64",       NULL};
	struct sandbox_report report;
	struct sandbox wanted = {.limit_connect = true, .calls = calls};
	int r = sandbox_apply(&wanted, &report, err);
	for (size_t i = 0; r == 0 && i < report.n_lines; i++)
		log_notice("decoy.unproven", "%s", report.lines[i]);
	return r;
}

static bool is_listening(int fd)
{
	int listens = 0;
	socklen_t size = sizeof(listens);
	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0 && listens;
}

static int start(const char *config, struct decoy *d, struct err *err)
{
	static struct conf conf;
	bool there = is_listening(WIRE_DECOY4_FD) && is_listening(WIRE_DECOY6_FD);
	int r = conf_load(config, &conf, err);
	if (r < 0)
		return r;
	d->answers = conf.decoys && there;
	if (d->answers)
		r = tarpit_prepare(WIRE_DECOY4_FD, err);
	if (d->answers && r == 0)
		r = tarpit_prepare(WIRE_DECOY6_FD, err);
	d->watcher = epoll_create1(EPOLL_CLOEXEC);
	if (r == 0 && d->watcher < 0)
		r = err_set(err, -errno, "cannot make a watcher: %s", strerror(errno));
	if (r < 0)
		return r;
	d->tarpit = tarpit_new(limits_set(conf.decoy_connections), d->watcher);
	log_info("decoy.start", "%s",
	         d->answers ? "whoever knocks where nobody is will be kept waiting"
	         : there    ? "nobody is answered: 'decoys' is off"
	                    : "nobody is answered: no socket was handed down");
	return confine(err);
}

int main(int argc, char **argv)
{
	static struct decoy d = {.engine = -1};
	struct err err = {0};
	log_init("koboshi-decoy", LOG_LEVEL_INFO);
	if (argc != 3 || strcmp(argv[1], "--config") != 0) {
		fputs("usage: koboshi-decoy --config FILE\nServes the supervisor on descriptor 3.\n", stderr);
		return 2;
	}
	int r = start(argv[2], &d, &err);
	if (r == 0)
		r = serve(&d, &err);
	if (r < 0)
		log_error("decoy.failed", "%s", err.text);
	return r < 0;
}
