/* The program's taps are taps. A test links its own list, to put a veth in a tap's place. */
#include "act/net/net.h"

const char *const tap_kinds[] = {"tun", NULL};
