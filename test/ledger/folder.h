#pragma once
/* A folder of its own for each test, and a ledger in it. */
#include "ledger/ledger.h"

#include <limits.h>

struct folder {
	char base[64];
	char path[PATH_MAX]; /* base/ledger.db */
};

void folder_new(struct folder *folder);
void folder_remove(const struct folder *folder);

/* How many files PATH.damaged-* there are (without their -wal); the name of the last one. */
unsigned folder_damaged(const struct folder *folder, char ret_name[static PATH_MAX]);

/* Opens; any failure ends the program with the sentence. `fresh`: whether a reason must be given. */
struct ledger *folder_open(const struct folder *folder, bool fresh);
