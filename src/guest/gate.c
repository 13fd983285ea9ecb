/* Who may run. See gate.h for the threads; what is decided stands in decide.c. */
#include "guest/decide.h"
#include "guest/file.h"
#include "guest/gate.h"
#include "guest/mounts.h"
#include "guest/proc.h"
#include "guest/tell.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/mman.h>
#include <sys/resource.h>

#define JOBS 64
#define WORKERS 2
#define SETTLE_TICKS (1000 / GATE_TICK_MS)
#define DECIDER_NICE (-15)
#define STACK 196608
#define DECIDERS 4 /* how many may get stuck, one after the other, in what an intruder keeps the kernel busy with */

enum job_state { JOB_FREE, JOB_WAITS, JOB_RUNS };

struct job {
	enum job_state state;
	bool answered;
	unsigned since; /* gate.ticks; and `turn`, who came first */
	uint64_t turn;
	struct decide_question question;
};

static struct {
	const struct conf *conf;
	int fan;
	uint64_t asks; /* FAN_OPEN_EXEC_PERM, and FAN_OPEN_PERM later */
	pthread_mutex_t lock;
	pthread_cond_t work;
	struct job jobs[JOBS];
	struct job now; /* what the decider is at */
	unsigned generation;
	_Atomic unsigned ticks; /* of gate_watch(): a guest that got no processor time has not been slow */
	uint64_t turns;
	_Atomic bool learning;
} gate = {.fan = -1, .lock = PTHREAD_MUTEX_INITIALIZER, .work = PTHREAD_COND_INITIALIZER};

static void answer(const struct decide_question *question, bool allowed)
{
	struct fanotify_response response = {.fd = question->fd, .response = allowed ? FAN_ALLOW : FAN_DENY};
	tell_counters.decided++;
	if (!allowed)
		tell_counters.denied++;
	if (write(gate.fan, &response, sizeof(response)) < 0 && errno != ENOENT)
		tell(AGENT_TROUBLE, 0, "an answer to the kernel was not taken");
}

/* Under the lock: only one of the thread that works on it and the watch answers. */
static void answer_once(struct job *job, bool allowed)
{
	if (!job->answered)
		answer(&job->question, allowed);
	job->answered = true;
}

static void denied(const struct decide_question *question, enum agent_denied why)
{
	char path[PATH_MAX];
	proc_fd_path(question->fd, path, sizeof(path));
	tell(AGENT_DENIED, why, path);
}

/* Ends what `job` is: answer, tell, close. */
static void job_end(struct job *job, enum decide_verdict verdict)
{
	pthread_mutex_lock(&gate.lock);
	answer_once(job, verdict == DECIDE_ALLOW);
	pthread_mutex_unlock(&gate.lock);
	if (verdict != DECIDE_ALLOW)
		denied(&job->question, (enum agent_denied)verdict);
	pthread_mutex_lock(&gate.lock);
	close(job->question.fd);
	job->state = JOB_FREE;
	pthread_mutex_unlock(&gate.lock);
}

static void *worker(void *unused)
{
	(void)unused;
	for (;;) {
		struct job *job = NULL;
		pthread_mutex_lock(&gate.lock);
		while (!job) {
			for (unsigned i = 0; i < JOBS; i++) /* the oldest */
				if (gate.jobs[i].state == JOB_WAITS && (!job || gate.jobs[i].turn < job->turn))
					job = &gate.jobs[i];
			if (!job)
				pthread_cond_wait(&gate.work, &gate.lock);
		}
		job->state = JOB_RUNS;
		pthread_mutex_unlock(&gate.lock);
		job_end(job, decide_slowly(gate.fan, &job->question, gate.learning));
	}
	return NULL;
}

