#pragma once
/* "Did you mean": how far two words are from each other. */

/* Letters to insert, remove or change to make one of the other; UINT_MAX when one is longer than 63 bytes. */
unsigned near_distance(const char *a, const char *b);

/* Of `words` (`n` of them) the nearest to `text`, within two letters (one if the text is short); NULL when all are far. */
const char *near_word(const char *text, const char *const *words, unsigned n);
