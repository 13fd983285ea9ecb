/*
 * koboshi-guest: what a guest says of itself. One epoll loop for all that may wait (channel, watched files, once-a-second looks,
 * the service); the gate's threads for what may not (programs that are about to start).
 *
 * Linked statically, so that it runs in any variant whatever its libc. It is never started again when it died: its silence on
 * the channel is evidence, and whoever comes after it has no key.
 */
#include "guest/carry.h"
#include "guest/channel.h"
#include "guest/conf.h"
#include "guest/file.h"
#include "guest/gate.h"
#include "guest/kernel.h"
#include "guest/list.h"
#include "guest/mounts.h"
#include "guest/restart.h"
#include "guest/seal.h"
#include "guest/tell.h"
#include "guest/watch.h"
#include "lib/bytes.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

#define CONF_PATH "/usr/lib/koboshi/guest.conf"
#define TICK_MS GATE_TICK_MS
#define LOOK_TICKS (1000 / TICK_MS)
#define BEAT_TICKS (AGENT_BEAT_MS / TICK_MS)
#define READS_AFTER_MS 60000 /* opens are asked about once the service answers, or so long after the start */

static struct {
	struct conf conf;
	int epoll, tick, mounts, watch, told, asked; /* descriptors; -1: none */
	enum agent_service service;
	unsigned ticks;
	bool learning, reads;
} guest = {.mounts = -1, .watch = -1, .asked = -1};

static void listen_to(int fd, unsigned events)
{
	struct epoll_event event = {.events = events, .data.fd = fd};
	epoll_ctl(guest.epoll, EPOLL_CTL_ADD, fd, &event);
}

static void trouble(const struct err *err)
{
	tell(AGENT_TROUBLE, 0, err->text);
	fprintf(stderr, "koboshi-guest: %s\n", err->text); /* at the start only: nothing is gated yet */
}

static void service_end(enum agent_service service)
{
	if (guest.asked >= 0)
		close(guest.asked);
	guest.asked = -1;
	guest.service = service;
}

/* A connection to ourselves; that it is taken is all we want to know. The one of the beat before that still hangs is dead. */
static void service_ask(void)
{
	struct sockaddr_in to = {
	        .sin_family = AF_INET, .sin_port = htons(guest.conf.service), .sin_addr = {htonl(INADDR_LOOPBACK)}};
	if (!guest.conf.service)
		return;
	if (guest.asked >= 0)
		service_end(AGENT_SERVICE_DEAD);
	guest.asked = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (guest.asked < 0)
		return;
	if (connect(guest.asked, (struct sockaddr *)&to, sizeof(to)) == 0)
		service_end(AGENT_SERVICE_ANSWERS);
	else if (errno != EINPROGRESS)
		service_end(AGENT_SERVICE_DEAD);
	else
		listen_to(guest.asked, EPOLLOUT);
}

static void service_answered(void)
{
	int error = 0;
	socklen_t size = sizeof(error);
	getsockopt(guest.asked, SOL_SOCKET, SO_ERROR, &error, &size);
	service_end(error ? AGENT_SERVICE_DEAD : AGENT_SERVICE_ANSWERS);
}

static void beat(void)
{
	struct agent_frame frame;
	memset(&frame, 0, sizeof(frame));
	frame.type = AGENT_BEAT;
	frame.beat.decided = tell_counters.decided;
	frame.beat.denied = tell_counters.denied;
	frame.beat.late = tell_counters.late;
	frame.beat.lost = tell_counters.lost;
	frame.beat.service = guest.service;
	channel_send(&frame); /* if not, the next one says the same, and more */
	service_ask();
}

/* What was seen before the key came, or while the host was away, waits in the ring. */
static void tell_all(void)
{
	struct tell_one one;
	while (channel_ready() && tell_take(&one)) {
		struct agent_frame frame;
		memset(&frame, 0, sizeof(frame));
		frame.type = AGENT_TOLD;
		frame.told.what = one.what;
		frame.told.detail = one.detail;
		memcpy(frame.told.text, one.text, AGENT_TEXT);
		channel_send(&frame);
	}
}

