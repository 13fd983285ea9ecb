/* See profile_world.h. */
#include "profile_world.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

/* Lists of what the device sends and is sent, each of IPv4 and IPv6. */
static const char frame[] =
        "{\"ietf-mud:mud\":{\"mud-version\":1,\"mud-url\":\"https://pump.example.com/p.json\",\"last-update\":\"2026-11-20\","
        "\"is-supported\":true,\"from-device-policy\":{\"access-lists\":{\"access-list\":[{\"name\":\"f4\"},{\"name\":\"f6\"}]}},"
        "\"to-device-policy\":{\"access-lists\":{\"access-list\":[{\"name\":\"t4\"},{\"name\":\"t6\"}]}}},"
        "\"ietf-access-control-list:acls\":{\"acl\":["
        "{\"name\":\"f4\",\"type\":\"ipv4-acl-type\",\"aces\":{\"ace\":[%s]}},"
        "{\"name\":\"f6\",\"type\":\"ipv6-acl-type\",\"aces\":{\"ace\":[%s]}},"
        "{\"name\":\"t4\",\"type\":\"ipv4-acl-type\",\"aces\":{\"ace\":[%s]}},"
        "{\"name\":\"t6\",\"type\":\"ipv6-acl-type\",\"aces\":{\"ace\":[%s]}}]}}";

void mud_write_text(struct world *w, const char *text)
{
	char path[96];
	snprintf(path, sizeof(path), "%s/mud.json", w->lab.folder);
	FILE *out = fopen(path, "w");
	assert_non_null(out);
	fputs(text, out);
	fclose(out);
}

void mud_write(struct world *w, const struct lists *lists)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	assert_non_null(out);
	fprintf(out, frame, lists->from4, lists->from6, lists->to4, lists->to6);
	assert_int_equal(fclose(out), 0);
	mud_write_text(w, text);
	free(text);
}

struct wire_note start_with(struct world *w, const char *keys)
{
	char path[96];
	assert_int_equal(lab_command("mkdir -p %s.d", w->lab.config), 0);
	snprintf(path, sizeof(path), "%s.d/p.yaml", w->lab.config);
	FILE *out = fopen(path, "w");
	assert_non_null(out);
	if (keys)
		fprintf(out,
		        "services:\n  web:\n    profile: %s/mud.json\n    local_networks: [198.51.100.0/24]\n"
		        "    controllers: [\"" PEER6 "/128\"]\n%s",
		        w->lab.folder, keys);
	else
		fprintf(out, "device: plain\n");
	fclose(out);
	lab_kill(&w->lab);
	lab_start(&w->lab, world_program);
	if (!keys)
		return (struct wire_note){0};
	struct wire_note note = lab_notice(&w->lab);
	assert_int_equal(note.type, NOTICE_PROFILE);
	return note;
}

void begin(struct world *w, const struct lists *lists, const char *keys)
{
	mud_write(w, lists);
	struct wire_note note = start_with(w, keys);
	if (note.text[0])
		fail_msg("%s", note.text);
	steer(w, 1, 0);
	gate(w, 2, WIRE_GATE_OPEN);
	lab_logged(&w->lab, QUIET);
}

int opens(struct world *w, int listener, const char *to, uint16_t port, int *ret_guest, char *ret_peer)
{
	int guest = lab_connect(&w->lab, LAB_GUEST2, to, port, NULL);
	int server = -1;
	if (lab_outcome(guest, listener >= 0 ? SOON : QUIET) == 0)
		server = lab_accept(listener, SOON, ret_peer);
	if (ret_guest)
		*ret_guest = guest;
	else
		close(guest);
	return server;
}

bool reaches(struct world *w, int listener, const char *to, uint16_t port)
{
	int server = opens(w, listener, to, port, NULL, NULL);
	if (server >= 0)
		close(server);
	return server >= 0;
}

void assert_silent(struct world *w, enum place place, const char *to, uint16_t port)
{
	int fd = lab_connect(&w->lab, place, to, port, NULL);
	assert_int_equal(lab_outcome(fd, QUIET), -ETIMEDOUT);
	close(fd);
}
