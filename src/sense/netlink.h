#pragma once
/*
 * Netlink's wrapping, by hand: messages in a datagram, attributes in a message. Libraries for it bring callbacks whose bounds
 * checks we would have to trust, on bytes that a guest chose. Pure; every field is read by memcpy from a place whose size was
 * checked just before.
 */
#include <stddef.h>
#include <stdint.h>

struct netlink_bytes {
	const uint8_t *at;
	size_t left;
};

struct netlink_message {
	uint16_t type, flags;
	struct netlink_bytes body; /* behind netlink's header */
};

struct netlink_attribute {
	uint16_t type; /* without the flag bits */
	struct netlink_bytes value;
};

/* 1: the next, taken off `from`; 0: no more (an attribute's padding is no more either); -EBADMSG: the rest makes no sense. */
int netlink_next_message(struct netlink_bytes *from, struct netlink_message *ret_message);
int netlink_next_attribute(struct netlink_bytes *from, struct netlink_attribute *ret_attribute);

uint16_t netlink_big16(const uint8_t *at);
uint32_t netlink_big32(const uint8_t *at);
uint64_t netlink_big64(const uint8_t *at);
