#pragma once
/*
 * Is this host out of processor time? The kernel says how long runnable tasks stood in line (pressure stall
 * information, /proc/pressure/cpu, Linux 4.20). While that is much, a missed probe says more about the host than about
 * a guest. Where the kernel does not say, our own lateness must do.
 */
#include <stdbool.h>
#include <stdint.h>

#define PRESSURE_SAMPLES 4

struct pressure {
	int fd; /* -1: the kernel does not tell */
	uint64_t total_us[PRESSURE_SAMPLES];
	int64_t time_us[PRESSURE_SAMPLES];
	unsigned next;
	int64_t busy_until_us;
};

void pressure_open(struct pressure *p);

/* Call at a steady pace, ten times a second. `late_us`: how late this call is. Busy: in the last 400 ms tasks stood in line
 * for more than PRESSURE_BUSY percent of the time; lasts two seconds beyond. */
#define PRESSURE_BUSY 40
bool pressure_sample(struct pressure *p, int64_t now_us, int64_t late_us);
