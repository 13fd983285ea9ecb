/* A table of messages: each row starts from a good one, breaks one thing, and says what the decoder must answer. */
#include "wire/order.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct wire_message good(enum wire_kind kind)
{
	struct wire_message m = {.kind = kind};
	switch (kind) {
	case WIRE_ORDER:
		m.order = (struct wire_order){.id = 7, .type = ORDER_NET_GATE, .instance = 3, .gate = WIRE_GATE_OPEN};
		break;
	case WIRE_ANSWER:
		m.answer = (struct wire_answer){.id = 7, .status = -ENOENT, .text = "no such guest", .n_observed = 2};
		m.answer.observed[0] = (struct wire_observed_instance){.instance = 3, .guest = WIRE_GUEST_PAUSED};
		m.answer.observed[1] = (struct wire_observed_instance){
		        .instance = 4, .service = UINT32_MAX, .variant = UINT32_MAX, .gate = WIRE_GATE_FENCED};
		break;
	case WIRE_NOTICE:
		m.note = (struct wire_note){.time_us = 5, .type = NOTICE_GUEST_GONE, .instance = 3, .text = "shut down"};
		break;
	case WIRE_LINK:
		m.link = (struct wire_link){.role = WIRE_VM};
		break;
	case WIRE_PROGRESS:
		m.progress = (struct wire_progress){.beats = 9};
		break;
	case WIRE_REPLACE:
		m.replace = (struct wire_replace){.role = WIRE_VM};
		break;
	case WIRE_KIND_MAX_:
	default:
		break;
	}
	return m;
}

struct row {
	const char *name;
	enum wire_kind kind;
	void (*change)(struct wire_message *m);
	const char *wrong; /* a part of the sentence; NULL: decodes */
};

static void contained(struct wire_message *m)
{
	m->order = (struct wire_order){.id = 1, .type = ORDER_NET_CONTAIN, .flag = 1};
	m->order.contain = (struct wire_contain){.number = 7, .address = {198, 51, 100}, .prefix = 24};
}

static void taken(struct wire_message *m)
{
	m->note = (struct wire_note){.time_us = 5, .type = NOTICE_EVIDENCE_TAKEN, .instance = 3, .text = "kb-3.console.log"};
	m->note.evidence = (struct wire_evidence){.incident = 7, .bytes = 1 << 20, .sha256 = {[31] = 9}};
}

static void dropped(struct wire_message *m)
{
	m->note = (struct wire_note){.time_us = 5, .type = NOTICE_EVIDENCE_DROPPED, .evidence.incident = 7};
}

static const struct wire_contain one_flow = {.number = 7,
                                             .kind = WIRE_CONTAIN_FLOW,
                                             .address = {198, 51, 100, 7},
                                             .to = {203, 0, 113, 10},
                                             .prefix = 32,
                                             .protocol = IPPROTO_TCP,
                                             .port = 40312,
                                             .to_port = 80};
static const struct wire_contain one_port = {.number = 7, .kind = WIRE_CONTAIN_PORT, .protocol = IPPROTO_UDP, .to_port = 53};
static const struct wire_contain one_limit = {
        .number = 7, .kind = WIRE_CONTAIN_LIMIT, .address = {198, 51, 100}, .prefix = 24, .rate = 20, .per_s = 1};

static void contained_as(struct wire_message *m, const struct wire_contain *what)
{
	contained(m);
	m->order.contain = *what;
}

/* One function per row, named after its line. */
#define CHANGE(name, ...)                                                                                                        \
	static void name(struct wire_message *m)                                                                                 \
	{                                                                                                                        \
		__VA_ARGS__;                                                                                                     \
	}

