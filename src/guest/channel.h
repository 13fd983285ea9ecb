#pragma once
/*
 * The guest's end of the port to the engine. Frames wait here in fixed room; whoever does not read makes us drop and count, never
 * wait. The port is opened by one process at a time: while we live nobody else speaks on it.
 */
#include "wire/agent.h"

/* `fd`: the open port (the tests' socket), or -1: look for the virtio port by its name, each time channel_tick() is called. */
void channel_init(int epoll, int fd, const struct agent_frame *hello);

/* What epoll told of the channel's descriptor. */
void channel_event(unsigned events);

/* Each 100 ms: looks for the port, takes up a broken line again. */
void channel_tick(void);

/* AGENT_RESTART or AGENT_STOP, once for each such order of the host; 0: none is new. */
enum agent_type channel_order(void);

/* A BEAT or TOLD; uptime and number are put in here. False: not ready, that is no key yet, nobody there, or no room. */
bool channel_send(struct agent_frame *frame);
bool channel_ready(void);
