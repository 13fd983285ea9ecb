/* See channel.h. */
#include "guest/channel.h"
#include "lib/bytes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

#define FRAMES 40
#define ROOM ((size_t)FRAMES * AGENT_FRAME)
#define FIND_TICKS 4 /* how rarely a port that is not there is looked for */

static struct {
	int epoll, fd;
	bool down; /* the host's end is closed: epoll would tell that for ever */
	uint32_t number;
	struct agent_frame hello;
	uint8_t key[AGENT_KEY];
	bool keyed;
	uint8_t out[ROOM + AGENT_FRAME], in[AGENT_FRAME]; /* one more for the zeros of a new beginning */
	size_t out_size, in_size;
	size_t cut; /* of the first frame in `out`: so much was written already */
	unsigned ticks;
	uint32_t ordered;      /* number of the last order: what is repeated is not carried out again */
	enum agent_type order; /* 0: none that was not taken yet */
} channel = {.fd = -1};

static int64_t uptime_us(void)
{
	struct timespec now;
	clock_gettime(CLOCK_BOOTTIME, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void interest(void)
{
	struct epoll_event event = {.events = EPOLLIN | (channel.out_size ? (unsigned)EPOLLOUT : 0u), .data.fd = channel.fd};
	epoll_ctl(channel.epoll, EPOLL_CTL_MOD, channel.fd, &event);
}

static void out_flush(void)
{
	while (!channel.down && channel.out_size) {
		ssize_t sent = write(channel.fd, channel.out, channel.out_size);
		if (sent <= 0)
			break;
		channel.out_size -= (size_t)sent;
		memmove(channel.out, channel.out + sent, channel.out_size);
		channel.cut = (channel.cut + (size_t)sent) % AGENT_FRAME;
	}
	if (!channel.down)
		interest();
}

static bool out_add(const uint8_t frame[static AGENT_FRAME])
{
	if (channel.out_size + AGENT_FRAME > ROOM)
		return false;
	memcpy(channel.out + channel.out_size, frame, AGENT_FRAME);
	channel.out_size += AGENT_FRAME;
	return true;
}

/* A start, and the host's end after it was away: zeros, so that a half frame does not spoil what follows. The rest of a frame
 * that was begun is dropped, those behind it are kept. */
static void out_begin(void)
{
	uint8_t bytes[AGENT_FRAME];
	size_t dropped = channel.keyed ? (AGENT_FRAME - channel.cut) % AGENT_FRAME : channel.out_size;
	if (dropped > channel.out_size || channel.out_size - dropped > ROOM)
		dropped = channel.out_size;
	channel.out_size -= dropped;
	memmove(channel.out + AGENT_FRAME, channel.out + dropped, channel.out_size);
	memset(channel.out, 0, AGENT_FRAME);
	channel.out_size += AGENT_FRAME;
	channel.cut = 0;
	if (channel.keyed)
		return;
	channel.hello.uptime_us = uptime_us();
	agent_encode(&channel.hello, NULL, bytes);
	out_add(bytes);
}

static void port_take(int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
	channel.fd = fd;
	channel.down = false;
	channel.in_size = 0;
	epoll_ctl(channel.epoll, EPOLL_CTL_ADD, fd, &event);
	out_begin();
	out_flush();
}

/* The port whose name is ours, or -1. */
static int port_find(void)
{
	char path[512], name[64];
	DIR *dir = opendir("/sys/class/virtio-ports");
	const struct dirent *entry;
	int fd = -1;
	while (dir && fd < 0 && (entry = readdir(dir))) {
		snprintf(path, sizeof(path), "/sys/class/virtio-ports/%s/name", entry->d_name);
		FILE *file = fopen(path, "re");
		bool ours = file && fgets(name, sizeof(name), file) && strncmp(name, AGENT_PORT "\n", sizeof(AGENT_PORT)) == 0;
		if (file)
			fclose(file);
		snprintf(path, sizeof(path), "/dev/%s", entry->d_name);
		if (ours)
			fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	}
	if (dir)
		closedir(dir);
	return fd;
}

void channel_init(int epoll, int fd, const struct agent_frame *hello)
{
	channel.epoll = epoll;
	channel.hello = *hello;
	channel.hello.type = AGENT_HELLO;
	channel.hello.number = channel.number = 1;
	if (fd < 0)
		fd = port_find();
	if (fd >= 0)
		port_take(fd);
}

/* The host's end went: epoll is asked again by channel_tick(). */
static void port_down(void)
{
	channel.down = true;
	channel.in_size = 0;
	epoll_ctl(channel.epoll, EPOLL_CTL_DEL, channel.fd, NULL);
}

static void frame_take(void)
{
	struct agent_frame frame;
	channel.in_size = 0;
	if (agent_decode(channel.in, channel.keyed ? channel.key : NULL, &frame, NULL) < 0)
		return;
	if (frame.type == AGENT_KEYED && !channel.keyed) { /* a second key is nobody's business */
		memcpy(channel.key, frame.keyed.key, AGENT_KEY);
		channel.keyed = true;
	}
	if ((frame.type == AGENT_RESTART || frame.type == AGENT_STOP) && frame.number > channel.ordered) {
		channel.ordered = frame.number;
		channel.order = (enum agent_type)frame.type;
	}
}

enum agent_type channel_order(void)
{
	enum agent_type order = channel.order;
	channel.order = (enum agent_type)0;
	return order;
}

void channel_event(unsigned events)
{
	while (events & EPOLLIN) {
		ssize_t got = read(channel.fd, channel.in + channel.in_size, AGENT_FRAME - channel.in_size);
		if (got <= 0) {
			if (got == 0)
				events |= EPOLLHUP;
			break;
		}
		channel.in_size += (size_t)got;
		if (channel.in_size == AGENT_FRAME)
			frame_take();
	}
	if (events & (EPOLLHUP | EPOLLERR))
		port_down();
	else if (events & EPOLLOUT)
		out_flush();
}

/* Whether the host is there again: a port tells by not hanging up. */
static void port_try(void)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = channel.fd};
	struct pollfd port = {.fd = channel.fd};
	if (poll(&port, 1, 0) != 0) /* it hangs up still */
		return;
	if (epoll_ctl(channel.epoll, EPOLL_CTL_ADD, channel.fd, &event) < 0)
		return;
	channel.down = false;
	out_begin();
	out_flush();
}

void channel_tick(void)
{
	if (channel.fd >= 0 && channel.down)
		port_try();
	if (channel.fd >= 0 || channel.ticks++ % FIND_TICKS)
		return;
	int fd = port_find();
	if (fd >= 0)
		port_take(fd);
}

bool channel_ready(void)
{
	return channel.keyed && channel.fd >= 0 && !channel.down && channel.out_size + AGENT_FRAME <= ROOM;
}

bool channel_send(struct agent_frame *frame)
{
	uint8_t bytes[AGENT_FRAME];
	if (!channel_ready())
		return false;
	frame->number = ++channel.number;
	frame->uptime_us = uptime_us();
	agent_encode(frame, channel.key, bytes);
	out_add(bytes);
	out_flush();
	return true;
}
