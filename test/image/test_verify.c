/* Every kind of change to an image on disk is refused, and the sentence names what was changed. */
#include "made.h"
#include "lib/bytes.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static struct made made;

static int setup(unused_arg void **state)
{
	made_new(&made);
	return 0;
}

static int teardown(unused_arg void **state)
{
	made_remove(&made);
	return 0;
}

static void open_good(struct image **ret_image)
{
	struct err err;
	if (image_open(made.dir, made.pub, ret_image, &err) < 0)
		fail_msg("%s", err.text);
}

struct steps {
	unsigned calls;
	uint64_t done, total;
};

static void count_step(void *arg, uint64_t done, uint64_t total)
{
	struct steps *steps = arg;
	steps->calls++;
	assert_true(done > steps->done);
	steps->done = done;
	steps->total = total;
}

static void test_a_good_image(unused_arg void **state)
{
	struct image *image;
	struct steps steps = {0};
	struct err err = {0};
	open_good(&image);
	assert_string_equal(image->variant, "birch");
	assert_int_equal(image_verify(image, made.dir, count_step, &steps, &err), 0);
	assert_int_equal(steps.calls, 3);
	assert_int_equal(steps.done, 15000);
	assert_int_equal(steps.total, 15000);
	image_free(image);
}

static void refused_by_verify(const char *file, const char *why)
{
	struct image *image;
	struct err err = {0};
	char where[PATH_MAX + 64];
	open_good(&image);
	snprintf(where, sizeof(where), "%s/%s: %s", made.dir, file, why);
	int r = image_verify(image, made.dir, NULL, NULL, &err);
	if (r != -EBADMSG || strncmp(err.text, where, strlen(where)) != 0 || !strstr(err.text, "koboshi-image build birch"))
		fail_msg("%d: '%s', not '%s'", r, err.text, where);
	image_free(image);
}

static void test_a_flipped_bit_in_each_file(unused_arg void **state)
{
	static const char *const files[] = {"vmlinuz", "initrd", "root.erofs"};
	static const long offsets[] = {0, 2500, -1};
	for (size_t i = 0; i < countof(files); i++) {
		for (size_t j = 0; j < countof(offsets); j++) {
			char path[PATH_MAX];
			made_path(&made, files[i], path);
			made_flip(path, offsets[j]);
			refused_by_verify(files[i], "its SHA-256 differs from the signed manifest");
			made_flip(path, offsets[j]);
		}
	}
	struct image *image;
	open_good(&image);
	assert_int_equal(image_verify(image, made.dir, NULL, NULL, NULL), 0);
	image_free(image);
}

static void test_other_damage_to_a_file(unused_arg void **state)
{
	char path[PATH_MAX], away[PATH_MAX];
	made_path(&made, "initrd", path);
	made_path(&made, "elsewhere", away);
	assert_int_equal(truncate(path, 5001), 0);
	refused_by_verify("initrd", "is longer than the signed manifest says");
	assert_int_equal(truncate(path, 4999), 0);
	refused_by_verify("initrd", "is shorter than the signed manifest says");
	assert_int_equal(rename(path, away), 0);
	refused_by_verify("initrd", "is not there");
	assert_int_equal(symlink(away, path), 0);
	refused_by_verify("initrd", "is a symbolic link");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	refused_by_verify("initrd", "is no regular file");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	refused_by_verify("initrd", "is no regular file");
}

static void test_the_folder_is_gone(unused_arg void **state)
{
	struct image *image;
	struct err err = {0};
	open_good(&image);
	assert_int_equal(image_verify(image, "/tmp/koboshi-no-such-folder", NULL, NULL, &err), -ENOENT);
	assert_non_null(strstr(err.text, "/tmp/koboshi-no-such-folder"));
	image_free(image);
}

static void refused_by_open(const char *key, int want, const char *why)
{
	struct image *image = NULL;
	struct err err = {0};
	int r = image_open(made.dir, key, &image, &err);
	if (r != want || !strstr(err.text, why))
		fail_msg("%d: '%s' does not say '%s'", r, err.text, why);
	assert_null(image);
}

