/* Any bytes as a netlink datagram: the reader ends, points only into it, and whatever it found can be put in words. */
#include "sense/dns.h"
#include "sense/touch.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void check_text(const char *text, size_t size)
{
	if (strnlen(text, size) == size)
		abort();
	for (; *text; text++)
		if (*text < 0x20 || *text > 0x7e)
			abort();
}

static void check_packet(const struct nflog_packet *packet)
{
	char text[NFLOG_CLAIM_MAX], address[INET6_ADDRSTRLEN];
	char touch[TOUCH_MAX];
	struct nflog_tcp tcp;
	struct nflog_flow flow;
	char place[NFLOG_PLACE_MAX];
	struct nflog_udp udp;
	struct dns_answer answer;
	if (nflog_flow(packet, &flow)) {
		nflog_place(&flow, place);
		check_text(place, sizeof(place));
	} else if (nflog_tcp(packet, &tcp)) {
		abort(); /* a segment is about something */
	}
	struct nflog_asked asked;
	if (nflog_asked(packet, &asked)) {
		touch_text(&asked, touch);
		check_text(touch, sizeof(touch));
	}
	nflog_claim(packet, text);
	check_text(text, sizeof(text));
	if (nflog_tcp(packet, &tcp) && tcp.header) {
		uint8_t header[60];
		memcpy(header, tcp.header, tcp.header_size);
	}
	if (nflog_tcp(packet, &tcp) || nflog_refusal(packet, &tcp)) {
		nflog_address_text(&tcp.source, address);
		check_text(address, sizeof(address));
	}
	if (nflog_udp(packet, &udp) && dns_read(udp.data, udp.size, &answer))
		check_text(answer.name, sizeof(answer.name));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	uint8_t *exact = malloc(size ? size : 1);
	struct nflog_packet packet;
	if (!exact)
		abort();
	memcpy(exact, bytes, size);
	struct nflog_reader reader = {exact, size};
	size_t left = size + 1;
	while (nflog_next(&reader, &packet) == 1) {
		if (reader.left >= left)
			abort();
		left = reader.left;
		check_packet(&packet);
	}
	/* the payload's parsers directly, without luck in the wrapping */
	packet = (struct nflog_packet){.payload = exact, .payload_size = size, .link = exact, .link_size = size};
	static const uint16_t kinds[] = {0, 0x0800, 0x0806, 0x86dd, 0x88cc};
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		packet.protocol = kinds[i];
		check_packet(&packet);
	}
	free(exact);
	return 0;
}
