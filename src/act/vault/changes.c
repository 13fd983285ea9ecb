/* See changes.h. */
#include "act/vault/changes.h"

#include "lib/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_BYTES_MAX (256u << 20)
#define TEXT_MAX (3 * PATH_MAX + 128)

static const char *const kinds[WIRE_CHANGE_MAX_] = {"changed", "added", "removed", "returned"};

static void path_write(const char *path, char *to)
{
	for (; *path; path++) {
		unsigned char c = (unsigned char)*path;
		if (c > ' ' && c <= '~' && c != '%')
			*to++ = (char)c;
		else
			to += sprintf(to, "%%%02x", c);
	}
	*to = '\0';
}

void changes_path_text(const char *path, char *to, size_t size)
{
	static char text[TEXT_MAX];
	path_write(path, text);
	size_t length = strlen(text);
	if (length < size)
		memcpy(to, text, length + 1);
	else
		snprintf(to, size, "...%s", text + length - (size - 4));
}

static bool path_read(char *text)
{
	char *to = text;
	for (const char *from = text; *from; from++) {
		uint8_t byte = (uint8_t)*from;
		if (*from == '%') {
			char digits[3] = "";
			text_copy(digits, sizeof(digits), from + 1);
			if (!bytes_from_hex(digits, &byte, 1) || byte == 0)
				return false;
			from += 2;
		}
		*to++ = (char)byte;
	}
	*to = '\0';
	return to > text && to - text < PATH_MAX;
}

/* False without memory: nothing is changed then. */
static bool keep(struct changes *c, const struct change *one, const char *path)
{
	struct change *all = reallocarray(c->all, c->n + 1, sizeof(*all));
	if (!all)
		return false;
	c->all = all;
	all[c->n] = *one;
	all[c->n].path = strdup(path);
	if (!all[c->n].path)
		return false;
	c->n++;
	c->last = one->number;
	return true;
}

static void line_take(struct changes *c, char *line)
{
	struct change one = {0};
	char kind[16];
	int at = 0;
	if (sscanf(line, "%" SCNu64 " %" SCNu64 " %15s %" SCNu64 " %n", &one.number, &one.incident, kind, &one.bytes, &at) != 4 ||
	    at == 0 || one.number <= c->last || !path_read(line + at))
		return;
	for (unsigned k = 0; k < WIRE_CHANGE_MAX_; k++)
		if (strcmp(kind, kinds[k]) == 0) {
			one.kind = (enum wire_change_kind)k;
			(void)keep(c, &one, line + at);
		}
}

int changes_load(const char *file, struct changes *ret, struct err *err)
{
	auto_free uint8_t *text = NULL;
	size_t size;
	*ret = (struct changes){0};
	text_copy(ret->file, sizeof(ret->file), file);
	int r = file_read(file, FILE_BYTES_MAX, &text, &size, err);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	char *rest = (char *)text;
	for (char *line; (line = strsep(&rest, "\n"));)
		if (sscanf(line, "last %" SCNu64, &ret->last) != 1)
			line_take(ret, line);
	return 0;
}

static int line_write(FILE *out, const struct change *one)
{
	static char path[TEXT_MAX];
	path_write(one->path, path);
	return fprintf(out, "%" PRIu64 " %" PRIu64 " %s %" PRIu64 " %s\n", one->number, one->incident, kinds[one->kind],
	               one->bytes, path);
}

int changes_add(struct changes *c, const struct change *fresh, uint64_t *ret_number, struct err *err)
{
	struct change one = *fresh;
	one.number = c->last + 1;
	if (!keep(c, &one, fresh->path))
		return err_set(err, -ENOMEM, "no memory for the list of changes");
	*ret_number = one.number;
	FILE *out = fopen(c->file, "ae");
	bool good = out && line_write(out, &one) > 0 && fflush(out) == 0 && fdatasync(fileno(out)) == 0;
	int error = errno;
	if (out && fclose(out) != 0)
		good = false;
	return good ? 0 : err_set(err, -error, "%s: cannot be written: %s", c->file, strerror(error));
}

int changes_save(const struct changes *c, struct err *err)
{
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	if (!out)
		return err_set(err, -ENOMEM, "no memory for the list of changes");
	/* in front: a number that is below that of a line behind it would hide the line */
	fprintf(out, "last %" PRIu64 "\n", c->n ? c->all[0].number - 1 : c->last);
	for (size_t i = 0; i < c->n; i++)
		line_write(out, &c->all[i]);
	int r = fclose(out) == 0 ? file_write(c->file, text, size, 0600, err)
	                         : err_set(err, -ENOMEM, "no memory for %s", c->file);
	free(text);
	return r;
}

struct change *changes_find(const struct changes *c, uint64_t number)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->all[i].number == number)
			return &c->all[i];
	return NULL;
}

void changes_free(struct changes *c)
{
	for (size_t i = 0; i < c->n; i++)
		free(c->all[i].path);
	free(c->all);
	*c = (struct changes){0};
}
