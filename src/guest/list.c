/* The list of programs. Fixed room and binary search: looking something up takes no memory and no time to speak of. */
#include "guest/list.h"
#include "guest/script.h"
#include "lib/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <nettle/sha2.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define LINE_MAX_ 1024
#define SIZE_BITS 65536

struct program {
	uint8_t hash[AGENT_HASH];
	int64_t size;
	struct list_found found;
};

static struct {
	pthread_mutex_t lock;
	struct program programs[LIST_PROGRAMS]; /* by hash */
	unsigned n_programs;
	_Atomic uint64_t sizes[SIZE_BITS / 64]; /* a bit for each size there is, several sizes to a bit */
	struct {
		dev_t device;
		ino_t inode;
		struct list_found found;
	} marked[LIST_MARKED];
	unsigned n_marked;
} list = {.lock = PTHREAD_MUTEX_INITIALIZER};

static const char *name_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

/* The first place whose hash is not less. */
static unsigned place_of(const uint8_t hash[static AGENT_HASH])
{
	unsigned low = 0, high = list.n_programs;
	while (low < high) {
		unsigned middle = (low + high) / 2;
		if (memcmp(list.programs[middle].hash, hash, AGENT_HASH) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static unsigned size_bit(int64_t size)
{
	return (unsigned)(((uint64_t)size * 0x9e3779b97f4a7c15u) >> 48) % SIZE_BITS;
}

bool list_size(int64_t size)
{
	return list.sizes[size_bit(size) / 64] >> size_bit(size) % 64 & 1;
}

/* Two paths with the same content: all that is said of either holds. */
static bool put(const uint8_t hash[static AGENT_HASH], int64_t size, struct list_found found)
{
	unsigned at = place_of(hash);
	if (at < list.n_programs && memcmp(list.programs[at].hash, hash, AGENT_HASH) == 0) {
		list.programs[at].found.flags |= found.flags;
		if (found.flags & LIST_INTERPRETER)
			list.programs[at].found.language = found.language;
		return true;
	}
	if (list.n_programs == LIST_PROGRAMS)
		return false;
	memmove(&list.programs[at + 1], &list.programs[at], (list.n_programs - at) * sizeof(list.programs[0]));
	memcpy(list.programs[at].hash, hash, AGENT_HASH);
	list.programs[at].found = found;
	list.programs[at].size = size;
	list.sizes[size_bit(size) / 64] |= (uint64_t)1 << size_bit(size) % 64;
	list.n_programs++;
	return true;
}

static void mark_inode(const char *path, struct list_found found)
{
	struct stat st;
	if (list.n_marked == LIST_MARKED || stat(path, &st) < 0)
		return;
	list.marked[list.n_marked].device = st.st_dev;
	list.marked[list.n_marked].inode = st.st_ino;
	list.marked[list.n_marked++].found = found;
}

static bool flags_read(const char *text, const char *path, struct list_found *ret_found)
{
	*ret_found = (struct list_found){.flags = LIST_LISTED};
	if (strcmp(text, "i") == 0) {
		ret_found->flags |= LIST_INTERPRETER;
		ret_found->language = script_language(name_of(path));
	} else if (strcmp(text, "l") == 0) {
		ret_found->flags |= LIST_LOADER;
	} else if (strcmp(text, "-") != 0) {
		return false;
	}
	return true;
}

static bool line_read(char *line)
{
	char hex[2 * AGENT_HASH + 1], flags[4], path[LINE_MAX_];
	uint8_t hash[AGENT_HASH];
	long long size;
	struct list_found found;
	if (line[0] == '#')
		return true;
	if (sscanf(line, "%64s %3s %lld %1023[^\n]", hex, flags, &size, path) != 4 || size < 0 ||
	    !bytes_from_hex(hex, hash, AGENT_HASH) || path[0] != '/' || !flags_read(flags, path, &found))
		return false;
	if (found.flags != LIST_LISTED)
		mark_inode(path, found);
	return put(hash, size, found);
}

int list_read(const char *path, uint8_t ret_hash[static AGENT_HASH], struct err *err)
{
	struct sha256_ctx sha;
	sha256_init(&sha);
	FILE *file = fopen(path, "re");
	if (!file)
		return err_set(err, -errno, "%s: %s", path, strerror(errno));
	char line[LINE_MAX_ + 128];
	int r = 0;
	list.n_programs = list.n_marked = 0;
	for (unsigned number = 1; r == 0 && fgets(line, sizeof(line), file); number++) {
		sha256_update(&sha, strlen(line), (const uint8_t *)line);
		if (!line_read(line))
			r = err_set(err, -EINVAL, "%s:%u: this is not `HASH FLAGS SIZE PATH`, or there are more than %d programs",
			            path, number, LIST_PROGRAMS);
	}
	fclose(file);
	if (r == 0)
		sha256_digest(&sha, AGENT_HASH, ret_hash);
	return r;
}

unsigned list_count(void)
{
	pthread_mutex_lock(&list.lock);
	unsigned count = list.n_programs;
	pthread_mutex_unlock(&list.lock);
	return count;
}

struct list_found list_find(const uint8_t hash[static AGENT_HASH])
{
	struct list_found found = {0};
	pthread_mutex_lock(&list.lock);
	unsigned at = place_of(hash);
	if (at < list.n_programs && memcmp(list.programs[at].hash, hash, AGENT_HASH) == 0)
		found = list.programs[at].found;
	pthread_mutex_unlock(&list.lock);
	return found;
}

struct list_found list_inode(dev_t device, ino_t inode)
{
	for (unsigned i = 0; i < list.n_marked; i++)
		if (list.marked[i].device == device && list.marked[i].inode == inode)
			return list.marked[i].found;
	return (struct list_found){.flags = LIST_LISTED};
}

/* What a list made by our builder is told by the builder has to be guessed from the name. */
bool list_learn(const uint8_t hash[static AGENT_HASH], int64_t size, const char *path)
{
	struct list_found found = {.flags = LIST_LISTED};
	const char *name = name_of(path);
	found.language = script_language(name);
	if (script_loader(name))
		found.flags |= LIST_LOADER;
	else if (found.language != SCRIPT_OTHER)
		found.flags |= LIST_INTERPRETER;
	pthread_mutex_lock(&list.lock);
	bool room = put(hash, size, found);
	pthread_mutex_unlock(&list.lock);
	return room;
}

/* The hash is what counts, so the names that were learned are not kept; the language is, as a name that gives it back. */
int list_write(const char *path, struct err *err)
{
	char fresh[LINE_MAX_], hex[2 * AGENT_HASH + 1];
	snprintf(fresh, sizeof(fresh), "%s.new", path);
	FILE *file = fopen(fresh, "we");
	if (!file)
		return err_set(err, -errno, "%s: %s", fresh, strerror(errno));
	for (unsigned i = 0; i < list.n_programs; i++) {
		struct list_found found = list.programs[i].found;
		bytes_to_hex(list.programs[i].hash, AGENT_HASH, hex);
		const char *flags = found.flags & LIST_LOADER ? "l" : found.flags & LIST_INTERPRETER ? "i" : "-";
		fprintf(file, "%s %s %lld /learned/%s\n", hex, flags, (long long)list.programs[i].size,
		        script_name(found.language));
	}
	bool written = fflush(file) == 0 && fsync(fileno(file)) == 0;
	fclose(file);
	if (!written || rename(fresh, path) < 0)
		return err_set(err, -EIO, "%s cannot be written", path);
	return 0;
}
