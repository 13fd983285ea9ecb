/* A ring under a mutex and an eventfd. See outbox.h. */
#include "act/vm/outbox.h"

#include "lib/attr.h"
#include "lib/bytes.h"

#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>

struct outbox {
	pthread_mutex_t lock;
	int fd;
	bool overrun;
	size_t first, count;
	struct {
		uint64_t link;
		int fd; /* goes with the message; -1: none */
		struct wire_message message;
	} slots[OUTBOX_MAX];
};

struct outbox *outbox_new(void)
{
	struct outbox *outbox = calloc(1, sizeof(*outbox));
	if (!outbox)
		abort();
	pthread_mutex_init(&outbox->lock, NULL);
	outbox->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (outbox->fd < 0)
		abort();
	return outbox;
}

void outbox_free(struct outbox *outbox)
{
	if (!outbox)
		return;
	outbox_clear(outbox);
	close(outbox->fd);
	pthread_mutex_destroy(&outbox->lock);
	free(outbox);
}

int outbox_fd(const struct outbox *outbox)
{
	return outbox->fd;
}

void outbox_wake(struct outbox *outbox)
{
	eventfd_write(outbox->fd, 1);
}

static void fd_drop(int fd)
{
	if (fd >= 0)
		close(fd);
}

static void outbox_put(struct outbox *outbox, uint64_t link, const struct wire_message *message, int fd)
{
	pthread_mutex_lock(&outbox->lock);
	if (outbox->count == OUTBOX_MAX) {
		outbox->overrun = true;
		fd_drop(fd);
	} else {
		size_t at = (outbox->first + outbox->count++) % OUTBOX_MAX;
		outbox->slots[at].link = link;
		outbox->slots[at].fd = fd;
		outbox->slots[at].message = *message;
	}
	pthread_mutex_unlock(&outbox->lock);
	outbox_wake(outbox);
}

void outbox_answer(struct outbox *outbox, uint64_t link, const struct wire_answer *answer)
{
	struct wire_message message = {.kind = WIRE_ANSWER, .answer = *answer};
	outbox_put(outbox, link, &message, -1);
}

void outbox_note(struct outbox *outbox, enum wire_notice type, uint32_t instance, uint32_t accelerator, const char *text)
{
	struct wire_message message = {.kind = WIRE_NOTICE};
	message.note.time_us = clock_monotonic_us();
	message.note.type = type;
	message.note.instance = instance;
	message.note.accelerator = accelerator;
	text_copy(message.note.text, sizeof(message.note.text), text);
	outbox_put(outbox, 0, &message, -1);
}

void outbox_usage(struct outbox *outbox, uint32_t instance, const struct wire_usage *usage)
{
	struct wire_message message = {.kind = WIRE_NOTICE};
	message.note.time_us = clock_monotonic_us();
	message.note.type = NOTICE_GUEST_USAGE;
	message.note.instance = instance;
	message.note.usage = *usage;
	outbox_put(outbox, 0, &message, -1);
}

void outbox_channel(struct outbox *outbox, uint32_t instance, const uint8_t key[static WIRE_KEY_SIZE], int fd)
{
	struct wire_message message = {.kind = WIRE_NOTICE};
	message.note.time_us = clock_monotonic_us();
	message.note.type = NOTICE_GUEST_CHANNEL;
	message.note.instance = instance;
	memcpy(message.note.key, key, WIRE_KEY_SIZE);
	outbox_put(outbox, 0, &message, fd);
}

void outbox_evidence_taken(struct outbox *outbox, uint32_t instance, const struct wire_evidence *evidence, const char *file)
{
	struct wire_message message = {.kind = WIRE_NOTICE};
	message.note.time_us = clock_monotonic_us();
	message.note.type = NOTICE_EVIDENCE_TAKEN;
	message.note.instance = instance;
	message.note.evidence = *evidence;
	text_copy(message.note.text, sizeof(message.note.text), file);
	outbox_put(outbox, 0, &message, -1);
}

void outbox_evidence_dropped(struct outbox *outbox, uint64_t incident)
{
	struct wire_message message = {.kind = WIRE_NOTICE};
	message.note.time_us = clock_monotonic_us();
	message.note.type = NOTICE_EVIDENCE_DROPPED;
	message.note.evidence.incident = incident;
	outbox_put(outbox, 0, &message, -1);
}

bool outbox_take(struct outbox *outbox, struct wire_message *ret_message, uint64_t *ret_link, int *ret_fd)
{
	pthread_mutex_lock(&outbox->lock);
	bool some = outbox->count > 0;
	if (some) {
		*ret_message = outbox->slots[outbox->first].message;
		*ret_link = outbox->slots[outbox->first].link;
		*ret_fd = outbox->slots[outbox->first].fd;
		outbox->first = (outbox->first + 1) % OUTBOX_MAX;
		outbox->count--;
	}
	pthread_mutex_unlock(&outbox->lock);
	return some;
}

bool outbox_woken(struct outbox *outbox)
{
	eventfd_t ignored;
	eventfd_read(outbox->fd, &ignored);
	pthread_mutex_lock(&outbox->lock);
	bool overrun = outbox->overrun;
	outbox->overrun = false;
	pthread_mutex_unlock(&outbox->lock);
	return overrun;
}

void outbox_clear(struct outbox *outbox)
{
	pthread_mutex_lock(&outbox->lock);
	for (; outbox->count > 0; outbox->count--) {
		fd_drop(outbox->slots[outbox->first].fd);
		outbox->first = (outbox->first + 1) % OUTBOX_MAX;
	}
	outbox->overrun = false;
	pthread_mutex_unlock(&outbox->lock);
}
