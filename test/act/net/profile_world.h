#pragma once
/* Profiles for the tests of koboshi-net: a MUD file of four lists, a start with it, and who is reached then. */
#include "world.h"

#define PEER4 "198.51.100.7" /* the client, in another part */
#define PEER6 "2001:db8:20::7"
#define HOST4 "198.51.100.1"
#define HOST6 "2001:db8:20::1"

#define ACE(name, matches, action) "{\"name\":\"" name "\",\"matches\":{" matches "},\"actions\":{\"forwarding\":\"" action "\"}}"
#define NET4(side, net) "\"ipv4\":{\"" side "-ipv4-network\":\"" net "\"}"
#define NET6(side, net) "\"ipv6\":{\"" side "-ipv6-network\":\"" net "\"}"
#define PORT(protocol, side, number) "\"" protocol "\":{\"" side "-port\":{\"operator\":\"eq\",\"port\":" number "}}"
#define TCP_OUT                                                                                                                  \
	"\"tcp\":{\"ietf-mud:direction-initiated\":\"from-device\",\"destination-port\":{\"operator\":\"eq\",\"port\":8883}}"
#define TCP_BACK "\"tcp\":{\"ietf-mud:direction-initiated\":\"from-device\",\"source-port\":{\"operator\":\"eq\",\"port\":8883}}"
#define LOCAL "\"ietf-mud:mud\":{\"local-networks\":[null]}"
#define CONTROLLER "\"ietf-mud:mud\":{\"my-controller\":[null]}"

struct lists {
	const char *from4, *from6, *to4, *to6;
};

char *file_text(const struct lists *lists); /* caller frees */
void mud_write_text(struct world *w, const char *text);
void mud_write(struct world *w, const struct lists *lists);

/* A drop-in, then a start as after a reload; what koboshi-net says of the profile. `keys` NULL: no profile. */
struct wire_note start_with(struct world *w, const char *keys);

/* Instance 1 serves, 2 is open, 3 stays in quarantine; all are held to `lists`. */
void begin(struct world *w, const struct lists *lists, const char *keys);

/* From guest 2. The server's end, -1 when nothing came. */
int opens(struct world *w, int listener, const char *to, uint16_t port, int *ret_guest, char *ret_peer);
bool reaches(struct world *w, int listener, const char *to, uint16_t port);
void assert_silent(struct world *w, enum place place, const char *to, uint16_t port);
