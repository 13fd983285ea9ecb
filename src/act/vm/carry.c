/* See carry.h. The judge is a process of its own (koboshi-scan by hand), since a file may make of a library what it likes. */
#include "act/vm/carry.h"

#include "act/vm/folder.h"
#include "lib/bytes.h"
#include "lib/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define SCAN_US 10000000   /* rules are compiled, up to eight files looked at */
#define SCAN_SAYS_MAX 8192 /* a line for each file, and notes */

static void refuse(struct carry *carry, const char *path, const char *format, ...) printf_like(3, 4);
static void refuse(struct carry *carry, const char *path, const char *format, ...)
{
	char why[WIRE_TEXT_MAX];
	size_t used = strlen(carry->refused);
	va_list args;
	va_start(args, format);
	vsnprintf(why, sizeof(why), format, args);
	va_end(args);
	snprintf(carry->refused + used, sizeof(carry->refused) - used, "%s%s is not carried over: %s", used ? "; " : "", path,
	         why);
}

/* --- reading */

/* How many bytes that took of the room; 0 of what was refused. */
static size_t file_add(struct carry *carry, const char *path, int fd, size_t room)
{
	struct stat status;
	if (fstat(fd, &status) < 0) {
		refuse(carry, path, "%s", strerror(errno));
		return 0;
	}
	size_t most = room < CONF_CARRY_FILE_MAX ? room : CONF_CARRY_FILE_MAX;
	uint8_t *bytes = malloc(most + 1);
	ssize_t got = bytes ? pread(fd, bytes, most + 1, 0) : -1;
	if (got < 0 || (size_t)got > most) {
		free(bytes);
		if (got < 0)
			refuse(carry, path, "it cannot be read");
		else
			refuse(carry, path, "%s more than %u bytes", room < CONF_CARRY_FILE_MAX ? "all together have" : "it has",
			       room < CONF_CARRY_FILE_MAX ? CONF_CARRY_TOTAL_MAX : CONF_CARRY_FILE_MAX);
		return 0;
	}
	carry->all[carry->n++] = (struct carried){.path = path,
	                                          .uid = status.st_uid,
	                                          .gid = status.st_gid,
	                                          .mode = status.st_mode & 0777,
	                                          .bytes = bytes,
	                                          .size = (size_t)got};
	return (size_t)got;
}

/* The agent makes it for root alone. The service, which may write beside it, could put another one in its place: what lies in
 * that would be root's in the next guest. */
static int folder_open(const char *data, struct err *err)
{
	struct stat status;
	auto_close int tree = tree_open(data, err);
	int folder = tree >= 0 ? tree_folder(tree, CONF_CARRY_FOLDER, err) : tree;
	if (folder < 0)
		return folder;
	if (fstat(folder, &status) == 0 && status.st_uid == geteuid() && (status.st_mode & 077) == 0)
		return folder;
	close(folder);
	return err_set(err, -EPERM, "the folder " CONF_CARRY_FOLDER " in the data is not root's alone");
}

static void files_read(const struct conf_service *service, const char *data, struct carry *carry)
{
	struct err err = {0};
	size_t room = CONF_CARRY_TOTAL_MAX;
	auto_close int folder = folder_open(data, &err);
	if (folder < 0 && folder != -ENOENT) /* else nothing was ever saved */
		snprintf(carry->refused, sizeof(carry->refused), "nothing is carried over: %s", err.text);
	if (folder < 0)
		return;
	for (size_t i = 0; i < service->n_carry; i++) {
		const char *path = service->carry[i];
		auto_close int fd = tree_file(folder, path + strspn(path, "/"), &err);
		if (fd >= 0)
			room -= file_add(carry, path, fd, room);
		else if (fd != -ENOENT)
			refuse(carry, path, "%s", err.text);
	}
}

/* --- judging */

static void copy_path(const struct vm *vm, uint32_t number, size_t index, char to[static VM_PATH_MAX])
{
	char name[16];
	snprintf(name, sizeof(name), "carry.%zu", index);
	folder_path(vm, number, name, to);
}

