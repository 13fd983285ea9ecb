/*
 * The configuration's one table: every key with its type, range, default and help. The reader, the manual's key list and
 * the JSON Schema come from it. Hooks are here for values that fill more than one field.
 */
#include "conf/conf_local.h"
#include "conf/schema.h"
#include "lib/bytes.h"

#include <string.h>

static bool address_is_usable(const struct yaml_value *value)
{
	if (value->family == AF_INET6)
		return !IN6_IS_ADDR_UNSPECIFIED(&value->address6) && !IN6_IS_ADDR_MULTICAST(&value->address6) &&
		       !IN6_IS_ADDR_LOOPBACK(&value->address6) && !IN6_IS_ADDR_LINKLOCAL(&value->address6) &&
		       !IN6_IS_ADDR_V4MAPPED(&value->address6);
	uint32_t address = ntohl(value->address4.s_addr);
	return address >> 24 != 0 && address >> 24 != 127 && address >> 28 < 14;
}

static int service_address(const struct yaml_node *node, const struct yaml_value *value, void *object, struct err *err)
{
	struct conf_service *service = object;
	bool six = value->family == AF_INET6, *has = six ? &service->has_address6 : &service->has_address4;
	if (!address_is_usable(value))
		return yaml_fail(node, err, "%s cannot be a service address: clients elsewhere cannot reach it", value->text);
	if (*has)
		return yaml_fail(node, err, "%s is the second %s address: a service has one at most", value->text,
		                 six ? "IPv6" : "IPv4");
	*has = true;
	if (six)
		service->address6 = value->address6;
	else
		service->address4 = value->address4;
	return 0;
}

static int port_add(const struct yaml_node *node, const struct yaml_value *value, struct conf_port *ports, size_t *n,
                    struct err *err)
{
	const struct conf_port port = {(uint16_t)value->number, value->protocol};
	for (size_t i = 0; i < *n; i++)
		if (ports[i].port == port.port && ports[i].protocol == port.protocol)
			return yaml_fail(node, err, "port %s is there twice", value->text);
	ports[(*n)++] = port;
	return 0;
}

static int service_port(const struct yaml_node *node, const struct yaml_value *value, void *object, struct err *err)
{
	struct conf_service *service = object;
	return port_add(node, value, service->ports, &service->n_ports, err);
}

static int decoy_except(const struct yaml_node *node, const struct yaml_value *value, void *object, struct err *err)
{
	struct conf *conf = object;
	return port_add(node, value, conf->decoy_except, &conf->n_decoy_except, err);
}

static int range_add(const struct yaml_value *value, struct conf_range4 *four, size_t *n4, struct conf_range6 *six, size_t *n6)
{
	if (value->family == AF_INET6)
		six[(*n6)++] = (struct conf_range6){value->address6, value->prefix};
	else
		four[(*n4)++] = (struct conf_range4){value->address4, value->prefix};
	return 0;
}

static int service_client(const struct yaml_node *node unused_arg, const struct yaml_value *value, void *object,
                          struct err *err unused_arg)
{
	struct conf_service *s = object;
	return range_add(value, s->clients4, &s->n_clients4, s->clients6, &s->n_clients6);
}

static int service_controller(const struct yaml_node *node unused_arg, const struct yaml_value *value, void *object,
                              struct err *err unused_arg)
{
	struct conf_service *s = object;
	return range_add(value, s->controllers4, &s->n_controllers4, s->controllers6, &s->n_controllers6);
}

static int service_local(const struct yaml_node *node unused_arg, const struct yaml_value *value, void *object,
                         struct err *err unused_arg)
{
	struct conf_service *s = object;
	return range_add(value, s->local4, &s->n_local4, s->local6, &s->n_local6);
}

static int service_rung(const struct yaml_node *node, const struct yaml_value *value, void *object, struct err *err)
{
	struct conf_service *service = object;
	bool restart = strcmp(value->text, "restart") == 0;
	if (!restart && strcmp(value->text, "reboot") != 0)
		return yaml_fail(node, err, "a rung of 'ladder' must be 'restart' or 'reboot', not '%.80s'", value->text);
	service->ladder |= restart ? CONF_LADDER_RESTART : CONF_LADDER_REBOOT;
	return 0;
}

static int service_carried(const struct yaml_node *node, const struct yaml_value *value, void *object, struct err *err)
{
	struct conf_service *service = object;
	return conf_guest_file(node, "carry", value->text, service->carry[service->n_carry++], CONF_CARRY_PATH_MAX, err);
}

