/*
 * What koboshi-image prints. Overlap is shown in the words of the layers, never as one score alone: a number of 0.9 hides
 * whether it is the fonts or the kernel that two variants share.
 */
#include "image/report.h"
#include "lib/bytes.h"

#include <assert.h>
#include <inttypes.h>
#include <jansson.h>
#include <libsmartcols.h>

static struct libscols_table *table_new(FILE *to, const char *const *columns, size_t n_columns)
{
	struct libscols_table *table = scols_new_table();
	if (!table)
		abort();
	scols_table_set_stream(table, to);
	for (size_t i = 0; i < n_columns; i++)
		if (!scols_table_new_column(table, columns[i], 0, 0))
			abort();
	return table;
}

static void table_row(struct libscols_table *table, const char *const *cells, size_t n_cells)
{
	struct libscols_line *line = scols_table_new_line(table, NULL);
	if (!line)
		abort();
	for (size_t i = 0; i < n_cells; i++)
		if (scols_line_set_data(line, i, cells[i]) != 0)
			abort();
}

static void table_print(struct libscols_table *table)
{
	scols_print_table(table);
	scols_unref_table(table);
}

static void print_files(const struct image *image, FILE *to)
{
	static const char *const columns[] = {"FILE", "BYTES", "SHA-256"};
	struct libscols_table *table = table_new(to, columns, countof(columns));
	for (size_t i = 0; i < image->n_files; i++) {
		char size[24], digest[2 * IMAGE_SHA256 + 1];
		snprintf(size, sizeof(size), "%" PRIu64, image->files[i].size);
		bytes_to_hex(image->files[i].sha256, IMAGE_SHA256, digest);
		table_row(table, (const char *const[]){image->files[i].name, size, digest}, 3);
	}
	table_print(table);
}

void report_image(const struct image *image, FILE *to)
{
	static const char *const columns[] = {"LAYER", "NAME", "VERSION"};
	fprintf(to, "%s: %s\n", image->variant, image->summary);
	fprintf(to, "built %s from %s, %zu packages, %u MiB, %u processor%s\n", image->built, image->suite, image->n_packages,
	        image->memory_mib, image->cpus, image->cpus == 1 ? "" : "s");
	for (size_t i = 0; i < image->n_fallbacks; i++)
		fprintf(to, "instead of what the recipe wanted: %s\n", image->fallbacks[i]);
	fputc('\n', to);
	struct libscols_table *table = table_new(to, columns, countof(columns));
	for (size_t i = 0; i < image->n_components; i++) {
		const struct image_component *c = &image->components[i];
		table_row(table, (const char *const[]){image_layer_name(c->layer), c->name, c->version}, 3);
	}
	table_print(table);
	fputc('\n', to);
	print_files(image, to);
}

/* What two images share of one layer, for people and for programs. The worst that is true is said. */
static const char *layer_word(const struct image *a, const struct image *b, const struct image_overlap *overlap,
                              enum image_layer layer)
{
	if (overlap->layer_same[layer])
		return "shared";
	if (overlap->layer_kin[layer])
		return "other version";
	return image_component(a, layer) || image_component(b, layer) ? "different" : "none";
}

typedef void pair_fn(void *to, const struct image *a, const struct image *b, const struct image_overlap *overlap);

static void each_pair(struct image *const *images, size_t n_images, pair_fn *fn, void *to)
{
	for (size_t i = 0; i < n_images; i++) {
		for (size_t j = i + 1; j < n_images; j++) {
			struct image_overlap overlap;
			image_overlap(images[i], images[j], &overlap);
			fn(to, images[i], images[j], &overlap);
		}
	}
}

static void pair_row(void *to, const struct image *a, const struct image *b, const struct image_overlap *overlap)
{
	char packages[64], share[16];
	size_t either = overlap->packages_a + overlap->packages_b - overlap->packages_same - overlap->packages_kin;
	snprintf(packages, sizeof(packages), "%zu same, %zu other version, of %zu", overlap->packages_same, overlap->packages_kin,
	         either);
	snprintf(share, sizeof(share), "%.1f %%", overlap->share * 100);
	const char *cells[] = {a->variant,
	                       b->variant,
	                       layer_word(a, b, overlap, IMAGE_KERNEL),
	                       layer_word(a, b, overlap, IMAGE_LIBC),
	                       layer_word(a, b, overlap, IMAGE_SERVER),
	                       layer_word(a, b, overlap, IMAGE_RUNTIME),
	                       packages,
	                       share};
	table_row(to, cells, countof(cells));
}

void report_overlaps(struct image *const *images, size_t n_images, FILE *to)
{
	static const char *const columns[] = {"A", "B", "KERNEL", "LIBC", "SERVER", "RUNTIME", "PACKAGES", "SHARE"};
	struct libscols_table *table = table_new(to, columns, countof(columns));
	each_pair(images, n_images, pair_row, table);
	table_print(table);
}

static void pair_json(void *to, const struct image *a, const struct image *b, const struct image_overlap *overlap)
{
	json_t *layers = json_object();
	for (enum image_layer layer = 0; layer < IMAGE_PACKAGE; layer++)
		json_object_set_new(layers, image_layer_name(layer), json_string(layer_word(a, b, overlap, layer)));
	json_t *pair = json_pack("{ss, ss, so, s{sI, sI, sI, sI}, sf}", "a", a->variant, "b", b->variant, "layers", layers,
	                         "packages", "a", (json_int_t)overlap->packages_a, "b", (json_int_t)overlap->packages_b, "same",
	                         (json_int_t)overlap->packages_same, "other_version", (json_int_t)overlap->packages_kin, "share",
	                         overlap->share);
	if (!pair || json_array_append_new(to, pair) < 0)
		abort();
}

void report_overlaps_json(struct image *const *images, size_t n_images, FILE *to)
{
	json_auto_t *pairs = json_array();
	if (!pairs)
		abort();
	each_pair(images, n_images, pair_json, pairs);
	json_dumpf(pairs, to, JSON_INDENT(2) | JSON_REAL_PRECISION(4));
	fputc('\n', to);
}

void report_bar_begin(struct report_bar *bar, const char *what)
{
	*bar = (struct report_bar){.what = what, .began_us = clock_monotonic_us(), .terminal = isatty(STDERR_FILENO)};
}

void report_bar_step(void *arg, uint64_t done, uint64_t total)
{
	static const char full[] = "########################################";
	struct report_bar *bar = arg;
	int64_t now = clock_monotonic_us();
	if (!bar->terminal || total == 0 || now - bar->began_us < 2000000 || now - bar->shown_us < 100000)
		return;
	int width = (int)(sizeof(full) - 1), filled = (int)(done < total ? done * (uint64_t)width / total : (uint64_t)width);
	fprintf(stderr, "\r%s [%-*.*s] %3d %%", bar->what, width, filled, full, filled * 100 / width);
	bar->shown_us = now;
}

void report_bar_end(struct report_bar *bar)
{
	if (bar->shown_us)
		fputs("\r\033[K", stderr);
}
