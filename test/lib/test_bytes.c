/* Folders that nobody but their owner shall enter. */
#include "lib/attr.h"
#include "lib/bytes.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "skip.h"
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char place[] = "/tmp/kbbytesXXXXXX";

static int setup(void **state unused_arg)
{
	return mkdtemp(place) && chdir(place) == 0 ? 0 : -1;
}

static int teardown(void **state unused_arg)
{
	rmdir("folder");
	unlink("link");
	unlink("file");
	return chdir("/") == 0 ? rmdir(place) : -1;
}

static unsigned mode_of(const char *path)
{
	struct stat status;
	assert_int_equal(stat(path, &status), 0);
	return status.st_mode & 07777;
}

static void test_a_folder_is_made_or_closed(void **state unused_arg)
{
	umask(0);
	assert_int_equal(folder_private("folder", NULL), 0);
	assert_int_equal(mode_of("folder"), 0700);
	assert_int_equal(chmod("folder", 0755), 0); /* as the root of a fresh file system has it */
	assert_int_equal(folder_private("folder", NULL), 0);
	assert_int_equal(mode_of("folder"), 0700);
}

static void test_what_is_none_of_ours_is_refused(void **state unused_arg)
{
	struct err err = {0};
	assert_int_equal(file_write("file", "", 0, 0600, NULL), 0);
	assert_int_equal(folder_private("file", NULL), -ENOTDIR);
	assert_int_equal(symlink("folder", "link"), 0);
	assert_int_equal(folder_private("link", NULL), -ENOTDIR);
	if (geteuid() != 0)
		skip_for("nobody else's folder can be made");
	assert_int_equal(chown("folder", 65534, 65534), 0);
	assert_int_equal(folder_private("folder", &err), -EPERM);
	assert_string_equal(err.text,
	                    "folder: belongs to user 65534, who could read and change what is in it: name a folder of root's");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_a_folder_is_made_or_closed),
	        cmocka_unit_test(test_what_is_none_of_ours_is_refused),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
