/*
 * Once a second, in fixed room. Sockets by /proc/net and not by sock_diag: no module that an image may not have, and a
 * guest has few. A socket that opens and closes within the second is not seen here; the host sees its traffic.
 */
#include "guest/kernel.h"
#include "guest/tell.h"
#include "lib/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MODULES 256
#define LISTEN 0x0a      /* states of /proc/net: a TCP listener ... */
#define UNCONNECTED 0x07 /* ... and a UDP socket that takes from anybody */

static struct {
	const struct conf *conf;
	uint64_t told[2][65536 / 64]; /* tcp, udp: ports that were told and are still there */
	uint64_t seen[2][65536 / 64];
	char modules[MODULES][CONF_MODULE];
	unsigned n_modules;
	unsigned ephemeral_from, ephemeral_to;
} kernel;

static bool declared(bool udp, unsigned port)
{
	for (unsigned i = 0; i < kernel.conf->n_listens; i++)
		if (kernel.conf->listens[i].udp == udp && kernel.conf->listens[i].port == port)
			return true;
	return false;
}

static void socket_found(bool udp, unsigned port)
{
	uint64_t bit = (uint64_t)1 << port % 64;
	/* a program that asks others gets such a port from the kernel: for UDP that looks like listening and is not */
	if (port == 0 || declared(udp, port) || (udp && port >= kernel.ephemeral_from && port <= kernel.ephemeral_to))
		return;
	kernel.seen[udp][port / 64] |= bit;
	if (kernel.told[udp][port / 64] & bit)
		return;
	char text[32];
	snprintf(text, sizeof(text), "%s %u", udp ? "udp" : "tcp", port);
	tell(AGENT_LISTENING, port, text);
}

static bool sockets_read(const char *path, bool udp)
{
	char line[512];
	FILE *file = fopen(path, "re");
	if (!file)
		return false;
	while (fgets(line, sizeof(line), file)) {
		unsigned port, state;
		if (sscanf(line, " %*u: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x", &port, &state) == 2 && port <= UINT16_MAX &&
		    state == (udp ? UNCONNECTED : LISTEN))
			socket_found(udp, port);
	}
	fclose(file);
	return true;
}

static bool sockets_look(void)
{
	memset(kernel.seen, 0, sizeof(kernel.seen));
	bool tcp4 = sockets_read("/proc/net/tcp", false), tcp6 = sockets_read("/proc/net/tcp6", false);
	bool udp4 = sockets_read("/proc/net/udp", true), udp6 = sockets_read("/proc/net/udp6", true);
	memcpy(kernel.told, kernel.seen, sizeof(kernel.told));
	return (tcp4 || tcp6) && (udp4 || udp6);
}

static bool module_known(const char *name)
{
	for (unsigned i = 0; i < kernel.n_modules; i++)
		if (strcmp(kernel.modules[i], name) == 0)
			return true;
	for (unsigned i = 0; i < kernel.conf->n_modules; i++)
		if (strcmp(kernel.conf->modules[i], name) == 0)
			return true;
	return false;
}

static bool modules_look(bool tells)
{
	char line[1024], name[CONF_MODULE];
	FILE *file = fopen("/proc/modules", "re");
	if (!file)
		return false;
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%63s", name) != 1 || module_known(name))
			continue;
		if (tells)
			tell(AGENT_MODULE, 0, name);
		if (kernel.n_modules < MODULES)
			text_copy(kernel.modules[kernel.n_modules++], sizeof(kernel.modules[0]), name);
	}
	fclose(file);
	return true;
}

/* Mounts in a namespace of their own are hidden from us, and so is a program in memory: neither is needed in a guest. What this
 * kernel does not have is left out: gate.c and docs/agent.md say what that costs. */
static const struct {
	const char *path, *value, *name;
	bool namespaces;
} switches[] = {
        {"/proc/sys/user/max_mnt_namespaces", "0", "mount namespaces", true},
        {"/proc/sys/user/max_user_namespaces", "0", "user namespaces", true},
        {"/proc/sys/vm/memfd_noexec", "2", "programs in memory", false},
};

static bool switch_is(const char *path, const char *value)
{
	char now[16] = {0};
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT;
	ssize_t got = read(fd, now, sizeof(now) - 1);
	close(fd);
	return got > 0 && strtoul(now, NULL, 10) == strtoul(value, NULL, 10);
}

static void switch_set(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd >= 0 && write(fd, value, strlen(value)) < 0)
		tell(AGENT_TROUBLE, 0, path);
	if (fd >= 0)
		close(fd);
}

static bool switch_wanted(size_t i)
{
	return switches[i].namespaces ? kernel.conf->no_namespaces : kernel.conf->no_memory;
}

static void switches_look(void)
{
	char text[AGENT_TEXT];
	for (size_t i = 0; i < countof(switches); i++) {
		if (!switch_wanted(i) || switch_is(switches[i].path, switches[i].value))
			continue;
		snprintf(text, sizeof(text), "%s were allowed again", switches[i].name);
		tell(AGENT_TROUBLE, 0, text);
		switch_set(switches[i].path, switches[i].value);
	}
}

struct kernel_abilities kernel_start(const struct conf *conf)
{
	kernel.conf = conf;
	kernel.ephemeral_from = 32768;
	kernel.ephemeral_to = 60999;
	FILE *file = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");
	unsigned from, to;
	if (file && fscanf(file, "%u %u", &from, &to) == 2) {
		kernel.ephemeral_from = from;
		kernel.ephemeral_to = to;
	}
	if (file)
		fclose(file);
	for (size_t i = 0; i < countof(switches); i++)
		if (switch_wanted(i))
			switch_set(switches[i].path, switches[i].value);
	struct kernel_abilities can = {.modules = modules_look(false), .sockets = sockets_look()};
	return can;
}

void kernel_look(void)
{
	sockets_look();
	modules_look(true);
	switches_look();
}
