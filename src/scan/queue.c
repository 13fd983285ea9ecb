/* A ring of paths with a table of its places by hash. Times only rise, so the first in line is the first that is due. */
#include "scan/queue.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS 1024

struct entry {
	char *path;
	int64_t due_us;
	uint32_t bucket;
	int32_t next; /* in its bucket; -1: last */
};

struct queue {
	struct entry entries[QUEUE_MAX];
	size_t first, n;
	int32_t buckets[BUCKETS];
};

static uint32_t bucket_of(const char *path)
{
	uint32_t hash = 2166136261u;
	for (; *path; path++)
		hash = (hash ^ (uint8_t)*path) * 16777619u;
	return hash % BUCKETS;
}

struct queue *queue_new(void)
{
	struct queue *queue = calloc(1, sizeof(*queue));
	assert(queue);
	memset(queue->buckets, -1, sizeof(queue->buckets));
	return queue;
}

void queue_free(struct queue *queue)
{
	if (!queue)
		return;
	for (size_t i = 0; i < queue->n; i++)
		free(queue->entries[(queue->first + i) % QUEUE_MAX].path);
	free(queue);
}

bool queue_add(struct queue *queue, const char *path, int64_t due_us)
{
	uint32_t bucket = bucket_of(path);
	for (int32_t i = queue->buckets[bucket]; i >= 0; i = queue->entries[i].next)
		if (strcmp(queue->entries[i].path, path) == 0)
			return true;
	if (queue->n == QUEUE_MAX || strlen(path) >= QUEUE_PATH_MAX)
		return false;
	size_t place = (queue->first + queue->n++) % QUEUE_MAX;
	struct entry *entry = &queue->entries[place];
	*entry = (struct entry){.path = strdup(path), .due_us = due_us, .bucket = bucket, .next = queue->buckets[bucket]};
	assert(entry->path);
	queue->buckets[bucket] = (int32_t)place;
	return true;
}

char *queue_take(struct queue *queue, int64_t now_us)
{
	if (queue_due_us(queue) > now_us)
		return NULL;
	struct entry *entry = &queue->entries[queue->first];
	int32_t *link = &queue->buckets[entry->bucket];
	while (*link != (int32_t)queue->first)
		link = &queue->entries[*link].next;
	*link = entry->next;
	queue->first = (queue->first + 1) % QUEUE_MAX;
	queue->n--;
	char *path = entry->path;
	entry->path = NULL;
	return path;
}

size_t queue_length(const struct queue *queue)
{
	return queue->n;
}

int64_t queue_due_us(const struct queue *queue)
{
	return queue->n ? queue->entries[queue->first].due_us : INT64_MAX;
}
