/*
 * ORDER_VM_EVIDENCE: what a fallen guest leaves behind to be looked at: its flows, its console and its memory, below
 * <state_dir>/evidence/<incident>/ with SHA256SUMS beside them. Bounded in size twice (one incident, all together) and in time,
 * and never in the way: it runs behind all others, one at a time. What says most for its size comes first, so that it has the
 * room. A part that cannot be had does not take the others along; what is missing or left out is said in the answer.
 *
 * The memory holds the guest's secrets: the folders are root's alone. The engine, which may not look there, is told of each file.
 */
#include "act/vm/evidence.h"

#include "act/vm/folder.h"
#include "act/vm/orders.h"
#include "lib/bytes.h"
#include "lib/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define CONSOLE_MAX (FOLDER_CONSOLE_MAX + (4u << 20)) /* it may have outgrown its limit since the last look */

void taking_say(struct taking *t, const char *format, ...)
{
	size_t used = strlen(t->text);
	va_list args;
	va_start(args, format);
	int more = snprintf(t->text + used, sizeof(t->text) - used, "%s", used ? ", " : "");
	used += more > 0 ? (size_t)more : 0;
	if (used < sizeof(t->text))
		vsnprintf(t->text + used, sizeof(t->text) - used, format, args);
	va_end(args);
}

void taking_miss(struct taking *t, const char *what, const struct err *why)
{
	log_warning("vm.evidence", "no %s: %s", what, why->text);
	if (why->code == -ETIMEDOUT)
		taking_say(t, "%s left out: it took more than %d s", what, EVIDENCE_US / 1000000);
	else
		taking_say(t, "no %s (%s)", what, strerror(-why->code));
	if (t->first.code == 0)
		t->first = *why;
}

/* The net actuator, which was asked first, left them there, bounded. */
static void flows_take(struct taking *t)
{
	char name[WIRE_FILE_MAX], path[VM_PATH_MAX + 24 + WIRE_FILE_MAX];
	struct err why = {0};
	snprintf(name, sizeof(name), "kb-%u.flows", t->order->instance);
	snprintf(path, sizeof(path), "%s/%s", t->folder, name);
	if (access(path, F_OK) < 0)
		return;
	if (evidence_keep(t, name, INT64_MAX, &why) < 0) {
		taking_miss(t, "hash of the flows", &why);
		return;
	}
	taking_say(t, "flows");
	t->some = true;
}

/* The last bytes of a file, CONSOLE_MAX at most: what a guest writes has no other limit than our looking once a second. */
static int end_read(const char *path, uint8_t **ret_bytes, size_t *ret_size, bool *ret_cut, struct err *err)
{
	struct stat status;
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &status) < 0)
		return err_set(err, -errno, "%s: cannot open it: %s", path, strerror(errno));
	bool cut = status.st_size > (off_t)CONSOLE_MAX;
	off_t from = cut ? status.st_size - (off_t)CONSOLE_MAX : 0;
	auto_free uint8_t *bytes = malloc(CONSOLE_MAX);
	if (!bytes)
		abort();
	size_t size = 0;
	for (ssize_t got; size < CONSOLE_MAX && (got = pread(fd, bytes + size, CONSOLE_MAX - size, from + (off_t)size)) != 0;
	     size += (size_t)got)
		if (got < 0)
			return err_set(err, -errno, "%s: cannot read it: %s", path, strerror(errno));
	*ret_bytes = take(&bytes);
	*ret_size = size;
	*ret_cut = cut;
	return 0;
}

static int console_write(struct taking *t, const char *file, const uint8_t *bytes, size_t size, struct err *err)
{
	char name[WIRE_FILE_MAX], to[VM_PATH_MAX + 24 + WIRE_FILE_MAX];
	snprintf(name, sizeof(name), "kb-%u.%s", t->order->instance, file);
	snprintf(to, sizeof(to), "%s/%s", t->folder, name);
	int r = file_write(to, bytes, size, 0600, err);
	return r < 0 ? r : evidence_keep(t, name, INT64_MAX, err);
}

/* The newer part first. The older is there when the console outgrew its limit while the guest lived. */
static void console_take(struct taking *t)
{
	static const struct {
		const char *file, *what;
	} parts[] = {{"console.log", "console"}, {"console.old", "earlier console"}};
	char path[VM_PATH_MAX];
	for (size_t i = 0; i < countof(parts); i++) {
		auto_free uint8_t *bytes = NULL;
		size_t size = 0;
		bool cut = false;
		struct err why = {0};
		folder_path(t->vm, t->order->instance, parts[i].file, path);
		int r = end_read(path, &bytes, &size, &cut, &why);
		if (r == -ENOENT && i == 1)
			continue; /* it was never cut */
		if (r == 0 && !evidence_room(t, parts[i].what, size))
			continue;
		if (r == 0)
			r = console_write(t, parts[i].file, bytes, size, &why);
		if (r < 0) {
			taking_miss(t, parts[i].what, &why);
			continue;
		}
		if (cut)
			taking_say(t, "the last %u MiB of its %s", CONSOLE_MAX >> 20, parts[i].what);
		else if (i == 0)
			taking_say(t, "console");
		t->some = true;
	}
}

static int folders_make(const struct vm *vm, const char *folder, struct err *err)
{
	const char *const paths[] = {vm->conf.state_dir, vm->evidence, folder};
	for (size_t i = 0; i < countof(paths); i++)
		if (mkdir(paths[i], 0700) < 0 && errno != EEXIST)
			return err_set(err, -errno, "%s: cannot make this folder: %s", paths[i], strerror(errno));
	return 0;
}

int vm_evidence(struct vm *vm, const struct wire_order *order, struct wire_answer *answer, struct err *err)
{
	struct conf_instance instance;
	struct taking t = {.vm = vm, .order = order, .end_us = clock_monotonic_us() + EVIDENCE_US};
	conf_instance(&vm->conf, order->instance, &instance);
	if (vm->conf.evidence_bytes == 0) {
		snprintf(answer->text, sizeof(answer->text), "%s: no evidence is taken (evidence_bytes is 0)", instance.name);
		return 0;
	}
	snprintf(t.folder, sizeof(t.folder), "%s/%" PRIu64, vm->evidence, order->incident);
	int r = folders_make(vm, t.folder, err);
	if (r < 0)
		return r;
	pthread_mutex_lock(&vm->evidence_lock);
	evidence_memory_forget(&t);
	evidence_room_make(&t, 0);
	flows_take(&t);
	console_take(&t);
	evidence_memory(&t, &instance);
	evidence_room_tell(&t);
	pthread_mutex_unlock(&vm->evidence_lock);
	if (!t.some && t.first.code < 0)
		return err_set(err, t.first.code, "%s", t.first.text);
	snprintf(answer->text, sizeof(answer->text), "%s: %s", instance.name, t.text);
	return 0;
}
