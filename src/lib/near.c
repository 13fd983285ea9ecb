/* Levenshtein's distance with one row, for the few dozen words that a table or a command line knows. */
#include "lib/near.h"

#include "lib/attr.h"

#include <limits.h>
#include <string.h>

unsigned near_distance(const char *a, const char *b)
{
	unsigned row[64];
	size_t n = strlen(b);
	if (strlen(a) >= countof(row) || n >= countof(row))
		return UINT_MAX;
	for (unsigned j = 0; j <= n; j++)
		row[j] = j;
	for (unsigned i = 1; a[i - 1]; i++) {
		unsigned diagonal = row[0];
		row[0] = i;
		for (unsigned j = 1; j <= n; j++) {
			unsigned least = diagonal + (a[i - 1] != b[j - 1]);
			diagonal = row[j];
			if (row[j - 1] + 1 < least)
				least = row[j - 1] + 1;
			if (row[j] + 1 < least)
				least = row[j] + 1;
			row[j] = least;
		}
	}
	return row[n];
}

const char *near_word(const char *text, const char *const *words, unsigned n)
{
	const char *nearest = NULL;
	unsigned best = strlen(text) < 4 ? 2 : 3;
	for (unsigned i = 0; i < n; i++) {
		unsigned distance = near_distance(text, words[i]);
		if (distance < best) {
			best = distance;
			nearest = words[i];
		}
	}
	return nearest;
}