/* One byte as it is written; returns how many characters that took, 0: none may follow this backslash. */
static size_t byte_read(const char *text, uint8_t *ret_byte)
{
	static const char letters[] = "rnt\\", meanings[] = "\r\n\t\\";
	if (text[0] != '\\') {
		*ret_byte = (uint8_t)text[0];
		return 1;
	}
	const char *letter = text[1] ? strchr(letters, text[1]) : NULL;
	if (letter) {
		*ret_byte = (uint8_t)meanings[letter - letters];
		return 2;
	}
	char digits[3] = "";
	if (text[1] == 'x' && text[2])
		text_copy(digits, sizeof(digits), (char[]){text[2], text[3], '\0'});
	return bytes_from_hex(digits, ret_byte, 1) ? 4 : 0;
}

static int bytes_read(const struct yaml_node *node, const char *key, const char *text, struct conf_bytes *ret_bytes,
                      struct err *err)
{
	for (size_t used; *text; text += used) {
		if (ret_bytes->size == CONF_BYTES_MAX)
			return yaml_fail(node, err, "'%s' can have %d bytes at most", key, CONF_BYTES_MAX);
		used = byte_read(text, &ret_bytes->bytes[ret_bytes->size++]);
		if (used == 0)
			return yaml_fail(node, err, "'%s' has '%.4s': a backslash is followed by r, n, t, a backslash or xHH",
			                 key, text);
	}
	return 0;
}

static int probe_send(const struct yaml_node *node, const struct yaml_value *value, void *object, struct err *err)
{
	return bytes_read(node, "send", value->text, &((struct conf_service *)object)->probe.send, err);
}

static int probe_expect(const struct yaml_node *node, const struct yaml_value *value, void *object, struct err *err)
{
	return bytes_read(node, "expect", value->text, &((struct conf_service *)object)->probe.expect, err);
}

static int probe_challenge(const struct yaml_node *node, const struct yaml_value *value, void *object, struct err *err)
{
	struct conf_probe *probe = &((struct conf_service *)object)->probe;
	struct yaml_value path;
	char want[200];
	static const struct yaml_key as_path = {.width = CONF_PATH_MAX};
	if (strcmp(value->text, "no") == 0 || strcmp(value->text, "off") == 0 || strcmp(value->text, "false") == 0)
		return 0;
	if (!yaml_value_parse(&as_path, YAML_URL_PATH, value->text, &path, want, sizeof(want)))
		return yaml_fail(node, err, "'challenge' must be 'no' or %s, not '%.80s'", want, value->text);
	if (strchr(value->text, '?'))
		return yaml_fail(node, err, "'challenge' must be a path without '?': the question is put behind it");
	probe->challenge = true;
	text_copy(probe->challenge_path, sizeof(probe->challenge_path), value->text);
	return 0;
}

static int guests_address(const struct yaml_node *node, const struct yaml_value *value, void *object, struct err *err)
{
	struct conf *conf = object;
	bool six = value->family == AF_INET6;
	unsigned low = six ? 64 : 16, high = six ? 112 : 28;
	if (six ? conf->guests6.prefix : conf->guests4.prefix)
		return yaml_fail(node, err, "%s is the second %s range: guests have one", value->text, six ? "IPv6" : "IPv4");
	if (value->prefix < low || value->prefix > high)
		return yaml_fail(node, err, "%s: the guests' %s range must have a prefix between /%u and /%u", value->text,
		                 six ? "IPv6" : "IPv4", low, high);
	if (!address_is_usable(value))
		return yaml_fail(node, err, "%s cannot be the guests' range: packets to it are not routed", value->text);
	if (six)
		conf->guests6 = (struct conf_range6){value->address6, value->prefix};
	else
		conf->guests4 = (struct conf_range4){value->address4, value->prefix};
	return 0;
}

static int never_cut(const struct yaml_node *node unused_arg, const struct yaml_value *value, void *object,
                     struct err *err unused_arg)
{
	struct conf *conf = object;
	return range_add(value, conf->never_cut4, &conf->n_never_cut4, conf->never_cut6, &conf->n_never_cut6);
}

static int guests_resolver(const struct yaml_node *node unused_arg, const struct yaml_value *value, void *object,
                           struct err *err unused_arg)
{
	struct conf *conf = object;
	conf->resolvers[conf->n_resolvers++] =
	        (struct conf_address){.family = value->family, .four = value->address4, .six = value->address6};
	return 0;
}

static int engine_user(const struct yaml_node *node, const struct yaml_value *value, void *object, struct err *err)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
	struct conf *conf = object;
	const char *text = value->text;
	if (text[0] == '-' || text[strspn(text, letters)] || strlen(text) >= CONF_NAME_MAX)
		return yaml_fail(node, err, "'user' must be a user's name or number, not '%.80s'", text);
	text_copy(conf->user, sizeof(conf->user), text);
	return 0;
}

static int folder_service(const struct yaml_node *node, const struct yaml_value *value, void *object, struct err *err)
{
	struct conf_folder *folder = object;
	if (!text_copy(folder->service, sizeof(folder->service), value->text))
		return yaml_fail(node, err, "'service' must be at most %d bytes long", CONF_NAME_MAX - 1);
	return 0; /* whether there is one of that name: check.c */
}

