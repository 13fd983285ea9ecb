/* A bounded list and a few threads. The list is short (64), so picking is a plain walk. See queue.h. */
#include "act/vm/queue.h"

#include "act/vm/orders.h"
#include "lib/attr.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

struct job {
	struct wire_order order;
	uint64_t link;
	bool running;
};

struct queue {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	queue_carry *carry;
	void *arg;
	bool stopping;
	size_t n_slow;   /* running */
	size_t n_asking; /* running, and libvirt is asked */
	size_t n_jobs;
	struct job jobs[WIRE_PENDING_MAX]; /* in the order of their coming; running ones stay in until done */
	pthread_t workers[QUEUE_WORKERS];
};

/* An instance's later orders wait for its earlier ones, running or not; one that asks libvirt nothing only for those that make or
 * remove what it works on. A new engine is told how things stand when what the one before it had begun is done, but for
 * what takes long: that of a guest's coming and going it is told anyway, of secrets that are refused it is not. */
static bool waits_for(const struct job *job, const struct job *earlier)
{
	if (job->order.type == ORDER_VM_OBSERVE)
		return earlier->link != job->link && !vm_order_slow(earlier->order.type);
	bool same = job->order.instance != 0 && job->order.instance == earlier->order.instance;
	return same && (!vm_order_alone(job->order.type) || vm_order_slow(earlier->order.type));
}

/* The first job that may start now, NULL if none. */
static struct job *job_pick(struct queue *queue)
{
	for (size_t i = 0; i < queue->n_jobs; i++) {
		struct job *job = &queue->jobs[i];
		bool may = !job->running && (!vm_order_slow(job->order.type) || queue->n_slow < QUEUE_SLOW_MAX) &&
		           (vm_order_alone(job->order.type) || queue->n_asking < QUEUE_WORKERS - 1);
		for (size_t k = 0; may && k < i; k++)
			may = !waits_for(job, &queue->jobs[k]);
		if (may)
			return job;
	}
	return NULL;
}

static void job_remove(struct queue *queue, uint64_t id, uint64_t link)
{
	for (size_t i = 0; i < queue->n_jobs; i++)
		if (queue->jobs[i].order.id == id && queue->jobs[i].link == link && queue->jobs[i].running) {
			memmove(&queue->jobs[i], &queue->jobs[i + 1], (queue->n_jobs - i - 1) * sizeof(queue->jobs[0]));
			queue->n_jobs--;
			return;
		}
}

static void *worker_run(void *arg)
{
	struct queue *queue = arg;
	pthread_mutex_lock(&queue->lock);
	for (;;) {
		struct job *job = job_pick(queue);
		if (!job && queue->stopping)
			break;
		if (!job) {
			pthread_cond_wait(&queue->changed, &queue->lock);
			continue;
		}
		job->running = true;
		struct job mine = *job; /* the list moves while we work */
		bool slow = vm_order_slow(mine.order.type), asking = !vm_order_alone(mine.order.type);
		queue->n_slow += slow;
		queue->n_asking += asking;
		pthread_mutex_unlock(&queue->lock);
		queue->carry(queue->arg, &mine.order, mine.link);
		pthread_mutex_lock(&queue->lock);
		queue->n_slow -= slow;
		queue->n_asking -= asking;
		job_remove(queue, mine.order.id, mine.link);
		pthread_cond_broadcast(&queue->changed);
	}
	pthread_mutex_unlock(&queue->lock);
	return NULL;
}

struct queue *queue_new(queue_carry *carry, void *arg)
{
	struct queue *queue = calloc(1, sizeof(*queue));
	if (!queue)
		abort();
	pthread_mutex_init(&queue->lock, NULL);
	pthread_cond_init(&queue->changed, NULL);
	queue->carry = carry;
	queue->arg = arg;
	for (size_t i = 0; i < QUEUE_WORKERS; i++)
		if (pthread_create(&queue->workers[i], NULL, worker_run, queue) != 0)
			abort();
	return queue;
}

void queue_free(struct queue *queue)
{
	if (!queue)
		return;
	pthread_mutex_lock(&queue->lock);
	queue->stopping = true;
	pthread_cond_broadcast(&queue->changed);
	pthread_mutex_unlock(&queue->lock);
	for (size_t i = 0; i < QUEUE_WORKERS; i++)
		pthread_join(queue->workers[i], NULL);
	pthread_cond_destroy(&queue->changed);
	pthread_mutex_destroy(&queue->lock);
	free(queue);
}

int queue_push(struct queue *queue, const struct wire_order *order, uint64_t link, struct err *err)
{
	int r = 0;
	pthread_mutex_lock(&queue->lock);
	if (queue->n_jobs == WIRE_PENDING_MAX) {
		r = err_set(err, -EBUSY, "%d orders are under way already", WIRE_PENDING_MAX);
	} else {
		queue->jobs[queue->n_jobs++] = (struct job){.order = *order, .link = link};
		pthread_cond_broadcast(&queue->changed);
	}
	pthread_mutex_unlock(&queue->lock);
	return r;
}

size_t queue_forget(struct queue *queue)
{
	size_t kept = 0;
	pthread_mutex_lock(&queue->lock);
	for (size_t i = 0; i < queue->n_jobs; i++)
		if (queue->jobs[i].running)
			queue->jobs[kept++] = queue->jobs[i];
	size_t forgotten = queue->n_jobs - kept;
	queue->n_jobs = kept;
	pthread_mutex_unlock(&queue->lock);
	return forgotten;
}
