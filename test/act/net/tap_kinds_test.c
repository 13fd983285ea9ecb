/* In tests a veth may stand in a tap's place: its other end is a whole network stack that plays the guest. */
#include "act/net/net.h"

const char *const tap_kinds[] = {"tun", "veth", NULL};
