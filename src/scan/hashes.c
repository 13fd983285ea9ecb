/* Sorted once, searched often: half a million sums are 16 MiB and 20 comparisons. */
#include "scan/hashes.h"
#include "lib/bytes.h"

#include <string.h>

static int by_bytes(const void *a, const void *b)
{
	return memcmp(a, b, SCAN_SHA256);
}

/* "\" before a sum says that the name behind it is escaped. */
static bool line_read(char *line, uint8_t ret_sum[static SCAN_SHA256])
{
	if (*line == '\\')
		line++;
	size_t digits = strspn(line, "0123456789abcdefABCDEF");
	if (digits != 2 * SCAN_SHA256 || (line[digits] && line[digits] != ' ' && line[digits] != '\t' && line[digits] != '\r'))
		return false;
	line[digits] = '\0';
	for (char *c = line; *c; c++)
		if (*c >= 'A' && *c <= 'F')
			*c = (char)(*c - 'A' + 'a');
	return bytes_from_hex(line, ret_sum, SCAN_SHA256);
}

static size_t lines_count(const char *text)
{
	size_t n = 1;
	for (; *text; text++)
		n += *text == '\n';
	return n;
}

void hashes_load(const char *path, struct hashes *ret_hashes, struct scan_problems *problems)
{
	uint8_t *bytes;
	size_t size;
	struct err err;
	*ret_hashes = (struct hashes){0};
	if (!*path)
		return;
	if (file_read(path, HASHES_FILE_MAX, &bytes, &size, &err) < 0) {
		scan_problem(problems, "%s", err.text);
		return;
	}
	char *rest = (char *)bytes;
	ret_hashes->sorted = calloc(lines_count(rest), SCAN_SHA256);
	if (!ret_hashes->sorted)
		abort();
	size_t number = 0;
	for (char *line; (line = strsep(&rest, "\n"));) {
		number++;
		if (*line == '\0' || *line == '#' || *line == '\r')
			continue;
		if (line_read(line, ret_hashes->sorted[ret_hashes->n]))
			ret_hashes->n++;
		else
			scan_problem(problems, "%s:%zu: does not begin with a SHA-256 sum: the line is left out", path, number);
	}
	free(bytes);
	qsort(ret_hashes->sorted, ret_hashes->n, SCAN_SHA256, by_bytes);
}

bool hashes_have(const struct hashes *hashes, const uint8_t sha256[static SCAN_SHA256])
{
	return hashes->n && bsearch(sha256, hashes->sorted, hashes->n, SCAN_SHA256, by_bytes);
}

void hashes_done(struct hashes *hashes)
{
	free(hashes->sorted);
	*hashes = (struct hashes){0};
}