/* Hands the question to the workers; false when there are too many. */
static bool job_queue(const struct decide_question *question, unsigned since)
{
	bool queued = false;
	pthread_mutex_lock(&gate.lock);
	for (unsigned i = 0; i < JOBS && !queued; i++)
		if (gate.jobs[i].state == JOB_FREE) {
			gate.jobs[i] =
			        (struct job){.state = JOB_WAITS, .since = since, .turn = ++gate.turns, .question = *question};
			queued = true;
		}
	if (queued)
		pthread_cond_signal(&gate.work);
	pthread_mutex_unlock(&gate.lock);
	return queued;
}

/* One question of the kernel. Whoever fills our queue with unlisted programs is refused, whatever is declared for lateness:
 * otherwise that would be the way in. */
static void question_take(const struct fanotify_event_metadata *event, unsigned generation)
{
	struct job job = {.state = JOB_RUNS, .since = gate.ticks};
	job.question = (struct decide_question){.fd = event->fd, .tid = event->pid, .exec = event->mask & FAN_OPEN_EXEC_PERM};
	pthread_mutex_lock(&gate.lock);
	gate.now = job;
	pthread_mutex_unlock(&gate.lock);
	enum decide_verdict verdict = decide_quickly(gate.fan, &job.question, gate.learning);
	pthread_mutex_lock(&gate.lock);
	bool ours = generation == gate.generation;
	if (ours) {
		job.answered = gate.now.answered;
		gate.now.state = JOB_FREE;
	}
	pthread_mutex_unlock(&gate.lock);
	if (!ours || job.answered) {
		close(event->fd); /* it took so long that the watch has answered */
		return;
	}
	if (verdict == DECIDE_LATER) {
		if (job_queue(&job.question, job.since))
			return;
		tell_counters.late++;
		verdict = DECIDE_UNLISTED;
	}
	answer(&job.question, verdict == DECIDE_ALLOW);
	if (verdict != DECIDE_ALLOW)
		denied(&job.question, (enum agent_denied)verdict);
	close(event->fd);
}

static void event_take(const struct fanotify_event_metadata *event, unsigned generation)
{
	if (event->mask & FAN_Q_OVERFLOW)
		file_cache_clear();
	if (event->fd < 0)
		return;
	if (event->mask & (FAN_OPEN_EXEC_PERM | FAN_OPEN_PERM)) {
		question_take(event, generation);
		return;
	}
	file_cache_forget(event->fd);
	close(event->fd);
}

/* One event at a time: those that were read are ours to answer, and we may be stuck with one. */
static void *decider(void *as_generation)
{
	unsigned generation = (unsigned)(uintptr_t)as_generation;
	if (setpriority(PRIO_PROCESS, 0, DECIDER_NICE) < 0) /* of this thread: somebody waits for each of its answers */
		tell(AGENT_TROUBLE, 0, "decisions have no priority");
	_Alignas(struct fanotify_event_metadata) char room[FAN_EVENT_METADATA_LEN];
	for (;;) {
		ssize_t got = read(gate.fan, room, sizeof(room));
		const struct fanotify_event_metadata *event = (const struct fanotify_event_metadata *)room;
		if (got == (ssize_t)sizeof(room) && event->vers == FANOTIFY_METADATA_VERSION)
			event_take(event, generation);
		pthread_mutex_lock(&gate.lock);
		bool replaced = generation != gate.generation;
		pthread_mutex_unlock(&gate.lock);
		if (replaced)
			return NULL;
	}
}

static int thread_start(void *(*run)(void *), void *with, struct err *err)
{
	pthread_attr_t attr;
	pthread_t thread;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	int r = pthread_create(&thread, &attr, run, with);
	pthread_attr_destroy(&attr);
	return r ? err_set(err, -r, "no thread can be started: %s", strerror(r)) : 0;
}

/* Programs in memory lie on a file system of the kernel's own. Before Linux 6.5 it could be marked like any other (Debian's 6.1
 * has what ended that, too); since 6.3 there is a switch that forbids them (kernel.c). In a sealed guest (seal.h) none can be
 * made. Where there is nothing of all that, we say so. */
