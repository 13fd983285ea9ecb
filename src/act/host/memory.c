/* One line a file: KIND LISTED ERROR MODE UID GID SHA256 PATH. A line that cannot be read makes the whole no memory. */
#include "act/host/memory.h"
#include "lib/bytes.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define MEMORY_MAX (OWN_MAX * (PATH_MAX / 8 + 200))

static bool line_read(const char *line, struct own_file *ret_file)
{
	unsigned kind, listed, mode;
	char sum[2 * OWN_SHA256 + 1];
	int at = 0;
	*ret_file = (struct own_file){0};
	if (sscanf(line, "%u %u %d %o %u %u %64s %n", &kind, &listed, &ret_file->error, &mode, &ret_file->uid, &ret_file->gid,
	           sum, &at) != 7 ||
	    at == 0 || kind >= OWN_KIND_MAX_ || listed > 1 || !bytes_from_hex(sum, ret_file->sha256, OWN_SHA256))
		return false;
	ret_file->kind = (enum own_kind)kind;
	ret_file->listed = listed;
	ret_file->mode = mode;
	return line[at] == '/' && text_copy(ret_file->path, sizeof(ret_file->path), line + at);
}

bool memory_load(const char *path, pid_t koboshid, uint64_t born, struct memory *ret_memory)
{
	uint8_t *bytes;
	size_t size;
	int pid;
	unsigned long long time;
	if (file_read(path, MEMORY_MAX, &bytes, &size, NULL) < 0)
		return false;
	char *rest = (char *)bytes, *head = strsep(&rest, "\n");
	bool good = sscanf(head, "koboshid %d %llu", &pid, &time) == 2 && pid == koboshid && time == born;
	*ret_memory = (struct memory){.koboshid = koboshid, .born = born};
	for (char *line; good && (line = strsep(&rest, "\n")) && *line;) {
		good = ret_memory->own.n < OWN_MAX && line_read(line, &ret_memory->own.files[ret_memory->own.n]);
		ret_memory->own.n++;
	}
	free(bytes);
	return good;
}

int memory_save(const char *path, const struct memory *memory, struct err *err)
{
	char *text = NULL, sum[2 * OWN_SHA256 + 1];
	size_t size;
	FILE *out = open_memstream(&text, &size);
	if (!out)
		abort();
	fprintf(out, "koboshid %d %llu\n", memory->koboshid, (unsigned long long)memory->born);
	for (size_t i = 0; i < memory->own.n; i++) {
		const struct own_file *f = &memory->own.files[i];
		bytes_to_hex(f->sha256, OWN_SHA256, sum);
		fprintf(out, "%u %u %d %o %u %u %s %s\n", (unsigned)f->kind, (unsigned)f->listed, f->error, f->mode, f->uid,
		        f->gid, sum, f->path);
	}
	if (fclose(out) != 0)
		abort();
	int r = file_write(path, text, size, 0600, err);
	free(text);
	return r;
}

static void take_file(struct memory *memory, const struct own_file *file)
{
	if (memory->own.n < OWN_MAX)
		memory->own.files[memory->own.n++] = *file;
}

void memory_adopt(struct memory *memory, const struct own *now)
{
	for (size_t i = 0; i < now->n; i++)
		if (!now->files[i].listed && !own_find(&memory->own, now->files[i].path))
			take_file(memory, &now->files[i]);
}

void memory_take_config(struct memory *memory, const struct own *now)
{
	size_t kept = 0;
	for (size_t i = 0; i < memory->own.n; i++)
		if (memory->own.files[i].kind != OWN_CONFIG)
			memory->own.files[kept++] = memory->own.files[i];
	memory->own.n = kept;
	for (size_t i = 0; i < now->n; i++)
		if (now->files[i].kind == OWN_CONFIG)
			take_file(memory, &now->files[i]);
}

static const char *what_helps(enum own_kind kind)
{
	return kind == OWN_CONFIG    ? "not in use before a reload"
	       : kind == OWN_PROGRAM ? "an update? restart koboshid"
	                             : "an update? reload systemd, restart koboshid";
}

size_t memory_compare(const struct memory *memory, const struct own *now, char (*ret_texts)[200], size_t max)
{
	const struct own_file absent = {.error = ENOENT};
	size_t n = 0;
	char what[96];
	for (size_t i = 0; i < memory->own.n && n < max; i++) {
		const struct own_file *was = &memory->own.files[i], *is = own_find(now, was->path);
		if (own_differ(was, is ? is : &absent, what, sizeof(what)))
			snprintf(ret_texts[n++], sizeof(ret_texts[0]), "%.80s %.80s (%s)", was->path, what,
			         what_helps(was->kind));
	}
	for (size_t i = 0; i < now->n && n < max; i++)
		if (!own_find(&memory->own, now->files[i].path) && now->files[i].error != ENOENT)
			snprintf(ret_texts[n++], sizeof(ret_texts[0]), "%.80s was not there before (%s)", now->files[i].path,
			         what_helps(now->files[i].kind));
	return n;
}
