#pragma once
/* Frames that a taken-over guest might send, by hand. Each returns its size; `frame` holds FRAME_MAX bytes. */
#include "conf/conf.h"

#define FRAME_MAX 128

size_t frame_arp(uint8_t *frame, const struct conf_instance *me, const uint8_t *mac, struct in_addr sender,
                 struct in_addr target);
size_t frame_ip4(uint8_t *frame, const uint8_t *mac, struct in_addr source, struct in_addr destination, uint8_t protocol,
                 uint16_t source_port, uint16_t destination_port);
/* `type` is ICMPv6's; `target` NULL: none (router messages). */
size_t frame_icmp6(uint8_t *frame, const uint8_t *mac, const struct in6_addr *source, const struct in6_addr *destination,
                   uint8_t type, const struct in6_addr *target);
