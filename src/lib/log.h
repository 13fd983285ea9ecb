#pragma once
/*
 * A log line is an event: a stable id ("net.steer"), then one sentence. Transitions are logged, steady states are not.
 * Goes to standard error, one write per line; with KOBOSHI_LOG=journal (or under systemd) each line carries the
 * kernel-style "<N>" priority that the journal understands. Any thread may call.
 *
 * Never waits for whoever reads: lines that find no room are dropped, and the next one that finds some is preceded by
 * their number ("log.dropped"). What can still block is listed in log.c.
 */
#include "lib/attr.h"

enum log_level { LOG_LEVEL_ERROR = 3, LOG_LEVEL_WARNING = 4, LOG_LEVEL_NOTICE = 5, LOG_LEVEL_INFO = 6, LOG_LEVEL_DEBUG = 7 };

/* `program` is kept by pointer (a literal). Lines above `level` are left out. Opens standard error anew when it is a pipe or a
 * terminal, without waiting from then on, also for what is started later. Before other threads are. */
void log_init(const char *program, enum log_level level);

void log_event(enum log_level level, const char *id, const char *format, ...) printf_like(3, 4);

#define log_error(id, ...) log_event(LOG_LEVEL_ERROR, id, __VA_ARGS__)
#define log_warning(id, ...) log_event(LOG_LEVEL_WARNING, id, __VA_ARGS__)
#define log_notice(id, ...) log_event(LOG_LEVEL_NOTICE, id, __VA_ARGS__)
#define log_info(id, ...) log_event(LOG_LEVEL_INFO, id, __VA_ARGS__)
#define log_debug(id, ...) log_event(LOG_LEVEL_DEBUG, id, __VA_ARGS__)