static int hypervisor_uri(const struct yaml_node *node, const struct yaml_value *value, void *object, struct err *err)
{
	struct conf *conf = object;
	const char *text = value->text;
	if (strcmp(text, "embed") != 0 && !strstr(text, ":///"))
		return yaml_fail(node, err, "'uri' must be 'embed' or a libvirt URI on this host (qemu:///system), not '%.80s'",
		                 text);
	if (strlen(text) >= CONF_PATH_MAX)
		return yaml_fail(node, err, "'uri' must be at most %d bytes long", CONF_PATH_MAX - 1);
	text_copy(conf->libvirt, sizeof(conf->libvirt), text);
	return 0;
}

/* clang-format off */
static const char *const accelerators[] = {"auto", "tcg", "kvm", NULL};
static const char *const outside_words[] = {"count", "limit", "cut", NULL};

static const struct yaml_key path_keys[] = {
	{.key = "state", .type = YAML_PATH, YAML_FIELD(struct conf, state_dir), .fallback = "/var/lib/koboshi",
	 .help = "Folder of the ledger and the evidence. Must outlive a reboot."},
	{.key = "run", .type = YAML_PATH, YAML_FIELD(struct conf, run_dir), .fallback = "/run/koboshi",
	 .help = "Folder of sockets, guests' seeds and logs; at most 60 bytes long, since sockets lie below it."},
	{.key = "images", .type = YAML_PATH, YAML_FIELD(struct conf, image_dir), .fallback = "/var/lib/koboshi/images",
	 .help = "Folder with one folder for each variant, made by *koboshi-image*(1)."},
	{.key = "image_key", .type = YAML_PATH, YAML_FIELD(struct conf, image_key), .fallback = "/etc/koboshi/image.pub",
	 .help = "Public key (PEM, Ed25519) that the images' manifests must be signed with."},
	{.key = NULL},
};

static const struct yaml_key hypervisor_keys[] = {
	{.key = "uri", .type = YAML_TEXT, YAML_FIELD(struct conf, libvirt), .hook = hypervisor_uri, .fallback = "embed",
	 .help = "_embed_: libvirt's QEMU driver inside our own process, no daemon needed. Or the URI of a libvirt daemon on "
	         "this host, such as _qemu:///system_."},
	{.key = "accelerator", .type = YAML_WORD, YAML_FIELD(struct conf, accel), .words = accelerators, .fallback = "auto",
	 .help = "_auto_ takes KVM only when a guest has really booted with it, else software emulation (_tcg_)."},
	{.key = "lab", .type = YAML_BOOL, YAML_FIELD(struct conf, lab), .fallback = "no",
	 .help = "Gives guests a command channel for staged attacks. Never on a real device."},
	{.key = NULL},
};

static const struct yaml_key guests_keys[] = {
	{.key = "addresses", .type = YAML_LIST, .item = YAML_RANGE, .required = true, .min = 2, .limit = 2, .hook = guests_address,
	 .help = "One IPv4 range (prefix /16 to /28) and one IPv6 range (/64 to /112). Each guest gets one address of each. "
	         "They are seen on this host only; nothing else may use them."},
	{.key = "resolvers", .type = YAML_LIST, .item = YAML_ADDRESS, .limit = CONF_RESOLVERS_MAX, .hook = guests_resolver,
	 .fallback = "[]", .help = "DNS servers that the host asks for the names in profiles. Who they are believed decides whom guests may "
	         "reach by name. Default: those of _/etc/resolv.conf_."},
	{.key = NULL},
};

static const char *const protocol_words[] = {"http", "tcp", "udp", NULL};
#define BYTES_WIDTH (4 * CONF_BYTES_MAX + 1) /* each as \\xHH */

