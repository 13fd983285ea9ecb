#pragma once
/*
 * What the files of ORDER_VM_EVIDENCE share: the evidence of one guest while it is being taken, at any time one
 * (vm.evidence_lock). On workers only.
 */
#include "act/vm/vm.h"

/* What is large (the memory) is copied and hashed within this time after the order, or left out. What is small (flows, consoles:
 * a few MiB) is taken in any case. The engine waits for three times as long. */
#define EVIDENCE_US 20000000

struct taking {
	struct vm *vm;
	const struct wire_order *order;
	char folder[VM_PATH_MAX + 24]; /* of the incident */
	int64_t end_us;                /* CLOCK_MONOTONIC */
	bool some;                     /* something was kept */
	char text[160];                /* what the answer says: what was kept, and what is missing and why */
	struct err first;              /* why the first thing is missing: the answer, when nothing else came of it */
};

/* evidence.c: puts more into the answer. The second tells the log the whole sentence, since the answer has little room. */
void taking_say(struct taking *t, const char *format, ...) printf_like(2, 3);
void taking_miss(struct taking *t, const char *what, const struct err *why);

/* evidence_file.c: a file in the folder is complete. It is hashed, gets its line in SHA256SUMS, and the engine is told.
 * -ETIMEDOUT when that lasts beyond `end_us`. */
int evidence_keep(struct taking *t, const char *name, int64_t end_us, struct err *err) must_use;

/* evidence_room.c: lets the oldest evidence of closed incidents go until so many bytes more are within 'evidence_total', or
 * nothing more may go. */
void evidence_room_make(struct taking *t, uint64_t bytes);
/* The same, and whether so many bytes may be taken then. False: the answer says that `what` is left out, and why. */
bool evidence_room(struct taking *t, const char *what, uint64_t bytes);
/* Tells the engine which incidents have no evidence any more. */
void evidence_room_tell(const struct taking *t);

/* evidence_memory.c: the memory image, the last and largest part. First what an interrupted try left of it must go, so that it
 * does not count against itself. */
void evidence_memory_forget(const struct taking *t);
/* Before libvirt is opened: a predecessor that was killed may have left a QEMU waiting at a pipe that nobody reads. */
void evidence_memory_release(const struct vm *vm);
void evidence_memory(struct taking *t, const struct conf_instance *instance);
