#pragma once
/*
 * Files that live on from guest to guest: what the agents of those before it saved into the service's data (CONF_CARRY_FOLDER),
 * for the seed of a new one. Whoever wrote them may be an intruder: they are read below that folder only, through no link, so
 * much and no more, and koboshi-scan judges the very bytes that are put into the seed.
 */
#include "act/vm/vm.h"

struct carry {
	struct carried {
		const char *path; /* of the configuration */
		uint32_t uid, gid, mode;
		uint8_t *bytes;
		size_t size;
	} all[CONF_CARRY_MAX];
	size_t n;
	char refused[WIRE_TEXT_MAX]; /* which ones are not among them, and why; "": none was refused */
};

/* Never fails: a guest comes up with the image's own file rather than not at all. `data`: the folder that the guests share;
 * `number` has a folder of its own already (folder.h). The caller frees. */
void carry_take(const struct vm *vm, const struct conf_service *service, const char *data, uint32_t number, struct carry *ret);
void carry_free(struct carry *carry);
