/*
 * What a bad disk, a power cut or a strange hand can leave in the ledger's place. Damage costs history and never the
 * start; what is not ours is left as it is; a full or read-only disk loses nothing.
 */
#include "folder.h"
#include "lib/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "skip.h"

#define ROWS 40
#define PAGE 4096

static struct folder folder;
static struct err err;
static char because[LEDGER_TEXT_MAX];

#define MUST(call)                                                                                                               \
	do {                                                                                                                     \
		if ((call) < 0)                                                                                                  \
			fail_msg("%s", err.text);                                                                                \
	} while (0)

static int setup(unused_arg void **state)
{
	folder_new(&folder);
	return 0;
}

static int teardown(unused_arg void **state)
{
	folder_remove(&folder);
	return 0;
}

static int put_row(struct ledger *l, uint64_t number)
{
	struct ledger_incident incident = {.number = number, .service = "web", .verdict = "failed", .phase = "closed"};
	memset(incident.cause, 'c', sizeof(incident.cause) - 1);
	return ledger_incident_put(l, &incident, &err);
}

static void fill(struct ledger *l)
{
	uint32_t number;
	for (uint64_t i = 1; i <= ROWS; i++) {
		MUST(put_row(l, i));
		MUST(ledger_instance_number(l, &number, &err));
	}
}

static void make_filled(void)
{
	struct ledger *l = folder_open(&folder, false);
	fill(l);
	ledger_close(l);
}

static int count_incident(void *arg, unused_arg const struct ledger_incident *row)
{
	++*(unsigned *)arg;
	return 0;
}

static unsigned rows_in(struct ledger *l)
{
	unsigned count = 0;
	MUST(ledger_incident_each(l, UINT32_MAX, count_incident, &count, &err));
	return count;
}

struct bytes {
	uint8_t *at;
	size_t size;
};

static struct bytes read_all(const char *path)
{
	struct bytes bytes;
	MUST(file_read(path, 1u << 24, &bytes.at, &bytes.size, &err));
	return bytes;
}

static void write_all(const char *path, const void *bytes, size_t size)
{
	MUST(file_write(path, bytes, size, 0600, &err));
}

/* A fresh ledger was begun, says why, works, and gives numbers that no earlier one gave; the old file is kept as it was. */
static void expect_fresh(struct bytes old)
{
	struct ledger *l;
	char aside[PATH_MAX] = "";
	uint32_t number;
	uint64_t incident;
	MUST(ledger_open(folder.path, &l, because, &err));
	assert_non_null(strstr(because, folder.path));
	assert_int_equal(rows_in(l), 0);
	MUST(ledger_instance_number(l, &number, &err));
	assert_true(number > 1000000);
	MUST(ledger_incident_last(l, &incident, &err));
	assert_true(incident > 1000000);
	ledger_close(l);
	assert_int_equal(folder_damaged(&folder, aside), 1);
	struct bytes kept = read_all(aside);
	assert_int_equal(kept.size, old.size);
	assert_int_equal(memcmp(kept.at, old.at, old.size), 0);
	free(kept.at);
	unlink(aside);
	ledger_close(folder_open(&folder, false));
}

static void test_not_a_database(unused_arg void **state)
{
	char text[10000];
	memset(text, 'x', sizeof(text));
	write_all(folder.path, text, sizeof(text));
	expect_fresh((struct bytes){(uint8_t *)text, sizeof(text)});
	write_all(folder.path, text, 1);
	expect_fresh((struct bytes){(uint8_t *)text, 1});
}

static void test_an_empty_file(unused_arg void **state)
{
	make_filled();
	assert_int_equal(truncate(folder.path, 0), 0);
	expect_fresh((struct bytes){(uint8_t *)"", 0});
	assert_non_null(strstr(because, "nothing"));
}

static void test_a_file_cut_short(unused_arg void **state)
{
	make_filled();
	struct bytes good = read_all(folder.path);
	assert_true(good.size > 8 * PAGE);
	for (size_t size = 100; size < good.size; size += 3 * PAGE) {
		write_all(folder.path, good.at, size);
		expect_fresh((struct bytes){good.at, size});
	}
	free(good.at);
}

