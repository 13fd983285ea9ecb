/* Evidence without a guest: what is told of each file, what makes room and what never does. The memory is guest.py's. */
#include "act/vm/folder.h"
#include "act/vm/orders.h"
#include "lib/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>

#define MIB (1u << 20)
#define TOTAL (16 * MIB)
#define INCIDENTS 512 /* as evidence_room.c has it */
#define PATH_SIZE (VM_PATH_MAX + 96)

static char folder[] = "/tmp/kbevXXXXXX";
static struct outbox *outbox;
static struct vm vm;

static int setup(void **state unused_arg)
{
	struct conf conf = {.n_services = 1, .evidence_bytes = TOTAL, .evidence_total = TOTAL};
	strcpy(folder + sizeof(folder) - 7, "XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	strcpy(conf.libvirt, "test:///default"); /* never opened: of memory nothing can be had */
	snprintf(conf.run_dir, sizeof(conf.run_dir), "%s/run", folder);
	snprintf(conf.state_dir, sizeof(conf.state_dir), "%s/state", folder);
	mkdir(conf.run_dir, 0700);
	mkdir(conf.state_dir, 0700);
	outbox = outbox_new();
	int r = vm_init(&vm, &conf, outbox, NULL);
	return r < 0 ? r : mkdir(vm.evidence, 0700);
}

static int teardown(void **state unused_arg)
{
	char command[64];
	vm_done(&vm);
	outbox_free(outbox);
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	return system(command);
}

static void path_of(uint64_t incident, const char *name, char ret_path[PATH_SIZE])
{
	snprintf(ret_path, PATH_SIZE, "%s/%" PRIu64 "%s%s", vm.evidence, incident, name ? "/" : "", name ? name : "");
}

/* What an earlier incident left. */
static void evidence_make(uint64_t incident, off_t bytes)
{
	char path[PATH_SIZE];
	path_of(incident, NULL, path);
	assert_true(mkdir(path, 0700) == 0 || errno == EEXIST);
	if (bytes == 0)
		return;
	path_of(incident, "kb-1.memory", path);
	auto_close int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0 && posix_fallocate(fd, 0, bytes) == 0);
}

static bool is_there(uint64_t incident)
{
	char path[PATH_SIZE];
	path_of(incident, NULL, path);
	return access(path, F_OK) == 0;
}

static void console_make(uint32_t number, const char *file, const char *text, size_t size)
{
	char path[VM_PATH_MAX];
	auto_free char *bytes = calloc(1, size + strlen(text) + 1);
	assert_non_null(bytes);
	strcpy(bytes, text);
	folder_path(&vm, number, file, path);
	assert_int_equal(file_write(path, bytes, size ? size : strlen(text), 0600, NULL), 0);
}

/* As the net actuator leaves them. */
static void flows_make(uint64_t incident)
{
	char path[PATH_SIZE];
	path_of(incident, "kb-8.flows", path);
	assert_int_equal(file_write(path, "a flow\n", 7, 0600, NULL), 0);
}

static void evidence_take(uint64_t incident, uint64_t closed_below, struct wire_answer *ret_answer)
{
	const struct wire_order asked = {
	        .id = 1, .type = ORDER_VM_EVIDENCE, .instance = 8, .incident = incident, .closed_below = closed_below};
	vm_order_carry(&vm, &asked, ret_answer);
}

/* What was told since the last look, each message as the engine would take it. */
static size_t told(struct wire_note notes[static 16])
{
	struct wire_message sent, got;
	uint64_t link;
	int fd;
	size_t n = 0;
	while (outbox_take(outbox, &sent, &link, &fd)) {
		size_t size = wire_encode(&sent);
		assert_int_equal(wire_decode(&sent, size, &got, NULL), 0);
		assert_true(n < 16);
		notes[n++] = got.note;
	}
	return n;
}

/* A note says what the file is, and so does SHA256SUMS. */
static void file_checked(const struct wire_note *note, const char *sums)
{
	char path[PATH_SIZE], line[160], hex[65];
	auto_free uint8_t *bytes = NULL;
	uint8_t digest[EVP_MAX_MD_SIZE];
	size_t size;
	path_of(note->evidence.incident, note->text, path);
	assert_int_equal(file_read(path, TOTAL, &bytes, &size, NULL), 0);
	assert_int_equal(note->evidence.bytes, size);
	assert_int_equal(EVP_Digest(bytes, size, digest, NULL, EVP_sha256(), NULL), 1);
	assert_memory_equal(note->evidence.sha256, digest, 32);
	bytes_to_hex(digest, 32, hex);
	snprintf(line, sizeof(line), "%s  %s\n", hex, note->text);
	assert_non_null(strstr(sums, line));
}

