#pragma once
/*
 * Reads YAML files into plain structs by a table. The table is the only description of a format there is: values,
 * ranges, defaults, messages, the manual's key list and the JSON Schema all come from it.
 *
 * What is read is the part of YAML that people write by hand: maps, lists and scalars. Aliases, anchors, tags, merge
 * keys, duplicate keys and a second document are refused, each with its place. Every message about a file begins
 * with "file:line:column: ". Several files can be laid over one another: scalars and lists replace, maps merge.
 */
#include "lib/err.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define YAML_BYTES_MAX (1u << 20) /* of one file */
#define YAML_DEPTH_MAX 16         /* of maps and lists in one another */
#define YAML_NODES_MAX 10000      /* of one file */
#define YAML_KEYS_MAX 32          /* of one table */
#define YAML_FILES_MAX 64         /* laid over one another */

enum yaml_type {
	YAML_BOOL,     /* yes no true false on off */
	YAML_INTEGER,  /* decimal digits */
	YAML_DURATION, /* 100ms 2s 10min 24h; number is in milliseconds */
	YAML_SIZE,     /* 512B 64KiB 192MiB 1GiB; number is in bytes */
	YAML_PERCENT,  /* 50% */
	YAML_WORD,     /* one of `words`; number is its place */
	YAML_TEXT,     /* anything printable */
	YAML_NAME,     /* [a-z][a-z0-9-]* */
	YAML_PATH,     /* absolute, without ".." */
	YAML_URL_PATH, /* begins with /, visible ASCII */
	YAML_ADDRESS,  /* IPv4 or IPv6 */
	YAML_RANGE,    /* 192.0.2.0/24 or 2001:db8::/64, host bits zero */
	YAML_PORT,     /* 80/tcp, 53/udp */
	YAML_MAP,      /* of `keys` */
	YAML_LIST,     /* of `item` */
	YAML_NAMED,    /* a map whose keys are names of things that each have `keys` */
	YAML_TYPE_MAX_
};

struct yaml_value {
	uint64_t number; /* BOOL to WORD; PORT: the port */
	int family;      /* ADDRESS, RANGE: AF_INET or AF_INET6 */
	struct in_addr address4;
	struct in6_addr address6;
	uint8_t prefix;   /* RANGE */
	uint8_t protocol; /* PORT: IPPROTO_TCP or IPPROTO_UDP */
	const char *text; /* as written */
};

struct yaml_node; /* a value in a file, with its place */

/* Stores a value that is more than one field, or checks it further. `object` is the struct that the map fills. For a
 * list it is called for each item. Fails by yaml_fail(node, ...). */
typedef int yaml_hook(const struct yaml_node *node, const struct yaml_value *value, void *object, struct err *err);

struct yaml_key {
	const char *key; /* NULL ends a table */
	enum yaml_type type;
	bool required;
	size_t offset, width;         /* the field (LIST: one item, NAMED: one thing); numbers take their width from it */
	size_t count;                 /* LIST, NAMED: offset of a size_t with the number of items */
	size_t limit;                 /* LIST, NAMED: most items */
	uint64_t min, max;            /* numbers, in ms or bytes where they have a unit; LIST, NAMED: min items */
	uint64_t unit;                /* numbers: stored in multiples of it (0: 1) */
	const char *const *words;     /* WORD: ended by NULL */
	enum yaml_type item;          /* LIST */
	const struct yaml_key *keys;  /* MAP (filled into the same object), NAMED */
	size_t name_offset, name_max; /* NAMED: where in a thing its name goes */
	yaml_hook *hook;              /* instead of storing at `offset` */
	const char *fallback;         /* default as YAML text; NULL: the field stays as it is */
	const char *help;             /* for the manual: one or two sentences */
};

#define YAML_FIELD(type, member) .offset = offsetof(type, member), .width = sizeof(((type *)0)->member)
#define YAML_ITEMS(type, member, n_member)                                                                                       \
	.offset = offsetof(type, member), .width = sizeof(((type *)0)->member[0]), .limit = countof(((type *)0)->member),        \
	.count = offsetof(type, n_member)

struct yaml_tree;

struct yaml_tree *yaml_tree_new(void); /* never NULL */
void yaml_tree_free(struct yaml_tree *tree);

/* Parses `text` and lays it over what is there. On failure the tree is as it was. `name` stands in the messages. */
int yaml_tree_add(struct yaml_tree *tree, const char *name, const char *text, size_t size, struct err *err) must_use;
int yaml_tree_add_file(struct yaml_tree *tree, const char *path, struct err *err) must_use;

/* Fills `object` by the table; defaults where a key is absent. On failure `object` is half filled: read into a scratch. */
int yaml_tree_read(const struct yaml_tree *tree, const struct yaml_key *keys, void *object, struct err *err) must_use;

/* The value at "services/web/ports" or "list/0"; where the path ends early, the deepest value that exists. Never NULL. */
const struct yaml_node *yaml_tree_find(const struct yaml_tree *tree, const char *path);

/* Sets "file:line:column: SENTENCE"; returns -EINVAL. */
int yaml_fail(const struct yaml_node *node, struct err *err, const char *format, ...) printf_like(3, 4);

/* Checks and converts one scalar. On failure `ret_want` says what is wanted, to stand after "must be ". */
bool yaml_value_parse(const struct yaml_key *key, enum yaml_type type, const char *text, struct yaml_value *ret_value,
                      char *ret_want, size_t want_size);

/* "250ms", "64KiB", "50%", "7". */
void yaml_number_text(enum yaml_type type, uint64_t number, char *ret_text, size_t size);

/* The table as the body of a manual page (scdoc) and as JSON Schema. */
void yaml_print_manual(const struct yaml_key *keys, FILE *to);
void yaml_print_json_schema(const struct yaml_key *keys, const char *title, FILE *to);
