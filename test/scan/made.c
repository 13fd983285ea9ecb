#include "made.h"
#include "lib/attr.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

char made_dir[64];

void made_open(void)
{
	/* In memory where that can be had: thousands of files are made. */
	snprintf(made_dir, sizeof(made_dir), "/dev/shm/kbsc.XXXXXX");
	if (mkdtemp(made_dir))
		return;
	snprintf(made_dir, sizeof(made_dir), "/tmp/kbsc.XXXXXX");
	assert_non_null(mkdtemp(made_dir));
}

void made_close(void)
{
	pid_t pid = fork();
	if (pid == 0) {
		execlp("rm", "rm", "-rf", "--one-file-system", made_dir, (char *)NULL);
		_exit(127);
	}
	waitpid(pid, NULL, 0);
}

const char *made_path(const char *name)
{
	static char paths[8][256];
	static size_t turn;
	char *path = paths[turn++ % 8];
	snprintf(path, 256, "%s/%s", made_dir, name);
	return path;
}

void made_file(const char *name, const void *bytes, size_t size)
{
	auto_close int fd = open(made_path(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, size), (ssize_t)size);
}

void made_text(const char *name, const char *text)
{
	made_file(name, text, strlen(text));
}