static void test_each_file_is_told_with_its_sum(void **state unused_arg)
{
	static const char *const names[] = {"kb-8.flows", "kb-8.console.log", "kb-8.console.old"};
	struct wire_answer answer;
	struct wire_note notes[16];
	char path[PATH_SIZE];
	auto_free uint8_t *sums = NULL;
	size_t size;
	assert_int_equal(folder_make(&vm, 8, NULL), 0);
	console_make(8, "console.log", "it panicked\n", 0);
	console_make(8, "console.old", "it booted\n", 0);
	evidence_make(3, 0);
	flows_make(3);
	evidence_take(3, 3, &answer);
	assert_int_equal(answer.status, 0);
	assert_non_null(strstr(answer.text, "kb-8: flows, console, no memory ("));
	assert_int_equal(told(notes), countof(names) + 1);
	path_of(3, "SHA256SUMS", path);
	assert_int_equal(file_read(path, 4096, &sums, &size, NULL), 0);
	for (size_t i = 0; i < countof(names); i++) {
		assert_int_equal(notes[i].type, NOTICE_EVIDENCE_TAKEN);
		assert_int_equal(notes[i].instance, 8);
		assert_int_equal(notes[i].evidence.incident, 3);
		assert_string_equal(notes[i].text, names[i]);
		file_checked(&notes[i], (const char *)sums);
	}
	assert_int_equal(notes[3].type, NOTICE_EVIDENCE_DROPPED); /* or never had: the oldest there is 3 */
	assert_int_equal(notes[3].evidence.incident, 2);
}

static void test_the_oldest_closed_one_makes_room(void **state unused_arg)
{
	struct wire_answer answer;
	struct wire_note notes[16];
	assert_int_equal(folder_make(&vm, 8, NULL), 0);
	console_make(8, "console.log", "it panicked\n", MIB + 1);
	evidence_make(2, 3 * MIB);
	evidence_make(4, 6 * MIB);
	evidence_make(5, 6 * MIB);
	evidence_take(7, 5, &answer); /* the fifth is open */
	assert_int_equal(answer.status, 0);
	assert_false(is_there(2));
	assert_true(is_there(4) && is_there(5));
	assert_int_equal(told(notes), 2);
	assert_int_equal(notes[0].type, NOTICE_EVIDENCE_TAKEN);
	assert_string_equal(notes[0].text, "kb-8.console.log");
	assert_int_equal(notes[1].type, NOTICE_EVIDENCE_DROPPED);
	assert_int_equal(notes[1].evidence.incident, 3);
}

static void test_what_is_open_never_makes_room(void **state unused_arg)
{
	struct wire_answer answer;
	struct wire_note notes[16];
	char path[PATH_SIZE];
	struct stat status;
	assert_int_equal(folder_make(&vm, 8, NULL), 0);
	console_make(8, "console.log", "it panicked\n", MIB);
	evidence_make(1, TOTAL + 4 * MIB);
	evidence_make(2, 4 * MIB);
	evidence_make(3, 0);
	flows_make(3);
	evidence_take(3, 1, &answer); /* the first is open, so the second must wait for it too */
	assert_int_equal(answer.status, 0);
	assert_non_null(
	        strstr(answer.text, "kb-8: flows, console left out: with the evidence of open incidents it would exceed 16 MiB"));
	assert_true(is_there(1) && is_there(2));
	path_of(1, "kb-1.memory", path);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_size, TOTAL + 4 * MIB);
	assert_int_equal(told(notes), 1); /* of the flows: nothing was dropped */
	assert_int_equal(notes[0].type, NOTICE_EVIDENCE_TAKEN);
	evidence_take(3, 100, &answer); /* an engine that is wrong about itself: not the incident at hand, nor a later one */
	assert_true(is_there(3));
	assert_false(is_there(1));
}

static void test_of_one_incident_there_is_a_limit(void **state unused_arg)
{
	struct wire_answer answer;
	assert_int_equal(folder_make(&vm, 8, NULL), 0);
	console_make(8, "console.log", "it panicked\n", MIB);
	evidence_make(3, TOTAL - MIB / 2);
	flows_make(3);
	evidence_take(3, 3, &answer);
	assert_non_null(
	        strstr(answer.text, "kb-8: flows, console (1 MiB) left out: more than evidence of one incident may be (16 MiB)"));
}

static void test_incidents_with_evidence_are_counted_too(void **state unused_arg)
{
	struct wire_answer answer;
	struct wire_note notes[16];
	assert_int_equal(folder_make(&vm, 8, NULL), 0);
	console_make(8, "console.log", "it panicked\n", 0);
	for (uint64_t incident = 1; incident <= INCIDENTS + 8; incident++)
		evidence_make(incident, 0);
	evidence_take(INCIDENTS + 9, INCIDENTS + 9, &answer);
	assert_int_equal(answer.status, 0);
	assert_false(is_there(9));
	assert_true(is_there(10) && is_there(INCIDENTS + 9));
	assert_int_equal(told(notes), 2);
	assert_int_equal(notes[1].evidence.incident, 9);
}

int main(void)
{
#define EVIDENCE_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	        EVIDENCE_TEST(test_each_file_is_told_with_its_sum),          EVIDENCE_TEST(test_the_oldest_closed_one_makes_room),
	        EVIDENCE_TEST(test_what_is_open_never_makes_room),           EVIDENCE_TEST(test_of_one_incident_there_is_a_limit),
	        EVIDENCE_TEST(test_incidents_with_evidence_are_counted_too),
	};
	return cmocka_run_group_tests_name("vm evidence", tests, NULL, NULL);
}