CHANGE(nothing, (void)m)
CHANGE(version, m->version = 2)
CHANGE(kind_zero, m->kind = 0)
CHANGE(kind_beyond, m->kind = WIRE_KIND_MAX_)
CHANGE(kind_other, m->kind = WIRE_NOTICE)
CHANGE(size_says_less, m->size--)
CHANGE(order_no_id, m->order.id = 0)
CHANGE(order_type_zero, m->order.type = 0)
CHANGE(order_type_beyond, m->order.type = ORDER_TYPE_MAX_)
CHANGE(order_service, m->order.service = WIRE_SERVICES_MAX)
CHANGE(order_variant, m->order.variant = WIRE_VARIANTS_MAX)
CHANGE(order_gate, m->order.gate = WIRE_GATE_MAX_)
CHANGE(order_gate_none, m->order.gate = WIRE_GATE_NONE)
CHANGE(order_flag, m->order.flag = 2)
CHANGE(order_zero, m->order.zero = 1)
CHANGE(order_no_instance, m->order.instance = 0)
CHANGE(order_victim, m->order.victim = 9)
CHANGE(steer, m->order.type = ORDER_NET_STEER; m->order.gate = 0; m->order.victim = 9)
CHANGE(steer_nowhere, m->order.type = ORDER_NET_STEER; m->order.gate = 0; m->order.instance = 0)
CHANGE(steer_itself, m->order.type = ORDER_NET_STEER; m->order.victim = m->order.instance)
CHANGE(evidence, m->order.type = ORDER_VM_EVIDENCE; m->order.incident = 1)
CHANGE(evidence_no_incident, m->order.type = ORDER_VM_EVIDENCE)
CHANGE(flows_no_incident, m->order.type = ORDER_NET_FLOWS)
CHANGE(channel, m->order.type = ORDER_VM_CHANNEL)
CHANGE(reset, m->order.type = ORDER_VM_RESET)
CHANGE(reset_no_instance, m->order.type = ORDER_VM_RESET; m->order.instance = 0)
CHANGE(cap_no_instance, m->order.type = ORDER_VM_CAP; m->order.instance = 0)
CHANGE(channel_no_instance, m->order.type = ORDER_VM_CHANNEL; m->order.instance = 0)
CHANGE(observe, m->order = (struct wire_order){.id = 1, .type = ORDER_VM_OBSERVE})
CHANGE(source_beside, m->order.contain.number = 1)
CHANGE(contain, contained(m))
CHANGE(contain_six, contained(m); m->order.contain.v6 = 1; m->order.contain.prefix = 128; m->order.contain.address[15] = 1)
CHANGE(contain_no_number, contained(m); m->order.contain.number = 0)
CHANGE(contain_kind, contained(m); m->order.contain.v6 = 2)
CHANGE(contain_prefix, contained(m); m->order.contain.prefix = 33)
CHANGE(contain_behind, contained(m); m->order.contain.address[3] = 1)
CHANGE(contain_four_is_longer, contained(m); m->order.contain.address[4] = 1)
CHANGE(contain_far_kind, contained(m); m->order.contain.kind = WIRE_CONTAIN_MAX_)
CHANGE(contain_spare, contained(m); m->order.contain.zero = 1)
CHANGE(contain_source_rate, contained(m); m->order.contain.rate = 1)
CHANGE(contain_source_to, contained(m); m->order.contain.to[15] = 1)
CHANGE(flow, contained_as(m, &one_flow))
CHANGE(flow_six, contained_as(m, &one_flow); m->order.contain.v6 = 1; m->order.contain.prefix = 128; m->order.contain.to[15] = 1)
CHANGE(flow_network, contained_as(m, &one_flow); m->order.contain.prefix = 31; m->order.contain.address[3] = 6)
CHANGE(flow_to_long, contained_as(m, &one_flow); m->order.contain.to[4] = 1)
CHANGE(flow_protocol, contained_as(m, &one_flow); m->order.contain.protocol = IPPROTO_ICMP)
CHANGE(flow_no_port, contained_as(m, &one_flow); m->order.contain.port = 0)
CHANGE(flow_far_port, contained_as(m, &one_flow); m->order.contain.to_port = 65536)
CHANGE(flow_service, contained_as(m, &one_flow); m->order.contain.service = 1)
CHANGE(port, contained_as(m, &one_port))
CHANGE(port_last_service, contained_as(m, &one_port); m->order.contain.service = WIRE_SERVICES_MAX)
CHANGE(port_far_service, contained_as(m, &one_port); m->order.contain.service = WIRE_SERVICES_MAX + 1)
CHANGE(port_zero, contained_as(m, &one_port); m->order.contain.to_port = 0)
CHANGE(port_source, contained_as(m, &one_port); m->order.contain.prefix = 8)
CHANGE(limit, contained_as(m, &one_limit))
CHANGE(limit_hour, contained_as(m, &one_limit); m->order.contain.rate = WIRE_RATE_MAX; m->order.contain.per_s = 3600)
CHANGE(limit_none, contained_as(m, &one_limit); m->order.contain.rate = 0)
CHANGE(limit_much, contained_as(m, &one_limit); m->order.contain.rate = WIRE_RATE_MAX + 1)
CHANGE(limit_unit, contained_as(m, &one_limit); m->order.contain.per_s = 2)
CHANGE(limit_behind, contained_as(m, &one_limit); m->order.contain.address[3] = 1)
CHANGE(limit_port, contained_as(m, &one_limit); m->order.contain.to_port = 80)
CHANGE(answer_no_id, m->answer.id = 0)
CHANGE(answer_positive, m->answer.status = 1)
static void snapshot(struct wire_message *m)
{
	m->note = (struct wire_note){.time_us = 5, .type = NOTICE_SNAPSHOT, .service = 1};
	m->note.snapshot = (struct wire_snapshot){.number = 7, .begun_us = 1, .ended_us = 2, .bytes = 9, .files = 3, .state = 1};
}

