#pragma once
/*
 * Evidence: one finding about one instance, from one vantage, at one time. *Unknown* is a value of its own.
 * A detector only reports; what findings add up to is decided in verdict.c alone.
 */
#include <stdbool.h>
#include <stdint.h>

enum vantage {
	VANTAGE_PATH,
	VANTAGE_HYPERVISOR,
	VANTAGE_WIRE,
	VANTAGE_GUEST,
	VANTAGE_PEER,
	VANTAGE_HOST,
	VANTAGE_DECOY,
	VANTAGE_FILES,
	VANTAGE_FOG,
	VANTAGE_MAX_
};

enum finding {
	FINDING_GOOD,    /* right bytes in time */
	FINDING_PROVEN,  /* answered the challenge rightly: good, and the application behind the port lives (without a challenge:
	                    right content) */
	FINDING_UNKNOWN, /* could not look (own shortage, probe not sent): neither good nor bad */
	FINDING_LATE,    /* a right answer after the timeout: the miss stands, but whoever answers does not hang */
	/* by count: one of these is never a verdict (k of n) */
	FINDING_TIMEOUT,     /* no answer within the timeout, connection or reply */
	FINDING_SLOW,        /* answer came in dribbles or larger than allowed */
	FINDING_ERROR,       /* 5xx, or the connection ended in the middle */
	FINDING_UNREACHABLE, /* ICMP unreachable, no route */
	FINDING_UNANSWERED,  /* a client's SYN got no reply for several times the usual handshake time */
	FINDING_WRONG_CLOCK, /* answer's clock is off by more than allowed (after a wake-up: not yet set) */
	FINDING_IO_ERROR,    /* a read or write of the guest's disk failed on the host */
	/* told again while it lasts: no reason to end anybody, but for clients to be led to another one that answers meanwhile */
	FINDING_STALLED,  /* several probes are not answered, for far longer than usual; none of them is a miss yet */
	FINDING_UNLINKED, /* its link in the host has no carrier, at this moment */
	FINDING_UNHEARD,  /* takes connections and answers the first request of none; counts when told twice */
	/* the same, and counts when whoever is asked then does not answer and another one does */
	FINDING_SILENT, /* several clients asked and not one was answered, for far longer than usual */
	/* at once */
	FINDING_REFUSED,   /* RST to a new connection: the port is closed */
	FINDING_PANICKED,  /* guest kernel panic */
	FINDING_GONE,      /* guest's process ended or it shut down, and nobody ordered that */
	FINDING_PAUSED,    /* guest stopped running, and nobody ordered that */
	FINDING_RESET,     /* guest rebooted by itself */
	FINDING_UNPLUGGED, /* its link in the host lost its carrier or was taken down, and nobody ordered that */
	FINDING_WATCHDOG,  /* guest stopped feeding its watchdog device */
	/* at once, and it means takeover, not fault */
	FINDING_WRONG_CONTENT,   /* a good status with other bytes than the manifest's */
	FINDING_WRONG_CHALLENGE, /* digest does not fit nonce, key and page */
	FINDING_GARBAGE,         /* not HTTP at all, or breaks the protocol */
	FINDING_SPOOFED,         /* frames with an address that is not the instance's own: ARP, ND, VRRP, IP */
	FINDING_REACHING,        /* opens connections, many in a short time: looks around */
	FINDING_TOUCHED,         /* spoke to a decoy, which nobody has a reason to know */
	FINDING_DENIED,          /* tried to run a program that is not its image's; the agent stopped it */
	FINDING_CHANGED,         /* a file that only its image's builder may write was changed */
	FINDING_ACCOUNT,         /* an account or a login key was added or changed */
	FINDING_MODULE,          /* a kernel module was loaded that is not its image's */
	FINDING_MUTE,            /* its agent is silent, or gone, while the service answers: somebody ended it */
	FINDING_NONSENSE,        /* breaks the agent channel's protocol: lengths, order, times, amount */
	FINDING_OUTVOTED,        /* answers otherwise than the majority of instances does */
	FINDING_MALWARE,         /* wrote a file that a rule or a list of known bad files names */
	/* weak: from one vantage alone never a verdict; from two, about two different things, it means takeover */
	FINDING_BUSY,         /* uses far more processor time than is usual for what it is asked */
	FINDING_FLOODING,     /* sends far more than is usual for what it is asked */
	FINDING_WRITING,      /* reads or writes far more on its disk than is usual for what it is asked */
	FINDING_STRAYED,      /* a packet outside of its traffic profile (MUD) */
	FINDING_UNUSUAL,      /* flows unlike its usual ones: fan-out, failures, new peers, amounts, regularity */
	FINDING_LISTENING,    /* listens where its image does not */
	FINDING_CONTRADICTED, /* its agent says that the service is well, the path that it is dead: one of them lies */
	FINDING_DIFFERS,      /* of two instances that answer differently, one: nobody knows which */
	FINDING_MAX_
};

enum finding_class {
	FINDING_CLASS_GOOD,
	FINDING_CLASS_UNKNOWN,
	FINDING_CLASS_COUNTED,
	FINDING_CLASS_DOUBT,
	FINDING_CLASS_LASTING,
	FINDING_CLASS_AT_ONCE,
	FINDING_CLASS_COMPROMISE,
	FINDING_CLASS_WEAK
};

struct evidence {
	int64_t time_us;   /* CLOCK_MONOTONIC, when it was seen */
	uint32_t instance; /* subject */
	enum vantage vantage;
	enum finding finding;
	int64_t began_us; /* when the probe or the client's connection began; = time_us when not a thing that lasts */
};

#define FINDING_WEAK_FIRST FINDING_BUSY
#define FINDING_WEAK (FINDING_MAX_ - FINDING_WEAK_FIRST) /* so many weak ones, the last of all */

/* What a weak finding is about. Two looks at one thing are one look: a guest whose clients ask for much more than usual is
 * strange to whoever counts bytes and to whoever counts flows. */
enum finding_about { ABOUT_WORK, ABOUT_TRAFFIC, ABOUT_RULES, ABOUT_INSIDE, ABOUT_ANSWERS, ABOUT_MAX_ };

enum finding_class finding_class(enum finding finding);
/* True whenever it was seen: told by whoever saw it happen, whatever state the instance was in and however late we look. A
 * finding that is no fact depends on times, and on there being somebody to answer. */
bool finding_is_fact(enum finding finding);
enum finding_about finding_about(enum finding finding); /* of a weak one */
int64_t finding_lasts_us(enum finding finding);         /* a weak one counts for so long */
const char *finding_name(enum finding finding);         /* "refused" */
const char *finding_sentence(enum finding finding);     /* "the port refused a new connection", for people */
const char *vantage_name(enum vantage vantage);
