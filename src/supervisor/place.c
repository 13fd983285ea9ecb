/* The checks at start, each ending in one sentence that says what to do; see place.h. */
#include "supervisor/place.h"
#include "supervisor/child.h"
#include "lib/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define TARPIT_BACKLOG 64
#define ROOM_BYTES 65536 /* what a folder must be able to take: a ledger's first pages */

void place_unproven(struct place *place, const char *sentence)
{
	size_t used = strlen(place->unproven);
	snprintf(place->unproven + used, sizeof(place->unproven) - used, "%s%s", used ? "\n" : "", sentence);
	log_notice("supervisor.unproven", "%s", sentence);
}

static int rights_check(struct err *err)
{
	if (geteuid() != 0)
		return err_set(err, -EPERM, "koboshid must be started as root (it starts each part with its own, fewer rights)");
	auto_close int tun = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (tun < 0 && (errno == ENOENT || errno == ENODEV || errno == ENXIO))
		return err_set(err, -errno,
		               "there is no /dev/net/tun, guests could not be connected: load it (modprobe tun) or build the "
		               "kernel with CONFIG_TUN");
	if (tun < 0)
		return err_set(err, -errno, "cannot open /dev/net/tun: %s; in a container, pass the device in", strerror(errno));
	return 0;
}

static int programs_check(const struct settings *settings, const char *libexec, struct err *err)
{
	char path[PATH_MAX];
	for (size_t i = 0; i < CHILD_SPECS; i++) {
		if (!child_is_wanted(&child_specs[i], settings))
			continue;
		snprintf(path, sizeof(path), "%s/%s", libexec, child_specs[i].program);
		if (access(path, X_OK) != 0)
			return err_set(err, -errno,
			               "cannot run '%s': %s; install koboshi again or name its folder with --libexec", path,
			               strerror(errno));
	}
	return 0;
}

static int engine_user_find(struct place *place, const struct settings *settings, struct err *err)
{
	int r = user_find(settings->user, &place->engine, err);
	if (r < 0)
		return r;
	place->engine_is_us = !user_is_mapped(&place->engine);
	if (place->engine_is_us)
		place_unproven(place,
		               "the engine's user does not exist in this user namespace: it runs as the same user as the rest");
	else if (place->engine.uid == 0)
		place_unproven(place, "the engine runs as root because 'user' says so");
	return 0;
}

/* Makes the folders above, too: /var/lib may be missing on a small device. */
static int folder_make(const char *path, mode_t mode, struct err *err)
{
	char part[CONF_PATH_MAX];
	snprintf(part, sizeof(part), "%s", path);
	for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(part, 0755) != 0 && errno != EEXIST)
			return err_set(err, -errno, "cannot make the folder '%s': %s", part, strerror(errno));
		*slash = '/';
	}
	if (mkdir(part, mode) != 0 && errno != EEXIST)
		return err_set(err, -errno, "cannot make the folder '%s': %s", path, strerror(errno));
	return 0;
}

/* Owner and mode are set on what was opened: a link that somebody put there is not followed. */
static int folder_own(const char *path, const struct user *owner, mode_t mode, struct err *err)
{
	int r = folder_make(path, mode, err);
	if (r < 0)
		return r;
	auto_close int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_set(err, -errno, "cannot open the folder '%s': %s", path, strerror(errno));
	if (fchown(fd, owner->uid, owner->gid) != 0 || fchmod(fd, mode) != 0)
		return err_set(err, -errno, "cannot set owner and mode of '%s': %s", path, strerror(errno));
	return 0;
}

static int room_check(const char *folder, const char *key, struct err *err)
{
	static const char zeros[4096];
	char path[CONF_PATH_MAX + 32];
	snprintf(path, sizeof(path), "%s/.koboshid-check", folder);
	auto_close int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	bool ok = fd >= 0;
	errno = ok ? 0 : errno;
	for (size_t done = 0; ok && done < ROOM_BYTES; done += sizeof(zeros))
		ok = write(fd, zeros, sizeof(zeros)) == (ssize_t)sizeof(zeros);
	int error = ok ? 0 : errno ? errno : ENOSPC;
	if (fd >= 0)
		unlink(path);
	if (error == ENOSPC || error == EDQUOT)
		return err_set(err, -error, "the disk under %s '%s' is full: free some space there", key, folder);
	if (error)
		return err_set(err, -error, "cannot write into %s '%s': %s; make it writable or set another %s", key, folder,
		               strerror(error), key);
	return 0;
}

