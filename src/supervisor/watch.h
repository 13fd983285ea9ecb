#pragma once
/* The supervisor's loop: starts the children, gives them links to one another, watches and restarts them. */
#include "supervisor/child.h"
#include "supervisor/notify.h"

/* Blocks the signals that the loop takes by descriptor. Before anything is started. */
int watch_signals(int *ret_fd, struct err *err) must_use;

/* Runs until SIGTERM or SIGINT; all children have ended when it returns. */
void watch_run(const struct child_world *world, struct notify *notify, int signals);
