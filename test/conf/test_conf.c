/*
 * The configuration: the shipped example means what it says, each cross check has its message and place, drop-ins are
 * laid over in name order, and an instance's number keeps the promises of conf.h about addresses.
 */
#include "conf/conf.h"
#include "lib/bytes.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static const char base[] = "device: pump-7\n"
                           "paths: {run: /run/kb}\n"
                           "guests:\n"
                           "  addresses: [192.0.2.0/26, \"2001:db8:1::/64\"]\n"
                           "services:\n"
                           "  sensor:\n"
                           "    addresses: [203.0.113.10, \"2001:db8:10::10\"]\n"
                           "    ports: [53/udp, 80/tcp]\n"
                           "    variants: [amber, birch]\n"
                           "    clients: [198.51.100.0/24]\n"
                           "    probe: {interval: 100ms}\n"
                           "  pump:\n"
                           "    addresses: [203.0.113.11]\n"
                           "    ports: [80/tcp]\n"
                           "    variants: [amber]\n";

/* `base` with the first `from` replaced. Caller frees. */
static char *changed(const char *from, const char *to)
{
	const char *at = strstr(base, from);
	char *text;
	assert_non_null(at);
	assert_true(asprintf(&text, "%.*s%s%s", (int)(at - base), base, to, at + strlen(from)) > 0);
	return text;
}

struct mistake {
	const char *from, *to, *message;
};

static void is_refused(const struct mistake *mistake)
{
	struct conf conf;
	struct err err = {0};
	auto_free char *text = changed(mistake->from, mistake->to);
	if (conf_parse("f", text, strlen(text), &conf, &err) == 0)
		fail_msg("taken: %s -> %s", mistake->from, mistake->to);
	assert_string_equal(err.text, mistake->message);
}

static void mistakes_about_files_that_live_on_are_found(void **state unused_arg)
{
	static const struct mistake rows[] = {
	        {"ports: [53/udp, 80/tcp]", "ports: [53/udp, 80/tcp]\n    carry: [/etc/passwd]",
	         "f:9:12: 'carry' needs a 'vault': that is where the files are kept"},
	        {"ports: [53/udp, 80/tcp]", "ports: [53/udp, 80/tcp]\n    vault: {path: /v}\n    carry: [/etc/passwd]",
	         "f:10:12: 'carry' needs 'rules' or 'bad' below 'files': nothing is carried over that was not looked at"},
	        {"ports: [53/udp, 80/tcp]", "ports: [53/udp, 80/tcp]\n    carry: [/etc/koboshi/challenge.key]",
	         "f:9:13: 'carry' cannot be in /etc/koboshi: that is Koboshi's own in the guest"},
	};
	for (size_t i = 0; i < countof(rows); i++)
		is_refused(&rows[i]);
}

