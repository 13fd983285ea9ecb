/*
 * See tarpit.h. Slots in one array; those in use hang in a ring from the oldest to the newest, the free ones behind one another.
 * Due times are looked through once a second: at 16,000 slots that is less than making a heap of them would cost.
 */
#include "decoy/tarpit.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netfilter_ipv4.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUFFER 1024       /* the kernel makes it as much as it wants at least */
#define PATIENCE_MS 60000 /* a byte that is not confirmed by then: nobody is there any more */
#define LOOK_US 1000000   /* due times are looked at so often */
#define FIRST_US 1500000  /* the first byte comes sooner: an answer, but a slow one */
#define NONE UINT32_MAX

struct held {
	int fd; /* -1: free */
	uint16_t port;
	uint32_t said; /* bytes */
	uint32_t serial;
	uint32_t older, newer; /* in use: the ring; free: `newer` is the next free one */
	int64_t due_us;
};

struct tarpit {
	size_t limit;
	int watcher;
	uint32_t oldest, newest, free; /* slots */
	uint32_t serial;
	uint64_t chance;
	int64_t look_us;
	struct tarpit_counts counts;
	struct held held[];
};

/* ---- what is said */

/* Each text is one that the protocol lets go on for ever: lines before the version, continued greetings, header after header. */
static const struct {
	uint16_t port;
	const char *first, *again;
} voices[] = {
        {21, "", "220-Welcome.\r\n"},
        {22, "", "Authorized use only.\r\n"},
        {23, "\r\nlogin: ", "\r\nlogin: "},
        {25, "", "220-mail ESMTP\r\n"},
        {80, "HTTP/1.1 200 OK\r\n", "X-Cache: MISS\r\n"},
        {443, "\x16\x03\x03\x3f\xff", "\x02"},
        {587, "", "220-mail ESMTP\r\n"},
        {8080, "HTTP/1.1 200 OK\r\n", "X-Cache: MISS\r\n"},
        {0, "", "\r\n"},
};

static const char *next_byte(const struct held *held)
{
	size_t v = 0;
	while (voices[v].port && voices[v].port != held->port)
		v++;
	size_t first = strlen(voices[v].first);
	return held->said < first ? voices[v].first + held->said
	                          : voices[v].again + (held->said - first) % strlen(voices[v].again);
}

/* ---- slots */

static uint64_t chance(struct tarpit *t)
{
	t->chance ^= t->chance << 13; /* xorshift: nothing secret, only uneven */
	t->chance ^= t->chance >> 7;
	t->chance ^= t->chance << 17;
	return t->chance;
}

static uint64_t id_of(const struct tarpit *t, uint32_t slot)
{
	return TARPIT_ID | (uint64_t)(t->held[slot].serial & INT32_MAX) << 32 | slot;
}

static void release(struct tarpit *t, uint32_t slot)
{
	struct held *h = &t->held[slot];
	assert(h->fd >= 0);
	close(h->fd); /* the watcher forgets it with that */
	h->fd = -1;
	if (h->older != NONE)
		t->held[h->older].newer = h->newer;
	else
		t->oldest = h->newer;
	if (h->newer != NONE)
		t->held[h->newer].older = h->older;
	else
		t->newest = h->older;
	h->newer = t->free;
	t->free = slot;
	t->counts.held--;
}

static bool keep(struct tarpit *t, int fd, uint16_t port, int64_t now_us)
{
	if (t->free == NONE) {
		release(t, t->oldest);
		t->counts.displaced++;
	}
	uint32_t slot = t->free;
	struct held *h = &t->held[slot];
	t->free = h->newer;
	*h = (struct held){.fd = fd,
	                   .port = port,
	                   .serial = ++t->serial,
	                   .older = t->newest,
	                   .newer = NONE,
	                   .due_us = now_us + FIRST_US + (int64_t)(chance(t) % FIRST_US)};
	if (t->newest != NONE)
		t->held[t->newest].newer = slot;
	else
		t->oldest = slot;
	t->newest = slot;
	t->counts.held++;
	t->counts.taken++;
	struct epoll_event event = {.events = EPOLLRDHUP, .data.u64 = id_of(t, slot)};
	if (epoll_ctl(t->watcher, EPOLL_CTL_ADD, fd, &event) == 0)
		return true;
	release(t, slot);
	return false;
}

struct tarpit *tarpit_new(size_t limit, int watcher)
{
	struct tarpit *t = calloc(1, sizeof(*t) + limit * sizeof(t->held[0]));
	assert(t && limit > 0 && limit < NONE);
	t->limit = limit;
	t->watcher = watcher;
	t->oldest = t->newest = NONE;
	for (size_t i = 0; i < limit; i++)
		t->held[i] = (struct held){.fd = -1, .newer = i + 1 < limit ? (uint32_t)i + 1 : NONE};
	if (getrandom(&t->chance, sizeof(t->chance), 0) != (ssize_t)sizeof(t->chance))
		t->chance = 0;
	t->chance |= 1;
	return t;
}