static const struct yaml_key probe_keys[] = {
	{.key = "protocol", .type = YAML_WORD, YAML_FIELD(struct conf_service, probe.protocol), .words = protocol_words,
	 .fallback = "http", .help = "What the port speaks. With _tcp_ a probe is a connection, what _send_ says in it, and an answer that begins with _expect_; "
	         "without _expect_ the connection alone, which a kernel completes for a server that hangs as well. With _udp_ it is one datagram each way. No "
	         "takeover is seen in such answers: another one counts as a miss. _content_, _challenge_ and _peer_ are of use with _http_ only."},
	{.key = "tls", .type = YAML_BOOL, YAML_FIELD(struct conf_service, probe.tls), .fallback = "no",
	 .help = "_yes_: the port speaks that inside of TLS (1.2 or 1.3), as for HTTPS or MQTTS. Each connection shakes hands anew. Whose certificate it is and "
	         "until when is not looked at: whoever took a guest over has its key, and a date that all of them pass at once must not fell them."},
	{.key = "send", .type = YAML_TEXT, .width = BYTES_WIDTH, .hook = probe_send,
	 .help = "With _tcp_ and _udp_: what is said, 128 bytes at most, written as text with \\\\r, \\\\n, \\\\t, \\\\\\\\ and \\\\xHH, in single quotes so "
	         "that YAML leaves it as it is: _'PING\\\\r\\\\n'_. Default: nothing, the server speaks first."},
	{.key = "expect", .type = YAML_TEXT, .width = BYTES_WIDTH, .hook = probe_expect,
	 .help = "With _tcp_ and _udp_: what the answer begins with, written alike: _'+PONG'_, _'SSH-2.0-'_."},
	{.key = "interval", .type = YAML_DURATION, YAML_FIELD(struct conf_service, probe.interval_ms), .min = 20, .max = 60000,
	 .fallback = "100ms", .help = "Time from one probe to the next."},
	{.key = "timeout", .type = YAML_DURATION, YAML_FIELD(struct conf_service, probe.timeout_ms), .min = 20, .max = 60000,
	 .fallback = "250ms", .help = "A whole answer must be there by then. At most _window_ intervals."},
	{.key = "failures", .type = YAML_INTEGER, YAML_FIELD(struct conf_service, probe.failures), .min = 1, .max = 32,
	 .fallback = "3", .help = "So many unanswered probes among the last _window_ mean: failed."},
	{.key = "window", .type = YAML_INTEGER, YAML_FIELD(struct conf_service, probe.window), .min = 1, .max = 32,
	 .fallback = "5", .help = "So many last probes are looked at."},
	{.key = "silence", .type = YAML_DURATION, YAML_FIELD(struct conf_service, probe.silence_ms), .min = 0, .max = 1000,
	 .fallback = "20ms", .help = "When no client's new connection is answered any more for so long, at least, and for four times the longest that this "
	         "took in the last minutes, all instances are asked at once; if it lasts as long again, and another one answers and this one does not, it has "
	         "failed. _0s_ turns it off: then probes alone find it."},
	{.key = "stall", .type = YAML_DURATION, YAML_FIELD(struct conf_service, probe.stall_ms), .min = 0, .max = 1000,
	 .fallback = "10ms", .help = "When the serving guest answers no probe, no client's new connection or no first request of one, for so long, at least, and for four times the longest "
	         "that this took in the last minutes, or its link is down, and another guest answers meanwhile, that one serves from then on: a planned "
	         "switch, by which nobody loses anything. The doubtful one goes on with whoever is with it, and is judged as ever. _0s_ turns it off: clients "
	         "stay until it has failed."},
	{.key = "port", .type = YAML_INTEGER, YAML_FIELD(struct conf_service, probe.port), .min = 1, .max = 65535,
	 .help = "Port that is probed, one of _ports_. Default: the first TCP port; with _protocol: udp_ the first UDP port."},
	{.key = "content", .type = YAML_LIST, .item = YAML_URL_PATH, YAML_ITEMS(struct conf_service, probe.content, probe.n_content),
	 .fallback = "[/]", .help = "Paths whose bytes the image's manifest knows; other bytes mean: compromised. With a _challenge_, which is about the bytes of _/_, that is one of them."},
	{.key = "challenge", .type = YAML_TEXT, YAML_FIELD(struct conf_service, probe.challenge_path), .hook = probe_challenge,
	 .fallback = "/api/challenge", .help = "Path where the application proves that it lives and serves what it should; with _no_ right content is all the proof."},
	{.key = "challenge_every", .type = YAML_DURATION, YAML_FIELD(struct conf_service, probe.challenge_ms), .min = 20,
	 .max = 3600000, .fallback = "1s", .help = "Time from one challenge to the next; at least _interval_."},
	{.key = "peer", .type = YAML_LIST, .item = YAML_URL_PATH, YAML_ITEMS(struct conf_service, probe.peer, probe.n_peer),
	 .fallback = "[/, /robots.txt]", .help = "Paths that all running instances are asked for at the same moment, by GET; who answers otherwise than "
	         "the others is suspect. Name what the manifest does not know and what must be equal at any time: an answer that is computed, "
	         "a path that is not there. Compared are the status and the body: JSON by its meaning, all else by its bytes; of answers above "
	         "299 a body that is not JSON is passed over, since each web server has its own error pages. Headers differ from server to server and are not "
	         "compared, and a server error (5xx, 408, 429) counts as no answer. _[]_ turns it off."},
	{.key = "peer_every", .type = YAML_DURATION, YAML_FIELD(struct conf_service, probe.peer_ms), .min = 100, .max = 3600000,
	 .fallback = "2s", .help = "Time from one such question to the next; the paths take turns."},
	{.key = "peer_ignore", .type = YAML_LIST, .item = YAML_TEXT, YAML_ITEMS(struct conf_service, probe.peer_ignore, probe.n_peer_ignore),
	 .fallback = "[]", .help = "Members of JSON objects, at any depth, that may differ from instance to instance: a time, a counter."},
	{.key = "body", .type = YAML_SIZE, YAML_FIELD(struct conf_service, probe.body_max), .min = 1024, .max = 1u << 20,
	 .fallback = "64KiB", .help = "At most so much of an answer is read."},
	{.key = NULL},
};

