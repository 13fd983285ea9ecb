#pragma once
/*
 * How koboshi's own files were when koboshid was started: kept in a file of run_dir for as long as that koboshid lives, so that
 * whoever kills koboshi-host does not make it forget. Root can change it as anything else: see docs/design.md.
 */
#include "act/host/own.h"

struct memory {
	struct own own;
	pid_t koboshid; /* whose time it is about */
	uint64_t born;
};

/* What was remembered in the time of this koboshid. False: nothing, or of another one. */
bool memory_load(const char *path, pid_t koboshid, uint64_t born, struct memory *ret_memory);
int memory_save(const char *path, const struct memory *memory, struct err *err) must_use;

/* Files that were not named before (another configuration names others) are taken as they are; not those that came into a folder.
 */
void memory_adopt(struct memory *memory, const struct own *now);

/* A reload: the configuration, and what it names, is as it is now. */
void memory_take_config(struct memory *memory, const struct own *now);

/* One sentence for each file that is not as it was, at most `max`; how many. */
size_t memory_compare(const struct memory *memory, const struct own *now, char (*ret_texts)[200], size_t max);
