/*
 * koboshi-net: the only process that may change the network. Started by the supervisor with a link on descriptor 3,
 * which brings links to the engine; orders come over the newest of those, one after the other. It holds no state: what
 * it knows is in the kernel, so it may be killed at any time, and traffic does not notice.
 */
#include "act/net/net.h"
#include "act/net/state.h"
#include "lib/bytes.h"
#include "lib/log.h"
#include "wire/link.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <malloc.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#define LOG_RETRY_MS 20
#define TROUBLE_MS 1000 /* for the link that the supervisor sends at once */

static int engine = -1;

static void fds_close(const int *fds, size_t n_fds)
{
	for (size_t i = 0; i < n_fds; i++)
		close(fds[i]);
}

static void engine_drop(const char *why)
{
	log_notice("net.engine", "link to the engine ended: %s; everything stays as it is", why);
	close(engine);
	engine = -1;
}

static void engine_tell(enum wire_notice what, uint32_t service, const char *text, const int *fds, size_t n_fds)
{
	struct err err = {0};
	struct wire_message message = {.kind = WIRE_NOTICE};
	message.note.type = what;
	message.note.service = service;
	message.note.time_us = clock_monotonic_us();
	text_copy(message.note.text, sizeof(message.note.text), text);
	if (wire_send(engine, &message, fds, n_fds, &err) < 0)
		engine_drop(err.text);
}

static void profiles_tell(const struct net *net)
{
	char text[WIRE_TEXT_MAX];
	for (uint32_t i = 0; i < net->conf.n_services && engine >= 0; i++) {
		if (!net->conf.services[i].profile[0])
			continue;
		profile_problem(net, i, text);
		engine_tell(NOTICE_PROFILE, i, text, NULL, 0);
	}
}

static void engine_ready(struct net *net)
{
	struct err err = {0};
	bool watched = flow_events_open(net, &err) == 0;
	if (!watched)
		log_warning("net.flows", "%s: flows are not watched", err.text);
	int fds[] = {mnl_socket_get_fd(net->log.socket), net->flow_events};
	engine_tell(NOTICE_READY, 0, watched ? "rules are loaded" : err.text, fds, watched ? 2 : 1);
	if (engine >= 0)
		engine_tell(NOTICE_RESCUE, 0, net->rescue.problem, NULL, 0);
	profiles_tell(net);
}

/* Ends all the same; but whoever looks at the status shall read why. */
static void trouble_tell(const char *text)
{
	struct pollfd supervisor = {.fd = WIRE_SUPERVISOR_FD, .events = POLLIN};
	struct wire_message message;
	int fds[WIRE_FDS_MAX];
	size_t n_fds = 0;
	if (poll(&supervisor, 1, TROUBLE_MS) != 1 || wire_receive(WIRE_SUPERVISOR_FD, &message, fds, &n_fds, NULL) != 1 ||
	    message.kind != WIRE_LINK || n_fds != 1)
		return;
	engine = fds[0];
	engine_tell(NOTICE_TROUBLE, 0, text, NULL, 0);
}

/* Returns 0, or 1 at the end of the supervisor. */
static int from_supervisor(struct net *net)
{
	struct wire_message message;
	struct err err = {0};
	int fds[WIRE_FDS_MAX];
	size_t n_fds = 0;
	int r = wire_receive(WIRE_SUPERVISOR_FD, &message, fds, &n_fds, &err);
	if (r < 0) {
		log_notice("net.supervisor", "%s: ending, the network stays as it is", err.text);
		return 1;
	}
	if (r == 0)
		return 0;
	if (message.kind != WIRE_LINK || message.link.role != WIRE_ENGINE || n_fds != 1) {
		log_warning("net.supervisor", "a message that is no link to the engine, ignored");
		fds_close(fds, n_fds);
		return 0;
	}
	if (engine >= 0)
		close(engine);
	engine = fds[0];
	fcntl(engine, F_SETFL, O_NONBLOCK);
	engine_ready(net);
	return 0;
}

static void answer_log(const struct wire_order *order, const struct wire_answer *answer)
{
	if (answer->status < 0)
		log_warning("net.order", "%s failed: %s", order_type_name(order->type), answer->text);
	else if (order->type != ORDER_NET_OBSERVE)
		log_info("net.order", "%s: %s (%u us)", order_type_name(order->type), answer->text, answer->took_us);
}

static void from_engine(struct net *net)
{
	static struct wire_message message, reply;
	struct err err = {0};
	int fds[WIRE_FDS_MAX];
	size_t n_fds = 0;
	int r = wire_receive(engine, &message, fds, &n_fds, &err);
	if (r < 0)
		engine_drop(err.text);
	if (r <= 0)
		return;
	fds_close(fds, n_fds);
	if (message.kind != WIRE_ORDER || order_role((enum order_type)message.order.type) != WIRE_NET) {
		engine_drop("it sent what is no order for the net actuator");
		return;
	}
	reply = (struct wire_message){.kind = WIRE_ANSWER};
	order_do(net, &message.order, &reply.answer);
	if (wire_send(engine, &reply, NULL, 0, &err) < 0)
		engine_drop(err.text);
	if (reply.answer.status == 0)
		guard_ordered(&net->guard, &message.order);
	answer_log(&message.order, &reply.answer);
	malloc_trim(0);
}

static void log_bind(struct net *net)
{
	static bool told;
	struct err err = {0};
	int r = nflog_bind(&net->log, &err);
	if (r == 1)
		log_info("net.nflog", "NFLOG group %d is bound", NET_LOG_GROUP);
	else if (!told)
		log_warning("net.nflog", "%s", r < 0 ? err.text : "another program still reads our NFLOG group; trying again");
	told = r != 1;
}