static void mistakes_between_keys_are_found(void **state unused_arg)
{
	static const struct mistake rows[] = {
	        {"[203.0.113.10,", "[192.0.2.9,",
	         "f:7:16: service 'sensor' has an address in the guests' range: take another one"},
	        {"2001:db8:10::10",
	         "2001:db8:1:0:ffff::", "f:7:16: service 'sensor' has an address in the guests' range: take another one"},
	        {"\"2001:db8:10::10\"", "203.0.113.9",
	         "f:7:31: 203.0.113.9 is the second IPv4 address: a service has one at most"},
	        {"203.0.113.10", "127.0.0.1", "f:7:17: 127.0.0.1 cannot be a service address: clients elsewhere cannot reach it"},
	        {"203.0.113.10", "0.0.0.0", "f:7:17: 0.0.0.0 cannot be a service address: clients elsewhere cannot reach it"},
	        {"203.0.113.10", "224.0.0.1", "f:7:17: 224.0.0.1 cannot be a service address: clients elsewhere cannot reach it"},
	        {"203.0.113.10", "fe80::1", "f:7:17: fe80::1 cannot be a service address: clients elsewhere cannot reach it"},
	        {"ports: [53/udp, 80/tcp]", "ports: [53/udp, 80/tcp]\n    vault: {on_compromise: rollback}",
	         "f:9:12: 'vault' has no 'path'"},
	        {"ports: [53/udp, 80/tcp]", "ports: [53/udp, 80/tcp]\n    vault: {path: /v, every: 500ms}",
	         "f:9:12: 'every' (500ms) is 0s (only when asked for) or at least 1s"},
	        {"[203.0.113.11]", "[203.0.113.10]",
	         "f:13:16: services 'sensor' and 'pump' have the same address and port: one of them must move"},
	        {"[53/udp, 80/tcp]", "[53/udp]", "f:8:12: service 'sensor' needs a TCP port: it is the one that is probed"},
	        {"[53/udp, 80/tcp]", "[80/tcp, 80/tcp]", "f:8:21: port 80/tcp is there twice"},
	        {"[amber, birch]", "[amber, birch, amber]", "f:9:30: variant 'amber' is there twice"},
	        {"  pump:", "  sensor:", "f:12:3: key 'sensor' is there twice: first in line 6"},
	        {"[198.51.100.0/24]", "[192.0.0.0/16]", "f:10:14: clients of service 'sensor' overlap the guests' IPv4 range"},
	        {"[198.51.100.0/24]", "[192.0.2.32/30]", "f:10:14: clients of service 'sensor' overlap the guests' IPv4 range"},
	        {"[198.51.100.0/24]", "[0.0.0.0/0]", "f:10:14: clients of service 'sensor' overlap the guests' IPv4 range"},
	        {"[198.51.100.0/24]", "[\"2001:db8::/32\"]",
	         "f:10:14: clients of service 'sensor' overlap the guests' IPv6 range"},
	        {"  pump:\n", "  pump:\n    clients: [\"2001:db8:20::/64\"]\n",
	         "f:13:14: service 'pump' has IPv6 clients and no IPv6 address"},
	        {"  pump:\n", "  pump:\n    controllers: [198.51.100.9/32]\n",
	         "f:13:18: 'controllers' of service 'pump' are of no use without a 'profile'"},
	        {"  pump:\n", "  pump:\n    profile: /p.json\n    local_networks: [192.0.2.0/30]\n",
	         "f:14:21: 'local_networks' of service 'pump' overlap the guests' range: guests never reach each other"},
	        {"  pump:\n", "  pump:\n    profile: p.json\n",
	         "f:13:14: 'profile' must be an absolute path without '..', such as /var/lib/thing, not 'p.json'"},
	        {"  pump:\n", "  pump:\n    ladder: [reboot, rebuild]\n",
	         "f:13:22: a rung of 'ladder' must be 'restart' or 'reboot', not 'rebuild'"},
	        {"  pump:\n", "  pump:\n    outside: drop\n", "f:13:14: 'outside' must be one of count, limit, cut, not 'drop'"},
	        {"192.0.2.0/26", "192.0.2.0/29",
	         "f:4:15: 192.0.2.0/29: the guests' IPv4 range must have a prefix between /16 and /28"},
	        {"192.0.2.0/26", "192.0.0.0/15",
	         "f:4:15: 192.0.0.0/15: the guests' IPv4 range must have a prefix between /16 and /28"},
	        {"192.0.2.0/26", "127.0.0.0/24",
	         "f:4:15: 127.0.0.0/24 cannot be the guests' range: packets to it are not routed"},
	        {"2001:db8:1::/64", "2001:db8:1::/120",
	         "f:4:29: 2001:db8:1::/120: the guests' IPv6 range must have a prefix between /64 and /112"},
	        {"\"2001:db8:1::/64\"", "192.0.2.64/26", "f:4:29: 192.0.2.64/26 is the second IPv4 range: guests have one"},
	        {"/run/kb", "/run/a-very-long-folder-name-that-leaves-no-room-for-the-socket",
	         "f:2:14: 'run' must be at most 60 bytes long: sockets lie below it"},
	        {"run: /run/kb", "run: /var/lib/koboshi",
	         "f:2:8: 'run' and 'state' must differ: 'run' is emptied, 'state' is kept"},
	        {"device: pump-7", "decoys: {connections: 5}", "f:1:23: 'connections' must be between 16 and 16384, not '5'"},
	        {"device: pump-7", "decoys: {except: [53/udp, 53/udp]}", "f:1:27: port 53/udp is there twice"},
	        {"device: pump-7", "limits: {evidence: 2GiB}", "f:1:9: 'evidence' cannot be more than 'evidence_total'"},
	        {"device: pump-7", "user: -x", "f:1:7: 'user' must be a user's name or number, not '-x'"},
	        {"device: pump-7", "hypervisor: {uri: qemu+ssh://host/system}",
	         "f:1:19: 'uri' must be 'embed' or a libvirt URI on this host (qemu:///system), not 'qemu+ssh://host/system'"},
	        {"    variants: [amber]\n", "    variants: [amber]\n    standby: 32\n",
	         "f:16:14: 'standby' must be between 0 and 31, not '32'"},
	        {"    variants: [amber]\n", "", "f:12:3: 'variants' is missing here"},
	        {"    variants: [amber]\n", "    variants: [amber]\n    max_exposure: 5s\n",
	         "f:16:19: 'max_exposure' (5000ms) is 0s (never) or at least 10s: a new guest must be able to start"},
	};
	for (size_t i = 0; i < countof(rows); i++)
		is_refused(&rows[i]);
}