static const char *const compromise_words[] = {"keep", "rollback", NULL};

static const struct yaml_key vault_keys[] = {
	{.key = "path", .type = YAML_PATH, YAML_FIELD(struct conf_service, vault.path),
	 .help = "Folder of this host; made if it is not there, its parent must be. It is root's, and closed to everybody else. The guests share _data_ in it; backups, and "
	         "what was changed before a rollback, lie beside that. On a file system of its own it can be full without harm to others."},
	{.key = "repository", .type = YAML_TEXT, YAML_FIELD(struct conf_service, vault.repository),
	 .help = "Where backups go, as *restic*(1) names a repository: a folder, _rest:https://..._, _s3:https://..._ Default: a folder in "
	         "_path_. The password is made at the first start and lies in _path_/password: without a copy of it elsewhere the backups "
	         "are lost with this device."},
	{.key = "credentials", .type = YAML_PATH, YAML_FIELD(struct conf_service, vault.credentials),
	 .help = "File of lines NAME=VALUE that restic finds in its environment, such as AWS_ACCESS_KEY_ID."},
	{.key = "every", .type = YAML_DURATION, YAML_FIELD(struct conf_service, vault.every_ms), .max = 2592000000ull, .fallback = "60s",
	 .help = "Time from one backup to the next; where nothing was changed there is none. _0s_: only when asked for."},
	{.key = "on_compromise", .type = YAML_WORD, YAML_FIELD(struct conf_service, vault.on_compromise), .words = compromise_words,
	 .fallback = "keep", .help = "When a guest was taken over: _rollback_ brings the data back to the last snapshot from before the first "
	 "evidence; what was changed since is put aside (*koboshi data*). A service that holds data in memory must read it anew by itself."},
	{.key = "keep_last", .type = YAML_INTEGER, YAML_FIELD(struct conf_service, vault.keep_last), .min = 1, .max = 200,
	 .fallback = "60", .help = "So many of the newest snapshots stay, ..."},
	{.key = "keep_hourly", .type = YAML_INTEGER, YAML_FIELD(struct conf_service, vault.keep_hourly), .max = 100, .fallback = "24",
	 .help = "... beside these the last one of an hour, for so many hours that have one, ..."},
	{.key = "keep_daily", .type = YAML_INTEGER, YAML_FIELD(struct conf_service, vault.keep_daily), .max = 100, .fallback = "30",
	 .help = "... and the last one of a day, for so many days. The last good one always stays."},
	{.key = NULL},
};