static void test_every_bit_of_the_manifest_is_signed(unused_arg void **state)
{
	char path[PATH_MAX];
	struct stat status;
	made_path(&made, "manifest.json", path);
	assert_int_equal(stat(path, &status), 0);
	for (long at = 0; at < status.st_size; at += 13) {
		made_flip(path, at);
		refused_by_open(made.pub, -EKEYREJECTED, "its signature does not fit the key");
		made_flip(path, at);
	}
	assert_int_equal(truncate(path, status.st_size - 1), 0);
	refused_by_open(made.pub, -EKEYREJECTED, "its signature does not fit the key");
}

static void test_the_signature(unused_arg void **state)
{
	char path[PATH_MAX];
	made_path(&made, "manifest.sig", path);
	for (long at = 0; at < 64; at++) {
		made_flip(path, at);
		refused_by_open(made.pub, -EKEYREJECTED, "its signature does not fit the key");
		made_flip(path, at);
	}
	assert_int_equal(truncate(path, 63), 0);
	refused_by_open(made.pub, -EKEYREJECTED, "has 63 bytes");
	assert_int_equal(truncate(path, 65), 0);
	refused_by_open(made.pub, -EKEYREJECTED, "has 65 bytes");
	assert_int_equal(truncate(path, 0), 0);
	refused_by_open(made.pub, -EKEYREJECTED, "has 0 bytes");
	assert_int_equal(unlink(path), 0);
	refused_by_open(made.pub, -EKEYREJECTED, "is not signed");
}

static void test_keys(unused_arg void **state)
{
	char path[PATH_MAX];
	made_path(&made, "nothing", path);
	refused_by_open(made.other_pub, -EKEYREJECTED, "its signature does not fit the key");
	refused_by_open(path, -ENOENT, "the image key");
	refused_by_open(made.key, -EINVAL, "is no public key in PEM");
	made_write(path, "", 0);
	refused_by_open(path, -EINVAL, "is no public key in PEM");
	static const char p256[] = "-----BEGIN PUBLIC KEY-----\n"
	                           "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt\n"
	                           "6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q==\n"
	                           "-----END PUBLIC KEY-----\n";
	made_write(path, p256, strlen(p256));
	refused_by_open(path, -EINVAL, "Ed25519 is needed");
}

static void test_no_image(unused_arg void **state)
{
	char path[PATH_MAX];
	made_path(&made, "manifest.json", path);
	assert_int_equal(unlink(path), 0);
	refused_by_open(made.pub, -ENOENT, "no image in this folder");
	assert_int_equal(mkdir(path, 0700), 0);
	refused_by_open(made.pub, -EISDIR, "is a folder");
}

static void test_a_huge_manifest(unused_arg void **state)
{
	char path[PATH_MAX];
	made_path(&made, "manifest.json", path);
	assert_int_equal(truncate(path, IMAGE_MANIFEST_MAX + 1), 0);
	refused_by_open(made.pub, -EFBIG, "manifest.json");
}

/* A signature says who made it, not that it makes sense. */
static void test_what_is_not_signed(unused_arg void **state)
{
	struct err err = {0};
	char path[PATH_MAX];
	assert_int_equal(image_sign(made.dir, made.pub, &err), -EINVAL);
	assert_non_null(strstr(err.text, "is no private key"));
	made_path(&made, "manifest.json", path);
	made_write(path, "{}", 2);
	assert_int_equal(image_sign(made.dir, made.key, &err), -EINVAL);
	assert_non_null(strstr(err.text, "format is missing"));
	assert_int_equal(unlink(path), 0);
	assert_int_equal(image_sign(made.dir, made.key, &err), -ENOENT);
}

int main(void)
{
#define IMAGE_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	        IMAGE_TEST(test_a_good_image),
	        IMAGE_TEST(test_a_flipped_bit_in_each_file),
	        IMAGE_TEST(test_other_damage_to_a_file),
	        IMAGE_TEST(test_the_folder_is_gone),
	        IMAGE_TEST(test_every_bit_of_the_manifest_is_signed),
	        IMAGE_TEST(test_the_signature),
	        IMAGE_TEST(test_keys),
	        IMAGE_TEST(test_no_image),
	        IMAGE_TEST(test_a_huge_manifest),
	        IMAGE_TEST(test_what_is_not_signed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
