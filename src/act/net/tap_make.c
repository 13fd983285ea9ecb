/* How the program makes a tap. A laboratory's links another one, that makes a wire to a cell. */
#include "act/net/net.h"

#include "lib/attr.h"

#include <linux/if_tun.h>

/* The same flags as QEMU asks for when it is given a tap that is already there, else it would be refused. */
int tap_make(struct net *net unused_arg, const char *name, struct err *err)
{
	return tun_make(name, IFF_TAP | IFF_VNET_HDR, err);
}