static void put_aside(struct wire_message *m)
{
	m->note = (struct wire_note){.time_us = 5, .type = NOTICE_CHANGE, .service = 1, .text = "a/b"};
	m->note.change = (struct wire_change){.number = 7, .incident = 9, .bytes = 2, .kind = WIRE_CHANGE_RETURNED};
}

static void back_to(struct wire_message *m)
{
	m->order = (struct wire_order){.id = 1, .type = ORDER_VAULT_ROLLBACK, .incident = 3, .before_us = 1};
}

CHANGE(snapshot_plain, snapshot(m))
CHANGE(snapshot_zero, snapshot(m); m->note.snapshot.number = 0)
CHANGE(snapshot_backwards, snapshot(m); m->note.snapshot.ended_us = 0)
CHANGE(snapshot_odd, snapshot(m); m->note.snapshot.state = WIRE_SNAPSHOT_MAX_)
CHANGE(change_plain, put_aside(m))
CHANGE(change_zero, put_aside(m); m->note.change.number = 0)
CHANGE(change_odd, put_aside(m); m->note.change.kind = WIRE_CHANGE_MAX_)
CHANGE(change_spare, put_aside(m); m->note.change.zero = 1)
CHANGE(change_of_nothing, put_aside(m); memset(m->note.text, 0, sizeof(m->note.text)))
CHANGE(vault_plain, m->note = ((struct wire_note){.type = NOTICE_VAULT, .service = 3, .text = "it is locked"}))
CHANGE(back_plain, back_to(m))
CHANGE(back_timeless, back_to(m); m->order.before_us = 0)
CHANGE(back_numbered, back_to(m); m->order.number = 1)
CHANGE(back_nowhere, back_to(m); m->order.incident = 0)
CHANGE(restore_plain, m->order = ((struct wire_order){.id = 1, .type = ORDER_VAULT_RESTORE, .number = 4}))
CHANGE(restore_nothing, m->order = ((struct wire_order){.id = 1, .type = ORDER_VAULT_RESTORE}))
CHANGE(timed, m->order.before_us = 1)
CHANGE(answer_too_negative, m->answer.status = INT32_MIN)
CHANGE(answer_text_endless, memset(m->answer.text, 'a', WIRE_TEXT_MAX))
CHANGE(answer_text_full, memset(m->answer.text, 'a', WIRE_TEXT_MAX - 1))
CHANGE(answer_text_hidden, m->answer.text[WIRE_TEXT_MAX - 1] = 'x'; m->answer.text[0] = '\0')
CHANGE(answer_many, m->answer.n_observed = WIRE_INSTANCES_MAX + 1)
CHANGE(answer_huge, m->answer.n_observed = UINT32_MAX)
CHANGE(answer_hidden_row, m->answer.n_observed = 1)
CHANGE(answer_no_instance, m->answer.observed[1].instance = 0)
CHANGE(answer_twice, m->answer.observed[1].instance = 3)
CHANGE(answer_guest, m->answer.observed[0].guest = WIRE_GUEST_MAX_)
CHANGE(answer_outdated, m->answer.observed[0].outdated = 2)
CHANGE(answer_revoked, m->answer.observed[0].revoked = 2)
CHANGE(answer_gate, m->answer.observed[0].gate = WIRE_GATE_MAX_)
CHANGE(answer_service, m->answer.observed[0].service = WIRE_SERVICES_MAX)
CHANGE(answer_variant, m->answer.observed[0].variant = UINT32_MAX - 1)
CHANGE(answer_zero, m->answer.zero = 1)
CHANGE(note_type_zero, m->note.type = 0)
CHANGE(note_type_beyond, m->note.type = NOTICE_MAX_)
CHANGE(note_restarted, m->note.type = NOTICE_LINK_RESTARTED)
CHANGE(note_no_instance, m->note.instance = 0)
CHANGE(note_trouble, m->note.type = NOTICE_TROUBLE; m->note.instance = 0)
CHANGE(note_meddled, m->note.type = NOTICE_MEDDLED; m->note.instance = 0)
CHANGE(note_usage, m->note.type = NOTICE_GUEST_USAGE; m->note.usage.cpu_us = 7; m->note.usage.written_bytes = 8)
CHANGE(note_tarpit, m->note.type = NOTICE_TARPIT; m->note.instance = 0; m->note.tarpit.held = 7)
CHANGE(note_tarpit_more, m->note.type = NOTICE_TARPIT; m->note.instance = 0; m->note.usage.written_bytes = 7)
CHANGE(note_usage_more, m->note.type = NOTICE_GUEST_USAGE; m->note.evidence.sha256[31] = 7)
CHANGE(note_usage_elsewhere, m->note.usage.received_packets = 1)
CHANGE(note_channel, m->note.type = NOTICE_GUEST_CHANNEL; m->note.key[31] = 7)
CHANGE(note_key_elsewhere, m->note.key[0] = 1)
CHANGE(note_channel_nobody, m->note.type = NOTICE_GUEST_CHANNEL; m->note.instance = 0)
CHANGE(note_file, m->note.type = NOTICE_FILE_BAD; m->note.instance = 0)
CHANGE(note_file_counts, m->note.type = NOTICE_FILE_COUNTS; m->note.instance = 0; m->note.files.folders = 7)
CHANGE(note_file_counts_elsewhere, m->note.type = NOTICE_FILE_BAD; m->note.files.folders = 7)
CHANGE(note_taken, taken(m))
CHANGE(note_taken_empty, taken(m); m->note.evidence.bytes = 0)
CHANGE(note_taken_nobody, taken(m); m->note.instance = 0)
CHANGE(note_taken_no_incident, taken(m); m->note.evidence.incident = 0)
CHANGE(note_taken_far, taken(m); m->note.evidence.incident = UINT64_MAX)
CHANGE(note_taken_huge, taken(m); m->note.evidence.bytes = 1ull << 63)
CHANGE(note_taken_no_name, taken(m); memset(m->note.text, 0, WIRE_TEXT_MAX))
CHANGE(note_taken_path, taken(m); m->note.text[4] = '/')
CHANGE(note_taken_above, taken(m); memset(m->note.text, 0, WIRE_TEXT_MAX); memcpy(m->note.text, "..", 2))
CHANGE(note_taken_long, taken(m); memset(m->note.text, 'a', WIRE_FILE_MAX))
CHANGE(note_taken_longest, taken(m); memset(m->note.text, 'a', WIRE_FILE_MAX - 1))
CHANGE(note_dropped, dropped(m))
CHANGE(note_dropped_no_incident, dropped(m); m->note.evidence.incident = 0)
CHANGE(note_dropped_bytes, dropped(m); m->note.evidence.bytes = 1)
CHANGE(note_dropped_sum, dropped(m); m->note.evidence.sha256[0] = 1)
CHANGE(note_dropped_name, dropped(m); m->note.text[0] = 'k')
CHANGE(note_dropped_somebody, dropped(m); m->note.instance = 3)
CHANGE(note_ready, m->note.type = NOTICE_READY; m->note.instance = 0; m->note.accelerator = 2)
CHANGE(note_time, m->note.time_us = -1)
CHANGE(note_accelerator, m->note.accelerator = 3)
CHANGE(note_text, memset(m->note.text, 'a', WIRE_TEXT_MAX))
CHANGE(note_service, m->note.service = 1)
CHANGE(note_profile, m->note.type = NOTICE_PROFILE; m->note.instance = 0; m->note.service = WIRE_SERVICES_MAX - 1)
CHANGE(note_rescue, m->note.type = NOTICE_RESCUE; m->note.instance = 0)
CHANGE(note_profile_far, m->note.type = NOTICE_PROFILE; m->note.service = WIRE_SERVICES_MAX)
CHANGE(link_role, m->link.role = WIRE_ROLE_MAX_)
CHANGE(link_zero, m->link.zero = 1)
CHANGE(replace_engine, m->replace.role = WIRE_ENGINE)
CHANGE(replace_supervisor, m->replace.role = WIRE_SUPERVISOR)
CHANGE(replace_beyond, m->replace.role = WIRE_ROLE_MAX_)
CHANGE(replace_zero, m->replace.zero = 1)

