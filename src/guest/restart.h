#pragma once
/*
 * What the host may order: that the service is restarted, or stopped. What that means is the image's business: it names the
 * programs. Whether it helped is seen from outside; what is told is only how the program ended.
 */
#include "wire/agent.h"

/* Runs `program`, without waiting for it, and tells `what` when it has ended; "": tells that there is none. One at a time. */
void restart_begin(const char *program, enum agent_what what);

/* To be called often: tells when it has ended, and ends what takes longer than RESTART_MS. */
#define RESTART_MS 4000
void restart_look(void);