static const struct yaml_key service_keys[] = {
	{.key = "addresses", .type = YAML_LIST, .item = YAML_ADDRESS, .required = true, .min = 1, .limit = 2, .hook = service_address,
	 .help = "Where clients reach the service: one IPv4 address, one IPv6 address, or one of each. The host owns them."},
	{.key = "ports", .type = YAML_LIST, .item = YAML_PORT, .required = true, .min = 1, .limit = CONF_PORTS_MAX, .hook = service_port,
	 .help = "Ports with their protocol, the same outside and in the guest. One of them is probed."},
	{.key = "variants", .type = YAML_LIST, .item = YAML_TEXT, .required = true, .min = 1, .limit = CONF_VARIANTS_MAX, .hook = conf_variant,
	 .help = "Images that can provide the service, the preferred first. Three that share little make the next attack hard. "
	         "_dune-(lts|new)-(nginx|apache)-(php|lua)_ stands for all eight names; of the combinations of a recipe those that are not "
	         "built yet are no fault: when one of them would be better than what is there, the engine asks for it."},
	{.key = "standby", .type = YAML_INTEGER, YAML_FIELD(struct conf_service, standby), .max = CONF_INSTANCES_MAX - 1, .fallback = "1",
	 .help = "Instances that run beside the active one and can take over at once. All services together want 32 instances at most."},
	{.key = "spare", .type = YAML_INTEGER, YAML_FIELD(struct conf_service, spare), .max = CONF_INSTANCES_MAX - 1, .fallback = "1",
	 .help = "Instances that were proven and then paused; they wake up in milliseconds and cost memory only."},
	{.key = "clients", .type = YAML_LIST, .item = YAML_RANGE, .limit = CONF_RANGES_MAX, .hook = service_client, .fallback = "[]",
	 .help = "Where clients come from. Probes borrow sources of these ranges, so that a guest cannot tell them from clients. "
	         "Without it clients' addresses are hidden from the guest instead."},
	{.key = "profile", .type = YAML_PATH, YAML_FIELD(struct conf_service, profile),
	 .help = "MUD file (RFC 8520): what the guests may open themselves, kept at each tap. Without one they may open nothing. What "
	         "clients ask of the service, and its answers, need not stand in it."},
	{.key = "outside", .type = YAML_WORD, YAML_FIELD(struct conf_service, outside), .words = outside_words, .fallback = "cut",
	 .help = "What becomes of packets that the profile does not allow. They are counted and told as evidence in any case: _count_ "
	         "lets them pass all the same (to try a profile), _limit_ lets some pass, _cut_ none."},
	{.key = "outside_rate", .type = YAML_INTEGER, YAML_FIELD(struct conf_service, outside_rate), .min = 1, .max = 10000,
	 .fallback = "10", .help = "With _limit_: so many packets a second pass, of each guest."},
	{.key = "controllers", .type = YAML_LIST, .item = YAML_RANGE, .limit = CONF_RANGES_MAX, .hook = service_controller,
	 .fallback = "[]", .help = "Who the profile means by _my-controller_."},
	{.key = "local_networks", .type = YAML_LIST, .item = YAML_RANGE, .limit = CONF_RANGES_MAX, .hook = service_local,
	 .fallback = "[]", .help = "What the profile means by _local-networks_. Guests never reach each other, whatever it says."},
	{.key = "memory", .type = YAML_SIZE, YAML_FIELD(struct conf_service, memory_mib), .unit = 1u << 20, .min = 16u << 20,
	 .max = 64ull << 30, .help = "Memory of one guest. Default: what the image's manifest asks for."},
	{.key = "ladder", .type = YAML_LIST, .item = YAML_TEXT, .limit = 2, .hook = service_rung, .fallback = "[restart, reboot]",
	 .help = "What is tried with a guest that failed, kept from clients, while another serves: _restart_ of the service inside "
	         "by the guest's agent, _reboot_ of the guest. Only who proves itself anew afterwards comes back. What does not help is followed by a new "
	         "guest, as is everything that looks like an attack. _[]_: always a new guest."},
	{.key = "rescue", .type = YAML_BOOL, YAML_FIELD(struct conf_service, rescue), .fallback = "yes",
	 .help = "Clients are helped over a switch: who was refused by a guest that falls, or waits for it, is brought to the next one "
	         "without noticing where TCP allows that, and told at once where it does not. A refusal is held back for up to half a "
	         "second meanwhile."},
	{.key = "drain", .type = YAML_DURATION, YAML_FIELD(struct conf_service, drain_ms), .max = 3600000, .fallback = "5s",
	 .help = "Planned switch: so long may old connections go on."},
	{.key = "max_exposure", .type = YAML_DURATION, YAML_FIELD(struct conf_service, max_exposure_ms), .max = 2592000000ull,
	 .fallback = "24h", .help = "Whoever clients could reach for so long hands over, without a fault and without a failed request, and is "
	         "replaced by a new guest, of another variant where that can be had: what got in unseen does not stay. _0s_: never."},
	{.key = "vault", .type = YAML_MAP, .keys = vault_keys, .help = "Where the service's data lies: outside of the guests (virtiofs), which "
	         "can be replaced then without loss. Without it what a guest has written is gone with it. The images must name the folder "
	         "that the service writes into."},
	{.key = "carry", .type = YAML_LIST, .item = YAML_PATH, .limit = CONF_CARRY_MAX, .hook = service_carried, .fallback = "[]",
	 .help = "Files of the guests that live on: when one is changed in a guest its agent saves it into the _vault_, and who is built from "
	         "then on has it from its start, after *koboshi-scan*(8) found nothing bad in it; whoever stands by is replaced by such a "
	         "one. At most 32 KiB each, 64 KiB together. That such a file is changed is no evidence any more, whatever stands in it."},
	{.key = "secrets", .type = YAML_NAMED, .keys = conf_secret_keys, YAML_ITEMS(struct conf_service, secrets, n_secrets),
	 .name_offset = offsetof(struct conf_secret, name), .name_max = CONF_NAME_MAX,
	 .help = "What each guest is given of its own, freshly made when it is built, each below a name. Those that are valid stand in "
	         "_RUN/secrets/SERVICE/NAME_; of a guest that falls they are taken out before another one takes its place."},
	{.key = "probe", .type = YAML_MAP, .keys = probe_keys, .help = "How the service is asked whether it lives."},
	{.key = NULL},
};