static int folders_take(struct place *place, const struct settings *settings, struct err *err)
{
	const struct user root = {0};
	char ledger[CONF_PATH_MAX + 16];
	conf_ledger_dir(settings->state_dir, ledger);
	int r = folder_own(settings->run_dir, &root, 0711, err);
	r = r == 0 ? room_check(settings->run_dir, "paths.run", err) : r;
	r = r == 0 ? folder_own(settings->state_dir, &root, 0711, err) : r;
	r = r == 0 ? folder_own(ledger, place->engine_is_us ? &root : &place->engine, 0700, err) : r;
	return r == 0 ? room_check(settings->state_dir, "paths.state", err) : r;
}

/* A socket that still answers belongs to a living program that holds no lock of ours. */
static int stale_socket_remove(const struct sockaddr_un *address, struct err *err)
{
	auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0 && (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 || errno == EAGAIN))
		return err_set(err, -EADDRINUSE, "another program listens on '%s': stop it, or set another paths.run",
		               address->sun_path);
	if (unlink(address->sun_path) != 0 && errno != ENOENT)
		return err_set(err, -errno, "cannot remove the old socket '%s': %s", address->sun_path, strerror(errno));
	return 0;
}

static int socket_listen(struct place *place, struct err *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", place->socket);
	int r = stale_socket_remove(&address, err);
	if (r < 0)
		return r;
	auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	mode_t old = umask(0777); /* nobody may connect before owner and mode are set */
	bool bound = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
	int error = errno;
	umask(old);
	if (!bound)
		return err_set(err, -error, "cannot make the socket '%s': %s", place->socket, strerror(error));
	gid_t group = place->engine_is_us ? 0 : place->engine.gid;
	if (chown(place->socket, 0, group) != 0 || chmod(place->socket, 0660) != 0 || listen(fd, 64) != 0) {
		err_set(err, -errno, "cannot open the socket '%s': %s", place->socket, strerror(errno));
		unlink(place->socket);
		return err ? err->code : -EIO;
	}
	place->api = take_fd(&fd);
	return 0;
}

/* At the gateway's address, which comes and goes with the taps, and at any port: the rules know which. */
static int tarpit_open(int family, const struct sockaddr *address, socklen_t size)
{
	const int yes = 1;
	auto_close int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool six = family == AF_INET6;
	if (fd < 0 ||
	    setsockopt(fd, six ? IPPROTO_IPV6 : IPPROTO_IP, six ? IPV6_FREEBIND : IP_FREEBIND, &yes, sizeof(yes)) != 0 ||
	    bind(fd, address, size) != 0 || listen(fd, TARPIT_BACKLOG) != 0)
		return -1;
	return take_fd(&fd);
}

/* Without, touches are seen all the same. */
static void tarpit_listen(struct place *place, const struct settings *settings)
{
	const struct sockaddr_in four = {.sin_family = AF_INET, .sin_addr = settings->gateway4};
	const struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = settings->gateway6};
	place->tarpit[0] = tarpit_open(AF_INET, (const struct sockaddr *)&four, sizeof(four));
	place->tarpit[1] = tarpit_open(AF_INET6, (const struct sockaddr *)&six, sizeof(six));
	if (place->tarpit[0] < 0 || place->tarpit[1] < 0)
		place_unproven(place,
		               "decoys do not answer: no socket could be had for the tarpit; touches are seen all the same");
}

int place_take(struct place *place, const struct settings *settings, const char *libexec, struct err *err)
{
	*place = (struct place){.lock.fd = -1, .api = -1, .tarpit = {-1, -1}};
	snprintf(place->run_dir, sizeof(place->run_dir), "%s", settings->run_dir);
	int length = snprintf(place->socket, sizeof(place->socket), "%s/koboshi.sock", settings->run_dir);
	if (length >= (int)sizeof(place->socket))
		return err_set(err, -ENAMETOOLONG, "paths.run '%s' is too long for a socket in it: set a shorter one",
		               settings->run_dir);
	int r = rights_check(err);
	r = r == 0 ? programs_check(settings, libexec, err) : r;
	r = r == 0 ? engine_user_find(place, settings, err) : r;
	r = r == 0 ? folders_take(place, settings, err) : r;
	r = r == 0 ? lock_take(&place->lock, settings->run_dir, err) : r;
	if (r == 0) {
		r = lock_await_leftovers(&place->lock, err);
		if (r < 0)
			lock_abandon(&place->lock);
	}
	if (r == 0)
		lock_note(&place->lock, NULL, 0);
	r = r == 0 ? socket_listen(place, err) : r;
	if (r == 0)
		tarpit_listen(place, settings);
	if (r < 0)
		lock_release(&place->lock);
	return r;
}

void place_leave(struct place *place)
{
	for (size_t i = 0; i < countof(place->tarpit); i++)
		if (place->tarpit[i] >= 0)
			close(place->tarpit[i]);
	if (place->api >= 0) {
		close(place->api);
		place->api = -1;
		unlink(place->socket);
	}
	lock_release(&place->lock);
}
