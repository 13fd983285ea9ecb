#pragma once
/* Who runs, for others to read: run_dir/processes, the lock's file, the service manager's status line. */
#include "supervisor/child.h"

/* run_dir/processes, replaced whole; one line per child: ROLE PID RESTARTS STARTED_MONOTONIC_US LAST_EXIT, PID 0 when it does
 * not run. LAST_EXIT is one word: "-" (never ended), "exit:CODE", "signal:NAME", or why the supervisor killed it ("hung",
 * "replaced", ...). The first line is the supervisor itself. */
void status_publish(const struct place *place, const struct child children[static CHILD_SPECS]);

void status_remove(const struct place *place);