static const struct yaml_key folder_keys[] = {
	{.key = "path", .type = YAML_PATH, YAML_FIELD(struct conf_folder, path), .required = true,
	 .help = "Folder on this host; all below it is watched. No such folder lies in another."},
	{.key = "service", .type = YAML_TEXT, YAML_FIELD(struct conf_folder, service), .hook = folder_service,
	 .help = "The service whose data it is, for the message."},
	{.key = "instances", .type = YAML_BOOL, YAML_FIELD(struct conf_folder, instances), .fallback = "no",
	 .help = "What lies in a folder _kb-N_ directly below it was written by instance N: what is found there is evidence against it."},
	{.key = NULL},
};

static const struct yaml_key files_keys[] = {
	{.key = "folders", .type = YAML_NAMED, .keys = folder_keys, YAML_ITEMS(struct conf, files.folders, files.n_folders),
	 .name_offset = offsetof(struct conf_folder, name), .name_max = CONF_NAME_MAX,
	 .help = "The folders, each below a name. Without one nothing is watched."},
	{.key = "rules", .type = YAML_PATH, YAML_FIELD(struct conf, files.rules),
	 .help = "Folder of YARA rules (_\\*.yar_, _\\*.yara_). One that does not compile is named in the status, the others are used."},
	{.key = "good", .type = YAML_PATH, YAML_FIELD(struct conf, files.good),
	 .help = "List of SHA-256 sums as *sha256sum*(1) writes it; a file of it is not looked at further."},
	{.key = "bad", .type = YAML_PATH, YAML_FIELD(struct conf, files.bad), .help = "List of SHA-256 sums of files known as bad."},
	{.key = "file_size", .type = YAML_SIZE, YAML_FIELD(struct conf, files.file_bytes), .min = 4096, .max = 1u << 30,
	 .fallback = "16MiB", .help = "So much of a file is looked at; a larger one cannot be found in the lists."},
	{.key = "file_time", .type = YAML_DURATION, YAML_FIELD(struct conf, files.file_ms), .min = 100, .max = 60000,
	 .fallback = "2s", .help = "A file that takes longer is given up, named, and not tried again while its bytes stay the same."},
	{.key = "memory", .type = YAML_SIZE, YAML_FIELD(struct conf, files.memory_mib), .unit = 1u << 20, .min = 16u << 20,
	 .max = 4ull << 30, .fallback = "256MiB", .help = "So much memory may looking at a file take; at least twice _file_size_."},
	{.key = "rate", .type = YAML_INTEGER, YAML_FIELD(struct conf, files.per_second), .min = 1, .max = 10000, .fallback = "50",
	 .help = "Files in a second at most."},
	{.key = NULL},
};

static const struct yaml_key timing_keys[] = {
	{.key = "boot", .type = YAML_DURATION, YAML_FIELD(struct conf, boot_ms), .min = 1000, .max = 3600000, .fallback = "60s",
	 .help = "A guest that is not proven by then is given up."},
	{.key = "boot_share", .type = YAML_PERCENT, YAML_FIELD(struct conf, boot_share), .min = 5, .max = 100, .fallback = "50%",
	 .help = "Share of one processor that a booting guest may use beside running ones."},
	{.key = "freeze", .type = YAML_DURATION, YAML_FIELD(struct conf, freeze_ms), .min = 100, .max = 60000, .fallback = "1s",
	 .help = "When our own loop was late by this, our senses count as lost: observe, do not act."},
	{.key = "rebuild_backoff", .type = YAML_DURATION, YAML_FIELD(struct conf, rebuild_backoff_ms), .min = 100, .max = 3600000,
	 .fallback = "5s", .help = "First pause after a guest that was never proven; doubled each time."},
	{.key = NULL},
};

static const struct yaml_key brake_keys[] = {
	{.key = "falls", .type = YAML_INTEGER, YAML_FIELD(struct conf, brake_falls), .max = 32, .fallback = "5",
	 .help = "So many guests of one service that fell _within_ raise an alarm; 0: never."},
	{.key = "within", .type = YAML_DURATION, YAML_FIELD(struct conf, brake_within_ms), .min = 1000, .max = 86400000, .fallback = "10min",
	 .help = "Time in which they are counted, and how long it must be quiet until the alarm ends."},
	{.key = "pause", .type = YAML_DURATION, YAML_FIELD(struct conf, brake_pause_ms), .max = 3600000, .fallback = "1min",
	 .help = "Until then a spare is built only every so often. Who serves and who stands by is replaced at once all the same."},
	{.key = "cut", .type = YAML_BOOL, YAML_FIELD(struct conf, brake_cut), .fallback = "yes",
	 .help = "Meanwhile whoever had connections to three or more of those that fell, and is not there at most other times, is cut off "
	         "for 10 minutes, each time twice as long, a day at most. Never who is named in _never_cut_."},
	{.key = NULL},
};