static void mistakes_in_probes_are_found(void **state unused_arg)
{
	static const struct mistake rows[] = {
	        {"interval: 100ms", "failures: 6", "f:11:23: 'failures' (6) cannot be more than 'window' (5)"},
	        {"interval: 100ms", "window: 2", "f:11:12: 'failures' (3) cannot be more than 'window' (2)"},
	        {"interval: 100ms", "interval: 20ms",
	         "f:11:12: 'timeout' (250ms) cannot be longer than 'window' probes take (5 x 20ms)"},
	        {"interval: 100ms", "interval: 5s",
	         "f:11:12: 'challenge_every' (1000ms) cannot be shorter than 'interval' (5000ms)"},
	        {"interval: 100ms", "port: 53", "f:11:19: 'port' is 53, which is not one of the TCP ports of service 'sensor'"},
	        {"interval: 100ms", "protocol: tcp, interval: 5s, challenge_every: 1s",
	         "f:11:59: 'challenge_every' is of use with 'protocol: http' only"},
	        {"interval: 100ms", "content: [/index.html]",
	         "f:11:22: 'content' must name '/' too, whose bytes the challenge is about; or say 'challenge: no'"},
	        {"interval: 100ms", "protocol: tcp, content: [/]", "f:11:37: 'content' is of use with 'protocol: http' only"},
	        {"interval: 100ms", "expect: '+PONG'", "f:11:21: 'expect' is of use with 'protocol: tcp' or 'udp' only"},
	        {"interval: 100ms", "protocol: udp, send: 'a', port: 80",
	         "f:11:45: 'port' is 80, which is not one of the UDP ports of service 'sensor'"},
	        {"interval: 100ms", "protocol: udp, send: 'a'",
	         "f:11:23: 'protocol: udp' needs 'send' and 'expect': nobody answers by UDP who is not asked"},
	        {"interval: 100ms", "protocol: udp, send: 'a', expect: 'b', tls: yes, peer: []",
	         "f:11:57: 'tls' is of use with 'protocol: http' or 'tcp' only"},
	        {"ports: [80/tcp]\n", "ports: [80/tcp]\n    probe: {protocol: udp, send: 'a', expect: 'b'}\n",
	         "f:14:12: service 'pump' needs a UDP port: it is the one that is probed"},
	        {"interval: 100ms", "protocol: tcp, send: 'PING\\r\\n'",
	         "f:11:34: 'send' needs 'expect': what the answer begins with"},
	        {"interval: 100ms", "protocol: tcp, expect: 'a\\q'",
	         "f:11:36: 'expect' has '\\q': a backslash is followed by r, n, t, a backslash or xHH"},
	        {"interval: 100ms", "protocol: tcp, expect: '\\x0'",
	         "f:11:36: 'expect' has '\\x0': a backslash is followed by r, n, t, a backslash or xHH"},
	        {"interval: 100ms", "challenge: api",
	         "f:11:24: 'challenge' must be 'no' or a path on a web server: '/' first, then visible ASCII without '#', not "
	         "'api'"},
	        {"interval: 100ms", "challenge: /a?b=c",
	         "f:11:24: 'challenge' must be a path without '?': the question is put behind it"},
	        {"interval: 100ms", "intervall: 100ms", "f:11:13: unknown key 'intervall', did you mean 'interval'?"},
	};
	for (size_t i = 0; i < countof(rows); i++)
		is_refused(&rows[i]);
}

