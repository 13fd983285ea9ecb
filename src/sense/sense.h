#pragma once
/*
 * Detectors. Each is one file that ends in one report; none decides. All run on the engine's libuv loop, block
 * nowhere, and hold a bounded amount of what a guest sends, for a bounded time.
 */
#include "conf/conf.h"
#include "plan/evidence.h"
#include "sense/agent.h"
#include "sense/silence.h"

#include <uv.h>

typedef void sense_report(void *arg, const struct evidence *evidence, const char *detail);
/* `detail` is one short sentence or ""; valid during the call only, printable ASCII (whatever a guest sent is cleaned).
 * The report function may start and stop probes, the reporting one included. */

#define SENSE_HOSTS_MAX 4
#define SENSE_HOST_MAX 64

struct sense_target {
	uint32_t instance;    /* above 0 */
	enum vantage vantage; /* what reports say */
	struct conf_instance address;
	struct conf_probe probe; /* copy */
	uint8_t key[32];         /* challenge key of the instance */
	struct {
		char path[CONF_PATH_MAX];
		uint8_t sha256[32];
	} content[CONF_CONTENT_MAX]; /* what the manifest says */
	size_t n_content;
	char json_path[CONF_PATH_MAX]; /* asked now and then, any JSON is right ("/api/reading"); "": not asked */
	/* What clients write in Host: the service's names and addresses (brackets around IPv6, ":port" unless 80). Without any,
	 * the address that is connected to, which no client knows: a guest could tell probes by it. */
	char hosts[SENSE_HOSTS_MAX][SENSE_HOST_MAX];
	size_t n_hosts;
	struct in_addr source4; /* probes bind to this address; the net actuator disguises it. 0: do not bind */
	struct in6_addr source6;
	bool use6;           /* alternate with IPv6 */
	bool content_proves; /* the service has no challenge: right content is FINDING_PROVEN, and it is never asked for another
	                        proof */
	uint32_t clock_slack_ms; /* guest's clock may be off by this; 0: not checked */
};

/*
 * ---- prober.c: asks one instance, over and over. A probe starts each interval (+-20 %) whether or not those before it are
 * through (up to four at a time), so that a hung server costs k intervals and one timeout, not k timeouts. What is said is
 * http.c's (GET with changing headers and order; content, challenge, plain) or plain.c's, for services that speak no HTTP.
 */
struct sense_prober;

/* The first probe starts on the loop's next turn, then one every interval. Copies `target`. All reports come from the loop, never
 * from within a call. Never NULL. */
struct sense_prober *sense_prober_new(uv_loop_t *loop, const struct sense_target *target, sense_report *report, void *arg);

/* Asks for `kind` next and at once, out of turn (proving): SENSE_PROBE_ANY, _CONTENT or _CHALLENGE. A challenge needs the
 * content of "/" in the target; without it, and without HTTP, any other probe is sent. */
enum sense_probe { SENSE_PROBE_ANY, SENSE_PROBE_CONTENT, SENSE_PROBE_CHALLENGE };
void sense_prober_ask(struct sense_prober *prober, enum sense_probe kind);

/* Of what it asks: how long nothing of it may be answered before that is a FINDING_STALLED. */
struct silence_limits sense_prober_limits(const struct sense_prober *prober);

void sense_prober_free(struct sense_prober *prober); /* no report afterwards; NULL is fine */

/* ---- answer.c: pure. What an answer's bytes are worth; the fuzzer's target. See answer.h. */
struct sense_answer;

/*
 * ---- wire.c: NFLOG. Resets and unanswered SYNs at the taps, spoofing attempts; from a descriptor that the net actuator opened.
 * The rules' prefixes say what a packet is:
 *   kb:rst    RST+ACK or ICMP unreachable by which a guest refuses a new connection (forward hook, source = guest)
 *   kb:syn    a client's SYN after DNAT (forward hook, destination = guest)
 *   kb:ack    the guest's SYN+ACK (forward hook, source = guest)
 *   kb:ask    the first segment with data of a connection to a guest (forward hook, destination = guest)
 *   kb:say    the first one to three with data that come back in it (forward hook, source = guest)
 *   kb:spoof  a frame or packet dropped at a tap (input interface = the tap)
 *   kb:out    a connection that the guest opens (input interface = the tap); of guests without a profile
 *   kb:stray  a packet outside of the guest's profile (input interface = the tap)
 *   kb:decoy  it asks where nobody is (input interface = the tap)
 *   kb:try    a datagram by which it would have opened something, refused (input interface = the tap)
 *   kb:dns    an answer to a name that it asked for (forward hook, destination = guest)
 * The rules need queue-threshold 1, or the kernel holds packets back for up to a second; kb:syn and kb:ask may come with what
 * follows them, some milliseconds late: the kernel's stamp counts.
 */
struct sense_wire;
struct sense_wire_counts {
	uint64_t packets, malformed, resets, unanswered, silent, spoofed, lost /* ENOBUFS */;
	uint64_t reached;   /* connections that guests opened; with a profile: outside of it */
	uint64_t strayed;   /* packets outside of a profile, as far as they were told */
	uint64_t touched;   /* decoys */
	uint64_t strange;   /* about no instance that was added */
	uint64_t displaced; /* pending SYNs forgotten because the table was full */
};

