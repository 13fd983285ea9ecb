/*
 * Lines for people and for the journal. One write(2) per line, so that lines of several processes on one stream
 * do not mix. Control characters are replaced: a log line may quote what a guest sent.
 *
 * Who reads the log may stand still, and must not make us stand still with him: a line that would have to wait is dropped and
 * counted. O_NONBLOCK belongs to the open file, which we share with whoever started us, so it is not for us to set; a pipe or a
 * terminal is opened once more instead, and what we start inherits that. Where that is refused (another user's pipe, no /proc)
 * poll() is asked before each line: then two processes that write at the same instant into the last free page of a pipe can
 * still block one of them, and so can a terminal with a little room left. A file on a disk that does not answer always can.
 */
#include "lib/log.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

#define LINE_MAX_BYTES 1024

static_assert(LINE_MAX_BYTES <= PIPE_BUF, "a pipe takes a line whole or not at all");

static const char *log_program = "koboshi";
static enum log_level log_limit = LOG_LEVEL_INFO;
static bool log_journal;
static atomic_uint log_dropped;
static atomic_bool log_torn; /* a line was taken in part: the next one begins on a line of its own */

/* Standard error opened once more, for ourselves and without waiting. */
static void stream_own(void)
{
	struct stat status;
	if (fstat(STDERR_FILENO, &status) < 0 || !(S_ISFIFO(status.st_mode) || isatty(STDERR_FILENO)) ||
	    fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK)
		return;
	auto_close int own = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (own >= 0)
		dup2(own, STDERR_FILENO);
}

void log_init(const char *program, enum log_level level)
{
	const char *wanted = getenv("KOBOSHI_LOG");
	log_program = program;
	log_limit = level;
	log_journal = getenv("JOURNAL_STREAM") != NULL || (wanted && strcmp(wanted, "journal") == 0);
	stream_own();
}

static int log_head(char *buffer, size_t size, enum log_level level, const char *id)
{
	if (log_journal)
		return snprintf(buffer, size, "<%d>%s: ", (int)level, id);
	struct timespec now;
	struct tm broken;
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &broken);
	return snprintf(buffer, size, "%02d:%02d:%02d.%03ld %-14s %s: ", broken.tm_hour, broken.tm_min, broken.tm_sec,
	                now.tv_nsec / 1000000, log_program, id);
}

/* How much was taken at once; -1: nothing. */
static ssize_t write_now(const char *bytes, size_t size)
{
	ssize_t done = send(STDERR_FILENO, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (done >= 0 || errno != ENOTSOCK)
		return done;
	struct pollfd room = {.fd = STDERR_FILENO, .events = POLLOUT};
	return poll(&room, 1, 0) == 1 && room.revents & POLLOUT ? write(STDERR_FILENO, bytes, size) : -1;
}

static bool line_write(char *line, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
			line[i] = '?';
	line[length++] = '\n';
	if (atomic_load(&log_torn) && write_now("\n", 1) != 1)
		return false;
	ssize_t done = write_now(line, length);
	atomic_store(&log_torn, done > 0 && (size_t)done < length);
	return done == (ssize_t)length;
}

/* False: there is still no room, not even for this. */
static bool dropped_tell(void)
{
	unsigned dropped = atomic_exchange(&log_dropped, 0);
	if (dropped == 0)
		return true;
	char line[160];
	int head = log_head(line, sizeof(line), LOG_LEVEL_WARNING, "log.dropped");
	snprintf(line + head, sizeof(line) - (size_t)head - 1, "%u line%s dropped: nobody was reading", dropped,
	         dropped == 1 ? " was" : "s were");
	bool told = line_write(line, strlen(line));
	if (!told)
		atomic_fetch_add(&log_dropped, dropped);
	return told;
}

void log_event(enum log_level level, const char *id, const char *format, ...)
{
	if (level > log_limit)
		return;
	int error = errno;
	char line[LINE_MAX_BYTES];
	int head = log_head(line, sizeof(line), level, id);
	if (head < 0 || (size_t)head >= sizeof(line) - 2)
		return;
	va_list args;
	va_start(args, format);
	int body = vsnprintf(line + head, sizeof(line) - (size_t)head - 1, format, args);
	va_end(args);
	if (body >= 0 && !(dropped_tell() && line_write(line, strlen(line))))
		atomic_fetch_add(&log_dropped, 1);
	errno = error;
}