static void learning_end(void)
{
	struct err err;
	gate_lock();
	guest.learning = false;
	if (list_write(guest.conf.list, &err) < 0)
		tell(AGENT_TROUBLE, 0, err.text);
}

static void reads_start(void)
{
	struct err err;
	guest.reads = true;
	if (gate_reads(&err) < 0)
		tell(AGENT_TROUBLE, 0, err.text);
}

static void look(void)
{
	kernel_look();
	carry_look();
}

static void tick(void)
{
	uint64_t times;
	if (read(guest.tick, &times, sizeof(times)) < 0)
		return;
	guest.ticks++;
	gate_watch();
	channel_tick();
	if (guest.ticks % BEAT_TICKS == 0)
		beat();
	if (guest.ticks % LOOK_TICKS == 0)
		look();
	if (guest.conf.reads && !guest.reads &&
	    (guest.service == AGENT_SERVICE_ANSWERS || !guest.conf.service || guest.ticks >= READS_AFTER_MS / TICK_MS))
		reads_start();
	restart_look();
	if (guest.learning && guest.ticks >= guest.conf.learn_s * 1000 / TICK_MS)
		learning_end();
	tell_all();
}

static void mounted(void)
{
	gate_mounts();
	watch_mounts();
}

static void told(void)
{
	uint64_t times;
	if (read(guest.told, &times, sizeof(times)) > 0)
		tell_all();
}

/* One event at a time: what one of them closes cannot be meant by the next. */
static void loop(void)
{
	for (;;) {
		struct epoll_event event;
		if (epoll_wait(guest.epoll, &event, 1, -1) != 1)
			continue;
		if (event.data.fd == guest.tick)
			tick();
		else if (event.data.fd == guest.told)
			told();
		else if (event.data.fd == guest.mounts)
			mounted();
		else if (event.data.fd == guest.watch)
			watch_take();
		else if (event.data.fd == guest.asked)
			service_answered();
		else
			channel_event(event.events);
		enum agent_type order = channel_order();
		if (order == AGENT_RESTART)
			restart_begin(guest.conf.restart, AGENT_RESTARTED);
		else if (order == AGENT_STOP)
			restart_begin(guest.conf.stop, AGENT_STOPPED);
	}
}

/* Neither read nor swapped nor chosen when memory is short; deaf to what is not meant to end it for good. */
static void stand_firm(void)
{
	static const int deaf[] = {SIGHUP, SIGINT, SIGTERM, SIGPIPE, SIGIO, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM};
	struct err err;
	for (size_t i = 0; i < countof(deaf); i++)
		signal(deaf[i], SIG_IGN);
	prctl(PR_SET_DUMPABLE, 0);
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "-1000", 5) < 0) {
		err_set(&err, -errno, "the agent can be ended when memory is short: %s", strerror(errno));
		trouble(&err);
	}
	if (fd >= 0)
		close(fd);
	if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) < 0) {
		err_set(&err, -errno, "the agent's memory is not locked: %s", strerror(errno));
		trouble(&err);
	}
}

/* The list, or the beginning of learning one. */
static int list_start(struct agent_frame *hello, struct err *err)
{
	int r = list_read(guest.conf.list, hello->hello.list, err);
	guest.learning = r == -ENOENT && guest.conf.learn_s;
	if (guest.learning)
		r = 0;
	hello->hello.programs = list_count();
	if (guest.learning)
		hello->hello.abilities |= AGENT_LEARNING;
	return r;
}

