/* Whatever parses keeps to its limits: the structs' texts end, counts fit, packages are sorted, names have no slash. */
#include "image/image.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void image_check(const struct image *image)
{
	assert(image->n_components <= IMAGE_COMPONENTS_MAX && image->n_packages <= IMAGE_PACKAGES_MAX);
	assert(image->n_files >= 1 && image->n_files <= IMAGE_FILES_MAX && image->n_content <= IMAGE_CONTENT_MAX);
	assert(memchr(image->variant, 0, sizeof(image->variant)) && image->variant[0] >= 'a' && image->variant[0] <= 'z');
	assert(image->memory_mib >= 16 && image->memory_mib <= 65536 && image->cpus >= 1 && image->cpus <= 64);
	for (size_t i = 0; i < image->n_files; i++)
		assert(!strchr(image->files[i].name, '/') && image->files[i].name[0] != '.' && image->files[i].name[0]);
	for (size_t i = 1; i < image->n_packages; i++)
		assert(strcmp(image->packages[i - 1].name, image->packages[i].name) < 0);
	for (size_t i = 0; i < image->n_content; i++)
		assert(image->content[i].path[0] == '/' && !strpbrk(image->content[i].path, " \r\n"));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct image *image;
	struct image_overlap overlap;
	struct err err;
	if (image_parse("fuzz", bytes, size, &image, &err) < 0) {
		assert(err.code < 0 && err.text[0]);
		return 0;
	}
	image_check(image);
	image_overlap(image, image, &overlap);
	assert(overlap.packages_same == image->n_packages && overlap.packages_kin == 0);
	image_free(image);
	return 0;
}
