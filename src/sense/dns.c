/* See dns.h. Of the name each label is a length and so many bytes; a pointer has no business in the first question. */
#include "sense/dns.h"

#include <stdio.h>
#include <string.h>

#define HEADER 12
#define LABEL_MAX 63
#define CODE_FORMAT 1

static char printable(uint8_t byte)
{
	return (char)(byte > 0x20 && byte < 0x7f && byte != '"' && byte != '\\' ? byte : '?');
}

static void read_name(const uint8_t *at, size_t left, char ret_name[static DNS_NAME_MAX])
{
	static const char more[] = "...";
	size_t n = 0, room = DNS_NAME_MAX - sizeof(more);
	bool whole = false;
	while (left > 0 && !whole) {
		size_t label = at[0];
		if (label > LABEL_MAX || label > left - 1 || n + label + 1 > room)
			break;
		whole = label == 0;
		for (size_t i = 0; i < label; i++)
			ret_name[n++] = printable(at[1 + i]);
		if (!whole)
			ret_name[n++] = '.';
		at += 1 + label;
		left -= 1 + label;
	}
	n -= whole && n > 0; /* the last dot */
	snprintf(ret_name + n, DNS_NAME_MAX - n, "%s", whole ? "" : more);
}

bool dns_read(const uint8_t *bytes, size_t size, struct dns_answer *ret_answer)
{
	if (size < HEADER)
		return false;
	bool answers = bytes[2] & 0x80, query = (bytes[2] >> 3 & 15) == 0, one_question = bytes[4] == 0 && bytes[5] == 1;
	if (!answers || !query || !one_question)
		return false;
	*ret_answer = (struct dns_answer){.code = bytes[3] & 15};
	ret_answer->found = ret_answer->code <= CODE_FORMAT; /* a server that does not understand says nothing of the name */
	read_name(bytes + HEADER, size - HEADER, ret_answer->name);
	return true;
}