static const struct yaml_key lesson_keys[] = {
	{.key = "keep", .type = YAML_DURATION, YAML_FIELD(struct conf, lessons_keep_ms), .min = 60000, .max = 2592000000ull,
	 .fallback = "720h", .help = "So long is good what an incident taught, here and wherever it is taken along."},
	{.key = "trust", .type = YAML_LIST, .item = YAML_PATH, YAML_ITEMS(struct conf, lessons_trust, n_lessons_trust), .fallback = "[]",
	 .help = "Public keys (PEM, Ed25519) of devices whose lessons are taken: their _STATE/ledger/lesson.pub_. The engine's user must be "
	         "able to read them."},
	{.key = NULL},
};

static const struct yaml_key limit_keys[] = {
	{.key = "evidence", .type = YAML_SIZE, YAML_FIELD(struct conf, evidence_bytes), .max = 1ull << 40, .fallback = "256MiB",
	 .help = "Evidence (memory, flows, console) of one incident at most; 0 keeps none."},
	{.key = "evidence_total", .type = YAML_SIZE, YAML_FIELD(struct conf, evidence_total), .max = 1ull << 44, .fallback = "1GiB",
	 .help = "All evidence together; the oldest of closed incidents makes room."},
	{.key = "incidents", .type = YAML_INTEGER, YAML_FIELD(struct conf, incidents_kept), .min = 10, .max = 5000,
	 .fallback = "1000", .help = "Closed incidents that stay in the ledger."},
	{.key = NULL},
};

static const struct yaml_key decoy_keys[] = {
	{.key = "enabled", .type = YAML_BOOL, YAML_FIELD(struct conf, decoys), .fallback = "yes",
	 .help = "A guest that asks an address of the guests' ranges that nobody has, or a port that nothing serves, counts as taken "
	         "over; by TCP it gets into a tarpit."},
	{.key = "connections", .type = YAML_INTEGER, YAML_FIELD(struct conf, decoy_connections), .min = 16, .max = 16384,
	 .fallback = "1024", .help = "So many connections the tarpit holds; then the oldest makes room."},
	{.key = "except", .type = YAML_LIST, .item = YAML_PORT, .limit = CONF_PORTS_MAX, .hook = decoy_except, .fallback = "[]",
	 .help = "Ports of the gateway (the host, as guests see it) that guests have a reason to ask; to ask them is no touch."},
	{.key = NULL},
};

const struct yaml_key conf_keys[] = {
	{.key = "device", .type = YAML_NAME, YAML_FIELD(struct conf, device), .help = "This device's name. Default: its host name."},
	{.key = "user", .type = YAML_TEXT, YAML_FIELD(struct conf, user), .hook = engine_user, .fallback = "koboshi",
	 .help = "The engine runs as this user (name or number), without privileges."},
	{.key = "paths", .type = YAML_MAP, .keys = path_keys, .help = "Where things lie."},
	{.key = "hypervisor", .type = YAML_MAP, .keys = hypervisor_keys, .help = "What runs the guests."},
	{.key = "guests", .type = YAML_MAP, .keys = guests_keys, .required = true, .help = "What all guests have in common."},
	{.key = "services", .type = YAML_NAMED, .keys = service_keys, .required = true, .min = 1,
	 YAML_ITEMS(struct conf, services, n_services), .name_offset = offsetof(struct conf_service, name), .name_max = CONF_NAME_MAX,
	 .help = "The services that are kept alive, each below its name; 16 at most."},
	{.key = "never_cut", .type = YAML_LIST, .item = YAML_RANGE, .limit = CONF_RANGES_MAX, .hook = never_cut, .fallback = "[]",
	 .help = "Addresses that are never cut off, whatever happens: management, monitoring."},
	{.key = "decoys", .type = YAML_MAP, .keys = decoy_keys, .help = "Traps for whoever looks around in the guests' segment."},
	{.key = "files", .type = YAML_MAP, .keys = files_keys,
	 .help = "What guests write into folders of this host is looked at. What they write on their own disks is not seen."},
	{.key = "timings", .type = YAML_MAP, .keys = timing_keys, .help = "How long things may take."},
	{.key = "brake", .type = YAML_MAP, .keys = brake_keys,
	 .help = "Whoever makes guests fall again and again shall not keep this host busy with building new ones."},
	{.key = "lessons", .type = YAML_MAP, .keys = lesson_keys,
	 .help = "What incidents taught, signed by this device, and what others learnt."},
	{.key = "limits", .type = YAML_MAP, .keys = limit_keys, .help = "What is kept."},
	{.key = NULL},
};
/* clang-format on */

void conf_print_manual(FILE *to)
{
	yaml_print_manual(conf_keys, to);
}

void conf_print_json_schema(FILE *to)
{
	yaml_print_json_schema(conf_keys, "Koboshi's configuration", to);
}
