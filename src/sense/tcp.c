/*
 * A probe that connects and closes: all that can be known of a service that speaks no HTTP. A kernel completes handshakes for a
 * server that hangs, so a good finding here says less than one of http.c. The wait after the close is ours: ten probes a
 * second leave some 600 of the kernel's small closing entries, spread over as many ports of one destination.
 */
#include "sense/prober.h"

struct sense_tcp {
	struct prober prober; /* first */
};

static void tcp_begin(struct prober *p unused_arg, struct prober_slot *slot, enum sense_probe wanted unused_arg)
{
	slot->request_size = 0;
}

static bool tcp_heard(struct prober *p unused_arg, struct prober_slot *slot unused_arg, const uint8_t *bytes unused_arg,
                      size_t size unused_arg, struct prober_result *ret_result)
{
	*ret_result = (struct prober_result){.finding = FINDING_GOOD, .detail = "", .then = PROBER_CLOSE};
	return true;
}

static const struct prober_kind tcp_kind = {.begin = tcp_begin, .heard = tcp_heard};

struct sense_tcp *sense_tcp_new(uv_loop_t *loop, const struct sense_target *target, sense_report *report, void *arg)
{
	struct sense_tcp *tcp = calloc(1, sizeof(*tcp));
	if (!tcp)
		abort();
	prober_start(&tcp->prober, loop, &tcp_kind, target, report, arg);
	return tcp;
}

void sense_tcp_retarget(struct sense_tcp *tcp, const struct sense_target *target)
{
	prober_retarget(&tcp->prober, target);
}

void sense_tcp_ask(struct sense_tcp *tcp)
{
	prober_ask(&tcp->prober, SENSE_PROBE_ANY);
}

void sense_tcp_free(struct sense_tcp *tcp)
{
	prober_free(tcp ? &tcp->prober : NULL);
}
