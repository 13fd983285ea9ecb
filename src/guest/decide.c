/*
 * The decisions. A program may start if its content is listed, wherever it lies and whatever it is called: then a script is
 * refused by itself (the kernel opens it to run it), and so is what was deleted or never had a name.
 *
 * The dynamic loader is opened to run it twice over: by the kernel, on behalf of a listed program, and by whoever calls it by
 * hand to load what is not listed. Both look alike; but in the first case the thread that asks stands in an execve() of
 * another file, which it was allowed just before. We look at what that execve() names.
 */
#include "guest/decide.h"
#include "guest/file.h"
#include "guest/proc.h"
#include "guest/script.h"

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/fanotify.h>
#include <time.h>

#define CHAINS 256
#define WAYS 4
#define AWAKE_US 100
#define AWAKE_TRIES 20000 /* seconds: a guest may get hardly any processor time */
#define FILES 6           /* a script, its interpreter's script and so on: the kernel follows five */

/* What each thread was allowed to start last. */
static struct {
	pthread_mutex_t lock;
	uint64_t now;
	struct starter {
		int tid;
		uint64_t used;
		struct {
			dev_t device;
			ino_t inode;
		} files[FILES];
		unsigned turn;
	} starters[CHAINS][WAYS];
} starts = {.lock = PTHREAD_MUTEX_INITIALIZER};

static _Atomic bool settled;

void decide_settled(void)
{
	settled = true;
}

static struct starter *starter_of(int tid, bool make)
{
	struct starter *chain = starts.starters[(unsigned)tid % CHAINS], *oldest = chain;
	for (int i = 0; i < WAYS; i++) {
		if (chain[i].tid == tid)
			return &chain[i];
		if (chain[i].used < oldest->used)
			oldest = &chain[i];
	}
	if (!make)
		return NULL;
	memset(oldest, 0, sizeof(*oldest));
	oldest->tid = tid;
	return oldest;
}

static void start_note(int tid, const struct file_id *id)
{
	pthread_mutex_lock(&starts.lock);
	struct starter *starter = starter_of(tid, true);
	starter->used = ++starts.now;
	starter->files[starter->turn % FILES].device = id->device;
	starter->files[starter->turn++ % FILES].inode = id->inode;
	pthread_mutex_unlock(&starts.lock);
}

static bool start_noted(int tid, dev_t device, ino_t inode, bool any)
{
	pthread_mutex_lock(&starts.lock);
	const struct starter *starter = starter_of(tid, false);
	bool noted = starter && any;
	for (int i = 0; starter && i < FILES; i++)
		noted |= starter->files[i].device == device && starter->files[i].inode == inode;
	pthread_mutex_unlock(&starts.lock);
	return noted;
}

static void sleep_us(long us)
{
	struct timespec time = {.tv_nsec = us * 1000};
	nanosleep(&time, NULL);
}

/* On one processor we regularly take it away from who asks before he sleeps; then he is let go on. */
static enum proc_named named_by(int tid, int tries, struct stat *ret_st)
{
	enum proc_named named = proc_exec_named(tid, ret_st);
	for (; named == PROC_AWAKE && tries > 0; tries--) {
		sleep_us(AWAKE_US);
		named = proc_exec_named(tid, ret_st);
	}
	return named;
}

static enum decide_verdict loader_end(int tid, const struct file_id *loader, int tries)
{
	struct stat st;
	bool serves = false;
	switch (named_by(tid, tries, &st)) {
	case PROC_NAMED:
		serves = (st.st_dev != loader->device || st.st_ino != loader->inode) &&
		         (!settled || start_noted(tid, st.st_dev, st.st_ino, false));
		break;
	case PROC_KERNEL:
		serves = !settled || start_noted(tid, 0, 0, true);
		break;
	case PROC_AWAKE:
		return DECIDE_LATER;
	case PROC_NONE:
	default:
		break;
	}
	return serves ? DECIDE_ALLOW : (enum decide_verdict)AGENT_LOADER;
}

static bool begins_with_shebang(int fd)
{
	char two[2];
	return pread(fd, two, 2, 0) == 2 && two[0] == '#' && two[1] == '!';
}

/* What is known of an open file without hashing it. False: nothing yet. */
static bool found_quickly(int fd, const struct file_id *id, bool learning, struct list_found *ret_found)
{
	if (file_trusted(fd)) {
		*ret_found = list_inode(id->device, id->inode);
		return true;
	}
	if (file_cache_find(id, ret_found))
		return true;
	*ret_found = (struct list_found){0};
	return !learning && !list_size(id->size);
}

/* The end of every decision about a start. `tries`: how long to wait for who asks to sleep; DECIDE_LATER if that was not enough.
 */
