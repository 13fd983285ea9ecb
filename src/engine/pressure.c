/* See pressure.h. The file stays open: one pread a sample. */
#include "engine/pressure.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINGER_US 2000000
#define LATE_US 50000

void pressure_open(struct pressure *p)
{
	memset(p, 0, sizeof(*p));
	p->fd = open("/proc/pressure/cpu", O_RDONLY | O_CLOEXEC);
}

static bool total_read(int fd, uint64_t *ret_total_us)
{
	char text[128];
	unsigned long long total;
	ssize_t size = fd < 0 ? -1 : pread(fd, text, sizeof(text) - 1, 0);
	if (size <= 0)
		return false;
	text[size] = '\0';
	const char *at = strstr(text, "total=");
	if (!at || sscanf(at, "total=%llu", &total) != 1)
		return false;
	*ret_total_us = total;
	return true;
}

bool pressure_sample(struct pressure *p, int64_t now_us, int64_t late_us)
{
	uint64_t total_us;
	bool busy = late_us > LATE_US;
	if (total_read(p->fd, &total_us)) {
		unsigned oldest = p->next;
		int64_t span_us = now_us - p->time_us[oldest];
		if (p->time_us[oldest] && span_us > 0 && span_us < 5000000)
			busy = (int64_t)(total_us - p->total_us[oldest]) * 100 > span_us * PRESSURE_BUSY;
		p->total_us[oldest] = total_us;
		p->time_us[oldest] = now_us;
		p->next = (oldest + 1) % PRESSURE_SAMPLES;
	}
	if (busy)
		p->busy_until_us = now_us + LINGER_US;
	return now_us < p->busy_until_us;
}
