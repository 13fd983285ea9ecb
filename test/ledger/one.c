/* See one.h. */
#include "one.h"

struct folder folder;
struct ledger *ledger;
struct err err;

int one_open(unused_arg void **state)
{
	folder_new(&folder);
	ledger = folder_open(&folder, false);
	return 0;
}

int one_close(unused_arg void **state)
{
	ledger_close(ledger);
	folder_remove(&folder);
	return 0;
}