static const struct row rows[] = {
        {"order", WIRE_ORDER, nothing, NULL},
        {"answer", WIRE_ANSWER, nothing, NULL},
        {"notice", WIRE_NOTICE, nothing, NULL},
        {"link", WIRE_LINK, nothing, NULL},
        {"progress", WIRE_PROGRESS, nothing, NULL},
        {"replace", WIRE_REPLACE, nothing, NULL},
        {"replace the engine", WIRE_REPLACE, replace_engine, "no actuator"},
        {"replace the supervisor", WIRE_REPLACE, replace_supervisor, "no actuator"},
        {"replace nobody known", WIRE_REPLACE, replace_beyond, "no actuator"},
        {"replace spare", WIRE_REPLACE, replace_zero, "spare field"},
        {"other version", WIRE_ORDER, version, "speaks version 2"},
        {"kind 0", WIRE_ORDER, kind_zero, "unknown kind 0"},
        {"kind beyond", WIRE_ORDER, kind_beyond, "unknown kind"},
        {"an order that says notice", WIRE_ORDER, kind_other, "of kind 3"},
        {"size says less", WIRE_ORDER, size_says_less, "(says 159)"},
        {"order without id", WIRE_ORDER, order_no_id, "without id"},
        {"order type 0", WIRE_ORDER, order_type_zero, "order type"},
        {"order type beyond", WIRE_ORDER, order_type_beyond, "order type"},
        {"order service", WIRE_ORDER, order_service, "service out of range"},
        {"order variant", WIRE_ORDER, order_variant, "variant out of range"},
        {"order gate", WIRE_ORDER, order_gate, "unknown gate"},
        {"order names no gate", WIRE_ORDER, order_gate_none, "names no gate"},
        {"order flag", WIRE_ORDER, order_flag, "neither 0 nor 1"},
        {"order spare field", WIRE_ORDER, order_zero, "spare field"},
        {"order names no instance", WIRE_ORDER, order_no_instance, "names no instance"},
        {"victim of a gate order", WIRE_ORDER, order_victim, "takes none"},
        {"steer", WIRE_ORDER, steer, NULL},
        {"steer nowhere", WIRE_ORDER, steer_nowhere, NULL},
        {"steer to the victim", WIRE_ORDER, steer_itself, "its own victim"},
        {"evidence", WIRE_ORDER, evidence, NULL},
        {"evidence of no incident", WIRE_ORDER, evidence_no_incident, "names no incident"},
        {"flows of no incident", WIRE_ORDER, flows_no_incident, "names no incident"},
        {"channel", WIRE_ORDER, channel, NULL},
        {"reset", WIRE_ORDER, reset, NULL},
        {"reset of nobody", WIRE_ORDER, reset_no_instance, "names no instance"},
        {"cap of nobody", WIRE_ORDER, cap_no_instance, "names no instance"},
        {"channel of nobody", WIRE_ORDER, channel_no_instance, "names no instance"},
        {"observe", WIRE_ORDER, observe, NULL},
        {"source in another order", WIRE_ORDER, source_beside, "takes none"},
        {"contain", WIRE_ORDER, contain, NULL},
        {"contain a source of IPv6", WIRE_ORDER, contain_six, NULL},
        {"contain without number", WIRE_ORDER, contain_no_number, "without number"},
        {"contain a source of no kind", WIRE_ORDER, contain_kind, "no kind"},
        {"contain with a long prefix", WIRE_ORDER, contain_prefix, "no kind"},
        {"contain with bits behind", WIRE_ORDER, contain_behind, "behind its prefix"},
        {"contain an address that is too long", WIRE_ORDER, contain_four_is_longer, "behind its prefix"},
        {"contain what has no kind", WIRE_ORDER, contain_far_kind, "of no kind"},
        {"contain with a spare field", WIRE_ORDER, contain_spare, "its kind has not"},
        {"contain a source with a rate", WIRE_ORDER, contain_source_rate, "its kind has not"},
        {"contain a source with a service's address", WIRE_ORDER, contain_source_to, "its kind has not"},
        {"contain a flow", WIRE_ORDER, flow, NULL},
        {"contain a flow of IPv6", WIRE_ORDER, flow_six, NULL},
        {"contain a flow of a network", WIRE_ORDER, flow_network, "more than one client"},
        {"contain a flow to a long address", WIRE_ORDER, flow_to_long, "too long"},
        {"contain a flow of pings", WIRE_ORDER, flow_protocol, "neither TCP nor UDP"},
        {"contain a flow from port 0", WIRE_ORDER, flow_no_port, "port out of range"},
        {"contain a flow to port 65536", WIRE_ORDER, flow_far_port, "port out of range"},
        {"contain a flow with a service", WIRE_ORDER, flow_service, "its kind has not"},
        {"contain a port", WIRE_ORDER, port, NULL},
        {"contain a port of the last service", WIRE_ORDER, port_last_service, NULL},
        {"contain a port of no service", WIRE_ORDER, port_far_service, "service out of range"},
        {"contain port 0", WIRE_ORDER, port_zero, "port out of range"},
        {"contain a port with a prefix", WIRE_ORDER, port_source, "its kind has not"},
        {"contain by a limit", WIRE_ORDER, limit, NULL},
        {"contain by the highest limit", WIRE_ORDER, limit_hour, NULL},
        {"contain by a limit of nothing", WIRE_ORDER, limit_none, "rate out of range"},
        {"contain by too high a limit", WIRE_ORDER, limit_much, "rate out of range"},
        {"contain by a limit in two seconds", WIRE_ORDER, limit_unit, "no unit"},
        {"contain by a limit with bits behind", WIRE_ORDER, limit_behind, "behind its prefix"},
        {"contain by a limit with a port", WIRE_ORDER, limit_port, "its kind has not"},
        {"answer to nothing", WIRE_ANSWER, answer_no_id, "no order"},
        {"answer with status 1", WIRE_ANSWER, answer_positive, "no errno"},
        {"answer with the least status", WIRE_ANSWER, answer_too_negative, "no errno"},
        {"answer with endless text", WIRE_ANSWER, answer_text_endless, "without end"},
        {"answer with the longest text", WIRE_ANSWER, answer_text_full, NULL},
        {"answer that hides bytes behind its text", WIRE_ANSWER, answer_text_hidden, "without end"},
        {"answer with fewer bytes than rows", WIRE_ANSWER, answer_many, "bytes"},
        {"answer with 4 billion rows", WIRE_ANSWER, answer_huge, "bytes"},
        {"answer that hides a row", WIRE_ANSWER, answer_hidden_row, "bytes"},
        {"answer with row of no instance", WIRE_ANSWER, answer_no_instance, "without number"},
        {"answer with an instance twice", WIRE_ANSWER, answer_twice, "twice"},
        {"answer with a wrong guest", WIRE_ANSWER, answer_guest, "unknown state"},
        {"answer with a wrong gate", WIRE_ANSWER, answer_gate, "unknown state"},
        {"answer that is too outdated", WIRE_ANSWER, answer_outdated, "more than outdated"},
        {"answer that is too revoked", WIRE_ANSWER, answer_revoked, "more than revoked"},
        {"answer with a wrong service", WIRE_ANSWER, answer_service, "out of range"},
        {"answer with a wrong variant", WIRE_ANSWER, answer_variant, "out of range"},
        {"answer with a spare field", WIRE_ANSWER, answer_zero, "spare field"},
        {"notice type 0", WIRE_NOTICE, note_type_zero, "unknown notice"},
        {"notice type beyond", WIRE_NOTICE, note_type_beyond, "unknown notice"},
        {"notice that only the engine makes", WIRE_NOTICE, note_restarted, "unknown notice"},
        {"notice about nobody", WIRE_NOTICE, note_no_instance, "no instance"},
        {"notice ready", WIRE_NOTICE, note_ready, NULL},
        {"notice of trouble", WIRE_NOTICE, note_trouble, NULL},
        {"notice of somebody else's hand", WIRE_NOTICE, note_meddled, NULL},
        {"notice of a guest's usage", WIRE_NOTICE, note_usage, NULL},
        {"connections in the tarpit", WIRE_NOTICE, note_tarpit, NULL},
        {"connections in the tarpit and more", WIRE_NOTICE, note_tarpit_more, "another notice"},
        {"notice of a guest's usage and more", WIRE_NOTICE, note_usage_more, "another notice"},
        {"notice of a bad file of nobody", WIRE_NOTICE, note_file, NULL},
        {"notice of files' counts", WIRE_NOTICE, note_file_counts, NULL},
        {"notice of a file with counts", WIRE_NOTICE, note_file_counts_elsewhere, "another notice"},
        {"notice with another's counters", WIRE_NOTICE, note_usage_elsewhere, "another notice"},
        {"evidence", WIRE_NOTICE, note_taken, NULL},
        {"evidence in an empty file", WIRE_NOTICE, note_taken_empty, NULL},
        {"evidence about nobody", WIRE_NOTICE, note_taken_nobody, "no instance"},
        {"evidence of no incident", WIRE_NOTICE, note_taken_no_incident, "no incident"},
        {"evidence of an incident beyond all numbers", WIRE_NOTICE, note_taken_far, "nobody gives"},
        {"evidence of more bytes than there are", WIRE_NOTICE, note_taken_huge, "nobody gives"},
        {"evidence without a name", WIRE_NOTICE, note_taken_no_name, "plain name"},
        {"evidence with a path", WIRE_NOTICE, note_taken_path, "plain name"},
        {"evidence in the folder above", WIRE_NOTICE, note_taken_above, "plain name"},
        {"evidence with a long name", WIRE_NOTICE, note_taken_long, "plain name"},
        {"evidence with the longest name", WIRE_NOTICE, note_taken_longest, NULL},
        {"evidence that is gone", WIRE_NOTICE, note_dropped, NULL},
        {"evidence that is gone, of no incident", WIRE_NOTICE, note_dropped_no_incident, "no incident"},
        {"evidence that is gone, with bytes", WIRE_NOTICE, note_dropped_bytes, "another notice"},
        {"evidence that is gone, with a sum", WIRE_NOTICE, note_dropped_sum, "another notice"},
        {"evidence that is gone, with a name", WIRE_NOTICE, note_dropped_name, "of somebody or with a name"},
        {"evidence that is gone, of somebody", WIRE_NOTICE, note_dropped_somebody, "of somebody or with a name"},
        {"notice of a channel", WIRE_NOTICE, note_channel, NULL},
        {"notice with another's key", WIRE_NOTICE, note_key_elsewhere, "another notice"},
        {"notice of nobody's channel", WIRE_NOTICE, note_channel_nobody, "no instance"},
        {"notice before time", WIRE_NOTICE, note_time, "before the start"},
        {"notice with accelerator 3", WIRE_NOTICE, note_accelerator, "accelerator"},
        {"notice with endless text", WIRE_NOTICE, note_text, "without end"},
        {"notice about a guest with a service", WIRE_NOTICE, note_service, "about none"},
        {"notice of a profile", WIRE_NOTICE, note_profile, NULL},
        {"notice of help over a switch", WIRE_NOTICE, note_rescue, NULL},
        {"notice of a profile of no service", WIRE_NOTICE, note_profile_far, "service out of range"},
        {"link to nobody", WIRE_LINK, link_role, "unknown role"},
        {"snapshot", WIRE_NOTICE, snapshot_plain, NULL},
        {"snapshot 0", WIRE_NOTICE, snapshot_zero, "without number"},
        {"snapshot that ended first", WIRE_NOTICE, snapshot_backwards, "ended before it began"},
        {"snapshot in a new state", WIRE_NOTICE, snapshot_odd, "no known state"},
        {"change", WIRE_NOTICE, change_plain, NULL},
        {"change 0", WIRE_NOTICE, change_zero, "without number"},
        {"change of a new kind", WIRE_NOTICE, change_odd, "no known kind"},
        {"change with a spare field", WIRE_NOTICE, change_spare, "no known kind"},
        {"change of nothing", WIRE_NOTICE, change_of_nothing, "change of nothing"},
        {"vault", WIRE_NOTICE, vault_plain, NULL},
        {"rollback", WIRE_ORDER, back_plain, NULL},
        {"rollback to no time", WIRE_ORDER, back_timeless, "a time where"},
        {"rollback with a number", WIRE_ORDER, back_numbered, "a number where"},
        {"rollback for no incident", WIRE_ORDER, back_nowhere, "no incident"},
        {"restore", WIRE_ORDER, restore_plain, NULL},
        {"restore of nothing", WIRE_ORDER, restore_nothing, "a number where"},
        {"time where none belongs", WIRE_ORDER, timed, "a time where"},
        {"link with a spare field", WIRE_LINK, link_zero, "spare field"},
};

