/* See folder.h. */
#include "folder.h"
#include "lib/bytes.h"

#include <assert.h>
#include <ftw.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

void folder_new(struct folder *folder)
{
	/* Kills and damage are tried here, not power cuts: memory does, and does not wait for a busy disk. */
	bool memory = access("/dev/shm", W_OK) == 0;
	strcpy(folder->base, memory ? "/dev/shm/koboshi-ledger-XXXXXX" : "/tmp/koboshi-ledger-XXXXXX");
	assert(mkdtemp(folder->base));
	snprintf(folder->path, sizeof(folder->path), "%s/ledger.db", folder->base);
}

static int remove_one(const char *path, unused_arg const struct stat *status, unused_arg int type, unused_arg struct FTW *walk)
{
	return remove(path);
}

void folder_remove(const struct folder *folder)
{
	nftw(folder->base, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

unsigned folder_damaged(const struct folder *folder, char ret_name[static PATH_MAX])
{
	char pattern[PATH_MAX + 32];
	glob_t found;
	unsigned count = 0;
	snprintf(pattern, sizeof(pattern), "%s.damaged-*", folder->path);
	if (glob(pattern, 0, NULL, &found) != 0)
		return 0;
	for (size_t i = 0; i < found.gl_pathc; i++) {
		if (strstr(found.gl_pathv[i], "-wal"))
			continue;
		text_copy(ret_name, PATH_MAX, found.gl_pathv[i]);
		count++;
	}
	globfree(&found);
	return count;
}

struct ledger *folder_open(const struct folder *folder, bool fresh)
{
	struct ledger *ledger;
	struct err err;
	char because[LEDGER_TEXT_MAX];
	if (ledger_open(folder->path, &ledger, because, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		abort();
	}
	if ((because[0] != '\0') != fresh) {
		fprintf(stderr, "fresh because '%s'\n", because);
		abort();
	}
	return ledger;
}
