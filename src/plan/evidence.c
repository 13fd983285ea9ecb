/* Names and classes of findings. What they add up to is in verdict.c. */
#include "plan/evidence.h"

#include <assert.h>

static const struct {
	const char *name;
	const char *sentence;
	enum finding_class kind;
} findings[FINDING_MAX_] = {
        [FINDING_GOOD] = {"good", "answered rightly", FINDING_CLASS_GOOD},
        [FINDING_PROVEN] = {"proven", "answered the challenge rightly", FINDING_CLASS_GOOD},
        [FINDING_UNKNOWN] = {"unknown", "could not be looked at", FINDING_CLASS_UNKNOWN},
        [FINDING_LATE] = {"late", "answered late", FINDING_CLASS_UNKNOWN},
        [FINDING_TIMEOUT] = {"timeout", "did not answer in time", FINDING_CLASS_COUNTED},
        [FINDING_SLOW] = {"slow", "answered in dribbles or without end", FINDING_CLASS_COUNTED},
        [FINDING_ERROR] = {"error", "answered with an error", FINDING_CLASS_COUNTED},
        [FINDING_UNREACHABLE] = {"unreachable", "could not be reached", FINDING_CLASS_COUNTED},
        [FINDING_UNANSWERED] = {"unanswered", "left a client's connection request unanswered", FINDING_CLASS_COUNTED},
        [FINDING_REFUSED] = {"refused", "refused a new connection", FINDING_CLASS_AT_ONCE},
        [FINDING_PANICKED] = {"panicked", "had a kernel panic", FINDING_CLASS_AT_ONCE},
        [FINDING_GONE] = {"gone", "ended by itself", FINDING_CLASS_AT_ONCE},
        [FINDING_PAUSED] = {"paused", "stopped running by itself", FINDING_CLASS_AT_ONCE},
        [FINDING_RESET] = {"reset", "rebooted by itself", FINDING_CLASS_AT_ONCE},
        [FINDING_WRONG_CONTENT] = {"wrong-content", "served other content than its image holds", FINDING_CLASS_COMPROMISE},
        [FINDING_WRONG_CHALLENGE] = {"wrong-challenge", "answered the challenge wrongly", FINDING_CLASS_COMPROMISE},
        [FINDING_GARBAGE] = {"garbage", "answered with something that is not HTTP", FINDING_CLASS_COMPROMISE},
        [FINDING_WRONG_CLOCK] = {"wrong-clock", "has a clock that is off", FINDING_CLASS_COUNTED},
        [FINDING_REACHING] = {"reaching", "opened connections that nobody asked it for", FINDING_CLASS_COMPROMISE},
        [FINDING_BUSY] = {"busy", "used far more processor time than is usual for it", FINDING_CLASS_WEAK},
        [FINDING_FLOODING] = {"flooding", "sent far more than is usual for it", FINDING_CLASS_WEAK},
        [FINDING_SPOOFED] = {"spoofed", "used an address that is not its own", FINDING_CLASS_COMPROMISE},
};

enum finding_class finding_class(enum finding finding)
{
	assert(finding < FINDING_MAX_);
	return findings[finding].kind;
}

const char *finding_name(enum finding finding)
{
	return finding < FINDING_MAX_ ? findings[finding].name : "?";
}

const char *finding_sentence(enum finding finding)
{
	return finding < FINDING_MAX_ ? findings[finding].sentence : "?";
}

const char *vantage_name(enum vantage vantage)
{
	static const char *const names[VANTAGE_MAX_] = {
	        [VANTAGE_PATH] = "path", [VANTAGE_HYPERVISOR] = "hypervisor",
	        [VANTAGE_WIRE] = "wire", [VANTAGE_GUEST] = "guest",
	        [VANTAGE_PEER] = "peer", [VANTAGE_HOST] = "host",
	        [VANTAGE_FOG] = "fog",
	};
	return vantage < VANTAGE_MAX_ ? names[vantage] : "?";
}