static enum decide_verdict exec_end(const struct decide_question *question, const struct file_id *id, struct list_found found,
                                    int tries)
{
	if (!found.flags)
		return begins_with_shebang(question->fd) ? (enum decide_verdict)AGENT_SCRIPT : DECIDE_UNLISTED;
	if (found.flags & LIST_LOADER)
		return loader_end(question->tid, id, tries);
	start_note(question->tid, id);
	return DECIDE_ALLOW;
}

static enum decide_verdict exec_quickly(const struct decide_question *question, bool learning)
{
	struct file_id id;
	struct list_found found;
	switch (file_identify(question->fd, &id)) {
	case FILE_OTHER:
		return DECIDE_ALLOW; /* the kernel refuses to run it */
	case FILE_DELETED:
		return (enum decide_verdict)AGENT_DELETED;
	case FILE_MEMORY:
		return (enum decide_verdict)AGENT_MEMORY;
	case FILE_PLAIN:
	default:
		break;
	}
	return found_quickly(question->fd, &id, learning, &found) ? exec_end(question, &id, found, 1) : DECIDE_LATER;
}

/* Marks of the program that a process runs, as far as we know it without hashing. */
static struct list_found program_of(int tid)
{
	struct stat st;
	struct list_found found = {0};
	if (!proc_program(tid, &st))
		return found;
	found = list_inode(st.st_dev, st.st_ino);
	if (found.flags != LIST_LISTED)
		return found;
	struct file_id id = {st.st_dev, st.st_ino, st.st_size, st.st_ctim, st.st_mtim};
	file_cache_find(&id, &found);
	return found;
}

static bool is_script_of(int tid, uint8_t language, int fd, const struct file_id *id)
{
	char line[4096], path[PATH_MAX];
	size_t at[SCRIPT_CANDIDATES], size = proc_arguments(tid, line, sizeof(line) - 1);
	line[size] = '\0';
	size_t n = script_arguments(&language, line, size, at);
	struct stat st;
	for (size_t i = 0; i < n; i++)
		if (proc_stat(tid, line + at[i], &st) && st.st_dev == id->device && st.st_ino == id->inode)
			return true;
	proc_fd_path(fd, path, sizeof(path));
	return script_suffix(language, path);
}

/* What the image brought is listed: the kernel need not ask again who reads it, until somebody changes it. */
static void ask_no_more(int fan, int fd)
{
	char link[64];
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	if (fanotify_mark(fan, FAN_MARK_ADD | FAN_MARK_IGNORED_MASK | FAN_MARK_EVICTABLE, FAN_OPEN_PERM, AT_FDCWD, link) < 0)
		return; /* it costs a question each time, no more */
}

static enum decide_verdict open_quickly(int fan, struct decide_question *question, bool learning)
{
	struct file_id id;
	struct list_found found;
	enum file_kind kind = file_identify(question->fd, &id);
	if (kind == FILE_OTHER || id.size == 0)
		return DECIDE_ALLOW;
	if (file_trusted(question->fd)) {
		ask_no_more(fan, question->fd);
		return DECIDE_ALLOW;
	}
	struct list_found program = program_of(question->tid);
	if (program.flags & LIST_LOADER)
		question->if_not = AGENT_LOADER;
	else if ((program.flags & LIST_INTERPRETER) && is_script_of(question->tid, program.language, question->fd, &id))
		question->if_not = AGENT_SCRIPT;
	else
		return DECIDE_ALLOW;
	if (kind != FILE_PLAIN)
		return (enum decide_verdict)question->if_not;
	if (!found_quickly(question->fd, &id, learning, &found))
		return DECIDE_LATER;
	return found.flags ? DECIDE_ALLOW : (enum decide_verdict)question->if_not;
}

enum decide_verdict decide_quickly(int fan, struct decide_question *question, bool learning)
{
	return question->exec ? exec_quickly(question, learning) : open_quickly(fan, question, learning);
}

enum decide_verdict decide_slowly(int fan, const struct decide_question *question, bool learning)
{
	char path[PATH_MAX];
	struct file_id id;
	struct list_found found = {0};
	enum decide_verdict otherwise = question->exec ? DECIDE_UNLISTED : (enum decide_verdict)question->if_not;
	proc_fd_path(question->fd, path, sizeof(path));
	if (file_identify(question->fd, &id) != FILE_PLAIN)
		return otherwise;
	if (!found_quickly(question->fd, &id, learning, &found) && !file_judge(fan, question->fd, learning, path, &found))
		return otherwise;
	if (!question->exec)
		return found.flags ? DECIDE_ALLOW : otherwise;
	enum decide_verdict verdict = exec_end(question, &id, found, AWAKE_TRIES);
	return verdict == DECIDE_LATER ? (enum decide_verdict)AGENT_LOADER : verdict;
}
