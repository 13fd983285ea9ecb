#pragma once
/*
 * A small world for koboshi-net: network namespaces for host, client and three guests, all held by descriptors of this
 * process, so that they end with it. The test plays supervisor and engine; sockets are made in a namespace and stay there.
 *
 *   client 198.51.100.7 ── wan0 [host: koboshi-net] kb1 kb2 kb3 ── guest 1 2 3
 */
#include "conf/conf.h"
#include "wire/link.h"

#include <netinet/in.h>

enum place { LAB_HOST, LAB_CLIENT, LAB_GUEST1, LAB_GUEST2, LAB_GUEST3, LAB_PLACES };

struct lab {
	struct conf conf;
	char folder[64], config[80];
	int place[LAB_PLACES];
	pid_t program;
	int supervisor, engine, log, flows; /* the last two came with NOTICE_READY */
	int tarpit[2];                      /* listening, IPv4 and IPv6; handed down to the program if they are there (> 0) */
	uint64_t id;
	char not_rescued[WIRE_TEXT_MAX]; /* as the program says it when it is ready */
};

void lab_make(struct lab *lab, bool ranges);
void lab_end(struct lab *lab);

void lab_enter(struct lab *lab, enum place place);
int lab_command(const char *format, ...) printf_like(1, 2); /* exit status */
void lab_guest(struct lab *lab, uint32_t number);           /* veth kbN and the guest's own settings */

void lab_start(struct lab *lab, const char *program); /* up to NOTICE_READY with the log */
void lab_kill(struct lab *lab);                       /* -9 */
void lab_relink(struct lab *lab);                     /* a new engine */
struct wire_answer lab_order(struct lab *lab, struct wire_order order);
struct wire_note lab_notice(struct lab *lab); /* the next thing that the program says by itself */
bool lab_says_nothing(struct lab *lab, int patience_ms);
bool lab_linked(struct lab *lab);
int lab_run(struct lab *lab, const char *program, const char *option);

/* Sockets */
int lab_listen(struct lab *lab, enum place place, uint16_t port); /* TCP, both families */
int lab_datagrams(struct lab *lab, enum place place, uint16_t port);
int lab_connect(struct lab *lab, enum place place, const char *to, uint16_t port, const char *from); /* started */
int lab_outcome(int fd, int patience_ms);                /* 0 connected, -errno, -ETIMEDOUT: nothing came */
int lab_accept(int fd, int patience_ms, char *ret_peer); /* ret_peer: INET6_ADDRSTRLEN; -1: nobody */
bool lab_readable(int fd, int patience_ms);

/* Log: how many packets with this prefix come until nothing came for `patience_ms`. */
struct lab_logged {
	unsigned rst, syn, ack, ask, say, spoof, out, stray, decoy, tried, other;
};
struct lab_logged lab_logged(struct lab *lab, int patience_ms);

/* Frames: a packet socket on the guest's end. */
int lab_frames(struct lab *lab, enum place place, const char *link);
