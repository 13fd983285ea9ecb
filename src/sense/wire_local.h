#pragma once
/* What wire.c (packets, and what guests do by themselves) and wire_clients.c (what clients ask and are answered) share. */
#include "sense/reach.h"
#include "sense/sense.h"
#include "sense/silence.h"
#include "sense/syns.h"

#define BATCH 8           /* datagrams a call */
#define DATAGRAM_MAX 8192 /* what the kernel gathers at most, unless told otherwise */
#define REPEAT_US 20000   /* the same at-once finding about one instance is said again after that */

struct living { /* an instance that packets may be about */
	uint32_t number;
	struct nflog_address address4, address6;
	char tap[16];
	uint32_t index; /* tap's, once seen; 0: not yet */
	int64_t refused_us, spoofed_us, strayed_us, touched_us;
	uint32_t strays;              /* since they were told last */
	int64_t silence_us, stall_us; /* the least of a silence that is told, and of one that is doubtful; 0: none is */
	int64_t doubted_us;           /* began the silence that was told last as doubtful */
	struct silence silence;       /* of new connections */
	struct silence requests;      /* of the first request of each */
	struct reach reach;
};

struct sense_wire {
	uv_poll_t poll;
	uv_timer_t timer;
	uv_timer_t gather; /* runs instead of the poll while many come */
	unsigned n_closing;
	bool gone;
	int64_t armed_us; /* INT64_MAX: the timer is not */
	bool many;        /* came in the last span of MANY_US, which ended when this one began: */
	int64_t span_us;
	uint64_t span_packets;
	int fd;
	int names; /* a socket to ask for links' names */
	sense_report *report;
	void *arg;
	struct sense_wire_counts counts;
	struct sense_flows *flows; /* NULL: nobody wants to know what guests try to open */
	struct syn_table *syns;
	struct living living[SYNS_GUESTS_MAX];
	uint32_t stranger; /* interface that was not found last */
	int64_t stranger_us;
	int64_t now_us, real_us; /* of the batch */
	uint8_t buffers[BATCH][DATAGRAM_MAX];
};

struct living *wire_living_at(struct sense_wire *wire, const struct nflog_address *address);
void wire_report(struct sense_wire *wire, uint32_t instance, enum finding finding, int64_t time_us, int64_t began_us,
                 const char *detail);

/* Many say the same: true once in `repeat_us`. */
bool wire_is_due(int64_t *last_us, int64_t now_us, int64_t repeat_us);

/* A client's opening; a guest's acceptance; its refusal; a connection's first request; the first words of its answer. */
void wire_on_syn(struct sense_wire *wire, const struct nflog_tcp *tcp, int64_t time_us);
void wire_on_ack(struct sense_wire *wire, const struct nflog_tcp *tcp, int64_t time_us);
void wire_on_reset(struct sense_wire *wire, const struct nflog_tcp *tcp, int64_t time_us);
void wire_on_request(struct sense_wire *wire, const struct nflog_tcp *tcp, int64_t time_us);
void wire_on_answer(struct sense_wire *wire, const struct nflog_tcp *tcp, int64_t time_us);

/* Some answers may not have been seen: nothing waits any more. */
void wire_lost_some(struct sense_wire *wire);

/* Tells what waits for too long; when to call again, INT64_MAX: not before another opening. */
void wire_overdue(struct sense_wire *wire, int64_t now_us);
int64_t wire_deadline(const struct sense_wire *wire);