static void mistakes_in_variants_are_found(void **state unused_arg)
{
	static const struct mistake rows[] = {
	        {"    variants: [amber]\n", "    variants: [amber, Birch]\n",
	         "f:15:23: each of 'variants' must be a name: a lower-case letter, then lower-case letters, digits and '-', not "
	         "'Birch'"},
	        {"    variants: [amber]\n", "    variants: [dune-(a|b), dune-b]\n", "f:15:28: variant 'dune-b' is there twice"},
	        {"    variants: [amber]\n", "    variants: [dune-(a|b]\n",
	         "f:15:16: 'dune-(a|b': a bracket is not closed: write name-(one|other)"},
	        {"    variants: [amber]\n", "    variants: [dune-(a|(b))]\n",
	         "f:15:16: 'dune-(a|(b))': a bracket is not closed: write name-(one|other)"},
	        {"    variants: [amber]\n", "    variants: [dune-a|b]\n",
	         "f:15:16: each of 'variants' must be a name: a lower-case letter, then lower-case letters, digits and '-', not "
	         "'dune-a|b'"},
	        {"    variants: [amber]\n", "    variants: [d-(a|b)-(a|b|c|d)-(a|b|c)]\n",
	         "f:15:16: 'variants' can have 16 at most, all combinations counted"},
	        {"    variants: [amber]\n", "    variants: [a-very-long-recipe-(of|several)-long-values]\n",
	         "f:15:16: each of 'variants' must be at most 31 bytes long, not 'a-very-long-recipe-of-long-values'"},
	};
	for (size_t i = 0; i < countof(rows); i++)
		is_refused(&rows[i]);
}

static void mistakes_about_files_are_found(void **state unused_arg)
{
	static const struct mistake rows[] = {
	        {"device: pump-7", "files: {folders: {a: {path: /srv}}}",
	         "f:1:8: 'files' has folders and neither 'rules' nor 'bad': nothing could be found"},
	        {"device: pump-7", "files: {bad: /b, folders: {a: {path: /srv, service: absent}}}",
	         "f:1:31: folder 'a' belongs to service 'absent', which does not exist"},
	        {"device: pump-7", "files: {bad: /b, folders: {a: {path: /srv}, b: {path: /srv}}}",
	         "f:1:48: folders 'a' and 'b' are the same"},
	        {"device: pump-7", "files: {bad: /b, folders: {a: {path: /srv/a/}, b: {path: /srv}}}",
	         "f:1:51: of folders 'a' and 'b' one lies in the other: whose is a file in both?"},
	        {"device: pump-7", "files: {file_size: 64MiB, memory: 64MiB}",
	         "f:1:8: 'memory' must be at least twice 'file_size'"},
	};
	for (size_t i = 0; i < countof(rows); i++)
		is_refused(&rows[i]);
}

static void a_pattern_stands_for_its_combinations(void **state unused_arg)
{
	static const char *const names[] = {"amber",    "dune-lts-a-x", "dune-lts-a-y", "dune-lts-b-x", "dune-lts-b-y",
	                                    "dune-a-x", "dune-a-y",     "dune-b-x",     "dune-b-y"};
	const char *text = "guests: {addresses: [192.0.2.0/26, \"2001:db8:1::/64\"]}\nservices:\n"
	                   "  a: {addresses: [203.0.113.1], ports: [80/tcp], variants: [amber, dune-(lts-|)(a|b)-(x|y)]}\n";
	struct conf conf;
	struct err err = {0};
	assert_int_equal(conf_parse("f", text, strlen(text), &conf, &err), 0);
	assert_int_equal(conf.services[0].n_variants, countof(names));
	for (size_t i = 0; i < countof(names); i++)
		assert_string_equal(conf.services[0].variants[i], names[i]);
}

static void too_many_services_are_refused(void **state unused_arg)
{
	char text[4096] = "guests: {addresses: [192.0.2.0/25, \"2001:db8:1::/64\"]}\nservices:\n";
	struct conf conf;
	struct err err = {0};
	for (int i = 0; i <= CONF_SERVICES_MAX; i++) {
		assert_int_equal(conf_parse("f", text, strlen(text), &conf, &err), i == 0 ? -EINVAL : 0);
		snprintf(text + strlen(text), sizeof(text) - strlen(text),
		         "  s%d: {addresses: [203.0.113.%d], ports: [80/tcp], variants: [amber], standby: 1, spare: 0}\n", i,
		         i + 1);
	}
	assert_int_equal(conf_parse("f", text, strlen(text), &conf, &err), -EINVAL);
	assert_string_equal(err.text, "f:19:3: 'services' can have 16 at most");
}

