/* Orders against libvirt's test driver, whose guests exist in this process's memory only; and the rules of the queue. */
#include "../../image/made.h"
#include "place.h"

#include "act/vm/accel.h"
#include "act/vm/domain.h"
#include "act/vm/folder.h"
#include "act/vm/orders.h"
#include "act/vm/process.h"
#include "act/vm/queue.h"
#include "act/vm/session.h"
#include "lib/bytes.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <cmocka.h>

static char folder[] = "/tmp/kbtestXXXXXX";
static struct outbox *outbox;
static struct vm vm;

static int setup(void **state unused_arg)
{
	struct conf conf = {
	        .n_services = 1, .lab = false, .boot_share = 50, .evidence_bytes = 16 << 20, .evidence_total = 16 << 20};
	if (place_make(folder, &conf) < 0)
		return -1;
	strcpy(conf.services[0].name, "sensor");
	strcpy(conf.services[0].variants[0], "amber");
	strcpy(conf.services[0].variants[1], "birch");
	conf.services[0].n_variants = 2;
	outbox = outbox_new();
	return vm_init(&vm, &conf, outbox, NULL) < 0 ? -1 : 0;
}

static int teardown(void **state unused_arg)
{
	vm_done(&vm);
	outbox_free(outbox);
	return place_remove(folder);
}

static void guest_make(uint32_t number, const char *variant)
{
	char name[16];
	snprintf(name, sizeof(name), "kb-%u", number);
	const struct domain_recipe recipe = {.name = name, .virt = DOMAIN_TEST, .memory_mib = 64, .cpus = 1};
	auto_free char *xml = domain_xml(&recipe);
	virDomainPtr domain = virDomainCreateXML(atomic_load(&vm.conn), xml, 0);
	assert_non_null(domain);
	virDomainFree(domain);
	if (!variant)
		return;
	struct folder_record record = {.service = "sensor"};
	text_copy(record.variant, sizeof(record.variant), variant);
	memset(record.key, (int)number, sizeof(record.key));
	memset(record.agent_key, (int)number + 100, sizeof(record.agent_key));
	assert_int_equal(folder_make(&vm, number, NULL), 0);
	assert_int_equal(folder_record_write(&vm, number, &record, NULL), 0);
}

static int order(enum order_type type, uint32_t instance, struct wire_answer *answer)
{
	const struct wire_order asked = {.id = 42, .type = type, .instance = instance, .variant = 5, .incident = 3};
	vm_order_carry(&vm, &asked, answer);
	assert_int_equal(answer->id, 42);
	assert_true(strlen(answer->text) > 0);
	return answer->status;
}

/* Waits for a notice; libvirt's loop posts it. */
static void notice_await(enum wire_notice type, uint32_t instance)
{
	struct wire_message message;
	uint64_t link;
	int fd;
	struct pollfd readable = {.fd = outbox_fd(outbox), .events = POLLIN};
	for (;;) {
		while (outbox_take(outbox, &message, &link, &fd))
			if (message.kind == WIRE_NOTICE && message.note.type == (uint32_t)type &&
			    message.note.instance == instance)
				return;
		assert_int_equal(poll(&readable, 1, 5000), 1);
		outbox_woken(outbox);
	}
}

