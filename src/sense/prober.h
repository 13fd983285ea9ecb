#pragma once
/*
 * What probes have in common: when they start and end, their sockets, and what a failed connection means. What is said on
 * the connection is the business of a `struct prober_kind` (http.c, plain.c, peer.c). Private to this room.
 */
#include "sense/client.h"
#include "sense/sense.h"
#include "sense/silence.h"
#include "sense/tls.h"

#define PROBER_SLOTS 16  /* those that wait for a late answer included */
#define PROBER_AT_ONCE 4 /* under way and not overdue; and as many beside those that are due by the clock */

enum slot_state {
	SLOT_FREE,
	SLOT_CONNECTING,
	SLOT_ASKED,  /* request on its way or sent */
	SLOT_IDLE,   /* connection kept for another request */
	SLOT_PARTING /* answer is through; the server closes first, so that the wait after it is the server's */
};

struct prober_slot {
	enum slot_state state;
	uint32_t number;     /* index */
	uint32_t generation; /* of the descriptor: events of older ones are dropped */
	int fd;
	struct tls *tls; /* in it, once it stands; NULL: none */
	bool ipv6;
	bool besides;           /* somebody asked for it, or a doubt: those by the clock go on meanwhile */
	bool reused;            /* connection has carried a request before */
	bool heard;             /* some byte of an answer came */
	bool connecting_is_all; /* kind's, at each begin: no answer is waited for */
	bool overdue;           /* reported as missed; a late answer still tells a slow server from a hung one */
	unsigned may_ask;       /* how many more requests this connection is meant for */
	int64_t began_us, deadline_us;
	const char *request; /* kind's; until the slot's next begin */
	size_t request_size, sent;
};

struct prober_result {
	enum finding finding;
	const char *detail;
	enum { PROBER_CLOSE, PROBER_PART, PROBER_KEEP } then;
};

struct sense_prober;

struct prober_kind {
	bool only_asked; /* no probe by the clock, only by sense_prober_ask() */
	/* A probe begins. Fills slot->request if there is one; on a new connection (!slot->reused) slot->may_ask too. */
	void (*begin)(struct sense_prober *prober, struct prober_slot *slot, enum sense_probe wanted);
	/* Bytes came; size 0: the peer closed, or (`slot->connecting_is_all`) the connection stands, which is judged always.
	 * True: judged, `ret_result` is filled. */
	bool (*heard)(struct sense_prober *prober, struct prober_slot *slot, const uint8_t *bytes, size_t size,
	              struct prober_result *ret_result);
	/* Puts "GET /x: " or the like before a detail; may be NULL. */
	const char *(*describe)(struct sense_prober *prober, struct prober_slot *slot, const char *detail);
};

struct sense_prober {
	uv_timer_t timer;
	uv_poll_t poll;
	int epoll; /* holds the slots' sockets, so that they come and go without libuv's handles */
	unsigned n_closing;
	bool gone;
	const struct prober_kind *kind;
	struct sense_target target;
	sense_report *report;
	void *arg;
	struct client_random random;
	int64_t next_us;
	bool is_asked, use6_next;
	enum sense_probe asked;
	struct silence silence; /* of whoever is probed; target.probe.stall_ms: how long one is told, at least */
	struct prober_slot slots[PROBER_SLOTS];
};

/* `prober` is the first member of a zeroed heap object, which sense_prober_free() gives back once libuv has let go of it. */
void prober_start(struct sense_prober *prober, uv_loop_t *loop, const struct prober_kind *kind, const struct sense_target *target,
                  sense_report *report, void *arg);
/* As new: probes under way end without a report, connections are closed. */
void prober_restart(struct sense_prober *prober);

struct sense_prober *http_prober_new(uv_loop_t *loop, const struct sense_target *target, sense_report *report, void *arg);
struct sense_prober *plain_prober_new(uv_loop_t *loop, const struct sense_target *target, sense_report *report, void *arg);

/* ---- slot.c: a slot's connection. */
void slot_close(struct prober_slot *slot);                            /* free for another probe */
int slot_dial(struct sense_prober *prober, struct prober_slot *slot); /* 0: it is on its way; -errno: nothing left us */

/* As send() of what is left of the request, and recv(), through TLS if the slot has it; errors are -errno. */
ssize_t slot_put(struct prober_slot *slot);
ssize_t slot_get(struct prober_slot *slot, uint8_t *ret_bytes, size_t size);

/* What an error of its connection says of the guest. `ret_detail` is room for the sentence that the result may point to. */
void slot_explain(const struct prober_slot *slot, int error, char ret_detail[static TLS_TROUBLE_MAX],
                  struct prober_result *ret_result);

/* The address of a slot's connection as clients write it. */
void prober_address(const struct sense_prober *prober, const struct prober_slot *slot, char ret_text[static SENSE_HOST_MAX]);
