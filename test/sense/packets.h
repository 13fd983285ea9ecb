#pragma once
/* Builds NFLOG datagrams as the kernel sends them, one message after the other. Addresses are text of either family. */
#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>

#define PACKETS_INDEX 1 /* input interface of all of them: loopback's, in every namespace */

struct packets {
	size_t size;
	int64_t real_us; /* the kernel's stamp of what is put in next; 0: none */
	uint8_t bytes[4096];
};

void packets_tcp(struct packets *packets, const char *prefix, const char *source, uint16_t source_port, const char *destination,
                 uint16_t destination_port, uint8_t flags);
/* An opening with the TCP-MD5 option (19) behind a NOP. */
void packets_signed(struct packets *packets, const char *prefix, const char *source, uint16_t source_port,
                    const char *destination, uint16_t destination_port);
/* A whole header of UDP (or of another protocol: its first four bytes are these ports). */
void packets_other(struct packets *packets, const char *prefix, uint8_t protocol, const char *source, uint16_t source_port,
                   const char *destination, uint16_t destination_port);
/* `data` behind UDP's header. */
void packets_udp(struct packets *packets, const char *prefix, const char *source, uint16_t source_port, const char *destination,
                 uint16_t destination_port, const void *data, size_t size);
void packets_arp(struct packets *packets, const char *prefix, const char *claimed);
void packets_neighbour(struct packets *packets, const char *prefix, const char *source, const char *claimed);
void packets_vrrp(struct packets *packets, const char *prefix, const char *source, uint8_t router, uint8_t priority);
/* ICMP unreachable of IPv4 from `guest`, quoting a segment that `client` sent it. */
void packets_unreachable(struct packets *packets, const char *prefix, const char *guest, uint16_t guest_port, const char *client,
                         uint16_t client_port, uint8_t code);
/* By ARP or ND, as the family says: who has it? */
void packets_who_has(struct packets *packets, const char *prefix, const char *whom);
void packets_ping(struct packets *packets, const char *prefix, const char *source, const char *destination);
