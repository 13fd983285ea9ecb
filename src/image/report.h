#pragma once
/* What koboshi-image prints: tables for people, JSON for programs, a bar on a terminal. */
#include "image/image.h"

#include <stdio.h>

void report_image(const struct image *image, FILE *to);

/* Every pair of `images`. */
void report_overlaps(struct image *const *images, size_t n_images, FILE *to);
void report_overlaps_json(struct image *const *images, size_t n_images, FILE *to);

/* A bar on standard error, shown only on a terminal and only once the work has lasted more than two seconds. */
struct report_bar {
	const char *what;
	int64_t began_us, shown_us; /* shown 0: never */
	bool terminal;
};
void report_bar_begin(struct report_bar *bar, const char *what);
void report_bar_step(void *bar, uint64_t done, uint64_t total); /* fits image_verify's progress */
void report_bar_end(struct report_bar *bar);
