/*
 * What a probe of a service that speaks no HTTP says: bytes of the configuration, if any, and the answer must begin with others.
 * Another answer counts as a miss and no more: a server that is busy may say so, and nothing signed tells what its words should
 * be. Without any such bytes the connection is all there is, and a kernel completes those for a server that hangs too.
 *
 * The wait after the close is ours: ten probes a second leave some 600 of the kernel's small closing entries, spread over as many
 * ports of one destination.
 */
#include "sense/prober.h"

#include <stdio.h>

struct tcp_prober {
	struct sense_prober prober; /* first */
	size_t right[PROBER_SLOTS]; /* bytes of each slot's answer that were as expected */
	char detail[80];
};

static struct tcp_prober *tcp_of(struct sense_prober *p)
{
	return (struct tcp_prober *)p;
}

static void tcp_begin(struct sense_prober *p, struct prober_slot *slot, enum sense_probe wanted unused_arg)
{
	const struct conf_probe *probe = &p->target.probe;
	slot->request = (const char *)probe->send.bytes;
	slot->request_size = probe->send.size;
	slot->connecting_is_all = probe->expect.size == 0;
	tcp_of(p)->right[slot->number] = 0;
}

static bool judged(struct prober_result *ret_result, enum finding finding, const char *detail)
{
	*ret_result = (struct prober_result){.finding = finding, .detail = detail, .then = PROBER_CLOSE};
	return true;
}

static bool tcp_heard(struct sense_prober *p, struct prober_slot *slot, const uint8_t *bytes, size_t size,
                      struct prober_result *ret_result)
{
	struct tcp_prober *tcp = tcp_of(p);
	const struct conf_bytes *expect = &p->target.probe.expect;
	size_t *right = &tcp->right[slot->number];
	for (size_t i = 0; i < size && *right < expect->size; i++) {
		if (bytes[i] != expect->bytes[*right]) {
			snprintf(tcp->detail, sizeof(tcp->detail), "byte %zu of its answer is not as expected", *right + 1);
			return judged(ret_result, FINDING_ERROR, tcp->detail);
		}
		(*right)++;
	}
	if (*right == expect->size)
		return judged(ret_result, p->target.content_proves ? FINDING_PROVEN : FINDING_GOOD, "");
	return size == 0 && judged(ret_result, FINDING_ERROR, "it closed the connection before its answer was whole");
}

static const struct prober_kind tcp_kind = {.begin = tcp_begin, .heard = tcp_heard};

struct sense_prober *tcp_prober_new(uv_loop_t *loop, const struct sense_target *target, sense_report *report, void *arg)
{
	struct tcp_prober *tcp = calloc(1, sizeof(*tcp));
	if (!tcp)
		abort();
	prober_start(&tcp->prober, loop, &tcp_kind, target, report, arg);
	return &tcp->prober;
}
