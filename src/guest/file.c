/* Files by descriptor: identity, trust, hash, cache. */
#include "guest/file.h"

#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <nettle/sha2.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>

#define OVERLAYFS_MAGIC 0x794c7630
#define HASH_PIECE 65536

static struct {
	pthread_mutex_t lock;
	struct entry {
		struct file_id id;
		struct list_found found;
		bool used;
	} entries[FILE_CACHED];
	unsigned turn; /* for hashed chains of one length: who goes next */
} cache = {.lock = PTHREAD_MUTEX_INITIALIZER};

#define WAYS 4 /* places where one identity may stand */

static uint64_t root_mount; /* 0: not trusted */

enum file_kind file_identify(int fd, struct file_id *ret_id)
{
	struct stat st;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return FILE_OTHER;
	*ret_id = (struct file_id){
	        .device = st.st_dev, .inode = st.st_ino, .size = st.st_size, .changed = st.st_ctim, .modified = st.st_mtim};
	if (st.st_nlink > 0)
		return FILE_PLAIN;
	char link[64], to[16] = {0};
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t length = readlink(link, to, sizeof(to) - 1);
	return length > 0 && strncmp(to, "/memfd:", 7) == 0 ? FILE_MEMORY : FILE_DELETED;
}

static uint64_t mount_of(int fd)
{
	struct statx stx;
	if (statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &stx) < 0 || !(stx.stx_mask & STATX_MNT_ID))
		return 0;
	return stx.stx_mnt_id;
}

/* An overlay does not tell in which layer a file's content is; but it hands the question for extents down to the real file,
 * and of our two layers (erofs below, tmpfs above) only the lower one has an answer. That holds after a copy-up too, when
 * device and inode stay those of the lower file. */
static bool in_lower_layer(int fd)
{
	struct fiemap map;
	memset(&map, 0, sizeof(map));
	map.fm_length = 1;
	return ioctl(fd, FS_IOC_FIEMAP, &map) == 0;
}

bool file_trust_root(void)
{
	struct statfs fs;
	int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	root_mount = fd >= 0 && fstatfs(fd, &fs) == 0 && fs.f_type == OVERLAYFS_MAGIC ? mount_of(fd) : 0;
	if (fd >= 0)
		close(fd);
	/* A file that we make is in the upper layer: if that has extents too, the two cannot be told apart. */
	int fresh = open("/", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fresh < 0)
		fresh = open("/.koboshi-layer", O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
	if (fresh < 0 || in_lower_layer(fresh))
		root_mount = 0;
	unlink("/.koboshi-layer");
	if (fresh >= 0)
		close(fresh);
	return root_mount != 0;
}

bool file_trusted(int fd)
{
	return root_mount && mount_of(fd) == root_mount && in_lower_layer(fd);
}

static struct entry *chain_of(dev_t device, ino_t inode)
{
	uint64_t mixed = ((uint64_t)inode ^ (uint64_t)device << 32) * 0x9e3779b97f4a7c15u;
	return &cache.entries[(mixed >> 40) % (FILE_CACHED / WAYS) * WAYS];
}

static bool same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static bool same_file(const struct file_id *a, const struct file_id *b)
{
	return a->device == b->device && a->inode == b->inode && a->size == b->size && same_time(a->changed, b->changed) &&
	       same_time(a->modified, b->modified);
}

bool file_cache_find(const struct file_id *id, struct list_found *ret_found)
{
	struct entry *chain = chain_of(id->device, id->inode);
	bool found = false;
	pthread_mutex_lock(&cache.lock);
	for (int i = 0; i < WAYS && !found; i++) {
		found = chain[i].used && same_file(&chain[i].id, id);
		if (found)
			*ret_found = chain[i].found;
	}
	pthread_mutex_unlock(&cache.lock);
	return found;
}

static void cache_drop(dev_t device, ino_t inode)
{
	struct entry *chain = chain_of(device, inode);
	pthread_mutex_lock(&cache.lock);
	for (int i = 0; i < WAYS; i++)
		if (chain[i].id.device == device && chain[i].id.inode == inode)
			chain[i].used = false;
	pthread_mutex_unlock(&cache.lock);
}

void file_cache_forget(int fd)
{
	struct stat st;
	if (fstat(fd, &st) == 0)
		cache_drop(st.st_dev, st.st_ino);
}

void file_cache_clear(void)
{
	pthread_mutex_lock(&cache.lock);
	memset(cache.entries, 0, sizeof(cache.entries));
	pthread_mutex_unlock(&cache.lock);
}

static void cache_put(const struct file_id *id, struct list_found found)
{
	struct entry *chain = chain_of(id->device, id->inode), *to = NULL;
	pthread_mutex_lock(&cache.lock);
	for (int i = 0; i < WAYS; i++)
		if (!chain[i].used || (chain[i].id.device == id->device && chain[i].id.inode == id->inode))
			to = &chain[i];
	if (!to)
		to = &chain[cache.turn++ % WAYS];
	*to = (struct entry){.id = *id, .found = found, .used = true};
	pthread_mutex_unlock(&cache.lock);
}

static bool hash_file(int fd, uint8_t ret_hash[static AGENT_HASH])
{
	uint8_t piece[HASH_PIECE];
	struct sha256_ctx sha;
	off_t at = 0;
	ssize_t got;
	sha256_init(&sha);
	while ((got = pread(fd, piece, sizeof(piece), at)) > 0) {
		sha256_update(&sha, (size_t)got, piece);
		at += got;
	}
	sha256_digest(&sha, AGENT_HASH, ret_hash);
	return got == 0;
}

/* The mark first, then the lease: whoever opens the file for writing between them is told of when he closes it, and the lease
 * is not to be had while he has it open. */
static bool guard(int fan, int fd, unsigned action)
{
	char link[64];
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	return fanotify_mark(fan, action, FAN_MODIFY | FAN_CLOSE_WRITE, AT_FDCWD, link) == 0;
}

/* Only what is listed is kept: what is not may be hashed again, and costs no mark that pins its inode. */
static void cache_if_safe(int fan, int fd, bool leased, const struct file_id *before, struct list_found found)
{
	struct file_id after;
	if (found.flags && leased && file_identify(fd, &after) == FILE_PLAIN && same_file(before, &after)) {
		cache_put(&after, found);
		return;
	}
	cache_drop(before->device, before->inode);
	guard(fan, fd, FAN_MARK_REMOVE);
}

bool file_judge(int fan, int fd, bool learn, const char *path, struct list_found *ret_found)
{
	struct file_id before;
	uint8_t hash[AGENT_HASH];
	if (file_identify(fd, &before) != FILE_PLAIN)
		return false;
	bool leased = guard(fan, fd, FAN_MARK_ADD) && fcntl(fd, F_SETLEASE, F_RDLCK) == 0;
	bool hashed = hash_file(fd, hash);
	if (hashed) {
		*ret_found = list_find(hash);
		if (learn && !ret_found->flags && list_learn(hash, before.size, path))
			*ret_found = list_find(hash);
		cache_if_safe(fan, fd, leased, &before, *ret_found);
	}
	fcntl(fd, F_SETLEASE, F_UNLCK);
	return hashed;
}
