/*
 * What clients ask of a guest and how it answers: a refusal is told at once, an opening that waits for several times what is
 * usual when it is overdue, and the silence of a guest that answers nobody any more (silence.h) long before. That it takes
 * connections and then answers no request is a doubt and no more: an application may have its reasons.
 */
#include "sense/wire_local.h"

#include "lib/bytes.h"

#include <arpa/inet.h>
#include <stdio.h>

#define UNHEARD_TOLD 2 /* times: that it is so, and that it lasts */

static void report_unanswered(struct sense_wire *w, const struct syn_key *key, int64_t time_us, int64_t began_us)
{
	char detail[128], client[INET6_ADDRSTRLEN];
	nflog_address_text(&key->client, client);
	snprintf(detail, sizeof(detail), "%s port %u asked for port %u and got no answer", client, key->client_port, key->port);
	w->counts.unanswered++;
	wire_report(w, key->instance, FINDING_UNANSWERED, time_us, began_us, detail);
}

/* By TCP-MD5 or TCP-AO (RFC 2385, 5925): a kernel that knows no key for it drops it without a word, which says nothing about the
 * guest. */
static bool is_signed(const struct nflog_tcp *tcp)
{
	for (size_t at = 20; at + 1 < tcp->header_size && tcp->header[at] != 0;) {
		if (tcp->header[at] == 19 || tcp->header[at] == 29)
			return true;
		if (tcp->header[at] != 1 && tcp->header[at + 1] < 2)
			return false;
		at += tcp->header[at] == 1 ? 1 : tcp->header[at + 1];
	}
	return false;
}

void wire_on_syn(struct sense_wire *w, const struct nflog_tcp *tcp, int64_t time_us)
{
	struct living *one = wire_living_at(w, &tcp->destination);
	if (!one) {
		w->counts.strange++;
		return;
	}
	if (is_signed(tcp))
		return;
	struct syn_key key = {
	        .client = tcp->source, .client_port = tcp->source_port, .port = tcp->destination_port, .instance = one->number};
	if (syn_table_add(w->syns, &key, time_us))
		silence_asked(&one->silence, time_us);
}

/* Takes the pending request out that `tcp` answers; its beginning, or `time_us` when none was pending. */
static int64_t answered(struct sense_wire *w, struct living *one, const struct nflog_tcp *tcp, int64_t time_us, bool accepted)
{
	int64_t began_us = time_us;
	struct syn_key key = {.client = tcp->destination,
	                      .client_port = tcp->destination_port,
	                      .port = tcp->source_port,
	                      .instance = one->number};
	if (syn_table_answer(w->syns, &key, time_us, accepted, &began_us))
		silence_answered(&one->silence, time_us);
	return began_us;
}

void wire_on_ack(struct sense_wire *w, const struct nflog_tcp *tcp, int64_t time_us)
{
	struct living *one = wire_living_at(w, &tcp->source);
	if (one)
		answered(w, one, tcp, time_us, true);
	else
		w->counts.strange++;
}

void wire_on_reset(struct sense_wire *w, const struct nflog_tcp *tcp, int64_t time_us)
{
	char detail[128], client[INET6_ADDRSTRLEN];
	struct living *one = wire_living_at(w, &tcp->source);
	if (!one) {
		w->counts.strange++;
		return;
	}
	w->counts.resets++;
	int64_t began_us = answered(w, one, tcp, time_us, false);
	if (!wire_is_due(&one->refused_us, w->now_us, REPEAT_US))
		return;
	nflog_address_text(&tcp->destination, client);
	snprintf(detail, sizeof(detail), "port %u refused %s port %u", tcp->source_port, client, tcp->destination_port);
	wire_report(w, one->number, FINDING_REFUSED, time_us, began_us, detail);
}

/* Which answer belongs to which request is not asked: any answer tells that somebody is at work there. */
void wire_on_request(struct sense_wire *w, const struct nflog_tcp *tcp, int64_t time_us)
{
	struct living *one = wire_living_at(w, &tcp->destination);
	if (one)
		silence_asked(&one->requests, time_us);
	else
		w->counts.strange++;
}