static void row_check(const struct row *row)
{
	struct wire_message sent = good(row->kind), untouched, got;
	struct err err = {0};
	size_t size = wire_encode(&sent);
	row->change(&sent);
	memset(&got, 0x5a, sizeof(got));
	untouched = got;
	int r = wire_decode(&sent, size, &got, &err);
	if (!row->wrong) {
		if (r != 0)
			fail_msg("%s: refused: %s", row->name, err.text);
		assert_memory_equal(&got, &sent, size);
		return;
	}
	if (r != -EBADMSG || !strstr(err.text, row->wrong))
		fail_msg("%s: %d, '%s' does not say '%s'", row->name, r, err.text, row->wrong);
	assert_memory_equal(&got, &untouched, sizeof(got));
}

static void test_rows(unused_arg void **state)
{
	for (size_t i = 0; i < countof(rows); i++)
		row_check(&rows[i]);
}

static void test_every_other_size_is_refused(unused_arg void **state)
{
	for (unsigned kind = 1; kind < WIRE_KIND_MAX_; kind++) {
		uint8_t packet[sizeof(struct wire_message) + 64] = {0};
		struct wire_message sent = good(kind), got;
		size_t size = wire_encode(&sent);
		memcpy(packet, &sent, size);
		for (size_t cut = 0; cut <= sizeof(packet); cut++)
			assert_int_equal(wire_decode(packet, cut, &got, NULL), cut == size ? 0 : -EBADMSG);
	}
}

