#pragma once
/* Whether a program may start or a script be read. */
#include "wire/agent.h"

struct decide_question {
	int fd, tid;
	bool exec;                /* else: an open() */
	enum agent_denied if_not; /* of a script that is read: what to call it when it is not listed; 0: nothing to hash for */
};

enum decide_verdict {
	DECIDE_ALLOW = 0, /* else enum agent_denied: refused for that */
	DECIDE_UNLISTED = AGENT_UNLISTED,
	DECIDE_LATER = 100 /* it has to be hashed first: decide_slowly() */
};

/* Until it is called, a start that was under way when the guarding began is not held against a program. */
void decide_settled(void);

/* The decider's. `question` may be added to. `fan`: the group that asks. */
enum decide_verdict decide_quickly(int fan, struct decide_question *question, bool learning);

/* A worker's. */
enum decide_verdict decide_slowly(int fan, const struct decide_question *question, bool learning);
