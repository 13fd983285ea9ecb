/*
 * Lines for people and for the journal. One write(2) per line, so that lines of several processes on one stream
 * do not mix. Control characters are replaced: a log line may quote what a guest sent.
 */
#include "lib/log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>

static const char *log_program = "koboshi";
static enum log_level log_limit = LOG_LEVEL_INFO;
static bool log_journal;

void log_init(const char *program, enum log_level level)
{
	const char *wanted = getenv("KOBOSHI_LOG");
	log_program = program;
	log_limit = level;
	log_journal = getenv("JOURNAL_STREAM") != NULL || (wanted && strcmp(wanted, "journal") == 0);
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

void log_event(enum log_level level, const char *id, const char *format, ...)
{
	if (level > log_limit)
		return;
	char line[1024];
	int head = log_head(line, sizeof(line), level, id);
	if (head < 0 || (size_t)head >= sizeof(line) - 2)
		return;
	va_list args;
	va_start(args, format);
	int body = vsnprintf(line + head, sizeof(line) - (size_t)head - 1, format, args);
	va_end(args);
	if (body < 0)
		return;
	size_t length = strlen(line);
	for (size_t i = 0; i < length; i++)
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
			line[i] = '?';
	line[length++] = '\n';
	ssize_t ignored = write(STDERR_FILENO, line, length);
	(void)ignored; /* there is nobody to tell */
}
