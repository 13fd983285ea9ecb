#pragma once
/* What is looked at once a second because no kernel tells of it by itself: listening sockets, loaded modules, and the switches
 * that keep programs from hiding from us. */
#include "guest/conf.h"

/* Remembers what is there at the start, turns the switches. False, and told, for what cannot be looked at. */
struct kernel_abilities {
	bool sockets, modules;
};
struct kernel_abilities kernel_start(const struct conf *conf);

/* Looks again and tells what is new. */
void kernel_look(void);