void wire_on_answer(struct sense_wire *w, const struct nflog_tcp *tcp, int64_t time_us)
{
	struct living *one = wire_living_at(w, &tcp->source);
	if (one)
		silence_answered(&one->requests, time_us);
	else
		w->counts.strange++;
}

struct silence_limits sense_wire_limits(const struct sense_wire *w, uint32_t number, enum finding finding)
{
	for (size_t i = 0; i < SYNS_GUESTS_MAX; i++) {
		const struct living *one = &w->living[i];
		if (number > 0 && one->number == number)
			return silence_limits(finding == FINDING_UNHEARD ? &one->requests : &one->silence, one->stall_us);
	}
	return (struct silence_limits){.known = false};
}

/* ---- what waits */

void wire_lost_some(struct sense_wire *w)
{
	syn_table_clear(w->syns);
	for (size_t i = 0; i < SYNS_GUESTS_MAX; i++) {
		silence_clear(&w->living[i].silence);
		silence_clear(&w->living[i].requests);
	}
}

static int64_t silent_from(const struct living *one)
{
	return one->number && one->silence_us ? silence_due(&one->silence, one->silence_us) : INT64_MAX;
}

/* Once for each silence, and before it is told: afterwards there is no doubt. */
static int64_t doubtful_from(const struct living *one)
{
	bool told = one->silence.told > 0 || one->doubted_us == one->silence.asked_us[0];
	return one->number && one->stall_us && !told ? silence_due(&one->silence, one->stall_us) : INT64_MAX;
}

/* A client can ask half a request and stay: so it is told twice, and not for as long as nobody else asks. */
static int64_t unheard_from(const struct living *one)
{
	return one->number && one->stall_us && one->requests.told < UNHEARD_TOLD ? silence_due(&one->requests, one->stall_us)
	                                                                         : INT64_MAX;
}

static void report_silence(struct sense_wire *w, const struct living *one, enum finding finding, int64_t now_us)
{
	char detail[96];
	bool unheard = finding == FINDING_UNHEARD;
	int64_t began_us = unheard ? one->requests.asked_us[0] : one->silence.asked_us[0];
	snprintf(detail, sizeof(detail), "no %s was answered for %lld ms",
	         unheard ? "request of a new connection" : "new connection", (long long)(now_us - began_us) / 1000);
	wire_report(w, one->number, finding, now_us, began_us, detail);
}

static void living_overdue(struct sense_wire *w, struct living *one, int64_t now_us)
{
	if (unheard_from(one) <= now_us) {
		silence_tell(&one->requests, now_us, one->stall_us / SILENCE_TIMES); /* a probe may be answered until then */
		report_silence(w, one, FINDING_UNHEARD, now_us);
	}
	if (!w->gone && doubtful_from(one) <= now_us) {
		one->doubted_us = one->silence.asked_us[0];
		report_silence(w, one, FINDING_STALLED, now_us);
	}
	if (!w->gone && silent_from(one) <= now_us) {
		silence_tell(&one->silence, now_us, one->silence_us);
		w->counts.silent++;
		report_silence(w, one, FINDING_SILENT, now_us);
	}
}

void wire_overdue(struct sense_wire *w, int64_t now_us)
{
	struct syn_overdue overdue;
	for (size_t i = 0; i < SYNS_GUESTS_MAX && !w->gone; i++)
		living_overdue(w, &w->living[i], now_us);
	while (!w->gone && syn_table_overdue(w->syns, now_us, &overdue))
		report_unanswered(w, &overdue.key, now_us, overdue.began_us);
}

int64_t wire_deadline(const struct sense_wire *w)
{
	int64_t first_us = syn_table_deadline(w->syns);
	for (size_t i = 0; i < SYNS_GUESTS_MAX; i++) {
		const struct living *one = &w->living[i];
		const int64_t due_us[] = {silent_from(one), doubtful_from(one), unheard_from(one)};
		for (size_t k = 0; k < countof(due_us); k++)
			first_us = due_us[k] < first_us ? due_us[k] : first_us;
	}
	return first_us;
}
