#pragma once
/* The stage on which the real koboshid is tried: a folder of its own, fake children, and everything they tell. */
#include "lib/attr.h"

#include <stdbool.h>
#include <sys/types.h>

#define STAGE_EVENTS_MAX 256

struct stage {
	char dir[64], libexec[96], run[96], config[96];
	int events;
	char *told[STAGE_EVENTS_MAX]; /* not asked for yet */
	size_t n_told;
	pid_t supervisor;
	char output[4096]; /* of stage_try */
};

/* What is done in the new process before koboshid is run there; false: cannot be done on this machine. */
typedef bool stage_before(const struct stage *stage);

void stage_open(struct stage *stage);
void stage_close(struct stage *stage); /* ends what still runs, by pid, and removes the folder */

/* `state` is a path, or a name within the stage. */
void stage_config(struct stage *stage, const char *user, const char *state);

/* Runs koboshid on the stage. */
void stage_start(struct stage *stage, stage_before *before, const char *argument, const char *value);

/* Runs another one to its end and keeps what it says; its exit status, or 77 when `before` could not be done. */
int stage_try(struct stage *stage, stage_before *before, const char *argument, const char *value);

/* Waits until `role` (or, NULL, the notify socket) tells something that starts with `what`; the teller's pid. Fails the test
 * after 15 s. What stands behind `what` is in `ret_rest` when wanted. */
pid_t stage_await(struct stage *stage, const char *role, const char *what, char *ret_rest, size_t size);

/* The three starts and the engine's first beats. */
void stage_await_all(struct stage *stage, pid_t *ret_net, pid_t *ret_vm, pid_t *ret_engine);

/* Waits until there is something to read at `fd`, 15 s at most, and goes on listening meanwhile: few datagrams fit into the
 * socket, and a child that cannot tell does nothing else either. Whatever waits for a child waits by this. */
bool stage_await_fd(struct stage *stage, int fd);

/* True when the process has ended within 15 s (it is not our child). */
bool stage_ended(struct stage *stage, pid_t pid);

/* Waits for koboshid itself; its wait status. */
int stage_wait(struct stage *stage);

/* The line of `role` in run_dir/processes has the last word `word`, within 5 s. */
bool stage_last_exit(struct stage *stage, const char *role, const char *word);
bool stage_has(const struct stage *stage, const char *name); /* in run_dir */
