#pragma once
/* Takes netlink datagrams of conntrack apart: flows that began, are there (a dump) or ended. Pure: bytes in, facts out, nothing
 * is believed that the size does not cover. Built upon netlink.h. */
#include "sense/netlink.h"
#include "sense/nflog.h"

struct conntrack_tuple {
	struct nflog_address source, destination;
	uint16_t source_port, destination_port; /* host order; 0: the protocol has none */
	uint8_t protocol;
};

struct conntrack_sum {
	uint64_t packets, bytes;
};

struct conntrack_flow {
	bool ended;  /* else it began, or */
	bool listed; /* was there already when its list was asked for */
	uint32_t id; /* the kernel's name for it, reused some time after its end */
	uint32_t mark;
	struct conntrack_tuple asks, answers; /* as whoever opened it sends; as the answers come, addresses already translated */
	struct conntrack_sum asked, answered; /* of an ended one */
	bool replied;                         /* something came back */
	bool assured;                         /* the kernel saw that both sides mean it */
	uint8_t tcp;                          /* enum tcp_conntrack; TCP_CONNTRACK_NONE: not said */
	bool reset;                           /* TCP: ended by a reset */
};

/* 1: the next flow; 0: no more; -EBADMSG: the rest makes no sense. Other messages are passed over. */
int conntrack_next(struct netlink_bytes *datagram, struct conntrack_flow *ret_flow);