/* A daemon that takes the connection and never says a word. In a process of its own, which is to end. */
static void test_silent_libvirt(void **state unused_arg)
{
	int said[2], status;
	char text[1024] = "";
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/silent.sock", folder);
	auto_close int silent = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(silent, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(silent, 8), 0);
	assert_int_equal(pipe2(said, O_CLOEXEC), 0);
	pid_t pid = fork();
	if (pid == 0) {
		static struct vm other;
		struct conf conf = vm.conf;
		dup2(said[1], STDERR_FILENO);
		alarm(20);
		snprintf(conf.libvirt, sizeof(conf.libvirt), "qemu+unix:///system?socket=%s", address.sun_path);
		if (vm_init(&other, &conf, outbox, NULL) < 0 || session_start(&other, NULL) < 0)
			_exit(10);
		close(accept(silent, NULL, NULL) < 0 ? silent : -1); /* it is inside libvirt now */
		int64_t now_us = clock_monotonic_us();
		session_judge(&other, now_us + 50 * 1000000ll);
		dprintf(STDERR_FILENO, "patient\n");
		session_judge(&other, now_us + 61 * 1000000ll);
		_exit(11);
	}
	close(said[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(read(said[0], text, sizeof(text) - 1) > 0);
	close(said[0]);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 4);
	const char *patient = strstr(text, "patient\n");
	assert_non_null(patient);
	assert_non_null(strstr(patient, "silent.sock has not answered for 60 s: starting anew"));
}

/* The guest's end does not wait for libvirt, which may hang or not be open. A shell in the guest's place. */
static void test_destroy_without_libvirt(void **state unused_arg)
{
	static struct vm other;
	struct conf conf = vm.conf;
	struct wire_answer answer;
	int hold[2], started[2], status;
	char seed[VM_PATH_MAX];
	strcpy(conf.libvirt, "embed");
	assert_int_equal(vm_init(&other, &conf, outbox, NULL), 0);
	folder_path(&other, 77, "seed.iso", seed);
	assert_int_equal(pipe2(hold, O_CLOEXEC), 0);
	assert_int_equal(pipe2(started, O_CLOEXEC), 0); /* its exec closes it */
	pid_t pid = fork();
	if (pid == 0) {
		dup2(hold[0], STDIN_FILENO);
		execl("/bin/sh", "sh", "-c", "read forever", "qemu", seed, (char *)NULL);
		_exit(127);
	}
	close(started[1]);
	assert_int_equal(read(started[0], seed, 1), 0);
	close(started[0]);
	assert_int_equal(process_find(&other, 77), pid);
	const struct wire_order asked = {.id = 1, .type = ORDER_VM_DESTROY, .instance = 77};
	vm_order_carry(&other, &asked, &answer);
	assert_int_equal(answer.status, -EAGAIN);
	close(hold[1]); /* one that was spared ends now, in an orderly way */
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	close(hold[0]);
	vm_done(&other);
}

static void *proof_meddle(void *arg)
{
	const struct proof {
		virConnectPtr conn;
		unsigned before; /* the id of the guest that is not the one */
		const char *console;
	} *proof = arg;
	for (unsigned id = proof->before; id == proof->before; usleep(1000)) {
		virDomainPtr domain = virDomainLookupByName(proof->conn, "kb-proof");
		id = domain ? virDomainGetID(domain) : proof->before;
		if (domain)
			virDomainFree(domain);
	}
	if (!proof->console)
		kill(getpid(), SIGTERM);
	else if (file_write(proof->console, "koboshi: ready\n", 15, 0600, NULL) < 0)
		abort();
	return NULL;
}

static int proof_run(struct vm *other, const char *console, bool leftover, struct err *err)
{
	pthread_t thread;
	struct {
		virConnectPtr conn;
		unsigned before;
		const char *console;
	} proof = {atomic_load(&other->conn), 0, console};
	if (leftover) {
		const struct domain_recipe recipe = {.name = "kb-proof", .virt = DOMAIN_TEST, .memory_mib = 64, .cpus = 1};
		auto_free char *xml = domain_xml(&recipe);
		virDomainPtr domain = virDomainCreateXML(proof.conn, xml, 0);
		proof.before = domain ? virDomainGetID(domain) : 0;
		if (domain)
			virDomainFree(domain);
	}
	pthread_create(&thread, NULL, proof_meddle, &proof);
	int r = accel_prove(&other->conf, err);
	pthread_join(thread, NULL);
	return r;
}

/* What a killed proof left is in nobody's way; one that is interrupted proves nothing, leaves nothing and records nothing. */
static void proofs_run(const struct conf *conf)
{
	static struct vm other;
	struct err err = {0};
	char record[VM_PATH_MAX], console[VM_PATH_MAX];
	auto_free uint8_t *text = NULL;
	size_t size;
	snprintf(record, sizeof(record), "%.200s/accel", conf->state_dir);
	snprintf(console, sizeof(console), "%.200s/proof/vm/console.log", conf->run_dir);
	alarm(25);
	if (vm_init(&other, conf, outbox, NULL) < 0 || session_open(&other, NULL) < 0)
		_exit(10);
	if (proof_run(&other, console, true, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		_exit(11);
	}
	if (file_read(record, 512, &text, &size, NULL) < 0 || strncmp((char *)text, "kvm ", 4) != 0 || unlink(record) < 0)
		_exit(12);
	if (proof_run(&other, NULL, false, &err) != -EINTR || access(record, F_OK) == 0)
		_exit(13);
	_exit(virDomainLookupByName(atomic_load(&other.conn), "kb-proof") ? 14 : 0);
}

static void test_proof(void **state unused_arg)
{
	static struct made made;
	static struct conf conf;
	int status;
	char command[2 * PATH_MAX];
	made_new(&made);
	json_auto_t *manifest = made_manifest();
	made_put(&made, manifest);
	conf = vm.conf;
	snprintf(conf.image_key, sizeof(conf.image_key), "%s", made.pub);
	snprintf(conf.image_dir, sizeof(conf.image_dir), "%s", made.base);
	snprintf(command, sizeof(command), "mkdir -p %s %s/proof/vm", conf.state_dir, conf.run_dir);
	assert_int_equal(system(command), 0);
	pid_t pid = fork();
	if (pid == 0)
		proofs_run(&conf);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	made_remove(&made);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_closed(void **state unused_arg)
{
	struct wire_answer answer;
	assert_int_equal(order(ORDER_VM_OBSERVE, 0, &answer), -EAGAIN);
	assert_int_equal(order(ORDER_VM_SUSPEND, 7, &answer), -EAGAIN);
	assert_int_equal(folder_make(&vm, 6, NULL), 0); /* left by an earlier life, without a guest */
	assert_int_equal(session_open(&vm, NULL), 0);
	uint32_t left;
	assert_int_equal(folder_list(&vm, &left, 1), 0);
}

static void test_life(void **state unused_arg)
{
	struct wire_answer answer;
	guest_make(7, "birch");
	notice_await(NOTICE_GUEST_STARTED, 7);
	assert_int_equal(order(ORDER_VM_SUSPEND, 7, &answer), 0);
	assert_string_equal(answer.text, "kb-7 is paused");
	notice_await(NOTICE_GUEST_PAUSED, 7);
	assert_int_equal(order(ORDER_VM_SUSPEND, 7, &answer), 0); /* again: nothing changes */
	assert_int_equal(order(ORDER_VM_RESUME, 7, &answer), 0);
	assert_string_equal(answer.text, "kb-7 is running");
	notice_await(NOTICE_GUEST_RESUMED, 7);
	assert_int_equal(order(ORDER_VM_RESUME, 7, &answer), 0);
	assert_int_equal(order(ORDER_VM_DESTROY, 7, &answer), 0);
	notice_await(NOTICE_GUEST_GONE, 7);
	assert_int_equal(order(ORDER_VM_DESTROY, 7, &answer), 0);
	assert_int_equal(order(ORDER_VM_RESUME, 7, &answer), -ENOENT);
	uint32_t left;
	assert_int_equal(folder_list(&vm, &left, 1), 0);
}

static void test_observe(void **state unused_arg)
{
	struct wire_answer answer;
	guest_make(3, "birch");
	guest_make(4, NULL);    /* nobody's */
	guest_make(5, "cedar"); /* of a variant that the configuration does not have any more */
	assert_int_equal(order(ORDER_VM_SUSPEND, 4, &answer), 0);
	assert_int_equal(order(ORDER_VM_OBSERVE, 0, &answer), 0);
	assert_int_equal(answer.n_observed, 3); /* the driver's own guest "test" is not ours */
	for (uint32_t i = 0; i < 3; i++) {
		const struct wire_observed_instance *seen = &answer.observed[i];
		assert_int_equal(seen->service, seen->instance == 4 ? UINT32_MAX : 0);
		assert_int_equal(seen->variant, seen->instance == 3 ? 1 : UINT32_MAX);
		assert_int_equal(seen->guest, seen->instance == 4 ? WIRE_GUEST_PAUSED : WIRE_GUEST_RUNNING);
		assert_int_equal(seen->key[0], seen->instance == 4 ? 0 : seen->instance);
	}
	struct wire_message message = {.kind = WIRE_ANSWER, .answer = answer}, back;
	size_t size = wire_encode(&message);
	assert_int_equal(wire_decode(&message, size, &back, NULL), 0);
	for (uint32_t number = 3; number <= 5; number++)
		assert_int_equal(order(ORDER_VM_DESTROY, number, &answer), 0);
}

/* Of an image that is not the one that is there now, or with less memory than it would get now. */
static void test_outdated(void **state unused_arg)
{
	static struct made made;
	struct image *image;
	struct wire_answer answer;
	struct folder_record record;
	struct err err;
	made_new(&made);
	json_auto_t *manifest = made_manifest();
	made_put(&made, manifest);
	text_copy(vm.conf.image_key, sizeof(vm.conf.image_key), made.pub);
	text_copy(vm.conf.image_dir, sizeof(vm.conf.image_dir), made.base);
	guest_make(3, "birch"); /* its record names no image that there ever was */
	assert_int_equal(order(ORDER_VM_OBSERVE, 0, &answer), 0);
	assert_int_equal(answer.observed[0].outdated, 1);
	assert_int_equal(image_open(made.dir, made.pub, &image, &err), 0);
	assert_int_equal(folder_record_read(&vm, 3, &record, &err), 0);
	memcpy(record.manifest, image->manifest_sha256, sizeof(record.manifest));
	folder_settings(&vm.conf.services[0], image->memory_mib, record.settings, sizeof(record.settings));
	assert_int_equal(folder_record_write(&vm, 3, &record, &err), 0);
	assert_int_equal(order(ORDER_VM_OBSERVE, 0, &answer), 0);
	assert_int_equal(answer.observed[0].outdated, 0);
	vm.conf.services[0].memory_mib = image->memory_mib + 16;
	assert_int_equal(order(ORDER_VM_OBSERVE, 0, &answer), 0);
	assert_int_equal(answer.observed[0].outdated, 1);
	vm.conf.services[0].memory_mib = 0;
	image_free(image);
	made_remove(&made); /* an image that cannot be read says nothing about those that run */
	assert_int_equal(order(ORDER_VM_OBSERVE, 0, &answer), 0);
	assert_int_equal(answer.observed[0].outdated, 0);
	assert_int_equal(order(ORDER_VM_DESTROY, 3, &answer), 0);
}

static void test_refused(void **state unused_arg)
{
	struct wire_answer answer;
	assert_int_equal(order(ORDER_NET_STEER, 7, &answer), -EINVAL);
	assert_int_equal(order(ORDER_VM_SUSPEND, 0, &answer), -EINVAL);
	assert_int_equal(order(ORDER_VM_CREATE, 7, &answer), -EINVAL); /* variant 5 */
	assert_non_null(strstr(answer.text, "no variant number 5"));
	assert_int_equal(conf_instance_named("kb-7"), 7);
	assert_int_equal(conf_instance_named("kb-07"), 0);
	assert_int_equal(conf_instance_named("kb-7x"), 0);
	assert_int_equal(conf_instance_named("kb-4294967296"), 0);
}

static void test_console(void **state unused_arg)
{
	char path[VM_PATH_MAX];
	struct stat status;
	assert_int_equal(folder_make(&vm, 9, NULL), 0);
	folder_path(&vm, 9, "console.log", path);
	auto_free char *noise = calloc(1, FOLDER_CONSOLE_MAX + 1);
	noise[FOLDER_CONSOLE_MAX] = 'z';
	assert_int_equal(file_write(path, noise, FOLDER_CONSOLE_MAX + 1, 0600, NULL), 0);
	folder_console_bound(&vm, 9);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_size, 0);
	folder_path(&vm, 9, "console.old", path);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_size, FOLDER_CONSOLE_KEPT);
	assert_int_equal(folder_remove(&vm, 9, NULL), 0);
}

static void evidence_read(const char *name, uint8_t **ret_bytes, size_t *ret_size)
{
	char path[VM_PATH_MAX + 64];
	snprintf(path, sizeof(path), "%s/3/%s", vm.evidence, name);
	assert_int_equal(file_read(path, 16u << 20, ret_bytes, ret_size, NULL), 0);
}

/* What cannot be had does not take the rest along. */
static void test_evidence_of_a_bad_console(void **state unused_arg)
{
	const size_t grown = 6u << 20, kept = 5u << 20;
	struct wire_answer answer;
	char path[VM_PATH_MAX + 64];
	auto_free uint8_t *console = calloc(1, grown), *copy = NULL, *sums = NULL;
	size_t size;
	guest_make(8, "birch");
	snprintf(path, sizeof(path), "mkdir -p %s/3 && echo a flow > %s/3/kb-8.flows", vm.evidence, vm.evidence);
	assert_int_equal(system(path), 0);
	memset(console + grown - kept, 'e', kept);
	folder_path(&vm, 8, "console.log", path);
	assert_int_equal(file_write(path, console, grown, 0600, NULL), 0);
	assert_int_equal(order(ORDER_VM_EVIDENCE, 8, &answer), 0);
	assert_non_null(strstr(answer.text, "kb-8: flows, the last 5 MiB of its console, memory (64 MiB) left out: "));
	evidence_read("kb-8.console.log", &copy, &size);
	assert_int_equal(size, kept);
	assert_memory_equal(copy, console + grown - kept, kept);
	unlink(path);
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/3/SHA256SUMS", vm.evidence);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(order(ORDER_VM_EVIDENCE, 8, &answer), 0);
	assert_non_null(strstr(answer.text, "kb-8: flows, no console (Is a directory), memory (64 MiB) left out: "));
	evidence_read("SHA256SUMS", &sums, &size);
	assert_non_null(strstr((const char *)sums, "kb-8.flows"));
	assert_null(strstr((const char *)sums, "console"));
	/* nothing at all is no evidence: the first reason is told */
	snprintf(path, sizeof(path), "%s/3/kb-8.flows", vm.evidence);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(order(ORDER_VM_EVIDENCE, 8, &answer), -EISDIR);
	folder_path(&vm, 8, "console.log", path);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(order(ORDER_VM_DESTROY, 8, &answer), 0);
}

static void test_paths(void **state unused_arg)
{
	static struct vm other;
	struct conf conf = vm.conf;
	struct err err;
	strcpy(conf.libvirt, "embed");
	memset(conf.run_dir, 'r', 61);
	conf.run_dir[0] = '/';
	conf.run_dir[61] = '\0';
	assert_int_equal(vm_init(&other, &conf, outbox, &err), -ENAMETOOLONG);
	assert_non_null(strstr(err.text, "too long by 1 letters"));
	strcpy(conf.run_dir, "/run/a&b");
	assert_int_equal(vm_init(&other, &conf, outbox, &err), -EINVAL);
}

/* The queue's rules, with workers that wait for the test. */
static struct gate {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	uint64_t begun, let; /* bits by order id */
	uint64_t order[64];
	size_t n_order;
} gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void gate_carry(void *arg unused_arg, const struct wire_order *asked, uint64_t link unused_arg)
{
	pthread_mutex_lock(&gate.lock);
	gate.begun |= 1ull << asked->id;
	gate.order[gate.n_order++] = asked->id;
	pthread_cond_broadcast(&gate.changed);
	while (!(gate.let & 1ull << asked->id))
		pthread_cond_wait(&gate.changed, &gate.lock);
	pthread_mutex_unlock(&gate.lock);
}

static void gate_await(uint64_t bits)
{
	pthread_mutex_lock(&gate.lock);
	while ((gate.begun & bits) != bits)
		pthread_cond_wait(&gate.changed, &gate.lock);
	pthread_mutex_unlock(&gate.lock);
}

static void gate_let(uint64_t bits)
{
	pthread_mutex_lock(&gate.lock);
	gate.let |= bits;
	pthread_cond_broadcast(&gate.changed);
	pthread_mutex_unlock(&gate.lock);
}

static void test_queue(void **state unused_arg)
{
	struct queue *queue = queue_new(gate_carry, NULL);
	uint64_t id = 1;
	for (; id <= 6; id++) /* six slow ones for four places */
		assert_int_equal(queue_push(queue,
		                            &(struct wire_order){.id = id, .type = ORDER_VM_DESTROY, .instance = (uint32_t)id}, 1,
		                            NULL),
		                 0);
	gate_await(0x1e);
	/* a quick one of another instance does not wait for them; a quick one of a busy instance does */
	assert_int_equal(queue_push(queue, &(struct wire_order){.id = 7, .type = ORDER_VM_RESUME, .instance = 1}, 1, NULL), 0);
	assert_int_equal(queue_push(queue, &(struct wire_order){.id = 8, .type = ORDER_VM_SUSPEND, .instance = 20}, 1, NULL), 0);
	gate_await(0x11e);
	assert_int_equal(gate.begun, 0x11e);
	gate_let(1ull << 1);
	gate_await(0x1be); /* instance 1's second order, and the fifth slow one */
	assert_int_equal(gate.begun & 1ull << 6, 0);
	assert_int_equal(queue_forget(queue), 1); /* the sixth had not begun */
	for (id = 10; id < 10 + WIRE_PENDING_MAX - 6; id++)
		assert_int_equal(
		        queue_push(queue, &(struct wire_order){.id = 9, .type = ORDER_VM_DESTROY, .instance = 2}, 1, NULL), 0);
	assert_int_equal(queue_push(queue, &(struct wire_order){.id = 9, .type = ORDER_VM_DESTROY, .instance = 2}, 1, NULL),
	                 -EBUSY);
	assert_int_equal(queue_forget(queue), WIRE_PENDING_MAX - 6);
	gate_let(~0ull);
	queue_free(queue);
	assert_int_equal(gate.begun & 1ull << 6, 0);
}

static void test_outbox(void **state unused_arg)
{
	struct outbox *small = outbox_new();
	struct wire_message message;
	uint64_t link;
	int fd;
	for (int i = 0; i < OUTBOX_MAX; i++)
		outbox_note(small, NOTICE_GUEST_PAUSED, (uint32_t)i + 1, 0, "paused");
	assert_false(outbox_woken(small));
	outbox_note(small, NOTICE_GUEST_PAUSED, 1, 0, "one too many");
	assert_true(outbox_woken(small));
	assert_false(outbox_woken(small));
	assert_true(outbox_take(small, &message, &link, &fd));
	assert_int_equal(message.note.instance, 1);
	outbox_clear(small);
	assert_false(outbox_take(small, &message, &link, &fd));
	outbox_free(small);
}

/* A port as QEMU has it: a listening socket that takes one connection at a time. */
static int port_listen(uint32_t number)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char path[VM_PATH_MAX];
	folder_path(&vm, number, "agent.sock", path);
	text_copy(address.sun_path, sizeof(address.sun_path), path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 1), 0);
	return fd;
}