static void test_an_answer_is_as_long_as_what_it_observed(unused_arg void **state)
{
	struct wire_message got, sent = good(WIRE_ANSWER);
	struct err err;
	size_t of_two = wire_encode(&sent);
	sent.answer.n_observed = WIRE_INSTANCES_MAX;
	for (uint32_t i = 0; i < WIRE_INSTANCES_MAX; i++)
		sent.answer.observed[i] = (struct wire_observed_instance){.instance = i + 1};
	size_t of_all = wire_encode(&sent);
	assert_int_equal(of_all - of_two, (WIRE_INSTANCES_MAX - 2) * sizeof(sent.answer.observed[0]));
	assert_int_equal(wire_decode(&sent, of_all, &got, NULL), 0);
	assert_memory_equal(&got, &sent, of_all);
	sent.answer.n_observed++;
	assert_int_equal(wire_decode(&sent, of_all, &got, &err), -EBADMSG);
	assert_non_null(strstr(err.text, "more observed"));
}

static void test_every_order_that_names_an_instance_needs_it(unused_arg void **state)
{
	for (unsigned type = 1; type < ORDER_TYPE_MAX_; type++) {
		struct wire_message got, sent = {.kind = WIRE_ORDER};
		sent.order = (struct wire_order){.id = 1, .type = type, .incident = 1, .gate = WIRE_GATE_FENCED};
		if (type == ORDER_NET_CONTAIN)
			sent.order.contain.number = 1;
		sent.order.number = type == ORDER_VAULT_RESTORE || type == ORDER_VAULT_RETURN;
		sent.order.before_us = type == ORDER_VAULT_ROLLBACK;
		size_t size = wire_encode(&sent);
		bool alone = type == ORDER_NET_CONTAIN || type == ORDER_NET_OBSERVE || type == ORDER_VM_OBSERVE ||
		             type == ORDER_NET_STEER || order_role(type) == WIRE_VAULT;
		assert_int_equal(wire_decode(&sent, size, &got, NULL), alone ? 0 : -EBADMSG);
		sent.order.instance = UINT32_MAX;
		assert_int_equal(wire_decode(&sent, size, &got, NULL), 0);
	}
}

