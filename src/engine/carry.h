#pragma once
/*
 * Files that live on from guest to guest (`carry`). An agent tells that it saved one into the service's data; koboshi-vm puts
 * what lies there into each guest that it makes, and tells what it refused. Whoever stands by was made before the change, so once
 * it has settled another one, which has it, takes its place: the plan sees to that as to any that is outdated.
 */
#include "wire/order.h"

struct engine;
struct engine_service;

struct carry_watch {                 /* of one service */
	char problem[WIRE_TEXT_MAX]; /* what was refused when the last guest was made, and why; "": nothing was */
	int64_t changed_us;          /* the last change; CLOCK_MONOTONIC */
	int64_t renew_us;            /* when those from before it are outdated; 0: nobody is */
	int64_t renewed_us;          /* when that was so last */
};

void carry_told(struct engine *e, const struct wire_note *note); /* NOTICE_GUEST_CARRIED */
void carry_changed(struct engine_service *s, int64_t now_us);
void carry_pulse(struct engine *e, int64_t now_us); /* ten times a second */
