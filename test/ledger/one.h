#pragma once
/* A ledger in a folder of its own for each test: setup and teardown of cmocka. */
#include "folder.h"

extern struct folder folder;
extern struct ledger *ledger;
extern struct err err;

int one_open(void **state);
int one_close(void **state);

#define MUST(call)                                                                                                               \
	do {                                                                                                                     \
		if ((call) < 0)                                                                                                  \
			fail_msg("%s", err.text);                                                                                \
	} while (0)
