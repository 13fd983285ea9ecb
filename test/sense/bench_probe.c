/*
 * What a probe costs this process: CPU time of 1000 of them against a server in a child, beside the floor: the same number of
 * naps, connections and requests with nothing around them. Not a test: run it by hand.
 */
#include "sense/sense.h"

#include "lib/bytes.h"
#include "server.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define PROBES 1000

static unsigned n_good, n_other;

static void on_report(void *arg, const struct evidence *evidence, const char *detail)
{
	if (evidence->finding != FINDING_GOOD && n_other++ < 5)
		fprintf(stderr, "%s %s\n", finding_name(evidence->finding), detail);
	if (++n_good == PROBES)
		uv_stop(arg);
}

static int64_t spent_us(void)
{
	struct rusage usage;
	getrusage(RUSAGE_SELF, &usage);
	return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 + usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
}

/* Wakes up for the start, the connection and the answer, as the prober does on a new connection. */
static void ask_plainly(int port)
{
	static const char request[] = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
	struct sockaddr_in address = {
	        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port)};
	char answer[4096];
	usleep(2000);
	auto_close int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || send(fd, request, sizeof(request) - 1, 0) < 0 ||
	    recv(fd, answer, sizeof(answer), 0) < 0)
		abort();
}

static void serve(int pipe)
{
	uv_loop_t loop;
	static struct server server;
	uv_loop_init(&loop);
	server_start(&server, &loop, false);
	if (write(pipe, &server.port, sizeof(server.port)) == sizeof(server.port))
		uv_run(&loop, UV_RUN_DEFAULT); /* until killed */
}

int main(void)
{
	int ends[2], port = 0;
	if (pipe(ends) < 0)
		return 1;
	pid_t child = fork();
	if (child == 0) {
		serve(ends[1]);
		_exit(1);
	}
	if (read(ends[0], &port, sizeof(port)) != sizeof(port))
		return 1;
	uv_loop_t loop;
	struct sense_target target = {.instance = 1, .vantage = VANTAGE_GUEST, .n_content = 1, .clock_slack_ms = 2000};
	target.address.address4.s_addr = htonl(INADDR_LOOPBACK);
	target.probe = (struct conf_probe){.interval_ms = 2,
	                                   .timeout_ms = 1000,
	                                   .port = (uint16_t)port,
	                                   .body_max = 65536,
	                                   .challenge = true,
	                                   .challenge_ms = 20};
	text_copy(target.probe.challenge_path, CONF_PATH_MAX, "/api/challenge");
	text_copy(target.content[0].path, CONF_PATH_MAX, "/");
	server_page_hash(target.content[0].sha256);
	memset(target.key, 0x42, sizeof(target.key));
	uv_loop_init(&loop);
	int64_t floor_us = spent_us();
	for (int i = 0; i < PROBES; i++)
		ask_plainly(port);
	floor_us = spent_us() - floor_us;
	int64_t before_us = spent_us();
	sense_prober_new(&loop, &target, on_report, &loop);
	uv_run(&loop, UV_RUN_DEFAULT);
	printf("%u probes, %u not good, %.1f us CPU each; floor %.1f\n", n_good, n_other,
	       (double)(spent_us() - before_us) / PROBES, (double)floor_us / PROBES);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	return 0;
}
