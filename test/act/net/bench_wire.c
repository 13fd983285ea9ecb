/*
 * What sensing at the wire costs: clients and a guest in namespaces talk through the real rules of koboshi-net, in so many short
 * connections a second that some 10,000 packets cross the host and some 10,000 flows are known to conntrack; this process reads
 * what the engine would (NFLOG and conntrack's events) with the engine's code and measures itself by getrusage. Then the guest
 * scans at 50 packets a second. Prints JSON. Run by hand, as root: bench-net-wire KOBOSHI-NET-TEST [CONNECTIONS-A-SECOND
 * [SECONDS]].
 */
#include "sense/sense.h"

#include "lib/bytes.h"
#include "world.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define OPEN_MAX 4000 /* of the client at once */
#define STEP_US 5000
#define ANSWER 1000
#define TIME_WAIT_S 5 /* conntrack knows a connection for so long after its end, and some seconds until it is swept */
#define WARM_MS 30000
#define SCAN_RATE 50

struct bench {
	struct world *world;
	uv_loop_t *loop;
	uv_timer_t timer;
	struct sense_wire *wire;
	struct sense_flows *flows;
	int64_t scan_us, reaching_us, unusual_us;
	char reaching[160], unusual[160];
	unsigned alarms; /* before the scan */
};

/* ---- the load: two processes of their own, which end with us */

static pid_t apart(void)
{
	pid_t us = getpid(), child = fork();
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != us)
			_exit(1);
	}
	return child;
}

static void answer_all(int listener)
{
	static char bytes[ANSWER];
	struct epoll_event events[256], event = {.events = EPOLLIN, .data.fd = listener};
	int poller = epoll_create1(EPOLL_CLOEXEC);
	fcntl(listener, F_SETFL, O_NONBLOCK);
	epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
	for (;;) {
		int n = epoll_wait(poller, events, 256, -1);
		for (int i = 0; i < n; i++) {
			int fd = events[i].data.fd;
			if (fd != listener) {
				if (recv(fd, bytes, sizeof(bytes), 0) > 0)
					(void)!send(fd, bytes, sizeof(bytes), MSG_NOSIGNAL);
				close(fd);
				continue;
			}
			while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
				event = (struct epoll_event){.events = EPOLLIN, .data.fd = fd};
				epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
			}
		}
	}
}

static int ask_once(int poller)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(80)};
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct epoll_event event = {.events = EPOLLOUT, .data.fd = fd};
	inet_pton(AF_INET, SERVICE4, &to.sin_addr);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	(void)!connect(fd, (struct sockaddr *)&to, sizeof(to));
	return fd < 0 ? -1 : epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
}

/* True when this one is through. */
static bool ask_on(int poller, struct epoll_event *event)
{
	char bytes[ANSWER + 1];
	int fd = event->data.fd;
	if (event->events & EPOLLOUT) {
		(void)!send(fd, "GET /", 5, MSG_NOSIGNAL);
		*event = (struct epoll_event){.events = EPOLLIN, .data.fd = fd};
		epoll_ctl(poller, EPOLL_CTL_MOD, fd, event);
		return false;
	}
	if (recv(fd, bytes, sizeof(bytes), 0) > 0)
		return false;
	close(fd);
	return true;
}

static void ask_all(unsigned rate)
{
	struct epoll_event events[256];
	int poller = epoll_create1(EPOLL_CLOEXEC);
	int64_t began_us = clock_monotonic_us();
	uint64_t asked = 0, open = 0;
	for (;;) {
		uint64_t due = (uint64_t)(clock_monotonic_us() - began_us) * rate / 1000000;
		for (; asked < due; asked++)
			open += open < OPEN_MAX && ask_once(poller) == 0;
		int n = epoll_wait(poller, events, 256, STEP_US / 1000);
		for (int i = 0; i < n; i++)
			open -= ask_on(poller, &events[i]);
	}
}

/* To another address each time; nothing comes back. */
static void scan(void)
{
	for (uint32_t n = 0;; n++) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		struct sockaddr_in to = {
		        .sin_family = AF_INET, .sin_port = htons(22), .sin_addr = {htonl(0xc6336400u + n % 250)}};
		(void)!connect(fd, (struct sockaddr *)&to, sizeof(to));
		poll(NULL, 0, 1000 / SCAN_RATE);
		close(fd);
	}
}

/* ---- the reader */

static void on_report(void *arg, const struct evidence *evidence, const char *detail)
{
	struct bench *b = arg;
	int64_t now_us = clock_monotonic_us();
	bool reaching = evidence->finding == FINDING_REACHING, unusual = evidence->finding == FINDING_UNUSUAL;
	b->alarms += b->scan_us == 0 && (reaching || unusual);
	if (b->scan_us && reaching && !b->reaching_us) {
		b->reaching_us = now_us - b->scan_us;
		text_copy(b->reaching, sizeof(b->reaching), detail);
	} else if (b->scan_us && unusual && !b->unusual_us) {
		b->unusual_us = now_us - b->scan_us;
		text_copy(b->unusual, sizeof(b->unusual), detail);
	}
}

static void on_stop(uv_timer_t *timer)
{
	uv_stop(timer->loop);
}

static void turn(struct bench *b, unsigned ms)
{
	uv_timer_start(&b->timer, on_stop, ms, 0);
	uv_run(b->loop, UV_RUN_DEFAULT);
}