static int channel_take(uint32_t number)
{
	struct wire_message message;
	struct wire_answer answer;
	uint64_t link;
	int fd;
	while (outbox_take(outbox, &message, &link, &fd)) {
	}
	assert_int_equal(order(ORDER_VM_CHANNEL, number, &answer), 0);
	assert_true(outbox_take(outbox, &message, &link, &fd));
	assert_int_equal(message.note.type, NOTICE_GUEST_CHANNEL);
	assert_int_equal(message.note.instance, number);
	assert_int_equal(message.note.key[31], number + 100);
	return fd;
}

static void test_channel(void **state unused_arg)
{
	struct wire_answer answer;
	char bytes[8] = "";
	assert_int_equal(order(ORDER_VM_CHANNEL, 8, &answer), -ENOENT);
	guest_make(8, "amber");
	int port = port_listen(8), ours = channel_take(8), theirs = accept(port, NULL, NULL);
	assert_int_equal(write(theirs, "word", 4), 4);
	assert_int_equal(read(ours, bytes, sizeof(bytes)), 4);
	/* what waits for an engine that does not come is closed, or the port would stay taken */
	assert_int_equal(order(ORDER_VM_CHANNEL, 8, &answer), 0);
	int unwanted = accept(port, NULL, NULL);
	outbox_clear(outbox);
	assert_int_equal(read(unwanted, bytes, sizeof(bytes)), 0);
	close(unwanted);
	close(theirs);
	close(ours);
	close(port);
	assert_int_equal(order(ORDER_VM_CHANNEL, 8, &answer), -ECONNREFUSED);
	assert_int_equal(order(ORDER_VM_DESTROY, 8, &answer), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_silent_libvirt), cmocka_unit_test(test_destroy_without_libvirt),
	        cmocka_unit_test(test_proof),          cmocka_unit_test(test_closed),
	        cmocka_unit_test(test_life),           cmocka_unit_test(test_observe),
	        cmocka_unit_test(test_outdated),       cmocka_unit_test(test_refused),
	        cmocka_unit_test(test_console),        cmocka_unit_test(test_evidence_of_a_bad_console),
	        cmocka_unit_test(test_queue),          cmocka_unit_test(test_outbox),
	        cmocka_unit_test(test_paths),          cmocka_unit_test(test_channel),
	};
	return cmocka_run_group_tests_name("vm orders", tests, setup, teardown);
}
