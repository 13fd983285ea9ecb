/*
 * The notify protocol is one datagram to the socket that the environment names. The device side is the kernel's
 * watchdog interface: any byte feeds, 'V' before closing stops it.
 */
#include "supervisor/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

int notify_init(struct notify *notify, const char *watchdog, struct err *err)
{
	notify->device = watchdog ? open(watchdog, O_WRONLY | O_CLOEXEC | O_NONBLOCK) : -1;
	if (watchdog && notify->device < 0)
		return err_set(
		        err, -errno,
		        "cannot open the watchdog '%s': %s; leave --watchdog out or let systemd have it and use WatchdogSec",
		        watchdog, strerror(errno));
	return 0;
}

static bool notify_address(struct sockaddr_un *ret_address, socklen_t *ret_size)
{
	const char *path = getenv("NOTIFY_SOCKET");
	size_t length = path ? strlen(path) : 0;
	if (length < 2 || length >= sizeof(ret_address->sun_path) || (path[0] != '/' && path[0] != '@'))
		return false;
	*ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
	memcpy(ret_address->sun_path, path, length);
	if (path[0] == '@')
		ret_address->sun_path[0] = '\0';
	*ret_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
	return true;
}

bool notify_send(const char *format, ...)
{
	struct sockaddr_un address;
	socklen_t size;
	char text[512];
	if (!notify_address(&address, &size))
		return true;
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	auto_close int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	return fd < 0 || sendto(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT, (struct sockaddr *)&address, size) >= 0 ||
	       errno != EAGAIN;
}

static void device_write(const struct notify *notify, const char *byte)
{
	ssize_t ignored = notify->device < 0 ? 0 : write(notify->device, byte, 1);
	(void)ignored; /* a device that cannot be fed resets the machine: nothing better can be done here */
}

void notify_alive(struct notify *notify)
{
	notify_send("WATCHDOG=1");
	device_write(notify, "k");
}

void notify_done(struct notify *notify)
{
	device_write(notify, "V");
	if (notify->device >= 0)
		close(notify->device);
	notify->device = -1;
}
