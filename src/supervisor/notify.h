#pragma once
/* Telling whoever started us how we are: systemd's notify protocol, and a hardware watchdog when one is named. */
#include "lib/err.h"

#include <stdbool.h>

struct notify {
	int device; /* watchdog, -1: none */
};

/* `watchdog` NULL: none. From the opening on it must be fed. */
int notify_init(struct notify *notify, const char *watchdog, struct err *err) must_use;

/* Sends one state ("READY=1", "STATUS=..."); nothing happens when nobody listens. Never waits: false when the listener's queue
 * is full, for the states that must not be lost. */
bool notify_send(const char *format, ...) printf_like(1, 2);

/* Progress was proven: feeds systemd's watchdog and the device. Call at most once a second. */
void notify_alive(struct notify *notify);

/* Clean stop: the device is told that silence is wanted. Not called on any other way out. */
void notify_done(struct notify *notify);