static void too_many_instances_are_refused(void **state unused_arg)
{
	char text[2048] = "guests: {addresses: [192.0.2.0/26, \"2001:db8:1::/64\"]}\nservices:\n";
	struct conf conf;
	struct err err = {0};
	for (int i = 0; i < CONF_SERVICES_MAX; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text),
		         "  s%d: {addresses: [203.0.113.%d], ports: [80/tcp], variants: [amber], standby: %d, spare: 0}\n", i,
		         i + 1, i == 3 ? 2 : 1);
	assert_int_equal(conf_parse("f", text, strlen(text), &conf, &err), -EINVAL);
	assert_string_equal(err.text, "f:3:3: all services together want 33 instances, 32 at most: lower 'standby' or 'spare'");
}

static void a_small_range_has_no_room_for_many(void **state unused_arg)
{
	static const char *const texts[] = {
	        "guests: {addresses: [192.0.2.16/28, \"2001:db8:1::/64\"]}\n"
	        "services: {a: {addresses: [203.0.113.1], ports: [80/tcp], variants: [amber], standby: 2, spare: 3}}\n",
	        "guests: {addresses: [192.0.2.16/28, \"2001:db8:1::/64\"]}\n"
	        "services: {a: {addresses: [203.0.113.1], ports: [80/tcp], variants: [amber], standby: 3, spare: 3}}\n",
	};
	struct conf conf;
	struct err err = {0};
	assert_int_equal(conf_parse("f", texts[0], strlen(texts[0]), &conf, &err), 0);
	assert_int_equal(conf_parse("f", texts[1], strlen(texts[1]), &conf, &err), -EINVAL);
	assert_string_equal(err.text,
	                    "f:1:21: the guests' IPv4 range has 13 addresses; 7 instances need twice as many, since the "
	                    "old keep theirs for a while");
}

static void a_failure_touches_nothing(void **state unused_arg)
{
	struct conf conf, before;
	struct err err = {0};
	memset(&conf, 0x5a, sizeof(conf));
	before = conf;
	assert_int_equal(conf_parse("f", "services: {", 11, &conf, &err), -EINVAL);
	assert_int_equal(conf_load("/nonexistent/koboshi.yaml", &conf, &err), -ENOENT);
	assert_string_equal(err.text, "/nonexistent/koboshi.yaml: cannot open it: No such file or directory");
	assert_memory_equal(&conf, &before, sizeof(conf));
}

static void load_example(const char *name, struct conf *ret_conf)
{
	char path[PATH_MAX];
	struct err err = {0};
	snprintf(path, sizeof(path), "%s/%s", getenv("KOBOSHI_EXAMPLES"), name);
	if (conf_load(path, ret_conf, &err) < 0)
		fail_msg("%s", err.text);
}

static void bytes_are_read_as_they_are_written(void **state unused_arg)
{
	static const char ping[] = "\x00\x01\x61\\\r\n\t\xff";
	struct conf conf;
	struct err err = {0};
	auto_free char *text = changed(
	        "interval: 100ms",
	        "protocol: tcp, tls: yes, peer: [], challenge: no, send: '\\x00\\x01a\\\\\\r\\n\\t\\xfF', expect: '+PONG'");
	if (conf_parse("f", text, strlen(text), &conf, &err) < 0)
		fail_msg("%s", err.text);
	const struct conf_probe *probe = &conf.services[0].probe;
	assert_int_equal(probe->protocol, CONF_PROBE_TCP);
	assert_true(probe->tls);
	assert_false(conf.services[1].probe.tls);
	assert_int_equal(probe->send.size, sizeof(ping) - 1);
	assert_memory_equal(probe->send.bytes, ping, sizeof(ping) - 1);
	assert_int_equal(probe->expect.size, 5);
	assert_memory_equal(probe->expect.bytes, "+PONG", 5);
	assert_false(probe->challenge);
	assert_int_equal(probe->n_content + probe->n_peer, 0);
	assert_int_equal(conf.services[1].probe.protocol, CONF_PROBE_HTTP);
}

