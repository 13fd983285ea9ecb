/* What two images share, by layer and by package: a table of pairs, each written as short lists. */
#include "image/image.h"
#include "lib/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* "layer name version" components and "name version" packages, divided by commas; packages sorted by name. */
struct row {
	const char *what;
	const char *components_a, *components_b;
	const char *same, *kin; /* letters of layers: k l s r */
	const char *packages_a, *packages_b;
	size_t packages_same, packages_kin;
	double share;
};

static const struct row rows[] = {
        {"nothing at all", "", "", "", "", "", "", 0, 0, 0},
        {"one is empty", "kernel linux 6", "", "", "", "a 1", "", 0, 0, 0},
        {"the same image", "kernel linux 6,libc glibc 2,server nginx 1,runtime php 8",
         "kernel linux 6,libc glibc 2,server nginx 1,runtime php 8", "klsr", "", "a 1,b 2", "a 1,b 2", 2, 0, 1},
        {"a shared libc is a shared libc", "kernel linux 6.12,libc glibc 2.41,server lighttpd 1",
         "kernel linux 7.3,libc glibc 2.41,server apache 2", "l", "k", "libc6 2.41,x 1", "libc6 2.41,y 1", 1, 0, 1.0 / 3},
        {"another build of one release is kin", "server nginx 1.22.1-9", "server nginx 1.22.1-9+deb12u1", "", "s",
         "nginx 1.22.1-9", "nginx 1.22.1-9+deb12u1", 0, 1, 0},
        {"a name in another layer is no match", "server lua 5", "runtime lua 5", "", "", "", "", 0, 0, 0},
        {"two of a layer: the worst counts, both are said", "runtime php 8,runtime lua 5", "runtime lua 5,runtime php 7", "r",
         "r", "", "", 0, 0, 0},
        {"two of a layer, in another order", "runtime php 8,runtime lua 5", "runtime lua 6,runtime php 8", "r", "r", "", "", 0, 0,
         0},
        {"packages interleave", "", "", "", "", "a 1,c 1,e 1,g 1", "b 1,c 1,d 1,e 2,z 1", 1, 1, 1.0 / 7},
        {"a prefix is another name", "", "", "", "", "lib 1,lib64 1", "lib6 1,lib64 1", 1, 0, 1.0 / 3},
};

static size_t split(const char *list, bool with_layer, struct image_component *to)
{
	char text[512], *rest = text, *item;
	size_t count = 0;
	strcpy(text, list);
	while (text[0] && (item = strsep(&rest, ","))) {
		struct image_component *c = &to[count++];
		char layer[16] = "package";
		if (with_layer)
			assert_int_equal(sscanf(item, "%15s %63s %95s", layer, c->name, c->version), 3);
		else
			assert_int_equal(sscanf(item, "%63s %95s", c->name, c->version), 2);
		while (strcmp(image_layer_name(c->layer), layer) != 0)
			c->layer++;
	}
	return count;
}

static void letters(const bool layers[static IMAGE_LAYER_MAX_], char *ret_text)
{
	for (enum image_layer layer = 0; layer < IMAGE_LAYER_MAX_; layer++)
		if (layers[layer])
			*ret_text++ = image_layer_name(layer)[0];
	*ret_text = '\0';
}

static void pair_check(const struct row *row, const struct image *a, const struct image *b)
{
	struct image_overlap got;
	char same[8], kin[8];
	image_overlap(a, b, &got);
	letters(got.layer_same, same);
	letters(got.layer_kin, kin);
	if (strcmp(same, row->same) || strcmp(kin, row->kin) || got.packages_same != row->packages_same ||
	    got.packages_kin != row->packages_kin || got.share < row->share - 1e-9 || got.share > row->share + 1e-9)
		fail_msg("%s: same '%s', kin '%s', packages %zu and %zu, share %f", row->what, same, kin, got.packages_same,
		         got.packages_kin, got.share);
	assert_int_equal(got.packages_a, a->n_packages);
	assert_int_equal(got.packages_b, b->n_packages);
}

static void test_rows(unused_arg void **state)
{
	for (size_t i = 0; i < countof(rows); i++) {
		static struct image_component packages_a[8], packages_b[8];
		static struct image a, b;
		memset(packages_a, 0, sizeof(packages_a));
		memset(packages_b, 0, sizeof(packages_b));
		a = (struct image){.packages = packages_a};
		b = (struct image){.packages = packages_b};
		a.n_components = split(rows[i].components_a, true, a.components);
		b.n_components = split(rows[i].components_b, true, b.components);
		a.n_packages = split(rows[i].packages_a, false, packages_a);
		b.n_packages = split(rows[i].packages_b, false, packages_b);
		pair_check(&rows[i], &a, &b);
		pair_check(&rows[i], &b, &a);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
