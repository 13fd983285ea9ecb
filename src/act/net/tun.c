/* A link of the kernel's tun driver that stays when we end. */
#include "act/net/net.h"

#include "lib/attr.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* Without an owner anybody on the host may take the end of one that nobody holds. */
int tun_make(const char *name, short kind, struct err *err)
{
	auto_close int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return err_set(err, -errno, "cannot open /dev/net/tun: %s; load the module tun or pass the device in",
		               strerror(errno));
	struct ifreq request = {.ifr_flags = (short)(kind | IFF_NO_PI)};
	memcpy(request.ifr_name, name, strlen(name) + 1);
	if (ioctl(fd, TUNSETIFF, &request) < 0 || ioctl(fd, TUNSETOWNER, 0) < 0 || ioctl(fd, TUNSETPERSIST, 1) < 0)
		return err_set(err, -errno, "cannot make %s %s: %s", kind & IFF_TAP ? "tap" : "tun", name, strerror(errno));
	return 0;
}