/* Takes `fd` (a NETLINK_NETFILTER socket bound to the group, non-blocking). A SYN that is pending for several times the usual
 * handshake, at least `handshake_ms`, is FINDING_UNANSWERED; several without a single answer, for several times the longest that
 * this took lately, FINDING_SILENT (silence.h), and FINDING_STALLED before that; several first requests of
 * connections that were taken alike: FINDING_UNHEARD, and once more if it lasts. Never NULL. */
struct sense_wire *sense_wire_new(uv_loop_t *loop, int fd, uint32_t handshake_ms, sense_report *report, void *arg);

/* Instances that packets may be about: at most SYNS_GUESTS_MAX, by address and tap name; of `probe` count the
 * shortest silence and stall that are told. Adding again updates. */
void sense_wire_add(struct sense_wire *wire, const struct conf_instance *instance, const struct conf_probe *probe);
void sense_wire_remove(struct sense_wire *wire, uint32_t number);

/* What guests try to open is told to `flows` from now on (NULL: no more). */
struct sense_flows;
void sense_wire_tell(struct sense_wire *wire, struct sense_flows *flows);

/* Likewise of what clients ask of an instance: FINDING_STALLED, FINDING_UNHEARD. Nothing is known of one that was not added. */
struct silence_limits sense_wire_limits(const struct sense_wire *wire, uint32_t number, enum finding finding);

void sense_wire_counts(const struct sense_wire *wire, struct sense_wire_counts *ret_counts);
void sense_wire_free(struct sense_wire *wire);

/*
 * ---- channel.c: the port of the agent inside a guest. One for each instance whose image has an agent, from before its start to
 * its end; connections come and go. Findings are agent.h's, from VANTAGE_GUEST.
 */
struct sense_channel;
struct sense_channel_target {
	uint32_t instance;
	uint8_t list[AGENT_HASH]; /* of the allowlist in its image; all zero: none */
	int64_t began_us;         /* not after the guest's start; 0: it ran before we came */
	uint32_t failures;        /* so many probes missed in a row: the path is dead */
};

/* Never NULL. Not connected. */
struct sense_channel *sense_channel_new(uv_loop_t *loop, const struct sense_channel_target *target, sense_report *report,
                                        void *arg);

/* Takes `fd`, a connected stream socket, non-blocking. When it is connected already the new one is closed. */
void sense_channel_connect(struct sense_channel *channel, int fd, const uint8_t key[static AGENT_KEY]);
bool sense_channel_connected(const struct sense_channel *channel);

/* While this is set an agent's first hello is answered with the key; never afterwards. */
void sense_channel_starting(struct sense_channel *channel, bool starting);

/* What the path's probes of the same instance found. */
void sense_channel_probed(struct sense_channel *channel, bool good, int64_t time_us);

/* Orders the agent to restart or to stop the service (AGENT_RESTART, AGENT_STOP). What comes of it is in the watch
 * (`carried_out`). -ENOTCONN: it is not heard; -ENOTSUP: it cannot; -EIO: it does not read. */
int sense_channel_order(struct sense_channel *channel, enum agent_type order) must_use;

/* Ten times a second. `listening`: the guest runs and serves, and our own senses are there; `busy`: see agent.h. */
void sense_channel_look(struct sense_channel *channel, bool listening, bool busy);

const struct agent_watch *sense_channel_watch(const struct sense_channel *channel);
void sense_channel_free(struct sense_channel *channel); /* no report afterwards; NULL is fine */

/*
 * ---- flow_reader.c: conntrack's events, from a descriptor that the net actuator opened; what they mean is flows.c's. It lives
 * longer than a descriptor: what is usual for a guest outlives a koboshi-net. Reports are FINDING_UNUSUAL.
 */
#include "sense/flows.h"

struct sense_flows *sense_flows_new(uv_loop_t *loop, sense_report *report, void *arg); /* never NULL */

/* Takes `fd` (a NETLINK_NETFILTER socket in conntrack's groups for new and ended flows, non-blocking, that a list of the flows
 * that are there was asked for on). Instances should be known before: flows of strangers are passed over. */
void sense_flows_read(struct sense_flows *flows, int fd);

void sense_flows_add(struct sense_flows *flows, const struct conf_instance *instance); /* at most FLOWS_GUESTS_MAX */
void sense_flows_remove(struct sense_flows *flows, uint32_t number);
void sense_flows_cut(struct sense_flows *flows, uint32_t number); /* all of its flows ended, perhaps without being told */
void sense_flows_work(struct sense_flows *flows, uint32_t number, bool at_work); /* see flows_work() */
void sense_flows_tried(struct sense_flows *flows, uint32_t number, const struct nflog_address *to, uint16_t port,
                       uint8_t protocol, uint16_t from_port);
struct dns_answer;
void sense_flows_named(struct sense_flows *flows, uint32_t number, const struct dns_answer *answer);

const struct flows *sense_flows_core(const struct sense_flows *flows); /* to look at */
uint64_t sense_flows_malformed(const struct sense_flows *flows);
bool sense_flows_reads(const struct sense_flows *flows); /* is there a descriptor? */
void sense_flows_free(struct sense_flows *flows);
