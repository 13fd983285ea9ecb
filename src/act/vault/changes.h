#pragma once
/*
 * What was changed in the data and put aside by rollbacks, in one file of lines. A line is written before what it says is done,
 * so that nothing can lie aside of which nobody knows; one whose number has nothing put aside tells of what did not come to pass.
 */
#include "lib/err.h"
#include "wire/order.h"

#include <limits.h>

#define CHANGES_MAX 20000 /* then the oldest go, with what they put aside */

struct change {
	uint64_t number, incident, bytes;
	enum wire_change_kind kind;
	char *path; /* below the data */
};

struct changes {
	char file[PATH_MAX];
	struct change *all; /* oldest first */
	size_t n;
	uint64_t last;
};

/* No such file: there are none. Lines that are damaged are passed over. */
int changes_load(const char *file, struct changes *ret, struct err *err) must_use;

/* Gives it a number and writes it down; on disk when it returns. */
int changes_add(struct changes *c, const struct change *fresh, uint64_t *ret_number, struct err *err) must_use;

/* All anew: after one was changed, or the oldest were taken out. */
int changes_save(const struct changes *c, struct err *err) must_use;

struct change *changes_find(const struct changes *c, uint64_t number); /* NULL: none */
void changes_free(struct changes *c);

/* Printable, so that it fits into a line and on a screen: what is not, and '%', becomes %XX. The end of what is too long. */
void changes_path_text(const char *path, char *to, size_t size);
