/* How the program makes a tap. A laboratory's links another one, that makes a wire to a cell. */
#include "act/net/net.h"

#include "lib/attr.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* The same flags as QEMU asks for when it is given a tap that is already there, else it would be refused. */
int tap_make(struct net *net unused_arg, const char *name, struct err *err)
{
	auto_close int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return err_set(err, -errno, "cannot open /dev/net/tun: %s; load the module tun or pass the device in",
		               strerror(errno));
	struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	memcpy(request.ifr_name, name, strlen(name) + 1);
	if (ioctl(fd, TUNSETIFF, &request) < 0 || ioctl(fd, TUNSETPERSIST, 1) < 0)
		return err_set(err, -errno, "cannot make tap %s: %s", name, strerror(errno));
	return 0;
}
