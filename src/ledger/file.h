#pragma once
/* The ledger as a file on a disk: made so that its name survives a power cut, and moved aside when it is damaged. */
#include "lib/err.h"

#include <stdbool.h>

/* Makes the file, empty, when it is not there (mode 0600, the folder synced). `ret_cut`: it was there and is too short to be
 * a ledger, which SQLite would take for a new one. */
int ledger_file_prepare(const char *path, bool *ret_cut, struct err *err) must_use;

/* Renames PATH and what SQLite keeps beside it to PATH.damaged-<seconds>..., never over a file that is there. */
int ledger_file_move_aside(const char *path, struct err *err) must_use;
