#pragma once
/*
 * The instances' links in the host: rtnetlink tells of each whose carrier goes, because what held its other end ended, or because
 * somebody took it down. That is told at once as FINDING_UNLINKED, by which nobody falls, and as FINDING_UNPLUGGED when it has
 * lasted for CARRIER_LOST_MS: a link that flaps costs nobody a guest, and the hypervisor's own word, which says more, comes
 * first. Only who had a carrier can lose it.
 */
#include "sense/sense.h"

#define CARRIER_LOST_MS 20

struct sense_carrier;

/* Takes `fd`, a NETLINK_ROUTE socket in the links' group, non-blocking; -1: nothing is ever told. Never NULL. */
struct sense_carrier *sense_carrier_new(uv_loop_t *loop, int fd, sense_report *report, void *arg);

/* Such a socket, or -errno. */
int sense_carrier_open(void);

/* At most SYNS_GUESTS_MAX, by the tap's name. */
void sense_carrier_add(struct sense_carrier *carrier, uint32_t number, const char *tap);
void sense_carrier_remove(struct sense_carrier *carrier, uint32_t number);

void sense_carrier_free(struct sense_carrier *carrier);