static void test_encode_clears_what_is_not_said(unused_arg void **state)
{
	struct wire_message sent, got;
	memset(&sent, 0xee, sizeof(sent));
	sent.kind = WIRE_ANSWER;
	sent.answer.id = 1;
	sent.answer.status = 0;
	strcpy(sent.answer.text, "done");
	sent.answer.n_observed = 0;
	sent.answer.zero = 0;
	assert_int_equal(wire_decode(&sent, wire_encode(&sent), &got, NULL), 0);
	for (size_t i = 0; i < sizeof(got.answer.observed); i++)
		assert_int_equal(((const uint8_t *)got.answer.observed)[i], 0);
	memset(sent.answer.text, 'b', WIRE_TEXT_MAX);
	assert_int_equal(wire_decode(&sent, wire_encode(&sent), &got, NULL), 0);
	assert_int_equal(strlen(got.answer.text), WIRE_TEXT_MAX - 1);
}

static void test_names(unused_arg void **state)
{
	for (unsigned type = 1; type < ORDER_TYPE_MAX_; type++) {
		const char *name = order_type_name(type);
		assert_string_not_equal(name, "?");
		const char *role = wire_role_name(order_role(type));
		assert_int_equal(strncmp(name, role, strlen(role)), 0);
		assert_int_equal(name[strlen(role)], '-');
	}
	for (unsigned i = 0; i < WIRE_GATE_MAX_; i++)
		assert_string_not_equal(wire_gate_name(i), "?");
	for (unsigned i = 0; i < WIRE_GUEST_MAX_; i++)
		assert_string_not_equal(wire_guest_name(i), "?");
	for (unsigned i = 1; i < NOTICE_MAX_; i++)
		assert_string_not_equal(wire_notice_name(i), "?");
	for (unsigned i = 0; i < WIRE_ROLE_MAX_; i++)
		assert_string_not_equal(wire_role_name(i), "?");
	assert_string_equal(order_type_name(0), "?");
	assert_string_equal(order_type_name(ORDER_TYPE_MAX_), "?");
	assert_string_equal(wire_notice_name(0), "?");
	assert_string_equal(wire_role_name(99), "?");
	assert_int_equal(order_role(0), WIRE_SUPERVISOR);
	assert_int_equal(order_role(ORDER_TYPE_MAX_), WIRE_SUPERVISOR);
}