/* What can be guarded is; what cannot is told, and is no reason to guard less of the rest. */
static void guards_start(struct agent_frame *hello)
{
	struct err err;
	uint32_t can = 0;
	struct kernel_abilities kernel = kernel_start(&guest.conf);
	can |= kernel.sockets ? AGENT_CAN_LISTEN : 0u;
	can |= kernel.modules ? AGENT_CAN_MODULES : 0u;
	if (guest.conf.root_trusted && file_trust_root())
		can |= AGENT_TRUSTS_ROOT;
	if (gate_start(&guest.conf, guest.learning, &err) < 0)
		trouble(&err);
	else
		can |= AGENT_CAN_DENY | AGENT_CAN_LOADER | (guest.conf.reads ? AGENT_CAN_READ : 0u);
	if ((guest.watch = watch_start(&guest.conf, &err)) < 0)
		trouble(&err);
	else
		can |= AGENT_CAN_WATCH;
	if ((guest.mounts = mounts_open(&err)) < 0)
		trouble(&err);
	can |= guest.conf.restart[0] ? AGENT_CAN_RESTART : 0u;
	can |= guest.conf.stop[0] ? AGENT_CAN_STOP : 0u;
	hello->hello.abilities |= can | (guest.conf.late_allow ? AGENT_FAIL_OPEN : 0u);
}

static int loop_start(struct err *err)
{
	struct itimerspec every = {.it_interval.tv_nsec = TICK_MS * 1000000, .it_value.tv_nsec = TICK_MS * 1000000};
	guest.epoll = epoll_create1(EPOLL_CLOEXEC);
	guest.tick = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	guest.told = tell_init(err);
	if (guest.told < 0)
		return guest.told;
	if (guest.epoll < 0 || guest.tick < 0 || timerfd_settime(guest.tick, 0, &every, NULL) < 0)
		return err_set(err, -errno, "no loop: %s", strerror(errno));
	listen_to(guest.tick, EPOLLIN);
	listen_to(guest.told, EPOLLIN);
	return 0;
}

static int run(const char *conf_path, int port, struct err *err)
{
	struct agent_frame hello;
	memset(&hello, 0, sizeof(hello));
	int r = conf_read(conf_path, &guest.conf, err);
	if (r == 0)
		r = list_start(&hello, err);
	if (r == 0)
		r = loop_start(err);
	if (r < 0)
		return r;
	stand_firm();
	carry_start(guest.conf.carry); /* before what is changed becomes evidence */
	guards_start(&hello);
	if (guest.watch >= 0)
		listen_to(guest.watch, EPOLLIN);
	if (guest.mounts >= 0)
		listen_to(guest.mounts, EPOLLPRI);
	gate_mounts(); /* before the hello: who hears that finds us guarding */
	channel_init(guest.epoll, port, &hello);
	loop();
	return 0;
}

/* In place of us: the guest's first program, whether it could be sealed or not. Without a seal the agent will say what runs. */
static int seal_and_run(char **argv)
{
	struct err err;
	if (seal_set(&err) < 0)
		fprintf(stderr, "koboshi-guest: %s\n", err.text);
	execv(argv[0], argv);
	fprintf(stderr, "koboshi-guest: cannot run %s: %s\n", argv[0], strerror(errno));
	return 127;
}

int main(int argc, char **argv)
{
	const char *conf = CONF_PATH;
	int port = -1, option;
	bool check = false;
	struct err err;
	while ((option = getopt(argc, argv, "+c:p:nx")) != -1) {
		if (option == 'x' && optind < argc)
			return seal_and_run(argv + optind);
		if (option == 'n') {
			check = true;
		} else if (option == 'c') {
			conf = optarg;
		} else if (option == 'p') {
			port = (int)strtol(optarg, NULL, 10);
			fcntl(port, F_SETFL, O_NONBLOCK);
		} else {
			fprintf(stderr, "usage: koboshi-guest [-n] [-c CONF] [-p DESCRIPTOR OF THE PORT]\n"
			                "       koboshi-guest -x PROGRAM [ARGUMENT...]\n");
			return 2;
		}
	}
	if ((check ? conf_read(conf, &guest.conf, &err) : run(conf, port, &err)) < 0) {
		fprintf(stderr, "koboshi-guest: %s\n", err.text);
		return 1;
	}
	return 0;
}
