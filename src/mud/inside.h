#pragma once
/* How the files of this room read JSON: a table of members for each kind of object, and a place that knows its path. */
#include "mud/mud.h"

#include <jansson.h>

struct place { /* on the stack of whoever reads it; `key` or, of a list, `index` */
	const struct place *up;
	const char *key;
	size_t index;
};

struct reading {
	const char *file;
	struct err *err;
	struct mud *mud;
	const json_t *acls;
	bool to_device;      /* which policy is read */
	bool v6;             /* of the list that is read */
	uint16_t list;       /* which one it is */
	struct mud_ace *ace; /* the entry that is read */
};

typedef int read_value(struct reading *r, const struct place *at, const json_t *value);

struct member {
	const char *name; /* with its module where the standard's examples have it: "ietf-mud:mud" */
	read_value *read; /* NULL: known, and refused as unsupported */
	bool needed;
};

/* `sentence` says what is wrong with the value at this place. */
int mud_refuse(const struct reading *r, const struct place *at, const char *sentence, ...) printf_like(3, 4);

/* Every member of the object is read by its row; what has no row, or lacks though needed, is refused. A module before the name
 * may be there or not. */
int mud_object(struct reading *r, const struct place *at, const json_t *value, const struct member *members, size_t n);

/* Every item is read; at most `max`. */
int mud_list(struct reading *r, const struct place *at, const json_t *value, size_t max, read_value *read);

/* Text of 1..size-1 printable ASCII characters that can stand in nft's quotes. */
int mud_text(const struct reading *r, const struct place *at, const json_t *value, char *ret_text, size_t size);
int mud_number(const struct reading *r, const struct place *at, const json_t *value, long min, long max, long *ret_number);

/* acl.c: the entries of the list named `name` are appended to mud->aces. */
int mud_acl(struct reading *r, const struct place *at, const char *name);

/* match.c: what an entry is about. */
int mud_matches(struct reading *r, const struct place *at, const json_t *value);