/* The words of koboshi-scan, all of them, until it ends. -ETIMEDOUT or -errno; else how it ended. */
static int scan_hear(pid_t pid, int fd, char *says, size_t size)
{
	int64_t until_us = clock_monotonic_us() + SCAN_US;
	size_t used = 0;
	int status, r = 0;
	while (r == 0) {
		struct pollfd watched = {.fd = fd, .events = POLLIN};
		int64_t left_us = until_us - clock_monotonic_us();
		if (left_us <= 0 || used == size - 1) {
			r = -ETIMEDOUT;
			break;
		}
		if (poll(&watched, 1, (int)(left_us / 1000 + 1)) <= 0)
			continue;
		ssize_t got = read(fd, says + used, size - 1 - used);
		if (got == 0)
			break;
		if (got < 0 && errno != EINTR)
			r = -errno;
		used += got > 0 ? (size_t)got : 0;
	}
	says[used] = '\0';
	if (r < 0)
		kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return r < 0 ? r : WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static int scan_run(const struct conf_files *files, char (*paths)[VM_PATH_MAX], size_t n, char *says, size_t size)
{
	const char *folder = getenv("KOBOSHI_LIBEXEC");
	char program[VM_PATH_MAX];
	const char *argv[8 + CONF_CARRY_MAX] = {program};
	size_t a = 1;
	int ends[2];
	pid_t pid;
	const char *options[][2] = {{"--rules", files->rules}, {"--good", files->good}, {"--bad", files->bad}};
	for (size_t i = 0; i < countof(options); i++)
		if (options[i][1][0]) {
			argv[a++] = options[i][0];
			argv[a++] = options[i][1];
		}
	for (size_t i = 0; i < n; i++)
		argv[a++] = paths[i];
	snprintf(program, sizeof(program), "%s/koboshi-scan", folder && *folder ? folder : KOBOSHI_LIBEXECDIR);
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	posix_spawn_file_actions_t actions;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
	char *environment[] = {NULL};
	int r = posix_spawn(&pid, program, &actions, NULL, (char *const *)argv, environment);
	posix_spawn_file_actions_destroy(&actions);
	close(ends[1]);
	r = r ? -r : scan_hear(pid, ends[0], says, size);
	close(ends[0]);
	return r;
}

/* What the line about `path` says: "bad      PATH: why". False: there is none. */
static bool verdict_find(const char *says, const char *path, char ret_verdict[static 16], char ret_why[static 128])
{
	size_t length = strlen(path);
	for (const char *line = says; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
		const char *name = line + strcspn(line, " \n");
		name += strspn(name, " ");
		ret_why[0] = '\0';
		if (strncmp(name, path, length) == 0 && strchr(":\n", name[length]) && sscanf(line, "%15s", ret_verdict) == 1) {
			(void)sscanf(name + length, ": %127[^\n]", ret_why);
			return true;
		}
	}
	return false;
}

static void drop(struct carry *carry, size_t index)
{
	free(carry->all[index].bytes);
	memmove(&carry->all[index], &carry->all[index + 1], (--carry->n - index) * sizeof(carry->all[0]));
}

static bool is_harmless(const char *verdict)
{
	return strcmp(verdict, "good") == 0 || strcmp(verdict, "unknown") == 0;
}

static void all_judge(const struct vm *vm, uint32_t number, struct carry *carry)
{
	char paths[CONF_CARRY_MAX][VM_PATH_MAX], says[SCAN_SAYS_MAX], verdict[16], why[128];
	struct err err = {0};
	int r = 0;
	for (size_t i = 0; i < carry->n; i++) {
		copy_path(vm, number, i, paths[i]);
		r = r < 0 ? r : file_write(paths[i], carry->all[i].bytes, carry->all[i].size, 0600, &err);
	}
	r = r == 0 ? scan_run(&vm->conf.files, paths, carry->n, says, sizeof(says)) : r;
	for (size_t i = carry->n; i-- > 0;) {
		folder_wipe(AT_FDCWD, paths[i]);
		bool judged = r >= 0 && verdict_find(says, paths[i], verdict, why);
		if (judged && is_harmless(verdict))
			continue;
		if (judged)
			refuse(carry, carry->all[i].path, "%s: %s", verdict, why);
		else
			refuse(carry, carry->all[i].path, "koboshi-scan did not judge it: %s",
			       r < 0 ? strerror(-r) : "it ended before");
		drop(carry, i);
	}
}

void carry_take(const struct vm *vm, const struct conf_service *service, const char *data, uint32_t number, struct carry *ret)
{
	*ret = (struct carry){0};
	if (service->n_carry == 0)
		return;
	files_read(service, data, ret);
	if (ret->n)
		all_judge(vm, number, ret);
}

void carry_free(struct carry *carry)
{
	for (size_t i = 0; i < carry->n; i++)
		free(carry->all[i].bytes);
	carry->n = 0;
}
