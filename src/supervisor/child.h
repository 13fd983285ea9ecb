#pragma once
/* One child: how it is started, and what is known of it while and after it lives. */
#include "supervisor/place.h"
#include "supervisor/restart.h"
#include "wire/link.h"

#include <limits.h>

struct child_spec {
	enum wire_role role;
	const char *program;
	bool as_engine_user; /* else root: the actuator drops what it does not need by itself, it knows best */
	bool api;            /* gets the API's socket */
	bool tarpit;         /* gets the sockets behind the decoys */
	bool only_files;     /* started only while the configuration names folders to watch, ... */
	bool only_vault;     /* ... or a vault */
	bool confined;       /* no_new_privs, and no capability can come back */
	int oom_score;       /* what the kernel should kill last; guests inherit the vm actuator's and shall not be spared */
};

#define CHILD_SPECS 7
extern const struct child_spec child_specs[CHILD_SPECS];

/* Why we end a child. */
struct child_reason {
	const char *word;     /* for the file of processes */
	const char *sentence; /* "koboshi-net SENTENCE" */
};

struct child {
	const struct child_spec *spec;
	bool unwanted; /* by the configuration: not started */
	pid_t pid;     /* 0: not running */
	int pidfd, link;
	uint64_t born;
	int64_t started_us, start_at_us;   /* of the running one; of the next one */
	int64_t kill_at_us;                /* INT64_MAX: never */
	int64_t reload_until_us;           /* an orderly end until then is what we asked for */
	const struct child_reason *killed; /* we ended it, because */
	unsigned starts, failures;
	int64_t replaced_us;
	int64_t second_us; /* messages are counted by the second */
	unsigned messages;
	struct progress progress; /* engine only */
	char last_exit[32];       /* one word, "-" before the first end */
};

/* Whether it is started at all with this configuration. */
bool child_is_wanted(const struct child_spec *spec, const struct settings *settings);

struct child_world { /* what all children are started with */
	const char *libexec, *config;
	const struct settings *settings; /* what our own place was made by */
	const struct place *place;
};

int child_start(struct child *child, const struct child_world *world, int64_t now_us, struct err *err) must_use;

/* Tells it that the configuration changed: it looks by itself, or ends and is started again at once. */
void child_reload(struct child *child, int64_t now_us);

/* SIGKILL, once; logged. Nothing when it does not run. */
void child_kill(struct child *child, const struct child_reason *reason);

/* Its process was reaped with this wait status: says so, forgets the process, sets the time of the next start. */
void child_ended(struct child *child, int wait_status, int64_t now_us, bool stopping);

/* Closes the link: what a child takes as the order to end. */
void child_unlink(struct child *child);