static void test_each_containment_has_one_form_in_text(unused_arg void **state)
{
	struct wire_contain six = one_flow, whole = one_limit, slow = one_limit;
	six.v6 = whole.v6 = 1;
	six.prefix = whole.prefix = 128;
	memset(six.address, 0xff, sizeof(six.address));
	memset(six.to, 0xee, sizeof(six.to));
	six.port = six.to_port = 65535;
	memset(whole.address, 0xff, sizeof(whole.address));
	whole.per_s = 3600;
	whole.rate = WIRE_RATE_MAX;
	slow.rate = 6;
	slow.per_s = 60;
	const struct wire_contain source = {.number = 1, .address = {203, 0, 113, 9}, .prefix = 32};
	const struct {
		const struct wire_contain *what;
		const char *service, *text;
	} texts[] = {
	        {&source, NULL, "source 203.0.113.9/32"},
	        {&one_flow, NULL, "flow tcp 198.51.100.7:40312 203.0.113.10:80"},
	        {&six, NULL,
	         "flow tcp [ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535 [eeee:eeee:eeee:eeee:eeee:eeee:eeee:eeee]:65535"},
	        {&one_port, NULL, "port 53/udp"},
	        {&one_port, "web", "port web 53/udp"},
	        {&one_limit, NULL, "limit 198.51.100.0/24 20/s"},
	        {&slow, NULL, "limit 198.51.100.0/24 6/min"},
	        {&whole, NULL, "limit ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128 10000/h"},
	};
	for (size_t i = 0; i < countof(texts); i++) {
		char text[WIRE_SUBJECT_MAX];
		assert_null(wire_contain_wrong(texts[i].what));
		wire_contain_text(texts[i].what, texts[i].service, text);
		assert_string_equal(text, texts[i].text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_rows),
	        cmocka_unit_test(test_every_other_size_is_refused),
	        cmocka_unit_test(test_an_answer_is_as_long_as_what_it_observed),
	        cmocka_unit_test(test_each_containment_has_one_form_in_text),
	        cmocka_unit_test(test_every_order_that_names_an_instance_needs_it),
	        cmocka_unit_test(test_encode_clears_what_is_not_said),
	        cmocka_unit_test(test_names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
