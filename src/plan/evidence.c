/* Names and classes of findings. What they add up to is in verdict.c. */
#include "plan/evidence.h"

#include <assert.h>

static const struct {
	const char *name;
	const char *sentence;
	enum finding_class kind;
	bool fact;
	enum finding_about about; /* weak ones */
	uint32_t lasts_s;
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
        [FINDING_IO_ERROR] = {"io-error", "had an input or output error on its disk", FINDING_CLASS_COUNTED, true},
        [FINDING_STALLED] = {"stalled", "lets what it is asked wait far longer than is usual for it", FINDING_CLASS_DOUBT},
        [FINDING_UNHEARD] = {"unheard", "takes connections and lets their first requests wait", FINDING_CLASS_DOUBT},
        [FINDING_UNLINKED] = {"unlinked", "has no link at this moment", FINDING_CLASS_DOUBT},
        [FINDING_SILENT] = {"silent", "answers no client any more", FINDING_CLASS_LASTING},
        [FINDING_REFUSED] = {"refused", "refused a new connection", FINDING_CLASS_AT_ONCE},
        [FINDING_PANICKED] = {"panicked", "had a kernel panic", FINDING_CLASS_AT_ONCE, true},
        [FINDING_GONE] = {"gone", "ended by itself", FINDING_CLASS_AT_ONCE, true},
        [FINDING_PAUSED] = {"paused", "stopped running by itself", FINDING_CLASS_AT_ONCE, true},
        [FINDING_RESET] = {"reset", "rebooted by itself", FINDING_CLASS_AT_ONCE, true},
        [FINDING_UNPLUGGED] = {"unplugged", "lost its link", FINDING_CLASS_AT_ONCE, true},
        [FINDING_WATCHDOG] = {"watchdog", "stopped feeding its watchdog", FINDING_CLASS_AT_ONCE, true},
        [FINDING_WRONG_CONTENT] = {"wrong-content", "served other content than its image holds", FINDING_CLASS_COMPROMISE},
        [FINDING_WRONG_CHALLENGE] = {"wrong-challenge", "answered the challenge wrongly", FINDING_CLASS_COMPROMISE},
        [FINDING_GARBAGE] = {"garbage", "answered with something that is not HTTP", FINDING_CLASS_COMPROMISE},
        [FINDING_WRONG_CLOCK] = {"wrong-clock", "has a clock that is off", FINDING_CLASS_COUNTED},
        [FINDING_REACHING] = {"reaching", "opened connections that nobody asked it for", FINDING_CLASS_COMPROMISE, true},
        [FINDING_TOUCHED] = {"touched", "spoke to a decoy", FINDING_CLASS_COMPROMISE, true},
        [FINDING_DENIED] = {"denied", "tried to run a program that its image does not hold", FINDING_CLASS_COMPROMISE, true},
        [FINDING_CHANGED] = {"changed", "changed a file that only its image may hold", FINDING_CLASS_COMPROMISE, true},
        [FINDING_ACCOUNT] = {"account", "changed an account or a login key", FINDING_CLASS_COMPROMISE, true},
        [FINDING_MODULE] = {"module", "loaded a kernel module that its image does not name", FINDING_CLASS_COMPROMISE, true},
        [FINDING_MUTE] = {"mute", "answers while its agent is silent", FINDING_CLASS_COMPROMISE},
        [FINDING_NONSENSE] = {"nonsense", "broke the protocol of its agent's channel", FINDING_CLASS_COMPROMISE, true},
        [FINDING_OUTVOTED] = {"outvoted", "answered otherwise than the other instances", FINDING_CLASS_COMPROMISE},
        [FINDING_MALWARE] = {"malware", "wrote a file that is known as bad", FINDING_CLASS_COMPROMISE, true},
        [FINDING_BUSY] = {"busy", "used far more processor time than is usual for it", FINDING_CLASS_WEAK, false, ABOUT_WORK, 10},
        [FINDING_FLOODING] = {"flooding", "sent far more than is usual for it", FINDING_CLASS_WEAK, false, ABOUT_TRAFFIC, 10},
        [FINDING_WRITING] = {"writing", "used its disk far more than is usual for it", FINDING_CLASS_WEAK, false, ABOUT_WORK, 10},
        [FINDING_STRAYED] = {"strayed", "sent what its traffic profile does not name", FINDING_CLASS_WEAK, false, ABOUT_RULES,
                             60},
        [FINDING_UNUSUAL] = {"unusual", "had traffic unlike its usual", FINDING_CLASS_WEAK, false, ABOUT_TRAFFIC, 30},
        [FINDING_LISTENING] = {"listening", "listens where its image does not", FINDING_CLASS_WEAK, false, ABOUT_INSIDE, 300},
        [FINDING_CONTRADICTED] = {"contradicted", "says that all is well while the path is dead", FINDING_CLASS_WEAK, false,
                                  ABOUT_ANSWERS, 10},
        [FINDING_DIFFERS] = {"differs", "answered otherwise than the one beside it", FINDING_CLASS_WEAK, false, ABOUT_ANSWERS,
                             30},
        [FINDING_SPOOFED] = {"spoofed", "used an address that is not its own", FINDING_CLASS_COMPROMISE, true},
};

enum finding_class finding_class(enum finding finding)
{
	assert(finding < FINDING_MAX_);
	return findings[finding].kind;
}

bool finding_is_fact(enum finding finding)
{
	assert(finding < FINDING_MAX_);
	return findings[finding].fact;
}

enum finding_about finding_about(enum finding finding)
{
	assert(finding_class(finding) == FINDING_CLASS_WEAK);
	return findings[finding].about;
}

int64_t finding_lasts_us(enum finding finding)
{
	assert(finding_class(finding) == FINDING_CLASS_WEAK);
	return (int64_t)findings[finding].lasts_s * 1000000;
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
	        [VANTAGE_PATH] = "path",   [VANTAGE_HYPERVISOR] = "hypervisor",
	        [VANTAGE_WIRE] = "wire",   [VANTAGE_GUEST] = "guest",
	        [VANTAGE_PEER] = "peer",   [VANTAGE_HOST] = "host",
	        [VANTAGE_DECOY] = "decoy", [VANTAGE_FILES] = "files",
	        [VANTAGE_FOG] = "fog",
	};
	return vantage < VANTAGE_MAX_ ? names[vantage] : "?";
}