static void the_example_means_what_it_says(void **state unused_arg)
{
	struct conf conf;
	load_example("koboshi.yaml", &conf);
	const struct conf_service *s = conf_service_named(&conf, "sensor");
	assert_non_null(s);
	assert_null(conf_service_named(&conf, "pump"));
	assert_string_equal(conf.user, "koboshi");
	assert_string_equal(conf.state_dir, "/var/lib/koboshi");
	assert_string_equal(conf.run_dir, "/run/koboshi");
	assert_string_equal(conf.image_dir, "/var/lib/koboshi/images");
	assert_string_equal(conf.image_key, "/etc/koboshi/image.pub");
	assert_string_equal(conf.libvirt, "embed");
	assert_int_equal(conf.accel, CONF_ACCEL_AUTO);
	assert_false(conf.lab);
	assert_true(conf.device[0] >= 'a' && conf.device[0] <= 'z');
	assert_int_equal(conf.guests4.prefix, 26);
	assert_int_equal(conf.guests6.prefix, 64);
	assert_true(s->has_address4 && s->has_address6);
	assert_int_equal(ntohl(s->address4.s_addr), 0xcb00710a);
	assert_int_equal(s->n_ports, 1);
	assert_int_equal(s->ports[0].port, 80);
	assert_int_equal(s->ports[0].protocol, IPPROTO_TCP);
	assert_int_equal(s->n_variants, 3);
	assert_string_equal(s->variants[2], "cedar");
	assert_int_equal(s->standby, 1);
	assert_int_equal(s->spare, 1);
	assert_int_equal(s->n_clients4, 1);
	assert_int_equal(s->clients4[0].prefix, 24);
	assert_int_equal(s->n_clients6, 1);
	assert_int_equal(s->memory_mib, 192);
	assert_int_equal(s->drain_ms, 5000);
	assert_int_equal(s->ladder, CONF_LADDER_RESTART | CONF_LADDER_REBOOT);
	assert_int_equal(s->max_exposure_ms, 24 * 3600 * 1000);
	assert_int_equal(s->probe.interval_ms, 100);
	assert_int_equal(s->probe.timeout_ms, 250);
	assert_int_equal(s->probe.failures, 3);
	assert_int_equal(s->probe.window, 5);
	assert_int_equal(s->probe.port, 80);
	assert_int_equal(s->probe.body_max, 65536);
	assert_true(s->probe.challenge);
	assert_string_equal(s->probe.challenge_path, "/api/challenge");
	assert_int_equal(s->probe.challenge_ms, 1000);
	assert_int_equal(s->probe.n_peer, 2);
	assert_string_equal(s->probe.peer[1], "/robots.txt");
	assert_int_equal(s->probe.peer_ms, 2000);
	assert_int_equal(s->probe.n_peer_ignore, 0);
	assert_int_equal(s->probe.n_content, 1);
	assert_string_equal(s->probe.content[0], "/");
	assert_int_equal(conf.boot_ms, 60000);
	assert_int_equal(conf.brake_falls, 5);
	assert_int_equal(conf.brake_within_ms, 600000);
	assert_int_equal(conf.brake_pause_ms, 60000);
	assert_true(conf.brake_cut);
	assert_int_equal(conf.lessons_keep_ms, 2592000000u);
	assert_int_equal(conf.n_lessons_trust, 0);
	assert_int_equal(conf.boot_share, 50);
	assert_int_equal(conf.freeze_ms, 1000);
	assert_int_equal(conf.rebuild_backoff_ms, 5000);
	assert_true(conf.decoys && conf.decoy_connections == 1024 && conf.n_decoy_except == 0);
	assert_true(conf.evidence_bytes == 256u << 20 && conf.evidence_total == 1u << 30);
	assert_int_equal(conf.incidents_kept, 1000);
}