/* Every page in turn holds rubbish. A page that no table uses may do so unseen. */
static void test_each_page_spoilt(unused_arg void **state)
{
	unsigned seen = 0, pages = 0;
	make_filled();
	struct bytes good = read_all(folder.path);
	uint8_t *bad = malloc(good.size);
	assert_non_null(bad);
	for (size_t at = 0; at < good.size; at += PAGE, pages++) {
		struct ledger *l;
		char aside[PATH_MAX];
		memcpy(bad, good.at, good.size);
		memset(bad + at, 0xa5, PAGE);
		write_all(folder.path, bad, good.size);
		MUST(ledger_open(folder.path, &l, because, &err));
		seen += because[0] != '\0';
		assert_int_equal(rows_in(l), because[0] ? 0 : ROWS);
		ledger_close(l);
		if (folder_damaged(&folder, aside) > 0)
			unlink(aside);
	}
	assert_int_equal(seen, pages);
	free(bad);
	free(good.at);
}

static void bit_check(struct bytes file, size_t at, unsigned bit)
{
	struct ledger *l;
	char aside[PATH_MAX];
	unsigned count = 0;
	file.at[at] ^= (uint8_t)(1u << bit);
	write_all(folder.path, file.at, file.size);
	int r = ledger_open(folder.path, &l, because, &err);
	if (r == 0) {
		r = ledger_incident_each(l, UINT32_MAX, count_incident, &count, &err);
		if (r != 0 && r != -EBADMSG)
			fail_msg("byte %zu, bit %u: %s", at, bit, err.text);
		ledger_close(l);
	} else if (r != -EMEDIUMTYPE && r != -EPROTO) { /* application or version was hit */
		fail_msg("byte %zu, bit %u: %s", at, bit, err.text);
	}
	if (folder_damaged(&folder, aside) > 0)
		unlink(aside);
	file.at[at] ^= (uint8_t)(1u << bit);
}

/* One bit anywhere: it opens, old or fresh, or is refused as not ours, and a walk ends in order. Every bit of the head is
 * tried, and a random choice of the others. */
static void test_single_bits(unused_arg void **state)
{
	uint64_t seed = (uint64_t)clock_real_us();
	print_message("seed %llu\n", (unsigned long long)seed);
	make_filled();
	struct bytes good = read_all(folder.path);
	for (unsigned i = 0; i < 800; i++)
		bit_check(good, i / 8, i % 8);
	for (unsigned i = 0; i < 200; i++) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		bit_check(good, (size_t)(seed >> 20) % good.size, (unsigned)(seed >> 61));
	}
	free(good.at);
}

