#pragma once
/*
 * The one thing that the host may order: that the service is restarted. What that means is the image's business: it names the
 * program. Whether it helped is seen from outside; what is told is only how the program ended.
 */

/* Runs `program`, without waiting for it; "": tells that there is none. One at a time. */
void restart_begin(const char *program);

/* To be called often: tells when it has ended, and ends what takes longer than RESTART_MS. */
#define RESTART_MS 4000
void restart_look(void);