/* What the example comments out says "default": with the marks gone it must be the same configuration. */
static void the_examples_comments_show_the_defaults(void **state unused_arg)
{
	struct conf commented, open;
	struct err err = {0};
	char path[PATH_MAX];
	auto_free uint8_t *bytes = NULL;
	size_t size;
	load_example("koboshi.yaml", &commented);
	snprintf(path, sizeof(path), "%s/koboshi.yaml", getenv("KOBOSHI_EXAMPLES"));
	assert_int_equal(file_read(path, 1u << 20, &bytes, &size, &err), 0);
	char *text = (char *)bytes, *from = strstr(text, "# device:");
	assert_non_null(from);
	for (char *line = from; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
		if (strncmp(line, "# ", 2) == 0)
			memmove(line, line + 2, strlen(line + 2) + 1);
	assert_null(strstr(from, "\n# "));
	if (conf_parse("example", text, strlen(text), &open, &err) < 0)
		fail_msg("%s", err.text);
	assert_string_equal(open.device, "pump-7");
	memcpy(open.device, commented.device, sizeof(open.device));
	assert_memory_equal(&open, &commented, sizeof(open));
}

static void the_files_example_is_a_drop_in(void **state unused_arg)
{
	struct conf conf;
	struct err err = {0};
	char path[PATH_MAX], text[8192];
	auto_free uint8_t *bytes = NULL;
	size_t size;
	snprintf(path, sizeof(path), "%s/files.yaml", getenv("KOBOSHI_EXAMPLES"));
	assert_int_equal(file_read(path, 4096, &bytes, &size, &err), 0);
	snprintf(text, sizeof(text), "%s%s", base, (char *)bytes);
	if (conf_parse("example", text, strlen(text), &conf, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(conf.files.n_folders, 2);
	assert_string_equal(conf.files.folders[0].service, "sensor");
	assert_true(conf.files.folders[1].instances && !conf.files.folders[0].instances);
	assert_int_equal(conf.files.file_bytes, 16 << 20);
	assert_int_equal(conf.files.memory_mib, 256);
}

static void challenge_can_be_off(void **state unused_arg)
{
	struct conf conf;
	struct err err = {0};
	auto_free char *text = changed("interval: 100ms", "challenge: no, content: [], peer: [], interval: 5s");
	assert_int_equal(conf_parse("f", text, strlen(text), &conf, &err), 0);
	assert_false(conf.services[0].probe.challenge);
	assert_string_equal(conf.services[0].probe.challenge_path, "");
	assert_int_equal(conf.services[0].probe.n_content, 0);
	assert_int_equal(conf.services[0].probe.n_peer, 0);
	assert_int_equal(conf.services[0].probe.port, 80); /* the first TCP port, not the first port */
	assert_int_equal(conf.services[0].memory_mib, 0);
}

static void put_file(const char *folder, const char *name, const char *text)
{
	char path[PATH_MAX];
	struct err err = {0};
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	if (file_write(path, text, strlen(text), 0600, &err) < 0)
		fail_msg("%s", err.text);
}

static void drop_ins_are_laid_over_in_name_order(void **state unused_arg)
{
	static const char *const names[] = {"20-b.yaml", "10-a.yaml", "30-ignored.txt", ".hidden.yaml"};
	char folder[] = "/tmp/koboshi-conf-XXXXXX", path[PATH_MAX], drop_ins[PATH_MAX], file[PATH_MAX], want[PATH_MAX + 100];
	struct conf conf;
	struct err err = {0};
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/k.yaml", folder);
	snprintf(drop_ins, sizeof(drop_ins), "%s.d", path);
	put_file(folder, "k.yaml", base);
	assert_int_equal(mkdir(drop_ins, 0700), 0);
	put_file(drop_ins, "20-b.yaml", "services: {sensor: {drain: 2s, variants: [cedar]}}\n");
	put_file(drop_ins, "10-a.yaml", "device: other\nservices: {sensor: {drain: 1s, probe: {window: 9}}}\n");
	put_file(drop_ins, "30-ignored.txt", "device: [");
	put_file(drop_ins, ".hidden.yaml", "device: [");
	int e = conf_load(path, &conf, &err);
	assert_string_equal(err.text, "");
	assert_int_equal(e, 0);
	assert_string_equal(conf.device, "other");
	assert_int_equal(conf.services[0].drain_ms, 2000);
	assert_int_equal(conf.services[0].n_variants, 1);
	assert_string_equal(conf.services[0].variants[0], "cedar");
	assert_int_equal(conf.services[0].probe.window, 9);
	assert_int_equal(conf.services[0].probe.interval_ms, 100);
	assert_int_equal(conf.services[0].n_ports, 2);
	/* what a drop-in gets wrong is told with the drop-in's name */
	put_file(drop_ins, "20-b.yaml", "services:\n  sensor: {spares: 2}\n");
	e = conf_load(path, &conf, &err);
	snprintf(want, sizeof(want), "%s/20-b.yaml:2:12: unknown key 'spares', did you mean 'spare'?", drop_ins);
	assert_int_equal(e, -EINVAL);
	assert_string_equal(err.text, want);
	for (size_t i = 0; i < countof(names); i++) {
		snprintf(file, sizeof(file), "%s/%s", drop_ins, names[i]);
		unlink(file);
	}
	unlink(path);
	rmdir(drop_ins);
	rmdir(folder);
}

static void an_instance_follows_from_its_number(void **state unused_arg)
{
	struct conf conf;
	struct conf_instance i;
	char text[INET6_ADDRSTRLEN];
	load_example("koboshi.yaml", &conf);
	conf_instance(&conf, 7, &i);
	assert_string_equal(i.name, "kb-7");
	assert_string_equal(i.tap, "kb7");
	assert_memory_equal(i.mac, "\x02\x6b\x6f\x00\x00\x07", 6);
	assert_string_equal(inet_ntop(AF_INET, &i.address4, text, sizeof(text)), "192.0.2.9");
	assert_string_equal(inet_ntop(AF_INET6, &i.address6, text, sizeof(text)), "2001:db8:1::9");
	assert_string_equal(inet_ntop(AF_INET, &i.gateway4, text, sizeof(text)), "192.0.2.1");
	assert_string_equal(inet_ntop(AF_INET6, &i.gateway6, text, sizeof(text)), "2001:db8:1::1");
	conf_instance(&conf, 61, &i); /* 64 - 3: round once */
	assert_string_equal(inet_ntop(AF_INET, &i.address4, text, sizeof(text)), "192.0.2.2");
	conf_instance(&conf, UINT32_MAX, &i);
	assert_string_equal(i.name, "kb-4294967295");
	assert_true(strlen(i.tap) < 16); /* IFNAMSIZ */
	assert_string_equal(inet_ntop(AF_INET6, &i.address6, text, sizeof(text)), "2001:db8:1::1:0:1");
	assert_memory_not_equal(i.mac, i.host_mac, 6);
	assert_int_equal(i.host_mac[0] & 3, 2); /* one card, locally administered */
}

static void addresses_stay_in_range_and_apart(void **state unused_arg)
{
	static const uint32_t starts[] = {1, 12, 61, 0xfffff0, 0x7ffffff0, UINT32_MAX - 500};
	struct conf conf = {0};
	inet_pton(AF_INET, "192.0.0.0", &conf.guests4.address);
	inet_pton(AF_INET6, "2001:db8::", &conf.guests6.address);
	for (unsigned prefix = 16; prefix <= 28; prefix++) {
		conf.guests4.prefix = (uint8_t)prefix;
		conf.guests6.prefix = (uint8_t)(prefix * 4 > 112 ? 112 : prefix * 4);
		uint32_t size = 1u << (32 - prefix), between = size - 3 < 200 ? size - 3 : 200;
		for (size_t s = 0; s < countof(starts); s++)
			for (uint32_t n = 0; n < between; n++) {
				struct conf_instance a;
				conf_instance(&conf, starts[s] + n, &a);
				uint32_t offset = ntohl(a.address4.s_addr) - ntohl(conf.guests4.address.s_addr);
				assert_in_range(offset, 2, size - 2);
				assert_memory_equal(&a.address6, &conf.guests6.address, 8);
				if (n > 0)
					assert_false(conf_instances_clash(&conf, starts[s], starts[s] + n));
			}
		assert_true(conf_instances_clash(&conf, 1, 1 + size - 3));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(mistakes_between_keys_are_found),
	        cmocka_unit_test(mistakes_in_probes_are_found),
	        cmocka_unit_test(mistakes_in_variants_are_found),
	        cmocka_unit_test(mistakes_about_files_are_found),
	        cmocka_unit_test(mistakes_about_files_that_live_on_are_found),
	        cmocka_unit_test(a_pattern_stands_for_its_combinations),
	        cmocka_unit_test(too_many_services_are_refused),
	        cmocka_unit_test(too_many_instances_are_refused),
	        cmocka_unit_test(a_small_range_has_no_room_for_many),
	        cmocka_unit_test(a_failure_touches_nothing),
	        cmocka_unit_test(bytes_are_read_as_they_are_written),
	        cmocka_unit_test(the_example_means_what_it_says),
	        cmocka_unit_test(the_examples_comments_show_the_defaults),
	        cmocka_unit_test(the_files_example_is_a_drop_in),
	        cmocka_unit_test(challenge_can_be_off),
	        cmocka_unit_test(drop_ins_are_laid_over_in_name_order),
	        cmocka_unit_test(an_instance_follows_from_its_number),
	        cmocka_unit_test(addresses_stay_in_range_and_apart),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
