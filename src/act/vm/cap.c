/*
 * Two means, because neither is everywhere. The kernel's idle class (SCHED_IDLE) lets any other thread go first at once, which is
 * what the running guests need; it needs no cgroup, only the right to leave the class again, which is tried beforehand on a
 * thread of our own (inside a user namespace it is missing; there a booting guest gets the batch class, which helps little).
 * And a quota in a cpu cgroup where our own group may have children: an upper bound also for an otherwise idle machine, so
 * that caches and shared cores are not taken from the guests in service.
 */
#include "act/vm/cap.h"

#include "act/vm/folder.h"
#include "act/vm/process.h"
#include "lib/bytes.h"
#include "lib/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

/* Five looks, each about a second: a host that is overrun for a moment is not helped by one more that wants to run. */
#define RESCUE_US 4500000
#define PERIOD_US 20000   /* short: a throttled guest's monitor answers within this */
#define RESCUE_PERCENT 80 /* of the time spent waiting for a processor */
#define LOW_NICE 10       /* a tenth of a processor beside a busy thread */
#define RESCUE_NICE 5     /* a quarter: within a minute even a slow guest has booted with it */
#define BEHIND_NICE 15
#define PLACED_MAX 16 /* more threads than ever place themselves at once */

static pthread_mutex_t policy_lock = PTHREAD_MUTEX_INITIALIZER; /* the end of a cap and its softening do not cross */
static pthread_once_t probe_once = PTHREAD_ONCE_INIT;
static bool can_return;
static int usual_nice; /* of all our threads: whoever started us may have given us another than 0 */
static pthread_mutex_t placed_lock = PTHREAD_MUTEX_INITIALIZER;
static pid_t placed[PLACED_MAX]; /* threads of ours that stand elsewhere; 0: free */
static char group_base[256];     /* "" = none */
static bool group_v2;

static int nice_of(pid_t pid)
{
	return getpriority(PRIO_PROCESS, (id_t)pid);
}

static void *probe_return(void *arg)
{
	const struct sched_param zero = {0};
	can_return = sched_setscheduler(0, SCHED_IDLE, &zero) == 0 && setpriority(PRIO_PROCESS, 0, 15) == 0 &&
	             sched_setscheduler(0, SCHED_OTHER, &zero) == 0 && setpriority(PRIO_PROCESS, 0, usual_nice) == 0;
	return arg;
}

/* Our own group in the hierarchy that /proc/self/cgroup lists with this head ("0::", "1:cpu:"); v2 groups with members
 * cannot have children with a cpu bound, except the root, which is then the only case that works. */
static void probe_group(const char *line)
{
	char path[128] = "", test[320];
	if (strncmp(line, "0::", 3) == 0 && sscanf(line, "0::%127s", path) == 1) {
		snprintf(test, sizeof(test), "/sys/fs/cgroup%s/cgroup.subtree_control", strcmp(path, "/") == 0 ? "" : path);
		auto_free uint8_t *text = NULL;
		size_t size;
		if (file_read(test, 4096, &text, &size, NULL) < 0 || !strstr((const char *)text, "cpu"))
			return;
		group_v2 = true;
		snprintf(group_base, sizeof(group_base), "/sys/fs/cgroup%s", strcmp(path, "/") == 0 ? "" : path);
		return;
	}
	const char *names = strchr(line, ':');
	if (!names || (strncmp(names, ":cpu:", 5) != 0 && strncmp(names, ":cpu,cpuacct:", 13) != 0))
		return;
	if (sscanf(strchr(names + 1, ':') + 1, "%127s", path) == 1) {
		group_v2 = false;
		snprintf(group_base, sizeof(group_base), "/sys/fs/cgroup/cpu%s", strcmp(path, "/") == 0 ? "" : path);
	}
}

static void probe(void)
{
	pthread_t thread;
	usual_nice = nice_of(getpid()); /* the first thread's, which never places itself */
	if (pthread_create(&thread, NULL, probe_return, NULL) == 0)
		pthread_join(thread, NULL);
	FILE *groups = fopen("/proc/self/cgroup", "re");
	char line[256];
	while (groups && !group_base[0] && fgets(line, sizeof(line), groups))
		probe_group(line);
	if (groups)
		fclose(groups);
	if (group_base[0] && access(group_base, W_OK) < 0)
		group_base[0] = '\0';
}

/* Our run folder as a number: several koboshids on one machine (laboratories) must not share a guest's group. */
static uint32_t group_tag(const struct vm *vm)
{
	uint32_t hash = 2166136261u;
	for (const char *at = vm->guests; *at; at++)
		hash = (hash ^ (unsigned char)*at) * 16777619u;
	return hash;
}

static void group_path(const struct vm *vm, uint32_t number, char *to, size_t size)
{
	snprintf(to, size, "%s/koboshi-%08x-%u", group_base, group_tag(vm), number);
}

static bool group_write(const char *group, const char *file, const char *text)
{
	char path[400];
	snprintf(path, sizeof(path), "%s/%s", group, file);
	auto_close int fd = open(path, O_WRONLY | O_CLOEXEC);
	return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
}

