#pragma once
/*
 * What is new or changed in the watched folders, by inotify: a guest that writes through the host (virtiofs) is seen there. At
 * the start, and when the kernel's or our own queue ran over, the folders are walked through; then only what was changed
 * since is taken. Everything is bounded: folders, paths that wait, what is done at once.
 */
#include "scan/queue.h"
#include "scan/scan.h"

#define WATCH_FOLDERS_MAX 8192 /* all together; what lies in further ones is not seen, and that is told */

struct watch;

/* Never NULL. What cannot be watched is a problem and is tried again every few seconds. `fd` of watch_fd: readable = watch_read.
 */
struct watch *watch_new(const struct conf_files *conf, struct err *err) must_use;
void watch_free(struct watch *watch);

int watch_fd(const struct watch *watch);
void watch_read(struct watch *watch, int64_t now_us);

/* Goes on with walks, tries again what was missing. Call at `watch_deadline_us` at the latest. */
void watch_turn(struct watch *watch, int64_t now_us);
int64_t watch_deadline_us(const struct watch *watch);

/* The next file that is due, folders in turn: its descriptor, or -errno for what is no plain file or is gone, or -ENODATA when
 * none is due. `ret_folder` is its place in the configuration; `ret_path` is below it. */
int watch_next(struct watch *watch, int64_t now_us, size_t *ret_folder, char ret_path[static QUEUE_PATH_MAX]);

size_t watch_waiting(const struct watch *watch);
size_t watch_folders(const struct watch *watch);

/* Sentences of now: a folder that is missing, too many folders. */
void watch_problems(const struct watch *watch, struct scan_problems *problems);
