#pragma once
/* Files that wait to be looked at, each once however often it was written, first come first served. Bounded. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define QUEUE_MAX 4096
#define QUEUE_PATH_MAX 1024 /* with NUL; below the folder */

struct queue;

struct queue *queue_new(void); /* never NULL */
void queue_free(struct queue *queue);

/* False when there is no room for it. One that waits already keeps its place. */
bool queue_add(struct queue *queue, const char *path, int64_t due_us);

/* The first one, when it is due; the caller frees it. NULL: none is. */
char *queue_take(struct queue *queue, int64_t now_us);

size_t queue_length(const struct queue *queue);
int64_t queue_due_us(const struct queue *queue); /* of the first one; INT64_MAX: empty */