static bool group_cap(const struct vm *vm, uint32_t number, pid_t pid)
{
	char path[320], quota[48], member[24];
	if (!group_base[0])
		return false;
	group_path(vm, number, path, sizeof(path));
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		return false;
	uint32_t share_us = vm->conf.boot_share * (PERIOD_US / 100);
	snprintf(member, sizeof(member), "%d", (int)pid);
	bool done;
	if (group_v2) {
		snprintf(quota, sizeof(quota), "%u %d", share_us, PERIOD_US);
		done = group_write(path, "cpu.max", quota);
	} else {
		char period[24];
		snprintf(period, sizeof(period), "%d", PERIOD_US);
		snprintf(quota, sizeof(quota), "%u", share_us);
		done = group_write(path, "cpu.cfs_period_us", period) && group_write(path, "cpu.cfs_quota_us", quota);
	}
	done = done && group_write(path, "cgroup.procs", member);
	if (!done)
		rmdir(path);
	return done;
}

/* Every thread of the process, again until a whole walk finds nothing to change: threads start threads meanwhile. */
static bool threads_set(pid_t pid, int policy, int nice)
{
	const struct sched_param zero = {0};
	bool done = false, changed = true;
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	for (int walk = 0; walk < 8 && changed; walk++) {
		DIR *tasks = opendir(path);
		if (!tasks)
			return false;
		changed = false;
		for (const struct dirent *entry; (entry = readdir(tasks));) {
			pid_t thread = (pid_t)strtol(entry->d_name, NULL, 10);
			if (thread <= 0 ||
			    (sched_getscheduler(thread) == policy && getpriority(PRIO_PROCESS, (id_t)thread) == nice))
				continue;
			bool set = sched_setscheduler(thread, policy, &zero) == 0;
			set = setpriority(PRIO_PROCESS, (id_t)thread, nice) == 0 && set;
			changed = changed || set;
		}
		closedir(tasks);
		done = true;
	}
	return done && sched_getscheduler(pid) == policy;
}

void cap_set(const struct vm *vm, uint32_t number, pid_t pid, bool others_run, char *ret_how, size_t size)
{
	pthread_once(&probe_once, probe);
	bool quota = pid > 0 && others_run && vm->conf.boot_share < 100 && group_cap(vm, number, pid);
	bool idle = pid > 0 && can_return && threads_set(pid, SCHED_IDLE, 0);
	if (!idle && pid > 0)
		threads_set(pid, SCHED_BATCH, 0);
	if (quota)
		snprintf(ret_how, size, "%u %% of a processor%s", vm->conf.boot_share, idle ? ", behind all others" : "");
	else
		snprintf(ret_how, size, "%s", idle ? "behind all others" : pid > 0 ? "batch class only" : "not capped");
}

bool cap_end(const struct vm *vm, uint32_t number, pid_t pid)
{
	pthread_once(&probe_once, probe);
	char member[24];
	snprintf(member, sizeof(member), "%d", (int)pid);
	pthread_mutex_lock(&policy_lock);
	bool done = pid > 0 && threads_set(pid, SCHED_OTHER, 0);
	pthread_mutex_unlock(&policy_lock);
	if (group_base[0] && pid > 0)
		group_write(group_base, "cgroup.procs", member);
	cap_forget(vm, number);
	return done;
}

void cap_forget(const struct vm *vm, uint32_t number)
{
	pthread_once(&probe_once, probe);
	char path[320];
	group_path(vm, number, path, sizeof(path));
	if (group_base[0])
		rmdir(path); /* refused while it has members */
}

void cap_sweep(const struct vm *vm)
{
	pthread_once(&probe_once, probe);
	char prefix[32], path[600];
	snprintf(prefix, sizeof(prefix), "koboshi-%08x-", group_tag(vm));
	DIR *dir = group_base[0] ? opendir(group_base) : NULL;
	for (const struct dirent *entry; dir && (entry = readdir(dir));)
		if (strncmp(entry->d_name, prefix, strlen(prefix)) == 0) {
			snprintf(path, sizeof(path), "%s/%s", group_base, entry->d_name);
			rmdir(path);
		}
	if (dir)
		closedir(dir);
}

struct line {                      /* all threads together */
	int64_t ran_us, waited_us; /* a wait is counted when it ends */
	bool ready;                /* one of them has a processor or waits for it */
};

static bool thread_ready(pid_t pid, const char *thread)
{
	char path[320];
	auto_free uint8_t *text = NULL;
	size_t size;
	snprintf(path, sizeof(path), "/proc/%d/task/%.20s/stat", (int)pid, thread);
	const char *rest = file_read(path, 4096, &text, &size, NULL) < 0 ? NULL : strrchr((const char *)text, ')');
	return rest && strncmp(rest, ") R", 3) == 0;
}

