/*
 * What a probe of a service that speaks no HTTP says, by TCP or UDP: bytes of the configuration, if any, and the answer must
 * begin with others. Another answer counts as a miss and no more: a server that is busy may say so, and nothing signed tells what
 * its words should be. By TCP without any such bytes the connection is all there is, and a kernel completes those for a server
 * that hangs too; by UDP the answer is one datagram.
 *
 * The wait after a connection's close is ours: ten probes a second leave some 600 of the kernel's small closing entries, spread
 * over as many ports of one destination.
 */
#include "sense/prober.h"

#include <stdio.h>

struct plain_prober {
	struct sense_prober prober; /* first */
	size_t right[PROBER_SLOTS]; /* bytes of each slot's answer that were as expected */
	char detail[80];
};

static struct plain_prober *plain_of(struct sense_prober *p)
{
	return (struct plain_prober *)p;
}

static void plain_begin(struct sense_prober *p, struct prober_slot *slot, enum sense_probe wanted unused_arg)
{
	const struct conf_probe *probe = &p->target.probe;
	slot->request = (const char *)probe->send.bytes;
	slot->request_size = probe->send.size;
	slot->connecting_is_all = probe->expect.size == 0;
	plain_of(p)->right[slot->number] = 0;
}

static bool judged(struct prober_result *ret_result, enum finding finding, const char *detail)
{
	*ret_result = (struct prober_result){.finding = finding, .detail = detail, .then = PROBER_CLOSE};
	return true;
}

static bool plain_heard(struct sense_prober *p, struct prober_slot *slot, const uint8_t *bytes, size_t size,
                        struct prober_result *ret_result)
{
	struct plain_prober *plain = plain_of(p);
	const struct conf_bytes *expect = &p->target.probe.expect;
	size_t *right = &plain->right[slot->number];
	for (size_t i = 0; i < size && *right < expect->size; i++) {
		if (bytes[i] != expect->bytes[*right]) {
			snprintf(plain->detail, sizeof(plain->detail), "byte %zu of its answer is not as expected", *right + 1);
			return judged(ret_result, FINDING_ERROR, plain->detail);
		}
		(*right)++;
	}
	if (*right == expect->size)
		return judged(ret_result, p->target.content_proves ? FINDING_PROVEN : FINDING_GOOD, "");
	bool ended = size == 0 || p->target.probe.protocol == CONF_PROBE_UDP;
	return ended && judged(ret_result, FINDING_ERROR, "its answer ended before it was whole");
}

static const struct prober_kind plain_kind = {.begin = plain_begin, .heard = plain_heard};

struct sense_prober *plain_prober_new(uv_loop_t *loop, const struct sense_target *target, sense_report *report, void *arg)
{
	struct plain_prober *plain = calloc(1, sizeof(*plain));
	if (!plain)
		abort();
	prober_start(&plain->prober, loop, &plain_kind, target, report, arg);
	return &plain->prober;
}