static double spent_s(void)
{
	struct rusage u;
	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static long number_in(const char *path)
{
	long number = -1;
	FILE *file = fopen(path, "re");
	if (file && fscanf(file, "%ld", &number) != 1)
		number = -1;
	if (file)
		fclose(file);
	return number;
}

static long memory_kib(void)
{
	long pages = 0;
	FILE *file = fopen("/proc/self/statm", "re");
	if (file && fscanf(file, "%*s %ld", &pages) != 1)
		pages = 0;
	if (file)
		fclose(file);
	return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

/* Packets that crossed the guest's tap, in both directions. */
static double tap_packets(void)
{
	char line[512];
	unsigned long in = 0, out = 0;
	FILE *file = fopen("/proc/thread-self/net/dev", "re");
	while (file && fgets(line, sizeof(line), file))
		if (strstr(line, "kb1:"))
			sscanf(strchr(line, ':') + 1, "%*u %lu %*u %*u %*u %*u %*u %*u %*u %lu", &in, &out);
	if (file)
		fclose(file);
	return (double)(in + out);
}

static void prepare(struct bench *b)
{
	steer(b->world, 1, 0);
	lab_enter(&b->world->lab, LAB_HOST);
	lab_command("echo %d > /proc/sys/net/netfilter/nf_conntrack_tcp_timeout_time_wait", TIME_WAIT_S);
	b->loop = uv_default_loop();
	uv_timer_init(b->loop, &b->timer);
	b->wire = sense_wire_new(b->loop, b->world->lab.log, 200, on_report, b);
	b->flows = sense_flows_new(b->loop, on_report, b);
	sense_wire_tell(b->wire, b->flows);
	sense_wire_add(b->wire, &b->world->i[1], &(struct conf_probe){.silence_ms = 20, .stall_ms = 10});
	sense_flows_add(b->flows, &b->world->i[1]);
	sense_flows_work(b->flows, 1, true);
	sense_flows_read(b->flows, b->world->lab.flows);
}

static void measure(struct bench *b, unsigned seconds)
{
	struct flows_counts before, after;
	struct sense_wire_counts logged_before, logged;
	turn(b, WARM_MS); /* until as many end as begin */
	flows_counts(sense_flows_core(b->flows), &before);
	sense_wire_counts(b->wire, &logged_before);
	double packets = tap_packets(), spent = spent_s();
	int64_t began_us = clock_monotonic_us();
	turn(b, seconds * 1000);
	double took = (double)(clock_monotonic_us() - began_us) / 1e6;
	spent = (spent_s() - spent) / took;
	flows_counts(sense_flows_core(b->flows), &after);
	sense_wire_counts(b->wire, &logged);
	printf("\"packets_per_s\": %.0f, \"flows_open\": %zu, \"conntrack_entries\": %ld, \"began_per_s\": %.0f, "
	       "\"ended_per_s\": %.0f, \"logged_per_s\": %.0f, \"core_percent\": %.2f, \"resident_kib\": %ld, \"lost\": %llu, "
	       "\"evicted\": %llu, \"false_alarms\": %u, ",
	       (tap_packets() - packets) / took, after.open, number_in("/proc/sys/net/netfilter/nf_conntrack_count"),
	       (double)(after.began - before.began) / took, (double)(after.ended - before.ended) / took,
	       (double)(logged.packets - logged_before.packets) / took, 100 * spent, memory_kib(),
	       (unsigned long long)after.lost + logged.lost, (unsigned long long)after.evicted, b->alarms);
}

static pid_t begin_scan(struct bench *b)
{
	lab_enter(&b->world->lab, LAB_GUEST1);
	pid_t scanner = apart();
	if (scanner == 0)
		scan();
	b->scan_us = clock_monotonic_us();
	lab_enter(&b->world->lab, LAB_HOST);
	return scanner;
}

int main(int argc, char **argv)
{
	struct bench b = {0};
	unsigned rate = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 1000;
	unsigned seconds = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 60;
	struct rlimit many = {16384, 16384};
	if (getuid() != 0 || argc < 2) {
		fprintf(stderr, "usage (as root): bench-net-wire KOBOSHI-NET-TEST [CONNECTIONS-A-SECOND [SECONDS]]\n");
		return 2;
	}
	setrlimit(RLIMIT_NOFILE, &many);
	world_program = argv[1];
	world_setup((void **)&b.world);
	prepare(&b);
	pid_t server = apart();
	if (server == 0)
		answer_all(b.world->web[1]);
	lab_enter(&b.world->lab, LAB_CLIENT);
	lab_command("echo '1024 65535' > /proc/sys/net/ipv4/ip_local_port_range");
	pid_t client = apart();
	if (client == 0)
		ask_all(rate);
	lab_enter(&b.world->lab, LAB_HOST);
	printf("{");
	measure(&b, seconds);
	pid_t scanner = begin_scan(&b);
	for (int n = 0; n < 100 && (!b.reaching_us || !b.unusual_us); n++)
		turn(&b, 100);
	printf("\"scan_reaching_ms\": %.1f, \"scan_reaching\": \"%s\", \"scan_unusual_ms\": %.1f, \"scan_unusual\": \"%s\"}\n",
	       (double)b.reaching_us / 1e3, b.reaching, (double)b.unusual_us / 1e3, b.unusual);
	pid_t children[] = {server, client, scanner};
	for (size_t i = 0; i < countof(children); i++) {
		kill(children[i], SIGKILL);
		waitpid(children[i], NULL, 0);
	}
	sense_wire_free(b.wire);
	sense_flows_free(b.flows);
	uv_run(b.loop, UV_RUN_NOWAIT);
	b.world->lab.log = b.world->lab.flows = -1;
	return world_teardown((void **)&b.world);
}