void tarpit_free(struct tarpit *t)
{
	while (t && t->oldest != NONE)
		release(t, t->oldest);
	free(t);
}

/* ---- coming and going */

/* Before anybody is accepted: the window that a SYN is answered with is what the listening socket has. No lingering: who is put
 * out leaves nothing behind in the kernel. */
int tarpit_prepare(int listening, struct err *err)
{
	const struct linger none = {.l_onoff = 1, .l_linger = 0};
	const int buffer = BUFFER, patience = PATIENCE_MS, yes = 1, idle = PATIENCE_MS / 1000, clamp = BUFFER / 2;
	const struct {
		int level, name;
		const void *value;
		socklen_t size;
	} options[] = {
	        {SOL_SOCKET, SO_RCVBUF, &buffer, sizeof(buffer)},
	        {SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer)},
	        {SOL_SOCKET, SO_LINGER, &none, sizeof(none)},
	        {SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof(yes)},
	        {IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle)},
	        {IPPROTO_TCP, TCP_USER_TIMEOUT, &patience, sizeof(patience)},
	        {IPPROTO_TCP, TCP_WINDOW_CLAMP, &clamp, sizeof(clamp)},
	};
	for (size_t i = 0; i < countof(options); i++)
		if (setsockopt(listening, options[i].level, options[i].name, options[i].value, options[i].size) < 0)
			return err_set(err, -errno, "cannot prepare the tarpit's socket: %s", strerror(errno));
	if (fcntl(listening, F_SETFL, O_NONBLOCK) < 0) /* whoever made it: to wait here would be to hold nobody */
		return err_set(err, -errno, "cannot prepare the tarpit's socket: %s", strerror(errno));
	return 0;
}

/* Which port was meant before the rules sent it here; 0: not to be found out. */
static uint16_t port_meant(int fd)
{
	struct sockaddr_in6 meant; /* IPv4's port is at the same place */
	socklen_t size = sizeof(meant);
	if (getsockopt(fd, IPPROTO_IP, SO_ORIGINAL_DST, &meant, &size) == 0)
		return ntohs(meant.sin6_port);
	size = sizeof(meant);
	if (getsockopt(fd, IPPROTO_IPV6, SO_ORIGINAL_DST, &meant, &size) == 0)
		return ntohs(meant.sin6_port);
	return 0;
}
static_assert(offsetof(struct sockaddr_in6, sin6_port) == offsetof(struct sockaddr_in, sin_port), "port_meant reads either");

int tarpit_accept(struct tarpit *t, int listening, size_t most, int64_t now_us)
{
	for (size_t i = 0; i < most; i++) {
		int fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0 && (errno == ECONNABORTED || errno == EINTR))
			continue;
		if (fd < 0)
			return errno == EAGAIN ? 0 : -errno;
		if (!keep(t, fd, port_meant(fd), now_us))
			return -ENOMEM;
	}
	return 0;
}

void tarpit_ended(struct tarpit *t, uint64_t id)
{
	uint32_t slot = (uint32_t)id;
	if (slot < t->limit && t->held[slot].fd >= 0 && id_of(t, slot) == id)
		release(t, slot);
}

/* Who does not read gets nothing more and is held all the same, until its patience or PATIENCE_MS ends. */
static void give(struct tarpit *t, uint32_t slot, int64_t now_us)
{
	struct held *h = &t->held[slot];
	ssize_t sent = send(h->fd, next_byte(h), 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (sent < 0 && errno != EAGAIN && errno != EINTR && errno != ENOBUFS) {
		release(t, slot);
		return;
	}
	h->said += sent == 1;
	t->counts.bytes += sent == 1;
	h->due_us = now_us + TARPIT_LEAST_US + (int64_t)(chance(t) % TARPIT_SPAN_US);
}

int64_t tarpit_dribble(struct tarpit *t, int64_t now_us)
{
	if (now_us >= t->look_us)
		for (uint32_t i = 0; i < t->limit; i++)
			if (t->held[i].fd >= 0 && t->held[i].due_us <= now_us)
				give(t, i, now_us);
	if (now_us >= t->look_us)
		t->look_us = now_us + LOOK_US;
	return t->counts.held ? t->look_us : INT64_MAX;
}

void tarpit_counts(const struct tarpit *t, struct tarpit_counts *ret_counts)
{
	*ret_counts = t->counts;
}
