#pragma once
/*
 * What waits to be told to the engine: answers from workers, notices from libvirt's thread. Bounded; any thread posts, the main
 * thread takes. A full outbox marks itself as overrun instead of waiting: the main thread then ends the engine's link, and
 * the engine looks at the world anew.
 */
#include "wire/order.h"

#define OUTBOX_MAX 192

struct outbox;

struct outbox *outbox_new(void);
void outbox_free(struct outbox *outbox);

/* Readable when there is something to take or someone called outbox_wake. */
int outbox_fd(const struct outbox *outbox);
void outbox_wake(struct outbox *outbox);

/* `link` is the number of the engine link that the order came over; an answer goes to that link or nowhere. */
void outbox_answer(struct outbox *outbox, uint64_t link, const struct wire_answer *answer);
void outbox_note(struct outbox *outbox, enum wire_notice type, uint32_t instance, uint32_t accelerator, const char *text);

void outbox_usage(struct outbox *outbox, uint32_t instance, const struct wire_usage *usage);

/* NOTICE_GUEST_CHANNEL; takes `fd`. */
void outbox_channel(struct outbox *outbox, uint32_t instance, const uint8_t key[static WIRE_KEY_SIZE], int fd);

/* NOTICE_EVIDENCE_TAKEN: `file` is a name. NOTICE_EVIDENCE_DROPPED: of this incident and those before it. */
void outbox_evidence_taken(struct outbox *outbox, uint32_t instance, const struct wire_evidence *evidence, const char *file);
void outbox_evidence_dropped(struct outbox *outbox, uint64_t incident);

/* The oldest message; false when empty. `ret_link` is 0 for notices. `ret_fd` is a descriptor to send with it, the caller's from
 * now on, or -1. */
bool outbox_take(struct outbox *outbox, struct wire_message *ret_message, uint64_t *ret_link, int *ret_fd);

/* Clears the wake-up; returns true once after an overrun. */
bool outbox_woken(struct outbox *outbox);

/* Throws all away, descriptors included: a new engine has no use for what was meant for the old one. */
void outbox_clear(struct outbox *outbox);