/* An order that is under way meanwhile finds the kernel as somebody else left it and fails, or is part of what is put back. */
static void guard(struct net *net)
{
	struct err err = {0};
	char text[WIRE_TEXT_MAX];
	int r = guard_look(net, text, sizeof(text), &err);
	if (r == 0)
		return;
	log_warning("net.meddled", "%s", r < 0 ? err.text : text);
	if (engine >= 0)
		engine_tell(NOTICE_MEDDLED, 0, r < 0 ? err.text : text, NULL, 0);
	profiles_tell(net); /* a profile that only the kernel still had is gone with the rules */
}

static int patience_ms(const struct net *net)
{
	const int each_ms[] = {guard_patience_ms(&net->guard), names_patience_ms(&net->names, clock_monotonic_us()),
	                       rescue_patience_ms(&net->rescue), net->log.bound ? -1 : LOG_RETRY_MS};
	int least_ms = -1;
	for (size_t i = 0; i < countof(each_ms); i++)
		if (each_ms[i] >= 0 && (least_ms < 0 || each_ms[i] < least_ms))
			least_ms = each_ms[i];
	return least_ms;
}

static int serve(struct net *net, struct err *err)
{
	for (;;) {
		struct pollfd watched[] = {{.fd = WIRE_SUPERVISOR_FD, .events = POLLIN},
		                           {.fd = engine, .events = POLLIN},
		                           {.fd = mnl_socket_get_fd(net->guard.rules), .events = POLLIN},
		                           {.fd = mnl_socket_get_fd(net->guard.host), .events = POLLIN},
		                           {.fd = net->names.fd, .events = POLLIN},
		                           {.fd = rescue_fd(&net->rescue), .events = POLLIN}};
		int n = poll(watched, countof(watched), patience_ms(net));
		if (n < 0 && errno != EINTR)
			return err_set(err, -errno, "cannot wait: %s", strerror(errno));
		if (!net->log.bound)
			log_bind(net);
		guard(net);
		if (n > 0 && watched[1].revents && watched[1].fd == engine) /* a guest may just have fallen */
			from_engine(net);
		rescue_turn(net);
		if (names_turn(net, clock_monotonic_us()))
			profiles_tell(net);
		if (n > 0 && watched[0].revents && from_supervisor(net) == 1)
			return 0;
	}
}

/* Before the first rules a taken port is a mistake in the configuration. A service that is being steered is not given up for a
 * program that came later: it gets none of the service's packets. */
static int ports_free(struct net *net, struct err *err)
{
	int r = check_ports(&net->conf, err);
	if (r == 0 || !state_base(net).loaded)
		return r;
	log_warning("net.port", "%s", err->text);
	return 0;
}

static int run(struct net *net, struct err *err)
{
	int r = check_host(&net->conf, err);
	if (r == 0)
		r = ports_free(net, err);
	evidence_open(net);
	net->brief = r == 0 && check_brief();
	if (r == 0) {
		rescue_open(net);
		r = privilege_drop(&net->conf, err);
	}
	if (r == 0) {
		profile_load(net);
		r = names_open(net, err);
	}
	if (r == 0)
		r = guard_open(net, err);
	if (r == 0)
		r = host_up(net, err);
	if (r == 0)
		r = guard_begin(net, err);
	if (r == 0)
		r = nflog_open(&net->log, NET_LOG_GROUP, err);
	if (r < 0)
		return r;
	malloc_trim(0);
	return serve(net, err);
}

static int usage(FILE *out, int status)
{
	fputs("usage: koboshi-net --config FILE [--check | --down]\n"
	      "  --check  say what is missing on this host, change nothing\n"
	      "  --down   take away everything of ours: tables, taps, service addresses\n"
	      "Without either it serves the supervisor on descriptor 3.\n",
	      out);
	return status;
}

enum mode { MODE_SERVE, MODE_CHECK, MODE_DOWN };

static int carry_out(const char *config, enum mode mode, struct err *err)
{
	static struct net net;
	int r = conf_load(config, &net.conf, err);
	if (r == 0)
		r = net_open(&net, err);
	if (r == 0 && mode == MODE_CHECK) {
		r = check_host(&net.conf, err);
		if (r == 0)
			r = check_ports(&net.conf, err);
	} else if (r == 0 && mode == MODE_DOWN)
		r = host_down(&net, err);
	else if (r == 0)
		r = run(&net, err);
	if (r < 0 && mode == MODE_SERVE)
		trouble_tell(err->text);
	return r; /* sockets end with us, which is quicker than closing them */
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"config", required_argument, NULL, 'c'},
	                                        {"check", no_argument, NULL, 'k'},
	                                        {"down", no_argument, NULL, 'd'},
	                                        {"help", no_argument, NULL, 'h'},
	                                        {NULL, 0, NULL, 0}};
	const char *config = NULL;
	enum mode mode = MODE_SERVE;
	decoy_adopt();
	log_init("koboshi-net", LOG_LEVEL_INFO);
	for (int option; (option = getopt_long(argc, argv, "", options, NULL)) >= 0;) {
		if (option == 'c')
			config = optarg;
		else if (option == 'k' || option == 'd')
			mode = option == 'k' ? MODE_CHECK : MODE_DOWN;
		else
			return usage(option == 'h' ? stdout : stderr, option == 'h' ? 0 : 2);
	}
	if (!config || optind < argc)
		return usage(stderr, 2);
	struct err err = {0};
	if (carry_out(config, mode, &err) == 0)
		return 0;
	log_error("net.failed", "%s", err.text);
	return 1;
}
