#pragma once
/* The tables, as a list of scripts: version N is the state after the first N. */
#include "ledger/store.h"

/* Whose file is it? 0: ours or empty (`ret_empty`); -EMEDIUMTYPE, -EPROTO, -EBADMSG when damaged. Writes nothing. */
int schema_check(struct ledger *l, bool *ret_empty, struct err *err) must_use;

/* Runs the scripts that the file has not seen, in one transaction. */
int schema_migrate(struct ledger *l, struct err *err) must_use;