static void line_look(pid_t pid, struct line *ret_line)
{
	char path[320];
	struct line line = {0};
	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	DIR *tasks = opendir(path);
	for (const struct dirent *entry; tasks && (entry = readdir(tasks));) {
		auto_free uint8_t *text = NULL;
		size_t size;
		long long ran_ns, waited_ns;
		snprintf(path, sizeof(path), "/proc/%d/task/%.20s/schedstat", (int)pid, entry->d_name);
		if (entry->d_name[0] == '.' || file_read(path, 128, &text, &size, NULL) < 0 ||
		    sscanf((const char *)text, "%lld %lld", &ran_ns, &waited_ns) != 2)
			continue;
		line.ran_us += ran_ns / 1000;
		line.waited_us += waited_ns / 1000;
		line.ready = line.ready || thread_ready(pid, entry->d_name);
	}
	if (tasks)
		closedir(tasks);
	*ret_line = line;
}

struct starved { /* a booting guest that stood in line */
	uint32_t number;
	int64_t at_us; /* of the last look; 0: it was not capped */
	struct line line;
	int64_t starved_us; /* so long it has been in line without a break */
};

/* Its own, or what nobody looked at for the longest: no more than that many guests are looked at in a round. */
static struct starved *starved_of(uint32_t number)
{
	static struct starved seen[WIRE_INSTANCES_MAX];
	struct starved *oldest = &seen[0];
	for (size_t i = 0; i < countof(seen); i++) {
		if (seen[i].number == number)
			return &seen[i];
		if (seen[i].at_us < oldest->at_us)
			oldest = &seen[i];
	}
	*oldest = (struct starved){.number = number};
	return oldest;
}

/* Capped, and there is still a step to be lifted. */
static bool is_capped(pid_t pid)
{
	int policy = sched_getscheduler(pid);
	return policy == SCHED_IDLE || (policy == SCHED_BATCH && nice_of(pid) == LOW_NICE);
}

/* One step: idle class, low, less low. */
static void lift(uint32_t number, pid_t pid)
{
	bool first = sched_getscheduler(pid) == SCHED_IDLE;
	if (threads_set(pid, SCHED_BATCH, first ? LOW_NICE : RESCUE_NICE))
		log_notice("vm.cap", "kb-%u boots and stood in line for most of 5 s: lifted to a %s priority", number,
		           first ? "low" : "less low");
}

void cap_rescue(const struct vm *vm, uint32_t number)
{
	struct starved *s = starved_of(number);
	pid_t pid = process_find(vm, number);
	if (pid == 0 || !is_capped(pid)) {
		s->at_us = 0;
		return;
	}
	struct line line;
	line_look(pid, &line);
	int64_t now = clock_monotonic_us(), before = s->at_us;
	int64_t span = now - before, ran = line.ran_us - s->line.ran_us, waited = line.waited_us - s->line.waited_us;
	/* a wait is counted when it ends: whoever is ready at both looks and had next to nothing between them was in line too */
	bool waits = line.ready && s->line.ready && ran * 100 < span * (100 - RESCUE_PERCENT);
	bool in_line = waits || waited * 100 > span * RESCUE_PERCENT;
	s->starved_us = before > 0 && in_line ? s->starved_us + span : 0;
	s->at_us = now;
	s->line = line;
	if (s->starved_us < RESCUE_US)
		return;
	s->starved_us = 0;
	pthread_mutex_lock(&policy_lock);
	if (is_capped(pid)) /* not uncapped meanwhile */
		lift(number, pid);
	pthread_mutex_unlock(&policy_lock);
}

void cap_fallen(pid_t pid)
{
	if (pid > 0)
		threads_set(pid, SCHED_BATCH, BEHIND_NICE);
}

static pid_t *placed_seat(pid_t thread)
{
	for (size_t i = 0; i < PLACED_MAX; i++)
		if (placed[i] == thread)
			return &placed[i];
	return NULL;
}

/* libvirt starts a thread for each guest from within the call that starts the guest. It lives as long as the guest and answers
 * for it, so it must not stay where only that call was meant to be. */
static void strays_return(void)
{
	DIR *tasks = opendir("/proc/self/task");
	for (const struct dirent *entry; tasks && (entry = readdir(tasks));) {
		pid_t thread = (pid_t)strtol(entry->d_name, NULL, 10);
		if (thread > 0 && !placed_seat(thread) && nice_of(thread) > usual_nice)
			setpriority(PRIO_PROCESS, (id_t)thread, usual_nice);
	}
	if (tasks)
		closedir(tasks);
}

void cap_self(enum cap_place place)
{
	static const int nice[] = {[CAP_USUAL] = PRIO_MIN, [CAP_LOW] = LOW_NICE, [CAP_BEHIND] = BEHIND_NICE};
	pthread_once(&probe_once, probe);
	if (!can_return)
		return;
	pid_t self = gettid();
	pthread_mutex_lock(&placed_lock);
	pid_t *seat = placed_seat(self);
	seat = seat ? seat : placed_seat(0);
	if (seat) {
		*seat = place == CAP_USUAL ? 0 : self;
		setpriority(PRIO_PROCESS, 0, nice[place] > usual_nice ? nice[place] : usual_nice);
	}
	if (place == CAP_USUAL)
		strays_return();
	pthread_mutex_unlock(&placed_lock);
}