/* Leaves the ledger as a kill does: with its changes in the -wal file. */
static void make_killed(void)
{
	pid_t child = fork();
	if (child == 0) {
		fill(folder_open(&folder, false));
		_exit(0);
	}
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

#define WAL_HEAD 32
#define WAL_FRAME (24 + PAGE)

/* What is left of the changes in the -wal file is a whole beginning: rows one after the other, and as many numbers or one less.
 */
static unsigned rows_left(struct bytes main_file, struct bytes wal)
{
	char wal_path[PATH_MAX + 8];
	struct ledger *l;
	uint32_t number;
	snprintf(wal_path, sizeof(wal_path), "%s-wal", folder.path);
	write_all(folder.path, main_file.at, main_file.size);
	write_all(wal_path, wal.at, wal.size);
	MUST(ledger_open(folder.path, &l, because, &err));
	assert_string_equal(because, "");
	unsigned rows = rows_in(l);
	MUST(ledger_instance_number(l, &number, &err));
	assert_true(number == rows || number == rows + 1);
	ledger_close(l);
	return rows;
}

static void read_killed(struct bytes *ret_main, struct bytes *ret_wal)
{
	char wal_path[PATH_MAX + 8];
	make_killed();
	snprintf(wal_path, sizeof(wal_path), "%s-wal", folder.path);
	*ret_main = read_all(folder.path);
	*ret_wal = read_all(wal_path);
	assert_true(ret_wal->size > 20 * PAGE);
}

/* At every frame: before it, in its page, and one byte before its end. */
static void test_changes_cut_short(unused_arg void **state)
{
	static const size_t into[] = {0, 24 + PAGE / 2, WAL_FRAME - 1};
	struct bytes main_file, wal;
	unsigned most = 0;
	read_killed(&main_file, &wal);
	for (size_t at = WAL_HEAD; at < wal.size; at += WAL_FRAME)
		for (size_t k = 0; k < countof(into); k++) {
			unsigned rows = rows_left(main_file, (struct bytes){wal.at, at + into[k]});
			assert_true(rows >= most); /* a longer piece never holds less */
			most = rows;
		}
	assert_int_equal(rows_left(main_file, wal), ROWS);
	free(main_file.at);
	free(wal.at);
}

/* One byte of every frame, in its head or its page: it and all behind it count for nothing, all before it for what it is. */
static void test_changes_with_a_wrong_byte(unused_arg void **state)
{
	struct bytes main_file, wal;
	read_killed(&main_file, &wal);
	for (size_t at = WAL_HEAD, n = 0; at < wal.size; at += WAL_FRAME, n++) {
		size_t byte = at + (n % 2 ? 4 : 24 + n % PAGE);
		unsigned before = rows_left(main_file, (struct bytes){wal.at, at});
		wal.at[byte] ^= 0x5a;
		assert_int_equal(rows_left(main_file, wal), before);
		wal.at[byte] ^= 0x5a;
	}
	free(main_file.at);
	free(wal.at);
}

static void test_a_damaged_file_keeps_its_changes_beside_it(unused_arg void **state)
{
	char wal_path[PATH_MAX + 8], aside[PATH_MAX], aside_wal[PATH_MAX + 8];
	make_killed();
	snprintf(wal_path, sizeof(wal_path), "%s-wal", folder.path);
	struct bytes wal = read_all(wal_path), main_file = read_all(folder.path);
	memset(main_file.at, 0xa5, 100);
	write_all(folder.path, main_file.at, main_file.size);
	struct ledger *l;
	MUST(ledger_open(folder.path, &l, because, &err));
	if (because[0]) {
		assert_int_equal(folder_damaged(&folder, aside), 1);
		snprintf(aside_wal, sizeof(aside_wal), "%s-wal", aside);
		struct bytes kept = read_all(aside_wal);
		assert_int_equal(kept.size, wal.size);
		assert_memory_equal(kept.at, wal.at, wal.size);
		free(kept.at);
	} else {
		assert_int_equal(rows_in(l), ROWS); /* the changes held a whole new head */
	}
	ledger_close(l);
	free(wal.at);
	free(main_file.at);
}

static void run_sql(const char *script)
{
	sqlite3 *db;
	assert_int_equal(sqlite3_open(folder.path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, script, NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void expect_refused(int want, const char *says)
{
	struct ledger *l = NULL;
	char aside[PATH_MAX];
	struct bytes before = read_all(folder.path);
	assert_int_equal(ledger_open(folder.path, &l, because, &err), want);
	assert_non_null(strstr(err.text, says));
	assert_null(l);
	struct bytes after = read_all(folder.path);
	assert_int_equal(after.size, before.size);
	assert_memory_equal(after.at, before.at, before.size);
	assert_int_equal(folder_damaged(&folder, aside), 0);
	free(before.at);
	free(after.at);
}

static void test_not_ours(unused_arg void **state)
{
	run_sql("CREATE TABLE notes (text)");
	expect_refused(-EMEDIUMTYPE, "another program");
	unlink(folder.path);
	run_sql("PRAGMA application_id = 7; CREATE TABLE notes (text)");
	expect_refused(-EMEDIUMTYPE, "another program");
	unlink(folder.path);
	run_sql("PRAGMA user_version = 1; CREATE TABLE notes (text)");
	expect_refused(-EMEDIUMTYPE, "another program");
}

static void test_newer(unused_arg void **state)
{
	make_filled();
	run_sql("PRAGMA user_version = 99");
	expect_refused(-EPROTO, "is of version 99");
}

static void test_tables_that_are_not_ours(unused_arg void **state)
{
	char aside[PATH_MAX];
	make_filled();
	run_sql("DROP TABLE suspicion");
	struct ledger *l;
	MUST(ledger_open(folder.path, &l, because, &err));
	assert_non_null(strstr(because, "suspicion"));
	ledger_close(l);
	assert_int_equal(folder_damaged(&folder, aside), 1);
}

static int see_file(void *arg, const struct ledger_evidence *row)
{
	memcpy(arg, row->file, sizeof(row->file));
	return 0;
}

/* As a koboshi that knew no evidence yet left it. */
static void test_an_older_one_is_brought_up_to_date(unused_arg void **state)
{
	const struct ledger_evidence row = {.incident = 1, .instance = 2, .file = "kb-2.flows", .sha256 = "00"};
	char file[sizeof(row.file)] = "";
	make_filled();
	run_sql("DROP TABLE lesson; DROP TABLE verdict; DROP TABLE evidence; DROP TABLE tries; DROP TABLE secret;"
	        "ALTER TABLE instance DROP COLUMN exposed_us; ALTER TABLE instance DROP COLUMN content; PRAGMA user_version = 2");
	struct ledger *l = folder_open(&folder, false);
	assert_int_equal(rows_in(l), ROWS);
	MUST(ledger_evidence_put(l, &row, &err));
	ledger_close(l);
	l = folder_open(&folder, false);
	MUST(ledger_evidence_each(l, 1, 9, see_file, file, &err));
	assert_string_equal(file, "kb-2.flows");
	ledger_close(l);
}

static void test_places_where_no_ledger_can_be(unused_arg void **state)
{
	struct ledger *l;
	char path[PATH_MAX], endless[PATH_MAX + 10];
	snprintf(path, sizeof(path), "%s/no/such/folder", folder.base);
	assert_int_equal(ledger_open(path, &l, because, &err), -ENOENT);
	assert_int_equal(ledger_open(folder.base, &l, because, &err), -EINVAL);
	assert_int_equal(symlink("/etc/passwd", folder.path), 0);
	assert_int_equal(ledger_open(folder.path, &l, because, &err), -EINVAL);
	memset(endless, 'x', sizeof(endless));
	endless[sizeof(endless) - 1] = '\0';
	assert_int_equal(ledger_open(endless, &l, because, &err), -ENAMETOOLONG);
}

static void test_only_one_process_at_a_time(unused_arg void **state)
{
	int ready[2], done[2];
	char byte = 0;
	assert_int_equal(pipe(ready) | pipe(done), 0);
	pid_t child = fork();
	if (child == 0) {
		struct ledger *l = folder_open(&folder, false);
		uint32_t number;
		close(done[1]);
		int r = ledger_instance_number(l, &number, &err);
		r |= write(ready[1], "r", 1) != 1;
		r |= read(done[0], &byte, 1) != 0;
		_exit(r != 0);
	}
	struct ledger *l;
	int status;
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_int_equal(ledger_open(folder.path, &l, because, &err), -EBUSY);
	assert_non_null(strstr(err.text, "another process"));
	close(done[1]);
	close(done[0]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	close(ready[0]);
	close(ready[1]);
	uint32_t number;
	l = folder_open(&folder, false);
	MUST(ledger_instance_number(l, &number, &err));
	assert_int_equal(number, 2);
	ledger_close(l);
}

/* The rest needs a disk of its own: a tmpfs in a mount namespace that ends with the child. */
#define EXIT_NO_RIGHTS 77

static int own_disk(const char *options)
{
	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return -1;
	return mount("tmpfs", folder.base, "tmpfs", 0, options);
}

#define CHILD_MUST(condition)                                                                                                    \
	do {                                                                                                                     \
		if (!(condition)) {                                                                                              \
			fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #condition, err.text);                            \
			_exit(1);                                                                                                \
		}                                                                                                                \
	} while (0)

static void in_child(void (*body)(void))
{
	int status;
	pid_t child = fork();
	if (child == 0) {
		body();
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_NO_RIGHTS)
		skip_for("no right to mount in an own namespace");
	assert_int_equal(status, 0);
}

static void full_disk(void)
{
	char ballast[PATH_MAX];
	unsigned count = 0;
	int r;
	if (own_disk("size=768k") < 0)
		_exit(EXIT_NO_RIGHTS);
	snprintf(ballast, sizeof(ballast), "%s/ballast", folder.base);
	int fd = open(ballast, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	CHILD_MUST(fd >= 0 && posix_fallocate(fd, 0, 200000) == 0);
	struct ledger *l = folder_open(&folder, false);
	while ((r = put_row(l, count + 1)) == 0 && count < 100000)
		count++;
	CHILD_MUST(r == -ENOSPC && count > 10);
	CHILD_MUST(strstr(err.text, "the disk is full; free some space"));
	CHILD_MUST(put_row(l, count + 1) == -ENOSPC);
	CHILD_MUST(rows_in(l) == count);
	/* A batch on the full disk is all or nothing, whoever rolls it back. */
	CHILD_MUST(ledger_begin(l, &err) == 0);
	while ((r = put_row(l, ++count)) == 0)
		;
	CHILD_MUST(r == -ENOSPC || r == -ECANCELED);
	CHILD_MUST(put_row(l, ++count) < 0 || true);
	CHILD_MUST(ledger_commit(l, &err) == -ECANCELED);
	count = rows_in(l);
	ledger_close(l);
	l = folder_open(&folder, false);
	CHILD_MUST(rows_in(l) == count);
	CHILD_MUST(unlink(ballast) == 0);
	close(fd);
	CHILD_MUST(put_row(l, count + 1) == 0);
	ledger_close(l);
	l = folder_open(&folder, false);
	CHILD_MUST(rows_in(l) == count + 1);
	ledger_close(l);
}

static void test_a_full_disk(unused_arg void **state)
{
	in_child(full_disk);
}

static void no_room_at_all(void)
{
	char ballast[PATH_MAX];
	struct ledger *l;
	if (own_disk("size=64k") < 0)
		_exit(EXIT_NO_RIGHTS);
	snprintf(ballast, sizeof(ballast), "%s/ballast", folder.base);
	int fd = open(ballast, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	CHILD_MUST(fd >= 0 && posix_fallocate(fd, 0, 65536) == 0);
	CHILD_MUST(ledger_open(folder.path, &l, because, &err) == -ENOSPC);
	CHILD_MUST(ftruncate(fd, 0) == 0);
}

static void test_no_room_to_begin(unused_arg void **state)
{
	in_child(no_room_at_all);
}

static void read_only_disk(void)
{
	struct ledger *l;
	if (own_disk("size=4m") < 0)
		_exit(EXIT_NO_RIGHTS);
	make_filled();
	CHILD_MUST(mount(NULL, folder.base, NULL, MS_REMOUNT | MS_RDONLY, NULL) == 0);
	CHILD_MUST(ledger_open(folder.path, &l, because, &err) == -EROFS);
	CHILD_MUST(strstr(err.text, "writable for koboshi"));
	snprintf(folder.path, sizeof(folder.path), "%s/other.db", folder.base);
	CHILD_MUST(ledger_open(folder.path, &l, because, &err) == -EROFS);
}

static void test_a_read_only_disk(unused_arg void **state)
{
	in_child(read_only_disk);
}

static void somebody_elses_folder(void)
{
	struct ledger *l;
	make_filled();
	CHILD_MUST(chmod(folder.base, 0555) == 0 && chmod(folder.path, 0444) == 0);
	if (geteuid() == 0)
		CHILD_MUST(setgid(65534) == 0 && setuid(65534) == 0);
	CHILD_MUST(ledger_open(folder.path, &l, because, &err) == -EROFS);
}

static void test_a_folder_that_may_not_be_written(unused_arg void **state)
{
	in_child(somebody_elses_folder);
	chmod(folder.base, 0755);
}

int main(void)
{
#define DAMAGE_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	        DAMAGE_TEST(test_not_a_database),
	        DAMAGE_TEST(test_an_empty_file),
	        DAMAGE_TEST(test_a_file_cut_short),
	        DAMAGE_TEST(test_each_page_spoilt),
	        DAMAGE_TEST(test_single_bits),
	        DAMAGE_TEST(test_changes_cut_short),
	        DAMAGE_TEST(test_changes_with_a_wrong_byte),
	        DAMAGE_TEST(test_a_damaged_file_keeps_its_changes_beside_it),
	        DAMAGE_TEST(test_not_ours),
	        DAMAGE_TEST(test_newer),
	        DAMAGE_TEST(test_tables_that_are_not_ours),
	        DAMAGE_TEST(test_an_older_one_is_brought_up_to_date),
	        DAMAGE_TEST(test_places_where_no_ledger_can_be),
	        DAMAGE_TEST(test_only_one_process_at_a_time),
	        DAMAGE_TEST(test_a_full_disk),
	        DAMAGE_TEST(test_no_room_to_begin),
	        DAMAGE_TEST(test_a_read_only_disk),
	        DAMAGE_TEST(test_a_folder_that_may_not_be_written),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
