/* koboshi-clock: sets the guest's clock right after the hypervisor had stopped the guest.
 *
 * A paused guest notices nothing: all of its own clocks stood still with it, and software emulation offers no kvm-clock.
 * Only the battery clock went on, because the hypervisor answers it with its own time.  So we look at that one five times
 * a second and compare.  It tells whole seconds, and QEMU lets them begin up to a second late (it starts them when the
 * guest starts); hence the two steps: when the difference cannot be rounding the clock is set at once to the middle of
 * what is possible, and again when the next second begins, which leaves it at most half a second off.  While nothing is
 * wrong a look is one ioctl.
 *
 * Linked statically so that it runs in any variant whatever its libc.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/rtc.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define LOOK_MS 200
#define EDGE_MS 10
#define LATE_MS 500 /* how late the battery clock is taken to be: the middle of 0 to 1 s */
#define OFF_MS 250

/* Whole seconds of the battery clock, or -1. */
static long long rtc_seconds(int rtc)
{
	struct rtc_time got;
	struct tm tm;

	memset(&got, 0, sizeof(got));
	memset(&tm, 0, sizeof(tm));
	if (ioctl(rtc, RTC_RD_TIME, &got) < 0)
		return -1;
	tm.tm_sec = got.tm_sec;
	tm.tm_min = got.tm_min;
	tm.tm_hour = got.tm_hour;
	tm.tm_mday = got.tm_mday;
	tm.tm_mon = got.tm_mon;
	tm.tm_year = got.tm_year;
	return timegm(&tm);
}

static long long system_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static void system_set(long long ms)
{
	struct timespec to = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	if (clock_settime(CLOCK_REALTIME, &to) < 0)
		perror("koboshi-clock: clock_settime");
}

static void pause_ms(int ms)
{
	struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};

	nanosleep(&t, NULL);
}

/* Waits for the battery clock's next second, at most 1.2 s; returns it, or -1. */
static long long rtc_edge(int rtc)
{
	long long first = rtc_seconds(rtc), now = first;

	for (int waited = 0; now == first && waited < 1200; waited += EDGE_MS) {
		pause_ms(EDGE_MS);
		now = rtc_seconds(rtc);
	}
	return now == first ? -1 : now;
}

int main(void)
{
	int rtc = open("/dev/rtc0", O_RDONLY | O_CLOEXEC);

	if (rtc < 0) {
		perror("koboshi-clock: /dev/rtc0");
		return 1;
	}
	for (int first = 1;; first = 0, pause_ms(LOOK_MS)) {
		long long told = rtc_seconds(rtc) * 1000 + LATE_MS, ahead = system_ms() - told, edge;

		if (told < 0 || (!first && ahead >= -OFF_MS && ahead < 1000 + OFF_MS))
			continue;
		if (!first)
			system_set(told + 500);
		edge = rtc_edge(rtc);
		if (edge >= 0)
			system_set(edge * 1000 + LATE_MS);
		if (first)
			continue;
		printf("koboshi-clock: the clock was off by about %lld ms and has been set\n", ahead - 500);
		fflush(stdout);
	}
}