static void memory_mark(void)
{
	char link[64];
	int fd = memfd_create("koboshi", MFD_CLOEXEC);
	if (fd < 0 && errno == ENOSYS)
		return;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	bool marked =
	        fd >= 0 && fanotify_mark(gate.fan, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, FAN_OPEN_EXEC_PERM, AT_FDCWD, link) == 0;
	if (fd >= 0)
		close(fd);
	if (!marked && !(gate.conf->no_memory && access("/proc/sys/vm/memfd_noexec", F_OK) == 0))
		tell(AGENT_TROUBLE, 0, "a static program in memory is not stopped");
}

int gate_start(const struct conf *conf, bool learning, struct err *err)
{
	gate.conf = conf;
	gate.learning = learning;
	gate.asks = FAN_OPEN_EXEC_PERM;
	/* Without the two UNLIMITED the kernel lets through what it has no room to ask about. */
	gate.fan = fanotify_init(FAN_CLASS_CONTENT | FAN_CLOEXEC | FAN_UNLIMITED_QUEUE | FAN_UNLIMITED_MARKS | FAN_REPORT_TID,
	                         O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOATIME);
	if (gate.fan < 0)
		return err_set(err, -errno, "this kernel does not ask before programs start: %s", strerror(errno));
	memory_mark();
	int r = thread_start(decider, NULL, err);
	for (int i = 0; i < WORKERS && r == 0; i++)
		r = thread_start(worker, NULL, err);
	return r;
}

static void place_mark(const char *path)
{
	if (fanotify_mark(gate.fan, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, gate.asks, AT_FDCWD, path) == 0)
		return;
	if (fanotify_mark(gate.fan, FAN_MARK_ADD | FAN_MARK_MOUNT, gate.asks, AT_FDCWD, path) == 0)
		return;
	char text[AGENT_TEXT];
	snprintf(text, sizeof(text), "programs below %.100s are not asked about: %s", path, strerror(errno));
	tell(AGENT_TROUBLE, 0, text);
}

void gate_mounts(void)
{
	if (gate.fan < 0)
		return;
	for (unsigned i = 0; i < gate.conf->n_mounts; i++)
		place_mark(gate.conf->mounts[i]);
	if (gate.conf->n_mounts == 0)
		mounts_each(place_mark, gate.asks & FAN_OPEN_PERM);
}

int gate_reads(struct err *err)
{
	if (gate.fan < 0)
		return err_set(err, -ENOTSUP, "the kernel asks about nothing");
	gate.asks |= FAN_OPEN_PERM;
	gate_mounts();
	return 0;
}

void gate_lock(void)
{
	gate.learning = false;
}

/* The decider hangs in something that an intruder made slow (memory that never comes). Its place is taken by another. */
static void decider_replace(void)
{
	struct err err;
	if (gate.generation + 1 >= DECIDERS)
		return;
	gate.generation++;
	gate.now.state = JOB_FREE;
	tell(AGENT_TROUBLE, 0, "a decision about a program hung and was given up");
	if (thread_start(decider, (void *)(uintptr_t)gate.generation, &err) < 0) /* NOLINT(performance-no-int-to-ptr) */
		tell(AGENT_TROUBLE, 0, err.text);
}

void gate_watch(void)
{
	if (gate.fan < 0)
		return;
	if (gate.ticks == SETTLE_TICKS)
		decide_settled();
	unsigned now = ++gate.ticks, patience = gate.conf->deadline_ms / GATE_TICK_MS;
	pthread_mutex_lock(&gate.lock);
	for (unsigned i = 0; i < JOBS; i++)
		if (gate.jobs[i].state != JOB_FREE && !gate.jobs[i].answered && now - gate.jobs[i].since > patience) {
			answer_once(&gate.jobs[i], gate.conf->late_allow);
			tell_counters.late++;
		}
	if (gate.now.state != JOB_FREE && !gate.now.answered && now - gate.now.since > patience) {
		answer_once(&gate.now, gate.conf->late_allow);
		tell_counters.late++;
		decider_replace();
	}
	pthread_mutex_unlock(&gate.lock);
}
